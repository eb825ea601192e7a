"""The features of nasty logs, made by DuckDB out of Parquet files, are those of PostgreSQL, in all columns."""

import tempfile

import duckdb
from tools import nasty

with tempfile.TemporaryDirectory() as directory, duckdb.connect() as engine:
    # Nothing may depend on it.
    engine.execute("SET TimeZone = 'Asia/Tokyo'")

    def read(files):
        engine.execute("CREATE SCHEMA public")
        for table, path in files.items():
            engine.execute(f"""CREATE VIEW public."{table}" AS SELECT * FROM read_parquet('{path}')""")
        return run

    def run(statement):
        rows = engine.execute(
            f"SELECT * REPLACE (CAST(customer_id AS varchar) AS customer_id, epoch(as_of) AS as_of) FROM ({statement})").fetchall()
        return [column[0] for column in engine.description], rows

    nasty.compare("duckdb", directory, read)
