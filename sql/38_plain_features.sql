-- The features of a definition as one SELECT that needs no pg_ltv, in a dialect of SQL. It says what the walk along the
-- logs (ltv-core/features) does: orders by day, moments at which customers are looked at, what each has seen.

-- A log by customer and day (and instant, where cut-offs are instants): of orders with the amount, of events with kind
-- and count; x1, x2 ... are the sums of the other values.
CREATE FUNCTION ltv.plain_log(dialect text, definition jsonb, log jsonb, relation text, what text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    zone text := definition ->> 'time_zone';
    found record := ltv.query_columns(log ->> 'source');
    is_orders boolean := log ->> 'value_column' IS NOT NULL;
    keys text[] := '{customer,day}';
    columns text[];
    sums text;
    date text := 'o.' || ltv.dialect_name(dialect, log ->> 'date_column');
    extra text[] := ARRAY(SELECT jsonb_array_elements_text(
        COALESCE(log -> 'value_columns', log #> '{sequence,columns}')));
    kind_type oid := ltv.base_type(found.types[array_position(found.names, log ->> 'type_column')]);
BEGIN
    columns := ARRAY['o.' || ltv.dialect_name(dialect, log ->> 'customer_id_column') || ' AS customer',
                     ltv.dialect_day(dialect, log ->> 'date_type', date, zone) || ' AS day'];
    IF definition ->> 'unit' = 'instant' THEN
        keys := keys || 'ts'::text;
        columns := columns || (ltv.dialect_instant(dialect, log ->> 'date_type', date, zone) || ' AS ts');
    END IF;
    IF is_orders THEN
        columns := columns || (ltv.dialect_exact(dialect, found.types[array_position(found.names,
            log ->> 'value_column')], 'o.' || ltv.dialect_name(dialect, log ->> 'value_column')) || ' AS amount');
        sums := ', sum(s.amount) AS amount';
    ELSE
        sums := ', count(*) AS n';
        IF NULLIF(log -> 'types', 'null') IS NOT NULL THEN
            IF dialect <> 'postgres' AND kind_type <> 'bool'::regtype
               AND ltv.id_kind(kind_type) NOT IN ('text', 'enum', 'integer', 'uuid') THEN
                RAISE feature_not_supported USING
                    MESSAGE = format('event types of type %s, as in %s, cannot be said in the dialect %s',
                                     format_type(kind_type, NULL), what, dialect),
                    HINT = 'Make a view that casts them to text, and make the features of the view.';
            END IF;
            keys := keys || 'kind'::text;
            columns := columns || (ltv.dialect_part(dialect, 'text',
                'o.' || ltv.dialect_name(dialect, log ->> 'type_column')) || ' AS kind');
        END IF;
    END IF;
    SELECT columns || COALESCE(array_agg(ltv.dialect_exact(dialect, found.types[array_position(found.names, x.c)],
                'o.' || ltv.dialect_name(dialect, x.c)) || ' AS x' || x.i ORDER BY x.i), '{}'),
           sums || COALESCE(string_agg(format(', COALESCE(sum(s.x%s), 0) AS x%1$s', x.i), '' ORDER BY x.i), '')
    INTO columns, sums FROM unnest(extra) WITH ORDINALITY AS x(c, i);
    RETURN ltv.fill_in($q$
    SELECT {keys}{sums}
    FROM (SELECT {columns}
          FROM {source} o) s
    WHERE s.day BETWEEN DATE '1970-01-02'
          AND {today}{known}
    GROUP BY {keys}$q$, jsonb_build_object(
        'keys', (SELECT string_agg('s.' || k, ', ' ORDER BY i) FROM unnest(keys) WITH ORDINALITY AS k(k, i)),
        'sums', sums, 'columns', array_to_string(columns, E',\n                 '),
        'source', ltv.dialect_source(dialect, log ->> 'source', relation, what),
        'today', ltv.dialect_day(dialect, 'timestamptz', 'now()', zone),
        'known', CASE WHEN is_orders THEN E'\n          AND s.customer IS NOT NULL AND s.amount IS NOT NULL' END));
END
$$;
COMMENT ON FUNCTION ltv.plain_log IS 'a log of a definition of features by customer and day, in a dialect of SQL';

CREATE FUNCTION ltv.plain_log_end(dialect text, definition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET TimeZone = 'UTC'
AS $$
DECLARE
    given record := ltv.log_end(definition);
    ages boolean := NULLIF(definition -> 'age', 'null') IS NOT NULL;
    known text;
BEGIN
    known := CASE WHEN given.day IS NULL AND definition ->> 'unit' = 'day' THEN '(SELECT max(l.day) FROM orders l)'
                  WHEN given.day IS NULL THEN '(SELECT max(l.ts) FROM orders l)'
                  WHEN definition ->> 'unit' = 'day' THEN format('DATE %L', given.day)
                  ELSE ltv.dialect_part(dialect, 'instant literal', quote_literal(given.instant)) END;
    IF ages AND given.day IS NULL AND definition ->> 'events' IS NOT NULL THEN
        SELECT format('GREATEST(%s, %s)', known, string_agg(format('(SELECT max(l.day) FROM events_%s l)', n), ', '
                                                            ORDER BY n)) INTO known
        FROM generate_series(1, jsonb_array_length(definition -> 'events')) n;
    END IF;
    RETURN CASE WHEN ages THEN format('LEAST(%s, %s)', known, ltv.dialect_part(dialect, 'after',
               ltv.dialect_day(dialect, 'timestamptz', 'now()', definition ->> 'time_zone'), '-1')) ELSE known END;
END
$$;
COMMENT ON FUNCTION ltv.plain_log_end IS 'the end of the log of a definition of features, in a dialect of SQL';

CREATE FUNCTION ltv.plain_columns(dialect text, names jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(', o.%s AS a%s', ltv.dialect_name(dialect, n), i), '' ORDER BY i)
    FROM jsonb_array_elements_text(names) WITH ORDINALITY AS x(n, i)
$$;
COMMENT ON FUNCTION ltv.plain_columns IS 'columns of attributes, numbered, in a dialect of SQL';

-- Everybody that features are of, with the day of the start.
CREATE FUNCTION ltv.plain_customers(dialect text, definition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id text := 'o.' || ltv.dialect_name(dialect, definition ->> 'customer_id_column');
    start text := 'o.' || ltv.dialect_name(dialect, definition ->> 'start_column');
BEGIN
    IF definition ->> 'customers' IS NULL THEN
        RETURN CASE WHEN NULLIF(definition -> 'age', 'null') IS NULL
                    THEN E'\n    SELECT DISTINCT o.customer, CAST(NULL AS date) AS start FROM orders o'
                    ELSE E'\n    SELECT o.customer, min(o.day) AS start FROM orders o WHERE o.amount > 0'
                         '\n    GROUP BY o.customer' END;
    END IF;
    RETURN ltv.fill_in($q$
    SELECT {id} AS customer, {start} AS start{columns}
    FROM {source} o
    WHERE {id} IS NOT NULL$q$, jsonb_build_object(
        'id', id, 'start', COALESCE(ltv.dialect_part(dialect, 'finite day', ltv.dialect_day(
            dialect, definition ->> 'start_type', start, definition ->> 'time_zone')), 'CAST(NULL AS date)'),
        'source', ltv.dialect_source(dialect, definition ->> 'customers', definition ->> 'customers_relation',
                                     'the list of customers'),
        'columns', ltv.plain_columns(dialect, definition -> 'customer_columns')));
END
$$;
COMMENT ON FUNCTION ltv.plain_customers IS 'the customers of a definition of features, in a dialect of SQL';

-- Each customer at each moment, with the ends of the horizons.
CREATE FUNCTION ltv.plain_moments(dialect text, definition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET TimeZone = 'UTC'
AS $$
DECLARE
    is_day boolean := definition ->> 'unit' = 'day';
    rows text;
    ends text;
BEGIN
    IF NULLIF(definition -> 'age', 'null') IS NOT NULL THEN
        SELECT string_agg(format('(%s)', a), ', ' ORDER BY i) INTO rows
        FROM jsonb_array_elements_text(definition -> 'age') WITH ORDINALITY AS x(a, i);
        SELECT string_agg(format(', %s AS until_%s', ltv.dialect_part(dialect, 'after',
                   CASE h.months WHEN 0 THEN 'm.day'
                        ELSE ltv.dialect_part(dialect, 'months after', 'm.day', h.months::text) END,
                   h.days::text), h.i), '' ORDER BY h.i) INTO ends
        FROM (SELECT l.i, (extract(year FROM l.span) * 12 + extract(month FROM l.span))::int AS months,
                     extract(day FROM l.span)::int AS days
              FROM (SELECT f.i, f.horizon::interval AS span FROM ltv.feature_labels(definition) f) l) h;
        RETURN ltv.fill_in($q$
    SELECT m.customer, m.start, m.day AS as_of, m.day AS as_of_day{ends}
    FROM (SELECT c.customer, c.start, {day} AS day
          FROM customers c CROSS JOIN (VALUES {rows}) AS k (age) WHERE c.start IS NOT NULL) m
    CROSS JOIN log_end e WHERE m.day <= e.moment$q$, jsonb_build_object(
            'ends', ends, 'day', ltv.dialect_part(dialect, 'after', 'c.start', 'k.age'), 'rows', rows));
    END IF;
    SELECT string_agg(format('(%s, DATE %L%s)', CASE WHEN is_day THEN format('DATE %L', c.as_of_day)
                                 ELSE ltv.dialect_part(dialect, 'instant literal', quote_literal(c.as_of)) END,
                             c.as_of_day, c.ends), E',\n        ' ORDER BY c.as_of) INTO rows
    FROM (SELECT f.as_of_day, f.as_of::timestamptz, string_agg(', ' || CASE WHEN is_day THEN format('DATE %L', f.until)
                     ELSE ltv.dialect_part(dialect, 'instant literal', quote_literal(f.until::timestamptz)) END, ''
                     ORDER BY l.i) AS ends
          FROM ltv.feature_labels(definition) l,
               LATERAL ltv.features_cutoffs(definition || jsonb_build_object('horizon', l.horizon)) f
          GROUP BY f.as_of_day, f.as_of) c;
    SELECT string_agg(', until_' || l.i, '' ORDER BY l.i) INTO ends FROM ltv.feature_labels(definition) l;
    RETURN ltv.fill_in($q$
    SELECT c.customer, c.start, k.*
    FROM customers c CROSS JOIN (VALUES
        {rows}) AS k (as_of, as_of_day{ends})
    WHERE c.start IS NULL OR c.start <= k.as_of_day$q$, jsonb_build_object('rows', rows, 'ends', ends));
END
$$;
COMMENT ON FUNCTION ltv.plain_moments IS 'the moments of a definition of features, in a dialect of SQL';

-- What each moment knows of the purchases, and what was spent after it.
CREATE FUNCTION ltv.plain_purchases(dialect text, definition jsonb, OUT days text, OUT bought text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment text := CASE definition ->> 'unit' WHEN 'day' THEN 'o.day' ELSE 'o.ts' END;
    base text := COALESCE(definition ->> 'customers', definition ->> 'source');
    id_column text := definition ->> 'customer_id_column';
    steps boolean := NULLIF(definition -> 'sequence', 'null') IS NOT NULL;
    extra text;
    later text;
    spent text;
    windows text;
    step text;
BEGIN
    SELECT string_agg(format(E',\n           sum(o.x%s) FILTER (WHERE %s <= m.as_of) AS x%1$s', i, moment), ''
                      ORDER BY i),
           string_agg(', ' || ltv.dialect_part(dialect, 'real', 'd.x' || i), '' ORDER BY i) INTO extra, step
    FROM generate_series(1, jsonb_array_length(NULLIF(definition #> '{sequence,columns}', 'null'))) i WHERE steps;
    SELECT string_agg(format(E',\n           sum(o.amount) FILTER (WHERE %1$s > m.as_of AND %1$s <= m.until_%2$s)'
                             ' AS later_%2$s', moment, l.i), '' ORDER BY l.i),
           string_agg(format(E',\n           sum(d.later_%s) AS spent_%1$s', l.i), '' ORDER BY l.i) INTO later, spent
    FROM ltv.feature_labels(definition) l;
    SELECT string_agg(format(E',\n           count(*) FILTER (WHERE %2$s) AS count_%1$s, '
                             'sum(d.net) FILTER (WHERE %2$s) AS sum_%1$s', w, 'd.net > 0 AND d.day > '
                             || ltv.dialect_part(dialect, 'after', 'd.as_of_day', '-' || w)), '' ORDER BY i)
    INTO windows
    FROM jsonb_array_elements_text(definition -> 'windows') WITH ORDINALITY AS x(w, i);
    days := ltv.fill_in($q$
    SELECT m.customer, m.as_of, m.as_of_day, o.day,
           sum(o.amount) FILTER (WHERE {moment} <= m.as_of) AS net{extra}{later}
    FROM moments m JOIN orders o ON {match}
    GROUP BY m.customer, m.as_of, m.as_of_day, o.day$q$, jsonb_build_object(
        'moment', moment, 'extra', extra, 'later', later,
        'match', CASE WHEN definition ->> 'customers' IS NULL THEN 'o.customer = m.customer'
                      ELSE ltv.dialect_match(dialect, base, id_column, 'm.customer', 'customers',
                                             definition ->> 'source', id_column, 'o.customer', 'the orders') END));
    bought := ltv.fill_in($q$
    SELECT d.customer, d.as_of, count(*) FILTER (WHERE d.net > 0) AS n,
           min(d.day) FILTER (WHERE d.net > 0) AS first_day, max(d.day) FILTER (WHERE d.net > 0) AS last_day,
           sum(d.net) FILTER (WHERE d.net > 0) AS total, max(d.net) FILTER (WHERE d.net > 0) AS largest,
           stddev_samp({net}) FILTER (WHERE d.net > 0) AS deviation,
           {first} AS first_net,
           {last} AS last_net,
           count(*) FILTER (WHERE d.net < 0) AS return_days,
           -sum(d.net) FILTER (WHERE d.net < 0) AS returned{windows}{spent}{steps}
    FROM days d
    GROUP BY d.customer, d.as_of$q$, jsonb_build_object(
        'net', ltv.dialect_part(dialect, 'float', 'd.net'),
        'first', ltv.dialect_part(dialect, 'first', 'd.net', 'd.day'),
        'last', ltv.dialect_part(dialect, 'last', 'd.net', 'd.day'), 'windows', windows, 'spent', spent,
        'steps', CASE WHEN steps THEN E',\n           ' || ltv.dialect_part(dialect, 'steps', concat(
            ltv.dialect_part(dialect, 'real', 'd.net'), ', ', ltv.dialect_part(dialect, 'real',
                ltv.dialect_part(dialect, 'days', 'd.as_of_day', 'd.day')), step)) || ' AS steps' END));
END
$$;
COMMENT ON FUNCTION ltv.plain_purchases IS 'what is known of purchases at each moment, in a dialect of SQL';

-- What each moment knows of another log. Of group 0, all events, and of each type; of all days (window 0) and of each
-- window: c the count, d the days, s1, s2 ... the sums, l the last day, b the count of the window before.
CREATE FUNCTION ltv.plain_events(dialect text, definition jsonb, log jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    listed boolean := definition ->> 'customers' IS NOT NULL;
    aggregates text;
BEGIN
    WITH groups AS (
        SELECT 0 AS number, NULL AS said UNION ALL
        SELECT k.i::int, 'e.kind = ' || ltv.dialect_literal(dialect, k.kind ->> 'value')
        FROM jsonb_array_elements(NULLIF(log -> 'types', 'null')) WITH ORDINALITY AS k(kind, i)
    ), windows AS (
        SELECT 0 AS number, 0 AS days, NULL AS said UNION ALL
        SELECT w.i::int, w.days::int, 'e.day > ' || ltv.dialect_part(dialect, 'after', 'm.as_of_day', '-' || w.days)
        FROM jsonb_array_elements_text(definition -> 'windows') WITH ORDINALITY AS w(days, i)
    ), cells AS (
        SELECT g.number AS g, w.number AS w, format('g%s_w%s', g.number, w.number) AS cell, w.days,
               COALESCE(NULLIF(concat_ws(' AND ', g.said, w.said), ''), 'true') AS said
        FROM groups g, windows w
    )
    SELECT string_agg(concat(
               format(E',\n           sum(e.n) FILTER (WHERE %2$s) AS c_%1$s, '
                      'count(DISTINCT CASE WHEN %2$s THEN e.day END) AS d_%1$s', c.cell, c.said),
               (SELECT string_agg(format(', sum(e.x%s) FILTER (WHERE %s) AS s%1$s_%3$s', v, c.said, c.cell), ''
                                  ORDER BY v)
                FROM generate_series(1, jsonb_array_length(log -> 'value_columns')) v),
               CASE WHEN c.w = 0 THEN format(', max(e.day) FILTER (WHERE %s) AS l_%s', c.said, c.cell)
                    WHEN c.g = 0 THEN format(
                        ', sum(e.n) FILTER (WHERE e.day <= %s AND e.day > %s) AS b_%s',
                        ltv.dialect_part(dialect, 'after', 'm.as_of_day', (-c.days)::text),
                        ltv.dialect_part(dialect, 'after', 'm.as_of_day', (-2 * c.days)::text), c.cell) END),
           '' ORDER BY c.g, c.w) INTO aggregates FROM cells c;
    RETURN ltv.fill_in($q$
    SELECT m.customer, m.as_of{aggregates}
    FROM moments m JOIN {log} e ON {match} AND {moment} <= m.as_of
    GROUP BY m.customer, m.as_of$q$, jsonb_build_object(
        'aggregates', aggregates, 'log', 'events_' || (log ->> 'number'),
        'moment', CASE definition ->> 'unit' WHEN 'day' THEN 'e.day' ELSE 'e.ts' END,
        'match', ltv.dialect_match(dialect, COALESCE(definition ->> 'customers', definition ->> 'source'),
            definition ->> 'customer_id_column', 'm.customer', CASE WHEN listed THEN 'customers' ELSE 'the orders' END,
            log ->> 'source', log ->> 'customer_id_column', 'e.customer', log ->> 'name')));
END
$$;
COMMENT ON FUNCTION ltv.plain_events IS 'what is known of another log at each moment, in a dialect of SQL';

-- Attributes, each row with the time from which and until which it holds where they are dated.
CREATE FUNCTION ltv.plain_attributes(dialect text, definition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    date text := 'o.' || ltv.dialect_name(dialect, definition ->> 'attributes_date_column');
    type text := definition ->> 'attributes_date_type';
    zone text := definition ->> 'time_zone';
    known text := CASE definition ->> 'unit' WHEN 'day' THEN ltv.dialect_day(dialect, type, date, zone)
                                             ELSE ltv.dialect_instant(dialect, type, date, zone) END;
BEGIN
    RETURN ltv.fill_in($q$
    SELECT {known}s.*
    FROM (SELECT {id} AS customer{date}{columns} FROM {source} o) s
    WHERE s.customer IS NOT NULL{dated}$q$, jsonb_build_object(
        'id', 'o.' || ltv.dialect_name(dialect, definition ->> 'customer_id_column'),
        'date', ', ' || known || ' AS known', 'dated', CASE WHEN known IS NOT NULL THEN ' AND s.known IS NOT NULL' END,
        'known', CASE WHEN known IS NOT NULL
                      THEN E'lead(s.known) OVER (PARTITION BY s.customer ORDER BY s.known) AS until,\n           ' END,
        'source', ltv.dialect_source(dialect, definition ->> 'attributes', definition ->> 'attributes_relation',
                                     'the attributes'),
        'columns', ltv.plain_columns(dialect, definition -> 'attribute_columns')));
END
$$;
COMMENT ON FUNCTION ltv.plain_attributes IS 'the attributes of a definition of features, in a dialect of SQL';
