-- Every metric of ltv_evaluate and ltv_decile_stats beside plain SQL that was written from the definitions in docs/models.md, on customers
-- made to be nasty: most of them without money, amounts from a cent to a billion, predictions that many share, one group that nobody of pays.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
SELECT ltv_import_onnx('m', decode(:'ziln', 'base64'));
CREATE TABLE customers AS
SELECT i AS id, (h % 9 - 4) / 2.0::float8 AS z, (h % 7)::float8 AS m,
       CASE WHEN h % 9 < 2 OR h % 3 = 0 THEN 0 WHEN i = 77 THEN 1e9 WHEN h % 11 = 0 THEN 0.01 ELSE (h % 1000) / 8.0 END::float8 AS ltv
FROM generate_series(1, 620) i, LATERAL (SELECT abs(hashint4(i))) x(h);
INSERT INTO customers SELECT -id, z, m, NULL FROM customers WHERE id % 10 = 0;  -- not known yet: these do not count
CREATE TABLE scored AS SELECT c.id, c.ltv AS y, (p).ltv AS p, (p).purchase_probability AS pp, COALESCE((p).whale_probability, (p).ltv) AS wp, (p).p10, (p).p90
FROM (SELECT c.id, c.ltv, ltv_predict_all('m', c) AS p FROM customers c) c WHERE ltv IS NOT NULL;

-- How much of `outcome` the best customers by `score` have, if those of one score share theirs.
CREATE FUNCTION share_of_best(outcome text, score text) RETURNS TABLE (place bigint, share float8) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        SELECT row_number() OVER w, sum(shared) OVER w / sum(shared) OVER ()
        FROM (SELECT id, (%2$s)::float8 AS score, avg((%1$s)::float8) OVER (PARTITION BY %2$s) AS shared FROM scored) s
        WINDOW w AS (ORDER BY score DESC, id ROWS UNBOUNDED PRECEDING)$q$, outcome, score);
END
$$;
-- The regularized lower incomplete gamma function by its series, of which the limits of the total must be quantiles.
CREATE FUNCTION gamma_p(k float8, x float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    shifted float8 := k;
    ln_gamma float8 := 0;
    term float8 := 1 / k;
    sum float8 := 1 / k;
BEGIN
    WHILE shifted < 30 LOOP
        ln_gamma := ln_gamma - ln(shifted);
        shifted := shifted + 1;
    END LOOP;
    ln_gamma := ln_gamma + (shifted - 0.5) * ln(shifted) - shifted + ln(2 * pi()) / 2 + 1 / (12 * shifted) - 1 / (360 * shifted ^ 3) + 1 / (1260 * shifted ^ 5);
    FOR n IN 1 .. 10000 LOOP
        term := term * x / (k + n);
        sum := sum + term;
        EXIT WHEN term < sum * 1e-17;
    END LOOP;
    RETURN exp(k * ln(x) - x - ln_gamma) * sum;
END
$$;
CREATE TABLE made AS SELECT * FROM ltv_evaluate('m', 'SELECT * FROM customers', whale_threshold => 60);

WITH n AS (SELECT count(*) AS rows, sum(y) AS money, sum(p) AS predicted FROM scored),
gini AS (SELECT (SELECT 2 * avg(share) - 1 FROM share_of_best('y', 'p')) / (SELECT 2 * avg(share) - 1 FROM share_of_best('y', 'y')) AS value),
ranks AS (SELECT rank() OVER (ORDER BY y) + (count(*) OVER (PARTITION BY y) - 1) / 2.0 AS y, rank() OVER (ORDER BY p) + (count(*) OVER (PARTITION BY p) - 1) / 2.0 AS p FROM scored),
tenths AS (SELECT (row_number() OVER (ORDER BY p DESC, id) - 1) / (rows / 10) AS tenth, p, avg(y) OVER (PARTITION BY p) AS y FROM scored, n),
groups AS (SELECT avg(p) AS p, avg(y) AS y FROM tenths GROUP BY tenth),
expected (metric, value) AS (
    SELECT 'rows', rows::float8 FROM n
    UNION ALL SELECT 'payers', count(*) FROM scored WHERE y > 0
    UNION ALL SELECT 'normalized_gini', value FROM gini
    UNION ALL SELECT 'spearman', corr(y, p) FROM ranks
    UNION ALL SELECT 'auc', avg(CASE WHEN a.pp > b.pp THEN 1 WHEN a.pp = b.pp THEN 0.5 ELSE 0 END) FROM scored a, scored b WHERE a.y > 0 AND b.y = 0
    UNION ALL SELECT 'decile_mape', avg(abs(p - y) / y) FROM groups WHERE y > 0
    UNION ALL SELECT 'total_ratio', predicted / money FROM n
    UNION ALL SELECT 'mean_actual', money / rows FROM n
    UNION ALL SELECT 'mean_prediction', predicted / rows FROM n
    UNION ALL SELECT 'rmse', sqrt(avg((y - p) ^ 2)) FROM scored
    UNION ALL SELECT 'mae', avg(abs(y - p)) FROM scored
    UNION ALL SELECT 'log_loss', -avg(CASE WHEN y > 0 THEN ln(pp) ELSE ln(1 - pp) END) FROM scored
    UNION ALL SELECT 'revenue_capture_' || k, share FROM n, unnest('{1,5,10,20}'::int[]) k, share_of_best('y', 'p') s WHERE s.place = round(rows * k / 100.0)
    UNION ALL SELECT 'top_recall_' || k, share FROM n, unnest('{1,5,10,20}'::int[]) k, share_of_best('(y >= 60)::int', 'wp') s WHERE s.place = round(rows * k / 100.0)
    UNION ALL SELECT 'interval_coverage', avg((y BETWEEN p10 AND p90)::int) FROM scored
    UNION ALL SELECT 'interval_width', avg(p90 - p10) FROM scored
    -- Of the limits, how likely chance is to stay below them.
    UNION ALL SELECT 'total_ratio_high', 0.025
    UNION ALL SELECT 'total_ratio_low', 0.975
), off AS (SELECT sum(d) AS unused, sum(d ^ 2) AS v, max(abs(d)) AS w FROM (SELECT y - p * money / predicted AS d FROM scored, n) s),
found AS (
    SELECT metric, CASE metric WHEN 'total_ratio_high' THEN gamma_p(money ^ 2 / v, predicted / value * money / v)
        WHEN 'total_ratio_low' THEN gamma_p((money + w) ^ 2 / (v + w ^ 2), predicted / value * (money + w) / (v + w ^ 2)) ELSE value END AS value
    FROM made, n, off)
SELECT e.metric, abs(f.value - e.value) <= 1e-9 * abs(e.value) AS same FROM expected e FULL JOIN found f USING (metric) ORDER BY 2, 1;
SELECT metric, CASE WHEN metric IN ('rows', 'payers') THEN value END AS value FROM made WHERE value IS NULL OR metric IN ('rows', 'payers');

-- The groups of ltv_decile_stats, seven of them, which the customers do not divide into evenly.
WITH ordered AS (SELECT row_number() OVER (ORDER BY p DESC, id) - 1 AS place, p, avg(y) OVER (PARTITION BY p) AS y, avg((y > 0)::int) OVER (PARTITION BY p) AS paid, count(*) OVER () AS n FROM scored),
expected AS (SELECT g AS decile, count(*) AS customers, min(p) AS lowest, max(p) AS highest, avg(p) AS p, avg(y) AS y, avg(paid) AS paid, sum(sum(y)) OVER (ORDER BY g) / sum(sum(y)) OVER () AS share
             FROM ordered, generate_series(1, 7) g WHERE place * 7 >= (g - 1) * n AND place * 7 < g * n GROUP BY g)
SELECT d.decile, d.customers, d.customers = e.customers AND d.min_prediction = e.lowest AND d.max_prediction = e.highest AS same_customers,
       abs(d.mean_prediction / e.p - 1) < 1e-9 AND abs(d.mean_actual - e.y) <= 1e-9 * e.y AND abs(d.payer_share - e.paid) < 1e-9 AND abs(d.cumulative_revenue_share - e.share) < 1e-9 AS same_values
FROM ltv_decile_stats('m', 'customers', groups => 7) d FULL JOIN expected e USING (decile) ORDER BY 1;
