-- The distances between two profiles, against values worked out by hand; their noise on small samples; bad thresholds.
\set SHOW_CONTEXT never
CREATE FUNCTION profile(n bigint, missing float8, counts jsonb, kind text DEFAULT 'numeric') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_array(jsonb_build_object('name', 'x', 'kind', kind, 'n', n, 'missing', missing, 'counts', counts)) $$;
CREATE FUNCTION distance(before jsonb, now jsonb, thresholds jsonb DEFAULT NULL)
RETURNS TABLE (psi numeric, js numeric, missing_then float8, missing_now float8, threshold float8, drifted boolean, new_categories text[], reason text) LANGUAGE sql AS $$
    SELECT round(psi::numeric, 3), round(js_distance::numeric, 3), missing_then, missing_now, threshold, drifted, new_categories, reason
    FROM ltv.compare_profiles(before, now, thresholds) $$;

-- 50:50 against 60:40. PSI = 0.1 ln 1.2 - 0.1 ln 0.8 = 0.0405; the divergence is 0.0073 bits, its root 0.085.
SELECT * FROM distance(profile(1000000, 0, '{"0": 500000, "1": 500000}'), profile(1000000, 0, '{"0": 600000, "1": 400000}'));
SELECT * FROM distance(profile(1000000, 0, '{"0": 500000, "1": 500000}'), profile(1000000, 0, '{"0": 600000, "1": 400000}'), '{"x": 0.03}');
-- Half of the rows gone: the bins 25:25 and 50 missing. PSI = 2 * (-0.25 ln 0.5) + 0.5 ln (0.5 / nearly 0), large.
SELECT psi > 3 AS far, missing_now, drifted FROM distance(profile(1000000, 0, '{"0": 500000, "1": 500000}'), profile(1000000, 0.5, '{"0": 250000, "1": 250000}'));
-- Nothing in common: the distance of Jensen and Shannon is 1.
SELECT js FROM distance(profile(1000000, 0, '{"a": 1000000}', 'categorical'), profile(1000000, 0, '{"b": 1000000}', 'categorical'));
-- A new category; and one that training had among the others.
SELECT * FROM distance(profile(100000, 0, '{"a": 100000}', 'categorical'), profile(1000, 0, '{"a": 900, "b": 100}', 'categorical'));
SELECT drifted, reason FROM distance(jsonb_set(profile(100000, 0, '{"a": 90000}', 'categorical'), '{0,other}', '0.1'), profile(1000, 0, '{"a": 900, "b": 100}', 'categorical'));
-- Few rows say little: 20 rows split 13:7 are no alarm, and neither are they a distance.
SELECT psi, drifted FROM distance(profile(1000000, 0, '{"0": 500000, "1": 500000}'), profile(20, 0, '{"0": 13, "1": 7}'));
-- Dates move by themselves; only their missing share can alarm.
SELECT psi > 1 AS far, threshold, drifted, reason FROM distance(profile(1000, 0, '{"0": 1000}', 'timestamp'), profile(1000, 0, '{"1": 1000}', 'timestamp'));
SELECT threshold, drifted, reason FROM distance(profile(1000, 0, '{"0": 1000}', 'timestamp'), profile(1000, 0.4, '{"0": 600}', 'timestamp'));

-- Samples of the same distribution: twenty bins, 100 to 3,000 rows, 796 pairs. Alarms, and the mean of what is left as PSI.
SELECT setseed(0.5);
CREATE TABLE sample AS SELECT run, jsonb_object_agg(bin, n) AS counts, sum(n) AS n FROM (
    SELECT run, (random() * random() * 20)::int AS bin, count(*) AS n
    FROM generate_series(1, 800) run, generate_series(1, (ARRAY[100, 300, 1000, 3000])[1 + run % 4]) i GROUP BY 1, 2) s GROUP BY run;
SELECT a.n, count(*) FILTER (WHERE d.drifted) AS alarms, avg(d.psi) < 0.02 AS small
FROM sample a JOIN sample b ON b.run = a.run + 4, distance(profile(a.n::bigint, 0, a.counts), profile(b.n::bigint, 0, b.counts)) d GROUP BY a.n ORDER BY a.n;
