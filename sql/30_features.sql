-- Features from orders: ltv_create_features makes a table or view with one row per customer and cut-off, and
-- ltv_refresh_features makes it again for another day.
--
-- Everything is one SELECT without volatile functions, so that PostgreSQL can plan and parallelise it. Purchases are
-- customer-days with a positive net amount. Amounts are summed as numeric, because sums of floats depend on the order
-- in which rows arrive, and the same orders must give the same features.

CREATE FUNCTION ltv.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE up AS (SELECT $1 AS oid UNION ALL
        SELECT t.typbasetype FROM up JOIN pg_type t ON t.oid = up.oid WHERE t.typtype = 'd')
    SELECT t.oid FROM up JOIN pg_type t ON t.oid = up.oid WHERE t.typtype <> 'd'
$$;
COMMENT ON FUNCTION ltv.base_type IS 'the type under a domain';

CREATE FUNCTION ltv.with_cutoffs(definition jsonb, as_of ltv.cutoffs) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT definition || jsonb_build_object('unit', CASE WHEN cardinality(c.days) > 0 THEN 'day' ELSE 'instant' END,
        'as_of', CASE WHEN cardinality(c.days) > 0 THEN to_jsonb(c.days) ELSE to_jsonb(c.instants) END)
    FROM ltv.parse_cutoffs(as_of, definition ->> 'time_zone') c
$$;
COMMENT ON FUNCTION ltv.with_cutoffs IS 'a definition of features for other cut-offs';

-- The days or instants of a definition with the ends of their horizons, as the rows of a VALUES list.
CREATE FUNCTION ltv.features_cutoffs(definition jsonb) RETURNS TABLE (as_of text, as_of_day date, until_day date, row_text text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres
AS $$
    SELECT a.as_of, d.as_of_day, d.until_day,
           CASE definition ->> 'unit' WHEN 'day' THEN format('(DATE %L, DATE %L, DATE %L)', d.as_of_day, d.as_of_day, d.until_day)
           ELSE format('(TIMESTAMPTZ %L, DATE %L, TIMESTAMPTZ %L)', a.as_of, d.as_of_day,
               (a.as_of::timestamptz AT TIME ZONE z.zone + z.horizon) AT TIME ZONE z.zone) END
    FROM jsonb_array_elements_text(definition -> 'as_of') a(as_of),
         LATERAL (SELECT definition ->> 'time_zone' AS zone, (definition ->> 'horizon')::interval AS horizon) z,
         LATERAL (SELECT CASE definition ->> 'unit' WHEN 'day' THEN a.as_of::timestamp
                         ELSE a.as_of::timestamptz AT TIME ZONE z.zone END AS local) l,
         LATERAL (SELECT l.local::date AS as_of_day, (l.local + z.horizon)::date AS until_day) d
$$;
COMMENT ON FUNCTION ltv.features_cutoffs IS 'the cut-offs of a definition of features and the ends of their horizons';

-- SECURITY DEFINER because a definition is its owner's, while whoever may read the features may train on them.
CREATE FUNCTION ltv.features_horizon(relations oid[]) RETURNS float8
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN count(DISTINCT h.days) = 1 THEN max(h.days) END
    FROM (SELECT (SELECT max(c.until_day - c.as_of_day) FROM ltv.features_cutoffs(f.definition) c)::float8 AS days
          FROM ltv.feature_definitions f WHERE f.relation = ANY (relations)) h
$$;
COMMENT ON FUNCTION ltv.features_horizon IS 'the days that the features among some relations look ahead, if all look equally far';

CREATE FUNCTION ltv.features_id_column(relation text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT f.definition ->> 'customer_id_column' FROM ltv.feature_definitions f WHERE f.relation = to_regclass($1) $$;
COMMENT ON FUNCTION ltv.features_id_column IS 'the column that tells the customers of a relation of features apart; NULL for other relations';

-- SQL that yields the instant (or day) up to which the log is known to be complete.
CREATE FUNCTION ltv.features_log_end(definition jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN definition ? 'known_end' THEN definition ->> 'known_end'
        WHEN definition ->> 'unit' = 'day' THEN COALESCE('DATE ' || quote_literal(definition ->> 'log_end'),
            format('(SELECT max(s.day) FROM %s)', ltv.features_orders(definition)))
        ELSE COALESCE('(DATE ' || quote_literal(definition ->> 'log_end') || ' + 1)::timestamp AT TIME ZONE ' || quote_literal(definition ->> 'time_zone'),
            format('(SELECT max(s.ts) FROM %s)', ltv.features_orders(definition))) END
$$;
COMMENT ON FUNCTION ltv.features_log_end IS 'the end of the order log of a definition of features, as SQL';

-- SQL for the orders, cleaned: rows without customer, date or finite amount are left out.
CREATE FUNCTION ltv.features_orders(definition jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    zone text := quote_literal(definition ->> 'time_zone');
    date_column text := format('o.%I', definition ->> 'date_column');
    day text;
    ts text;
    extra text;
    known text;
BEGIN
    -- Only these types have infinities (and NaN, which is greater).
    known := format(CASE WHEN definition ->> 'value_type' IN ('real', 'double precision', 'numeric')
        THEN 'o.%1$I > ''-infinity'' AND o.%1$I < ''infinity''' ELSE 'o.%1$I IS NOT NULL' END, definition ->> 'value_column');
    -- An order known only by its day is known to have happened at the end of that day.
    CASE definition ->> 'date_type'
        WHEN 'date' THEN
            day := date_column || '::date';
            ts := format('(%s::date + 1)::timestamp AT TIME ZONE %s', date_column, zone);
        WHEN 'timestamp' THEN
            day := date_column || '::date';
            ts := format('%s AT TIME ZONE %s', date_column, zone);
        ELSE
            day := format('(%s AT TIME ZONE %s)::date', date_column, zone);
            ts := date_column;
    END CASE;
    SELECT string_agg(format(', o.%I::numeric AS x%s', c, i), '' ORDER BY i) INTO extra
    FROM jsonb_array_elements_text(definition #> '{sequence,columns}') WITH ORDINALITY AS x(c, i);
    RETURN format('(SELECT o.%I AS customer, %s AS day, %s AS ts, o.%I::numeric AS amount%s FROM (%s' || E'\n) o' ||
        ' WHERE o.%1$I IS NOT NULL AND %7$s > ''-infinity'' AND %7$s < ''infinity'' AND %8$s) s',
        definition ->> 'customer_id_column', day, ts, definition ->> 'value_column', COALESCE(extra, ''), definition ->> 'source', date_column, known);
END
$$;
COMMENT ON FUNCTION ltv.features_orders IS 'the order log of a definition of features, as SQL';

CREATE FUNCTION ltv.features_query(definition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    id text := quote_ident(definition ->> 'customer_id_column');
    orders text := ltv.features_orders(definition);
    cutoffs text;
    by_day text;
    windows text;
    window_aggregates text;
    extra text;
    extra_sums text;
    steps int := definition #>> '{sequence,steps}';
    attributes text := '';
    attribute_join text := '';
BEGIN
    SELECT string_agg(c.row_text, ', ' ORDER BY c.as_of_day, c.as_of) INTO cutoffs FROM ltv.features_cutoffs(definition) c;
    cutoffs := format('(VALUES %s) k (as_of, as_of_day, until)', cutoffs);
    SELECT string_agg(', s.x' || i, '' ORDER BY i), string_agg(format(', COALESCE(sum(s.x%s), 0) AS x%s', i, i), '' ORDER BY i)
    INTO extra, extra_sums FROM jsonb_array_elements_text(definition #> '{sequence,columns}') WITH ORDINALITY AS x(c, i);

    IF definition ->> 'unit' = 'day' THEN
        by_day := format('SELECT k.as_of, k.as_of_day, k.until, s.customer, s.day, s.net%s, s.day <= k.as_of AS seen' ||
            ' FROM (SELECT s.customer, s.day, sum(s.amount) AS net%s FROM %s GROUP BY s.customer, s.day) s JOIN %s ON s.day <= k.until',
            extra, extra_sums, orders, cutoffs);
    ELSE
        by_day := format('SELECT k.as_of, k.as_of_day, k.until, s.customer, s.day, sum(s.amount) AS net%s, s.ts <= k.as_of AS seen' ||
            ' FROM %s JOIN %s ON s.ts <= k.until GROUP BY k.as_of, k.as_of_day, k.until, s.customer, s.day, s.ts <= k.as_of',
            extra_sums, orders, cutoffs);
    END IF;

    SELECT string_agg(format(E',\n       c.count_%s, c.sum_%s', w, w), '' ORDER BY i),
           string_agg(format(E',\n             (count(*) FILTER (WHERE d.bought AND d.age < %s))::int AS count_%s' ||
               ', COALESCE(sum(d.net) FILTER (WHERE d.bought AND d.age < %s), 0)::float8 AS sum_%s', w, w, w, w), '' ORDER BY i)
    INTO windows, window_aggregates FROM jsonb_array_elements_text(definition -> 'windows') WITH ORDINALITY AS x(w, i);

    IF definition -> 'attributes' <> 'null' THEN
        SELECT string_agg(format(E',\n       a.%I', n), '' ORDER BY i) INTO attributes
        FROM jsonb_array_elements_text(definition -> 'attribute_columns') WITH ORDINALITY AS x(n, i);
        attribute_join := format(E'\nLEFT JOIN (%s\n) a ON a.%s = c.customer', definition ->> 'attributes', id);
    END IF;

    RETURN 'SELECT c.customer AS ' || id || ', c.as_of,
       c.as_of_day - c.last_day AS recency,
       c.n - 1 AS frequency,
       c.as_of_day - c.first_day AS t,
       (c.total / c.n)::float8 AS monetary_mean,
       c.largest AS monetary_max,
       c.deviation AS monetary_std,
       c.last[2] AS monetary_last' || COALESCE(windows, '') || ',
       CASE WHEN c.n > 1 THEN (c.last_day - c.first_day)::float8 / (c.n - 1) ELSE -1 END AS mean_interpurchase,
       extract(month FROM c.first_day)::int AS first_month,
       c.first[2] AS first_amount' || COALESCE(attributes, '')
        || COALESCE(E',\n       c.steps[greatest(1, c.n - ' || steps - 1 || '):] AS spend_sequence', '') || ',
       CASE WHEN c.until <= ' || ltv.features_log_end(definition) || ' THEN greatest(c.spent, 0)::float8 END AS ltv
FROM (SELECT d.customer, d.as_of, d.as_of_day, d.until,
             min(d.day) FILTER (WHERE d.bought) AS first_day,
             max(d.day) FILTER (WHERE d.bought) AS last_day,
             (count(*) FILTER (WHERE d.bought))::int AS n,
             sum(d.net) FILTER (WHERE d.bought) AS total,
             (max(d.net) FILTER (WHERE d.bought))::float8 AS largest,
             COALESCE(stddev_samp(d.net) FILTER (WHERE d.bought), 0)::float8 AS deviation,
             min(ARRAY[-d.age, d.net]::float8[]) FILTER (WHERE d.bought) AS first,
             max(ARRAY[-d.age, d.net]::float8[]) FILTER (WHERE d.bought) AS last,
             sum(d.net) FILTER (WHERE NOT d.seen) AS spent' || COALESCE(window_aggregates, '')
        || CASE WHEN steps IS NULL THEN '' ELSE format(E',\n             array_agg(ARRAY[d.net, d.age%s]::real[] ORDER BY d.day) FILTER (WHERE d.bought) AS steps',
               replace(COALESCE(extra, ''), 's.', 'd.')) END || '
      FROM (SELECT s.*, s.seen AND s.net > 0 AS bought, s.as_of_day - s.day AS age
            FROM (' || by_day || ') s) d
      GROUP BY d.customer, d.as_of, d.as_of_day, d.until
      HAVING count(*) FILTER (WHERE d.bought) > 0) c' || attribute_join;
END
$$;
COMMENT ON FUNCTION ltv.features_query IS 'the SELECT that computes the features of a definition';

-- Cut-offs to learn from where none is named: the last day whose horizon has ended, the same day of the six months before it, and
-- the day a year before the end of the log, because what is learnt is used from that end on and so seen in its season; of these
-- all that have at least a third of the log up to the last one before them. Names in the source are the caller's.
CREATE FUNCTION ltv.training_cutoffs(definition jsonb) RETURNS ltv.cutoffs
LANGUAGE plpgsql
AS $$
DECLARE
    first_day date;
    last_day date;
    latest date;
    days date[];
BEGIN
    EXECUTE pg_catalog.format('SELECT pg_catalog.min(s.day), COALESCE(%L::date, pg_catalog.max(s.day)) FROM %s',
        definition ->> 'log_end', ltv.features_orders(definition)) INTO first_day, last_day;
    latest := (last_day - (definition ->> 'horizon')::interval)::date;
    IF latest > first_day IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the log is too short for the horizon: there is no cut-off to learn from',
            DETAIL = CASE WHEN first_day IS NULL THEN 'The log is empty.' ELSE pg_catalog.format('The log goes from %s to %s.', first_day, last_day) END,
            HINT = 'Give a shorter horizon, or a cut-off in as_of for features without a label.';
    END IF;
    days := ARRAY(
        WITH monthly AS (SELECT (latest - pg_catalog.make_interval(months => k))::date AS d FROM pg_catalog.generate_series(0, 6) k),
             in_season AS (SELECT (last_day - interval '1 year')::date AS d)
        SELECT c.d FROM (TABLE monthly UNION ALL
                         SELECT i.d FROM in_season i WHERE i.d < latest AND NOT EXISTS (SELECT FROM monthly m WHERE pg_catalog.abs(m.d - i.d) <= 15)) c
        WHERE c.d >= first_day + (latest - first_day) / 3 ORDER BY c.d);
    RAISE NOTICE USING MESSAGE = pg_catalog.format('as_of is left out: cut-offs to learn from are %s', pg_catalog.array_to_string(days, ', ')),
        DETAIL = pg_catalog.format('The log goes from %s to %s; the horizon of each has ended by then.', first_day, last_day);
    RETURN ltv.cutoffs(days);
END
$$;
COMMENT ON FUNCTION ltv.training_cutoffs IS 'the cut-offs of features to train on, chosen by the log and the horizon of a definition';

-- Makes the relation, or fills it again, and says where labels are missing. Runs in the search_path of the definition.
-- There are about as many customer-days as orders: hash tables for them spill or fill the memory, while sorting by
-- customer and day is done by parallel workers and serves both levels of grouping. Compiling the statement would take
-- longer than running it (and the cost of what is switched off makes PostgreSQL believe that it pays).
CREATE FUNCTION ltv.build_features(name text, definition jsonb, again boolean) RETURNS void
LANGUAGE plpgsql SET enable_hashagg = off SET jit = off
AS $$
DECLARE
    zone text := definition ->> 'time_zone';
    unit text := CASE definition ->> 'unit' WHEN 'day' THEN 'date' ELSE 'timestamptz' END;
    known_end text;
    last_day date;
    first_future date;
    open_cutoffs text;
    cutoffs bigint;
    unfinished bigint;
    filled bigint;
BEGIN
    EXECUTE pg_catalog.format('SELECT e::text, CASE WHEN %L = ''date'' THEN e::date ELSE (e::timestamptz AT TIME ZONE %L)::date END'
        ' FROM (SELECT %s AS e) e', unit, zone, ltv.features_log_end(definition)) INTO known_end, last_day;
    SELECT pg_catalog.min(c.as_of_day) INTO first_future FROM ltv.features_cutoffs(definition) c
    WHERE c.as_of_day > (pg_catalog.now() AT TIME ZONE zone)::date AND (last_day IS NULL OR c.as_of_day > last_day);
    IF first_future IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = pg_catalog.format('the cut-off %s lies in the future', first_future),
            DETAIL = pg_catalog.format('The log ends on %s.', COALESCE(last_day::text, 'no day, it is empty')),
            HINT = 'Features can only be made of what has happened; give an earlier as_of.';
    END IF;
    SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE c.until_day > last_day IS NOT FALSE),
           pg_catalog.string_agg(c.as_of_day::text, ', ' ORDER BY c.as_of_day) FILTER (WHERE c.until_day > last_day IS NOT FALSE)
    INTO cutoffs, unfinished, open_cutoffs FROM ltv.features_cutoffs(definition) c;

    IF (definition -> 'materialized')::boolean THEN
        -- The end of the log is known now, so that the statement need not look for it.
        IF known_end IS NOT NULL THEN
            definition := definition || pg_catalog.jsonb_build_object('known_end', pg_catalog.format('%s %L', unit, known_end));
        END IF;
        IF again THEN
            EXECUTE 'LOCK TABLE ' || name || ' IN SHARE ROW EXCLUSIVE MODE';
            EXECUTE 'DELETE FROM ' || name;
            EXECUTE pg_catalog.format('INSERT INTO %s %s ORDER BY 1, 2', name, ltv.features_query(definition));
        ELSE
            EXECUTE pg_catalog.format('CREATE TABLE %s AS %s ORDER BY 1, 2', name, ltv.features_query(definition));
        END IF;
        GET DIAGNOSTICS filled = ROW_COUNT;
        EXECUTE 'ANALYZE ' || name;
        IF filled = 0 THEN
            RAISE NOTICE USING MESSAGE = pg_catalog.format('%s is empty: no customer had bought anything by the cut-off', name);
        END IF;
    ELSE
        EXECUTE pg_catalog.format('CREATE %s VIEW %s AS %s', CASE WHEN again THEN 'OR REPLACE' END, name, ltv.features_query(definition));
    END IF;
    IF unfinished > 0 THEN
        RAISE NOTICE USING MESSAGE = CASE WHEN cutoffs = 1 THEN 'the log ends before the horizon does: ltv is null'
                ELSE pg_catalog.format('the log ends before the horizon of %s of %s cut-offs does: their ltv is null', unfinished, cutoffs) END,
            DETAIL = pg_catalog.format('The log ends on %s. Cut-offs with an unfinished horizon: %s.', COALESCE(last_day::text, 'no day, it is empty'), open_cutoffs);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.build_features IS 'makes or refills a relation of features';

-- Names in the source mean what they meant when the features were first made; leaving the function restores the path.
CREATE FUNCTION ltv.rebuild_features(name text, definition jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('search_path', definition ->> 'search_path', true);
    PERFORM ltv.build_features(name, definition, true);
END
$$;
COMMENT ON FUNCTION ltv.rebuild_features IS 'refills a relation of features in the search_path it was made in';

-- A definition outlives its relation when that is simply dropped; a new relation of that name may replace it.
CREATE FUNCTION ltv.forget_features(name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ DELETE FROM ltv.feature_definitions f WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = f.relation) $$;
COMMENT ON FUNCTION ltv.forget_features IS 'forgets the definition of features whose relation is gone';

-- The part of a definition that says where the orders are. Names are the caller's, hence no search_path of its own.
CREATE FUNCTION ltv.order_log(source text, customer_id_column text, date_column text, value_column text, time_zone text, channels text[] DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    log text;
    log_columns record;
    date_type text;
    channel text;
    column_type oid;
    value_type regtype;
BEGIN
    IF source IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the source must not be null', HINT = 'Give the table of orders, or a query.';
    ELSIF customer_id_column IS NULL OR date_column IS NULL OR value_column IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = pg_catalog.format('the %s must be given', CASE WHEN customer_id_column IS NULL THEN 'customer_id_column'
                WHEN date_column IS NULL THEN 'date_column' ELSE 'value_column' END),
            HINT = 'For example customer_id_column => ''customer_id'', date_column => ''ordered_at'', value_column => ''amount''.';
    ELSIF time_zone IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the time_zone must not be null', HINT = 'Days are cut in it; the default is UTC.';
    END IF;
    log := ltv.query_text(source);
    log_columns := ltv.query_columns(log);
    PERFORM ltv.check_column(log_columns.names, customer_id_column, 'customer_id_column');
    date_type := CASE ltv.base_type(log_columns.types[ltv.check_column(log_columns.names, date_column, 'date_column')])
        WHEN 'date'::pg_catalog.regtype THEN 'date' WHEN 'timestamp'::pg_catalog.regtype THEN 'timestamp'
        WHEN 'timestamptz'::pg_catalog.regtype THEN 'timestamptz' END;
    IF date_type IS NULL THEN
        RAISE datatype_mismatch USING MESSAGE = pg_catalog.format('the date column "%s" is neither a date nor a timestamp', date_column),
            HINT = 'Cast it in a query: source => ''SELECT ..., ordered_on::date FROM ...''.';
    END IF;
    FOREACH channel IN ARRAY value_column || channels LOOP
        column_type := log_columns.types[ltv.check_column(log_columns.names, channel,
            CASE channel WHEN value_column THEN 'value_column' ELSE 'sequence' END)];
        IF (SELECT typcategory FROM pg_catalog.pg_type WHERE oid = column_type) <> 'N' THEN
            RAISE datatype_mismatch USING MESSAGE = pg_catalog.format('the column "%s" is not numeric', channel),
                HINT = 'Cast it in a query: source => ''SELECT ..., amount::numeric FROM ...''.';
        END IF;
        -- The value column comes first.
        value_type := COALESCE(value_type, ltv.base_type(column_type));
    END LOOP;
    RETURN pg_catalog.jsonb_build_object('source', log, 'customer_id_column', customer_id_column, 'date_column', date_column,
        'date_type', date_type, 'value_column', value_column, 'value_type', value_type, 'time_zone', time_zone);
END
$$;
COMMENT ON FUNCTION ltv.order_log IS 'the part of a definition of features that says where the orders are';

CREATE FUNCTION @extschema@.ltv_create_features(
    name               text,
    source             text,
    customer_id_column text DEFAULT 'customer_id',
    date_column        text DEFAULT NULL,
    value_column       text DEFAULT NULL,
    as_of              ltv.cutoffs DEFAULT NULL,
    horizon            ltv.horizon DEFAULT NULL,
    attributes         text DEFAULT NULL,
    windows            int[] DEFAULT '{7,30,90}',
    sequence           ltv.channels DEFAULT NULL,
    materialized       boolean DEFAULT true,
    time_zone          text DEFAULT 'UTC',
    log_end            date DEFAULT NULL
) RETURNS regclass
LANGUAGE plpgsql
AS $$
DECLARE
    made text := ltv.new_relation(name);
    extra record;
    extra_columns text[];
    repeated text;
    channels text[] := ltv.parse_channels(sequence);
    spec jsonb;
BEGIN
    IF windows IS NULL OR pg_catalog.array_position(windows, NULL) IS NOT NULL OR 0 >= ANY (windows) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'windows must be numbers of days greater than 0',
            HINT = 'For example windows => ''{7,30,90}''; an empty array makes none.';
    ELSIF materialized IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'materialized must be true, for a table, or false, for a view';
    END IF;
    spec := ltv.order_log(source, customer_id_column, date_column, value_column, time_zone, channels) || pg_catalog.jsonb_build_object(
        'horizon', ltv.parse_horizon(horizon), 'windows', ARRAY(SELECT DISTINCT w FROM pg_catalog.unnest(windows) w ORDER BY w),
        'sequence', CASE WHEN channels IS NOT NULL THEN pg_catalog.jsonb_build_object('columns', channels, 'steps', 64) END,
        'materialized', materialized, 'log_end', log_end, 'search_path', pg_catalog.current_setting('search_path'), 'attributes', NULL);
    spec := ltv.with_cutoffs(spec, COALESCE(as_of, ltv.training_cutoffs(spec)));

    IF attributes IS NOT NULL THEN
        attributes := ltv.query_text(attributes);
        extra := ltv.query_columns(attributes);
        PERFORM ltv.check_column(extra.names, customer_id_column, 'customer_id_column, which attributes must have too');
        extra_columns := pg_catalog.array_remove(extra.names, customer_id_column);
        SELECT c INTO repeated FROM pg_catalog.unnest(extra_columns) c
        WHERE c IN ('as_of', 'recency', 'frequency', 't', 'monetary_mean', 'monetary_max', 'monetary_std', 'monetary_last',
                    'mean_interpurchase', 'first_month', 'first_amount', 'spend_sequence', 'ltv')
           OR c IN (SELECT pg_catalog.unnest(ARRAY['count_' || w, 'sum_' || w]) FROM pg_catalog.unnest(windows) w) LIMIT 1;
        IF FOUND THEN
            RAISE duplicate_column USING MESSAGE = pg_catalog.format('the attribute "%s" has the name of a feature', repeated),
                HINT = 'Rename it in a query: attributes => ''SELECT customer_id, x AS my_x FROM ...''.';
        END IF;
        EXECUTE pg_catalog.format('SELECT a.%1$I::text FROM (%2$s' || E'
) a WHERE a.%1$I IS NOT NULL GROUP BY a.%1$I HAVING pg_catalog.count(*) > 1 LIMIT 1',
            customer_id_column, attributes) INTO repeated;
        IF repeated IS NOT NULL THEN
            RAISE cardinality_violation USING MESSAGE = pg_catalog.format('attributes has more than one row for customer "%s"', repeated),
                HINT = 'Give one row per customer, for example with SELECT DISTINCT ON.';
        END IF;
        spec := spec || pg_catalog.jsonb_build_object('attributes', attributes, 'attribute_columns', extra_columns);
    END IF;

    PERFORM ltv.forget_features(made);
    PERFORM ltv.build_features(made, spec, false);
    INSERT INTO ltv.feature_definitions AS f (relation, definition) VALUES (made::pg_catalog.regclass, spec);
    RETURN made::pg_catalog.regclass;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_create_features IS 'makes a table or view of point-in-time features, and the label ltv, from orders';

CREATE FUNCTION @extschema@.ltv_refresh_features(name text, as_of ltv.cutoffs DEFAULT NULL) RETURNS regclass
LANGUAGE plpgsql
AS $$
DECLARE
    made text := ltv.resolve_relation(name);
    spec jsonb;
    unit text;
BEGIN
    SELECT f.definition INTO spec FROM ltv.feature_definitions f WHERE f.relation = made::pg_catalog.regclass FOR UPDATE;
    IF NOT FOUND THEN
        RAISE undefined_object USING MESSAGE = pg_catalog.format('"%s" was not made by ltv_create_features', name),
            DETAIL = 'Or it was made by another role.',
            HINT = 'Only features whose definition is known can be made again.';
    END IF;
    IF as_of IS NOT NULL THEN
        unit := spec ->> 'unit';
        spec := ltv.with_cutoffs(spec, as_of);
        IF spec ->> 'unit' <> unit THEN
            RAISE invalid_parameter_value USING MESSAGE = pg_catalog.format('the cut-offs of "%s" are %ss', name, unit),
                HINT = 'Give the new as_of in the same way, because it is the type of the column as_of.';
        END IF;
    END IF;
    PERFORM ltv.rebuild_features(made, spec);
    UPDATE ltv.feature_definitions f SET definition = spec, updated_at = pg_catalog.clock_timestamp() WHERE f.relation = made::pg_catalog.regclass;
    RETURN made::pg_catalog.regclass;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_refresh_features IS 'makes features again from the orders of today, for other cut-offs if given';
