"""The whole nightly job, step by step: pg_ltv inside the database beside a Python job that does the same outside of it.

    cargo xtask bench job -- [--customers N] [--repeat N] [--only ours|python]

A shop of simulated customers who buy and drop out at rates of their own. Both sides start from the table `orders` and end with a
table of scores in the database. pg_ltv: ltv_create_features for the cut-offs that it chooses, the same for today, ltv_train,
scoring, all with defaults. Python: orders out by COPY, the same features at the same cut-offs in DuckDB, LightGBM with early
stopping on a fifth of the customers (a model of buying, one of the spend of buyers, one with Tweedie loss; the mean of both
predictions), scores back by COPY. Both may use all cores. Runs alternate; the table shows medians and the range.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import psycopg
from accuracy import peers
from shared.page import processor, table
from shared.shop import SHOP

HORIZON = 90
# One snapshot: what was known at the end of a day, and what was spent in the time after it.
SNAPSHOT = """
SELECT customer_id, DATE '{cut}' AS as_of, date_diff('day', last_day, DATE '{cut}') AS recency, n - 1 AS frequency,
       date_diff('day', first_day, DATE '{cut}') AS t, total / n AS monetary_mean, largest AS monetary_max, coalesce(deviation, 0) AS monetary_std,
       last AS monetary_last, count_7, sum_7, count_30, sum_30, count_90, sum_90,
       CASE WHEN n > 1 THEN date_diff('day', first_day, last_day) / (n - 1) ELSE -1 END AS mean_interpurchase, first AS first_amount,
       greatest(spent, 0) AS ltv
FROM (SELECT customer_id, min(day) FILTER (bought) AS first_day, max(day) FILTER (bought) AS last_day, count(*) FILTER (bought) AS n,
             sum(net) FILTER (bought) AS total, max(net) FILTER (bought) AS largest, stddev_samp(net) FILTER (bought) AS deviation,
             arg_min(net, day) FILTER (bought) AS first, arg_max(net, day) FILTER (bought) AS last, {windows},
             coalesce(sum(net) FILTER (day > DATE '{cut}' AND day <= DATE '{cut}' + {horizon}), 0) AS spent
      FROM (SELECT *, day <= DATE '{cut}' AND net > 0 AS bought FROM days) GROUP BY customer_id) WHERE n > 0
"""
NOT_LEARNT = ("customer_id", "as_of", "ltv")


class Clock:
    """Seconds of each step since the one before."""

    def __init__(self):
        self.steps, self.since = {}, time.monotonic()

    def note(self, step):
        now = time.monotonic()
        self.steps[step], self.since = now - self.since, now


def ours(connection):
    clock = Clock()
    connection.execute("SELECT ltv_create_features('training', 'orders', date_column => 'ordered_at', value_column => 'amount', horizon => %s)", (HORIZON,))
    clock.note("features to learn from")
    connection.execute("SELECT ltv_create_features('today', 'orders', date_column => 'ordered_at', value_column => 'amount', horizon => %s, "
                       "as_of => (SELECT max(ordered_at) FROM orders))", (HORIZON,))
    clock.note("features of today")
    connection.execute("CALL ltv_train_now('nightly', 'training')")
    clock.note("training")
    connection.execute("CREATE TABLE scores AS SELECT customer_id, ltv_predict('nightly', f) AS ltv FROM today f")
    clock.note("scoring and writing")
    return clock.steps


def python(connection, cut_offs):
    import duckdb
    import numpy as np

    clock = Clock()
    path = Path(os.environ["PG_LTV_OUT"]) / "orders.csv"
    with open(path, "wb") as file, connection.cursor().copy("COPY orders TO STDOUT (FORMAT csv, HEADER)") as copy:
        for block in copy:
            file.write(block)
    clock.note("orders out")
    duck = duckdb.connect()
    duck.execute(f"CREATE TABLE days AS SELECT customer_id, ordered_at AS day, sum(amount)::DOUBLE AS net FROM read_csv('{path}') GROUP BY ALL")

    def features(days):
        def one(cut):
            windows = ", ".join(
                f"count(*) FILTER (bought AND day > DATE '{cut}' - {w}) AS count_{w}, coalesce(sum(net) FILTER (bought AND day > DATE '{cut}' - {w}), 0) AS sum_{w}"
                for w in (7, 30, 90)
            )
            return SNAPSHOT.format(cut=cut, windows=windows, horizon=HORIZON)

        return duck.execute(" UNION ALL ".join(one(cut) for cut in days)).fetchnumpy()

    learnt = features(cut_offs)
    clock.note("features to learn from")
    (last,) = duck.execute("SELECT max(day) FROM days").fetchone()
    today = features([last])
    clock.note("features of today")
    path.unlink()
    names = [name for name in learnt if name not in NOT_LEARNT]
    matrix, fresh = (np.stack([np.asarray(rows[name], dtype=float) for name in names], axis=1) for rows in (learnt, today))
    y, stop = np.asarray(learnt["ltv"], dtype=float), learnt["customer_id"] % 5 == 0
    data = (matrix[~stop], y[~stop], matrix[stop], y[stop], fresh)
    predictions = [method(0, os.cpu_count(), *data)[0] for method in (peers.hurdle, peers.tweedie)]
    clock.note("training")
    connection.execute("CREATE TABLE python_scores (customer_id int, ltv float8)")
    with connection.cursor().copy("COPY python_scores FROM STDIN") as copy:
        for row in zip(today["customer_id"].tolist(), np.mean(predictions, axis=0).tolist()):
            copy.write_row(row)
    clock.note("scoring and writing")
    return clock.steps


def report(results, facts):
    print(f"\n{processor()}; {facts}. Seconds: median (least to most).\n")
    steps = list(dict.fromkeys(step for runs in results.values() for run in runs for step in run))
    cell = lambda seconds: f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})" if seconds else "-"
    rows = [[step, *(cell([run[step] for run in runs if step in run]) for runs in results.values())] for step in steps]
    whole = {side: [sum(run.values()) for run in runs] for side, runs in results.items()}
    rows.append(["**whole job**", *map(cell, whole.values())])
    print(table(["step", *results], rows))
    if len(whole) == 2:
        ratios = [theirs / mine for mine, theirs in zip(*whole.values())]
        print(f"\nPython / pg_ltv: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--customers", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--only", choices=("ours", "python"))
    options = parser.parse_args()
    sides = {"pg_ltv": ours, "Python": python}
    if options.only:
        sides = {name: side for name, side in sides.items() if side.__name__ == options.only}
    results = {name: [] for name in sides}
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(SHOP % {"customers": options.customers})
        connection.execute("ANALYZE orders")
        (orders,) = connection.execute("SELECT count(*) FROM orders").fetchone()
        connection.execute("SELECT ltv_create_features('chosen', 'orders', date_column => 'ordered_at', value_column => 'amount', horizon => %s)", (HORIZON,))
        (cut_offs,) = connection.execute("SELECT as_of FROM ltv_features WHERE features = 'chosen'::regclass").fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM chosen").fetchone()
        for _ in range(options.repeat):
            for name, side in sides.items():
                connection.execute("DROP TABLE IF EXISTS training, today, scores, python_scores")
                steps = side(connection) if side is ours else side(connection, cut_offs)
                results[name].append(steps)
                print(f"{name}: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()), flush=True)
    facts = f"{options.customers:,} customers, {orders:,} orders, {len(cut_offs)} cut-offs, {rows:,} rows to learn from"
    report(results, facts)
    (Path(os.environ["PG_LTV_OUT"]) / "job.json").write_text(json.dumps({"facts": facts, "results": results}, indent=1))


if __name__ == "__main__":
    main()
