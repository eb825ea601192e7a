-- Definitions of features: what is kept of how a relation was made. A definition belongs to the
-- owner of its relation, is written and read by the functions here only, and is checked whenever it
-- is, because a dump may have been edited by hand.

CREATE FUNCTION ltv.are_event_logs(logs jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT ltv.is_list(logs, 'object') THEN false
        ELSE (SELECT COALESCE(bool_and(COALESCE(
            jsonb_typeof(e -> 'name') = 'string' AND jsonb_typeof(e -> 'source') = 'string'
            AND jsonb_typeof(e -> 'customer_id_column') = 'string' AND jsonb_typeof(e -> 'date_column') = 'string'
            AND e ->> 'date_type' IN ('date', 'timestamp', 'timestamptz')
            AND ltv.is_list(e -> 'value_columns', 'string')
            AND COALESCE(jsonb_typeof(e -> 'source_relation'), 'null') IN ('string', 'null')
            AND COALESCE(jsonb_typeof(e -> 'source_followed'), 'null') IN ('object', 'null')
            AND (COALESCE(e -> 'types', 'null') = 'null'
                 OR jsonb_typeof(e -> 'type_column') = 'string' AND ltv.is_list(e -> 'types', 'object')
                    AND (SELECT bool_and(jsonb_typeof(t -> 'value') = 'string' AND jsonb_typeof(t -> 'name') = 'string')
                         FROM jsonb_array_elements(e -> 'types') t) IS NOT FALSE), false)), true)
              FROM jsonb_array_elements(logs) e) END
$$;
COMMENT ON FUNCTION ltv.are_event_logs IS 'whether a value is what a definition keeps of event logs';

CREATE FUNCTION ltv.refuse_damaged(wrong text, what text, writer text, hint text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF wrong IS NOT NULL THEN
        RAISE invalid_object_definition USING MESSAGE = format('the definition of the %s is damaged', what),
            DETAIL = format('It is not as %s wrote it: %s.', writer, wrong), HINT = hint;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.refuse_damaged IS 'an error where a definition that the catalog keeps is not as it was written';

CREATE FUNCTION ltv.check_definition(definition jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres
AS $$
DECLARE
    wrong text := CASE WHEN jsonb_typeof(definition) IS DISTINCT FROM 'object' THEN 'it is not an object' END;
BEGIN
    IF wrong IS NULL THEN
        SELECT string_agg(k.key, ', ') INTO wrong FROM (VALUES
            ('source', jsonb_typeof(definition -> 'source') = 'string'),
            ('source_relation', COALESCE(jsonb_typeof(definition -> 'source_relation'), 'null') IN ('string', 'null')),
            ('customer_id_column', jsonb_typeof(definition -> 'customer_id_column') = 'string'),
            ('date_column', jsonb_typeof(definition -> 'date_column') = 'string'),
            ('date_type', definition ->> 'date_type' IN ('date', 'timestamp', 'timestamptz')),
            ('value_column', jsonb_typeof(definition -> 'value_column') = 'string'),
            ('value_type', jsonb_typeof(definition -> 'value_type') = 'string'),
            ('time_zone', jsonb_typeof(definition -> 'time_zone') = 'string'),
            ('horizon', jsonb_typeof(definition -> 'horizon') = 'string'),
            ('windows', ltv.is_list(definition -> 'windows', 'number', '^[1-9][0-9]{0,4}$')),
            ('sequence', COALESCE(definition -> 'sequence', 'null') = 'null'
                OR ltv.is_list(definition #> '{sequence,columns}', 'string')
                    AND definition #>> '{sequence,steps}' ~ '^[1-9][0-9]{0,3}$'
                    AND COALESCE(definition #>> '{sequence,grid}', '1') ~ '^[1-9][0-9]{0,4}$'),
            ('materialized', jsonb_typeof(definition -> 'materialized') = 'boolean'),
            ('source_followed', COALESCE(jsonb_typeof(definition -> 'source_followed'), 'null') IN ('object', 'null')),
            ('attributes_followed',
                COALESCE(jsonb_typeof(definition -> 'attributes_followed'), 'null') IN ('object', 'null')),
            ('temporary', jsonb_typeof(definition -> 'temporary') = 'boolean'),
            ('log_end', COALESCE(jsonb_typeof(definition -> 'log_end'), 'null') IN ('string', 'null')),
            ('search_path', jsonb_typeof(definition -> 'search_path') = 'string'),
            ('attributes', COALESCE(definition -> 'attributes', 'null') = 'null'
                OR jsonb_typeof(definition -> 'attributes') = 'string'
                    AND ltv.is_list(definition -> 'attribute_columns', 'string')),
            ('attributes_relation',
                COALESCE(jsonb_typeof(definition -> 'attributes_relation'), 'null') IN ('string', 'null')),
            ('customers', COALESCE(definition -> 'customers', 'null') = 'null'
                OR jsonb_typeof(definition -> 'customers') = 'string'
                    AND ltv.is_list(definition -> 'customer_columns', 'string')),
            ('customers_relation',
                COALESCE(jsonb_typeof(definition -> 'customers_relation'), 'null') IN ('string', 'null')),
            ('customers_followed',
                COALESCE(jsonb_typeof(definition -> 'customers_followed'), 'null') IN ('object', 'null')),
            ('start_column', COALESCE(definition -> 'start_column', 'null') = 'null'
                OR definition ->> 'start_type' IN ('date', 'timestamp', 'timestamptz')
                    AND jsonb_typeof(definition -> 'customers') = 'string'),
            ('attributes_date_column', COALESCE(definition -> 'attributes_date_column', 'null') = 'null'
                OR definition ->> 'attributes_date_type' IN ('date', 'timestamp', 'timestamptz')
                    AND jsonb_typeof(definition -> 'attributes') = 'string'),
            ('age', COALESCE(definition -> 'age', 'null') = 'null'
                OR ltv.is_list(definition -> 'age', 'number', '^[0-9]{1,5}$')
                    AND definition -> 'age' <> '[]' AND definition ->> 'unit' = 'day'),
            ('horizons', COALESCE(definition -> 'horizons', 'null') = 'null'
                OR ltv.is_list(definition -> 'horizons', 'number', '^[1-9][0-9]{0,4}$')),
            ('part', definition -> 'part' IS NULL),  -- that of a process, never kept
            ('returns', COALESCE(jsonb_typeof(definition -> 'returns'), 'boolean') = 'boolean'),
            ('events', COALESCE(definition -> 'events', 'null') = 'null' OR ltv.are_event_logs(definition -> 'events')),
            ('unit', definition ->> 'unit' IN ('day', 'instant')),
            ('as_of', ltv.is_list(definition -> 'as_of', 'string')
                AND (definition -> 'as_of' <> '[]') = (COALESCE(definition -> 'age', 'null') = 'null'))
        ) k (key, is_right) WHERE k.is_right IS NOT TRUE;
    END IF;
    IF wrong IS NULL THEN
        BEGIN
            PERFORM now() AT TIME ZONE (definition ->> 'time_zone'), ltv.log_end(definition),
                    ltv.parse_horizon((definition ->> 'horizon')::ltv.horizon);
            IF definition -> 'as_of' <> '[]'
                AND ltv.with_cutoffs(definition, ltv.own_cutoffs(definition)) ->> 'unit' <> definition ->> 'unit' THEN
                wrong := 'as_of';
            END IF;
        EXCEPTION WHEN data_exception THEN
            wrong := SQLERRM;
        END;
    END IF;
    PERFORM ltv.refuse_damaged(wrong, 'features', 'ltv_create_features',
                               'Drop the relation and make the features again.');
    RETURN definition;
END
$$;
COMMENT ON FUNCTION ltv.check_definition IS 'a definition of features, or an error if it is not one';

CREATE FUNCTION ltv.qualified_name(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = relation
$$;
COMMENT ON FUNCTION ltv.qualified_name IS 'the qualified, quoted name of a relation; NULL if it is gone';

CREATE FUNCTION ltv.relation_named(name text) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN to_regclass(name);
EXCEPTION WHEN invalid_name OR syntax_error OR feature_not_supported THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.relation_named
    IS 'the relation of a qualified name; NULL if there is none, or if it is no name';

-- A relation that was read is followed where it is renamed or moved. One that was made again under its name, as nightly
-- loads do, is the new one; so is one that was put in its place. But not one of another owner: whose functions a query
-- runs is decided by whoever makes what it reads. A dump writes the oid of a relation that is gone as a number, which
-- may be another relation's where it is restored; so where the number is the same, the database must be, too.
CREATE FUNCTION ltv.followed(kept regclass, saved jsonb, OUT relation text, OUT replaced_by text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN k.oid IS NULL THEN COALESCE(ltv.qualified_name(n.oid), saved ->> 'name')
                WHEN n.relowner = k.relowner THEN ltv.qualified_name(n.oid) ELSE ltv.qualified_name(k.oid) END,
           CASE WHEN k.oid IS NULL AND pg_get_userbyid(n.relowner) <> saved ->> 'owner'
                THEN pg_get_userbyid(n.relowner) END
    FROM (VALUES (1)) one
    LEFT JOIN pg_class k
        ON k.oid = kept AND (kept::oid::text <> saved ->> 'oid' OR saved ->> 'database' = ltv.database_identity())
    LEFT JOIN pg_class n ON n.oid = ltv.relation_named(saved ->> 'name')
$$;
COMMENT ON FUNCTION ltv.followed
    IS 'the name of a relation that was read before, and its owner if that is not the one it had';

CREATE FUNCTION ltv.database_identity() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT s.system_identifier FROM pg_control_system() s) || '.' || d.oid
    FROM pg_database d WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION ltv.database_identity IS 'tells this database from its copies';

CREATE FUNCTION ltv.to_follow(name text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'name', name, 'oid', c.oid, 'owner', pg_get_userbyid(c.relowner), 'database', ltv.database_identity())
    FROM pg_class c WHERE c.oid = ltv.relation_named(name)
$$;
COMMENT ON FUNCTION ltv.to_follow IS 'what has to be known of a relation to follow it';

-- Of the features that the caller owns, or has the rights of the owner of; NULL where there are none. To change them
-- they are locked until the end of the transaction, so that two refreshes do not mix.
CREATE FUNCTION ltv.feature_definition(caller regrole, relation regclass, to_change boolean) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept record;
    source record;
    attributes record;
    customers record;
    events record;
BEGIN
    IF NOT pg_has_role(caller, (SELECT c.relowner FROM pg_class c WHERE c.oid = relation), 'USAGE') IS TRUE THEN
        RETURN NULL;
    ELSIF to_change THEN
        PERFORM FROM ltv.feature_definitions f WHERE f.relation = feature_definition.relation FOR UPDATE;
    END IF;
    SELECT f.definition, f.orders, f.attributes, f.customers, f.events INTO kept
    FROM ltv.feature_definitions f WHERE f.relation = feature_definition.relation;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM ltv.check_definition(kept.definition);
    source := ltv.followed(kept.orders, kept.definition -> 'source_followed');
    attributes := ltv.followed(kept.attributes, kept.definition -> 'attributes_followed');
    customers := ltv.followed(kept.customers, kept.definition -> 'customers_followed');
    SELECT max(f.replaced_by) AS replaced_by,
           jsonb_agg(e.log || jsonb_strip_nulls(jsonb_build_object('source_relation', f.relation)) ORDER BY e.i) AS logs
    INTO events
    FROM jsonb_array_elements(NULLIF(kept.definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i),
         LATERAL ltv.followed(kept.events[e.i::int], e.log -> 'source_followed') f;
    RETURN kept.definition || jsonb_strip_nulls(jsonb_build_object(
        'source_relation', source.relation, 'attributes_relation', attributes.relation,
        'customers_relation', customers.relation, 'events', events.logs,
        'replaced_by', COALESCE(source.replaced_by, attributes.replaced_by, customers.replaced_by,
                                events.replaced_by)));
END
$$;
COMMENT ON FUNCTION ltv.feature_definition(regrole, regclass, boolean) IS 'see the function without caller';

CREATE FUNCTION ltv.feature_definition(relation regclass, to_change boolean DEFAULT false) RETURNS jsonb
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.feature_definition(regclass, boolean)
    IS 'how features of one''s own were made; NULL for other relations';

-- What whoever may read features may know beside them. A damaged definition says nothing.
CREATE FUNCTION ltv.feature_facts(caller regrole, relation regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known jsonb := (SELECT f.definition FROM ltv.feature_definitions f JOIN pg_class c ON c.oid = f.relation
                    WHERE f.relation = feature_facts.relation
                      AND (pg_has_role(caller, c.relowner, 'USAGE')
                         OR has_any_column_privilege(caller, c.oid, 'SELECT')));
BEGIN
    IF known IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM ltv.check_definition(known);
    RETURN jsonb_build_object('customer_id_column', known -> 'customer_id_column',
        'horizon_days', COALESCE((SELECT max(c.until_day - c.as_of_day) FROM ltv.features_cutoffs(known) c),
                                 round(extract(epoch FROM (known ->> 'horizon')::interval) / 86400)));
EXCEPTION WHEN invalid_object_definition THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.feature_facts(regrole, regclass) IS 'see the function without caller';

CREATE FUNCTION ltv.feature_facts(relation regclass) RETURNS jsonb
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.feature_facts(regclass) IS
    'the horizon and the id column of features that the caller may read; NULL for other relations';

CREATE FUNCTION ltv.features_horizon(relations oid[]) RETURNS float8
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN count(DISTINCT h.days) = 1 THEN max(h.days) END
    FROM (SELECT (ltv.feature_facts(r::regclass) ->> 'horizon_days')::float8 AS days FROM unnest(relations) r) h
$$;
COMMENT ON FUNCTION ltv.features_horizon
    IS 'the days that the features among some relations look ahead, if all look equally far';

CREATE FUNCTION ltv.features_id_column(relation text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.feature_facts(to_regclass(relation)) ->> 'customer_id_column' $$;
COMMENT ON FUNCTION ltv.features_id_column IS
    'the column that tells the customers of a relation of features apart; NULL for other relations';

CREATE FUNCTION ltv.save_definition(caller regrole, relation regclass, definition jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation AND c.relkind IN ('r', 'v'));
BEGIN
    IF owner IS NULL THEN
        RAISE undefined_table USING MESSAGE = 'the relation of the features does not exist';
    ELSIF NOT pg_has_role(caller, owner, 'USAGE') THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', relation),
            DETAIL = format('It belongs to role "%s".', pg_get_userbyid(owner));
    END IF;
    PERFORM ltv.check_definition(definition);
    -- The oid of a relation that was dropped may one day be another relation's.
    DELETE FROM ltv.feature_definitions f WHERE f.ctid = ANY (ARRAY(
        SELECT d.ctid FROM ltv.feature_definitions d WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relation)
        FOR UPDATE SKIP LOCKED));
    definition := definition - 'replaced_by' || jsonb_build_object(
        'source_followed', ltv.to_follow(definition ->> 'source_relation'),
        'attributes_followed', ltv.to_follow(definition ->> 'attributes_relation'))
        || jsonb_strip_nulls(jsonb_build_object(
        'customers_followed', ltv.to_follow(definition ->> 'customers_relation'),
        'events', (SELECT jsonb_agg(e.log || jsonb_build_object('source_followed',
                                        ltv.to_follow(e.log ->> 'source_relation')) ORDER BY e.i)
                   FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i))));
    INSERT INTO ltv.feature_definitions AS f (relation, definition, orders, attributes, customers, events)
    VALUES (relation, definition, ltv.relation_named(definition ->> 'source_relation'),
            ltv.relation_named(definition ->> 'attributes_relation'),
            ltv.relation_named(definition ->> 'customers_relation'),
            ARRAY(SELECT ltv.relation_named(e.log ->> 'source_relation')
                  FROM jsonb_array_elements(NULLIF(definition -> 'events', 'null')) WITH ORDINALITY AS e(log, i)
                  ORDER BY e.i))
    ON CONFLICT ON CONSTRAINT feature_definitions_pkey DO UPDATE
    SET definition = excluded.definition, orders = excluded.orders, attributes = excluded.attributes,
        customers = excluded.customers, events = excluded.events, updated_at = clock_timestamp();
END
$$;
COMMENT ON FUNCTION ltv.save_definition(regrole, regclass, jsonb) IS 'see the function without caller';

CREATE FUNCTION ltv.save_definition(relation regclass, definition jsonb) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.save_definition(regclass, jsonb) IS 'keeps how features of one''s own were made';

CREATE VIEW @extschema@.ltv_features WITH (security_barrier) AS
SELECT f.relation AS features, c.relowner::regrole AS owner, f.definition ->> 'source' AS source,
       ARRAY(SELECT jsonb_array_elements_text(f.definition -> 'as_of')) AS as_of, f.definition ->> 'horizon' AS horizon,
       f.created_at, f.updated_at
FROM ltv.feature_definitions f JOIN pg_class c ON c.oid = f.relation WHERE pg_has_role(c.relowner, 'USAGE');
COMMENT ON VIEW @extschema@.ltv_features IS 'the features of the current role and of those whose rights it has';
COMMENT ON COLUMN @extschema@.ltv_features.features IS 'the table or view';
COMMENT ON COLUMN @extschema@.ltv_features.owner IS 'the role that owns it';
COMMENT ON COLUMN @extschema@.ltv_features.source IS 'the order log: a relation or a query';
COMMENT ON COLUMN @extschema@.ltv_features.as_of IS 'its cut-offs';
COMMENT ON COLUMN @extschema@.ltv_features.horizon IS 'how far its label looks ahead';
COMMENT ON COLUMN @extschema@.ltv_features.created_at IS 'when it was made';
COMMENT ON COLUMN @extschema@.ltv_features.updated_at IS 'when it was made again';
GRANT SELECT ON @extschema@.ltv_features TO PUBLIC;
