-- Backbone trees by SQL: training, scoring in batches and one by one, missing values, gain, directions, retraining, what is refused.
-- database: cdnow
SET client_min_messages = warning;  -- the progress of a job depends on the time
SELECT ltv_create_features('shoppers', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273,
    attributes => 'customers');

-- Every objective that trees have; better than chance on customers who were held out.
CREATE TABLE objectives (objective text);
INSERT INTO objectives VALUES ('mse'), ('huber'), ('purchase'), ('tweedie'), ('ziln');
CREATE TABLE jobs AS SELECT objective, ltv_train('trees_' || objective, 'shoppers', objective => objective, backbone => 'trees', split_column => 'split',
    options => '{"ensemble": 1, "rounds": 60}') AS job FROM objectives;
SELECT count(ltv_wait(job)) AS trained FROM jobs;
SELECT o.objective, e.metric, e.value > CASE e.metric WHEN 'auc' THEN 0.75 WHEN 'spearman' THEN 0.4 ELSE 0.6 END AS is_good
FROM objectives o, ltv_evaluate('trees_' || o.objective, 'SELECT * FROM shoppers WHERE split = ''test''') e
WHERE e.metric IN ('auc', 'spearman') OR (e.metric = 'normalized_gini' AND o.objective <> 'purchase') ORDER BY 1, 2;

-- A batch and each row by itself; quantiles in order.
CREATE TABLE scored AS SELECT customer_id, ltv_predict('trees_ziln', s) AS ltv, ltv_predict_all('trees_ziln', s) AS p FROM shoppers s;
SELECT count(*) AS customers, count(*) FILTER (WHERE ltv = (p).ltv AND (p).p10 <= (p).p50 AND (p).p50 <= (p).p90) AS fit FROM scored;
SELECT count(*) AS wrong FROM (SELECT * FROM scored ORDER BY customer_id LIMIT 200) a
WHERE abs(ltv - (SELECT ltv_predict('trees_ziln', s) FROM shoppers s WHERE s.customer_id = a.customer_id)) > 1e-6 * ltv;

-- A value that is missing has a way of its own through the trees; where nothing is known there is a prediction still.
CREATE TABLE asked AS SELECT * FROM shoppers ORDER BY customer_id LIMIT 40;
UPDATE asked SET frequency = NULL, monetary_mean = 'NaN', monetary_std = 'Infinity' WHERE customer_id = (SELECT min(customer_id) FROM asked);
UPDATE asked SET recency = NULL, frequency = NULL, t = NULL, monetary_mean = NULL, monetary_max = NULL, monetary_std = NULL, monetary_last = NULL,
    count_7 = NULL, sum_7 = NULL, count_30 = NULL, sum_30 = NULL, count_90 = NULL, sum_90 = NULL, mean_interpurchase = NULL, first_amount = NULL
WHERE customer_id = (SELECT max(customer_id) FROM asked);
SELECT count(*) AS customers, bool_and(p > 0 AND p < 10000) AS sensible FROM (SELECT ltv_predict('trees_ziln', a) AS p FROM asked a) p;

-- What was learned from.
SELECT feature IN ('recency', 'frequency', 't', 'monetary_sum', 'sum_90', 'count_90') AS is_expected, importance > 0.1 AS is_large
FROM ltv_feature_importance('trees_ziln', metric => 'gain') LIMIT 1;
SELECT round(sum(importance)::numeric, 6) AS all_gains FROM ltv_feature_importance('trees_ziln', metric => 'gain');
SELECT count(*) > 10 AS has_rounds, bool_and(training_loss IS NOT NULL AND validation_loss IS NOT NULL) AS has_losses,
    array_agg(DISTINCT COALESCE(training ->> 'purchase', training ->> 'lognormal') IS NOT NULL) AS parts FROM ltv_training_info('trees_ziln');

-- The more purchases, the more is expected, all else being equal.
SELECT ltv_train('rising', 'shoppers', backbone => 'trees', split_column => 'split',
    options => '{"ensemble": 1, "rounds": 60, "monotone_increasing": ["frequency"]}') AS job \gset
SELECT ltv_wait(:job) AS version;
CREATE TABLE ladder AS SELECT a.*, f FROM asked a, generate_series(0, 30) f;
UPDATE ladder SET frequency = f;
SELECT count(*) AS steps, count(*) FILTER (WHERE p < before * (1 - 1e-5)) AS falls
FROM (SELECT p, lag(p) OVER (PARTITION BY customer_id ORDER BY f) AS before FROM (SELECT customer_id, f, ltv_predict('rising', l) AS p FROM ladder l) l) l;

-- Repeated: the same recipe, the same trees; and going on from the champion's.
SELECT ltv_retrain('trees_tweedie', promote => 'never') AS job \gset
SELECT ltv_wait(:job) AS version;
SELECT count(DISTINCT checksum) AS graphs FROM ltv.versions WHERE model = 'trees_tweedie';
SELECT ltv_retrain('trees_tweedie', promote => 'never', warm_start => true) AS job \gset
SELECT ltv_wait(:job) AS version;
SELECT version, history -> 'continued' AS continued, (SELECT sum((t ->> 'trees')::int) FROM jsonb_array_elements(history -> 'trees') t) > 60 AS has_more
FROM ltv.versions WHERE model = 'trees_tweedie' ORDER BY version;

-- Networks with trees beside them: the weight is shown.
SELECT ltv_train('both', 'shoppers', split_column => 'split',
    options => '{"ensemble": 1, "epochs": 2, "rounds": 60, "blend_trees": true, "hidden_sizes": [8]}') AS job \gset
SELECT ltv_wait(:job) AS version;
SELECT (statistics #>> '{trees,weight}')::float8 BETWEEN 0.1 AND 1 AS weight FROM ltv.versions WHERE model = 'both';
SELECT count(*) = count(ltv_predict('both', s)) AS predicts FROM shoppers s;

-- Refused before anything is queued.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT ltv_train('wrong', 'shoppers', objective => 'cmltv', backbone => 'trees');
SELECT ltv_train('wrong', 'shoppers', backbone => 'trees', options => '{"learning_rate": 0.1}');
SELECT ltv_train('wrong', 'shoppers', backbone => 'trees', options => '{"leaves": 1}');
SELECT ltv_train('wrong', 'shoppers', options => '{"monotone_increasing": ["t"]}');
SELECT ltv_feature_importance('both', metric => 'leaves');
