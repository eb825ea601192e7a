-- Sources and other arguments that many functions share: where a function takes a relation it takes a query too.
--
-- What a name means depends on the search_path of whoever gives it. So a public function without a search_path of its
-- own binds its caller's text first, and what is behind it works with qualified names in a search_path of ours.

CREATE FUNCTION ltv.bind_query(source text) RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_bind_query';
COMMENT ON FUNCTION ltv.bind_query
    IS 'a relation, or a query, which must be one SELECT that changes nothing, as a query with qualified names';

CREATE FUNCTION ltv.given_query(source text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF source IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the query must not be null',
            HINT = 'Give the name of a relation, or a query that starts with SELECT or WITH.';
    END IF;
    RETURN ltv.bind_query(source);
END
$$;
COMMENT ON FUNCTION ltv.given_query IS 'the same for a query that must be given';

CREATE FUNCTION ltv.bind_relation(source text) RETURNS regclass
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_bind_relation';
COMMENT ON FUNCTION ltv.bind_relation IS 'the relation that a text names; NULL for a query';

CREATE FUNCTION ltv.query_columns(
    query text, OUT names text[], OUT types oid[], OUT typmods int[], OUT collations oid[])
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ltv_query_columns';
COMMENT ON FUNCTION ltv.query_columns IS 'names and types of the columns of a bound query, which is not run';

CREATE FUNCTION ltv.query_relations(query text) RETURNS regclass[]
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ltv_query_relations';
COMMENT ON FUNCTION ltv.query_relations IS 'the relations that a bound query reads, also through views';

CREATE FUNCTION ltv.gather(query text) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE query;
END
$$;
COMMENT ON FUNCTION ltv.gather IS 'the rows of a bound query, all of them before the first is used';

-- Citus sends what it can of a statement to other nodes, as text. A whole row of a subquery loses the names of its
-- columns on the way there, and cannot come back. So statements of ours that score rows read distributed tables apart.
CREATE FUNCTION ltv.gathered_query(query text, OUT gathered text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_distributed boolean := false;
    columns record;
BEGIN
    gathered := query;
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = ANY ($1))'
            INTO is_distributed USING ltv.query_relations(query);
    END IF;
    IF is_distributed THEN
        columns := ltv.query_columns(query);
        gathered := format('SELECT * FROM ltv.gather(%L) AS g(%s)', query,
            (SELECT string_agg(format('%I %s', c.name, format_type(c.type, c.typmod)), ', ' ORDER BY c.i)
             FROM unnest(columns.names, columns.types, columns.typmods) WITH ORDINALITY AS c(name, type, typmod, i)));
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.gathered_query
    IS 'a bound query whose rows can be scored whole, also where Citus distributes what it reads';

CREATE FUNCTION ltv.reading_cost(query text) RETURNS float8
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'ltv_reading_cost';
COMMENT ON FUNCTION ltv.reading_cost IS
    'what the planner thinks that reading a bound query costs; null where it calls volatile functions';

-- Told apart from functions of others by what belongs to the extension, never by name.
CREATE VIEW ltv.functions AS
SELECT p.oid, p.proname AS name, p.pronamespace = e.extnamespace AS public, p.proargnames[1:p.pronargs] AS arguments,
       p.prosrc AS symbol, p.prosqlbody IS NOT NULL AS is_sql
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d
    ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
WHERE e.extname = 'pg_ltv';
COMMENT ON VIEW ltv.functions IS 'the functions of the extension';
GRANT SELECT ON ltv.functions TO PUBLIC;

-- Each purpose that draws customers has a salt of its own. Called for each row, hence no SET clause.
CREATE FUNCTION ltv.customer_fraction(salt text, id text) RETURNS float8
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_customer_fraction';
COMMENT ON FUNCTION ltv.customer_fraction
    IS 'a number from 0 to 1 that belongs to a customer: '
       'the first four bytes of the SHA-256 of salt and id in UTF-8, over 2^32';

-- Runs a statement with the rights of a role that the caller could become with SET ROLE, in a security-restricted
-- operation: $1 is the source, bound in the search_path that it was written for, $2 the argument. Returns its first
-- column. Without a source the statement itself runs in that search_path.
CREATE FUNCTION ltv.run_as(
    role regrole, path text, source text, statement text, argument jsonb DEFAULT NULL
) RETURNS jsonb
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ltv_run_as';
COMMENT ON FUNCTION ltv.run_as IS 'runs stored SQL with the rights of the role that it belongs to';

-- Where the name has no schema, it is one of the schema given, which is the caller's current one.
CREATE FUNCTION ltv.relation_name(name text, schema name) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[];
BEGIN
    IF name IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name must not be null';
    END IF;
    BEGIN
        parts := parse_ident(name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := NULL;
    END;
    IF COALESCE(cardinality(parts), 3) > 2 THEN
        RAISE invalid_name USING MESSAGE = format('"%s" is not the name of a relation', name),
            HINT = 'Give a name such as features or marketing.features; '
                   'unusual names need double quotes inside the text.';
    END IF;
    IF cardinality(parts) = 1 THEN
        parts := schema::text || parts;
    END IF;
    IF parts[1] IS NULL OR to_regnamespace(quote_ident(parts[1])) IS NULL THEN
        RAISE invalid_schema_name USING
            MESSAGE = COALESCE('schema "' || parts[1] || '" does not exist',
                               'no schema has been selected to create in');
    END IF;
    RETURN format('%I.%I', parts[1], parts[2]);
END
$$;
COMMENT ON FUNCTION ltv.relation_name IS 'the qualified, quoted name of a relation, which may have to be made';

CREATE FUNCTION ltv.new_relation(name text, schema name, kind text DEFAULT 'features') RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made text := ltv.relation_name(name, schema);
BEGIN
    IF to_regclass(made) IS NOT NULL THEN
        RAISE duplicate_table USING MESSAGE = format('relation "%s" already exists', name),
            HINT = CASE kind
                WHEN 'campaign' THEN 'ltv_refresh_campaign makes the list of an existing campaign again; otherwise '
                                     'drop it, or choose another name.'
                ELSE 'ltv_refresh_features fills existing features again; otherwise drop it, or choose another name.'
                END;
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION ltv.new_relation IS 'the qualified, quoted name of a relation yet to be made';

CREATE FUNCTION ltv.check_column(names text[], wanted text, argument text) RETURNS int
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place int := array_position(names, wanted);
BEGIN
    IF place IS NULL THEN
        RAISE undefined_column USING MESSAGE = format('column "%s" does not exist', wanted),
            DETAIL = format('It is named by the argument %s. The columns are: %s.', argument,
                            array_to_string(names[:40], ', ')
                            || CASE WHEN cardinality(names) > 40 THEN ', ...' ELSE '' END),
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
        SELECT v.recipe ->> 'id_column' INTO own FROM ltv.readable_versions v
        WHERE v.model = check_id_column.model ORDER BY v.version DESC LIMIT 1;
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
