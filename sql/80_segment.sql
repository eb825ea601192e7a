-- For marketing: customers in tiers by predicted value, and whom to reach within a budget.

CREATE TYPE ltv.segment_row AS (
    customer_id text, ltv float8, rank bigint, tier int, customer_share float8,
    revenue_share float8, contact boolean
);
COMMENT ON TYPE ltv.segment_row IS 'one customer of a segment, see ltv_segment';

-- Tiers are shares of the customers, best first; with a budget, contact says for whom it is best spent.
CREATE FUNCTION ltv.segment_query(
    model text, query text, shares float8[], id_column text, version bigint, budget float8, cost_per_contact float8,
    margin float8
)
RETURNS SETOF ltv.segment_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    call text;
    bounds float8[];
BEGIN
    PERFORM ltv.check_model(model, 'predict');
    id_column := ltv.check_id_column((ltv.query_columns(query)).names, id_column, model);
    IF cardinality(shares) IS NULL OR cardinality(shares) = 0 OR array_position(shares, NULL) IS NOT NULL
       OR 0 >= ANY (shares)
       OR abs((SELECT sum(s) FROM unnest(shares) s) - 1) > 1e-6 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'shares must be positive and add up to 1',
            HINT = 'For example shares => ''{0.1,0.4,0.5}'': the best tenth, the next 40 %, the rest.';
    ELSIF budget < 0 OR cost_per_contact <= 0 OR margin <= 0 OR (budget IS NULL) <> (cost_per_contact IS NULL) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a budget needs the cost per contact, and both must be positive',
            HINT = 'For example budget => 1000, cost_per_contact => 0.80, margin => 0.25.';
    END IF;
    SELECT array_agg(x.upto ORDER BY x.i) INTO bounds
    FROM (SELECT u.i, sum(u.s) OVER (ORDER BY u.i) - 1e-9 AS upto FROM unnest(shares) WITH ORDINALITY AS u(s, i)) x;
    call := CASE WHEN version IS NULL THEN format('ltv.predict(%L::text, ltv_row)', model)
                 ELSE format('ltv.predict(%L::text, %s, ltv_row)', model, version) END;
    RETURN QUERY EXECUTE format($sql$
        SELECT r.customer_id, r.ltv, r.rank,
               least(width_bucket((r.rank - 1)::float8 / r.customers, $1) + 1, cardinality($1)),
               r.rank::float8 / r.customers, r.revenue / NULLIF(r.total, 0),
               r.rank * $3 <= $2 AND r.ltv * $4 > $3
        FROM (SELECT s.customer_id, s.ltv, row_number() OVER best AS rank, count(*) OVER () AS customers,
                     sum(s.ltv) OVER best AS revenue, sum(s.ltv) OVER () AS total
              FROM (SELECT ltv_row.%I::text AS customer_id, %s AS ltv FROM (%s%s) ltv_row) s
              WINDOW best AS (ORDER BY s.ltv DESC, s.customer_id ROWS UNBOUNDED PRECEDING)) r
        ORDER BY r.rank$sql$, id_column, call, query, E'\n')
    USING bounds, budget, cost_per_contact, margin;
END
$$;
COMMENT ON FUNCTION ltv.segment_query IS 'see ltv_segment; the query is bound';

CREATE FUNCTION ltv.segment(
    model            text,
    query            text,
    shares           float8[],
    id_column        text,
    version          bigint,
    budget           float8,
    cost_per_contact float8,
    margin           float8
) RETURNS SETOF ltv.segment_row
LANGUAGE sql
AS $$
    SELECT *
    FROM ltv.segment_query(model, ltv.given_query(query), shares, id_column, version, budget, cost_per_contact, margin)
$$;
COMMENT ON FUNCTION ltv.segment(text, text, float8[], text, bigint, float8, float8, float8) IS 'see ltv_segment';

CREATE FUNCTION @extschema@.ltv_segment(
    model            text,
    query            text,
    shares           float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}',
    id_column        text DEFAULT 'customer_id',
    version          bigint DEFAULT NULL,
    budget           float8 DEFAULT NULL,
    cost_per_contact float8 DEFAULT NULL,
    margin           float8 DEFAULT 1
) RETURNS TABLE (
    customer_id text, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8,
    contact boolean
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_segment
    IS 'customers ranked by predicted value, in tiers, and whom to contact within a budget';

CREATE TYPE ltv.tier_summary AS (
    tier int, customers bigint, expected_revenue float8, revenue_share float8, mean_ltv float8,
    lowest_ltv float8, highest_ltv float8
);
COMMENT ON TYPE ltv.tier_summary IS 'one tier of a segment, see ltv_segment_summary';

CREATE FUNCTION ltv.summarize_query(model text, query text, shares float8[], id_column text, version bigint)
RETURNS SETOF ltv.tier_summary
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.tier, count(*), sum(s.ltv), sum(s.ltv) / NULLIF(sum(sum(s.ltv)) OVER (), 0),
           avg(s.ltv), min(s.ltv), max(s.ltv)
    FROM ltv.segment_query(model, query, shares, id_column, version, NULL, NULL, 1) s GROUP BY s.tier ORDER BY s.tier
$$;
COMMENT ON FUNCTION ltv.summarize_query IS 'see ltv_segment_summary; the query is bound';

CREATE FUNCTION ltv.segment_summary(model text, query text, shares float8[],
                                                id_column text, version bigint)
RETURNS SETOF ltv.tier_summary
LANGUAGE sql
AS $$ SELECT * FROM ltv.summarize_query(model, ltv.given_query(query), shares, id_column, version) $$;
COMMENT ON FUNCTION ltv.segment_summary(text, text, float8[], text, bigint) IS 'see ltv_segment_summary';

CREATE FUNCTION @extschema@.ltv_segment_summary(
    model text, query text, shares float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}', id_column text DEFAULT 'customer_id',
    version bigint DEFAULT NULL
)
RETURNS TABLE (
    tier int, customers bigint, expected_revenue float8, revenue_share float8, mean_ltv float8, lowest_ltv float8,
    highest_ltv float8
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_segment_summary IS 'the tiers of ltv_segment with their expected revenue';
