"""The backbones in plain PyTorch, as anybody would write them for speed, with the sizes of pg_ltv's defaults."""

import torch
from torch import nn

WIDTHS = (128, 64, 32)


def tower(width, dropout, norm=False):
    layers = []
    for units in WIDTHS:
        layers += [nn.Linear(width, units)] + ([nn.BatchNorm1d(units)] if norm else []) + [nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = units
    return nn.Sequential(*layers)


class Linear(nn.Module):
    def __init__(self, columns, dropout):
        super().__init__()
        self.width = columns

    def forward(self, x, _):
        return x


class Mlp(nn.Module):
    def __init__(self, columns, dropout):
        super().__init__()
        self.deep = tower(columns, dropout)
        self.width = WIDTHS[-1]

    def forward(self, x, _):
        return self.deep(x)


class Cross(nn.Module):
    """DCN-v2 with three cross layers beside the tower."""

    def __init__(self, columns, dropout):
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(columns, columns) for _ in range(3))
        self.deep = tower(columns, dropout)
        self.width = columns + WIDTHS[-1]

    def forward(self, x, _):
        crossed = x
        for layer in self.cross:
            crossed = x * layer(crossed) + crossed
        return torch.cat([crossed, self.deep(x)], 1)


class Factorised(nn.Module):
    """DeepFM over numbers: first order, factorisation machine of width 8, and a tower over the embeddings and the numbers."""

    def __init__(self, columns, dropout):
        super().__init__()
        self.first = nn.Linear(columns, 1, bias=False)
        self.vectors = nn.Parameter(torch.randn(columns, 8) * 0.1)
        self.deep = tower(9 * columns, dropout, norm=True)
        self.width = 1 + 8 + WIDTHS[-1]

    def forward(self, x, _):
        embedded = x.unsqueeze(2) * self.vectors
        second = 0.5 * ((x @ self.vectors) ** 2 - (x**2) @ self.vectors**2)
        return torch.cat([self.first(x), second, self.deep(torch.cat([embedded.flatten(1), x], 1))], 1)


class Recurrent(nn.Module):
    def __init__(self, make, columns, dropout):
        super().__init__()
        self.first, self.second = make(2, 64, batch_first=True), make(64, 32, batch_first=True)
        self.deep = tower(32 + columns, dropout)
        self.width = WIDTHS[-1]

    def forward(self, x, sequence):
        h, _ = self.second(self.first(sequence)[0])
        return self.deep(torch.cat([h[:, -1], x], 1))


class Attention(nn.Module):
    def __init__(self, columns, dropout):
        super().__init__()
        self.start = nn.Linear(2, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.deep = tower(32 + columns, dropout)
        self.width = WIDTHS[-1]

    def forward(self, x, sequence):
        h = self.encoder(self.start(sequence)).mean(1)
        return self.deep(torch.cat([h, x], 1))


class GatedSkip(nn.Module):
    def __init__(self, size=32):
        super().__init__()
        self.gate, self.norm = nn.Linear(size, 2 * size), nn.LayerNorm(size)

    def forward(self, x, skip):
        return self.norm(nn.functional.glu(self.gate(x)) + skip)


class GatedResidual(nn.Module):
    def __init__(self, inputs=32, size=32, context=False):
        super().__init__()
        self.inner, self.outer, self.gated = nn.Linear(inputs, size), nn.Linear(size, size), GatedSkip(size)
        self.context = nn.Linear(32, size, bias=False) if context else None
        self.skip = nn.Linear(inputs, size) if inputs != size else nn.Identity()
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, context=None):
        inner = self.inner(x)
        if self.context is not None:
            shift = self.context(context)
            inner = inner + (shift.unsqueeze(1) if inner.dim() == 3 else shift)
        return self.gated(self.dropout(self.outer(nn.functional.elu(inner))), self.skip(x))


class Selection(nn.Module):
    """Vectors of several variables, [rows, variables, 32], weighted and added; one network per variable, computed together."""

    def __init__(self, variables, context):
        super().__init__()
        self.weights = GatedResidual(32 * variables, variables, context)
        scale = 32**-0.5
        self.inner, self.outer = (nn.Parameter(torch.randn(variables, 32, 32) * scale) for _ in range(2))
        self.gate = nn.Parameter(torch.randn(variables, 32, 64) * scale)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(variables, 1, width)) for width in (32, 32, 64))
        self.norm, self.dropout = nn.LayerNorm(32), nn.Dropout(0.1)

    def forward(self, vectors, context=None):
        weights = torch.softmax(self.weights(vectors.flatten(1), context), 1)
        x = vectors.transpose(0, 1)
        hidden = nn.functional.elu(torch.baddbmm(self.biases[0], x, self.inner))
        hidden = self.dropout(torch.baddbmm(self.biases[1], hidden, self.outer))
        each = self.norm(nn.functional.glu(torch.baddbmm(self.biases[2], hidden, self.gate)) + x)
        return (weights.t().unsqueeze(2) * each).sum(0)


class Fusion(nn.Module):
    """Temporal Fusion Transformer of width 32 with an answer at the newest step only."""

    def __init__(self, columns, dropout):
        super().__init__()
        vector = lambda count: nn.Parameter(torch.randn(count, 32) * 0.3)
        self.static, self.static_bias, self.channel, self.channel_bias = vector(columns), vector(columns), vector(2), vector(2)
        self.summary, self.selection = Selection(columns, False), Selection(2, True)
        self.contexts = nn.ModuleList(GatedResidual() for _ in range(4))
        self.lstm = nn.LSTM(32, 32, batch_first=True)
        self.enrichment, self.feed_forward = GatedResidual(context=True), GatedResidual()
        self.query, self.keys, self.combine = nn.Linear(32, 32), nn.Linear(32, 64), nn.Linear(32, 32)
        self.skips = nn.ModuleList(GatedSkip() for _ in range(3))
        self.width = 32

    def forward(self, x, sequence):
        rows, steps, _ = sequence.shape
        summary = self.summary(x.unsqueeze(2) * self.static + self.static_bias)
        steering, h, c, enriching = (network(summary) for network in self.contexts)
        vectors = (sequence.unsqueeze(3) * self.channel + self.channel_bias).flatten(0, 1)
        selected = self.selection(vectors, steering.repeat_interleave(steps, 0)).view(rows, steps, 32)
        states, _ = self.lstm(selected, (h.unsqueeze(0), c.unsqueeze(0)))
        temporal = self.skips[0](states, selected)
        enriched = self.enrichment(temporal, enriching)
        heads = lambda values: values.view(rows, -1, 4, 8).transpose(1, 2)
        keys, values = self.keys(enriched).chunk(2, 2)
        attended = nn.functional.scaled_dot_product_attention(heads(self.query(enriched[:, -1:])), heads(keys), heads(values))
        attended = self.skips[1](self.combine(attended.transpose(1, 2).reshape(rows, 32)), enriched[:, -1])
        return self.skips[2](self.feed_forward(attended), temporal[:, -1])


BACKBONES = {
    "linear": Linear, "mlp": Mlp, "deepfm": Factorised, "dcn": Cross, "transformer": Attention, "tft": Fusion,
    "lstm": lambda columns, dropout: Recurrent(nn.LSTM, columns, dropout),
    "gru": lambda columns, dropout: Recurrent(nn.GRU, columns, dropout),
}


class Network(nn.Module):
    """A backbone with an objective, which knows the loss: `network.head.loss(network(x, sequence), y)`."""

    def __init__(self, backbone, columns, dropout, objective):
        super().__init__()
        self.body = BACKBONES[backbone](columns, dropout)
        self.head = objective(self.body.width)

    def forward(self, x, sequence=None):
        return self.head(self.body(x, sequence))
