-- Every type of feature is read as PostgreSQL itself converts it: a table of all types and the same table cast by SQL
-- give the same statistics of the training data.
SET client_min_messages = warning;  -- the progress of a job depends on the time
CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy');
CREATE DOMAIN money_amount AS numeric(20, 4) CHECK (value > -1e12);

CREATE TABLE typed AS SELECT
    i AS customer_id,
    CASE WHEN i % 4 = 0 THEN (i * 31 % 97)::numeric ELSE 0 END AS ltv,
    NULLIF(i % 11, 3)::int2 AS small,
    i * 7919 % 1000 - 500 AS whole,
    i * 1000000000039 AS big,
    CASE i % 9 WHEN 0 THEN 'inf' WHEN 1 THEN 'nan' WHEN 2 THEN NULL ELSE i / 7.0 END::float4 AS single,
    CASE i % 9 WHEN 0 THEN '-inf' WHEN 1 THEN 'nan' WHEN 2 THEN NULL ELSE -i / 7.0 END::float8 AS double,
    i::numeric AS digits_few,
    CASE i % 8 WHEN 0 THEN 'NaN' WHEN 1 THEN NULL WHEN 2 THEN 'Infinity'::numeric ELSE i / 3.0 END AS digits_many,
    (i - 250) * 1e-17::numeric AS digits_tiny,
    (i - 250) * 1e17::numeric + 0.125 AS digits_huge,
    ((i - 250) * 12.3456)::numeric(12, 4) AS digits_fixed,
    (-i * 0.0001)::money_amount AS digits_domain,
    CASE i % 7 WHEN 0 THEN 'infinity' WHEN 1 THEN NULL ELSE '1969-12-01'::date + i END AS day,
    CASE i % 7 WHEN 0 THEN '-infinity' WHEN 1 THEN NULL ELSE timestamp '1999-12-31 23:00' + i * interval '7 hours' END AS moment,
    CASE i % 7 WHEN 1 THEN NULL ELSE timestamptz '2024-03-01 00:00+00' + i * interval '5 hours' END AS moment_tz,
    i % 3 = 0 AS flag,
    CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'Grüße' ELSE 'c' || i % 13 END AS words,
    ('v' || i % 6)::varchar(10) AS words_limited,
    ('p' || i % 6)::char(5) AS words_padded,
    (enum_range(NULL::mood))[1 + i % 3] AS mood,
    md5((i % 8)::text)::uuid AS uuid,
    ('n' || i % 4)::name AS name,
    i % 17 AS code,
    repeat('long', 1000) || i % 3 AS words_long,
    ARRAY[i, NULL, -i]::int[] AS ints,
    ARRAY[i, i * 2]::int2[] AS small_ints,
    ARRAY[i * 10000000000, 3]::int8[] AS big_ints,
    ARRAY[i / 3.0, 'NaN']::float4[] AS singles,
    CASE WHEN i % 10 > 0 THEN ARRAY[i / 3.0, NULL, 'inf', 2]::float8[] END AS doubles,
    CASE WHEN i % 10 > 1 THEN ARRAY[i / 3.0, NULL]::numeric[] END AS numerics
FROM generate_series(1, 500) i;
-- Toasted values are read like others.
ALTER TABLE typed ALTER words_long SET STORAGE EXTERNAL;
UPDATE typed SET words_long = words_long || '';

CREATE FUNCTION finite(x float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT CASE WHEN abs(x) < 'inf' THEN x END $$;
CREATE FUNCTION days(x timestamp) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT CASE WHEN isfinite(x) THEN extract(epoch FROM x) / 86400 END $$;
CREATE FUNCTION floats(x text) RETURNS float8[] IMMUTABLE LANGUAGE sql AS $$ SELECT array_agg(finite(v::float8) ORDER BY i) FROM unnest(x::text[]) WITH ORDINALITY AS a(v, i) $$;
CREATE VIEW cast_by_sql AS SELECT customer_id, ltv::float8,
    small::float8, whole::float8, big::float8, finite(single) AS single, finite(double) AS double,
    digits_few::float8, finite(digits_many::float8) AS digits_many, digits_tiny::float8, digits_huge::float8, digits_fixed::float8, digits_domain::float8,
    days(day) AS day, days(moment) AS moment, days(moment_tz AT TIME ZONE 'UTC') AS moment_tz,
    flag::text, NULLIF(words, '') AS words, words_limited::text, words_padded::text, mood::text, uuid::text, name::text, code::text, words_long,
    floats(ints::text) AS ints, floats(small_ints::text) AS small_ints, floats(big_ints::text) AS big_ints,
    floats(singles::text) AS singles, floats(doubles::text) AS doubles, floats(numerics::text) AS numerics
FROM typed;

SET TimeZone = 'America/New_York';
SELECT ltv_train('typed', 'typed', options => '{"epochs": 1, "categorical": ["code"], "min_count": 1}') AS typed,
       ltv_train('cast_by_sql', 'cast_by_sql', options => '{"epochs": 1, "min_count": 1}') AS cast_by_sql \gset
SELECT ltv_wait(:typed), ltv_wait(:cast_by_sql);

SELECT i ->> 'name' AS name, i ->> 'kind' AS kind, i ->> 'type' AS type, i ->> 'len' AS len
FROM ltv.versions, jsonb_array_elements(schema -> 'inputs') i WHERE model = 'typed';

-- The features of the one model whose statistics differ from those of the other.
CREATE VIEW read_as AS SELECT model, s ->> 'name' AS name, s - '{kind,type}'::text[] AS statistics
FROM ltv.versions, jsonb_array_elements(statistics -> 'features') s;
SELECT t.name, t.statistics - '{histogram,quantiles,top}'::text[] AS typed, c.statistics - '{histogram,quantiles,top}'::text[] AS cast_by_sql
FROM (SELECT * FROM read_as WHERE model = 'typed' AND name <> 'ltv') t FULL JOIN (SELECT * FROM read_as WHERE model = 'cast_by_sql' AND name <> 'ltv') c USING (name)
WHERE t.statistics IS DISTINCT FROM c.statistics;
SELECT count(*) AS features, sum((statistics ->> 'missing')::float8) AS missing FROM read_as WHERE model = 'typed';

-- What is scored is read as what was trained on: the mean prediction is the one that the trainer noted.
SELECT abs(a.mean / (s ->> 'mean')::float8 - 1) < 1e-5 AS same, a.n = (s ->> 'n')::int AS all_rows
FROM (SELECT avg(ltv_predict('typed', t)) AS mean, count(*) AS n FROM typed t) a,
     ltv.versions, jsonb_array_elements(statistics -> 'features') s WHERE model = 'typed' AND s ->> 'name' = 'ltv';

-- The order in which rows are stored and read makes no difference, and neither does reading them in parallel.
CREATE TABLE shuffled AS SELECT * FROM typed ORDER BY md5(customer_id::text);
ALTER TABLE shuffled SET (parallel_workers = 2);
ALTER DATABASE :DBNAME SET min_parallel_table_scan_size = 0;
ALTER DATABASE :DBNAME SET parallel_setup_cost = 0;
ALTER DATABASE :DBNAME SET parallel_tuple_cost = 0;
SELECT ltv_train('shuffled', 'shuffled', options => '{"epochs": 1, "categorical": ["code"], "min_count": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT count(DISTINCT checksum) AS models FROM ltv.versions WHERE model IN ('typed', 'shuffled');

-- Sequences: two dimensions, of any length.
CREATE TABLE sequences AS SELECT customer_id, ltv, whole,
    CASE WHEN i > 0 THEN (SELECT array_agg(ARRAY[k, k * 10] ORDER BY k) FROM generate_series(1, i) k) END::real[] AS spend
FROM (SELECT *, customer_id % 7 AS i FROM typed) t;
SELECT ltv_train('sequences', 'sequences', backbone => 'gru', options => '{"epochs": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT i ->> 'name' AS name, i ->> 'kind' AS kind, i ->> 'channels' AS channels
FROM ltv.versions, jsonb_array_elements(schema -> 'inputs') i WHERE model = 'sequences';

-- Rows without a target are left out, and counted; so are those of the test part.
SELECT ltv_train('parts', query => $$ SELECT customer_id, whole, CASE WHEN customer_id > 10 THEN ltv END AS ltv,
    (ARRAY['train', 'Validation', 'test'])[1 + customer_id % 3] AS part FROM typed $$, split_column => 'part', options => '{"epochs": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT n_rows, (SELECT count(*) FROM typed WHERE customer_id > 10 AND customer_id % 3 < 2) AS expected
FROM ltv.versions WHERE model = 'parts';
SELECT message FROM ltv_jobs WHERE job = :job;
