-- Where a batch scan steps aside EXPLAIN says why, and the results are those of single rows.
\i tests/data/scoring/load.sql
\i tests/data/scoring/same.sql
CREATE TABLE u (id int PRIMARY KEY, g text, f real[]);
INSERT INTO u SELECT i, 'g' || i % 4, ARRAY[i * 0.01, 1.0 / i, i % 7, 0.5] FROM generate_series(1, 300) i;
CREATE INDEX u_p ON u (ltv_predict('vector', 1, f));
ANALYZE u;
\set SHOW_CONTEXT never
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', ARRAY[1, 2, 3, 4]);
EXPLAIN (COSTS OFF) INSERT INTO u VALUES (1001, 'new', '{1,2,3,4}') RETURNING ltv_predict('vector', f);
EXPLAIN (COSTS OFF) INSERT INTO u VALUES (1, 'new', '{1,2,3,4}') ON CONFLICT (id) DO UPDATE SET g = ltv_predict('vector', excluded.f)::text;
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM u a JOIN u b ON ltv_predict('vector', a.f) = ltv_predict('vector', b.f);
SELECT same($$ SELECT count(*) FROM u a JOIN u b ON ltv_predict('vector', a.f) = ltv_predict('vector', b.f) $$);
EXPLAIN (COSTS OFF) SELECT count(*) FROM u a LEFT JOIN u b ON a.g = b.g AND ltv_predict('vector', a.f) > ltv_predict('vector', b.f);
RESET enable_mergejoin;
RESET enable_nestloop;
EXPLAIN (COSTS OFF) SELECT g, x FROM u, LATERAL generate_series(1, ltv_predict('vector', f)::int) x;
SELECT same($$ SELECT id, x FROM u, LATERAL generate_series(1, ltv_predict('vector', f)::int % 5) x $$);
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', f || random()::real) FROM u;
EXPLAIN (COSTS OFF) SELECT ltv_predict(CASE WHEN g = 'g1' THEN 'vector' ELSE 'other' END, f) FROM u;
EXPLAIN (COSTS OFF) SELECT id FROM u LIMIT ltv_predict('vector', ARRAY[1, 2, 3, 4])::bigint;
EXPLAIN (COSTS OFF) SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ltv_predict('vector', f)) FROM u;
-- Otherwise it says nothing.
SELECT count(ltv_predict('vector', f[1:3] || random()::real)) FROM u;
-- A scan of many rows is worth parallel workers for what its predictions cost, and cheap conditions go first.
CREATE TABLE many AS SELECT i AS id, ARRAY[i * 0.01, 1.0 / i, i % 7, 0.5]::real[] AS f FROM generate_series(1, 200000) i;
ALTER TABLE many ADD PRIMARY KEY (id);
ANALYZE many;
EXPLAIN (COSTS OFF) SELECT ltv_predict('vector', f) FROM many WHERE id = 5;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT sum(ltv_predict('vector', f)) FROM many;
EXPLAIN (COSTS OFF) SELECT sum(ltv_predict('vector', f)) FROM many WHERE id = 5;
EXPLAIN (COSTS OFF) SELECT id FROM many WHERE ltv_predict('vector', f) > 1 AND id < 0;
