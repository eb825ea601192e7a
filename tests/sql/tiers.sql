-- Tiers by shares and by value, the grid of recency, frequency and value, and movement between tiers, against plain SQL.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SELECT ltv_import_onnx('m', decode(:'same', 'base64'));
CREATE TABLE shop AS SELECT i AS customer_id, (i * 7919 % 1000 + 1)::float8 AS x FROM generate_series(1, 1000) i;
SELECT tier, customers, lowest_ltv, highest_ltv, revenue_low FROM ltv_segment_summary('m', 'shop');
SELECT tier, customers, lowest_ltv, highest_ltv FROM ltv_segment_summary('m', 'shop', thresholds => '{900,500,1}');
-- Money over time: by the middle of the horizon, which an imported model does not know.
SELECT tier, present_value = expected_revenue * 0.5 AS by_margin FROM ltv_segment_summary('m', 'shop', '{1}', margin => 0.5);
SELECT ltv_segment_summary('m', 'shop', discount_rate => 0.1);
SELECT ltv_segment_summary('m', 'shop', discount_rate => -1);
SELECT ltv_segment_summary('m', 'shop', margin => 0);
-- A margin of each customer, by hand: the rank is that of what is earned, tiers by value stay where they are; of whom it is not known, nothing is earned.
CREATE TABLE margins AS SELECT s.*, CASE customer_id % 4 WHEN 0 THEN 0.1 WHEN 1 THEN 0.5 WHEN 2 THEN -0.2 END::numeric AS share, (customer_id % 7)::int2 AS percent, 'NaN'::float4 AS none, '1'::text AS word FROM shop s;
CREATE VIEW by_hand AS SELECT customer_id, row_number() OVER (ORDER BY x * COALESCE(share, 0) DESC, x DESC) AS rank, x * COALESCE(share, 0) * 0.5 AS worth FROM margins;
SELECT count(*) AS customers, count(*) FILTER (WHERE s.rank <> h.rank) AS other_rank, count(*) FILTER (WHERE s.contact <> (h.worth > 2)) AS other_contact, count(*) FILTER (WHERE s.contact) AS contacts
FROM ltv_segment_as(NULL::int, 'm', 'margins', margin => 0.5, margin_column => 'share', budget => 1e6, cost_per_contact => 2) s JOIN by_hand h USING (customer_id);
SELECT tier, customers, abs(present_value / (SELECT sum(h.worth) FROM by_hand h WHERE (h.rank <= 100) = (s.tier = 1)) - 1) < 1e-12 AS worth FROM ltv_segment_summary('m', 'margins', '{0.1,0.9}', margin => 0.5, margin_column => 'share') s;
SELECT count(*) FILTER (WHERE tier <> CASE WHEN ltv >= 900 THEN 1 ELSE 2 END) AS different FROM ltv_segment('m', 'margins', thresholds => '{900}', margin_column => 'share');
SELECT tier, round(present_value) AS present_value, (SELECT round(sum(x * percent * 0.01)) FROM margins) AS by_hand FROM ltv_segment_summary('m', 'margins', '{1}', margin => 0.01, margin_column => 'percent');
SELECT tier, present_value FROM ltv_segment_summary('m', 'margins', '{1}', margin_column => 'none');
SELECT ltv_segment_summary('m', 'margins', margin_column => 'word');
SELECT ltv_segment('m', 'margins', margin_column => 'no');
SELECT ltv_segment('m', 'margins', margin_column => 'share', margin => NULL);
-- A customer with several rows would count as several.
SELECT ltv_segment('m', 'SELECT * FROM shop UNION ALL SELECT * FROM shop WHERE customer_id = 7');
SELECT ltv_segment_as(NULL::int, 'm', 'SELECT * FROM shop UNION ALL SELECT * FROM shop WHERE customer_id = 7');
SELECT ltv_segment_summary('m', 'SELECT * FROM shop UNION ALL SELECT * FROM shop WHERE customer_id = 7');
SELECT tier, customers FROM ltv_segment_summary('m', 'SELECT * FROM shop UNION ALL SELECT NULL, 1 UNION ALL SELECT NULL, 2', '{1}');
SELECT count(*) AS different FROM ltv_segment('m', 'shop', thresholds => '{900,500.5}') WHERE tier <> CASE WHEN ltv >= 900 THEN 1 WHEN ltv >= 500.5 THEN 2 ELSE 3 END;
SELECT ltv_segment('m', 'shop', thresholds => '{1,2}');
SELECT ltv_segment('m', 'shop', thresholds => '{}');
SELECT ltv_segment('m', 'shop', thresholds => '{2,NULL}');
SELECT ltv_segment('m', 'shop', shares => '{0.2,0.2}');
SELECT ltv_segment('m', 'shop', shares => '{{0.5,0.5}}');
SELECT ltv_segment('m', 'shop', thresholds => '{NaN}');
SELECT ltv_segment('m', 'shop', budget => 'NaN', cost_per_contact => 1);
SELECT ltv_segment('m', 'shop', version => 9999999999);
SELECT ltv_segment_summary('m', 'shop', version => -1);
-- Ids of their own type, tiers with names.
SELECT pg_typeof(customer_id), customer_id, ltv, rank, tier, tier_name, contact FROM ltv_segment_as(NULL::int, 'm', 'shop', thresholds => '{900,500}', tier_names => '{gold,silver,bronze}', budget => 1, cost_per_contact => 0.5) LIMIT 3;
SELECT count(*) AS different FROM ltv_segment_as(NULL::int, 'm', 'shop') a FULL JOIN ltv_segment('m', 'shop') b ON a.customer_id::text = b.customer_id WHERE (a.ltv, a.rank, a.tier, a.customer_share, a.revenue_share) IS DISTINCT FROM (b.ltv, b.rank, b.tier, b.customer_share, b.revenue_share);
SELECT pg_typeof(customer_id) FROM ltv_segment_as(NULL::text, 'm', 'shop') LIMIT 1;
SELECT tier, tier_name, customers FROM ltv_segment_summary('m', 'shop', shares => '{0.1,0.9}', tier_names => '{best,others}');
SELECT customer_id FROM ltv_segment_as(NULL::bigint, 'm', 'shop');
SELECT customer_id FROM ltv_segment_as(NULL::int, 'm', 'shop', id_column => 'nobody');
SELECT ltv_segment('m', 'shop', thresholds => '{900,500}', tier_names => '{gold,silver}');
SELECT ltv_segment_summary('m', 'shop', shares => '{0.1,0.9}', tier_names => '{gold,gold}');

-- Fifths: of those who are alike, the middle counts.
CREATE TABLE orders AS SELECT i % 97 AS customer_id, date '2024-01-01' + i * 31 % 300 AS day, (i * 37 % 90 + 1)::numeric AS amount FROM generate_series(1, 400) i;
INSERT INTO orders VALUES (5, '2024-12-01', 1000), (6, '2024-06-30', -1e6);
CREATE TABLE grid AS SELECT * FROM ltv_rfm_segments('orders', date_column => 'day', value_column => 'amount', as_of => '2024-11-01');
WITH purchases AS (SELECT customer_id, day, sum(amount) AS net FROM orders WHERE day <= '2024-11-01' GROUP BY 1, 2 HAVING sum(amount) > 0),
customers AS (SELECT customer_id::text, date '2024-11-01' - max(day) AS days, count(*) AS n, sum(net) AS spend FROM purchases GROUP BY 1),
scores AS (SELECT c.*, (SELECT LEAST(5, 1 + floor(5 * (count(*) FILTER (WHERE o.days > c.days) + (count(*) FILTER (WHERE o.days = c.days) - 1) / 2.0) / count(*))) FROM customers o) AS r,
    (SELECT LEAST(5, 1 + floor(5 * (count(*) FILTER (WHERE o.n < c.n) + (count(*) FILTER (WHERE o.n = c.n) - 1) / 2.0) / count(*))) FROM customers o) AS f,
    (SELECT LEAST(5, 1 + floor(5 * (count(*) FILTER (WHERE o.spend < c.spend) + (count(*) FILTER (WHERE o.spend = c.spend) - 1) / 2.0) / count(*))) FROM customers o) AS m FROM customers c)
SELECT count(*), count(*) FILTER (WHERE (s.days, s.n, s.spend, s.r, s.f, s.m) IS DISTINCT FROM (g.days_since, g.orders, g.spend::numeric, g.r, g.f, g.m)) AS different FROM scores s FULL JOIN grid g USING (customer_id);
SELECT segment, count(*), min(r) AS r, max(r), min((f + m + 1) / 2) AS fm, max((f + m + 1) / 2) FROM grid GROUP BY segment ORDER BY segment;
SELECT max(days_since), count(*) FROM ltv_rfm_segments('orders', date_column => 'day', value_column => 'amount') WHERE days_since = 0;
SELECT ltv_rfm_segments('orders', date_column => 'day', value_column => 'price');
SELECT ltv_rfm_segments('orders');

-- Movement.
CREATE TABLE june (customer_id int, tier int);
CREATE TABLE july (customer_id text, tier int);
INSERT INTO june VALUES (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, NULL);
INSERT INTO july VALUES ('1', 1), ('2', 2), ('3', 2), ('4', 1), ('7', 2), ('6', 2);
SELECT * FROM ltv_tier_movement('june', 'july');
SELECT ltv_tier_movement('june', 'july', tier_column => 'level');
SELECT ltv_tier_movement('june', 'SELECT * FROM july UNION ALL SELECT * FROM july');
SELECT ltv_tier_movement('june', NULL);
