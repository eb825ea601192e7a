"""The objectives in plain PyTorch: head and loss, with the settings of pg_ltv's defaults."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def lognormal(y, mu, sigma):
    """The negative logarithm of the density of paying rows; anything where y is 0."""
    log_y = torch.log(torch.where(y > 0, y, torch.ones_like(y)))
    sigma = sigma.clamp_min(1e-3)
    return log_y + torch.log(sigma) + 0.5 * (math.log(2 * math.pi) + ((log_y - mu) / sigma) ** 2)


class Simple(nn.Module):
    """One linear layer and a function for the loss."""

    def __init__(self, width, outputs, loss):
        super().__init__()
        self.output, self.loss = nn.Linear(width, outputs), loss

    def forward(self, hidden):
        return self.output(hidden)


def ziln_loss(out, y):
    paying = (y > 0).float()
    density = lognormal(y, out[:, 1], F.softplus(out[:, 2]))
    return F.binary_cross_entropy_with_logits(out[:, 0], paying) + (density * paying).mean()


def small_tower(width, outputs):
    return nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, outputs))


class Cmltv(nn.Module):
    """Three regressors on paying rows, a purchase estimator, and contrasts between them."""

    CONTRAST, PAIRS = 0.1, 4096

    def __init__(self, width, y):
        super().__init__()
        self.scale = y[y > 0].mean().item()
        count = int(math.log2(1 + y.max().item())) + 1
        self.register_buffer("middles", torch.tensor([(3 * 2**c - 2) / 2 for c in range(count)]))
        self.purchase, self.law, self.log, self.classes = (small_tower(width, outputs) for outputs in (1, 2, 1, count))

    def forward(self, hidden):
        return self.purchase(hidden)[:, 0], self.law(hidden), self.log(hidden)[:, 0], self.classes(hidden)

    def loss(self, out, y):
        z, law, log, classes = out
        total = F.binary_cross_entropy_with_logits(z, (y > 0).float())
        rows = (y > 0).nonzero().flatten()
        if not len(rows):
            return total
        amounts, probability = y[rows], torch.sigmoid(z)
        alpha, rate = (F.softplus(law[rows]) + 1e-6).unbind(1)
        scaled = amounts / self.scale
        gamma = alpha * rate.log() - torch.lgamma(alpha) + (alpha - 1) * scaled.log() - rate * scaled
        log, classes = F.relu(log[rows]), classes[rows]
        chosen = torch.log2(1 + amounts).floor().long().clamp_max(len(self.middles) - 1)
        total = total - gamma.mean() + F.mse_loss(log, torch.log1p(amounts)) + F.cross_entropy(classes, chosen)
        if len(rows) < len(y):
            paying = probability[rows].sum()
            gap = paying / len(rows) - (probability.sum() - paying) / (len(y) - len(rows))
            total = total + self.CONTRAST * F.softplus(-gap)
        values = torch.log1p(alpha / rate * self.scale), log, torch.log1p(torch.softmax(classes, 1) @ self.middles)
        return total + self.CONTRAST * self.contrasts(values, probability[rows])

    def contrasts(self, values, probability):
        """Over pairs of paying rows at the distances 1, 2, ... that fit: the higher value has the higher probability."""
        count = len(probability)
        distances = min(max(self.PAIRS // count, 1), count // 2)
        if not distances:
            return 0.0
        first = torch.arange(count).repeat(distances)
        second = (first + torch.arange(1, distances + 1).repeat_interleave(count)) % count
        if 2 * distances == count:
            first, second = first[: -(count // 2)], second[: -(count // 2)]
        gap = probability[first] - probability[second]
        total = 0.0
        for value in values:
            difference = value[first] - value[second]
            differs = (difference != 0).float()
            total = total + (F.softplus(-difference * gap) * differs).sum() / differs.sum().clamp_min(1)
        return total


class Expltv(nn.Module):
    """A gate recognises whales among buyers and mixes two experts' lognormal laws."""

    def __init__(self, width, y):
        super().__init__()
        self.threshold = torch.quantile(y[y > 0][:1_000_000], 0.93).item()
        self.purchase, self.gate, self.whale, self.general = (small_tower(width, outputs) for outputs in (1, 1, 2, 2))

    def forward(self, hidden):
        return self.purchase(hidden)[:, 0], self.gate(hidden)[:, 0], self.whale(hidden), self.general(hidden)

    def loss(self, out, y):
        z, g, whale, general = out
        paying, ratio = (y > 0).float(), y / self.threshold
        purchase = F.binary_cross_entropy_with_logits(z, paying)
        label, rest = -torch.expm1(-ratio), torch.exp(-ratio)
        log_joint = -(F.softplus(-z) + F.softplus(-g))
        no_joint = torch.sigmoid(-z) + torch.sigmoid(z) * torch.sigmoid(-g)
        entropy = label * label.clamp_min(1e-30).log() - rest * ratio
        divergence = entropy - label * log_joint - rest * no_joint.clamp_min(1e-30).log()
        share = torch.sigmoid(g)
        mu = share * whale[:, 0] + (1 - share) * general[:, 0]
        sigmas = F.softplus(torch.stack([whale[:, 1], general[:, 1]])).clamp_min(1e-3)
        density = lognormal(y, mu, share * sigmas[0] + (1 - share) * sigmas[1])
        return 2 * purchase + divergence.mean() + (density * paying).mean()


def objective(name, y):
    """A function from the width of the backbone to the head; `y` is what it is trained on."""
    simple = lambda outputs, loss: lambda width: Simple(width, outputs, loss)
    return {
        "ziln": simple(3, ziln_loss),
        "mse": simple(1, lambda out, y: F.mse_loss(out[:, 0], torch.log1p(y))),
        "huber": simple(1, lambda out, y: F.huber_loss(out[:, 0], torch.log1p(y))),
        "purchase": simple(1, lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], (y > 0).float())),
        "cmltv": lambda width: Cmltv(width, y),
        "expltv": lambda width: Expltv(width, y),
    }[name]
