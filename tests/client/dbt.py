# database: demo
"""dbt: the project in examples/dbt is built and tested, and an operation trains."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import psycopg
from tools import ROOT, URL, parts, same

server = parts()
directory = pathlib.Path(tempfile.mkdtemp(prefix="dbt."))
shutil.copytree(pathlib.Path(ROOT) / "examples/dbt", directory / "project")
(directory / "profiles.yml").write_text(f"""
pg_ltv_example:
  target: test
  outputs:
    test: {{type: postgres, host: {server['host']}, port: {server['port']}, user: {server['user']}, password: "{server['password']}", dbname: {server['dbname']}, schema: analytics, threads: 2}}
""")


def dbt(*arguments):
    command = [str(pathlib.Path(sys.executable).with_name("dbt")), *arguments, "--project-dir", str(directory / "project"), "--profiles-dir", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


printed = dbt("run-operation", "ltv_train", "--args", """{model: by_dbt, relation: public.cdnow_features, options: '{"epochs": 1, "ensemble": 1}'}""")
assert "version 1 of by_dbt" in printed, printed
print("ok operation")
dbt("build")
with psycopg.connect(URL, autocommit=True) as connection:
    rows = connection.execute("SELECT customer_id, ltv FROM analytics.scores ORDER BY customer_id").fetchall()
    exact = connection.execute("SELECT s.customer_id, e.ltv FROM analytics.scores s JOIN (SELECT customer_id, ltv_predict('cdnow', f) AS ltv"
                               " FROM analytics.features f) e USING (customer_id) ORDER BY customer_id").fetchall()
    assert all(abs(float(a[1]) - b[1]) <= 0.0051 for a, b in zip(rows, exact, strict=True))
same(exact, "features and scores")
shutil.rmtree(directory)
