-- Features from orders, as SQL: the SELECT behind a relation of features, made of its definition.
--
-- Everything is one SELECT without volatile functions, so that PostgreSQL can plan and parallelise it. Purchases are
-- customer-days with a positive net amount. Amounts are summed as numeric, because sums of floats depend on the order
-- in which rows arrive, and the same orders must give the same features.
--
-- These texts run in the search_path of who made the features, behind pg_catalog, because functions that his query
-- calls may need it. So that no name of ours can mean anything of his, functions are qualified, and the types beside an
-- operator are exactly those of one in pg_catalog. The test features_path holds that.

CREATE FUNCTION ltv.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE up AS (SELECT $1 AS oid UNION ALL
        SELECT t.typbasetype FROM up JOIN pg_type t ON t.oid = up.oid WHERE t.typtype = 'd')
    SELECT t.oid FROM up JOIN pg_type t ON t.oid = up.oid WHERE t.typtype <> 'd'
$$;
COMMENT ON FUNCTION ltv.base_type IS 'the type under a domain';

-- Which values are the same, by the type's own equality: that of citext is not
-- found by its name in a fixed search_path.
CREATE FUNCTION ltv.equality_operator(type oid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('OPERATOR(%I.%s)', COALESCE(found.nspname, 'pg_catalog'), COALESCE(found.oprname, '='))
    FROM (VALUES (1)) one LEFT JOIN (
        SELECT n.nspname, o.oprname FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
        JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
            AND a.amopstrategy = 3
        JOIN pg_operator o ON o.oid = a.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE c.opcdefault AND c.opcintype = ltv.base_type($1)) found ON true
$$;
COMMENT ON FUNCTION ltv.equality_operator IS 'the operator by which a type tells values apart, as SQL';

-- In one pass, because what is filled in may hold braces itself.
CREATE FUNCTION ltv.fill_in(template text, places jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(p.part[1] || COALESCE(places ->> p.part[2], ''), '' ORDER BY p.i)
    FROM regexp_matches(template, '([^{]*)(?:[{]([a-z_]+)[}])?', 'g') WITH ORDINALITY AS p(part, i)
$$;
COMMENT ON FUNCTION ltv.fill_in IS 'a text with its {places} filled in';

-- Temporary tables come last, so that nobody's take the place of what a query means, unless it reads one itself.
CREATE FUNCTION ltv.run_path(definition jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ', 'pg_catalog', CASE WHEN definition -> 'temporary' = 'true' THEN 'pg_temp' END,
                     NULLIF(definition ->> 'search_path', ''), 'pg_temp')
$$;
COMMENT ON FUNCTION ltv.run_path IS 'the search_path that statements of a definition run in';

CREATE FUNCTION ltv.with_cutoffs(definition jsonb, as_of ltv.cutoffs) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT definition || jsonb_build_object('unit', CASE WHEN cardinality(c.days) > 0 THEN 'day' ELSE 'instant' END,
        'as_of', CASE WHEN cardinality(c.days) > 0 THEN to_jsonb(c.days) ELSE to_jsonb(c.instants) END)
    FROM ltv.parse_cutoffs(as_of, definition ->> 'time_zone') c
$$;
COMMENT ON FUNCTION ltv.with_cutoffs IS 'a definition of features for other cut-offs';

CREATE FUNCTION ltv.own_cutoffs(definition jsonb) RETURNS ltv.cutoffs
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT jsonb_array_elements_text(definition -> 'as_of'))::ltv.cutoffs $$;
COMMENT ON FUNCTION ltv.own_cutoffs IS 'the cut-offs of a definition of features as an argument';

-- The days or instants of a definition with the ends of their horizons, also as rows of a VALUES list.
CREATE FUNCTION ltv.features_cutoffs(definition jsonb)
RETURNS TABLE (as_of text, as_of_day date, until_day date, until text, row_text text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres
AS $$
    SELECT a.as_of, d.as_of_day, d.until_day, u.until,
           format(CASE definition ->> 'unit'
                       WHEN 'day' THEN '(%L::pg_catalog.date, %L::pg_catalog.date, %L::pg_catalog.date)'
                       ELSE '(%L::pg_catalog.timestamptz, %L::pg_catalog.date, %L::pg_catalog.timestamptz)' END,
                  a.as_of, d.as_of_day, u.until)
    FROM jsonb_array_elements_text(definition -> 'as_of') a(as_of),
         LATERAL (SELECT definition ->> 'time_zone' AS zone, (definition ->> 'horizon')::interval AS horizon) z,
         LATERAL (SELECT CASE definition ->> 'unit' WHEN 'day' THEN a.as_of::timestamp
                         ELSE a.as_of::timestamptz AT TIME ZONE z.zone END AS local) l,
         LATERAL (SELECT l.local::date AS as_of_day, (l.local + z.horizon)::date AS until_day) d,
         LATERAL (SELECT CASE definition ->> 'unit' WHEN 'day' THEN d.until_day::text
                         ELSE ((l.local + z.horizon) AT TIME ZONE z.zone)::text END AS until) u
$$;
COMMENT ON FUNCTION ltv.features_cutoffs IS 'the cut-offs of a definition of features and the ends of their horizons';

-- SQL for the orders, cleaned: rows without customer, date or finite amount are left out, and so are rows that cannot
-- be orders because their day is yet to come, or is the first one of computers' time or earlier, as placeholders are.
-- Where today is null, it is the day on which the statement runs.
CREATE FUNCTION ltv.features_orders(definition jsonb, today date, with_impossible boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    places jsonb := jsonb_build_object(
        'id', format('o.%I', definition ->> 'customer_id_column'),
        'date', format('o.%I::pg_catalog.%I', definition ->> 'date_column', definition ->> 'date_type'),
        'value', format('o.%I', definition ->> 'value_column'),
        'zone', quote_literal(definition ->> 'time_zone'),
        'source', definition ->> 'source');
    day text;
    ts text;
    first text;
    beyond text;
    extra text;
BEGIN
    places := places || jsonb_build_object('tomorrow',
        CASE WHEN today IS NOT NULL THEN format('(%L::pg_catalog.date + 1)', today)
             ELSE ltv.fill_in('((pg_catalog.now() AT TIME ZONE {zone})::pg_catalog.date + 1)', places) END);
    -- An order known only by its day is known to have happened at the end of that day.
    CASE definition ->> 'date_type'
        WHEN 'date' THEN
            day := '{date}';
            ts := '({date} + 1)::timestamp AT TIME ZONE {zone}';
            first := $q$'1970-01-02'::pg_catalog.date$q$;
            beyond := '{tomorrow}';
        WHEN 'timestamp' THEN
            day := '{date}::pg_catalog.date';
            ts := '{date} AT TIME ZONE {zone}';
            first := $q$'1970-01-02'::timestamp$q$;
            beyond := '{tomorrow}::timestamp';
        ELSE
            day := '({date} AT TIME ZONE {zone})::pg_catalog.date';
            ts := '{date}';
            first := $q$'1970-01-02'::timestamp AT TIME ZONE {zone}$q$;
            beyond := '{tomorrow}::timestamp AT TIME ZONE {zone}';
    END CASE;
    -- A subquery is computed once, and not once per order.
    beyond := CASE WHEN today IS NULL THEN format('(SELECT %s)', beyond) ELSE beyond END;
    SELECT string_agg(format(', o.%I::numeric AS x%s', c, i), '' ORDER BY i) INTO extra
    FROM jsonb_array_elements_text(definition #> '{sequence,columns}') WITH ORDINALITY AS x(c, i);
    places := places || jsonb_build_object(
        'day', ltv.fill_in(day, places), 'ts', ltv.fill_in(ts, places), 'extra', extra,
        'possible', ltv.fill_in(CASE WHEN with_impossible THEN '{date} IS NOT NULL'
                                ELSE format('{date} >= %s AND {date} < %s', first, beyond) END, places),
        -- Only these types have infinities (and NaN, which is greater).
        'known', ltv.fill_in(CASE WHEN definition ->> 'value_type' IN ('real', 'double precision', 'numeric')
            THEN $q${value} > '-infinity' AND {value} < 'infinity'$q$ ELSE '{value} IS NOT NULL' END, places));
    RETURN ltv.fill_in($q$(SELECT {id} AS customer, {day} AS day, {ts} AS ts, {value}::numeric AS amount{extra}
             FROM ({source}
             ) o
             WHERE {id} IS NOT NULL AND {possible} AND {known}) s$q$, places);
END
$$;
COMMENT ON FUNCTION ltv.features_orders IS 'the order log of a definition of features, as SQL';

-- The end that was given: a day is complete to its end; an instant completes the
-- days before it. Neither lies after today.
CREATE FUNCTION ltv.log_end(definition jsonb, OUT day date, OUT instant timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.day IS NOT NULL THEN least(e.day, z.today)
                WHEN e.instant IS NOT NULL THEN (least(e.instant, now()) AT TIME ZONE z.zone)::date - 1 END,
           CASE WHEN e.day IS NOT NULL THEN (least(e.day, z.today) + 1)::timestamp AT TIME ZONE z.zone
                WHEN e.instant IS NOT NULL THEN least(e.instant, now()) END
    FROM (SELECT definition ->> 'time_zone' AS zone,
                 (now() AT TIME ZONE (definition ->> 'time_zone'))::date AS today) z,
         ltv.parse_cutoff(definition ->> 'log_end', definition ->> 'time_zone', 'log_end') e
$$;
COMMENT ON FUNCTION ltv.log_end IS 'the end of the log as a definition of features gives it; null where it is left out';

-- What a statement of features is told beside the definition: which day it is (null for a view, which asks anew
-- whenever it is read), where the log ends, and how the ids of attributes are compared. The last two are SQL.
CREATE TYPE ltv.features_context AS (today date, log_end text, id_match text);

CREATE FUNCTION ltv.features_query(definition jsonb, context ltv.features_context) RETURNS text
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
        attribute_join := format(E'\nLEFT JOIN (%s\n) a ON %s', definition ->> 'attributes', context.id_match);
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
       (c.total / c.n::numeric)::double precision AS monetary_mean,
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
COMMENT ON FUNCTION ltv.features_query IS 'the SELECT that computes the features of a definition';
