# database: demo
"""Scores of data frames of pandas and polars are those of ltv_predict; what is not what the model reads is said."""

import tempfile

import numpy
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq

from tools import compare, models

from ltv_model import Model, WrongInput


def with_pandas(exported, path):
    frame = pandas.read_parquet(path)
    return zip(frame["customer_id"].astype(str), Model(*exported).score(pa.Table.from_pandas(frame))["ltv"])


def with_polars(exported, path):
    frame = polars.read_parquet(path)
    return zip(frame["customer_id"].cast(polars.String), Model(*exported).score(frame.to_arrow())["ltv"])


with tempfile.TemporaryDirectory() as directory:
    models.compare(directory, with_pandas)
    with compare.connect() as connection:
        paths = models.files(connection, directory)
        for name, features in models.MODELS.items():
            models.same(connection, name, features, with_polars(models.exported(connection, name), paths[features]), f"{name} by polars")

        # What is wrong is said, all of it, before anything is scored.
        wide = pq.read_table(paths["wide"])
        model = models.model(connection, "wide_default")

        def changed(name, values):
            return wide.set_column(wide.schema.get_field_index(name), name, values)

        n = wide.num_rows
        models.fails(lambda: model.score(wide.drop_columns(["recency", "f3"])), "column recency (integer) is missing", "column f3 (numeric) is missing")
        models.fails(lambda: model.score(wide.rename_columns([{"f3": "f4"}.get(c, c) for c in wide.column_names])), "column f4 (real) is there twice")
        models.fails(lambda: model.score(changed("recency", wide["recency"].cast(pa.string()))), "column recency is string, not integer")
        models.fails(lambda: model.score(changed("newsletter", wide["newsletter"].cast(pa.string()))), "column newsletter is string, not boolean")
        models.fails(lambda: model.score(changed("first_order", wide["first_order"].cast(pa.timestamp("us")))), "column first_order is timestamp[us], not date")
        models.fails(lambda: model.score(changed("seen", wide["seen"].cast(pa.timestamp("us")))), "column seen is timestamp[us], not timestamp with time zone")
        models.fails(lambda: model.score(changed("country", pa.array(range(n)))), "column country is int64, not text")
        models.fails(lambda: model.score(changed("embedding", pa.array([[1.0]] * n))), "column embedding has [1] numbers where there must be 3")
        models.fails(lambda: model.score(wide, ["nothing"]), "no output ['nothing']")
        histories = pq.read_table(paths["histories"])
        narrow = pa.array([[[1.0, 2.0]]] * histories.num_rows, pa.list_(pa.list_(pa.float32())))
        place = histories.schema.get_field_index("spend_sequence")
        models.fails(lambda: models.model(connection, "history_gru").score(histories.set_column(place, "spend_sequence", narrow)), "[2] numbers where there must be 3")
        # Of types that other engines give to what PostgreSQL calls otherwise.
        for column, kind in (("plan", pa.decimal128(38)), ("country", pa.binary()), ("newsletter", pa.int8()), ("first_order", pa.int32()), ("local", pa.timestamp("us", "UTC")),
                             ("local", pa.date32()), ("seen", pa.int64()), ("monetary", pa.bool_()), ("visits", pa.string()), ("embedding", pa.float32())):
            models.fails(lambda: model.score(changed(column, pa.nulls(n, kind))), f"column {column} is {kind}, not ")
        # The features, the file and the card of another version.
        (file, card), features = models.another_version(connection, "cdnow")
        other, shop = compare.arrow(connection, f"TABLE {features}"), pq.read_table(paths["cdnow_features"])
        first = models.exported(connection, "cdnow")
        models.fails(lambda: Model(*first).score(other), "version 1 of cdnow", "column count_7 (integer) is missing", "sum_90")
        models.fails(lambda: Model(file, card).score(shop), "version 2 of cdnow", "column count_14 (integer) is missing")
        models.fails(lambda: Model(first[0], card), "the file is not version 2 of cdnow", first[1]["checksum"], card["checksum"])
        models.fails(lambda: Model(file, first[1]), "the file is not version 1 of cdnow")
        for with_card in (None, first[1]):
            models.fails(lambda: Model(models.for_clients_of_floats(connection, "cdnow"), with_card), "export it without external_client")
        # Another file, and one of another model.
        models.fails(lambda: models.model(connection, "cdnow").score(wide), "is missing")
        file, card = models.exported(connection, "cdnow")
        models.fails(lambda: Model(file, models.exported(connection, "wide_default")[1]), "is not version 1 of wide_default")
        models.fails(lambda: Model(compare.ROOT / "benches/scoring/mlp_32_128_64_3.onnx"), "does not say which columns")
        models.fails(lambda: Model(file[:1000], card), "cannot read the file")
        assert list(model.score(wide.slice(0, 0))["ltv"]) == []
        assert issubclass(WrongInput, ValueError) and numpy.isfinite(model.score(wide.slice(0, 1))["ltv"]).all()
