-- Errors show the user's own statement: nothing of the functions inside, in any public function. What the user's own functions add stays.
CREATE TABLE orders AS SELECT i % 100 AS customer_id, date '2023-01-01' + i * 7919 % 700 AS d, (i * 37 % 90 + 1)::numeric AS amount FROM generate_series(1, 2000) i;
CREATE TABLE t AS SELECT i AS customer_id, i % 17 AS a, CASE WHEN i % 3 = 0 THEN i % 50 ELSE 0 END AS ltv FROM generate_series(1, 200) i;
SET client_min_messages = warning;
CALL ltv_train_now('m', 't', options => '{"epochs": 1, "ensemble": 1}');
CREATE FUNCTION context(statement text, OUT state text, OUT inside text) LANGUAGE plpgsql AS $$
DECLARE
    lines text;
BEGIN
    EXECUTE statement;
    state := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, lines = PG_EXCEPTION_CONTEXT;
    -- The last two are this function's.
    inside := NULLIF(rtrim(regexp_replace(replace(lines, format(E'SQL statement "%s"\n', statement), ''), 'PL/pgSQL function context\(text\) line \d+ at EXECUTE$', ''), E'\n'), '');
END
$$;
CREATE TABLE calls (function text, call text);
INSERT INTO calls VALUES
    ('create_features', $$SELECT ltv_create_features('f', 'orders', date_column => 'no', value_column => 'amount', as_of => '2023-12-31', horizon => 90)$$),
    ('create_features', $$SELECT ltv_create_features('f', 'no_such', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90)$$),
    ('create_features', $$SELECT ltv_create_features('f', 'orders', date_column => 'd', value_column => 'amount', as_of => 'nonsense', horizon => 90)$$),
    ('refresh_features', $$SELECT ltv_refresh_features('orders')$$), ('feature_sql', $$SELECT ltv_feature_sql('orders')$$), ('rfm_summary', $$SELECT * FROM ltv_rfm_summary('orders', date_column => 'no', value_column => 'amount', as_of => '2023-12-31')$$),
    ('train', $$SELECT ltv_train('m', 't', target => 'no')$$), ('compare', $$SELECT ltv_compare('m', 't', target => 'no')$$), ('comparison', $$SELECT * FROM ltv_comparison('no')$$),
    ('wait', $$SELECT ltv_wait(99)$$), ('wait', $$SELECT ltv_wait('no')$$), ('cancel', $$SELECT ltv_cancel(99)$$), ('retry', $$SELECT ltv_retry(99)$$),
    ('evaluate', $$SELECT * FROM ltv_evaluate('m', 't', target => 'no')$$), ('evaluate', $$SELECT * FROM ltv_evaluate('no')$$), ('evaluate', $$SELECT * FROM ltv_evaluate('m', 'SELECT * FORM t')$$),
    ('decile_stats', $$SELECT * FROM ltv_decile_stats('m', 't', groups => 0)$$), ('backtest', $$SELECT * FROM ltv_backtest('m')$$),
    ('set_alias', $$SELECT ltv_set_alias('m', 9)$$), ('drop_alias', $$SELECT ltv_drop_alias('m', 'no')$$), ('rollback', $$SELECT ltv_rollback('m')$$), ('drop_version', $$SELECT ltv_drop_version('m', 1)$$),
    ('drop_model', $$SELECT ltv_drop_model('no')$$), ('grant', $$SELECT ltv_grant('m', 'no_such_role')$$), ('revoke', $$SELECT ltv_revoke('m', 'public', 'no')$$), ('set_owner', $$SELECT ltv_set_owner('m', 'no_such_role')$$),
    ('training_info', $$SELECT * FROM ltv_training_info('m', 9)$$), ('feature_info', $$SELECT * FROM ltv_feature_info('no')$$),
    ('validate_data_skew', $$SELECT * FROM ltv_validate_data_skew('m', NULL)$$), ('validate_data_skew', $$SELECT * FROM ltv_validate_data_skew('m', 'SELECT 1 AS x')$$),
    ('validate_data_drift', $$SELECT * FROM ltv_validate_data_drift('m', 't', 'no_such')$$), ('monitor', $$SELECT ltv_monitor('m', 't', thresholds => '{"no": 1}')$$),
    ('set_promotion', $$SELECT ltv_set_promotion('m', 'perhaps')$$), ('set_thresholds', $$SELECT ltv_set_thresholds('m', '[]')$$), ('keep_versions', $$SELECT ltv_keep_versions('m', 0)$$), ('retrain', $$SELECT ltv_retrain('m', promote => 'perhaps')$$), ('train_now', $$CALL ltv_train_now('m', 'no_such')$$), ('nightly', $$CALL ltv_nightly('m', '{refresh}')$$),
    ('set_traffic', $$SELECT ltv_set_traffic('m', 7)$$), ('assigned_version', $$SELECT ltv_assigned_version('no', '7')$$), ('schedule', $$SELECT ltv_schedule('m', NULL)$$), ('unschedule', $$SELECT ltv_unschedule('m', '{no}')$$),
    ('create_campaign', $$SELECT ltv_create_campaign('c', 'm', 't', shares => '{2}')$$), ('create_campaign', $$SELECT ltv_create_campaign('c', 'm', 't', eligible => 'a / 0 = 1')$$), ('refresh_campaign', $$SELECT ltv_refresh_campaign('t')$$),
    ('campaign_result', $$SELECT ltv_campaign_result('t', 'orders', date_column => 'd', value_column => 'amount')$$), ('campaign_curve', $$SELECT ltv_campaign_curve('t', 'orders', date_column => 'd', value_column => 'amount')$$),
    ('export_audience', $$SELECT ltv_export_audience('t', 'plain')$$), ('rfm_segments', $$SELECT ltv_rfm_segments('orders', date_column => 'no', value_column => 'amount')$$), ('tier_movement', $$SELECT ltv_tier_movement('t', 't')$$),
    ('export_conversions', $$SELECT ltv_export_conversions('t', 't', 'x')$$), ('segment_as', $$SELECT * FROM ltv_segment_as(NULL::int, 'm', 't', shares => '{2}')$$), ('segment', $$SELECT * FROM ltv_segment('m', 't', shares => '{2}')$$), ('segment_summary', $$SELECT * FROM ltv_segment_summary('m', 't', id_column => 'no')$$), ('report', $$SELECT ltv_report('m', version => 9)$$), ('report', $$SELECT ltv_report('m', features => 't')$$),
    ('model_card', $$SELECT ltv_model_card('m', 9)$$), ('model_card_markdown', $$SELECT ltv_model_card_markdown('no')$$), ('grant', $$SELECT ltv_grant('m', 'public', view => 'no_such')$$),
    ('training_report', $$SELECT ltv_training_report('m', 9)$$), ('horizons', $$SELECT * FROM ltv_horizons('m', 'no_such')$$), ('discount', $$SELECT ltv_discount('{1}', '{}')$$),
    ('predict_horizon', $$SELECT ltv_predict_horizon('m', t, 5) FROM t$$), ('predict_curve', $$SELECT ltv_predict_curve('m', t) FROM t$$), ('predict_interval', $$SELECT ltv_predict_interval('m', t, 0.7) FROM t$$),
    ('predict_state', $$SELECT ltv_predict_state('m', t) FROM t$$), ('predict_churn', $$SELECT ltv_predict_churn('m', t, 5) FROM t$$), ('cohorts', $$SELECT * FROM ltv_cohorts('m', 't')$$),
    ('explain_predict', $$SELECT * FROM ltv_explain_predict('m', 't', samples => 0)$$), ('feature_importance', $$SELECT * FROM ltv_feature_importance('m', 't', metric => 'no')$$), ('selection_weights', $$SELECT * FROM ltv_selection_weights('m')$$),
    ('export_onnx', $$SELECT ltv_export_onnx('m', 9)$$), ('import_onnx', $$SELECT ltv_import_onnx('m', 'x')$$), ('quantize', $$SELECT ltv_quantize('m', 9)$$), ('export_model', $$SELECT ltv_export_model('m', 9)$$), ('import_model', $$SELECT ltv_import_model('x')$$),
    ('predict', $$SELECT ltv_predict('m', '{}'::jsonb)$$), ('predict', $$SELECT ltv_predict('m', 9, t) FROM t$$), ('predict', $$SELECT ltv_predict('m', 'no json')$$), ('predict_proba', $$SELECT ltv_predict_proba('no', t) FROM t$$),
    ('predict_quantile', $$SELECT ltv_predict_quantile('m', t, 2) FROM t$$), ('predict_all', $$SELECT ltv_predict_all('m', ARRAY[1, 2, 3])$$);
SELECT c.function, x.* FROM calls c, context(c.call) x WHERE x.state = 'no error' OR x.inside IS NOT NULL;
-- Of every public function there is a call.
SELECT DISTINCT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'pg_ltv'
WHERE p.pronamespace = e.extnamespace AND p.proname NOT IN (SELECT 'ltv_' || function FROM calls) ORDER BY 1;
SELECT * FROM ltv_evaluate('m', 'SELECT * FORM t');
-- Rows come one by one, too, where a function stands in a list.
SELECT (ltv_segment_summary('m', 't')).tier, (ltv_segment_summary('m', 't')).customers > 0 AS also LIMIT 3;
SELECT count(*) FROM (SELECT ltv_evaluate('m', 't') LIMIT 1) x;
PREPARE again AS SELECT count(*) FROM ltv_segment('m', $1) s;
EXECUTE again('t');
EXECUTE again('SELECT * FROM t LIMIT 7');
