-- Features of everyone beside plain SQL that was written from their definitions in docs/features.md: a list of customers with starts, other logs, ages,
-- returns, dated attributes, several horizons, regular grids. The logs are made to be nasty; what comes later changes nothing.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
CREATE TABLE users AS SELECT i AS customer_id, CASE WHEN i % 41 <> 0 THEN timestamptz '2024-01-01 00:00+00' + i % 60 * interval '1 day' + (i % 5 - 2) * interval '1 hour' END AS registered,
    (ARRAY['DE', 'FR', NULL])[1 + i % 3] AS country FROM generate_series(1, 300) i;
INSERT INTO users VALUES (NULL, '2024-01-01', 'XX'), (301, '2999-01-01', 'XX'), (302, 'infinity', 'XX'), (303, '-infinity', 'XX');
CREATE TABLE orders AS SELECT CASE WHEN h % 3 = 0 THEN h % 20 ELSE h % 150 END AS customer_id, timestamptz '2024-01-01 00:00+00' + h % 160 * interval '1 day' + (h % 7 - 3) * interval '20 minutes' AS ts,
    CASE h % 9 WHEN 0 THEN -(h % 500) / 10.0 WHEN 1 THEN 0 WHEN 2 THEN 1e9 + h % 100 / 100.0 WHEN 3 THEN -50 WHEN 4 THEN NULL ELSE round(h % 10000 / 37.0, 2) END AS amount, h % 4 AS units
FROM generate_series(1, 2500) i, LATERAL (SELECT abs(hashint4(i))) x(h);
INSERT INTO orders SELECT * FROM orders WHERE units = 1;
INSERT INTO orders VALUES (5, '9999-12-31', 5, 1), (5, '1970-01-01', 5, 1), (6, '2024-02-01', 'NaN', 1), (NULL, '2024-02-01', 5, 1), (7, NULL, 5, 1);
-- Another type of id, types that are missing or odd, values that are missing or no numbers.
CREATE TABLE views AS SELECT (h % 200)::text AS "Who", timestamptz '2024-01-01 00:00+00' + h % 170 * interval '1 day' + (h % 9 - 4) * interval '15 minutes' AS at,
    (ARRAY['view', 'view', 'Add to Cart', 'add-to-cart', NULL, ''])[1 + h % 6] AS kind, CASE h % 8 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN -0.5 ELSE h % 100 / 8.0 END AS seconds, 1 AS one
FROM generate_series(1, 5000) i, LATERAL (SELECT abs(hashint4(-i))) x(h);
INSERT INTO views VALUES ('5', '9999-12-31', 'view', 1, 1), ('5', '1970-01-01', 'view', 1, 1), (NULL, '2024-02-01', 'view', 1, 1), ('nobody', '2024-02-01', 'view', 1, 1);
CREATE TABLE levels AS SELECT i AS customer_id, date '2024-01-05' + 13 * j AS since, i * 100 + j AS level FROM generate_series(1, 250) i, generate_series(0, 9) j WHERE (i + j) % 4 <> 0;

-- The day of a row in the zone of the test, and what can be.
CREATE VIEW order_days AS SELECT customer_id, (ts AT TIME ZONE 'Europe/Berlin')::date AS day, amount, units FROM orders WHERE customer_id IS NOT NULL AND isfinite(ts) AND ts BETWEEN '1970-01-02' AND now()
    AND amount NOT IN ('NaN', 'Infinity', '-Infinity');
CREATE VIEW event_days AS SELECT CASE WHEN "Who" ~ '^[0-9]+$' THEN "Who"::int END AS customer_id, (at AT TIME ZONE 'Europe/Berlin')::date AS day, kind, CASE WHEN seconds = 'NaN' THEN 0 ELSE COALESCE(seconds, 0) END AS seconds
    FROM views WHERE "Who" IS NOT NULL AND at BETWEEN '1970-01-02' AND now();
CREATE VIEW user_days AS SELECT customer_id, CASE WHEN isfinite(registered) THEN (registered AT TIME ZONE 'Europe/Berlin')::date END AS start, country FROM users WHERE customer_id IS NOT NULL;

-- What is expected of each customer on a day.
CREATE FUNCTION expected(moments text) RETURNS TABLE (customer_id int, as_of date, purchases int, recency int, return_days int, returned numeric, count_14 int, sum_14 numeric,
    visits_count int, visits_days int, visits_seconds numeric, visits_recency int, visits_count_14 int, visits_days_14 int, visits_seconds_14 numeric, visits_trend_14 float8,
    cart_count int, cart_days_14 int, cart_seconds_14 numeric, cart_recency int, ltv_10 numeric, ltv numeric, level int) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
    WITH moments AS (%s), days AS (SELECT o.customer_id, o.day, sum(o.amount) AS spent FROM order_days o GROUP BY 1, 2),
    bought AS (
        SELECT m.customer_id, m.as_of, count(*) FILTER (WHERE d.spent > 0) AS n, m.as_of - max(d.day) FILTER (WHERE d.spent > 0) AS recency, count(*) FILTER (WHERE d.spent < 0) AS return_days,
               COALESCE(-sum(d.spent) FILTER (WHERE d.spent < 0), 0) AS returned, count(*) FILTER (WHERE d.spent > 0 AND d.day > m.as_of - 14) AS n_14,
               COALESCE(sum(d.spent) FILTER (WHERE d.spent > 0 AND d.day > m.as_of - 14), 0) AS sum_14
        FROM moments m LEFT JOIN days d ON d.customer_id = m.customer_id AND d.day <= m.as_of GROUP BY 1, 2),
    seen AS (
        SELECT m.customer_id, m.as_of, e.day, e.kind, e.seconds, e.day > m.as_of - 14 AS recent, e.day BETWEEN m.as_of - 27 AND m.as_of - 14 AS before
        FROM moments m JOIN event_days e ON e.customer_id = m.customer_id AND e.day <= m.as_of),
    visits AS (
        SELECT s.customer_id, s.as_of, count(*) AS n, count(DISTINCT s.day) AS days, sum(s.seconds) AS seconds, s.as_of - max(s.day) AS recency, count(*) FILTER (WHERE recent) AS n_14,
               count(DISTINCT s.day) FILTER (WHERE recent) AS days_14, COALESCE(sum(s.seconds) FILTER (WHERE recent), 0) AS seconds_14, count(*) FILTER (WHERE before) AS n_before,
               count(*) FILTER (WHERE s.kind = 'Add to Cart') AS cart, count(DISTINCT s.day) FILTER (WHERE s.kind = 'Add to Cart' AND recent) AS cart_days_14,
               COALESCE(sum(s.seconds) FILTER (WHERE s.kind = 'Add to Cart' AND recent), 0) AS cart_seconds_14, s.as_of - max(s.day) FILTER (WHERE s.kind = 'Add to Cart') AS cart_recency
        FROM seen s GROUP BY 1, 2)
    SELECT b.customer_id, b.as_of, b.n::int, b.recency, b.return_days::int, b.returned, b.n_14::int, b.sum_14,
           COALESCE(v.n, 0)::int, COALESCE(v.days, 0)::int, COALESCE(v.seconds, 0), v.recency, COALESCE(v.n_14, 0)::int, COALESCE(v.days_14, 0)::int, COALESCE(v.seconds_14, 0),
           CASE WHEN v.n_14 + v.n_before > 0 THEN (v.n_14 - v.n_before)::float8 / (v.n_14 + v.n_before) ELSE 0 END,
           COALESCE(v.cart, 0)::int, COALESCE(v.cart_days_14, 0)::int, COALESCE(v.cart_seconds_14, 0), v.cart_recency,
           CASE WHEN b.as_of + 10 <= l.last_day THEN (SELECT greatest(0, COALESCE(sum(d.spent), 0)) FROM days d WHERE d.customer_id = b.customer_id AND d.day > b.as_of AND d.day <= b.as_of + 10) END,
           CASE WHEN b.as_of + 30 <= l.last_day THEN (SELECT greatest(0, COALESCE(sum(d.spent), 0)) FROM days d WHERE d.customer_id = b.customer_id AND d.day > b.as_of AND d.day <= b.as_of + 30) END,
           (SELECT a.level FROM levels a WHERE a.customer_id = b.customer_id AND a.since <= b.as_of ORDER BY a.since DESC LIMIT 1)
    FROM bought b LEFT JOIN visits v USING (customer_id, as_of), (SELECT date '2024-06-01' AS last_day) l$q$, moments);
END
$$;
CREATE FUNCTION differences(relation regclass, moments text, OUT rows bigint, OUT differ bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$SELECT count(e.customer_id), count(*) FILTER (WHERE f.customer_id IS NULL OR e.customer_id IS NULL
        OR (f.purchases, f.recency, f.return_days, f.returned, f.count_14, f.sum_14, f.visits_count, f.visits_days, f.visits_seconds, f.visits_recency, f.visits_count_14, f.visits_days_14, f.visits_seconds_14,
            f.visits_trend_14, f.visits_add_to_cart_count, f.visits_add_to_cart_days_14, f.visits_add_to_cart_seconds_14, f.visits_add_to_cart_recency, f.ltv_10, f.ltv, f.level)
           IS DISTINCT FROM (e.purchases, e.recency, e.return_days, e.returned::float8, e.count_14, e.sum_14::float8, e.visits_count, e.visits_days, e.visits_seconds::float8, e.visits_recency, e.visits_count_14,
            e.visits_days_14, e.visits_seconds_14::float8, e.visits_trend_14, e.cart_count, e.cart_days_14, e.cart_seconds_14::float8, e.cart_recency, e.ltv_10::float8, e.ltv::float8, e.level))
        FROM %s f FULL JOIN expected(%L) e USING (customer_id, as_of)$q$, relation, moments) INTO rows, differ;
END
$$;

-- On calendar days, as a table, as a view, and out of rows that come in another order by parallel workers.
\set events '{"visits": {"source": "views", "customer_id_column": "Who", "date_column": "at", "type_column": "kind", "value_columns": ["seconds"], "types": ["Add to Cart", "view", "never seen"]}}'
SELECT ltv_create_features('days', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-02-29,2024-05-15}', horizon => 30, horizons => '{10}', windows => '{14}',
    customers => 'users', start_column => 'registered', events => :'events', attributes => 'levels', attributes_date_column => 'since', returns => true, time_zone => 'Europe/Berlin', log_end => '2024-06-01');
SELECT * FROM differences('days', 'SELECT u.customer_id, d::date AS as_of FROM user_days u, unnest(''{2024-01-31,2024-02-29,2024-05-15}''::date[]) d WHERE u.start <= d OR u.start IS NULL');
SELECT count(*) FILTER (WHERE d.days_since_start IS DISTINCT FROM d.as_of - u.start) AS differ, count(*) FILTER (WHERE d.country IS DISTINCT FROM u.country) AS countries_differ FROM days d JOIN user_days u USING (customer_id);
SELECT ltv_create_features('days_view', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-02-29,2024-05-15}', horizon => 30, horizons => '{10}', windows => '{14}',
    customers => 'users', start_column => 'registered', events => :'events', attributes => 'levels', attributes_date_column => 'since', returns => true, time_zone => 'Europe/Berlin', log_end => '2024-06-01',
    materialized => false);
SELECT count(*) FROM (TABLE days EXCEPT ALL TABLE days_view) x;
CREATE TABLE shuffled_orders AS SELECT * FROM orders ORDER BY hashint8(units + extract(epoch FROM ts)::bigint), amount DESC;
CREATE TABLE shuffled_views AS SELECT * FROM views ORDER BY hashint8(extract(epoch FROM at)::bigint), seconds;
ALTER TABLE shuffled_orders SET (parallel_workers = 2);
ALTER TABLE shuffled_views SET (parallel_workers = 2);
ANALYZE shuffled_orders, shuffled_views;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT ltv_create_features('shuffled', 'shuffled_orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-02-29,2024-05-15}', horizon => 30, horizons => '{10}', windows => '{14}',
    customers => 'users', start_column => 'registered', events => replace(:'events', 'views', 'shuffled_views')::jsonb, attributes => 'levels', attributes_date_column => 'since', returns => true,
    time_zone => 'Europe/Berlin', log_end => '2024-06-01');
SELECT count(*) FROM (TABLE days EXCEPT ALL TABLE shuffled) x;
EXPLAIN (COSTS off) SELECT s.customer_id, ltv.collect('tv', NULL, s.ts::date, s.amount) FROM shuffled_orders s GROUP BY 1;
CREATE FUNCTION pg_temp.same(relation text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT customer_id, ltv.collect(''tvx'', NULL, ts::date, amount, units) FROM orders WHERE customer_id IS NOT NULL AND ts IS NOT NULL GROUP BY 1 EXCEPT ALL
        SELECT customer_id, ltv.collect(''tvx'', NULL, ts::date, amount, units) FROM %I WHERE customer_id IS NOT NULL AND ts IS NOT NULL GROUP BY 1) x', relation) INTO n;
    RETURN n;
END
$$;
SELECT pg_temp.same('shuffled_orders');
-- Where each process has customers of its own: ids of several types, days and instants, sequences; in the same order, too.
SET max_parallel_workers_per_gather = 0;
SELECT ltv_create_features('one_process', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-05-15}', horizon => 30, sequence => '{units}');
SELECT ltv_create_features('one_process_now', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31 12:00,2024-05-15 06:00}', horizon => 30);
SET max_parallel_workers_per_gather = 2;
SELECT ltv.feature_parts(ltv.feature_definition('one_process')) AS parts;
CREATE TABLE orders_text AS SELECT 'c' || customer_id AS customer_id, ts, amount, units FROM orders;
CREATE TABLE orders_uuid AS SELECT md5(customer_id::text)::uuid AS customer_id, ts, amount, units FROM orders;
SELECT ltv_create_features('processes', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-05-15}', horizon => 30, sequence => '{units}');
SELECT ltv_create_features('processes_now', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31 12:00,2024-05-15 06:00}', horizon => 30);
SELECT ltv_create_features('processes_text', 'orders_text', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-05-15}', horizon => 30, sequence => '{units}');
SELECT ltv_create_features('processes_uuid', 'orders_uuid', date_column => 'ts', value_column => 'amount', as_of => '{2024-01-31,2024-05-15}', horizon => 30, sequence => '{units}');
SELECT count(*) > 150 AS have_rows, count(*) FILTER (WHERE o.ctid IS DISTINCT FROM p.ctid OR to_jsonb(o) <> to_jsonb(p)) AS differ FROM one_process o FULL JOIN processes p USING (customer_id, as_of);
SELECT count(*) > 150 AS have_rows, count(*) FILTER (WHERE o.ctid IS DISTINCT FROM p.ctid OR to_jsonb(o) <> to_jsonb(p)) AS differ FROM one_process_now o FULL JOIN processes_now p USING (customer_id, as_of);
SELECT count(*) AS differ FROM (SELECT to_jsonb(o) || jsonb_build_object('customer_id', 'c' || customer_id) FROM one_process o EXCEPT ALL SELECT to_jsonb(p) FROM processes_text p) x;
SELECT count(*) AS differ FROM (SELECT to_jsonb(o) || jsonb_build_object('customer_id', md5(customer_id::text)::uuid) FROM one_process o EXCEPT ALL SELECT to_jsonb(p) FROM processes_uuid p) x;
SELECT ltv_refresh_features('processes');
SELECT count(*) AS differ FROM (SELECT to_jsonb(o) FROM one_process o EXCEPT ALL SELECT to_jsonb(p) FROM processes p) x;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- In little memory it spills.
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
SELECT pg_temp.same('shuffled_orders');
RESET work_mem;
RESET hash_mem_multiplier;

-- By age, from the registration and from the first purchase.
SELECT ltv_create_features('ages', 'orders', date_column => 'ts', value_column => 'amount', age => '{0,7,30,100}', horizon => 30, horizons => '{10}', windows => '{14}', customers => 'users', start_column => 'registered',
    events => :'events', attributes => 'levels', attributes_date_column => 'since', returns => true, time_zone => 'Europe/Berlin', log_end => '2024-06-01');
SELECT * FROM differences('ages', 'SELECT u.customer_id, u.start + a AS as_of FROM user_days u, unnest(''{0,7,30,100}''::int[]) a WHERE u.start + a <= ''2024-06-01'' AND u.start < ''2100-01-01''');
SELECT ltv_create_features('own', 'orders', date_column => 'ts', value_column => 'amount', age => '{7,30}', horizon => '1 month', windows => '{14}', time_zone => 'Europe/Berlin', log_end => '2024-06-01', attributes => 'SELECT customer_id, country FROM users');
WITH first AS (SELECT customer_id, min(day) AS start FROM (SELECT customer_id, day FROM order_days GROUP BY 1, 2 HAVING sum(amount) > 0) d GROUP BY 1),
     e AS (SELECT f.customer_id, a AS age, f.start + a AS as_of, CASE WHEN (f.start + a + interval '1 month')::date <= '2024-06-01' THEN (SELECT greatest(0, COALESCE(sum(o.amount), 0)) FROM order_days o
               WHERE o.customer_id = f.customer_id AND o.day > f.start + a AND o.day <= f.start + a + interval '1 month') END AS ltv
           FROM first f, unnest('{7,30}'::int[]) a WHERE f.start + a <= '2024-06-01')
SELECT count(*) > 200 AS have_rows, count(e.ltv) > 150 AS have_labels, count(*) FILTER (WHERE o.customer_id IS NULL OR e.customer_id IS NULL OR o.as_of <> e.as_of OR o.t <> o.days_since_start OR o.ltv IS DISTINCT FROM e.ltv::float8) AS differ
FROM own o FULL JOIN e ON e.customer_id = o.customer_id AND e.age = o.days_since_start;

-- A regular grid: net amount, purchases, units; visits, their seconds.
SELECT ltv_create_features('grid', 'orders', date_column => 'ts', value_column => 'amount', as_of => '2024-05-15', horizon => 10, windows => '{}', customers => 'users', time_zone => 'Europe/Berlin',
    events => :'events', sequence => '{"step": "7 days", "steps": 4, "columns": ["units"]}');
WITH steps AS (
    SELECT u.customer_id, s AS step,
           COALESCE((SELECT sum(o.amount) FROM order_days o WHERE o.customer_id = u.customer_id AND (date '2024-05-15' - o.day) / 7 = 4 - s AND o.day <= '2024-05-15'), 0)::real AS net,
           (SELECT count(*) FROM (SELECT FROM order_days o WHERE o.customer_id = u.customer_id AND (date '2024-05-15' - o.day) / 7 = 4 - s AND o.day <= '2024-05-15' GROUP BY o.day HAVING sum(o.amount) > 0) b)::real AS bought,
           COALESCE((SELECT sum(o.units) FROM order_days o WHERE o.customer_id = u.customer_id AND (date '2024-05-15' - o.day) / 7 = 4 - s AND o.day <= '2024-05-15'), 0)::real AS units,
           COALESCE((SELECT count(*) FROM event_days e WHERE e.customer_id = u.customer_id AND (date '2024-05-15' - e.day) / 7 = 4 - s AND e.day <= '2024-05-15'), 0)::real AS visits,
           COALESCE((SELECT sum(e.seconds) FROM event_days e WHERE e.customer_id = u.customer_id AND (date '2024-05-15' - e.day) / 7 = 4 - s AND e.day <= '2024-05-15'), 0)::real AS seconds
    FROM user_days u, generate_series(1, 4) s)
SELECT count(*) AS rows, count(*) FILTER (WHERE g.spend_sequence IS DISTINCT FROM e.steps) AS differ
FROM grid g FULL JOIN (SELECT customer_id, array_agg(ARRAY[net, bought, units, visits, seconds] ORDER BY step) AS steps FROM steps GROUP BY 1) e USING (customer_id);

-- Later rows change no feature, and rows by age are not touched again but for labels whose time has come.
CREATE TABLE before AS TABLE days;
CREATE TABLE ages_before AS SELECT xmin::text AS made_by, * FROM ages;
INSERT INTO orders SELECT i % 310, '2024-05-16 06:00+02'::timestamptz + i * interval '5 hours', i - 20, 1 FROM generate_series(0, 200) i;
INSERT INTO views SELECT (i % 310)::text, '2024-05-16 06:00+02'::timestamptz + i * interval '5 hours', (ARRAY['view', 'new kind'])[1 + i % 2], 3, 1 FROM generate_series(0, 200) i;
INSERT INTO levels SELECT i, '2024-05-16', -1 FROM generate_series(1, 300) i;
SELECT ltv_refresh_features('days');
SELECT count(*) FROM (SELECT to_jsonb(b) - 'ltv' - 'ltv_10' FROM before b EXCEPT ALL SELECT to_jsonb(d) - 'ltv' - 'ltv_10' FROM days d) x;
UPDATE ltv.feature_definitions SET definition = definition || '{"log_end": "2024-06-20"}' WHERE relation = 'ages'::regclass;
SELECT ltv_refresh_features('ages');
SELECT count(*) FILTER (WHERE a.customer_id IS NULL) AS gone, count(*) FILTER (WHERE b.customer_id IS NULL) AS added, min(a.as_of) FILTER (WHERE b.customer_id IS NULL) AS first_added,
       count(*) FILTER (WHERE b.ltv IS NULL AND a.ltv IS NOT NULL AND b.customer_id IS NOT NULL) > 0 AS labels_came,
       count(*) FILTER (WHERE b.ltv IS NOT NULL AND a.xmin::text <> b.made_by) AS touched,
       count(*) FILTER (WHERE to_jsonb(a) - 'ltv' - 'ltv_10' <> to_jsonb(b) - 'ltv' - 'ltv_10' - 'made_by') AS changed
FROM ages a FULL JOIN ages_before b USING (customer_id, days_since_start);
SELECT ltv_refresh_features('ages');

-- Labels of several horizons are those of one at a time; of a person who is new only those that have ended.
SELECT ltv_create_features('h10', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-05-15,2024-06-15}', horizon => 10, customers => 'users', time_zone => 'Europe/Berlin', log_end => '2024-07-01');
SELECT ltv_create_features('h3', 'orders', date_column => 'ts', value_column => 'amount', as_of => '{2024-05-15,2024-06-15}', horizons => '{10,5,30}', customers => 'users', time_zone => 'Europe/Berlin', log_end => '2024-07-01');
SELECT h3.as_of, count(*) AS rows, count(ltv_5) AS ltv_5, count(ltv_10) AS ltv_10, count(ltv_30) AS ltv_30, count(*) FILTER (WHERE h3.ltv IS DISTINCT FROM ltv_30 OR h3.ltv_10 IS DISTINCT FROM h10.ltv) AS differ
FROM h3 JOIN h10 USING (customer_id, as_of) GROUP BY 1 ORDER BY 1;

-- What the columns mean is written at them.
SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a WHERE a.attrelid = 'days'::regclass AND a.attnum > 0 AND col_description(a.attrelid, a.attnum) ~ 'cart|Cart|start|return' ORDER BY a.attnum;
-- Types that are found, not given; too many are cut.
SET client_min_messages = notice;
SELECT ltv_create_features('found', 'orders', date_column => 'ts', value_column => 'amount', as_of => '2024-05-15', horizon => 10, windows => '{}', events => '{"visits": {"source": "views", "customer_id_column": "Who", "date_column": "at", "type_column": "kind"},
    "many": {"source": "SELECT \"Who\" AS customer_id, at, md5(at::text) AS kind FROM views", "date_column": "at", "type_column": "kind", "max_types": 2}}');
SELECT attname FROM pg_attribute WHERE attrelid = 'found'::regclass AND attname ~ '^(visits|many)' AND attname !~ '^many_[0-9a-f]{20}_' ORDER BY attnum;

-- Ages beyond the log, and starts of which none has come.
SELECT ltv_create_features('beyond', 'orders', date_column => 'ts', value_column => 'amount', age => '{7,5000}', horizon => 10);
SELECT days_since_start, count(*) > 100 AS some FROM beyond GROUP BY 1;
DROP TABLE beyond;
SELECT ltv_create_features('beyond', 'orders', date_column => 'ts', value_column => 'amount', age => '{5000}', horizon => 10);
SELECT ltv_create_features('to_come', 'orders', date_column => 'ts', value_column => 'amount', as_of => '2024-05-15', horizon => 10, customers => 'SELECT * FROM users WHERE customer_id = 301', start_column => 'registered');
SELECT ltv_create_features('to_come_of_age', 'orders', date_column => 'ts', value_column => 'amount', age => '{0}', horizon => 10, customers => 'SELECT * FROM users WHERE customer_id = 301', start_column => 'registered');
-- A log of others.
SELECT ltv_create_features('of_others', 'SELECT * FROM orders WHERE ts BETWEEN ''2024-01-01'' AND ''2024-06-30''', date_column => 'ts', value_column => 'amount', age => '{7}', horizon => 10,
    events => '{"views": {"source": "SELECT at, ''other '' || \"Who\" AS who FROM views", "date_column": "at", "customer_id_column": "who"}}');
SELECT (SELECT count(*) FROM beyond) AS beyond, (SELECT count(*) FROM to_come) AS to_come, (SELECT count(*) FROM to_come_of_age) AS of_age;

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
SELECT left(f.sql, 400) AS sql, f.state, f.message, f.detail, f.hint FROM (VALUES
    ($$age => '{7}', as_of => '2024-03-01'$$), ($$age => '{}'$$), ($$age => '{-1}'$$), ($$age => '{1.5}'$$), ($$age => '{7,NULL}'$$), ($$horizons => '{0}', as_of => '2024-03-01'$$),
    ($$as_of => '2024-03-01', start_column => 'registered'$$), ($$as_of => '2024-03-01', customers => 'no_users'$$), ($$as_of => '2024-03-01', customers => 'SELECT 1 AS id'$$),
    ($$as_of => '2024-03-01', customers => 'users', start_column => 'country'$$), ($$as_of => '2024-03-01', customers => 'users', start_column => 'born'$$),
    ($$as_of => '2024-03-01', customers => 'SELECT * FROM users UNION ALL SELECT * FROM users'$$), ($$as_of => '2024-03-01', customers => 'SELECT customer_id, 1 AS purchases FROM users'$$),
    ($$as_of => '2024-03-01', customers => 'users', attributes => 'SELECT customer_id, country FROM users'$$), ($$as_of => '2024-03-01', attributes_date_column => 'since'$$),
    ($$as_of => '2024-03-01', attributes => 'levels'$$), ($$as_of => '2024-03-01', attributes => 'SELECT * FROM levels UNION ALL SELECT * FROM levels', attributes_date_column => 'since'$$),
    ($$as_of => '2024-03-01', attributes => 'levels', attributes_date_column => 'level'$$), ($$as_of => '2024-03-01', events => '[]'$$), ($$as_of => '2024-03-01', events => '{"a b": {}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": 1}'$$), ($$as_of => '2024-03-01', events => '{"visits": {"source": "views"}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "kind_column": "kind"}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at"}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "kind", "customer_id_column": "Who"}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "at"}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "Who", "value_columns": ["kind"]}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "Who", "types": ["view"]}}'$$),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "Who", "type_column": "kind", "max_types": 1000}}'$$),
    ($$as_of => '2024-03-01', events => '{"count": {"source": "views", "date_column": "at", "customer_id_column": "Who"}}', customers => 'SELECT customer_id, 1 AS count_days FROM users'$$),
    ($$as_of => '2024-03-01', windows => (SELECT array_agg(i) FROM generate_series(1, 200) i), events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "Who", "type_column": "kind"}}'$$),
    (format($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "Who", "type_column": "kind", "types": %s}}'$$, (SELECT jsonb_agg(i::text) FROM generate_series(1, 501) i))),
    ($$as_of => '2024-03-01', events => '{"visits": {"source": "views", "date_column": "at", "customer_id_column": "Who", "type_column": "kind", "types": ["view"]},
        "visits_view": {"source": "views", "date_column": "at", "customer_id_column": "Who"}}'$$),
    ($$as_of => '2024-03-01', sequence => '{"step": "1 hour", "steps": 30}'$$), ($$as_of => '2024-03-01', sequence => '{"step": "1 day", "steps": 0}'$$), ($$as_of => '2024-03-01', sequence => '{"stride": 1}'$$),
    ($$as_of => '2024-03-01', sequence => '{"steps": [}'$$), ($$as_of => '2024-03-01', sequence => '{"steps": 5, "columns": ["nothing"]}'$$)
    ) c(arguments), pg_temp.fails(format('SELECT ltv_create_features(''x'', ''orders'', ''customer_id'', ''ts'', ''amount'', %shorizon => 30, %s)',
        '', c.arguments)) f;
SELECT f.* FROM (VALUES ($$ltv_refresh_features('ages', '2024-03-01')$$), ($$ltv_feature_sql('orders')$$), ($$ltv_feature_sql(NULL)$$),
    ($$ltv_create_features('x', 'SELECT 1 AS customer_id, date ''2024-01-01'' AS at, 1e30 AS amount', date_column => 'at', value_column => 'amount', as_of => '2024-03-01', horizon => 30)$$)) c(call), pg_temp.fails('SELECT ' || call) f;
\x off
\pset format aligned
-- Logs and plans that nobody has collected or written.
SELECT f.state, f.message FROM (VALUES ($$ltv.walk_rows('{}', NULL::date, NULL, NULL, NULL)$$), ($$ltv.walk_rows('x', NULL::date, NULL, NULL, NULL)$$), ($$ltv.walk_rows(NULL, NULL::date, NULL, NULL, NULL)$$),
    ($$ltv.walk_rows('{"instants": false, "windows": [7], "looks": [{"time": 1, "day": 1, "until": [2]}]}', NULL::date, NULL, '\x00', NULL)$$),
    ($$ltv.walk_rows('{"instants": false, "windows": [7], "looks": [{"time": 1, "day": 1, "until": [2]}]}', NULL::date, NULL, '\xffffffff00010000000000000000000000000000', NULL)$$),
    ($$ltv.walk_rows('{"instants": false, "windows": [7], "looks": [{"time": 1, "day": 1, "until": [2]}], "events": [{"kinds": 99999999, "values": 1}]}', NULL::date, NULL, NULL, NULL)$$),
    ($$ltv.collect('v', NULL, 1)$$), ($$ltv.collect('tv', NULL, 1, 2)$$), ($$ltv.collect('tk', NULL, current_date, 'x'::text)$$), ($$ltv.collect('?', NULL, 1)$$)) c(call), pg_temp.fails('SELECT ' || call) f;
