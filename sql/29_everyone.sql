-- What features may be made of beside orders: a list of customers, and further logs of what they do.

-- The list of customers: its columns but the id and the start are attributes.
CREATE FUNCTION ltv.customer_list(definition jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[];
BEGIN
    IF definition ->> 'customers' IS NULL THEN
        RETURN '{}';
    END IF;
    names := (ltv.query_columns(definition ->> 'customers')).names;
    PERFORM ltv.check_column(names, definition ->> 'customer_id_column',
                             'customer_id_column, which customers must have');
    RETURN jsonb_build_object('customer_columns', array_remove(
        array_remove(names, definition ->> 'customer_id_column'), definition ->> 'start_column'));
END
$$;
COMMENT ON FUNCTION ltv.customer_list IS 'what a definition of features keeps of a list of customers';

CREATE FUNCTION ltv.date_type_of(query text, column_name text, argument text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found record := ltv.query_columns(query);
    type oid := found.types[ltv.check_column(found.names, column_name, argument)];
    kind text := CASE ltv.base_type(type) WHEN 'date'::regtype THEN 'date' WHEN 'timestamp'::regtype THEN 'timestamp'
                                          WHEN 'timestamptz'::regtype THEN 'timestamptz' END;
BEGIN
    IF kind IS NULL THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('the column "%s" is of type %s, neither a date nor a timestamp', column_name,
                             format_type(type, NULL)),
            DETAIL = format('It is named by the argument %s.', argument),
            HINT = 'Cast it in a query.';
    END IF;
    RETURN kind;
END
$$;
COMMENT ON FUNCTION ltv.date_type_of IS 'how a column says when: as a date, a timestamp or a timestamptz';

-- The columns that say when a customer started and since when attributes hold.
CREATE FUNCTION ltv.dated(definition jsonb) RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT definition || CASE WHEN definition ->> 'start_column' IS NULL THEN '{}'
        ELSE jsonb_build_object('start_type', ltv.date_type_of(
            definition ->> 'customers', definition ->> 'start_column', 'start_column')) END
        || CASE WHEN definition ->> 'attributes_date_column' IS NULL THEN '{}'
        ELSE jsonb_build_object('attributes_date_type', ltv.date_type_of(
            definition ->> 'attributes', definition ->> 'attributes_date_column', 'attributes_date_column')) END
$$;
COMMENT ON FUNCTION ltv.dated IS 'a definition with the types of the columns of dates';

CREATE FUNCTION ltv.check_events(events jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log record;
    wrong text;
    example text := 'For example events => ''{"visits": {"source": "page_views", "date_column": "at", '
                    '"type_column": "kind", "value_columns": ["seconds"]}}''.';
BEGIN
    IF jsonb_typeof(events) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'events must be a JSON object of logs by name', HINT = example;
    END IF;
    FOR log IN SELECT e.key AS name, e.value AS given FROM jsonb_each(events) e LOOP
        IF log.name !~ '^[a-z_][a-z0-9_]{0,29}$' THEN
            RAISE invalid_name USING MESSAGE = format('"%s" is not the name of an event log', log.name),
                DETAIL = 'Columns are named after it.',
                HINT = 'Names are of up to 30 lower-case letters, digits and underscores, and begin with a letter.';
        ELSIF jsonb_typeof(log.given) <> 'object' THEN
            RAISE invalid_parameter_value USING MESSAGE = format('the event log "%s" must be a JSON object', log.name),
                HINT = example;
        END IF;
        SELECT string_agg(k, ', ') INTO wrong FROM jsonb_object_keys(log.given) k
        WHERE k NOT IN ('source', 'customer_id_column', 'date_column', 'type_column', 'value_columns', 'types',
                        'max_types');
        IF wrong IS NOT NULL THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('unknown key of the event log "%s": %s', log.name, wrong),
                HINT = 'The keys are source, customer_id_column, date_column, type_column, value_columns, types and '
                       'max_types.';
        END IF;
        SELECT string_agg(k.key, ', ') INTO wrong FROM (VALUES
            ('source', jsonb_typeof(log.given -> 'source') = 'string'),
            ('date_column', jsonb_typeof(log.given -> 'date_column') = 'string'),
            ('customer_id_column', COALESCE(jsonb_typeof(log.given -> 'customer_id_column'), 'string') = 'string'),
            ('type_column', COALESCE(jsonb_typeof(log.given -> 'type_column'), 'string') = 'string'),
            ('value_columns', ltv.is_list(COALESCE(log.given -> 'value_columns', '[]'), 'string')),
            ('types', ltv.is_list(COALESCE(log.given -> 'types', '[]'), 'string') AND (log.given -> 'types' IS NULL
                                  OR jsonb_typeof(log.given -> 'type_column') IS NOT DISTINCT FROM 'string')),
            ('max_types', COALESCE(log.given ->> 'max_types', '10') ~ '^([0-9]|[1-4][0-9]|50)$')) k(key, is_right)
        WHERE k.is_right IS NOT TRUE;
        IF wrong IS NOT NULL THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('the event log "%s" lacks or mistakes: %s', log.name, wrong),
                DETAIL = 'source and date_column are texts and must be given; value_columns and types are lists of '
                         'texts, types needs type_column, max_types is a number up to 50.',
                HINT = example;
        ELSIF jsonb_array_length(log.given -> 'types') > 500 THEN
            RAISE program_limit_exceeded USING
                MESSAGE = format('the event log "%s" names %s types', log.name,
                                 jsonb_array_length(log.given -> 'types')),
                DETAIL = 'Each has columns of its own; the most is 500.',
                HINT = 'Name those that matter; the others count among all events.';
        END IF;
    END LOOP;
    RETURN events;
END
$$;
COMMENT ON FUNCTION ltv.check_events IS 'the event logs as they were given, or an error';

-- In the search_path of the caller.
CREATE FUNCTION ltv.bind_events(events jsonb) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT pg_catalog.jsonb_object_agg(s.name, pg_catalog.jsonb_set(
        pg_catalog.jsonb_set(s.log, '{source}', pg_catalog.to_jsonb(ltv.bind_query(s.source))),
        '{source_relation}',
        COALESCE(pg_catalog.to_jsonb(ltv.qualified_name(ltv.bind_relation(s.source))), 'null')))
    FROM (SELECT e.key AS name, e.value AS log, pg_catalog.jsonb_extract_path_text(e.value, 'source') AS source
          FROM pg_catalog.jsonb_each(ltv.check_events(events)) e) s
$$;
COMMENT ON FUNCTION ltv.bind_events
    IS 'event logs whose sources are queries with qualified names, with the relations that they are';

CREATE FUNCTION ltv.given_events(events jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT jsonb_build_object('events', (SELECT jsonb_agg(e.value) FROM jsonb_each(events) e)) $$;
COMMENT ON FUNCTION ltv.given_events IS 'the event logs where a definition has them';

-- Whether a log has the columns that it is said to have. Returns the type of its dates.
CREATE FUNCTION ltv.check_event_log(log jsonb, definition jsonb) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found record := ltv.query_columns(log ->> 'source');
    argument text := 'events, in the log ' || (log ->> 'name');
    channel text;
    type oid;
BEGIN
    PERFORM ltv.check_column(found.names, log ->> 'customer_id_column', argument);
    IF log ->> 'type_column' IS NOT NULL THEN
        PERFORM ltv.check_column(found.names, log ->> 'type_column', argument);
    END IF;
    FOR channel IN SELECT jsonb_array_elements_text(log -> 'value_columns') LOOP
        type := found.types[ltv.check_column(found.names, channel, argument)];
        IF (SELECT t.typcategory FROM pg_type t WHERE t.oid = type) <> 'N' THEN
            RAISE datatype_mismatch USING
                MESSAGE = format('the column "%s" is of type %s, which is not numeric', channel,
                                 format_type(type, NULL)),
                DETAIL = format('It is one of the value_columns of the event log "%s".', log ->> 'name'),
                HINT = 'Cast it in a query.';
        END IF;
    END LOOP;
    PERFORM ltv.id_match(
        COALESCE(definition ->> 'customers', definition ->> 'source'), definition ->> 'customer_id_column',
        'c.customer', CASE WHEN definition ->> 'customers' IS NULL THEN 'the orders' ELSE 'customers' END,
        log ->> 'source', log ->> 'customer_id_column', 'e.customer', log ->> 'name');
    RETURN ltv.date_type_of(log ->> 'source', log ->> 'date_column', argument);
END
$$;
COMMENT ON FUNCTION ltv.check_event_log IS 'an error where an event log lacks what it is said to have';

-- The most frequent types of a log, which get columns of their own, with names for these.
CREATE FUNCTION ltv.event_types(log jsonb, definition jsonb, today date, given text[], most int) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    times record := ltv.log_times(log, definition ->> 'time_zone', today);
    found jsonb;
    types text[] := given;
BEGIN
    IF types IS NULL THEN
        found := ltv.read_in(ltv.run_path(definition), ltv.fill_in($sql$
            SELECT pg_catalog.jsonb_build_object('types', pg_catalog.jsonb_agg(k.type ORDER BY k.place)
                       FILTER (WHERE k.place <= {most}::bigint), 'all', pg_catalog.count(*))
            FROM (SELECT t.type, pg_catalog.row_number() OVER (ORDER BY t.n DESC, t.type) AS place
                  FROM (SELECT o.{column}::text COLLATE pg_catalog."C" AS type, pg_catalog.count(*) AS n
                        FROM ({source}
                        ) o WHERE {id} IS NOT NULL AND {possible} AND o.{column} IS NOT NULL GROUP BY 1) t) k$sql$,
            jsonb_build_object('most', most, 'column', quote_ident(log ->> 'type_column'), 'source', log ->> 'source',
                               'id', times.id, 'possible', times.possible)));
        types := ARRAY(SELECT jsonb_array_elements_text(NULLIF(found -> 'types', 'null')));
        IF (found ->> 'all')::bigint > most THEN
            RAISE NOTICE USING
                MESSAGE = format('the event log "%s" has %s types, of which the %s most frequent have features',
                                 log ->> 'name', found ->> 'all', most),
                DETAIL = 'The others count among all events.',
                HINT = 'Name those that matter with "types", or give "max_types", up to 50.';
        END IF;
    END IF;
    RETURN (
        WITH plain AS (
            SELECT t.type, t.i,
                   COALESCE(NULLIF(left(trim(BOTH '_' FROM regexp_replace(lower(t.type), '[^a-z0-9]+', '_', 'g')), 20),
                                   ''), 'type') AS name
            FROM unnest(types) WITH ORDINALITY AS t(type, i)
        ), numbered AS (
            SELECT p.*, row_number() OVER (PARTITION BY p.name ORDER BY p.i) AS n FROM plain p
        )
        SELECT COALESCE(jsonb_agg(jsonb_build_object('value', n.type, 'name',
                   n.name || CASE n.n WHEN 1 THEN '' ELSE '_' || n.n END) ORDER BY n.i), '[]')
        FROM numbered n
    );
END
$$;
COMMENT ON FUNCTION ltv.event_types IS 'the types of an event log that have features, with names for their columns';

-- What a definition keeps of event logs, whose sources are bound.
CREATE FUNCTION ltv.event_logs(events jsonb, definition jsonb, today date) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log record;
    kept jsonb;
    logs jsonb := '[]';
BEGIN
    FOR log IN SELECT e.key AS name, e.value AS given FROM jsonb_each(events) e ORDER BY e.key LOOP
        kept := jsonb_build_object(
            'name', log.name, 'source', log.given -> 'source', 'date_column', log.given -> 'date_column',
            'customer_id_column', COALESCE(log.given ->> 'customer_id_column', definition ->> 'customer_id_column'),
            'value_columns', COALESCE(log.given -> 'value_columns', '[]'))
            || jsonb_strip_nulls(jsonb_build_object('source_relation', log.given -> 'source_relation'));
        IF log.given ->> 'type_column' IS NOT NULL THEN
            kept := kept || jsonb_build_object('type_column', log.given -> 'type_column');
        END IF;
        kept := kept || jsonb_build_object('date_type', ltv.check_event_log(kept, definition));
        IF log.given ->> 'type_column' IS NOT NULL THEN
            kept := kept || jsonb_build_object('types', ltv.event_types(kept, definition, today,
                CASE WHEN log.given -> 'types' IS NOT NULL
                     THEN ARRAY(SELECT jsonb_array_elements_text(log.given -> 'types')) END,
                COALESCE(log.given ->> 'max_types', '10')::int));
        END IF;
        logs := logs || jsonb_build_array(kept);
    END LOOP;
    RETURN CASE WHEN logs = '[]' THEN '{}' ELSE jsonb_build_object('events', logs) END;
END
$$;
COMMENT ON FUNCTION ltv.event_logs IS 'event logs as a definition of features keeps them';
