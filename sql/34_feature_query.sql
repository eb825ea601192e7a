-- The SELECT that computes the features of a definition, and what its ids are compared by. It stands behind
-- sql/31_order_log.sql, whose functions it needs.

-- In which order customers come does not matter, as long as it is one, and that of the bytes is found fastest.
CREATE FUNCTION ltv.id_order(definition jsonb, side text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT side || CASE WHEN t.typcollation = 0 THEN '' ELSE ' COLLATE pg_catalog."C"' END
    FROM ltv.query_columns(COALESCE(definition ->> 'customers', definition ->> 'source')) q
    JOIN pg_type t ON t.oid = q.types[array_position(q.names, definition ->> 'customer_id_column')]
$$;
COMMENT ON FUNCTION ltv.id_order IS 'what customers are sorted by, as SQL';

-- Everybody that features are of: the customers that were given, or else those of the orders. Who it is is called
-- c.customer (behind it the start, the orders, the other logs, and the attributes as a1, a2 ...).
CREATE FUNCTION ltv.feature_customers(definition jsonb, today date, sorted boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id_column text := definition ->> 'customer_id_column';
    listed boolean := definition ->> 'customers' IS NOT NULL;
    places jsonb;
    joins text := '';
    logs text[] := '{}';
    columns text[] := '{}';
    log jsonb;
    match record;
BEGIN
    IF listed THEN
        match := ltv.id_match(definition ->> 'customers', id_column, format('c.%I', id_column), 'customers',
                              definition ->> 'source', id_column, 'o.customer', 'the orders');
        joins := format(E'\n      LEFT JOIN %s o ON %s', ltv.collected(definition, definition, today), match.condition);
        columns := ARRAY(SELECT format('c.%I', n) FROM jsonb_array_elements_text(definition -> 'customer_columns')
                         WITH ORDINALITY AS x(n, i) ORDER BY i);
    END IF;
    FOR log IN SELECT jsonb_array_elements(NULLIF(definition -> 'events', 'null')) LOOP
        logs := logs || format('e%s.log', cardinality(logs) + 1);
        match := ltv.id_match(
            COALESCE(definition ->> 'customers', definition ->> 'source'), id_column,
            CASE WHEN listed THEN format('c.%I', id_column) ELSE 'c.customer' END,
            CASE WHEN listed THEN 'customers' ELSE 'the orders' END,
            log ->> 'source', log ->> 'customer_id_column', format('e%s.customer', cardinality(logs)),
            log ->> 'name');
        joins := joins || format(E'\n      LEFT JOIN %s e%s ON %s', ltv.collected(definition, log, today),
                                 cardinality(logs), match.condition);
    END LOOP;
    IF definition ->> 'attributes' IS NOT NULL AND definition ->> 'attributes_date_column' IS NULL THEN
        columns := columns || ARRAY(
            SELECT format('a.%I', n) FROM jsonb_array_elements_text(definition -> 'attribute_columns')
                WITH ORDINALITY AS x(n, i) ORDER BY i);
        joins := joins || format(E'\n      LEFT JOIN (%s\n      ) a ON %s', definition ->> 'attributes',
            ltv.attribute_match(definition, CASE WHEN listed THEN format('c.%I', id_column) ELSE 'c.customer' END));
    END IF;
    RETURN ltv.fill_in($q$(SELECT {id} AS customer, {start} AS start, {orders} AS orders, {events} AS events{columns}
      FROM {base} c{joins}{known}{order})$q$, jsonb_build_object(
        'id', CASE WHEN listed THEN format('c.%I', id_column) ELSE 'c.customer' END,
        'start', CASE WHEN definition ->> 'start_column' IS NOT NULL
                      THEN (ltv.log_times(jsonb_build_object('customer_id_column', id_column,
                              'date_column', definition ->> 'start_column', 'date_type', definition ->> 'start_type'),
                              definition ->> 'time_zone', today, 'c')).day
                      ELSE 'NULL::pg_catalog.date' END,
        'orders', CASE WHEN listed THEN 'o.log' ELSE 'c.log' END,
        'events', CASE WHEN logs = '{}' THEN 'NULL::bytea[]' ELSE format('ARRAY[%s]', array_to_string(logs, ', ')) END,
        'columns', (SELECT string_agg(format(', %s AS a%s', e, i), '' ORDER BY i)
                    FROM unnest(columns) WITH ORDINALITY AS x(e, i)),
        'base', CASE WHEN listed THEN format(E'(%s\n      )', definition ->> 'customers')
                     ELSE ltv.collected(definition, definition, today) END,
        'joins', joins,
        'known', CASE WHEN listed THEN format(E'\n      WHERE c.%I IS NOT NULL', id_column) END,
        'order', CASE WHEN sorted THEN E'\n      ORDER BY ' || ltv.id_order(
            definition, format('c.%I', CASE WHEN listed THEN id_column ELSE 'customer' END)) END));
END
$$;
COMMENT ON FUNCTION ltv.feature_customers IS 'the customers of a definition of features with their logs, as SQL';

-- Each row is good until the next one of the same customer.
CREATE FUNCTION ltv.dated_attributes(definition jsonb, today date) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id_column text := definition ->> 'customer_id_column';
    times record := ltv.log_times(jsonb_build_object(
        'customer_id_column', id_column, 'date_column', definition ->> 'attributes_date_column',
        'date_type', definition ->> 'attributes_date_type'), definition ->> 'time_zone', today);
    known text := CASE definition ->> 'unit' WHEN 'day' THEN times.day ELSE times.ts END;
BEGIN
    RETURN ltv.fill_in($q$(SELECT {id} AS customer, {known} AS known,
             pg_catalog.lead({known}) OVER (PARTITION BY {id} ORDER BY {known}) AS until{columns}
      FROM ({attributes}
      ) o WHERE {id} IS NOT NULL AND {known} IS NOT NULL)$q$, jsonb_build_object(
        'id', times.id, 'known', known, 'attributes', definition ->> 'attributes',
        'columns', (SELECT string_agg(format(', o.%I AS a%s', n, i), '' ORDER BY i)
                    FROM jsonb_array_elements_text(definition -> 'attribute_columns') WITH ORDINALITY AS x(n, i))));
END
$$;
COMMENT ON FUNCTION ltv.dated_attributes IS 'attributes with the times between which they hold, as SQL';

-- Sorted: by customer and cut-off, which costs little where the logs of customers are sorted and not the rows.
CREATE FUNCTION ltv.features_query(
    definition jsonb, context ltv.features_context, sorted boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan text := format('%L::text', ltv.feature_plan(definition));
    dated boolean := definition ->> 'attributes_date_column' IS NOT NULL;
    ages boolean := NULLIF(definition -> 'age', 'null') IS NOT NULL;
    cutoffs text;
    as_of text;
    features text;
    labels text;
    given text[] := ARRAY(
        SELECT format('f.a%s AS %I', i, n)
        FROM jsonb_array_elements_text(
            CASE WHEN definition ->> 'customers' IS NOT NULL THEN definition -> 'customer_columns' ELSE '[]' END
            || CASE WHEN definition ->> 'attributes' IS NOT NULL
                         AND definition ->> 'attributes_date_column' IS NULL
                    THEN definition -> 'attribute_columns' ELSE '[]' END)
            WITH ORDINALITY AS x(n, i) ORDER BY i);
BEGIN
    IF ages THEN
        as_of := $q$('2000-01-01'::pg_catalog.date + (f.x[1])::int)$q$;
    ELSE
        SELECT array_agg(c.as_of ORDER BY c.as_of_day, m.at_time)::text INTO cutoffs
        FROM ltv.features_cutoffs(definition) c, ltv.moment_numbers(definition ->> 'unit', c.as_of, c.until) m;
        as_of := format('(%L::pg_catalog.%s[])[(f.x[1])::int]', cutoffs,
                        CASE definition ->> 'unit' WHEN 'day' THEN 'date' ELSE 'timestamptz' END);
    END IF;
    SELECT string_agg(format(E',\n       %s AS %I', e.expression, c.name), '' ORDER BY c.i)
               FILTER (WHERE NOT c.is_label),
           string_agg(format(E',\n       %s AS %I', e.expression, c.name), '' ORDER BY c.i) FILTER (WHERE c.is_label)
    INTO features, labels FROM ltv.feature_columns(definition) c, LATERAL (
        SELECT CASE c.type WHEN 'int' THEN format('(f.x[%s])::int', c.i) ELSE format('f.x[%s]', c.i) END
    ) e(expression);
    IF dated THEN
        given := given || ARRAY(
            SELECT format('a.a%s AS %I', i, n)
            FROM jsonb_array_elements_text(definition -> 'attribute_columns') WITH ORDINALITY AS x(n, i) ORDER BY i);
    END IF;
    RETURN ltv.fill_in($sql$
SELECT f.customer AS {id}, {as_of} AS as_of{features}{attributes}{sequence}{labels}
FROM (SELECT m.*, ltv.walk_rows({plan}, {log_end}, m.start, m.orders, m.events) AS x
      FROM ({customers}) m) f{dated}$sql$, jsonb_build_object(
        'id', quote_ident(definition ->> 'customer_id_column'), 'as_of', as_of, 'features', features,
        'labels', labels, 'plan', plan, 'log_end', context.log_end,
        'attributes', (SELECT string_agg(E',\n       ' || g, '' ORDER BY i)
                       FROM unnest(given) WITH ORDINALITY AS x(g, i)),
        'sequence', CASE WHEN NULLIF(definition -> 'sequence', 'null') IS NOT NULL THEN format(
            E',\n       ltv.feature_sequence(%s, f.x[1], f.start, f.orders, f.events) AS spend_sequence', plan) END,
        'customers', ltv.feature_customers(definition, context.today, sorted AND NOT dated),
        'dated', CASE WHEN dated THEN format(
            E'\nLEFT JOIN %s a ON %s AND a.known <= %s AND (a.until IS NULL OR a.until > %3$s)%s',
            ltv.dated_attributes(definition, context.today),
            ltv.attribute_match(definition, 'f.customer', 'a.customer'), as_of,
            CASE WHEN sorted THEN E'\nORDER BY 1, 2' END) END));
END
$$;
COMMENT ON FUNCTION ltv.features_query IS 'the SELECT that computes the features of a definition';

-- Features that are made of orders alone, for days, are made without a log for each customer. The column of the id as
-- it is declared; NULL for other features, and for ids that are not equal exactly where their bytes are.
CREATE FUNCTION ltv.plain_id(definition jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I %s', definition ->> 'customer_id_column', format_type(i.type, i.typmod))
           || COALESCE((SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
                        WHERE c.oid = i.collation AND c.collname <> 'default'), '')
    FROM (SELECT q.types[p.at] AS type, q.typmods[p.at] AS typmod, q.collations[p.at] AS collation
          FROM ltv.query_columns(definition ->> 'source') q,
               LATERAL (SELECT array_position(q.names, definition ->> 'customer_id_column')) p(at)) i
    WHERE num_nonnulls(definition ->> 'customers', definition ->> 'events', definition ->> 'attributes') = 0
      AND definition ->> 'unit' = 'day'
      AND COALESCE(definition #> '{sequence,columns}', '[]') = '[]'
      AND i.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype, 'varchar'::regtype,
                     'uuid'::regtype)
      AND (SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = i.collation) IS NOT FALSE
$$;
COMMENT ON FUNCTION ltv.plain_id IS 'the id of features that are made of orders alone, as SQL';

-- What features of orders alone are made of: the arguments of ltv.order_features.
CREATE FUNCTION ltv.order_features_arguments(definition jsonb, context ltv.features_context) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%L, %s, %L', ltv.feature_plan(definition), context.log_end,
        ltv.fill_in(E'SELECT {id}, {day}, {amount} FROM ({source}\n) o WHERE {id} IS NOT NULL AND {possible}',
                    jsonb_build_object('id', t.id, 'day', t.day, 'amount', ltv.exact_amount(definition),
                                       'source', definition ->> 'source', 'possible', t.possible)))
    FROM ltv.log_times(definition, definition ->> 'time_zone', context.today) t
$$;
COMMENT ON FUNCTION ltv.order_features_arguments IS 'the arguments of ltv.order_features for a definition, as SQL';

-- What a table of features is made of, sorted by customer and cut-off.
CREATE FUNCTION ltv.table_query(definition jsonb, context ltv.features_context) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN i.id IS NULL THEN ltv.features_query(definition, context, sorted => true)
        ELSE format('SELECT * FROM ltv.order_features(%s) AS f (%s, as_of date%s)',
            ltv.order_features_arguments(definition, context), i.id,
            (SELECT string_agg(format(', %I %s', c.name, c.type), '' ORDER BY c.is_label, c.place, c.i)
             FROM (SELECT n.name, n.type, n.is_label, 0 AS place, n.i FROM ltv.feature_columns(definition) n
                   UNION ALL SELECT 'spend_sequence', 'real[]', false, 1, 0
                   WHERE NULLIF(definition -> 'sequence', 'null') IS NOT NULL) c)) END
    FROM ltv.plain_id(definition) i(id)
$$;
COMMENT ON FUNCTION ltv.table_query IS 'the SELECT that a table of features is made with';

-- PostgreSQL can let several processes collect a log, but what each has of a customer has to be put together by one. So
-- where a log is a large table, each takes the customers of some hashes from beginning to end. Policies and the tables
-- that inherit may say things that only one process can do.
CREATE FUNCTION ltv.feature_parts(definition jsonb) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN ltv.plain_id(definition) IS NULL AND ltv.id_hash(definition, '') IS NOT NULL
                 AND num_nonnulls(definition ->> 'customers', definition ->> 'events', definition ->> 'attributes') = 0
                 AND EXISTS (SELECT FROM pg_class c
                             WHERE c.oid = ltv.relation_named(definition ->> 'source_relation')
                               AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
                               AND NOT c.relrowsecurity AND NOT c.relhassubclass
                               AND pg_relation_size(c.oid)
                                   >= 4 * pg_size_bytes(current_setting('min_parallel_table_scan_size')))
           THEN 1 + current_setting('max_parallel_workers_per_gather')::int ELSE 1 END
$$;
COMMENT ON FUNCTION ltv.feature_parts IS 'by how many processes the features of a definition are best made';

CREATE FUNCTION ltv.features_in_parts(definition jsonb, context ltv.features_context, parts int) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'SELECT * FROM (%s) p\nORDER BY %s, p.as_of',
                  string_agg(format('(%s)', ltv.features_query(
                      definition || jsonb_build_object('part', jsonb_build_array(k, parts)), context)),
                      E'\nUNION ALL\n' ORDER BY k),
                  ltv.id_order(definition, format('p.%I', definition ->> 'customer_id_column')))
    FROM generate_series(0, parts - 1) k
$$;
COMMENT ON FUNCTION ltv.features_in_parts IS 'the SELECT of features for several processes, sorted';
