-- database: demo
-- Skew and drift of a real model: quiet on samples of its own data, loud on injected shifts.
\set SHOW_CONTEXT never
-- The training's own data, and the customers that were held out of it.
SELECT count(*) > 10 AS many, count(*) FILTER (WHERE drifted) AS drifted FROM ltv_validate_data_skew('cdnow', 'cdnow_features');
SELECT feature, drifted FROM ltv_validate_data_skew('cdnow', 'SELECT * FROM cdnow_features WHERE split = ''test''') WHERE feature IN ('recency', 'ltv') ORDER BY 1;
-- False alarms: 40 samples of 200 to 2,000 customers, all features and the predictions.
SELECT sum(s.alarms) AS alarms, sum(s.features) > 600 AS many
FROM generate_series(1, 40) i, LATERAL (
    SELECT count(*) FILTER (WHERE drifted) AS alarms, count(*) AS features
    FROM ltv_validate_data_skew('cdnow', format('SELECT * FROM cdnow_features TABLESAMPLE bernoulli (%s) REPEATABLE (%s)', 1 + i % 10, i))) s;

-- Injected: a mean, a scale, missing values, a season.
CREATE FUNCTION shifted(changes text) RETURNS TABLE (feature text, drifted boolean) LANGUAGE sql AS $$
    SELECT s.feature, s.drifted FROM ltv_validate_data_skew('cdnow',
        format('SELECT (jsonb_populate_record(f, %s)).* FROM cdnow_features f WHERE split = ''test''', changes)) s WHERE s.drifted AND s.feature <> 'ltv' ORDER BY 1 $$;
SELECT * FROM shifted($$jsonb_build_object('recency', f.recency * 24)$$);
-- Customers grow older: that alarms only where a threshold says so.
SELECT * FROM shifted($$jsonb_build_object('recency', f.recency + 60, 't', f.t + 60)$$) WHERE feature IN ('recency', 't');
SELECT feature, threshold, drifted, reason ~ '^PSI [0-9.]+ is above 0.2$' AS psi FROM ltv_validate_data_skew('cdnow', 'SELECT (jsonb_populate_record(f, jsonb_build_object(''recency'', f.recency + 60, ''t'', f.t + 60))).* FROM cdnow_features f', thresholds => '{"t": 0.2, "recency": 0.2}') WHERE feature IN ('recency', 't');
SELECT feature, threshold, drifted, psi > 0.2 AS moved FROM ltv_validate_data_skew('cdnow', 'SELECT (jsonb_populate_record(f, jsonb_build_object(''recency'', f.recency + 60, ''t'', f.t + 60))).* FROM cdnow_features f') WHERE feature IN ('recency', 't');
SELECT * FROM shifted($$jsonb_build_object('monetary_mean', f.monetary_mean * 100)$$);
SELECT * FROM shifted($$CASE WHEN f.customer_id < '05000' THEN '{"t": null}' ELSE '{}' END::jsonb$$);
SELECT * FROM shifted($$jsonb_build_object('count_90', f.count_90 + 1)$$);

-- Two periods.
SELECT feature FROM ltv_validate_data_drift('cdnow', 'SELECT * FROM cdnow_features WHERE split = ''train''', 'SELECT * FROM cdnow_features WHERE split <> ''train''') WHERE drifted;

-- Recorded runs.
SELECT ltv_monitor('cdnow', 'cdnow_features');
SELECT ltv_monitor('cdnow', 'SELECT (jsonb_populate_record(f, jsonb_build_object(''monetary_mean'', f.monetary_mean * 100))).* FROM cdnow_features f') > 0 AS alarmed;
SELECT run, feature, message ~ '^PSI [0-9.]+ is above 0.2' AS message FROM ltv_alerts WHERE feature = 'monetary_mean';
SELECT run, count(*) > 10 AS features, bool_or(drifted) AS drifted FROM ltv_monitoring GROUP BY run ORDER BY run;

-- Thresholds.
SELECT ltv_set_thresholds('cdnow', '{"recency": 0.0001}');
SELECT settings -> 'thresholds' FROM ltv_models WHERE model = 'cdnow';
SELECT threshold FROM ltv_validate_data_skew('cdnow', 'cdnow_features', thresholds => '{"recency": 0.5}') WHERE feature = 'recency';
SELECT ltv_set_thresholds('cdnow', NULL);

SELECT ltv_validate_data_skew('cdnow', 'SELECT customer_id FROM cdnow_features');
SELECT ltv_validate_data_skew('cdnow', 'SELECT * FROM cdnow_features WHERE false');
SELECT ltv_validate_data_skew('cdnow', 'cdnow_features', thresholds => '{"nothing": 1}');
SELECT ltv_validate_data_skew('cdnow', 'cdnow_features', thresholds => '[]');
SELECT ltv_validate_data_skew('cdnow', 'cdnow_features', version => 99);
SELECT ltv_validate_data_skew('cdnow', 'DELETE FROM cdnow_features');
