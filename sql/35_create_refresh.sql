-- ltv_create_features makes a table or view with one row per customer and cut-off, ltv_refresh_features makes it again
-- for another day, and ltv_retrain moves it to the newest one.

-- The query of a source that is a relation is written anew whenever it is
-- needed, so that it has the name and columns of today.
CREATE FUNCTION ltv.with_sources(definition jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT definition || jsonb_strip_nulls(jsonb_build_object(
        'source', 'SELECT * FROM ' || (definition ->> 'source_relation'),
        'attributes', 'SELECT * FROM ' || (definition ->> 'attributes_relation'),
        'customers', 'SELECT * FROM ' || (definition ->> 'customers_relation'),
        'events', (SELECT jsonb_agg(e.log || jsonb_strip_nulls(jsonb_build_object(
                              'source', 'SELECT * FROM ' || (e.log ->> 'source_relation'))) ORDER BY e.i)
                   FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i))))
$$;
COMMENT ON FUNCTION ltv.with_sources IS 'a definition with the queries of the relations that it reads';

CREATE FUNCTION ltv.temporary_source(definition jsonb) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid::regclass
    FROM unnest(ltv.query_relations(definition ->> 'source') || ltv.query_relations(definition ->> 'attributes')
                || ltv.query_relations(definition ->> 'customers')
                || ARRAY(SELECT unnest(ltv.query_relations(e ->> 'source'))
                         FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) e)) r
    JOIN pg_class c ON c.oid = r WHERE c.relpersistence = 't' LIMIT 1
$$;
COMMENT ON FUNCTION ltv.temporary_source IS 'a temporary table among those that a definition reads';

-- Columns that features have by themselves.
CREATE FUNCTION ltv.feature_names(definition jsonb) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT '{as_of,spend_sequence}'::text[] || ARRAY(SELECT c.name FROM ltv.feature_columns(definition) c)
$$;
COMMENT ON FUNCTION ltv.feature_names IS 'the columns of a relation of features beside the id and the attributes';

CREATE FUNCTION ltv.check_names(definition jsonb, given text, arguments jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id_column text := definition ->> 'customer_id_column';
    other_name text := id_column || '_id';
    repeated text;
    argument text;
BEGIN
    IF id_column = ANY (ltv.feature_names(definition)) THEN
        RAISE duplicate_column USING
            MESSAGE = format('the customer id column "%s" has the name of a feature', id_column),
            HINT = 'Rename it in a query: ' || ltv.call_text('ltv_create_features', jsonb_build_array(
                jsonb_build_array('source',
                    ltv.repaired_query(definition, given, id_column, format('o.%I', id_column), other_name)),
                jsonb_build_array('customer_id_column', other_name))
                || (SELECT jsonb_agg(a) FROM jsonb_array_elements(arguments) a WHERE a ->> 0 <> 'customer_id_column'));
    END IF;
    SELECT c.name, c.argument INTO repeated, argument FROM (
        SELECT x AS name, 'attributes' AS argument
        FROM jsonb_array_elements_text(NULLIF(definition -> 'attribute_columns', 'null')) x
        UNION ALL
        SELECT x, 'customers' FROM jsonb_array_elements_text(NULLIF(definition -> 'customer_columns', 'null')) x
    ) c WHERE c.name = ANY (ltv.feature_names(definition)) LIMIT 1;
    IF FOUND THEN
        RAISE duplicate_column USING
            MESSAGE = format('the %s "%s" has the name of a feature',
                             CASE argument WHEN 'attributes' THEN 'attribute' ELSE 'column of customers' END, repeated),
            HINT = format('Rename it in a query: %s => %L.', argument,
                          format('SELECT %I, %I AS my_%s FROM ...', id_column, repeated, repeated));
    END IF;
    SELECT n INTO repeated
    FROM unnest(ltv.feature_names(definition)
                || ARRAY(SELECT jsonb_array_elements_text(NULLIF(definition -> 'attribute_columns', 'null')))
                || ARRAY(SELECT jsonb_array_elements_text(NULLIF(definition -> 'customer_columns', 'null')))) n
    GROUP BY n HAVING count(*) > 1 ORDER BY n LIMIT 1;
    IF FOUND THEN
        RAISE duplicate_column USING MESSAGE = format('two columns would have the name "%s"', repeated),
            HINT = 'Rename a column of attributes, customers or events in a query, or give an event log another name.';
    END IF;
    IF cardinality(ltv.feature_names(definition)) > 1500 THEN
        RAISE too_many_columns USING
            MESSAGE = format('features would have %s columns', cardinality(ltv.feature_names(definition))),
            DETAIL = 'The most is 1500.', HINT = 'Give fewer windows, types of events or value columns.';
    END IF;
    SELECT n INTO repeated FROM unnest(ltv.feature_names(definition)) n WHERE octet_length(n) > 63 LIMIT 1;
    IF FOUND THEN
        RAISE name_too_long USING MESSAGE = format('the name "%s" is too long for a column', repeated),
            HINT = 'Give the event log a shorter name, or rename its columns in a query.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_names IS 'an error where columns of features would have the same name';

-- Sources are bound and the name is qualified; path is the search_path of the caller.
CREATE FUNCTION ltv.create_features(
    name text, source text, source_relation regclass, given text, customer_id_column text, date_column text,
    value_column text, as_of ltv.cutoffs, horizon ltv.horizon, attributes text, attributes_relation regclass,
    windows float8[], sequence ltv.channels, materialized boolean, time_zone text, log_end ltv.cutoffs,
    customers text, customers_relation regclass, start_column text, age float8[], events jsonb,
    attributes_date_column text, horizons float8[], returns boolean, path text
) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET IntervalStyle = postgres
AS $$
DECLARE
    arguments jsonb := jsonb_build_array(jsonb_build_array('name', name),
        jsonb_build_array('customer_id_column', NULLIF(customer_id_column, 'customer_id')),
        jsonb_build_array('date_column', date_column),
        jsonb_build_array('value_column', value_column), jsonb_build_array('as_of', as_of),
        jsonb_build_array('horizon', horizon),
        jsonb_build_array('attributes', COALESCE(ltv.qualified_name(attributes_relation), attributes)),
        jsonb_build_array('windows', NULLIF(windows, '{7,30,90}')::text), jsonb_build_array('sequence', sequence),
        jsonb_build_array('materialized', NULLIF(materialized, true)::text),
        jsonb_build_array('time_zone', NULLIF(time_zone, 'UTC')),
        jsonb_build_array('log_end', log_end),
        jsonb_build_array('customers', COALESCE(ltv.qualified_name(customers_relation), customers)),
        jsonb_build_array('start_column', start_column), jsonb_build_array('age', age::text),
        jsonb_build_array('events', events::text), jsonb_build_array('attributes_date_column', attributes_date_column),
        jsonb_build_array('horizons', horizons::text), jsonb_build_array('returns', NULLIF(returns, false)::text));
    shape jsonb := ltv.parse_sequence(sequence);
    ages int[] := ltv.parse_days('age', age, 0, '{1,7,30}');
    labels int[] := ltv.parse_days('horizons', horizons, 1, '{30,90,365}');
    today date;
    facts ltv.log_facts;
    spec jsonb;
    temporary regclass;
BEGIN
    PERFORM ltv.check_given(source, customer_id_column, date_column, value_column, time_zone);
    IF materialized IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'materialized must be true, for a table, or false, for a view';
    ELSIF ages IS NOT NULL AND as_of IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'give either as_of or age',
            DETAIL = 'With as_of all customers are looked at on one day, with age each so many days after the start.';
    ELSIF start_column IS NOT NULL AND customers IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'start_column needs customers',
            DETAIL = 'It is a column of the list of customers.',
            HINT = 'Name that list, for example customers => ''users'', start_column => ''registered_at''.';
    ELSIF attributes_date_column IS NOT NULL AND attributes IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'attributes_date_column needs attributes',
            HINT = 'Name the relation that has the column: attributes => ''...''.';
    END IF;
    today := (now() AT TIME ZONE time_zone)::date;
    spec := jsonb_build_object(
        'source', source, 'source_relation', ltv.qualified_name(source_relation),
        'customer_id_column', customer_id_column, 'date_column', date_column, 'value_column', value_column,
        'time_zone', time_zone,
        'horizon', ltv.parse_horizon(COALESCE(horizon, (SELECT max(d) FROM unnest(labels) d)::text::ltv.horizon)),
        'windows', ltv.parse_windows(windows),
        'sequence', CASE WHEN NULLIF(shape -> 'columns', 'null') IS NOT NULL THEN jsonb_strip_nulls(shape) END,
        'materialized', materialized, 'log_end', ltv.parse_log_end(log_end, time_zone), 'search_path', path,
        'attributes', attributes, 'attributes_relation', ltv.qualified_name(attributes_relation));
    -- What is not given is not kept, so that definitions are as they were before there was more to give.
    spec := ltv.with_sources(spec || jsonb_strip_nulls(jsonb_build_object(
        'customers', customers, 'customers_relation', ltv.qualified_name(customers_relation),
        'start_column', start_column, 'age', ages, 'horizons', labels,
        'returns', NULLIF(returns, false), 'attributes_date_column', attributes_date_column)));
    spec := spec || ltv.customer_list(spec) || jsonb_build_object('attribute_columns', array_remove(array_remove(
        (ltv.query_columns(attributes)).names, customer_id_column), attributes_date_column));
    spec := spec || jsonb_build_object('temporary', ltv.temporary_source(spec || ltv.given_events(events)) IS NOT NULL);
    spec := ltv.order_log(spec, 'ltv_create_features', given, arguments);
    spec := ltv.dated(ltv.with_sources(spec || ltv.event_logs(events, spec, today)));
    temporary := ltv.temporary_source(spec);
    PERFORM ltv.check_names(spec, given, arguments);
    IF temporary IS NOT NULL AND NOT materialized THEN
        RAISE feature_not_supported USING
            MESSAGE = format('a view of features cannot read "%s", which is a temporary table', temporary),
            HINT = 'Leave materialized out to make a table, or use an ordinary or an unlogged table as the source.';
    END IF;

    facts := ltv.log_facts(spec, today);
    IF ages IS NULL THEN
        spec := ltv.with_cutoffs(spec, COALESCE(as_of, ltv.training_cutoffs(spec, facts)));
    ELSE
        spec := spec || '{"unit": "day", "as_of": []}';
    END IF;
    PERFORM ltv.check_cutoffs(spec, facts);
    PERFORM ltv.fill_features(name, NULL, spec, facts, today);
    PERFORM ltv.comment_features(name::regclass, spec);
    PERFORM ltv.save_definition(name::regclass, spec);
    PERFORM ltv.say_left_out(facts);
    PERFORM ltv.say_absent(name, spec, today);
    PERFORM ltv.say_unfinished(spec, facts);
    IF temporary IS NOT NULL THEN
        RAISE NOTICE USING
            MESSAGE = format('these features cannot be refreshed by another session: "%s" is a temporary table',
                             temporary);
    END IF;
    RETURN name::regclass;
END
$$;
COMMENT ON FUNCTION ltv.create_features IS 'see ltv_create_features';

CREATE FUNCTION ltv.create_features(
    name               text,
    source             text,
    customer_id_column text,
    date_column        text,
    value_column       text,
    as_of              ltv.cutoffs,
    horizon            ltv.horizon,
    attributes         text,
    windows            float8[],
    sequence           ltv.channels,
    materialized       boolean,
    time_zone          text,
    log_end            ltv.cutoffs,
    customers          text,
    start_column       text,
    age                float8[],
    events             jsonb,
    attributes_date_column text,
    horizons           float8[],
    returns            boolean
) RETURNS regclass
LANGUAGE sql
AS $$
    SELECT ltv.create_features(ltv.new_relation(name, pg_catalog.current_schema()),
        ltv.bind_query(source), ltv.bind_relation(source), source,
        customer_id_column, date_column, value_column, as_of, horizon,
        ltv.bind_query(attributes), ltv.bind_relation(attributes), windows, sequence, materialized,
        time_zone, log_end, ltv.bind_query(customers), ltv.bind_relation(customers), start_column, age,
        ltv.bind_events(events), attributes_date_column, horizons, returns, pg_catalog.current_setting('search_path'))
$$;
COMMENT ON FUNCTION ltv.create_features(
    text, text, text, text, text, ltv.cutoffs, ltv.horizon, text, float8[], ltv.channels, boolean, text, ltv.cutoffs,
    text, text, float8[], jsonb, text, float8[], boolean
) IS 'see ltv_create_features';

CREATE FUNCTION @extschema@.ltv_create_features(
    name               text,
    source             text,
    customer_id_column text DEFAULT 'customer_id',
    date_column        text DEFAULT NULL,
    value_column       text DEFAULT NULL,
    as_of              ltv.cutoffs DEFAULT NULL,
    horizon            ltv.horizon DEFAULT NULL,
    attributes         text DEFAULT NULL,
    windows            float8[] DEFAULT '{7,30,90}',
    sequence           ltv.channels DEFAULT NULL,
    materialized       boolean DEFAULT true,
    time_zone          text DEFAULT 'UTC',
    log_end            ltv.cutoffs DEFAULT NULL,
    customers          text DEFAULT NULL,
    start_column       text DEFAULT NULL,
    age                float8[] DEFAULT NULL,
    events             jsonb DEFAULT NULL,
    attributes_date_column text DEFAULT NULL,
    horizons           float8[] DEFAULT NULL,
    returns            boolean DEFAULT false
) RETURNS regclass
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_create_features
    IS 'makes a table or view of point-in-time features, and the label ltv, from orders and other logs';

-- Refreshing ----------------------------------------------------------------------------------------------------------

-- The same cut-offs, moved so that the horizon of the newest one has just passed. NULL where they need not move.
CREATE FUNCTION ltv.newest_cutoffs(definition jsonb, facts ltv.log_facts) RETURNS ltv.cutoffs
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET TimeZone = 'UTC'
AS $$
    WITH z AS (
        SELECT definition ->> 'time_zone' AS zone, definition ->> 'unit' = 'day' AS by_day,
               (definition ->> 'horizon')::interval AS horizon,
               COALESCE(e.day, facts.last_day)::timestamp AS last_day,
               COALESCE(e.instant, facts.last_instant) AS last_instant
        FROM ltv.log_end(definition) e
    ), given AS (
        SELECT CASE WHEN z.by_day THEN a::timestamp ELSE a::timestamptz AT TIME ZONE z.zone END AS local
        FROM z, jsonb_array_elements_text(definition -> 'as_of') a
    ), target AS (
        -- Months are of different lengths and clocks are changed, so that going back and forth may end a little later.
        SELECT max(t.local) AS local FROM z, generate_series(0, 3) i,
            LATERAL (SELECT CASE WHEN z.by_day THEN z.last_day ELSE z.last_instant AT TIME ZONE z.zone END
                            - z.horizon - make_interval(days => i) AS local) t
        WHERE CASE WHEN z.by_day THEN t.local + z.horizon <= z.last_day
                   ELSE (t.local + z.horizon) AT TIME ZONE z.zone <= z.last_instant END
    ), moved AS (
        SELECT g.local + (t.local - max(g.local) OVER ()) AS local,
               t.local > max(g.local) OVER () AS is_newer
        FROM given g, target t
    )
    SELECT CASE WHEN bool_and(m.is_newer) IS NOT TRUE THEN NULL
                WHEN z.by_day THEN ltv.cutoffs(array_agg(m.local::date))
                ELSE ltv.cutoffs(array_agg(m.local AT TIME ZONE z.zone)) END
    FROM z, moved m GROUP BY z.by_day, z.zone
$$;
COMMENT ON FUNCTION ltv.newest_cutoffs IS 'the cut-offs of a definition of features moved to the end of the log';

-- The queries of a definition as they are now: bound again, so that nothing but one SELECT can be in their place.
CREATE FUNCTION ltv.current_sources(name text, definition jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.with_sources(ltv.check_definition(definition));
    gone text;
    temporary regclass;
BEGIN
    SELECT r INTO gone
    FROM unnest(ARRAY[spec ->> 'source_relation', spec ->> 'attributes_relation', spec ->> 'customers_relation']
                || ARRAY(SELECT e ->> 'source_relation'
                         FROM jsonb_array_elements(NULLIF(spec -> 'events', 'null')) e)) r
    WHERE r IS NOT NULL AND ltv.relation_named(r) IS NULL;
    IF gone IS NOT NULL AND spec -> 'temporary' = 'false' THEN
        RAISE undefined_table USING
            MESSAGE = format('%s was made from %s, which does not exist', name, gone),
            DETAIL = 'It was dropped.',
            HINT = 'Make the relation again under that name, or make the features anew with ltv_create_features.';
    ELSIF spec ->> 'replaced_by' IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('what %s was made from was dropped and made again by role "%s"',
                             name, spec ->> 'replaced_by'),
            DETAIL = 'The query of the features would run whatever its new owner has put there.',
            HINT = 'If that is as it should be, make the features anew with ltv_create_features.';
    END IF;
    BEGIN
        PERFORM ltv.bind_query(spec ->> 'source'), ltv.bind_query(spec ->> 'attributes'),
                ltv.bind_query(spec ->> 'customers');
        PERFORM ltv.bind_query(e ->> 'source') FROM jsonb_array_elements(NULLIF(spec -> 'events', 'null')) e;
        spec := ltv.dated(ltv.order_log(spec));
        PERFORM ltv.check_event_log(e, spec) FROM jsonb_array_elements(NULLIF(spec -> 'events', 'null')) e;
        IF spec ->> 'attributes' IS NOT NULL THEN
            PERFORM ltv.attribute_match(spec, 'c.customer'),
                    ltv.check_column((ltv.query_columns(spec ->> 'attributes')).names, c, 'attributes')
            FROM jsonb_array_elements_text(spec -> 'attribute_columns') c;
        END IF;
        IF spec ->> 'customers' IS NOT NULL THEN
            PERFORM ltv.check_column((ltv.query_columns(spec ->> 'customers')).names, c, 'customers')
            FROM jsonb_array_elements_text(spec -> 'customer_columns' || (spec -> 'customer_id_column')) c;
        END IF;
        temporary := ltv.temporary_source(spec);
    EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_schema_name OR invalid_parameter_value
        OR feature_not_supported THEN
        IF spec -> 'temporary' = 'false' THEN
            RAISE USING
                ERRCODE = SQLSTATE,
                MESSAGE = format('what %s was made from has changed', name),
                DETAIL = SQLERRM || '.',
                HINT = 'Undo the change, or make the features anew with ltv_create_features.';
        END IF;
    END;
    IF spec -> 'temporary' = 'true'
       AND (SELECT c.relnamespace FROM pg_class c WHERE c.oid = temporary) IS DISTINCT FROM pg_my_temp_schema() THEN
        RAISE feature_not_supported USING
            MESSAGE = format('%s was made from a temporary table, which only the session that made it can see', name),
            HINT = 'Refresh it in that session, or make the features anew from an ordinary or an unlogged table.';
    END IF;
    RETURN spec;
END
$$;
COMMENT ON FUNCTION ltv.current_sources IS 'a definition with queries that work today, or an error';

-- Runs as the owner of the relation. The argument names it by name and oid, has its definition, and says which cut-offs
-- are wanted: as_of, the newest ones, or those of the definition. Returns the definition for them.
CREATE FUNCTION ltv.refill_features(argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := argument ->> 'name';
    relation regclass := (argument ->> 'relation')::oid::regclass;
    spec jsonb;
    today date;
    facts ltv.log_facts;
    as_of ltv.cutoffs := argument ->> 'as_of';
BEGIN
    IF argument #> '{definition,materialized}' = 'true' THEN
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', name);
    END IF;
    IF name::regclass <> relation THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('%s was replaced while it was being refreshed', name);
    END IF;
    spec := ltv.current_sources(name, argument -> 'definition');
    today := (now() AT TIME ZONE (spec ->> 'time_zone'))::date;
    facts := ltv.log_facts(spec, today);
    IF NULLIF(spec -> 'age', 'null') IS NOT NULL THEN
        IF as_of IS NOT NULL THEN
            RAISE invalid_parameter_value USING MESSAGE = format('%s has no cut-offs', name),
                DETAIL = 'Each customer is looked at so many days after the start.',
                HINT = 'Leave as_of out to add those who have reached the age since.';
        END IF;
    ELSIF argument -> 'newest' = 'true' THEN
        as_of := ltv.newest_cutoffs(spec, facts);
    END IF;
    IF as_of IS NOT NULL THEN
        spec := ltv.with_cutoffs(spec, as_of);
        IF spec -> 'unit' <> argument #> '{definition,unit}' THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('the cut-offs of %s are %ss', name, argument #>> '{definition,unit}'),
                HINT = 'Give the new as_of in the same way, because it is the type of the column as_of.';
        END IF;
    END IF;
    PERFORM ltv.check_cutoffs(spec, facts);
    PERFORM ltv.fill_features(name, relation, spec, facts, today);
    PERFORM ltv.say_left_out(facts);
    PERFORM ltv.say_unfinished(spec, facts);
    RETURN spec;
END
$$;
COMMENT ON FUNCTION ltv.refill_features IS 'makes features again, as their owner';

CREATE FUNCTION ltv.refresh_features(
    relation regclass, as_of ltv.cutoffs, newest boolean DEFAULT false
) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.feature_definition(relation, to_change => true);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation);
BEGIN
    IF relation IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name of the relation must not be null',
            HINT = 'Name features made by ltv_create_features.';
    ELSIF spec IS NULL AND ltv.feature_facts(relation) IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', relation),
            DETAIL = format('It belongs to role "%s".', owner);
    ELSIF spec IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('%s was not made by ltv_create_features', relation),
            DETAIL = 'What was made in its place, or copied from features, has no definition.',
            HINT = 'Only features whose definition is known can be made again.';
    END IF;
    spec := ltv.run_as(owner, NULL, NULL, 'SELECT ltv.refill_features($2)', jsonb_build_object(
        'name', ltv.qualified_name(relation), 'relation', relation::oid, 'definition', spec,
        'as_of', as_of, 'newest', newest));
    PERFORM ltv.save_definition(relation, spec);
    RETURN relation;
END
$$;
COMMENT ON FUNCTION ltv.refresh_features IS 'see ltv_refresh_features';

CREATE FUNCTION ltv.refresh_features(name text, as_of ltv.cutoffs) RETURNS regclass
LANGUAGE sql
AS $$ SELECT ltv.refresh_features(ltv.bind_relation(name), as_of) $$;
COMMENT ON FUNCTION ltv.refresh_features(text, ltv.cutoffs) IS 'see ltv_refresh_features';

CREATE FUNCTION @extschema@.ltv_refresh_features(name text, as_of ltv.cutoffs DEFAULT NULL) RETURNS regclass
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_refresh_features
    IS 'makes features again from the orders of today, for other cut-offs if given';

-- Called by ltv_retrain. Features are moved by whoever may; others are trained on as they are, which is said.
CREATE FUNCTION ltv.refresh_to_newest(base jsonb, as_of ltv.cutoffs) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    features regclass := ltv.relation_named(base ->> 'relation');
    owner oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = features);
BEGIN
    IF ltv.feature_facts(features) IS NULL THEN
        IF as_of IS NOT NULL THEN
            RAISE invalid_parameter_value USING MESSAGE = 'as_of needs features made by ltv_create_features',
                DETAIL = format('The recipe trains on %s.', COALESCE(base ->> 'relation', 'a query')),
                HINT = 'Leave as_of out and refresh the data in your own way before retraining.';
        END IF;
    ELSIF as_of IS NULL AND NOT pg_has_role(owner, 'USAGE') THEN
        RAISE NOTICE USING MESSAGE = format('%s is not moved to the newest cut-off', features),
            DETAIL = format('It belongs to role "%s"; the model is trained on it as it is.', pg_get_userbyid(owner)),
            HINT = format('Its owner can run: SELECT ltv_refresh_features(%L);', features);
    ELSE
        PERFORM ltv.refresh_features(features, as_of, as_of IS NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.refresh_to_newest IS
    'refreshes a relation of features, if it is one, to the newest cut-off whose horizon has passed';
