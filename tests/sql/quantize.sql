-- Versions with 8-bit weights.
\set SHOW_CONTEXT never
CREATE TABLE c AS SELECT i AS customer_id, (i * 37 % 101)::real AS recency, nullif(i % 13, 0)::real AS frequency,
    (i * 7919 % 997) / 10.0 AS monetary, (ARRAY['DE', 'FR', 'GB', NULL])[i % 4 + 1] AS country,
    greatest(0, (i * 7919 % 997) / 5.0 - (i * 37 % 101)) AS ltv FROM generate_series(1, 2000) i;
SELECT ltv_train('m', 'c', options => '{"epochs": 4, "ensemble": 1, "hidden_sizes": [64, 32], "seed": 1, "blend_trees": false}') AS job;
SET client_min_messages = warning;
SELECT ltv_wait(max(job)) AS version FROM ltv_jobs;
RESET client_min_messages;

-- The sample may come from the statistics, or from a relation or a query.
SELECT ltv_quantize('m') AS version;
SELECT ltv_quantize('m', 1, 'c') AS version;
SELECT ltv_quantize('m', query => 'SELECT * FROM c WHERE customer_id > 1000') AS version;
-- What it costs and brings stands with the version.
SELECT version, q -> 'version' AS made_from, q ->> 'sample' AS sample, q -> 'sample_rows' AS rows,
    (q ->> 'bytes')::float8 < 0.7 * (q ->> 'original_bytes')::float8 AS smaller,
    (q #>> '{ltv,relative_difference}')::float8 BETWEEN 1e-6 AND 0.05 AS close,
    abs((q #>> '{ltv,total_changes_by}')::float8) < 0.02 AS total_close,
    (q ->> 'speedup')::float8 > 0 AS timed
FROM (SELECT version, metrics -> 'quantization' AS q FROM ltv.versions WHERE model = 'm') v WHERE q IS NOT NULL ORDER BY version;
-- Measured again here, in the database.
SELECT sum(abs(ltv_predict('m', 3, c) - ltv_predict('m', 1, c))) BETWEEN 1e-6 * sum(ltv_predict('m', 1, c)) AND 0.05 * sum(ltv_predict('m', 1, c)) AS close FROM c;
-- Rows do not depend on each other: batches and single rows agree.
CREATE TABLE together AS SELECT customer_id, ltv_predict('m', 3, c) AS p FROM c;
SET ltv.enable_batch_scan = off;
SELECT count(*) FROM c JOIN together USING (customer_id) WHERE abs(p - ltv_predict('m', 3, c)) > 1e-4 * greatest(1, abs(p));
RESET ltv.enable_batch_scan;
-- The champion stays, unless asked for and faster.
SELECT version FROM ltv.aliases WHERE model = 'm' AND alias = 'champion';
SET client_min_messages = warning;
SELECT ltv_quantize('m', 1, promote => true) AS version;
RESET client_min_messages;
SELECT a.version = CASE WHEN (v.metrics #>> '{quantization,speedup}')::float8 > 1.1 THEN 5 ELSE 1 END AS as_measured
FROM ltv.aliases a, ltv.versions v WHERE a.model = 'm' AND a.alias = 'champion' AND v.model = 'm' AND v.version = 5;

SELECT ltv_quantize('m', 2);
SELECT ltv_quantize('m', 1, 'SELECT * FROM c WHERE false');
SELECT ltv_quantize('m', 1, 'SELECT 1e400::numeric AS recency, 1 AS frequency, 2 AS monetary, ''x'' AS country');
SELECT ltv_quantize('m', 99);
SELECT ltv_quantize('nobody');
-- Nothing in it to quantise; no statistics.
\i tests/data/scoring/load.sql
SELECT ltv_quantize('vector');
SELECT ltv_quantize('vector', query => 'SELECT ARRAY[1.0, 2.0, 3.0, 4.0] AS f');
