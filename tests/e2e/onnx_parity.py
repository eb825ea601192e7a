"""An exported graph, fed raw values in Python's onnxruntime, gives what ltv_predict gives.

Rows are ordinary, missing, unseen and extreme. Each column is fed under its own name as docs and the function's comment
say: float32 with NaN for NULL, strings with '' for NULL, booleans as 'true' and 'false', times as days since 1970.

    PG_LTV_URL=postgresql://... python tests/e2e/onnx_parity.py
"""

import json
import math
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import psycopg  # noqa: E402

TOLERANCE = 1e-5

TABLES = """
CREATE TYPE plan AS ENUM ('free', 'basic', 'gold');
CREATE TABLE customers AS SELECT 'c' || n AS customer_id, n * 7919 % 101 AS recency,
    CASE WHEN n % 17 = 0 THEN NULL ELSE (n * 31 % 97)::numeric(10, 2) / 7 END AS monetary,
    CASE n % 50 WHEN 1 THEN 'NaN'::float8 WHEN 2 THEN 'Infinity' ELSE exp(n * 104729 % 13) END AS spread,
    (ARRAY['DE', 'FR', 'it''s', 'Größe', '', NULL])[1 + n % 6] AS country, (ARRAY['free', 'basic', 'gold']::plan[])[1 + n % 3] AS plan,
    nullif(n % 3, 2) = 0 AS newsletter, DATE '2024-01-01' + n % 300 AS first_order,
    CASE WHEN n % 13 = 0 THEN NULL ELSE TIMESTAMPTZ '2024-06-01 00:00+00' + n * INTERVAL '7 hours 31 minutes' END AS seen,
    CASE WHEN n % 19 = 0 THEN NULL ELSE ARRAY[n % 5, n % 7, NULL]::real[] END AS embedding,
    CASE WHEN n * 104729 % 13 > 7 THEN (n * 31 % 97) * 1.5 + n % 11 ELSE 0 END::float8 AS ltv
FROM generate_series(1, 600) n;
CREATE TABLE extreme AS SELECT * FROM customers LIMIT 0;
INSERT INTO extreme (customer_id) VALUES ('nothing');
INSERT INTO extreme VALUES
    ('large', 2147483647, 99999999.99, 1e300, repeat('x', 5000), 'gold', true, 'infinity', 'infinity', '{3e38,-3e38,1e-45}'),
    ('small', -2147483648, -99999999.99, -1e300, 'nowhere', NULL, false, '-infinity', '-infinity', '{NaN,Infinity,-Infinity}'),
    ('tiny', 0, 0.01, 1e-300, ' DE', 'free', true, '0001-01-01', '9999-12-31 23:59:59+00', '{0,0,0}');
CREATE TABLE histories AS SELECT customer_id, recency, ltv, CASE WHEN right(customer_id, 1) = '7' THEN NULL ELSE
    (SELECT array_agg(ARRAY[i * 1.5, nullif(i % 4, 3)]::real[]) FROM generate_series(1, 1 + recency % 6) i) END AS spend FROM customers;
"""

# model: relation, arguments of ltv_train, relations to score
MODELS = {
    "ziln_mlp": ("customers", {}, ["customers", "extreme"]),
    "cmltv_dcn": ("customers", {"objective": "cmltv", "backbone": "dcn"}, ["customers", "extreme"]),
    "expltv_deepfm": ("customers", {"objective": "expltv", "backbone": "deepfm"}, ["customers", "extreme"]),
    "huber_linear": ("customers", {"objective": "huber", "backbone": "linear"}, ["customers", "extreme"]),
    "purchase_mlp": ("customers", {"objective": "purchase"}, ["customers", "extreme"]),
    "ziln_aged": ("customers", {"options": json.dumps({"epochs": 2, "horizon": 90})}, ["customers", "extreme"]),
    "ziln_gru": ("histories", {"backbone": "gru"}, ["histories"]),
}


def main():
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(TABLES)
        for model, (relation, arguments, scored) in MODELS.items():
            train(connection, model, relation, arguments)
            for table in scored:
                compare(connection, model, table)


def train(connection, model, relation, arguments):
    given = {"options": json.dumps({"epochs": 2}), **arguments}
    named = ", ".join(f"{name} => %s{'::jsonb' if name == 'options' else ''}" for name in given)
    job = connection.execute(f"SELECT ltv_train(%s, %s, {named})", [model, relation, *given.values()]).fetchone()[0]
    connection.execute("SELECT ltv_wait(%s)", [job])


def compare(connection, model, table):
    onnx, schema = connection.execute(
        "SELECT ltv_export_onnx(model), schema FROM ltv.versions WHERE model = %s", [model]).fetchone()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    assert {port.name for port in session.get_inputs()} == {column["name"] for column in schema["inputs"]}, model
    feeds = {column["name"]: feed(connection, table, column) for column in schema["inputs"]}
    outputs = dict(zip((port.name for port in session.get_outputs()), session.run(None, feeds)))
    for output, function in (("ltv", "ltv_predict"), ("purchase_probability", "ltv_predict_proba")):
        if output not in outputs:
            continue
        for how in ("on", "off"):
            connection.execute(f"SET ltv.enable_batch_scan = {how}")
            rows = connection.execute(f"SELECT customer_id, {function}(%s, t) FROM {table} t ORDER BY customer_id", [model])
            for (customer, got), wanted in zip(rows.fetchall(), outputs[output].ravel().tolist(), strict=True):
                close = abs(got - wanted) <= TOLERANCE * max(1.0, abs(wanted))
                assert math.isfinite(got) and close, (
                    f"{model}, {output} of {customer} in {table}, batch scan {how}: {got} in SQL, {wanted} in Python")


def feed(connection, table, column):
    """The values of a column as the graph wants them, read as text so that nothing of PostgreSQL's binary form counts."""
    name, kind = column["name"], column["kind"]
    value = name
    if column["type"] == "date":
        value = f"CASE WHEN isfinite({name}) THEN {name} - DATE '1970-01-01' END"
    elif kind == "timestamp":
        value = f"CASE WHEN isfinite({name}) THEN extract(epoch FROM {name}) / 86400 END"
    elif column["type"] == "boolean":
        value = f"CASE WHEN {name} THEN 'true' WHEN NOT {name} THEN 'false' END"
    elif kind in ("vector", "sequence"):
        value = f"to_json({name}::text[])"
    values = [row[0] for row in connection.execute(f"SELECT ({value}){'' if kind in ('vector', 'sequence') else '::text'} FROM {table} ORDER BY customer_id")]
    if kind == "categorical":
        return np.array([[text or ""] for text in values], dtype=object)
    if kind == "vector":
        return np.array([[number(v) for v in row] if row else [math.nan] * column["len"] for row in values], np.float32)
    if kind == "sequence":
        rows = [[[number(v) for v in step] for step in row or []] for row in values]
        steps = max(1, *(len(row) for row in rows))
        padding = [math.nan] * column["channels"]
        return np.array([[padding] * (steps - len(row)) + row for row in rows], np.float32)
    return np.array([[number(text)] for text in values], np.float32)


def number(text):
    """NULL and what single precision cannot hold are missing."""
    with np.errstate(over="ignore"):
        value = np.float32(math.nan if text is None else float(text))
    return value if np.isfinite(value) else np.float32(math.nan)


if __name__ == "__main__":
    main()
