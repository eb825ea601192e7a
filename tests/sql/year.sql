-- A year with a model, simulated on Online Retail II: the shop sees its log grow, monitors weekly, retrains monthly, promotes
-- what is better, and one week delivers amounts in pence. docs/a-year.md tells the story.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE log (customer_id text, ts timestamp, amount numeric, n_lines int, n_products int, units int, returned numeric, country text, split_bucket int);
\copy log FROM PROGRAM 'gzip -dc tests/data/online_retail_2_orders.csv.gz' (FORMAT csv, HEADER)
CREATE TABLE clock AS SELECT date '2010-12-08' AS today;
CREATE VIEW orders AS SELECT l.* FROM log l, clock WHERE l.ts < clock.today + 1;

-- Trained on two cut-offs whose horizon of 90 days had passed by then; served with what is known today.
SELECT ltv_create_features('training', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2010-06-08,2010-09-08}', horizon => 90);
SELECT ltv_create_features('serving', 'orders', date_column => 'ts', value_column => 'amount', as_of => '2010-12-08', horizon => 90);
SELECT ltv_train('retail', 'training', options => '{"epochs": 15, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_set_promotion('retail', 'if_better', 'normalized_gini', 0);
SELECT ltv_keep_versions('retail', 6);
-- The log is young, so customers grow older and come back later than those trained on; that is no news.
SELECT ltv_set_thresholds('retail', '{"t": 2, "recency": 1}');

CREATE TABLE weeks (day date, pence boolean, alerts int, run bigint);
DO $$
DECLARE
    first date := '2010-12-08';
    job bigint;
    found int;
BEGIN
    FOR week IN 1 .. 52 LOOP
        UPDATE clock SET today = first + 7 * week;
        PERFORM ltv_refresh_features('serving', first + 7 * week);
        -- The bug: one week, amounts arrive in pence.
        IF week = 30 THEN
            UPDATE serving SET monetary_mean = 100 * monetary_mean, monetary_max = 100 * monetary_max, monetary_last = 100 * monetary_last,
                sum_7 = 100 * sum_7, sum_30 = 100 * sum_30, sum_90 = 100 * sum_90, first_amount = 100 * first_amount, monetary_std = 100 * monetary_std;
        END IF;
        found := ltv_monitor('retail', 'serving');
        INSERT INTO weeks SELECT first + 7 * week, week = 30, found, max(run) FROM ltv_monitoring;
        COMMIT;
        -- Once a month, not in the week of the bug.
        IF week % 4 = 0 THEN
            job := ltv_retrain('retail');
            COMMIT;
            PERFORM ltv_wait(job);
            COMMIT;
        END IF;
    END LOOP;
END
$$;

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
