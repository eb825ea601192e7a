"""One way of scoring a Parquet file, as a process of its own: WAY ROWS ONNX CARD SCORES."""

import os
import sys
import time
from pathlib import Path

import pyarrow as pa

from ltv_model import Model


def with_duckdb(rows, model, scores):
    import duckdb
    import duckdb_scores

    with duckdb.connect() as engine:
        duckdb_scores.score_to_file(engine, f"SELECT * FROM read_parquet('{rows}')", model, scores)


def with_polars(rows, model, scores):
    import polars

    frame = polars.read_parquet(rows)
    found = model.score(frame.to_arrow())
    frame.select("customer_id").with_columns(ltv=polars.Series(found["ltv"])).write_parquet(scores)


def with_pandas(rows, model, scores):
    import pandas

    frame = pandas.read_parquet(rows)
    found = model.score(pa.Table.from_pandas(frame))
    frame[["customer_id"]].assign(**found).to_parquet(scores)


def with_spark(rows, onnx, card, scores):
    import spark_scores
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    engine = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.warehouse.dir", f"{scores}.warehouse").getOrCreate()
    engine.range(1).count()
    print(f"started {time.perf_counter() - begun:.1f}", flush=True)
    found = spark_scores.score(engine, engine.read.parquet(rows), Path(onnx).read_bytes(), card)
    found.write.mode("overwrite").parquet(scores)
    engine.stop()


begun = time.perf_counter()
way, rows, onnx, card, scores = sys.argv[1:]
card = Path(card).read_text(encoding="utf-8")
if way == "spark":
    with_spark(rows, onnx, card, scores)
else:
    {"duckdb": with_duckdb, "polars": with_polars, "pandas": with_pandas}[way](rows, Model(onnx, card), scores)
