"""How time and memory grow with the customers, and how much accuracy more rows bring.

    cargo xtask bench scale -- [--customers 250000 500000 1000000] [--rows 30000 100000 300000 1000000 2000000] [--no-rows]

For each size: features of all customers as of one day, training, scoring into a table, monitoring. Printed are seconds by the clock and of
processors, per million customers as well, and the most memory of its own that the server process had. Then, on the customers of the last size, models
of more and more rows are judged by a fifth of the customers that none has seen. All with defaults. Tables are unlogged.
"""

import argparse
import os
import threading
import time

import psycopg
from features.main import Server
from shared.page import processor, table
from shared.shop import SHOP

END, HORIZON = "2024-12-31", 90
FEATURES = """SELECT ltv_create_features('{name}', 'orders', date_column => 'ordered_at', value_column => 'amount', horizon => {horizon}, as_of => '{as_of}')"""
STEPS = {
    "features to learn from": FEATURES.format(name="learn", horizon=HORIZON, as_of="2024-10-02"),
    "features of today": FEATURES.format(name="today", horizon=HORIZON, as_of=END),
    "training": "CALL ltv_train_now('scale', 'learn')",
    "scoring": "CREATE UNLOGGED TABLE scores AS SELECT customer_id, ltv_predict('scale', f) AS ltv FROM today f",
    "monitoring": "SELECT ltv_monitor('scale', 'today')",
}
METRICS = ("normalized_gini", "spearman", "decile_mape", "total_ratio")


def measured(connection, statement):
    """Seconds by the clock and of processors, and megabytes: of a new session, so that its memory is that of the statement."""
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as session:
        session.execute("SET client_min_messages = warning")
        server = Server(session)
        done = threading.Event()
        watcher = threading.Thread(target=server.watch, args=(done,))
        watcher.start()
        before, start = server.seconds(), time.monotonic()
        session.execute(statement)
        clock = time.monotonic() - start
        time.sleep(1)  # a worker's time is known once it has ended
        processors = server.seconds() - before
        done.set()
        watcher.join()
    most = server.most
    if statement.startswith("CALL ltv_train_now"):
        (most,) = connection.execute("SELECT memory_bytes / 1048576.0 FROM ltv_jobs ORDER BY job DESC LIMIT 1").fetchone()
    return clock, processors, float(most or 0)


def grown(connection, customers):
    """The steps for so many customers: per step clock, processors, memory."""
    connection.execute("DROP TABLE IF EXISTS learn, today, scores, orders")
    connection.execute("SELECT setseed(0.5)")
    connection.execute(SHOP % {"customers": customers})
    connection.execute("VACUUM ANALYZE orders")
    (orders,) = connection.execute("SELECT count(*) FROM orders").fetchone()
    print(f"{customers:,} customers, {orders:,} orders", flush=True)
    result = {}
    for step, statement in STEPS.items():
        result[step] = measured(connection, statement)
        print(f"  {step}: {result[step][0]:.1f} s, {result[step][1]:.1f} of processors, {result[step][2]:.0f} MB", flush=True)
    (rows,) = connection.execute("SELECT count(*) FROM learn").fetchone()
    connection.execute("SELECT ltv_drop_model('scale')")
    return orders, rows, result


def accuracy(connection, sizes):
    """Metrics of models of more and more rows on customers that none has seen."""
    connection.execute("CREATE UNLOGGED TABLE known AS SELECT * FROM learn WHERE abs(hashint4(customer_id)) % 5 > 0 ORDER BY hashint4extended(customer_id, 7)")
    connection.execute("CREATE UNLOGGED TABLE unseen AS SELECT * FROM learn WHERE abs(hashint4(customer_id)) % 5 = 0")
    (most,), (judged,) = (connection.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("known", "unseen"))
    lines = []
    for size in [*(size for size in sizes if size < most), most]:
        clock, processors, _ = measured(connection, f"CALL ltv_train_now('rows', query => 'SELECT * FROM known LIMIT {size}', options => '{{\"max_rows\": 0}}')")
        connection.execute("SELECT ltv_set_alias('rows', max(version)) FROM ltv_versions WHERE model = 'rows'")
        found = dict(connection.execute("SELECT metric, value FROM ltv_evaluate('rows', 'unseen')").fetchall())
        lines.append([f"{size:,}", f"{clock:.1f}", f"{processors:.1f}", *(f"{found[metric]:.4f}" for metric in METRICS)])
        print("  " + " | ".join(lines[-1]), flush=True)
    return judged, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--customers", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--rows", type=int, nargs="+", default=[30_000, 100_000, 300_000, 1_000_000, 2_000_000])
    parser.add_argument("--no-rows", action="store_true")
    options = parser.parse_args()
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        results = {size: grown(connection, size) for size in options.customers}
        judged, lines = (0, []) if options.no_rows else accuracy(connection, options.rows)
    print(f"\n{processor()}. Seconds of processors; in brackets by the clock; per million customers; most memory in MB.\n")
    head = ["", *(f"{size:,}" for size in results)]
    rows = [["orders", *(f"{orders:,}" for orders, _, _ in results.values())], ["rows to learn from", *(f"{rows:,}" for _, rows, _ in results.values())]]
    for step in STEPS:
        cells = []
        for size, (_, _, result) in results.items():
            clock, processors, memory = result[step]
            cells.append(f"{processors:.1f} ({clock:.1f}); {processors * 1e6 / size:.1f}; {memory:.0f} MB")
        rows.append([step, *cells])
    print(table(head, rows))
    if lines:
        print(f"\nJudged on {judged:,} customers that no training has seen:\n")
        print(table(["rows", "s", "s of processors", *METRICS], lines))


if __name__ == "__main__":
    main()
