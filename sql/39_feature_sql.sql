-- ltv_feature_sql: the SELECT behind a relation of features, for those who make it elsewhere.

-- What the columns of ltv.feature_columns are, by name: of moments m, purchases b, other logs v1, v2 ... and log_end e.
CREATE FUNCTION ltv.plain_expressions(dialect text, definition jsonb) RETURNS TABLE (name text, expression text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH windows AS (
        SELECT 0 AS i, '' AS suffix UNION ALL
        SELECT w.i::int, '_' || w.days
        FROM jsonb_array_elements_text(definition -> 'windows') WITH ORDINALITY AS w(days, i)
    ), logs AS (
        SELECT e.log, e.log ->> 'name' AS name, 'v' || e.i AS v
        FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i)
    ), groups AS (
        SELECT l.v, 0 AS i, l.name AS prefix, l.log -> 'value_columns' AS sums FROM logs l UNION ALL
        SELECT l.v, k.i::int, l.name || '_' || (k.kind ->> 'name'), l.log -> 'value_columns'
        FROM logs l, jsonb_array_elements(NULLIF(l.log -> 'types', 'null')) WITH ORDINALITY AS k(kind, i)
    ), cells AS (
        SELECT g.v, g.prefix, g.sums, w.suffix, format('g%s_w%s', g.i, w.i) AS cell, g.i AS g, w.i AS w
        FROM groups g, windows w
    )
    SELECT f.name, CASE f.kind WHEN 'int' THEN format('CAST(%s AS int)', f.said)
                               WHEN 'float' THEN ltv.dialect_part(dialect, 'float', f.said) ELSE f.said END
    FROM (VALUES
        ('days_since_start', 'int', ltv.dialect_part(dialect, 'days', 'm.as_of_day', 'm.start')),
        ('purchases', 'int', 'COALESCE(b.n, 0)'),
        ('recency', 'int', ltv.dialect_part(dialect, 'days', 'm.as_of_day', 'b.last_day')),
        ('frequency', 'int', 'CASE WHEN b.n > 0 THEN b.n - 1 ELSE 0 END'),
        ('t', 'int', ltv.dialect_part(dialect, 'days', 'm.as_of_day', 'b.first_day')),
        ('monetary_mean', 'float', ltv.dialect_part(dialect, 'mean', 'b.total', 'NULLIF(b.n, 0)')),
        ('monetary_max', 'float', 'b.largest'),
        ('monetary_std', 'float', 'CASE WHEN b.n > 0 THEN COALESCE(b.deviation, 0) END'),
        ('monetary_last', 'float', 'b.last_net'),
        ('mean_interpurchase', 'float', format('CASE WHEN b.n > 1 THEN %s / (b.n - 1) ELSE -1 END',
            ltv.dialect_part(dialect, 'float', ltv.dialect_part(dialect, 'days', 'b.last_day', 'b.first_day')))),
        ('first_month', 'int', 'extract(month FROM b.first_day)'), ('first_amount', 'float', 'b.first_net'),
        ('return_days', 'int', 'COALESCE(b.return_days, 0)'), ('returned', 'float', 'COALESCE(b.returned, 0)')
    ) f (name, kind, said)
    UNION ALL SELECT 'count' || w.suffix, format('CAST(COALESCE(b.count%s, 0) AS int)', w.suffix)
    FROM windows w WHERE w.i > 0
    UNION ALL SELECT 'sum' || w.suffix, ltv.dialect_part(dialect, 'float', format('COALESCE(b.sum%s, 0)', w.suffix))
    FROM windows w WHERE w.i > 0
    UNION ALL SELECT c.prefix || f.suffix || c.suffix, format('CAST(COALESCE(%s.%s_%s, 0) AS int)', c.v, f.what, c.cell)
    FROM cells c, (VALUES ('_count', 'c'), ('_days', 'd')) f (suffix, what)
    UNION ALL SELECT c.prefix || '_' || s.name || c.suffix,
                     ltv.dialect_part(dialect, 'float', format('COALESCE(%s.s%s_%s, 0)', c.v, s.i, c.cell))
    FROM cells c, jsonb_array_elements_text(c.sums) WITH ORDINALITY AS s(name, i)
    UNION ALL SELECT c.prefix || '_recency', format('CAST(%s AS int)', ltv.dialect_part(
                         dialect, 'days', 'm.as_of_day', format('%s.l_%s', c.v, c.cell)))
    FROM cells c WHERE c.w = 0
    UNION ALL SELECT c.prefix || '_trend' || c.suffix, format('CASE WHEN %s > 0 THEN %s / %1$s ELSE 0 END', t.both,
                         ltv.dialect_part(dialect, 'float', t.more))
    FROM cells c, LATERAL (
        SELECT format('(COALESCE(%1$s.c_%2$s, 0) + COALESCE(%1$s.b_%2$s, 0))', c.v, c.cell) AS both,
               format('(COALESCE(%1$s.c_%2$s, 0) - COALESCE(%1$s.b_%2$s, 0))', c.v, c.cell) AS more) t
    WHERE c.g = 0 AND c.w > 0
    UNION ALL SELECT l.name, format('CASE WHEN m.until_%s <= e.moment THEN %s END', l.i, ltv.dialect_part(
                         dialect, 'float', format('GREATEST(COALESCE(b.spent_%s, 0), 0)', l.i)))
    FROM ltv.feature_labels(definition) l
$$;
COMMENT ON FUNCTION ltv.plain_expressions IS 'the columns of a relation of features in a dialect of SQL';

CREATE FUNCTION ltv.plain_features_query(dialect text, definition jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    listed boolean := definition ->> 'customers' IS NOT NULL;
    dated boolean := definition ->> 'attributes_date_column' IS NOT NULL;
    base text := COALESCE(definition ->> 'customers', definition ->> 'source');
    base_name text := CASE WHEN definition ->> 'customers' IS NULL THEN 'the orders' ELSE 'customers' END;
    id_column text := definition ->> 'customer_id_column';
    id text := ltv.dialect_name(dialect, id_column);
    found record := ltv.query_columns(base);
    purchases record := ltv.plain_purchases(dialect, definition);
    steps jsonb := NULLIF(definition -> 'sequence', 'null');
    logs jsonb[] := ARRAY(SELECT e.log || jsonb_build_object('number', e.i) FROM jsonb_array_elements(
        NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i) ORDER BY e.i);
    parts text[];
    joins text := format(E'\n%sJOIN bought b ON b.customer = m.customer AND b.as_of = m.as_of%s',
                         CASE WHEN listed THEN 'LEFT ' END, CASE WHEN NOT listed THEN ' AND b.n > 0' END);
    given text[] := '{}';
    features text;
    labels text;
    log jsonb;
BEGIN
    PERFORM ltv.check_id_elsewhere(
        dialect, ltv.base_type(found.types[array_position(found.names, id_column)]), base_name);
    parts := ARRAY['orders', ltv.plain_log(
        dialect, definition, definition, definition ->> 'source_relation', 'the source')];
    FOREACH log IN ARRAY logs LOOP
        parts := parts || ('events_' || (log ->> 'number'))
            || ltv.plain_log(dialect, definition, log, log ->> 'source_relation',
                             format('the log "%s"', log ->> 'name'));
    END LOOP;
    parts := parts || ARRAY['log_end', E'\n    SELECT ' || ltv.plain_log_end(dialect, definition) || ' AS moment',
                            'customers', ltv.plain_customers(dialect, definition),
                            'moments', ltv.plain_moments(dialect, definition),
                            'days', purchases.days, 'bought', purchases.bought];
    FOREACH log IN ARRAY logs LOOP
        parts := parts || ('seen_' || (log ->> 'number')) || ltv.plain_events(dialect, definition, log);
        joins := joins || format(
            E'\nLEFT JOIN seen_%1$s v%1$s ON v%1$s.customer = m.customer AND v%1$s.as_of = m.as_of', log ->> 'number');
    END LOOP;
    IF listed THEN
        joins := joins || E'\nJOIN customers c ON c.customer = m.customer';
        given := ARRAY(SELECT format('c.a%s AS %s', i, ltv.dialect_name(dialect, n))
                       FROM jsonb_array_elements_text(definition -> 'customer_columns') WITH ORDINALITY AS x(n, i));
    END IF;
    IF definition ->> 'attributes' IS NOT NULL THEN
        parts := parts || 'attributes'::text || ltv.plain_attributes(dialect, definition);
        joins := joins || E'\nLEFT JOIN attributes a ON ' || ltv.dialect_match(dialect, base, id_column, 'm.customer',
            base_name, definition ->> 'attributes', id_column, 'a.customer', 'attributes') || CASE WHEN dated
            THEN ' AND a.known <= m.as_of AND (a.until IS NULL OR a.until > m.as_of)' ELSE '' END;
        given := given || ARRAY(
            SELECT format('a.a%s AS %s', i, ltv.dialect_name(dialect, n))
            FROM jsonb_array_elements_text(definition -> 'attribute_columns') WITH ORDINALITY AS x(n, i));
    END IF;
    SELECT string_agg(format(E',\n       %s AS %s', x.expression, ltv.dialect_name(dialect, c.name)), '' ORDER BY c.i)
               FILTER (WHERE NOT c.is_label),
           string_agg(format(E',\n       %s AS %s', x.expression, ltv.dialect_name(dialect, c.name)), '' ORDER BY c.i)
               FILTER (WHERE c.is_label)
    INTO features, labels
    FROM ltv.feature_columns(definition) c JOIN ltv.plain_expressions(dialect, definition) x ON x.name = c.name;
    RETURN ltv.fill_in($q$WITH {parts}
SELECT m.customer AS {id}, m.as_of{features}{given}{sequence}{labels}
FROM moments m CROSS JOIN log_end e{joins}$q$, jsonb_build_object(
        'parts', (SELECT string_agg(format(E'%s AS (%s\n)', parts[2 * k - 1], parts[2 * k]), ', ' ORDER BY k)
                  FROM generate_series(1, cardinality(parts) / 2) k),
        'id', id, 'features', features, 'labels', labels, 'joins', joins,
        'given', (SELECT string_agg(E',\n       ' || g, '' ORDER BY i) FROM unnest(given) WITH ORDINALITY AS x(g, i)),
        'sequence', CASE WHEN steps IS NOT NULL THEN format(
            E',\n       CASE WHEN b.n > 0 THEN %s END AS spend_sequence',
            ltv.dialect_part(dialect, 'last steps', steps ->> 'steps')) END));
END
$$;
COMMENT ON FUNCTION ltv.plain_features_query IS 'the features of a definition in SQL that needs no pg_ltv';

-- Runs as the owner of the relation.
CREATE FUNCTION ltv.written_feature_sql(argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dialect text := argument ->> 'dialect';
    spec jsonb := ltv.current_sources(argument ->> 'name', argument -> 'definition')
        || jsonb_build_object('materialized', false);
    context ltv.features_context;
BEGIN
    IF spec #>> '{sequence,grid}' IS NULL THEN
        RETURN to_jsonb(ltv.plain_features_query(dialect, spec));
    ELSIF dialect = 'postgres' THEN
        -- As of a view, which asks for the day and for the end of the log whenever it is read.
        context.log_end := ltv.known_log_end(spec, NULL);
        RETURN to_jsonb(ltv.features_query(spec, context));
    END IF;
    RAISE feature_not_supported USING
        MESSAGE = format('a sequence of regular steps cannot be said in the dialect %s', dialect),
        HINT = 'Make the features with sequence => true, which has a step per purchase day, or without a sequence.';
END
$$;
COMMENT ON FUNCTION ltv.written_feature_sql IS 'see ltv_feature_sql';

CREATE FUNCTION ltv.feature_sql(features regclass, dialect text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.feature_definition(features);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = features);
BEGIN
    PERFORM ltv.check_dialect(dialect);
    IF features IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name of the relation must not be null',
            HINT = 'Name features made by ltv_create_features.';
    ELSIF spec IS NULL AND ltv.feature_facts(features) IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', features),
            DETAIL = format('It belongs to role "%s".', owner);
    ELSIF spec IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('%s was not made by ltv_create_features', features),
            HINT = 'Only the SELECT of features whose definition is known can be given.';
    END IF;
    RETURN ltv.run_as(owner, NULL, NULL, 'SELECT ltv.written_feature_sql($2)', jsonb_build_object(
        'name', ltv.qualified_name(features), 'definition', spec, 'dialect', dialect)) #>> '{}';
END
$$;
COMMENT ON FUNCTION ltv.feature_sql(regclass, text) IS 'see ltv_feature_sql';

CREATE FUNCTION ltv.feature_sql(features text, dialect text) RETURNS text
LANGUAGE sql
AS $$ SELECT ltv.feature_sql(ltv.bind_relation(features), dialect) $$;
COMMENT ON FUNCTION ltv.feature_sql(text, text) IS 'see ltv_feature_sql';

CREATE FUNCTION @extschema@.ltv_feature_sql(features text, dialect text DEFAULT 'postgres') RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_feature_sql
    IS 'the SELECT behind a relation of features, for dbt and other engines: in SQL of PostgreSQL, DuckDB or Spark';
