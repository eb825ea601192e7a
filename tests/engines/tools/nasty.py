"""Features of nasty logs, in every way that ltv_create_features knows; each engine makes them again out of files."""

import json
from pathlib import Path

from psycopg.types.json import Jsonb
from .compare import connect, differences, identifier, to_parquet

DAYS = "{2024-01-31,2024-02-29,2023-02-28,2023-03-25,2024-03-30,2024-10-26,2024-10-27,2023-12-30}"
INSTANTS = ("{2024-03-31 00:59:59+00,2024-03-31 01:00:00+00,2024-10-27 00:30:00+00,2024-10-27 01:30:00+00,2024-02-29 23:00:00+00,"
            "2024-03-10 07:00:00+00,2023-12-31 23:00:00+00}")
EVENTS = Jsonb({
    "visits": {"source": "views", "customer_id_column": "Who", "date_column": "at", "type_column": "kind", "value_columns": ["seconds", "one"],
               "types": ["Add to Cart", "view", "it's \\odd", "never seen"]},
    "tickets": {"source": "tickets", "date_column": "day"}})
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
DATED = {"attributes": "levels", "attributes_date_column": "since"}
FEATURES = {
    "day_days": ('"By_Day"', {"as_of": DAYS, "horizon": "1 month", "time_zone": BERLIN, "windows": [7, 45], "sequence": "{units}", "returns": True}),
    "time_days": ("by_time", {"as_of": DAYS, "horizon": "30", "time_zone": BERLIN, "sequence": "{units}", "horizons": [1, 14, 90]}),
    "instant_days": ("by_instant", {"as_of": DAYS, "horizon": "1 year", "time_zone": NEW_YORK, "sequence": "true"}),
    "day_instants": ('"By_Day"', {"as_of": INSTANTS, "horizon": "1 month", "time_zone": BERLIN, "returns": True}),
    "time_instants": ("by_time", {"as_of": INSTANTS, "horizon": "1 month", "time_zone": BERLIN, "sequence": "{units}"}),
    "instant_instants": ("by_instant", {"as_of": INSTANTS, "horizon": "26", "time_zone": NEW_YORK, "horizons": [5], "log_end": "2024-11-20 12:00+00"}),
    "doubles": ("in_doubles", {"as_of": DAYS, "horizon": "40", "attributes": "crm"}),
    "singles": ("in_singles", {"as_of": DAYS, "horizon": "40", "sequence": "true"}),
    "cents": ("in_cents", {"as_of": DAYS, "horizon": "40", "attributes": "crm", "log_end": "2024-10-30"}),
    "own_age": ("by_instant", {"age": [0, 7, 30], "horizon": "1 month", "horizons": [3], "time_zone": BERLIN, **DATED}),
    "everyone": ("by_instant", {"as_of": "{2024-01-31,2024-02-29,2024-05-15}", "horizon": "30", "horizons": [10], "windows": [14, 3], "customers": "users",
                                "start_column": "registered", "events": EVENTS, "returns": True, "time_zone": BERLIN, "sequence": "true", **DATED}),
    "everyone_now": ("by_instant", {"as_of": "{2024-01-31 12:00+00,2024-04-01 00:10+00}", "horizon": "30", "windows": [14], "customers": "users", "events": EVENTS,
                                    "time_zone": BERLIN, **DATED}),
    "ages": ("by_instant", {"age": [0, 7, 30, 100], "horizon": "1 month", "horizons": [10], "windows": [14], "customers": "users", "start_column": "registered",
                            "events": EVENTS, "attributes": "crm", "returns": True, "time_zone": BERLIN}),
}
SOURCES = ["By_Day", "by_time", "by_instant", "in_doubles", "in_singles", "in_cents", "users", "views", "tickets", "levels", "crm"]


def make(connection):
    connection.execute((Path(__file__).parent / "nasty.sql").read_text())
    for name, (source, arguments) in FEATURES.items():
        named = ", ".join(f"{argument} => %s" for argument in arguments)
        connection.execute(f"SELECT ltv_create_features(%s, %s, date_column => 'At', value_column => 'amount', {named})", [name, source, *arguments.values()])


def compare(dialect, directory, read):
    """read(name of a table, its file) makes a table known; it returns what runs a SELECT and gives rows in the order of its columns, moments
    as microseconds."""
    with connect() as connection:
        make(connection)
        run = read({table: to_parquet(connection, table, directory) for table in SOURCES})
        wrong = []
        for name in FEATURES:
            columns = [c for c, in connection.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum", [name])]
            statement, = connection.execute("SELECT ltv_feature_sql(%s, %s)", [name, dialect]).fetchone()
            wanted = connection.execute(f"SELECT {', '.join(reading(c) for c in columns)} FROM {identifier(name)}").fetchall()
            names, got = run(statement)
            assert names == columns, f"{name}: {names} in place of {columns}"
            assert len(wanted) > 100, name
            found = differences(name, columns, wanted, got)
            print(f"{name}: {len(wanted)} rows, {len(columns)} columns, {len(found)} differ", flush=True)
            wrong += found
        assert not wrong, "\n".join(map(str, wrong[:40]))


def reading(column):
    """As the values of an engine arrive in Python."""
    name = identifier(column)
    return "extract(epoch FROM as_of)" if column == "as_of" else f"{name}::text" if column == "customer_id" else name
