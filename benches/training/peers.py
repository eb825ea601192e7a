"""What training is compared with; reads a job as JSON from the command line and prints its result as JSON.

kinds: torch, keras, lightgbm train on arrays in memory (main.py makes them); usual and best go from a table
to a stored model, see jobs.py. The same network, batch size, optimiser and number of epochs everywhere.
"""

import time

STARTED = time.time()

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


def run_torch():
    import torch
    import torch_steps

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    x, sequence, y = arrays()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    sequence = None if sequence is None else torch.from_numpy(sequence)
    network = torch_steps.network(JOB["backbone"], JOB["objective"], x.shape[1], y, JOB.get("dropout", 0.3))
    optimiser = torch_steps.optimiser(network, fused=True)
    rates = []
    for _ in range(JOB["epochs"]):
        begun = time.perf_counter()
        torch_steps.epoch(network, optimiser, torch_steps.whole_tensors(x, sequence, y, JOB["batch"]))
        rates.append(len(x) / (time.perf_counter() - begun))
    told(rates=rates)


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


def run_job():
    import jobs

    told(**{"usual": jobs.usual, "best": jobs.best}[JOB["kind"]](JOB, THREADS, STARTED))


if __name__ == "__main__":
    {"torch": run_torch, "keras": run_keras, "lightgbm": run_lightgbm}.get(JOB["kind"], run_job)()
