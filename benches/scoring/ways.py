"""The ways to score a table: in the database, and outside of it."""

import multiprocessing
import os
import sysconfig
import time

import numpy as np
import onnxruntime

from tables import GRAPH, HEAD, NAMES, TAIL

BATCH = 1024
RESULT = np.dtype([("fields", ">i2"), ("l1", ">i4"), ("id", ">i4"), ("l2", ">i4"), ("p", ">f8")])
JOBS = ("aggregate", "materialise", "top 1000", "filter")


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options)


def statement(job, table, expression, part="", parallel=False):
    """The job as one statement. PostgreSQL reads in parallel for CREATE TABLE AS, not for INSERT."""
    source = f"{table.name} t {part}"
    into = "CREATE TABLE made AS" if parallel else "INSERT INTO scores"
    return {
        "aggregate": f"SELECT sum({expression}) FROM {source}",
        "materialise": f"{into} SELECT id, {expression} AS p FROM {source}",
        "top 1000": f"SELECT id FROM {source} ORDER BY {expression} DESC LIMIT 1000",
        "filter": f"SELECT count(*) FROM {source} {'AND' if part else 'WHERE'} {expression} > 0.5",
    }[job]


def raw(scorer, feed):
    count = len(next(iter(feed.values())))
    for i in range(0, count, BATCH):
        scorer.run(["ltv"], {key: value[i : i + BATCH] for key, value in feed.items()})


def work(feed, started, done):
    scorer = session(GRAPH.read_bytes())
    raw(scorer, feed)
    started.wait()
    start = time.perf_counter()
    raw(scorer, feed)
    done.put(time.perf_counter() - start)


def two_processes(table):
    """How much more two processes with onnxruntime get done than one: what the machine allows two workers to reach."""
    feed = {key: value[:500_000] for key, value in table.memory().items()}
    found = {}
    for count in (1, 2):
        started, done = multiprocessing.Barrier(count), multiprocessing.Queue()
        workers = [multiprocessing.Process(target=work, args=(feed, started, done)) for _ in range(count)]
        for worker in workers:
            worker.start()
        found[count] = max(done.get() for _ in workers)
        for worker in workers:
            worker.join()
    return 2 * found[1] / found[2]


def predict(scorer, feed):
    count = len(next(iter(feed.values())))
    return np.concatenate([
        scorer.run(["ltv"], {key: value[i : i + BATCH] for key, value in feed.items()})[0].ravel()
        for i in range(0, count, BATCH)
    ])


def finish(job, ids, predictions, write):
    if job == "aggregate":
        predictions.sum(dtype=np.float64)
    elif job == "materialise":
        write(ids, predictions)
    elif job == "top 1000":
        ids[np.argpartition(predictions, -1000)[-1000:]]
    else:
        (predictions > 0.5).sum()


def by_copy(connection, table, scorer, job):
    """Binary COPY both ways, rows decoded a block at a time by numpy, no Python object per value."""
    ids, predictions = [], []
    size, skip, left = table.row.itemsize, len(HEAD), b""
    with connection.cursor().copy(f"COPY {table.name} TO STDOUT (FORMAT binary)") as copy:
        chunks, length = [], 0
        for chunk in copy:
            chunks.append(chunk)
            length += len(chunk)
            if length < 16 * BATCH * size:
                continue
            left = take(b"".join(chunks), skip, size, table, scorer, ids, predictions)
            skip, chunks, length = 0, [left], len(left)
        take(b"".join(chunks), skip, size, table, scorer, ids, predictions)

    def write(ids, predictions):
        out = np.zeros(len(ids), RESULT)
        out["fields"], out["l1"], out["l2"], out["id"], out["p"] = 2, 4, 8, ids, predictions
        with connection.cursor().copy("COPY scores FROM STDIN (FORMAT binary)") as copy:
            copy.write(HEAD)
            copy.write(out.tobytes())
            copy.write(TAIL)

    finish(job, np.concatenate(ids), np.concatenate(predictions), write)


def take(data, skip, size, table, scorer, ids, predictions):
    count = (len(data) - skip) // size
    if count:
        block = np.frombuffer(data, table.row, offset=skip, count=count)
        ids.append(block["id"].astype(np.int32))
        predictions.append(predict(scorer, table.feed(block)))
    return data[skip + count * size :]


def by_adbc(adbc, table, scorer, job):
    """Arrow out and Arrow in."""
    import pyarrow

    ids, predictions = [], []
    with adbc.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table.name}")
        for batch in cursor.fetch_record_batch():
            if batch.num_rows:
                some, feed = table.from_arrow(batch)
                ids.append(some)
                predictions.append(predict(scorer, feed))

        def write(ids, predictions):
            cursor.adbc_ingest("scores", pyarrow.table({"id": ids, "p": predictions.astype(np.float64)}), mode="append")

        finish(job, np.concatenate(ids), np.concatenate(predictions), write)
    adbc.commit()


PYTHON = """
CREATE OR REPLACE FUNCTION python_predict({argument}) RETURNS float8 LANGUAGE plpython3u STABLE PARALLEL SAFE AS $$
if "session" not in SD:
    import sys
    sys.path.insert(0, {packages!r})
    import numpy, onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    SD["numpy"], SD["names"] = numpy, {names!r}
    SD["session"] = onnxruntime.InferenceSession(plpy.execute("SELECT ltv_export_onnx('{model}') AS o")[0]["o"], options)
    SD["strings"] = ("country", "channel")
{body}
return float(SD["session"].run(["ltv"], feed)[0].ravel()[0])
$$;
"""


def create_python(connection, table):
    """PL/Python runs the system's Python; the packages are those of this script's environment, of the same version."""
    if table.python_read:
        body = f'feed = {{"features": SD["numpy"].asarray({table.python_read}, dtype="float32")}}'
    else:
        body = (
            'feed = {n: SD["numpy"].asarray([[t[n]]], dtype=object if n in SD["strings"] else "float32") for n in t if n != "id"}'
        )
    connection.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
    connection.execute("DROP FUNCTION IF EXISTS python_predict")
    connection.execute(
        PYTHON.format(
            argument=table.python_argument, packages=sysconfig.get_paths()["purelib"], names=NAMES, model=table.model, body=body
        )
    )
    connection.execute(f"SELECT {table.python} FROM {table.name} t LIMIT 1")


def open_adbc():
    import adbc_driver_postgresql.dbapi

    return adbc_driver_postgresql.dbapi.connect(os.environ["PG_LTV_URL"])
