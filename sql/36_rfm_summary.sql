-- The summary that BTYD models are fitted to: repeat purchases, time from the first to the last one, time from the
-- first one to the cut-off, mean value of the repeat purchases (0 without any), times in units of so many days.

CREATE FUNCTION ltv.rfm_summary(
    source text, source_relation regclass, given text, customer_id_column text, date_column text, value_column text,
    as_of ltv.cutoffs, days_per_unit float8, time_zone text, path text
)
RETURNS TABLE (customer_id text, frequency int, recency float8, t float8, monetary_value float8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    today date;
    spec jsonb;
    cutoffs text;
    statement text;
BEGIN
    PERFORM ltv.check_given(source, customer_id_column, date_column, value_column, time_zone);
    IF days_per_unit > 0 IS NOT TRUE OR days_per_unit = 'infinity' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'days_per_unit must be greater than 0',
            HINT = 'For example 7, to count in weeks.';
    END IF;
    today := (now() AT TIME ZONE time_zone)::date;
    spec := ltv.with_sources(jsonb_build_object(
        'source', source, 'source_relation', ltv.qualified_name(source_relation),
        'customer_id_column', customer_id_column, 'date_column', date_column, 'value_column', value_column,
        'time_zone', time_zone, 'search_path', path, 'horizon', '1 day'));
    spec := spec || jsonb_build_object('temporary', ltv.temporary_source(spec) IS NOT NULL);
    spec := ltv.order_log(spec, 'ltv_rfm_summary', given, jsonb_build_array(
        jsonb_build_array('customer_id_column', NULLIF(customer_id_column, 'customer_id')),
        jsonb_build_array('date_column', date_column),
        jsonb_build_array('value_column', value_column), jsonb_build_array('as_of', as_of),
        jsonb_build_array('days_per_unit', NULLIF(days_per_unit, 1)::text),
        jsonb_build_array('time_zone', NULLIF(time_zone, 'UTC'))));
    spec := ltv.with_cutoffs(spec, as_of);
    IF jsonb_array_length(spec -> 'as_of') <> 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of must be one cut-off', HINT = 'Call it once per cut-off.';
    END IF;
    PERFORM ltv.say_left_out(ltv.log_facts(spec, today));
    SELECT format('(VALUES %s) k (as_of, as_of_day, until)', c.row_text) INTO cutoffs FROM ltv.features_cutoffs(spec) c;
    statement := ltv.fill_in($sql$
        SELECT d.customer::text, (pg_catalog.count(*) - 1)::int,
               (pg_catalog.max(d.day) - pg_catalog.min(d.day))::float8 / $1,
               (d.as_of_day - pg_catalog.min(d.day))::float8 / $1,
               COALESCE((pg_catalog.sum(d.net)
                         - (pg_catalog.min(ARRAY[d.day - '2000-01-01'::pg_catalog.date, d.net]))[2])
                        / NULLIF(pg_catalog.count(*) - 1, 0)::numeric, 0)::float8
        FROM (SELECT s.customer, s.day, k.as_of_day, pg_catalog.sum(s.amount) AS net
              FROM {orders} JOIN {cutoffs} ON {moment} <= k.as_of
              GROUP BY s.customer, s.day, k.as_of_day HAVING pg_catalog.sum(s.amount) > 0::numeric) d
        GROUP BY d.customer, d.as_of_day ORDER BY 1$sql$, jsonb_build_object(
            'orders', ltv.features_orders(spec, today), 'cutoffs', cutoffs,
            'moment', CASE spec ->> 'unit' WHEN 'day' THEN 's.day' ELSE 's.ts' END));
    PERFORM set_config('search_path', ltv.run_path(spec), true);
    RETURN QUERY EXECUTE statement USING days_per_unit;
END
$$;
COMMENT ON FUNCTION ltv.rfm_summary IS 'see ltv_rfm_summary';

CREATE FUNCTION ltv.rfm_summary(source text, customer_id_column text, date_column text,
                                            value_column text, as_of ltv.cutoffs, days_per_unit float8,
                                            time_zone text)
RETURNS TABLE (customer_id text, frequency int, recency float8, t float8, monetary_value float8)
LANGUAGE sql
AS $$
    SELECT * FROM ltv.rfm_summary(
        ltv.bind_query(source), ltv.bind_relation(source), source, customer_id_column, date_column, value_column,
        as_of, days_per_unit, time_zone, pg_catalog.current_setting('search_path'))
$$;
COMMENT ON FUNCTION ltv.rfm_summary(text, text, text, text, ltv.cutoffs, float8, text) IS 'see ltv_rfm_summary';

CREATE FUNCTION @extschema@.ltv_rfm_summary(
    source text, customer_id_column text DEFAULT 'customer_id', date_column text DEFAULT NULL,
    value_column text DEFAULT NULL, as_of ltv.cutoffs DEFAULT NULL, days_per_unit float8 DEFAULT 1,
    time_zone text DEFAULT 'UTC'
)
RETURNS TABLE (customer_id text, frequency int, recency float8, t float8, monetary_value float8)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_rfm_summary
    IS 'frequency, recency, T and monetary value of each customer, as BTYD models want them';
