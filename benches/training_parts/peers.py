"""What training is compared with; reads a job as JSON from the command line and prints its result as JSON.

kinds: torch, keras, lightgbm train on arrays in memory (benches/training.py makes them);
usual (SQLAlchemy, pandas, DataLoader) and best (ADBC, one fused step on whole tensors) go from a table to an ONNX
file in a table. The same network, batch size, optimiser and number of epochs everywhere.
"""

import time

STARTED = time.time()

import io
import json
import math
import os
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

JOB = json.loads(sys.argv[1])
THREADS = JOB.get("threads", 1)
os.environ["OMP_NUM_THREADS"] = str(THREADS)
WIDTHS = (128, 64, 32)


def told(**result):
    print("RESULT " + json.dumps(result))


# PyTorch ----------------------------------------------------------------------------------------------------------


def torch_network(backbone, columns, steps, dropout):
    import torch
    from torch import nn

    def tower(width, norm=False):
        layers = []
        for units in WIDTHS:
            layers += [nn.Linear(width, units)] + ([nn.BatchNorm1d(units)] if norm else []) + [nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = units
        return nn.Sequential(*layers)

    class Cross(nn.Module):
        """DCN-v2 with three cross layers beside the tower."""

        def __init__(self):
            super().__init__()
            self.cross = nn.ModuleList(nn.Linear(columns, columns) for _ in range(3))
            self.deep = tower(columns)
            self.width = columns + WIDTHS[-1]

        def forward(self, x, _):
            crossed = x
            for layer in self.cross:
                crossed = x * layer(crossed) + crossed
            return torch.cat([crossed, self.deep(x)], 1)

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.deep = tower(columns) if backbone == "mlp" else nn.Identity()
            self.width = WIDTHS[-1] if backbone == "mlp" else columns

        def forward(self, x, _):
            return self.deep(x)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            make = nn.LSTM if backbone == "lstm" else nn.GRU
            self.first, self.second = make(2, 64, batch_first=True), make(64, 32, batch_first=True)
            self.deep = tower(32 + columns)
            self.width = WIDTHS[-1]

        def forward(self, x, sequence):
            h, _ = self.second(self.first(sequence)[0])
            return self.deep(torch.cat([h[:, -1], x], 1))

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.Linear(2, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.deep = tower(32 + columns)
            self.width = WIDTHS[-1]

        def forward(self, x, sequence):
            h = self.encoder(self.start(sequence)).mean(1)
            return self.deep(torch.cat([h, x], 1))

    class Factorised(nn.Module):
        """DeepFM over numbers: first order, factorisation machine of width 8, and a tower over the embeddings and the numbers."""

        def __init__(self):
            super().__init__()
            self.first = nn.Linear(columns, 1, bias=False)
            self.vectors = nn.Parameter(torch.randn(columns, 8) * 0.1)
            self.deep = tower(9 * columns, norm=True)
            self.width = 1 + 8 + WIDTHS[-1]

        def forward(self, x, _):
            embedded = x.unsqueeze(2) * self.vectors
            second = 0.5 * ((x @ self.vectors) ** 2 - (x**2) @ self.vectors**2)
            return torch.cat([self.first(x), second, self.deep(torch.cat([embedded.flatten(1), x], 1))], 1)

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

        def __init__(self):
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

    kinds = {"deepfm": Factorised, "tft": Fusion, "dcn": Cross, "lstm": Recurrent, "gru": Recurrent, "transformer": Attention}
    body = kinds.get(backbone, Flat)()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = body, nn.Linear(body.width, 3 if JOB.get("objective", "ziln") == "ziln" else 1)

        def forward(self, x, sequence=None):
            return self.head(self.body(x, sequence))

    return Network()


def torch_loss(objective):
    import torch
    import torch.nn.functional as F

    def ziln(out, y):
        paying = (y > 0).float()
        log_y = torch.log(torch.where(y > 0, y, torch.ones_like(y)))
        sigma = F.softplus(out[:, 2]).clamp_min(1e-3)
        density = log_y + torch.log(sigma) + 0.5 * (math.log(2 * math.pi) + ((log_y - out[:, 1]) / sigma) ** 2)
        return F.binary_cross_entropy_with_logits(out[:, 0], paying) + (density * paying).mean()

    return {
        "ziln": ziln,
        "mse": lambda out, y: F.mse_loss(out[:, 0], torch.log1p(y)),
        "huber": lambda out, y: F.huber_loss(out[:, 0], torch.log1p(y)),
        "purchase": lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], (y > 0).float()),
    }[objective]


def torch_epoch(network, loss, optimiser, batches):
    import torch

    network.train()
    for x, sequence, y in batches:
        value = loss(network(x, sequence), y)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()


def whole_tensors(x, sequence, y, batch):
    """Batches by indexing whole tensors, the fastest way there is in plain PyTorch."""
    import torch

    order = torch.randperm(len(x))
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        yield x[rows], None if sequence is None else sequence[rows], y[rows]


def run_torch():
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    x, sequence, y = arrays()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    sequence = None if sequence is None else torch.from_numpy(sequence)
    network = torch_network(JOB["backbone"], x.shape[1], JOB.get("steps", 0), JOB.get("dropout", 0.3))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    loss = torch_loss(JOB["objective"])
    rates = []
    for _ in range(JOB["epochs"]):
        begun = time.perf_counter()
        torch_epoch(network, loss, optimiser, whole_tensors(x, sequence, y, JOB["batch"]))
        rates.append(len(x) / (time.perf_counter() - begun))
    told(rates=rates)


# Others -----------------------------------------------------------------------------------------------------------


def run_keras():
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    x, _, y = arrays()
    layers = [keras.Input((x.shape[1],))]
    for units in WIDTHS:
        layers += [keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(JOB.get("dropout", 0.3))]
    network = keras.Sequential(layers + [keras.layers.Dense(3)])

    def ziln(y, out):
        y = tf.reshape(y, [-1])
        paying = tf.cast(y > 0, tf.float32)
        log_y = tf.math.log(tf.where(y > 0, y, tf.ones_like(y)))
        sigma = tf.maximum(tf.nn.softplus(out[:, 2]), 1e-3)
        density = log_y + tf.math.log(sigma) + 0.5 * (math.log(2 * math.pi) + ((log_y - out[:, 1]) / sigma) ** 2)
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=paying, logits=out[:, 0]) + density * paying

    network.compile(optimizer=keras.optimizers.AdamW(2e-3, weight_decay=1e-2, global_clipnorm=1.0), loss=ziln)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(JOB["batch"]).prefetch(1)
    rates = []
    for _ in range(JOB["epochs"]):
        begun = time.perf_counter()
        network.fit(data, verbose=0)
        rates.append(len(x) / (time.perf_counter() - begun))
    told(rates=rates)


def run_lightgbm():
    import lightgbm

    x, _, y = arrays()
    begun = time.perf_counter()
    lightgbm.train({"objective": "tweedie", "num_threads": THREADS, "verbose": -1}, lightgbm.Dataset(x, y), 100)
    told(rates=[], seconds=time.perf_counter() - begun)


def arrays():
    """Uniform features, a third of the rows paying."""
    random = np.random.default_rng(1)
    rows, columns, steps = JOB["rows"], JOB["columns"], JOB.get("steps", 0)
    x = random.uniform(-1, 1, (rows, columns)).astype(np.float32)
    signal = x[:, 0] + x[:, -1]
    pays = random.random(rows) < 1 / (1 + np.exp(0.7 - signal))
    y = np.where(pays, np.exp(3 + 0.5 * signal + random.uniform(-1, 1, rows)), 0).astype(np.float32)
    sequence = random.uniform(-1, 1, (rows, steps, 2)).astype(np.float32) if steps else None
    return x, sequence, y


# From table to stored model ----------------------------------------------------------------------------------------


def finish(network, columns, loss_on_validation, connection, imported, phases):
    import torch

    begun = time.time()
    file = io.BytesIO()
    network.eval()
    example = torch.zeros(2, columns)
    try:
        torch.onnx.export(network, (example,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    except Exception:
        file = io.BytesIO()
        torch.onnx.export(network, (example,), dynamo=True, verbose=False).save(file)
    phases["export"] = time.time() - begun
    connection.execute("CREATE TABLE IF NOT EXISTS stored (at timestamptz DEFAULT now(), loss float8, onnx bytea)")
    connection.execute("INSERT INTO stored (loss, onnx) VALUES (%s, %s)", (loss_on_validation, file.getvalue()))
    connection.commit()
    told(seconds=time.time() - STARTED, imports=imported - STARTED, **phases)


def fit(network, batches, validation):
    """Ten epochs, after each the loss on the fifth that was kept."""
    import torch

    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=JOB["kind"] == "best")
    loss = torch_loss("ziln")
    for _ in range(JOB["epochs"]):
        torch_epoch(network, loss, optimiser, batches())
        network.eval()
        with torch.no_grad():
            value = loss(network(validation[0]), validation[1]).item()
    return value


def run_usual():
    import pandas
    import psycopg
    import sqlalchemy
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    imported = time.time()
    torch.set_num_threads(THREADS)
    url = JOB["url"].replace("postgresql://", "postgresql+psycopg2://", 1)
    frame = pandas.read_sql("SELECT * FROM customers", sqlalchemy.create_engine(url))
    phases = {"reading": time.time() - imported}
    features = frame.drop(columns=["customer_id", "ltv"])
    features = (features - features.mean()) / features.std()
    x = torch.tensor(features.to_numpy(np.float32))
    y = torch.tensor(frame["ltv"].to_numpy(np.float32))
    kept = torch.arange(len(x)) % 5 == 0
    loader = DataLoader(TensorDataset(x[~kept], y[~kept]), batch_size=JOB["batch"], shuffle=True)
    network = torch_network("mlp", x.shape[1], 0, 0.3)
    begun = time.time()
    loss = fit(network, lambda: ((x, None, y) for x, y in loader), (x[kept], y[kept]))
    phases["training"] = time.time() - begun
    finish(network, x.shape[1], loss, psycopg.connect(JOB["url"]), imported, phases)


def run_best():
    import adbc_driver_postgresql.dbapi
    import psycopg
    import torch

    imported = time.time()
    torch.set_num_threads(THREADS)
    with adbc_driver_postgresql.dbapi.connect(JOB["url"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM customers")
        table = cursor.fetch_arrow_table()
    names = [name for name in table.column_names if name not in ("customer_id", "ltv")]
    x = np.stack([table[name].to_numpy() for name in names], 1).astype(np.float32)
    y = torch.from_numpy(table["ltv"].to_numpy().astype(np.float32))
    phases = {"reading": time.time() - imported}
    x = torch.from_numpy((x - x.mean(0)) / x.std(0))
    kept = torch.arange(len(x)) % 5 == 0
    train = x[~kept], y[~kept]
    network = torch_network("mlp", x.shape[1], 0, 0.3)
    begun = time.time()
    loss = fit(network, lambda: whole_tensors(train[0], None, train[1], JOB["batch"]), (x[kept], y[kept]))
    phases["training"] = time.time() - begun
    finish(network, x.shape[1], loss, psycopg.connect(JOB["url"]), imported, phases)


if __name__ == "__main__":
    {"torch": run_torch, "keras": run_keras, "lightgbm": run_lightgbm, "usual": run_usual, "best": run_best}[JOB["kind"]]()
