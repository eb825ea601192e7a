"""What pg_ltv is compared with: LightGBM (hurdle, Tweedie) and BG/NBD with Gamma-Gamma, on the same features.

    python benches/accuracy/peers.py features.csv --horizon 273 --seeds 3 > peers.json

The CSV has a header, one row per customer and cut-off, and these columns:
  part      "fit" (trees are grown on it), "validation" (trees stop on it) or "score" (predicted, never learnt from)
  ltv       the spend in the horizon; may be empty where part is "score", then there are no metrics
  as_of     optional; where customers are in it several times, BG/NBD is fitted on the latest cut-off of fit and validation
  others    numeric features; BG/NBD takes frequency, recency, t and monetary_mean. customer_id is kept, not learnt from

It prints one JSON object: for each peer a list with one entry per seed: seed, seconds, metrics. --predictions FILE writes
a CSV with customer_id, ltv, and for each peer and seed the prediction (and, where there is one, the probability of a purchase).
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import lightgbm
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import btyd  # noqa: E402
from metrics import evaluate  # noqa: E402

NOT_FEATURES = {"customer_id", "part", "ltv", "as_of", "split_bucket"}
PARAMETERS = {
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.8,
    "lambda_l2": 1.0,
    "deterministic": True,
    "verbose": -1,
}
MOST_TREES = 1500
PATIENCE = 50


def number(text):
    return float(text) if text else float("nan")


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise SystemExit(f"{path} has no rows")
    names = [name for name in rows[0] if name not in NOT_FEATURES]
    columns = {name: np.array([number(row[name]) for row in rows]) for name in names}
    part = np.array([row["part"] for row in rows])
    truth = np.array([number(row["ltv"]) for row in rows])
    as_of = np.array([row.get("as_of") or "" for row in rows])
    return names, columns, part, truth, as_of, [row.get("customer_id", "") for row in rows]


def boost(objective, seed, threads, x, y, x_stop, y_stop, **more):
    settings = {**PARAMETERS, "objective": objective, "seed": seed, "num_threads": threads, **more}
    return lightgbm.train(
        settings,
        lightgbm.Dataset(x, y),
        MOST_TREES,
        valid_sets=[lightgbm.Dataset(x_stop, y_stop)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


def hurdle(seed, threads, x, y, x_stop, y_stop, x_score):
    """P(purchase) times E(spend | purchase): log spend by trees, brought back by Duan's smearing factor."""
    buys = boost("binary", seed, threads, x, y > 0, x_stop, y_stop > 0)
    paid, paid_stop = y > 0, y_stop > 0
    spend = boost("regression", seed, threads, x[paid], np.log(y[paid]), x_stop[paid_stop], np.log(y_stop[paid_stop]))
    smear = np.mean(np.exp(np.log(y_stop[paid_stop]) - spend.predict(x_stop[paid_stop])))
    probability = buys.predict(x_score)
    return probability * np.exp(spend.predict(x_score)) * smear, probability


def tweedie(seed, threads, x, y, x_stop, y_stop, x_score):
    model = boost("tweedie", seed, threads, x, y, x_stop, y_stop, tweedie_variance_power=1.5)
    return model.predict(x_score), None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("features", help="CSV file")
    parser.add_argument("--horizon", type=float, required=True, help="length of the horizon in days")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--columns", help="features for LightGBM, separated by commas; default: all")
    parser.add_argument("--predictions", help="CSV file to write")
    options = parser.parse_args()

    names, columns, part, truth, as_of, ids = read(options.features)
    chosen = options.columns.split(",") if options.columns else names
    matrix = np.stack([columns[name] for name in chosen], axis=1)
    fit, stop, score = (part == name for name in ("fit", "validation", "score"))
    is_known = not np.isnan(truth[score]).any()
    results, predictions = {}, {}

    def record(peer, seed, begun, prediction, probability=None):
        entry = {"seed": seed, "seconds": round(time.monotonic() - begun, 3)}
        if is_known:
            entry["metrics"] = evaluate(truth[score], prediction, probability)
        results.setdefault(peer, []).append(entry)
        predictions[f"{peer}_{seed}"] = prediction
        if probability is not None:
            predictions[f"{peer}_{seed}_probability"] = probability

    for peer, method in (("lightgbm_hurdle", hurdle), ("lightgbm_tweedie", tweedie)):
        for seed in range(options.seeds):
            begun = time.monotonic()
            data = (matrix[fit], truth[fit], matrix[stop], truth[stop], matrix[score])
            record(peer, seed, begun, *method(seed, options.threads, *data))

    if {"frequency", "recency", "t", "monetary_mean"} <= columns.keys():
        learnt = fit | stop
        if len(set(np.array(ids)[learnt])) < learnt.sum():
            learnt &= as_of == max(as_of[learnt])
        begun = time.monotonic()
        tables = [{name: column[rows] for name, column in columns.items()} for rows in (learnt, score)]
        record("bgnbd", 0, begun, btyd.predict(*tables, options.horizon))

    if options.predictions:
        with open(options.predictions, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["customer_id", "ltv", *predictions])
            kept = [name for name, wanted in zip(ids, score) if wanted]
            writer.writerows(zip(kept, truth[score], *predictions.values()))
    json.dump(results, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
