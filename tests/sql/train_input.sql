-- Bad input to ltv_train: every case has its SQLSTATE, a message, and says what to do.
-- What the query's columns show is refused at once; what only the rows show fails the job, and ltv_wait raises it.
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; said text; details text; hints text; result text;
BEGIN
    EXECUTE 'SELECT ' || call INTO result;
    RETURN 'no error: ' || result;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, details = PG_EXCEPTION_DETAIL, hints = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n  ', state || ' ' || said, NULLIF(regexp_replace(details, 'The options are .*', 'The options are ...'), ''), NULLIF(hints, ''));
END
$$;
SET client_min_messages = warning;  -- the progress of a job depends on the time
CREATE TABLE good AS SELECT i AS customer_id, i % 7 AS a, (i % 3)::text AS b, (CASE WHEN i % 3 = 0 THEN i ELSE 0 END)::float8 AS ltv
    FROM generate_series(1, 60) i;


-- Refused at once ----------------------------------------------------------------------------------------------------
SELECT attempt($call$ ltv_train(NULL, 'good') $call$);
SELECT attempt($call$ ltv_train('', 'good') $call$);
SELECT attempt($call$ ltv_train('m') $call$);
SELECT attempt($call$ ltv_train('m', 'good', query => 'SELECT * FROM good') $call$);
SELECT attempt($call$ ltv_train('m', 'nothing') $call$);
SELECT attempt($call$ ltv_train('m', 'good', target => 'nothing') $call$);
SELECT attempt($call$ ltv_train('m', 'good', target => NULL) $call$);
SELECT attempt($call$ ltv_train('m', 'good', target => 'b') $call$);
SELECT attempt($call$ ltv_train('m', 'good', id_column => 'nothing') $call$);
SELECT attempt($call$ ltv_train('m', 'good', split_column => 'nothing') $call$);
SELECT attempt($call$ ltv_train('m', 'good', split_column => 'a') $call$);
SELECT attempt($call$ ltv_train('m', 'good', features => '{}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', features => '{a,nothing}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', features => '{a,a}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', features => '{a,ltv}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', features => '{a,NULL}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', objective => 'nothing') $call$);
SELECT attempt($call$ ltv_train('m', 'good', backbone => 'nothing') $call$);
SELECT attempt($call$ ltv_train('m', 'good', options => '{"epoch": 3}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', options => '{"epochs": "many"}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', options => '{"epochs": 0}') $call$);
SELECT attempt($call$ ltv_train('m', 'good', options => '[1]') $call$);
SELECT attempt($call$ ltv_train('m', 'good', options => '{"categorical": ["nothing"]}') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT *, 1.5::float8 AS f FROM good', options => '{"categorical": ["f"]}') $call$);
SELECT attempt($call$ ltv_train('m', query => 'DELETE FROM good RETURNING *') $call$);
SELECT attempt($call$ ltv_train('m', query => 'WITH gone AS (DELETE FROM good RETURNING *) SELECT * FROM gone') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT * FROM good; SELECT 1') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT * FROM good FOR UPDATE') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT * INTO other FROM good') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT * FORM good') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT *, a AS a FROM good') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT *, a AS x, ''{}''::jsonb AS j FROM good') $call$);
SELECT attempt($call$ ltv_train('m', query => 'SELECT customer_id, ltv FROM good') $call$);
CREATE TEMP TABLE passing AS SELECT * FROM good;
SELECT attempt($call$ ltv_train('m', 'passing') $call$);
SELECT count(*) AS jobs FROM ltv_jobs;

-- Found out when the rows are read -------------------------------------------------------------------------------------
CREATE FUNCTION fails(query text, options jsonb DEFAULT '{"epochs": 1}', id_column text DEFAULT 'customer_id', split_column text DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS $$ SELECT ltv_train('m', query => query, options => options, id_column => id_column, split_column => split_column) $$;
CREATE FUNCTION writes() RETURNS int LANGUAGE sql VOLATILE AS $$ DELETE FROM good; SELECT 1 $$;

SELECT fails('SELECT * FROM good WHERE false') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT * FROM good WHERE customer_id = 3') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT * FROM good WHERE customer_id < 9') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT customer_id, a, 0 AS ltv FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT customer_id, a, 3.5 AS ltv FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT customer_id, a, customer_id - 5 AS ltv FROM good ORDER BY 1') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT customer_id, a, ''inf''::float8 AS ltv FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT customer_id, a, CASE WHEN random() < 0 THEN 1 END AS ltv FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, NULL::int AS unknown FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, NULL::real[] AS unknown FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, ''NaN''::float8 AS unknown FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, array_fill(1, ARRAY[customer_id]) AS v FROM good ORDER BY 1') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, CASE customer_id WHEN 1 THEN ARRAY[1,2] ELSE ARRAY[[1,2]] END AS v FROM good ORDER BY 1') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, 1 / (a - 3) AS x FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, writes() AS w FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT NULL::text AS customer_id, a, ltv FROM good') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, ''holdout'' AS part FROM good', split_column => 'part') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT fails('SELECT *, NULL AS part FROM good', split_column => 'part') AS job \gset
SELECT attempt('ltv_wait(' || :job || ')');
SELECT count(*) AS rows_left FROM good;
SELECT count(*) AS versions FROM ltv_versions;

-- Rows that wait for the first array have numbers of their own, by which they are dealt into training and validation where there is no id.
SELECT ltv_train('waited', query => 'SELECT CASE WHEN i > 300 THEN ARRAY[i, 1]::real[] END AS a, i % 7 AS b, (i % 5) * 3.0 AS ltv FROM generate_series(1, 400) i ORDER BY i', id_column => NULL, options => '{"epochs": 1, "ensemble": 1}') IS NOT NULL AS queued;
SELECT ltv_wait('waited') AS version;
SELECT (history #>> '{networks,0,validation_rows}')::int BETWEEN 55 AND 110 AS dealt FROM ltv.versions WHERE model = 'waited';
