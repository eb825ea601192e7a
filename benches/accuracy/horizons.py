"""Protocol H: one model of three horizons beside three models of one, out of time, through SQL.

Only the orders up to a later day are loaded. Both sides learn from the same cut-offs: the one model from whatever labels a row has, each of
the three from the rows that have its label. Judged on everybody at the later day.
"""

import json
import time

import numpy as np
from accuracy.metrics import evaluate

DAYS = (30, 91, 183)
LABELS = [f"{who}, {days} days" for days in DAYS for who in ("one model", "three models")]
# The cut-offs to learn from, the later day.
PLANS = {
    "cdnow": (["1997-05-30", "1997-06-29", "1997-07-29", "1997-08-28", "1997-09-27", "1997-10-28", "1997-11-28"], "1997-12-29"),
    "online_retail_2": ([f"2010-{month:02d}-08" for month in range(6, 13)] + [f"2011-{month:02d}-09" for month in range(1, 6)], "2011-06-09"),
}


def features(connection, name, log, as_of):
    connection.execute(
        "SELECT ltv_create_features(%s, %s, 'customer_id', 'ts', 'amount', as_of => %s::date[], horizons => %s::float8[])",
        (name, log, as_of, list(DAYS)),
    )


def train(connection, model, relation, target, options):
    begun = time.monotonic()
    (job,) = connection.execute("SELECT ltv_train(%s, %s, target => %s, options => %s)", (model, relation, target, json.dumps(options))).fetchone()
    connection.execute("SELECT ltv_wait(%s)", (job,))
    return time.monotonic() - begun


def judge(connection, relation, label, value):
    rows = connection.execute(f"SELECT f.{label}, {value} FROM {relation} f ORDER BY f.customer_id COLLATE \"C\"").fetchall()
    return evaluate(*np.array(rows, dtype=float).T)


def run(connection, data, seeds):
    """By label a list with one entry for each seed, as for other protocols."""
    as_of, later = PLANS[data]
    name = f"{data}_h"
    connection.execute(f"CREATE TABLE {name}_log AS SELECT * FROM {data} WHERE ts <= '{later}'")
    features(connection, f"{name}_all", f"{name}_log", as_of)
    features(connection, f"{name}_later", data, [later])
    labels = {days: "ltv" if days == DAYS[-1] else f"ltv_{days}" for days in DAYS}
    found = {label: [] for label in LABELS}
    for seed in range(seeds):
        seconds = train(connection, f"{name}_one_{seed}", f"{name}_all", "ltv", {"seed": seed})
        for days, label in labels.items():
            value = f"ltv_predict_horizon('{name}_one_{seed}', f, {days})"
            metrics = judge(connection, f"{name}_later", label, value)
            found[f"one model, {days} days"].append({"seed": seed, "seconds": seconds, "metrics": metrics})
        for days, label in labels.items():
            model = f"{name}_{days}_{seed}"
            seconds = train(connection, model, f"{name}_all", label, {"seed": seed, "horizons": False})
            metrics = judge(connection, f"{name}_later", label, f"ltv_predict('{model}', f)")
            found[f"three models, {days} days"].append({"seed": seed, "seconds": seconds, "metrics": metrics})
    return found
