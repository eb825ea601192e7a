"""How long trees take, on the same rows and with the same settings as LightGBM's hurdle of two models.

    cargo xtask bench trees -- [--repeats N] [--threads 1,2] [--times 1,10] [--rounds N]

Both sides grow a model of who buys and one of what is spent on the features of CDNOW and of Online Retail II, with one fold and early
stopping on the validation customers, or with a fixed number of rounds (`--rounds`). Runs alternate; the ratio of each pair is taken, and its
median printed with the smallest and the largest. `--times`: copies of each customer, each value of a copy moved by up to a tenth, to see larger tables.

Of pg_ltv it is the whole training as `ltv_jobs` counts it but for the reading of rows: preprocessing, bins, trees, calibration, metrics, graph. Of
LightGBM bins and trees.
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
from accuracy.main import DATA, features, load
from accuracy.peers import MOST_TREES, PATIENCE, hurdle



def tables(connection, data, times):
    """A table with the features, a split, and so many copies of each customer."""
    load(connection, data)
    as_of, horizon = DATA[data]["A"]
    features(connection, f"{data}_features", data, [as_of], horizon)
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


def ours(connection, table, threads, rounds):
    options = {"ensemble": 1, "threads": threads, "rounds": rounds or MOST_TREES, "round_patience": 20000 if rounds else PATIENCE}
    options |= {"blend_bgnbd": False}
    (job,) = connection.execute(
        "SELECT ltv_train(%s, %s, backbone => 'trees', split_column => 'split', options => %s)", (f"m_{table}", table, json.dumps(options))
    ).fetchone()
    (version,) = connection.execute("SELECT ltv_wait(%s)", (job,)).fetchone()
    return connection.execute(
        "SELECT training_seconds FROM ltv_versions WHERE model = %s AND version = %s", (f"m_{table}", version)
    ).fetchone()[0]


def theirs(matrix, spent, is_train, threads):
    begun = time.monotonic()
    hurdle(0, threads, matrix[is_train], spent[is_train], matrix[~is_train], spent[~is_train], matrix[:1])
    return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--times", default="1,10")
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    if arguments.rounds:
        peers.MOST_TREES, peers.PATIENCE = arguments.rounds, 100000
    times = [int(count) for count in arguments.times.split(",")]
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        for data in DATA:
            columns = tables(connection, data, times)
            for count in times:
                table = f"{data}_{count}"
                rows = connection.execute(f"SELECT split = 'train', ltv, {', '.join(columns)} FROM {table}").fetchall()
                values = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
                is_train, spent, matrix = values[:, 0] > 0, values[:, 1], values[:, 2:]
                for threads in (int(threads) for threads in arguments.threads.split(",")):
                    pairs = []
                    for _ in range(arguments.repeats):
                        pairs.append((ours(connection, table, threads, arguments.rounds), theirs(matrix, spent, is_train, threads)))
                    ratios = sorted(own / other for own, other in pairs)
                    own, other = (statistics.median(side) for side in zip(*pairs))
                    print(
                        f"{data}, {len(rows)} rows, {threads} threads: pg_ltv {own:.2f} s, LightGBM {other:.2f} s,"
                        f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
