"""DuckDB: features out of Parquet files, scores into a Parquet file, a portion of rows at a time."""

import os

import pyarrow as pa
import pyarrow.parquet as pq


def score(connection, features, model, id_column="customer_id", outputs=("ltv",), rows=100_000):
    """A reader of the id and the scores of the rows of a SELECT, such as that of ltv_feature_sql(..., dialect => 'duckdb')."""
    reader = connection.sql(features).to_arrow_reader(rows)
    model.check(reader.schema)
    schema = pa.schema([reader.schema.field(id_column), *((name, pa.float64()) for name in outputs)])

    def portions():
        for batch in reader:
            scores = model.score(pa.Table.from_batches([batch]), outputs)
            yield pa.RecordBatch.from_arrays([batch.column(id_column), *map(pa.array, scores.values())], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, portions())


def score_to_file(connection, features, model, path, **how):
    """The same into a Parquet file, which is there when all of it is."""
    scores = score(connection, features, model, **how)
    part = f"{path}.part"
    with pq.ParquetWriter(part, scores.schema) as writer:
        for batch in scores:
            writer.write_batch(batch)
    os.replace(part, path)
