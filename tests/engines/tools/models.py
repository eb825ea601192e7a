"""Models of several kinds, their features as files, and the scores that the server gives."""

from pathlib import Path

from psycopg.types.json import Jsonb

from .compare import connect, identifier, to_parquet

from ltv_model import Model

WIDE = """
CREATE TYPE plan AS ENUM ('free', 'basic', 'gold');
CREATE TABLE wide AS SELECT 'c' || n AS customer_id, n * 7919 % 101 AS recency, CASE WHEN n % 17 = 0 THEN NULL ELSE (n * 31 % 97)::numeric(10, 2) / 7 END AS monetary,
    CASE n % 50 WHEN 1 THEN 'NaN'::float8 WHEN 2 THEN 'Infinity' WHEN 3 THEN 1e300 ELSE exp(n * 104729 % 13) END AS spread, (n % 40)::smallint AS visits,
    CASE WHEN n % 23 = 0 THEN NULL ELSE n::bigint * 1000003 % 999983 END AS serial, (ARRAY['DE', 'FR', 'it''s', 'Größe', '', ' DE', NULL])[1 + n % 7] AS country,
    (ARRAY['free', 'basic', 'gold']::plan[])[1 + n % 3] AS plan, CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN false ELSE true END AS newsletter,
    CASE WHEN n % 11 = 0 THEN NULL ELSE DATE '2024-01-01' + n % 300 END AS first_order, TIMESTAMP '2023-06-01 00:00' + n * INTERVAL '3 hours 7 minutes' AS local,
    CASE WHEN n % 19 = 0 THEN NULL ELSE TIMESTAMPTZ '2024-06-01 00:00+00' + n * INTERVAL '7 hours 31 minutes' END AS seen,
    CASE WHEN n % 29 = 0 THEN NULL ELSE ARRAY[n % 5, n % 7, NULL]::real[] END AS embedding, {more},
    CASE WHEN n * 104729 % 13 > 7 THEN (n * 31 % 97) * 1.5 + n % 11 ELSE 0 END::float8 AS ltv
FROM generate_series(1, 3000) n"""
MORE = ", ".join(f"CASE WHEN n % {i + 3} = 0 THEN NULL ELSE (n * {7 * i + 1} % {31 + i})::{kind} END AS f{i}"
                 for i, kind in enumerate(["real", "integer", "float8", "numeric(8, 3)"] * 8))
SEQUENCE = """SELECT ltv_create_features('histories', 'SELECT customer_id, ordered_at, amount, cds FROM orders', date_column => 'ordered_at', value_column => 'amount',
    as_of => '1997-09-30', horizon => 273, sequence => '{cds}')"""
# model: its features, arguments of ltv_train
TRAINED = {
    "wide_default": ("wide", {"options": {"epochs": 3}}),
    "wide_trees": ("wide", {"backbone": "trees"}),
    "wide_categories": ("wide", {"features": ["country", "plan", "newsletter", "recency"], "options": {"epochs": 3}}),
    "history_gru": ("histories", {"backbone": "gru", "options": {"epochs": 2}}),
}
MODELS = {"cdnow": "cdnow_features"} | {model: features for model, (features, _) in TRAINED.items()}


def make(connection):
    for statement in WIDE.format(more=MORE).split(";"):
        connection.execute(statement)
    connection.execute(SEQUENCE)
    for model, (features, arguments) in TRAINED.items():
        given = {name: Jsonb(value) if name == "options" else value for name, value in arguments.items()}
        named = "".join(f", {name} => %s" for name in given)
        job, = connection.execute(f"SELECT ltv_train(%s, %s{named})", [model, features, *given.values()]).fetchone()
        connection.execute("SELECT ltv_wait(%s::bigint)", [job])


def exported(connection, model):
    """The file and the card."""
    return connection.execute("SELECT ltv_export_onnx(%s), ltv_model_card(%s)", [model, model]).fetchone()


def model(connection, name):
    return Model(*exported(connection, name))


def files(connection, directory):
    return {features: to_parquet(connection, features, directory) for features in set(MODELS.values())}


def same(connection, model, features, got, what):
    """Customer by customer to 1e-6."""
    wanted = dict(connection.execute(f"SELECT customer_id::text, ltv_predict(%s, f) FROM {identifier(features)} f", [model]).fetchall())
    got = dict(got)
    assert wanted.keys() == got.keys() and len(wanted) > 500, (what, len(wanted), len(got))
    differences = [abs(got[customer] - value) / abs(value) for customer, value in wanted.items()]
    print(f"{what}: {len(wanted)} customers, furthest {max(differences):.2e}", flush=True)
    assert max(differences) <= 1e-6, what


def compare(directory, score):
    """score((file of a model, card), file of features) gives pairs of customers and scores."""
    with connect() as connection:
        make(connection)
        paths = files(connection, Path(directory))
        for name, features in MODELS.items():
            same(connection, name, features, score(exported(connection, name), paths[features]), name)


def another_version(connection, model):
    """A further version of the model, learnt from features with other windows; the file and the card of it, and the name of its features."""
    connection.execute("SELECT ltv_create_features('other', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273,"
                       " windows => '{14}')")
    connection.execute("CALL ltv_train_now(%s, 'other', options => '{\"epochs\": 1}')", [model])
    version, = connection.execute("SELECT max(version) FROM ltv_versions WHERE model = %s", [model]).fetchone()
    return connection.execute("SELECT ltv_export_onnx(%s, %s), ltv_model_card(%s, %s)", [model, version, model, version]).fetchone(), "other"


def for_clients_of_floats(connection, model):
    """The file with one matrix as its input."""
    return connection.execute("SELECT ltv_export_onnx(%s, external_client => true)", [model]).fetchone()[0]


def fails(what, *words):
    """Raises an error that has these words, and nothing else."""
    try:
        what()
    except ValueError as error:
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"{error}: says nothing of {missing}"
        print(f"ok {error}")
        return
    raise AssertionError(f"was scored; {words} expected")
