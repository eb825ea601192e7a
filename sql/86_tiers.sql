-- Segments without a model, by recency, frequency and value, and how customers move between tiers.

CREATE TYPE ltv.rfm_row AS (
    customer_id text, days_since int, orders int, spend float8, r int, f int, m int, segment text
);
COMMENT ON TYPE ltv.rfm_row IS 'one customer on the grid of recency, frequency and value, see ltv_rfm_segments';

-- Rows are the score of recency, columns that of frequency and value. The names are those in common use.
CREATE FUNCTION ltv.rfm_name(r int, fm int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (ARRAY[
        ['hibernating', 'hibernating', 'at risk', 'at risk', 'cannot lose them'],
        ['hibernating', 'hibernating', 'at risk', 'at risk', 'cannot lose them'],
        ['about to sleep', 'about to sleep', 'need attention', 'loyal', 'loyal'],
        ['promising', 'potential loyalists', 'potential loyalists', 'loyal', 'loyal'],
        ['new', 'potential loyalists', 'potential loyalists', 'champions', 'champions']])[r][fm]
$$;
COMMENT ON FUNCTION ltv.rfm_name IS 'what customers of these scores are called';

-- A score is the fifth of the customers that one is in, 5 is the best. Those who are alike have the same one, that of
-- the middle of them.
CREATE FUNCTION ltv.rfm_segments(
    source text, source_relation regclass, given text, customer_id_column text, date_column text, value_column text,
    as_of date, time_zone text
) RETURNS SETOF ltv.rfm_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    today date;
    log jsonb;
    facts ltv.log_facts;
BEGIN
    PERFORM ltv.check_given(source, customer_id_column, date_column, value_column, time_zone);
    today := (now() AT TIME ZONE time_zone)::date;
    log := ltv.order_log(jsonb_build_object('source', source, 'source_relation', ltv.qualified_name(source_relation),
        'customer_id_column', customer_id_column, 'date_column', date_column, 'value_column', value_column,
        'time_zone', time_zone, 'search_path', '', 'temporary', true), 'ltv_rfm_segments', given, jsonb_build_array(
        jsonb_build_array('customer_id_column', NULLIF(customer_id_column, 'customer_id')),
        jsonb_build_array('date_column', date_column), jsonb_build_array('value_column', value_column)));
    facts := ltv.log_facts(log, today);
    PERFORM ltv.say_left_out(facts);
    RETURN QUERY EXECUTE ltv.fill_in($sql$
        SELECT s.id, s.days_since, s.orders, s.spend, s.r, s.f, s.m, ltv.rfm_name(s.r, (s.f + s.m + 1) / 2)
        FROM (SELECT c.id, c.days_since, c.orders, c.spend, {r} AS r, {f} AS f, {m} AS m
              FROM (SELECT d.customer::text AS id, {day} - max(d.day) AS days_since, count(*)::int AS orders,
                           sum(d.net)::float8 AS spend
                    FROM (SELECT s.customer, s.day, sum(s.amount) AS net
                          FROM {orders} WHERE s.day <= {day}
                          GROUP BY s.customer, s.day HAVING sum(s.amount) > 0) d
                    GROUP BY d.customer) c) s
        ORDER BY s.r DESC, s.f DESC, s.m DESC, s.id$sql$, jsonb_build_object(
        'orders', ltv.features_orders(log, today), 'day', format('%L::date', COALESCE(as_of, facts.last_day)),
        'r', ltv.fifth('c.days_since DESC'), 'f', ltv.fifth('c.orders'), 'm', ltv.fifth('c.spend')));
END
$$;
COMMENT ON FUNCTION ltv.rfm_segments(text, regclass, text, text, text, text, date, text)
    IS 'see ltv_rfm_segments; the source is bound';

CREATE FUNCTION ltv.fifth(ordering text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('LEAST(1 + floor(5 * (rank() OVER (ORDER BY %s) - 1 + (count(*) OVER (PARTITION BY %s) - 1) / 2.0) '
                  '/ count(*) OVER ()), 5)::int', ordering, split_part(ordering, ' ', 1))
$$;
COMMENT ON FUNCTION ltv.fifth IS 'the fifth of the customers that one is in, as SQL';

CREATE FUNCTION ltv.rfm_segments(
    source text, customer_id_column text, date_column text, value_column text, as_of date, time_zone text
) RETURNS SETOF ltv.rfm_row
LANGUAGE sql
AS $$
    SELECT * FROM ltv.rfm_segments(ltv.bind_query(source), ltv.bind_relation(source), source, customer_id_column,
                                   date_column, value_column, as_of, time_zone)
$$;
COMMENT ON FUNCTION ltv.rfm_segments(text, text, text, text, date, text) IS 'see ltv_rfm_segments';

CREATE FUNCTION @extschema@.ltv_rfm_segments(
    source text, customer_id_column text DEFAULT 'customer_id', date_column text DEFAULT NULL,
    value_column text DEFAULT NULL, as_of date DEFAULT NULL, time_zone text DEFAULT 'UTC'
) RETURNS TABLE (
    customer_id text, days_since int, orders int, spend float8, r int, f int, m int, segment text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_rfm_segments
    IS 'customers by recency, frequency and value, each in fifths, with the names that marketing has for them';

-- Movement ------------------------------------------------------------------------------------------------------------

CREATE TYPE ltv.movement_row AS (from_tier int, to_tier int, customers bigint, share float8);
COMMENT ON TYPE ltv.movement_row IS 'how many customers went from one tier to another, see ltv_tier_movement';

CREATE FUNCTION ltv.tier_movement_of(before text, after text, id_column text, tier_column text)
RETURNS SETOF ltv.movement_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    match record;
BEGIN
    PERFORM ltv.check_column((ltv.query_columns(before)).names, c, 'before')
    FROM unnest(ARRAY[id_column, tier_column]) c;
    PERFORM ltv.check_column((ltv.query_columns(after)).names, c, 'after') FROM unnest(ARRAY[id_column, tier_column]) c;
    match := ltv.id_match(before, id_column, format('b.%I', id_column), 'before', after, id_column,
                          format('a.%I', id_column), 'after');
    PERFORM ltv.check_single('pg_catalog, pg_temp', before, id_column, format('a.%I', id_column), NULL, 'before'),
            ltv.check_single('pg_catalog, pg_temp', after, id_column, format('a.%I', id_column), NULL, 'after');
    RETURN QUERY EXECUTE ltv.fill_in($sql$
        SELECT m.f, m.t, m.n, m.n / sum(m.n) OVER (PARTITION BY m.f)::float8
        FROM (SELECT b.key_tier AS f, a.key_tier AS t, count(*) AS n
              FROM (SELECT {left} AS key, b.{tier}::int AS key_tier FROM ({before}
                   ) b WHERE b.{tier} IS NOT NULL) b
              FULL JOIN (SELECT {right} AS key, a.{tier}::int AS key_tier FROM ({after}
                   ) a WHERE a.{tier} IS NOT NULL) a ON a.key {operator} b.key
              GROUP BY 1, 2) m
        ORDER BY m.f, m.t$sql$, jsonb_build_object(
        'left', match.left_side, 'right', match.right_side, 'operator', match.operator, 'before', before,
        'after', after, 'tier', quote_ident(tier_column)));
END
$$;
COMMENT ON FUNCTION ltv.tier_movement_of IS 'see ltv_tier_movement; the queries are bound';

CREATE FUNCTION ltv.tier_movement(before text, after text, id_column text, tier_column text)
RETURNS SETOF ltv.movement_row
LANGUAGE sql
AS $$ SELECT * FROM ltv.tier_movement_of(ltv.given_query(before), ltv.given_query(after), id_column, tier_column) $$;
COMMENT ON FUNCTION ltv.tier_movement(text, text, text, text) IS 'see ltv_tier_movement';

CREATE FUNCTION @extschema@.ltv_tier_movement(
    before text, after text, id_column text DEFAULT 'customer_id', tier_column text DEFAULT 'tier'
) RETURNS TABLE (from_tier int, to_tier int, customers bigint, share float8)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_tier_movement
    IS 'how many customers went from which tier to which; null for who was not there before, or is not any more';
