-- Features from orders: values worked out by hand, point-in-time correctness, cut-offs, horizons, refresh.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE TABLE orders (customer_id text, ts timestamptz, amount numeric, units int);
INSERT INTO orders VALUES
    ('a', '2024-01-10 10:00+00', 10, 1), ('a', '2024-01-10 18:00+00', 20, 2),  -- one purchase of 30
    ('a', '2024-02-10 09:00+00', 50, 5),
    ('a', '2024-02-20 09:00+00', -50, -5),                                      -- a return: no purchase
    ('a', '2024-03-01 23:30+00', 40, 4),                                        -- 2 March in Berlin
    ('a', '2024-03-20 12:00+00', 100, 10), ('a', '2024-03-25 12:00+00', -30, -3),
    ('b', '2024-02-28 12:00+00', 5, 1), ('b', '2024-02-28 13:00+00', -5, -1),   -- nets to nothing
    ('c', '2024-03-01 00:00+00', 7, 1), ('c', '2024-03-10 00:00+00', -9, -1),
    ('d', '2024-03-02 00:00+00', 8, 1),
    (NULL, '2024-02-01 00:00+00', 99, 1), ('a', NULL, 99, 1), ('a', '2024-02-11 00:00+00', NULL, 1),
    ('a', '2024-02-12 00:00+00', 'NaN', 1), ('a', '2024-02-13 00:00+00', 'Infinity', 1), ('e', '2024-04-15', 1, 1);

SELECT ltv_create_features('f', 'orders', date_column => 'ts', value_column => 'amount', as_of => '2024-03-01', horizon => 30);
\x on
SELECT * FROM f ORDER BY customer_id;
\x off

-- The same with other ways to say it, and as a view.
SELECT ltv_create_features('v', 'SELECT * FROM orders -- all', 'customer_id', 'ts', 'amount', DATE '2024-03-01', interval '30 days', materialized => false);
SELECT count(*) FROM (TABLE f EXCEPT ALL TABLE v) x;
SELECT ltv_create_features('a', 'orders', 'customer_id', 'ts', 'amount', ARRAY['2024-03-01', '2024-02-15', '2024-03-01']::date[], 30::smallint);
SELECT as_of, customer_id, recency, frequency, t, ltv FROM a ORDER BY 1, 2;
SELECT count(*) FROM (TABLE f EXCEPT ALL SELECT * FROM a WHERE as_of = '2024-03-01') x;

-- A day in another zone begins and ends at other instants.
SELECT ltv_create_features('berlin', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, time_zone => 'Europe/Berlin');
SELECT customer_id, as_of, recency, frequency, t, monetary_last, ltv FROM berlin ORDER BY 1;

-- An instant cuts within the day; the session's time zone has no say.
SET TimeZone = 'America/New_York';
SELECT ltv_create_features('i', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01 23:30+00', 30);
SELECT ltv_create_features('j', 'orders', 'customer_id', 'ts', 'amount', timestamp '2024-03-01 23:29:59', 30);
RESET TimeZone;
SET TimeZone = 'UTC';
SELECT customer_id, as_of, recency, frequency, t, monetary_last, ltv FROM i ORDER BY 1;
SELECT customer_id, as_of, recency, frequency, t, monetary_last, ltv FROM j ORDER BY 1;
-- An order known by its day only is not known before the day is over.
SELECT ltv_create_features('k', 'SELECT customer_id, ts::date AS day, amount FROM orders', 'customer_id', 'day', 'amount', '2024-03-01 23:59', 30);
SELECT customer_id, recency, monetary_last, ltv FROM k ORDER BY 1;

-- Nothing that happens after the cut-off changes a feature.
CREATE TABLE before AS TABLE f;
INSERT INTO orders SELECT c, '2024-03-02'::timestamptz + i * interval '7 hours', i - 20, i FROM generate_series(0, 60) i, unnest('{a,b,c,z}'::text[]) c;
SELECT ltv_refresh_features('f');
ALTER TABLE before DROP COLUMN ltv;
CREATE TABLE after AS TABLE f;
ALTER TABLE after DROP COLUMN ltv;
SELECT count(*) FROM (TABLE before EXCEPT ALL TABLE after) x;
SELECT count(*) FROM (TABLE after EXCEPT ALL TABLE before) x;

-- Another day; the log ends before the horizon of it does, unless told otherwise.
SELECT ltv_refresh_features('f', '2024-04-01');
SELECT customer_id, as_of, recency, ltv FROM f ORDER BY 1;
SELECT ltv_refresh_features('v', '{2024-03-01,2024-04-01}');
SELECT as_of, count(*), count(ltv) FROM v GROUP BY 1 ORDER BY 1;
SELECT ltv_create_features('w', 'orders', 'customer_id', 'ts', 'amount', '2024-04-01', '1 month', log_end => '2024-05-01', windows => '{}');
SELECT customer_id, ltv FROM w ORDER BY 1;

-- Without a cut-off: those whose horizon has ended, a month apart, that see at least a third of the log.
SELECT ltv_create_features('l', 'orders', 'customer_id', 'ts', 'amount', horizon => 30);
SELECT as_of, count(*), count(ltv) FROM l GROUP BY 1 ORDER BY 1;
SELECT ltv_create_features('m', 'SELECT customer_id, ts::date AS ts, amount FROM orders', 'customer_id', 'ts', 'amount', horizon => '1 week', log_end => '2024-06-30');
SELECT as_of, count(*), count(ltv) FROM m GROUP BY 1 ORDER BY 1;
-- A log of two years shows the season in which the model will be used.
SELECT ltv_create_features('n', 'SELECT customer_id, ts, amount FROM orders UNION ALL SELECT customer_id, ts - interval ''600 days'', amount FROM orders',
    'customer_id', 'ts', 'amount', horizon => 30);

-- Attributes and sequences.
CREATE TABLE customers (customer_id text PRIMARY KEY, country text, born date);
INSERT INTO customers VALUES ('a', 'DE', '1990-01-01'), ('c', 'GB', NULL);
SELECT ltv_create_features('s', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, attributes => 'customers', sequence => true, windows => '{14}');
SELECT customer_id, count_14, sum_14, country, born, spend_sequence FROM s ORDER BY 1;
SELECT ltv_create_features('s2', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, sequence => '{units}');
SELECT customer_id, spend_sequence FROM s2 ORDER BY 1;

-- Amounts of every numeric type give the same features; a missing one does not count.
CREATE DOMAIN euro AS numeric(12,2);
CREATE DOMAIN whole_euro AS int;
CREATE VIEW rounded AS SELECT customer_id, ts, round(amount) AS amount FROM orders WHERE amount BETWEEN -1000 AND 1000 OR amount IS NULL;
SELECT ltv_create_features('t0', 'rounded', 'customer_id', 'ts', 'amount', '2024-03-01', 30);
SELECT type, ltv_create_features('t' || n, format('SELECT customer_id, ts, amount::%s AS amount FROM rounded', type), 'customer_id', 'ts', 'amount', '2024-03-01', 30)
FROM unnest('{int2,int4,int8,float4,float8,money,euro,whole_euro}'::text[]) WITH ORDINALITY AS x(type, n);
SELECT count(*) FROM (SELECT * FROM t0 UNION SELECT * FROM t1 UNION SELECT * FROM t2 UNION SELECT * FROM t3 UNION SELECT * FROM t4 UNION SELECT * FROM t5
    UNION SELECT * FROM t6 UNION SELECT * FROM t7 UNION SELECT * FROM t8) x;
SELECT count(*) FROM t0;

-- Names that need quotes, schemas, a source found by the search_path of its maker.
CREATE SCHEMA "My Shop";
CREATE TABLE "My Shop"."Orders; --" ("Customer" uuid, "when" date, "Amount €" float8);
INSERT INTO "My Shop"."Orders; --" VALUES ('00000000-0000-0000-0000-000000000001', '2024-01-01', 0.1), ('00000000-0000-0000-0000-000000000001', '2024-01-01', 0.2),
    ('00000000-0000-0000-0000-000000000001', '2024-01-02', 0.1), ('00000000-0000-0000-0000-000000000001', '2024-01-02', 0.2), ('00000000-0000-0000-0000-000000000001', '2024-01-02', -0.3);
SET search_path = "My Shop", public;
SELECT ltv_create_features('"Features"', '"Orders; --"', 'Customer', 'when', 'Amount €', '2024-01-31', 30);
RESET search_path;
SELECT ltv_refresh_features('"My Shop"."Features"', '2024-02-01');
SELECT "Customer", recency, frequency, monetary_mean FROM "My Shop"."Features";

-- Nobody has bought yet.
SELECT ltv_create_features('nobody', 'orders', 'customer_id', 'ts', 'amount', '2020-01-01', 30);
-- A name that was dropped may be used again.
DROP TABLE nobody;
SELECT ltv_create_features('nobody', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30);

-- Also by another role.
CREATE ROLE ltv_features_other;
GRANT CREATE ON SCHEMA public TO ltv_features_other;
GRANT SELECT ON orders TO ltv_features_other;
DROP TABLE nobody;
SET ROLE ltv_features_other;
SELECT ltv_create_features('nobody', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30);
SELECT ltv.feature_definition('nobody') ->> 'source' AS own, ltv.feature_definition('f') AS not_own;
SELECT ltv_refresh_features('f');
RESET ROLE;
DROP OWNED BY ltv_features_other;
DROP ROLE ltv_features_other;

-- Bad input.
CREATE FUNCTION pg_temp.fails(INOUT sql text, OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
\x on
\pset format unaligned
SELECT f.* FROM (VALUES
    ($$NULL, 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'a.b.c', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x; drop table orders', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'nowhere.x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'f', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', NULL, 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', 'no_orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', 'delete from orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', 'with d as (delete from orders returning *) select * from d', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', 'select 1) o; drop table orders; --', 'customer_id', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer', 'ts', 'amount', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer_id', 'day', 'amount', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'value', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer_id', NULL, 'amount', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer_id', 'units', 'amount', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'customer_id', '2024-03-01', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', NULL, 100$$),
    ($$'x', 'select * from orders where false', 'customer_id', 'ts', 'amount', horizon => 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '{}', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '{2024-03-01,NULL}', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', 'last tuesday', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', 'infinity', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', DATE '2999-01-01', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '{2024-03-01,2024-03-01 12:00}', 30$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', NULL$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 0$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', -5$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', '36 hours 5 minutes'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 1000000000$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 'soon'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, windows => '{7,0}'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, windows => '{7,NULL}'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, time_zone => 'Mars/Olympus'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, materialized => NULL$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, time_zone => NULL$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, sequence => '{nothing}'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, sequence => '{customer_id}'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, attributes => 'no_customers'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, attributes => 'select 1 as id'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, attributes => 'orders'$$),
    ($$'x', 'orders', 'customer_id', 'ts', 'amount', '2024-03-01', 30, attributes => 'select customer_id, born as recency from customers'$$)
    ) c(arguments), pg_temp.fails('SELECT ltv_create_features(' || arguments || ')') f;
SELECT f.* FROM (VALUES
    ($$ltv_refresh_features('orders')$$), ($$ltv_refresh_features('no_such')$$), ($$ltv_refresh_features(NULL)$$),
    ($$ltv_refresh_features('f', '2024-03-01 12:00')$$), ($$ltv_refresh_features('f', '2999-01-01')$$)
    ) c(call), pg_temp.fails('SELECT ' || call) f;
\x off
\pset format aligned
SELECT count(*) > 0 AS orders_are_still_there FROM orders;
