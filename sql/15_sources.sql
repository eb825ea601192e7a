-- Sources and other arguments that many functions share: where a function takes a relation it takes a query too.
--
-- What looks at the caller's text runs without a search_path of its own, because names mean what they mean to the caller.

CREATE FUNCTION ltv.is_query(source text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT source ~* '^(\s|\(|--[^\n]*\n|/\*([^*]|\*[^/])*\*/)*(select|with|values|table|insert|update|delete|merge|explain|show|create|drop|alter|copy|truncate|call|do|set)(\s|\(|")+\S' $$;
COMMENT ON FUNCTION ltv.is_query IS 'whether a text is meant as an SQL statement and not as the name of a relation';

CREATE FUNCTION ltv.resolve_relation(source text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    found pg_catalog.regclass;
    kind "char";
BEGIN
    IF source IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name of the relation must not be null';
    END IF;
    BEGIN
        found := pg_catalog.to_regclass(source);
    EXCEPTION WHEN invalid_name OR syntax_error THEN
        RAISE invalid_parameter_value USING MESSAGE = pg_catalog.format('"%s" is neither the name of a relation nor a query', source),
            HINT = 'Give a name such as public.orders, or a text that starts with SELECT or WITH.';
    END;
    IF found IS NULL THEN
        RAISE undefined_table USING MESSAGE = pg_catalog.format('relation "%s" does not exist', source),
            HINT = 'Check the spelling and the search_path; names with capital letters need double quotes inside the text.';
    END IF;
    SELECT relkind INTO kind FROM pg_catalog.pg_class WHERE oid = found;
    IF kind NOT IN ('r', 'v', 'm', 'f', 'p') THEN
        RAISE wrong_object_type USING MESSAGE = pg_catalog.format('"%s" is not a table or view', source);
    END IF;
    RETURN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = found);
END
$$;
COMMENT ON FUNCTION ltv.resolve_relation IS 'the qualified, quoted name of a relation that the caller names in the caller''s search_path';

CREATE FUNCTION ltv.new_relation(name text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    parts text[];
    made text;
BEGIN
    IF name IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name must not be null';
    END IF;
    BEGIN
        parts := pg_catalog.parse_ident(name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := NULL;
    END;
    IF COALESCE(pg_catalog.cardinality(parts), 3) > 2 THEN
        RAISE invalid_name USING MESSAGE = pg_catalog.format('"%s" is not the name of a relation', name),
            HINT = 'Give a name such as features or marketing.features; unusual names need double quotes inside the text.';
    END IF;
    IF pg_catalog.cardinality(parts) = 1 THEN
        parts := pg_catalog.current_schema() || parts;
    END IF;
    IF parts[1] IS NULL OR pg_catalog.to_regnamespace(pg_catalog.quote_ident(parts[1])) IS NULL THEN
        RAISE invalid_schema_name USING MESSAGE = COALESCE(pg_catalog.format('schema "%s" does not exist', parts[1]),
                                                           'no schema has been selected to create in');
    END IF;
    made := pg_catalog.format('%I.%I', parts[1], parts[2]);
    IF pg_catalog.to_regclass(made) IS NOT NULL THEN
        RAISE duplicate_table USING MESSAGE = pg_catalog.format('relation "%s" already exists', name),
            HINT = 'ltv_refresh_features fills existing features again; otherwise drop it, or choose another name.';
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION ltv.new_relation IS 'the qualified, quoted name of a relation yet to be made';

CREATE FUNCTION ltv.query_text(source text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT ltv.is_query(source) THEN
        RETURN 'SELECT * FROM ' || ltv.resolve_relation(source);
    ELSIF source ~* '^(\s|\(|--[^\n]*\n|/\*([^*]|\*[^/])*\*/)*(select|with|values|table)\M' THEN
        RETURN pg_catalog.regexp_replace(source, '[;\s]+$', '');
    END IF;
    RAISE invalid_parameter_value USING MESSAGE = 'the query is not a SELECT',
        DETAIL = 'The query only delivers rows; it must not change anything.',
        HINT = 'Give the name of a relation, or a query that starts with SELECT or WITH.';
END
$$;
COMMENT ON FUNCTION ltv.query_text IS 'a source, be it a relation or a query, as the text of a query';

CREATE FUNCTION ltv.query_columns(query text, OUT names text[], OUT types oid[])
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    -- No row is fetched: the outer join makes one of NULLs, which carries the names and types.
    from_clause text := ' FROM (VALUES (1)) ltv_one LEFT JOIN (SELECT * FROM (' || query || E'\n) ltv_s LIMIT 0) ltv_q ON true';
    described json;
    repeated text;
BEGIN
    EXECUTE 'SELECT pg_catalog.row_to_json(ltv_r) FROM (SELECT ltv_q.*' || from_clause || ') ltv_r' INTO described;
    names := ARRAY(SELECT pg_catalog.json_object_keys(described));
    SELECT n INTO repeated FROM pg_catalog.unnest(names) n GROUP BY n HAVING pg_catalog.count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE duplicate_column USING MESSAGE = pg_catalog.format('column "%s" occurs more than once', repeated),
            HINT = 'Give each column of the query its own name with AS.';
    END IF;
    EXECUTE (SELECT 'SELECT ARRAY[' || pg_catalog.string_agg(pg_catalog.format('pg_catalog.pg_typeof(ltv_q.%I)', n), ',' ORDER BY i)
             || ']::pg_catalog.oid[]' || from_clause FROM pg_catalog.unnest(names) WITH ORDINALITY AS c(n, i)) INTO types;
END
$$;
COMMENT ON FUNCTION ltv.query_columns IS 'names and types of the columns of a query, which is not run';

CREATE FUNCTION ltv.check_column(names text[], wanted text, argument text) RETURNS int
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place int := array_position(names, wanted);
BEGIN
    IF place IS NULL THEN
        RAISE undefined_column USING MESSAGE = format('column "%s" does not exist', wanted),
            DETAIL = format('It is named by the argument %s. The columns are: %s.', argument,
                            array_to_string(names[:40], ', ') || CASE WHEN cardinality(names) > 40 THEN ', ...' ELSE '' END),
            HINT = format('Pass the name of an existing column: %s => ''...''.', substring(argument FROM '^\w+'));
    END IF;
    RETURN place;
END
$$;
COMMENT ON FUNCTION ltv.check_column IS 'the place of a column, or an error that lists the columns';

-- The default 'customer_id' gives way to the name that the model's customers have.
CREATE FUNCTION ltv.check_id_column(names text[], wanted text, model text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own text;
BEGIN
    IF wanted = 'customer_id' AND wanted <> ALL (names) THEN
        SELECT v.recipe ->> 'id_column' INTO own FROM ltv.versions v WHERE v.model = check_id_column.model ORDER BY v.version DESC LIMIT 1;
        IF own = ANY (names) THEN
            RETURN own;
        END IF;
    END IF;
    PERFORM ltv.check_column(names, wanted, 'id_column');
    RETURN wanted;
END
$$;
COMMENT ON FUNCTION ltv.check_id_column IS 'the column that tells customers apart, or an error that lists the columns';

CREATE FUNCTION ltv.check_choice(argument text, given text, choices text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF given <> ALL (choices) THEN
        RAISE invalid_parameter_value USING MESSAGE = format('unknown %s "%s"', argument, given),
            HINT = format('Possible values are: %s.', array_to_string(choices, ', '));
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_choice IS 'an error unless the value is one of the choices; NULL is left to defaults';
