"""What was measured, as text, as a page of the documentation and as a picture."""

import math
import statistics

from shared.page import processor, write_generated

from tables import ROOT
from ways import JOBS

PAGE = ROOT / "docs/scoring_benchmark.md"
PICTURE = ROOT / "docs/scoring_benchmark.svg"
WAYS = ("batch scan", "2 workers", "floor", "row by row", "PL/Python", "ADBC", "binary COPY")
PARTS = ("array", "large", "wide", "categories")


def machine(server, runtime):
    return f"{processor()}; PostgreSQL {server}, ONNX Runtime {runtime}"


def jobs(found):
    return [job for job in JOBS if job in found["times"]]


def floor(times):
    if "floor: scan" not in times:
        return []
    return [a + b for a, b in zip(times["floor: scan"], times["floor: onnxruntime"])]


def median(times, way):
    found = floor(times) if way == "floor" else times.get(way)
    return statistics.median(found) if found else None


def cell(times, way):
    found = floor(times) if way == "floor" else times.get(way)
    if not found:
        return ""
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def goals(results):
    """(goal, wanted, reached)"""
    rows = []
    for part in PARTS:
        if part not in results:
            continue
        times, title = results[part]["times"], f"{results[part]['title']}, {results[part]['rows']:,} rows"
        aggregate, write = times["aggregate"], times["materialise"]
        batch = median(aggregate, "batch scan")
        rows.append((f"aggregate against the floor, {title}", "at most 1.25", batch / median(aggregate, "floor")))
        if median(aggregate, "row by row"):
            rows.append((f"row by row against the batch scan, {title}", "at least 15", median(aggregate, "row by row") / batch))
        outside = [m for m in (median(write, "ADBC"), median(write, "binary COPY")) if m]
        if outside:
            rows.append((
                f"score and write back: best of ADBC and COPY against the batch scan, {title}",
                "at least 2.5",
                min(outside) / median(write, "batch scan"),
            ))
        rows.append((f"aggregate, one process against two workers, {title}", "at least 1.7", batch / median(aggregate, "2 workers")))
    for clients, found in results.get("points", {}).items():
        ratio = statistics.median(found["prediction"]["median"]) / statistics.median(found["plain"]["median"])
        rows.append((f"point query against the plain SELECT, median, {clients} clients", "at most 1.15", ratio))
    return rows


def markdown(results):
    lines = [f"{results['machine']}. Seconds: median (least to most)."]
    for part in PARTS:
        if part not in results:
            continue
        found = results[part]
        ways = [w for w in WAYS if any(median(found["times"][j], w) for j in jobs(found))]
        lines += ["", f"**{found['title']}, {found['rows']:,} rows; {len(next(iter(found['times'].values()))['batch scan'])} run(s)**", ""]
        lines += ["| | " + " | ".join(jobs(found)) + " |", "|---|" + "---|" * len(jobs(found))]
        for way in ways:
            lines.append(f"| {way} | " + " | ".join(cell(found["times"][j], way) for j in jobs(found)) + " |")
    if "points" in results:
        lines += ["", "**Point queries by primary key, pgbench, prepared; microseconds**", ""]
        lines += ["| clients | plain: median | with prediction: median | plain: 99 % | with prediction: 99 % |", "|---|---|---|---|---|"]
        for clients, found in results["points"].items():
            values = [
                f"{statistics.median(found[w][k]):.0f} ({min(found[w][k]):.0f} to {max(found[w][k]):.0f})"
                for k in ("median", "p99")
                for w in ("plain", "prediction")
            ]
            lines.append(f"| {clients} | " + " | ".join(values) + " |")
    if "two processes" in results:
        lines += ["", f"Two processes that only run ONNX Runtime, at the same time, get {results['two processes']:.2f} times as much done as one."]
    lines += ["", "| ratio | goal | reached |", "|---|---|---|"]
    lines += [f"| {name} | {wanted} | {ratio:.2f} |" for name, wanted, ratio in goals(results)]
    return "\n".join(lines)


def text(results):
    return markdown(results)


def write(results):
    picture = ""
    if "array" in results:
        PICTURE.write_text(plot(results["array"]))
        picture = f"\n\n![rows per second of each way]({PICTURE.name})"
    write_generated(PAGE, "scoring", markdown(results) + picture)
    print(f"wrote {PAGE} and {PICTURE}")


def plot(part):
    """Rows per second of each job and way; horizontal bars on a logarithmic scale."""
    bar, left, width = 18, 250, 480
    rates = []
    for job in JOBS:
        found = [(way, median(part["times"][job], way)) for way in WAYS]
        rates += [(job, way, part["rows"] / m) for way, m in found if m]
    low = 10 ** math.floor(math.log10(min(r for _, _, r in rates)))
    high = max(r for _, _, r in rates)
    colours = {"batch scan": "#2b6cb0", "2 workers": "#4299e1", "floor": "#cbd5e0"}
    height = bar * len(rates) + 14 * len(JOBS) + 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 110}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="22" font-size="14" font-weight="bold">{part["rows"]:,} rows of {part["title"]}: '
        "rows per second (logarithmic scale)</text>",
    ]
    y, last = 30, None
    for job, way, rate in rates:
        if job != last:
            y += 14
            last = job
        length = width * math.log10(rate / low) / math.log10(high / low)
        lines.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{job}: {way}</text>')
        lines.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 4}" fill="{colours.get(way, "#a0aec0")}"/>')
        lines.append(f'<text x="{left + length + 6:.0f}" y="{y + 12}">{rate:,.0f}</text>')
        y += bar
    return "\n".join([*lines, "</svg>\n"])
