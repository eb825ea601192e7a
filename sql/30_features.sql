-- Features from orders, as SQL: the SELECT behind a relation of features, made of its definition.
--
-- Everything is one SELECT without volatile functions, so that PostgreSQL can plan and parallelise it: each log is read
-- once and collected by customer (sql/26_collect.sql), and a walk along the logs of a customer gives the rows of all
-- cut-offs. Purchases are customer-days with a positive net amount.
--
-- These texts run in the search_path of who made the features, behind pg_catalog, because functions that his query
-- calls may need it. So that no name of ours can mean anything of his, functions are qualified, and the types beside an
-- operator are exactly those of one in pg_catalog. The test features_path holds that.

CREATE FUNCTION ltv.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE up AS (SELECT $1 AS oid UNION ALL
        SELECT t.typbasetype FROM up JOIN pg_type t ON t.oid = up.oid WHERE t.typtype = 'd')
    SELECT t.oid FROM up JOIN pg_type t ON t.oid = up.oid WHERE t.typtype <> 'd'
$$;
COMMENT ON FUNCTION ltv.base_type IS 'the type under a domain';

-- Which values are the same, by the type's own equality: that of citext is not
-- found by its name in a fixed search_path.
CREATE FUNCTION ltv.equality_operator(type oid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('OPERATOR(%I.%s)', COALESCE(found.nspname, 'pg_catalog'), COALESCE(found.oprname, '='))
    FROM (VALUES (1)) one LEFT JOIN (
        SELECT n.nspname, o.oprname FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
        JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
            AND a.amopstrategy = 3
        JOIN pg_operator o ON o.oid = a.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
        WHERE c.opcdefault AND c.opcintype = ltv.base_type($1)) found ON true
$$;
COMMENT ON FUNCTION ltv.equality_operator IS 'the operator by which a type tells values apart, as SQL';

-- In one pass, because what is filled in may hold braces itself.
CREATE FUNCTION ltv.fill_in(template text, places jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(p.part[1] || COALESCE(places ->> p.part[2], ''), '' ORDER BY p.i)
    FROM regexp_matches(template, '([^{]*)(?:[{]([a-z_]+)[}])?', 'g') WITH ORDINALITY AS p(part, i)
$$;
COMMENT ON FUNCTION ltv.fill_in IS 'a text with its {places} filled in';

-- Temporary tables come last, so that nobody's take the place of what a query means, unless it reads one itself.
CREATE FUNCTION ltv.run_path(definition jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ', 'pg_catalog', CASE WHEN definition -> 'temporary' = 'true' THEN 'pg_temp' END,
                     NULLIF(definition ->> 'search_path', ''), 'pg_temp')
$$;
COMMENT ON FUNCTION ltv.run_path IS 'the search_path that statements of a definition run in';

CREATE FUNCTION ltv.with_cutoffs(definition jsonb, as_of ltv.cutoffs) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT definition || jsonb_build_object('unit', CASE WHEN cardinality(c.days) > 0 THEN 'day' ELSE 'instant' END,
        'as_of', CASE WHEN cardinality(c.days) > 0 THEN to_jsonb(c.days) ELSE to_jsonb(c.instants) END)
    FROM ltv.parse_cutoffs(as_of, definition ->> 'time_zone') c
$$;
COMMENT ON FUNCTION ltv.with_cutoffs IS 'a definition of features for other cut-offs';

CREATE FUNCTION ltv.own_cutoffs(definition jsonb) RETURNS ltv.cutoffs
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT jsonb_array_elements_text(definition -> 'as_of'))::ltv.cutoffs $$;
COMMENT ON FUNCTION ltv.own_cutoffs IS 'the cut-offs of a definition of features as an argument';

-- The days or instants of a definition with the ends of their horizons, also as rows of a VALUES list.
CREATE FUNCTION ltv.features_cutoffs(definition jsonb)
RETURNS TABLE (as_of text, as_of_day date, until_day date, until text, row_text text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres
AS $$
    SELECT a.as_of, d.as_of_day, d.until_day, u.until,
           format(CASE definition ->> 'unit'
                       WHEN 'day' THEN '(%L::pg_catalog.date, %L::pg_catalog.date, %L::pg_catalog.date)'
                       ELSE '(%L::pg_catalog.timestamptz, %L::pg_catalog.date, %L::pg_catalog.timestamptz)' END,
                  a.as_of, d.as_of_day, u.until)
    FROM jsonb_array_elements_text(definition -> 'as_of') a(as_of),
         LATERAL (SELECT definition ->> 'time_zone' AS zone, (definition ->> 'horizon')::interval AS horizon) z,
         LATERAL (SELECT CASE definition ->> 'unit' WHEN 'day' THEN a.as_of::timestamp
                         ELSE a.as_of::timestamptz AT TIME ZONE z.zone END AS local) l,
         LATERAL (SELECT l.local::date AS as_of_day, (l.local + z.horizon)::date AS until_day) d,
         LATERAL (SELECT CASE definition ->> 'unit' WHEN 'day' THEN d.until_day::text
                         ELSE ((l.local + z.horizon) AT TIME ZONE z.zone)::text END AS until) u
$$;
COMMENT ON FUNCTION ltv.features_cutoffs IS 'the cut-offs of a definition of features and the ends of their horizons';

-- An order known only by its day is known to have happened at the end of that day.
CREATE FUNCTION ltv.moment_of(date_type text, expression text, time_zone text, what text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE date_type || ' ' || what
                       WHEN 'date day' THEN '%s' WHEN 'date ts' THEN '(%s + 1)::timestamp AT TIME ZONE %L'
                       WHEN 'timestamp day' THEN '%s::pg_catalog.date' WHEN 'timestamp ts' THEN '%s AT TIME ZONE %L'
                       WHEN 'timestamptz day' THEN '(%s AT TIME ZONE %L)::pg_catalog.date' ELSE '%s' END,
                  expression, time_zone)
$$;
COMMENT ON FUNCTION ltv.moment_of IS 'the day or instant of a date of a type, as SQL';

-- Only these types have infinities (and NaN, which is greater). A domain over one may have operators of its own.
CREATE FUNCTION ltv.known_amount(definition jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE WHEN definition ->> 'value_type' IN ('real', 'double precision', 'numeric')
        THEN $q$o.%1$I::%2$s > '-infinity' AND o.%1$I::%2$s < 'infinity'$q$ ELSE 'o.%I IS NOT NULL' END,
        definition ->> 'value_column', definition ->> 'value_type')
$$;
COMMENT ON FUNCTION ltv.known_amount IS 'that an order has an amount, as SQL';

-- SQL for the id, the day and the instant of the rows of a log, and for what can be: their day is not yet to
-- come, and not the first one of computers' time or earlier, as that of placeholders is. Where today is null, it is the
-- day on which the statement runs.
CREATE FUNCTION ltv.log_times(
    log jsonb, time_zone text, today date, alias text DEFAULT 'o',
    OUT id text, OUT day text, OUT ts text, OUT possible text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    places jsonb := jsonb_build_object(
        'date', format('%s.%I::pg_catalog.%I', alias, log ->> 'date_column', log ->> 'date_type'),
        'zone', quote_literal(time_zone));
    first text;
    beyond text;
BEGIN
    id := format('%s.%I', alias, log ->> 'customer_id_column');
    places := places || jsonb_build_object('tomorrow',
        CASE WHEN today IS NOT NULL THEN format('(%L::pg_catalog.date + 1)', today)
             ELSE ltv.fill_in('((pg_catalog.now() AT TIME ZONE {zone})::pg_catalog.date + 1)', places) END);
    day := ltv.moment_of(log ->> 'date_type', '{date}', time_zone, 'day');
    ts := ltv.moment_of(log ->> 'date_type', '{date}', time_zone, 'ts');
    CASE log ->> 'date_type'
        WHEN 'date' THEN
            first := $q$'1970-01-02'::pg_catalog.date$q$;
            beyond := '{tomorrow}';
        WHEN 'timestamp' THEN
            first := $q$'1970-01-02'::timestamp$q$;
            beyond := '{tomorrow}::timestamp';
        ELSE
            first := $q$'1970-01-02'::timestamp AT TIME ZONE {zone}$q$;
            beyond := '{tomorrow}::timestamp AT TIME ZONE {zone}';
    END CASE;
    -- A subquery is computed once, and not once per order.
    beyond := CASE WHEN today IS NULL THEN format('(SELECT %s)', beyond) ELSE beyond END;
    day := ltv.fill_in(day, places);
    ts := ltv.fill_in(ts, places);
    possible := ltv.fill_in(format('{date} >= %s AND {date} < %s', first, beyond), places);
END
$$;
COMMENT ON FUNCTION ltv.log_times IS 'how the rows of a log say who and when, as SQL';

-- SQL for the orders, cleaned: rows without customer, date or finite amount are left out, and so are those of days that
-- cannot be.
CREATE FUNCTION ltv.features_orders(definition jsonb, today date, with_impossible boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    times record := ltv.log_times(definition, definition ->> 'time_zone', today);
    extra text;
BEGIN
    SELECT string_agg(format(', o.%I::numeric AS x%s', c, i), '' ORDER BY i) INTO extra
    FROM jsonb_array_elements_text(definition #> '{sequence,columns}') WITH ORDINALITY AS x(c, i);
    RETURN ltv.fill_in($q$(SELECT {id} AS customer, {day} AS day, {ts} AS ts, {value}::numeric AS amount{extra}
             FROM ({source}
             ) o
             WHERE {id} IS NOT NULL AND {possible} AND {known}) s$q$, jsonb_build_object(
        'id', times.id, 'day', times.day, 'ts', times.ts, 'extra', extra, 'source', definition ->> 'source',
        'value', format('o.%I', definition ->> 'value_column'),
        'possible', CASE WHEN with_impossible THEN format('o.%I IS NOT NULL', definition ->> 'date_column')
                    ELSE times.possible END,
        'known', ltv.known_amount(definition)));
END
$$;
COMMENT ON FUNCTION ltv.features_orders IS 'the order log of a definition of features, as SQL';

-- Equal ids have equal hashes. None for types whose equality is not that of their values.
CREATE FUNCTION ltv.id_hash(log jsonb, id text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN t.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                THEN format('pg_catalog.hashint8(%s::bigint)', id)
                WHEN t.base IN ('text'::regtype, 'varchar'::regtype) THEN format('pg_catalog.hashtext(%s::text)', id)
                WHEN t.base = 'uuid'::regtype THEN format('pg_catalog.uuid_hash(%s::uuid)', id) END
    FROM ltv.query_columns(log ->> 'source') q,
         LATERAL (SELECT ltv.base_type(q.types[array_position(q.names, log ->> 'customer_id_column')])) t(base)
$$;
COMMENT ON FUNCTION ltv.id_hash IS 'a hash of the id of a log, as SQL';

-- As it is where it can be read so.
CREATE FUNCTION ltv.exact_amount(log jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE WHEN log ->> 'value_type' IN ('smallint', 'integer', 'bigint', 'real', 'double precision',
                                                     'numeric') THEN 'o.%I' ELSE 'o.%I::numeric' END,
                  log ->> 'value_column')
$$;
COMMENT ON FUNCTION ltv.exact_amount IS 'the amount of an order for the functions that count exactly, as SQL';

-- SQL for a log, that of the orders or another one, as one compact log per customer. What is not a finite amount is
-- left out on the way.
CREATE FUNCTION ltv.collected(definition jsonb, log jsonb, today date) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    times record := ltv.log_times(log, definition ->> 'time_zone', today);
    by_day boolean := definition ->> 'unit' = 'day';
    types jsonb := NULLIF(log -> 'types', 'null');
    values_read text[] := ARRAY(
        SELECT format('o.%I::numeric', c)
        FROM jsonb_array_elements_text(COALESCE(log -> 'value_columns', log #> '{sequence,columns}'))
            WITH ORDINALITY AS x(c, i) ORDER BY i);
    roles text := 't' || CASE WHEN by_day THEN '' ELSE 'd' END;
    read text[] := CASE WHEN by_day THEN ARRAY[times.day] ELSE ARRAY[times.ts, times.day] END;
BEGIN
    IF types IS NOT NULL THEN
        roles := roles || 'k';
        read := read || format('o.%I::text', log ->> 'type_column');
    END IF;
    IF log ->> 'value_column' IS NOT NULL THEN
        roles := roles || 'v';
        read := read || ltv.exact_amount(log);
    END IF;
    roles := roles || repeat('x', cardinality(values_read));
    RETURN ltv.fill_in($q$(SELECT s.customer, ltv.collect({roles}::text, {kinds}::text[], {arguments}) AS log
      FROM (SELECT {id} AS customer{read}
            FROM ({source}
            ) o
            WHERE {id} IS NOT NULL AND {possible}{part}) s
      GROUP BY s.customer)$q$, jsonb_build_object(
        'part', CASE WHEN jsonb_typeof(log -> 'part') = 'array' THEN format(
            ' AND (%s & 2147483647) %% %s = %s', ltv.id_hash(log, times.id),
            (log #>> '{part,1}')::int, (log #>> '{part,0}')::int) END,
        'roles', quote_literal(roles), 'id', times.id, 'possible', times.possible, 'source', log ->> 'source',
        'kinds', CASE WHEN types IS NULL THEN 'NULL' ELSE quote_literal(ARRAY(
            SELECT t.item ->> 'value' FROM jsonb_array_elements(types) WITH ORDINALITY AS t(item, i)
            ORDER BY i)::text) END,
        'arguments', (SELECT string_agg('s.v' || i, ', ' ORDER BY i)
                      FROM generate_subscripts(read || values_read, 1) i),
        'read', (SELECT string_agg(format(', %s AS v%s', e, i), '' ORDER BY i)
                 FROM unnest(read || values_read) WITH ORDINALITY AS x(e, i))));
END
$$;
COMMENT ON FUNCTION ltv.collected IS 'a log of a definition of features by customer, as SQL';

-- The end that was given: a day is complete to its end; an instant completes the
-- days before it. Neither lies after today.
CREATE FUNCTION ltv.log_end(definition jsonb, OUT day date, OUT instant timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN e.day IS NOT NULL THEN least(e.day, z.today)
                WHEN e.instant IS NOT NULL THEN (least(e.instant, now()) AT TIME ZONE z.zone)::date - 1 END,
           CASE WHEN e.day IS NOT NULL THEN (least(e.day, z.today) + 1)::timestamp AT TIME ZONE z.zone
                WHEN e.instant IS NOT NULL THEN least(e.instant, now()) END
    FROM (SELECT definition ->> 'time_zone' AS zone,
                 (now() AT TIME ZONE (definition ->> 'time_zone'))::date AS today) z,
         ltv.parse_cutoff(definition ->> 'log_end', definition ->> 'time_zone', 'log_end') e
$$;
COMMENT ON FUNCTION ltv.log_end IS 'the end of the log as a definition of features gives it; null where it is left out';

-- What a statement of features is told beside the definition: which day it is (null for a view, which asks anew
-- whenever it is read), and where the log ends, as SQL.
CREATE TYPE ltv.features_context AS (today date, log_end text);

-- Horizons of labels, in days: those that were asked for, and the main one, whose label is called ltv, at the end.
CREATE FUNCTION ltv.feature_labels(definition jsonb) RETURNS TABLE (i int, name text, horizon text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT x.i::int, 'ltv_' || x.days, x.days || ' days'
    FROM jsonb_array_elements_text(NULLIF(definition -> 'horizons', 'null')) WITH ORDINALITY AS x(days, i)
    UNION ALL
    SELECT 1 + COALESCE(jsonb_array_length(NULLIF(definition -> 'horizons', 'null')), 0), 'ltv',
           definition ->> 'horizon'
$$;
COMMENT ON FUNCTION ltv.feature_labels IS 'the labels of a relation of features with their horizons, in their order';

-- The columns that features have by themselves, in the order in which ltv.walk_rows counts their numbers, from 2 on.
-- Compiling the statement would take seconds.
CREATE FUNCTION ltv.feature_columns(definition jsonb)
RETURNS TABLE (i int, name text, type text, is_label boolean, meaning text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH windows AS (
        SELECT w.days, w.i FROM jsonb_array_elements_text(definition -> 'windows') WITH ORDINALITY AS w(days, i)
    ), logs AS (
        SELECT e.log, e.log ->> 'name' AS name, e.i
        FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i)
    ), groups AS (
        SELECT l.i AS log, 0 AS kind, l.name AS prefix, l.name AS what, l.log -> 'value_columns' AS sums FROM logs l
        UNION ALL
        SELECT l.i, k.i::int, l.name || '_' || (k.kind ->> 'name'), l.name || ' of type ' || (k.kind ->> 'value'),
               l.log -> 'value_columns'
        FROM logs l, jsonb_array_elements(NULLIF(l.log -> 'types', 'null')) WITH ORDINALITY AS k(kind, i)
    ), named AS (
        SELECT ARRAY[1, 0]::bigint[] AS place, 'days_since_start' AS name, 'int' AS type, false AS is_label,
               'days from the start of the customer to the cut-off' AS meaning
        WHERE definition ->> 'start_column' IS NOT NULL OR NULLIF(definition -> 'age', 'null') IS NOT NULL
        UNION ALL SELECT '{1,1}', 'purchases', 'int', false, 'purchase days; 0 for those who have not bought yet'
        WHERE definition ->> 'customers' IS NOT NULL
        UNION ALL SELECT ARRAY[2, f.i], f.name, f.type, false, f.meaning FROM (VALUES
            (1, 'recency', 'int', 'days from the last purchase to the cut-off'),
            (2, 'frequency', 'int', 'purchase days after the first'),
            (3, 't', 'int', 'days from the first purchase to the cut-off'),
            (4, 'monetary_mean', 'float8', 'mean amount of a purchase day'),
            (5, 'monetary_max', 'float8', 'largest amount of a purchase day'),
            (6, 'monetary_std', 'float8', 'standard deviation of the amounts of purchase days; 0 for one'),
            (7, 'monetary_last', 'float8', 'amount of the last purchase day')) f(i, name, type, meaning)
        UNION ALL SELECT ARRAY[3, w.i, 1], 'count_' || w.days, 'int', false,
                         format('purchase days in the last %s days', w.days) FROM windows w
        UNION ALL SELECT ARRAY[3, w.i, 2], 'sum_' || w.days, 'float8', false,
                         format('amount of the purchase days in the last %s days', w.days) FROM windows w
        UNION ALL SELECT ARRAY[4, f.i], f.name, f.type, false, f.meaning FROM (VALUES
            (1, 'mean_interpurchase', 'float8', 'mean days between purchases; -1 for fewer than two'),
            (2, 'first_month', 'int', 'month of the first purchase'),
            (3, 'first_amount', 'float8', 'amount of the first purchase day')) f(i, name, type, meaning)
        UNION ALL SELECT ARRAY[5, f.i], f.name, f.type, false, f.meaning FROM (VALUES
            (1, 'return_days', 'int', 'days whose returns came to more than the orders'),
            (2, 'returned', 'float8', 'what came back on those days')) f(i, name, type, meaning)
        WHERE definition -> 'returns' = 'true'
        UNION ALL SELECT ARRAY[6, g.log, g.kind, 0, f.i], g.prefix || f.suffix, 'int', false, f.meaning || g.what
        FROM groups g, (VALUES (1, '_count', 'number of '), (2, '_days', 'days with ')) f(i, suffix, meaning)
        UNION ALL SELECT ARRAY[6, g.log, g.kind, 0, 2 + v.i], g.prefix || '_' || v.c, 'float8', false,
                         format('sum of %s of %s', v.c, g.what)
        FROM groups g, jsonb_array_elements_text(g.sums) WITH ORDINALITY AS v(c, i)
        UNION ALL SELECT ARRAY[6, g.log, g.kind, 0, 1000], g.prefix || '_recency', 'int', false,
                         format('days from the last of %s to the cut-off', g.what) FROM groups g
        UNION ALL SELECT ARRAY[6, g.log, g.kind, w.i, f.i], g.prefix || f.suffix || w.days, 'int', false,
                         f.meaning || g.what || format(' in the last %s days', w.days)
        FROM groups g, windows w,
             (VALUES (1, '_count_', 'number of '), (2, '_days_', 'days with ')) f(i, suffix, meaning)
        UNION ALL SELECT ARRAY[6, g.log, g.kind, w.i, 2 + v.i], g.prefix || '_' || v.c || '_' || w.days,
                         'float8', false,
                         format('sum of %s of %s in the last %s days', v.c, g.what, w.days)
        FROM groups g, windows w, jsonb_array_elements_text(g.sums) WITH ORDINALITY AS v(c, i)
        UNION ALL SELECT ARRAY[6, g.log, g.kind, w.i, 1000], g.prefix || '_trend_' || w.days, 'float8', false,
                         format('%s of the last %s days against the %2$s days before: 1 all now, -1 all before',
                                g.what, w.days) FROM groups g, windows w WHERE g.kind = 0
        UNION ALL SELECT ARRAY[7, l.i], l.name, 'float8', true,
                         format('what the customer spent in the %s after the cut-off; null where they are not over',
                                l.horizon)
        FROM ltv.feature_labels(definition) l
    )
    SELECT (1 + row_number() OVER (ORDER BY n.place))::int, n.name, n.type, n.is_label, n.meaning FROM named n
$$;
COMMENT ON FUNCTION ltv.feature_columns IS 'the columns of a relation of features that are computed from logs';

-- What ltv.walk_rows is to do, as JSON: ltv_core::features::plan says what is what.
CREATE FUNCTION ltv.feature_plan(definition jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET IntervalStyle = postgres
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'instants', definition ->> 'unit' = 'instant', 'windows', definition -> 'windows',
        'ages', NULLIF(definition -> 'age', 'null'),
        'everyone', definition ->> 'customers' IS NOT NULL, 'returns', definition -> 'returns' = 'true',
        'start', CASE WHEN definition ->> 'start_column' IS NOT NULL THEN 'given'
                      WHEN NULLIF(definition -> 'age', 'null') IS NOT NULL THEN 'first_purchase' END,
        'horizons', (SELECT jsonb_agg(jsonb_build_object(
                                'months', extract(year FROM h.span) * 12 + extract(month FROM h.span),
                                'days', extract(day FROM h.span)) ORDER BY h.i)
                     FROM (SELECT l.i, l.horizon::interval AS span FROM ltv.feature_labels(definition) l) h
                     WHERE NULLIF(definition -> 'age', 'null') IS NOT NULL),
        'looks', (SELECT jsonb_agg(jsonb_build_object('time', c.at_time, 'day', c.as_of_day - date '2000-01-01',
                                                      'until', c.ends) ORDER BY c.as_of_day, c.at_time)
                  FROM (SELECT f.as_of_day, f.at_time, jsonb_agg(f.end_time ORDER BY l.i) AS ends
                        FROM ltv.feature_labels(definition) l,
                             LATERAL (SELECT c.as_of, c.as_of_day, t.at_time, t.end_time
                                      FROM ltv.features_cutoffs(
                                               definition || jsonb_build_object('horizon', l.horizon)) c,
                                           LATERAL ltv.moment_numbers(definition ->> 'unit', c.as_of, c.until) t) f
                        GROUP BY f.as_of_day, f.at_time) c),
        'events', (SELECT jsonb_agg(jsonb_build_object(
                              'kinds', COALESCE(jsonb_array_length(NULLIF(e.log -> 'types', 'null')), 0),
                              'values', jsonb_array_length(e.log -> 'value_columns')) ORDER BY e.i)
                   FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i)),
        'sequence', CASE WHEN NULLIF(definition -> 'sequence', 'null') IS NOT NULL THEN jsonb_build_object(
            'steps', definition #> '{sequence,steps}', 'grid', definition #> '{sequence,grid}',
            'columns', jsonb_array_length(definition #> '{sequence,columns}')) END))
$$;
COMMENT ON FUNCTION ltv.feature_plan IS 'the plan of ltv.walk_rows for a definition of features';

-- As the plan counts: days, or microseconds, since 2000-01-01 (in UTC).
CREATE FUNCTION ltv.moment_numbers(unit text, as_of text, until text, OUT at_time bigint, OUT end_time bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE unit WHEN 'day' THEN as_of::date - date '2000-01-01'
                     ELSE (extract(epoch FROM as_of::timestamptz) * 1000000)::bigint - 946684800000000 END,
           CASE unit WHEN 'day' THEN until::date - date '2000-01-01'
                     ELSE (extract(epoch FROM until::timestamptz) * 1000000)::bigint - 946684800000000 END
$$;
COMMENT ON FUNCTION ltv.moment_numbers IS 'two moments as numbers';
