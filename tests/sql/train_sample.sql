-- More rows than the option max_rows: whole customers stay, as many as a power of one half leaves, the same ones whatever the
-- order of the rows, in memory and through a file.
-- database: cdnow
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;  -- the progress of a job depends on the time
SELECT ltv_create_features('many', 'orders', date_column => 'ordered_at', value_column => 'amount',
    as_of => '{1997-03-31,1997-06-30,1997-12-31}', horizon => 90);
SELECT count(*), count(DISTINCT customer_id), count(DISTINCT as_of) FROM many;
CREATE FUNCTION trained(model text, relation text = 'many', options jsonb = '{"max_rows": 20000}') RETURNS text LANGUAGE sql AS
    $$ SELECT ltv_train(model, relation, options => '{"epochs": 2, "ensemble": 1, "hidden_sizes": [8], "horizon": 90}' || options) $$;

SELECT trained('part') AS job \gset
SELECT ltv_wait(:job);
SELECT message FROM ltv_jobs WHERE job = :job;
SELECT rows = n_rows AS job_says_it, n_rows <= 20000 AS few_enough, n_rows > 15000 AS no_fewer FROM ltv_jobs j JOIN ltv.versions v USING (model, version) WHERE j.job = :job;
SELECT ltv_model_card('part') #> '{data,sample}', ltv_model_card('part') #> '{data,rows}' = to_jsonb(n_rows) AS rows FROM ltv.versions WHERE model = 'part';
SELECT ltv_model_card_markdown('part') ~ '\n\| rows read, of which a share of the customers was drawn \| 70,502 \|\n' AS in_the_card;
-- The usual share of them is held out.
SELECT abs((history #>> '{networks,0,validation_rows}')::float8 / n_rows - 0.2) < 0.02 AS a_fifth,
       (history #>> '{networks,0,training_rows}')::int + (history #>> '{networks,0,validation_rows}')::int = n_rows AS together
FROM ltv.versions WHERE model = 'part';

-- The order of the rows decides nothing.
CREATE TABLE shuffled AS SELECT * FROM many ORDER BY md5(customer_id || as_of);
CREATE TABLE backwards AS SELECT * FROM many ORDER BY as_of DESC, customer_id DESC;
SELECT trained('part', 'shuffled') AS job \gset
SELECT ltv_wait(:job);
SELECT trained('part', 'backwards') AS job \gset
SELECT ltv_wait(:job);
SELECT count(*), count(DISTINCT checksum) FROM ltv.versions WHERE model = 'part';

SELECT n_rows AS part FROM ltv.versions WHERE model = 'part' AND version = 1 \gset

-- At the limit and below it nothing is drawn; 0 is no limit.
SELECT count(*) AS rows, count(*) - 1 AS fewer FROM many \gset
SELECT trained('all', options => '{}') AS job \gset
SELECT ltv_wait(:job);
SELECT trained('all', options => jsonb_build_object('max_rows', :rows)) AS job \gset
SELECT ltv_wait(:job);
SELECT trained('all', options => '{"max_rows": 0}') AS job \gset
SELECT ltv_wait(:job);
SELECT count(*), count(DISTINCT checksum), min(n_rows) = :rows AS all_rows, count(statistics -> 'sample') AS drawn FROM ltv.versions WHERE model = 'all';
SELECT count(message) FROM ltv_jobs WHERE model = 'all';
SELECT trained('fewer', options => jsonb_build_object('max_rows', :fewer)) AS job \gset
SELECT ltv_wait(:job);
SELECT message ~ '^one customer in 2 was learned from, \d+ of \d+ rows, because the option "max_rows" is \d+$' AS says_it FROM ltv_jobs WHERE job = :job;

-- Far beyond the limit.
SELECT trained('small', options => '{"max_rows": 2000}') AS job \gset
SELECT ltv_wait(:job);
SELECT statistics -> 'sample', n_rows FROM ltv.versions WHERE model = 'small';

-- Through a file, more than twice the limit.
SET ltv.training_memory = '32MB';
CREATE TABLE large AS SELECT c.*, ARRAY(SELECT g * c.frequency FROM generate_series(1, 100) g)::real[] AS noise FROM many c;
SELECT trained('file', 'large', '{"max_rows": 30000, "epochs": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT message FROM ltv_jobs WHERE job = :job;
CREATE TABLE other AS SELECT * FROM large ORDER BY md5(customer_id || as_of);
SELECT trained('file', 'other', '{"max_rows": 30000, "epochs": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT count(DISTINCT checksum), min(n_rows) = max(n_rows) AS rows FROM ltv.versions WHERE model = 'file';
RESET ltv.training_memory;

-- Other kinds of training read the same rows.
SELECT ltv_train('law', 'many', objective => 'bgnbd', options => '{"max_rows": 20000}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_train('trees', 'many', backbone => 'trees', options => '{"max_rows": 20000, "rounds": 5}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_compare('best', 'many', objectives => '{ziln}', backbones => '{linear}', options => '{"max_rows": 20000, "epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT model, n_rows = :part AS same, recipe #> '{options,max_rows}' AS max_rows FROM ltv.versions WHERE model IN ('law', 'trees', 'best') ORDER BY 1;
SELECT ltv_retrain('part', warm_start => true) AS job \gset
SELECT ltv_wait(:job);
SELECT n_rows <= 20000 AS few_enough, statistics #> '{sample,share}' AS share FROM ltv.versions WHERE model = 'part' ORDER BY version DESC LIMIT 1;

-- Without ids the rows are drawn by their number.
SELECT ltv_train('rows', query => 'SELECT frequency, recency, ltv FROM many', id_column => NULL, options => '{"max_rows": 20000, "epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT n_rows BETWEEN 15000 AND 20000 AS in_bounds, statistics #> '{sample,share}' AS share FROM ltv.versions WHERE model = 'rows';

-- A file of a version knows it too.
SELECT ltv_import_model(ltv_export_model('small'), model => 'again');
SELECT statistics -> 'sample' FROM ltv.versions WHERE model = 'again';

-- What is out of range, and what leaves too little.
\set VERBOSITY default
SELECT trained('wrong', options => '{"max_rows": -1}');
SELECT trained('wrong', options => '{"max_rows": 3}') AS job \gset
SELECT ltv_wait(:job);
