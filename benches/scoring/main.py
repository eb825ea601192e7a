# requirements: see requirements-scoring.txt
"""Scoring in the database against everything else, side by side in one run: `cargo xtask bench scoring`.

The network beside this file (32-128-64-3) over a real[32] column and over 32 columns, and a model of ours with
categories. Jobs: aggregate, materialise, top 1000, filter. Ways:

    batch scan        as it is, in one process
    2 workers         the same, in parallel
    row by row        ltv.enable_batch_scan = off
    PL/Python         a PL/Python function with a cached session of the Python package onnxruntime
    ADBC              Arrow out, onnxruntime in batches of 1024, the job in numpy, Arrow in
    binary COPY       the same with psycopg
    floor             the same statement over a column instead of a prediction, plus onnxruntime in this process
                      on the same rows in memory

Row by row and PL/Python see a part of the rows, and their times are scaled.
Point queries run in pgbench, prepared, against the same SELECT of a column.

    --only array wide categories large points   some of the parts; results of the others are those of earlier runs
    --rows, --large-rows, --repeat, --seconds   how much
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import onnxruntime
import points
import psycopg
import report
import tables
import ways

OUT = Path(os.environ.get("PG_LTV_OUT", "."))
PARTS = ("array", "wide", "categories", "large", "points")
SLOW_ROWS = 50_000
LARGE_JOBS = ("aggregate", "materialise")


def measure(work, before=lambda: None):
    before()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def score(connection, table, repeat, large):
    """{job: {way: seconds}} of one table, all ways in turn, `repeat` times after one that warms up. A large table is
    scored in the ways and for the jobs that take time there, without warming up."""
    scorer = ways.session(tables.graph_of(connection, table.model))
    run = lambda *statements: [connection.execute(s) for s in statements]
    part = f"WHERE id < {min(SLOW_ROWS, table.rows)}"
    scale = max(1.0, table.rows / SLOW_ROWS)
    adbc = None
    try:
        adbc = ways.open_adbc()
    except Exception as error:  # noqa: BLE001
        print(f"ADBC left out: {error}")
    python = slow = not large
    jobs = LARGE_JOBS if large else ways.JOBS
    if slow:
        try:
            ways.create_python(connection, table)
        except psycopg.Error as error:
            python = False
            print(f"PL/Python left out: {str(error).splitlines()[0]}")
    memory = table.memory()
    empty = lambda: run("TRUNCATE scores", "DROP TABLE IF EXISTS made", "CHECKPOINT")
    times = {job: {} for job in jobs}

    def add(job, way, seconds):
        times[job].setdefault(way, []).append(seconds)
        print(f"{table.title:26} {job:12} {way:22} {seconds:9.3f} s", flush=True)

    for turn in range(1 if large else 0, repeat + 1):
        if turn == 1:
            times = {job: {} for job in jobs}
        onnx = measure(lambda: ways.raw(scorer, memory))
        for job in jobs:
            before = empty if job == "materialise" else lambda: None
            run("SET max_parallel_workers_per_gather = 0")
            for way, expression in (("floor: scan", table.cheap), ("batch scan", table.call)):
                sql = ways.statement(job, table, expression)
                add(job, way, measure(lambda: run(sql), before))
            add(job, "floor: onnxruntime", onnx)
            if slow:
                run("SET ltv.enable_batch_scan = off")
                sql = ways.statement(job, table, table.call, part)
                add(job, "row by row", scale * measure(lambda: run(sql), before))
                run("RESET ltv.enable_batch_scan")
            if python:
                sql = ways.statement(job, table, table.python, part)
                add(job, "PL/Python", scale * measure(lambda: run(sql), before))
            run("SET max_parallel_workers_per_gather = 2")
            sql = ways.statement(job, table, table.call, parallel=True)
            add(job, "2 workers", measure(lambda: run(sql), before))
            if turn <= (1 if large else 3) and not (large and job == "aggregate"):
                add(job, "binary COPY", measure(lambda: ways.by_copy(connection, table, scorer, job), before))
                if adbc:
                    add(job, "ADBC", measure(lambda: ways.by_adbc(adbc, table, scorer, job), before))
    if adbc:
        adbc.close()
    empty()
    return {"title": table.title, "rows": table.rows, "times": times}


def check(connection, table):
    """All ways predict the same."""
    scorer = ways.session(tables.graph_of(connection, table.model))
    got = connection.execute(f"SELECT sum({table.call}) FROM {table.name} t").fetchone()[0]
    wanted = ways.predict(scorer, table.memory()).sum(dtype=float)
    if abs(got - wanted) > 1e-4 * abs(wanted):
        sys.exit(f"{table.name}: the database predicts {got}, onnxruntime {wanted}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large-rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each pgbench run")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--no-report", action="store_true", help="leave docs/ as it is")
    options = parser.parse_args()
    results_file = OUT / "scoring.json"
    results = json.loads(results_file.read_text()) if results_file.is_file() and tuple(options.only) != PARTS else {}
    connection = psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True)
    tables.store_models(connection)
    connection.execute("CREATE TABLE scores (id int, p float8)")
    server = connection.execute("SHOW server_version").fetchone()[0].split()[0]
    results["machine"] = report.machine(server, onnxruntime.__version__)
    kinds = {"array": tables.Array, "wide": tables.Wide, "categories": tables.Categories, "large": tables.Array}
    for part in options.only:
        if part == "points":
            continue
        rows = options.large_rows if part == "large" else options.rows
        table = kinds[part](rows)
        table.create(connection)
        if part == "categories":
            tables.train_categories(connection)
        if part != "large":
            check(connection, table)
        repeat = min(options.repeat, 1) if part == "large" else options.repeat
        if part == "array":
            results["two processes"] = ways.two_processes(table)
        results[part] = score(connection, table, repeat, part == "large")
        connection.execute(f"DROP TABLE {table.name} CASCADE")
        results_file.write_text(json.dumps(results))
    if "points" in options.only:
        table = tables.Array(min(options.rows, 1_000_000))
        table.create(connection)
        results["points"] = points.run(table, options.seconds)
        results_file.write_text(json.dumps(results))
    print("\n" + report.text(results))
    if not options.no_report:
        report.write(results)


if __name__ == "__main__":
    sys.exit(main())
