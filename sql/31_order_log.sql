-- Order logs as they are: whether a source has what features need, with hints that can be pasted, and what is in it.

-- Statements around a query of the user run in the search_path that it was written for. Their errors say what is wrong
-- with it, without the pages of SQL around it that PostgreSQL would show as the context.

CREATE FUNCTION ltv.read_in(path text, statement text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result jsonb;
    detail text;
    hint text;
BEGIN
    PERFORM set_config('search_path', path, true);
    EXECUTE statement INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    PERFORM ltv.raise(SQLSTATE, SQLERRM, NULLIF(detail, ''), NULLIF(hint, ''));
END
$$;
COMMENT ON FUNCTION ltv.read_in IS 'the one value that a query in a search_path yields, as jsonb';

CREATE FUNCTION ltv.write_in(path text, statement text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rows bigint;
    detail text;
    hint text;
BEGIN
    PERFORM set_config('search_path', path, true);
    EXECUTE statement;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    PERFORM ltv.raise(SQLSTATE, SQLERRM, NULLIF(detail, ''), NULLIF(hint, ''));
END
$$;
COMMENT ON FUNCTION ltv.write_in IS 'runs a statement in a search_path and counts the rows it has written';

CREATE FUNCTION ltv.call_text(name text, arguments jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('SELECT %s(%s);', name, string_agg(format('%s => %L', a.pair ->> 0, a.pair ->> 1), ', ' ORDER BY a.i))
    FROM jsonb_array_elements(arguments) WITH ORDINALITY AS a(pair, i) WHERE a.pair ->> 1 IS NOT NULL
$$;
COMMENT ON FUNCTION ltv.call_text IS 'a call of a function, given pairs of names and values, as SQL';

-- The sources of a definition ---------------------------------------------------------------------------------------

CREATE FUNCTION ltv.check_given(
    source text, customer_id_column text, date_column text, value_column text, time_zone text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF source IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'the source must not be null',
            HINT = 'Give the table of orders, or a query.';
    ELSIF customer_id_column IS NULL OR date_column IS NULL OR value_column IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = format('the %s must be given', CASE WHEN customer_id_column IS NULL THEN 'customer_id_column'
                WHEN date_column IS NULL THEN 'date_column' ELSE 'value_column' END),
            HINT = 'For example customer_id_column => ''customer_id'', '
                   'date_column => ''ordered_at'', value_column => ''amount''.';
    ELSIF time_zone IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'the time_zone must not be null',
            HINT = 'Days are cut in it; the default is UTC.';
    END IF;
    PERFORM now() AT TIME ZONE time_zone;
END
$$;
COMMENT ON FUNCTION ltv.check_given IS 'an error where an argument that describes the order log is missing';

-- The rows that features read, with the column in question put right, as the user may give them.
CREATE FUNCTION ltv.repaired_query(
    definition jsonb, given text, column_name text, expression text, new_name text
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('SELECT %s FROM %s o',
                  string_agg(CASE WHEN c.name = column_name THEN format('%s AS %I', expression, new_name)
                                  ELSE format('o.%I', c.name) END, ', ' ORDER BY c.i),
                  COALESCE(definition ->> 'source_relation', '(' || regexp_replace(given, '[;[:space:]]+$', '')
                            || E'\n)'))
    FROM (SELECT x.name, min(x.i) AS i
          FROM unnest(ARRAY[definition ->> 'customer_id_column', definition ->> 'date_column',
                            definition ->> 'value_column']
                      || ARRAY(SELECT jsonb_array_elements_text(definition #> '{sequence,columns}')))
               WITH ORDINALITY AS x(name, i)
          GROUP BY x.name) c
$$;
COMMENT ON FUNCTION ltv.repaired_query IS 'the query that reads a column as what it is meant to be';

-- Where an expression makes of the column what is needed, the hint is a statement that works.
CREATE FUNCTION ltv.raise_wrong_type(
    message text, expression text, column_name text, definition jsonb, function text, given text, arguments jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE datatype_mismatch USING MESSAGE = message,
        HINT = CASE WHEN expression IS NULL THEN 'Name another column, or a query that makes of it what is needed.'
        ELSE COALESCE('Cast it in a query: ' || ltv.call_text(function, jsonb_build_array(jsonb_build_array('source',
                          ltv.repaired_query(definition, given, column_name, expression, column_name))) || arguments),
                      format('Cast it in the source: %s.', expression)) END;
END
$$;
COMMENT ON FUNCTION ltv.raise_wrong_type IS 'raises an error about the type of a column';

-- Whether the source has what features need. Adds the types of the columns to the definition. Function, arguments and
-- the source as it was given are those of the user's call, for a hint that repeats it.
CREATE FUNCTION ltv.order_log(
    definition jsonb, function text DEFAULT NULL, given text DEFAULT NULL, arguments jsonb DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    query text := definition ->> 'source';
    found record := ltv.query_columns(query);
    id_column text := definition ->> 'customer_id_column';
    date_column text := definition ->> 'date_column';
    value_column text := definition ->> 'value_column';
    path text := ltv.run_path(definition);
    date_type text;
    value_type text;
    channel text;
    type oid;
BEGIN
    type := found.types[ltv.check_column(found.names, id_column, 'customer_id_column')];
    BEGIN
        EXECUTE format('SELECT NULL::%s %s NULL::%1$s', format_type(type, NULL), ltv.equality_operator(type));
    EXCEPTION WHEN undefined_function THEN
        PERFORM ltv.raise_wrong_type(
            format('the customer id column "%s" is of type %s, whose values cannot be told apart',
                   id_column, format_type(type, NULL)),
            format('o.%I::text', id_column), id_column, definition, function, given, arguments);
    END;

    type := found.types[ltv.check_column(found.names, date_column, 'date_column')];
    date_type := CASE ltv.base_type(type) WHEN 'date'::regtype THEN 'date' WHEN 'timestamp'::regtype THEN 'timestamp'
                                          WHEN 'timestamptz'::regtype THEN 'timestamptz' END;
    IF date_type IS NULL THEN
        PERFORM ltv.raise_wrong_type(
            format('the date column "%s" is of type %s, neither a date nor a timestamp',
                   date_column, format_type(type, NULL)),
            ltv.date_expression(query, date_column, path), date_column, definition, function, given, arguments);
    END IF;

    FOR channel IN
        SELECT value_column UNION ALL SELECT jsonb_array_elements_text(definition #> '{sequence,columns}')
    LOOP
        type := found.types[ltv.check_column(found.names, channel,
            CASE channel WHEN value_column THEN 'value_column' ELSE 'sequence' END)];
        IF (SELECT t.typcategory FROM pg_type t WHERE t.oid = type) <> 'N' THEN
            PERFORM ltv.raise_wrong_type(
                format('the column "%s" is of type %s, which is not numeric', channel, format_type(type, NULL)),
                ltv.number_expression(query, channel, path), channel, definition, function, given, arguments);
        END IF;
        -- The value column comes first.
        value_type := COALESCE(value_type, format_type(ltv.base_type(type), NULL));
    END LOOP;
    RETURN definition || jsonb_build_object('date_type', date_type, 'value_type', value_type);
END
$$;
COMMENT ON FUNCTION ltv.order_log IS 'a definition with the types of its source, or an error that says what to do';

-- How ids of two queries are compared: by the equality of their type; numbers and texts of different types by what they
-- say. Given and returned are both sides as SQL; the names are for an error.
CREATE FUNCTION ltv.id_match(
    base_query text, base_column text, base_side text, base_name text,
    other_query text, other_column text, other_side text, other_name text,
    OUT left_side text, OUT right_side text, OUT operator text, OUT condition text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    base record := ltv.query_columns(base_query);
    other record := ltv.query_columns(other_query);
    order_type oid := ltv.base_type(base.types[array_position(base.names, base_column)]);
    other_place int := ltv.check_column(other.names, other_column, 'customer_id_column, which ' || other_name
        || ' must have too');
    attribute_type oid := ltv.base_type(other.types[other_place]);
BEGIN
    left_side := base_side;
    right_side := other_side;
    SELECT s.left_side, s.right_side, s.operator INTO left_side, right_side, operator
    FROM ltv.id_sides(base_query, base_column, order_type, base_side, attribute_type, other_side) s;
    IF operator IS NULL THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('"%s" is %s in %s and %s in %s', other_column, format_type(order_type, NULL), base_name,
                             format_type(attribute_type, NULL), other_name),
            HINT = CASE other_name WHEN 'attributes'
                THEN format('Cast one of them in a query, for example attributes => %L.',
                            format('SELECT %I::%s AS %1$I, ... FROM ...', other_column, format_type(order_type, NULL)))
                ELSE 'Cast one of them in a query.' END;
    END IF;
    condition := format('%s %s %s', right_side, operator, left_side);
END
$$;
COMMENT ON FUNCTION ltv.id_match IS 'how ids of two queries are compared, as SQL';

-- No operator where values of these types say nothing of each other.
CREATE FUNCTION ltv.id_sides(
    base_query text, base_column text, order_type oid, order_side text, attribute_type oid, attribute_side text,
    OUT left_side text, OUT right_side text, OUT operator text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kinds text[] := ARRAY[ltv.id_kind(order_type), ltv.id_kind(attribute_type)];
    own_type oid;
    collation_name text;
BEGIN
    left_side := order_side;
    right_side := attribute_side;
    IF order_type = attribute_type THEN
        operator := ltv.equality_operator(order_type);
        IF (SELECT t.typcollation FROM pg_type t WHERE t.oid = order_type) <> 0 THEN
            -- Columns may differ in it; the orders decide which customers are the same.
            EXECUTE format(
                E'SELECT pg_catalog.pg_collation_for(o.%I) FROM (VALUES (1)) one '
                'LEFT JOIN (SELECT * FROM (%s\n) q LIMIT 0) o ON true',
                base_column, base_query) INTO collation_name;
            right_side := right_side || COALESCE(' COLLATE ' || collation_name, '');
        END IF;
        RETURN;
    END IF;
    operator := 'OPERATOR(pg_catalog.=)';
    IF kinds = '{integer,integer}' THEN
        left_side := left_side || '::bigint';
        right_side := right_side || '::bigint';
    ELSIF kinds <@ '{integer,decimal}' THEN
        left_side := left_side || '::numeric';
        right_side := right_side || '::numeric';
    ELSIF kinds <@ '{integer,decimal,float}' THEN
        left_side := left_side || '::float8';
        right_side := right_side || '::float8';
    ELSIF kinds <@ '{text,own text}' AND 'own text' = ANY (kinds) AND NOT kinds = '{"own text","own text"}' THEN
        -- citext and the like: texts are compared as that type does.
        own_type := CASE kinds[1] WHEN 'text' THEN attribute_type ELSE order_type END;
        operator := ltv.equality_operator(own_type);
        left_side := format('%s::%s', left_side, format_type(own_type, NULL));
        right_side := format('%s::%s', right_side, format_type(own_type, NULL));
    ELSIF kinds <@ '{text,enum}' THEN
        left_side := left_side || '::text COLLATE pg_catalog."C"';
        right_side := right_side || '::text COLLATE pg_catalog."C"';
    ELSIF kinds <@ '{text,"own text",integer,decimal}' THEN
        left_side := ltv.number_in(left_side, kinds[1]);
        right_side := ltv.number_in(right_side, kinds[2]);
    ELSIF kinds <@ '{text,"own text",uuid}' THEN
        left_side := format('pg_catalog.lower(pg_catalog.btrim(%s::text COLLATE pg_catalog."C"))', left_side);
        right_side := format('pg_catalog.lower(pg_catalog.btrim(%s::text COLLATE pg_catalog."C"))', right_side);
    ELSE
        operator := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.id_sides IS 'how ids of two types are compared, as SQL';

CREATE FUNCTION ltv.id_kind(type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype) THEN 'integer'
                WHEN t.oid = 'numeric'::regtype THEN 'decimal'
                WHEN t.oid IN ('float4'::regtype, 'float8'::regtype) THEN 'float'
                WHEN t.oid = 'uuid'::regtype THEN 'uuid'
                WHEN t.oid = 'name'::regtype
                     OR t.typcategory = 'S' AND t.typnamespace = 'pg_catalog'::regnamespace THEN 'text'
                WHEN t.typcategory = 'S' THEN 'own text'
                WHEN t.typcategory = 'E' THEN 'enum' ELSE 'other' END
    FROM pg_type t WHERE t.oid = $1
$$;
COMMENT ON FUNCTION ltv.id_kind IS 'what kind of value the ids of a type are';

-- 7, '7', '007' and '7.0' are the same number; a text that is no number is no id among numbers.
CREATE FUNCTION ltv.number_in(side text, kind text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN kind IN ('integer', 'decimal') THEN side || '::numeric'
           ELSE format('CASE WHEN pg_catalog.btrim(%s::text) ~ ''^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$''::text'
                       ' THEN pg_catalog.btrim(%1$s::text)::numeric END', side) END
$$;
COMMENT ON FUNCTION ltv.number_in IS 'the number that an id is or says, as SQL';

CREATE FUNCTION ltv.attribute_match(definition jsonb, base_side text, other_side text DEFAULT NULL) RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.condition FROM ltv.id_match(
        COALESCE(definition ->> 'customers', definition ->> 'source'), definition ->> 'customer_id_column', base_side,
        CASE WHEN definition ->> 'customers' IS NULL THEN 'the orders' ELSE 'customers' END,
        definition ->> 'attributes', definition ->> 'customer_id_column',
        COALESCE(other_side, format('a.%I', definition ->> 'customer_id_column')), 'attributes') m
$$;
COMMENT ON FUNCTION ltv.attribute_match IS 'how ids of attributes are compared with those of the customers, as SQL';

-- Two rows of one customer (of one time) would make two rows of one.
CREATE FUNCTION ltv.check_single(path text, query text, id_column text, side text, date_column text, argument text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    repeated text := ltv.read_in(path,
        format('SELECT pg_catalog.to_jsonb(pg_catalog.min(a.%1$I::text)) FROM (%2$s' || E'
) a WHERE %3$s IS NOT NULL GROUP BY %3$s%4$s HAVING pg_catalog.count(*) > 1 ORDER BY 1 LIMIT 1',
        id_column, query, side, CASE WHEN date_column IS NOT NULL THEN format(', a.%I', date_column) END)) #>> '{}';
BEGIN
    IF repeated IS NOT NULL THEN
        RAISE cardinality_violation USING
            MESSAGE = format('%s has more than one row for customer "%s"', argument, repeated)
                      || CASE WHEN date_column IS NULL THEN '' ELSE ' and the same ' || date_column END,
            HINT = 'Give one row per customer, for example with SELECT DISTINCT ON.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_single IS 'an error where a query has more than one row for a customer';

CREATE FUNCTION ltv.check_attributes(definition jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id_column text := definition ->> 'customer_id_column';
    match record;
BEGIN
    IF definition ->> 'customers' IS NOT NULL THEN
        PERFORM ltv.check_single(ltv.run_path(definition), definition ->> 'customers', id_column,
                                 format('a.%I', id_column), NULL, 'customers');
    END IF;
    IF definition ->> 'attributes' IS NOT NULL THEN
        PERFORM ltv.check_column((ltv.query_columns(definition ->> 'attributes')).names, c, 'attributes')
        FROM jsonb_array_elements_text(definition -> 'attribute_columns') c;
        match := ltv.id_match(
            COALESCE(definition ->> 'customers', definition ->> 'source'), id_column, 'c.customer',
            CASE WHEN definition ->> 'customers' IS NULL THEN 'the orders' ELSE 'customers' END,
            definition ->> 'attributes', id_column, format('a.%I', id_column), 'attributes');
        PERFORM ltv.check_single(ltv.run_path(definition), definition ->> 'attributes', id_column, match.right_side,
                                 definition ->> 'attributes_date_column', 'attributes');
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_attributes IS 'an error where customers or attributes have two rows for one customer';

-- What is in the log --------------------------------------------------------------------------------------------------

CREATE TYPE ltv.log_facts AS (
    first_day date, last_day date, last_instant timestamptz, late bigint, latest date, early bigint, earliest date);

-- One pass over the log that looks for the ends, and another one where these cannot be. Late are orders of days to
-- come, early are those that cannot be orders because of computers' first day.
CREATE FUNCTION ltv.log_facts(definition jsonb, today date) RETURNS ltv.log_facts
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    path text := ltv.run_path(definition);
    times record := ltv.log_times(definition, definition ->> 'time_zone', today);
    kind text := definition ->> 'date_type';
    facts ltv.log_facts;
BEGIN
    -- What every order has to say costs more to ask than when it was, so the ends are looked for first. An infinite
    -- date is none of our days.
    SELECT * INTO facts
    FROM jsonb_populate_record(NULL::ltv.log_facts, ltv.read_in(path, ltv.fill_in($sql$
        SELECT pg_catalog.to_jsonb(f) FROM (
            SELECT {day} AS first_day, {last_day} AS last_day, {last_instant} AS last_instant,
                   0 AS late, 0 AS early
            FROM (SELECT pg_catalog.min(r.d) AS first, pg_catalog.max(r.d) AS last
                  FROM (SELECT o.{date} AS d FROM ({source}
                        ) o WHERE {id} IS NOT NULL AND {known}) r) e
            WHERE pg_catalog.isfinite(e.first) AND pg_catalog.isfinite(e.last)) f$sql$, jsonb_build_object(
        'date', quote_ident(definition ->> 'date_column') || '::pg_catalog.' || quote_ident(kind),
        'source', definition ->> 'source', 'id', times.id, 'known', ltv.known_amount(definition),
        'day', ltv.moment_of(kind, 'e.first', definition ->> 'time_zone', 'day'),
        'last_day', ltv.moment_of(kind, 'e.last', definition ->> 'time_zone', 'day'),
        'last_instant', ltv.moment_of(kind, 'e.last', definition ->> 'time_zone', 'ts')))));
    IF facts.first_day >= '1970-01-02' AND facts.last_day <= today THEN
        RETURN facts;
    END IF;
    SELECT * INTO facts
    FROM jsonb_populate_record(NULL::ltv.log_facts, ltv.read_in(path, ltv.fill_in($sql$
        SELECT pg_catalog.to_jsonb(f) FROM (
            SELECT pg_catalog.min(s.day) FILTER (WHERE {possible}) AS first_day,
                   pg_catalog.max(s.day) FILTER (WHERE {possible}) AS last_day,
                   pg_catalog.max(s.ts) FILTER (WHERE {possible}) AS last_instant,
                   pg_catalog.count(*) FILTER (WHERE s.day > {today}) AS late,
                   pg_catalog.max(s.day) FILTER (WHERE s.day > {today}) AS latest,
                   pg_catalog.count(*) FILTER (WHERE s.day < {first}) AS early,
                   pg_catalog.min(s.day) FILTER (WHERE s.day < {first}) AS earliest
            FROM {orders}) f$sql$, jsonb_build_object(
        'possible', format('s.day >= %L::pg_catalog.date AND s.day <= %L::pg_catalog.date', date '1970-01-02', today),
        'today', format('%L::pg_catalog.date', today), 'first', format('%L::pg_catalog.date', date '1970-01-02'),
        'orders', ltv.features_orders(definition, today, with_impossible => true)))));
    RETURN facts;
END
$$;
COMMENT ON FUNCTION ltv.log_facts(jsonb, date) IS 'from when to when the log goes, and what in it cannot be';

CREATE FUNCTION ltv.say_left_out(facts ltv.log_facts) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF facts.late > 0 THEN
        RAISE NOTICE USING MESSAGE = CASE facts.late WHEN 1 THEN 'one order is dated after today and left out'
                ELSE format('%s orders are dated after today and left out', facts.late) END,
            DETAIL = format('The latest is dated %s; without them the log ends on %s.', facts.latest,
                            COALESCE(facts.last_day::text, 'no day, it is empty'));
    END IF;
    IF facts.early > 0 THEN
        RAISE NOTICE USING
            MESSAGE = CASE facts.early WHEN 1 THEN 'one order is dated 1970-01-01 or earlier and left out'
                ELSE format('%s orders are dated 1970-01-01 or earlier and left out', facts.early) END,
            DETAIL = format('The earliest is dated %s: such dates stand for a date that is not known.', facts.earliest);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.say_left_out IS 'says which orders are left out because of their dates';
