"""The metrics of the accuracy benchmark, written for it and independent of pg_ltv's own.

All of them see the truth y >= 0 of every customer and a prediction; some also the probability of a purchase.
"""

import numpy as np


def ranks(values):
    """Ranks from 1, ties averaged."""
    values = np.asarray(values, dtype=float)
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(size) - (size - 1) / 2)[group]


def gini(truth, score):
    """2 * mean(cumulative share of the truth, customers in descending score) - 1; ties share evenly."""
    score = np.asarray(score, dtype=float)
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    shared = (np.bincount(group, truth) / size)[group]
    cumulated = np.cumsum(shared[np.argsort(-score, kind="stable")])
    return 2 * np.mean(cumulated / cumulated[-1]) - 1


def normalized_gini(truth, score):
    return gini(truth, score) / gini(truth, truth)


def spearman(truth, score):
    return np.corrcoef(ranks(truth), ranks(score))[0, 1]


def auc(positive, score):
    positive = np.asarray(positive, dtype=bool)
    n_positive, n_negative = positive.sum(), (~positive).sum()
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    return (ranks(score)[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def decile_mape(truth, prediction):
    """Ten equal groups by prediction: the mean of |mean prediction - mean truth| / mean truth."""
    order = np.argsort(-prediction, kind="stable")
    errors = [
        abs(prediction[group].mean() - truth[group].mean()) / truth[group].mean()
        for group in np.array_split(order, 10)
        if truth[group].sum() > 0
    ]
    return float(np.mean(errors))


def capture(truth, prediction, share):
    """Share of all revenue that the best `share` of the customers by prediction hold."""
    order = np.argsort(-prediction, kind="stable")
    best = order[: max(1, round(share * len(order)))]
    return truth[best].sum() / truth.sum()


def evaluate(truth, prediction, probability=None):
    truth = np.asarray(truth, dtype=float)
    prediction = np.asarray(prediction, dtype=float)
    result = {
        "normalized_gini": normalized_gini(truth, prediction),
        "spearman": spearman(truth, prediction),
        "auc": auc(truth > 0, prediction if probability is None else probability),
        "decile_mape": decile_mape(truth, prediction),
        "total_ratio": prediction.sum() / truth.sum(),
        "revenue_capture_1": capture(truth, prediction, 0.01),
        "revenue_capture_10": capture(truth, prediction, 0.10),
    }
    return {name: float(value) for name, value in result.items()}
