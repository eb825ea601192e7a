-- Jobs seen from SQL: waiting for one's last job or a model's, a time-out, one statement for all of it, columns that are left out, what is refused at
-- once, and errors that tell of the user's own statement only.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;  -- the progress of a job depends on the time
CREATE TABLE good AS SELECT i AS customer_id, i % 7 AS a, (i % 3)::text AS b, '{}'::jsonb AS "the rest", '(1,2)'::point AS place,
    (CASE WHEN i % 3 = 0 THEN i ELSE 0 END)::float8 AS ltv FROM generate_series(1, 60) i;
\set quick '{"epochs": 1, "ensemble": 1}'

-- Errors, each without a CONTEXT
SELECT ltv_wait();
SELECT ltv_wait('m');
SELECT ltv_wait(NULL::bigint);
SELECT ltv_wait(1000000);
SELECT ltv_cancel(1000000);
SELECT ltv_retry(1000000);
SELECT ltv_train('m', 'nothing');
SELECT ltv_train('m', 'good', options => (repeat('[', 300) || repeat(']', 300))::jsonb);
\set VERBOSITY terse
SELECT ltv_train('m', query => 'SELECT * FORM good');
SELECT ltv_train('m', query => 'SELECT a, lvt FROM good');
SELECT ltv_train('m', 'good', options => '{"epochs": 1e400}');
SELECT ltv_train('m', 'good', options => ('{"hidden": ' || repeat('[', 300) || repeat(']', 300) || '}')::jsonb);
\set VERBOSITY default

-- Columns that cannot be used are named all at once, in the form in which they are left out.
SELECT ltv_train('m', 'good');
SELECT ltv_train('m', 'good', exclude => '{place,nothing}');
SELECT ltv_train('m', 'good', exclude => '{{place},{nothing}}');
SELECT ltv_train('m', 'good', exclude => '{place,NULL}');
SELECT ltv_train('m', 'good', exclude => '{place}', features => '{a}');
SELECT ltv_train('m', 'good', exclude => '{"the rest",place}', options => :'quick') > 0;
SELECT ltv_wait('m'), ltv_wait(), ltv_wait(max(job)), ltv_wait(max(job)::text), ltv_wait(timeout => '1 min') FROM ltv_jobs;
SELECT schema #>> '{inputs,0,name}', schema #>> '{inputs,1,name}', jsonb_array_length(schema -> 'inputs'), recipe -> 'exclude' FROM ltv_versions;

-- A session that waits no longer; the job goes on.
SELECT ltv_train('m', query => 'SELECT customer_id, a, ltv FROM good, pg_sleep(600)') AS job \gset
SELECT ltv_wait('m', timeout => '0.2 s');
SELECT status IN ('queued', 'running') FROM ltv_jobs WHERE job = :job;
SELECT ltv_cancel(:job);
DO $$ BEGIN PERFORM ltv_wait('m'); EXCEPTION WHEN query_canceled THEN RAISE WARNING '%', regexp_replace(SQLERRM, '\d+', 'N'); END $$;

-- All in one statement
CALL ltv_train_now('now', query => 'SELECT customer_id, a, ltv FROM good;', options => :'quick');
BEGIN;
CALL ltv_train_now('now', 'good', exclude => '{"the rest",place}', options => :'quick');
ROLLBACK;
SELECT count(*) FROM ltv_jobs WHERE model = 'now';

-- Not for a worker: what only this session sees, and what has nothing to learn from
CREATE TEMP TABLE passing AS SELECT customer_id, a, ltv FROM good;
CREATE TEMP VIEW passing_view AS SELECT * FROM passing;
SELECT ltv_train('m', query => 'SELECT * FROM passing');
SELECT ltv_train('m', query => 'SELECT g.customer_id, g.a, p.ltv FROM good g JOIN passing_view p USING (customer_id)');
CREATE TABLE unlabelled AS SELECT customer_id, a, NULL::float8 AS ltv FROM good;
SELECT ltv_train('m', 'unlabelled');

-- A role that may not call ltv_train queues nothing by another way, and nobody does in the name of a function's owner.
CREATE ROLE train_jobs_user;
GRANT SELECT ON good TO train_jobs_user;
GRANT ALL ON SCHEMA public TO train_jobs_user;
CREATE FUNCTION for_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT ltv_train('for_all', query => 'SELECT customer_id, a, ltv FROM good') $$;
SET SESSION AUTHORIZATION train_jobs_user;
SELECT for_all();
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON FUNCTION ltv_train FROM PUBLIC;
SET ROLE train_jobs_user;
SELECT ltv_train('other', query => 'SELECT customer_id, a, ltv FROM good');
SELECT ltv_compare('other', query => 'SELECT customer_id, a, ltv FROM good');
SELECT ltv.queue_job('other', 'train', '{}', '{}', 'train_jobs_user');
RESET ROLE;
GRANT EXECUTE ON FUNCTION ltv_train TO PUBLIC;
-- Only where it is looked at is it known that a temporary object or a queue is out of place.
CREATE FUNCTION number(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i';
CREATE INDEX ON good (number(a));
CREATE OR REPLACE FUNCTION number(i int) RETURNS int VOLATILE LANGUAGE sql AS $$ SELECT public.ltv_train('m', query => 'SELECT customer_id, a, ltv FROM public.good')::int $$;
ANALYZE good;
SELECT count(*) FROM ltv_jobs WHERE status IN ('queued', 'running');
DROP OWNED BY train_jobs_user;
DROP ROLE train_jobs_user;
