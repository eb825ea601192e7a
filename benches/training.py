# Training: ltv_train against PyTorch, Keras and LightGBM, and against the usual jobs from table to stored model.
"""Train the same networks in as many ways as people do it.

    cargo xtask bench training -- [--only speed whole growth] [--svg docs/training.svg] [--rows 200000]

    speed    rows per second of the training steps, one and two threads, each backbone and objective
    whole    seconds from a table to a stored model: ltv_train, the usual job, the best job
    growth   with rows, columns and batch size

ltv_train's figures come from the version's own history, per epoch; medians and ranges are over epochs (of the first
two parts) or over repetitions. Memory is the most that the process had of its own (RssAnon); PyTorch's includes
itself. Everything runs one after the other; peers are in benches/training_peers.py.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

PEERS = Path(__file__).with_name("training_peers.py")
URL = os.environ["PG_LTV_URL"]
EPOCHS = 5
OURS, THEIRS = "pg_ltv", "PyTorch"


class Memory(threading.Thread):
    """The most of its own that a process had."""

    def __init__(self, find):
        super().__init__(daemon=True)
        self.find, self.most, self.going = find, 0, True

    def run(self):
        pid = None
        while self.going:
            pid = pid or self.find()
            try:
                found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                self.most = max(self.most, int(found[1]) if found else 0)
            except OSError:
                pass
            time.sleep(0.005 if pid else 0.02)

    def end(self):
        self.going = False
        self.join()
        return self.most / 1024


def peer(**job):
    process = subprocess.Popen([sys.executable, str(PEERS), json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    memory = Memory(lambda: process.pid)
    memory.start()
    out, err = process.communicate()
    most = memory.end()
    found = re.search(r"^RESULT (.*)$", out, re.M)
    if not found:
        print(f"{job['kind']} left out: {(err.strip().splitlines() or ['no result'])[-1]}")
        return None
    return json.loads(found[1]) | {"memory": most}


class Trainer:
    def __init__(self):
        self.connection = psycopg.connect(URL, autocommit=True)
        self.watcher = psycopg.connect(URL, autocommit=True)

    def table(self, name, rows, columns, steps=0):
        features = ", ".join(f"(random() * 2 - 1)::real AS f{i}" for i in range(columns))
        history = f", (SELECT array_agg(ARRAY[random(), random()]::real[]) FROM generate_series(1, {steps} + 0 * id)) AS history" if steps else ""
        signal = f"(f0 + f{columns - 1})"
        self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        self.connection.execute(f"""
            CREATE TABLE {name} AS SELECT s.*,
                CASE WHEN random() < 1 / (1 + exp(0.7 - {signal})) THEN exp(3 + 0.5 * {signal} + random() * 2 - 1) ELSE 0 END::float8 AS ltv
            FROM (SELECT id AS customer_id, {features}{history} FROM generate_series(1, {rows}) id OFFSET 0) s""")
        self.connection.execute(f"VACUUM (FREEZE, ANALYZE) {name}")

    def train(self, table, backbone="mlp", objective="ziln", **options):
        options = {"epochs": EPOCHS, "patience": 1000, "ensemble": 1, "batch_size": 1024, "threads": 1} | options
        def worker():
            found = self.watcher.execute("SELECT pid FROM ltv.jobs WHERE status = 'running' AND pid IS NOT NULL").fetchone()
            return found and found[0]
        memory = Memory(worker)
        memory.start()
        begun = time.perf_counter()
        job = self.connection.execute(
            "SELECT ltv_train('bench', %s, objective => %s, backbone => %s, options => %s)",
            (table, objective, backbone, json.dumps(options)),
        ).fetchone()[0]
        version = self.connection.execute("SELECT ltv_wait(%s)", (job,)).fetchone()[0]
        seconds = time.perf_counter() - begun
        most = memory.end()
        history, inside = self.connection.execute(
            "SELECT history, training_seconds FROM ltv.versions WHERE model = 'bench' AND version = %s", (version,)
        ).fetchone()
        epochs = history["epochs"]
        return {
            "rates": [epoch["rows_per_second"] for epoch in epochs],
            "training": sum(epoch["seconds"] for epoch in epochs),
            "inside": inside,
            "seconds": seconds,
            "memory": most,
        }


def middle(rates):
    """Median and range; the first epoch warms up."""
    rates = sorted(rates[1:] or rates)
    return statistics.median(rates), rates[0], rates[-1]


def line(columns):
    print("| " + " | ".join(columns) + " |", flush=True)


def shown(result, rows):
    if result is None:
        return ["", ""]
    if not result["rates"]:
        return [f"{rows / result['seconds']:,.0f}", f"{result['memory']:,.0f}"]
    median, low, high = middle(result["rates"])
    return [f"{median:,.0f} ({low:,.0f} to {high:,.0f})", f"{result['memory']:,.0f}"]


def speed(trainer, rows, bars):
    trainer.table("customers", rows, 32)
    sequences = rows // 10
    trainer.table("histories", sequences, 4, 20)
    print(f"\nRows per second, median of the epochs (range); {rows} rows x 32 columns, sequences {sequences} rows of 20 steps with 2 channels + 4 columns; batches of 1024\n")
    line(["", "threads", OURS, "MB", THEIRS, "MB", "ratio"])
    line(["---"] * 7)
    networks = [("mlp", "ziln", {}), ("mlp", "ziln", {"dropout": 0})]
    networks += [("mlp", objective, {}) for objective in ("mse", "huber", "purchase", "expltv", "cmltv")]
    networks += [(backbone, "ziln", {}) for backbone in ("linear", "deepfm", "dcn", "lstm", "gru", "transformer", "tft")]
    for backbone, objective, options in networks:
        is_sequence = backbone in ("lstm", "gru", "transformer", "tft")
        table, count, columns, steps = ("histories", sequences, 4, 20) if is_sequence else ("customers", rows, 32, 0)
        for threads in (1, 2):
            ours = trainer.train(table, backbone, objective, threads=threads, **options)
            theirs = None
            if backbone in ("mlp", "linear", "dcn", "lstm", "gru", "transformer") and objective in ("ziln", "mse", "huber", "purchase"):
                theirs = peer(kind="torch", backbone=backbone, objective=objective, threads=threads, rows=count * 4 // 5, columns=columns, steps=steps, batch=1024, epochs=3, **options)
            name = f"{backbone}, {objective}" + (", no dropout" if options else "")
            rate = middle(ours["rates"])[0]
            ratio = f"{rate / middle(theirs['rates'])[0]:.2f}" if theirs else ""
            line([name, str(threads), *shown(ours, count), *shown(theirs, count), ratio])
            bars.append((name, threads, rate, middle(theirs["rates"])[0] if theirs else None))
    for threads in (1, 2):
        keras = peer(kind="keras", threads=threads, rows=rows * 4 // 5, columns=32, batch=1024, epochs=3)
        if keras:
            line(["Keras: mlp, ziln", str(threads), *shown(keras, rows), "", "", ""])
        trees = peer(kind="lightgbm", threads=threads, rows=rows * 4 // 5, columns=32)
        if trees:
            line([f"LightGBM: 100 trees, tweedie, {trees['seconds']:.1f} s", str(threads), "", "", "", f"{trees['memory']:,.0f}", ""])


def whole(trainer, rows, repeat):
    trainer.table("customers", rows, 32)
    epochs = 10
    print(f"\nFrom a table of {rows} rows x 32 columns to a stored model: mlp, ziln, {epochs} epochs, batches of 1024, one thread\n")
    line(["", "seconds (range)", "of them training", "start and imports", "MB", "times ltv_train"])
    line(["---"] * 6)
    trainer.train("customers", epochs=epochs)
    ours = [trainer.train("customers", epochs=epochs) for _ in range(repeat)]
    middle_of = lambda results, key: statistics.median(result[key] for result in results)
    seconds = middle_of(ours, "seconds")

    def row(name, results, training, start):
        times = sorted(result["seconds"] for result in results)
        line([name, f"{statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f})", f"{training:.2f}", start,
              f"{middle_of(results, 'memory'):,.0f}", f"{statistics.median(times) / seconds:.1f}"])

    row("ltv_train", ours, middle_of(ours, "training"), "in it")
    two = [trainer.train("customers", epochs=epochs, threads=2) for _ in range(repeat)]
    row("ltv_train, two threads", two, middle_of(two, "training"), "in it")
    for kind, name in (("best", "ADBC, whole tensors, fused AdamW, ONNX"), ("usual", "SQLAlchemy, pandas, DataLoader, ONNX")):
        results = [result for _ in range(repeat if kind == "best" else 1) if (result := peer(kind=kind, url=URL, epochs=epochs, batch=1024))]
        if results:
            row(name, results, middle_of(results, "training"), f"{middle_of(results, 'imports'):.2f}")
            print(f"<!-- {name}: reading {middle_of(results, 'reading'):.2f} s, export {middle_of(results, 'export'):.2f} s -->")


def growth(trainer, sizes):
    print("\nGrowth: mlp, ziln, one thread\n")
    line(["rows", "columns", "batch", OURS + " rows/s", "seconds", "MB", THEIRS + " rows/s", "MB"])
    line(["---"] * 8)
    for rows, columns, batches in sizes:
        trainer.table("growing", rows, columns)
        for batch in batches:
            ours = trainer.train("growing", batch_size=batch, epochs=3)
            theirs = peer(kind="torch", backbone="mlp", objective="ziln", threads=1, rows=min(rows, 200_000) * 4 // 5, columns=columns, batch=batch, epochs=2)
            line([f"{rows:,}", str(columns), str(batch), f"{middle(ours['rates'])[0]:,.0f}", f"{ours['seconds']:.2f}", f"{ours['memory']:,.0f}",
                  f"{middle(theirs['rates'])[0]:,.0f}" if theirs else "", f"{theirs['memory']:,.0f}" if theirs else ""])
    trainer.connection.execute("DROP TABLE growing")


def plot(bars):
    bar, left, width = 22, 250, 480
    most = max(max(ours, theirs or 0) for *_, ours, theirs in bars)
    lines, y = [], 48
    for name, threads, ours, theirs in bars:
        lines.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}, {threads} thread{"s" if threads > 1 else ""}</text>')
        for value, colour in ((ours, "#2b6cb0"), (theirs, "#a0aec0")):
            if value:
                lines.append(f'<rect x="{left}" y="{y}" width="{width * value / most:.0f}" height="{bar // 2 - 1}" fill="{colour}"/>')
                lines.append(f'<text x="{left + width * value / most + 5:.0f}" y="{y + 9}" font-size="10">{value:,.0f}</text>')
            y += bar // 2
        y += 6
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{y + 10}" font-family="sans-serif" font-size="13">',
        '<text x="10" y="20" font-weight="bold">Training: rows per second</text>',
        '<rect x="210" y="9" width="12" height="12" fill="#2b6cb0"/><text x="227" y="20">pg_ltv</text>',
        '<rect x="290" y="9" width="12" height="12" fill="#a0aec0"/><text x="307" y="20">PyTorch</text>',
    )
    return "\n".join([*head, *lines, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["speed", "whole", "growth"])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    trainer = Trainer()
    print(f"{os.cpu_count()} cores")
    bars = []
    if "speed" in options.only:
        speed(trainer, options.rows, bars)
    if "whole" in options.only:
        whole(trainer, options.rows, options.repeat)
    if "growth" in options.only:
        growth(trainer, [(10_000, 32, [1024]), (100_000, 32, [256, 1024, 4096, 16384]), (1_000_000, 32, [1024]), (100_000, 8, [1024]), (100_000, 128, [1024])])
    if options.svg and bars:
        options.svg.write_text(plot(bars))
        print(f"\nwrote {options.svg}")


if __name__ == "__main__":
    sys.exit(main())
