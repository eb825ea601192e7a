"""Stores the graphs beside this file: `vector` (two versions, the first is champion) and `customers`."""

import hashlib
from pathlib import Path

DIRECTORY = Path("tests/data/scoring")


def load(connection, directory=DIRECTORY):
    for model, versions in (("vector", 2), ("customers", 1)):
        schema = (directory / f"{model}.json").read_text()
        connection.execute("INSERT INTO ltv.models (model, last_version) VALUES (%s, %s)", (model, versions))
        for version in range(1, versions + 1):
            onnx = (directory / f"{model}_{version}.onnx").read_bytes()
            connection.execute(
                "INSERT INTO ltv.versions (model, version, checksum, onnx, schema) VALUES (%s, %s, %s, %s, %s)",
                (model, version, hashlib.sha256(onnx).hexdigest(), onnx, schema),
            )
        connection.execute("INSERT INTO ltv.aliases (model, alias, version) VALUES (%s, 'champion', 1)", (model,))
    connection.commit()
