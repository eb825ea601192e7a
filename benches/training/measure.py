"""How a training is measured: ltv_train through SQL, everything else in a process of its own."""

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

URL = os.environ["PG_LTV_URL"]
PEERS = Path(__file__).with_name("peers.py")
LONGEST = 300


class Memory(threading.Thread):
    """The most memory of its own (RssAnon) that a process was seen with, in MB."""

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


def peer(missing, **job):
    """The peer's result; None, and why in `missing`, where it cannot run here or does not come to an end."""
    label = ", ".join(filter(None, [job["kind"], job.get("backbone"), job.get("objective")]))
    if job["kind"] in missing:
        return None
    process = subprocess.Popen([sys.executable, str(PEERS), json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    memory = Memory(lambda: process.pid)
    memory.start()
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()[0], f"no result after {LONGEST} s"
    most = memory.end()
    found = re.search(r"^RESULT (.*)$", out, re.M)
    if found:
        missing.pop(label, None)
        return json.loads(found[1]) | {"memory": most}
    why = (err.strip().splitlines() or ["no result"])[-1][:200]
    # What is not installed need not be tried again.
    label = job["kind"] if why.startswith(("ModuleNotFoundError", "ImportError")) else label
    missing[label] = why
    print(f"  {label} left out: {why}", flush=True)
    return None


class Trainer:
    def __init__(self):
        self.connection = psycopg.connect(URL, autocommit=True)
        self.watcher = psycopg.connect(URL, autocommit=True)
        self.made = {}

    def table(self, name, rows, columns, steps=0):
        """Uniform features, a third of the customers pays. Made once, unless another one of that name is wanted."""
        if self.made.get(name) == (rows, columns, steps):
            return
        features = ", ".join(f"(random() * 2 - 1)::real AS f{i}" for i in range(columns))
        history = f", (SELECT array_agg(ARRAY[random(), random()]::real[]) FROM generate_series(1, {steps} + 0 * id)) AS history" if steps else ""
        signal = f"(f0 + f{columns - 1})"
        self.drop(name)
        self.connection.execute(f"""
            CREATE UNLOGGED TABLE {name} AS SELECT s.*,
                CASE WHEN random() < 1 / (1 + exp(0.7 - {signal})) THEN exp(3 + 0.5 * {signal} + random() * 2 - 1) ELSE 0 END::float8 AS ltv
            FROM (SELECT id AS customer_id, {features}{history} FROM generate_series(1, {rows}) id OFFSET 0) s""")
        self.connection.execute(f"VACUUM (FREEZE, ANALYZE) {name}")
        self.made[name] = (rows, columns, steps)

    def drop(self, name):
        self.made.pop(name, None)
        self.connection.execute(f"DROP TABLE IF EXISTS {name}")

    def train(self, table, backbone="mlp", objective="ziln", memory="64GB", **options):
        options = {"epochs": 5, "max_rows": 0, "epoch_rows": 1_000_000_000, "patience": 1000, "ensemble": 1, "batch_size": 1024, "threads": 1} | options

        def worker():
            found = self.watcher.execute("SELECT pid FROM ltv.jobs WHERE status = 'running' AND pid IS NOT NULL").fetchone()
            return found and found[0]

        self.connection.execute("SELECT set_config('ltv.training_memory', %s, false)", (memory,))
        watched = Memory(worker)
        watched.start()
        try:
            begun = time.perf_counter()
            job = self.connection.execute(
                "SELECT ltv_train('bench', %s, objective => %s, backbone => %s, options => %s)",
                (table, objective, backbone, json.dumps(options)),
            ).fetchone()[0]
            version = self.connection.execute("SELECT ltv_wait(%s)", (job,)).fetchone()[0]
            seconds = time.perf_counter() - begun
        finally:
            most = watched.end()
        history, metrics = self.connection.execute(
            "SELECT history, metrics FROM ltv.versions WHERE model = 'bench' AND version = %s", (version,)
        ).fetchone()
        self.connection.execute("SELECT ltv_drop_model('bench')")
        epochs = history["epochs"]
        return {
            "rates": [epoch["rows_per_second"] for epoch in epochs],
            "training": sum(epoch["seconds"] for epoch in epochs),
            "validation_loss": min(epoch["validation"]["loss"] for epoch in epochs),
            "gini": metrics.get("normalized_gini"),
            "seconds": seconds,
            "memory": most,
        }


def middle(rates):
    """Median and range; the first epoch warms up."""
    rates = sorted(rates[1:] or rates)
    return statistics.median(rates), rates[0], rates[-1]
