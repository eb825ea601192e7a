-- What columns of the wrong type may hold: the expressions that make dates and numbers of them, for hints that can be
-- pasted. They are tried on a sample, in no search_path but ours: what a column holds decides which functions and
-- operators would be a better fit than those of PostgreSQL.

CREATE FUNCTION ltv.sample_of(query text, column_name text, path text, filled boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found record := ltv.query_columns(query);
    type oid := ltv.base_type(found.types[array_position(found.names, column_name)]);
BEGIN
    RETURN format('(SELECT s.v::%s AS %I FROM jsonb_array_elements_text(%L) s(v)) o',
        format_type(type, NULL), column_name, COALESCE(ltv.read_in(path, ltv.fill_in($sql$
            SELECT pg_catalog.jsonb_agg(pg_catalog."left"(s.v, 200))
            FROM (SELECT o.{column}::pg_catalog.text AS v FROM ({query}
                  ) o WHERE o.{column} IS NOT NULL{filled} LIMIT 1000) s$sql$, jsonb_build_object(
            'column', quote_ident(column_name), 'query', query,
            'filled', CASE WHEN filled THEN format(' AND o.%I::pg_catalog.text <> ''''::pg_catalog.text',
                                                   column_name) END))), '[]'));
EXCEPTION WHEN data_exception OR cannot_coerce THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.sample_of
    IS 'SQL for some values of a column of a query, which is read in a search_path; null where it cannot be read';

-- Texts of a pattern, and the expression that makes a date or time of them. Numbers are days written without hyphens,
-- or seconds, milliseconds, microseconds or nanoseconds since 1970.
CREATE FUNCTION ltv.date_readings() RETURNS TABLE (i int, pattern text, expression text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES (1, '^[0-9]{8}$', 'to_date(%s::text, ''YYYYMMDD'')'),
           (2, '^[0-9.]+$', 'to_timestamp(%s::numeric)'),
           (3, '^[0-9.]+$', 'to_timestamp(%s::numeric / 1000)'),
           (4, '^[0-9.]+$', 'to_timestamp(%s::numeric / 1000000)'),
           (5, '^[0-9.]+$', 'to_timestamp(%s::numeric / 1000000000)'),
           (6, '^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$', '%s::date'),
           (7, '^[0-9]{4}-.*[0-9]:[0-9].*([A-Za-z]|[+-][0-9])', '%s::timestamptz'),
           (8, '^[0-9]{4}-', '%s::timestamp'),
           (9, '^[0-9]{1,2}[.]', 'to_date(%s, ''DD.MM.YYYY'')'),
           (10, '^[0-9]{1,2}/', 'to_date(%s, ''MM/DD/YYYY'')'),
           (11, '^[0-9]{1,2}/', 'to_date(%s, ''DD/MM/YYYY'')'),
           (12, '', '%s::timestamp')
$$;
COMMENT ON FUNCTION ltv.date_readings IS 'ways to read dates out of numbers and texts';

-- The sample must be of our times: amounts would read as seconds since 1970. Blank texts are missing dates.
CREATE FUNCTION ltv.date_expression(query text, column_name text, path text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text := format('o.%I', column_name);
    base text;
    reading record;
    sample text;
    reads boolean;
BEGIN
    FOREACH base IN ARRAY ARRAY[plain, format('NULLIF(%s, '''')', plain)] LOOP
        sample := ltv.sample_of(query, column_name, path, filled => base <> plain);
        IF sample IS NULL THEN
            RETURN NULL;
        END IF;
        FOR reading IN SELECT * FROM ltv.date_readings() ORDER BY i LOOP
            BEGIN
                EXECUTE ltv.fill_in($sql$
                    SELECT bool_and(r.given ~ {pattern}) AND min(r.t) >= '1980-01-01' AND max(r.t) < '2200-01-01'
                    FROM (SELECT ({given})::text AS given, ({reading})::timestamptz AS t FROM {sample}) r$sql$,
                    jsonb_build_object('pattern', quote_literal(reading.pattern), 'given', base,
                                       'reading', format(reading.expression, base), 'sample', sample)) INTO reads;
                IF reads THEN
                    RETURN format(reading.expression, base);
                END IF;
            EXCEPTION WHEN data_exception OR cannot_coerce OR undefined_function THEN
                CONTINUE;
            END;
        END LOOP;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.date_expression IS 'the expression that makes dates of a column; null if none does';

CREATE FUNCTION ltv.number_expression(query text, column_name text, path text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text := format('o.%I', column_name);
    sample text := ltv.sample_of(query, column_name, path);
    expression text;
BEGIN
    IF sample IS NULL THEN
        RETURN NULL;
    END IF;
    FOREACH expression IN ARRAY ARRAY[plain || '::numeric', format('NULLIF(%s, '''')::numeric', plain)] LOOP
        BEGIN
            EXECUTE format('SELECT sum(%s) FROM %s', expression, sample);
            RETURN expression;
        EXCEPTION WHEN data_exception OR cannot_coerce OR undefined_function THEN
            CONTINUE;
        END;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.number_expression IS 'the expression that makes numbers of a column; null if none does';
