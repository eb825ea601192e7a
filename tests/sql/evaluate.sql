-- Metrics of a model on the rows of a query. The numbers themselves are tested in ltv-core; here, what reaches them.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SELECT ltv_import_onnx('m', decode(:'linear', 'base64'), array['a', 'b']), ltv_import_onnx('z', decode(:'ziln', 'base64'));
-- Predictions 1, 2, 3, 4; actual values 0, 4, 2, 6; two unknown.
CREATE TABLE customers AS SELECT * FROM (VALUES (1, 0, 0), (2, 0, 4), (3, 0, 2), (4, 0, 6), (9, 9, NULL), (8, 8, NULL)) c(a, b, ltv);
SELECT * FROM ltv_evaluate('m', 'customers');
SELECT count(*) AS differences FROM (SELECT * FROM ltv_evaluate('m', 'customers') EXCEPT SELECT * FROM ltv_evaluate('m', 'SELECT a, b, ltv AS spent FROM customers;', 1, target => 'spent')) d;
SELECT * FROM ltv_evaluate('m', 'customers', whale_threshold => 4) WHERE metric LIKE 'top_recall%';
SELECT metric FROM ltv_evaluate('z', 'SELECT a AS z, b AS m, ltv FROM customers') WHERE metric IN ('log_loss', 'interval_coverage', 'interval_width');
SELECT * FROM ltv_decile_stats('m', 'customers', groups => 2);
SELECT count(*) FROM ltv_decile_stats('m', 'customers');
-- The aggregates go with GROUP BY.
SELECT a % 2 AS odd, ltv.evaluation(ltv, ltv_predict('m', customers), NULL, NULL, NULL, NULL, NULL) -> 0 FROM customers GROUP BY 1 ORDER BY 1;

SELECT * FROM ltv_evaluate('m', 'SELECT * FROM customers WHERE ltv IS NULL');
SELECT * FROM ltv_evaluate('m', 'customers', target => 'nope');
SELECT * FROM ltv_evaluate('m', 'no_such_table');
SELECT * FROM ltv_evaluate('m', 'DELETE FROM customers');
SELECT * FROM ltv_evaluate('m', 'SELECT a, ltv FROM customers');
SELECT * FROM ltv_evaluate('m', 'SELECT a, b, -1 AS ltv FROM customers');
SELECT * FROM ltv_evaluate('m', 'SELECT a, b, ''x''::text AS ltv FROM customers');
SELECT * FROM ltv_evaluate('m');
SELECT * FROM ltv_evaluate('m', 'customers', 7);
SELECT * FROM ltv_evaluate('nope', 'customers');
SELECT * FROM ltv_decile_stats('m', 'customers', groups => 0);

-- Without a query: customers that the training held out. Rows that were trained on are said to be so, whatever the relation is called by now.
CREATE TABLE known AS SELECT i AS customer_id, i % 17 AS a, CASE WHEN i % 3 = 0 THEN i % 50 ELSE 0 END AS ltv FROM generate_series(1, 300) i;
CREATE TABLE others AS SELECT customer_id + 1000 AS customer_id, a, ltv FROM known;
CREATE TABLE regions AS SELECT a, a % 3 AS region FROM generate_series(0, 16) a;
SET client_min_messages = warning;
CALL ltv_train_now('t', 'known', options => '{"epochs": 2}');
CALL ltv_train_now('q', query => 'SELECT k.*, r.region FROM known k JOIN regions r USING (a)', options => '{"epochs": 2}');
CALL ltv_train_now('s', query => 'SELECT *, CASE WHEN customer_id < 200 THEN ''train'' ELSE ''test'' END AS part FROM known', split_column => 'part', options => '{"epochs": 2, "ensemble": 1}');
SET client_min_messages = notice;
SELECT m, (SELECT e.value FROM ltv_evaluate(m) e WHERE e.metric = 'rows') AS rows, (SELECT (v.metrics ->> 'total_ratio')::float8 = e.value FROM ltv_evaluate(m) e JOIN ltv_versions v ON v.model = m WHERE e.metric = 'total_ratio') AS as_stored FROM unnest('{t,q,s}'::text[]) m;
ALTER TABLE known RENAME TO renamed;
SELECT count(*) > 10 AS judged FROM ltv_evaluate('t', 'renamed');
SELECT count(*) > 10 AS judged FROM ltv_evaluate('t', 'SELECT * FROM renamed WHERE customer_id < 100 UNION ALL SELECT * FROM others');
SELECT count(*) > 10 AS judged FROM ltv_evaluate('t', 'others');
SELECT count(*) > 10 AS judged FROM ltv_evaluate('q', 'SELECT k.*, r.region FROM renamed k JOIN regions r USING (a) WHERE customer_id < 100');
SELECT count(*) > 10 AS judged FROM ltv_evaluate('q', 'SELECT k.*, r.region FROM others k JOIN regions r USING (a)');
SELECT count(*) > 10 AS judged FROM ltv_evaluate('s', 'SELECT *, 0 AS part FROM renamed WHERE customer_id >= 200');
SET client_min_messages = warning;
SELECT ltv_retrain('t', promote => 'if_better') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_retrain('t', promote => 'always') AS job \gset
SELECT ltv_wait(:job);
SET client_min_messages = notice;
SELECT count(*) > 10 AS judged FROM ltv_evaluate('t', 'SELECT * FROM renamed k WHERE ltv.held_out(customer_id::text, 0.2)', 2);
SELECT count(*) > 10 AS judged FROM ltv_evaluate('t', 'renamed', 3);
