"""docs/training_benchmark.md and docs/training.svg from the results of the training benchmark."""

import statistics

from shared.page import bar, label, svg, table, write_generated

from measure import middle

OURS, THEIRS = ("#2b6cb0", "#90cdf4"), ("#718096", "#cbd5e0")


def rate(result):
    return middle(result["rates"])[0] if result and result.get("rates") else None


def spread(result):
    if not rate(result):
        return ""
    median, low, high = middle(result["rates"])
    return f"{median:,.0f} ({low:,.0f} to {high:,.0f})"


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else ""


def named(parts, kind):
    return {name.split("/", 1)[1]: found for name, found in parts.items() if name.startswith(kind + "/")}


def networks(parts):
    return {name: found for name, found in named(parts, "speed").items() if "pg_ltv 1" in found}


def speed_tables(parts):
    found = networks(parts)
    texts = []
    for steps in sorted({one["steps"] for one in found.values()}):
        some = {name: one for name, one in found.items() if one["steps"] == steps}
        rows, columns = next((one["rows"], one["columns"]) for one in some.values())
        what = f"{rows:,} rows x {columns} columns" + (f" and a sequence of {steps} steps with 2 channels" if steps else "")
        lines = []
        for name, one in some.items():
            ours, theirs = ([one.get(f"{who} {threads}") for threads in (1, 2)] for who in ("pg_ltv", "PyTorch"))
            lines.append([
                name, *map(spread, ours), *map(spread, theirs),
                *(ratio(rate(a), rate(b)) for a, b in zip(ours, theirs)),
                ratio(rate(ours[1]), rate(ours[0])), ratio(rate(theirs[1]), rate(theirs[0])),
                *(f"{result['memory']:,.0f}" if result else "" for result in (ours[0], theirs[0])),
            ])
        head = ["network, objective", "pg_ltv, 1 thread", "2 threads", "PyTorch, 1 thread", "2 threads", "ratio, 1", "ratio, 2",
                "pg_ltv, 2 to 1", "PyTorch, 2 to 1", "pg_ltv, MB", "PyTorch, MB"]
        texts.append(f"Rows per second of the training steps; {what}, of which four fifths are trained on:\n\n{table(head, lines)}")
    others = []
    for name, threads in named(parts, "speed").items():
        if "1" in threads:
            for count, result in threads.items():
                if result:
                    seconds = f"{result['seconds']:.1f}" if "seconds" in result else ""
                    others.append([name, count, spread(result), seconds, f"{result['memory']:,.0f}"])
    if others:
        texts.append("The same rows with others:\n\n" + table(["", "threads", "rows per second", "seconds", "MB"], others))
    return texts


def whole_table(parts):
    found = {name: results for name, results in named(parts, "whole").items() if results}
    if not found:
        return []
    middle_of = lambda results, key: statistics.median(result[key] for result in results)
    first = found.get("ltv_train")
    lines = []
    for name, results in found.items():
        times = sorted(result["seconds"] for result in results)
        seconds, training = statistics.median(times), middle_of(results, "training")
        lines.append([
            name, f"{seconds:.2f} ({times[0]:.2f} to {times[-1]:.2f})", len(times), f"{training:.2f}", f"{seconds / training:.2f}",
            f"{middle_of(results, 'imports'):.2f}" if "imports" in results[0] else "",
            f"{middle_of(results, 'memory'):,.0f}", ratio(seconds, first and middle_of(first, "seconds")),
        ])
    head = ["", "seconds (range)", "runs", "of them training", "whole / training", "of them imports", "MB", "times ltv_train"]
    rows = next((f" of {results[0]['rows']:,} rows with 32 columns" for results in found.values() if "rows" in results[0]), "")
    return [f"From a table{rows} to a stored model, 10 epochs, one thread unless said otherwise, everything included:\n\n{table(head, lines)}"]


def growth_table(parts, most):
    found = named(parts, "growth").values()
    if not found:
        return []
    lines = [
        [f"{one['rows']:,}", one["columns"], f"{one['batch']:,}", spread(one["pg_ltv"]), f"{one['pg_ltv']['seconds']:.1f}",
         f"{1e6 * one['pg_ltv']['seconds'] / one['rows']:.2f}", f"{one['pg_ltv']['memory']:,.0f}", spread(one["PyTorch"]),
         ratio(rate(one["pg_ltv"]), rate(one["PyTorch"]))]
        for one in found
    ]
    head = ["rows", "columns", "batch", "pg_ltv, rows/s", "seconds in all", "per million rows", "MB", "PyTorch, rows/s", "ratio"]
    return [f"Growth with rows, columns and batch size: mlp, ziln, one thread, three epochs, everything included; PyTorch on at most {most:,} rows:\n\n{table(head, lines)}"]


def memory_table(parts):
    found = named(parts, "memory")
    if not found:
        return []
    lines = [
        ["through a file, `ltv.training_memory = '512MB'`" if name == "512MB" else "in memory", f"{one['rows']:,}", spread(one), f"{one['seconds']:.0f}",
         f"{one['memory']:,.0f}", f"{one['validation_loss']:.4f}", f"{one['gini']:.4f}"]
        for name, one in found.items()
    ]
    head = ["", "rows", "rows/s", "seconds in all", "MB", "validation loss", "normalized Gini"]
    return ["More rows than memory: 32 columns, mlp, ziln, one thread, two epochs:\n\n" + table(head, lines)]


def picture(parts):
    """Rows per second of each network; networks of columns, the linear model and networks of sequences on scales of their own."""
    found = networks(parts)
    left, width, height, right = 190, 470, 11, 90
    lines = [label(12, 24, "Rows per second of the training steps", font_weight="bold", font_size=15)]
    for index, (who, colours) in enumerate((("pg_ltv", OURS), ("PyTorch", THEIRS))):
        for threads, colour in enumerate(colours, 1):
            x = 12 + (2 * index + threads - 1) * 150
            lines += [bar(x, 37, 12, 12, colour), label(x + 17, 47, f"{who}, {threads} thread{'s' if threads > 1 else ''}")]
    y = 62
    groups = {"networks of columns (32)": [], "a linear model of the same columns": [], "networks of sequences (20 steps, 2 channels)": []}
    columns, linear, sequences = groups.values()
    for name, one in found.items():
        (sequences if one["steps"] else linear if name.startswith("linear") else columns).append(name)
    for title, names in groups.items():
        some = {name: found[name] for name in names}
        rates = [rate(result) for one in some.values() for result in one.values() if isinstance(result, dict)]
        most = max(filter(None, rates), default=None)
        if not most:
            continue
        lines.append(label(12, y + 14, title, font_weight="bold"))
        y += 24
        for name, one in some.items():
            bars = [(rate(one.get(f"{who} {threads}")), colours[threads - 1]) for who, colours in (("pg_ltv", OURS), ("PyTorch", THEIRS)) for threads in (1, 2)]
            bars = [(value, colour) for value, colour in bars if value]
            lines.append(label(left - 10, y + len(bars) * height / 2 + 4, name, text_anchor="end"))
            for value, colour in bars:
                length = width * value / most
                lines += [bar(left, y, length, height - 1, colour), label(left + length + 5, y + 9, f"{value:,.0f}", font_size=10)]
                y += height
            y += 8
        y += 8
    return svg(left + width + right, y, lines)


def write(folder, parts, results):
    versions = ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items())
    texts = [f"{results.get('machine', 'Unknown machine')}; {versions}. Median (least to most) over the epochs but the first, or over the runs."]
    if networks(parts):
        (folder / "training.svg").write_text(picture(parts), encoding="utf-8")
        texts.append("![rows per second of each network](training.svg)")
    texts += [*speed_tables(parts), *whole_table(parts), *growth_table(parts, results["sizes"]["large_rows"] // 200), *memory_table(parts)]
    left_out = results["missing"] | results["failed"]
    if left_out:
        texts.append("Left out on this machine: " + "; ".join(f"{what} ({why})" for what, why in left_out.items()) + ".")
    write_generated(folder / "training_benchmark.md", "training", "\n\n".join(texts))
