# database: demo
"""Scores of Parquet files, read by DuckDB and scored in portions, are those of ltv_predict. From orders to scores without PostgreSQL."""

import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from tools import compare, models

import duckdb_scores
from ltv_model import Model

with tempfile.TemporaryDirectory() as directory, duckdb.connect() as engine:
    def read(path):
        return f"SELECT * FROM read_parquet('{path}')"

    def score(exported, path):
        scores = Path(directory) / "scores.parquet"
        duckdb_scores.score_to_file(engine, read(path), Model(*exported), scores, rows=700)
        rows = pq.read_table(scores)
        return zip(map(str, rows["customer_id"].to_pylist()), rows["ltv"].to_pylist())

    models.compare(directory, score)
    with compare.connect() as connection:
        # The shop's tables are all that leaves the server: features and scores are made here.
        engine.execute("CREATE SCHEMA public")
        for table in ("orders", "customers"):
            engine.execute(f"CREATE VIEW public.{table} AS {read(compare.to_parquet(connection, table, directory))}")
        features, = connection.execute("SELECT ltv_feature_sql('cdnow_features', 'duckdb')").fetchone()
        rows = duckdb_scores.score(engine, features, models.model(connection, "cdnow")).read_all()
        got = dict(zip(map(str, rows["customer_id"].to_pylist()), rows["ltv"].to_pylist()))
        models.same(connection, "cdnow", "cdnow_features", got, "from the orders")

        wide = models.files(connection, Path(directory))["wide"]
        model = models.model(connection, "wide_default")
        for query, word in (("SELECT * EXCLUDE (f7) FROM ({})", "column f7 (numeric) is missing"),
                            ("SELECT * REPLACE (CAST(recency AS varchar) AS recency) FROM ({})", "recency is string"),
                            ("SELECT * REPLACE (CAST(length(country) AS hugeint) AS country) FROM ({})", "country is decimal128(38, 0), not text"),
                            ("SELECT * REPLACE (CAST(newsletter AS integer) AS newsletter) FROM ({})", "newsletter is int32, not boolean"),
                            ("SELECT * REPLACE (CAST(seen AS timestamp) AS seen) FROM ({})", "seen is timestamp[us], not timestamp with time zone")):
            models.fails(lambda: duckdb_scores.score(engine, query.format(read(wide)), model), word)
        # Of another version: the features that its SELECT makes of the same orders, its file beside the card of this one.
        (file, card), features = models.another_version(connection, "cdnow")
        features, = connection.execute("SELECT ltv_feature_sql(%s, 'duckdb')", [features]).fetchone()
        models.fails(lambda: duckdb_scores.score(engine, features, models.model(connection, "cdnow")), "column count_7 (integer) is missing")
        models.fails(lambda: Model(file, models.exported(connection, "cdnow")[1]), "is not version 1 of cdnow")
        models.fails(lambda: Model(models.for_clients_of_floats(connection, "cdnow")), "export it without external_client")
        # What fails on the way leaves no file that looks whole.
        scores, broken = Path(directory) / "none.parquet", "SELECT * REPLACE (CASE WHEN i = 2500 THEN error('no') ELSE visits END AS visits) FROM (SELECT *, row_number() OVER () AS i FROM ({}))"
        try:
            duckdb_scores.score_to_file(engine, broken.format(read(wide)), model, scores, rows=700)
        except Exception as error:
            assert "no" in str(error) and not scores.exists()
        else:
            raise AssertionError("was scored")
        duckdb_scores.score_to_file(engine, f"SELECT * FROM ({read(wide)}) LIMIT 0", model, scores)
        assert pq.read_table(scores).num_rows == 0
