"""An exported graph, fed raw values in Python's onnxruntime, gives what ltv_predict gives, and says in its metadata what to feed.

Rows are ordinary, missing, unseen and extreme. Each column is fed under its own name as docs and the function's comment
say: float32 with NaN for NULL, strings with '' for NULL, booleans as 'true' and 'false', times as days since 1970.

With external_client all columns but a sequence are one matrix of floats, filled by nothing but the metadata. In each operator set that
is offered the file passes onnx.checker and gives the same numbers.

    PG_LTV_URL=postgresql://... python tests/e2e/onnx_parity.py
"""

import json
import math
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import psycopg  # noqa: E402

TOLERANCE = 1e-5
# Between files of the same version.
SAME = 1e-6

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
CREATE TABLE several AS SELECT customer_id, recency, country, ltv * 0.25 AS ltv_30, ltv * 0.5 AS ltv_90, ltv FROM customers;
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
    "ziln_tft": ("histories", {"backbone": "tft"}, ["histories"]),
    "ziln_trees": ("customers", {"backbone": "trees", "options": json.dumps({"rounds": 20})}, ["customers", "extreme"]),
    "mse_horizons": ("several", {"objective": "mse"}, ["several"]),
}
# Graphs with layer normalization, which came with operator set 17.
LATER = {"ziln_tft"}


def main():
    with psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(TABLES)
        for model, (relation, arguments, scored) in MODELS.items():
            train(connection, model, relation, arguments)
            for table in scored:
                compare(connection, model, table)
            says_what_it_is(connection, model, relation)
            for table in scored:
                floats_only(connection, model, table)
            in_each_opset(connection, model, scored[0])
        foreign_graphs(connection)


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


def session_of(file):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def metadata(file):
    found = [(prop.key, prop.value) for prop in onnx.load_from_string(file).metadata_props]
    assert len(found) == len(dict(found)), "a key is there twice"
    return {key.removeprefix("pg_ltv."): value for key, value in found if key.startswith("pg_ltv.")}


def run(file, feeds):
    session = session_of(file)
    return dict(zip((port.name for port in session.get_outputs()), session.run(None, feeds)))


def same(one, other, what):
    assert one.keys() == other.keys(), what
    for name in one:
        a, b = one[name].ravel(), other[name].ravel()
        assert np.allclose(a, b, rtol=SAME, atol=SAME, equal_nan=True), f"{what}, {name}: {a[:5]} and {b[:5]}"


def says_what_it_is(connection, model, relation):
    """The metadata against the catalog, and the stored graph untouched in front of it."""
    file, stored, version, checksum, recipe, schema, objective = connection.execute(
        "SELECT ltv_export_onnx(model), onnx, version, checksum, recipe, schema, objective FROM ltv.versions WHERE model = %s", [model]).fetchone()
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    said = metadata(file)
    expected = {"format": "1", "model": model, "version": str(version), "checksum": checksum, "source": "trained", "objective": objective, "target": recipe["target"]}
    assert {key: said[key] for key in expected} == expected, said
    inside, outside = (json.loads(text, parse_int=float) for text in (json.dumps(schema), said["schema"]))  # 1e300 is written in full by jsonb
    assert inside == outside, f"{said['schema']} is not {json.dumps(schema)}"
    if schema.get("horizons"):
        assert json.loads(said["horizons_days"]) == schema["horizons"]
    if "horizon" in recipe.get("options", {}):
        assert float(said["horizon_days"]) == recipe["options"]["horizon"]
    columns = json.loads(said["columns"])
    types = dict(connection.execute("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [relation]).fetchall())
    assert [column["name"] for column in columns] == [column["name"] for column in schema["inputs"]]
    for column in columns:
        assert column["type"] == types[column["name"]] and column["input"] == column["name"], column
        assert (column["element"], column["missing"]) == (("string", "") if column["kind"] == "categorical" else ("float", "NaN")), column
    ports = {port.name for port in session_of(file).get_outputs()}
    assert set(json.loads(said["outputs"]).values()) == ports == set(schema["outputs"])
    # What goes out is what is stored, byte by byte, but for our own entry of the metadata.
    inside, outside = onnx.load_from_string(stored), onnx.load_from_string(file)
    for graph in (inside, outside):
        del graph.metadata_props[:]
    assert inside.SerializeToString(deterministic=True) == outside.SerializeToString(deterministic=True)


def matrix(connection, table, said):
    """Every column by the metadata alone: where it is, and which number stands for which text."""
    columns = json.loads(said["columns"])
    feeds, parts = {}, []
    for column in columns:
        values = feed(connection, table, column)
        if column["kind"] == "sequence":
            feeds[column["input"]] = values
            continue
        if column["kind"] == "categorical":
            numbers = [column["categories"].get(text, math.nan) for text in values.ravel()]
            values = np.array(numbers, np.float32)[:, None]
        parts.append((column["place"], column["input"], values))
    parts.sort(key=lambda part: part[0])
    if parts:
        place = 0
        for at, name, values in parts:
            assert (at, name) == (place, parts[0][1])
            place += values.shape[1]
        feeds[parts[0][1]] = np.concatenate([values for _, _, values in parts], axis=1)
    return feeds


def floats_only(connection, model, table):
    plain, file, schema = connection.execute(
        "SELECT ltv_export_onnx(model), ltv_export_onnx(model, external_client => true), schema FROM ltv.versions WHERE model = %s", [model]).fetchone()
    loaded = onnx.load_from_string(file)
    onnx.checker.check_model(loaded, full_check=True)
    ports = list(loaded.graph.input) + list(loaded.graph.output)
    assert all(port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for port in ports), model
    said = metadata(file)
    assert said["checksum"] == metadata(plain)["checksum"]
    feeds = matrix(connection, table, said)
    expected = run(plain, {column["name"]: feed(connection, table, column) for column in schema["inputs"]})
    same(run(file, feeds), expected, f"{model} in {table} as floats")
    if "ltv" in schema["outputs"]:
        connection.execute("SET ltv.enable_batch_scan = on")
        values = [row[0] for row in connection.execute(f"SELECT ltv_predict(%s, t) FROM {table} t ORDER BY customer_id", [model])]
        off = np.abs(run(file, feeds)["ltv"].ravel() - values) / np.maximum(1, np.abs(values))
        print(f"{model} in {table}: furthest {off.max():.1e}, {np.mean(off > SAME):.2%} of {len(off)} beyond {SAME}")
        assert off.max() <= TOLERANCE, f"{model} in {table}: {off.max()} away from what ltv_predict says"
    # Numbers that stand for nothing are a missing category.
    for column in json.loads(said["columns"]):
        if column["kind"] == "categorical":
            missing, odd = (dict(feeds) for _ in range(2))
            for feeds_of, values in ((missing, [math.nan] * 4), (odd, [-1, 1e9, -math.inf, 65536.0])):
                changed = feeds[column["input"]][:4].copy()
                changed[:, column["place"]] = values[: len(changed)]
                feeds_of.update({name: value[:4] for name, value in feeds.items()})
                feeds_of[column["input"]] = changed
            same(run(file, odd), run(file, missing), f"{model}: numbers that are no category of {column['name']}")


def in_each_opset(connection, model, table):
    plain, schema = connection.execute("SELECT ltv_export_onnx(model), schema FROM ltv.versions WHERE model = %s", [model]).fetchone()
    feeds = {column["name"]: feed(connection, table, column) for column in schema["inputs"]}
    expected = run(plain, feeds)
    oldest = 17 if model in LATER else 13
    for opset in range(11, 24):
        for external in (False, True):
            try:
                file = connection.execute("SELECT ltv_export_onnx(%s, opset => %s, external_client => %s)", [model, opset, external]).fetchone()[0]
            except psycopg.errors.InvalidParameterValue as error:
                assert not oldest <= opset <= 21 and f"{oldest} to 21" in error.diag.message_detail, error
                continue
            assert oldest <= opset <= 21, f"{model} in operator set {opset}"
            loaded = onnx.load_from_string(file)
            assert [s.version for s in loaded.opset_import if s.domain in ("", "ai.onnx")] == [opset]
            onnx.checker.check_model(loaded, full_check=True)
            same(run(file, matrix(connection, table, metadata(file)) if external else feeds), expected, f"{model} in operator set {opset}")


def foreign_graphs(connection):
    """Graphs of others come back byte by byte with the metadata behind them, and are not rewritten."""
    make = onnx.helper
    nodes = [make.make_node("Cast", ["n"], ["x"], to=onnx.TensorProto.FLOAT), make.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)]
    for element, state in ((onnx.TensorProto.FLOAT, None), (onnx.TensorProto.DOUBLE, "0A000")):
        graph = make.make_graph(
            nodes, "foreign", [make.make_tensor_value_info("n", element, ["batch", 2])], [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch"])],
            [make.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])])
        file = make.make_model(graph, opset_imports=[make.make_opsetid("", 15)], ir_version=8)
        for key, value in (("author", "somebody"), ("pg_ltv.version", "99"), ("pg_ltv.schema", "{}")):
            entry = file.metadata_props.add()
            entry.key, entry.value = key, value
        connection.execute("SELECT ltv_import_onnx('foreign', %s, '{a,b}', promote => true)", [file.SerializeToString()])
        exported = connection.execute("SELECT ltv_export_onnx('foreign')").fetchone()[0]
        said = metadata(exported)
        assert said["source"] == "imported" and said["version"] != "99" and json.loads(said["schema"])["packed"] == "n"
        assert [(c["name"], c["input"], c["place"]) for c in json.loads(said["columns"])] == [("a", "n", 0), ("b", "n", 1)]
        assert any(entry.key == "author" for entry in onnx.load_from_string(exported).metadata_props)
        for arguments, wanted in (("external_client => true", state), ("opset => 15", None), ("opset => 17", "22023")):
            try:
                again = connection.execute(f"SELECT ltv_export_onnx('foreign', {arguments})").fetchone()[0]
                assert wanted is None and again == exported, arguments
            except psycopg.Error as error:
                assert error.sqlstate == wanted, f"{arguments}: {error}"


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
