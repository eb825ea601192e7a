-- Explanations against closed forms: Shapley values of a sum are the differences, of a product of two half of what
-- each moves with the other here and there.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SELECT ltv_import_onnx('sum', decode(:'linear', 'base64'), array['a', 'b']), ltv_import_onnx('product', decode(:'product', 'base64')),
       ltv_import_onnx('vector', decode(:'linear', 'base64'));
CREATE TABLE shop (customer_id text, a float8, b float8, c float8, ltv float8);
INSERT INTO shop SELECT 'c' || i, i % 7, i % 5, i % 3, (i % 7) * (i % 5) + 10 * (i % 3) FROM generate_series(1, 210) i;

-- One customer to compare with: a (b + 3) / 2 of it for the product's factors, 10 times the difference for c.
SELECT customer_id, ltv, baseline, rank, feature, value, contribution
FROM ltv_explain_predict('product', 'SELECT ''x'' AS customer_id, 5 AS a, 7 AS b, 2 AS c', background => 'SELECT 2 AS a, 3 AS b, 1 AS c', samples => 2);
SELECT feature, contribution FROM ltv_explain_predict('product', 'SELECT 5 AS a, 7 AS b, 2 AS c', background => 'SELECT 2 AS a, 3 AS b, 1 AS c', id_column => NULL, top_k => 2);
-- Many customers at once, all of the background: each contribution is its mean over the background.
SELECT count(*) AS cells, max(abs(e.contribution - CASE e.feature
        WHEN 'a' THEN (s.a * (s.b + m.b) - m.ab - m.a * s.b) / 2 WHEN 'b' THEN (s.b * (s.a + m.a) - m.ab - m.b * s.a) / 2 ELSE 10 * (s.c - m.c) END)) < 1e-4 AS exact
FROM ltv_explain_predict('product', 'shop', background => 'shop', samples => 420) e JOIN shop s USING (customer_id),
     (SELECT avg(a) AS a, avg(b) AS b, avg(c) AS c, avg(a * b) AS ab FROM shop) m;
-- What a feature adds, all added up, is the prediction.
SELECT max(abs(e.total + e.baseline - ltv_predict('sum', s))) < 1e-4 AS adds_up
FROM (SELECT customer_id, baseline, sum(contribution) AS total FROM ltv_explain_predict('sum', 'shop', background => 'shop', samples => 3) GROUP BY 1, 2) e JOIN shop s USING (customer_id);
-- Places of a vector.
SELECT * FROM ltv_explain_predict('vector', 'SELECT 1 AS customer_id, ARRAY[1, 20]::real[] AS x', background => 'SELECT ARRAY[0, 5]::real[] AS x');

SELECT * FROM ltv_explain_predict('product', 'shop');
SELECT * FROM ltv_explain_predict('product', 'SELECT customer_id, a FROM shop', background => 'shop');
SELECT * FROM ltv_explain_predict('product', 'shop', background => 'SELECT a FROM shop');
SELECT * FROM ltv_explain_predict('product', 'shop', background => 'shop', samples => 0);
SELECT * FROM ltv_explain_predict('product', 'shop', background => 'shop', top_k => 0);
SELECT * FROM ltv_explain_predict('product', 'SELECT a, b, c FROM shop', background => 'shop');
SELECT * FROM ltv_explain_predict('product', 'shop', background => 'SELECT a, b, c FROM shop WHERE false');

-- Swapping what decides nothing changes nothing; what decides all costs most.
SELECT feature, importance > 0 AS matters, importance = 0 AS idle, baseline = 1 AS perfect FROM ltv_feature_importance('product', 'SELECT *, 0 AS idle FROM shop');
SELECT feature, importance > 0 AS matters FROM ltv_feature_importance('product', 'SELECT customer_id, a, b, 1 AS c, a * b + 10 AS ltv FROM shop', metric => 'rmse', repeats => 2);
-- The error that swapping makes, in closed form: with c alone free, 10 (c - c'), variance 2 * 100 * var(c).
SELECT round(importance::numeric, 0) AS rmse, round(sqrt(200 * 2 / 3.0)) AS expected
FROM ltv_feature_importance('product', 'shop', metric => 'rmse', repeats => 50) WHERE feature = 'c';
SELECT * FROM ltv_feature_importance('product', 'shop', metric => 'charm');
SELECT * FROM ltv_feature_importance('product', 'SELECT a, b FROM shop');
SELECT * FROM ltv_feature_importance('product');
SELECT * FROM ltv_feature_importance('product', 'shop', repeats => 0);
