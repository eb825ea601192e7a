"""Accuracy on data never seen: pg_ltv, through SQL, beside LightGBM and BG/NBD in Python.

    cargo xtask bench accuracy -- [--quick] [--seeds N] [--data cdnow,online_retail_2] [--protocol A,AX,B,U,N,NT,NP,H] [--only ours|peers] [--docs]
        [--ways defaults,trees,both] [--options JSON]

Protocol A: the customers of a held-out part, at the cut-off that the others are trained on. AX: the same, each fifth of the customers
held out in turn, judged together, so that chance has less of a say. Protocol B: everybody at a later cut-off, trained at earlier
ones whose horizon has ended by then. Protocol U: as used: only the orders up to that later day are loaded, pg_ltv chooses the cut-offs to
learn from, and everybody is judged. Protocol N: new customers, each looked at 30 days after the first order, by the `age` of ltv_create_features
with its defaults. NT: the same out of time, fitted on those whose horizon had ended by a day, judged on those who came later. NP: as N, on a
table of features in plain SQL that nobody told pg_ltv anything about. Protocol H: one model of several horizons beside a model for each (horizons.py). Both sides see the same features, made by ltv_create_features, and the same training rows.
pg_ltv runs with its defaults (`ltv_train`) and, but for AX, chooses among models (`ltv_compare`). Under U the simplest rule stands beside: what
a customer spent in the last horizon, as it is and with its many ties at zero in the order of pg_ltv's predictions. Other ways on demand: trees alone, and networks
with trees beside them.

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

import numpy as np
import psycopg
from accuracy import horizons
from accuracy.document import write
from accuracy.metrics import evaluate

ROOT = Path(os.environ["PG_LTV_ROOT"])
OUT = Path(os.environ["PG_LTV_OUT"])

# Under A the customers below the first number train, those from it up to the second are the test: of Online Retail II the
# last fifth of the customers is not here, so the fifth before it stands in. Under NT those fitted on had reached the age by
# the first day, those judged reached it after the second.
DATA = {
    "cdnow": {
        "file": "cdnow_orders.csv.gz",
        "test": (80, 100),
        "A": ("1997-09-30", 273),
        "B": (["1997-07-02", "1997-08-01", "1997-08-31", "1997-09-30"], "1998-02-13", 136),
        # They all came within three months, so that the horizons of those who are judged began before those of the others had ended.
        "NT": ("1997-03-16", "1997-03-16"),
    },
    "online_retail_2": {
        "file": "online_retail_2_orders.csv.gz",
        "test": (60, 80),
        "A": ("2011-06-09", 183),
        "B": ([f"2010-{month:02d}-08" for month in range(6, 13)], "2011-06-09", 183),
        "NT": ("2010-06-11", "2010-12-08"),
    },
}


# How pg_ltv trains: by name the label, more arguments, more options.
WAYS = {
    "defaults": ("pg_ltv defaults", "", {}),
    "trees": ("pg_ltv trees", ", backbone => 'trees'", {}),
    "both": ("pg_ltv networks and trees", "", {"blend_trees": True}),
}


def load(connection, data):
    with gzip.open(ROOT / "tests/data" / DATA[data]["file"], "rt", encoding="utf-8") as file:
        rows = [(row["customer_id"], row["ts"], row["amount"], row["split_bucket"]) for row in csv.DictReader(file)]
    connection.execute(f"CREATE TABLE {data} (customer_id text, ts date, amount numeric, split_bucket int)")
    with connection.cursor() as cursor, cursor.copy(f"COPY {data} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(f"CREATE INDEX ON {data} (customer_id, ts)")


def features(connection, name, data, horizon, as_of=None, age=None):
    """`as_of`: the cut-offs; without them and without an age those that pg_ltv chooses."""
    connection.execute(
        "SELECT ltv_create_features(%s, %s, 'customer_id', 'ts', 'amount', as_of => %s::date[], age => %s, horizon => %s)",
        (name, data, as_of, age and [age], horizon),
    )


# The rule that needs no model.
NAIVE = "spend of the last horizon"

# Each customer as of so many days after the first order, and what was spent in so many days from then on.
AGE, NEW_HORIZON = 30, 180


def new_customers(connection, name, data):
    """In plain SQL."""
    connection.execute(f"""
        CREATE TABLE {name} AS
        WITH c AS (
            SELECT customer_id, min(ts) AS first_day, min(ts) + {AGE} AS day FROM {data} WHERE amount > 0 GROUP BY 1
            HAVING min(ts) + {AGE + NEW_HORIZON} <= (SELECT max(ts) FROM {data})
        ), d AS (
            SELECT customer_id, ts, first_day, day, sum(amount) AS amount FROM {data} JOIN c USING (customer_id)
            WHERE amount > 0 AND ts <= day GROUP BY 1, 2, 3, 4
        ), f AS (
            SELECT customer_id, day, count(*) AS orders, day - max(ts) AS days_since_last, count(*) FILTER (WHERE ts > day - 7) AS orders_7,
                sum(amount)::float8 AS total, avg(amount)::float8 AS mean, max(amount)::float8 AS largest, min(amount)::float8 AS smallest,
                stddev(amount)::float8 AS deviation, (array_agg(amount ORDER BY ts))[1]::float8 AS first,
                (array_agg(amount ORDER BY ts DESC))[1]::float8 AS last, extract(month FROM first_day)::int AS month,
                extract(isodow FROM first_day)::int AS weekday, (max(ts) - min(ts))::float8 / nullif(count(*) - 1, 0) AS gap
            FROM d GROUP BY customer_id, day, first_day
        )
        SELECT f.*, greatest(coalesce((SELECT sum(o.amount) FROM {data} o
            WHERE o.customer_id = f.customer_id AND o.ts > f.day AND o.ts <= f.day + {NEW_HORIZON}), 0), 0)::float8 AS ltv
        FROM f""")
    connection.execute(f"ALTER TABLE {name} DROP COLUMN day")


def exams(connection, data, protocol):
    """For each exam its name, the query to fit on, the query to score, both together for the peers (with the part that stops the trees: a
    quarter of the training customers), and the horizon."""
    plan = DATA[data]
    name = f"{data}_{protocol.lower()}"
    buckets = f"(SELECT customer_id, min(split_bucket) AS bucket FROM {data} GROUP BY 1) b USING (customer_id)"
    first, last = plan["test"]
    if protocol in ("B", "U"):
        as_of, later, horizon = plan["B"]
        log = data
        if protocol == "U":
            as_of, log = None, f"{name}_log"
            connection.execute(f"CREATE TABLE {log} AS SELECT * FROM {data} WHERE ts <= '{later}'")
        features(connection, f"{name}_all", log, horizon, as_of)
        features(connection, f"{name}_later", data, horizon, [later])
        divisions = [(f"SELECT f.* FROM {name}_all f", f"SELECT f.* FROM {name}_later f", f"bucket < {last * 3 // 4}")]
    else:
        if protocol in ("N", "NT"):
            horizon = NEW_HORIZON
            features(connection, f"{name}_all", data, horizon, age=AGE)
        elif protocol == "NP":
            horizon = NEW_HORIZON
            new_customers(connection, f"{name}_all", data)
        else:
            as_of, horizon = plan["A"]
            features(connection, f"{name}_all", data, horizon, [as_of])
        rows = f"SELECT f.* FROM {name}_all f JOIN {buckets} WHERE f.ltv IS NOT NULL AND"
        if protocol == "NT":
            until, after = plan["NT"]
            divisions = [(f"{rows} as_of <= '{until}'", f"{rows} as_of > '{after}'", f"bucket < {last * 3 // 4}")]
        elif protocol in ("A", "N", "NP"):
            divisions = [(f"{rows} bucket < {first}", f"{rows} bucket >= {first} AND bucket < {last}", f"bucket < {first * 3 // 4}")]
        else:
            parts = [f"bucket >= {lowest} AND bucket < {lowest + 20}" for lowest in range(0, last, 20)]
            divisions = [(f"{rows} NOT ({part})", f"{rows} {part}", "bucket % 4 > 0") for part in parts]
    for index, (fit, score, grows) in enumerate(divisions):
        both = (
            f"SELECT CASE WHEN {grows} THEN 'fit' ELSE 'validation' END AS part, f.* FROM ({fit}) f JOIN {buckets}"
            f" UNION ALL SELECT 'score', f.* FROM ({score}) f"
        )
        yield f"{name}_{index}", fit, score, both, horizon


def ours(connection, name, fit, score, seeds, compare, arguments):
    """By label and seed: truth, prediction, probability, seconds, and what a comparison chose."""
    found = {}

    def run(label, function, model, seed, options, more=""):
        begun = time.monotonic()
        (job,) = connection.execute(f"SELECT {function}(%s, query => %s, options => %s{more})", (model, fit, json.dumps(options))).fetchone()
        connection.execute("SELECT ltv_wait(%s)", (job,))
        rows = connection.execute(
            f"SELECT f.ltv, p.ltv, p.purchase_probability FROM ({score}) f, LATERAL ltv_predict_all(%s, f) p ORDER BY f.customer_id COLLATE \"C\"", (model,)
        ).fetchall()
        columns = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
        found[label, seed] = {"columns": columns, "seconds": time.monotonic() - begun}

    for seed in range(seeds):
        for way in arguments.ways.split(","):
            label, more, options = WAYS[way]
            quick = {"ensemble": 2, **({} if way == "trees" else {"epochs": 10})} if arguments.quick else {}
            run(label, "ltv_train", f"{name}_{way}_{seed}", seed, {"seed": seed, **options, **quick, **arguments.options}, more)
    for seed in range(compare):
        options = {"seed": seed, **({"epochs": 5, "ensemble": 1} if arguments.quick else {})}
        model = f"{name}_compared_{seed}"
        run("pg_ltv compare", "ltv_compare", model, seed, options, f", budget => {arguments.budget} * interval '1 second'")
        chosen = connection.execute("SELECT candidate FROM ltv_comparison(%s) WHERE chosen", (model,)).fetchone()[0]
        found["pg_ltv compare", seed]["chosen"] = chosen
    return found


def last_horizon(connection, data, score, horizon, own):
    """The same of what customers spent in the last horizon. `own`: pg_ltv's predictions, which say in which order those come who spent the same."""
    rows = connection.execute(f"""
        SELECT f.ltv, coalesce((SELECT sum(o.amount) FROM {data} o WHERE o.customer_id = f.customer_id AND o.ts <= f.as_of AND o.ts > f.as_of - {horizon}), 0)
        FROM ({score}) f ORDER BY f.customer_id COLLATE "C" """).fetchall()
    truth, spent = np.array(rows, dtype=float).T
    found = {(NAIVE, 0): np.maximum(spent, 0)}
    if own is not None:
        # Far less than a cent apart.
        found[f"{NAIVE}, no ties", 0] = found[NAIVE, 0] + 1e-6 * np.argsort(np.argsort(own)) / len(own)
    return {key: {"columns": np.column_stack([truth, values, np.full(len(values), np.nan)]), "seconds": 0.0} for key, values in found.items()}


def peers(connection, both, horizon, seeds):
    """The same of the peers."""
    table, predictions = OUT / "accuracy_features.csv", OUT / "accuracy_predictions.csv"
    with connection.cursor() as cursor, open(table, "wb") as file:
        with cursor.copy(f"COPY ({both}) TO STDOUT (FORMAT csv, HEADER)") as copy:
            for block in copy:
                file.write(block)
    names = connection.execute(f"SELECT * FROM ({both}) p LIMIT 0").description
    # What pg_ltv does not learn from either.
    columns = [column.name for column in names if column.name not in ("part", "customer_id", "as_of", "ltv", "first_month")]
    command = [sys.executable, Path(__file__).with_name("peers.py"), table, "--horizon", str(horizon), "--seeds", str(seeds)]
    output = subprocess.run(
        [*command, "--columns", ",".join(columns), "--predictions", predictions], check=True, stdout=subprocess.PIPE
    ).stdout
    with open(predictions, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = {"lightgbm_hurdle": "LightGBM hurdle", "lightgbm_tweedie": "LightGBM Tweedie", "bgnbd": "BG/NBD + Gamma-Gamma"}
    found = {}
    for peer, entries in json.loads(output).items():
        for entry in entries:
            wanted = ("ltv", f"{peer}_{entry['seed']}", f"{peer}_{entry['seed']}_probability")
            columns = np.array([[row.get(column, "nan") for column in wanted] for row in rows], dtype=float)
            found[labels[peer], entry["seed"]] = {"columns": columns, "seconds": entry["seconds"]}
    table.unlink()
    predictions.unlink()
    return found


def judged(parts):
    """Metrics of all exams of a protocol together, by label a list with one entry for each seed."""
    results = {}
    for label, seed in parts[0]:
        runs = [part[label, seed] for part in parts]
        truth, prediction, probability = np.concatenate([run["columns"] for run in runs]).T
        entry = {
            "seed": seed,
            "seconds": sum(run["seconds"] for run in runs),
            "metrics": evaluate(truth, prediction, None if np.isnan(probability).any() else probability),
        } | {key: run[key] for run in runs for key in ("chosen",) if key in run}
        results.setdefault(label, []).append(entry)
        print(f"  {label} {seed}: {summary(entry)}", flush=True)
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
    parser.add_argument("--protocol", default="A,AX,B,U,N,NT,NP,H")
    parser.add_argument("--only", choices=("ours", "peers"))
    parser.add_argument("--options", type=json.loads, default={}, help="of ltv_train, in place of the defaults; nothing is written to the docs")
    parser.add_argument("--ways", default="defaults", help=f"how pg_ltv trains, separated by commas: {', '.join(WAYS)}")
    parser.add_argument("--docs", action="store_true", help="write docs/accuracy.md from all results so far and end")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.budget = 1, 20

    store = OUT / ("accuracy-quick.json" if arguments.quick or arguments.options else "accuracy.json")
    results = json.loads(store.read_text()) if store.exists() else {}
    if not arguments.docs:
        with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
            for data in arguments.data.split(","):
                load(connection, data)
                for protocol in arguments.protocol.split(","):
                    print(f"{data}, protocol {protocol}", flush=True)
                    if protocol == "H":
                        found = horizons.run(connection, data, arguments.seeds)
                        for label, entries in found.items():
                            for entry in entries:
                                print(f"  {label} {entry['seed']}: {summary(entry)}", flush=True)
                        results.setdefault(data, {}).setdefault(protocol, {}).update(found)
                        store.write_text(json.dumps(results, indent=1))
                        continue
                    seeds, compare = arguments.seeds, 0 if protocol == "AX" else min(arguments.seeds, arguments.compare)
                    parts = []
                    for name, fit, score, both, horizon in exams(connection, data, protocol):
                        part = {}
                        if arguments.only != "peers":
                            part |= ours(connection, name, fit, score, seeds, compare, arguments)
                        if arguments.only != "ours":
                            part |= peers(connection, both, horizon, seeds)
                            if protocol == "U":
                                own = part.get(("pg_ltv defaults", 0))
                                part |= last_horizon(connection, data, score, horizon, own and own["columns"][:, 1])
                        parts.append(part)
                        print(f"  {name}: fitted and scored", flush=True)
                    found = judged(parts)
                    results.setdefault(data, {}).setdefault(protocol, {}).update(found)
                    store.write_text(json.dumps(results, indent=1))
    if not results:
        raise SystemExit("There are no results yet; run it without --docs first.")
    if arguments.options:
        print("Other options than the defaults: docs/accuracy.md stays as it is.")
    elif arguments.quick:
        print("A quick run: its numbers say nothing about accuracy, docs/accuracy.md stays as it is.")
    else:
        write(ROOT / "docs", results)
        print("Wrote docs/accuracy.md and docs/accuracy.svg.")


if __name__ == "__main__":
    main()
