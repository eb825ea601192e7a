-- database: demo
-- The nightly chain: refresh, score, monitor, retrain, one after the other; what fails, what is gone, what is somebody else's.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
-- The log as it was known when it ended, on the day before today.
CREATE TABLE log AS SELECT customer_id, ordered_at + (current_date - 1 - date '1997-09-30') AS ordered_at, amount FROM orders WHERE ordered_at <= '1997-09-30';
SELECT ltv_create_features('serving', 'SELECT * FROM log', date_column => 'ordered_at', value_column => 'amount', as_of => current_date - 30, horizon => 270, attributes => 'customers');
CREATE VIEW steps AS SELECT run, step, status, rows, regexp_replace(message, 'as of \d{4}-\d\d-\d\d', 'as of DAY') AS message, sqlstate, duration >= interval '0' AS timed FROM ltv_nightly_steps;
CALL ltv_nightly('cdnow', features => 'serving', scores => 'scores');
TABLE steps;
SELECT count(*), count(DISTINCT as_of), min(as_of) = current_date - 1 AS yesterday FROM serving;
SELECT count(*) AS different FROM scores s FULL JOIN serving f USING (customer_id) WHERE (s.ltv, s.version, s.valid_from, s.valid_to) IS DISTINCT FROM (ltv_predict('cdnow', f), 1, current_date, NULL);
\d scores
-- The same day again changes nothing.
CREATE TABLE first_night AS TABLE scores;
CALL ltv_nightly('cdnow', features => 'serving', scores => 'scores');
SELECT step, status, message FROM steps WHERE run = 2 AND step = 'score';
SELECT count(*) AS different FROM (TABLE scores EXCEPT ALL TABLE first_night) d;

-- A week later some have other values, some are new, some are gone; and on the same day once more it is as it was.
UPDATE scores SET valid_from = valid_from - 7;
DELETE FROM scores WHERE customer_id < '00100';
CREATE VIEW changed AS SELECT (jsonb_populate_record(f, CASE WHEN f.customer_id BETWEEN '10000' AND '10999' THEN jsonb_build_object('monetary_mean', 3 * f.monetary_mean) ELSE '{}' END)).* FROM serving f WHERE f.customer_id <= '23000';
CREATE TABLE expected AS
    SELECT COALESCE(s.customer_id, f.customer_id) AS customer_id, s.ltv AS before, ltv_predict('cdnow', f) AS now, f.customer_id IS NULL AS is_gone FROM (SELECT * FROM scores WHERE valid_to IS NULL) s FULL JOIN changed f USING (customer_id);
CALL ltv_nightly('cdnow', '{score}', features => 'changed', scores => 'scores');
SELECT step, rows, message FROM steps WHERE run = 3;
SELECT count(*) FILTER (WHERE before IS NULL) AS new, count(*) FILTER (WHERE abs(before - now) > 0.01 * greatest(before, now)) AS changed, count(*) FILTER (WHERE is_gone) AS gone FROM expected;
SELECT count(*) AS different FROM (
    (SELECT customer_id, before AS ltv, current_date - 7 AS valid_from, CASE WHEN is_gone OR abs(before - now) > 0.01 * greatest(before, now) THEN current_date END AS valid_to FROM expected WHERE before IS NOT NULL
     UNION ALL SELECT customer_id, now, current_date, NULL FROM expected WHERE NOT is_gone AND (before IS NULL OR abs(before - now) > 0.01 * greatest(before, now)))
    EXCEPT ALL SELECT customer_id, ltv, valid_from, valid_to FROM scores) d;
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'scores', arguments => '{"score": {"minimum_change": 0}}');
SELECT step, rows, message FROM steps WHERE run = 4;
WITH now AS MATERIALIZED (SELECT f.customer_id, ltv_predict('cdnow', f) AS ltv FROM serving f)
SELECT count(*) AS different FROM (SELECT * FROM scores WHERE valid_to IS NULL) s FULL JOIN now n USING (customer_id) WHERE s.ltv IS DISTINCT FROM n.ltv;
DROP VIEW changed;
SELECT count(*) AS overlapping FROM scores a JOIN scores b USING (customer_id) WHERE a.valid_from < b.valid_from AND COALESCE(a.valid_to, 'infinity') > b.valid_from;
-- Which day is today depends on where: at least one of these is another day than the other.
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'east', time_zone => 'Pacific/Kiritimati');
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'west', time_zone => 'Etc/GMT+12');
SELECT (SELECT min(valid_from) FROM east) - (SELECT min(valid_from) FROM west) BETWEEN 1 AND 2 AS later_in_the_east;
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'missed', day => '2024-02-29');
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'missed', day => '2024-03-01');
SELECT valid_from, valid_to, count(*) FROM missed GROUP BY 1, 2;
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'missed', day => '2024-02-28');
\set VERBOSITY terse
CALL ltv_nightly('cdnow', '{score}', features => 'serving', scores => 'missed', day => 'infinity');
\set VERBOSITY default

-- Kept, for any scheduler. Names are followed.
SET client_min_messages = notice;
SELECT ltv_schedule('cdnow', NULL, features => 'serving', scores => 'history');
SET client_min_messages = warning;
CALL ltv_nightly('cdnow');
SELECT model, steps, schedule, features, scores, time_zone, command, last_status, last_message, jsonb_array_length(last_steps) AS steps_of_last FROM ltv_schedules;
ALTER TABLE serving RENAME TO today;
CREATE SCHEMA marts;
ALTER TABLE history SET SCHEMA marts;
CALL ltv_nightly('cdnow');
SELECT features, scores, last_status, (SELECT string_agg(s ->> 'step' || ' ' || (s ->> 'status') || ' ' || (s ->> 'rows') || ' ' || (s ->> 'seconds' IS NOT NULL), ', ') FROM jsonb_array_elements(last_steps) s) AS last FROM ltv_schedules;
-- Of two chains one has to be named.
SELECT ltv_schedule('cdnow', NULL, '{monitor}', 'SELECT * FROM today WHERE customer_id < ''05000''', arguments => '{"monitor": {"thresholds": {"frequency": 0.5}}}') IS NULL AS kept;
CALL ltv_nightly('cdnow');
CALL ltv_nightly('cdnow', '{monitor}');
SELECT step, status, rows FROM steps WHERE run = (SELECT max(run) FROM steps);
SELECT ltv_unschedule('cdnow', '{monitor}'), ltv_unschedule('cdnow', '{monitor}');

-- A step that fails: those before it stay, those behind it do not run, and it is an alert.
SELECT max(alert) AS last_alert FROM ltv_alerts \gset
ALTER TABLE today RENAME COLUMN frequency TO f;
CALL ltv_nightly('cdnow', '{monitor,score}', 'SELECT t.*, t.f AS frequency, 1 / (t.customer_id::int - 77) AS x FROM today t WHERE customer_id <> ''77''', 'scores');
CALL ltv_nightly('cdnow', '{score,monitor}', features => 'today', scores => 'scores');
ALTER TABLE today RENAME COLUMN f TO frequency;
SELECT step, status, rows IS NOT NULL AS rows, message, sqlstate FROM steps WHERE run = (SELECT max(run) FROM steps);
SELECT kind, version, run, feature, regexp_replace(message, 'run \d+', 'run N') AS message FROM ltv_alerts WHERE alert > :last_alert AND kind <> 'drift';
DROP TABLE today;
CALL ltv_nightly('cdnow');
SELECT step, status, message, sqlstate FROM steps WHERE run = (SELECT max(run) FROM steps);
SELECT last_status, last_message FROM ltv_schedules;
-- Made again under its name it is read again; features to train on are not moved to today.
SELECT ltv_create_features('today', 'log', date_column => 'ordered_at', value_column => 'amount', as_of => ARRAY[current_date - 30, current_date - 60], horizon => 20, attributes => 'customers');
CALL ltv_nightly('cdnow');
DROP TABLE today;
SELECT ltv_create_features('today', 'log', date_column => 'ordered_at', value_column => 'amount', as_of => current_date - 30, horizon => 270, attributes => 'customers', time_zone => 'Europe/Berlin');
CALL ltv_nightly('cdnow');
SELECT last_status FROM ltv_schedules;
-- A customer twice, and a table that is none of scores.
CALL ltv_nightly('cdnow', '{score}', 'SELECT * FROM today UNION ALL SELECT * FROM today', 'scores');
CALL ltv_nightly('cdnow', '{score}', 'today', 'log');
CALL ltv_nightly('cdnow', '{score}', 'today', 'steps');
CREATE VIEW scores_view AS TABLE scores;
CALL ltv_nightly('cdnow', '{score}', 'today', 'scores_view');
CALL ltv_nightly('cdnow', '{score}', 'today', 'new_scores', day => '-infinity');
CALL ltv_nightly('cdnow', '{score}', 'SELECT customer_id AS version, t.* FROM today t', 'by_version', id_column => 'version');

-- In a transaction block nothing is committed, and a failure is a warning.
SELECT max(run) AS last_run FROM steps \gset
BEGIN;
CALL ltv_nightly('cdnow', '{score,monitor}', time_zone => 'UTC');
CALL ltv_nightly('cdnow', '{score,monitor}', 'today', 'log');
SELECT step, status FROM steps WHERE run > :last_run;
ROLLBACK;
SELECT count(*) FROM steps WHERE run > :last_run;
-- Canceled.
SET statement_timeout = '1s';
CALL ltv_nightly('cdnow', '{score,monitor}', 'SELECT t.* FROM today t, LATERAL (SELECT pg_sleep(10) WHERE t.customer_id IS NOT NULL) x', 'scores');
RESET statement_timeout;
SELECT step, status, message, sqlstate FROM steps WHERE run > :last_run;

-- Two at once: one is refused as long as the session of the other is there, and lost when it is gone.
INSERT INTO ltv.nightly_steps (run, place, model, step, role, status, started_at, pid, backend_start, query_start)
SELECT 0, s.place, 'cdnow', s.step, current_user::regrole, 'running', now(), a.pid, a.backend_start, a.query_start FROM pg_stat_activity a, (VALUES (1, 'refresh')) s(place, step) WHERE backend_type = 'checkpointer';
INSERT INTO ltv.nightly_steps (run, place, model, step, role, status) VALUES (0, 2, 'cdnow', 'score', current_user::regrole, 'waiting');
\set VERBOSITY terse
CALL ltv_nightly('cdnow', '{monitor}', 'today');
\set VERBOSITY default
UPDATE ltv.nightly_steps SET backend_start = backend_start - interval '1 day' WHERE run = 0;
CALL ltv_nightly('cdnow', '{monitor}', 'today');
SELECT step, status, message FROM steps WHERE run = 0;
SELECT message FROM ltv_alerts ORDER BY alert DESC LIMIT 1;

-- Retraining as a step, and what comes of retrainings. Here the customers are too few, and there the metric is lower.
CREATE TABLE small AS SELECT i AS customer_id, i % 7 AS a, CASE WHEN i % 3 = 0 THEN i % 50 ELSE 0 END AS ltv FROM generate_series(1, 300) i;
CALL ltv_train_now('small', 'small', options => '{"epochs": 1, "ensemble": 1}');
TRUNCATE small;
CALL ltv_nightly('small', '{retrain}', arguments => '{"retrain": {"promote": "always"}}');
SELECT step, status, rows, regexp_replace(message, '\d+', 'N') AS message FROM steps WHERE run = (SELECT max(run) FROM steps);
SELECT ltv_wait(max(job)) FROM ltv_jobs;
SELECT kind, version, regexp_replace(message, 'job \d+', 'job N') AS message FROM ltv_alerts WHERE model = 'small';
SELECT ltv.judge(current_user::regrole, 'small', 1, '{"promotion": {"promote": "if_better", "metric": "normalized_gini", "minimum_gain": 0}}', '{"before": 0.8, "after": 0.7}');
SELECT ltv.judge(current_user::regrole, 'small', 1, '{"promotion": {"promote": "if_better", "metric": "mae", "minimum_gain": 0}}', '{"before": 7, "after": 6.5}');
SELECT ltv.judge(current_user::regrole, 'small', 1, '{"promotion": {"promote": "if_better", "metric": "mae", "minimum_gain": 0}}', '{"error": "no such column", "sqlstate": "42703"}');
SELECT kind, version, message FROM ltv_alerts WHERE model = 'small' AND version IS NOT NULL ORDER BY alert;

-- Without a champion; arguments that cannot be.
SELECT ltv_drop_alias('small', 'champion');
CALL ltv_nightly('small', '{score}', 'SELECT 1 AS customer_id, 2 AS a', 'small_scores');
SELECT to_regclass('small_scores') IS NULL AS not_made;
CALL ltv_nightly('no_such');
CALL ltv_nightly('cdnow', '{dance}');
CALL ltv_nightly('cdnow', '{}');
CALL ltv_nightly('cdnow', '{monitor,monitor}', 'today');
CALL ltv_nightly('small', '{refresh}');
CALL ltv_nightly('small', '{score}', 'today');
CALL ltv_nightly('small', '{score}', scores => 'scores');
CALL ltv_nightly('cdnow', '{score}', 'no_such', 'scores');
CALL ltv_nightly('cdnow', '{monitor}', 'today', arguments => '{"score": {}}');
CALL ltv_nightly('cdnow', '{monitor}', 'today', arguments => '{"monitor": 7}');
CALL ltv_nightly('cdnow', '{monitor}', 'today', arguments => '{"monitor": {"colour": 7}}');
CALL ltv_nightly('cdnow', '{score}', 'today', 'scores', arguments => '{"score": {"minimum_change": 2}}');
CALL ltv_nightly('cdnow', '{score}', 'today', 'scores', time_zone => 'Atlantis');
CALL ltv_nightly('cdnow', '{score}', 'today', 'no_such.scores');
CALL ltv_nightly('cdnow', '{refresh}', 'SELECT * FROM today');
CALL ltv_nightly('cdnow', '{refresh}', 'log');
SELECT ltv_schedule('cdnow', NULL, features => 'today');
\set VERBOSITY sqlstate
SELECT ltv_schedule('cdnow', '0 3 * * *', features => 'today', scores => 'scores');
\set VERBOSITY default

-- Who may predict may score into a table of his own, and sees his steps only. What needs more is refused before anything runs.
CREATE ROLE nightly_clerk;
GRANT CREATE, USAGE ON SCHEMA marts TO nightly_clerk;
GRANT SELECT ON today, scores TO nightly_clerk;
GRANT ALL ON east TO nightly_clerk;
SELECT ltv_grant('cdnow', 'nightly_clerk', 'predict');
SET ROLE nightly_clerk;
SELECT count(*) FROM ltv_nightly_steps;
SELECT count(*) FROM ltv_schedules;
CALL ltv_nightly('cdnow', '{score}', 'today', 'marts.mine');
CALL ltv_nightly('cdnow', '{score}', 'today', 'east');
CALL ltv_nightly('cdnow', '{score,monitor}', 'today', 'marts.mine');
CALL ltv_nightly('cdnow', '{retrain}');
CALL ltv_nightly('cdnow', '{refresh}', 'today');
SELECT step, status, role, rows, sqlstate FROM ltv_nightly_steps;
SELECT ltv_schedule('cdnow', NULL, '{score}', 'today', 'marts.mine') IS NULL AS kept;
SELECT owner FROM ltv.chains;
RESET ROLE;
SELECT count(*), count(*) FILTER (WHERE role = 'nightly_clerk') AS of_the_clerk FROM ltv_schedules;
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'marts.mine'::regclass;
SELECT (SELECT count(*) FROM ltv_alerts WHERE kind = 'step' AND model = 'cdnow') = (SELECT count(*) FROM ltv_nightly_steps WHERE model = 'cdnow' AND status IN ('failed', 'lost') AND role <> 'nightly_clerk') AS none_of_the_clerk;
-- With the model everything goes that is ours; the tables of scores stay.
SELECT ltv_drop_model('cdnow');
SELECT (SELECT count(*) FROM ltv.chains) AS chains, (SELECT count(*) FROM ltv.nightly_steps WHERE model = 'cdnow') AS steps, (SELECT count(*) > 0 FROM scores) AS scores;
DROP OWNED BY nightly_clerk;
DROP ROLE nightly_clerk;
