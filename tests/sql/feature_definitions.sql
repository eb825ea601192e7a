-- Whose a definition of features is, and what it follows: relations and columns renamed, replaced, dropped, moved, given away.
\set SHOW_CONTEXT never
\pset null NULL
SET client_min_messages = notice;
CREATE TABLE orders AS SELECT i % 100 AS customer_id, date '2023-01-01' + i * 7919 % 700 AS d, (i * 37 % 90 + 1)::numeric AS amount FROM generate_series(1, 2000) i;

-- Columns are filled by name; columns of the user's own keep their defaults.
SELECT ltv_create_features('f', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
CREATE TABLE kept AS TABLE f;
ALTER TABLE f ADD COLUMN note text DEFAULT 'new', ADD COLUMN twice float8 GENERATED ALWAYS AS (ltv * 2) STORED;
UPDATE f SET note = 'old';
SELECT ltv_refresh_features('f');
SELECT count(*), min(note), max(note), sum(twice) = 2 * sum(ltv) AS twice FROM f;
ALTER TABLE f DROP COLUMN note, DROP COLUMN twice;
-- Dropped and added again, a column is another one in place, but the same by name.
ALTER TABLE f DROP COLUMN first_month, DROP COLUMN recency;
ALTER TABLE f ADD COLUMN recency int, ADD COLUMN first_month int;
SELECT ltv_refresh_features('f');
SELECT count(*) FROM (SELECT customer_id, recency, first_month, first_amount, ltv FROM f EXCEPT SELECT customer_id, recency, first_month, first_amount, ltv FROM kept) x;
-- What does not fit is refused before anything is deleted.
ALTER TABLE f DROP COLUMN first_month, ALTER COLUMN frequency TYPE numeric, ADD COLUMN note text;
SELECT ltv_refresh_features('f');
ALTER TABLE f ADD COLUMN first_month int;
SELECT ltv_refresh_features('f');
ALTER TABLE f ALTER COLUMN frequency TYPE int;
SELECT ltv_refresh_features('f', '2024-01-31');
SELECT count(*), count(note), count(DISTINCT as_of) FROM f;
-- Rows of other tables that inherit from it are not its own.
CREATE TABLE child () INHERITS (f);
INSERT INTO child (customer_id, as_of) VALUES (-1, '2024-01-01');
SELECT ltv_refresh_features('f');
SELECT count(*) FILTER (WHERE customer_id = -1) AS in_child, count(*) FILTER (WHERE customer_id >= 0) AS own FROM f;
DROP TABLE child;
-- Policies that are forced on its owner would hide rows from being deleted.
CREATE ROLE ltv_definitions_maker;
GRANT SELECT ON orders TO ltv_definitions_maker;
CREATE SCHEMA maker AUTHORIZATION ltv_definitions_maker;
SET ROLE ltv_definitions_maker;
SELECT ltv_create_features('maker.hidden', 'public.orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
ALTER TABLE maker.hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT ltv_refresh_features('maker.hidden');
RESET ROLE;

-- A view keeps its options, and its columns must be those that it was made with.
SELECT ltv_create_features('v', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180, materialized => false);
ALTER VIEW v SET (security_barrier = true, security_invoker = true);
COMMENT ON VIEW v IS 'mine';
SELECT ltv_refresh_features('v', '2024-01-31');
SELECT reloptions, obj_description('v'::regclass), (SELECT DISTINCT as_of FROM v) AS as_of FROM pg_class WHERE oid = 'v'::regclass;
ALTER VIEW v RENAME COLUMN t TO age;
SELECT ltv_refresh_features('v');
DROP VIEW v;

-- The definition goes with the relation: through new names and schemas, not to another relation of its old name.
CREATE SCHEMA attic;
ALTER TABLE f RENAME TO g;
ALTER TABLE g SET SCHEMA attic;
ALTER SCHEMA attic RENAME TO cellar;
SELECT ltv_refresh_features('cellar.g', '2023-12-31');
CREATE TABLE f AS TABLE kept;
UPDATE f SET customer_id = customer_id + 1000;
SELECT ltv_refresh_features('f');
SELECT min(customer_id) FROM f;
-- Rebuilt with two columns exchanged, as tools that rebuild tables do.
SELECT ltv_create_features('h', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
CREATE TABLE rebuilt AS SELECT customer_id, as_of, frequency, recency, t, ltv FROM h;
DROP TABLE h;
ALTER TABLE rebuilt RENAME TO h;
SELECT ltv_refresh_features('h');
SELECT count(*) FROM (SELECT customer_id, recency, frequency FROM h EXCEPT SELECT customer_id, recency, frequency FROM kept) x;
DROP TABLE f, h;

-- The source is followed, too, where it is a relation.
SELECT ltv_create_features('f', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
ALTER TABLE orders RENAME TO sales;
CREATE SCHEMA shop;
ALTER TABLE sales SET SCHEMA shop;
SELECT ltv_refresh_features('f');
ALTER SCHEMA shop RENAME TO store;
SELECT ltv_refresh_features('f');
-- Columns come and go; those that are needed must stay.
ALTER TABLE store.sales ADD COLUMN channel text, ALTER COLUMN d TYPE timestamptz USING d::timestamp AT TIME ZONE 'UTC';
SELECT ltv_refresh_features('f');
SELECT count(*) FROM (TABLE f EXCEPT TABLE kept) x;
ALTER TABLE store.sales RENAME COLUMN amount TO price;
SELECT ltv_refresh_features('f');
ALTER TABLE store.sales RENAME COLUMN price TO amount;
-- Loaded anew under its name, as nightly jobs do, or put in its place.
CREATE TABLE store.sales_new AS SELECT customer_id, d, amount * 2 AS amount FROM store.sales;
ALTER TABLE store.sales RENAME TO sales_old;
ALTER TABLE store.sales_new RENAME TO sales;
SELECT ltv_refresh_features('f');
SELECT sum(f.ltv) / sum(k.ltv) AS times FROM f JOIN kept k USING (customer_id);
DROP TABLE store.sales;
SELECT ltv_refresh_features('f');
SELECT sum(f.ltv) / sum(k.ltv) AS times FROM f JOIN kept k USING (customer_id);
CREATE VIEW store.sales AS SELECT customer_id, d, amount * 3 AS amount FROM store.sales_old;
SELECT ltv_refresh_features('f');
SELECT sum(f.ltv) / sum(k.ltv) AS times FROM f JOIN kept k USING (customer_id);
-- Not by somebody else.
DROP VIEW store.sales;
SELECT ltv_refresh_features('f');
GRANT ALL ON SCHEMA store TO ltv_definitions_maker;
SET ROLE ltv_definitions_maker;
CREATE TABLE store.sales (customer_id int, d date, amount numeric);
RESET ROLE;
SELECT ltv_refresh_features('f');
SELECT sum(f.ltv) / sum(k.ltv) AS times FROM f JOIN kept k USING (customer_id);
DROP TABLE store.sales;
ALTER TABLE store.sales_old RENAME TO sales;
-- A query is text; it says what has happened to what it reads.
SELECT ltv_create_features('q', 'SELECT customer_id, d, amount FROM store.sales', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
ALTER TABLE store.sales RENAME COLUMN amount TO price;
SELECT ltv_refresh_features('q');
ALTER TABLE store.sales RENAME COLUMN price TO amount;
ALTER TABLE store.sales SET SCHEMA public;
SELECT ltv_refresh_features('q');
ALTER TABLE sales RENAME TO orders;
DROP TABLE q;
CREATE TABLE loaded AS TABLE orders;
SELECT ltv_create_features('l', 'loaded', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
DROP TABLE loaded;
SELECT ltv_refresh_features('l');
DROP TABLE l;
-- Attributes likewise.
CREATE TABLE crm AS SELECT i AS customer_id, i % 3 AS segment FROM generate_series(0, 99) i;
SELECT ltv_create_features('a', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180, attributes => 'crm');
ALTER TABLE crm RENAME TO customers;
ALTER TABLE customers ADD COLUMN added int;
SELECT ltv_refresh_features('a');
INSERT INTO customers VALUES (7, 1, 1);
SELECT ltv_refresh_features('a');
ALTER TABLE customers DROP COLUMN segment;
SELECT ltv_refresh_features('a');
DROP TABLE a;
-- And the list of customers and the other logs: new names, new schemas, columns that come and go, loaded anew, put there by somebody else.
CREATE TABLE people AS SELECT i AS customer_id, date '2022-12-31' + i AS joined, i % 3 AS segment FROM generate_series(0, 119) i;
CREATE TABLE visits AS SELECT i % 110 AS customer_id, date '2023-01-01' + i * 31 % 360 AS day FROM generate_series(1, 3000) i;
SELECT ltv_create_features('e', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180, customers => 'people', start_column => 'joined',
    events => '{"visits": {"source": "visits", "date_column": "day"}, "recent": {"source": "SELECT customer_id, d AS day FROM orders WHERE d BETWEEN ''2023-07-01'' AND ''2023-12-31''", "date_column": "day"}}');
SELECT count(*), sum(visits_count) AS visits, sum(recent_count) AS recent FROM e;
CREATE TABLE e_before AS TABLE e;
ALTER TABLE people RENAME TO users;
ALTER TABLE users ADD COLUMN added int;
SELECT ltv_refresh_features('e');
SELECT count(*) AS differ FROM (TABLE e EXCEPT ALL TABLE e_before) x;
ALTER TABLE visits SET SCHEMA store;
ALTER TABLE store.visits RENAME TO page_views;
SELECT ltv_refresh_features('e');
SELECT count(*) AS differ FROM (TABLE e EXCEPT ALL TABLE e_before) x;
SELECT ltv_feature_sql('e') ~ 'FROM public[.]users' AS reads_users, ltv_feature_sql('e') ~ 'FROM store[.]page_views' AS reads_page_views;
ALTER TABLE users RENAME COLUMN segment TO tier;
SELECT ltv_refresh_features('e');
ALTER TABLE users RENAME COLUMN tier TO segment;
ALTER TABLE users RENAME COLUMN joined TO since;
SELECT ltv_refresh_features('e');
ALTER TABLE users RENAME COLUMN since TO joined;
ALTER TABLE store.page_views RENAME COLUMN day TO at;
SELECT ltv_refresh_features('e');
ALTER TABLE store.page_views RENAME COLUMN at TO day;
CREATE TABLE loaded AS SELECT * FROM users WHERE customer_id < 60;
DROP TABLE users;
SELECT ltv_refresh_features('e');
ALTER TABLE loaded RENAME TO users;
SELECT ltv_refresh_features('e');
SELECT count(*) FROM e;
CREATE TABLE saved AS TABLE store.page_views;
DROP TABLE store.page_views;
SET ROLE ltv_definitions_maker;
CREATE TABLE store.page_views (customer_id int, day date);
RESET ROLE;
SELECT ltv_refresh_features('e');
DROP TABLE store.page_views, e, e_before, saved;

-- Temporary sources are another session's business.
CREATE TEMP TABLE mine AS TABLE orders;
CREATE TABLE public.mine AS SELECT * FROM orders WHERE false;
SELECT ltv_create_features('t1', 'mine', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
SELECT ltv_create_features('t2', 'SELECT * FROM mine', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
SELECT ltv_create_features('t3', 'mine', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180, materialized => false);
SELECT ltv_refresh_features('t1');
SELECT ltv_refresh_features('t2');
SELECT (SELECT count(*) FROM t1) AS t1, (SELECT count(*) FROM t2) AS t2;
\c
\set SHOW_CONTEXT never
SET client_min_messages = notice;
SELECT ltv_refresh_features('t1');
SELECT ltv_refresh_features('t2');
DROP TABLE t1, t2, mine;

-- A definition belongs to whoever owns the relation.
CREATE ROLE ltv_definitions_heir;
CREATE ROLE ltv_definitions_reader;
CREATE ROLE ltv_definitions_member IN ROLE ltv_definitions_heir;
SET ROLE ltv_definitions_maker;
SELECT ltv_create_features('maker.f', 'public.orders', date_column => 'd', value_column => 'amount', as_of => '2023-06-30', horizon => 180);
GRANT USAGE ON SCHEMA maker TO PUBLIC;
GRANT SELECT ON maker.f TO ltv_definitions_reader;
SET ROLE ltv_definitions_reader;
SELECT ltv_refresh_features('maker.f');
SELECT ltv.feature_definition('maker.f'), ltv.feature_facts('maker.f');
-- What ltv_retrain does first.
SELECT ltv.refresh_to_newest('{"relation": "maker.f"}', NULL);
SELECT ltv.refresh_to_newest('{"relation": "maker.f"}', '2023-09-30');
SELECT ltv.refresh_to_newest('{"relation": "public.orders"}', NULL);
SELECT ltv.refresh_to_newest('{"query": "SELECT 1"}', NULL);
SELECT ltv.refresh_to_newest('{"relation": "public.orders"}', '2023-09-30');
SELECT * FROM ltv.feature_definitions;
SELECT ltv.feature_definition('ltv_definitions_maker'::regrole, 'maker.f', false);
SELECT features FROM ltv_features;
SELECT ltv.save_definition('maker.f', '{}');
SELECT ltv.save_definition('ltv_definitions_maker'::regrole, 'maker.f', '{}');
SET ROLE ltv_definitions_heir;
SELECT ltv_refresh_features('maker.f');
SELECT ltv.feature_definition('maker.f'), ltv.feature_facts('maker.f');
RESET ROLE;
REASSIGN OWNED BY ltv_definitions_maker TO ltv_definitions_heir;
GRANT SELECT ON orders TO ltv_definitions_heir;
SET ROLE ltv_definitions_maker;
SELECT ltv_refresh_features('maker.f');
SET ROLE ltv_definitions_member;
SELECT ltv_refresh_features('maker.f', '2023-09-30');
SELECT features, owner, source, as_of, horizon FROM ltv_features ORDER BY features::text;
RESET ROLE;
SELECT ltv_refresh_features('maker.f', '2023-12-31');
SELECT count(*) FROM (TABLE maker.f EXCEPT TABLE kept) x;

-- It runs with the rights of the owner, whoever asks, and nothing of it is SQL but the query.
CREATE FUNCTION maker.who() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'runs as %', current_user; RETURN 0; END $$;
SET ROLE ltv_definitions_heir;
SELECT ltv_create_features('maker.w', 'SELECT customer_id, d, amount + maker.who() AS amount FROM public.orders LIMIT 1', date_column => 'd', value_column => 'amount', as_of => '2023-06-30', horizon => 180);
RESET ROLE;
SELECT ltv_refresh_features('maker.w');
SET ROLE ltv_definitions_heir;
SELECT change, ltv.save_definition('maker.w', ltv.feature_definition('maker.w') || change) FROM unnest(ARRAY['{"materialized": false}']::jsonb[]) change;
CREATE FUNCTION pg_temp.fails(INOUT sql text, OUT state text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END
$$;
SELECT change, f.state, f.message, f.detail FROM unnest(ARRAY['[]', '{"unit": "day; drop table orders"}', '{"date_type": "date) --"}', '{"windows": ["7 or true"]}', '{"windows": [0]}', '{"as_of": ["nonsense"]}', '{"as_of": []}',
    '{"horizon": "soon"}', '{"time_zone": "Mars"}', '{"sequence": {"columns": [], "steps": "1) --"}}', '{"materialized": "maybe"}', '{"log_end": "then"}', '{"source": 7}', '{"attributes": "crm"}', '{"unit": "instant"}', '{"customer_id_column": null}', '{"temporary": 1}']::jsonb[]) change,
    pg_temp.fails(format('SELECT ltv.save_definition(%L, CASE jsonb_typeof(%L::jsonb) WHEN ''array'' THEN ''[]'' ELSE ltv.feature_definition(%1$L) || %2$L END)', 'maker.w', change)) f;
SELECT f.state, f.message, f.detail FROM pg_temp.fails($$SELECT ltv.save_definition('maker.w', ltv.feature_definition('maker.w') || '{"materialized": true, "source": "SELECT 1 AS customer_id) o; DROP TABLE maker.f; --"}')$$) f;
SELECT f.state, f.message, f.detail FROM pg_temp.fails($$SELECT ltv_refresh_features('maker.w')$$) f;
RESET ROLE;
-- As a dump that was edited by hand might have it.
UPDATE ltv.feature_definitions SET definition = definition || '{"windows": "all"}' WHERE relation = 'maker.f'::regclass;
SELECT ltv_refresh_features('maker.f');
SELECT ltv.feature_facts('maker.f');
SELECT ltv.features_horizon(ARRAY['maker.f'::regclass, 'public.f'::regclass]);

-- Definitions of relations that are gone are forgotten with the next one that is made.
SELECT count(*) FROM ltv.feature_definitions;
DROP TABLE maker.w, maker.f, maker.hidden;
SELECT count(*) FROM ltv.feature_definitions;
SELECT ltv_refresh_features('cellar.g');
SELECT relation FROM ltv.feature_definitions ORDER BY 1;
DROP SCHEMA maker CASCADE;
DROP OWNED BY ltv_definitions_maker, ltv_definitions_heir, ltv_definitions_reader, ltv_definitions_member;
DROP ROLE ltv_definitions_maker, ltv_definitions_heir, ltv_definitions_reader, ltv_definitions_member;
