"""LightGBM's own numbers for small cases: the first tree, and the raw scores after some rounds.

    pip install lightgbm==4.7.0 numpy && python trees.py > trees.json

Each value has a bin of its own on both sides, so that what is compared is the trees and not how values are put into bins.
"""

import json

import lightgbm
import numpy as np

ROWS = 600
rng = np.random.default_rng(7)
LEVELS = 80
a = rng.integers(1, LEVELS, ROWS).astype(float)
b = rng.integers(1, LEVELS, ROWS) / 4
c = rng.integers(0, 9, ROWS).astype(float)
effect = np.array([0.0, 1.1, -0.7, 0.4, 2.0, -1.6, 0.9, -0.2, 0.3])[c.astype(int)]
signal = 0.03 * a - 0.4 * np.abs(b - 9) + effect
y = np.round(signal + rng.normal(0, 1, ROWS), 3)
spent = np.round(np.where(rng.random(ROWS) < 1 / (1 + np.exp(-signal)), np.exp(0.5 * signal + rng.normal(0, 0.6, ROWS)), 0), 3)
missing = rng.random(ROWS) < 0.2
b[missing] = np.nan
# Whoever misses a value is worth as much as a large one.
y[missing] += 1.5

COMMON = {
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_data_in_leaf": 15,
    "lambda_l2": 1.0,
    "min_data_in_bin": 1,
    "max_bin": 255,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "feature_pre_filter": False,
    "verbose": -1,
}
CASES = [
    ("mse", ["a", "d"], "y", {"objective": "regression"}),
    ("mse_missing", ["a", "b"], "y", {"objective": "regression"}),
    ("mse_category", ["a", "c"], "y", {"objective": "regression"}),
    ("mse_all", ["a", "b", "c", "d"], "y", {"objective": "regression"}),
    ("mse_no_l2", ["a", "b", "d"], "y", {"objective": "regression", "lambda_l2": 0.0}),
    ("huber", ["a", "b", "d"], "y", {"objective": "huber", "alpha": 0.8}),
    ("purchase", ["a", "b", "d"], "spent", {"objective": "binary"}),
    ("purchase_category", ["a", "c"], "spent", {"objective": "binary"}),
    ("tweedie", ["a", "b", "d"], "spent", {"objective": "tweedie", "tweedie_variance_power": 1.4}),
]
d = rng.integers(1, LEVELS, ROWS).astype(float)
y = np.round(y + 0.5 * np.sin(d / 9), 3)
columns = {"a": a, "b": b, "c": c, "d": d}
labels = {"y": y, "spent": spent}
ROUNDS = 6


def splits(node, names):
    """The tree in depth first order: [feature, gain, left, right] or the value of a leaf."""
    if "leaf_value" in node:
        return node["leaf_value"]
    sides = [splits(node[side], names) for side in ("left_child", "right_child")]
    return [names[node["split_feature"]], round(node["split_gain"], 4), *sides]


found = []
for name, names, label, more in CASES:
    matrix = np.stack([columns[column] for column in names], axis=1)
    target = labels[label]
    if more["objective"] == "binary":
        target = (target > 0).astype(float)
    data = lightgbm.Dataset(
        matrix, target, categorical_feature=[names.index("c")] if "c" in names else [], free_raw_data=False
    )
    model = lightgbm.train({**COMMON, **more}, data, ROUNDS)
    tree = model.dump_model()["tree_info"][0]["tree_structure"]
    found.append({
        "name": name,
        "columns": names,
        "label": label,
        "l2": more.get("lambda_l2", COMMON["lambda_l2"]),
        "first": splits(tree, names),
        "scores": [round(float(score), 7) for score in model.predict(matrix, raw_score=True)],
    })

number = lambda value: None if np.isnan(value) else float(value)  # noqa: E731
print(json.dumps({
    "lightgbm": lightgbm.__version__,
    "learning_rate": COMMON["learning_rate"],
    "leaves": COMMON["num_leaves"],
    "min_data_in_leaf": COMMON["min_data_in_leaf"],
    "rounds": ROUNDS,
    "columns": {key: [number(value) for value in values] for key, values in columns.items()},
    "labels": {key: [float(value) for value in values] for key, values in labels.items()},
    "cases": found,
}, separators=(",", ":")))
