"""The features of nasty logs, made by Spark out of Parquet files, are those of PostgreSQL, in all columns."""

import tempfile

from tools import nasty, spark
from pyspark.sql import functions as F

with tempfile.TemporaryDirectory() as directory, spark.session(directory, {"spark.sql.session.timeZone": "Asia/Tokyo"}) as engine:

    def read(files):
        engine.sql("CREATE DATABASE public")
        for table, path in files.items():
            engine.sql(f"CREATE TABLE public.`{table}` USING parquet LOCATION '{path}'")
        return run

    def run(statement):
        rows = engine.sql(statement)
        moment = F.unix_micros("as_of") / 1e6 if dict(rows.dtypes)["as_of"] == "timestamp" else F.unix_date("as_of") * 86400.0
        return rows.columns, [tuple(row) for row in rows.withColumns({"as_of": moment, "customer_id": F.col("customer_id").cast("string")}).collect()]

    nasty.compare("spark", directory, read)
