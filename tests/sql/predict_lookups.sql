-- What a statement looks up in the catalog: by index, as often for many rows as for one; of a model that the session knows, only its alias.
-- Counts are those since the last flush.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
SELECT ltv_import_onnx('m', decode(:'linear', 'base64'), outputs => '{"ltv": "variable"}') AS version;
CREATE VIEW looked_up AS SELECT relname AS name, seq_scan, idx_scan FROM pg_stat_xact_all_tables WHERE schemaname = 'ltv' AND seq_scan + COALESCE(idx_scan, 0) > 0 ORDER BY 1;
CREATE TABLE pairs AS SELECT ARRAY[i, 1]::real[] AS x FROM generate_series(1, 3000) i;
GRANT SELECT ON pairs, looked_up TO PUBLIC;
\c
-- The first statement of a session
SELECT pg_stat_force_next_flush();
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs;
SELECT * FROM looked_up;
COMMIT;
-- The next ones: an alias may have moved, the version cannot have changed. Of three tries the one that looked up least (table, sequential scans, index scans): a role
-- that another test makes meanwhile makes every session look again.
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS first FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS second FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS third FROM looked_up \gset
COMMIT;
SELECT t.looked_up FROM (VALUES (:'first'), (:'second'), (:'third')) t(looked_up) ORDER BY length(t.looked_up) LIMIT 1;
-- Row by row
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SET LOCAL ltv.enable_batch_scan = off;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS first FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SET LOCAL ltv.enable_batch_scan = off;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS second FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SET LOCAL ltv.enable_batch_scan = off;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS third FROM looked_up \gset
COMMIT;
SELECT t.looked_up FROM (VALUES (:'first'), (:'second'), (:'third')) t(looked_up) ORDER BY length(t.looked_up) LIMIT 1;
-- A pinned version
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', 1, x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS first FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', 1, x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS second FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', 1, x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS third FROM looked_up \gset
COMMIT;
SELECT t.looked_up FROM (VALUES (:'first'), (:'second'), (:'third')) t(looked_up) ORDER BY length(t.looked_up) LIMIT 1;
-- Of a role that was given the right to predict
CREATE ROLE predict_lookups_user;
SELECT ltv_grant('m', 'predict_lookups_user');
SET ROLE predict_lookups_user;
SELECT ltv_predict('m', x) IS NOT NULL AS scored FROM pairs LIMIT 1;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS first FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS second FROM looked_up \gset
COMMIT;
SELECT pg_stat_force_next_flush() \gset
BEGIN;
SELECT count(ltv_predict('m', x)) FROM pairs \gset
SELECT string_agg(format('%s %s %s', name, seq_scan, idx_scan), ', ' ORDER BY name) AS third FROM looked_up \gset
COMMIT;
SELECT t.looked_up FROM (VALUES (:'first'), (:'second'), (:'third')) t(looked_up) ORDER BY length(t.looked_up) LIMIT 1;
RESET ROLE;
DROP OWNED BY predict_lookups_user;
SELECT ltv_revoke('m', 'predict_lookups_user');
DROP ROLE predict_lookups_user;
