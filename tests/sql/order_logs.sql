-- Order logs as they are: dates that cannot be, instants with zones, dates and amounts of other types, ids of other types, odd names.
\set SHOW_CONTEXT never
SET client_min_messages = notice;
SET TimeZone = 'Asia/Tokyo';
CREATE TABLE orders AS SELECT i % 100 AS customer_id, date '2023-01-01' + i * 7919 % 700 AS d, (i * 37 % 90 + 1)::numeric AS amount FROM generate_series(1, 2000) i;

-- A log does not end after today: what is dated later is left out, and so are placeholders for a date that is not known.
SELECT ltv_create_features('before', 'orders', date_column => 'd', value_column => 'amount', as_of => '2024-11-15', horizon => 90);
CREATE TABLE odd_orders AS TABLE orders UNION ALL VALUES (1, date '9999-12-31', 5), (2, 'infinity', 5), (3, '1900-01-01', 5), (4, '1970-01-01', 5), (5, '-infinity', 5);
SELECT ltv_create_features('after', 'odd_orders', date_column => 'd', value_column => 'amount', as_of => '2024-11-15', horizon => 90);
SELECT count(*) FROM (TABLE before EXCEPT TABLE after) x;
SELECT count(ltv) FROM after;
SELECT ltv_create_features('chosen', 'odd_orders', date_column => 'd', value_column => 'amount', horizon => 90);
SELECT as_of, count(*), avg(recency)::int AS recency, sum(ltv) AS spent FROM chosen GROUP BY 1 ORDER BY 1;
SELECT ltv_refresh_features('after', '2024-08-31');
SELECT count(ltv) FROM after;
SELECT count(*) FROM ltv_rfm_summary('odd_orders', date_column => 'd', value_column => 'amount', as_of => '2024-12-31');
-- As a view, and with times.
SELECT ltv_create_features('times', 'SELECT customer_id, d::timestamp AS d, amount FROM odd_orders', date_column => 'd', value_column => 'amount', as_of => '2024-08-31', horizon => 90, materialized => false);
SELECT count(*) FROM (TABLE times EXCEPT TABLE after) x;
SELECT ltv_create_features('instants', 'SELECT customer_id, d::timestamp AT TIME ZONE ''UTC'' AS d, amount FROM odd_orders', date_column => 'd', value_column => 'amount', as_of => '2024-08-31', horizon => 90);
SELECT count(*) FROM (TABLE instants EXCEPT TABLE after) x;
-- Orders of today are of today, also where it is tomorrow already.
SET client_min_messages = warning;
SELECT ltv_create_features('now', 'SELECT 1 AS customer_id, now() - i * interval ''1 day'' AS at, 5 AS amount FROM generate_series(0, 40) i', date_column => 'at', value_column => 'amount',
    as_of => current_date, horizon => 10, time_zone => 'America/Los_Angeles');
SELECT frequency FROM now;
RESET client_min_messages;
-- Only such orders: an empty log.
SELECT ltv_create_features('nothing', 'SELECT * FROM odd_orders WHERE d > ''2100-01-01''', date_column => 'd', value_column => 'amount', horizon => 90);
SELECT ltv_create_features('nothing', 'SELECT * FROM odd_orders WHERE d > ''2100-01-01''', date_column => 'd', value_column => 'amount', horizon => 90, as_of => '2024-01-01');
-- A log of one day.
SELECT ltv_create_features('one_day', 'SELECT customer_id, date ''2024-05-05'' AS d, amount FROM orders', date_column => 'd', value_column => 'amount', horizon => 90);
SELECT ltv_create_features('one_day', 'SELECT customer_id, date ''2024-05-05'' AS d, amount FROM orders', date_column => 'd', value_column => 'amount', horizon => 90, as_of => '2024-05-05', log_end => '2024-12-31');
SELECT count(*), count(ltv), sum(ltv), max(t) FROM one_day;

-- An instant is that instant, whatever the time zones of the session and of the log.
CREATE TABLE clicks AS SELECT customer_id, d::timestamp AT TIME ZONE 'UTC' + customer_id % 24 * interval '1 hour' AS ts, amount FROM orders;
SELECT given, ltv_create_features('at_' || i, 'clicks', date_column => 'ts', value_column => 'amount', as_of => given, horizon => 90, time_zone => 'America/New_York')
FROM unnest(ARRAY['2023-12-31T16:00:00Z', '2023-12-31 16:00 UTC', '2023-12-31 17:00 Europe/Berlin', '2023-12-31 17:00+01', '20231231T160000Z', '2023-12-31 08:00 PST', '2023-12-31 08:00 PM +04',
                  '2023-12-31 11:00', '2023-12-31 16:00:00.000000+00:00']) WITH ORDINALITY AS x(given, i);
SELECT ltv_create_features('at_10', 'clicks', date_column => 'ts', value_column => 'amount', as_of => timestamptz '2023-12-31 16:00+00', horizon => 90, time_zone => 'America/New_York');
SELECT ltv_create_features('at_11', 'clicks', date_column => 'ts', value_column => 'amount', as_of => ARRAY[timestamptz '2023-12-31 16:00+00'], horizon => 90, time_zone => 'America/New_York');
SELECT DISTINCT x.as_of AT TIME ZONE 'UTC' AS expected_16_00, count(*) AS relations FROM (SELECT DISTINCT tableoid, as_of FROM (
    SELECT tableoid, as_of FROM at_1 UNION ALL SELECT tableoid, as_of FROM at_2 UNION ALL SELECT tableoid, as_of FROM at_3 UNION ALL SELECT tableoid, as_of FROM at_4
    UNION ALL SELECT tableoid, as_of FROM at_5 UNION ALL SELECT tableoid, as_of FROM at_6 UNION ALL SELECT tableoid, as_of FROM at_7 UNION ALL SELECT tableoid, as_of FROM at_8
    UNION ALL SELECT tableoid, as_of FROM at_9 UNION ALL SELECT tableoid, as_of FROM at_10 UNION ALL SELECT tableoid, as_of FROM at_11) x) x GROUP BY 1;
SELECT f.customer_id, f.ltv, o.net FROM at_1 f JOIN (SELECT customer_id, sum(amount) FILTER (WHERE ts > '2023-12-31 16:00+00'
    AND ts <= timestamptz '2023-12-31 16:00+00' + interval '90 days' - interval '1 hour') AS net FROM clicks GROUP BY 1) o USING (customer_id)
WHERE f.ltv <> COALESCE(o.net, 0);
SELECT sum(frequency) FROM ltv_rfm_summary('clicks', date_column => 'ts', value_column => 'amount', as_of => '2023-12-31T16:00:00Z', time_zone => 'Asia/Tokyo')
UNION SELECT sum(frequency) FROM ltv_rfm_summary('clicks', date_column => 'ts', value_column => 'amount', as_of => timestamptz '2023-12-31 16:00+00', time_zone => 'Asia/Tokyo');
-- The end of the log, too. An instant completes the days before it.
SELECT given, ltv_create_features('end_' || i, 'clicks', date_column => 'ts', value_column => 'amount', as_of => '2024-09-02', horizon => 90, log_end => given)
FROM unnest(ARRAY['2024-12-01', '2024-12-01T12:00:00Z', '2024-12-02 00:00 UTC', '2024-12-01 00:00-01']) WITH ORDINALITY AS x(given, i);
SELECT (SELECT count(ltv) FROM end_1) AS end_1, (SELECT count(ltv) FROM end_2) AS end_2, (SELECT count(ltv) FROM end_3) AS end_3, (SELECT count(ltv) FROM end_4) AS end_4;
SELECT ltv_create_features('end_5', 'clicks', date_column => 'ts', value_column => 'amount', as_of => '2024-09-02', horizon => 90, log_end => timestamptz '2999-01-01 12:00+00');
-- Refused because they may mean one thing or another.
SELECT ltv_create_features('at_12', 'clicks', date_column => 'ts', value_column => 'amount', as_of => '2023-12-31Z', horizon => 90);
SELECT ltv_create_features('at_12', 'clicks', date_column => 'ts', value_column => 'amount', as_of => '2023-12-31 16:00 Atlantis', horizon => 90);
SELECT ltv_create_features('at_12', 'clicks', date_column => 'ts', value_column => 'amount', as_of => '{2023-12-31,"2023-12-31 16:00Z"}', horizon => 90);
SELECT ltv_create_features('at_12', 'clicks', date_column => 'ts', value_column => 'amount', as_of => '{2023-12-31', horizon => 90);
SELECT ltv_create_features('at_12', 'clicks', date_column => 'ts', value_column => 'amount', as_of => timestamptz 'infinity', horizon => 90);
SELECT ltv_create_features('at_12', 'clicks', date_column => 'ts', value_column => 'amount', as_of => '1704067200', horizon => 90);

-- Numbers of days of all types.
SELECT ltv_create_features('n1', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90.0, windows => ARRAY[30, 365]::bigint[]);
SELECT ltv_create_features('n2', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::float8, windows => ARRAY[30, 365]::numeric[]);
SELECT ltv_create_features('n3', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90::bigint, windows => ARRAY[30, 365]::smallint[]);
SELECT ltv_create_features('n4', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => '90 days', windows => '{30,365}');
SELECT count(*) FROM (TABLE n1 UNION TABLE n2 UNION TABLE n3 UNION TABLE n4) x;
SELECT ltv_create_features('n5', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90.5);
SELECT ltv_create_features('n5', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 'NaN'::float8);
SELECT ltv_create_features('n5', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, windows => '{7.5}');

-- Dates and amounts of other types: the hint is a statement that works. Each statement is tried, then what its hint says, until it works.
CREATE FUNCTION pg_temp.follow(statement text, OUT hints int, OUT message text, OUT cast_by text) LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    FOR i IN 0..3 LOOP
        hints := i;
        BEGIN
            EXECUTE statement;
            RETURN;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            message := COALESCE(message || '; ', '') || SQLERRM;
            cast_by := COALESCE(cast_by || '; ', '') || (regexp_match(hint, 'SELECT o.customer_id, (.*) AS d,|SELECT o.customer_id, o.d, (.*) AS amount|SELECT (.*) AS customer_id'))[1];
            IF hint !~ 'SELECT ltv_' THEN
                message := message || ' ' || hint;
                RETURN;
            END IF;
            statement := substring(hint FROM 'SELECT ltv_.*');
        END;
    END LOOP;
END
$$;
CREATE TABLE texts AS SELECT customer_id, amount, amount::text || '.50' AS money_text, to_char(amount, 'FM990.00') || ' EUR' AS amount_eur,
    d::text AS iso, to_char(d, 'YYYYMMDD') AS compact, to_char(d, 'YYYYMMDD')::int AS compact_number, to_char(d, 'DD.MM.YYYY') AS german, to_char(d, 'MM/DD/YYYY') AS american,
    to_char(d, 'DD/MM/YYYY') AS british, to_char(d, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS zulu, to_char(d, 'YYYY-MM-DD HH24:MI:SS') AS local, CASE WHEN customer_id % 3 = 0 THEN '' ELSE d::text END AS blanks,
    extract(epoch FROM d)::bigint AS seconds, extract(epoch FROM d)::bigint * 1000 AS millis, extract(epoch FROM d)::bigint * 1000000 AS micros, extract(epoch FROM d) AS seconds_numeric,
    extract(epoch FROM d)::bigint::text AS seconds_text, 'last week' AS words FROM orders;
SELECT d, f.* FROM unnest('{iso,compact,compact_number,german,american,british,zulu,local,blanks,seconds,millis,micros,seconds_numeric,seconds_text,words,money_text}'::text[]) d,
    pg_temp.follow(format('SELECT ltv_create_features(%L, %L, date_column => ''d'', value_column => ''amount'', as_of => ''2023-12-31'', horizon => 90)', 'x_' || d,
                          format('SELECT customer_id, %I AS d, amount FROM texts', d))) f;
SELECT (SELECT sum(t) FROM x_iso) = (SELECT sum(t) FROM x_american) AS american, (SELECT sum(t) FROM x_iso) = (SELECT sum(t) FROM x_british) AS british, (SELECT sum(t) FROM x_iso) = (SELECT sum(t) FROM x_seconds) AS seconds,
       (SELECT sum(t) FROM x_iso) = (SELECT sum(t) FROM x_micros) AS micros, (SELECT sum(t) FROM x_iso) = (SELECT sum(t) FROM x_compact_number) AS compact;
SELECT a, f.hints, f.message FROM unnest('{money_text,amount_eur}'::text[]) a,
    pg_temp.follow(format('SELECT ltv_create_features(%L, %L, date_column => ''d'', value_column => ''amount'', as_of => ''2023-12-31'', horizon => 90)', 'y_' || a,
                          format('SELECT customer_id, iso AS d, %I AS amount FROM texts', a))) f;
SELECT f.hints, f.message FROM pg_temp.follow($$SELECT count(*) FROM ltv_rfm_summary('SELECT customer_id, millis AS "The Day", money_text AS "it''s" FROM texts;', date_column => 'The Day', value_column => 'it''s', as_of => '2023-12-31')$$) f;
SELECT f.hints, f.message FROM pg_temp.follow($$SELECT ltv_create_features('j', 'SELECT json_build_object(''id'', customer_id) AS customer_id, d, amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90)$$) f;

-- Ids of another type in attributes are compared as what they are.
CREATE TABLE crm AS SELECT i AS customer_id, 'seg_' || i % 3 AS segment FROM generate_series(0, 99) i;
SELECT o AS orders, a AS attributes, ltv_create_features('ids_' || i, format('SELECT customer_id::%s AS customer_id, d, amount FROM orders', o), date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90,
    attributes => format('SELECT customer_id::%s AS customer_id, segment FROM crm', a))
FROM (VALUES (1, 'int', 'text'), (2, 'text', 'int'), (3, 'bigint', 'int'), (4, 'numeric(12,2)', 'text'), (5, 'float8', 'smallint'), (6, 'char(5)', 'varchar'), (7, 'name', 'text'), (8, 'text COLLATE "C"', 'text'), (9, 'real', 'numeric')) x(i, o, a);
SELECT count(*) AS customers, count(segment) AS with_segment FROM ids_1 UNION ALL SELECT count(*), count(segment) FROM ids_2 UNION ALL SELECT count(*), count(segment) FROM ids_3 UNION ALL SELECT count(*), count(segment) FROM ids_4
UNION ALL SELECT count(*), count(segment) FROM ids_5 UNION ALL SELECT count(*), count(segment) FROM ids_6 UNION ALL SELECT count(*), count(segment) FROM ids_7 UNION ALL SELECT count(*), count(segment) FROM ids_8 UNION ALL SELECT count(*), count(segment) FROM ids_9;
SELECT ltv_create_features('ids_10', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90,
    attributes => 'SELECT CASE WHEN customer_id < 50 THEN lpad(customer_id::text, 4, ''0'') ELSE ''guest '' || customer_id END AS customer_id, segment FROM crm');
SELECT count(*) AS customers, count(segment) AS with_segment FROM ids_10;
SELECT ltv_create_features('ids_11', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, attributes => 'VALUES (''7'', 1), (''007'', 2)');
SELECT ltv_create_features('ids_11', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, attributes => 'SELECT ''7'' AS customer_id, 1 AS x UNION ALL SELECT ''007'', 2');
SELECT ltv_create_features('ids_11', 'SELECT md5(customer_id::text)::uuid AS customer_id, d, amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90,
    attributes => 'SELECT upper(md5(customer_id::text)::uuid::text) AS customer_id, segment FROM crm');
SELECT count(*) AS customers, count(segment) AS with_segment FROM ids_11;
SELECT ltv_create_features('ids_12', 'orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, attributes => 'SELECT date ''2024-01-01'' + customer_id AS customer_id, segment FROM crm');

-- citext by its own equality, in orders, in attributes, in both, wherever it is installed.
CREATE SCHEMA types;
CREATE EXTENSION citext SCHEMA types;
CREATE DOMAIN types.shop_id AS types.citext;
CREATE DOMAIN types.shop_day AS date;
CREATE DOMAIN types.euro AS money;
CREATE TABLE mixed (customer_id types.citext, d types.shop_day, amount types.euro);
INSERT INTO mixed SELECT CASE i % 3 WHEN 0 THEN 'Ann' WHEN 1 THEN 'ANN' ELSE 'bob' END, date '2023-01-01' + i, i::numeric::money FROM generate_series(1, 300) i;
SELECT type, other, ltv_create_features('ci_' || i, format('SELECT customer_id::%s AS customer_id, d, amount FROM mixed', type), date_column => 'd', value_column => 'amount', as_of => '2023-08-31', horizon => 30,
    attributes => format('SELECT n::%s AS customer_id, n || ''!'' AS shout FROM unnest(''{aNN,BOB}''::text[]) n', other))
FROM (VALUES (1, 'types.citext', 'types.citext'), (2, 'types.citext', 'text'), (3, 'types.shop_id', 'types.citext'), (4, 'text', 'types.citext'), (5, 'text', 'text')) x(i, type, other);
SELECT lower(customer_id::text) AS customer, frequency, shout FROM ci_1 UNION ALL SELECT lower(customer_id::text), frequency, shout FROM ci_2 UNION ALL SELECT lower(customer_id::text), frequency, shout FROM ci_3 ORDER BY 1;
SELECT customer_id, frequency, shout FROM ci_4 ORDER BY customer_id COLLATE "C";
SELECT customer_id, frequency, shout FROM ci_5 ORDER BY customer_id COLLATE "C";
SELECT ltv_create_features('ci_6', 'mixed', date_column => 'd', value_column => 'amount', as_of => '2023-08-31', horizon => 30, attributes => 'SELECT n AS customer_id, 1 AS x FROM unnest(''{ann,Ann}''::text[]) n');
SELECT lower(customer_id), frequency, monetary_value FROM ltv_rfm_summary('mixed', date_column => 'd', value_column => 'amount', as_of => '2023-08-31') ORDER BY 1;

-- An id with the name of a feature: the hint works.
SELECT f.hints, f.message FROM pg_temp.follow($$SELECT ltv_create_features('g', 'SELECT customer_id AS t, d, amount FROM orders', customer_id_column => 't', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180)$$) f;
SELECT count(t_id) FROM g;
SELECT ltv_create_features('h', 'SELECT *, d AS d FROM orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);

-- Names with everything in them, in a session whose literals know backslashes.
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET search_path = '';
CREATE TABLE public."o{id}\'""%I" ("c{day}\n" int, "d %s" date, "a'$1" numeric, "x{y}" numeric);
INSERT INTO public."o{id}\'""%I" SELECT customer_id, d, amount, amount / 2 FROM public.orders;
SELECT public.ltv_create_features('public."f{t}\\"', 'public."o{id}\\''""%I"', 'c{day}\\n', 'd %s', 'a''$1', '2023-12-31', 90, sequence => '{"x{y}"}',
    attributes => 'SELECT customer_id AS "c{day}\\n", segment AS "s{id}\\" FROM public.crm WHERE segment <> ''\\\\''');
SELECT public.ltv_refresh_features('public."f{t}\\"');
SELECT count(*) AS customers, count("s{id}\") AS with_segment, sum(ltv) AS ltv FROM public."f{t}\";
SELECT count(*) FROM public.ltv_rfm_summary('public."o{id}\\''""%I"', 'c{day}\\n', 'd %s', 'a''$1', '2023-12-31');
-- One backslash in the literal of a source is one backslash in any session.
CREATE TABLE public.slashes AS SELECT CASE WHEN customer_id < 50 THEN '\\' ELSE '\\\\' END AS slash, customer_id, d, amount FROM public.orders;
SELECT public.ltv_create_features('public.one_slash', 'SELECT customer_id, d, amount FROM public.slashes WHERE slash = ''\\\\'' AND slash <> ''it''''s'' ', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90);
SELECT count(*), max(customer_id) FROM public.one_slash;
RESET standard_conforming_strings;
RESET search_path;
SELECT ltv_refresh_features('one_slash');
SELECT count(*), max(customer_id) FROM one_slash;
SET standard_conforming_strings = off;
SELECT ltv_refresh_features('one_slash');
RESET standard_conforming_strings;
SELECT count(*), max(customer_id) FROM one_slash;
SELECT ltv_refresh_features('public."f{t}\"');
SELECT count(*) AS customers, count("s{id}\") AS with_segment, sum(ltv) AS ltv FROM "f{t}\";
SELECT sum(ltv) FROM n4;

-- Partitions, foreign keys to nowhere, views over views.
CREATE TABLE parts (customer_id int, d date, amount numeric) PARTITION BY RANGE (d);
CREATE TABLE parts_2023 PARTITION OF parts FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO parts TABLE orders;
CREATE MATERIALIZED VIEW kept_parts AS SELECT * FROM parts;
SELECT ltv_create_features('p1', 'parts', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, windows => '{30,365}');
SELECT ltv_create_features('p2', 'kept_parts', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 90, windows => '{30,365}');
SELECT count(*) FROM (TABLE n4 UNION TABLE p1 UNION TABLE p2) x;
