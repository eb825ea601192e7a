-- Cohorts against plain SQL: what was real by age, what is predicted beyond, what customers cost and when they pay it back.
-- database: demo
\set SHOW_CONTEXT never
SET client_min_messages = warning;

-- As of a past day, so that what came afterwards is known here, though not there.
CREATE TABLE cohorts AS SELECT * FROM ltv_cohorts('cdnow', 'cdnow_features', as_of => '1997-09-30');
SELECT cohort, count(*) AS ages, max(days), min(customers) AS customers, count(revenue) AS seen, count(predicted_revenue) AS ahead FROM cohorts GROUP BY 1 ORDER BY 1;

-- Whoever bought something on a day is a customer from the first such day on.
CREATE TABLE starts AS SELECT customer_id, min(ordered_at) AS start, date_trunc('month', min(ordered_at))::date AS cohort
FROM (SELECT customer_id, ordered_at FROM orders GROUP BY 1, 2 HAVING sum(amount) > 0) d GROUP BY 1;
CREATE FUNCTION by_hand(of_cohort date, until int, seen date) RETURNS float8 LANGUAGE sql AS $$
    SELECT (sum(o.amount) / (SELECT count(*) FROM starts s WHERE s.cohort = of_cohort AND s.start <= seen))::float8
    FROM starts s JOIN orders o USING (customer_id) WHERE s.cohort = of_cohort AND o.ordered_at - s.start <= until AND o.ordered_at <= seen
$$;
SELECT count(*) AS ages, max(abs(revenue - by_hand(cohort, days, '1997-09-30'))) < 1e-9 AS as_it_was FROM cohorts WHERE revenue IS NOT NULL;

-- In the end everybody has brought what they had, and what ltv_predict says of them.
-- Row by row: how rows are dealt to batches moves the last digits of their scores.
SET ltv.enable_batch_scan = off;
CREATE TABLE worth AS SELECT s.cohort, count(*) AS customers, sum(ltv_predict('cdnow', f)) AS predicted FROM cdnow_features f JOIN starts s USING (customer_id) GROUP BY 1;
SELECT c.cohort, abs(c.ltv_to_cac / ((by_hand(c.cohort, 1000, '1997-09-30') + w.predicted / w.customers) * w.customers / 1000) - 1) < 1e-9 AS is_the_sum, abs(c.cost / (1000.0 / w.customers) - 1) < 1e-9 AS per_customer
FROM ltv_cohorts('cdnow', 'cdnow_features', as_of => '1997-09-30', costs => 'SELECT DISTINCT date_trunc(''month'', ordered_at)::date + 3 AS cohort, 500 AS cost FROM orders WHERE ordered_at < ''1997-04-01'' UNION ALL SELECT DISTINCT date_trunc(''month'', ordered_at)::date, 500 FROM orders WHERE ordered_at < ''1997-04-01''') c
JOIN worth w USING (cohort) WHERE c.age = 0 ORDER BY 1;
RESET ltv.enable_batch_scan;
-- On the way there they order as the law of the model says: each customer's prediction, spread as the orders that are expected of all of the cohort.
CREATE TABLE week AS SELECT s.customer_id, s.start, ltv_predict('cdnow', f) AS predicted, f, date '1997-09-30' - s.start AS seen FROM cdnow_features f JOIN starts s USING (customer_id)
WHERE s.customer_id IN (SELECT customer_id FROM starts WHERE start BETWEEN '1997-03-20' AND '1997-03-31' ORDER BY md5(customer_id) LIMIT 150);
CREATE TABLE week_orders AS SELECT o.* FROM orders o JOIN week USING (customer_id);
CREATE TABLE knots AS SELECT day, sum((ltv_predict_state('cdnow', f, day)).expected_orders) AS grown FROM week, (SELECT k * 273 / 12 AS day FROM generate_series(0, 12) k) d GROUP BY day;
CREATE FUNCTION share(until int) RETURNS float8 LANGUAGE sql AS $$
    SELECT CASE WHEN until <= 0 THEN 0 WHEN until >= 273 THEN 1 ELSE (SELECT (a.grown + (b.grown - a.grown) * (until - a.day) / (b.day - a.day)) / (SELECT max(grown) FROM knots)
        FROM knots a, knots b WHERE a.day = (SELECT max(day) FROM knots WHERE day <= until) AND b.day = (SELECT min(day) FROM knots WHERE day > until)) END
$$;
SELECT ltv_create_features('week_features', 'week_orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273, attributes => 'customers');
SELECT count(*) AS ages, max(abs(c.predicted_revenue / e.predicted - 1)) < 1e-9 AS as_by_hand
FROM ltv_cohorts('cdnow', 'week_features', 'quarter', as_of => '1997-09-30') c, LATERAL (
    SELECT (sum(w.predicted * share(c.days - w.seen)) + (SELECT sum(o.amount) FROM week_orders o JOIN week v USING (customer_id) WHERE o.ordered_at <= '1997-09-30' AND o.ordered_at - v.start <= c.days)) / count(*) AS predicted
    FROM week w) e WHERE c.predicted_revenue IS NOT NULL;

-- Nothing falls; what was predicted for the months after is what came, to a tenth.
SELECT bool_and(value >= before) AS never_less FROM (SELECT value, lag(value) OVER (PARTITION BY cohort ORDER BY age) AS before FROM cohorts) c WHERE before IS NOT NULL;
SELECT count(*) AS ages, max(abs(c.predicted_revenue / by_hand(c.cohort, c.days, '1998-06-30') - 1)) < 0.1 AS close FROM cohorts c WHERE predicted_revenue IS NOT NULL;

-- Margin, discount, costs and payback, by hand on days of which all is known; a quarter has 91 days, a week begins on Monday.
CREATE TABLE spent (cohort date, cost numeric);
INSERT INTO spent VALUES ('1997-01-15', 40000), ('1997-02-01', 90000), ('1997-02-28', 40000), ('1997-03-01', 1e9), ('1996-12-01', 10), (NULL, 5), ('1997-01-01', NULL);
CREATE TABLE costed AS SELECT * FROM ltv_cohorts('cdnow', 'cdnow_features', 'month', 'spent', margin => 0.4, discount_rate => 0.1, as_of => '1997-09-30');
CREATE FUNCTION worth_by_hand(of_cohort date, until int) RETURNS float8 LANGUAGE sql AS $$
    SELECT sum(o.amount * 0.4 * 1.1 ^ (-(o.ordered_at - s.start) / 365.0)) / (SELECT count(*) FROM starts s WHERE s.cohort = of_cohort)
    FROM starts s JOIN orders o USING (customer_id) WHERE s.cohort = of_cohort AND o.ordered_at - s.start <= until AND o.ordered_at <= '1997-09-30'
$$;
SELECT max(abs(value / worth_by_hand(cohort, days) - 1)) < 1e-9 AS discounted FROM costed WHERE revenue IS NOT NULL;
WITH days AS (
    SELECT s.cohort, o.ordered_at - s.start AS day, sum(o.amount * 0.4 * 1.1 ^ (-(o.ordered_at - s.start) / 365.0)) AS worth FROM starts s JOIN orders o USING (customer_id) WHERE o.ordered_at <= '1997-09-30' GROUP BY 1, 2
), curve AS (SELECT cohort, day, sum(worth) OVER (PARTITION BY cohort ORDER BY day) AS worth FROM days)
SELECT DISTINCT c.cohort, c.payback_day IS NULL AS never, c.payback_day > 0 AS later, c.payback_day = (SELECT min(d.day) FROM curve d WHERE d.cohort = c.cohort AND d.worth >= c.cost * c.customers) AS on_that_day, c.ltv_to_cac < 1 AS is_loss
FROM costed c ORDER BY 1;
-- A margin of each customer, a column of the features, by hand: of what was bought and of what is to come.
SET ltv.enable_batch_scan = off;
CREATE TABLE margined AS SELECT * FROM ltv_cohorts('cdnow', 'cdnow_features', costs => 'SELECT DISTINCT date_trunc(''month'', ordered_at)::date AS cohort, 500 AS cost FROM orders WHERE ordered_at < ''1997-04-01''', margin => 0.01, margin_column => 'frequency', as_of => '1997-09-30');
CREATE FUNCTION earned_by_hand(of_cohort date, until int) RETURNS float8 LANGUAGE sql AS $$
    SELECT sum(o.amount * 0.01 * f.frequency) / (SELECT count(*) FROM starts s WHERE s.cohort = of_cohort)
    FROM starts s JOIN orders o USING (customer_id) JOIN cdnow_features f USING (customer_id) WHERE s.cohort = of_cohort AND o.ordered_at - s.start <= until AND o.ordered_at <= '1997-09-30'
$$;
SELECT count(*) AS ages, max(abs(value / earned_by_hand(cohort, days) - 1)) < 1e-9 AS earned FROM margined WHERE revenue IS NOT NULL;
SELECT m.cohort, abs(m.ltv_to_cac * 500 / (earned_by_hand(m.cohort, 1000) * m.customers + w.to_earn) - 1) < 1e-9 AS is_the_sum
FROM margined m JOIN (SELECT s.cohort, sum(ltv_predict('cdnow', f) * 0.01 * f.frequency) AS to_earn FROM cdnow_features f JOIN starts s USING (customer_id) GROUP BY 1) w USING (cohort) WHERE m.age = 0 ORDER BY 1;
RESET ltv.enable_batch_scan;
SET client_min_messages = notice;
SELECT count(*) FROM ltv_cohorts('cdnow', 'cdnow_features', 'month', 'spent', as_of => '1997-09-30');
SET client_min_messages = warning;
SELECT min(days) FILTER (WHERE age = 1) AS quarter FROM ltv_cohorts('cdnow', 'cdnow_features', 'quarter', as_of => '1997-09-30');
SELECT count(DISTINCT cohort) AS weeks, bool_and(extract(isodow FROM cohort) = 1) AS mondays, min(days) FILTER (WHERE age = 1) AS week FROM ltv_cohorts('cdnow', 'cdnow_features', 'week', as_of => '1997-09-30');

-- What is predicted and the day of payback have intervals; of what is past nothing is left open.
SELECT bool_and(predicted_low < predicted_revenue AND predicted_revenue < predicted_high) AS around, count(predicted_low) = count(predicted_revenue) AS where_predicted, count(payback_earliest) AS no_costs FROM cohorts;
SELECT payback_earliest = payback_day AND payback_latest = payback_day AS sure
FROM ltv_cohorts('cdnow', 'cdnow_features', costs => 'SELECT date ''1997-02-01'' AS cohort, 90000 AS cost', margin => 0.4, as_of => '1997-09-30') WHERE cohort = '1997-02-01' AND age = 0;
SELECT count(DISTINCT c.cohort) AS cohorts, bool_and(payback_earliest < payback_day AND (payback_day < payback_latest) IS NOT FALSE) AS open, bool_and(payback_earliest > 180) AS to_come
FROM (SELECT cohort, max(customers * revenue) AS so_far, max(customers * predicted_revenue) AS in_the_end FROM cohorts GROUP BY 1) s, LATERAL
    ltv_cohorts('cdnow', 'cdnow_features', costs => format('SELECT %L::date AS cohort, %s AS cost', s.cohort, 0.6 * s.so_far + 0.4 * s.in_the_end), as_of => '1997-09-30') c WHERE c.cohort = s.cohort;

-- To the end of the log by default. Models that do not know how customers come back spread the prediction evenly.
SELECT max(days) FILTER (WHERE revenue IS NOT NULL) AS seen, max(days) AS ahead FROM ltv_cohorts('cdnow', 'cdnow_features') WHERE cohort = '1997-01-01';
SELECT ltv_train('even', 'cdnow_features', features => '{frequency,monetary_mean}', objective => 'mse', backbone => 'linear', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT max(abs(c.predicted_revenue / e.predicted - 1)) < 1e-9 AS evenly
FROM ltv_cohorts('even', 'week_features', 'quarter', as_of => '1997-09-30') c, LATERAL (
    SELECT (sum(ltv_predict('even', w.f) * least(1, greatest(0, (c.days - w.seen) / 273.0)))
        + (SELECT sum(o.amount) FROM week_orders o JOIN week v USING (customer_id) WHERE o.ordered_at <= '1997-09-30' AND o.ordered_at - v.start <= c.days)) / count(*) AS predicted
    FROM week w) e WHERE c.predicted_revenue IS NOT NULL;

-- Everyone from registration on, buyers or not, with ids of another type; instants; a log in which nobody is; a view.
CREATE TABLE people AS SELECT ('0' || customer_id)::numeric AS customer_id, start - 10 AS registered FROM starts WHERE start < '1997-02-01' UNION ALL SELECT 90000000 + i, date '1997-01-05' FROM generate_series(1, 500) i;
SELECT ltv_create_features('everyone', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273, customers => 'people', start_column => 'registered', materialized => false);
SELECT ltv_train('people', 'everyone', objective => 'mse', backbone => 'linear', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT c.cohort, c.days, c.customers = e.customers AS same_people, abs(c.revenue - e.revenue) < 1e-9 AS same_revenue
FROM ltv_cohorts('people', 'everyone', as_of => '1997-09-30') c, LATERAL (
    SELECT count(DISTINCT p.customer_id) AS customers, (sum(o.amount) FILTER (WHERE o.ordered_at - p.registered <= c.days) / count(DISTINCT p.customer_id))::float8 AS revenue
    FROM people p LEFT JOIN orders o ON o.customer_id::numeric = p.customer_id AND o.ordered_at <= '1997-09-30' WHERE date_trunc('month', p.registered)::date = c.cohort) e
WHERE c.days IN (30, 180) ORDER BY 1, 2;
CREATE TABLE clocked AS SELECT customer_id, ordered_at + time '15:00' AS at, amount FROM week_orders;
SELECT ltv_create_features('instants', 'clocked', date_column => 'at', value_column => 'amount', as_of => '1997-09-30 18:00', horizon => 273, attributes => 'customers', time_zone => 'Europe/Berlin');
SELECT count(*) AS ages, max(abs(i.value / d.value - 1)) < 1e-9 AS same FROM ltv_cohorts('cdnow', 'instants', 'quarter', as_of => '1997-09-30 18:00') i JOIN ltv_cohorts('cdnow', 'week_features', 'quarter', as_of => '1997-09-30') d USING (cohort, age);

-- What is refused.
SELECT ltv_cohorts('cdnow', 'cdnow_features', 'year');
SELECT ltv_cohorts('cdnow', NULL);
SELECT ltv_cohorts('cdnow', 'orders');
SELECT ltv_cohorts('cdnow', 'cdnow_features', margin => 0);
SELECT ltv_cohorts('cdnow', 'cdnow_features', margin_column => 'no');
SELECT ltv_cohorts('cdnow', 'cdnow_features', margin_column => 'customer_id');
SELECT ltv_cohorts('cdnow', 'cdnow_features', discount_rate => 'NaN');
SELECT ltv_cohorts('cdnow', 'cdnow_features', as_of => '{1997-09-30,1997-10-31}');
SELECT ltv_cohorts('cdnow', 'cdnow_features', as_of => '2999-01-01');
SELECT ltv_cohorts('cdnow', 'cdnow_features', costs => 'SELECT cost FROM spent');
SELECT ltv_cohorts('cdnow', 'cdnow_features', costs => 'SELECT cohort, cohort AS cost FROM spent');
SELECT ltv_cohorts('cdnow', 'cdnow_features', version => 9);
SELECT ltv_cohorts('nope', 'cdnow_features');
SELECT ltv_create_features('young', 'orders', date_column => 'ordered_at', value_column => 'amount', age => '{30}', horizon => 90);
SELECT ltv_cohorts('cdnow', 'young');
CREATE ROLE ltv_cohort_reader;
GRANT SELECT ON cdnow_features, orders TO ltv_cohort_reader;
SET ROLE ltv_cohort_reader;
SELECT ltv_cohorts('cdnow', 'cdnow_features');
RESET ROLE;
SELECT ltv_grant('cdnow', 'ltv_cohort_reader', 'predict');
SET ROLE ltv_cohort_reader;
SELECT ltv_cohorts('cdnow', 'cdnow_features');
RESET ROLE;
-- Whose features they are needs no more than to score.
GRANT CREATE ON SCHEMA public TO ltv_cohort_reader;
GRANT SELECT ON customers TO ltv_cohort_reader;
SET ROLE ltv_cohort_reader;
SELECT ltv_create_features('readers_features', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273, attributes => 'customers');
SELECT count(*) AS ages FROM ltv_cohorts('cdnow', 'readers_features', as_of => '1997-09-30') c WHERE c.value > 0;
RESET ROLE;
DROP OWNED BY ltv_cohort_reader;
SELECT ltv_revoke('cdnow', 'ltv_cohort_reader', 'predict');
DROP ROLE ltv_cohort_reader;
