-- Shops to which few customers come back, or of whose revenue half is one customer's: the total is right within what chance allows, and
-- where that is much, the job and ltv_evaluate say so.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION u(i int, k int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT (('x' || left(md5(i || ' ' || k), 7))::bit(28)::int + 0.5) / 268435456 $$;
CREATE TABLE orders AS SELECT i AS customer_id, date '2022-01-01' + (u(i, 11) * 729)::int AS d, round(exp(3.5 + 2 * u(i, 12))::numeric, 2) AS amount FROM generate_series(1, 3750) i;
INSERT INTO orders SELECT customer_id, d + 20 + (u(customer_id, 13) * 280)::int, round(exp(3.5 + 2 * u(customer_id, 14))::numeric, 2) FROM orders WHERE u(customer_id, 15) < 0.012;
DELETE FROM orders WHERE d > '2023-12-31';
SELECT ltv_create_features('f', 'orders', date_column => 'd', value_column => 'amount', horizon => 90);
SELECT count(*) AS rows, count(*) FILTER (WHERE ltv > 0) AS paying, count(DISTINCT customer_id) FILTER (WHERE ltv > 0) AS customers FROM f;
SELECT ltv_train('m', 'f') AS job \gset
SELECT ltv_wait(:job);
SELECT sum(ltv_predict('m', f)) / sum(ltv) BETWEEN 0.8 AND 1.25 AS right FROM f;
SELECT regexp_replace(message, '\d+\.\d+', 'N', 'g') AS message FROM ltv_jobs WHERE job = :job;
SELECT (metrics ->> 'total_ratio')::float8 BETWEEN 0.99 AND 1.01 AS right, (metrics ->> 'total_ratio_low')::float8 < 0.8 AS may_be_less,
    (metrics ->> 'total_ratio_high')::float8 > 1.25 AS may_be_more FROM ltv_versions WHERE model = 'm';
SELECT string_agg(metric, ', ') AS in_order, bool_and(value > 0) AS positive, min(value) FILTER (WHERE metric = 'total_ratio_low') < 1 AS low,
    min(value) FILTER (WHERE metric = 'total_ratio_high') > 1 AS high FROM ltv_evaluate('m', 'f') WHERE metric LIKE 'total_ratio%';

-- One customer comes back with as much as all others spend.
INSERT INTO orders SELECT customer_id, date '2023-10-10', (SELECT sum(ltv) / 3 FROM f) FROM orders WHERE d < '2022-06-01' ORDER BY customer_id LIMIT 1;
SELECT ltv_refresh_features('f', '{2023-04-02,2023-05-02,2023-06-02,2023-07-02,2023-08-02,2023-09-02,2023-10-02}');
SELECT ltv_train('whale', 'f', options => '{"epochs": 20}') AS job \gset
SELECT ltv_wait(:job);
SELECT message ~ 'one of them spent \d+ % of it all, of which the calibration counts a part' AS says_so FROM ltv_jobs WHERE job = :job;
SELECT sum(ltv_predict('whale', f)) / sum(ltv) BETWEEN 0.45 AND 0.9 AS not_doubled FROM f;

-- A correction that is switched off is missed, if it was needed.
SELECT ltv_train('off', 'f', options => '{"epochs": 3, "ensemble": 1, "calibration": "none", "blend_bgnbd": false}') AS job \gset
SELECT ltv_wait(:job);
SELECT message ~ '^predictions for customers held out add up to ' AS says_so FROM ltv_jobs WHERE job = :job;
