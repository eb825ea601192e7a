-- For marketing: customers in tiers by predicted value, and whom to reach within a budget.

CREATE FUNCTION ltv.raise_argument(message text, hint text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE invalid_parameter_value USING MESSAGE = message, HINT = hint;
END
$$;
COMMENT ON FUNCTION ltv.raise_argument IS 'an error about the value of an argument';

-- Upper bounds of tiers as shares of the customers, best first.
CREATE FUNCTION ltv.tier_bounds(shares float8[]) RETURNS float8[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF array_ndims(shares) IS DISTINCT FROM 1 OR array_position(shares, NULL) IS NOT NULL
       OR 0 >= ANY (shares) OR abs((SELECT sum(s) FROM unnest(shares) s) - 1) > 1e-6 THEN
        PERFORM ltv.raise_argument('shares must be positive and add up to 1',
            'For example shares => ''{0.1,0.4,0.5}'': the best tenth, the next 40 %, the rest.');
    END IF;
    RETURN (SELECT array_agg(x.upto ORDER BY x.i)
            FROM (SELECT u.i, sum(u.s) OVER (ORDER BY u.i) - 1e-9 AS upto
                  FROM unnest(shares) WITH ORDINALITY AS u(s, i)) x);
END
$$;
COMMENT ON FUNCTION ltv.tier_bounds IS 'where tiers of these shares end, or an error';

-- Tiers by value: from the first threshold up, from the second up to it, and so on; the last one is below all of them.
CREATE FUNCTION ltv.check_tier_values(thresholds float8[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(thresholds) NOT BETWEEN 1 AND 100 OR array_ndims(thresholds) > 1
       OR array_position(thresholds, NULL) IS NOT NULL OR 'NaN' = ANY (thresholds)
       OR thresholds <> ARRAY(SELECT DISTINCT t FROM unnest(thresholds) t ORDER BY t DESC) THEN
        PERFORM ltv.raise_argument('thresholds must be numbers from the largest to the least',
            'For example thresholds => ''{1000,200,50}'': from 1000 up, from 200, from 50, and the rest.');
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_tier_values IS 'an error unless values at which tiers begin are in order';

CREATE FUNCTION ltv.check_tier_names(names text[], tiers int) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF names IS NOT NULL AND (
        cardinality(names) <> tiers OR array_ndims(names) > 1 OR array_position(names, NULL) IS NOT NULL
        OR (SELECT count(DISTINCT n) FROM unnest(names) n) <> tiers) THEN
        PERFORM ltv.raise_argument(format('tier_names must be %s different names', tiers),
            'One for each tier, the best first. Thresholds make one tier more than there are thresholds: '
            'thresholds => ''{1000,200}'', tier_names => ''{gold,silver,bronze}''.');
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_tier_names IS 'an error unless each tier has a name of its own';

-- The type that ids are to have; as text they may be given whatever they are.
CREATE FUNCTION ltv.check_id_type(query text, id_column text, wanted regtype) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns record := ltv.query_columns(query);
    own regtype := columns.types[ltv.check_column(columns.names, id_column, 'id_column')];
BEGIN
    IF wanted <> 'text'::regtype AND wanted <> own THEN
        RAISE datatype_mismatch USING MESSAGE = format('"%s" is of type %s, not %s', id_column, own, wanted),
            HINT = format('Give NULL::%s, or call ltv_segment for ids as text.', own);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_id_type IS 'an error unless ids are of a type';

-- SQL for the margin of a row: a number, times what a column says where one is named; of nobody anything is known there
-- nothing is earned with.
CREATE FUNCTION ltv.margin_of(columns text[], types oid[], margin_column text, margin float8, of_row text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type oid;
BEGIN
    IF (margin > 0 AND margin < 'infinity') IS NOT TRUE THEN
        PERFORM ltv.raise_argument('the margin must be greater than 0', 'For example margin => 0.35.');
    ELSIF margin_column IS NULL THEN
        RETURN format('%L::float8', margin);
    END IF;
    type := types[ltv.check_column(columns, margin_column, 'margin_column')];
    IF ltv.base_type(type) NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype,
                                   'float8'::regtype, 'numeric'::regtype) THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('the column "%s" is of type %s, which is not a number', margin_column,
                             format_type(type, NULL)),
            DETAIL = 'It is the share of what a customer spends that is earned.', HINT = 'Cast it in a query.';
    END IF;
    RETURN format($sql$%L::float8 * CASE WHEN %s.%I::float8 > '-Infinity' AND %2$s.%3$I::float8 < 'Infinity'
        THEN %2$s.%3$I::float8 ELSE 0::float8 END$sql$, margin, of_row, margin_column);
END
$$;
COMMENT ON FUNCTION ltv.margin_of IS 'SQL for the margin of a row, or an error';

-- A row for each of several cut-offs would count a customer as often.
CREATE FUNCTION ltv.refuse_repeated(customer text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF customer IS NOT NULL THEN
        RAISE cardinality_violation USING
            MESSAGE = format('the query has more than one row for customer "%s"', customer),
            HINT = 'Give one row per customer: of features of several days, those of the newest.';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION ltv.refuse_repeated IS 'an error that names a customer who has several rows; true without one';

-- Tiers are shares of the customers, best first, or begin at values; with a budget, contact says for whom it is best
-- spent. Customers of different margins are in the order of what is earned with them.
CREATE FUNCTION ltv.segment_query(
    id_type anyelement, model text, query text, shares float8[], id_column text, version bigint, budget float8,
    cost_per_contact float8, margin float8, thresholds float8[], tier_names text[],
    discount_rate float8, margin_column text
)
RETURNS TABLE (
    customer_id anyelement, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8,
    contact boolean, tier_name text, worth float8
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    call text;
    columns record := ltv.query_columns(query);
    bounds float8[] := CASE WHEN thresholds IS NULL THEN ltv.tier_bounds(shares) END;
    rising float8[] := ARRAY(SELECT t FROM unnest(thresholds) t ORDER BY t);
BEGIN
    PERFORM ltv.check_model(model, 'predict'), ltv.check_tier_values(thresholds),
            ltv.check_tier_names(tier_names, COALESCE(cardinality(bounds), cardinality(rising) + 1));
    id_column := ltv.check_id_column(columns.names, id_column, model);
    PERFORM ltv.check_id_type(query, id_column, pg_typeof(id_type));
    IF version IS NOT NULL THEN
        PERFORM ltv.prediction_facts(model, version);  -- says so where there is no such version
    END IF;
    IF budget < 0 OR cost_per_contact <= 0 OR 'NaN' IN (budget, cost_per_contact)
       OR (budget IS NULL) <> (cost_per_contact IS NULL) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a budget needs the cost per contact, and both must be positive',
            HINT = 'For example budget => 1000, cost_per_contact => 0.80, margin => 0.25.';
    END IF;
    call := CASE WHEN version IS NULL THEN format('ltv.predict(%L::text, ltv_row)', model)
                 ELSE format('ltv.predict(%L::text, %s, ltv_row)', model, version) END;
    RETURN QUERY EXECUTE format($sql$
        WITH scored AS MATERIALIZED (
            SELECT ltv_row.%I%s AS customer_id, %s AS ltv, %s AS margin FROM (%s%s) ltv_row
        )
        SELECT t.customer_id, t.ltv, t.rank, t.tier, t.rank::float8 / t.customers, t.revenue / NULLIF(t.total, 0),
               t.rank * $3 <= $2 AND t.worth > $3, ($6)[t.tier], t.worth
        FROM (SELECT r.*, COALESCE(least(width_bucket((r.rank - 1)::float8 / r.customers, $1) + 1, cardinality($1)),
                                   cardinality($5) + 1 - width_bucket(r.ltv, $5)) AS tier
              FROM (SELECT s.customer_id, s.ltv, s.worth, row_number() OVER best AS rank, count(*) OVER () AS customers,
                           sum(s.ltv) OVER best AS revenue, sum(s.ltv) OVER () AS total
                    FROM (SELECT c.customer_id, c.ltv, c.ltv * c.margin * $4 AS worth FROM scored c) s
                    WINDOW best AS (ORDER BY s.worth DESC, s.ltv DESC, s.customer_id::text ROWS UNBOUNDED PRECEDING)
                   ) r) t
        WHERE ltv.refuse_repeated((SELECT min(d.id) FROM (SELECT c.customer_id::text AS id FROM scored c
            WHERE c.customer_id IS NOT NULL GROUP BY c.customer_id HAVING count(*) > 1) d))
        ORDER BY t.rank$sql$, id_column, CASE WHEN pg_typeof(id_type) = 'text'::regtype THEN '::text' ELSE '' END,
        call, ltv.margin_of(columns.names, columns.types, margin_column, margin, 'ltv_row'),
        ltv.gathered_query(query), E'\n')
    USING bounds, budget, cost_per_contact, ltv.discount_factor(model, version, discount_rate), rising, tier_names;
END
$$;
COMMENT ON FUNCTION ltv.segment_query IS 'see ltv_segment; the query is bound';

CREATE FUNCTION ltv.segment_as(
    id_type anyelement, model text, query text, shares float8[], id_column text, version bigint, budget float8,
    cost_per_contact float8, margin float8, thresholds float8[], tier_names text[],
    discount_rate float8, margin_column text
) RETURNS TABLE (
    customer_id anyelement, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8,
    contact boolean, tier_name text
)
LANGUAGE sql
AS $$
    SELECT s.customer_id, s.ltv, s.rank, s.tier, s.customer_share, s.revenue_share, s.contact, s.tier_name
    FROM ltv.segment_query(id_type, model, ltv.given_query(query), shares, id_column, version, budget, cost_per_contact,
                           margin, thresholds, tier_names, discount_rate, margin_column) s
$$;
COMMENT ON FUNCTION ltv.segment_as IS 'see ltv_segment_as';

-- PostgreSQL takes the type of a result from an argument that is there, so it cannot have a default.
CREATE FUNCTION @extschema@.ltv_segment_as(
    id_type          anyelement,
    model            text,
    query            text,
    shares           float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}',
    id_column        text DEFAULT 'customer_id',
    version          bigint DEFAULT NULL,
    budget           float8 DEFAULT NULL,
    cost_per_contact float8 DEFAULT NULL,
    margin           float8 DEFAULT 1,
    thresholds       float8[] DEFAULT NULL,
    tier_names       text[] DEFAULT NULL,
    discount_rate    float8 DEFAULT 0,
    margin_column    text DEFAULT NULL
) RETURNS TABLE (
    customer_id anyelement, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8,
    contact boolean, tier_name text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_segment_as
    IS 'ltv_segment with ids of their own type, for example ltv_segment_as(NULL::bigint, ...)';

CREATE FUNCTION ltv.segment(
    model text, query text, shares float8[], id_column text, version bigint, budget float8, cost_per_contact float8,
    margin float8, thresholds float8[], tier_names text[], discount_rate float8, margin_column text
) RETURNS TABLE (
    customer_id text, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8,
    contact boolean, tier_name text
)
LANGUAGE sql
AS $$
    SELECT *
    FROM ltv.segment_as(NULL::pg_catalog.text, model, query, shares, id_column, version, budget, cost_per_contact,
                        margin, thresholds, tier_names, discount_rate, margin_column)
$$;
COMMENT ON FUNCTION ltv.segment IS 'see ltv_segment';

CREATE FUNCTION @extschema@.ltv_segment(
    model            text,
    query            text,
    shares           float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}',
    id_column        text DEFAULT 'customer_id',
    version          bigint DEFAULT NULL,
    budget           float8 DEFAULT NULL,
    cost_per_contact float8 DEFAULT NULL,
    margin           float8 DEFAULT 1,
    thresholds       float8[] DEFAULT NULL,
    tier_names       text[] DEFAULT NULL,
    discount_rate    float8 DEFAULT 0,
    margin_column    text DEFAULT NULL
) RETURNS TABLE (
    customer_id text, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8,
    contact boolean, tier_name text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_segment
    IS 'customers ranked by predicted value, in tiers, and whom to contact within a budget';

CREATE TYPE ltv.tier_summary AS (
    tier int, customers bigint, expected_revenue float8, revenue_share float8, mean_ltv float8,
    lowest_ltv float8, highest_ltv float8, revenue_low float8, revenue_high float8,
    present_value float8, tier_name text
);
COMMENT ON TYPE ltv.tier_summary IS 'one tier of a segment, see ltv_segment_summary';

CREATE FUNCTION ltv.summarize_query(
    model text, query text, shares float8[], id_column text, version bigint, thresholds float8[], margin float8,
    discount_rate float8, tier_names text[], margin_column text
)
RETURNS SETOF ltv.tier_summary
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spread ltv.spread;
BEGIN
    PERFORM ltv.check_model(model, 'predict');
    spread := ltv.spread(ltv.prediction_facts(model, version) -> 'spread');
    RETURN QUERY
    SELECT t.tier, t.customers, t.expected, t.expected / NULLIF(sum(t.expected) OVER (), 0), t.mean, t.lowest,
           t.highest, i.ends[1], i.ends[2], t.worth, t.tier_name
    FROM (SELECT b.tier, b.tier_name, sum(b.customers)::bigint AS customers, sum(b.expected) AS expected,
                 sum(b.worth) AS worth, sum(b.expected) / sum(b.customers) AS mean, min(b.lowest) AS lowest,
                 max(b.highest) AS highest,
                 sum(b.variance + (spread.tier * b.expected) ^ 2) AS variance
          FROM (SELECT s.tier, s.tier_name, count(*) AS customers, sum(s.ltv) AS expected, min(s.ltv) AS lowest,
                       max(s.ltv) AS highest, sum(ltv.variance_of(spread, s.ltv)) AS variance, sum(s.worth) AS worth
                FROM ltv.segment_query(NULL::text, model, query, shares, id_column, version, NULL, NULL, margin,
                                       thresholds, tier_names, discount_rate, margin_column) s
                GROUP BY s.tier, s.tier_name, width_bucket(s.ltv, spread.tiers)) b
          GROUP BY b.tier, b.tier_name) t,
         LATERAL ltv.sum_interval(t.expected, t.variance, spread.level) i(ends)
    ORDER BY t.tier;
END
$$;
COMMENT ON FUNCTION ltv.summarize_query IS 'see ltv_segment_summary; the query is bound';

CREATE FUNCTION ltv.segment_summary(
    model text, query text, shares float8[], id_column text, version bigint, thresholds float8[], margin float8,
    discount_rate float8, tier_names text[], margin_column text
)
RETURNS SETOF ltv.tier_summary
LANGUAGE sql
AS $$
    SELECT * FROM ltv.summarize_query(model, ltv.given_query(query), shares, id_column, version, thresholds, margin,
                                      discount_rate, tier_names, margin_column)
$$;
COMMENT ON FUNCTION ltv.segment_summary IS 'see ltv_segment_summary';

CREATE FUNCTION @extschema@.ltv_segment_summary(
    model text, query text, shares float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}', id_column text DEFAULT 'customer_id',
    version bigint DEFAULT NULL, thresholds float8[] DEFAULT NULL, margin float8 DEFAULT 1,
    discount_rate float8 DEFAULT 0, tier_names text[] DEFAULT NULL, margin_column text DEFAULT NULL
)
RETURNS TABLE (
    tier int, customers bigint, expected_revenue float8, revenue_share float8, mean_ltv float8, lowest_ltv float8,
    highest_ltv float8, revenue_low float8, revenue_high float8, present_value float8,
    tier_name text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_segment_summary
    IS 'the tiers of ltv_segment with their expected revenue and its 80 % interval';
