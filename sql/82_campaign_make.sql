-- ltv_create_campaign and ltv_refresh_campaign.

CREATE FUNCTION ltv.check_campaign_arguments(
    hold_out float8, detect float8, budget float8, cost_per_contact float8, margin float8, cooldown float8,
    start date, time_zone text, draw text
) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hold_out IS NOT NULL AND detect IS NOT NULL THEN
        PERFORM ltv.raise_argument('give either hold_out or detect',
            'hold_out is a share of the members; detect is the lift to be found, from which the share is computed.');
    ELSIF NOT (hold_out >= 0 AND hold_out < 1) THEN
        PERFORM ltv.raise_argument(format('hold_out must be a share from 0 up to but not 1, not %s', hold_out),
            'For example hold_out => 0.1: a tenth is not contacted, to compare with.');
    ELSIF NOT (detect > 0 AND detect <= 10) THEN
        PERFORM ltv.raise_argument(format('detect must be a relative lift from 0 to 10, not %s', detect),
            'For example detect => 0.05, to find out whether contacts bring 5 % more.');
    ELSIF margin IS NULL OR NOT (margin > 0 AND margin <= 1000) THEN
        PERFORM ltv.raise_argument('margin must be positive',
            'It is the profit per unit of predicted value, for example margin => 0.25.');
    ELSIF cost_per_contact IS NULL OR NOT (cost_per_contact >= 0 AND cost_per_contact < 'Infinity') THEN
        PERFORM ltv.raise_argument('cost_per_contact must not be negative',
            'For example cost_per_contact => 0.80; 0, the default, where contacts cost nothing.');
    ELSIF budget IS NOT NULL AND cost_per_contact = 0 THEN
        PERFORM ltv.raise_argument('a budget needs the cost per contact, which is 0',
            'For example budget => 1000, cost_per_contact => 0.80; leave budget out where contacts cost nothing.');
    ELSIF NOT (budget >= cost_per_contact AND budget < 'Infinity') THEN
        PERFORM ltv.raise_argument(
            format('a budget of %s does not pay for one contact of %s', budget, cost_per_contact),
            'Give a larger budget.');
    ELSIF NOT (cooldown BETWEEN 0 AND 36500 AND cooldown = floor(cooldown)) THEN
        PERFORM ltv.raise_argument('cooldown must be a whole number of days from 0 to 36500',
            'For example cooldown => 30: nobody whom another campaign contacts within 30 days.');
    ELSIF NOT isfinite(start) OR time_zone IS NULL OR octet_length(draw) > 200 THEN
        PERFORM ltv.raise_argument('start must be a day, time_zone a time zone and draw a text of up to 200 bytes',
            'All three may be left out.');
    END IF;
    PERFORM now() AT TIME ZONE time_zone;
END
$$;
COMMENT ON FUNCTION ltv.check_campaign_arguments IS 'an error where an argument of ltv_create_campaign is out of range';

CREATE FUNCTION ltv.check_campaign_columns(definition jsonb, scored_query text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns record := ltv.query_columns(definition ->> 'query');
    scored record := ltv.query_columns(scored_query);
    id_column text := definition ->> 'id_column';
    condition_type oid := scored.types[cardinality(scored.types)];
    sources int := jsonb_array_length(NULLIF(definition -> 'suppress', 'null'));
BEGIN
    PERFORM ltv.check_column(columns.names, id_column, 'id_column');
    IF definition ->> 'email_column' IS NOT NULL THEN
        PERFORM ltv.check_column(columns.names, definition ->> 'email_column', 'email_column');
    END IF;
    IF id_column IN (SELECT c.name FROM ltv.campaign_columns() c) THEN
        RAISE duplicate_column USING
            MESSAGE = format('the id column "%s" has the name of a column of campaigns', id_column),
            HINT = format('Rename it in a query: SELECT %I AS %I, ... FROM ...', id_column, id_column || '_id');
    ELSIF scored.names <> columns.names || 'ltv_eligible'::text THEN
        RAISE syntax_error USING MESSAGE = 'eligible is not one condition',
            HINT = 'Give a condition on the columns of the query, for example eligible => ''newsletter AND country = '
                   '''''DE'''''', or the name of a column.';
    ELSIF ltv.base_type(condition_type) <> 'boolean'::regtype THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('eligible is of type %s, not a condition', format_type(condition_type, NULL)),
            HINT = 'Give a condition that is true for those who may be contacted.';
    ELSIF sources > 100 THEN
        RAISE program_limit_exceeded USING MESSAGE = format('suppress names %s sources', sources),
            DETAIL = 'The most is 100.', HINT = 'Put some of them together with UNION ALL.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_campaign_columns IS 'an error where the query of a campaign lacks what it needs';

-- Runs the statement and says what was odd. Returns what it has counted.
CREATE FUNCTION ltv.fill_campaign(
    name text, relation regclass, scored_query text, definition jsonb, day date,
    rmse float8 DEFAULT NULL, mean_actual float8 DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    memory text := current_setting('work_mem');
    counted jsonb;
BEGIN
    PERFORM ltv.check_campaign_columns(definition, scored_query);
    PERFORM set_config('work_mem', greatest(pg_size_bytes(memory),
        pg_size_bytes(current_setting('maintenance_work_mem'))) / 1024 || 'kB', true);
    counted := ltv.read_in('pg_catalog, pg_temp', ltv.campaign_statement(
        name, relation, scored_query, definition, day, rmse, mean_actual));
    PERFORM set_config('work_mem', memory, true);
    PERFORM ltv.refuse_repeated(counted ->> 'repeated');
    IF (counted ->> 'query')::bigint > 0 AND counted #> '{arms,contact}' IS NULL THEN
        RAISE NOTICE USING MESSAGE = 'nobody is left to be contacted',
            DETAIL = 'The steps below say where the customers went.';
    ELSIF counted #> '{arms,hold_out}' IS NULL AND (counted ->> 'query')::bigint > 0 THEN
        RAISE WARNING USING MESSAGE = 'nobody is held out: what the campaign brings cannot be known',
            HINT = 'Make it with a hold_out, for example 0.1, or with detect.';
    END IF;
    RETURN counted;
END
$$;
COMMENT ON FUNCTION ltv.fill_campaign IS 'chooses and writes the members of a campaign';

-- Results are of all members together. Where margins differ, theirs is the mean, weighted by predicted value.
CREATE FUNCTION ltv.with_mean_margin(definition jsonb, counted jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT definition || CASE WHEN definition ->> 'margin_column' IS NULL THEN '{}' ELSE jsonb_build_object(
        'mean_margin', sum((a.value ->> 3)::float8) / NULLIF(sum((a.value ->> 1)::float8), 0)) END
    FROM jsonb_each(NULLIF(counted -> 'arms', 'null')) a
$$;
COMMENT ON FUNCTION ltv.with_mean_margin IS 'a definition of a campaign with the mean margin of its members';

CREATE FUNCTION ltv.make_campaign(
    name text, model text, query text, query_relation regclass, scored_query text, hold_out float8, shares float8[],
    budget float8, cost_per_contact float8, margin float8, eligible text, suppressed jsonb, cooldown float8,
    detect float8, id_column text, email_column text, version bigint, start date, time_zone text, draw text,
    thresholds float8[], discount_rate float8, margin_column text, path text
) RETURNS SETOF ltv.campaign_step
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    spec jsonb;
    counted jsonb;
    metrics jsonb;
    trained int;
    day date;
    meaning record;
BEGIN
    PERFORM ltv.check_model(model, 'predict'), ltv.check_tier_values(thresholds);
    PERFORM ltv.check_campaign_arguments(hold_out, detect, budget, cost_per_contact, margin, cooldown, start, time_zone,
                                         draw);
    day := COALESCE(start, (now() AT TIME ZONE time_zone)::date);
    spec := jsonb_build_object(
        'model', model, 'version', version, 'query', query, 'query_relation', ltv.qualified_name(query_relation),
        'id_column', ltv.check_id_column((ltv.query_columns(query)).names, id_column, model),
        'email_column', email_column, 'eligible', eligible, 'suppress', suppressed, 'cooldown', cooldown::int,
        'hold_out', COALESCE(hold_out, CASE WHEN detect IS NULL THEN 0.1 END), 'detect', detect,
        'bounds', ltv.tier_bounds(shares), 'thresholds', thresholds,
        'budget', budget, 'cost_per_contact', cost_per_contact,
        'margin', margin * ltv.discount_factor(model, version, discount_rate), 'margin_column', margin_column,
        'start', day, 'time_zone', time_zone, 'search_path', path,
        'draw', COALESCE(draw, (parse_ident(name))[2]));
    PERFORM ltv.check_campaign_columns(spec, scored_query);
    IF detect IS NOT NULL THEN
        trained := ltv.version_or_champion(model, version);
        SELECT v.metrics INTO metrics FROM ltv.readable_versions v
        WHERE v.model = make_campaign.model AND v.version = trained;
        IF NOT (metrics -> 'rmse' IS NOT NULL AND (metrics ->> 'mean_actual')::float8 > 0) THEN
            PERFORM ltv.raise_argument('detect needs to know how far the predictions of the model are off',
                'Only a model that was trained here on amounts knows. Give hold_out in place of detect.');
        END IF;
    END IF;
    EXECUTE format('CREATE TABLE %s AS SELECT ltv_row.%I, %s FROM (%s' || E'\n) ltv_row WITH NO DATA',
                   name, spec ->> 'id_column',
                   (SELECT string_agg(format('NULL::%s AS %I', c.type, c.name), ', ' ORDER BY c.i)
                    FROM ltv.campaign_columns() c), query);
    counted := ltv.fill_campaign(name, NULL, scored_query, spec, day, (metrics ->> 'rmse')::float8,
                                 (metrics ->> 'mean_actual')::float8);
    EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%I), ALTER since SET NOT NULL, ALTER drawn_arm SET NOT NULL, '
                   'ALTER drawn_tier SET NOT NULL, ALTER drawn_ltv SET NOT NULL', name, spec ->> 'id_column');
    EXECUTE 'ANALYZE ' || name;
    FOR meaning IN SELECT c.name, c.meaning FROM ltv.campaign_columns() c LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', name, meaning.name, meaning.meaning);
    END LOOP;
    PERFORM ltv.save_campaign(name::regclass, ltv.with_mean_margin(spec, counted)
        || jsonb_build_object('hold_out', counted -> 'share'));
    RETURN QUERY SELECT * FROM ltv.campaign_funnel(spec, counted);
END
$$;
COMMENT ON FUNCTION ltv.make_campaign IS 'see ltv_create_campaign; sources are bound and the name is qualified';

CREATE FUNCTION ltv.create_campaign(
    name text, model text, query text, hold_out float8, shares float8[], budget float8, cost_per_contact float8,
    margin float8, eligible text, suppress text[], cooldown float8, detect float8, id_column text, email_column text,
    version bigint, start date, time_zone text, draw text, thresholds float8[], discount_rate float8, margin_column text
) RETURNS SETOF ltv.campaign_step
LANGUAGE sql
AS $$
    SELECT * FROM ltv.make_campaign(
        ltv.new_relation(name, pg_catalog.current_schema(), 'campaign'), model, ltv.given_query(query),
        ltv.bind_relation(query), ltv.bind_query(ltv.with_condition(
            ltv.given_query(query), ltv.condition_of(ltv.given_query(query), eligible))), hold_out, shares, budget,
        cost_per_contact, margin, ltv.condition_of(ltv.given_query(query), eligible), ltv.bind_suppressed(suppress),
        cooldown, detect, id_column, email_column, version, start, time_zone, draw, thresholds,
        discount_rate, margin_column, pg_catalog.current_setting('search_path'))
$$;
COMMENT ON FUNCTION ltv.create_campaign IS 'see ltv_create_campaign';

CREATE FUNCTION @extschema@.ltv_create_campaign(
    name             text,
    model            text,
    query            text,
    hold_out         float8 DEFAULT NULL,
    shares           float8[] DEFAULT '{0.01,0.09,0.2,0.3,0.4}',
    budget           float8 DEFAULT NULL,
    cost_per_contact float8 DEFAULT 0,
    margin           float8 DEFAULT 1,
    eligible         text DEFAULT NULL,
    suppress         text[] DEFAULT NULL,
    cooldown         float8 DEFAULT NULL,
    detect           float8 DEFAULT NULL,
    id_column        text DEFAULT 'customer_id',
    email_column     text DEFAULT NULL,
    version          bigint DEFAULT NULL,
    start            date DEFAULT NULL,
    time_zone        text DEFAULT 'UTC',
    draw             text DEFAULT NULL,
    thresholds       float8[] DEFAULT NULL,
    discount_rate    float8 DEFAULT 0,
    margin_column    text DEFAULT NULL
) RETURNS TABLE (
    step text, customers bigint, left_out bigint, expected_value float8, cost float8, expected_profit float8,
    value_low float8, value_high float8
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_create_campaign
    IS 'makes a table of the members of a campaign, in two arms; returns how many each step of the choice left';

-- Refreshing ----------------------------------------------------------------------------------------------------------

-- Runs as the owner of the table, with the query bound in the search_path that it was written for.
CREATE FUNCTION ltv.refill_campaign(scored_query text, argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off SET DateStyle = ISO
AS $$
DECLARE
    name text := argument ->> 'name';
    relation regclass := (argument ->> 'relation')::oid::regclass;
    spec jsonb := ltv.check_campaign(argument -> 'definition');
    counted jsonb;
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', name);
    IF name::regclass <> relation THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('%s was replaced while it was being refreshed', name);
    END IF;
    PERFORM ltv.check_model(spec ->> 'model', 'predict');
    PERFORM ltv.bind_query(spec ->> 'query');
    PERFORM ltv.bind_query(s ->> 'query') FROM jsonb_array_elements(NULLIF(spec -> 'suppress', 'null')) s
    WHERE s ->> 'relation' IS NULL;
    counted := ltv.fill_campaign(name, relation, scored_query, spec, greatest((spec ->> 'start')::date,
                                 (now() AT TIME ZONE (spec ->> 'time_zone'))::date));
    EXECUTE 'ANALYZE ' || name;
    RETURN counted;
END
$$;
COMMENT ON FUNCTION ltv.refill_campaign IS 'makes the list of a campaign again, as its owner';

CREATE FUNCTION ltv.refresh_campaign(relation regclass) RETURNS SETOF ltv.campaign_step
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec jsonb := ltv.own_campaign(relation, to_change => true);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation);
    name text := ltv.qualified_name(relation);
    counted jsonb;
    gone text;
BEGIN
    SELECT r INTO gone
    FROM unnest(ARRAY[spec ->> 'query_relation']
                || ARRAY(SELECT s ->> 'relation' FROM jsonb_array_elements(NULLIF(spec -> 'suppress', 'null')) s)) r
    WHERE r IS NOT NULL AND ltv.relation_named(r) IS NULL;
    IF gone IS NOT NULL THEN
        RAISE undefined_table USING MESSAGE = format('%s was made from %s, which does not exist', name, gone),
            DETAIL = 'It was dropped.', HINT = 'Make the relation again under that name, or make a new campaign.';
    ELSIF spec ->> 'replaced_by' IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('what %s was made from was dropped and made again by role "%s"', name,
                             spec ->> 'replaced_by'),
            DETAIL = 'The campaign would run whatever its new owner has put there.',
            HINT = 'If that is as it should be, make a new campaign.';
    END IF;
    IF spec ->> 'query_relation' IS NOT NULL THEN
        spec := spec || jsonb_build_object('query', 'SELECT * FROM ' || (spec ->> 'query_relation'));
    END IF;
    counted := ltv.run_as(owner, spec ->> 'search_path', ltv.with_condition(spec ->> 'query', spec ->> 'eligible'),
        'SELECT ltv.refill_campaign($1, $2)',
        jsonb_build_object('name', name, 'relation', relation::oid, 'definition', spec));
    PERFORM ltv.save_campaign(relation, ltv.with_mean_margin(spec, counted));
    RETURN QUERY SELECT * FROM ltv.campaign_funnel(spec || '{"refreshed": true}', counted);
END
$$;
COMMENT ON FUNCTION ltv.refresh_campaign(regclass) IS 'see ltv_refresh_campaign';

CREATE FUNCTION ltv.refresh_campaign(name text) RETURNS SETOF ltv.campaign_step
LANGUAGE sql
AS $$ SELECT * FROM ltv.refresh_campaign(ltv.bind_relation(name)) $$;
COMMENT ON FUNCTION ltv.refresh_campaign(text) IS 'see ltv_refresh_campaign';

CREATE FUNCTION @extschema@.ltv_refresh_campaign(name text) RETURNS TABLE (
    step text, customers bigint, left_out bigint, expected_value float8, cost float8, expected_profit float8,
    value_low float8, value_high float8
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_refresh_campaign
    IS 'makes the list of a campaign again from the customers of today: members keep their arm, and who came, left or '
       'changed tier is told';
