-- Who is still alive, and when the next order is due: against the formulas in plain SQL, and against who came in the months after.
-- database: demo
\set SHOW_CONTEXT never
SET client_min_messages = warning;

-- The law is kept with the version. On each customer the formulas in plain SQL say the same; orders in a short time are P(alive) times a rate.
SELECT jsonb_pretty(schema -> 'state' #- '{purchases}') AS state, (SELECT string_agg(key, ', ' ORDER BY key) FROM jsonb_each(schema -> 'state' -> 'purchases')) AS law
FROM ltv.versions WHERE model = 'cdnow';
CREATE VIEW law AS SELECT (p ->> 'r')::float8 AS r, (p ->> 'alpha')::float8 AS alpha, (p ->> 'a')::float8 AS a, (p ->> 'b')::float8 AS b
FROM ltv.versions v, LATERAL (SELECT v.schema #> '{state,purchases}' AS p) x WHERE v.model = 'cdnow' AND v.version = 1;
CREATE TABLE said AS SELECT f.customer_id, f.frequency AS x, f.t - f.recency AS t_x, f.t, (s).*, ltv_predict_churn('cdnow', f) AS churn, ltv_predict_churn('cdnow', f, 30) AS churn_30,
    (ltv_predict_state('cdnow', f, 0.001)).expected_orders AS soon
FROM (SELECT f.*, ltv_predict_state('cdnow', f) AS s FROM cdnow_features f OFFSET 0) f;
CREATE VIEW formulas AS
SELECT s.customer_id, p.alive, 1 - p.alive * (1 - power((l.alpha + s.t) / (l.alpha + s.t + 273), l.r + s.x)) AS churn,
    1 - p.alive * (1 - power((l.alpha + s.t) / (l.alpha + s.t + 30), l.r + s.x)) AS churn_30, (l.alpha + s.t) * (power(2, 1 / (l.r + s.x)) - 1) AS wait, p.alive * (l.r + s.x) / (l.alpha + s.t) * 0.001 AS soon
FROM said s, law l, LATERAL (SELECT 1 / (1 + l.a / (l.b + s.x) * power((l.alpha + s.t) / (l.alpha + s.t_x), l.r + s.x)) AS alive) p;
SELECT count(*) AS customers, max(abs(s.p_alive - f.alive)) < 1e-12 AS alive, max(abs(s.churn_probability - f.churn)) < 1e-12 AND max(abs(s.churn - f.churn)) < 1e-12 AS churn,
    max(abs(s.churn_30 - f.churn_30)) < 1e-12 AS churn_30, max(abs(s.next_order_days / f.wait - 1)) < 1e-9 AS wait, max(abs(s.soon / f.soon - 1)) < 1e-3 AS soon
FROM said s JOIN formulas f USING (customer_id);
SELECT bool_and(expected_orders >= 1 - churn_probability) AS one_or_more, bool_and(1 - churn_probability <= p_alive) AS only_the_living, bool_and(churn_30 >= churn) AS more_time_less_churn FROM said;

-- Those said to order within the 273 days after the cut-off with a probability, and how many of them did; said to be alive; and how many orders came. Nothing of that time was known.
CREATE TABLE came AS
WITH days AS (SELECT customer_id, ordered_at FROM orders WHERE ordered_at > '1997-09-30' GROUP BY 1, 2 HAVING sum(amount) > 0)
SELECT s.*, COALESCE(d.n, 0) AS orders FROM said s LEFT JOIN (SELECT customer_id, count(*) AS n FROM days GROUP BY 1) d USING (customer_id);
SELECT width_bucket(1 - churn, 0, 1.0000001, 10) * 10 AS up_to_percent, count(*) AS customers, round(avg(1 - churn)::numeric, 3) AS said, round(avg((orders > 0)::int), 3) AS came FROM came GROUP BY 1 ORDER BY 1;
SELECT width_bucket(p_alive, 0, 1.0000001, 10) * 10 AS alive_up_to_percent, count(*) AS customers, round(avg(p_alive)::numeric, 3) AS said_alive, round(avg((orders > 0)::int), 3) AS came FROM came GROUP BY 1 ORDER BY 1;
SELECT round(avg(1 - churn)::numeric, 3) AS said, round(avg((orders > 0)::int), 3) AS came, round(sum(expected_orders)::numeric, -2) AS orders_said, round(sum(orders), -2) AS orders_came FROM came;

-- However the customer is given; pinned; days by default.
SELECT count(*) AS customers, count(*) FILTER (WHERE NOT (s = ltv_predict_state('cdnow', to_jsonb(f)) AND s = ltv_predict_state('cdnow', to_json(f)) AND s = ltv_predict_state('cdnow', to_jsonb(f)::text)
    AND s = ltv_predict_state('cdnow', 1, f) AND s = ltv_predict_state('cdnow', 1, to_jsonb(f), 273) AND s = ltv_predict_state('cdnow', f, days => 273)
    AND (s).churn_probability = ltv_predict_churn('cdnow', 1, f, NULL) AND (s).churn_probability = ltv_predict_churn('cdnow', to_jsonb(f)))) AS differ
FROM (SELECT f, ltv_predict_state('cdnow', f) AS s FROM cdnow_features f ORDER BY customer_id LIMIT 100) f;
SELECT provolatile, proparallel, count(*) FROM pg_proc WHERE proname IN ('ltv_predict_state', 'ltv_predict_churn') GROUP BY 1, 2 ORDER BY 1;

CREATE TABLE kept (doc jsonb, churn float8 GENERATED ALWAYS AS (ltv_predict_churn('cdnow', 1, doc, 90)) STORED);
INSERT INTO kept SELECT to_jsonb(f) FROM cdnow_features f ORDER BY customer_id LIMIT 10;
CREATE INDEX ON kept (((ltv_predict_state('cdnow', 1, doc, 90)).p_alive));
SELECT count(*) FILTER (WHERE churn = ltv_predict_churn('cdnow', doc, 90)) AS stored FROM kept;
SELECT * FROM ltv.pinned_by('cdnow', 1);
DROP TABLE kept;

-- Who bought once, who never did; a row that is none; what is missing.
CREATE TABLE few AS SELECT * FROM cdnow_features ORDER BY frequency = 0, customer_id LIMIT 1;
SELECT frequency > 0 AS came_back, ltv_predict_churn('cdnow', few) BETWEEN 0 AND 1 AS known FROM few;
UPDATE few SET recency = NULL;
SELECT ltv_predict_state('cdnow', few), ltv_predict_churn('cdnow', few) FROM few;
UPDATE few SET frequency = 0;
SELECT ltv_predict_churn('cdnow', few) BETWEEN 0 AND 1 AS known FROM few;
UPDATE few SET t = NULL;
SELECT ltv_predict_state('cdnow', few), ltv_predict_churn('cdnow', few) FROM few;
SELECT ltv_predict_state('cdnow', NULL::cdnow_features), ltv_predict_churn('cdnow', NULL::jsonb);
SELECT ltv_predict_state('cdnow', '{"frequency": 1}'::jsonb);

-- Days that are none; models that do not know it: imported, without the features, without a horizon.
SELECT ltv_predict_churn('cdnow', f, -1) FROM cdnow_features f LIMIT 1;
SELECT ltv_predict_churn('cdnow', f, 'NaN') FROM cdnow_features f LIMIT 1;
SELECT ltv_predict_state('cdnow', f, 'Infinity') FROM cdnow_features f LIMIT 1;
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
SELECT ltv_import_onnx('foreign', decode(:'linear', 'base64'), array['a', 'b']);
SELECT ltv_predict_state('foreign', array[1, 2]);
SELECT ltv_predict_churn('foreign', 1, array[1, 2], 30);
SELECT ltv_predict_churn(NULL, array[1, 2]);
SELECT ltv_import_onnx('again', ltv_export_onnx('cdnow'));
SELECT ltv_predict_churn('again', f) FROM cdnow_features f LIMIT 1;

-- Whatever is trained on features that tell histories knows the same law of the same customers: trees, BG/NBD, a network, whether somebody orders; arrays by position.
CREATE TABLE trained AS SELECT m.*, ltv_train('s_' || m.name, 'cdnow_features', objective => m.objective, backbone => m.backbone, features => m.features, split_column => 'split', options => m.options) AS job
FROM (VALUES ('network', 'ziln', 'mlp', NULL, '{"epochs": 1, "ensemble": 1, "blend_bgnbd": false, "blend_trees": false}'::jsonb),
    ('trees', 'mse', 'trees', NULL, '{"ensemble": 1, "rounds": 3}'), ('bgnbd', 'bgnbd', NULL, NULL, '{}'),
    ('purchase', 'purchase', 'linear', '{recency,frequency,t,first_month}'::text[], '{"epochs": 1, "ensemble": 1}'),
    ('blind', 'mse', 'linear', '{recency,frequency,monetary_mean}', '{"epochs": 1, "ensemble": 1}')) m(name, objective, backbone, features, options);
SELECT count(ltv_wait(job)) AS trained FROM trained;
SELECT count(*) AS models, count(DISTINCT schema -> 'state') AS laws FROM ltv.versions WHERE model LIKE 's\_%' AND schema ? 'state';
SELECT count(*) AS customers, count(*) FILTER (WHERE ltv_predict_state('s_trees', f) IS DISTINCT FROM ltv_predict_state('s_purchase', array[recency, frequency, t, first_month]::real[])
    OR ltv_predict_state('s_bgnbd', f) IS DISTINCT FROM ltv_predict_state('s_network', f)) AS differ FROM cdnow_features f;
SELECT ltv_predict_churn('s_blind', f) FROM cdnow_features f LIMIT 1;
CREATE TABLE copied AS SELECT customer_id, recency, frequency, t, ltv FROM cdnow_features;
SELECT ltv_train('s_no_horizon', 'copied', objective => 'mse', backbone => 'linear', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_predict_churn('s_no_horizon', f) FROM cdnow_features f LIMIT 1;
SELECT ltv_predict_churn('s_no_horizon', f, 273) BETWEEN 0 AND 1 AS with_days FROM cdnow_features f LIMIT 1;

-- People of whom most never bought, looked at on one day: the law is that of those who did.
CREATE TABLE people AS SELECT customer_id FROM customers UNION ALL SELECT 'visitor ' || i FROM generate_series(1, 30000) i;
SELECT ltv_create_features('everyone', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273, customers => 'people');
SELECT ltv_train('s_everyone', 'everyone', objective => 'mse', backbone => 'linear', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT count(*) AS models, count(DISTINCT schema #> '{state,purchases}') AS laws FROM ltv.versions WHERE model IN ('s_everyone', 's_no_horizon');
SELECT purchases > 0 AS has_bought, count(*) AS people, count(ltv_predict_churn('s_everyone', e)) AS known FROM everyone e GROUP BY 1 ORDER BY 1;

-- In a plan with predictions in batches; and only who may score.
SELECT count(*) FROM cdnow_features f WHERE ltv_predict('cdnow', f) > 50 AND ltv_predict_churn('cdnow', f) > 0.5 AND (ltv_predict_state('cdnow', f)).churn_probability <> ltv_predict_churn('cdnow', 1, f);
CREATE ROLE ltv_state_reader;
GRANT SELECT ON cdnow_features TO ltv_state_reader;
SET ROLE ltv_state_reader;
SELECT ltv_predict_churn('cdnow', f) FROM cdnow_features f LIMIT 1;
RESET ROLE;
SELECT ltv_grant('cdnow', 'ltv_state_reader', 'predict');
SET ROLE ltv_state_reader;
SELECT ltv_predict_churn('cdnow', f) BETWEEN 0 AND 1 AS may FROM cdnow_features f LIMIT 1;
RESET ROLE;
SELECT ltv_revoke('cdnow', 'ltv_state_reader', 'predict');
DROP OWNED BY ltv_state_reader;
DROP ROLE ltv_state_reader;

-- Smaller weights, the same law.
SELECT ltv_quantize('s_network', query => 'cdnow_features') AS version;
SELECT count(*) AS versions, count(DISTINCT schema -> 'state') AS laws FROM ltv.versions WHERE model = 's_network';
