"""Spark: each Python process of an executor loads the model once and scores the portions of rows that come to it.

mapInArrow is mapInPandas without pandas, where whole numbers with NULL would become floats and instants would lose their zone.
"""

import hashlib

import pyarrow as pa
from pyspark.sql.types import DoubleType, StructField, StructType

from ltv_model import Model

loaded = {}


def kept(checksum, file, card):
    """The model of this process: the last one that was asked for."""
    if checksum not in loaded:
        loaded.clear()
        loaded[checksum] = Model(file.value, card)
    return loaded[checksum]


def score(spark, features, onnx, card=None, id_column="customer_id", outputs=("ltv",)):
    """A data frame with the id and the scores of each row of a data frame of features. The file of the model goes to each executor once."""
    model = Model(onnx, card)
    model.check(features.limit(0).toArrow().schema)
    file, checksum = spark.sparkContext.broadcast(onnx), hashlib.sha256(onnx).hexdigest()

    def portions(batches):
        for batch in batches:
            scores = kept(checksum, file, card).score(pa.Table.from_batches([batch]), outputs)
            yield pa.RecordBatch.from_arrays([batch.column(id_column), *map(pa.array, scores.values())], [id_column, *outputs])

    result = StructType([features.schema[id_column], *(StructField(name, DoubleType()) for name in outputs)])
    needed = dict.fromkeys([id_column, *(column["name"] for column in model.columns)])
    return features.select(*(f"`{name.replace('`', '``')}`" for name in needed)).mapInArrow(portions, result)
