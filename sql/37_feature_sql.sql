-- The SELECT behind a relation of features, for those who make it elsewhere: in plain SQL, without pg_ltv, where the
-- features are of orders and attributes only.

CREATE FUNCTION ltv.plain_features_query(definition jsonb, context ltv.features_context) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    orders text := ltv.features_orders(definition, context.today);
    cutoffs text;
    windows text;
    window_aggregates text;
    attributes text;
    attribute_join text;
    extra text;
    extra_sums text;
    step_values text;
    by_day text;
    steps int := definition #>> '{sequence,steps}';
BEGIN
    SELECT format('(VALUES %s) k (as_of, as_of_day, until)', string_agg(c.row_text, ', ' ORDER BY c.as_of_day, c.as_of))
    INTO cutoffs FROM ltv.features_cutoffs(definition) c;

    SELECT string_agg(format(E',\n       c.count_%s, c.sum_%1$s', w), '' ORDER BY i), string_agg(format($sql$,
             (pg_catalog.count(*) FILTER (WHERE d.bought AND d.age < %s))::int AS count_%1$s,
             COALESCE(pg_catalog.sum(d.net) FILTER (WHERE d.bought AND d.age < %1$s), 0)::double precision
                 AS sum_%1$s$sql$, w),
                      '' ORDER BY i)
    INTO windows, window_aggregates FROM jsonb_array_elements_text(definition -> 'windows') WITH ORDINALITY AS x(w, i);

    IF definition ->> 'attributes' IS NOT NULL THEN
        SELECT string_agg(format(E',\n       a.%I', n), '' ORDER BY i) INTO attributes
        FROM jsonb_array_elements_text(definition -> 'attribute_columns') WITH ORDINALITY AS x(n, i);
        attribute_join := format(E'\nLEFT JOIN (%s\n) a ON %s', definition ->> 'attributes',
                                 ltv.attribute_match(definition, 'c.customer'));
    END IF;

    SELECT string_agg(', s.x' || i, '' ORDER BY i),
           string_agg(format(', COALESCE(pg_catalog.sum(s.x%s), 0) AS x%1$s', i), '' ORDER BY i),
           string_agg(', d.x' || i, '' ORDER BY i)
    INTO extra, extra_sums, step_values
    FROM jsonb_array_elements_text(definition #> '{sequence,columns}') WITH ORDINALITY AS x(c, i);

    by_day := CASE definition ->> 'unit'
        -- Days cannot be cut, so orders are summed once for all cut-offs.
        WHEN 'day' THEN $sql$
                  SELECT k.as_of, k.as_of_day, k.until, s.customer, s.day, s.net{extra}, s.day <= k.as_of AS seen
                  FROM (SELECT s.customer, s.day, pg_catalog.sum(s.amount) AS net{extra_sums}
                        FROM {orders} GROUP BY s.customer, s.day) s
                  JOIN {cutoffs} ON s.day <= k.until$sql$
        ELSE $sql$SELECT k.as_of, k.as_of_day, k.until, s.customer, s.day, pg_catalog.sum(s.amount) AS net{extra_sums},
                         s.ts <= k.as_of AS seen
                  FROM {orders} JOIN {cutoffs} ON s.ts <= k.until
                  GROUP BY k.as_of, k.as_of_day, k.until, s.customer, s.day, s.ts <= k.as_of$sql$ END;

    RETURN ltv.fill_in($sql$
SELECT c.customer AS {id}, c.as_of,
       c.as_of_day - c.last_day AS recency,
       c.n - 1 AS frequency,
       c.as_of_day - c.first_day AS t,
       (pg_catalog.round(c.total, 40) / c.n::numeric)::double precision AS monetary_mean,
       c.largest AS monetary_max,
       c.deviation AS monetary_std,
       c.last[2] AS monetary_last{windows},
       CASE WHEN c.n > 1 THEN (c.last_day - c.first_day)::double precision / (c.n - 1)::double precision
            ELSE -1 END AS mean_interpurchase,
       extract(month FROM c.first_day)::int AS first_month,
       c.first[2] AS first_amount{attributes}{spend_sequence},
       CASE WHEN c.until <= {log_end} THEN greatest(c.spent, 0)::double precision END AS ltv
FROM (SELECT d.customer, d.as_of, d.as_of_day, d.until,
             pg_catalog.min(d.day) FILTER (WHERE d.bought) AS first_day,
             pg_catalog.max(d.day) FILTER (WHERE d.bought) AS last_day,
             (pg_catalog.count(*) FILTER (WHERE d.bought))::int AS n,
             pg_catalog.sum(d.net) FILTER (WHERE d.bought) AS total,
             (pg_catalog.max(d.net) FILTER (WHERE d.bought))::double precision AS largest,
             COALESCE(pg_catalog.stddev_samp(d.net) FILTER (WHERE d.bought), 0)::double precision AS deviation,
             pg_catalog.min(ARRAY[-d.age, d.net]::double precision[]) FILTER (WHERE d.bought) AS first,
             pg_catalog.max(ARRAY[-d.age, d.net]::double precision[]) FILTER (WHERE d.bought) AS last,
             pg_catalog.sum(d.net) FILTER (WHERE NOT d.seen) AS spent{window_aggregates}{step_arrays}
      FROM (SELECT s.*, s.seen AND s.net > 0::numeric AS bought, s.as_of_day - s.day AS age
            FROM ({by_day}) s) d
      GROUP BY d.customer, d.as_of, d.as_of_day, d.until
      HAVING pg_catalog.count(*) FILTER (WHERE d.bought) > 0) c{attribute_join}$sql$, jsonb_build_object(
        'id', quote_ident(definition ->> 'customer_id_column'),
        'windows', windows, 'window_aggregates', window_aggregates,
        'attributes', attributes, 'attribute_join', attribute_join, 'log_end', context.log_end,
        'spend_sequence', E',\n       c.steps[greatest(1, c.n - ' || steps - 1 || '):] AS spend_sequence',
        'step_arrays', CASE WHEN steps IS NOT NULL THEN ltv.fill_in($sql$,
             pg_catalog.array_agg(ARRAY[d.net, d.age{values}]::real[] ORDER BY d.day)
                 FILTER (WHERE d.bought) AS steps$sql$,
                                                                    jsonb_build_object('values', step_values)) END,
        'by_day', ltv.fill_in(by_day, jsonb_build_object(
            'orders', orders, 'cutoffs', cutoffs, 'extra', extra, 'extra_sums', extra_sums))));
END
$$;
COMMENT ON FUNCTION ltv.plain_features_query IS 'the features of a definition in SQL that needs no pg_ltv';

-- Runs as the owner of the relation.
CREATE FUNCTION ltv.written_feature_sql(argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.current_sources(argument ->> 'name', argument -> 'definition')
        || jsonb_build_object('materialized', false);
    context ltv.features_context;
BEGIN
    -- As of a view, which asks for the day and for the end of the log whenever it is read.
    context.log_end := ltv.known_log_end(spec, NULL);
    IF num_nonnulls(spec ->> 'customers', spec ->> 'age', spec ->> 'events', spec ->> 'attributes_date_column',
                    spec ->> 'horizons', spec #>> '{sequence,grid}', NULLIF(spec -> 'returns', 'false')) > 0 THEN
        RETURN to_jsonb(ltv.features_query(spec, context));
    END IF;
    -- The types beside an operator are exactly those of one in pg_catalog, so that nothing is lost without the schema.
    RETURN to_jsonb(replace(ltv.plain_features_query(spec, context), 'pg_catalog.', ''));
END
$$;
COMMENT ON FUNCTION ltv.written_feature_sql IS 'see ltv_feature_sql';

CREATE FUNCTION ltv.feature_sql(features regclass) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.feature_definition(features);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = features);
BEGIN
    IF features IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name of the relation must not be null',
            HINT = 'Name features made by ltv_create_features.';
    ELSIF spec IS NULL AND ltv.feature_facts(features) IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', features),
            DETAIL = format('It belongs to role "%s".', owner);
    ELSIF spec IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('%s was not made by ltv_create_features', features),
            HINT = 'Only the SELECT of features whose definition is known can be given.';
    END IF;
    RETURN ltv.run_as(owner, NULL, NULL, 'SELECT ltv.written_feature_sql($2)', jsonb_build_object(
        'name', ltv.qualified_name(features), 'definition', spec)) #>> '{}';
END
$$;
COMMENT ON FUNCTION ltv.feature_sql(regclass) IS 'see ltv_feature_sql';

CREATE FUNCTION ltv.feature_sql(features text) RETURNS text
LANGUAGE sql
AS $$ SELECT ltv.feature_sql(ltv.bind_relation(features)) $$;
COMMENT ON FUNCTION ltv.feature_sql(text) IS 'see ltv_feature_sql';

CREATE FUNCTION @extschema@.ltv_feature_sql(features text) RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_feature_sql
    IS 'the SELECT behind a relation of features, for dbt and other engines';
