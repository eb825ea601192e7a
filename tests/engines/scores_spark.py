# database: demo
"""Scores by Spark are those of ltv_predict. From orders to scores without PostgreSQL."""

import tempfile
from pathlib import Path

from tools import compare, models, spark

import spark_scores

with tempfile.TemporaryDirectory() as directory, spark.session(directory, {"spark.sql.session.timeZone": "Asia/Tokyo"}) as engine:
    for module in ("ltv_model.py", "spark_scores.py"):
        engine.sparkContext.addPyFile(str(compare.ROOT / "examples/engines" / module))

    def score(exported, path):
        rows = spark_scores.score(engine, engine.read.parquet(str(path)), *exported)
        return [(str(customer), value) for customer, value in rows.collect()]

    models.compare(directory, score)
    with compare.connect() as connection:
        engine.sql("CREATE DATABASE public")
        for table in ("orders", "customers"):
            engine.sql(f"CREATE TABLE public.{table} USING parquet LOCATION '{compare.to_parquet(connection, table, directory)}'")
        features, = connection.execute("SELECT ltv_feature_sql('cdnow_features', 'spark')").fetchone()
        cdnow = models.exported(connection, "cdnow")
        got = {str(customer): value for customer, value in spark_scores.score(engine, engine.sql(features), *cdnow).collect()}
        models.same(connection, "cdnow", "cdnow_features", got, "from the orders")

        (file, card), other = models.another_version(connection, "cdnow")
        other, = connection.execute("SELECT ltv_feature_sql(%s, 'spark')", [other]).fetchone()
        models.fails(lambda: spark_scores.score(engine, engine.sql(other), *cdnow), "column count_7 (integer) is missing")
        models.fails(lambda: spark_scores.score(engine, engine.sql(features), file, cdnow[1]), "is not version 1 of cdnow")
        models.fails(lambda: spark_scores.score(engine, engine.sql(features), models.for_clients_of_floats(connection, "cdnow")), "export it without external_client")

        wide = engine.read.parquet(str(models.files(connection, Path(directory))["wide"]))
        wide_default = models.exported(connection, "wide_default")
        models.fails(lambda: spark_scores.score(engine, wide.drop("f7"), *wide_default), "column f7 (numeric) is missing")
        models.fails(lambda: spark_scores.score(engine, wide.withColumn("recency", wide.recency.cast("string")), *wide_default), "recency is string, not integer")
        models.fails(lambda: spark_scores.score(engine, wide.withColumn("seen", wide.seen.cast("timestamp_ntz")), *wide_default), "seen is timestamp[us], not timestamp with time zone")
