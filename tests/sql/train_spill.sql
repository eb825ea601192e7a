-- More rows than ltv.training_memory holds: they go through a temporary file. The model is as good as with all rows in
-- memory, the same every time, and nothing is left behind.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;  -- the progress of a job depends on the time
SELECT setseed(0.5);
CREATE TABLE customers AS
SELECT s.*, CASE WHEN random() < 1 / (1 + exp(1 - 2 * coalesce(a, 0))) THEN exp(3 + b + coalesce(length(country), 0) * 0.2 + random()) ELSE 0 END AS ltv
FROM (SELECT id AS customer_id, CASE WHEN id % 50 <> 0 THEN random() * 2 - 1 END AS a, random() AS b, (ARRAY['FR', 'Spain', 'Portugal', NULL])[1 + (id * 7919) % 4] AS country,
             date '2024-01-01' + (id * 31) % 300 AS first_order, ARRAY[random(), random(), random(), random(), random(), random(), random(), random()]::real[] AS noise
      FROM generate_series(1, 80000) id OFFSET 0) s;
CREATE FUNCTION trained(model text, relation text = 'customers', options jsonb = '{}') RETURNS text LANGUAGE sql AS
    $$ SELECT ltv_train(model, relation, options => '{"epochs": 4, "ensemble": 1, "batch_size": 512}' || options) $$;

SELECT trained('memory') AS job \gset
SELECT ltv_wait(:job);
SET ltv.training_memory = '32MB';
SELECT trained('file') AS job \gset
SELECT ltv_wait(:job);
SELECT message FROM ltv_jobs WHERE job = :job;
-- The truth is the same, and so is what was learned of it.
SELECT f.n_rows, f.n_rows = m.n_rows AS all_rows, f.checksum <> m.checksum AS another_order,
       abs((f.metrics ->> 'normalized_gini')::float8 - (m.metrics ->> 'normalized_gini')::float8) < 0.02 AS gini,
       abs((f.metrics ->> 'auc')::float8 - (m.metrics ->> 'auc')::float8) < 0.02 AS auc,
       (f.metrics ->> 'normalized_gini')::float8 > 0.35 AS learned,
       (f.history #>> '{networks,0,training_rows}')::int = (m.history #>> '{networks,0,training_rows}')::int AS training_rows
FROM ltv.versions f, ltv.versions m WHERE f.model = 'file' AND m.model = 'memory';
-- All customers, in and out of the part that was looked at in advance.
SELECT round(corr(ltv_predict('file', f), ltv_predict('memory', f))::numeric, 1) FROM customers f;

-- The same customers give the same model, bit for bit, however they are stored.
CREATE TABLE shuffled AS SELECT * FROM customers ORDER BY hashint4(customer_id);
SELECT trained('file', 'shuffled') AS job \gset
SELECT ltv_wait(:job);
SELECT count(DISTINCT checksum) FROM ltv.versions WHERE model = 'file';

-- Without ids the rows are told apart by their number.
SELECT ltv_train('file', query => 'SELECT a, b, country, ltv FROM customers', id_column => NULL, options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);

-- A value of its own in each row: such a column neither fails the job nor takes the memory; what comes late but often is told apart.
SELECT ltv_train('wide', query => $$ SELECT *, md5(customer_id::text) AS own, CASE WHEN customer_id > 40000 THEN 'late' ELSE 'early' END AS half FROM customers $$,
                 options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT message FROM ltv_jobs WHERE job = :job;
SELECT f ->> 'name', (f ->> 'missing')::float8 > 0.8 AS missing, round((f #>> '{categories,late}')::numeric, 1) AS late, round((f #>> '{categories,Spain}')::numeric, 1) AS spain
FROM ltv.versions, jsonb_array_elements(statistics -> 'features') f WHERE model = 'wide' AND f ->> 'kind' = 'categorical';

-- Several networks, each of which leaves out a third of all customers.
SELECT trained('several', options => '{"ensemble": 3}') AS job \gset
SELECT ltv_wait(:job);
SELECT metrics ->> 'evaluated_on' AS evaluated_on, (metrics ->> 'normalized_gini')::float8 > 0.35 AS learned,
       (SELECT string_agg(round((n ->> 'training_rows')::numeric / n_rows, 2)::text, ' ') FROM jsonb_array_elements(history -> 'networks') n) AS shares
FROM ltv.versions WHERE model = 'several';

-- Cancelled while it trains: one file while it runs, none afterwards.
SELECT trained('file', options => '{"epochs": 100000, "patience": 100000}') AS job \gset
DO $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        EXIT WHEN EXISTS (SELECT FROM ltv_jobs WHERE phase = 'training' AND status = 'running');
        PERFORM pg_sleep(0.02);
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
END
$$;
SELECT pid AS worker FROM ltv_jobs WHERE job = :job \gset
SELECT count(*) FROM pg_ls_tmpdir() WHERE name LIKE 'pgsql_tmp' || :worker || '.%';
SELECT ltv_cancel(:job);
SELECT ltv_wait(:job);
SELECT status FROM ltv_jobs WHERE job = :job;
SELECT count(*) FROM pg_ls_tmpdir() WHERE name LIKE 'pgsql_tmp' || :worker || '.%';

-- temp_file_limit holds.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET temp_file_limit = ''1MB''', current_database()); END $$;
SELECT trained('file') AS job \gset
\set VERBOSITY sqlstate
SELECT ltv_wait(:job);
\set VERBOSITY default
-- Some releases put the name of the setting in quotes.
SELECT status, sqlstate, replace(message, '"', '') AS message, hint FROM ltv_jobs WHERE job = :job;
