"""Writes state.json: the state of customers by MBG/NBD, from its story alone: numerical integration over the rate of purchases
and the probability of dropping out, weighted by the likelihood of a history. Needs mpmath. With the package lifetimes
(0.11.3) its closed forms are held against these numbers first."""

import json
import os

from mpmath import exp, findroot, gamma, inf, mp, mpf, quad

mp.dps = 30
FITS = [(0.525, 6.183, 0.891, 1.614), (0.65, 44.0, 0.35, 1.1), (3.0, 20.0, 0.05, 4.0), (0.08, 2.5, 2.5, 0.6)]
HISTORIES = [(0, 0, 38.86), (0, 0, 0), (1, 1.71, 38.86), (2, 30.43, 38.86), (7, 20.0, 120.0), (26, 30.7, 31.0), (40, 300.0, 1000.0)]
WINDOWS = [0.25, 39.0, 365.0]


def over_rates(r, alpha, x, f):
    """Of the rates, to the power of x, times f."""
    middle = (r + x) / alpha
    def density(rate):
        return alpha**r / gamma(r) * rate ** (r + x - 1) * exp(-alpha * rate) * f(rate)
    return quad(density, [0, middle / 1000, middle / 30, middle / 5, middle / 2, middle, 2 * middle, 6 * middle, 30 * middle, inf])


def over_dropouts(a, b, f):
    scale = gamma(a + b) / (gamma(a) * gamma(b))
    return quad(lambda p: scale * p ** (a - 1) * (1 - p) ** (b - 1) * f(p), [0, mpf(1) / 1000, mpf(1) / 20, mpf(1) / 2, 1])


def purchases(a, b, r, alpha, x, age, t):
    """Of a customer who is alive: each purchase is the last with probability p, so (1 - exp(-rate p t)) / p of them."""
    def while_alive(p):
        shift = p * t
        few = over_rates(r, alpha, x, lambda rate: exp(-rate * age) * -mp.expm1(-rate * shift)) / p
        return (1 - p) ** (x + 1) * few
    return over_dropouts(a, b, while_alive)


def solve(fit, history, t):
    r, alpha, a, b = map(mpf, map(str, fit))
    x, last, age = history[0], mpf(str(history[1])), mpf(str(history[2]))
    t = mpf(str(t))
    stays = over_dropouts(a, b, lambda p: (1 - p) ** (x + 1))
    leaves = over_dropouts(a, b, lambda p: p * (1 - p) ** x)
    silent = lambda until: over_rates(r, alpha, x, lambda rate: exp(-rate * until))
    alive, gone = stays * silent(age), leaves * silent(last)
    guess = (alpha + age) * (mpf(2) ** (1 / (r + x)) - 1)
    wait = findroot(lambda w: silent(age + w) / silent(age) - mpf(1) / 2, (guess * mpf("0.99"), guess * mpf("1.01")))
    return dict(
        zip(("r", "alpha", "a", "b"), fit), x=x, t_x=history[1], T=history[2], days=float(t),
        p_alive=float(alive / (alive + gone)),
        expected_orders=float(purchases(a, b, r, alpha, x, age, t) / (alive + gone)),
        churn_probability=float((gone + stays * silent(age + t)) / (alive + gone)),
        next_order_days=float(wait))


def check(cases):
    try:
        import numpy as np
        from lifetimes import ModifiedBetaGeoFitter
    except ImportError as error:
        return print("not compared with lifetimes:", error)
    worst = 0.0
    for c in cases:
        fitter = ModifiedBetaGeoFitter()
        fitter.params_ = {key: c[key] for key in ("r", "alpha", "a", "b")}
        x, last, age = (np.array([float(c[key])]) for key in ("x", "t_x", "T"))
        alive = float(np.ravel(fitter.conditional_probability_alive(x, last, age))[0])
        orders = float(np.ravel(fitter.conditional_expected_number_of_purchases_up_to_time(c["days"], x, last, age))[0])
        worst = max(worst, abs(alive - c["p_alive"]), abs(orders / c["expected_orders"] - 1))
    print("largest difference from lifetimes:", worst)


cases = []
for fit in FITS:
    for number, history in enumerate(HISTORIES):
        cases.append(solve(fit, history, WINDOWS[number % len(WINDOWS)]))
        print(cases[-1], flush=True)
check(cases)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "state.json")
with open(path, "w") as file:
    file.write("[" + ",\n".join(json.dumps(c) for c in cases) + "]\n")
