# database: demo
"""The blocks of docs/engines.md, without Spark: scores of files and of both kinds of frames are those of ltv_predict."""

import contextlib
import io
import tempfile

import pyarrow.parquet as pq

from tools import compare, models, page

with tempfile.TemporaryDirectory() as directory, compare.connect() as connection:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = page.run(directory, "What leaves the server", "DuckDB", "Data frames", "What is checked")
    said = "version 1 of cdnow cannot score this: column recency (integer) is missing"
    assert said in printed.getvalue(), printed.getvalue()
    assert f"prints `{said}`" in page.PAGE.read_text(encoding="utf-8")
    file = pq.read_table("scores.parquet")
    assert file.column_names == ["customer_id", "ltv", "purchase_probability"], file.column_names
    for what, frame in (("file", file.to_pandas()), ("pandas", names["features"]), ("polars", names["scored"].to_pandas())):
        models.same(connection, "cdnow", "cdnow_features", dict(zip(frame["customer_id"].astype(str), frame["ltv"])), what)
