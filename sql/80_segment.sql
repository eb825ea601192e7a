-- For marketing: customers in tiers by predicted value, whom to reach within a budget, and the classic RFM summary.

-- Tiers are shares of the customers, best first; with a budget, contact says for whom it is best spent.
CREATE FUNCTION ltv.segment(model text, query text, shares float8[], id_column text, version int, budget float8, cost_per_contact float8, margin float8)
RETURNS TABLE (customer_id text, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8, contact boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    call text;
    bounds float8[];
BEGIN
    PERFORM ltv.check_model(model, 'predict');
    id_column := ltv.check_id_column((ltv.query_columns(query)).names, id_column, model);
    IF cardinality(shares) IS NULL OR cardinality(shares) = 0 OR array_position(shares, NULL) IS NOT NULL OR 0 >= ANY (shares)
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
COMMENT ON FUNCTION ltv.segment IS 'see ltv_segment; the query is bound';

CREATE FUNCTION @extschema@.ltv_segment(
    model            text,
    query            text,
    shares           float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}',
    id_column        text DEFAULT 'customer_id',
    version          int DEFAULT NULL,
    budget           float8 DEFAULT NULL,
    cost_per_contact float8 DEFAULT NULL,
    margin           float8 DEFAULT 1
) RETURNS TABLE (customer_id text, ltv float8, rank bigint, tier int, customer_share float8, revenue_share float8, contact boolean)
LANGUAGE sql
AS $$ SELECT * FROM ltv.segment(model, ltv.given_query(query), shares, id_column, version, budget, cost_per_contact, margin) $$;
COMMENT ON FUNCTION @extschema@.ltv_segment IS 'customers ranked by predicted value, in tiers, and whom to contact within a budget';

CREATE FUNCTION ltv.segment_summary(model text, query text, shares float8[], id_column text, version int)
RETURNS TABLE (tier int, customers bigint, expected_revenue float8, revenue_share float8, mean_ltv float8, lowest_ltv float8, highest_ltv float8)
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.tier, count(*), sum(s.ltv), sum(s.ltv) / NULLIF(sum(sum(s.ltv)) OVER (), 0), avg(s.ltv), min(s.ltv), max(s.ltv)
    FROM ltv.segment(model, query, shares, id_column, version, NULL, NULL, 1) s GROUP BY s.tier ORDER BY s.tier
$$;
COMMENT ON FUNCTION ltv.segment_summary IS 'see ltv_segment_summary; the query is bound';

CREATE FUNCTION @extschema@.ltv_segment_summary(model text, query text, shares float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}',
                                                id_column text DEFAULT 'customer_id', version int DEFAULT NULL)
RETURNS TABLE (tier int, customers bigint, expected_revenue float8, revenue_share float8, mean_ltv float8, lowest_ltv float8, highest_ltv float8)
LANGUAGE sql
AS $$ SELECT * FROM ltv.segment_summary(model, ltv.given_query(query), shares, id_column, version) $$;
COMMENT ON FUNCTION @extschema@.ltv_segment_summary IS 'the tiers of ltv_segment with their expected revenue';

-- The summary that BTYD models are fitted to: repeat purchases, time from the first to the last one, time from the first one
-- to the cut-off, mean value of the repeat purchases (0 without any), times in units of so many days.
CREATE FUNCTION @extschema@.ltv_rfm_summary(source text, customer_id_column text DEFAULT 'customer_id', date_column text DEFAULT NULL,
                                            value_column text DEFAULT NULL, as_of ltv.cutoffs DEFAULT NULL, days_per_unit float8 DEFAULT 1,
                                            time_zone text DEFAULT 'UTC')
RETURNS TABLE (customer_id text, frequency int, recency float8, t float8, monetary_value float8)
LANGUAGE plpgsql
AS $$
DECLARE
    spec jsonb := ltv.order_log(source, customer_id_column, date_column, value_column, time_zone);
    cutoffs text;
BEGIN
    spec := ltv.with_cutoffs(spec || '{"horizon": "1 day"}', as_of);
    IF days_per_unit > 0 IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'days_per_unit must be greater than 0', HINT = 'For example 7, to count in weeks.';
    ELSIF pg_catalog.jsonb_array_length(spec -> 'as_of') <> 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of must be one cut-off', HINT = 'Call it once per cut-off.';
    END IF;
    SELECT pg_catalog.format('(VALUES %s) k (as_of, as_of_day, until)', c.row_text) INTO cutoffs FROM ltv.features_cutoffs(spec) c;
    RETURN QUERY EXECUTE pg_catalog.format($sql$
        SELECT d.customer::text, (pg_catalog.count(*) - 1)::int, (pg_catalog.max(d.day) - pg_catalog.min(d.day)) / $1, (d.as_of_day - pg_catalog.min(d.day)) / $1,
               COALESCE((pg_catalog.sum(d.net) - (pg_catalog.min(ARRAY[d.day - DATE '2000-01-01', d.net]))[2]) / NULLIF(pg_catalog.count(*) - 1, 0), 0)::float8
        FROM (SELECT s.customer, s.day, k.as_of_day, pg_catalog.sum(s.amount) AS net FROM %s JOIN %s ON %s <= k.as_of
              GROUP BY s.customer, s.day, k.as_of_day HAVING pg_catalog.sum(s.amount) > 0) d
        GROUP BY d.customer, d.as_of_day ORDER BY 1$sql$,
        ltv.features_orders(spec), cutoffs, CASE spec ->> 'unit' WHEN 'day' THEN 's.day' ELSE 's.ts' END)
    USING days_per_unit;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_rfm_summary IS 'frequency, recency, T and monetary value of each customer, as BTYD models want them';
