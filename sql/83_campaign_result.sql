-- What a campaign brought: ltv_campaign_result and, day by day, ltv_campaign_curve.
--
-- Intention to treat: each member counts in the arm that it was drawn into, whether or not a message arrived, from the
-- first day on that the campaign counts for it. Spend is net of returns and at least 0, as the label of features is.
--
-- The prediction made when the member came explains a part of what it spends; that part is taken off (CUPED, Deng et
-- al. 2013): lift = (mean y of contact - mean y of hold-out) - theta (mean x of contact - mean x of hold-out), theta =
-- sum of Sxy over sum of Sxx of the arms. That leaves the expectation as it is, because the draw knows nothing of x,
-- and multiplies the variance by 1 - rho^2. The interval is Welch's.
--
-- One large order may decide a mean. So what a member spends beyond what was expected counts up to a bound: such that
-- it is no more than SHARE of what as many members as the smaller arm has spend, as crates/ltv-core/src/train/finish/
-- bounded.rs reasons. The bound is that of both arms together, so it favours neither.

-- The members with what they spent (y, and c up to the bound, cap) and what was expected (x), as common table
-- expressions. factor brings what was expected to what was spent.
CREATE FUNCTION ltv.campaign_measure(name text, definition jsonb, log jsonb, until date) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    id_column text := definition ->> 'id_column';
    match record := ltv.id_match('SELECT * FROM ' || name, id_column, 'm.id', 'the campaign', log ->> 'source',
                                 log ->> 'customer_id_column', 's.customer', 'the source');
BEGIN
    RETURN ltv.fill_in($sql$
WITH members AS MATERIALIZED (
    SELECT row_number() OVER () AS member, m.{id} AS id, m.drawn_arm = 'hold_out' AS held, m.drawn_tier AS tier,
           m.drawn_ltv AS x, m.since
    FROM ONLY {name} m
    WHERE m.since <= {until} AND (m.left_at IS NULL OR (m.left_at AT TIME ZONE {zone})::date > m.since)
), payments AS (
    SELECT m.member, s.day, s.amount, s.day >= m.since AND s.day <= {until} AS counts
    FROM members m JOIN {orders} ON {match}
), spent AS (
    SELECT p.member, sum(p.amount) FILTER (WHERE p.counts)::float8 AS y FROM payments p GROUP BY p.member
), tally AS MATERIALIZED (
    SELECT m.member, m.held, m.tier, m.x, GREATEST(s.y, 0) AS y, s.member IS NOT NULL AS known
    FROM members m LEFT JOIN spent s ON s.member = m.member
), smaller AS (
    SELECT t.held, count(*) AS n, count(*) FILTER (WHERE t.y > 0) AS payers FROM tally t GROUP BY t.held
    ORDER BY 2, 1 LIMIT 1
), extent AS MATERIALIZED (
    SELECT COALESCE(sum(t.y) / NULLIF(sum(t.x), 0), 0) AS factor, sum(t.y) AS total,
           (SELECT CASE WHEN s.payers > 5 THEN GREATEST(0.15, 6.0::float8 / (s.payers + 1)) * s.n END FROM smaller s)
               / NULLIF(count(*), 0) AS share
    FROM tally t
), largest AS MATERIALIZED (
    SELECT q.s, row_number() OVER w AS k, sum(q.s) OVER w AS beyond, lead(q.s) OVER (ORDER BY q.s DESC) AS next
    FROM (SELECT t.y - e.factor * t.x AS s FROM tally t, extent e ORDER BY 1 DESC LIMIT 10000) q
    WINDOW w AS (ORDER BY q.s DESC ROWS UNBOUNDED PRECEDING)
), bounds AS (
    SELECT k.k, k.next, e.share * (e.total - k.beyond) / NULLIF(GREATEST(1 - e.share * k.k, 0), 0) AS bound
    FROM extent e, (SELECT 0 AS k, 0 AS beyond, (SELECT max(l.s) FROM largest l) AS next
                    UNION ALL SELECT l.k, l.beyond, l.next FROM largest l) k
), bounded AS MATERIALIZED (
    SELECT t.*, GREATEST(e.factor * t.x, 0) + b.bound AS cap FROM tally t, extent e,
        (SELECT COALESCE((SELECT b.bound FROM bounds b WHERE b.next <= b.bound ORDER BY b.k LIMIT 1), 'Infinity')
             AS bound) b
), counted AS MATERIALIZED (
    SELECT b.*, LEAST(b.y, b.cap) AS c FROM bounded b
)$sql$, jsonb_build_object(
        'id', quote_ident(id_column), 'name', name, 'until', format('%L::date', until),
        'zone', quote_literal(definition ->> 'time_zone'), 'match', match.condition,
        'orders', ltv.features_orders(log, (now() AT TIME ZONE (definition ->> 'time_zone'))::date)));
END
$$;
COMMENT ON FUNCTION ltv.campaign_measure IS 'the members of a campaign with what they spent, as SQL';

CREATE TYPE ltv.campaign_effect AS (
    lift float8, low float8, high float8, detectable float8, variance_reduction float8
);
COMMENT ON TYPE ltv.campaign_effect IS 'the difference of two arms per head, with what is known of its chance';

-- The 0.975 quantile of Student's t: expansion of Cornish and Fisher, to 0.003 from five degrees of freedom on.
CREATE FUNCTION ltv.student_quantile(df float8) RETURNS float8
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT z + (z ^ 3 + z) / 4 / df + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / 96 / df ^ 2
           + (3 * z ^ 7 + 19 * z ^ 5 + 17 * z ^ 3 - 15 * z) / 384 / df ^ 3
    FROM (VALUES (1.959963984540054::float8)) v(z)
$$;
COMMENT ON FUNCTION ltv.student_quantile IS 'the 0.975 quantile of Student''s t distribution';

-- Arms as documents: n, means x and y, sums of squares and products sxx, syy, sxy about the means, and payers. Null
-- where an arm has fewer than 20 members who paid: of sums of so few nothing is normal.
CREATE FUNCTION ltv.campaign_effect(contact jsonb, hold_out jsonb) RETURNS ltv.campaign_effect
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.lift, e.lift - t.quantile * e.error, e.lift + t.quantile * e.error, 2.8016 * e.error,
           1 - (e.error ^ 2) / NULLIF(e.plain, 0)
    FROM jsonb_to_record(contact)
             AS a (n float8, x float8, y float8, sxx float8, syy float8, sxy float8, payers int),
         jsonb_to_record(hold_out)
             AS b (n float8, x float8, y float8, sxx float8, syy float8, sxy float8, payers int),
         LATERAL (SELECT COALESCE((a.sxy + b.sxy) / NULLIF(a.sxx + b.sxx, 0), 0) AS theta) s,
         LATERAL (SELECT GREATEST(a.syy - 2 * theta * a.sxy + theta ^ 2 * a.sxx, 0) / (a.n - 1) / a.n AS va,
                         GREATEST(b.syy - 2 * theta * b.sxy + theta ^ 2 * b.sxx, 0) / (b.n - 1) / b.n AS vb) v,
         LATERAL (SELECT a.y - b.y - theta * (a.x - b.x) AS lift, sqrt(va + vb) AS error,
                         a.syy / (a.n - 1) / a.n + b.syy / (b.n - 1) / b.n AS plain,
                         (va + vb) ^ 2 / NULLIF(va ^ 2 / (a.n - 1) + vb ^ 2 / (b.n - 1), 0) AS df) e,
         LATERAL (SELECT COALESCE(ltv.student_quantile(e.df), 0) AS quantile) t
    WHERE a.payers >= 20 AND b.payers >= 20
$$;
COMMENT ON FUNCTION ltv.campaign_effect IS 'the lift of the arm contact over the arm hold_out, with its interval';

-- What was found, in words. Money is told to the hundredth.
CREATE FUNCTION ltv.campaign_conclusion(contacted bigint, held_out bigint, effect ltv.campaign_effect) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN held_out = 0 THEN 'nobody was held out: what the contacts brought cannot be known'
                WHEN contacted = 0 THEN 'nobody was contacted'
                WHEN effect IS NULL THEN 'too few members paid to say anything'
                WHEN (effect).low > 0 THEN format('the contacts brought more: %s to %s per head',
                    round((effect).low::numeric, 2), round((effect).high::numeric, 2))
                WHEN (effect).high < 0 THEN format('the contacts brought less: %s to %s per head',
                    round((effect).low::numeric, 2), round((effect).high::numeric, 2))
                ELSE format('no difference is shown; %s per head would be found in four of five cases',
                            round((effect).detectable::numeric, 2)) END
$$;
COMMENT ON FUNCTION ltv.campaign_conclusion IS 'what a comparison of two arms says, in words';

-- Checks the order log and reads it: the definition of the campaign with the log, and the last day that counts.
CREATE FUNCTION ltv.campaign_log(
    function text, relation regclass, source text, source_relation regclass, given text, customer_id_column text,
    date_column text, value_column text, until date, OUT definition jsonb, OUT log jsonb, OUT last_day date
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    start date;
    zone text;
    facts ltv.log_facts;
BEGIN
    definition := ltv.own_campaign(relation);
    start := definition ->> 'start';
    zone := definition ->> 'time_zone';
    PERFORM ltv.check_given(source, customer_id_column, date_column, value_column, zone);
    log := ltv.order_log(jsonb_build_object('source', source, 'source_relation', ltv.qualified_name(source_relation),
        'customer_id_column', customer_id_column, 'date_column', date_column, 'value_column', value_column,
        'time_zone', zone, 'search_path', '', 'temporary', true), function, given, jsonb_build_array(
        jsonb_build_array('name', ltv.qualified_name(relation)),
        jsonb_build_array('customer_id_column', NULLIF(customer_id_column, 'customer_id')),
        jsonb_build_array('date_column', date_column), jsonb_build_array('value_column', value_column)));
    facts := ltv.log_facts(log, (now() AT TIME ZONE zone)::date);
    last_day := LEAST(until, facts.last_day);
    IF facts.last_day IS NULL THEN
        PERFORM ltv.raise_argument('the source has no order that counts',
            'Give the log of all orders, those of customers who are not in the campaign too.');
    ELSIF last_day < start THEN
        PERFORM ltv.raise_argument(format('the campaign starts on %s, and %s', start,
            CASE WHEN until < start THEN 'until is ' || until ELSE 'the order log ends on ' || facts.last_day END),
            'Ask again when there are orders of its first days.');
    ELSIF until > last_day THEN
        RAISE NOTICE USING MESSAGE = format('the order log ends on %s, before %s', last_day, until),
            DETAIL = 'What was spent later is not known yet.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.campaign_log IS 'the order log that a campaign is judged by, or an error if it cannot be';

CREATE FUNCTION ltv.check_known_members(measured jsonb, relation regclass, log jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (measured ->> 'members')::bigint = 0 THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('%s has no members', relation),
            HINT = 'Look at the steps that ltv_refresh_campaign returns.';
    ELSIF (measured ->> 'known')::bigint = 0 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('no member of %s has an order in the source, before the campaign neither', relation),
            DETAIL = format('The %s members are compared with the column "%s" of the source.', measured ->> 'members',
                            log ->> 'customer_id_column'),
            HINT = 'Give a log with the ids of the campaign, or name its column of these ids: '
                   'customer_id_column => ''...''.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_known_members IS 'an error where an order log knows none of the members';

-- In all and by tier --------------------------------------------------------------------------------------------------

CREATE TYPE ltv.campaign_result_row AS (
    tier int, contacted bigint, held_out bigint, contact_spend float8, hold_out_spend float8, lift float8,
    lift_low float8, lift_high float8, relative_lift float8, detectable_lift float8, incremental_revenue float8,
    cost float8, profit float8, profit_low float8, profit_high float8, return_on_cost float8,
    variance_reduction float8, effective_sample float8, bounded bigint, conclusion text
);
COMMENT ON TYPE ltv.campaign_result_row IS 'the result of a campaign, in all or of a tier, see ltv_campaign_result';

-- OFFSET 0 keeps the effect from being computed for each of its fields.
CREATE FUNCTION ltv.campaign_result_rows(measured jsonb, cost_per_contact float8, margin float8)
RETURNS SETOF ltv.campaign_result_row
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT g.tier, g.contacted, g.held_out, (g.contact ->> 'spend')::float8, (g.hold_out ->> 'spend')::float8,
           (e.effect).lift, (e.effect).low, (e.effect).high,
           (e.effect).lift / NULLIF((g.contact ->> 'y')::float8 - (e.effect).lift, 0), (e.effect).detectable,
           (e.effect).lift * g.contacted, p.cost, margin * (e.effect).lift * g.contacted - p.cost,
           margin * (e.effect).low * g.contacted - p.cost, margin * (e.effect).high * g.contacted - p.cost,
           (margin * (e.effect).lift * g.contacted - p.cost) / NULLIF(p.cost, 0),
           (e.effect).variance_reduction, 1 / NULLIF(1 - (e.effect).variance_reduction, 0), g.bounded,
           ltv.campaign_conclusion(g.contacted, g.held_out, e.effect)
    FROM (SELECT (a ->> 'tier')::int AS tier, (jsonb_agg(a) FILTER (WHERE a -> 'held' = 'false')) -> 0 AS contact,
                 (jsonb_agg(a) FILTER (WHERE a -> 'held' = 'true')) -> 0 AS hold_out,
                 COALESCE(sum((a ->> 'n')::bigint) FILTER (WHERE a -> 'held' = 'false'), 0)::bigint AS contacted,
                 COALESCE(sum((a ->> 'n')::bigint) FILTER (WHERE a -> 'held' = 'true'), 0)::bigint AS held_out,
                 sum((a ->> 'bounded')::bigint)::bigint AS bounded
          FROM jsonb_array_elements(measured -> 'arms') a GROUP BY 1) g,
         LATERAL (SELECT ltv.campaign_effect(g.contact, g.hold_out) AS effect OFFSET 0) e,
         LATERAL (SELECT cost_per_contact * g.contacted AS cost) p
    ORDER BY g.tier NULLS FIRST
$$;
COMMENT ON FUNCTION ltv.campaign_result_rows IS 'the result of a campaign from what was measured of its arms';

CREATE FUNCTION ltv.campaign_result(
    relation regclass, source text, source_relation regclass, given text, customer_id_column text, date_column text,
    value_column text, until date
) RETURNS SETOF ltv.campaign_result_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    base record := ltv.campaign_log('ltv_campaign_result', relation, source, source_relation, given,
                                    customer_id_column, date_column, value_column, until);
    measured jsonb;
BEGIN
    measured := ltv.read_in('pg_catalog, pg_temp',
        ltv.campaign_measure(ltv.qualified_name(relation), base.definition, base.log, base.last_day) || $sql$
SELECT jsonb_build_object(
    'members', (SELECT count(*) FROM tally), 'known', (SELECT count(*) FROM tally t WHERE t.known),
    'arms', (SELECT jsonb_agg(to_jsonb(g)) FROM (
        SELECT c.tier, c.held, count(*) AS n, avg(c.y) AS spend, avg(c.c) AS y, avg(c.x) AS x,
               regr_sxx(c.c, c.x) AS sxx, regr_syy(c.c, c.x) AS syy, regr_sxy(c.c, c.x) AS sxy,
               count(*) FILTER (WHERE c.y > 0) AS payers, count(*) FILTER (WHERE c.c < c.y) AS bounded
        FROM counted c GROUP BY GROUPING SETS ((c.tier, c.held), (c.held))) g))$sql$);
    PERFORM ltv.check_known_members(measured, relation, base.log);
    RETURN QUERY SELECT * FROM ltv.campaign_result_rows(
        measured, (base.definition ->> 'cost_per_contact')::float8, ltv.campaign_margin(base.definition));
END
$$;
COMMENT ON FUNCTION ltv.campaign_result(regclass, text, regclass, text, text, text, text, date)
    IS 'see ltv_campaign_result; the source is bound';

CREATE FUNCTION ltv.campaign_result(
    name text, source text, customer_id_column text, date_column text, value_column text, until date
) RETURNS SETOF ltv.campaign_result_row
LANGUAGE sql
AS $$
    SELECT * FROM ltv.campaign_result(ltv.bind_relation(name), ltv.bind_query(source), ltv.bind_relation(source),
                                      source, customer_id_column, date_column, value_column, until)
$$;
COMMENT ON FUNCTION ltv.campaign_result(text, text, text, text, text, date) IS 'see ltv_campaign_result';

CREATE FUNCTION @extschema@.ltv_campaign_result(
    name               text,
    source             text,
    customer_id_column text DEFAULT 'customer_id',
    date_column        text DEFAULT NULL,
    value_column       text DEFAULT NULL,
    until              date DEFAULT NULL
) RETURNS TABLE (
    tier int, contacted bigint, held_out bigint, contact_spend float8, hold_out_spend float8, lift float8,
    lift_low float8, lift_high float8, relative_lift float8, detectable_lift float8, incremental_revenue float8,
    cost float8, profit float8, profit_low float8, profit_high float8, return_on_cost float8,
    variance_reduction float8, effective_sample float8, bounded bigint, conclusion text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_campaign_result
    IS 'what a campaign brought, in all (tier is null) and by tier, by comparing its two arms in an order log';

-- Day by day ----------------------------------------------------------------------------------------------------------

CREATE TYPE ltv.campaign_curve_row AS (
    day date, contact_spend float8, hold_out_spend float8, lift float8, lift_low float8, lift_high float8,
    incremental_revenue float8, profit float8
);
COMMENT ON TYPE ltv.campaign_curve_row IS 'the result of a campaign up to a day, see ltv_campaign_curve';

-- Squares are not additive over days, but their changes are: what a day changes of a member's spend changes its square
-- by (after^2 - before^2). Bounds are those of the whole time, so that the last day says what ltv_campaign_result says.
CREATE FUNCTION ltv.campaign_curve(
    relation regclass, source text, source_relation regclass, given text, customer_id_column text, date_column text,
    value_column text, until date
) RETURNS SETOF ltv.campaign_curve_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET DateStyle = ISO
AS $$
DECLARE
    base record := ltv.campaign_log('ltv_campaign_curve', relation, source, source_relation, given,
                                    customer_id_column, date_column, value_column, until);
    cost_per_contact float8 := base.definition ->> 'cost_per_contact';
    margin float8 := ltv.campaign_margin(base.definition);
    measured jsonb;
BEGIN
    measured := ltv.read_in('pg_catalog, pg_temp',
        ltv.campaign_measure(ltv.qualified_name(relation), base.definition, base.log, base.last_day) || format($sql$
, daily AS (
    SELECT p.member, p.day, sum(p.amount)::float8 AS amount FROM payments p WHERE p.counts GROUP BY p.member, p.day
), running AS (
    SELECT d.member, d.day, b.held, b.x, b.cap, GREATEST(sum(d.amount) OVER (PARTITION BY d.member ORDER BY d.day), 0)
               AS y
    FROM daily d JOIN bounded b ON b.member = d.member
), changes AS (
    SELECT r.held, r.day, r.x, r.y AS spend, LEAST(r.y, r.cap) AS y, COALESCE(lag(r.y) OVER w, 0) AS spend_before,
           COALESCE(lag(LEAST(r.y, r.cap)) OVER w, 0) AS y_before
    FROM running r WINDOW w AS (PARTITION BY r.member ORDER BY r.day)
), by_day AS (
    SELECT c.held, c.day, sum(c.spend - c.spend_before) AS spend, sum(c.y - c.y_before) AS y,
           sum(c.y ^ 2 - c.y_before ^ 2) AS yy, sum(c.x * (c.y - c.y_before)) AS xy,
           sum((c.y > 0)::int - (c.y_before > 0)::int) AS payers
    FROM changes c GROUP BY c.held, c.day
), arms AS (
    SELECT t.held, count(*) AS n, avg(t.x) AS x, regr_sxx(t.x, t.x) AS sxx FROM tally t GROUP BY t.held
), totals AS (
    SELECT a.held, a.n, a.x, a.sxx, g.day::date AS day, COALESCE(sum(b.spend) OVER w, 0) AS spend,
           COALESCE(sum(b.y) OVER w, 0) AS y, COALESCE(sum(b.yy) OVER w, 0) AS yy, COALESCE(sum(b.xy) OVER w, 0) AS xy,
           COALESCE(sum(b.payers) OVER w, 0) AS payers
    FROM arms a CROSS JOIN generate_series((SELECT min(m.since) FROM members m)::timestamp, %L, interval '1 day') g(day)
    LEFT JOIN by_day b ON b.held = a.held AND b.day = g.day
    WINDOW w AS (PARTITION BY a.held ORDER BY g.day)
)
SELECT jsonb_build_object(
    'members', (SELECT count(*) FROM tally), 'known', (SELECT count(*) FROM tally t WHERE t.known),
    'days', (SELECT jsonb_agg(jsonb_build_object('day', t.day, 'held', t.held, 'n', t.n, 'spend', t.spend / t.n,
                 'y', t.y / t.n, 'x', t.x, 'sxx', t.sxx, 'syy', t.yy - t.y ^ 2 / t.n, 'sxy', t.xy - t.x * t.y,
                 'payers', t.payers)) FROM totals t))$sql$, base.last_day));
    PERFORM ltv.check_known_members(measured, relation, base.log);
    RETURN QUERY
    SELECT g.day, (g.contact ->> 'spend')::float8, (g.hold_out ->> 'spend')::float8,
           (e.effect).lift, (e.effect).low, (e.effect).high, (e.effect).lift * g.n,
           margin * (e.effect).lift * g.n - cost_per_contact * g.n
    FROM (SELECT (d ->> 'day')::date AS day, (jsonb_agg(d) FILTER (WHERE d -> 'held' = 'false')) -> 0 AS contact,
                 (jsonb_agg(d) FILTER (WHERE d -> 'held' = 'true')) -> 0 AS hold_out,
                 COALESCE(sum((d ->> 'n')::bigint) FILTER (WHERE d -> 'held' = 'false'), 0)::float8 AS n
          FROM jsonb_array_elements(measured -> 'days') d GROUP BY 1) g,
         LATERAL (SELECT ltv.campaign_effect(g.contact, g.hold_out) AS effect OFFSET 0) e
    ORDER BY g.day;
END
$$;
COMMENT ON FUNCTION ltv.campaign_curve(regclass, text, regclass, text, text, text, text, date)
    IS 'see ltv_campaign_curve; the source is bound';

CREATE FUNCTION ltv.campaign_curve(
    name text, source text, customer_id_column text, date_column text, value_column text, until date
) RETURNS SETOF ltv.campaign_curve_row
LANGUAGE sql
AS $$
    SELECT * FROM ltv.campaign_curve(ltv.bind_relation(name), ltv.bind_query(source), ltv.bind_relation(source),
                                     source, customer_id_column, date_column, value_column, until)
$$;
COMMENT ON FUNCTION ltv.campaign_curve(text, text, text, text, text, date) IS 'see ltv_campaign_curve';

CREATE FUNCTION @extschema@.ltv_campaign_curve(
    name               text,
    source             text,
    customer_id_column text DEFAULT 'customer_id',
    date_column        text DEFAULT NULL,
    value_column       text DEFAULT NULL,
    until              date DEFAULT NULL
) RETURNS TABLE (
    day date, contact_spend float8, hold_out_spend float8, lift float8, lift_low float8, lift_high float8,
    incremental_revenue float8, profit float8
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_campaign_curve
    IS 'what a campaign had brought by each day, to plot: spend per head of both arms, lift and profit';
