-- Making a relation of features, and filling it again. What is here runs as the
-- owner of the relation and touches no catalog.

-- Cut-offs to learn from where none is named: the last day whose horizon has ended, the same day of the six months
-- before it, and the day a year before the end of the log, because what is learnt is used from that end on and so seen
-- in its season; of these all that have at least a third of the log up to the last one before them.
CREATE FUNCTION ltv.training_cutoffs(definition jsonb, facts ltv.log_facts) RETURNS ltv.cutoffs
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first_day date := facts.first_day;
    last_day date := COALESCE((ltv.log_end(definition)).day, facts.last_day);
    latest date := (last_day - (definition ->> 'horizon')::interval)::date;
    days date[];
BEGIN
    IF latest > first_day IS NOT TRUE THEN
        RAISE invalid_parameter_value USING
            MESSAGE = CASE WHEN first_day IS NULL THEN 'the log is empty: there is no cut-off to learn from'
                           ELSE 'the log is too short for the horizon: there is no cut-off to learn from' END,
            DETAIL = CASE WHEN first_day IS NULL THEN 'No row has a customer, a date that can be and a finite amount.'
                          ELSE format('The log goes from %s to %s.', first_day, last_day) END,
            HINT = CASE WHEN first_day IS NULL THEN 'Check the source, and the columns that hold these.'
                        ELSE 'Give a shorter horizon, or a cut-off in as_of for features without a label.' END;
    END IF;
    days := ARRAY(
        WITH monthly AS (SELECT (latest - make_interval(months => k))::date AS d FROM generate_series(0, 6) k),
             in_season AS (SELECT (last_day - interval '1 year')::date AS d)
        SELECT c.d FROM (TABLE monthly UNION ALL
                         SELECT i.d FROM in_season i
                         WHERE i.d < latest AND NOT EXISTS (SELECT FROM monthly m WHERE abs(m.d - i.d) <= 15)) c
        WHERE c.d >= first_day + (latest - first_day) / 3 ORDER BY c.d);
    RAISE NOTICE USING
        MESSAGE = format('as_of is left out: cut-offs to learn from are %s', array_to_string(days, ', ')),
        DETAIL = format('The log goes from %s to %s; the horizon of each has ended by then.', first_day, last_day);
    RETURN ltv.cutoffs(days);
END
$$;
COMMENT ON FUNCTION ltv.training_cutoffs
    IS 'the cut-offs of features to train on, chosen by the log and the horizon of a definition';

-- SQL that yields the instant (or day) up to which the log is known to be complete: that of its last order, unless the
-- user knows better. A table is told, a view looks whenever it is read. Of customers who are looked at by age the other
-- logs tell, too, how far is known; and their last day must be over, because what was made of it is not made again.
CREATE FUNCTION ltv.known_log_end(definition jsonb, facts ltv.log_facts) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    log_end record := ltv.log_end(definition);
    column_name text := CASE definition ->> 'unit' WHEN 'day' THEN 'day' ELSE 'ts' END;
    known text;
BEGIN
    known := CASE WHEN log_end.day IS NULL AND definition -> 'materialized' = 'false' THEN
                format('(SELECT pg_catalog.max(s.%s) FROM %s)', column_name, ltv.features_orders(definition, NULL))
             WHEN column_name = 'day' THEN format('%L::pg_catalog.date', COALESCE(log_end.day, facts.last_day))
             ELSE format('%L::pg_catalog.timestamptz', COALESCE(log_end.instant, facts.last_instant)) END;
    IF NULLIF(definition -> 'age', 'null') IS NULL THEN
        RETURN known;
    ELSIF log_end.day IS NULL THEN
        known := format('GREATEST(%s)', concat_ws(', ', known, (
            SELECT string_agg(ltv.last_event_day(definition, e), ', ')
            FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) e)));
    END IF;
    RETURN format('LEAST(%s, (pg_catalog.now() AT TIME ZONE %L)::pg_catalog.date - 1)', known,
                  definition ->> 'time_zone');
END
$$;
COMMENT ON FUNCTION ltv.known_log_end IS 'the end of the log of a definition of features, as SQL';

CREATE FUNCTION ltv.last_event_day(definition jsonb, log jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'(SELECT pg_catalog.max(%s) FROM (%s\n) o WHERE %s)', t.day, log ->> 'source', t.possible)
    FROM ltv.log_times(log, definition ->> 'time_zone', NULL) t
$$;
COMMENT ON FUNCTION ltv.last_event_day IS 'the last day of another log, as SQL';

CREATE FUNCTION ltv.check_cutoffs(definition jsonb, facts ltv.log_facts) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log_end record := ltv.log_end(definition);
    first_future date;
BEGIN
    -- It may be tomorrow already where the session is.
    SELECT min(c.as_of_day) INTO first_future FROM ltv.features_cutoffs(definition) c
    WHERE c.as_of_day > greatest((now() AT TIME ZONE (definition ->> 'time_zone'))::date, current_date);
    IF first_future IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the cut-off %s lies in the future', first_future),
            DETAIL = format('The log ends on %s.', COALESCE(log_end.day, facts.last_day)::text, 'no day, it is empty'),
            HINT = 'Features can only be made of what has happened; give an earlier as_of.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_cutoffs IS 'an error for cut-offs in the future';

-- Columns are told apart by name; those that the user has added are his.
CREATE FUNCTION ltv.check_columns(relation regclass, definition jsonb, query text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made record := ltv.query_columns(query);
    missing text;
    other text;
    own text[] := ARRAY(SELECT a.attname::text FROM pg_attribute a
                        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
                        ORDER BY a.attnum);
BEGIN
    SELECT string_agg(m.name, ', ' ORDER BY m.i) FILTER (WHERE a.attname IS NULL),
           string_agg(format('%s is %s instead of %s',
                             m.name, format_type(a.atttypid, NULL), format_type(m.type, NULL)),
                      ', ' ORDER BY m.i)
               FILTER (WHERE a.atttypid <> m.type)
    INTO missing, other FROM unnest(made.names, made.types) WITH ORDINALITY AS m(name, type, i)
    LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = m.name AND a.attnum > 0 AND NOT a.attisdropped;
    IF missing IS NOT NULL THEN
        RAISE undefined_column USING MESSAGE = format('%s lacks columns of its definition: %s', relation, missing),
            DETAIL = 'Nothing was changed.',
            HINT = 'Give it the columns again, or drop it and make the features anew with ltv_create_features.';
    ELSIF other IS NOT NULL THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('columns of %s are of other types than its definition makes: %s', relation, other),
            DETAIL = 'Nothing was changed.',
            HINT = 'Drop it and make the features anew with ltv_create_features.';
    ELSIF definition -> 'materialized' = 'false' AND made.names <> own THEN
        RAISE invalid_table_definition USING
            MESSAGE = format('the view %s has other columns than its definition makes', relation),
            DETAIL = 'Nothing was changed.',
            HINT = 'Drop it and make the features anew with ltv_create_features.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_columns IS 'an error unless a relation of features has the columns of its definition';

-- Policies of the table would hide rows from its own owner, if they are forced on him.
CREATE FUNCTION ltv.empty_features(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
BEGIN
    EXECUTE 'DELETE FROM ONLY ' || name;
END
$$;
COMMENT ON FUNCTION ltv.empty_features IS 'deletes all rows of a table of features';

-- Rows go straight into the table, unless an event trigger has given it something to look after.
CREATE FUNCTION ltv.write_order_features(
    name text, definition jsonb, context ltv.features_context, query text
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    path text := ltv.run_path(definition);
BEGIN
    PERFORM ltv.write_in(path, format('CREATE TABLE %s AS %s WITH NO DATA', name, query));
    RETURN COALESCE(
        ltv.read_in(path, format('SELECT pg_catalog.to_jsonb(ltv.fill_order_features(%L, %s))', name,
                                 ltv.order_features_arguments(definition, context)))::bigint,
        ltv.write_in(path, format('INSERT INTO %s %s', name, query)));
END
$$;
COMMENT ON FUNCTION ltv.write_order_features IS 'makes a table of features that are made of orders alone';

-- Where relation is null, it is made. The logs of all customers are collected at once, in as much memory as PostgreSQL
-- has for building things; what does not fit is spilled. Compiling the statement would take longer than running it.
-- Statistics are of fewer rows than they are by default: of those, how many customers there are is told as well.
CREATE FUNCTION ltv.fill_features(
    name text, relation regclass, definition jsonb, facts ltv.log_facts, today date
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    path text := ltv.run_path(definition);
    is_table boolean := definition -> 'materialized' = 'true';
    context ltv.features_context;
    query text;
    options text;
    columns text;
    filled bigint;
    parts int;
    memory text := current_setting('work_mem');
    least_scan text := current_setting('min_parallel_table_scan_size');
    setup_cost text := current_setting('parallel_setup_cost');
    tuple_cost text := current_setting('parallel_tuple_cost');
    statistics int := current_setting('default_statistics_target');
BEGIN
    PERFORM ltv.check_attributes(definition);
    context.today := CASE WHEN is_table THEN today END;
    context.log_end := ltv.known_log_end(definition, facts);
    query := CASE WHEN is_table THEN ltv.table_query(definition, context)
                  ELSE ltv.features_query(definition, context) END;
    IF relation IS NOT NULL THEN
        PERFORM ltv.check_columns(relation, definition, query);
    END IF;

    IF NOT is_table THEN
        SELECT format('WITH (%s)', array_to_string(c.reloptions, ', ')) INTO options
        FROM pg_class c WHERE c.oid = relation AND c.reloptions <> '{}';
        PERFORM ltv.write_in(path, format('CREATE OR REPLACE VIEW %s %s AS %s', name, options, query));
        RETURN;
    END IF;
    parts := CASE WHEN relation IS NULL THEN ltv.feature_parts(definition) ELSE 1 END;
    PERFORM set_config('work_mem', greatest(pg_size_bytes(memory),
        pg_size_bytes(current_setting('maintenance_work_mem')) / parts) / 1024 || 'kB', true);
    IF relation IS NULL AND ltv.plain_id(definition) IS NOT NULL THEN
        filled := ltv.write_order_features(name, definition, context, query);
    ELSIF parts > 1 THEN
        -- That each process has customers of its own is better than whatever the planner would think of.
        PERFORM set_config('min_parallel_table_scan_size', '1TB', true), set_config('parallel_setup_cost', '0', true),
                set_config('parallel_tuple_cost', '0', true);
        filled := ltv.write_in(path, format('CREATE TABLE %s AS %s', name,
                                            ltv.features_in_parts(definition, context, parts)));
        PERFORM set_config('min_parallel_table_scan_size', least_scan, true),
                set_config('parallel_setup_cost', setup_cost, true),
                set_config('parallel_tuple_cost', tuple_cost, true);
    ELSIF relation IS NULL THEN
        filled := ltv.write_in(path, format('CREATE TABLE %s AS %s', name, query));
    ELSIF NULLIF(definition -> 'age', 'null') IS NOT NULL THEN
        filled := ltv.write_in(path, ltv.growth_statement(name, definition, query));
    ELSE
        PERFORM ltv.empty_features(name);
        SELECT string_agg(quote_ident(n), ', ' ORDER BY i) INTO columns
        FROM unnest((ltv.query_columns(query)).names) WITH ORDINALITY AS c(n, i);
        filled := ltv.write_in(path, format('INSERT INTO %s (%s) %s', name, columns, query));
    END IF;
    PERFORM set_config('work_mem', memory, true);
    PERFORM set_config('default_statistics_target', least(statistics, 25)::text, true);
    EXECUTE 'ANALYZE ' || name;
    PERFORM set_config('default_statistics_target', statistics::text, true);
    IF filled = 0 AND (relation IS NULL OR NULLIF(definition -> 'age', 'null') IS NULL) THEN
        RAISE NOTICE USING MESSAGE = format('%s is empty: no customer had %s', name,
            CASE WHEN NULLIF(definition -> 'age', 'null') IS NOT NULL THEN 'reached the age by the end of the log'
                 WHEN definition ->> 'customers' IS NOT NULL THEN 'started by the cut-off'
                 ELSE 'bought anything by the cut-off' END);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.fill_features IS 'makes or refills a relation of features';

-- Those who have reached an age since have no row yet; where a horizon has ended since, its label is filled in. Nothing
-- else is touched.
CREATE FUNCTION ltv.growth_statement(name text, definition jsonb, query text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.fill_in($sql$
        MERGE INTO {name} f USING ({query}) q ON f.{id} {equals} q.{id} AND f.days_since_start = q.days_since_start
        WHEN MATCHED AND ({ended}) THEN UPDATE SET {labels}
        WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})$sql$, jsonb_build_object(
        'name', name, 'query', query, 'id', quote_ident(definition ->> 'customer_id_column'),
        'equals', ltv.equality_operator(c.types[array_position(c.names, definition ->> 'customer_id_column')]),
        'ended', (SELECT string_agg(format('f.%1$I IS NULL AND q.%1$I IS NOT NULL', l.name), ' OR ' ORDER BY l.i)
                  FROM ltv.feature_labels(definition) l),
        'labels', (SELECT string_agg(format('%1$I = COALESCE(f.%1$I, q.%1$I)', l.name), ', ' ORDER BY l.i)
                   FROM ltv.feature_labels(definition) l),
        'columns', (SELECT string_agg(quote_ident(n), ', ' ORDER BY i) FROM unnest(c.names) WITH ORDINALITY AS x(n, i)),
        'values', (SELECT string_agg(format('q.%I', n), ', ' ORDER BY i)
                   FROM unnest(c.names) WITH ORDINALITY AS x(n, i))))
    FROM ltv.query_columns(query) c
$$;
COMMENT ON FUNCTION ltv.growth_statement IS 'the statement that adds what has come since to features by age';

-- What each column means, where tools that show comments find it.
CREATE FUNCTION ltv.comment_features(relation regclass, definition jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    column_comment record;
BEGIN
    FOR column_comment IN
        WITH known(name, meaning) AS (
            SELECT c.name, c.meaning FROM ltv.feature_columns(definition) c
            UNION ALL VALUES (definition ->> 'customer_id_column', 'the customer'),
                             ('as_of', 'the cut-off: nothing after it is in the features'),
                             ('spend_sequence', 'what happened step by step, oldest first')
        )
        SELECT a.attname AS name, COALESCE(k.meaning, 'an attribute of the customer') AS meaning
        FROM pg_attribute a LEFT JOIN known k ON k.name = a.attname
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
          AND (k.meaning IS NOT NULL OR col_description(relation, a.attnum) IS NULL)
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', ltv.qualified_name(relation), column_comment.name,
                       column_comment.meaning);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.comment_features IS 'writes down what the columns of features mean';

-- Customers who are yet to start, ages that nobody has reached, event logs of others.
CREATE FUNCTION ltv.say_absent(name text, definition jsonb, today date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    late bigint;
    is_there boolean;
    age text;
    log text;
BEGIN
    IF definition ->> 'start_column' IS NOT NULL THEN
        late := ltv.read_in(ltv.run_path(definition), format(
            E'SELECT pg_catalog.to_jsonb(pg_catalog.count(*)) FROM (%s\n) c WHERE %s > %L::pg_catalog.date',
            definition ->> 'customers', (ltv.log_times(jsonb_build_object(
                'customer_id_column', definition ->> 'customer_id_column', 'date_column', definition ->> 'start_column',
                'date_type', definition ->> 'start_type'), definition ->> 'time_zone', NULL, 'c')).day, today));
        IF late > 0 THEN
            RAISE NOTICE USING
                MESSAGE = CASE late WHEN 1 THEN 'one customer starts after today and has no row'
                               ELSE format('%s customers start after today and have no row', late) END;
        END IF;
    END IF;
    IF definition -> 'materialized' = 'false' THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO is_there;
    IF NOT is_there THEN
        RETURN;
    END IF;
    FOR age IN SELECT jsonb_array_elements_text(NULLIF(definition -> 'age', 'null')) LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s f WHERE f.days_since_start = %s)', name, age) INTO is_there;
        IF NOT is_there THEN
            RAISE NOTICE USING MESSAGE = format('no customer had reached the age %s by the end of the log', age);
        END IF;
    END LOOP;
    FOR log IN SELECT e ->> 'name' FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) e LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s f WHERE f.%I > 0)', name, log || '_count') INTO is_there;
        IF NOT is_there THEN
            RAISE NOTICE USING MESSAGE = format('the event log "%s" has no event of these customers', log),
                DETAIL = 'Up to the moments at which they are looked at.',
                HINT = 'Check its customer_id_column and its dates.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.say_absent IS 'notices of what was asked for and is not in features';

CREATE FUNCTION ltv.say_unfinished(definition jsonb, facts ltv.log_facts) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log_end record := ltv.log_end(definition);
    last_day date := COALESCE(log_end.day, facts.last_day);
    last_instant timestamptz := COALESCE(log_end.instant, facts.last_instant);
    cutoffs bigint;
    unfinished bigint;
    open_cutoffs text;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE NOT c.finished),
           string_agg(c.as_of_day::text, ', ' ORDER BY c.as_of_day) FILTER (WHERE NOT c.finished)
    INTO cutoffs, unfinished, open_cutoffs
    FROM (SELECT f.as_of_day, COALESCE(CASE definition ->> 'unit' WHEN 'day' THEN f.until_day <= last_day
                                       ELSE f.until::timestamptz <= last_instant END, false) AS finished
          FROM ltv.features_cutoffs(definition) f) c;
    IF unfinished > 0 THEN
        RAISE NOTICE USING MESSAGE = CASE WHEN cutoffs = 1 THEN 'the log ends before the horizon does: ltv is null'
                ELSE format('the log ends before the horizon of %s of %s cut-offs does: their ltv is null',
                            unfinished, cutoffs) END,
            DETAIL = format('The log ends on %s. Cut-offs with an unfinished horizon: %s.',
                            COALESCE(last_day::text, 'no day, it is empty'),
                            open_cutoffs);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.say_unfinished IS 'says which cut-offs have no label yet';
