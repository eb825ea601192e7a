"""How long trees take, on the same rows and with the same settings as LightGBM's hurdle of two models.

    cargo xtask bench trees -- [--repeats N] [--threads 1,2] [--times 1,10] [--rounds N] [--processor] [--scoring]

Both sides grow a model of who buys and one of what is spent on the features of CDNOW and of Online Retail II, with one fold and early
stopping on the validation customers, or with a fixed number of rounds (`--rounds`). Runs alternate; the ratio of each pair is taken, and its
median printed with the smallest and the largest. `--times`: copies of each customer, each value of a copy moved by up to a tenth, to see larger tables.

Of pg_ltv it is the whole training as `ltv_jobs` counts it but for the reading of rows: preprocessing, bins, trees, calibration, metrics, graph. Of
LightGBM bins and trees. `--processor`: processor time in place of seconds, for machines that others use too; of pg_ltv with the start of the worker and
the reading of rows.

`--scoring`: what a row of a default model costs in batches, processor time of the backend with the reading of the table, for new customers as
protocol N of the accuracy benchmark looks at them, with the trees beside its networks and without.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
from accuracy import peers
from accuracy.main import DATA, features, load, new_customers
from accuracy.peers import MOST_TREES, PATIENCE, hurdle

# Rows that are scored.
MANY = 100_000


def tables(connection, data, times):
    """A table with the features, a split, and so many copies of each customer."""
    load(connection, data)
    as_of, horizon = DATA[data]["A"]
    features(connection, f"{data}_features", data, horizon, [as_of])
    names = connection.execute(f"SELECT * FROM {data}_features LIMIT 0").description
    numbers = [column.name for column in names if column.name not in ("customer_id", "as_of", "ltv", "first_month")]
    moved = ", ".join(f"({name} * (1 + (n > 0)::int * (random() - 0.5) / 5))::real AS {name}" for name in numbers)
    for count in times:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            f"CREATE TABLE {data}_{count} AS SELECT f.customer_id || '/' || n AS customer_id, {moved}, f.ltv,"
            " CASE WHEN hashtext(f.customer_id || '/' || n) % 4 = 0 THEN 'validation' ELSE 'train' END AS split"
            f" FROM {data}_features f, generate_series(0, {count} - 1) n"
        )
    return numbers


def processor_seconds(process, children=False):
    """Of a process, or of its children that have ended, so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    first = 13 if children else 11
    return sum(int(field) for field in fields[first : first + 2]) / os.sysconf("SC_CLK_TCK")


def server(connection):
    """The process whose children workers are."""
    return int(Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def ours(connection, table, threads, rounds, processor):
    options = {"ensemble": 1, "threads": threads, "rounds": rounds or MOST_TREES, "round_patience": 20000 if rounds else PATIENCE}
    options |= {"blend_bgnbd": False}
    begun = processor_seconds(server(connection), children=True)
    (job,) = connection.execute(
        "SELECT ltv_train(%s, %s, backbone => 'trees', split_column => 'split', options => %s)", (f"m_{table}", table, json.dumps(options))
    ).fetchone()
    (version,) = connection.execute("SELECT ltv_wait(%s)", (job,)).fetchone()
    if processor:
        # The worker says that it is done before it is gone.
        time.sleep(1)
        return processor_seconds(server(connection), children=True) - begun
    return connection.execute(
        "SELECT training_seconds FROM ltv_versions WHERE model = %s AND version = %s", (f"m_{table}", version)
    ).fetchone()[0]


def theirs(matrix, spent, is_train, threads, processor):
    clock = time.process_time if processor else time.monotonic
    begun = clock()
    hurdle(0, threads, matrix[is_train], spent[is_train], matrix[~is_train], spent[~is_train], matrix[:1])
    return clock() - begun


def scoring(connection, data, repeats):
    """Microseconds of a row of default models, with trees beside the networks and without."""
    table = f"{data}_new"
    new_customers(connection, table, data)
    connection.execute(
        f"CREATE TABLE {table}_many AS SELECT f.* FROM generate_series(1, {MANY} / (SELECT count(*) FROM {table}) + 1), {table} f LIMIT {MANY}"
    )
    connection.execute("SET max_parallel_workers_per_gather = 0")
    models = {f"{table}_trees": {}, f"{table}_networks": {"blend_trees": False}}
    for model, options in models.items():
        (job,) = connection.execute("SELECT ltv_train(%s, %s, options => %s)", (model, table, json.dumps(options))).fetchone()
        connection.execute("SELECT ltv_wait(%s)", (job,))
    times = {model: [] for model in models}
    for _ in range(repeats):
        for model, found in times.items():
            # A tick of the clock is a hundredth of a second.
            query = f"SELECT sum(ltv_predict('{model}', f)) FROM {table}_many f, generate_series(1, 5)"
            begun = processor_seconds(connection.info.backend_pid)
            connection.execute(query).fetchall()
            found.append((processor_seconds(connection.info.backend_pid) - begun) / (5 * MANY) * 1e6)
    for model, found in times.items():
        statistics_of, history = connection.execute(
            "SELECT statistics, history FROM ltv.versions WHERE model = %s ORDER BY version DESC LIMIT 1", (model,)
        ).fetchone()
        grown = history.get("trees") or []
        members = max((part["member"] for part in grown), default=1)
        print(
            f"{model}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f}) microseconds a row, trees of a member"
            f" {sum(part['trees'] for part in grown) / members:.0f}, their weight {(statistics_of.get('trees') or {}).get('weight', 0)}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--times", default="1,10")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--processor", action="store_true", help="processor time in place of seconds")
    parser.add_argument("--scoring", action="store_true", help="what scoring costs, in place of training")
    arguments = parser.parse_args()
    if arguments.rounds:
        peers.MOST_TREES, peers.PATIENCE = arguments.rounds, 100000
    times = [int(count) for count in arguments.times.split(",")]
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        for data in DATA:
            if arguments.scoring:
                load(connection, data)
                scoring(connection, data, arguments.repeats)
                continue
            columns = tables(connection, data, times)
            for count in times:
                table = f"{data}_{count}"
                rows = connection.execute(f"SELECT split = 'train', ltv, {', '.join(columns)} FROM {table}").fetchall()
                values = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
                is_train, spent, matrix = values[:, 0] > 0, values[:, 1], values[:, 2:]
                for threads in (int(threads) for threads in arguments.threads.split(",")):
                    pairs = []
                    for _ in range(arguments.repeats):
                        own = ours(connection, table, threads, arguments.rounds, arguments.processor)
                        pairs.append((own, theirs(matrix, spent, is_train, threads, arguments.processor)))
                    ratios = sorted(own / other for own, other in pairs)
                    own, other = (statistics.median(side) for side in zip(*pairs))
                    print(
                        f"{data}, {len(rows)} rows, {threads} threads: pg_ltv {own:.2f} s, LightGBM {other:.2f} s,"
                        f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
