-- How often ltv_validate_data_skew and ltv_validate_data_drift alarm: on data drawn again from the same distribution,
-- where every alarm is false, and on injected shifts, where every silence is a miss.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
SELECT setseed(0.42);
\set customers 20000
\ir ../tests/drift/redraw.sql
\if :{?runs} \else \set runs 1000 \endif
CALL redraw('skew', 200, :runs);
CALL redraw('drift', 200, :runs);
CALL redraw('skew', 1000, :runs);
CALL redraw('drift', 1000, :runs);
CALL redraw('skew', 10000, :runs / 5);
CALL redraw('drift', 10000, :runs / 5);
SELECT what, n, CASE WHEN feature = 'ltv' THEN 'predictions' WHEN feature LIKE 'embedding%' THEN 'vector' ELSE kind END AS kind, count(*) AS comparisons,
       count(*) FILTER (WHERE drifted) AS alarms, count(*) FILTER (WHERE drifted_at_0) AS alarms_at_0,
       round(1000.0 * count(*) FILTER (WHERE drifted_at_0) / count(*), 2) AS per_thousand, round(avg(psi)::numeric, 4) AS mean_psi
FROM found GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT what, n, count(*) AS comparisons, count(*) FILTER (WHERE drifted) AS alarms, count(*) FILTER (WHERE drifted_at_0) AS alarms_at_0 FROM found GROUP BY 1, 2 ORDER BY 1, 2;

-- Power: in how many of 50 draws (10 of 10,000 rows) the shifted feature alarms, at the default thresholds.
CREATE TABLE power AS
SELECT s.shift, n, d.drifted FROM shifts s, unnest(ARRAY[200, 1000, 10000]) n, generate_series(1, CASE WHEN n > 1000 THEN :runs / 100 ELSE :runs / 20 END) run,
    LATERAL ltv_validate_data_skew('m', format('SELECT * FROM draw(%s, %s) -- %s', n, s.arguments, run)) d WHERE d.feature = s.feature;
SELECT shift, round(100 * avg(drifted::int) FILTER (WHERE n = 200)) AS "n = 200", round(100 * avg(drifted::int) FILTER (WHERE n = 1000)) AS "n = 1,000",
       round(100 * avg(drifted::int) FILTER (WHERE n = 10000)) AS "n = 10,000"
FROM power JOIN (SELECT shift, row_number() OVER () AS i FROM shifts) s USING (shift) GROUP BY shift, i ORDER BY i;
