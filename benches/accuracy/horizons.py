"""Protocol H: one model of three horizons beside three models of one, out of time, through SQL.

Only the orders up to a later day are loaded. Both sides learn from the same cut-offs: the one model from whatever labels a row has, each of
the three from the rows that have its label. Judged on everybody at the later day. All customers of a day have its season in common, so that one
day says next to nothing of a total: there are several, and what is told is the mean over them.
"""

import json
import math
import time

import numpy as np
from accuracy.metrics import evaluate

DAYS = (30, 91, 183)
LABELS = [f"{who}, {days} days" for days in DAYS for who in ("one model", "three models")]
# The cut-offs, and how many of them before each later day are learned from; those later days.
PLANS = {
    "cdnow": (
        ["1997-03-29", "1997-04-28", "1997-05-30", "1997-06-29", "1997-07-29", "1997-08-28", "1997-09-27", "1997-10-28", "1997-11-28", "1997-12-29"],
        7,
        ["1997-10-28", "1997-11-28", "1997-12-29"],
    ),
    "online_retail_2": (
        [f"2010-{month:02d}-08" for month in range(3, 13)] + [f"2011-{month:02d}-09" for month in range(1, 7)],
        12,
        ["2011-03-09", "2011-04-09", "2011-05-09", "2011-06-09"],
    ),
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


def exam(connection, name, seed):
    """By label the seconds of a training and the metrics at the later day of that name."""
    labels = {days: "ltv" if days == DAYS[-1] else f"ltv_{days}" for days in DAYS}
    found = {}
    seconds = train(connection, f"{name}_one_{seed}", f"{name}_all", "ltv", {"seed": seed})
    for days, label in labels.items():
        value = f"ltv_predict_horizon('{name}_one_{seed}', f, {days})"
        found[f"one model, {days} days"] = (seconds, judge(connection, f"{name}_later", label, value))
    for days, label in labels.items():
        model = f"{name}_{days}_{seed}"
        seconds = train(connection, model, f"{name}_all", label, {"seed": seed, "horizons": False})
        found[f"three models, {days} days"] = (seconds, judge(connection, f"{name}_later", label, f"ltv_predict('{model}', f)"))
    for _, metrics in found.values():
        metrics["total_off"] = abs(math.log(metrics["total_ratio"]))
    return found


def run(connection, data, seeds):
    """By label a list with one entry for each seed, as for other protocols: means over the later days."""
    cut_offs, learned, later_days = PLANS[data]
    names = {later: f"{data}_{later.replace('-', '')}" for later in later_days}
    for later, name in names.items():
        place = cut_offs.index(later)
        as_of = cut_offs[max(place - learned, 0) : place]
        connection.execute(f"CREATE TABLE {name}_log AS SELECT * FROM {data} WHERE ts <= '{later}'")
        features(connection, f"{name}_all", f"{name}_log", as_of)
        features(connection, f"{name}_later", data, [later])
    found = {label: [] for label in LABELS}
    for seed in range(seeds):
        exams = [exam(connection, name, seed) for name in names.values()]
        for label in LABELS:
            seconds, metrics = zip(*(of_day[label] for of_day in exams), strict=True)
            mean = {name: float(np.mean([of_day[name] for of_day in metrics])) for name in metrics[0] if metrics[0][name] is not None}
            days = [{"later": later, "metrics": of_day} for later, of_day in zip(later_days, metrics, strict=True)]
            found[label].append({"seed": seed, "seconds": float(np.mean(seconds)), "metrics": mean, "days": days})
    return found
