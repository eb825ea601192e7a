-- What a campaign brought: against plain SQL written from the definitions in docs/campaigns.md, in simulated campaigns with a known lift, and where nothing can be said.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT ltv_import_onnx('m', decode(:'same', 'base64'));
-- 3,000 customers whose value the model knows roughly; half of them buy, what they spend is lognormal about it. Money in `plain`, without a campaign; with a contact, 4 more of every tenth customer.
SELECT setseed(0.19);
CREATE TABLE people AS
SELECT i AS customer_id, x, CASE WHEN random() < 0.5 THEN x * exp(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) * 0.6) ELSE 0 END AS plain, random() < 0.1 AS moved
FROM (SELECT i, 20 * exp(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) * 0.8) AS x FROM generate_series(1, 3000) i) s;
SELECT step, customers FROM ltv_create_campaign('c', 'm', 'SELECT customer_id, x FROM people', hold_out => 0.3, cost_per_contact => 0.05, margin => 0.4, start => '2024-03-01', draw => 'first') WHERE step IN ('hold_out', 'contact');
CREATE TABLE effect AS SELECT 4.0::float8 AS per_moved, 0.0::float8 AS whale;
-- Two orders each, one of them returned in part, some before the campaign and some after its end.
CREATE VIEW orders AS
SELECT p.customer_id, o.day, o.part * (p.plain + CASE WHEN c.drawn_arm = 'contact' AND p.moved THEN e.per_moved ELSE 0 END + CASE WHEN p.customer_id = 7 THEN e.whale ELSE 0 END) AS amount
FROM people p JOIN c USING (customer_id), effect e, (VALUES (date '2024-03-01', 0.5), ('2024-03-10', 0.7), ('2024-03-20', -0.2)) o(day, part)
UNION ALL SELECT customer_id, day, 1000 FROM people, (VALUES (date '2024-02-29'), ('2024-06-01')) o(day) WHERE customer_id % 3 = 0;
CREATE VIEW result AS SELECT * FROM ltv_campaign_result('c', 'orders', date_column => 'day', value_column => 'amount', until => '2024-04-30');

-- By definition -------------------------------------------------------------------------------------------------------
-- The bound by the fixed point that it is: no more than a share of what as many members as the smaller arm has spend, counted up to it.
CREATE FUNCTION by_definition() RETURNS TABLE (tier int, contacted bigint, held_out bigint, contact_spend float8, hold_out_spend float8, lift float8, error float8, reduction float8, bounded bigint) LANGUAGE plpgsql AS $$
DECLARE
    factor float8;
    bound float8;
    share float8;
    after float8;
BEGIN
    DROP TABLE IF EXISTS spent;
    CREATE TEMP TABLE spent AS SELECT m.customer_id, m.drawn_arm AS arm, m.drawn_tier AS tier, m.drawn_ltv AS x,
        GREATEST(0, COALESCE((SELECT sum(o.amount) FROM orders o WHERE o.customer_id = m.customer_id AND o.day BETWEEN '2024-03-01' AND '2024-04-30'), 0)) AS y FROM c m;
    SELECT sum(y) / sum(x) INTO factor FROM spent;
    SELECT GREATEST(0.15, 6.0 / (1 + payers)) * n / (SELECT count(*) FROM spent) INTO share FROM (SELECT count(*) AS n, count(*) FILTER (WHERE y > 0) AS payers FROM spent GROUP BY arm ORDER BY 1 LIMIT 1) a;
    SELECT share * sum(y) INTO bound FROM spent;
    FOR step IN 1 .. 500 LOOP
        SELECT share * sum(LEAST(y, factor * x + bound)) INTO after FROM spent;
        EXIT WHEN abs(after - bound) <= 1e-12 * bound;
        bound := after;
    END LOOP;
    RETURN QUERY
    WITH kept AS (SELECT s.*, LEAST(s.y, factor * s.x + bound) AS c FROM spent s),
    groups AS (SELECT k.*, NULL::int AS g FROM kept k UNION ALL SELECT k.*, k.tier FROM kept k),
    means AS (SELECT g, arm, count(*) AS n, avg(y) AS spend, avg(c) AS c, avg(x) AS x, count(*) FILTER (WHERE k.c < k.y) AS cut FROM groups k GROUP BY g, arm),
    slopes AS (SELECT k.g, sum((k.x - m.x) * (k.c - m.c)) / sum((k.x - m.x) ^ 2) AS theta FROM groups k JOIN means m ON m.g IS NOT DISTINCT FROM k.g AND m.arm = k.arm GROUP BY k.g),
    variances AS (SELECT k.g, k.arm, sum((k.c - m.c - theta * (k.x - m.x)) ^ 2) / (m.n - 1) / m.n AS v, sum((k.c - m.c) ^ 2) / (m.n - 1) / m.n AS plain
                  FROM groups k JOIN means m ON m.g IS NOT DISTINCT FROM k.g AND m.arm = k.arm JOIN slopes s ON s.g IS NOT DISTINCT FROM k.g GROUP BY k.g, k.arm, m.n)
    SELECT a.g, a.n, b.n, a.spend, b.spend, a.c - b.c - s.theta * (a.x - b.x), sqrt(va.v + vb.v), 1 - (va.v + vb.v) / (va.plain + vb.plain), a.cut + b.cut
    FROM means a JOIN means b ON b.g IS NOT DISTINCT FROM a.g AND a.arm = 'contact' AND b.arm = 'hold_out' JOIN slopes s ON s.g IS NOT DISTINCT FROM a.g
    JOIN variances va ON va.g IS NOT DISTINCT FROM a.g AND va.arm = 'contact' JOIN variances vb ON vb.g IS NOT DISTINCT FROM a.g AND vb.arm = 'hold_out';
END
$$;
CREATE FUNCTION alike(a float8, b float8) RETURNS boolean LANGUAGE sql RETURN abs(a - b) <= 1e-9 * GREATEST(abs(a), abs(b), 1e-6);
SELECT r.tier, r.contacted = d.contacted AND r.held_out = d.held_out AND r.bounded = d.bounded AND alike(r.contact_spend, d.contact_spend) AND alike(r.hold_out_spend, d.hold_out_spend) AS means,
       alike(r.lift, d.lift) AS lift, alike(r.detectable_lift, 2.8016 * d.error) AS error, alike(r.variance_reduction, d.reduction) AND alike(r.effective_sample, 1 / (1 - d.reduction)) AS reduction, left(r.conclusion, 20) AS conclusion
FROM result r LEFT JOIN by_definition() d ON d.tier IS NOT DISTINCT FROM r.tier ORDER BY r.tier NULLS FIRST;
-- Money: of all contacts, less what they cost.
SELECT bool_and(alike(incremental_revenue, lift * contacted) AND alike(cost, 0.05 * contacted) AND alike(profit, 0.4 * lift * contacted - cost) AND alike(profit_low, 0.4 * lift_low * contacted - cost)
    AND alike(profit_high, 0.4 * lift_high * contacted - cost) AND alike(return_on_cost, profit / cost) AND alike((lift_low + lift_high) / 2, lift)) AS money FROM result WHERE lift IS NOT NULL;
-- Student's t: published quantiles.
SELECT df, round(ltv.student_quantile(df)::numeric, 3) AS quantile FROM unnest('{5,10,20,60,120,1000000}'::float8[]) df;
-- A whale that was not expected is bounded, in whichever arm, and the reference agrees.
UPDATE effect SET whale = 40000;
SELECT r.tier, r.bounded, alike(r.lift, d.lift) AS lift, alike(r.detectable_lift, 2.8016 * d.error) AS error FROM result r JOIN by_definition() d ON d.tier IS NOT DISTINCT FROM r.tier WHERE r.tier IS NULL;
SELECT (SELECT drawn_arm FROM c WHERE customer_id = 7) AS arm, abs(contact_spend - hold_out_spend) > 15 AS means_differ, abs(lift) < 3 AS lift_is_small FROM result WHERE tier IS NULL;
UPDATE effect SET whale = 0;
-- Day by day it ends with the same.
CREATE VIEW curve AS SELECT * FROM ltv_campaign_curve('c', 'orders', date_column => 'day', value_column => 'amount', until => '2024-04-30');
SELECT count(*), min(day), max(day) FROM curve;
SELECT alike(k.contact_spend, r.contact_spend) AND alike(k.hold_out_spend, r.hold_out_spend) AND alike(k.lift, r.lift) AND alike(k.lift_low, r.lift_low) AND alike(k.lift_high, r.lift_high)
    AND alike(k.incremental_revenue, r.incremental_revenue) AND alike(k.profit, r.profit) AS same FROM curve k, result r WHERE r.tier IS NULL AND k.day = '2024-04-30';
-- And each day is the result up to it, if its bounds are the same.
SELECT k.day, alike(k.contact_spend, r.contact_spend) AND alike(k.lift, r.lift) AND alike(k.lift_low, r.lift_low) AS same
FROM curve k, LATERAL ltv_campaign_result('c', 'orders', date_column => 'day', value_column => 'amount', until => k.day) r WHERE r.tier IS NULL AND k.day IN ('2024-03-01', '2024-03-10', '2024-03-19', '2024-03-20');

-- Known lifts ---------------------------------------------------------------------------------------------------------
-- 200 draws. The lift is that of the members, 4 of those who are moved: it is met on average, the interval has it in 95 % of the draws, and the variance is what the formula says.
CREATE VIEW drawn AS SELECT p.customer_id, date '2024-03-10' AS day, p.plain + CASE WHEN c.drawn_arm = 'contact' AND p.moved THEN e.per_moved ELSE 0 END AS amount FROM people p JOIN c USING (customer_id), effect e;
CREATE TABLE base AS TABLE c;
ANALYZE people, effect;
CREATE TABLE draws (run int, per_moved float8, lift float8, low float8, high float8, detectable float8, difference float8, reduction float8);
CREATE PROCEDURE draw(runs int, per_moved float8) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE effect SET per_moved = draw.per_moved;
    FOR run IN 1 .. runs LOOP
        TRUNCATE c;
        INSERT INTO c SELECT customer_id, rank, tier, ltv, arm, since, CASE WHEN ltv.customer_fraction('run ' || run || draw.per_moved, customer_id::text) < 0.3 THEN 'hold_out' ELSE 'contact' END, drawn_tier, drawn_ltv FROM base;
        INSERT INTO draws SELECT run, draw.per_moved, r.lift, r.lift_low, r.lift_high, r.detectable_lift, r.contact_spend - r.hold_out_spend, r.variance_reduction
        FROM ltv_campaign_result('c', 'drawn', date_column => 'day', value_column => 'amount') r WHERE r.tier IS NULL;
    END LOOP;
END
$$;
CALL draw(200, 4);
SELECT (SELECT avg(moved::int) * 4 FROM people) AS truth \gset
SELECT count(*), abs(avg(lift) - :truth) < 3.3 * stddev(lift) / sqrt(count(*)) AS unbiased, count(*) FILTER (WHERE :truth BETWEEN low AND high) BETWEEN 179 AND 199 AS covers,
       abs(variance(lift) / variance(difference) - (1 - avg(reduction))) < 0.12 AS as_the_formula_says, avg(reduction) BETWEEN 0.1 AND 0.9 AS reduces FROM draws WHERE per_moved = 4;
-- Nothing: a false alarm in 5 % of the draws.
CALL draw(100, 0);
SELECT count(*), count(*) FILTER (WHERE low > 0 OR high < 0) <= 13 AS rare FROM draws WHERE per_moved = 0;
-- As much as is said to be found in four of five cases.
SELECT round((avg(detectable) / (SELECT avg(moved::int) FROM people))::numeric, 3) AS per_moved FROM draws WHERE per_moved = 0 \gset
CALL draw(60, :per_moved);
SELECT count(*), count(*) FILTER (WHERE low > 0) BETWEEN 38 AND 57 AS found FROM draws WHERE per_moved = :per_moved;

-- Where nothing can be said -------------------------------------------------------------------------------------------
SELECT tier, contacted, held_out, lift, profit, conclusion FROM ltv_campaign_result('c', 'orders', date_column => 'day', value_column => 'amount', until => '2024-03-01') WHERE tier = 1;
CREATE FUNCTION told(statement text, OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
\x
SELECT t.* FROM unnest(ARRAY[$$'c', 'SELECT customer_id + 100000 AS customer_id, day, amount FROM orders', date_column => 'day', value_column => 'amount'$$,
    $$'c', 'SELECT gen_random_uuid() AS customer_id, day, amount FROM orders', date_column => 'day', value_column => 'amount'$$,
    $$'c', 'SELECT * FROM orders WHERE day < ''2024-03-01''', date_column => 'day', value_column => 'amount'$$, $$'c', 'orders', date_column => 'day', value_column => 'amount', until => '2024-02-01'$$,
    $$'c', 'SELECT * FROM orders WHERE false', date_column => 'day', value_column => 'amount'$$, $$'c', 'orders', date_column => 'day'$$, $$'c', 'orders', date_column => 'day', value_column => 'price'$$,
    $$'c', 'SELECT customer_id, day::text, amount FROM orders', date_column => 'day', value_column => 'amount'$$, $$'c', NULL, date_column => 'day', value_column => 'amount'$$,
    $$'people', 'orders', date_column => 'day', value_column => 'amount'$$, $$'c', 'DELETE FROM people RETURNING *', date_column => 'day', value_column => 'amount'$$]) arguments,
    told(format('SELECT * FROM ltv_campaign_result(%s)', arguments)) t;
\x
SET client_min_messages = notice;
SELECT conclusion LIKE 'no difference%' OR conclusion LIKE 'the contacts%' AS said FROM ltv_campaign_result('c', 'orders', date_column => 'day', value_column => 'amount', until => '2099-01-01') WHERE tier IS NULL;
SET client_min_messages = warning;
-- Nobody held out, nobody contacted, members who left (who still count, if they left after the start), contacts without costs.
UPDATE c SET drawn_arm = 'contact';
SELECT tier, held_out, lift, conclusion FROM result WHERE tier IS NULL;
UPDATE c SET drawn_arm = 'hold_out';
SELECT tier, contacted, lift, conclusion FROM result WHERE tier IS NULL;
UPDATE c SET drawn_arm = CASE WHEN customer_id % 3 = 0 THEN 'hold_out' ELSE 'contact' END, left_at = CASE WHEN customer_id % 5 = 0 THEN timestamptz '2024-03-01 12:00+00' WHEN customer_id % 5 = 1 THEN '2024-03-02' END, arm = NULL;
SELECT contacted, held_out FROM result WHERE tier IS NULL;
UPDATE ltv.campaigns SET definition = definition || '{"cost_per_contact": 0}' WHERE relation = 'c'::regclass;
SELECT cost, profit IS NOT NULL AS profit, return_on_cost FROM result WHERE tier IS NULL;
DELETE FROM c;
SELECT t.message, t.hint FROM told('SELECT * FROM result') t;
