# database: demo
"""The blocks of docs/engines.md with Spark: the scores that it writes are those of ltv_predict."""

import os
import tempfile

import pyarrow.parquet as pq

from tools import compare, models, page, spark

spark.needed()
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
with tempfile.TemporaryDirectory() as directory, compare.connect() as connection:
    names = page.run(directory, "What leaves the server", "Spark")
    rows = pq.read_table("spark_scores.parquet")
    names["spark"].stop()
    models.same(connection, "cdnow", "cdnow_features", dict(zip(map(str, rows["customer_id"].to_pylist()), rows["ltv"].to_pylist())), "Spark")
