-- Features and labels beside plain SQL that was written from their definitions in docs/features.md, on a log made to be nasty: returns, zeros,
-- rows that occur twice, missing and impossible values, orders around midnights, changes of the clock, leap days and ends of months,
-- customers of a single day, amounts from a cent to a billion, and orders of days that cannot be.
CREATE TABLE nasty (customer_id int, ts timestamptz, amount numeric, n int);
INSERT INTO nasty
SELECT CASE WHEN h % 5 = 0 THEN h % 11 WHEN h % 5 = 1 THEN 1000 + i ELSE h % 300 END,
       -- Within minutes of midnights of three zones, on any of 800 days from November 2022 on.
       timestamptz '2022-11-01 00:00+00' + h % 800 * interval '1 day' + (ARRAY[0, -60, -120, 240, 300, 660])[1 + h % 6] * interval '1 minute' + (h % 7 - 3) * interval '1 minute',
       CASE h % 13 WHEN 0 THEN -(h % 900) / 10.0 WHEN 1 THEN 0 WHEN 2 THEN 1e9 + h % 100 / 100.0 WHEN 3 THEN 0.01 WHEN 4 THEN -0.01 WHEN 5 THEN NULL
            WHEN 6 THEN -(h % 5000) ELSE round(h % 100000 / 37.0, 2) END, i
FROM generate_series(1, 4000) i, LATERAL (SELECT abs(hashint4(i))) x(h);
-- The changes of the clock in Berlin and New York, leap days, ends of months, each a second before and after midnight there.
INSERT INTO nasty SELECT i % 40, day::timestamp AT TIME ZONE zone + s * interval '1 second', i % 9 * 10.5 - 20, i
FROM unnest('{2024-02-29,2024-03-01,2023-02-28,2023-03-26,2024-03-31,2024-04-01,2024-10-27,2024-10-28,2024-03-10,2024-11-03,2023-12-31,2024-01-31}'::date[]) day,
     unnest('{UTC,Europe/Berlin,America/New_York}'::text[]) zone, unnest('{-3601,-1,0,1,3600,9000}'::int[]) s, generate_series(1, 5) i;
INSERT INTO nasty SELECT customer_id, ts, amount, n FROM nasty WHERE n % 17 = 0;
INSERT INTO nasty VALUES (1, NULL, 5, 0), (NULL, '2024-01-01', 5, 0), (2, '2024-01-01', 'NaN', 0), (2, '2024-01-01', 'Infinity', 0), (2, '2024-01-01', '-Infinity', 0),
    (3, '9999-12-31 00:00+00', 50, 0), (3, '2999-01-01 00:00+00', 50, 0), (4, 'infinity', 50, 0), (3, '1900-01-01 00:00+00', 50, 0), (5, '1970-01-01 00:00+00', 50, 0), (4, '-infinity', 50, 0);

-- One row per customer and cut-off. A cut-off has an end, the first instant that it does not see, and so has its horizon.
CREATE FUNCTION expected(relation regclass, cutoffs text[], horizon interval, zone text) RETURNS TABLE (customer_id int, as_of text, recency int, frequency int, t int,
    monetary_mean numeric, monetary_max numeric, monetary_std numeric, monetary_last numeric, count_7 int, sum_7 numeric, count_45 int, sum_45 numeric,
    mean_interpurchase float8, first_month int, first_amount numeric, steps int, ltv numeric)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
    WITH orders AS (
        SELECT o.customer_id, o.day, o.known_at, o.amount FROM %s o
        WHERE o.customer_id IS NOT NULL AND o.amount NOT IN ('NaN', 'Infinity', '-Infinity') AND o.day BETWEEN '1970-01-02' AND (now() AT TIME ZONE $3)::date
    ), log AS (
        SELECT max(day) AS last_day, max(known_at) AS last_instant FROM orders
    ), cuts AS (
        SELECT c.as_of, c.as_of ~ ':' AS is_instant,
               CASE WHEN c.as_of ~ ':' THEN (c.as_of::timestamptz AT TIME ZONE $3)::date ELSE c.as_of::date END AS day,
               CASE WHEN c.as_of ~ ':' THEN c.as_of::timestamptz + interval '1 microsecond' ELSE (c.as_of::date + 1)::timestamp AT TIME ZONE $3 END AS seen_until,
               CASE WHEN c.as_of ~ ':' THEN (c.as_of::timestamptz AT TIME ZONE $3 + $2) AT TIME ZONE $3 + interval '1 microsecond'
                    ELSE ((c.as_of::date + $2)::date + 1)::timestamp AT TIME ZONE $3 END AS label_until
        FROM unnest($1) c(as_of)
    ), days AS (
        -- What a customer's orders of a day came to, as far as the cut-off has seen them.
        SELECT c.as_of, o.customer_id, o.day, sum(o.amount) AS spent FROM cuts c JOIN orders o
        ON CASE WHEN c.is_instant THEN o.known_at < c.seen_until ELSE o.day <= c.day END GROUP BY 1, 2, 3
    ), purchases AS (
        SELECT d.*, c.day - d.day AS age, row_number() OVER (PARTITION BY d.as_of, d.customer_id ORDER BY d.day) AS place,
               count(*) OVER (PARTITION BY d.as_of, d.customer_id) AS of_so_many
        FROM days d JOIN cuts c USING (as_of) WHERE d.spent > 0
    ), finished AS (
        SELECT c.as_of, CASE WHEN c.is_instant THEN c.label_until - interval '1 microsecond' <= l.last_instant ELSE (c.as_of::date + $2)::date <= l.last_day END AS is_over
        FROM cuts c, log l
    ), labels AS (
        SELECT c.as_of, o.customer_id, sum(o.amount) AS spent FROM cuts c JOIN orders o
        ON CASE WHEN c.is_instant THEN o.known_at >= c.seen_until AND o.known_at < c.label_until ELSE o.day > c.day AND o.day <= (c.as_of::date + $2)::date END GROUP BY 1, 2
    )
    SELECT p.customer_id, p.as_of, min(p.age), (count(*) - 1)::int, max(p.age), round(sum(p.spent), 40) / count(*), max(p.spent),
           COALESCE(sqrt((count(*) * sum(p.spent * p.spent) - sum(p.spent) * sum(p.spent)) / NULLIF(count(*) * (count(*) - 1), 0)), 0),
           max(p.spent) FILTER (WHERE p.place = p.of_so_many),
           count(*) FILTER (WHERE p.age <= 6)::int, COALESCE(sum(p.spent) FILTER (WHERE p.age <= 6), 0),
           count(*) FILTER (WHERE p.age <= 44)::int, COALESCE(sum(p.spent) FILTER (WHERE p.age <= 44), 0),
           CASE WHEN count(*) > 1 THEN (max(p.age) - min(p.age)) / (count(*) - 1)::float8 ELSE -1 END,
           extract(month FROM min(p.day))::int, max(p.spent) FILTER (WHERE p.place = 1), least(count(*), 64)::int,
           max(CASE WHEN f.is_over THEN greatest(0, COALESCE(l.spent, 0)) END)
    FROM purchases p JOIN finished f USING (as_of) LEFT JOIN labels l USING (as_of, customer_id) GROUP BY p.customer_id, p.as_of$q$, relation) USING cutoffs, horizon, zone;
END
$$;

-- How many rows differ. Sums of money have to agree to the last digit that a float8 has; a deviation of billions cannot.
CREATE FUNCTION differences(made text, relation regclass, cutoffs text[], horizon interval, zone text, OUT rows bigint, OUT labels bigint, OUT differ bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$SELECT count(e.customer_id), count(e.ltv), count(*) FILTER (WHERE f.customer_id IS NULL OR e.customer_id IS NULL
        OR (f.recency, f.frequency, f.t, f.count_7, f.count_45, f.first_month, f.monetary_mean, f.monetary_max, f.monetary_last, f.sum_7, f.sum_45, f.mean_interpurchase, f.first_amount)
           IS DISTINCT FROM (e.recency, e.frequency, e.t, e.count_7, e.count_45, e.first_month, e.monetary_mean::float8, e.monetary_max::float8, e.monetary_last::float8, e.sum_7::float8,
                             e.sum_45::float8, e.mean_interpurchase, e.first_amount::float8)
        OR f.ltv IS DISTINCT FROM e.ltv::float8 OR cardinality(f.spend_sequence) IS DISTINCT FROM 2 * e.steps
        OR abs(f.monetary_std - e.monetary_std::float8) > 1e-12 * e.monetary_max::float8)
        FROM %s f FULL JOIN expected($1, $2, $3, $4) e ON e.customer_id = f.customer_id AND e.as_of = f.as_of::text$q$, made)
    INTO rows, labels, differ USING relation, cutoffs, horizon, zone;
END
$$;

SET client_min_messages = warning;
SET TimeZone = 'UTC';
DO $$
DECLARE
    zone text;
    type text;
    cuts record;
    made int := 0;
BEGIN
    CREATE TABLE compared (zone text, type text, cutoffs text, horizon interval, rows bigint, labels bigint, differ bigint, view_differs bigint, plain_differs bigint, relations int);
    FOREACH zone IN ARRAY '{UTC,Europe/Berlin,America/New_York}'::text[] LOOP
        FOREACH type IN ARRAY '{date,timestamp,timestamptz}'::text[] LOOP
            -- The log as a shop keeps it: days or local times of its zone, or instants. An order known by its day is known when the day is over.
            EXECUTE format('CREATE VIEW shop AS SELECT customer_id, %s AS "At", amount FROM nasty',
                CASE type WHEN 'timestamptz' THEN 'ts' ELSE format('(ts AT TIME ZONE %L)::%s', zone, type) END);
            EXECUTE format('CREATE TABLE seen AS SELECT customer_id, amount, %s AS day, %s AS known_at FROM nasty',
                CASE type WHEN 'timestamp' THEN format('(ts AT TIME ZONE %L)::date', zone) ELSE format('(ts AT TIME ZONE %L)::date', zone) END,
                CASE type WHEN 'timestamptz' THEN 'ts' WHEN 'timestamp' THEN format('(ts AT TIME ZONE %1$L) AT TIME ZONE %1$L', zone)
                     ELSE format('((ts AT TIME ZONE %1$L)::date + 1)::timestamp AT TIME ZONE %1$L', zone) END);
            FOR cuts IN SELECT * FROM (VALUES
                ('{2024-01-31,2024-02-29,2023-02-28,2023-03-25,2024-03-30,2024-10-26,2024-10-27}'::text[], interval '1 month'),
                ('{2024-02-28,2023-12-30,2024-03-31,2024-11-02,2024-11-03,2024-12-20}', interval '30 days'),
                ('{"2024-03-31 00:59:59+00","2024-03-31 01:00:00+00","2024-10-27 00:30:00+00","2024-02-29 23:00:00+00","2024-03-10 07:00:00+00"}', interval '1 month'),
                ('{"2024-02-29 04:59:59+00","2023-12-31 23:00:00+00","2024-11-03 05:30:00+00"}', interval '1 year'),
                ('{"2024-10-01 01:30:00+00","2024-10-28 12:00:00+00","2024-11-28 05:00:00+00"}', interval '26 days')) c(cutoffs, horizon) LOOP
                made := made + 1;
                PERFORM ltv_create_features('made_' || made, 'shop', date_column => 'At', value_column => 'amount', as_of => cuts.cutoffs, horizon => cuts.horizon, time_zone => zone, windows => '{7,45}', sequence => true);
                PERFORM ltv_create_features('view_' || made, 'shop', date_column => 'At', value_column => 'amount', as_of => cuts.cutoffs, horizon => cuts.horizon, time_zone => zone, windows => '{7,45}', sequence => true,
                                            materialized => false);
                INSERT INTO compared SELECT zone, type, cuts.cutoffs[1] || ', ...', cuts.horizon, d.*, NULL, NULL, NULL FROM differences('made_' || made, 'seen', cuts.cutoffs, cuts.horizon, zone) d;
                EXECUTE format('UPDATE compared SET view_differs = (SELECT count(*) FROM (TABLE made_%1$s EXCEPT ALL TABLE view_%1$s) x) WHERE view_differs IS NULL', made);
                -- The SELECT that needs no pg_ltv gives the same, to the last bit; only of a deviation the last digits may differ.
                EXECUTE format('CREATE TEMP TABLE plain AS %s', ltv_feature_sql('made_' || made));
                EXECUTE format('CREATE TEMP TABLE native AS TABLE made_%s', made);
                UPDATE compared SET plain_differs = (SELECT count(*) FROM native n JOIN plain p USING (customer_id, as_of) WHERE abs(n.monetary_std - p.monetary_std) > 1e-12 * n.monetary_max)
                WHERE plain_differs IS NULL;
                ALTER TABLE plain DROP COLUMN monetary_std;
                ALTER TABLE native DROP COLUMN monetary_std;
                UPDATE compared SET plain_differs = plain_differs + (SELECT count(*) FROM (TABLE native EXCEPT ALL TABLE plain) x) + (SELECT count(*) FROM (TABLE plain EXCEPT ALL TABLE native) x)
                WHERE relations IS NULL;
                UPDATE compared SET relations = 1 WHERE relations IS NULL;
                DROP TABLE plain, native;
                EXECUTE format('DROP TABLE made_%s', made);
                EXECUTE format('DROP VIEW view_%s', made);
            END LOOP;
            DROP VIEW shop;
            DROP TABLE seen;
        END LOOP;
    END LOOP;
END
$$;
SELECT zone, type, count(*) AS relations, min(rows) > 100 AS have_rows, sum(labels) > 1000 AS have_labels, sum(differ) AS differ, sum(view_differs) AS view_differs, sum(plain_differs) AS plain_differs FROM compared GROUP BY 1, 2 ORDER BY 1, 2;

-- The classic summary beside its definition: repeat purchase days, time between the first and the last, age, mean value of the repeat purchases.
WITH expected AS (
    SELECT customer_id, (count(*) - 1)::int AS frequency, ((max(day) - min(day)) / 7.0)::float8 AS recency, ((date '2024-03-31' - min(day)) / 7.0)::float8 AS t,
           COALESCE((sum(spent) FILTER (WHERE place > 1) / NULLIF(count(*) - 1, 0))::float8, 0) AS monetary_value
    FROM (SELECT customer_id, day, spent, row_number() OVER (PARTITION BY customer_id ORDER BY day) AS place
          FROM (SELECT customer_id, (ts AT TIME ZONE 'Europe/Berlin')::date AS day, sum(amount) AS spent FROM nasty
                WHERE customer_id IS NOT NULL AND amount NOT IN ('NaN', 'Infinity', '-Infinity') AND ts < '2024-04-01 00:00 Europe/Berlin' AND ts >= '1970-01-02' GROUP BY 1, 2) d
          WHERE spent > 0) p GROUP BY customer_id)
SELECT count(*) > 300 AS have_rows, count(*) FILTER (WHERE e.customer_id IS NULL OR r.customer_id IS NULL OR r.frequency <> e.frequency OR r.monetary_value <> e.monetary_value
       OR abs(r.recency - e.recency) > 1e-12 OR abs(r.t - e.t) > 1e-12) AS differ
FROM expected e FULL JOIN ltv_rfm_summary('nasty', date_column => 'ts', value_column => 'amount', as_of => '2024-03-31', days_per_unit => 7, time_zone => 'Europe/Berlin') r
     ON r.customer_id = e.customer_id::text;
