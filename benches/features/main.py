"""Features: ltv_create_features beside DuckDB and beside the same features in plain SQL.

    cargo xtask bench features [-- --orders N --repeat N --plain --alone]

Orders of a tenth as many customers; one cut-off and six; one process and two parallel workers (DuckDB: one thread and two). Every
side makes a table of the same features. Printed are the middle, the fastest and the slowest of the runs, the seconds of processors that the middle
one took, and of pg_ltv the most memory of its own that the server process had. --plain also runs the SELECT of ltv_feature_sql, which needs no
pg_ltv. --alone leaves out DuckDB and parallel workers, for many orders.
"""

import argparse
import os
import statistics
import threading
import time

import psycopg

URL = os.environ["PG_LTV_URL"]
ONE = ["2024-03-31"]
SIX = ["2023-09-30", "2023-10-31", "2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29"]
HORIZON = 90

DUCKDB = """
create or replace table features as
with days as (
    select customer_id, ordered_at as day, sum(amount) as net from orders group by customer_id, ordered_at
), seen as (
    select k.as_of, d.customer_id, d.day, d.net, d.day <= k.as_of and d.net > 0 as bought, d.day <= k.as_of as known,
           k.as_of - d.day as age
    from days d join (select unnest({cutoffs}::date[]) as as_of) k on d.day <= k.as_of + {horizon}
)
select customer_id, as_of,
       as_of - max(day) filter (bought) as recency, count(*) filter (bought) - 1 as frequency,
       as_of - min(day) filter (bought) as t, avg(net) filter (bought) as monetary_mean,
       max(net) filter (bought) as monetary_max, coalesce(stddev_samp(net) filter (bought), 0) as monetary_std,
       arg_max(net, day) filter (bought) as monetary_last,
       count(*) filter (bought and age < 7) as count_7, coalesce(sum(net) filter (bought and age < 7), 0) as sum_7,
       count(*) filter (bought and age < 30) as count_30, coalesce(sum(net) filter (bought and age < 30), 0) as sum_30,
       count(*) filter (bought and age < 90) as count_90, coalesce(sum(net) filter (bought and age < 90), 0) as sum_90,
       case when count(*) filter (bought) > 1
            then (max(day) filter (bought) - min(day) filter (bought)) / (count(*) filter (bought) - 1)
            else -1 end as mean_interpurchase,
       month(min(day) filter (bought)) as first_month, arg_min(net, day) filter (bought) as first_amount,
       case when as_of + {horizon} <= (select max(ordered_at) from orders)
            then greatest(coalesce(sum(net) filter (not known), 0), 0) end as ltv
from seen group by customer_id, as_of having count(*) filter (bought) > 0 order by 1, 2
"""


def ticks(process, first):
    """Seconds of processors: of a process, or of the children that it has waited for."""
    with open(f"/proc/{process}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[first : first + 2]) / os.sysconf("SC_CLK_TCK")


class Server:
    """The process of a session, what it and its parallel workers cost, and how much memory it has of its own."""

    def __init__(self, sql):
        self.process = sql.execute("select pg_backend_pid()").fetchone()[0]
        with open(f"/proc/{self.process}/stat", encoding="utf-8") as stat:
            self.parent = int(stat.read().rpartition(")")[2].split()[1])
        self.most = 0

    def seconds(self):
        return ticks(self.process, 11) + ticks(self.parent, 13)

    def watch(self, done):
        while not done.wait(0.02):
            with open(f"/proc/{self.process}/status", encoding="utf-8") as status:
                own = next((line for line in status if line.startswith("RssAnon")), "RssAnon: 0 kB")
            self.most = max(self.most, int(own.split()[1]) / 1024)


def timed(run, repeat, seconds):
    """Pairs of seconds by the clock and of processors, the first run left out where there are others."""
    times = []
    for _ in range(repeat + (repeat > 1)):
        before, start = seconds(), time.perf_counter()
        run()
        times.append((time.perf_counter() - start, seconds() - before))
    return times[-repeat:]


def show(name, times, reference=None, rest=""):
    clock = [time[0] for time in times]
    middle, processors = statistics.median(clock), statistics.median(time[1] for time in times)
    ratio = f"  {middle / reference[0]:5.2f} x DuckDB, {processors / reference[1]:.2f} by processors" if reference else ""
    print(f"{name:<44} {middle:7.2f} s  ({min(clock):.2f} to {max(clock):.2f}), {processors:.2f} of processors{ratio}{rest}", flush=True)
    return middle, processors


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--orders", type=int, default=1_000_000)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--plain", action="store_true")
    options.add_argument("--alone", action="store_true")
    given = options.parse_args()
    sql = psycopg.ClientCursor(psycopg.connect(URL, autocommit=True))
    sql.execute("create extension if not exists pg_ltv; set client_min_messages = warning")
    sql.execute("select setseed(0.5)")
    sql.execute(
        """create unlogged table orders with (autovacuum_enabled = off) as
        select (random() ^ 2 * %s)::int::text as customer_id, date '2022-01-01' + (random() * 1000)::int as ordered_at,
               round(exp(3 + sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::numeric, 2) as amount
        from generate_series(1, %s)""",
        (given.orders // 10, given.orders),
    )
    sql.execute("vacuum analyze orders")
    sql.execute("select count(*), count(distinct customer_id) from orders")
    print("{:,} orders of {:,} customers".format(*sql.fetchone()))

    try:
        import duckdb
    except ImportError:
        duckdb = None
        print("DuckDB is not installed")
    if given.alone:
        duckdb = None
    if duckdb:
        path = os.path.join(os.environ["PG_LTV_OUT"], "orders.csv")
        with open(path, "wb") as file, sql.copy("copy orders to stdout csv header") as copy:
            for block in copy:
                file.write(block)
        duck = duckdb.connect()
        duck.execute(
            "create table orders as select * from read_csv(?, columns = {'customer_id': 'varchar', 'ordered_at': 'date', "
            "'amount': 'decimal(12,2)'})",
            [path],
        )
        os.remove(path)

    for cutoffs in (ONE, SIX):
        size = f"{len(cutoffs)} cut-off{'s' if len(cutoffs) > 1 else ''}"
        for workers in (0,) if given.alone else (0, 2):
            reference = None
            if duckdb:
                duck.execute(f"set threads = {max(workers, 1)}")
                query = DUCKDB.format(cutoffs=cutoffs, horizon=HORIZON)
                times = timed(lambda: duck.execute(query), given.repeat, time.process_time)
                reference = show(f"{size}, DuckDB, {max(workers, 1)} thread(s)", times)
            # A session of its own, so that its memory is that of one size.
            session = psycopg.ClientCursor(psycopg.connect(URL, autocommit=True))
            session.execute(f"set client_min_messages = warning; set max_parallel_workers_per_gather = {workers}")
            server = Server(session)

            def features():
                session.execute("drop table if exists features")
                session.execute(
                    "select ltv_create_features('features', 'orders', date_column => 'ordered_at', value_column => 'amount', "
                    "as_of => %s::date[], horizon => %s)",
                    (cutoffs, HORIZON),
                )

            done = threading.Event()
            watcher = threading.Thread(target=server.watch, args=(done,))
            watcher.start()
            times = timed(features, given.repeat, server.seconds)
            done.set()
            watcher.join()
            memory = f", {server.most:.0f} MB ({server.most / given.orders * 1e6:.0f} per million orders)"
            show(f"{size}, pg_ltv, {workers} worker(s)", times, reference, memory)
            session.connection.close()
        if given.plain:
            sql.execute("set max_parallel_workers_per_gather = 0")
            sql.execute("select ltv_feature_sql('features')")
            plain = sql.fetchone()[0]

            def by_hand():
                sql.execute("drop table if exists by_hand; set enable_hashagg = off")
                sql.execute(f"create table by_hand as {plain} order by 1, 2")
                sql.execute("analyze by_hand; reset enable_hashagg")

            show(f"{size}, plain SQL, 0 worker(s)", timed(by_hand, given.repeat, Server(sql).seconds), reference)
        sql.execute("select count(*), sum(ltv)::numeric(20,2), sum(monetary_mean)::numeric(20,4), sum(recency) from features")
        print("  rows, ltv, mean, recency:", *sql.fetchone(), flush=True)
        if duckdb:
            theirs = duck.execute(
                "select count(*), sum(ltv)::decimal(20,2), sum(monetary_mean)::decimal(20,4), sum(recency) from features"
            ).fetchone()
            print("              DuckDB's are:", *theirs, flush=True)


if __name__ == "__main__":
    main()
