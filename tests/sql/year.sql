-- A year with a model, simulated on Online Retail II: the shop sees its log grow, monitors weekly, retrains monthly, promotes
-- what is better, and one week delivers amounts in pence. docs/a-year.md tells the story.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE log (customer_id text, ts timestamp, amount numeric, n_lines int, n_products int, units int, returned numeric, country text, split_bucket int);
\copy log FROM PROGRAM 'gzip -dc tests/data/online_retail_2_orders.csv.gz' (FORMAT csv, HEADER)
CREATE TABLE clock AS SELECT date '2010-12-08' AS today, 1 AS unit;
CREATE VIEW orders AS SELECT l.customer_id, l.ts, l.amount * c.unit AS amount, l.country FROM log l, clock c WHERE l.ts < c.today + 1;

-- Trained on two cut-offs whose horizon of 90 days had passed by then; served with what is known today.
SELECT ltv_create_features('training', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2010-06-08,2010-09-08}', horizon => 90);
SELECT ltv_create_features('serving', 'orders', date_column => 'ts', value_column => 'amount', as_of => '2010-12-08', horizon => 90);
SELECT ltv_train('retail', 'training', options => '{"epochs": 15, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_set_promotion('retail', 'if_better', 'normalized_gini', 0);
SELECT ltv_keep_versions('retail', 6);
-- Season is no news here: what was bought in the last 30 and 90 days alarms later than by default. That a young log grows older needs no threshold.
SELECT ltv_set_thresholds('retail', '{"count_30": 0.5, "sum_30": 0.5, "count_90": 0.5, "sum_90": 0.5, "frequency": 0.5}');
SELECT ltv_schedule('retail', NULL, '{refresh,monitor,score}', 'serving', 'scores', time_zone => 'Europe/London', arguments => '{"monitor": {"stop": true}}');

-- The day after: what was bought until the evening before is known. In week 30 amounts arrive in pence; once a month the model is retrained.
\set VERBOSITY sqlstate
\set ECHO errors
\o /dev/null
SELECT format('UPDATE clock SET today = %L, unit = %s', date '2010-12-08' + 7 * week, CASE week WHEN 30 THEN 100 ELSE 1 END), format('CALL ltv_nightly(''retail'', day => %L)', date '2010-12-09' + 7 * week),
    CASE WHEN week % 4 = 0 THEN 'CALL ltv_nightly(''retail'', ''{retrain}'')' END, CASE WHEN week % 4 = 0 THEN 'SELECT ltv_wait(max(job)) FROM ltv_jobs' END FROM generate_series(1, 52) week ORDER BY week \gexec
\o
\set ECHO all
\set VERBOSITY default
-- Every night is on record; where the features alarmed nobody was scored, as in that of the bug.
SELECT count(*) FILTER (WHERE step = 'refresh') AS refreshed, count(*) FILTER (WHERE step = 'monitor' AND status = 'failed') AS stopped,
       count(*) FILTER (WHERE step = 'score' AND status = 'skipped') AS not_scored, count(*) FILTER (WHERE step = 'score' AND status = 'succeeded') AS scored, count(*) FILTER (WHERE step = 'retrain') AS retrained FROM ltv_nightly_steps;
CREATE VIEW weeks AS SELECT run, run = 30 AS pence FROM (SELECT DISTINCT run FROM ltv_monitoring) r;
SELECT a.feature, count(*) AS alerts FROM ltv_alerts a JOIN weeks w USING (run) WHERE NOT w.pence GROUP BY 1 ORDER BY 1;
-- The table of scores: a row for each change, one of each customer that holds.
SELECT count(*) FILTER (WHERE valid_to IS NULL) = (SELECT count(*) FROM serving) AS everybody, count(DISTINCT valid_from) BETWEEN 45 AND 51 AS days, count(*) < 0.9 * 48 * (SELECT count(*) FROM serving) AS less_than_by_day FROM scores;
-- The bug was found before anybody was scored: every amount alarmed. In no other week did one.
SELECT bool_and(m.drifted) AS all_amounts_alarmed, count(*) AS amounts FROM weeks w JOIN ltv_monitoring m USING (run)
WHERE w.pence AND m.feature IN ('monetary_mean', 'monetary_max', 'monetary_last', 'first_amount');
SELECT count(*) AS false_alarms_on_amounts FROM weeks w JOIN ltv_monitoring m USING (run)
WHERE NOT w.pence AND m.drifted AND m.feature IN ('monetary_mean', 'monetary_max', 'monetary_last', 'first_amount');
SELECT count(*) < 20 AS few_weeks_with_alarms, COALESCE(bool_or(m.feature IN ('t', 'recency')), false) AS of_age FROM weeks w JOIN ltv_monitoring m USING (run) WHERE NOT w.pence AND m.drifted AND m.feature NOT LIKE 'count%' AND m.feature NOT LIKE 'sum%';
-- Thirteen retrainings, each judged on customers that it had not seen, each decision on record.
SELECT count(*) AS retrained, count(*) FILTER (WHERE status = 'succeeded') AS succeeded FROM ltv_jobs WHERE kind = 'retrain';
SELECT count(*) AS decisions, bool_and(reason LIKE 'normalized_gini on customers held out: version % has %, version % had %') AS with_numbers
FROM ltv_promotions WHERE reason <> 'first version' AND to_version IS NOT NULL;
-- Who won was really better, and who lost was not.
SELECT alias, count(*) > 0 AS some, bool_and((alias = 'champion') = (n[1]::numeric > n[2]::numeric)) AS rightly
FROM (SELECT alias, regexp_match(reason, 'has (-?[0-9.]+), .* had (-?[0-9.]+)') AS n FROM ltv_promotions WHERE reason <> 'first version' AND to_version IS NOT NULL) p
WHERE n[1] <> n[2] GROUP BY alias ORDER BY alias;
SELECT count(*) BETWEEN 6 AND 8 AS kept, min(version) > 1 AS old_ones_gone FROM ltv_versions;
-- When the truth arrived: how a prediction of June turned out.
SELECT normalized_gini > 0.7 AS ordered, total_ratio BETWEEN 0.5 AND 2 AS right_magnitude FROM ltv_backtest('retail', '2011-06-08');
