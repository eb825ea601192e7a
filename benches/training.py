"""Training: ltv_train against PyTorch, Keras and LightGBM, and against the usual jobs from table to stored model.

    cargo xtask bench training [-- --only PART... --rows N --large-rows N --repeat N --docs]

    speed/NAME    rows per second of the training steps, one and two threads, each backbone and objective
    whole/NAME    seconds from a table to a stored model: ltv_train, the best job, the usual job
    growth/NAME   with rows, columns and batch size
    memory/NAME   many rows in little memory, beside the same in memory

--only takes the beginnings of names: `speed`, `speed/gru whole`. Results are kept in target/bench/training.json, those of parts left out
stay as they are, so that a run can be done in pieces; docs/training.md and its picture are written from all of them at the
end (--docs: only that). Figures of ltv_train come from the version's own history, per epoch; memory is the most of its own (RssAnon)
that the process was seen with, PyTorch itself included. Everything runs one after the other.
"""

import argparse
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from shared.page import processor  # noqa: E402
from training_parts import report  # noqa: E402
from training_parts.measure import Trainer, middle, peer  # noqa: E402

ROOT = Path(os.environ["PG_LTV_ROOT"])
STORE = Path(os.environ["PG_LTV_OUT"]) / "training.json"
FLAT = [("mlp", "ziln", {}), ("mlp", "ziln", {"dropout": 0})]
FLAT += [("mlp", objective, {}) for objective in ("mse", "huber", "purchase", "expltv", "cmltv")]
FLAT += [(backbone, "ziln", {}) for backbone in ("linear", "deepfm", "dcn")]
SEQUENCES = [(backbone, "ziln", {}) for backbone in ("lstm", "gru", "transformer", "tft")]
IN_TORCH = ("ziln", "mse", "huber", "purchase")
STEPS = 20
EPOCHS = 10


class Bench:
    def __init__(self, trainer, options, missing):
        self.trainer, self.options, self.missing = trainer, options, missing

    def peer(self, **job):
        return peer(self.missing, **job)

    def speed(self, backbone, objective, options):
        """Both threads, side by side."""
        rows, columns, steps = self.options.rows, 32, 0
        name = "customers"
        if (backbone, objective, options) in SEQUENCES:
            rows, columns, steps, name = rows // 10, 4, STEPS, "histories"
        self.trainer.table(name, rows, columns, steps)
        found = {"rows": rows, "columns": columns, "steps": steps}
        for threads in (1, 2):
            found[f"pg_ltv {threads}"] = self.trainer.train(name, backbone, objective, threads=threads, **options)
            if objective in IN_TORCH:
                found[f"PyTorch {threads}"] = self.peer(
                    kind="torch", backbone=backbone, objective=objective, threads=threads, rows=rows * 4 // 5, columns=columns, steps=steps,
                    batch=1024, epochs=3, **options,
                )
        return found

    def other(self, kind, **job):
        return {str(threads): self.peer(kind=kind, threads=threads, rows=self.options.rows * 4 // 5, columns=32, **job) for threads in (1, 2)}

    def whole_ours(self, threads):
        self.trainer.table("customers", self.options.rows, 32)
        train = lambda: self.trainer.train("customers", epochs=EPOCHS, threads=threads)
        train()
        return [train() for _ in range(self.options.repeat)]

    def whole_peer(self, kind, repeat):
        self.trainer.table("customers", self.options.rows, 32)
        found = [self.peer(kind=kind, url=os.environ["PG_LTV_URL"], epochs=EPOCHS, batch=1024) for _ in range(repeat)]
        return [result for result in found if result]

    def growth(self, rows, columns, batch):
        self.trainer.table("growing", rows, columns)
        found = {"rows": rows, "columns": columns, "batch": batch}
        found["pg_ltv"] = self.trainer.train("growing", batch_size=batch, epochs=3)
        found["PyTorch"] = self.peer(
            kind="torch", backbone="mlp", objective="ziln", threads=1, rows=min(rows, 100_000) * 4 // 5, columns=columns, batch=batch, epochs=3,
        )
        return found

    def memory(self, memory):
        self.trainer.table("growing", self.options.large_rows, 32)
        return self.trainer.train("growing", memory=memory, epochs=2) | {"rows": self.options.large_rows}


def parts(bench):
    """What there is to measure, by name and in order."""
    found = {}
    for backbone, objective, options in FLAT + SEQUENCES:
        name = f"speed/{backbone}, {objective}" + (", no dropout" if options else "")
        found[name] = lambda network=(backbone, objective, options): bench.speed(*network)
    found["speed/Keras: mlp, ziln"] = lambda: bench.other("keras", batch=1024, epochs=3)
    found["speed/LightGBM: 100 trees, tweedie"] = lambda: bench.other("lightgbm")
    found["whole/ltv_train"] = lambda: bench.whole_ours(1)
    found["whole/ltv_train, two threads"] = lambda: bench.whole_ours(2)
    found["whole/ADBC, whole tensors, fused AdamW, ONNX"] = lambda: bench.whole_peer("best", bench.options.repeat)
    found["whole/SQLAlchemy, pandas, DataLoader, ONNX"] = lambda: bench.whole_peer("usual", 1)
    sizes = [(100_000, 32, batch) for batch in (256, 1024, 4096, 16384)] + [(100_000, 8, 1024), (100_000, 128, 1024)]
    for rows, columns, batch in [*sizes, (1_000_000, 32, 1024), (10_000_000, 32, 1024)]:
        found[f"growth/{rows} x {columns}, {batch}"] = lambda size=(rows, columns, batch): bench.growth(*size)
    for memory in ("512MB", "64GB"):
        found[f"memory/{memory}"] = lambda memory=memory: bench.memory(memory)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], metavar="PART")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--large-rows", type=int, default=20_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="measure nothing, write the page from what there is")
    options = parser.parse_args()
    results = json.loads(STORE.read_text()) if STORE.exists() else {"parts": {}, "missing": {}}
    if not options.docs:
        results["machine"], results["versions"] = processor(), versions()
        bench = Bench(Trainer(), options, results["missing"])
        for name, measure in parts(bench).items():
            if name.startswith(tuple(options.only)):
                begun = time.perf_counter()
                results["parts"][name] = measure()
                print(f"{name} ({time.perf_counter() - begun:.0f} s): {summary(results['parts'][name])}", flush=True)
                STORE.write_text(json.dumps(results, indent=1))
    report.write(ROOT / "docs", {name: results["parts"][name] for name in parts(None) if name in results["parts"]}, results)
    print("Wrote docs/training.md and docs/training.svg.")


if __name__ == "__main__":
    sys.exit(main())
