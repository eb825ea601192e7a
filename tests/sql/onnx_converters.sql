-- Models of other libraries, exported by their own converters as docs/foreign_models.md shows, beside what each library predicts itself.
\set ECHO none
CREATE TABLE probes (id int, recency int, frequency int, monetary numeric);
CREATE TABLE converted (model text, id int, expected float8);
\i tests/onnx/converters.sql
\set ECHO all
\set SHOW_CONTEXT never
\set names 'ARRAY[''recency'', ''frequency'', ''monetary'']'
SELECT ltv_import_onnx('sklearn_regressor', decode(:'sklearn_regressor', 'base64'), :names), ltv_import_onnx('sklearn_by_column', decode(:'sklearn_by_column', 'base64')),
       ltv_import_onnx('lightgbm_regressor', decode(:'lightgbm_regressor', 'base64'), :names), ltv_import_onnx('xgboost_regressor', decode(:'xgboost_regressor', 'base64'), :names),
       ltv_import_onnx('catboost_regressor', decode(:'catboost_regressor', 'base64'), :names), ltv_import_onnx('torch', decode(:'torch', 'base64'), :names),
       ltv_import_onnx('torch_older', decode(:'torch_older', 'base64'), :names), ltv_import_onnx('keras_tensorflow', decode(:'keras_tensorflow', 'base64'), :names),
       ltv_import_onnx('keras_torch', decode(:'keras_torch', 'base64'), :names);
SELECT ltv_import_onnx('sklearn_classifier', decode(:'sklearn_classifier', 'base64'), :names, '{"purchase_probability": "output_probability"}'),
       ltv_import_onnx('lightgbm_classifier', decode(:'lightgbm_classifier', 'base64'), :names, '{"purchase_probability": "probabilities"}'),
       ltv_import_onnx('xgboost_classifier', decode(:'xgboost_classifier', 'base64'), :names, '{"purchase_probability": "probabilities"}'),
       ltv_import_onnx('catboost_classifier', decode(:'catboost_classifier', 'base64'), :names, '{"purchase_probability": "probabilities"}');
-- In batches, one by one, and by column name in another order. A single float holds seven digits.
SELECT c.model, count(*) AS rows, max(abs(s.batch / c.expected - 1)) < 1e-5 AS as_the_library_has_it, count(*) FILTER (WHERE s.one IS DISTINCT FROM s.batch) AS differ
FROM converted c JOIN (
    SELECT m.model, p.id, CASE WHEN m.model LIKE '%classifier' THEN ltv_predict_proba(m.model, p) ELSE ltv_predict(m.model, p) END AS batch,
           CASE WHEN m.model LIKE '%classifier' THEN ltv_predict_proba(m.model, jsonb_build_object('monetary', p.monetary, 'recency', p.recency, 'frequency', p.frequency))
                ELSE ltv_predict(m.model, jsonb_build_object('monetary', p.monetary, 'recency', p.recency, 'frequency', p.frequency)) END AS one
    FROM probes p, (SELECT DISTINCT model FROM converted) m) s USING (model, id)
GROUP BY 1 ORDER BY 1;
-- Trees know missing values, or say that they do not; never a best-ranked customer.
SELECT model, ltv_predict(model, '{"recency": 1, "frequency": null, "monetary": 2}'::jsonb) IS NULL AS is_null FROM ltv_models WHERE model !~ 'classifier' ORDER BY 1;
-- What goes wrong with the exporters' other ways.
SELECT ltv_import_onnx('bad', decode(:'torch_in_two_files', 'base64'), :names);
SELECT ltv_import_onnx('bad', decode(:'torch_one_row', 'base64'), :names);
SELECT ltv_import_onnx('bad', decode(:'lightgbm_classifier', 'base64'), :names);
SELECT ltv_import_onnx('bad', decode(:'sklearn_classifier', 'base64'), :names, '{"ltv": "probabilities"}');
