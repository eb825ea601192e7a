-- Calls as clients send them: versions as bigint or smallint, parameters whose type the server chooses, numbers of other types, rows that are not there.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE t AS SELECT i AS customer_id, i % 17 AS a, i % 5 AS b, CASE WHEN i % 3 = 0 THEN i % 50 ELSE 0 END AS ltv FROM generate_series(1, 500) i;
CREATE TABLE orders AS SELECT i % 100 AS customer_id, date '2023-01-01' + i * 7919 % 700 AS d, (i * 37 % 90 + 1)::numeric AS amount FROM generate_series(1, 2000) i;
CALL ltv_train_now('m', 't', options => '{"epochs": 2, "ensemble": 1}');

-- A version as bigint, what a Java Long is, in every function that takes one, and as smallint.
SELECT round(ltv_predict('m', 1::bigint, t)::numeric) = round(ltv_predict('m', 1::smallint, t)::numeric) AS same FROM t LIMIT 1;
SELECT ltv_set_alias('m', 1::bigint, 'blue'), ltv_drop_alias('m', 'blue');
SELECT (SELECT count(*) > 10 FROM ltv_evaluate('m', 't', 1::bigint)) AS evaluate, (SELECT count(*) FROM ltv_decile_stats('m', 't', version => 1::bigint)) AS deciles,
       (SELECT count(*) FROM ltv_training_info('m', 1::bigint)) AS epochs, (SELECT count(*) FROM ltv_feature_info('m', 1::bigint)) AS features, length(ltv_export_onnx('m', 1::bigint)) > 0 AS onnx,
       (SELECT count(*) FROM ltv_segment('m', 't', version => 1::bigint)) AS segment, (SELECT count(*) FROM ltv_segment_summary('m', 't', version => 1::bigint)) AS tiers, length(ltv_report('m', 't', 1::bigint)) > 0 AS report,
       (SELECT count(*) FROM ltv_explain_predict('m', 'SELECT * FROM t LIMIT 1', version => 1::bigint, samples => 2)) AS explained, (SELECT count(*) FROM ltv_feature_importance('m', 't', 1::bigint, repeats => 1)) AS importance,
       (SELECT count(*) FROM ltv_validate_data_skew('m', 't', 1::bigint)) AS skew, (SELECT count(*) FROM ltv_validate_data_drift('m', 't', 't', 1::bigint)) AS drift, ltv_monitor('m', 't', 1::bigint) AS alerts,
       (SELECT count(*) FROM ltv_comparison('m', 1::bigint)) AS compared;
SELECT ltv_quantize('m', 1::bigint, 't') AS quantized, ltv_retrain('m', promote => 'never', version => 1::bigint) > 0 AS retrained;
SELECT ltv_wait('m');
SELECT ltv_drop_alias('m', 'challenger'), ltv_drop_version('m', 3::bigint);
SELECT ltv_drop_version('m', 4294967297);
SELECT ltv_set_alias('m', 4294967297);

-- Parameters without a type, by each function that scores.
PREPARE p1 AS SELECT ltv_predict('m', $1) > 0 AS p;
EXECUTE p1('{"a": 1, "b": 2}');
PREPARE p2 AS SELECT ltv_predict($1, $2) > 0 AS p;
EXECUTE p2('m', '{"a": 1, "b": 2}');
PREPARE p3 AS SELECT ltv_predict($1, $2, $3) > 0 AS p;
EXECUTE p3('m', 1, '{"a": 1, "b": 2}');
PREPARE p4 AS SELECT ltv_predict_proba($1, $2) > 0 AS p;
EXECUTE p4('m', '{"a": 1, "b": 2}');
PREPARE p5 AS SELECT ltv_predict_quantile($1, $2, $3) >= 0 AS p;
EXECUTE p5('m', '{"a": 1, "b": 2}', 0.9);
PREPARE p6 AS SELECT (ltv_predict_all($1, $2)).version;
EXECUTE p6('m', '{"a": 1, "b": 2}');
PREPARE p7 AS SELECT count(*) > 10 AS metrics FROM ltv_evaluate($1, $2, version => $3);
EXECUTE p7('m', 't', 1);
-- And as strings, which is how simple protocols and spreadsheets send everything.
SELECT ltv_predict('m', '1', '{"a": "1", "b": "2"}') > 0 AS p, ltv_set_alias('m', '1');
PREPARE p8(varchar, varchar) AS SELECT ltv_predict($1, $2) > 0 AS p;
EXECUTE p8('m', '{"a": 1, "b": 2}');
SELECT ltv_predict('m'::varchar, '{"a": 1, "b": null}'::varchar) > 0 AS p, ltv_predict('m'::name::text, json_build_object('a', 1, 'b', 2)) > 0 AS q;

-- Horizons and windows as numbers of any type, as text, and as typeless parameters.
SELECT ltv_create_features('h_1', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::numeric);
SELECT ltv_create_features('h_2', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::float8);
SELECT ltv_create_features('h_3', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::real);
SELECT ltv_create_features('h_4', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::bigint);
SELECT ltv_create_features('h_5', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::smallint);
SELECT ltv_create_features('h_6', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => '90'::varchar);
SELECT ltv_create_features('h_7', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => interval '90 days');
PREPARE h8 AS SELECT ltv_create_features('h_8', 'orders', date_column => 'd', value_column => 'amount', as_of => $1, horizon => $2, windows => $3);
EXECUTE h8('2023-12-31', '90', '{7,30,90}');
SELECT ltv_create_features('h_9', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, windows => '{7,30,90}'::smallint[]),
       ltv_create_features('h_10', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, windows => '{7,30,90}'::numeric[]);
SELECT count(*) AS rows, count(DISTINCT f) AS kinds FROM (TABLE h_1 UNION ALL TABLE h_2 UNION ALL TABLE h_3 UNION ALL TABLE h_4 UNION ALL TABLE h_5 UNION ALL TABLE h_6 UNION ALL TABLE h_7 UNION ALL TABLE h_8 UNION ALL TABLE h_9 UNION ALL TABLE h_10) f;
SELECT ltv_create_features('h_11', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, windows => '{7.5}'::numeric[]);
SELECT ltv_create_features('h_11', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 'NaN'::float8);

-- Rows that are not there, in every function; a row of which nothing is known is a customer all the same.
CREATE TABLE people AS SELECT i AS customer_id FROM generate_series(251, 750) i;
SELECT count(*) AS people, count(ltv_predict('m', t)) AS predicted, count(ltv_predict('m', 1, t)) AS pinned, count(ltv_predict_proba('m', t)) AS proba, count(ltv_predict_quantile('m', t, 0.5)) AS median,
       count((ltv_predict_all('m', t)).ltv) AS of_all, count(ltv_predict('m', to_jsonb(t))) AS json FROM people LEFT JOIN t USING (customer_id);
SELECT count(*) AS people, count(ltv_predict('m', x)) AS predicted FROM people LEFT JOIN LATERAL (SELECT a, b FROM t WHERE t.customer_id = people.customer_id) x ON true;
SELECT ltv_predict('m', NULL::jsonb) IS NULL AS jsonb, ltv_predict('m', NULL::json) IS NULL AS json, ltv_predict('m', NULL::text) IS NULL AS text, ltv_predict('m', 'null'::jsonb) IS NULL AS json_null,
       ltv_predict('m', NULL::real[]) IS NULL AS array, ltv_predict('m', '{"a": null, "b": null}'::jsonb) > 0 AS nothing_known, ltv_predict('m', ARRAY[NULL, NULL]::real[]) > 0 AS array_of_nothing;

-- Targets that are true or false, of a domain over that, or small numbers.
CREATE DOMAIN yes_no AS boolean;
CREATE TABLE targets AS SELECT customer_id, a, b, ltv, ltv > 0 AS bought, (ltv > 0)::yes_no AS answered, ltv::smallint AS small FROM t;
CREATE FUNCTION learn(target text, objective text) RETURNS bigint LANGUAGE sql AS $$
    SELECT ltv_train('of_' || target, 'targets', target => target, objective => objective, features => '{a,b}', options => '{"epochs": 2, "ensemble": 1}') $$;
SELECT target, learn(target, CASE WHEN target IN ('bought', 'answered') THEN 'purchase' END) > 0 AS queued FROM unnest('{bought,answered,small}'::text[]) target;
SELECT ltv_wait('of_' || target) FROM unnest('{bought,answered,small}'::text[]) target;
SELECT target, (SELECT e.value FROM ltv_evaluate('of_' || target, 'targets') e WHERE e.metric = 'payers') AS payers, (SELECT sum(d.customers) FROM ltv_decile_stats('of_' || target, 'targets') d) AS in_deciles,
       (SELECT count(*) FROM ltv_feature_importance('of_' || target, 'targets', repeats => 1, metric => 'spearman')) AS importance, length(ltv_report('of_' || target, 'targets')) > 0 AS report,
       (SELECT count(*) FROM ltv_segment('of_' || target, 'targets')) AS segment, (SELECT count(*) FROM ltv_explain_predict('of_' || target, 'SELECT * FROM targets LIMIT 1', samples => 2)) AS explained,
       ltv_monitor('of_' || target, 'targets') AS alerts
FROM unnest('{bought,answered,small}'::text[]) target;
SELECT target, ltv_retrain('of_' || target, options => '{"seed": 2}') > 0 AS queued FROM unnest('{bought,answered,small}'::text[]) target;
SELECT ltv_wait('of_' || target) FROM unnest('{bought,answered,small}'::text[]) target;
SELECT model, bool_and(reason LIKE '%held out: version 2 has %') AS compared FROM ltv_promotions WHERE model <> 'm' AND reason LIKE '%version 2%' GROUP BY 1 ORDER BY 1;

-- Temporary relations, wherever they hide; targets that nobody knows.
CREATE TEMP TABLE passing AS TABLE t;
CREATE TEMP VIEW peek AS SELECT * FROM t;
SELECT ltv_train('n', query => 'SELECT * FROM passing');
SELECT ltv_train('n', query => 'WITH x AS (SELECT * FROM t WHERE customer_id IN (SELECT customer_id FROM passing)) SELECT * FROM x');
SELECT ltv_train('n', query => 'SELECT t.*, (SELECT count(*) FROM passing) AS n FROM t');
SELECT ltv_train('n', 'peek');
SELECT ltv_train('n', query => 'SELECT * FROM peek UNION ALL SELECT * FROM t');
SELECT ltv_compare('n', query => 'SELECT * FROM passing');
CREATE FUNCTION pg_temp.twice(x int) RETURNS int LANGUAGE sql AS $$ SELECT 2 * x $$;
SELECT ltv_train('n', query => 'SELECT customer_id, pg_temp.twice(a) AS a, ltv FROM t');
CREATE TABLE parted (customer_id int, a int, ltv float8) PARTITION BY RANGE (customer_id);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (1000);
INSERT INTO parted SELECT customer_id, a, NULL FROM t;
SELECT ltv_train('n', 'parted');
CREATE TABLE unknown AS SELECT customer_id, a, NULL::float8 AS ltv FROM t;
SELECT ltv_train('n', 'unknown');
SELECT ltv_compare('n', 'unknown');
SELECT ltv_train('n', query => 'SELECT customer_id, a, NULL::numeric AS ltv FROM t');
CREATE VIEW unknown_view AS SELECT u.*, abs(u.a) AS b FROM unknown u;
SELECT ltv_train('n', 'unknown_view');
-- What does more than read is left to the worker.
CREATE FUNCTION counted(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE VIEW unread AS SELECT customer_id, counted(a) AS a, NULL::float8 AS ltv FROM t;
SELECT ltv.reading_cost('SELECT * FROM public.unread') AS unread, ltv.reading_cost('SELECT * FROM public.unknown_view') > 0 AS read;
CREATE TABLE odd AS SELECT customer_id, a, ltv, '{}'::jsonb AS doc, NULL::point AS place, '1'::bit(3) AS bits, 'x'::tsvector AS words  FROM t;
SELECT ltv_train('n', 'odd');
CALL ltv_train_now('n', 'odd', exclude => '{doc,place,bits,words}', options => '{"epochs": 1, "ensemble": 1}');
SELECT model FROM ltv_models WHERE model = 'n';
