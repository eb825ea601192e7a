"""Training: ltv_train against PyTorch, Keras and LightGBM, and against the usual jobs from table to stored model.

    cargo xtask bench training [-- --only PART... --resume --rows N --large-rows N --repeat N --page FOLDER --docs]

    speed/NAME    rows per second of the training steps, one and two threads, each backbone and objective
    whole/NAME    seconds from a table to a stored model: ltv_train, the best job, the usual job
    growth/NAME   with rows, columns and batch size
    memory/NAME   many rows in little memory, beside the same in memory

Without arguments everything is measured, about 20 minutes on two cores, and docs/training_benchmark.md and its picture are written.
--only takes the beginnings of names: `speed`, `speed/gru whole`. Results are kept in target/bench/training.json: parts left
out stay as they are, as long as the sizes are the same, and --resume leaves out what is there already. A part that fails and a
peer that cannot run are left out of the page, which says so. --docs measures nothing and writes the page from what there is.

Figures of ltv_train come from the version's own history, per epoch; memory is the most of its own (RssAnon) that the process was
seen with, PyTorch itself included. Everything runs one after the other.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from importlib import metadata
from pathlib import Path

import report
from measure import Trainer, middle, peer
from shared.page import processor

ROOT = Path(os.environ["PG_LTV_ROOT"])
STORE = Path(os.environ["PG_LTV_OUT"]) / "training.json"
FLAT = [("mlp", "ziln", {}), ("mlp", "ziln", {"dropout": 0})]
FLAT += [("mlp", objective, {}) for objective in ("mse", "huber", "purchase", "expltv")]
FLAT += [("mlp", "cmltv", {"dropout": 0.3})]  # not its default, but that of the others
FLAT += [(backbone, "ziln", {}) for backbone in ("linear", "deepfm", "dcn")]
SEQUENCES = [(backbone, "ziln", {}) for backbone in ("lstm", "gru", "transformer", "tft")]
STEPS = 20
EPOCHS = 10
BATCH = 1024


class Bench:
    def __init__(self, trainer, options, missing):
        self.trainer, self.options, self.missing = trainer, options, missing

    def peer(self, **job):
        return peer(self.missing, batch=BATCH, **job)

    def speed(self, backbone, objective, options):
        """Both threads, side by side."""
        rows, columns, steps, name = self.options.rows, 32, 0, "customers"
        if (backbone, objective, options) in SEQUENCES:
            rows, columns, steps, name = rows // 10, 4, STEPS, "histories"
        self.trainer.table(name, rows, columns, steps)
        found = {"rows": rows, "columns": columns, "steps": steps}
        network = {"backbone": backbone, "objective": objective} | options
        for threads in (1, 2):
            found[f"pg_ltv {threads}"] = self.trainer.train(name, threads=threads, **network)
            found[f"PyTorch {threads}"] = self.peer(kind="torch", threads=threads, rows=rows * 4 // 5, columns=columns, steps=steps, epochs=3, **network)
        return found

    def other(self, kind):
        return {str(threads): self.peer(kind=kind, threads=threads, rows=self.options.rows * 4 // 5, columns=32, epochs=3) for threads in (1, 2)}

    def whole_ours(self, threads):
        self.trainer.table("customers", self.options.rows, 32)
        train = lambda: self.trainer.train("customers", epochs=EPOCHS, threads=threads) | {"rows": self.options.rows}
        train()
        return [train() for _ in range(self.options.repeat)]

    def whole_peer(self, kind, repeat):
        self.trainer.table("customers", self.options.rows, 32)
        found = [self.peer(kind=kind, url=os.environ["PG_LTV_URL"], epochs=EPOCHS) for _ in range(repeat)]
        return [result for result in found if result]

    def growth(self, rows, columns, batch):
        self.trainer.table("growing", rows, columns)
        found = {"rows": rows, "columns": columns, "batch": batch}
        found["pg_ltv"] = self.trainer.train("growing", batch_size=batch, epochs=3)
        few = min(rows, self.options.large_rows // 200) * 4 // 5
        found["PyTorch"] = peer(
            self.missing, kind="torch", backbone="mlp", objective="ziln", threads=1, rows=few, columns=columns, batch=batch, epochs=3
        )
        return found

    def memory(self, memory):
        self.trainer.table("growing", self.options.large_rows, 32)
        return self.trainer.train("growing", memory=memory, epochs=2) | {"rows": self.options.large_rows}


def parts(bench, large_rows):
    """What there is to measure, by name and in order: about how many seconds it takes, and how it is done."""
    found = {}
    for backbone, objective, options in FLAT + SEQUENCES:
        name = f"speed/{backbone}, {objective}" + (", no dropout" if options.get("dropout") == 0 else "")
        seconds = {"deepfm": 35, "lstm": 30, "gru": 25, "transformer": 40, "tft": 50}.get(backbone, 30 if objective == "cmltv" else 15)
        found[name] = seconds, lambda network=(backbone, objective, options): bench.speed(*network)
    found["speed/Keras: mlp, ziln"] = 35, lambda: bench.other("keras")
    found["speed/LightGBM: 100 trees, tweedie"] = 10, lambda: bench.other("lightgbm")
    found["whole/ltv_train"] = 10, lambda: bench.whole_ours(1)
    found["whole/ltv_train, two threads"] = 8, lambda: bench.whole_ours(2)
    found["whole/ADBC, whole tensors, fused AdamW, ONNX"] = 40, lambda: bench.whole_peer("best", bench.options.repeat)
    found["whole/SQLAlchemy, pandas, DataLoader, ONNX"] = 60, lambda: bench.whole_peer("usual", 1)
    few = large_rows // 200
    sizes = [(few, 32, batch) for batch in (256, 1024, 4096, 16384)] + [(few, 8, 1024), (few, 128, 1024)]
    for rows, columns, batch in [*sizes, (10 * few, 32, 1024), (100 * few, 32, 1024)]:
        found[f"growth/{rows} x {columns}, {batch}"] = 7 + 12 * rows // 1_000_000, lambda size=(rows, columns, batch): bench.growth(*size)
    for memory, seconds in (("512MB", 10 * large_rows // 1_000_000), ("64GB", 5 * large_rows // 1_000_000)):
        found[f"memory/{memory}"] = 1 + seconds, lambda memory=memory: bench.memory(memory)
    return found


def versions():
    names = {"PyTorch": "torch", "Keras": "keras", "TensorFlow": "tensorflow-cpu", "LightGBM": "lightgbm"}
    found = {}
    for name, package in names.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return found


def summary(result):
    """In a line, for who is watching."""
    if isinstance(result, list):
        return ", ".join(summary(one) for one in result)
    if isinstance(result, dict) and result.get("rates"):
        return f"{middle(result['rates'])[0]:,.0f} rows/s in {result.get('seconds', 0):.1f} s, {result['memory']:,.0f} MB"
    if isinstance(result, dict) and "seconds" in result:
        return f"{result['seconds']:.1f} s, {result['memory']:,.0f} MB"
    if isinstance(result, dict):
        return "; ".join(f"{name}: {summary(one)}" for name, one in result.items() if isinstance(one, dict))
    return "none"


def measure(wanted, results, keep, is_over):
    """Runs the parts one after the other and says how far it is. What fails is noted and left out, unless the server is gone."""
    begun, expected_done = time.perf_counter(), 0
    expected = sum(seconds for seconds, _ in wanted.values())
    print(f"{len(wanted)} parts, about {expected / 60:.0f} minutes on a machine of two cores", flush=True)
    for number, (name, (seconds, run)) in enumerate(wanted.items(), 1):
        part_begun = time.perf_counter()
        try:
            results["parts"][name] = run()
            results["failed"].pop(name, None)
            found = summary(results["parts"][name])
        except Exception as error:  # noqa: BLE001 - the other parts do not depend on this one
            if is_over():
                raise
            results["parts"].pop(name, None)
            found = results["failed"][name] = f"failed: {error}".splitlines()[0]
        keep()
        expected_done += seconds
        now = time.perf_counter()
        left = (expected - expected_done) * (now - begun) / expected_done
        print(f"{number} of {len(wanted)}: {name}, {now - part_begun:.0f} s: {found}", flush=True)
        print(f"  {(now - begun) / 60:.1f} minutes so far, about {left / 60:.1f} left", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], metavar="PART")
    parser.add_argument("--resume", action="store_true", help="leave out what was measured already")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--large-rows", type=int, default=20_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--page", type=Path, default=ROOT / "docs", help="where training_benchmark.md and its picture are written, if not in docs")
    parser.add_argument("--docs", action="store_true", help="measure nothing, write the page from what there is")
    options = parser.parse_args()
    sizes = {"rows": options.rows, "large_rows": options.large_rows, "repeat": options.repeat}
    results = json.loads(STORE.read_text()) if STORE.exists() else {}
    if results.get("sizes") != sizes:
        results = {"sizes": sizes, "parts": {}, "missing": {}, "failed": {}}
    if not options.docs:
        results["machine"], results["versions"] = processor(), versions()
        # Somebody may have installed it since.
        results["missing"] = {} if options.only == [""] and not options.resume else results["missing"]
        bench = Bench(Trainer(), options, results["missing"])
        there = results["parts"] if options.resume else {}
        wanted = {name: part for name, part in parts(bench, options.large_rows).items() if name.startswith(tuple(options.only)) and name not in there}
        measure(wanted, results, lambda: STORE.write_text(json.dumps(results, indent=1)), lambda: bench.trainer.connection.closed)
    options.page.mkdir(parents=True, exist_ok=True)
    if not (options.page / "training_benchmark.md").exists():
        shutil.copy(ROOT / "docs" / "training_benchmark.md", options.page)
    report.write(options.page, {name: results["parts"][name] for name in parts(None, options.large_rows) if name in results["parts"]}, results)
    print(f"Wrote training_benchmark.md and training.svg in {options.page}.")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    # Whoever started this may have kept them from it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    sys.exit(main())
