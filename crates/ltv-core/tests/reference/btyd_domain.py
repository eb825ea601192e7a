"""Writes btyd_domain.json: BG/NBD and MBG/NBD all over the domain, by the closed form with Gauss's hypergeometric
function. Needs mpmath and numpy."""

import json
import os

import numpy as np
from mpmath import hyp2f1, mp, mpf

mp.dps = 250
random = np.random.default_rng(20)


def log_uniform(low, high):
    return float("%.6g" % 10 ** random.uniform(np.log10(low), np.log10(high)))


def case(index):
    alpha, a, b = (log_uniform(0.01, 3000) for _ in range(3))
    r = log_uniform(0.01, 3000)
    longest = log_uniform(1e-5, 1e4)
    x = [0, 1, round(log_uniform(1, 30)), round(log_uniform(1, 5000))][index % 4]
    age = 0.0 if index % 16 == 4 else float(np.float32(alpha * log_uniform(1e-3, 3e3)))
    recency = age * [1.0, random.uniform(), random.uniform(0.9, 1.0), 0.0][index // 4 % 4] if x else 0.0
    return dict(r=r, alpha=alpha, a=a, b=b, x=x, t_x=float(np.float32(recency)), T=age, t=float("%.6g" % (longest * alpha)))


def solve(c, first):
    r, alpha, a, b, x, recency, age, t = (mpf(c[key]) for key in ("r", "alpha", "a", "b", "x", "t_x", "T", "t"))
    s, survived, w = r + x, b + x + first, t / (alpha + age)
    if a == 1:
        a += mpf(10) ** -60
    occasions = x + first
    dropped = a / (b + occasions - 1) * ((alpha + age) / (alpha + recency)) ** s if occasions > 0 else mpf(0)
    alive = 1 / (1 + dropped)
    while_alive = (a + survived - 1) / (a - 1) * (1 - (1 + w) ** -s * hyp2f1(s, survived, a + survived - 1, w / (1 + w)))
    return dict(c, first=first, expected=float(alive * while_alive), alive=float(alive))


cases = []
for index in range(160):
    made = case(index)
    cases += [solve(made, first) for first in ((0, 1) if index % 4 == 0 else (index // 4 % 2,))]
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "btyd_domain.json")
with open(path, "w") as file:
    file.write("[" + ",\n".join(json.dumps(c) for c in cases) + "]\n")
