-- Retraining with a real worker: what it is trained on, the promotion rule, warm starts, keeping, backtests.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE orders AS SELECT 'c' || i % 500 AS customer_id, date '2024-01-01' + i * 7919 % 700 AS day, (i * 104729 % 1000) / 10.0 AS amount FROM generate_series(1, 6000) i;
SELECT ltv_create_features('features', 'orders', date_column => 'day', value_column => 'amount', as_of => '{2024-06-30,2024-09-30}', horizon => 90);
SELECT ltv_train('m', 'features', options => '{"epochs": 2, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT version, aliases, n_rows FROM ltv_versions ORDER BY version;
-- A second version waits, unless asked for.
SELECT ltv_train('m', 'features', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_train('m', 'features', options => '{"epochs": 1, "ensemble": 1}', promote => true) AS job \gset
SELECT ltv_wait(:job);
SELECT alias, from_version, to_version, regexp_replace(reason, '\d+', 'N') AS reason FROM ltv_promotions ORDER BY promotion;

-- Never better by so much: a challenger. It has seen four fifths of the customers, and the cut-offs moved to the end of the log.
SELECT ltv_retrain('m', minimum_gain => 10) AS job \gset
SELECT ltv_wait(:job);
SELECT DISTINCT as_of, as_of + 90 <= (SELECT max(day) FROM orders) AS passed FROM features ORDER BY 1;
SELECT n_rows = (SELECT count(*) FROM features WHERE NOT ltv.held_out(customer_id, 0.2)) AS without_held_out, round(n_rows::numeric / (SELECT count(*) FROM features), 1) AS share,
       recipe ->> 'parent' AS parent, recipe -> 'base' ->> 'relation' AS relation, recipe -> 'options' FROM ltv_versions WHERE version = 4;
SELECT alias, from_version, to_version, regexp_replace(reason, '-?\d\.\d+', 'X', 'g') AS reason FROM ltv_promotions ORDER BY promotion DESC LIMIT 1;
-- Always: champion, trained on all, and the challenger is no longer one. Continued from the weights of its parent.
SELECT ltv_retrain('m', promote => 'always', warm_start => true, options => '{"epochs": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT champion, challenger FROM ltv_models;
SELECT n_rows = (SELECT count(*) FROM features) AS all_rows, recipe ->> 'parent' AS parent, recipe -> 'options' FROM ltv_versions WHERE version = 5;
-- Never: a challenger. The stored rule, and keeping, work from now on by themselves.
SELECT ltv_set_promotion('m', 'never');
SELECT ltv_keep_versions('m', 2);
SELECT ltv_retrain('m') AS job \gset
SELECT ltv_wait(:job);
SELECT version, aliases FROM ltv_versions ORDER BY version;
-- The version to roll back to was kept as well.
SELECT ltv_rollback('m');
-- What changed since the recipe was written is said at once, or makes the comparison fail and not the training.
\set VERBOSITY terse
SELECT ltv_retrain('m', options => '{"epoch": 1}');
\set VERBOSITY default
SELECT ltv_retrain('m', as_of => '2999-01-01');
ALTER TABLE orders RENAME COLUMN amount TO price;
SELECT ltv_retrain('m');
ALTER TABLE orders RENAME COLUMN price TO amount;

-- A recipe with a query, whose names are found by the path of its author.
CREATE SCHEMA shop;
CREATE TABLE shop.people AS SELECT customer_id, recency, frequency, ltv FROM features;
SET search_path = shop, public;
SELECT public.ltv_train('q', query => 'SELECT * FROM people WHERE ltv IS NOT NULL', options => '{"epochs": 1, "ensemble": 1, "blend_trees": false}') AS job \gset
SELECT public.ltv_wait(:job);
SET search_path = public;
SELECT ltv_retrain('q', minimum_gain => 10) AS job \gset
SELECT ltv_wait(:job);
SELECT alias, regexp_replace(reason, '-?\d\.\d+', 'X', 'g') AS reason FROM ltv_promotions WHERE model = 'q' ORDER BY promotion DESC LIMIT 1;
SELECT ltv_retrain('q', as_of => '2024-09-30');

-- Backtests: by what the customers really spent.
SELECT cutoff, used_version, was_champion, customers, abs(actual - (SELECT sum(amount) FROM orders o WHERE o.day > cutoff AND o.day <= cutoff + 90
           AND EXISTS (SELECT FROM orders b WHERE b.customer_id = o.customer_id AND b.day <= cutoff AND b.amount > 0))) < 1e-6 AS right_total,
       abs(predicted / actual - total_ratio) < 1e-9 AS right_ratio, normalized_gini BETWEEN -1 AND 1 AS has_gini
FROM ltv_backtest('m', '{2024-06-30,2024-12-31}');
SELECT count(*) FROM ltv_backtest('m');
SELECT ltv_backtest('m', '2025-11-01');
SELECT ltv_backtest('q');
-- There are no past days to go back to where each customer is looked at on a day of his own.
SELECT ltv_create_features('by_age', 'orders', date_column => 'day', value_column => 'amount', age => '{30}', horizon => 90);
SELECT ltv_backtest('m', features => 'by_age');
SELECT ltv_backtest('m', '2024-09-30', 'by_age');

-- Warm starts: from the champion's weights, unless the features have changed since.
SELECT ltv_retrain('q', promote => 'never', warm_start => true, options => '{"epochs": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT message FROM ltv_jobs WHERE job = :job;
ALTER TABLE shop.people ADD COLUMN luck float8;
UPDATE shop.people SET luck = recency % 7;
SELECT ltv_retrain('q', promote => 'never', warm_start => true, options => '{"epochs": 1}') AS job \gset
SELECT ltv_wait(:job) > 0 AS made;
SELECT message FROM ltv_jobs WHERE job = :job;
SELECT array_agg(feature) FROM ltv_feature_info('q', (SELECT last_version FROM ltv_models WHERE model = 'q'));
-- A champion that was retrained by the rule has not seen the customers held out either.
SELECT ltv_retrain('q', promote => 'always') AS job \gset
SELECT ltv_wait(:job) > 0 AS made;
SELECT ltv_set_promotion('q', minimum_gain => 0, held_out => 0.3);
SELECT ltv_retrain('q') AS job \gset
SELECT ltv_wait(:job) > 0 AS made;
SELECT ltv_set_alias('q', last_version) > 0 AS promoted FROM ltv_models WHERE model = 'q';
SELECT ltv_retrain('q', minimum_gain => 10) AS job \gset
SELECT ltv_wait(:job) > 0 AS made;
SELECT regexp_replace(reason, '-?\d+(\.\d+)?', 'X', 'g') FROM ltv_promotions WHERE model = 'q' AND reason LIKE '%held out%' ORDER BY promotion;

-- Monitoring queues a retraining where it found something, and only there.
SELECT max(job) AS job FROM ltv_jobs \gset
SELECT ltv_monitor('q', 'SELECT * FROM shop.people WHERE ltv IS NOT NULL', retrain => true) AS alerts;
SELECT count(*) FROM ltv_jobs WHERE job > :job;
SELECT ltv_monitor('q', 'SELECT customer_id, 100 * recency + 7 AS recency, frequency, luck, ltv FROM shop.people', retrain => true) > 0 AS alarmed;
SELECT kind, ltv_wait(job) > 0 AS made FROM ltv_jobs WHERE job > :job;

-- A first training that fails leaves a name, which says so, and can be given back.
SELECT ltv_train('bad', query => 'SELECT customer_id, 1 / (recency - recency) AS x, ltv FROM shop.people') AS job \gset
SELECT ltv_wait(:job);
SELECT model, state, champion, versions FROM ltv_models ORDER BY 1;
SELECT ltv_predict('bad', ARRAY[1]);
SELECT ltv_retrain('bad');
SELECT ltv_drop_model('bad');
SELECT count(*) FROM ltv_models WHERE model = 'bad';
