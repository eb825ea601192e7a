-- Campaigns: what is kept of how a list of members was made. A campaign is a table of its maker's, known by its oid.
-- The catalog has its definition, which belongs to the owner of the table and is written and read by the functions
-- here only. Who its members are stands in that table and nowhere else.

CREATE TABLE ltv.campaigns (
    relation   regclass PRIMARY KEY,
    definition jsonb NOT NULL,
    customers  regclass,  -- what it reads, where that is a relation and not a query
    suppress   regclass[],  -- one for each, NULL for a query
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ltv.campaigns
    IS 'how the members of each campaign were chosen, so that the list can be made again; '
       'it belongs to the owner of the relation';
-- The oid of a relation that is gone would be another relation's where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('ltv.campaigns',
    'WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)');

CREATE FUNCTION ltv.campaign_margin(definition jsonb) RETURNS float8
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT COALESCE(definition ->> 'mean_margin', definition ->> 'margin')::float8 $$;
COMMENT ON FUNCTION ltv.campaign_margin
    IS 'profit per unit of predicted value: that of all customers, or the mean of the members where it differs';

CREATE VIEW @extschema@.ltv_campaigns WITH (security_barrier) AS
SELECT c.relation AS campaign, r.relowner::regrole AS owner, c.definition ->> 'model' AS model,
       (c.definition ->> 'start')::date AS start, (c.definition ->> 'hold_out')::float8 AS hold_out,
       (c.definition ->> 'budget')::float8 AS budget, (c.definition ->> 'cost_per_contact')::float8 AS cost_per_contact,
       ltv.campaign_margin(c.definition) AS margin, c.definition ->> 'eligible' AS eligible,
       (c.definition ->> 'cooldown')::int AS cooldown, c.created_at, c.updated_at
FROM ltv.campaigns c JOIN pg_class r ON r.oid = c.relation WHERE pg_has_role(r.relowner, 'USAGE');
COMMENT ON VIEW @extschema@.ltv_campaigns IS 'the campaigns of the current role and of those whose rights it has';
COMMENT ON COLUMN @extschema@.ltv_campaigns.campaign IS 'the table of its members';
COMMENT ON COLUMN @extschema@.ltv_campaigns.owner IS 'the role that owns it';
COMMENT ON COLUMN @extschema@.ltv_campaigns.model IS 'whose predictions ranked them';
COMMENT ON COLUMN @extschema@.ltv_campaigns.start IS 'its first day';
COMMENT ON COLUMN @extschema@.ltv_campaigns.hold_out IS 'share of the members who are not contacted';
COMMENT ON COLUMN @extschema@.ltv_campaigns.budget IS 'what may be spent; NULL: no limit';
COMMENT ON COLUMN @extschema@.ltv_campaigns.cost_per_contact IS 'what one contact costs';
COMMENT ON COLUMN @extschema@.ltv_campaigns.margin
    IS 'profit per unit of predicted value, the mean of the members where it differs';
COMMENT ON COLUMN @extschema@.ltv_campaigns.eligible IS 'the condition that members meet';
COMMENT ON COLUMN @extschema@.ltv_campaigns.cooldown IS 'days in which nobody is contacted by two campaigns';
COMMENT ON COLUMN @extschema@.ltv_campaigns.created_at IS 'when it was made';
COMMENT ON COLUMN @extschema@.ltv_campaigns.updated_at IS 'when it was made again';
GRANT SELECT ON @extschema@.ltv_campaigns TO PUBLIC;

-- The columns of a campaign beside the id. What was known when a member came (drawn_*) never changes: it is what a
-- result may be told apart by. Who has left keeps a row, without an arm, for whoever was contacted counts.
CREATE FUNCTION ltv.campaign_columns() RETURNS TABLE (i int, name text, type text, meaning text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES (1, 'rank', 'bigint', 'place among all customers of the query by predicted value; null for who has left'),
           (2, 'tier', 'int', 'tier by predicted value, 1 is the best'),
           (3, 'ltv', 'float8', 'predicted value when the list was made last'),
           (4, 'arm', 'text', 'contact or hold_out; null for who has left'),
           (5, 'since', 'date', 'the first day that counts for the result'),
           (6, 'drawn_arm', 'text', 'the arm that the member was drawn into, which never changes'),
           (7, 'drawn_tier', 'int', 'tier when the member came'),
           (8, 'drawn_ltv', 'float8', 'predicted value when the member came'),
           (9, 'previous_tier', 'int', 'tier before the list was made last; null for who came then'),
           (10, 'change', 'text', 'what the last making of the list changed: entered, left, tier or nothing'),
           (11, 'left_at', 'timestamptz', 'when the member left; null for who has not')
$$;
COMMENT ON FUNCTION ltv.campaign_columns IS 'the columns of a campaign beside the id of the customer';

-- A number of jsonb may be beyond what the view of all campaigns can show.
CREATE FUNCTION ltv.is_double(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN jsonb_typeof(value) = 'number' THEN abs(value::numeric) <= 1e300 ELSE false END $$;
COMMENT ON FUNCTION ltv.is_double IS 'whether a value is a number that a double can hold';

CREATE FUNCTION ltv.check_campaign(definition jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    wrong text := CASE WHEN jsonb_typeof(definition) IS DISTINCT FROM 'object' THEN 'it is not an object' END;
BEGIN
    IF wrong IS NULL THEN
        SELECT string_agg(k.key, ', ') INTO wrong FROM (VALUES
            ('model', jsonb_typeof(definition -> 'model') = 'string'),
            ('query', jsonb_typeof(definition -> 'query') = 'string'),
            ('id_column', jsonb_typeof(definition -> 'id_column') = 'string'),
            ('search_path', jsonb_typeof(definition -> 'search_path') = 'string'),
            ('draw', jsonb_typeof(definition -> 'draw') = 'string'),
            ('start', definition ->> 'start' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'),
            ('time_zone', jsonb_typeof(definition -> 'time_zone') = 'string'),
            ('hold_out', ltv.is_double(definition -> 'hold_out')),
            ('margin', ltv.is_double(definition -> 'margin')),
            ('margin_column', COALESCE(jsonb_typeof(definition -> 'margin_column'), 'null') IN ('string', 'null')),
            ('mean_margin', COALESCE(definition -> 'mean_margin', 'null') = 'null'
                OR ltv.is_double(definition -> 'mean_margin')),
            ('cost_per_contact', ltv.is_double(definition -> 'cost_per_contact')),
            ('budget', COALESCE(definition -> 'budget', 'null') = 'null' OR ltv.is_double(definition -> 'budget')),
            ('version', COALESCE(definition -> 'version', 'null') = 'null'
                OR definition ->> 'version' ~ '^[1-9][0-9]{0,9}$'),
            ('cooldown', COALESCE(definition -> 'cooldown', 'null') = 'null'
                OR definition ->> 'cooldown' ~ '^[0-9]{1,5}$'),
            ('eligible', COALESCE(jsonb_typeof(definition -> 'eligible'), 'null') IN ('string', 'null')),
            ('email_column', COALESCE(jsonb_typeof(definition -> 'email_column'), 'null') IN ('string', 'null')),
            ('thresholds', COALESCE(definition -> 'thresholds', 'null') = 'null'
                OR ltv.is_list(definition -> 'thresholds', 'number')),
            ('bounds', ltv.is_list(definition -> 'bounds', 'number') AND definition -> 'bounds' <> '[]'),
            ('suppress', COALESCE(definition -> 'suppress', 'null') = 'null'
                OR ltv.is_list(definition -> 'suppress', 'object')
                    AND (SELECT bool_and(jsonb_typeof(s -> 'query') = 'string')
                         FROM jsonb_array_elements(definition -> 'suppress') s) IS NOT FALSE)
        ) k (key, is_right) WHERE k.is_right IS NOT TRUE;
    END IF;
    IF wrong IS NULL THEN
        BEGIN
            PERFORM now() AT TIME ZONE (definition ->> 'time_zone'), (definition ->> 'start')::date;
        EXCEPTION WHEN data_exception THEN
            wrong := SQLERRM;
        END;
    END IF;
    PERFORM ltv.refuse_damaged(wrong, 'campaign', 'ltv_create_campaign',
                               'Make a new campaign. The members stand in the table, which is as it was.');
    RETURN definition;
END
$$;
COMMENT ON FUNCTION ltv.check_campaign IS 'a definition of a campaign, or an error if it is not one';

-- Of a campaign that the caller owns, or has the rights of the owner of; NULL for all other relations. To change it, it
-- is locked until the end of the transaction. What it reads is followed as what features read.
CREATE FUNCTION ltv.campaign_definition(caller regrole, relation regclass, to_change boolean) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept record;
    customers record;
    suppressed record;
BEGIN
    IF NOT pg_has_role(caller, (SELECT c.relowner FROM pg_class c WHERE c.oid = relation AND c.relkind = 'r'),
                       'USAGE') IS TRUE THEN
        RETURN NULL;
    ELSIF to_change THEN
        PERFORM FROM ltv.campaigns c WHERE c.relation = campaign_definition.relation FOR UPDATE;
    END IF;
    SELECT c.definition, c.customers, c.suppress INTO kept
    FROM ltv.campaigns c WHERE c.relation = campaign_definition.relation;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM ltv.check_campaign(kept.definition);
    customers := ltv.followed(kept.customers, kept.definition -> 'query_followed');
    SELECT max(f.replaced_by) AS replaced_by,
           jsonb_agg(s.source || jsonb_strip_nulls(jsonb_build_object('relation', f.relation)) ORDER BY s.i) AS sources
    INTO suppressed
    FROM jsonb_array_elements(NULLIF(kept.definition -> 'suppress', 'null')) WITH ORDINALITY AS s(source, i),
         LATERAL ltv.followed(kept.suppress[s.i::int], s.source -> 'followed') f;
    RETURN kept.definition || jsonb_strip_nulls(jsonb_build_object(
        'query_relation', customers.relation, 'suppress', suppressed.sources,
        'replaced_by', COALESCE(customers.replaced_by, suppressed.replaced_by)));
END
$$;
COMMENT ON FUNCTION ltv.campaign_definition(regrole, regclass, boolean) IS 'see the function without caller';

CREATE FUNCTION ltv.campaign_definition(relation regclass, to_change boolean DEFAULT false) RETURNS jsonb
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.campaign_definition(regclass, boolean)
    IS 'how a campaign of one''s own was made; NULL for other relations';

-- Of a type of somebody's own, a cast or an operator may be a function of his. Nobody else runs that by looking at a
-- campaign of his.
CREATE FUNCTION ltv.campaign_types(relation regclass, id_column text, OUT missing text, OUT other text, OUT own text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(w.name, ', ' ORDER BY w.i) FILTER (WHERE a.attname IS NULL),
           string_agg(w.name, ', ' ORDER BY w.i) FILTER (WHERE a.atttypid <> w.type::regtype),
           string_agg(w.name, ', ' ORDER BY w.i)
               FILTER (WHERE w.i = 0 AND (t.typnamespace <> 'pg_catalog'::regnamespace OR t.typtype <> 'b'))
    FROM (SELECT 0 AS i, id_column AS name, NULL AS type
          UNION ALL SELECT c.i, c.name, c.type FROM ltv.campaign_columns() c) w
    LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
$$;
COMMENT ON FUNCTION ltv.campaign_types
    IS 'columns of a campaign that are missing or of other types than they were; an id of a type of one''s own';

-- The same words for a campaign of others as for what is none.
CREATE FUNCTION ltv.own_campaign(relation regclass, to_change boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.campaign_definition(relation, to_change);
    facts record;
    types record;
BEGIN
    IF relation IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name of the campaign must not be null',
            HINT = 'Name a campaign made by ltv_create_campaign.';
    ELSIF spec IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('%s is not a campaign of yours', relation),
            DETAIL = 'It was not made by ltv_create_campaign, or it belongs to another role.',
            HINT = 'The view ltv_campaigns lists your campaigns.';
    END IF;
    types := ltv.campaign_types(relation, spec ->> 'id_column');
    SELECT pg_get_userbyid(c.relowner) AS owner, c.relforcerowsecurity AS forced INTO facts
    FROM pg_class c WHERE c.oid = relation;
    IF types.missing IS NOT NULL OR types.other IS NOT NULL THEN
        RAISE undefined_column USING
            MESSAGE = format('%s lacks columns of a campaign, or has them of another type: %s', relation,
                             concat_ws(', ', types.missing, types.other)),
            HINT = 'Give it the columns again, or make a new campaign.';
    ELSIF (types.own IS NOT NULL OR facts.forced) AND facts.owner <> current_user THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('only the owner of %s can ask for it', relation),
            DETAIL = 'Its ids are of a type of their own, or it forces row security on everybody: '
                     'to read it may run functions of its owner.',
            HINT = format('Ask as its owner: SET ROLE %I.', facts.owner);
    END IF;
    RETURN spec;
END
$$;
COMMENT ON FUNCTION ltv.own_campaign IS 'how a campaign of one''s own was made, or an error';

CREATE FUNCTION ltv.save_campaign(caller regrole, relation regclass, definition jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation AND c.relkind = 'r');
BEGIN
    IF owner IS NULL THEN
        RAISE undefined_table USING MESSAGE = 'the table of the campaign does not exist';
    ELSIF NOT pg_has_role(caller, owner, 'USAGE') THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', relation),
            DETAIL = format('It belongs to role "%s".', pg_get_userbyid(owner));
    END IF;
    -- The oid of a table that was dropped may one day be another relation's.
    DELETE FROM ltv.campaigns c WHERE c.ctid = ANY (ARRAY(
        SELECT d.ctid FROM ltv.campaigns d WHERE NOT EXISTS (SELECT FROM pg_class r WHERE r.oid = d.relation)
        FOR UPDATE SKIP LOCKED));
    definition := definition - 'replaced_by'
        || jsonb_build_object('query_followed', ltv.to_follow(definition ->> 'query_relation'))
        || jsonb_strip_nulls(jsonb_build_object('suppress', (
               SELECT jsonb_agg(s.source || jsonb_build_object('followed', ltv.to_follow(s.source ->> 'relation'))
                                ORDER BY s.i)
               FROM jsonb_array_elements(NULLIF(definition -> 'suppress', 'null')) WITH ORDINALITY AS s(source, i))));
    PERFORM ltv.check_campaign(definition);
    INSERT INTO ltv.campaigns AS c (relation, definition, customers, suppress)
    VALUES (relation, definition, ltv.relation_named(definition ->> 'query_relation'),
            ARRAY(SELECT ltv.relation_named(s.source ->> 'relation')
                  FROM jsonb_array_elements(NULLIF(definition -> 'suppress', 'null')) WITH ORDINALITY AS s(source, i)
                  ORDER BY s.i))
    ON CONFLICT ON CONSTRAINT campaigns_pkey DO UPDATE
    SET definition = excluded.definition, customers = excluded.customers, suppress = excluded.suppress,
        updated_at = clock_timestamp();
END
$$;
COMMENT ON FUNCTION ltv.save_campaign(regrole, regclass, jsonb) IS 'see the function without caller';

CREATE FUNCTION ltv.save_campaign(relation regclass, definition jsonb) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.save_campaign(regclass, jsonb) IS 'keeps how a campaign of one''s own was made';

-- Campaigns whose members the caller may read, which is what a team grants to each other for a common rest. Nothing but
-- the name of the table and of its id is told of them. Those that would run a function of their owner's are left out.
CREATE FUNCTION ltv.other_campaigns(caller regrole, relation regclass) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(jsonb_agg(jsonb_build_object(
               'name', ltv.qualified_name(c.relation), 'id_column', c.definition ->> 'id_column') ORDER BY r.oid), '[]')
    FROM ltv.campaigns c JOIN pg_class r ON r.oid = c.relation JOIN pg_namespace n ON n.oid = r.relnamespace,
         LATERAL ltv.campaign_types(c.relation, c.definition ->> 'id_column') t
    WHERE c.relation IS DISTINCT FROM other_campaigns.relation
      AND r.relkind = 'r' AND t.missing IS NULL AND t.other IS NULL
      AND (r.relowner = caller OR t.own IS NULL AND NOT r.relrowsecurity)
      AND has_schema_privilege(caller, n.oid, 'USAGE') AND has_table_privilege(caller, r.oid, 'SELECT')
$$;
COMMENT ON FUNCTION ltv.other_campaigns(regrole, regclass) IS 'see the function without caller';

CREATE FUNCTION ltv.other_campaigns(relation regclass) RETURNS jsonb
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.other_campaigns(regclass) IS 'the campaigns but this one whose members the caller may read';

-- The name of a column is a condition, too.
CREATE FUNCTION ltv.condition_of(query text, eligible text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN eligible = ANY ((ltv.query_columns(query)).names) THEN quote_ident(eligible) ELSE eligible END
$$;
COMMENT ON FUNCTION ltv.condition_of IS 'a condition on the columns of a bound query, as SQL';

CREATE FUNCTION ltv.with_condition(query text, condition text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'SELECT ltv_row.*, (%s\n) AS ltv_eligible FROM (%s\n) ltv_row', COALESCE(condition, 'true'), query)
$$;
COMMENT ON FUNCTION ltv.with_condition IS 'a bound query with a column that says who is eligible, not bound yet';

CREATE FUNCTION ltv.bind_suppressed(suppress text[]) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'query', ltv.given_query(s.source), 'relation', ltv.qualified_name(ltv.bind_relation(s.source))) ORDER BY s.i)
    FROM pg_catalog.unnest(suppress) WITH ORDINALITY AS s(source, i)
$$;
COMMENT ON FUNCTION ltv.bind_suppressed
    IS 'relations and queries as queries with qualified names, with the relations that they are';
