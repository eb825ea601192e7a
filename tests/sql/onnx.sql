-- Graphs made elsewhere: import, scoring, export, and what is refused.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never

-- One float input: its columns may be named.
SELECT ltv_import_onnx('linear', decode(:'linear', 'base64'), features => array['a', 'b']);
SELECT schema FROM ltv.versions WHERE model = 'linear';
SELECT ltv_predict('linear', array[1, 2]), ltv_predict('linear', t), ltv_predict('linear', '{"b": 2, "a": 1}'::jsonb)
FROM (SELECT 2 AS b, 1 AS a) t;
-- Not named: an array by position, or a column that holds the array.
SELECT ltv_import_onnx('unnamed', decode(:'linear', 'base64'));
SELECT ltv_predict('unnamed', array[1, 2]), ltv_predict('unnamed', t) FROM (SELECT array[3, 4] AS x) t;
SELECT ltv_import_onnx('wide', decode(:'wide', 'base64'), array['a', 'b', 'c']);
SELECT ltv_predict('wide', array[1, 2, 4]);
-- Further versions do not replace the champion unless asked.
SELECT ltv_import_onnx('linear', decode(:'steeper', 'base64'), array['a', 'b']);
SELECT ltv_predict('linear', array[1, 2]), ltv_predict('linear', 2, array[1, 2]);
SELECT ltv_import_onnx('linear', decode(:'steeper', 'base64'), array['a', 'b'], promote => true);
SELECT ltv_predict('linear', array[1, 2]);
-- Several inputs, of every kind, by their names in the graph; outputs by name.
SELECT ltv_import_onnx('kinds', decode(:'kinds', 'base64'));
SELECT ltv_import_onnx('ziln', decode(:'ziln', 'base64'));
SELECT version, schema FROM ltv.versions WHERE model IN ('kinds', 'ziln') ORDER BY model;
SELECT ltv_import_onnx('label', decode(:'label', 'base64'), outputs => '{"ltv": "y"}');
SELECT ltv_predict('label', array[7, 9]);

-- The very bytes come back, with the metadata behind them; they may come in again.
SELECT position(decode(:'linear', 'base64') IN ltv_export_onnx('linear', 1)) AS first, position(decode(:'steeper', 'base64') IN ltv_export_onnx('linear')) AS champion;
SELECT ltv_import_onnx('copy', ltv_export_onnx('ziln'));
SELECT ltv_predict('copy', array[0, 1]) = ltv_predict('ziln', array[0, 1]) AS same;

-- Refused.
SELECT ltv_import_onnx('bad', 'this is not a graph');
SELECT ltv_import_onnx('bad', '');
SELECT ltv_import_onnx('bad', NULL);
SELECT ltv_import_onnx('bad', substr(decode(:'kinds', 'base64'), 1, 300));
SELECT ltv_import_onnx('bad', decode(:'external', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'external_constant', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'int_input', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'int_input', 'base64'), array['a', 'b']);
SELECT ltv_import_onnx('bad', decode(:'fixed_batch', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'two_columns', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'one_total', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'mixed', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'wide', 'base64'));
SELECT ltv_import_onnx('bad', decode(:'linear', 'base64'), array['a']);
SELECT ltv_import_onnx('bad', decode(:'linear', 'base64'), array['a', 'a']);
SELECT ltv_import_onnx('bad', decode(:'linear', 'base64'), array['a', NULL]);
SELECT ltv_import_onnx('bad', decode(:'kinds', 'base64'), array['a']);
SELECT ltv_import_onnx('bad', decode(:'linear', 'base64'), outputs => '{"ltv": "nope"}');
SELECT ltv_import_onnx('bad', decode(:'linear', 'base64'), outputs => '{"value": "variable"}');
SELECT ltv_import_onnx('bad', decode(:'linear', 'base64'), outputs => '[1]');
SELECT ltv_import_onnx('bad', decode(:'label', 'base64'));
SELECT ltv_import_onnx('', decode(:'linear', 'base64'));
SELECT ltv_export_onnx('nope');
SELECT ltv_export_onnx('linear', 99);
-- What ONNX Runtime says about unknown operators differs by version; the code does not.
CREATE FUNCTION import_state(graph text, OUT state text, OUT message text, OUT names_operator boolean) LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM ltv_import_onnx('bad', decode(graph, 'base64'));
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    names_operator := detail LIKE '%NoSuchOp%';
END
$$;
SELECT * FROM import_state(:'unknown_operator');
-- Nothing is left of them.
SELECT count(*) FROM ltv.models WHERE model = 'bad';
-- A graph that got into the catalog past the import is looked at again when it is loaded.
INSERT INTO ltv.models (model, last_version) VALUES ('smuggled', 1);
INSERT INTO ltv.versions (model, version, onnx, checksum, schema)
SELECT 'smuggled', 1, o, encode(sha256(o), 'hex'), '{"inputs": [{"name": "x", "kind": "vector", "len": 2}], "outputs": ["ltv"], "graph_outputs": {"ltv": "variable"}}'
FROM decode(:'external', 'base64') o;
SELECT ltv_predict('smuggled', 1, array[1, 2]);
