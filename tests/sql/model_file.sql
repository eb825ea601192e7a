-- A version as one file: everything that reads a version reads the same of the copy, and a file that is not what it was is refused.
-- database: demo
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE TABLE shop AS SELECT 'c' || n AS customer_id, n * 7919 % 101 AS recency, n % 5 AS frequency, n * 7919 % 101 + n % 90 AS t, CASE WHEN n % 17 = 0 THEN NULL ELSE (n * 31 % 97)::numeric END AS monetary,
    (ARRAY['DE', 'FR', 'it''s', 'Größe', '', NULL])[1 + n % 6] AS country, date '2024-01-01' + n % 300 AS first_order, CASE WHEN n % 3 = 0 THEN n % 7 ELSE 0 END AS ltv_30,
    CASE WHEN n % 3 = 0 THEN n % 7 + n % 50 ELSE 0 END AS ltv_90, CASE WHEN n % 3 = 0 THEN n % 7 + n % 50 + n % 30 ELSE 0 END::float8 AS ltv FROM generate_series(1, 900) n;
CALL ltv_train_now('shop', 'shop', options => '{"epochs": 3, "ensemble": 2, "horizon": 180, "whale_quantile": 0.9, "seed": 1}');
CALL ltv_train_now('several', 'shop', objective => 'mse', options => '{"epochs": 2, "ensemble": 1, "horizon": 180, "seed": 1}');
CALL ltv_train_now('trees', 'SELECT * FROM shop WHERE recency >= 0', backbone => 'trees', options => '{"rounds": 10, "seed": 1}');
CALL ltv_train_now('law', 'cdnow_features', objective => 'bgnbd');
SELECT ltv_import_onnx('linear', ltv_export_onnx('shop')) AS foreign_one, ltv_quantize('cdnow', query => 'cdnow_features') AS quantized;
SELECT ltv_set_alias('cdnow', 2) AS was;

-- From one model into another, as a client would by way of a file.
CREATE TABLE files AS SELECT m AS model, ltv_export_model(m) AS file FROM unnest('{cdnow,shop,several,trees,law,linear}'::text[]) m;
SELECT model, substr(file, 1, 8) AS magic, ltv_import_model(file, model || ' copy') AS version FROM files ORDER BY model;
SELECT m.model, v.source, v.objective, v.backbone, v.aliases, v.schema = w.schema AS schema, v.metrics = w.metrics AS metrics, v.checksum = w.checksum AS graph, v.n_rows = w.n_rows AS rows, v.created_at = w.created_at AS made,
    v.recipe -> 'origin' AS origin, v.recipe ?| '{query,relation,search_path,reads,relation_followed,base,features}' AS has_sql
FROM files m JOIN ltv_versions v ON v.model = m.model || ' copy' JOIN ltv_versions w ON w.model = m.model AND 'champion' = ANY (w.aliases) ORDER BY 1;

-- The same scores, bit for bit.
SELECT 'cdnow' AS model, count(*), bool_and(ltv_predict('cdnow', f) = ltv_predict('cdnow copy', f)) AS ltv
FROM cdnow_features f;
SELECT x.model, count(*), bool_and(x.a IS NOT DISTINCT FROM x.b) AS same, count(x.a) AS predicted FROM (
    SELECT m.model, to_jsonb(ltv_predict_all(m.model, s)) - 'version' AS a, to_jsonb(ltv_predict_all(m.model || ' copy', s)) - 'version' AS b FROM shop s, unnest('{shop,several,trees}'::text[]) m(model)
    UNION ALL SELECT 'linear', to_jsonb(ltv_predict_all('linear', s)) - 'version', to_jsonb(ltv_predict_all('linear copy', s)) - 'version' FROM (SELECT recency, frequency, t, monetary, country, first_order - date '1970-01-01' AS first_order FROM shop) s
    UNION ALL SELECT 'law', to_jsonb(ltv_predict_all('law', f)) - 'version', to_jsonb(ltv_predict_all('law copy', f)) - 'version' FROM cdnow_features f
    UNION ALL SELECT 'interval', to_jsonb(ltv_predict_interval('shop', s, 0.8)), to_jsonb(ltv_predict_interval('shop copy', s, 0.8)) FROM shop s
    UNION ALL SELECT 'quantile', to_jsonb(ltv_predict_quantile('shop', s, 0.7)), to_jsonb(ltv_predict_quantile('shop copy', s, 0.7)) FROM shop s
    UNION ALL SELECT 'horizon', to_jsonb(ltv_predict_horizon('several', s, 45)), to_jsonb(ltv_predict_horizon('several copy', s, 45)) FROM shop s
    UNION ALL SELECT 'curve', to_jsonb(ltv_predict_curve('several', s)), to_jsonb(ltv_predict_curve('several copy', s)) FROM shop s
    UNION ALL SELECT 'state', to_jsonb(ltv_predict_state('cdnow', f)), to_jsonb(ltv_predict_state('cdnow copy', f)) FROM cdnow_features f
    UNION ALL SELECT 'churn', to_jsonb(ltv_predict_churn('cdnow', f, 30)), to_jsonb(ltv_predict_churn('cdnow copy', f, 30)) FROM cdnow_features f) x GROUP BY 1 ORDER BY 1;

-- And the same of everything that is read of a version.
SELECT c.what, c.a = c.b AS same, length(c.a) > 40 AS something FROM files f, LATERAL (VALUES
    ('card', (ltv_model_card(f.model) - '{model,version,aliases,created_by}'::text[])::text, (ltv_model_card(f.model || ' copy') - '{model,version,aliases,created_by}'::text[])::text),
    ('features', (SELECT jsonb_agg(i)::text FROM ltv_feature_info(f.model) i), (SELECT jsonb_agg(i)::text FROM ltv_feature_info(f.model || ' copy') i)),
    ('epochs', COALESCE((SELECT jsonb_agg(i)::text FROM ltv_training_info(f.model) i), repeat('-', 50)), COALESCE((SELECT jsonb_agg(i)::text FROM ltv_training_info(f.model || ' copy') i), repeat('-', 50)))) c(what, a, b)
WHERE c.a IS DISTINCT FROM c.b OR length(c.a) <= 40;
SELECT (SELECT jsonb_agg(e) FROM ltv_evaluate('shop', 'shop') e) = (SELECT jsonb_agg(e) FROM ltv_evaluate('shop copy', 'shop') e) AS evaluated,
    (SELECT jsonb_agg(e) FROM ltv_evaluate('shop') e) = (SELECT jsonb_agg(e) FROM ltv_evaluate('shop copy') e) AS held_out,
    (SELECT jsonb_agg(h) FROM ltv_horizons('several') h) = (SELECT jsonb_agg(h) FROM ltv_horizons('several copy') h) AS horizons,
    (SELECT jsonb_agg(d) FROM ltv_validate_data_skew('shop', 'SELECT * FROM shop WHERE recency > 40') d) = (SELECT jsonb_agg(d) FROM ltv_validate_data_skew('shop copy', 'SELECT * FROM shop WHERE recency > 40') d) AS drift,
    (SELECT jsonb_agg(x) FROM ltv_explain_predict('shop', 'SELECT * FROM shop WHERE customer_id < ''c102''', background => 'shop') x) = (SELECT jsonb_agg(x) FROM ltv_explain_predict('shop copy', 'SELECT * FROM shop WHERE customer_id < ''c102''', background => 'shop') x) AS explained,
    (SELECT jsonb_agg(g) FROM ltv_feature_importance('trees', metric => 'gain') g) = (SELECT jsonb_agg(g) FROM ltv_feature_importance('trees copy', metric => 'gain') g) AS gains,
    (SELECT jsonb_agg(s) FROM ltv_segment_summary('shop', 'shop') s) = (SELECT jsonb_agg(s) FROM ltv_segment_summary('shop copy', 'shop') s) AS segments,
    length(ltv_report('shop copy', 'shop')) > 1000 AS report, length(ltv_training_report('shop copy')) > 1000 AS training;

-- A file is the version's: that of the copy is that of the original. The same again is what is there already.
SELECT bool_and(ltv_export_model(model || ' copy') = file) AS same_file, bool_and(ltv_import_model(file, model || ' copy') = 1) AS known, bool_and(ltv_import_model(file) = CASE model WHEN 'cdnow' THEN 2 ELSE 1 END) AS at_home FROM files;
SELECT count(*) FROM ltv_versions WHERE model LIKE '% copy';
SELECT ltv_import_model(ltv_export_model('cdnow', 1), 'cdnow copy') AS another, ltv_import_model(ltv_export_model('cdnow', 1), 'cdnow copy', promote => true) AS promoted;
SELECT aliases FROM ltv_versions WHERE model = 'cdnow copy' ORDER BY version;

-- What is not in the file is asked for.
SELECT ltv_retrain('shop copy');
SELECT count(*) FROM ltv_feature_importance('shop copy');

-- Files that are none.
CREATE FUNCTION number(n bigint, bytes int) RETURNS bytea LANGUAGE sql AS $$ SELECT string_agg(decode(lpad(to_hex((n >> (8 * i)) & 255), 2, '0'), 'hex'), '' ORDER BY i) FROM generate_series(0, bytes - 1) i $$;
CREATE FUNCTION signed(document text, graph bytea, format int DEFAULT 1) RETURNS bytea LANGUAGE sql AS $$
    SELECT h || sha256(h || convert_to(document, 'UTF8') || graph) || convert_to(document, 'UTF8') || graph
    FROM (SELECT '\x70675f6c74760d0a'::bytea || number(format, 4) || number(octet_length(convert_to(document, 'UTF8')), 8) || number(octet_length(graph), 8) AS h) x $$;
CREATE FUNCTION import_state(file bytea, OUT state text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ltv_import_model(file, 'bad');
    RAISE SQLSTATE '00001';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    detail := regexp_replace(detail, '\d{4,}', '...', 'g');  -- lengths depend on the last digits of what was learned
END
$$;
CREATE TABLE parts AS SELECT convert_from(substr(file, 61, octet_length(file) - 60 - octet_length(v.onnx)), 'UTF8')::jsonb AS document, v.onnx AS graph, file FROM files JOIN ltv.versions v ON v.model = 'shop' WHERE files.model = 'shop';
SELECT signed(document::text, graph) = file AS as_written FROM parts;
SELECT b.what, s.* FROM parts, LATERAL (VALUES (1, 'nothing', NULL::bytea), (2, 'empty', ''::bytea), (3, 'text', 'pg_ltv'::bytea), (4, 'an ONNX graph', graph), (5, 'a header', substr(file, 1, 60)), (6, 'cut', substr(file, 1, octet_length(file) - 1)), (7, 'longer', file || '\x00'::bytea),
    (8, 'another bit', set_bit(file, 4000, 1 - get_bit(file, 4000))), (9, 'line ends', decode(replace(encode(file, 'hex'), '0d0a', '0a'), 'hex')), (10, 'newer', signed(document::text, graph, 2)), (11, 'huge lengths', overlay(file PLACING '\xffffffffffffff7f' FROM 13)),
    (12, 'no JSON', signed('nonsense', graph)), (13, 'no object', signed('[]', graph)), (16, 'a list of parts', signed((SELECT jsonb_agg(value) FROM jsonb_each(document))::text, graph)), (14, 'deep', signed(repeat('[', 100000), graph)), (15, 'no graph', signed(document::text, ''))) b(i, what, file), LATERAL import_state(b.file) s ORDER BY i;

-- Documents that are well signed and wrong.
SELECT b.what, s.* FROM parts, LATERAL (VALUES
    (1, 'SQL in the recipe', jsonb_set(document, '{recipe,query}', '"SELECT 1"')), (2, 'a relation', jsonb_set(document, '{recipe,relation}', '"pg_class"')), (3, 'another part', document || '{"more": 1}'), (4, 'a part less', document - 'schema'),
    (5, 'an option', jsonb_set(document, '{recipe,options,epochs}', '"many"')), (6, 'another model''s input', jsonb_set(document, '{schema,inputs,0,name}', '"other"')), (7, 'a text for a number', jsonb_set(document, '{schema,inputs,0,kind}', '"categorical"')),
    (8, 'an output', jsonb_set(document, '{schema,outputs,0}', '"gain"')), (9, 'a horizon', jsonb_set(document, '{schema,horizons}', '[30, 180]')), (10, 'more of the schema', jsonb_set(document, '{schema,more}', '1')), (11, 'a wide vector', jsonb_set(document, '{schema,inputs,0}', '{"name": "recency", "kind": "vector", "len": 1000000000000}')),
    (12, 'a metric', jsonb_set(document, '{metrics,auc}', '"high"')), (13, 'an epoch', jsonb_set(document, '{history,epochs,0,epoch}', '1e300')), (14, 'the name of nothing', document || '{"model": ""}'), (15, 'quantiles', jsonb_set(document, '{statistics,target,payer_quantiles}', '[1]')),
    (16, 'a share', jsonb_set(document, '{statistics,features,0,missing}', '7')), (17, 'edges', jsonb_set(document, '{statistics,features,0,histogram,edges}', '["a"]')), (18, 'a date', document || '{"created_at": "now"}'), (19, 'a large number', jsonb_set(document, '{statistics,features,0,mean}', '1e400')),
    (20, 'a state', jsonb_set(document, '{schema,state,features,t}', '"country"')), (21, 'as if imported', document || '{"source": "imported"}'), (24, 'a list for an object', jsonb_set(document, '{statistics,spread}', '[[1], [1, 2], 0.1, 0.2]')), (22, 'an objective', document || '{"objective": "oracle"}'), (23, 'intervals', jsonb_set(document, '{schema,intervals}', '{"tiers": [1, 2], "moves": [[0]]}')))
    b(i, what, document), LATERAL import_state(signed(b.document::text, graph)) s ORDER BY i;
SELECT count(*) AS stored FROM ltv_models WHERE model = 'bad';
SELECT ltv_import_model(file, '') FROM files LIMIT 1;
SELECT ltv_export_model('shop', 9);
SELECT ltv_export_model('no');

-- Rights: read to export, to own the model to import.
CREATE ROLE model_file_reader;
SET ROLE model_file_reader;
SELECT ltv_export_model('shop');
RESET ROLE;
SELECT ltv_grant('shop', 'model_file_reader', 'predict');
SET ROLE model_file_reader;
SELECT ltv_export_model('shop');
RESET ROLE;
SELECT ltv_grant('shop', 'model_file_reader', 'read');
GRANT SELECT ON files TO model_file_reader;
SET ROLE model_file_reader;
SELECT ltv_export_model('shop') = file AS exported FROM files WHERE model = 'shop';
SELECT ltv_import_model(file) FROM files WHERE model = 'shop';
SELECT ltv_import_model(file, 'his own') AS version FROM files WHERE model = 'shop';
SELECT owner FROM ltv_models WHERE model = 'his own';
RESET ROLE;
SELECT ltv_drop_model('his own');
SELECT ltv_revoke('shop', 'model_file_reader', 'read'), ltv_revoke('shop', 'model_file_reader', 'predict');
REVOKE ALL ON files FROM model_file_reader;
DROP ROLE model_file_reader;
