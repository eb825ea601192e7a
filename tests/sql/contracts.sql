-- Objective sbg through SQL: the published cohort "High End" of Fader and Hardie (2007), a thousand contracts over seven years, and what is asked of it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;  -- the progress of a job depends on the time
CREATE TABLE contracts AS
SELECT row_number() OVER () AS customer_id, c.periods, c.churned, 100::numeric AS value_per_period, 0::float8 AS paid
FROM (VALUES (0, 1, 131), (1, 1, 126), (2, 1, 90), (3, 1, 60), (4, 1, 42), (5, 1, 34), (6, 1, 26), (7, 0, 491)) c(periods, churned, n), generate_series(1, n);
UPDATE contracts SET paid = 100 * (1 + customer_id % 4) WHERE churned = 0;
SELECT ltv_train('high_end', query => 'SELECT *, false AS held_out FROM contracts', target => 'paid', objective => 'sbg', split_column => 'held_out', options => '{"horizon": 1461, "period": 365.25}') AS job \gset
SELECT ltv_wait(:job);
SELECT round((statistics #>> '{parameters,alpha}')::numeric, 3) AS alpha, round((statistics #>> '{parameters,beta}')::numeric, 3) AS beta, schema -> 'outputs' AS outputs FROM ltv.versions WHERE model = 'high_end';
-- Who has renewed n times renews once more with (beta + n) / (alpha + beta + n), and so on for four years.
WITH law AS (SELECT (statistics #>> '{parameters,alpha}')::float8 AS a, (statistics #>> '{parameters,beta}')::float8 AS b FROM ltv.versions WHERE model = 'high_end'),
by_hand AS (SELECT n, (b + n) / (a + b + n) AS renews, 100 * ((b + n) / (a + b + n)) * (1 + (b + n + 1) / (a + b + n + 1) * (1 + (b + n + 2) / (a + b + n + 2) * (1 + (b + n + 3) / (a + b + n + 3)))) AS worth FROM law, generate_series(0, 40, 8) n)
SELECT n, abs(ltv_predict('high_end', c) / worth - 1) < 1e-5 AS worth, abs(ltv_predict_proba('high_end', c) - renews) < 1e-6 AS renews
FROM by_hand, LATERAL (SELECT n AS periods, 0 AS churned, 100 AS value_per_period) c ORDER BY n;
SELECT ltv_predict('high_end', c) AS gone, ltv_predict_proba('high_end', c) AS renews FROM (SELECT 3 AS periods, 1 AS churned, 100 AS value_per_period) c;
SELECT ltv_predict('high_end', '{"periods": null, "churned": null, "value_per_period": null}') AS nothing_known;
SELECT ltv_predict_quantile('high_end', c, 0.5) FROM contracts c LIMIT 1;
SELECT ltv_predict_churn('high_end', c, 30) FROM contracts c LIMIT 1;
-- Held out: judged by what was paid, with the error of a sum.
SELECT ltv_train('judged', 'contracts', target => 'paid', objective => 'sbg', options => '{"horizon": 1461, "period": 365.25}') AS job \gset
SELECT ltv_wait(:job);
SELECT metrics ->> 'evaluated_on' AS evaluated_on, metrics ->> 'total_ratio' IS NOT NULL AS total, statistics #> '{spread,level}' IS NOT NULL AS spread FROM ltv.versions WHERE model = 'judged';
SELECT expected_revenue BETWEEN revenue_low AND revenue_high AS around FROM ltv_segment_summary('judged', 'SELECT * FROM contracts WHERE churned = 0', '{1}');
-- What cannot be.
SELECT ltv_train('no_columns', query => 'SELECT customer_id, periods, paid FROM contracts', target => 'paid', objective => 'sbg', options => '{"horizon": 365}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_train('nobody_left', query => 'SELECT * FROM contracts WHERE churned = 0', target => 'paid', objective => 'sbg', options => '{"horizon": 365}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_compare('compared', 'contracts', target => 'paid', objectives => '{sbg,ziln}');
SELECT ltv_train('period', 'contracts', target => 'paid', objective => 'sbg', options => '{"period": 0}');
