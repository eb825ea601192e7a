-- Which model a call scores with: champion, pinned version, default model; privileges; what a statement sees.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SELECT ltv_import_onnx('m', decode(:'linear', 'base64'), array['a', 'b']), ltv_import_onnx('m', decode(:'steeper', 'base64'), array['a', 'b']);

-- Errors.
SELECT ltv_predict('nope', array[1, 2]);
SELECT ltv_predict('nope', 1, array[1, 2]);
SELECT ltv_predict('m', 9, array[1, 2]);
SELECT ltv_predict(NULL::text, array[1, 2]);
SELECT ltv_predict('m', NULL::int, array[1, 2]);
INSERT INTO ltv.models (model) VALUES ('empty');
SELECT ltv_predict('empty', array[1, 2]);
SELECT ltv_drop_alias('m', 'champion');
SELECT ltv_predict('m', array[1, 2]);
SELECT ltv_set_alias('m', 1);

-- The default model.
SELECT ltv_predict(array[1, 2]);
SET ltv.default_model = 'm';
SELECT ltv_predict(array[1, 2]), ltv_predict(t), ltv_predict('{"a": 1, "b": 2}'::jsonb), (ltv_predict_all(t)).version FROM (SELECT 1 AS a, 2 AS b) t;
SET ltv.default_model = 'nope';
SELECT ltv_predict(array[1, 2]);
RESET ltv.default_model;
SET ltv.no_such_setting = 1;

-- A promotion is seen by the next statement: by prepared ones, inside the transaction that makes it, and no longer once
-- that is taken back.
PREPARE p AS SELECT ltv_predict('m', array[1, 2]);
SET plan_cache_mode = force_generic_plan;
EXECUTE p;
SELECT ltv_set_alias('m', 2);
EXECUTE p;
BEGIN;
SELECT ltv_set_alias('m', 1);
EXECUTE p;
SAVEPOINT s;
SELECT ltv_set_alias('m', 2);
EXECUTE p;
ROLLBACK TO s;
EXECUTE p;
ROLLBACK;
EXECUTE p;
-- An open cursor keeps the version that it began with.
CREATE TABLE t AS SELECT i AS a, 0 AS b FROM generate_series(1, 4) i;
BEGIN;
DECLARE c CURSOR FOR SELECT a, ltv_predict('m', t) FROM t;
FETCH 2 FROM c;
SELECT ltv_set_alias('m', 1);
FETCH 2 FROM c;
SELECT a, ltv_predict('m', t) FROM t;
COMMIT;
-- A model that is dropped and made again under its name is another one.
SELECT ltv_predict('m', 1, array[1, 2]);
SELECT ltv_drop_model('m');
SELECT ltv_import_onnx('m', decode(:'steeper', 'base64'), array['a', 'b']);
EXECUTE p;
SELECT ltv_predict('m', 3, array[1, 2]);

-- Only who may: by default the owner.
CREATE ROLE ltv_scorer; CREATE ROLE ltv_group; GRANT SELECT ON t TO ltv_scorer, ltv_group;
SET ROLE ltv_scorer;
SELECT ltv_predict('m', array[1, 2]);
EXECUTE p;
SELECT ltv_predict('m', 3, array[1, 2]);
SELECT ltv_predict('nope', array[1, 2]);
SELECT ltv_export_onnx('m');
RESET ROLE;
SELECT ltv_grant('m', 'ltv_group');
SET ROLE ltv_scorer;
EXECUTE p;
RESET ROLE;
GRANT ltv_group TO ltv_scorer;
SET ROLE ltv_scorer;
EXECUTE p;
SELECT ltv_predict('m', 3, array[1, 2]);
SELECT ltv_export_onnx('m');
RESET ROLE;
REVOKE ltv_group FROM ltv_scorer;
SET ROLE ltv_scorer;
EXECUTE p;
RESET ROLE;
SELECT ltv_grant('m', 'public');
SET ROLE ltv_scorer;
EXECUTE p;
RESET ROLE;
SELECT ltv_revoke('m', 'public');
SET ROLE ltv_scorer;
EXECUTE p;
RESET ROLE;
-- A view runs with the rights of its reader, a security definer function with those of its owner.
CREATE VIEW scores AS SELECT a, ltv_predict('m', t) AS score FROM t;
GRANT SELECT ON scores TO ltv_scorer;
CREATE FUNCTION score(t) RETURNS float8 LANGUAGE sql SECURITY DEFINER AS $$ SELECT ltv_predict('m', $1) $$;
SET ROLE ltv_scorer;
SELECT * FROM scores;
SELECT score(t) FROM t WHERE a = 1;
RESET ROLE;
DROP VIEW scores; DROP FUNCTION score(t);
DROP OWNED BY ltv_scorer, ltv_group; DROP ROLE ltv_scorer, ltv_group;

-- A pinned version may be indexed, generated and checked; a champion may not.
CREATE TABLE customers (a real, b real, score float8 GENERATED ALWAYS AS (ltv_predict('m', 3, array[a, b])) STORED);
CREATE INDEX ON customers (ltv_predict('m', 3, array[b, a]));
INSERT INTO customers SELECT i, 1 FROM generate_series(1, 3) i;
SELECT * FROM customers;
CREATE INDEX ON customers (ltv_predict('m', array[a, b]));

-- In parallel the same comes out.
CREATE TABLE many AS SELECT i % 1000 AS a, i % 7 AS b FROM generate_series(1, 50000) i;
ANALYZE many;
SELECT count(*), sum(ltv_predict('m', many)) FROM many;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SELECT count(*), sum(ltv_predict('m', many)) FROM many;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;

-- The cache keeps what was used last.
SET ltv.session_cache_size = 2;
SELECT ltv_import_onnx('x', decode(:'linear', 'base64')), ltv_import_onnx('y', decode(:'linear', 'base64')), ltv_import_onnx('z', decode(:'linear', 'base64'));
SELECT ltv_predict('x', array[1, 2]), ltv_predict('y', array[1, 2]), ltv_predict('x', array[1, 2]), ltv_predict('z', array[1, 2]);
SELECT model, version, graph_bytes, uses FROM ltv_loaded_models ORDER BY model;
SELECT ltv_predict(model, array[1, 2]) FROM unnest('{x,y,z,m,x,y,z,m}'::text[]) model;
SELECT count(*) FROM ltv_loaded_models;
