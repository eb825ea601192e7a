"""docs/accuracy.md and docs/accuracy.svg from the results of the accuracy benchmark."""

import numpy as np
from accuracy import horizons
from shared.page import write_generated

NAMES = {"cdnow": "CDNOW", "online_retail_2": "Online Retail II"}
PROTOCOLS = {"A": "protocol A", "AX": "protocol A, every fifth in turn", "B": "protocol B", "U": "protocol U, as used", "N": "protocol N, new customers", "NT": "protocol N, out of time", "NP": "protocol N, features in plain SQL", "H": "protocol H, several horizons"}
ORDER = ["pg_ltv defaults", "pg_ltv compare", "LightGBM hurdle", "LightGBM Tweedie", "BG/NBD + Gamma-Gamma", "spend of the last horizon", "spend of the last horizon, no ties"]
# What the picture has room for.
DRAWN = ORDER[:5]
ORDER += horizons.LABELS
METRICS = [
    ("normalized_gini", "norm. Gini"),
    ("spearman", "Spearman"),
    ("decile_mape", "decile MAPE"),
    ("total_ratio", "total"),
]
# Of several later days a total that is too high does not make up for one that is too low.
OF_DAYS = [*METRICS, ("total_off", "total off")]
COLOURS = ["#1f6f8b", "#58a6c4", "#b5651d", "#d9a066", "#8a8a8a"]
# Width of a number behind its bar: it does not cross the line of the truth.
LABEL = 38


def values(entries, metric):
    return np.array([entry["metrics"][metric] for entry in entries])


def cell(entries, metric):
    found = values(entries, metric)
    spread = f" ± {found.std(ddof=1):.3f}" if len(found) > 1 else ""
    return f"{found.mean():.3f}{spread}"


def in_order(protocols):
    return [(name, protocols[name]) for name in PROTOCOLS if name in protocols]


def tables(results):
    lines = []
    for data, protocols in results.items():
        for protocol, models in in_order(protocols):
            lines += ["", f"### {NAMES[data]}, {PROTOCOLS[protocol]}", ""]
            metrics = OF_DAYS if protocol == "H" else METRICS
            lines.append("| model | " + " | ".join(title for _, title in metrics) + " | seconds |")
            lines.append("|---|" + "---|" * (len(metrics) + 1))
            for label in ORDER:
                if entries := models.get(label):
                    cells = [cell(entries, metric) for metric, _ in metrics]
                    chosen = sorted({entry["chosen"] for entry in entries if "chosen" in entry})
                    name = f"{label} (chose {', '.join(chosen)})" if chosen else label
                    seconds = np.mean([entry["seconds"] for entry in entries])
                    lines.append(f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def picture(results):
    """Bars for each data set and protocol (rows) and metric (columns)."""
    panels = [(data, protocol, models) for data, all_of in results.items() for protocol, models in in_order(all_of) if protocol != "H"]
    width, height, left, top = 215, 118, 150, 56
    parts = []
    for row, (data, protocol, models) in enumerate(panels):
        y = top + row * height
        parts.append(f'<text x="8" y="{y + 44}" font-weight="bold">{NAMES[data]}</text>' + "".join(f'<text x="8" y="{y + 60 + 16 * line}">{text}</text>' for line, text in enumerate(PROTOCOLS[protocol].split(", "))))
        for column, (metric, title) in enumerate(METRICS):
            x = left + column * width
            if row == 0:
                parts.append(f'<text x="{x}" y="46" font-weight="bold">{title}</text>')
            shown = [(label, values(models[label], metric).mean()) for label in DRAWN if label in models]
            most = max(max(value for _, value in shown), 1.0 if metric == "total_ratio" else 0.0)
            truth = x + 150 / most if metric == "total_ratio" else None
            for bar, (label, value) in enumerate(shown):
                length = 150 * value / most
                colour = COLOURS[DRAWN.index(label)]
                at = y + bar * 18
                parts.append(f'<rect x="{x}" y="{at}" width="{length:.1f}" height="13" fill="{colour}"/>')
                end = x + length
                if truth and end < truth < end + LABEL:
                    end = truth
                parts.append(f'<text x="{end + 4:.1f}" y="{at + 11}">{value:.3f}</text>')
            if truth:
                parts.append(f'<line x1="{truth:.1f}" x2="{truth:.1f}" y1="{y - 4}" y2="{y + 90}" stroke="#222" stroke-dasharray="3 3"/>')
    for index, label in enumerate(DRAWN):
        parts.append(f'<rect x="{8 + index * 190}" y="10" width="12" height="12" fill="{COLOURS[index]}"/><text x="{25 + index * 190}" y="21">{label}</text>')
    size = (left + len(METRICS) * width, top + len(panels) * height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def write(folder, results):
    # What the page has room for; other protocols and ways are for the terminal and accuracy.json.
    results = {data: {name: found for name, found in protocols.items() if name in PROTOCOLS} for data, protocols in results.items()}
    results = {data: protocols for data, protocols in results.items() if protocols}
    write_generated(folder / "accuracy.md", "accuracy", tables(results))
    (folder / "accuracy.svg").write_text(picture(results), encoding="utf-8")
