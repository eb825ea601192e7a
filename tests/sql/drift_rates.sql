-- Rates of alarms, by the draws of benches/drift.sql: none on data drawn again, at most a few in a thousand even with thresholds of 0;
-- and every large shift is found.
SET client_min_messages = warning;
SELECT setseed(0.42);
\set customers 5000
\set ECHO none
\i tests/drift/redraw.sql
\set ECHO all
CALL redraw('skew', 200, 60);
CALL redraw('drift', 200, 60);
CALL redraw('skew', 1000, 15);
CALL redraw('drift', 1000, 15);
SELECT count(*), count(*) FILTER (WHERE drifted) AS false_alarms, count(*) FILTER (WHERE drifted_at_0) < 0.003 * count(*) AS few_at_0 FROM found;
-- The distances shown have the noise taken off.
SELECT avg(psi) < 0.02 AS small FROM found;
SELECT s.shift, count(*) FILTER (WHERE d.drifted) AS found_of_5
FROM shifts s, generate_series(1, 5) run, LATERAL ltv_validate_data_skew('m', format('SELECT * FROM draw(1000, %s) -- %s', s.arguments, run)) d
WHERE d.feature = s.feature AND s.shift IN ('mean by 1 sd', 'scale x 2', 'scale x 100 (cents)', 'missing 20 to 50 %', 'new category 20 %', 'season: 40 % more in Nov., Dec.')
GROUP BY 1 ORDER BY 1;
