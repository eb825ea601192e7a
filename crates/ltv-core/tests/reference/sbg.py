"""Writes sbg.json: the shifted beta-geometric model by SciPy, without any formula of crates/ltv-core/src/btyd/sbg.rs.

Renewals are integrated over the probability of leaving; parameters are found by Nelder and Mead. The shares of customers who stayed are those of
Fader and Hardie, "How to Project Customer Retention" (2007), which fits alpha and beta to the first seven years of 1,000 customers each.
"""

import json

import numpy as np
from scipy import integrate, optimize, special, stats

STAYED = {
    "high_end": [100, 86.9, 74.3, 65.3, 59.3, 55.1, 51.7, 49.1, 46.8, 44.5, 42.7, 40.9, 39.4],
    "regular": [100, 63.1, 46.8, 38.2, 32.6, 28.9, 26.2, 24.1, 22.3, 20.7, 19.4, 18.3, 17.3],
}
YEARS = 7


def mean(function, alpha, beta):
    """Of a function of the probability of leaving. Beta laws have poles: in the logit there are none."""
    def integrand(logit):
        stay, leave = -np.logaddexp(0, logit), -np.logaddexp(0, -logit)
        return function(np.exp(leave)) * np.exp(alpha * leave + beta * stay - special.betaln(alpha, beta))

    low, high = -40 / alpha, 40 / beta
    parts = np.linspace(low, high, 41)
    return sum(integrate.quad(integrand, *part, epsabs=1e-14, epsrel=1e-12)[0] for part in zip(parts, parts[1:]))


def fit(shares):
    stayed = np.array(shares[: YEARS + 1]) * 10
    lost = stayed[:-1] - stayed[1:]

    def cost(theta):
        law = stats.betabinom
        # Of n = t trials none: the share who renewed t times.
        survival = np.array([law.pmf(0, t, *np.exp(theta)) if t else 1.0 for t in range(YEARS + 1)])
        return -(lost @ np.log(survival[:-1] - survival[1:]) + stayed[-1] * np.log(survival[-1]))

    found = optimize.minimize(cost, [0, 0], method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-13, "maxiter": 10000})
    return [*np.exp(found.x), -found.fun]


renewals = []
for alpha, beta in [(0.704, 1.182), (0.668, 3.806), (1.0, 1.0), (5.0, 0.4)]:
    for periods in (0, 1, 7, 60):
        # Who has renewed so often has a posterior of their own.
        for ahead in (1, 4, 24):
            expected = mean(lambda theta: sum((1 - theta) ** k for k in range(1, ahead + 1)), alpha, beta + periods)
            renewals.append({"alpha": alpha, "beta": beta, "periods": periods, "ahead": ahead, "expected": expected})
document = {"cohorts": [{"name": name, "stayed": shares, "fitted": fit(shares)} for name, shares in STAYED.items()], "renewals": renewals}
json.dump(document, open("sbg.json", "w"), separators=(",", ":"))
