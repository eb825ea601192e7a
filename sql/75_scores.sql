-- The step score of a chain: predictions in a table with their history.
--
-- Of each customer a row says from which day to which a value held. A value that has hardly changed keeps its row,
-- because everybody grows a day older every night: without that each night would write the whole table again.

CREATE FUNCTION ltv.check_score_table(name text, relation regclass, id_column text, source text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    facts record;
    found record := ltv.query_columns(source);
    wrong text;
BEGIN
    SELECT c.relkind, c.relowner, pg_get_userbyid(c.relowner) AS owner INTO facts
    FROM pg_class c WHERE c.oid = relation;
    SELECT string_agg(w.name || ' ' || format_type(w.type, NULL), ', ' ORDER BY w.i) INTO wrong
    FROM (VALUES (0, id_column, found.types[array_position(found.names, id_column)]), (1, 'ltv', 'float8'::regtype),
                 (2, 'version', 'int'::regtype), (3, 'valid_from', 'date'::regtype), (4, 'valid_to', 'date'::regtype)
         ) w(i, name, type)
    LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
    WHERE a.atttypid IS DISTINCT FROM w.type;
    IF facts.relkind <> 'r' OR wrong IS NOT NULL THEN
        RAISE wrong_object_type USING MESSAGE = format('%s is not a table of scores', name),
            DETAIL = CASE WHEN facts.relkind <> 'r' THEN 'It is a view, or partitioned, or otherwise no ordinary table.'
                     ELSE format('It lacks, or has of other types: %s.', wrong) END,
            HINT = 'Name a table that does not exist yet; the step makes it.';
    ELSIF facts.relowner <> quote_ident(current_user)::regrole THEN
        RAISE insufficient_privilege USING MESSAGE = format('%s belongs to role "%s"', name, facts.owner),
            DETAIL = 'Its triggers would run with your rights.',
            HINT = format('Name a table of your own, or run the chain as its owner: SET ROLE %I.', facts.owner);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_score_table IS 'an error unless scores may be written to a relation that is there';

CREATE FUNCTION ltv.make_score_table(name text, id_column text, source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    meaning record;
BEGIN
    IF id_column IN ('ltv', 'version', 'valid_from', 'valid_to') THEN
        RAISE duplicate_column USING
            MESSAGE = format('the id column "%s" has the name of a column of scores', id_column),
            HINT = 'Rename it in a query.';
    END IF;
    EXECUTE format('CREATE TABLE %s AS SELECT ltv_row.%I, NULL::float8 AS ltv, NULL::int AS version, '
                   'NULL::date AS valid_from, NULL::date AS valid_to FROM (%s' || E'\n) ltv_row WITH NO DATA',
                   name, id_column, source);
    EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%I, valid_from), ALTER ltv SET NOT NULL', name, id_column);
    EXECUTE format('CREATE INDEX ON %s (%I) WHERE valid_to IS NULL', name, id_column);
    FOR meaning IN VALUES ('ltv', 'predicted value'), ('version', 'the version of the model that predicted it'),
                          ('valid_from', 'the first day that it holds'),
                          ('valid_to', 'the first day that it does not hold any more; null for what holds today') LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', name, meaning.column1, meaning.column2);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.make_score_table IS 'makes a table of scores';

-- SQL for the version that scores a row called ltv_row.
CREATE FUNCTION ltv.scoring_version(model text, names text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN d.share IS NULL THEN COALESCE(c.version::text, 'NULL::int')
                WHEN d.id_column = ANY (names)
                THEN format('CASE WHEN ltv.customer_position(ltv_row.%I::text) < %s THEN %s ELSE %s END', d.id_column,
                            d.share, d.version, c.version)
                ELSE 'NULL::int' END
    FROM (SELECT scoring_version.model) m
    LEFT JOIN ltv.usable_aliases c ON c.model = m.model AND c.alias = 'champion'
    LEFT JOIN ltv.usable_aliases d ON d.model = m.model AND d.alias = 'challenger'
$$;
COMMENT ON FUNCTION ltv.scoring_version IS 'which version scores a customer, as SQL; null where the input decides';

CREATE FUNCTION ltv.night_score(night jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET DateStyle = ISO
AS $$
DECLARE
    model text := night ->> 'model';
    name text := night ->> 'scores';
    source text := ltv.night_source(night);
    columns record := ltv.query_columns(source);
    id_column text := ltv.check_id_column(columns.names, night ->> 'id_column', model);
    relation regclass := ltv.relation_named(name);
    day date := (night ->> 'day')::date;
    last_day date;
    done jsonb;
BEGIN
    PERFORM ltv.check_single('pg_catalog, pg_temp', source, id_column, format('a.%I', id_column), NULL, 'features');
    IF relation IS NULL THEN
        PERFORM ltv.make_score_table(name, id_column, source);
    ELSE
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', name);
        PERFORM ltv.check_score_table(name, relation, id_column, source);
        EXECUTE format('SELECT max(s.valid_from) FROM %s s', name) INTO last_day;
        IF last_day > day THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('%s has scores of %s already, which is after %s', name, last_day, day),
                DETAIL = format('The day is that of time zone %s, or the argument day.', night ->> 'time_zone');
        END IF;
    END IF;
    EXECUTE ltv.fill_in($sql$
        WITH compared AS MATERIALIZED (
            SELECT n.id, n.ltv, n.version, o.place, o.valid_from, n.id IS NULL AS is_gone,
                   o.version IS DISTINCT FROM n.version
                       OR abs(n.ltv - o.ltv) > {minimum}::float8 * GREATEST(abs(n.ltv), abs(o.ltv)) AS is_other
            FROM (SELECT ltv_row.{id} AS id, {call} AS ltv, {version} AS version FROM ({source}
                 ) ltv_row WHERE ltv_row.{id} IS NOT NULL) n
            FULL JOIN (SELECT s.{id} AS id, s.ctid AS place, s.ltv, s.version, s.valid_from
                       FROM {scores} s WHERE s.valid_to IS NULL) o ON {same}
        ), closed AS (
            UPDATE {scores} s SET valid_to = {day} FROM compared c
            WHERE s.ctid = c.place AND c.valid_from < {day} AND (c.is_gone OR c.is_other)
        ), corrected AS (
            UPDATE {scores} s SET ltv = c.ltv, version = c.version FROM compared c
            WHERE s.ctid = c.place AND c.valid_from = {day} AND NOT c.is_gone AND c.is_other
        ), forgotten AS (
            DELETE FROM {scores} s USING compared c WHERE s.ctid = c.place AND c.valid_from = {day} AND c.is_gone
        ), added AS (
            INSERT INTO {scores} ({id}, ltv, version, valid_from)
            SELECT c.id, c.ltv, c.version, {day} FROM compared c
            WHERE NOT c.is_gone AND (c.place IS NULL OR c.is_other AND c.valid_from < {day})
        )
        SELECT jsonb_build_object('rows', count(*) FILTER (WHERE NOT c.is_gone), 'message', format(
                   '%s new, %s changed, %s left', count(*) FILTER (WHERE c.place IS NULL),
                   count(*) FILTER (WHERE c.place IS NOT NULL AND NOT c.is_gone AND c.is_other),
                   count(*) FILTER (WHERE c.is_gone)))
        FROM compared c$sql$, jsonb_build_object(
        'id', quote_ident(id_column), 'scores', name, 'source', ltv.gathered_query(source),
        'day', format('%L::date', day),
        'minimum', (ltv.step_arguments(night -> 'arguments')).minimum_change,
        'call', format('ltv.predict(%L::text, ltv_row)', model),
        'version', ltv.scoring_version(model, columns.names), 'same', (ltv.id_match(
            source, id_column, 'n.id', 'features', source, id_column, 'o.id', 'scores')).condition)) INTO done;
    IF relation IS NULL THEN
        EXECUTE 'ANALYZE ' || name;
    END IF;
    RETURN done;
END
$$;
COMMENT ON FUNCTION ltv.night_score IS 'the step score';
