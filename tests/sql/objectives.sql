-- ltv_predict_all for every objective: what is given, what is NULL, and that it fits together. Quantiles are held against distribution
-- functions written here, whose parameters are found from two quantiles and must then explain all others and the expected value.
\pset format unaligned
SET client_min_messages = warning;  -- the progress of a job depends on the time

CREATE TABLE orders AS SELECT c AS customer_id, date '2024-01-01' + (c * 13 + n * n * (1 + c % 5) * 3) % 300 AS ordered_at,
    round((5 + (c * 31 + n * 17) % 90 + n / 3.0)::numeric, 2) AS amount
FROM generate_series(1, 800) c, generate_series(0, c % 9) n;
SELECT ltv_create_features('customers', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '2024-08-01', horizon => 80);

CREATE TABLE models (model text, objective text, options jsonb);
INSERT INTO models VALUES ('mse', 'mse', '{}'), ('huber', 'huber', '{}'), ('tweedie', 'tweedie', '{}'), ('purchase', 'purchase', '{}'), ('ziln', 'ziln', '{}'), ('cmltv', 'cmltv', '{}'),
    ('cmltv_lognormal', 'cmltv', '{"view_distribution": "lognormal"}'), ('cmltv_two_views', 'cmltv', '{"views": ["log", "class"]}'),
    ('expltv', 'expltv', '{}'), ('expltv_one', 'expltv', '{"experts": 1, "calibration": "none"}'), ('ziln_five', 'ziln', '{"ensemble": 5}'), ('bgnbd', 'bgnbd', '{}');
CREATE TABLE jobs AS SELECT m.*, ltv_train(model, 'customers', objective => objective, options => '{"epochs": 8, "ensemble": 1}' || options) AS job FROM models m;
SELECT count(ltv_wait(job)) AS trained FROM jobs;

-- Ordinary customers, and what nobody has ever bought.
CREATE TABLE asked AS SELECT * FROM customers WHERE customer_id::int % 4 = 0;
UPDATE asked SET frequency = NULL, monetary_mean = 'NaN', monetary_std = 'Infinity' WHERE customer_id = '4';
UPDATE asked SET monetary_mean = 1e30, monetary_max = 1e30, sum_90 = -1e30, t = 1e9 WHERE customer_id = '8';
CREATE TABLE scored AS SELECT m.model, c.customer_id, ltv_predict_all(m.model, c) AS p FROM models m, asked c;

-- What each objective knows.
SELECT model, string_agg(DISTINCT concat_ws(' ', CASE WHEN (p).ltv IS NOT NULL THEN 'ltv' END, CASE WHEN (p).purchase_probability IS NOT NULL THEN 'purchase' END,
    CASE WHEN (p).whale_probability IS NOT NULL THEN 'whale' END, CASE WHEN (p).p10 IS NOT NULL THEN 'p10' END, CASE WHEN (p).p50 IS NOT NULL THEN 'p50' END,
    CASE WHEN (p).p90 IS NOT NULL THEN 'p90' END), ' | ') AS known
FROM scored GROUP BY model ORDER BY model;

-- Finite, in range and in order, for everybody.
SELECT count(*) AS wrong FROM scored WHERE NOT COALESCE((p).ltv >= 0 AND (p).ltv < 'inf', true) OR NOT COALESCE((p).purchase_probability BETWEEN 0 AND 1, true)
    OR NOT COALESCE((p).whale_probability BETWEEN 0 AND (p).purchase_probability, true)
    OR NOT COALESCE(0 <= (p).p10 AND (p).p10 <= (p).p50 AND (p).p50 <= (p).p90 AND (p).p90 < 'inf', true);
-- The value of a model of purchases alone is their probability, so that customers can be ranked by any model.
SELECT count(*) AS wrong FROM scored WHERE model = 'purchase' AND (p).ltv <> (p).purchase_probability;
-- The single functions say the same.
SELECT count(*) AS wrong FROM scored s JOIN asked a USING (customer_id) WHERE model = 'expltv'
    AND ((p).ltv, (p).purchase_probability, (p).p50) IS DISTINCT FROM (ltv_predict(model, a), ltv_predict_proba(model, a), ltv_predict_quantile(model, a, 0.5));
-- A quantile is zero exactly for those who buy with less than its share.
SELECT count(*) AS wrong FROM scored WHERE ((p).p90 = 0) <> ((p).purchase_probability <= 0.1) OR ((p).p50 = 0) <> ((p).purchase_probability <= 0.5);

-- The normal and the gamma distribution function, by their series.
CREATE FUNCTION normal_cdf(x float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    term float8 := x; sum float8 := x; n int := 1;
BEGIN
    WHILE abs(term) > 1e-18 * abs(sum) AND n < 500 LOOP
        term := term * x * x / (2 * n + 1); sum := sum + term; n := n + 1;
    END LOOP;
    RETURN 0.5 + sum * exp(-x * x / 2) / sqrt(2 * pi());
END
$$;
CREATE FUNCTION log_gamma(a float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    shift float8 := 0;
BEGIN
    WHILE a < 12 LOOP shift := shift + ln(a); a := a + 1; END LOOP;
    RETURN (a - 0.5) * ln(a) - a + ln(2 * pi()) / 2 + 1 / (12 * a) - 1 / (360 * a ^ 3) + 1 / (1260 * a ^ 5) - 1 / (1680 * a ^ 7) - shift;
END
$$;
CREATE FUNCTION gamma_cdf(a float8, x float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    term float8 := 1; sum float8 := 1; n int := 1;
BEGIN
    WHILE term > 1e-18 * sum AND n < 2000 LOOP
        term := term * x / (a + n); sum := sum + term; n := n + 1;
    END LOOP;
    RETURN exp(a * ln(x) - x - log_gamma(a + 1)) * sum;
END
$$;
SELECT round(normal_cdf(1.959963984540054)::numeric, 12) AS normal, round(gamma_cdf(2.5, 3)::numeric, 12) AS gamma, round(exp(log_gamma(0.5)) ::numeric, 12) AS sqrt_pi;

-- Where a continuous, growing function of a parameter meets a value.
CREATE FUNCTION solve(what text, low float8, high float8, a float8, b float8 DEFAULT 0) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    middle float8; found float8;
BEGIN
    FOR i IN 1 .. 200 LOOP
        middle := (low + high) / 2;
        found := CASE what WHEN 'normal quantile' THEN normal_cdf(middle) - a ELSE b - gamma_cdf(middle, a * middle) END;
        IF found < 0 THEN low := middle; ELSE high := middle; END IF;
    END LOOP;
    RETURN middle;
END
$$;

-- Quantiles of the paying part at u = 0.2, 0.5, 0.7, 0.9, that is, of everybody at 1 - p + p u.
CREATE TABLE at AS SELECT s.model, s.customer_id, (p).ltv, (p).purchase_probability AS prob, u,
    ltv_predict_quantile(s.model, a, 1 - (p).purchase_probability * (1 - u)) AS q
FROM scored s JOIN asked a USING (customer_id), unnest('{0.2,0.5,0.7,0.9}'::float8[]) u
WHERE s.model IN ('ziln', 'ziln_five', 'cmltv', 'cmltv_lognormal', 'expltv', 'expltv_one') AND customer_id::int % 40 = 0 AND (p).purchase_probability > 1e-3;
-- Lognormal: mu is the logarithm of the median, sigma follows from the quantile at 0.9; then the others and the mean.
WITH z AS (SELECT u, solve('normal quantile', -6, 6, u) AS z FROM unnest('{0.2,0.5,0.7,0.9}'::float8[]) u),
law AS (
    SELECT model, customer_id, ltv, prob, ln(max(q) FILTER (WHERE u = 0.5)) AS mu,
           (ln(max(q) FILTER (WHERE u = 0.9)) - ln(max(q) FILTER (WHERE u = 0.5))) / (SELECT z FROM z WHERE u = 0.9) AS sigma
    FROM at WHERE model <> 'cmltv' GROUP BY 1, 2, 3, 4)
SELECT model, count(*) > 20 AS some, max(abs(q / exp(mu + sigma * z) - 1)) < 1e-6 AS quantiles_fit, max(abs(law.ltv / (law.prob * exp(mu + sigma * sigma / 2)) - 1)) < 1e-5 AS mean_fits
FROM law JOIN at USING (model, customer_id) JOIN z USING (u) GROUP BY model ORDER BY model;
-- Gamma with mean ltv / prob: its shape follows from the median, and the distribution function at every quantile must be u.
WITH law AS (
    SELECT customer_id, ltv / prob AS mean, solve('gamma shape', 0.05, 500, max(q) FILTER (WHERE u = 0.5) / (ltv / prob), 0.5) AS shape
    FROM at WHERE model = 'cmltv' GROUP BY 1, 2)
SELECT count(*) > 20 AS some, max(abs(gamma_cdf(shape, shape * q / mean) - u)) < 1e-5 AS quantiles_fit FROM law JOIN at USING (customer_id) WHERE model = 'cmltv';

-- What an objective does not know is an error that says so, by the functions that ask for nothing else.
\set SHOW_CONTEXT never
SELECT ltv_predict_proba('mse', a) FROM asked a LIMIT 1;
SELECT ltv_predict_quantile('bgnbd', a, 0.5) FROM asked a LIMIT 1;
SELECT ltv_predict_quantile('cmltv_two_views', a, 0.5) FROM asked a LIMIT 1;
