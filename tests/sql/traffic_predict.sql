-- ltv_predict follows the challenger's share: the same customers by every way of calling it, in batches and one by one.
-- The graphs are linear and steeper of tests/onnx/graphs.py: a + 10 b, and twice that.
\i tests/data/scoring/analyzed.sql
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
SELECT ltv_import_onnx('m', decode(:'linear', 'base64'), array['a', 'b']), ltv_import_onnx('m', decode(:'steeper', 'base64'), array['a', 'b']);
SELECT ltv_set_alias('m', 2, 'challenger');
CREATE TABLE people AS SELECT i AS customer_id, (i % 7 + 1)::real AS a, (i % 13)::real AS b FROM generate_series(1, 5000) i;
SELECT ltv_set_traffic('m', 0.25, 'customer_id');
TABLE ltv_traffic;
-- What each customer has to get, from SQL's own hash.
CREATE VIEW expected AS
SELECT p.*, CASE WHEN ('x' || left(encode(sha256(convert_to('traffic:' || customer_id, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0 < 0.25 THEN 2 ELSE 1 END AS version
FROM people p;
CREATE FUNCTION wrong() RETURNS TABLE (way text, wrong bigint) LANGUAGE sql AS $$
    SELECT 'row', count(*) FILTER (WHERE ltv_predict('m', p) <> e.version * (p.a + 10 * p.b)) FROM people p JOIN expected e USING (customer_id)
    UNION ALL SELECT 'subquery', count(*) FILTER (WHERE ltv_predict('m', q) <> e.version * (q.a + 10 * q.b)) FROM (SELECT customer_id, b, a FROM people OFFSET 0) q JOIN expected e USING (customer_id)
    UNION ALL SELECT 'expressions', count(*) FILTER (WHERE ltv_predict('m', q) <> e.version * (q.a + 10 * q.b)) FROM (SELECT customer_id::text || '' AS customer_id, b + 0 AS b, a FROM people) q JOIN expected e ON e.customer_id::text = q.customer_id
    UNION ALL SELECT 'jsonb', count(*) FILTER (WHERE ltv_predict('m', to_jsonb(p)) <> e.version * (p.a + 10 * p.b)) FROM people p JOIN expected e USING (customer_id)
    UNION ALL SELECT 'all', count(*) FILTER (WHERE (ltv_predict_all('m', p)).version <> e.version) FROM people p JOIN expected e USING (customer_id)
    UNION ALL SELECT 'assigned', count(*) FILTER (WHERE ltv_assigned_version('m', customer_id::text) <> version) FROM expected
$$;
SELECT version, count(*) FROM expected GROUP BY 1 ORDER BY 1;
SELECT * FROM wrong();
SET ltv.enable_batch_scan = off;
SELECT * FROM wrong();
RESET ltv.enable_batch_scan;
-- In parallel.
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT * FROM wrong();
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
SELECT analyzed($$ SELECT sum(ltv_predict('m', p)) FROM people p WHERE ltv_predict('m', p) > 1 $$);

-- Without an id the features decide, the same way in a batch, alone, and however they are given.
CREATE TABLE boxes AS SELECT x, array[x, 1]::real[] AS v FROM (SELECT generate_series(1, 2000) AS x) n;
CREATE TABLE scored AS SELECT x, (ltv_predict_all('m', v)).version FROM boxes;
SELECT version, count(*) FROM scored GROUP BY 1 ORDER BY 1;
SET ltv.enable_batch_scan = off;
SELECT count(*) FROM scored s WHERE version <> (ltv_predict_all('m', array[s.x, 1]::float8[])).version;
RESET ltv.enable_batch_scan;
SELECT count(*) FROM scored s WHERE version <> (ltv_predict_all('m', jsonb_build_array(s.x, 1))).version;
SELECT count(*) FROM scored s WHERE version <> (SELECT (ltv_predict_all('m', r)).version FROM (SELECT NULL::int AS customer_id, s.x AS a, 1 AS b) r);
SELECT count(*) FROM (SELECT s.version, (ltv_predict_all('m', r)).version AS now FROM scored s, LATERAL (SELECT s.x AS a, 1 AS b) r) r WHERE version <> now;

-- A pinned call has nothing to do with it, and neither has an evaluation.
SELECT count(*) FROM people p WHERE ltv_predict('m', 1, p) <> p.a + 10 * p.b;
SELECT DISTINCT value FROM ltv_evaluate('m', 'SELECT p.*, a + 10 * b AS ltv FROM people p') WHERE metric = 'total_ratio';
-- Prepared statements follow each change.
SET plan_cache_mode = force_generic_plan;
PREPARE p AS SELECT (ltv_predict_all('m', p)).version, count(*) FROM people p GROUP BY 1 ORDER BY 1;
EXECUTE p;
SELECT ltv_set_traffic('m', 0.5, 'customer_id');
EXECUTE p;
SELECT ltv_set_traffic('m', 1);
EXECUTE p;
SELECT ltv_set_traffic('m', NULL);
EXECUTE p;
TABLE ltv_traffic;
-- Whoever becomes challenger takes the share over; once it is champion, or dropped, everybody gets the champion.
SELECT ltv_set_traffic('m', 0.25, 'customer_id');
SELECT ltv_import_onnx('m', decode(:'linear', 'base64'), array['a', 'b']);
SELECT ltv_set_alias('m', 3, 'challenger');
EXECUTE p;
SELECT ltv_drop_version('m', 3);
SELECT ltv_set_alias('m', 3);
EXECUTE p;
TABLE ltv_traffic;
SELECT ltv_rollback('m');
EXECUTE p;
SELECT ltv_drop_alias('m', 'challenger');
EXECUTE p;
SELECT ltv_set_alias('m', 2, 'challenger');
EXECUTE p;
-- A change that is rolled back never was.
BEGIN;
SELECT ltv_set_traffic('m', 0.25, 'customer_id');
EXECUTE p;
ROLLBACK;
EXECUTE p;

-- A challenger that the rows do not fit: said by batches and one by one.
SELECT ltv_import_onnx('m', decode(:'linear', 'base64'), array['a', 'c']);
SELECT ltv_set_alias('m', 4, 'challenger');
SELECT ltv_set_traffic('m', 0.25, 'customer_id');
EXECUTE p;
SELECT ltv_set_traffic('m', 2);
SELECT ltv_set_traffic('no_such', 0.1);
-- Whoever may only predict follows the traffic, too, and may not change it.
SELECT ltv_set_alias('m', 2, 'challenger');
CREATE ROLE traffic_reader;
GRANT SELECT ON people TO traffic_reader;
SELECT ltv_grant('m', 'traffic_reader');
SET ROLE traffic_reader;
EXECUTE p;
SELECT ltv_set_traffic('m', 0.5);
SELECT ltv_assigned_version('m', '1') IN (1, 2);
RESET ROLE;
DROP OWNED BY traffic_reader; DROP ROLE traffic_reader;
