-- The statement whose planning loads the library gets its batch scan, too; \c begins a new session.
\i tests/data/scoring/load.sql
\i tests/data/scoring/analyzed.sql
CREATE TABLE u AS SELECT i AS id, ARRAY[i * 0.01, 1.0 / i, 0.1, 0.5]::real[] AS f FROM generate_series(1, 20) i;
CREATE FUNCTION total() RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXPLAIN (COSTS OFF) SELECT sum(ltv_predict('vector', f)) FROM u LOOP RAISE NOTICE '%', line; END LOOP;
    RETURN (SELECT round(sum(ltv_predict('vector', f))::numeric, 3) FROM u);
END $$;
\c -
EXPLAIN (COSTS OFF) SELECT sum(ltv_predict('vector', f)) FROM u;
\c -
SELECT analyzed($$ SELECT id, ltv_predict('vector', f) FROM u $$);
\c -
SELECT round(sum(ltv_predict('vector', f))::numeric, 3) FROM u;
\c -
SELECT total();
\c -
PREPARE q AS SELECT sum(ltv_predict('vector', f)) FROM u;
EXPLAIN (COSTS OFF) EXECUTE q;
EXPLAIN (COSTS OFF) EXECUTE q;
BEGIN;
EXPLAIN (COSTS OFF) EXECUTE q;
COMMIT;
\c -
BEGIN;
DECLARE k SCROLL CURSOR FOR SELECT id, round(ltv_predict('vector', f)::numeric, 3) AS p FROM u;
FETCH 2 FROM k;
FETCH BACKWARD 1 FROM k;
COMMIT;
\c -
-- What drivers declare: neither SCROLL nor NO SCROLL.
BEGIN;
DECLARE k CURSOR FOR SELECT id, round(ltv_predict('vector', f)::numeric, 3) AS p FROM u;
FETCH 2 FROM k;
FETCH BACKWARD 1 FROM k;
FETCH 2 FROM k;
COMMIT;
\c -
DECLARE h CURSOR WITH HOLD FOR SELECT id, round(ltv_predict('vector', f)::numeric, 3) AS p FROM u;
FETCH 2 FROM h;
FETCH BACKWARD 1 FROM h;
CLOSE h;
\c -
CREATE TABLE made AS SELECT ltv_predict('vector', f) FROM u;
\c -
-- loaded beforehand
LOAD 'pg_ltv';
EXPLAIN (COSTS OFF) SELECT sum(ltv_predict('vector', f)) FROM u;
