# database: demo
"""ADBC: scores as Arrow, without a Python object per row."""

import adbc_driver_postgresql.dbapi as adbc
import pyarrow
from tools import SCORES, URL, same

with adbc.connect(URL) as connection, connection.cursor() as cursor:
    cursor.execute(SCORES)
    table = cursor.fetch_arrow_table()
    assert table.schema.field("ltv").type == pyarrow.float64(), table.schema
    same(list(zip(table["customer_id"].to_pylist(), table["ltv"].to_pylist())), "Arrow")

    cursor.execute("SELECT * FROM cdnow_features ORDER BY customer_id")
    features = cursor.fetch_arrow_table()
    numeric = [field.name for field in features.schema if str(field.type).startswith("extension") or field.type == pyarrow.string()]
    cursor.adbc_ingest("from_arrow", features.drop_columns([n for n in numeric if n not in ("customer_id",)]), mode="create")
    connection.commit()
    cursor.execute("SELECT customer_id, ltv_predict('cdnow', f) FROM from_arrow f ORDER BY customer_id")
    same(cursor.fetchall(), "a table that Arrow wrote")
