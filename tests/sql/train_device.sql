-- Where a job is trained. There is no library for GPUs here: nobody hears of that who did not ask for one.
CREATE TABLE customers AS SELECT i AS customer_id, i % 7 AS a, greatest(i % 11 - 5, 0)::float8 AS ltv FROM generate_series(1, 500) i;
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT ltv_train('m', 'customers', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_train('m', 'customers', options => '{"epochs": 1, "ensemble": 1, "device": "cpu"}') AS job \gset
SELECT ltv_wait(:job);
SELECT status, message FROM ltv_jobs ORDER BY job;
SELECT count(DISTINCT checksum) AS models FROM ltv.versions;
SELECT ltv_train('m', 'customers', options => '{"device": "gpu"}');
SELECT ltv_train('m', 'customers', options => '{"device": "cuda:-1"}');
-- Only a superuser chooses what the server loads.
CREATE ROLE ltv_nobody;
SET ROLE ltv_nobody;
SET ltv.cuda_library = 'mine.so';
RESET ROLE;
DROP ROLE ltv_nobody;
