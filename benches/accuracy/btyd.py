"""BG/NBD and Gamma-Gamma by maximum likelihood with SciPy: the classic peer.

Fader, Hardie, Lee, "Counting Your Customers the Easy Way" (2005); Fader, Hardie, "The Gamma-Gamma Model of Monetary
Value" (2013). Here x = repeat purchases, t_x = first to last purchase, T = first purchase to cut-off.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, hyp2f1


def _fit(negative_log_likelihood, starts, bound):
    best = None
    for start in starts:
        found = minimize(negative_log_likelihood, start, method="L-BFGS-B", bounds=[(-bound, bound)] * len(start))
        if best is None or found.fun < best.fun:
            best = found
    return np.exp(best.x)


def fit_purchases(x, t_x, age):
    """(r, alpha, a, b) of BG/NBD."""
    unit = age.mean() / 10
    t_x, age = t_x / unit, age / unit

    def loss(logs):
        r, alpha, a, b = np.exp(logs)
        common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        common += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        alive = -(r + x) * np.log(alpha + age)
        lapsed = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + t_x)
        return -np.mean(common + np.logaddexp(alive, np.where(x > 0, lapsed, -np.inf)))

    r, alpha, a, b = _fit(loss, ([0.0] * 4, [-1.0, 1.0, -1.0, 1.0]), 8)
    return r, alpha * unit, a, b


def expected_purchases(parameters, x, t_x, age, horizon):
    r, alpha, a, b = parameters
    series = hyp2f1(r + x, b + x, a + b + x - 1, horizon / (alpha + age + horizon))
    shrink = np.exp((r + x) * np.log((alpha + age) / (alpha + age + horizon)) + np.log(np.maximum(series, 1e-300)))
    lapsed = a / (b + np.maximum(x, 1) - 1) * np.exp((r + x) * np.log((alpha + age) / (alpha + t_x)))
    return (a + b + x - 1) / (a - 1) * (1 - shrink) / (1 + np.where(x > 0, lapsed, 0))


def fit_spend(count, mean):
    """(p, q, v) of Gamma-Gamma from the number of purchases and their mean value."""
    kept = (count > 0) & (mean > 0)
    count, unit = count[kept], mean[kept].mean()
    mean = mean[kept] / unit

    def loss(logs):
        p, q, v = np.exp(logs)
        px = p * count
        terms = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v)
        return -np.mean(terms + (px - 1) * np.log(mean) + px * np.log(count) - (px + q) * np.log(count * mean + v))

    p, q, v = _fit(loss, ([1.0] * 3,), 8)
    return p, q, v * unit


def expected_spend(parameters, count, mean):
    p, q, v = parameters
    return (v + mean * count) * p / (p * count + q - 1)


def predict(fit, score, horizon):
    """`fit` and `score` have frequency, recency (days since the last purchase), t and monetary_mean (all purchases)."""

    def times(table):
        age = table["t"]
        return table["frequency"], age - table["recency"], age

    purchases = fit_purchases(*times(fit))
    spend = fit_spend(fit["frequency"] + 1, fit["monetary_mean"])
    return expected_purchases(purchases, *times(score), horizon) * expected_spend(
        spend, score["frequency"] + 1, score["monetary_mean"]
    )
