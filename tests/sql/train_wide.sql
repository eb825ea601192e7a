-- Very wide rows, and the same model from the same data and seed, to the last bit.
SET client_min_messages = warning;  -- the progress of a job depends on the time
\set SHOW_CONTEXT never

-- PostgreSQL itself ends at 1,664 columns, so 5,000 of them come as an array.
CREATE TABLE wide AS
SELECT i AS customer_id, ARRAY(SELECT ((i * j) % 13)::real FROM generate_series(1, 5000) j) AS features,
       CASE WHEN i % 3 = 0 THEN i % 13 ELSE 0 END::float8 AS ltv
FROM generate_series(1, 300) i;
SELECT ltv_train('wide', 'wide', options => '{"epochs": 2, "ensemble": 1, "hidden_sizes": [8]}') AS job \gset
SELECT ltv_wait(:job) AS version;
SELECT count(*), bool_and(ltv_predict('wide', features) >= 0) AS valid FROM wide;
SELECT string_agg(format('1 AS c%s', i), ', ') AS columns FROM generate_series(1, 5000) i \gset
SELECT ltv_train('too_wide', query => 'SELECT 1 AS customer_id, 2 AS ltv, ' || :'columns');

-- Twice the same, once another seed.
SELECT ltv_train('wide', 'wide', options => '{"epochs": 2, "ensemble": 1, "hidden_sizes": [8]}') AS job \gset
SELECT ltv_wait(:job) AS version;
SELECT ltv_train('wide', 'wide', options => '{"epochs": 2, "ensemble": 1, "hidden_sizes": [8], "seed": 1}') AS job \gset
SELECT ltv_wait(:job) AS version;
SELECT a.checksum = b.checksum AS same_seed_same_model, a.checksum <> c.checksum AS other_seed_other_model
FROM ltv_versions a, ltv_versions b, ltv_versions c
WHERE (a.model, a.version, b.model, b.version, c.model, c.version) = ('wide', 1, 'wide', 2, 'wide', 3);
