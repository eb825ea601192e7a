"""Accuracy on data never seen: pg_ltv, through SQL, beside LightGBM and BG/NBD in Python.

    cargo xtask bench accuracy -- [--quick] [--seeds N] [--data cdnow,online_retail_2] [--protocol A,B] [--only ours|peers] [--docs]

Protocol A: the customers of a held-out part, at the cut-off that the others are trained on. Protocol B: everybody at a later
cut-off, trained at earlier ones whose horizon has ended by then. Both sides see the same features, made by ltv_create_features, and
the same training rows. pg_ltv runs with its defaults (`ltv_train`) and chooses among models (`ltv_compare`).

Results of separate runs are put together in target/bench/accuracy.json; --docs writes docs/accuracy.md and its picture from it.
"""

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg

ROOT = Path(os.environ["PG_LTV_ROOT"])
OUT = Path(os.environ["PG_LTV_OUT"])
sys.path.insert(0, str(ROOT / "benches" / "accuracy"))
import numpy as np  # noqa: E402
from document import write  # noqa: E402
from metrics import evaluate  # noqa: E402

# Under A the customers below the first number train, those from it up to the second are the test: of Online Retail II the
# last fifth of the customers is not here, so the fifth before it stands in.
DATA = {
    "cdnow": {
        "file": "cdnow_orders.csv.gz",
        "test": (80, 100),
        "A": ("1997-09-30", 273),
        "B": (["1997-07-02", "1997-08-01", "1997-08-31", "1997-09-30"], "1998-02-13", 136),
    },
    "online_retail_2": {
        "file": "online_retail_2_orders.csv.gz",
        "test": (60, 80),
        "A": ("2011-06-09", 183),
        "B": ([f"2010-{month:02d}-08" for month in range(6, 13)], "2011-06-09", 183),
    },
}


def load(connection, data):
    with gzip.open(ROOT / "tests/data" / DATA[data]["file"], "rt", encoding="utf-8") as file:
        rows = [(row["customer_id"], row["ts"], row["amount"], row["split_bucket"]) for row in csv.DictReader(file)]
    connection.execute(f"CREATE TABLE {data} (customer_id text, ts date, amount numeric, split_bucket int)")
    with connection.cursor() as cursor, cursor.copy(f"COPY {data} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def features(connection, name, data, as_of, horizon):
    connection.execute(
        "SELECT ltv_create_features(%s, %s, 'customer_id', 'ts', 'amount', as_of => %s::date[], horizon => %s)",
        (name, data, as_of, horizon),
    )


def prepare(connection, data, protocol):
    """The relation to fit on (with its part, for LightGBM's early stopping), the query to score, the horizon."""
    plan = DATA[data]
    name = f"{data}_{protocol.lower()}"
    buckets = f"(SELECT customer_id, min(split_bucket) AS bucket FROM {data} GROUP BY 1) b USING (customer_id)"
    first, last = plan["test"]
    if protocol == "A":
        as_of, horizon = plan["A"]
        features(connection, f"{name}_all", data, [as_of], horizon)
        fit = f"SELECT f.* FROM {name}_all f JOIN {buckets} WHERE bucket < {first}"
        score = f"SELECT f.* FROM {name}_all f JOIN {buckets} WHERE bucket >= {first} AND bucket < {last}"
        stops = first * 3 // 4
    else:
        as_of, later, horizon = plan["B"]
        features(connection, f"{name}_all", data, as_of, horizon)
        features(connection, f"{name}_later", data, [later], horizon)
        fit = f"SELECT f.* FROM {name}_all f"
        score = f"SELECT f.* FROM {name}_later f"
        stops = last * 3 // 4
    # Who stops the trees: a quarter of the training customers.
    parts = (
        f"SELECT CASE WHEN bucket < {stops} THEN 'fit' ELSE 'validation' END AS part, f.* FROM ({fit}) f JOIN {buckets}"
        f" UNION ALL SELECT 'score', f.* FROM ({score}) f"
    )
    return name, fit, score, parts, horizon


def ours(connection, name, fit, score, horizon, seeds, arguments):
    results = {}

    def judge(label, model, job, seed, begun):
        connection.execute("SELECT ltv_wait(%s)", (job,))
        rows = connection.execute(
            f"SELECT f.ltv, p.ltv, p.purchase_probability FROM ({score}) f, LATERAL ltv_predict_all(%s, f) p", (model,)
        ).fetchall()
        columns = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
        probability = None if np.isnan(columns[:, 2]).any() else columns[:, 2]
        entry = {"seed": seed, "seconds": time.monotonic() - begun, "metrics": evaluate(columns[:, 0], columns[:, 1], probability)}
        results.setdefault(label, []).append(entry)
        print(f"  {label} {seed}: {summary(entry)}", flush=True)

    for seed in range(seeds):
        options = json.dumps({"seed": seed, **({"epochs": 10, "ensemble": 2} if arguments.quick else {})})
        begun = time.monotonic()
        (job,) = connection.execute(
            "SELECT ltv_train(%s, query => %s, options => %s)", (f"{name}_{seed}", fit, options)
        ).fetchone()
        judge("pg_ltv defaults", f"{name}_{seed}", job, seed, begun)
    for seed in range(1 if arguments.quick else min(seeds, arguments.compare)):
        options = json.dumps({"seed": seed, **({"epochs": 5, "ensemble": 1} if arguments.quick else {})})
        begun = time.monotonic()
        model = f"{name}_compared_{seed}"
        (job,) = connection.execute(
            "SELECT ltv_compare(%s, query => %s, options => %s, budget => %s * interval '1 second')",
            (model, fit, options, arguments.budget),
        ).fetchone()
        judge("pg_ltv compare", model, job, seed, begun)
        chosen = connection.execute("SELECT candidate FROM ltv_comparison(%s) WHERE chosen", (model,)).fetchone()[0]
        results["pg_ltv compare"][-1]["chosen"] = chosen
    return results


def peers(connection, parts, horizon, seeds):
    table = OUT / "accuracy_features.csv"
    with connection.cursor() as cursor, open(table, "wb") as file:
        with cursor.copy(f"COPY ({parts}) TO STDOUT (FORMAT csv, HEADER)") as copy:
            for block in copy:
                file.write(block)
    names = connection.execute(f"SELECT * FROM ({parts}) p LIMIT 0").description
    # What pg_ltv does not learn from either.
    columns = [column.name for column in names if column.name not in ("part", "customer_id", "as_of", "ltv", "first_month")]
    output = subprocess.run(
        [sys.executable, ROOT / "benches/accuracy/peers.py", table, "--horizon", str(horizon), "--seeds", str(seeds), "--columns", ",".join(columns)],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    table.unlink()
    labels = {"lightgbm_hurdle": "LightGBM hurdle", "lightgbm_tweedie": "LightGBM Tweedie", "bgnbd": "BG/NBD + Gamma-Gamma"}
    results = {labels[name]: entries for name, entries in json.loads(output).items()}
    for label, entries in results.items():
        for entry in entries:
            print(f"  {label} {entry['seed']}: {summary(entry)}", flush=True)
    return results


def summary(entry):
    metrics = entry["metrics"]
    names = ("normalized_gini", "spearman", "decile_mape", "total_ratio")
    return " ".join(f"{metrics[name]:.3f}" for name in names) + f"  ({entry['seconds']:.0f} s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="few epochs, one seed: only to see that it runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--compare", type=int, default=1, help="seeds of ltv_compare")
    parser.add_argument("--budget", type=int, default=90, help="seconds for the candidates of ltv_compare")
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--protocol", default="A,B")
    parser.add_argument("--only", choices=("ours", "peers"))
    parser.add_argument("--docs", action="store_true", help="write docs/accuracy.md from all results so far and end")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.budget = 1, 20

    store = OUT / ("accuracy-quick.json" if arguments.quick else "accuracy.json")
    results = json.loads(store.read_text()) if store.exists() else {}
    if not arguments.docs:
        with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
            for data in arguments.data.split(","):
                load(connection, data)
                for protocol in arguments.protocol.split(","):
                    print(f"{data}, protocol {protocol}", flush=True)
                    name, fit, score, parts, horizon = prepare(connection, data, protocol)
                    found = {}
                    if arguments.only != "peers":
                        found |= ours(connection, name, fit, score, horizon, arguments.seeds, arguments)
                    if arguments.only != "ours":
                        found |= peers(connection, parts, horizon, arguments.seeds)
                    results.setdefault(data, {}).setdefault(protocol, {}).update(found)
                    store.write_text(json.dumps(results, indent=1))
    if not results:
        raise SystemExit("There are no results yet; run it without --docs first.")
    if arguments.quick:
        print("A quick run: its numbers say nothing about accuracy, docs/accuracy.md stays as it is.")
    else:
        write(ROOT / "docs", results)
        print("Wrote docs/accuracy.md and docs/accuracy.svg.")


if __name__ == "__main__":
    main()
