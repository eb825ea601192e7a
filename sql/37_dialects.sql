-- What SQL calls differently from engine to engine, for features that are made elsewhere: PostgreSQL, DuckDB, Spark.

CREATE FUNCTION ltv.check_dialect(dialect text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF dialect IS NULL OR dialect NOT IN ('postgres', 'duckdb', 'spark') THEN
        RAISE invalid_parameter_value USING MESSAGE = CASE WHEN dialect IS NULL THEN 'the dialect must not be null'
                                                           ELSE format('unknown dialect "%s"', dialect) END,
            HINT = 'It is one of: postgres, duckdb, spark.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_dialect IS 'an error for a dialect of SQL that features cannot be written in';

-- Days of instants do not depend on the time zone of a session. Sums are exact everywhere: decimal(38, 18) holds what
-- the features of pg_ltv hold, and what does not fit is an error of the engine. Of a double count the first 15 digits,
-- as for PostgreSQL, of single precision 6.
CREATE FUNCTION ltv.dialect_part(dialect text, part text, a text DEFAULT NULL, b text DEFAULT NULL) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE dialect WHEN 'postgres' THEN p.postgres WHEN 'duckdb' THEN COALESCE(p.duckdb, p.postgres)
                               ELSE COALESCE(p.spark, p.duckdb, p.postgres) END, a, b)
    FROM (VALUES
        ('text', 'CAST(%s AS text)', 'CAST(%s AS varchar)', 'CAST(%s AS string)'),
        ('float', 'CAST(%s AS double precision)', 'CAST(%s AS double)', NULL),
        ('real', 'CAST(%s AS real)', 'CAST(%s AS float)', NULL),
        ('exact', 'CAST(%s AS numeric)', 'CAST(%s AS decimal(38, 18))', NULL),
        ('exact numeric',
         $q$CASE WHEN %1$s > '-infinity' AND %1$s < 'infinity' THEN CAST(%1$s AS numeric) END$q$,
         'CAST(%s AS decimal(38, 18))', NULL),
        ('exact double precision',
         $q$CASE WHEN %1$s > '-infinity' AND %1$s < 'infinity' THEN CAST(%1$s AS numeric) END$q$,
         $q$CASE WHEN isfinite(%1$s) THEN CAST(printf('%%.14e', CAST(%1$s AS double)) AS decimal(38, 18)) END$q$,
         $q$CASE WHEN abs(%1$s) < double('infinity')
                 THEN CAST(format_string('%%.14e', CAST(%1$s AS double)) AS decimal(38, 18)) END$q$),
        ('exact real',
         $q$CASE WHEN %1$s > '-infinity' AND %1$s < 'infinity' THEN CAST(%1$s AS numeric) END$q$,
         $q$CASE WHEN isfinite(%1$s) THEN CAST(printf('%%.5e', CAST(%1$s AS double)) AS decimal(38, 18)) END$q$,
         $q$CASE WHEN abs(%1$s) < double('infinity')
                 THEN CAST(format_string('%%.5e', CAST(%1$s AS double)) AS decimal(38, 18)) END$q$),
        ('days', '(%s - %s)', NULL, 'datediff(%s, %s)'),
        ('after', '(%s + %s)', NULL, 'date_add(%s, %s)'),
        ('months after', $q$CAST(%s + interval '%s months' AS date)$q$, NULL, 'add_months(%s, %s)'),
        ('day of date', 'CAST(%s AS date)', NULL, NULL),
        ('day of timestamp', 'CAST(%s AS date)', NULL, 'CAST(CAST(%s AS timestamp_ntz) AS date)'),
        ('day of timestamptz', 'CAST(%s AT TIME ZONE %s AS date)',
         'CAST(CAST(%s AS timestamptz) AT TIME ZONE %s AS date)',
         'date_from_unix_date(CAST(floor(unix_micros(from_utc_timestamp(CAST(%s AS timestamp), %s))'
         ' / 86400000000) AS int))'),
        ('local instant', 'CAST(%s AS timestamp) AT TIME ZONE %s', NULL,
         -- Of the two instants of an hour that comes twice it is the later one.
         $q$CAST(concat(CAST(convert_timezone(%2$s, 'UTC', %1$s)
                 + CASE WHEN convert_timezone('UTC', %2$s, convert_timezone(%2$s, 'UTC', %1$s) + INTERVAL 1 HOUR) = %1$s
                        THEN INTERVAL 1 HOUR ELSE INTERVAL 0 HOUR END AS string), 'Z') AS timestamp)$q$),
        ('local', '%s', NULL, 'CAST(%s AS timestamp_ntz)'),
        ('instant', '%s', 'CAST(%s AS timestamptz)', 'CAST(%s AS timestamp)'),
        ('instant literal', 'TIMESTAMPTZ %s', NULL, 'TIMESTAMP_LTZ %s'),
        ('finite day', 'CASE WHEN isfinite(%1$s) THEN %1$s END', NULL, '%s'),
        ('mean', 'CAST(round(%s, 40) / CAST(%s AS numeric) AS double precision)', 'CAST(%s AS double) / %s', NULL),
        ('first', '(array_agg(%1$s ORDER BY %2$s) FILTER (WHERE d.net > 0))[1]',
         'arg_min(%s, %s) FILTER (WHERE d.net > 0)', 'min_by(%s, %s) FILTER (WHERE d.net > 0)'),
        ('last', '(array_agg(%1$s ORDER BY %2$s DESC) FILTER (WHERE d.net > 0))[1]',
         'arg_max(%s, %s) FILTER (WHERE d.net > 0)', 'max_by(%s, %s) FILTER (WHERE d.net > 0)'),
        ('steps', 'array_agg(ARRAY[%s] ORDER BY d.day) FILTER (WHERE d.net > 0)',
         'list([%s] ORDER BY d.day) FILTER (WHERE d.net > 0)',
         'transform(array_sort(collect_list(struct(d.day, array(%s) AS step)) FILTER (WHERE d.net > 0)), s -> s.step)'),
        ('last steps', 'b.steps[greatest(1, CAST(b.n AS int) - %1$s + 1):]', 'b.steps[-%1$s:]',
         'slice(b.steps, greatest(1, size(b.steps) - %1$s + 1), %1$s)'),
        ('number in text',
         $q$CASE WHEN trim(%1$s) ~ '^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$' THEN CAST(trim(%1$s) AS numeric) END$q$,
         $q$CASE WHEN regexp_matches(trim(%1$s), '^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$')
                 THEN TRY_CAST(ltrim(trim(%1$s), '+') AS decimal(38, 18)) END$q$,
         $q$CASE WHEN trim(%1$s) RLIKE '^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$'
                 THEN TRY_CAST(trim(%1$s) AS decimal(38, 18)) END$q$)
    ) p (part, postgres, duckdb, spark) WHERE p.part = dialect_part.part AND a IS NOT NULL
$$;
COMMENT ON FUNCTION ltv.dialect_part IS 'an expression in a dialect of SQL';

CREATE FUNCTION ltv.dialect_name(dialect text, name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE dialect WHEN 'postgres' THEN quote_ident(name)
                        WHEN 'duckdb' THEN '"' || replace(name, '"', '""') || '"'
                        ELSE '`' || replace(name, '`', '``') || '`' END
$$;
COMMENT ON FUNCTION ltv.dialect_name IS 'a name in a dialect of SQL';

CREATE FUNCTION ltv.dialect_literal(dialect text, value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE dialect WHEN 'postgres' THEN quote_literal(value)
                        WHEN 'duckdb' THEN '''' || replace(value, '''', '''''') || ''''
                        ELSE '''' || replace(replace(value, '\', '\\'), '''', '\''') || '''' END
$$;
COMMENT ON FUNCTION ltv.dialect_literal IS 'a text as a literal in a dialect of SQL';

-- A query is text in PostgreSQL's SQL, which nobody translates; a relation has a name everywhere.
CREATE FUNCTION ltv.dialect_source(dialect text, query text, relation text, what text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF dialect = 'postgres' THEN
        RETURN format(E'(%s\n)', query);
    ELSIF relation IS NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = format('%s of these features is a query, which cannot be said in the dialect %s', what, dialect),
            DETAIL = 'A query of yours is written in PostgreSQL''s SQL and stays as it is.',
            HINT = 'Make a view of the query, make the features of the view, and give the other engine a table or view '
                   'of the same name.';
    END IF;
    RETURN (SELECT string_agg(ltv.dialect_name(dialect, n), '.' ORDER BY i)
            FROM unnest(parse_ident(relation)) WITH ORDINALITY AS p(n, i));
END
$$;
COMMENT ON FUNCTION ltv.dialect_source IS 'what a log is read from, in a dialect of SQL';

-- The day of a column, and the instant at which it is known.
CREATE FUNCTION ltv.dialect_day(dialect text, type text, expression text, time_zone text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.dialect_part(dialect, 'day of ' || type, expression, ltv.dialect_literal(dialect, time_zone))
$$;
COMMENT ON FUNCTION ltv.dialect_day IS 'the day of a column of a type, in a dialect of SQL';

CREATE FUNCTION ltv.dialect_instant(dialect text, type text, expression text, time_zone text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE type WHEN 'timestamptz' THEN ltv.dialect_part(dialect, 'instant', expression)
                ELSE ltv.dialect_part(dialect, 'local instant', ltv.dialect_part(dialect, 'local',
                         CASE type WHEN 'date' THEN ltv.dialect_part(dialect, 'after', expression, '1')
                                   ELSE expression END), ltv.dialect_literal(dialect, time_zone)) END
$$;
COMMENT ON FUNCTION ltv.dialect_instant IS 'the instant at which a column of a type is known, in a dialect of SQL';

-- What is no finite number is null.
CREATE FUNCTION ltv.dialect_exact(dialect text, type oid, expression text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.dialect_part(dialect, CASE WHEN t.name IN ('numeric', 'double precision', 'real') THEN 'exact ' || t.name
                                          ELSE 'exact' END, expression)
    FROM format_type(ltv.base_type(type), NULL) t(name)
$$;
COMMENT ON FUNCTION ltv.dialect_exact IS 'the exact number in a column of a type, in a dialect of SQL';

-- Types whose values are told apart by an equality of their own, or of texts by a collation, have none of it elsewhere.
CREATE FUNCTION ltv.check_id_elsewhere(dialect text, type oid, what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF dialect <> 'postgres' AND (ltv.id_kind(type) = 'own text' OR type = 'bpchar'::regtype
            OR ltv.id_kind(type) = 'other' AND type NOT IN ('date'::regtype, 'bool'::regtype)) THEN
        RAISE feature_not_supported USING
            MESSAGE = format('customer ids of type %s, as in %s, cannot be said in the dialect %s',
                             format_type(type, NULL), what, dialect),
            HINT = 'Make a view that casts the ids to text, and make the features of the view.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_id_elsewhere IS 'an error for customer ids that another engine compares otherwise';

-- How the ids of two queries are compared, like ltv.id_match.
CREATE FUNCTION ltv.dialect_match(
    dialect text, base_query text, base_column text, base_side text, base_name text,
    other_query text, other_column text, other_side text, other_name text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    base record := ltv.query_columns(base_query);
    other record := ltv.query_columns(other_query);
    types oid[] := ARRAY[ltv.base_type(base.types[array_position(base.names, base_column)]),
                         ltv.base_type(other.types[array_position(other.names, other_column)])];
    kinds text[] := ARRAY[ltv.id_kind(types[1]), ltv.id_kind(types[2])];
    sides text[] := ARRAY[base_side, other_side];
BEGIN
    IF dialect = 'postgres' THEN
        RETURN (SELECT m.condition FROM ltv.id_match(base_query, base_column, base_side, base_name,
                                                     other_query, other_column, other_side, other_name) m);
    END IF;
    PERFORM ltv.check_id_elsewhere(dialect, types[1], base_name), ltv.check_id_elsewhere(dialect, types[2], other_name);
    IF types[1] <> types[2] THEN
        SELECT array_agg(CASE WHEN kinds <@ '{text,integer,decimal}' AND 'text' = ANY (kinds) THEN
                                  CASE s.kind WHEN 'text' THEN ltv.dialect_part(dialect, 'number in text', s.side)
                                              ELSE ltv.dialect_part(dialect, 'exact', s.side) END
                              WHEN kinds <@ '{text,uuid}'
                              THEN format('lower(trim(%s))', ltv.dialect_part(dialect, 'text', s.side))
                              WHEN kinds <@ '{text,enum}' THEN ltv.dialect_part(dialect, 'text', s.side)
                              ELSE s.side END ORDER BY s.i) INTO sides
        FROM unnest(sides, kinds) WITH ORDINALITY AS s(side, kind, i);
    END IF;
    RETURN format('%s = %s', sides[2], sides[1]);
END
$$;
COMMENT ON FUNCTION ltv.dialect_match IS 'how ids of two queries are compared, in a dialect of SQL';
