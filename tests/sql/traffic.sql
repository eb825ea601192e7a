-- Traffic between champion and challenger, the promotion rule, keeping versions, bad arguments.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
INSERT INTO ltv.models (model, last_version) VALUES ('m', 3), ('empty', 0);
INSERT INTO ltv.versions (model, version, checksum, onnx, schema) SELECT 'm', v, encode(sha256('x'), 'hex'), 'x', '{}' FROM generate_series(1, 5) v;
SELECT ltv_set_alias('m', 1);
SELECT ltv_set_traffic('m', 0.1);
SELECT ltv_set_alias('m', 3, 'challenger');
SELECT ltv_set_traffic('m', 0.1);
TABLE ltv_traffic;
CREATE TABLE assigned AS SELECT i, ltv_assigned_version('m', i::text) AS version FROM generate_series(1, 10000) i;
SELECT version, round(count(*) / 10000.0, 2) AS share FROM assigned GROUP BY 1 ORDER BY 1;
-- Customers only move to the challenger when its share grows.
SELECT ltv_set_traffic('m', 0.3);
SELECT a.version AS before, ltv_assigned_version('m', i::text) AS now, round(count(*) / 10000.0, 2) AS share FROM assigned a GROUP BY 1, 2 ORDER BY 1, 2;
SELECT ltv_set_traffic('m', 0);
SELECT DISTINCT ltv_assigned_version('m', i::text) FROM generate_series(1, 100) i;
SELECT ltv_set_traffic('m', 1.5);
SELECT ltv_assigned_version('empty', '1');
SELECT ltv_assigned_version('no_such', '1');

-- Keeping: the newest, and those with an alias.
SELECT ltv_keep_versions('m', 2);
SELECT version, aliases FROM ltv_versions ORDER BY 1;
SELECT settings FROM ltv_models WHERE model = 'm';
SELECT ltv_keep_versions('m', NULL);
SELECT settings FROM ltv_models WHERE model = 'm';
SELECT ltv_keep_versions('m', 0);

-- Versions that stored scores depend on stay.
CREATE TABLE scored (id int, x real[], ltv float8 GENERATED ALWAYS AS (ltv_predict('m', 5, x)) STORED);
CREATE INDEX by_score ON scored (ltv_predict('m', 4, x));
SELECT ltv_set_alias('m', 3);
SELECT ltv_drop_version('m', 4);
SELECT ltv_drop_version('m', 5);
SELECT ltv_drop_model('m');
SELECT ltv_keep_versions('m', 1);
DROP INDEX by_score;
SELECT ltv_drop_version('m', 4);
DROP TABLE scored;

-- The promotion rule.
SELECT ltv_set_promotion('m', 'if_better', 'decile_mape', 0.01);
SELECT settings FROM ltv_models WHERE model = 'm';
SELECT ltv_set_promotion('m', 'sometimes');
SELECT ltv_set_promotion('m', metric => 'beauty');
SELECT ltv_set_promotion('m', minimum_gain => -1);
SELECT ltv_set_promotion('m', held_out => 1);
SELECT ltv_set_promotion('no_such');
SELECT ltv_retrain('m');
SELECT ltv_retrain('empty');
SELECT ltv_backtest('m');
SELECT ltv_validate_data_skew('m', 'SELECT 1 AS x');
SELECT ltv_monitor('empty');

-- Without pg_cron.
\set VERBOSITY sqlstate
SELECT ltv_schedule('m', '0 3 * * 1', '{retrain}');
\set VERBOSITY default
SELECT ltv_schedule('m', '0 3 * * 1', '{monitor}', arguments => '{"monitor": {"colour": "red"}}');
SELECT ltv_schedule('m', '0 3 * * 1', '{dance}');
TABLE ltv_schedules;
SELECT ltv_unschedule('m');
