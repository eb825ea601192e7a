"""The tables that are scored, and the models that score them."""

import hashlib
import json
import os
import struct
from pathlib import Path

import numpy as np

ROOT = Path(os.environ.get("PG_LTV_ROOT", Path(__file__).parents[2]))
GRAPH = Path(__file__).with_name("mlp_32_128_64_3.onnx")
WIDTH = 32
NAMES = [f"f{i}" for i in range(1, WIDTH + 1)]
COUNTRIES = np.array([f"c{i:02d}" for i in range(50)])
CHANNELS = np.array([f"k{i}" for i in range(8)])
BLOCK = 20_000
HEAD, TAIL = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0), struct.pack(">h", -1)
FLOAT = np.dtype([("length", ">i4"), ("value", ">f4")])


class Table:
    """One table: how it looks in COPY's binary format (all rows of one size), and what ONNX Runtime is fed with."""

    model = "mlp"

    def __init__(self, rows):
        self.rows = rows

    def feed(self, block):
        """What the graph takes, from rows in COPY's format."""
        return {"features": np.ascontiguousarray(self.matrix(block))}

    def create(self, connection):
        connection.execute(f"CREATE TABLE {self.name} ({self.columns})")
        random = np.random.default_rng(1)
        with connection.cursor().copy(f"COPY {self.name} FROM STDIN (FORMAT binary)") as copy:
            copy.write(HEAD)
            for start in range(0, self.rows, BLOCK):
                copy.write(self.block(start, min(BLOCK, self.rows - start), random).tobytes())
            copy.write(TAIL)
        connection.execute(f"ALTER TABLE {self.name} ADD PRIMARY KEY (id)")
        connection.execute(f"VACUUM (FREEZE, ANALYZE) {self.name}")

    def memory(self):
        """The whole input of the graph, as it is in memory."""
        random = np.random.default_rng(1)
        blocks = [
            self.feed(self.block(start, min(BLOCK, self.rows - start), random)) for start in range(0, self.rows, BLOCK)
        ]
        return {key: np.concatenate([b[key] for b in blocks]) for key in blocks[0]}

    def from_arrow(self, batch):
        """Ids and the graph's input from a record batch."""
        return batch.column(0).to_numpy(), self.arrow_feed(batch)


class Array(Table):
    name, title = "array_table", "real[32]"
    columns = "id int, features real[]"
    call, cheap, python = "ltv_predict('mlp', features)", "features[1]", "python_predict(features)"
    python_argument, python_read = "features real[]", "[features]"
    row = np.dtype([
        ("fields", ">i2"), ("id_length", ">i4"), ("id", ">i4"), ("array_length", ">i4"), ("dimensions", ">i4"),
        ("nulls", ">i4"), ("type", ">i4"), ("count", ">i4"), ("lower", ">i4"), ("elements", FLOAT, (WIDTH,)),
    ])

    def block(self, start, count, random):
        out = np.zeros(count, self.row)
        out["fields"], out["id_length"], out["id"] = 2, 4, np.arange(start, start + count)
        out["array_length"] = 20 + 8 * WIDTH
        out["dimensions"], out["type"], out["count"], out["lower"] = 1, 700, WIDTH, 1
        out["elements"]["length"] = 4
        out["elements"]["value"] = random.uniform(-1, 1, (count, WIDTH))
        return out

    def matrix(self, block):
        return block["elements"]["value"].astype(np.float32)

    def arrow_feed(self, batch):
        return {"features": batch.column(1).flatten().to_numpy().reshape(-1, WIDTH)}


class Wide(Table):
    name, title = "wide_table", "32 columns"
    columns = "id int, " + ", ".join(f"{n} real" for n in NAMES)
    model = "wide"
    call, cheap, python = "ltv_predict('wide', t)", "f1", "python_predict(t)"
    python_argument, python_read = "t wide_table", "[[t[n] for n in SD['names']]]"
    row = np.dtype([("fields", ">i2"), ("id_length", ">i4"), ("id", ">i4"), ("elements", FLOAT, (WIDTH,))])

    def block(self, start, count, random):
        out = np.zeros(count, self.row)
        out["fields"], out["id_length"], out["id"] = 1 + WIDTH, 4, np.arange(start, start + count)
        out["elements"]["length"] = 4
        out["elements"]["value"] = random.uniform(-1, 1, (count, WIDTH))
        return out

    def matrix(self, block):
        return block["elements"]["value"].astype(np.float32)

    def arrow_feed(self, batch):
        return {"features": np.column_stack([batch.column(i).to_numpy() for i in range(1, 1 + WIDTH)])}


class Categories(Table):
    """A model of ours, trained on a few of the rows: its stored graph takes one tensor per column."""

    name, title = "category_table", "14 numbers, 2 categories"
    numbers = NAMES[:14]
    columns = "id int, country text, channel text, " + ", ".join(f"{n} real" for n in numbers)
    model = "categories"
    call, cheap, python = "ltv_predict('categories', t)", "f1", "python_predict(t)"
    python_argument = "t category_table"
    python_read = None
    row = np.dtype([
        ("fields", ">i2"), ("id_length", ">i4"), ("id", ">i4"), ("country_length", ">i4"), ("country", "S3"),
        ("channel_length", ">i4"), ("channel", "S2"), ("elements", FLOAT, (14,)),
    ])

    def block(self, start, count, random):
        out = np.zeros(count, self.row)
        out["fields"], out["id_length"], out["id"] = 17, 4, np.arange(start, start + count)
        out["country_length"], out["channel_length"] = 3, 2
        out["country"] = random.choice(COUNTRIES, count)
        out["channel"] = random.choice(CHANNELS, count)
        out["elements"]["length"] = 4
        out["elements"]["value"] = random.uniform(-1, 1, (count, 14))
        return out

    def feed(self, block):
        values = block["elements"]["value"].astype(np.float32)
        feed = {name: np.ascontiguousarray(values[:, [i]]) for i, name in enumerate(self.numbers)}
        for name in ("country", "channel"):
            feed[name] = block[name].astype("U").astype(object).reshape(-1, 1)
        return feed

    def arrow_feed(self, batch):
        feed = {name: batch.column(3 + i).to_numpy().reshape(-1, 1) for i, name in enumerate(self.numbers)}
        for i, name in enumerate(("country", "channel")):
            feed[name] = batch.column(1 + i).to_numpy(zero_copy_only=False).reshape(-1, 1)
        return feed


def store_models(connection):
    """The same network for arrays and for columns. The model with categories is trained once its table is there."""
    onnx = GRAPH.read_bytes()
    outputs = ["ltv", "purchase_probability"]
    packed = [{"name": n, "kind": "numeric", "type": "real"} for n in NAMES]
    vector = [{"name": "features", "kind": "vector", "len": WIDTH, "type": "real[]"}]
    for model, schema in (
        ("mlp", {"inputs": vector, "outputs": outputs}),
        ("wide", {"inputs": packed, "packed": "features", "outputs": outputs}),
    ):
        connection.execute("INSERT INTO ltv.models (model, last_version) VALUES (%s, 1)", (model,))
        connection.execute(
            "INSERT INTO ltv.versions (model, version, checksum, onnx, schema) VALUES (%s, 1, %s, %s, %s)",
            (model, hashlib.sha256(onnx).hexdigest(), onnx, json.dumps(schema)),
        )
        connection.execute("INSERT INTO ltv.aliases (model, alias, version) VALUES (%s, 'champion', 1)", (model,))


def train_categories(connection):
    columns = ", ".join(["country", "channel", *Categories.numbers])
    connection.execute(
        "SELECT ltv_train('categories', query => %s, options => %s)",
        (
            f"SELECT id AS customer_id, {columns}, greatest(0, 20 * f1 + 10 * f2 + length(country)) AS ltv"
            " FROM category_table WHERE id < 20000",
            '{"epochs": 2, "ensemble": 1, "hidden_sizes": [128, 64]}',
        ),
    )
    connection.execute("SELECT ltv_wait(max(job)) FROM ltv_jobs")


def graph_of(connection, model):
    return bytes(connection.execute("SELECT ltv_export_onnx(%s)", (model,)).fetchone()[0])
