-- The batch scan in statements other than plain SELECT, and what EXPLAIN says.
\i tests/data/scoring/load.sql
\i tests/data/scoring/analyzed.sql
\i tests/data/scoring/same.sql
CREATE TABLE u (id int PRIMARY KEY, g text, n int, f real[]);
INSERT INTO u SELECT i, 'g' || i % 4, i % 5, ARRAY[i * 0.01, 1.0 / i, (i * 7 % 11) * 0.1, 0.5] FROM generate_series(1, 300) i;
CREATE TABLE c (id int, recency int, frequency real, monetary numeric(10,2), country text);
INSERT INTO c SELECT i, i % 30, i % 7, (i % 9) * 3.5, (ARRAY['DE', 'FR', 'GB', 'IT', NULL])[i % 5 + 1] FROM generate_series(1, 300) i;
ANALYZE;
SET max_parallel_workers_per_gather = 0;

-- what EXPLAIN prints
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, ltv_predict('vector', f) FROM u WHERE ltv_predict('vector', f) > 0.5 AND n = 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT g, sum(ltv_predict('customers', 1, c)) FROM c JOIN u USING (id) GROUP BY g HAVING count(*) > 1;
EXPLAIN (COSTS OFF) SELECT id, ltv_predict('vector', f) AS p FROM u ORDER BY p DESC LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id, ltv_predict('vector', f) AS p FROM u ORDER BY n LIMIT 10;
SELECT analyzed($$ SELECT sum(ltv_predict('vector', f)) FROM u WHERE ltv_predict('vector', f) > 0.5 $$);
SELECT analyzed($$ SELECT ltv_predict('vector', f), ltv_predict('vector', 2, f) FROM u LIMIT 5 $$);
SELECT analyzed($$ SELECT CASE WHEN n = 1 THEN ltv_predict('vector', f) END FROM u $$);
SELECT analyzed($$ SELECT ltv_predict('vector', ARRAY[1, 2, 3, 4]), id FROM u $$);
CREATE FUNCTION pg_temp.explained(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE plan jsonb; BEGIN EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan; RETURN plan #> '{0,Plan}'; END $$;
SELECT pg_temp.explained('SELECT ltv_predict(''vector'', f) FROM u') - '{Plans,Disabled}'::text[];
SET ltv.enable_batch_scan = off;
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', f) FROM u;
RESET ltv.enable_batch_scan;
-- cheap conditions come first
EXPLAIN (COSTS OFF) SELECT id FROM u WHERE ltv_predict('vector', f) > 0.5 AND upper(g) = 'G1';

-- why it steps aside
SET client_min_messages = debug1;
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', ARRAY[random(), 1, 1, 1]) FROM u;
EXPLAIN (COSTS OFF) SELECT ltv_predict(g, f) FROM u;
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', ARRAY[1, 2, 3, 4]);
RESET client_min_messages;

-- INSERT, UPDATE, DELETE, MERGE, RETURNING, ON CONFLICT
CREATE TABLE scores (id int PRIMARY KEY, p float8, q float8);
INSERT INTO scores SELECT id, ltv_predict('vector', f) FROM u;
UPDATE scores SET q = ltv_predict('vector', 2, u.f) FROM u WHERE u.id = scores.id;
SELECT count(*), count(*) FILTER (WHERE close(to_jsonb(s.p), to_jsonb(ltv_predict('vector', u.f)))) AS p,
    count(*) FILTER (WHERE close(to_jsonb(s.q), to_jsonb(ltv_predict('vector', 2, u.f)))) AS q
FROM scores s JOIN u USING (id);
EXPLAIN (COSTS OFF) UPDATE scores SET q = ltv_predict('vector', 2, u.f) FROM u WHERE u.id = scores.id;
UPDATE u SET n = 100 WHERE ltv_predict('vector', f) < 0.3;
SELECT count(*) FILTER (WHERE n = 100) = count(*) FILTER (WHERE ltv_predict('vector', f) < 0.3) AS updated FROM u;
DELETE FROM scores USING u WHERE u.id = scores.id AND ltv_predict('vector', f) < 0.3;
SELECT count(*) = (SELECT count(*) FROM u WHERE n <> 100) AS deleted FROM scores;
INSERT INTO scores AS s SELECT id, ltv_predict('vector', f) FROM u WHERE id < 4
    ON CONFLICT (id) DO UPDATE SET q = ltv_predict('vector', ARRAY[excluded.p, 0, 0, 0]) RETURNING id, round(q::numeric, 4);
INSERT INTO u VALUES (1001, 'new', 1, '{1,2,3,4}'), (1002, 'new', 1, '{4,3,2,1}') RETURNING id, round(ltv_predict('vector', f)::numeric, 4) AS p;
DELETE FROM u WHERE id > 1000 RETURNING round(ltv_predict('vector', f)::numeric, 4) AS p;
MERGE INTO scores s USING (SELECT id, ltv_predict('vector', f) AS p FROM u WHERE id <= 5) u ON s.id = u.id
    WHEN MATCHED THEN UPDATE SET q = u.p WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.p, u.p);
SELECT count(*) FROM scores WHERE p = q AND id <= 5;

-- CREATE TABLE AS, materialised views, views, COPY
CREATE TABLE made AS SELECT id, ltv_predict('vector', f) AS p FROM u;
CREATE MATERIALIZED VIEW mv AS SELECT id, ltv_predict('vector', f) AS p FROM u;
REFRESH MATERIALIZED VIEW mv;
CREATE VIEW v AS SELECT id, g, ltv_predict('vector', f) AS p FROM u;
EXPLAIN (COSTS OFF) SELECT id FROM v WHERE p > 0.5;
SELECT count(*) FROM made JOIN mv USING (id, p) JOIN v USING (id, p);
COPY (SELECT id, round(ltv_predict('vector', f)::numeric, 3) FROM u ORDER BY id LIMIT 3) TO STDOUT;

-- prepared statements, custom and generic
PREPARE ask (text, int) AS SELECT count(*), round(sum(ltv_predict($1, f))::numeric, 2) FROM u WHERE id <= $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE ask ('vector', 100);
EXECUTE ask ('vector', 100);
EXECUTE ask ('no such model', 100);
EXECUTE ask ('vector', 50);
SET plan_cache_mode = force_custom_plan;
EXECUTE ask ('vector', 50);
RESET plan_cache_mode;

-- cursors
BEGIN;
DECLARE k CURSOR FOR SELECT id, round(ltv_predict('vector', f)::numeric, 4) AS p FROM u ORDER BY id;
FETCH 2 FROM k;
FETCH 3 FROM k;
MOVE 200 FROM k;
FETCH 1 FROM k;
CLOSE k;
DECLARE k SCROLL CURSOR FOR SELECT id, round(ltv_predict('vector', f)::numeric, 4) AS p FROM u ORDER BY id;
FETCH 2 FROM k;
FETCH BACKWARD 1 FROM k;
FETCH LAST FROM k;
FETCH ABSOLUTE 10 FROM k;
FETCH PRIOR FROM k;
CLOSE k;
DECLARE k CURSOR FOR SELECT id, ltv_predict('vector', f) AS p FROM u WHERE ltv_predict('vector', f) > 0.3;
FETCH 3 FROM k;
UPDATE u SET g = 'current' WHERE CURRENT OF k RETURNING id;
CLOSE k;
DECLARE k CURSOR WITH HOLD FOR SELECT count(ltv_predict('vector', f)) FROM u;
COMMIT;
FETCH k;
CLOSE k;

-- FOR UPDATE
SELECT id FROM u WHERE ltv_predict('vector', f) > 0.3 ORDER BY ltv_predict('vector', f) DESC, id LIMIT 3 FOR UPDATE SKIP LOCKED;

-- plpgsql and SQL functions
CREATE FUNCTION total(bound int) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
DECLARE r record; s float8 := 0;
BEGIN
    FOR r IN SELECT ltv_predict('vector', f) AS p FROM u WHERE id <= bound LOOP s := s + r.p; END LOOP;
    RETURN s;
END $$;
CREATE FUNCTION total_sql(bound int) RETURNS float8 LANGUAGE sql STABLE AS $$
    SELECT sum(ltv_predict('vector', f)) FROM u WHERE id <= bound
$$;
SELECT close(to_jsonb(total(i)), to_jsonb(total_sql(i))) FROM generate_series(50, 250, 100) i;
-- an error inside a batch leaves the session as it was
DO $$ BEGIN
    PERFORM ltv_predict('vector', CASE WHEN id = 299 THEN '{1}'::real[] ELSE f END) FROM u;
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%: %', SQLSTATE, SQLERRM;
END $$;
SELECT count(ltv_predict('vector', f)) FROM u;

-- row level security: predictions of rows that one may not see are not made before the policy is asked
CREATE ROLE batch_scan_reader;
SELECT ltv_grant('vector', 'batch_scan_reader', 'predict');
GRANT SELECT ON u TO batch_scan_reader;
ALTER TABLE u ENABLE ROW LEVEL SECURITY;
CREATE POLICY hundreds ON u USING (id % 100 = 0);
CREATE FUNCTION leak(x float8) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'seen %', round(x::numeric, 3); RETURN true; END $$;
SET ROLE batch_scan_reader;
SELECT id, round(ltv_predict('vector', f)::numeric, 3) AS p FROM u WHERE leak(ltv_predict('vector', f)) AND leak(id);
EXPLAIN (COSTS OFF) SELECT id FROM u WHERE leak(ltv_predict('vector', f)) AND leak(id);
SELECT ltv_predict('customers', ARRAY['1', '2', '3', 'DE']) FROM u;
RESET ROLE;
ALTER POLICY hundreds ON u USING (ltv_predict('vector', f) > 0.75);
SET ROLE batch_scan_reader;
SELECT count(*) FROM u WHERE leak(id) AND id < 3;
EXPLAIN (COSTS OFF) SELECT id FROM u WHERE leak(id) AND id < 3;
RESET ROLE;
ALTER TABLE u DISABLE ROW LEVEL SECURITY;

-- parallel workers
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT sum(ltv_predict('vector', f)) FROM u;
SELECT round(sum(ltv_predict('vector', f))::numeric, 2), (SELECT round(sum(p)::numeric, 2) FROM made) FROM u;
EXPLAIN (COSTS OFF) SELECT id, ltv_predict('vector', f) AS p FROM u ORDER BY p;
SELECT count(*) FROM (SELECT id FROM u ORDER BY ltv_predict('vector', f) OFFSET 0) s;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;

-- a promotion in the middle of a statement is not seen by it
CREATE FUNCTION promote(i int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF i = 150 THEN UPDATE ltv.aliases SET version = 2 WHERE model = 'vector'; END IF;
    RETURN i;
END $$;
SET ltv.batch_size = 10;
SELECT array_agg(DISTINCT (ltv_predict_all('vector', f)).version) AS versions FROM (SELECT promote(id), f FROM u ORDER BY id OFFSET 0) s;
SELECT array_agg(DISTINCT (ltv_predict_all('vector', f)).version) AS versions FROM u;
UPDATE ltv.aliases SET version = 1 WHERE model = 'vector';

DROP OWNED BY batch_scan_reader;
DROP ROLE batch_scan_reader;
-- One row by a unique key is predicted by itself: a batch would be more work.
CREATE UNIQUE INDEX u_id ON u (id);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', f) FROM u WHERE id = 3;
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', f) FROM u WHERE id < 3;
-- The same call twice is computed once.
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', f), -ltv_predict('vector', f) FROM u WHERE id = 3;
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP INDEX u_id;
