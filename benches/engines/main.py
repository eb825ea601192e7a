"""Scoring in the database beside the recipes of docs/engines.md, on the same rows: `cargo xtask bench engines`.

    [-- --rows N --repeat N --only duckdb polars pandas spark --no-report]

A table of 14 features of simulated customers and a default model, learnt from a part of them. Every way begins with the rows in the form
that is its own (a table; a Parquet file) and ends with ids and scores in that form. Each run is a process of its own. Its memory is the most
that it and its children had of their own at a time; of pg_ltv that of the server's processes for the session. Runs alternate; printed is the
middle one, with the seconds of processors that it took.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from shared.page import processor, table, write_generated

URL, OUT, ROOT = os.environ["PG_LTV_URL"], Path(os.environ["PG_LTV_OUT"]), Path(os.environ["PG_LTV_ROOT"])
PAGE = ROOT / "docs/engines.md"
# Customers with a tenure, a rate of buying and a mean amount of their own.
ROWS = """
CREATE UNLOGGED TABLE customers WITH (autovacuum_enabled = off) AS
SELECT id AS customer_id, least(t, floor(-ln(1 - u[1]) * 60 / rate)::int) AS recency, n AS frequency, t, mean AS monetary_mean,
       mean * (1 + u[2]) AS monetary_max, CASE WHEN n > 0 THEN mean * u[3] ELSE 0 END AS monetary_std, mean * (0.5 + u[4]) AS monetary_last,
       (u[1] * rate)::int AS count_7, mean * (u[1] * rate)::int AS sum_7, (2 * u[2] * rate)::int AS count_30, mean * (2 * u[2] * rate)::int AS sum_30,
       CASE WHEN n > 0 THEN t / n ELSE -1 END::float8 AS mean_interpurchase, mean * (0.5 + u[3]) AS first_amount,
       CASE WHEN u[5] < rate / 6 THEN mean * rate * (0.5 + u[4]) ELSE 0 END AS ltv
FROM (SELECT id, u, 30 + (u[1] * 700)::int AS t, exp(2 * u[2] - 1) AS rate, (u[3] * exp(2 * u[2] - 1) * 4)::int AS n, exp(3 + u[4]) AS mean
      FROM (SELECT id, ARRAY(SELECT (hashint8extended(id, k) & 16777215) / 16777216.0::float8 FROM generate_series(1, 5) k) AS u
            FROM generate_series(1, %s) id) x) y
"""
WAYS = {"duckdb": "DuckDB, 100,000 rows at a time", "polars": "polars, the whole file", "pandas": "pandas, the whole file", "spark": "Spark, two tasks at a time"}


def processes(root):
    """A process and all below it."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            children.setdefault(path.read_text().rpartition(")")[2].split()[1], []).append(path.parent.name)
        except OSError:
            pass
    found = [str(root)]
    for process in found:
        found += children.get(process, [])
    return found


class Watch:
    """What the processes that `find` names cost while it lasts: seconds of processors, and the most memory of their own."""

    def __init__(self, find):
        self.find, self.most, self.ticks, self.done = find, 0, {}, threading.Event()

    def look(self):
        memory = 0
        for process in self.find():
            try:
                self.ticks[process] = sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
                with open(f"/proc/{process}/status", encoding="utf-8") as status:
                    memory += sum(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
            except OSError:
                pass
        self.most = max(self.most, memory / 1024)

    def __enter__(self):
        def watch():
            while not self.done.wait(0.05):
                self.look()

        self.thread, self.start = threading.Thread(target=watch), time.perf_counter()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start
        self.done.set()
        self.thread.join()

    def found(self):
        return self.seconds, sum(self.ticks.values()) / os.sysconf("SC_CLK_TCK"), self.most


starts = []  # seconds until a session of Spark had answered its first question


def inside(connection, workers):
    with psycopg.connect(URL, autocommit=True) as session:
        session.execute(f"DROP TABLE IF EXISTS scores; SET max_parallel_workers_per_gather = {workers}")
        backend = session.info.backend_pid
        names = f"SELECT pid FROM pg_stat_activity WHERE pid = {backend} OR leader_pid = {backend}"
        with Watch(lambda: [process for process, in connection.execute(names).fetchall()]) as watch:
            session.execute("CREATE UNLOGGED TABLE scores AS SELECT customer_id, ltv_predict('shop', c) AS ltv FROM customers c")
        return watch.found()


def outside(way, rows, onnx, card):
    run = subprocess.Popen([sys.executable, Path(__file__).with_name("ways.py"), way, rows, onnx, card, OUT / f"scores_{way}.parquet"],
                           env=os.environ | {"PYTHONPATH": str(ROOT / "examples/engines")}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with Watch(lambda: processes(run.pid)) as watch:
        printed, errors = run.communicate()
    if run.returncode:
        sys.exit(f"{way} failed:\n{errors[-3000:]}")
    starts.extend(float(line.split()[1]) for line in printed.splitlines() if line.startswith("started "))
    return watch.found()


def to_parquet(connection, path):
    """By COPY, as a reader would do it without a further program."""
    import duckdb

    csv = path.with_suffix(".csv")
    start = time.perf_counter()
    with open(csv, "wb") as file, connection.cursor().copy("COPY customers TO STDOUT (FORMAT csv, HEADER)") as copy:
        for block in copy:
            file.write(block)
    with duckdb.connect() as engine:
        types = dict(connection.execute("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attnum > 0"))
        engine.execute(f"COPY (SELECT * FROM read_csv('{csv}', columns = {types})) TO '{path}' (FORMAT parquet)")
    csv.unlink()
    return time.perf_counter() - start


def same(connection, path):
    """The scores of a file are those of the table."""
    import pyarrow.parquet as pq

    scores = pq.read_table(path)
    count, total = connection.execute("SELECT count(*), sum(ltv) FROM scores").fetchone()
    found = scores["ltv"].to_numpy().sum()
    if scores.num_rows != count or abs(found - total) > 1e-6 * total:
        sys.exit(f"{path}: {scores.num_rows} scores of {found} in all, not {count} of {total}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--no-report", action="store_true", help="leave docs/engines.md as it is")
    given = parser.parse_args()
    if shutil.which("java") is None and "spark" in given.only:
        given.only.remove("spark")
        print("Spark is left out: java is not installed")
    connection = psycopg.connect(URL, autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_ltv")
    psycopg.ClientCursor(connection).execute(ROWS, (given.rows,))
    connection.execute("VACUUM ANALYZE customers")
    connection.execute("CREATE TABLE learnt_from AS SELECT * FROM customers WHERE customer_id <= 5000")
    connection.execute("CALL ltv_train_now('shop', 'learnt_from')")
    onnx, card, rows = OUT / "engines.onnx", OUT / "engines.json", OUT / "engines.parquet"
    file, said = connection.execute("SELECT ltv_export_onnx('shop'), ltv_model_card('shop')::text").fetchone()
    onnx.write_bytes(file)
    card.write_text(said, encoding="utf-8")
    leaving = to_parquet(connection, rows)
    print(f"{given.rows:,} rows; to Parquet by COPY in {leaving:.1f} s", flush=True)

    runs = {}
    for _ in range(given.repeat):
        for way in ["pg_ltv, one process", "pg_ltv, two parallel workers", *given.only]:
            if way.startswith("pg_ltv"):
                found = inside(connection, 2 if "two" in way else 0)
            else:
                found = outside(way, rows, onnx, card)
                same(connection, OUT / f"scores_{way}.parquet")
            runs.setdefault(WAYS.get(way, way), []).append(found)
            print(f"{way:30} {found[0]:7.1f} s, {found[1]:7.1f} of processors, {found[2]:6.0f} MB", flush=True)
    cells = []
    for way, measured in runs.items():
        clock, processors, memory = (statistics.median(column) for column in zip(*measured))
        cells.append((way, f"{clock:.1f} s", f"{given.rows / clock:,.0f}", f"{processors:.1f} s", f"{memory:,.0f} MB"))
    started = f" Of Spark's time, {statistics.median(starts):.0f} s passed before its session had answered a first question." if starts else ""
    text = f"""{given.rows:,} customers of 14 features, a default model, {f"{given.repeat} runs of each in turn, the middle one" if given.repeat > 1 else "1 run of each"}. {processor()}, shared with other work.

{table(["way", "time", "rows per second", "of processors", "memory of its own"], cells)}

Before any of these but the first two, the rows have to leave the server: by `COPY`, and from CSV to Parquet, that took {leaving:.0f} s.{started}"""
    print("\n" + text)
    if not given.no_report:
        write_generated(PAGE, "engines", text)
    for path in OUT.glob("scores_*.parquet"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    rows.unlink()


if __name__ == "__main__":
    main()
