"""What the tests of other engines share: tables as Parquet files, features made there beside those that PostgreSQL made."""

import datetime
import decimal
import os
import re
import sys
from pathlib import Path

import numpy
import psycopg
import psycopg.sql
import pyarrow as pa
import pyarrow.parquet as pq

URL = os.environ["PG_LTV_URL"]
ROOT = Path(os.environ["PG_LTV_ROOT"])
sys.path.insert(0, str(ROOT / "examples/engines"))

TYPES = {
    "integer": pa.int32(), "bigint": pa.int64(), "smallint": pa.int16(), "double precision": pa.float64(), "real": pa.float32(), "numeric": pa.decimal128(38, 18),
    "text": pa.string(), "uuid": pa.string(), "boolean": pa.bool_(), "date": pa.date32(), "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"), "real[]": pa.list_(pa.float32()),
}


def connect():
    return psycopg.connect(URL, autocommit=True, options="-c TimeZone=UTC -c client_min_messages=warning")


def identifier(name):
    return psycopg.sql.Identifier(name).as_string(None)


def arrow(connection, query):
    """The rows of a query in the types that they have in files."""
    cursor = connection.execute(f"SELECT * FROM ({query}) q LIMIT 0")
    types = dict(connection.execute(
        "SELECT n, format_type(t, NULL) FROM unnest(%s::text[], %s::oid[]) x(n, t)",
        [[c.name for c in cursor.description], [c.type_code for c in cursor.description]]).fetchall())
    columns = ", ".join(identifier(n) + ("::text" if t == "uuid" else "") for n, t in types.items())
    rows = connection.execute(f"SELECT {columns} FROM ({query}) q").fetchall()
    schema = pa.schema([(name, pa.list_(TYPES[kind]) if is_nested(row[i] for row in rows) else TYPES.get(kind, pa.string()))
                        for i, (name, kind) in enumerate(types.items())])
    exact = decimal.Context(prec=60)
    place = decimal.Decimal(1).scaleb(-18)

    def fitting(value):
        return value.quantize(place, context=exact) if isinstance(value, decimal.Decimal) else value

    return pa.Table.from_arrays([pa.array([fitting(row[i]) for row in rows], field.type) for i, field in enumerate(schema)], schema=schema)


def is_nested(values):
    first = next((value for value in values if value), None)
    return isinstance(first, list) and isinstance(first[0], list)


def to_parquet(connection, table, directory):
    path = Path(directory) / f"{table}.parquet"
    pq.write_table(arrow(connection, f"SELECT * FROM {identifier(table)}"), path)
    return path


def id_text(value):
    """An id of a decimal type has as many zeros behind the point as that type has elsewhere."""
    return re.sub(r"[.]0+$", "", value)


def single(steps):
    return None if steps is None else numpy.array(steps, dtype=numpy.float32).tolist()


def differences(name, columns, wanted, got):
    """All columns of all rows: whole numbers, texts, days and moments are the same, sums of money to the last digit. Of a mean the last
    digit may differ, of a deviation what is nothing beside the largest amount."""
    assert len(wanted) == len(got), f"{name}: {len(got)} rows, {len(wanted)} wanted"
    largest = columns.index("monetary_max")

    def in_order(rows):
        return sorted(([id_text(row[0]), float(row[1]), *row[2:]] for row in rows), key=lambda row: row[:2])

    wrong = []
    for one, other in zip(in_order(wanted), in_order(got)):
        for column, a, b in zip(columns, one, other):
            if column == "spend_sequence":
                a, b = single(a), single(b)
            if isinstance(a, datetime.datetime) and isinstance(b, datetime.datetime):
                a, b = a.timestamp(), b.timestamp()
            if type(a) is type(b) and a == b:
                continue
            is_near = isinstance(a, float) and isinstance(b, float) and (
                column == "monetary_mean" and abs(a - b) <= 3e-16 * abs(a) or column == "monetary_std" and abs(a - b) <= 1e-12 * one[largest])
            if not is_near:
                wrong.append((name, one[0], one[1], column, a, b))
    return wrong
