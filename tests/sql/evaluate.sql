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
SELECT metric FROM ltv_evaluate('z', 'SELECT a AS z, b AS m, ltv FROM customers') WHERE metric IN ('log_loss', 'interval_coverage');
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
