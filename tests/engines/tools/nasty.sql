-- Logs made to be nasty, of which engines make the features that PostgreSQL has made.
SET client_min_messages = warning;
SET TimeZone = 'UTC';
CREATE TABLE nasty (customer_id int, ts timestamptz, amount numeric, units int);
INSERT INTO nasty
SELECT CASE WHEN h % 5 = 0 THEN h % 11 WHEN h % 5 = 1 THEN 1000 + i ELSE h % 300 END,
       -- Within minutes of midnights of three zones, on any of 800 days from November 2022 on.
       timestamptz '2022-11-01 00:00+00' + h % 800 * interval '1 day'
           + (ARRAY[0, -60, -120, 240, 300, 660])[1 + h % 6] * interval '1 minute' + (h % 7 - 3) * interval '1 minute',
       CASE h % 13 WHEN 0 THEN -(h % 900) / 10.0 WHEN 1 THEN 0 WHEN 2 THEN 1e9 + h % 100 / 100.0 WHEN 3 THEN 0.01
            WHEN 4 THEN -0.01 WHEN 5 THEN NULL WHEN 6 THEN -(h % 5000) ELSE round(h % 100000 / 37.0, 2) END, i % 9
FROM generate_series(1, 4000) i, LATERAL (SELECT abs(hashint4(i))) x(h);
-- The changes of the clock in Berlin and New York, leap days, ends of months, each a second before and after midnight.
INSERT INTO nasty SELECT i % 40, day::timestamp AT TIME ZONE zone + s * interval '1 second', i % 9 * 10.5 - 20, i
FROM unnest('{2024-02-29,2024-03-01,2023-02-28,2023-03-26,2024-03-31,2024-04-01,2024-10-27,2024-10-28,2024-03-10,
              2024-11-03,2023-12-31,2024-01-31}'::date[]) day,
     unnest('{UTC,Europe/Berlin,America/New_York}'::text[]) zone, unnest('{-3601,-1,0,1,3600,9000}'::int[]) s,
     generate_series(1, 5) i;
INSERT INTO nasty SELECT * FROM nasty WHERE units = 4;
INSERT INTO nasty VALUES (1, NULL, 5, 0), (NULL, '2024-01-01', 5, 0), (3, '9999-12-31', 50, 0), (4, '1900-01-01', 50, 0),
    (3, '2999-01-01', 50, 0), (5, '1970-01-01', 50, 0);

-- As a shop keeps them: days, local times, instants; amounts of other types; ids that are texts with zeros before them.
CREATE VIEW "By_Day" AS SELECT customer_id, (ts AT TIME ZONE 'Europe/Berlin')::date AS "At", amount, units FROM nasty;
CREATE VIEW by_time AS SELECT customer_id, ts AT TIME ZONE 'Europe/Berlin' AS "At", amount, units FROM nasty;
CREATE VIEW by_instant AS SELECT customer_id, ts AS "At", amount, units FROM nasty;
CREATE VIEW in_doubles AS SELECT lpad(customer_id::text, 6, '0') AS customer_id, ts AS "At",
    CASE WHEN units = 7 THEN 'NaN' WHEN units = 8 THEN '-Infinity' ELSE amount::float8 / 3 END AS amount FROM nasty;
CREATE VIEW in_singles AS SELECT md5(customer_id::text)::uuid AS customer_id, ts AS "At", (amount / 7)::real AS amount FROM nasty;
CREATE VIEW in_cents AS SELECT customer_id::numeric(10, 1) AS customer_id, ts AS "At", (amount * 100)::bigint AS amount FROM nasty;

CREATE TABLE users AS SELECT i AS customer_id, CASE WHEN i % 41 <> 0 THEN timestamptz '2024-01-01 00:00+00' + i % 60 * interval '1 day'
        + (i % 5 - 2) * interval '1 hour' END AS registered, (ARRAY['DE', 'FR', NULL])[1 + i % 3] AS country, i % 2 = 0 AS "Is ""it""?"
FROM generate_series(1, 300) i;
INSERT INTO users VALUES (NULL, '2024-01-01', 'XX', true), (301, '2999-01-01', 'XX', true);
-- Another type of id, types that are missing or odd, values that are missing or no numbers.
CREATE TABLE views AS SELECT lpad((h % 200)::text, 4, '0') AS "Who",
    timestamptz '2024-01-01 00:00+00' + h % 170 * interval '1 day' + (h % 9 - 4) * interval '15 minutes' AS at,
    (ARRAY['view', 'view', 'Add to Cart', 'it''s \odd', NULL, ''])[1 + h % 6] AS kind,
    CASE h % 8 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN -0.5 ELSE h % 100 / 8.0 END::float8 AS seconds, 1 AS one
FROM generate_series(1, 5000) i, LATERAL (SELECT abs(hashint4(-i))) x(h);
INSERT INTO views VALUES ('5', '9999-12-31', 'view', 1, 1), ('5', '1970-01-01', 'view', 1, 1), (NULL, '2024-02-01', 'view', 1, 1),
    ('nobody', '2024-02-01', 'view', 1, 1), (' 0250.0 ', '2024-02-02', 'view', 3, 1), ('+251', '2024-02-02', 'view', 3, 1);
CREATE TABLE tickets AS SELECT h % 400 AS customer_id, (timestamptz '2023-11-01 00:00+00' + h % 250 * interval '1 day')::date AS day
FROM generate_series(1, 900) i, LATERAL (SELECT abs(hashint4(7 * i))) x(h);
CREATE TABLE levels AS SELECT lpad(i::text, 3, '0') AS customer_id, date '2024-01-05' + 13 * j AS since, i * 100 + j AS level
FROM generate_series(1, 250) i, generate_series(0, 9) j WHERE (i + j) % 4 <> 0;
CREATE TABLE crm AS SELECT i AS customer_id, (ARRAY['a', 'b', NULL])[1 + i % 3] AS segment, i * 1.5 AS score FROM generate_series(0, 400) i;
