"""From a table to a stored model without pg_ltv: the usual job (SQLAlchemy, pandas, DataLoader) and the best one (ADBC, one
fused step on whole tensors). Both train an mlp with ziln and put an ONNX file into a table."""

import io
import time

import numpy as np
import psycopg
import torch
import torch_steps


def usual(job, threads, started):
    import pandas
    import sqlalchemy
    from torch.utils.data import DataLoader, TensorDataset

    imported = time.time()
    torch.set_num_threads(threads)
    url = job["url"].replace("postgresql://", "postgresql+psycopg2://", 1)
    frame = pandas.read_sql("SELECT * FROM customers", sqlalchemy.create_engine(url))
    phases = {"imports": imported - started, "reading": time.time() - imported}
    features = frame.drop(columns=["customer_id", "ltv"])
    features = (features - features.mean()) / features.std()
    x = torch.tensor(features.to_numpy(np.float32))
    y = torch.tensor(frame["ltv"].to_numpy(np.float32))
    kept = torch.arange(len(x)) % 5 == 0
    loader = DataLoader(TensorDataset(x[~kept], y[~kept]), batch_size=job["batch"], shuffle=True)
    batches = lambda: ((x, None, y) for x, y in loader)
    return finish(job, x[kept], y[kept], batches, False, phases, started)


def best(job, threads, started):
    import adbc_driver_postgresql.dbapi

    imported = time.time()
    torch.set_num_threads(threads)
    with adbc_driver_postgresql.dbapi.connect(job["url"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM customers")
        table = cursor.fetch_arrow_table()
    names = [name for name in table.column_names if name not in ("customer_id", "ltv")]
    x = np.stack([table[name].to_numpy() for name in names], 1).astype(np.float32)
    y = torch.from_numpy(table["ltv"].to_numpy().astype(np.float32))
    phases = {"imports": imported - started, "reading": time.time() - imported}
    x = torch.from_numpy((x - x.mean(0)) / x.std(0))
    kept = torch.arange(len(x)) % 5 == 0
    train = x[~kept], y[~kept]
    batches = lambda: torch_steps.whole_tensors(train[0], None, train[1], job["batch"])
    return finish(job, x[kept], y[kept], batches, True, phases, started)


def finish(job, x, y, batches, fused, phases, started):
    """Trains, with the loss on the rows that were kept after each epoch, exports and stores."""
    begun = time.time()
    columns = x.shape[1]
    network = torch_steps.network("mlp", "ziln", columns, y, 0.3)
    optimiser = torch_steps.optimiser(network, fused)
    for _ in range(job["epochs"]):
        torch_steps.epoch(network, optimiser, batches())
        network.eval()
        with torch.no_grad():
            loss = network.head.loss(network(x), y).item()
    phases["training"] = time.time() - begun
    begun = time.time()
    file = io.BytesIO()
    example = torch.zeros(2, columns)
    try:
        torch.onnx.export(network, (example,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    except Exception:
        file = io.BytesIO()
        torch.onnx.export(network, (example,), dynamo=True, verbose=False).save(file)
    phases["export"] = time.time() - begun
    with psycopg.connect(job["url"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS stored (at timestamptz DEFAULT now(), loss float8, onnx bytea)")
        connection.execute("INSERT INTO stored (loss, onnx) VALUES (%s, %s)", (loss, file.getvalue()))
    return {"seconds": time.time() - started} | phases
