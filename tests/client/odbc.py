# database: demo
"""ODBC (psqlODBC), as BI tools use it: with and without UseDeclareFetch, the catalog functions, parameters."""

import pyodbc
from tools import SCORES, need_file, parts, same

driver = need_file("/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so", "odbc-postgresql unixodbc")
server = parts()
base = f"Driver={driver};Servername={server['host']};Port={server['port']};Database={server['dbname']};Uid={server['user']};Pwd={server['password']}"

for options in ("UseDeclareFetch=0", "UseDeclareFetch=1;Fetch=1000", "UseServerSidePrepare=1", "UseServerSidePrepare=0", "ByteaAsLongVarBinary=1;MaxVarcharSize=255"):
    connection = pyodbc.connect(f"{base};{options}")
    cursor = connection.cursor()
    same([tuple(row) for row in cursor.execute(SCORES)], options)
    row = cursor.execute("SELECT ltv_predict('cdnow', f) FROM cdnow_features f WHERE customer_id = ?", "00001").fetchone()
    assert row[0] > 0
    connection.close()

connection = pyodbc.connect(f"{base};UseDeclareFetch=1;Fetch=100", autocommit=True)
cursor = connection.cursor()
assert {"ltv_models", "ltv_jobs"} <= {row.table_name for row in cursor.tables(tableType="VIEW")}
assert "champion" in {row.column_name for row in cursor.columns(table="ltv_models")}
# What a BI tool writes around a view: groups, filters, a preview.
cursor.execute("CREATE VIEW odbc_scores AS SELECT customer_id, ltv_predict('cdnow', f) AS ltv FROM cdnow_features f")
count = cursor.execute('SELECT COUNT(1) FROM (SELECT * FROM "public"."odbc_scores") q WHERE q.ltv > 100').fetchone()[0]
preview = cursor.execute('SELECT * FROM "public"."odbc_scores" LIMIT 100').fetchall()
assert count > 0 and len(preview) == 100
try:
    cursor.execute("SELECT ltv_predict('no', '{}')").fetchall()
    raise AssertionError("no error")
except pyodbc.Error as error:
    assert error.args[0] == "42704", error
connection.close()
print("ok catalog, groups, preview, errors")
