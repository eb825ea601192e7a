# database: extension
"""sqlsmith makes random queries over views that predict. Whatever they return, no backend may crash and no plan may be
one that the executor does not understand. Needs sqlsmith (a package of Debian); without it there is nothing to do.

PG_LTV_SQLSMITH: how many queries; 200 by default, some thousands for a real search. PG_LTV_SQLSMITH_SEED: which.
"""

import os
import shutil
import subprocess
import sys

import psycopg

# What PostgreSQL says when a plan or an expression is malformed, and what a Rust panic looks like.
BROKEN = (
    "panicked", "unrecognized node type", "variable not found in subplan", "bogus varno", "bogus varattno", "invalid attnum",
    "attribute number", "could not find", "unexpected", "failed to find plan for", "cache lookup failed", "wrong type",
    "ExecInitExpr", "ltv: ", "invalid memory alloc", "no relation entry", "does not have type", "was replaced while",
)
# Functions that wait, read files or take the server down are for superusers, or cut off by the time limit.
SETUP = """
CREATE TABLE u (id int PRIMARY KEY, g text, a real, b real, n int, f real[]);
INSERT INTO u SELECT i, 'g' || i % 4, i * 0.1, i * 7 % 11, nullif(i % 5, 0), ARRAY[i * 0.01, 1.0 / i, i % 7, 0.5]
FROM generate_series(1, 300) i;
CREATE TABLE c (id int, recency int, frequency real, monetary numeric(10,2), country text);
INSERT INTO c SELECT i, i % 7, nullif(i % 9, 0) * 3.5, i % 30, (ARRAY['DE', 'FR', 'GB', NULL])[i % 4 + 1] FROM generate_series(1, 200) i;
CREATE TABLE p (id int, f real[]) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (1000);
INSERT INTO p SELECT id, f FROM u;
CREATE INDEX ON u (n);
CREATE VIEW by_array AS SELECT id, g, n, ltv_predict('vector', f) AS p FROM u;
CREATE VIEW by_row AS SELECT id, country, ltv_predict('customers', c) AS p, ltv_predict_proba('customers', c) AS q FROM c;
CREATE VIEW by_json AS SELECT id, ltv_predict('customers', to_jsonb(c)) AS p FROM c WHERE country IS NOT NULL;
CREATE VIEW sure AS SELECT id, p, CASE WHEN n > 2 THEN ltv_predict('vector', 2, f) ELSE a END AS q
    FROM (SELECT *, ltv_predict('vector', f) AS p FROM u) s WHERE p > 0.2;
CREATE VIEW by_partition AS SELECT id, ltv_predict('vector', f) AS p FROM p;
CREATE VIEW by_group AS SELECT g, sum(ltv_predict('vector', f)) AS total, count(*) FILTER (WHERE ltv_predict('vector', f) > 0.5) AS many
    FROM u GROUP BY g HAVING max(ltv_predict('vector', f)) > 0;
CREATE VIEW by_window AS SELECT id, rank() OVER (PARTITION BY g ORDER BY ltv_predict('vector', f)) AS r, lag(ltv_predict('vector', f)) OVER () AS l FROM u;
CREATE VIEW by_join AS SELECT u.id, ltv_predict('vector', u.f) + ltv_predict('customers', c) AS p FROM u JOIN c ON u.n = c.recency LIMIT 500;
CREATE VIEW top AS SELECT id, ltv_predict_quantile('vector', f, 0.5) AS p FROM u ORDER BY p DESC LIMIT 10;
CREATE VIEW apart AS SELECT id, (ltv_predict_all('vector', f)).ltv AS p FROM u UNION ALL SELECT id, ltv_predict('customers', c) FROM c;
ANALYZE;
"""
SETTINGS = (
    "-c statement_timeout=2s -c ltv.batch_size=7",
    "-c statement_timeout=2s -c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c min_parallel_table_scan_size=0",
)


def psql(command, **options):
    return subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", os.environ["PG_LTV_URL"], *command], check=True, **options)


def main():
    program = shutil.which("sqlsmith")
    if program is None:
        print("sqlsmith is not installed: nothing to do")
        return
    psql(["-f", "tests/data/scoring/load.sql"], cwd=os.environ["PG_LTV_ROOT"], stdout=subprocess.DEVNULL)
    watcher = psycopg.connect(os.environ["PG_LTV_URL"], autocommit=True)
    watcher.execute("INSERT INTO ltv.privileges VALUES ('vector', 'public', 'predict'), ('customers', 'public', 'predict')")
    watcher.execute(SETUP)
    role = f"ltv_smith_{os.getpid()}"
    watcher.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    watcher.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    info = watcher.info
    target = f"host={info.host} port={info.port} dbname={info.dbname} user={role} password={role}"
    count = int(os.environ.get("PG_LTV_SQLSMITH", "200"))
    seed = int(os.environ.get("PG_LTV_SQLSMITH_SEED", "1"))
    problems = []
    for i, settings in enumerate(SETTINGS):
        run = subprocess.run(
            [program, f"--target={target}", "--exclude-catalog", "--verbose", f"--max-queries={count // len(SETTINGS)}", f"--seed={seed + i}"],
            env={**os.environ, "PGOPTIONS": settings}, capture_output=True, text=True, errors="replace", check=False,
        )
        said = run.stdout + run.stderr
        print(said[-1500:])
        if run.returncode != 0:
            problems.append(f"sqlsmith ended with {run.returncode}")
        problems += [line for line in said.splitlines() if any(word in line for word in BROKEN)]
    # A crash of any backend ends all sessions.
    watcher.execute("SELECT ltv_predict('vector', f) FROM u LIMIT 1")
    watcher.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    for problem in problems:
        print(f"FAILED: {problem}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
