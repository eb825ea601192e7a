-- What is promised of later customers, and what happened: intervals of customers, intervals of sums, the chance to come back.
--
--     cargo xtask bench intervals
--
-- Fitted on earlier cut-offs whose horizons have ended, judged on everybody at the next one, on the two order logs in tests/data; the cut-offs are those
-- of protocol B of `cargo xtask bench accuracy`. docs/scoring.md and docs/state.md have the figures.
SET client_min_messages = warning;

CREATE TABLE cdnow (customer_id text, ts date, amount numeric, cds int, split_bucket int);
CREATE TABLE retail (customer_id text, ts timestamp, amount numeric, n_lines int, n_products int, units int, returned numeric, country text, split_bucket int);
\copy cdnow FROM PROGRAM 'gzip -dc tests/data/cdnow_orders.csv.gz' (FORMAT csv, HEADER)
\copy retail FROM PROGRAM 'gzip -dc tests/data/online_retail_2_orders.csv.gz' (FORMAT csv, HEADER)

SELECT ltv_create_features('cdnow_before', 'cdnow', 'customer_id', 'ts', 'amount', as_of => '{1997-07-02,1997-08-01,1997-08-31,1997-09-30}', horizon => 136);
SELECT ltv_create_features('cdnow_later', 'cdnow', 'customer_id', 'ts', 'amount', as_of => '1998-02-13', horizon => 136);
SELECT ltv_create_features('retail_before', 'retail', 'customer_id', 'ts', 'amount',
    as_of => '{2010-06-08,2010-07-08,2010-08-08,2010-09-08,2010-10-08,2010-11-08,2010-12-08}', horizon => 183);
SELECT ltv_create_features('retail_later', 'retail', 'customer_id', 'ts', 'amount', as_of => '2011-06-09', horizon => 183);
SELECT ltv_train('cdnow', 'cdnow_before'), ltv_train('retail', 'retail_before');
SELECT ltv_wait(job) FROM ltv_jobs ORDER BY job;

SELECT model, metrics ->> 'interval_coverage' AS coverage_held_out, metrics ->> 'interval_width' AS width_held_out, statistics #>> '{spread,level}' AS level FROM ltv.versions ORDER BY model;

CREATE TABLE judged AS
SELECT 'cdnow' AS log, f.customer_id, f.ltv AS spent, ltv_predict('cdnow', f) AS value, ltv_predict_interval('cdnow', f, 0.8) AS i,
    ltv_predict_quantile('cdnow', f, 0.1) AS p10, ltv_predict_quantile('cdnow', f, 0.9) AS p90, 1 - ltv_predict_churn('cdnow', f) AS came_said,
    (ltv_predict_state('cdnow', f)).p_alive, ltv_predict_proba('cdnow', f) AS proba, f.frequency
FROM cdnow_later f
UNION ALL
SELECT 'retail', f.customer_id, f.ltv, ltv_predict('retail', f), ltv_predict_interval('retail', f, 0.8), ltv_predict_quantile('retail', f, 0.1), ltv_predict_quantile('retail', f, 0.9),
    1 - ltv_predict_churn('retail', f), (ltv_predict_state('retail', f)).p_alive, ltv_predict_proba('retail', f), f.frequency
FROM retail_later f;

\echo Intervals of customers, by third of the ranking
SELECT log, third, count(*) AS customers, round(avg((spent BETWEEN i[1] AND i[2])::int), 3) AS inside, round(avg((spent BETWEEN p10 AND p90)::int), 3) AS by_law,
    round(avg((spent = 0)::int), 3) AS bought_nothing, round(avg((spent < i[1])::int), 3) AS below, round(avg((spent > i[2])::int), 3) AS above,
    round(avg(i[2] - i[1])::numeric, 2) AS width, round(avg(p90 - p10)::numeric, 2) AS width_by_law
FROM (SELECT *, ntile(3) OVER (PARTITION BY log ORDER BY value DESC) AS third FROM judged) t GROUP BY 1, 2 ORDER BY 1, 2;

\echo Sums over tiers
SELECT 'cdnow' AS log, s.tier, s.customers, round(s.expected_revenue) AS predicted, round(s.revenue_low) AS low, round(s.revenue_high) AS high, round(d.spent) AS spent,
    d.spent BETWEEN s.revenue_low AND s.revenue_high AS inside
FROM ltv_segment_summary('cdnow', 'cdnow_later', '{0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1}') s
JOIN (SELECT tier, sum(f.ltv) AS spent FROM ltv_segment('cdnow', 'cdnow_later', '{0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1}') g JOIN cdnow_later f USING (customer_id) GROUP BY 1) d USING (tier)
UNION ALL
SELECT 'retail', s.tier, s.customers, round(s.expected_revenue), round(s.revenue_low), round(s.revenue_high), round(d.spent), d.spent BETWEEN s.revenue_low AND s.revenue_high
FROM ltv_segment_summary('retail', 'retail_later', '{0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1}') s
JOIN (SELECT tier, sum(f.ltv) AS spent FROM ltv_segment('retail', 'retail_later', '{0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1}') g JOIN retail_later f USING (customer_id) GROUP BY 1) d USING (tier)
ORDER BY 1, 2;

\echo Sums over groups of some 100 customers drawn at random, with the total as it is and as it came
SELECT m.log, count(*) AS groups, round(avg((m.spent BETWEEN m.i[1] AND m.i[2])::int), 3) AS inside, round(avg((m.spent BETWEEN m.j[1] AND m.j[2])::int), 3) AS inside_of_right_total
FROM (SELECT g.log, g.spent, ltv.sum_interval(g.value, g.variance, g.level) AS i, ltv.sum_interval(g.value * g.ratio, g.variance * g.ratio ^ 2, 0) AS j
      FROM (SELECT j.log, sum(j.spent) AS spent, sum(j.value) AS value, sum(ltv.variance_of(v.spread, j.value)) AS variance, max((v.spread).level) AS level, max(r.ratio) AS ratio
            FROM judged j JOIN (SELECT model, ltv.spread(statistics -> 'spread') AS spread FROM ltv.versions) v ON v.model = j.log
            JOIN (SELECT log, sum(spent) / sum(value) AS ratio FROM judged GROUP BY log) r ON r.log = j.log
            GROUP BY j.log, floor(ltv.customer_fraction('groups:', j.customer_id) * CASE j.log WHEN 'cdnow' THEN 200 ELSE 40 END)) g) m
GROUP BY m.log ORDER BY m.log;

\echo The chance of an order in the horizon by the law of the state, in tenths
SELECT log, tenth, count(*) AS customers, round(avg(came_said)::numeric, 3) AS said, round(avg((spent > 0)::int), 3) AS came, round(avg(p_alive)::numeric, 3) AS alive, round(avg(proba)::numeric, 3) AS proba
FROM (SELECT *, ntile(10) OVER (PARTITION BY log ORDER BY came_said) AS tenth FROM judged) t GROUP BY 1, 2 ORDER BY 1, 2;
