-- The batch scan wherever an expression can stand: the same rows as without it.
\i tests/data/scoring/load.sql
\i tests/data/scoring/same.sql
CREATE TABLE u (id int PRIMARY KEY, g text, a real, b real, n int, f real[]);
INSERT INTO u SELECT i, 'g' || i % 4, i * 0.1, (i * 7 % 11)::real, nullif(i % 5, 0),
    CASE WHEN i % 23 > 0 THEN ARRAY[i * 0.01, 1.0 / i, CASE WHEN i % 13 > 0 THEN (i * 7 % 11) * 0.1 END, 0.5] END
FROM generate_series(1, 500) i;
CREATE TABLE c (id int, dropped int, recency int, frequency real, monetary numeric(10,2), country text);
ALTER TABLE c DROP COLUMN dropped;
INSERT INTO c SELECT i, i % 30, i % 7, nullif(i % 9, 0) * 3.5, (ARRAY['DE', 'FR', 'GB', 'IT', NULL])[i % 5 + 1]
FROM generate_series(1, 300) i;
CREATE VIEW cv AS SELECT country, monetary, frequency, recency, id FROM c WHERE id > 5;
ANALYZE;
SET max_parallel_workers_per_gather = 0;

-- select list
SELECT same($$ SELECT id, ltv_predict('vector', f) AS p FROM u $$);
SELECT same($$ SELECT id, ltv_predict('vector', 2, f) AS p, ltv_predict_proba('vector', f) AS q,
    ltv_predict_quantile('vector', f, 0.9) AS r, ltv_predict_quantile('vector', f, id / 500.0) AS s,
    (ltv_predict_all('vector', f)).* FROM u $$);
SELECT same($$ SELECT ltv_predict_all('vector', f) AS p FROM u $$);
SELECT same($$ SELECT id, ltv_predict('vector', ARRAY[a, b, n, 1]::real[]) AS p FROM u $$);
SELECT same($$ SELECT id, ltv_predict('customers', c) AS p FROM c $$);
SELECT same($$ SELECT id, ltv_predict('customers', cv) AS p FROM cv $$);
SELECT same($$ SELECT ltv_predict('customers', s) AS p FROM (SELECT * FROM c ORDER BY id LIMIT 100) s $$);
SELECT same($$ SELECT ltv_predict('customers', s) AS p FROM (SELECT id, recency + 1 AS recency, frequency, monetary, country FROM c) s $$);
SELECT same($$ SELECT ltv_predict('customers', to_jsonb(c)) AS p FROM c $$);
SELECT same($$ SELECT ltv_predict('customers', ARRAY[recency::text, frequency::text, monetary::text, country]) AS p FROM c $$);
SELECT same($$ SELECT ltv_predict('vector', ARRAY[1, 2, 3, 4]) AS p, id FROM u $$);
SELECT same($$ SELECT ltv_predict('vector', ARRAY[1, 2, 3, 4]) AS p $$);
SELECT same($$ SELECT ltv_predict('vector', NULL::real[]) AS p FROM u $$);
SELECT same($$ SELECT DISTINCT g, floor(ltv_predict('vector', f)) AS p FROM u $$);
SELECT same($$ SELECT id, ltv_predict('vector', ARRAY[ltv_predict('vector', f), ltv_predict('vector', 2, f), a, b]) AS p FROM u $$);
SET ltv.default_model = 'vector';
SELECT same($$ SELECT id, ltv_predict(f) AS p, ltv_predict_proba(f) AS q FROM u $$);
RESET ltv.default_model;

-- WHERE
SELECT same($$ SELECT id FROM u WHERE ltv_predict('vector', f) > 0.45 $$);
SELECT same($$ SELECT id FROM u WHERE ltv_predict('vector', f) > 0.45 AND id < 100 AND g = 'g1' $$);
SELECT same($$ SELECT id, ltv_predict('vector', f) AS p FROM u WHERE ltv_predict('vector', f) > 0.45 OR a < 3 $$);
SELECT same($$ SELECT id FROM u WHERE ltv_predict('vector', f) > 0.45 AND ltv_predict('vector', 2, f) > 0.3 $$);
SELECT same($$ SELECT id FROM u WHERE ltv_predict('vector', f) > (SELECT avg(ltv_predict('vector', f)) FROM u) $$);
SELECT same($$ SELECT id FROM u WHERE id IN (SELECT id FROM u WHERE ltv_predict('vector', f) > 0.45) $$);
SELECT same($$ SELECT id FROM u WHERE NOT EXISTS (SELECT 1 FROM u v WHERE v.id = u.id AND ltv_predict('vector', v.f) > 0.45) $$);
SELECT same($$ SELECT id FROM u WHERE ltv_predict('vector', f) = ANY (ARRAY(SELECT ltv_predict('vector', f) FROM u v WHERE v.id < 9)) $$);

-- ORDER BY, LIMIT
SELECT same($$ SELECT id FROM u ORDER BY ltv_predict('vector', f) DESC, id LIMIT 10 $$);
SELECT same($$ SELECT id, ltv_predict('vector', f) AS p FROM u ORDER BY id LIMIT 7 OFFSET 5 $$);
SELECT same($$ SELECT id, ltv_predict('vector', f) AS p FROM u ORDER BY id DESC FETCH FIRST 3 ROWS WITH TIES $$);

-- aggregates
SELECT same($$ SELECT sum(ltv_predict('vector', f)), avg(ltv_predict('vector', f)), count(*) FROM u $$);
SELECT same($$ SELECT g, sum(ltv_predict('vector', f)) FROM u GROUP BY g ORDER BY g $$);
SELECT same($$ SELECT floor(ltv_predict('vector', f)) AS k, count(*) FROM u GROUP BY 1 $$);
SELECT same($$ SELECT g, max(ltv_predict('vector', f)) FROM u GROUP BY g HAVING sum(ltv_predict('vector', f)) > 20 ORDER BY g $$);
SELECT same($$ SELECT g, ltv_predict('vector', array_agg(a ORDER BY id)) AS p FROM u WHERE id <= 16 GROUP BY g
    HAVING ltv_predict('vector', array_agg(a ORDER BY id)) > 0.01 $$);
SELECT same($$ SELECT sum(ltv_predict('vector', f)) FILTER (WHERE id % 2 = 0) AS p, count(*) FILTER (WHERE ltv_predict('vector', f) > 0.45) AS q FROM u $$);
SELECT same($$ SELECT array_agg(round(ltv_predict('vector', f)::numeric, 3) ORDER BY ltv_predict('vector', f), id) AS p, count(DISTINCT round(ltv_predict('vector', f)::numeric, 2)) AS q FROM u $$);
SELECT same($$ SELECT g, n, sum(ltv_predict('vector', f)), grouping(g, n) AS level FROM u GROUP BY GROUPING SETS ((g, n), (g), ()) $$);
SELECT same($$ SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ltv_predict('vector', f)) AS p FROM u $$);
SELECT same($$ SELECT sum(ltv_predict('vector', f)) AS p FROM u WHERE ltv_predict('vector', f) > 0.45 $$);

-- window functions
SELECT same($$ SELECT id, rank() OVER (PARTITION BY g ORDER BY ltv_predict('vector', f)) AS r, ltv_predict('vector', f) AS p FROM u $$);
SELECT same($$ SELECT id, sum(ltv_predict('vector', f)) OVER (PARTITION BY g ORDER BY id ROWS 3 PRECEDING) AS s,
    lag(ltv_predict('vector', f)) OVER (ORDER BY id) AS l, sum(a) FILTER (WHERE ltv_predict('vector', f) > 0.45) OVER (PARTITION BY g) AS t FROM u $$);
SELECT same($$ SELECT * FROM (SELECT id, g, ltv_predict('vector', f) AS p, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM u) s WHERE r <= 2 $$);

-- joins
SELECT same($$ SELECT u.id, ltv_predict('vector', u.f) AS p, ltv_predict('customers', c) AS q FROM u JOIN c USING (id) $$);
SELECT same($$ SELECT u.id, c.id AS c, ltv_predict('customers', c) AS p FROM u LEFT JOIN c ON c.id = u.id AND ltv_predict('customers', c) > 1 ORDER BY u.id $$);
SELECT same($$ SELECT u.id, v.id AS v FROM u JOIN u v ON ltv_predict('vector', u.f) > ltv_predict('vector', 2, v.f) AND u.id < 20 AND v.id < 20 $$);
SELECT same($$ SELECT u.id, v.id AS v FROM u FULL JOIN u v ON u.id = v.id + 1 WHERE coalesce(ltv_predict('vector', u.f), 0) > ltv_predict('vector', v.f) $$);
SELECT same($$ SELECT u.id, x.* FROM u CROSS JOIN LATERAL (SELECT ltv_predict('vector', u.f) + ltv_predict('vector', v.f) AS p FROM u v WHERE v.id <= u.id % 3) x $$);
SET enable_hashjoin = off;
SELECT same($$ SELECT u.id, v.p FROM u JOIN (SELECT id, ltv_predict('vector', f) AS p FROM u OFFSET 0) v ON u.id = v.id $$);
SET enable_nestloop = off;
SELECT same($$ SELECT u.id, v.p FROM u JOIN (SELECT id, ltv_predict('vector', f) AS p FROM u) v ON u.id = v.id + 0 WHERE v.p > 0.2 $$);
RESET enable_hashjoin;
RESET enable_nestloop;

-- subqueries, CTEs, set operations, values, functions in FROM
SELECT same($$ SELECT id, (SELECT max(ltv_predict('vector', v.f)) FROM u v WHERE v.id < u.id % 9) AS p FROM u $$);
SELECT same($$ WITH s AS MATERIALIZED (SELECT id, ltv_predict('vector', f) AS p, f FROM u) SELECT s.id, s.p, ltv_predict('vector', 2, t.f) AS q FROM s JOIN s t USING (id) $$);
SELECT same($$ WITH RECURSIVE r AS (SELECT 1 AS i, ltv_predict('vector', ARRAY[1, 2, 3, 4]) AS p
    UNION ALL SELECT i + 1, ltv_predict('vector', ARRAY[p, i, 0, 0]) FROM r WHERE i < 20) SELECT * FROM r $$);
SELECT same($$ SELECT id, ltv_predict('vector', f) AS p FROM u UNION ALL SELECT id, ltv_predict('customers', c) FROM c $$);
SELECT same($$ SELECT floor(ltv_predict('vector', f)) AS p FROM u EXCEPT SELECT floor(ltv_predict('customers', c)) FROM c $$);
SELECT same($$ SELECT ltv_predict('vector', ARRAY[x, y, 0, 0]) AS p FROM (VALUES (1, 2), (3, NULL), (5, 6)) v (x, y) $$);
SELECT same($$ SELECT i, ltv_predict('vector', ARRAY[i, 0, 0, 0]) AS p FROM generate_series(1, 50) i $$);
SELECT same($$ SELECT id, generate_series(1, id % 3) AS s, ltv_predict('vector', f) AS p, unnest(ARRAY[ltv_predict('vector', f), 1]) AS t FROM u $$);

-- branches that are not taken
CREATE TABLE bad AS SELECT id, CASE WHEN id % 3 = 0 THEN ARRAY[1]::real[] ELSE f END AS f, id % 4 AS d FROM u;
SELECT same($$ SELECT id, CASE WHEN array_length(f, 1) = 4 THEN ltv_predict('vector', f) END AS p FROM bad $$);
SELECT same($$ SELECT id, CASE WHEN d <> 0 THEN ltv_predict('vector', ARRAY[id / d, 0, 0, 0]) ELSE -1 END AS p FROM bad $$);
SELECT same($$ SELECT id, CASE d WHEN 0 THEN 0 WHEN 1 THEN ltv_predict('vector', ARRAY[id / d, 0, 0, 0]) ELSE ltv_predict('vector', ARRAY[1 / d, 0, 0, 0]) END AS p FROM bad $$);
SELECT same($$ SELECT id, coalesce(nullif(id % 3, 0), ltv_predict('vector', ARRAY[1, 2 / (id % 3 - 1), 0, 0])) AS p FROM bad WHERE id % 3 <> 1 $$);
SELECT same($$ SELECT id FROM bad WHERE array_length(f, 1) = 4 AND ltv_predict('vector', f) > 0.45 $$);
SELECT same($$ SELECT id FROM bad WHERE (array_length(f, 1) = 1 OR ltv_predict('vector', f) > 0.45) AND d = 1 $$);
SELECT same($$ SELECT id, CASE WHEN ltv_predict('vector', ARRAY[id, 0, 0, 0]) > 0.3 AND id % 3 <> 0 THEN ltv_predict('vector', 2, f) END AS p FROM bad $$);
SELECT same($$ SELECT sum(ltv_predict('vector', f)) FILTER (WHERE array_length(f, 1) = 4) AS p FROM bad $$);
SELECT same($$ SELECT CASE WHEN id < 0 THEN ltv_predict('no such model', f) END AS p FROM bad $$);
SELECT id, round(ltv_predict('vector', f)::numeric, 4) AS p FROM bad WHERE id < 3 ORDER BY id LIMIT 2;
-- the third row cannot be predicted: two rows can be had all the same
SELECT id, round(ltv_predict('vector', f)::numeric, 4) AS p FROM bad LIMIT 2;
SELECT id, ltv_predict('vector', f) AS p FROM bad LIMIT 3;
SELECT ltv_predict('no such model', f) FROM u WHERE id < 0;
SELECT ltv_predict('no such model', f) FROM u;
SELECT ltv_predict(NULL, f) FROM u;
SELECT ltv_predict_quantile('vector', f, 1.5) FROM u;
