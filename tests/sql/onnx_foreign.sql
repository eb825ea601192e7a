-- What converters write: other types of numbers, classifiers, logits; and what is missing in them.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
-- a + 2 b.
SELECT ltv_import_onnx('double', decode(:'double', 'base64'), array['a', 'b']), ltv_import_onnx('whole', decode(:'whole', 'base64'), array['a', 'b']),
       ltv_import_onnx('whole_32', decode(:'whole_32', 'base64'), array['a', 'b']), ltv_import_onnx('truth', decode(:'truth', 'base64'), array['a', 'b']),
       ltv_import_onnx('by_column', decode(:'by_column', 'base64')), ltv_import_onnx('flat', decode(:'flat', 'base64'));
SELECT model, schema FROM ltv.versions WHERE model IN ('double', 'by_column') ORDER BY model;
CREATE TABLE pairs (id int, a float8, b float8);
INSERT INTO pairs VALUES (1, 1, 2), (2, 0, 3), (3, NULL, 2), (4, 1.9, -1.9), (5, 'NaN', 1), (6, 1e30, 0);
SELECT id, m, ltv_predict(m, p) AS by_row FROM pairs p, unnest('{double,whole,whole_32,truth}'::text[]) m ORDER BY m, id;
SELECT id, ltv_predict('double', p) AS double, ltv_predict('whole', p) AS whole, ltv_predict('truth', p) AS truth, ltv_predict('by_column', p) AS by_column, ltv_predict('flat', p) AS flat FROM pairs p ORDER BY id;
SET ltv.enable_batch_scan = off;
SELECT id, ltv_predict('double', p) AS double, ltv_predict('whole', p) AS whole, ltv_predict('truth', p) AS truth, ltv_predict('by_column', p) AS by_column, ltv_predict('flat', p) AS flat FROM pairs p ORDER BY id;
RESET ltv.enable_batch_scan;
-- The best customers are not those of whom nothing is known.
SELECT id FROM pairs p ORDER BY ltv_predict('flat', p) DESC NULLS LAST LIMIT 2;
SELECT (ltv_predict_all('flat', p)).ltv, (ltv_predict_all('flat', p)).version FROM pairs p WHERE id IN (1, 3) ORDER BY id;

-- Classifiers: which output is meant must be said.
SELECT ltv_import_onnx('bad', decode(:'classes', 'base64'), array['a', 'b']);
SELECT ltv_import_onnx('bad', decode(:'zipmap', 'base64'), array['a', 'b']);
SELECT ltv_import_onnx('bad', decode(:'classes', 'base64'), array['a', 'b'], '{"ltv": "probabilities"}');
SELECT ltv_import_onnx('bad', decode(:'three_classes', 'base64'), array['a', 'b'], '{"purchase_probability": "p"}');
SELECT ltv_import_onnx('bad', decode(:'classes', 'base64'), array['a', 'b'], '{}');
SELECT ltv_import_onnx('classes', decode(:'classes', 'base64'), array['a', 'b'], '{"purchase_probability": "probabilities"}'),
       ltv_import_onnx('zipmap', decode(:'zipmap', 'base64'), array['a', 'b'], '{"purchase_probability": "output_probability"}'),
       ltv_import_onnx('label', decode(:'classes', 'base64'), array['a', 'b'], '{"ltv": "label"}');
SELECT schema - 'inputs' FROM ltv.versions WHERE model = 'zipmap';
SELECT round(ltv_predict_proba('classes', array[1, 1])::numeric, 6) AS classes, round(ltv_predict_proba('zipmap', array[1, 1])::numeric, 6) AS zipmap, ltv_predict('label', array[1, 1]) AS label;
SELECT count(*), count(ltv_predict_proba('zipmap', p)) AS known, round(sum(ltv_predict_proba('zipmap', p))::numeric, 4) = round(sum(ltv_predict_proba('classes', p))::numeric, 4) AS same FROM pairs p;
-- The file comes back as it went in.
SELECT position(decode(:'zipmap', 'base64') IN ltv_export_onnx('zipmap')) = 1 AS same;

-- Logits of the probability, mu, and sigma before softplus: all 0 here, so p = 1/2, mu = 0, sigma = ln 2.
SELECT ltv_import_onnx('bad', decode(:'logits', 'base64'), array['a', 'b']);
SELECT ltv_import_onnx('bad', decode(:'classes', 'base64'), array['a', 'b'], '{"ziln": "probabilities"}');
SELECT ltv_import_onnx('ziln', decode(:'logits', 'base64'), array['a', 'b'], '{"ziln": "dense"}');
SELECT round(p.ltv::numeric, 5) AS ltv, round((0.5 * exp(ln(2.0) ^ 2 / 2))::numeric, 5) AS expected, p.purchase_probability, p.p10, round(p.p90::numeric, 4) AS p90 FROM ltv_predict_all('ziln', array[0, 0]) p;

-- JSON in every type, versions in every type.
SELECT ltv_predict('double', json_build_object('a', 1, 'b', 2)), ltv_predict('double', '{"a": 1, "b": 2}'), ltv_predict('double', '[1, 2]'), ltv_predict('double', 1, '{"a": 1, "b": 2}');
SELECT ltv_predict('double', 1::bigint, array[1, 2]), ltv_predict('double', 1::smallint, array[1, 2]), ltv_predict('double', v, p) FROM pairs p, (VALUES (1::bigint)) x(v) WHERE id = 1;
PREPARE untyped AS SELECT ltv_predict('double', $1);
EXECUTE untyped('{"a": 3, "b": 4}');
SET ltv.default_model = 'double';
SELECT ltv_predict('{"a": 1, "b": 1}'), ltv_predict('{"a": 1, "b": 1}'::json);
SELECT round(ltv_predict_quantile('ziln', '{"a": 0, "b": 0}', 0.9)::numeric, 4), (ltv_predict_all('ziln', 1, '{"a": 0, "b": 0}'::json)).purchase_probability, ltv_predict_proba('ziln', '{"a": 0, "b": 0}');
EXPLAIN (COSTS OFF) SELECT ltv_predict('double', j) FROM (SELECT to_json(p) AS j FROM pairs p OFFSET 0) x;
SELECT ltv_predict('double', 4294967297, array[1, 2]);
SELECT ltv_predict('double', 2147483647, array[1, 2]);
SELECT ltv_predict('double', 'no json');
SELECT ltv_predict('double', '{1,2}');
