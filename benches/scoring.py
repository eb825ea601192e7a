# Scoring: the batch scan against row by row, PL/Python, the job outside the database, and the floor.
"""Score a table with one network, in as many ways as people do it.

    cargo xtask bench scoring -- [--rows 1000000] [--repeat 3] [--svg scoring.svg]

The table is `t (id int, features real[])`, the model an MLP 32-128-64-3 with a zero-inflated lognormal head. All ways
run on the same server, one after the other; each line is the median (and the range) of `repeat` runs, and the
seconds of processor time that client and backend took together, which a busy machine does not change.

    batch             SELECT sum(ltv_predict('mlp', features)) FROM t, one process
    row by row        the same with ltv.enable_batch_scan = off
    pl/python         the same with a PL/Python function that keeps its onnxruntime session (if plpython3u is there)
    outside           psycopg: binary COPY out, onnxruntime in batches of 1024, binary COPY back
    floor             SELECT sum(features[1]) FROM t, plus onnxruntime in this process on the same matrix in memory
"""

import argparse
import hashlib
import os
import statistics
import struct
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import psycopg

ROOT = Path(os.environ.get("PG_LTV_ROOT", Path(__file__).parents[1]))
GRAPH = ROOT / "benches/data/mlp_32_128_64_3.onnx"
WIDTH = 32
SCHEMA = """{"inputs": [{"name": "features", "kind": "vector", "len": 32, "type": "real[]"}],
 "outputs": ["ltv", "purchase_probability"], "distribution": "zero_inflated_lognormal"}"""
PYTHON = """
CREATE EXTENSION IF NOT EXISTS plpython3u;
CREATE OR REPLACE FUNCTION python_predict(features real[]) RETURNS float8 LANGUAGE plpython3u STABLE PARALLEL SAFE AS $$
if "session" not in SD:
    import numpy, onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    SD["numpy"] = numpy
    SD["session"] = onnxruntime.InferenceSession("{graph}", options)
x = SD["numpy"].asarray([features], dtype="float32")
return float(SD["session"].run(["ltv"], {"features": x})[0][0])
$$;
"""


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(GRAPH), options)


def fill(connection, rows):
    onnx = GRAPH.read_bytes()
    connection.execute("INSERT INTO ltv.models (model, last_version) VALUES ('mlp', 1)")
    connection.execute(
        "INSERT INTO ltv.versions (model, version, checksum, onnx, schema) VALUES ('mlp', 1, %s, %s, %s)",
        (hashlib.sha256(onnx).hexdigest(), onnx, SCHEMA),
    )
    connection.execute("INSERT INTO ltv.aliases (model, alias, version) VALUES ('mlp', 'champion', 1)")
    connection.execute("CREATE TABLE t (id int, features real[])")
    random = np.random.default_rng(1)
    with connection.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0))
        for start in range(0, rows, 10_000):
            block = random.uniform(-1, 1, (min(10_000, rows - start), WIDTH)).astype(np.float32)
            copy.write(encode(np.arange(start, start + len(block)), block))
        copy.write(struct.pack(">h", -1))
    connection.execute("CREATE TABLE scores (id int, p float8)")
    for statement in ("VACUUM (FREEZE, ANALYZE) t", "CHECKPOINT"):
        connection.execute(statement)


def encode(ids, matrix):
    """Rows of (int, real[]) in COPY's binary format."""
    element = np.dtype([("length", ">i4"), ("value", ">f4")])
    row = np.dtype([
        ("fields", ">i2"), ("id_length", ">i4"), ("id", ">i4"), ("array_length", ">i4"), ("dimensions", ">i4"),
        ("nulls", ">i4"), ("type", ">i4"), ("count", ">i4"), ("lower", ">i4"), ("elements", element, (WIDTH,)),
    ])
    out = np.zeros(len(ids), row)
    out["fields"], out["id_length"], out["id"] = 2, 4, ids
    out["array_length"] = 20 + 8 * WIDTH
    out["dimensions"], out["type"], out["count"], out["lower"] = 1, 700, WIDTH, 1
    out["elements"]["length"], out["elements"]["value"] = 4, matrix
    return out.tobytes()


def outside(connection, scorer):
    """Everything a careful job does: binary both ways, batches, no Python object per value."""
    element = np.dtype([("length", ">i4"), ("value", ">f4")])
    row = np.dtype([("head", "V6"), ("id", ">i4"), ("array", "V24"), ("elements", element, (WIDTH,))])
    result = np.dtype([("fields", ">i2"), ("l1", ">i4"), ("id", ">i4"), ("l2", ">i4"), ("p", ">f8")])
    with connection.cursor().copy("COPY t TO STDOUT (FORMAT binary)") as copy:
        data = b"".join(copy)
    table = np.frombuffer(data, row, offset=19, count=(len(data) - 21) // row.itemsize)
    matrix = table["elements"]["value"].astype(np.float32)
    predictions = np.concatenate([
        scorer.run(["ltv"], {"features": matrix[i : i + 1024]})[0] for i in range(0, len(matrix), 1024)
    ])
    out = np.zeros(len(table), result)
    out["fields"], out["l1"], out["l2"] = 2, 4, 8
    out["id"], out["p"] = table["id"], predictions
    with connection.cursor().copy("COPY scores FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0) + out.tobytes() + struct.pack(">h", -1))


def processor(backend):
    """Seconds that this process and the backend have used; none where the server is elsewhere."""
    try:
        fields = Path(f"/proc/{backend}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return float("nan")
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(work, repeat, backend, before=lambda: None):
    times, used = [], []
    for _ in range(repeat + 1):
        before()
        start, start_used = time.perf_counter(), processor(backend)
        work()
        times.append(time.perf_counter() - start)
        used.append(processor(backend) - start_used)
    return sorted(times[1:]), statistics.median(used[1:])  # the first run warms up


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    connection = psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True)
    backend = connection.info.backend_pid
    fill(connection, options.rows)
    run = lambda *statements: [connection.execute(s) for s in statements]
    empty = lambda: run("TRUNCATE scores", "CHECKPOINT")
    share = min(1.0, 100_000 / options.rows)  # the slow ways see fewer rows, and are scaled
    part = f"WHERE id < {int(options.rows * share)}"
    results = []

    def add(group, name, work, before=lambda: None, scale=1.0):
        times, used = measure(work, options.repeat, backend, before)
        times = [t * scale for t in times]
        results.append((group, name, times, used * scale))
        median = statistics.median(times)
        print(
            f"{group:12} {name:34} {median:9.3f} s  ({times[0]:.3f} .. {times[-1]:.3f}), processor {used * scale:.3f} s",
            flush=True,
        )

    run("SET max_parallel_workers_per_gather = 0")
    total = "SELECT sum(ltv_predict('mlp', features)) FROM t"
    write = "INSERT INTO scores SELECT id, ltv_predict('mlp', features) FROM t"
    top = "SELECT id FROM t ORDER BY ltv_predict('mlp', features) DESC LIMIT 1000"
    some = "SELECT count(*) FROM t WHERE ltv_predict('mlp', features) > 1"

    scorer = session()
    matrix = np.random.default_rng(1).uniform(-1, 1, (options.rows, WIDTH)).astype(np.float32)

    def raw():
        for i in range(0, len(matrix), 1024):
            scorer.run(["ltv"], {"features": matrix[i : i + 1024]})

    add("floor", "scan: sum(features[1])", lambda: run("SELECT sum(features[1]) FROM t"))
    add("floor", "onnxruntime on a matrix in memory", raw)
    add("aggregate", "batch", lambda: run(total))
    run("SET ltv.enable_batch_scan = off")
    add("aggregate", "row by row", lambda: run(f"{total} {part}"), scale=1 / share)
    run("SET ltv.enable_batch_scan = on")
    try:
        run(PYTHON.replace("{graph}", str(GRAPH)))
        run("SELECT python_predict(features) FROM t LIMIT 1")
        python = f"SELECT sum(python_predict(features)) FROM t {part}"
        add("aggregate", "PL/Python", lambda: run(python), scale=1 / share)
    except psycopg.Error as error:
        print(f"PL/Python left out: {str(error).splitlines()[0]}")
    add("top 1000", "batch", lambda: run(top))
    add("filter", "batch", lambda: run(some))
    add("write back", "batch, INSERT ... SELECT", lambda: run(write), empty)
    add("write back", "outside, binary COPY both ways", lambda: outside(connection, scorer), empty)
    run("SET max_parallel_workers_per_gather = 2", "SET min_parallel_table_scan_size = 0")
    add("parallel", "batch, aggregate, 2 workers", lambda: run(total))

    median = {(g, n): statistics.median(t) for g, n, t, _ in results}
    used = {(g, n): u for g, n, _, u in results}
    batch = median["aggregate", "batch"]
    floor = median["floor", "scan: sum(features[1])"] + median["floor", "onnxruntime on a matrix in memory"]
    print(f"\n{options.rows} rows, {os.cpu_count()} cores")
    print(f"aggregate: {options.rows / batch / 1e6:.2f} million rows/s, {batch / floor:.2f} times the floor")
    floor = used["floor", "scan: sum(features[1])"] + used["floor", "onnxruntime on a matrix in memory"]
    print(f"aggregate, by processor time: {used['aggregate', 'batch'] / floor:.2f} times the floor")

    def compare(what, slow, fast):
        wall, busy = median[slow] / median[fast], used[slow] / used[fast]
        print(f"{what}: {wall:.1f} times faster, {busy:.1f} times by processor time")

    compare("against row by row", ("aggregate", "row by row"), ("aggregate", "batch"))
    if ("aggregate", "PL/Python") in median:
        compare("against PL/Python", ("aggregate", "PL/Python"), ("aggregate", "batch"))
    outer = ("write back", "outside, binary COPY both ways")
    compare("score and write back, against the job outside", outer, ("write back", "batch, INSERT ... SELECT"))
    print(f"two workers: {batch / median['parallel', 'batch, aggregate, 2 workers']:.2f} times faster")
    if options.svg:
        options.svg.write_text(plot(results, options.rows))
        print(f"wrote {options.svg}")


def plot(results, rows):
    """Horizontal bars on a logarithmic scale, rows per second."""
    bar, left, width = 26, 290, 460
    rates = [(f"{g}: {n}", rows / statistics.median(t)) for g, n, t, _ in results]
    low = 10 ** np.floor(np.log10(min(r for _, r in rates)))
    high = max(r for _, r in rates)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 110}" height="{bar * len(rates) + 50}" '
        'font-family="sans-serif" font-size="13">',
        f'<text x="10" y="22" font-weight="bold">Scoring {rows:,} rows of real[32]: rows per second (logarithmic)</text>',
    ]
    for i, (name, rate) in enumerate(rates):
        y = 40 + i * bar
        length = width * np.log10(rate / low) / np.log10(high / low)
        colour = "#2b6cb0" if "batch" in name else "#a0aec0"
        lines.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{name}</text>')
        lines.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 7}" fill="{colour}"/>')
        lines.append(f'<text x="{left + length + 6:.0f}" y="{y + 15}">{rate:,.0f}</text>')
    return "\n".join(lines + ["</svg>\n"])


if __name__ == "__main__":
    sys.exit(main())
