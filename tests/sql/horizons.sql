-- Several horizons in one model, through SQL: found by themselves, never falling, the same in batches and row by row, judged by their labels.
\set SHOW_CONTEXT never
SET client_min_messages = warning;  -- the progress of a job depends on the time

CREATE TABLE orders AS SELECT c AS customer_id, date '2024-01-01' + (c * 13 + n * n * (1 + c % 5) * 3) % 360 AS ordered_at,
    round((5 + (c * 31 + n * 17) % 90 + n / 3.0)::numeric, 2) AS amount
FROM generate_series(1, 900) c, generate_series(0, c % 9) n;
SELECT ltv_create_features('customers', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '{2024-06-01,2024-09-01,2024-11-10}', horizons => '{30,60,90}');
SELECT as_of, count(ltv_30) > 0 AS ltv_30, count(ltv_60) > 0 AS ltv_60, count(ltv) > 0 AS ltv FROM customers GROUP BY as_of ORDER BY as_of;

CREATE TABLE models (model text, objective text, backbone text, options jsonb);
INSERT INTO models VALUES ('ziln', 'ziln', 'mlp', '{}'), ('tweedie', 'tweedie', 'linear', '{}'), ('mse', 'mse', 'dcn', '{}'), ('huber', 'huber', 'mlp', '{}'),
    ('five', 'ziln', 'mlp', '{"ensemble": 5}'), ('trees', 'ziln', 'trees', '{}'), ('alone', 'ziln', 'mlp', '{"horizons": false}'), ('law', 'bgnbd', NULL, '{}'), ('purchase', 'purchase', 'mlp', '{}');
CREATE TABLE jobs AS SELECT ltv_train(model, 'customers', objective => objective, backbone => backbone,
    options => CASE backbone WHEN 'trees' THEN '{"rounds": 30, "ensemble": 1}' ELSE '{"epochs": 8, "ensemble": 1}' END::jsonb || options) AS job FROM models;
SELECT count(ltv_wait(job)) AS trained FROM jobs;
SELECT model, array_agg(horizon ORDER BY horizon) AS horizons FROM models, ltv_horizons(model) GROUP BY model ORDER BY model;
SELECT array_agg(o ORDER BY i) AS outputs FROM ltv_versions, jsonb_array_elements_text(schema -> 'outputs') WITH ORDINALITY AS x(o, i) WHERE model = 'five';

-- Never less by a later day, the longest is the expected value, a knot is what the curve says.
CREATE TABLE asked AS SELECT * FROM customers WHERE as_of = '2024-11-10' AND customer_id::int % 3 = 0;
UPDATE asked SET frequency = NULL, monetary_mean = 'NaN' WHERE customer_id = '3';
UPDATE asked SET monetary_mean = 1e30, sum_90 = -1e30, t = 1e9, recency = -5 WHERE customer_id = '6';
CREATE TABLE curves AS SELECT m.model, a.customer_id, ltv_predict_curve(m.model, a) AS curve, ltv_predict(m.model, a) AS ltv FROM models m, asked a WHERE model NOT IN ('alone', 'purchase');
SELECT model, count(*) AS customers, count(*) FILTER (WHERE NOT (0 <= curve[1] AND curve[1] <= curve[2] AND curve[2] <= curve[3] AND curve[3] < 'Infinity')) AS falling,
    count(*) FILTER (WHERE curve[3] <> ltv OR cardinality(curve) <> 3) AS other_ends FROM curves GROUP BY model ORDER BY model;
CREATE TABLE days AS SELECT c.model, c.customer_id, d AS day, ltv_predict_horizon(c.model, a, d) AS value, c.curve FROM curves c JOIN asked a USING (customer_id), (SELECT 7.5::float8 * i FROM generate_series(0, 12) i) x(d);
SELECT count(*) AS days, count(*) FILTER (WHERE value < before) AS falling, count(*) FILTER (WHERE day = 0 AND value <> 0) AS at_once,
    count(*) FILTER (WHERE value <> CASE day WHEN 30 THEN curve[1] WHEN 60 THEN curve[2] WHEN 90 THEN curve[3] ELSE value END) AS other_knots
FROM (SELECT *, lag(value) OVER (PARTITION BY model, customer_id ORDER BY day) AS before FROM days) d;

-- In batches, row by row, pinned, by position, as JSON, in parallel, in an index.
EXPLAIN (COSTS OFF) SELECT sum(ltv_predict_horizon('five', a, 45)), sum((ltv_predict_curve('five', a))[2]) FROM asked a;
CREATE TEMP TABLE batch AS SELECT customer_id, ltv_predict_horizon('five', a, 45) AS h, ltv_predict_curve('five', a) AS c FROM asked a;
SET ltv.enable_batch_scan = off;
CREATE TEMP TABLE rows AS SELECT customer_id, ltv_predict_horizon('five', a, 45) AS h, ltv_predict_curve('five', a) AS c, ltv_predict_horizon('five', 1, a, 45) AS pinned,
    ltv_predict_horizon('five', to_jsonb(a), 45) AS jsonb, ltv_predict_horizon('five', to_json(a), 45) AS json, ltv_predict_horizon('five', to_jsonb(a)::text, 45) AS text FROM asked a;
RESET ltv.enable_batch_scan;
SELECT count(*) AS customers, count(*) FILTER (WHERE abs(b.h - r.h) > 1e-5 * b.h + 1e-9) AS differ, count(*) FILTER (WHERE abs(b.c[1] - r.c[1]) > 1e-5 * b.c[1] + 1e-9) AS curves_differ,
    count(*) FILTER (WHERE (r.h, r.h, r.h, r.h) IS DISTINCT FROM (pinned, jsonb, json, text)) AS kinds_differ FROM batch b JOIN rows r USING (customer_id);
SET ltv.default_model = 'five';
SELECT count(*) AS same FROM asked a JOIN rows r USING (customer_id) WHERE abs(ltv_predict_horizon(a, 45) - r.h) < 1e-5 * r.h + 1e-9 AND abs((ltv_predict_curve(a))[3] - r.c[3]) < 1e-5 * r.c[3] + 1e-9;
RESET ltv.default_model;
SELECT ltv_predict_horizon('five', a, NULL) AS no_day, ltv_predict_horizon('five', NULL::asked, 5) AS nobody, ltv_predict_curve('five', NULL::asked) AS no_curve FROM asked a LIMIT 1;

-- Intervals with a promise, of the longest horizon and by any model with a distribution.
SELECT count(*) AS customers, count(*) FILTER (WHERE NOT (0 <= i[1] AND i[1] <= i[2] AND i[2] <= j[2] AND j[1] <= i[1])) AS not_nested
FROM (SELECT ltv_predict_interval('five', c, 0.5) AS i, ltv_predict_interval('five', c, 0.95) AS j FROM customers c WHERE customer_id::int % 3 > 0) x;
SELECT ltv_predict_interval('five', a, 0.8) = ltv_predict_interval('five', 1, to_jsonb(a), 0.8) AS same, ltv_predict_interval('five', a, NULL) AS no_share FROM asked a LIMIT 1;
-- An evaluation judges them, of the longest horizon; with the version is kept what customers showed who had no part in moving them.
SELECT abs(c.value - e.inside) < 1e-9 AS coverage, abs(w.value / e.width - 1) < 1e-9 AS width
FROM (SELECT avg((ltv BETWEEN i[1] AND i[2])::int) AS inside, avg(i[2] - i[1]) AS width FROM (SELECT c.ltv, ltv_predict_interval('five', c, 0.8) AS i FROM customers c WHERE as_of = '2024-09-01' AND c.ltv IS NOT NULL) x) e,
    ltv_evaluate('five', 'SELECT * FROM customers WHERE as_of = ''2024-09-01''') c, ltv_evaluate('five', 'SELECT * FROM customers WHERE as_of = ''2024-09-01''') w WHERE c.metric = 'interval_coverage' AND w.metric = 'interval_width';
SELECT metric FROM ltv_evaluate('five', 'SELECT * FROM customers WHERE as_of = ''2024-09-01''', target => 'ltv_30') WHERE metric LIKE 'interval%';
SELECT (metrics ->> 'interval_coverage')::float8 BETWEEN 0.7 AND 0.9 AS held, (metrics ->> 'interval_width')::float8 > 0 AS wide, jsonb_array_length(statistics #> '{spread,dispersion}') - jsonb_array_length(statistics #> '{spread,tiers}') AS bounds, (statistics #>> '{spread,level}')::float8 > 0 AS level
FROM ltv.versions WHERE model = 'five';
SELECT ltv_predict_interval('five', a, 0.7) FROM asked a LIMIT 1;
SELECT ltv_predict_interval('tweedie', a, 0.8) FROM asked a LIMIT 1;

-- What cannot be.
SELECT ltv_predict_horizon('five', a, 91) FROM asked a LIMIT 1;
SELECT ltv_predict_horizon('five', a, -1) FROM asked a LIMIT 1;
SELECT ltv_predict_horizon('five', a, 'NaN') FROM asked a LIMIT 1;
SELECT count(CASE WHEN d <= 90 THEN ltv_predict_horizon('five', a, d) END) > 0 AS guarded FROM asked a, unnest('{30,400}'::float8[]) d;
SELECT ltv_predict_horizon('alone', a, 30) FROM asked a LIMIT 1;
SELECT ltv_predict_curve('purchase', a) FROM asked a LIMIT 1;
SELECT ltv_train('never', 'customers', objective => 'cmltv', options => '{"horizons": true}');
SELECT ltv_train('never', 'customers', target => 'ltv_30', options => '{"horizons": true}');
SELECT ltv_train('never', query => 'SELECT customer_id, recency, ltv_30 AS spent FROM customers', target => 'spent', options => '{"horizons": true}');

-- A label of one's own, and labels left out.
SELECT ltv_train('own', query => 'SELECT customer_id, recency, frequency, ltv_30, ltv_60 FROM customers', target => 'ltv_60', options => '{"epochs": 3, "ensemble": 1}') > 0 AS queued;
SELECT ltv_wait() AS version;
SELECT ltv_train('two', 'customers', exclude => '{ltv_30}', options => '{"epochs": 3, "ensemble": 1}') > 0 AS queued;
SELECT ltv_wait() AS version;
SELECT m AS model, horizon FROM unnest('{own,two}'::text[]) m, ltv_horizons(m) ORDER BY m, horizon;

-- Judged by their labels: totals of rows whose label is known, beside sums in plain SQL.
CREATE TABLE judged AS SELECT * FROM ltv_horizons('five', 'SELECT * FROM customers WHERE as_of = ''2024-09-01''');
SELECT j.horizon, j.customers, abs(j.actual - s.actual) < 1e-6 * s.actual AS actual, abs(j.predicted - s.predicted) < 1e-5 * s.predicted AS predicted
FROM judged j, (SELECT sum(ltv_30) AS a30, sum(ltv_60) AS a60, sum(ltv) AS a90, sum(ltv_predict_horizon('five', c, 30)) AS p30, sum(ltv_predict_horizon('five', c, 60)) AS p60,
    sum(ltv_predict('five', c)) AS p90 FROM customers c WHERE as_of = '2024-09-01') t,
    LATERAL (VALUES (30, t.a30, t.p30), (60, t.a60, t.p60), (90, t.a90, t.p90)) s(days, actual, predicted) WHERE s.days = j.horizon ORDER BY 1;
SELECT round(value) AS rows FROM ltv_evaluate('five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''', target => 'ltv_30') WHERE metric = 'rows';
SELECT count(*) AS deciles FROM ltv_decile_stats('five', 'SELECT * FROM customers', target => 'ltv_30');

SELECT html ~ '<h2>By when</h2>' AS by_when, html ~ '<title>predicted, day 60' AS chart FROM ltv_report('five', 'customers') html;
SELECT ltv_report('alone') !~ 'By when' AS alone;

SELECT b.customers = h.customers AS customers, abs(b.actual - h.actual) < 1e-6 * h.actual AS actual, abs(b.predicted - h.predicted) < 1e-5 * h.predicted AS predicted
FROM ltv_backtest('five', '2024-09-01', target => 'ltv_30') b, judged h WHERE h.horizon = 30;
SELECT b.interval_coverage = c.value AS coverage, b.interval_width = w.value AS width FROM ltv_backtest('five', '2024-09-01') b, ltv_evaluate('five', 'SELECT * FROM customers WHERE as_of = ''2024-09-01''') c,
    ltv_evaluate('five', 'SELECT * FROM customers WHERE as_of = ''2024-09-01''') w WHERE c.metric = 'interval_coverage' AND w.metric = 'interval_width';
SELECT ltv_backtest('five', '2024-09-01', target => 'ltv_45');

-- Sums of customers have an interval: by hand.
WITH facts AS (SELECT statistics -> 'spread' AS s FROM ltv.versions WHERE model = 'five'),
scored AS (SELECT v, (SELECT count(*) FROM facts, jsonb_array_elements_text(s -> 'tiers') t WHERE t::float8 <= v) AS tier FROM (SELECT ltv_predict('five', c) AS v FROM customers c WHERE as_of = '2024-11-10') x),
sums AS (SELECT sum(v) AS expected, sum((s -> 'dispersion' ->> tier::int)::float8 * v ^ 1.5) AS variance, max((s ->> 'level')::float8) AS level FROM scored, facts),
law AS (SELECT expected, ln(1 + variance / expected ^ 2 + level ^ 2) AS squared FROM sums)
SELECT abs(t.revenue_low / (l.expected * exp(-1.281551565545 * sqrt(squared) - squared / 2)) - 1) < 1e-6 AS low, abs(t.revenue_high / (l.expected * exp(1.281551565545 * sqrt(squared) - squared / 2)) - 1) < 1e-6 AS high,
    t.revenue_low < t.expected_revenue AND t.expected_revenue < t.revenue_high AS around
FROM ltv_segment_summary('five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''', '{1}') t, law l;

-- What a cohort is expected to bring spreads over the days as the curve says.
SELECT count(*) > 3 AS cohorts, bool_and(value >= 0) AS positive, count(*) FILTER (WHERE predicted_revenue IS NOT NULL) > 0 AS predicted FROM ltv_cohorts('five', 'customers', as_of => '2024-09-01');

-- Money over time: twice by hand.
SELECT round(ltv_discount('{10,30}', '{73,365}', 0.21, 0.5)::numeric, 6) AS discounted, round((10 * 0.5 * 1.21 ^ (-73 / 730.0) + 20 * 0.5 * 1.21 ^ (-438 / 730.0))::numeric, 6) AS by_hand,
    ltv_discount('{10,30}', '{73,365}') AS undiscounted, ltv_discount(NULL, '{1}') AS nothing;
SELECT abs(present_value / (expected_revenue * 0.5 * 1.21 ^ (-90 / 730.0)) - 1) < 1e-9 AS tier FROM ltv_segment_summary('five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''', '{1}', margin => 0.5, discount_rate => 0.21);
SELECT count(*) FILTER (WHERE contact <> (ltv * 0.5 * 1.21 ^ (-90 / 730.0) > 20)) AS other, count(*) FILTER (WHERE contact <> (ltv * 0.5 > 20)) > 0 AS fewer
FROM ltv_segment('five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''', budget => 1e9, cost_per_contact => 20, margin => 0.5, discount_rate => 0.21);
SELECT abs(c.expected_profit / (c.expected_value * 0.5 * 1.21 ^ (-90 / 730.0)) - 1) < 1e-9 AS campaign FROM ltv_create_campaign('discounted', 'five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''', margin => 0.5, discount_rate => 0.21) c WHERE step = 'contact';
SELECT abs(c.value_low / s.revenue_low - 1) < 1e-9 AS low, abs(c.value_high / s.revenue_high - 1) < 1e-9 AS high FROM ltv_create_campaign('everybody', 'five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''') c,
    ltv_segment_summary('five', 'SELECT * FROM customers WHERE as_of = ''2024-11-10''', '{1}') s WHERE c.step = 'within_budget';
SELECT ltv_discount('{1,2}', '{30}');
SELECT ltv_discount('{1}', '{30}', -1);
