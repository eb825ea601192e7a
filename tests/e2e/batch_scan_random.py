"""Random queries give the same result with ltv.enable_batch_scan on and off.

The generator puts predictions wherever an expression can stand, nests them in CASE, COALESCE, AND and OR, and varies
the planner's settings so that the same query gets many plans. Some rows cannot be predicted (arrays of the wrong
length): the query must then fail in both modes, or in neither.

    PG_LTV_URL=postgresql://... python tests/e2e/batch_scan_random.py [queries] [seed]
"""

import math
import os
import random
import sys
from pathlib import Path

import psycopg

ROOT = Path(os.environ.get("PG_LTV_ROOT", Path(__file__).parents[2]))
sys.path.append(str(ROOT / "tests/data/scoring"))
from load import load  # noqa: E402

TOLERANCE = 2e-5

TABLES = """
CREATE TABLE u (id int PRIMARY KEY, g text, a real, b real, n int, f real[], bad real[]);
INSERT INTO u SELECT i, 'g' || i % 4, i * 0.1, (i * 7 % 11)::real, nullif(i % 5, 0),
    CASE WHEN i % 23 = 0 THEN NULL ELSE ARRAY[i * 0.01, 1.0 / i, CASE WHEN i % 13 = 0 THEN NULL ELSE (i * 7 % 11) * 0.1 END, 0.5] END,
    CASE WHEN i % 97 = 0 THEN ARRAY[1, 2]::real[] ELSE ARRAY[i * 0.01, 1.0 / i, 0.1, 0.5] END
FROM generate_series(1, 300) i;
CREATE INDEX ON u (b);
CREATE TABLE c (id int, recency int, dropped int, frequency real, monetary numeric(10,2), country text, j jsonb);
ALTER TABLE c DROP COLUMN dropped;
INSERT INTO c SELECT i, i % 30, i % 7, nullif(i % 9, 0) * 3.5, (ARRAY['DE', 'FR', 'GB', 'IT', NULL])[i % 5 + 1]
FROM generate_series(1, 200) i;
UPDATE c SET j = to_jsonb(c) - 'j' - 'id';
CREATE TABLE p (id int, g text, f real[]) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 (f real[], extra int, id int, g text);
ALTER TABLE p2 DROP COLUMN extra;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (1000);
INSERT INTO p SELECT id, g, f FROM u;
CREATE VIEW cv AS SELECT id, recency, frequency, monetary, country FROM c WHERE id > 5;
CREATE TABLE target (id int, v float8, w float8);
CREATE FUNCTION noisy(x real) RETURNS real LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN x; END $$;
ANALYZE;
"""

SETTINGS = {
    "enable_hashjoin": ["on", "off"],
    "enable_mergejoin": ["on", "off"],
    "enable_nestloop": ["on", "off"],
    "enable_hashagg": ["on", "off"],
    "enable_sort": ["on", "off"],
    "enable_seqscan": ["on", "off"],
    "enable_material": ["on", "off"],
    "enable_memoize": ["on", "off"],
    "enable_partitionwise_aggregate": ["on", "off"],
    "enable_incremental_sort": ["on", "off"],
    "ltv.batch_size": ["1", "2", "7", "64", "1024"],
    "max_parallel_workers_per_gather": ["0", "0", "2"],
    "jit": ["off", "off", "off", "on"],
    "work_mem": ["64kB", "4MB"],
}
PARALLEL = {
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "min_parallel_table_scan_size": "0",
    "min_parallel_index_scan_size": "0",
    "jit_above_cost": "0",
    "jit_optimize_above_cost": "-1",
}


class Generator:
    def __init__(self, rng):
        self.rng = rng
        # Error cases are rare: a query that fails tells little else.
        self.with_errors = rng.random() < 0.15

    def pick(self, *choices):
        return self.rng.choice(choices)

    def source(self):
        """(table, alias, kind)"""
        return self.pick(("u", "u"), ("u", "u"), ("c", "c"), ("p", "p"), ("cv", "c"))

    def prediction(self, alias, kind):
        name = self.pick("ltv_predict", "ltv_predict", "ltv_predict", "ltv_predict_proba")
        if kind == "c":
            inputs = [
                f"{alias}",
                f"{alias}",
                f"row_to_json({alias})::jsonb - 'id' - 'j'",
                f"(SELECT s FROM (SELECT {alias}.recency, {alias}.frequency, {alias}.monetary, {alias}.country) s)",
                f"ARRAY[{alias}.recency::text, {alias}.frequency::text, {alias}.monetary::text, {alias}.country]",
            ]
            model = "'customers'"
        else:
            inputs = [f"{alias}.f", f"{alias}.f", f"{alias}.f"]
            if kind == "u":
                inputs += [
                    f"ARRAY[{alias}.a, {alias}.b, {alias}.a / {alias}.b, 1]::real[]" if self.with_errors
                    else f"ARRAY[{alias}.a, {alias}.b, {alias}.a + {alias}.b, 1]::real[]",
                    f"ARRAY[{alias}.a, {alias}.n, 1, 1]",
                    f"to_jsonb({alias}.f)",
                    f"ARRAY[ltv_predict('vector', {alias}.f)::real, {alias}.b, 1, 1]",
                    f"CASE WHEN {alias}.n = 2 THEN {alias}.f ELSE '{{1,2,3,4}}'::real[] END",
                    "'{1,2,3,4}'::real[]",
                ]
                if self.with_errors:
                    inputs += [f"{alias}.bad", f"{alias}.bad"]
            model = "'vector'"
        text = self.pick(*inputs)
        version = self.pick("", "", "", ", 1", ", 2") if kind != "c" else self.pick("", ", 1")
        which = self.rng.random()
        if which < 0.12:
            return f"ltv_predict_quantile({model}{version}, {text}, {self.pick('0.5', '0.9', '0.25')})"
        if which < 0.22:
            return f"(ltv_predict_all({model}{version}, {text})).{self.pick('ltv', 'p50', 'purchase_probability', 'version')}"
        return f"{name}({model}{version}, {text})"

    def number(self, alias, kind, depth=2):
        r = self.rng.random()
        if depth == 0 or r < 0.4:
            return self.prediction(alias, kind)
        again = lambda: self.number(alias, kind, depth - 1)
        if r < 0.55:
            return f"CASE WHEN {self.condition(alias, kind, depth - 1)} THEN {again()} ELSE {again()} END"
        if r < 0.62:
            return f"CASE {alias}.id % 3 WHEN 0 THEN {again()} WHEN 1 THEN 5.5 END"
        if r < 0.72:
            return f"coalesce(nullif({alias}.id % 3, 0)::float8, {again()})"
        if r < 0.8:
            return f"{again()} + {again()}"
        if r < 0.85:
            return f"greatest({again()}, {alias}.id)"
        if r < 0.9:
            return f"nullif({again()}, {again()})"
        if r < 0.95:
            return f"(SELECT max(x) FROM (VALUES ({again()}), (1.5)) v (x))"
        return f"abs({again()})"

    def cheap(self, alias):
        return self.pick(
            f"{alias}.id % 2 = 0", f"{alias}.id < 120", f"{alias}.id BETWEEN 20 AND 90", f"{alias}.id IS NOT NULL"
        )

    def condition(self, alias, kind, depth=2):
        r = self.rng.random()
        if depth == 0 or r < 0.25:
            return self.cheap(alias)
        if r < 0.6:
            return f"{self.number(alias, kind, depth - 1)} {self.pick('>', '<')} {self.pick('0.7131', '1.2117', '2.0319', '3.4143')}"
        both = self.condition(alias, kind, depth - 1), self.condition(alias, kind, depth - 1)
        if r < 0.72:
            return f"({both[0]} AND {both[1]})"
        if r < 0.84:
            return f"({both[0]} OR {both[1]})"
        if r < 0.9:
            return f"NOT ({both[0]})"
        if r < 0.95:
            return f"{self.number(alias, kind, 0)} IS NOT NULL"
        return f"EXISTS (SELECT 1 FROM p q WHERE q.id = {alias}.id AND {self.number('q', 'p', 0)} > 1.0113)"

    def query(self):
        table, kind = self.source()
        e = lambda: self.number("t", kind)
        where = lambda: self.pick("", f"WHERE {self.condition('t', kind)}")
        shape = self.rng.randrange(22)
        frm = f"FROM {table} t"
        if shape <= 2:
            return f"SELECT t.id, {e()} AS v, {self.pick('t.id', e())} AS w {frm} {where()}"
        if shape == 3:
            return f"SELECT t.id, {e()} AS v {frm} {where()} ORDER BY t.id LIMIT {self.pick(1, 2, 10, 100)}"
        if shape == 4:
            return f"SELECT t.id {frm} {where()} ORDER BY {e()} DESC NULLS LAST, t.id LIMIT 5"
        if shape == 5:
            return f"SELECT t.id % 3 AS k, count(*), sum({e()}), max({e()}) FILTER (WHERE {self.condition('t', kind)}) {frm} {where()} GROUP BY 1"
        if shape == 6:
            return f"SELECT t.id % 4 AS k, avg({e()}) {frm} GROUP BY 1 HAVING sum({e()}) > {self.pick(10, 50.5)}"
        if shape == 7:
            return f"SELECT floor({e()}) AS k, count(*) {frm} {where()} GROUP BY 1"
        if shape == 8:
            return f"SELECT DISTINCT floor({e()} * 2) {frm} {where()}"
        if shape == 9:
            join = self.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
            extra = "" if join == "FULL JOIN" else self.pick("", f" AND {self.condition('t', kind)}", f" AND {self.number('t', kind, 1)} < {self.number('s', 'u', 0)}")
            return f"SELECT t.id, s.id, {e()}, {self.number('s', 'u')} {frm} {join} u s ON t.id = s.id{extra}"
        if shape == 10:
            return f"SELECT t.id, s.id {frm} JOIN u s ON {self.number('t', kind, 0)} > {self.number('s', 'u', 0)} AND s.id < 8 AND t.id < 40"
        if shape == 11:
            return f"SELECT t.id, l.v, l.id {frm} CROSS JOIN LATERAL (SELECT s.id, {e()} + {self.number('s', 'u', 0)} AS v FROM u s WHERE s.id <= t.id % 4 ORDER BY s.id LIMIT 2) l WHERE t.id < 60"
        if shape == 12:
            return f"SELECT id, v FROM (SELECT t.id, {e()} AS v {frm} UNION ALL SELECT s.id, {self.number('s', 'u')} FROM u s {self.pick('', 'WHERE s.id < 50')}) q {self.pick('', 'WHERE v > 0.9123')}"
        if shape == 13:
            m = self.pick("MATERIALIZED", "NOT MATERIALIZED")
            return f"WITH q AS {m} (SELECT t.*, {e()} AS v {frm} {where()}) SELECT x.id, x.v, y.v FROM q x JOIN q y ON x.id = y.id"
        if shape == 14:
            args = self.pick("PARTITION BY t.id % 3", "ORDER BY t.id", "PARTITION BY t.id % 2 ORDER BY t.id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW")
            f = self.pick("sum", "max", "first_value", "lag", "avg")
            return f"SELECT t.id, {f}({e()}) OVER ({args}) AS v, rank() OVER (ORDER BY t.id), {e()} AS w {frm}"
        if shape == 15:
            return f"SELECT t.id, (SELECT {self.pick('sum', 'max')}({self.number('s', 'u', 1)} + {self.number('t', kind, 0)} + 0 * s.id) FROM u s WHERE s.id < t.id % 7) AS v {frm} WHERE t.id < 50"
        if shape == 16:
            return f"SELECT t.id, {e()} AS v {frm} WHERE t.id {self.pick('IN', 'NOT IN')} (SELECT s.id FROM u s WHERE {self.condition('s', 'u')})"
        if shape == 17:
            return f"SELECT t.id, generate_series(1, t.id % 3) AS s, {e()} AS v {frm} {where()}"
        if shape == 18:
            return f"SELECT t.id % 2, t.id % 3, sum({e()}), grouping(t.id % 2) {frm} GROUP BY GROUPING SETS ((1, 2), (1), ())"
        if shape == 19:
            return f"SELECT * FROM (SELECT t.id, {e()} AS v, row_number() OVER (PARTITION BY t.id % 5 ORDER BY t.id) AS r {frm}) q WHERE r <= 3"
        if shape == 20:
            return f"SELECT count(DISTINCT round(({e()})::numeric, 2)), array_length(array_agg({e()} ORDER BY t.id), 1) {frm}"
        return f"SELECT t.id, noisy(({e()})::real) AS v {frm} {where()} OFFSET 3"


def run(connection, mode, query):
    with connection.cursor() as cursor:
        cursor.execute(f"SET ltv.enable_batch_scan = {mode}")
        try:
            cursor.execute(query)
            return "rows", cursor.fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            return "error", error.sqlstate
        finally:
            connection.rollback()


def key(row):
    return tuple((v is None, f"{v:.3g}" if isinstance(v, float) else str(v)) for v in row)


def close(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    return a == b


def matches(rows, others):
    """Rows in any order; those that differ by rounding may sort differently, so look around."""
    if len(rows) != len(others):
        return False
    left = sorted(others, key=key)
    for row in sorted(rows, key=key):
        found = next((i for i, other in enumerate(left) if all(map(close, row, other))), None)
        if found is None:
            return False
        left.pop(found)
    return True


def settle(connection, rng):
    with connection.cursor() as cursor:
        for name, values in SETTINGS.items():
            cursor.execute(f"SET {name} = '{rng.choice(values)}'")
    connection.commit()


def execute(connection, rng, query):
    """The results in both modes, sometimes through a cursor, a prepared statement or a table."""
    way = rng.random()
    if way < 0.1:
        connection.execute("DEALLOCATE ALL")
        connection.execute(f"SET plan_cache_mode = {rng.choice(['force_generic_plan', 'force_custom_plan'])}")
        connection.commit()
        results = []
        for mode in ("off", "on"):
            try:
                connection.execute(f"SET ltv.enable_batch_scan = {mode}")
                connection.execute(f"PREPARE q{mode} AS {query}")
                connection.commit()
            except psycopg.Error as error:
                connection.rollback()
                results.append(("error", error.sqlstate))
                continue
            results.append(run(connection, mode, f"EXECUTE q{mode}"))
        return results
    if way < 0.2:
        count = rng.choice([1, 3, 50])
        results = []
        for mode in ("off", "on"):
            with connection.cursor() as cursor:
                try:
                    cursor.execute(f"SET ltv.enable_batch_scan = {mode}")
                    cursor.execute(f"DECLARE k {rng.choice(['', 'SCROLL', 'NO SCROLL'])} CURSOR FOR {query}")
                    rows = []
                    while part := cursor.execute(f"FETCH {count} FROM k").fetchall():
                        rows += part
                    results.append(("rows", rows))
                except psycopg.Error as error:
                    results.append(("error", error.sqlstate))
                finally:
                    connection.rollback()
        return results
    return [run(connection, mode, query) for mode in ("off", "on")]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20240
    connection = psycopg.connect(os.environ["PG_LTV_URL"])
    load(connection, ROOT / "tests/data/scoring")
    connection.execute(TABLES)
    connection.commit()
    for name, value in PARALLEL.items():
        connection.execute(f"SET {name} = {value}")
    connection.commit()
    failures = batched = errors = 0
    for i in range(count):
        rng = random.Random(f"{seed}/{i}")
        settle(connection, rng)
        query = Generator(rng).query()
        connection.execute("SET ltv.enable_batch_scan = on")
        try:
            plan = connection.execute(f"EXPLAIN {query}").fetchall()
        except psycopg.Error as error:
            plan = []
            print(f"-- {seed}/{i} cannot be planned: {error}\n{query}")
            failures += error.sqlstate != "22012"
        connection.commit() if not connection.info.transaction_status == 3 else connection.rollback()
        batched += any("LTV Batch" in line for (line,) in plan)
        (off, off_rows), (on, on_rows) = execute(connection, rng, query)
        errors += off == "error"
        same = off == on and (off_rows == on_rows if off == "error" else matches(off_rows, on_rows))
        if not same:
            failures += 1
            print(f"-- {seed}/{i} differs: {off} {str(off_rows)[:300]}\n   against {on} {str(on_rows)[:300]}\n{query};\n")
            print("\n".join(line for (line,) in plan))
    print(f"{count} queries, {batched} with batch scans, {errors} errors in both modes, {failures} differences")
    if batched < count / 2:
        sys.exit("too few queries were predicted in batches")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
