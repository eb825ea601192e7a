"""The features of nasty logs by the SELECT that needs no pg_ltv, run by PostgreSQL itself, are the same in all columns."""

import tempfile

from tools import compare, nasty

with tempfile.TemporaryDirectory() as directory, compare.connect() as connection:

    def run(statement):
        columns = [column.name for column in connection.execute(f"SELECT * FROM ({statement}) q LIMIT 0").description]
        return columns, connection.execute(f"SELECT {', '.join(map(nasty.reading, columns))} FROM ({statement}) q").fetchall()

    nasty.compare("postgres", directory, lambda files: run)
