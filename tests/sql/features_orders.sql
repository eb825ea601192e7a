-- Features that are made of orders alone, by ltv.order_features, beside the same features made by ltv.collect and ltv.walk_rows, of which a view
-- consists. Ids of all types, those of other types too; any order of the rows; little memory; who may read what.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
CREATE TABLE raw AS SELECT CASE WHEN h % 4 = 0 THEN h % 40 ELSE h % 700 END - 200 AS n, date '2023-01-01' + h % 500 AS day, CASE h % 13 WHEN 0 THEN -(h % 900) / 10.0 WHEN 1 THEN 0
        WHEN 2 THEN 1e9 + h % 100 / 100.0 WHEN 3 THEN -(h % 5000) WHEN 4 THEN NULL WHEN 5 THEN 12345678901234567.890123456789 ELSE round(h % 100000 / 37.0, 2) END AS amount
FROM generate_series(1, 6000) i, LATERAL (SELECT abs(hashint4(i))) x(h);
INSERT INTO raw VALUES (1, NULL, 5), (NULL, '2023-05-01', 5), (2, '2023-05-01', 'NaN'), (2, '2023-05-01', 'Infinity'), (2, '2023-05-01', '-Infinity'), (3, 'infinity', 50), (3, '-infinity', 50),
    (3, '9999-12-31', 50), (3, '1900-01-01', 50), (9999, '9999-12-31', 50), (9998, '2023-05-01', 'NaN');

CREATE DOMAIN short AS int;
-- Collations of ICU, where the server has it.
SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'en-x-icu') AS icu \gset
\if :icu
CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
\set other_order '(n::text COLLATE "en-x-icu")'
\set no_case '(n::text COLLATE no_case)'
\else
\set other_order '(n::text COLLATE "POSIX")'
\set no_case 'n::text::char(12)'
\endif
-- How many rows there are, how many of a table differ from those of a view, and whether the ids are of the declared type and in one order.
CREATE FUNCTION pg_temp.compare(id text, amount text DEFAULT 'amount', arguments text DEFAULT $$as_of => '{2023-06-30,2023-12-31,2024-02-29}'::date[], horizon => 60, horizons => '{10}', windows => '{7,45}', returns => true$$,
    OUT plain boolean, OUT rows bigint, OUT differ bigint, OUT declared boolean, OUT sorted boolean) LANGUAGE plpgsql AS $$
DECLARE definition jsonb;
BEGIN
    DROP TABLE IF EXISTS log CASCADE;
    EXECUTE format('CREATE TABLE log AS SELECT %s AS customer_id, day, %s AS amount FROM raw', id, amount);
    EXECUTE format('SELECT ltv_create_features(''made'', ''log'', date_column => ''day'', value_column => ''amount'', %s)', arguments);
    EXECUTE format('SELECT ltv_create_features(''viewed'', ''log'', date_column => ''day'', value_column => ''amount'', materialized => false, %s)', arguments);
    definition := ltv.feature_definition('made');
    plain := ltv.plain_id(definition) IS NOT NULL;
    SELECT count(*), count(*) FILTER (WHERE to_jsonb(m) IS DISTINCT FROM to_jsonb(v)) INTO rows, differ FROM made m FULL JOIN viewed v ON (m.customer_id, m.as_of) = (v.customer_id, v.as_of);
    SELECT (a.atttypid, a.atttypmod, a.attcollation) = (b.atttypid, b.atttypmod, b.attcollation) INTO declared FROM pg_attribute a, pg_attribute b
    WHERE a.attrelid = 'made'::regclass AND b.attrelid = 'log'::regclass AND (a.attname, b.attname) = ('customer_id', 'customer_id');
    EXECUTE format('SELECT bool_and(ok) FROM (SELECT (lag(%1$s) OVER w < %1$s OR lag(customer_id) OVER w = customer_id AND lag(as_of) OVER w < as_of) IS NOT FALSE AS ok FROM made WINDOW w AS (ORDER BY ctid)) x',
        ltv.id_order(definition, 'customer_id')) INTO sorted;
    DROP TABLE made;
    DROP VIEW viewed;
END
$$;
SELECT i.id, c.* FROM unnest(ARRAY['n', 'n::smallint', 'n * 100000000000', 'n::text', 'n::varchar(20)', 'repeat(n::text, 1 + abs(n) % 40)', 'repeat(n::text, 3000)', '(n::text COLLATE "C")', 'another order',
    'md5(n::text)::uuid', '''é'' || chr(300 + n) || chr(1)']) WITH ORDINALITY i(id, k), pg_temp.compare(replace(i.id, 'another order', :'other_order')) c ORDER BY k;
-- Ids that are not equal exactly where their bytes are, or of other types.
SELECT i.id, c.* FROM unnest(ARRAY['n::numeric', 'n::short', 'n::text::char(10)', 'no case', 'day + n']) WITH ORDINALITY i(id, k), pg_temp.compare(replace(i.id, 'no case', :'no_case')) c ORDER BY k;
SELECT i.amount, c.* FROM unnest(ARRAY['amount::float8', 'amount::real', 'n::int', 'n::smallint', 'n * 900000000000000', 'CASE WHEN abs(amount) < 1e15 THEN amount END::numeric(20, 2)', 'CASE WHEN abs(amount) < 1e12 THEN amount END::numeric(20, 2)::money'])
    WITH ORDINALITY i(amount, k), pg_temp.compare('n', i.amount) c ORDER BY k;
-- Ages, sequences, grids, nobody; with other columns in a sequence it takes the logs.
SELECT a.arguments, c.plain, c.rows, c.differ FROM unnest(ARRAY[$$age => '{0,7,30,200}', horizon => 30, windows => '{14}'$$, $$as_of => '2023-12-31', horizon => 30, sequence => '{}'$$,
    $$as_of => '2023-12-31', horizon => 30, sequence => '{"step": "7 days", "steps": 5}'$$, $$as_of => '2000-12-31', horizon => 30$$, $$as_of => '2023-12-31 12:00', horizon => 30$$, $$as_of => '2023-12-31', horizon => 30, sequence => '{amount}'$$])
    WITH ORDINALITY a(arguments, k), pg_temp.compare('n', arguments => a.arguments) c ORDER BY k;

-- In little memory the log is read several times; nothing else changes.
CREATE TABLE many AS SELECT h % 30000 AS customer_id, date '2023-01-01' + h % 500 AS day, (h % 10000) / 100.0 AS amount FROM generate_series(1, 120000) i, LATERAL (SELECT abs(hashint4(i))) x(h);
SELECT ltv_create_features('once', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
CREATE SEQUENCE readings;
CREATE FUNCTION read_again() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('readings') $$;
SELECT ltv_create_features('in_one', 'SELECT * FROM many WHERE (SELECT read_again()) > 0', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
SELECT last_value AS before FROM readings \gset
SET work_mem = '64kB';
SET maintenance_work_mem = '1MB';
SET hash_mem_multiplier = 1;
SELECT ltv_create_features('often', 'SELECT * FROM many WHERE (SELECT read_again()) > 0', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
SELECT last_value > 2 * :before + 1 AS several_passes FROM readings;
-- However many threads help: two for all of the above, none or more here.
SHOW max_parallel_workers_per_gather;
SET max_parallel_workers_per_gather = 0;
SELECT ltv_create_features('often_alone', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
RESET work_mem;
RESET maintenance_work_mem;
RESET hash_mem_multiplier;
SELECT ltv_create_features('alone', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
SET max_parallel_workers_per_gather = 5;
SELECT ltv_create_features('together', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
-- What is to be looked after in the table is, where an event trigger made it.
CREATE FUNCTION index_features() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE UNIQUE INDEX IF NOT EXISTS by_customer ON indexed (customer_id, as_of)'; END $$;
CREATE EVENT TRIGGER index_features ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION index_features();
SELECT ltv_create_features('indexed', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30,2023-12-31}'::date[], horizon => 60);
DROP EVENT TRIGGER index_features;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT count(*) AS found FROM indexed i, (SELECT customer_id, as_of FROM once LIMIT 1) o WHERE (i.customer_id, i.as_of) = (o.customer_id, o.as_of);
RESET enable_seqscan;
RESET enable_hashjoin;
RESET enable_mergejoin;
CREATE FUNCTION pg_temp.beside_once(name text, OUT rows bigint, OUT differ bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT count(*), count(*) FILTER (WHERE o.ctid IS DISTINCT FROM p.ctid OR to_jsonb(o) <> to_jsonb(p)) FROM once o FULL JOIN %I p USING (customer_id, as_of)', name) INTO rows, differ;
END
$$;
SELECT m.name, c.rows > 20000 AS have_rows, c.differ FROM unnest('{often,often_alone,alone,together,indexed}'::text[]) m(name), pg_temp.beside_once(m.name) c;
-- What the threads and the query cannot do.
SELECT ltv_create_features('none', 'SELECT i % 5000 AS customer_id, date ''2023-01-01'' + i % 100 AS day, CASE WHEN i < 5000 THEN 1e-18 ELSE 99999999999999999999 END AS amount FROM generate_series(1, 50000) i', date_column => 'day', value_column => 'amount', as_of => '2023-12-31', horizon => 1);
SELECT ltv_create_features('none', 'SELECT i % 5000 AS customer_id, date ''2023-01-01'' + i % 100 AS day, 1 / (49999 - i) AS amount FROM generate_series(1, 50000) i', date_column => 'day', value_column => 'amount', as_of => '2023-12-31', horizon => 1, log_end => '2023-12-31');
-- Other features take processes, which have customers of their own.
SET max_parallel_workers_per_gather = 2;
SET min_parallel_table_scan_size = 0;
SELECT ltv_create_features('by_instant', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30 12:00,2023-12-31 12:00}', horizon => 60);
SELECT ltv.feature_parts(ltv.feature_definition('by_instant')) AS parts, ltv.feature_parts(ltv.feature_definition('once')) AS of_orders_alone;
SET max_parallel_workers_per_gather = 0;
SELECT ltv_create_features('by_instant_alone', 'many', date_column => 'day', value_column => 'amount', as_of => '{2023-09-30 12:00,2023-12-31 12:00}', horizon => 60);
SELECT count(*) > 20000 AS have_rows, count(*) FILTER (WHERE o.ctid IS DISTINCT FROM p.ctid OR to_jsonb(o) <> to_jsonb(p)) AS differ FROM by_instant_alone o FULL JOIN by_instant p USING (customer_id, as_of);
SET max_parallel_workers_per_gather = 2;
-- Policies may need one process.
ALTER TABLE many ENABLE ROW LEVEL SECURITY;
SELECT ltv.feature_parts(ltv.feature_definition('by_instant')) AS parts;
RESET max_parallel_workers_per_gather;
RESET min_parallel_table_scan_size;

-- Called by itself it runs a SELECT with the rights of whoever calls it, and takes nothing for granted.
SELECT ltv.feature_plan(ltv.feature_definition('once')) AS plan \gset
\set rows 'AS f (id int, as_of date, a int, b int, c int, d float8, e float8, f float8, g float8, h int, i float8, j int, k float8, l int, m float8, n float8, o int, p float8, q float8)'
\set table_of '(id int, as_of date, a int, b int, c int, d float8, e float8, f float8, g float8, h int, i float8, j int, k float8, l int, m float8, n float8, o int, p float8, q float8)'
\set text_rows 'AS f (id text, as_of date, a int, b int, c int, d float8, e float8, f float8, g float8, h int, i float8, j int, k float8, l int, m float8, n float8, o int, p float8, q float8)'
SELECT * FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') :text_rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT ''1''::text, date ''2023-01-01'', 2') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') AS f (id int, as_of date, a text);
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') AS f (id int);
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, 2') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', true') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''infinity'', 2') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, NULL::date, 2 UNION ALL SELECT NULL, ''2023-01-01'', 2 UNION ALL SELECT 1, ''2023-01-01'', NULL') :rows;
SELECT count(*) FROM ltv.order_features(NULL, NULL, NULL) :rows;
SELECT count(*) FROM ltv.order_features(:'plan', NULL, NULL) :rows;
SELECT count(*), count(q) FROM ltv.order_features(:'plan', NULL, 'SELECT 1, date ''2023-01-01'', 2') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'DELETE FROM many RETURNING customer_id, day, amount') :rows;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT 1; SELECT 2') :rows;
SELECT ltv.order_features(:'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2');
SELECT count(*) FROM ltv.order_features('{"instants": true, "windows": []}', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') :rows;
SET statement_timeout = '200ms';
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT i, date ''2023-01-01'', 2 FROM generate_series(1, 1000000000) i') :rows;
RESET statement_timeout;
-- A table is filled in the transaction that made it, by its owner.
CREATE TABLE old_table :table_of;
SELECT ltv.fill_order_features('old_table', :'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') AS of_an_older_table, ltv.fill_order_features('pg_class', :'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') AS of_a_catalog;
BEGIN;
CREATE TABLE new_table :table_of;
SELECT ltv.fill_order_features('new_table', :'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2') AS rows;
SELECT * FROM new_table;
CREATE TABLE narrow (id int, as_of date);
SAVEPOINT before;
SELECT ltv.fill_order_features('narrow', :'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2');
ROLLBACK TO before;
SELECT ltv.fill_order_features(0, :'plan', '2024-01-01', 'SELECT 1, date ''2023-01-01'', 2');
ROLLBACK;
CREATE ROLE ltv_nobody;
SET ROLE ltv_nobody;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT customer_id, day, amount FROM many') :rows;
RESET ROLE;
GRANT SELECT ON many TO ltv_nobody;
SET ROLE ltv_nobody;
SELECT count(*) FROM ltv.order_features(:'plan', '2024-01-01', 'SELECT customer_id, day, amount FROM many') :rows;
RESET ROLE;

-- What the query calls sees the owner of the features, whoever refreshes them, and can do nothing that would last.
CREATE ROLE ltv_feature_owner;
CREATE SCHEMA own AUTHORIZATION ltv_feature_owner;
SET ROLE ltv_feature_owner;
CREATE FUNCTION own.look(day date) RETURNS date LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'ltv_feature_owner' THEN
        RAISE EXCEPTION 'runs as %', current_user;
    END IF;
    RETURN day;
END
$$;
CREATE TABLE own.log AS SELECT 1 AS customer_id, date '2023-01-01' AS day, 2 AS amount;
SELECT ltv_create_features('own.features', 'SELECT customer_id, own.look(day) AS day, amount FROM own.log', date_column => 'day', value_column => 'amount', as_of => '2023-06-30', horizon => 60);
RESET ROLE;
SELECT ltv_refresh_features('own.features');
SELECT customer_id, as_of, t FROM own.features;
SET ROLE ltv_feature_owner;
CREATE OR REPLACE FUNCTION own.look(day date) RETURNS date LANGUAGE plpgsql AS $$ BEGIN SET ROLE NONE; RETURN day; END $$;
RESET ROLE;
SELECT ltv_refresh_features('own.features');
DROP SCHEMA own CASCADE;
DROP OWNED BY ltv_nobody, ltv_feature_owner;
DROP ROLE ltv_nobody, ltv_feature_owner;
