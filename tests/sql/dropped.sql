-- Dropping the extension ends what runs for it, and what is made anew in its place is not touched by what is left of the old one.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE customers AS SELECT i AS customer_id, (i % 17)::real AS a, CASE WHEN i % 3 = 0 THEN 0 ELSE i % 17 END AS ltv FROM generate_series(1, 300) i;
CREATE FUNCTION until(condition text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    met boolean;
BEGIN
    FOR i IN 1 .. 300 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXECUTE 'SELECT ' || condition INTO met;
        EXIT WHEN met;
        PERFORM pg_sleep(0.1);
    END LOOP;
    RETURN met;
END
$$;
CREATE VIEW workers AS SELECT a.pid FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_type = 'pg_ltv worker';
SELECT ltv_train('m', 'customers', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job) AS version, ltv_export_model('m') AS file \gset
PREPARE scored AS SELECT count(ltv_predict('m', c)) FROM customers c;
EXECUTE scored;
SELECT ltv_train('m', 'customers', options => '{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}') AS job \gset
SELECT until(format('(SELECT phase = ''training'' FROM ltv_jobs WHERE job = %s)', :job)) AS trains;
DROP EXTENSION pg_ltv CASCADE;
CREATE EXTENSION pg_ltv;
SELECT until('NOT EXISTS (SELECT FROM workers)') AS ended;
-- Jobs are numbered from 1 again.
SELECT ltv_import_model(:'file'::bytea);
EXECUTE scored;
SELECT ltv_train('m', 'customers', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT job, status FROM ltv_jobs;
-- Another one in its place while the job goes on.
SELECT ltv_train('m', 'customers', options => '{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}') AS job \gset
SELECT until(format('(SELECT phase = ''training'' FROM ltv_jobs WHERE job = %s)', :job)) AS trains;
BEGIN;
DROP EXTENSION pg_ltv CASCADE;
CREATE EXTENSION pg_ltv;
SELECT ltv_train('n', 'customers', options => '{"epochs": 1, "ensemble": 1}'), ltv_train('o', 'customers', options => '{"epochs": 1, "ensemble": 1}'), ltv_train('p', 'customers', options => '{"epochs": 1, "ensemble": 1}');
COMMIT;
SELECT ltv_wait('n'), ltv_wait('o'), ltv_wait('p');
SELECT job, model, status FROM ltv_jobs ORDER BY job;
SELECT until('NOT EXISTS (SELECT FROM workers)') AS ended;
DROP EXTENSION pg_ltv CASCADE;
