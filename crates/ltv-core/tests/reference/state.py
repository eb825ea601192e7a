"""Writes state.json: the state of customers by MBG/NBD, from its story alone: a customer orders at a rate drawn from a gamma
law, and each order, the first one too, is the last with a probability drawn from a beta law. What is said of a customer
is summed over both, weighted by the likelihood of the history; no closed form is used. Needs numpy. Where the package
lifetimes is there (0.11.3 was), its closed forms are held against these numbers."""

import json
import os

import numpy as np

FITS = [(0.525, 6.183, 0.891, 1.614), (0.65, 44.0, 0.35, 1.1), (3.0, 20.0, 0.08, 4.0), (0.15, 2.5, 2.5, 0.6)]
HISTORIES = [(0, 0, 38.86), (0, 0, 0), (1, 1.71, 38.86), (2, 30.43, 38.86), (7, 20.0, 120.0), (26, 30.7, 31.0), (40, 300.0, 1000.0)]
WINDOWS = [0.25, 39.0, 365.0]


def nodes(low, high, step):
    return np.arange(low, high, step)


def solve(fit, history, days):
    (r, alpha, a, b), (x, last, age) = fit, history
    # The trapezoidal rule over the whole line converges exponentially. Rates by their logarithm, dropping out by its log odds.
    log_rate = nodes(-45 / r - np.log(alpha), np.log(900 / alpha), 0.03)
    rate = np.exp(log_rate)
    odds = nodes(-45 / a, 45 / min(b, 1), 0.2)
    log_p, log_q = -np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))
    p = np.exp(log_p)
    # Densities times the likelihood of x orders after the first, each of which the customer stayed for.
    of_rate = (r + x) * log_rate - alpha * rate
    of_drop = a * log_p + (b + x) * log_q
    scale = of_rate.max()
    silent = lambda until: np.exp(of_rate - scale - rate * until).sum()
    gone = np.exp(of_drop + log_p).sum() * silent(last)
    stays = np.exp(of_drop + log_q)
    alive = stays.sum() * silent(age)
    # While alive there are (1 - exp(-rate p t)) / p orders in a time t.
    until = np.exp(of_rate - scale - rate * age)
    orders = sum((until[:, None] * -np.expm1(-rate[:, None] * some_p * days) / some_p).sum(axis=0) @ some_stays
                 for some_p, some_stays in zip(np.array_split(p, 50), np.array_split(stays, 50)))
    early, late = 0.0, 1e12
    for _ in range(200):
        middle = 0.5 * (early + late)
        early, late = (middle, late) if silent(age + middle) > 0.5 * silent(age) else (early, middle)
    return dict(
        zip(("r", "alpha", "a", "b"), fit), x=x, t_x=last, T=age, days=days, p_alive=alive / (alive + gone),
        expected_orders=orders / (alive + gone),
        churn_probability=(gone + stays.sum() * silent(age + days)) / (alive + gone), next_order_days=late)


def compare(cases):
    try:
        from lifetimes import ModifiedBetaGeoFitter
    except ImportError as error:
        return print("not compared with lifetimes:", error)
    worst = [0.0, 0.0]
    for c in cases:
        fitter = ModifiedBetaGeoFitter()
        fitter.params_ = {key: c[key] for key in ("r", "alpha", "a", "b")}
        x, last, age = (np.array([float(c[key])]) for key in ("x", "t_x", "T"))
        alive = float(np.ravel(fitter.conditional_probability_alive(x, last, age))[0])
        orders = float(np.ravel(fitter.conditional_expected_number_of_purchases_up_to_time(c["days"], x, last, age))[0])
        worst = [max(worst[0], abs(alive - c["p_alive"])), max(worst[1], abs(orders - c["expected_orders"]))]
    print("largest differences from lifetimes: P(alive) %.1e, orders %.1e" % tuple(worst))


cases = [solve(fit, history, WINDOWS[number % len(WINDOWS)]) for fit in FITS for number, history in enumerate(HISTORIES)]
compare(cases)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "state.json")
with open(path, "w") as file:
    file.write("[" + ",\n".join(json.dumps({key: float(value) for key, value in c.items()}) for c in cases) + "]\n")
