-- Chains: the steps that are done for a model again and again, on which features, into which table of scores. A chain
-- belongs to the role that made it and runs as that role only (see 75_nightly.sql). ltv_schedule keeps one and hands it
-- to pg_cron, where that is installed in this database; what is in cron.job under a name of ours is its schedule.

CREATE TABLE ltv.chains (
    model      text NOT NULL,
    owner      regrole NOT NULL,
    steps      text[] NOT NULL,
    definition jsonb NOT NULL,
    features   regclass,  -- what it reads, where that is a relation and not a query
    scores     regclass,  -- what it writes, once that is made
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, owner, steps)
);
COMMENT ON TABLE ltv.chains IS 'what ltv_nightly does for a model, one row per role and list of steps';
-- The oid of a relation that is gone would be another relation's where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('ltv.chains', '');

CREATE VIEW ltv.own_chains WITH (security_barrier) AS
SELECT c.* FROM ltv.chains c WHERE pg_has_role(current_user, c.owner, 'USAGE');
COMMENT ON VIEW ltv.own_chains IS 'the chains of the current role and of those whose rights it has';
GRANT SELECT ON ltv.own_chains TO PUBLIC;

CREATE FUNCTION ltv.texts(list jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(SELECT jsonb_array_elements_text(NULLIF(list, 'null')));
COMMENT ON FUNCTION ltv.texts IS 'a list of texts as an array';

CREATE FUNCTION ltv.check_steps(steps text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    repeated text := (SELECT s FROM unnest(steps) s GROUP BY s HAVING count(*) > 1 LIMIT 1);
BEGIN
    IF COALESCE(cardinality(steps), 0) = 0 OR array_ndims(steps) > 1 OR array_position(steps, NULL) IS NOT NULL THEN
        PERFORM ltv.raise_argument('steps must name what is to be done',
            'For example steps => ''{refresh,score,monitor}''.');
    END IF;
    PERFORM ltv.check_choice('step', s, '{refresh,score,monitor,retrain}') FROM unnest(steps) s;
    IF repeated IS NOT NULL THEN
        PERFORM ltv.raise_argument(format('step "%s" is named twice', repeated), 'Name each step once.');
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_steps IS 'an error unless these are steps of a chain';

-- {"monitor": {"thresholds": {"t": 3}}, "retrain": {"promote": "always"}}
CREATE FUNCTION ltv.check_step_arguments(steps text[], arguments jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record;
    known text[];
    unknown text;
    hint text := 'For example arguments => ''{"monitor": {"thresholds": {"frequency": 0.5}}}''.';
BEGIN
    IF jsonb_typeof(arguments) IS DISTINCT FROM 'object' THEN
        PERFORM ltv.raise_argument('arguments must be a JSON object with an object for each step', hint);
    END IF;
    FOR given IN SELECT a.key AS step, a.value FROM jsonb_each(arguments) a LOOP
        IF given.step <> ALL (steps) THEN
            PERFORM ltv.raise_argument(format('there are arguments for "%s", which is none of the steps', given.step),
                                       format('The steps are: %s.', array_to_string(steps, ', ')));
        ELSIF jsonb_typeof(given.value) <> 'object' THEN
            PERFORM ltv.raise_argument(format('the arguments of step "%s" must be a JSON object', given.step), hint);
        END IF;
        known := CASE given.step WHEN 'score' THEN '{minimum_change}' WHEN 'refresh' THEN '{}' ELSE
            (SELECT array_remove(array_remove(f.arguments, 'model'), 'query') FROM ltv.functions f
             WHERE f.public AND f.name = 'ltv_' || given.step)
            || CASE given.step WHEN 'monitor' THEN '{stop}'::text[] END END;
        SELECT k INTO unknown FROM jsonb_object_keys(given.value) k WHERE k <> ALL (known) LIMIT 1;
        IF FOUND THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('step "%s" has no argument "%s"', given.step, unknown),
                DETAIL = CASE WHEN known = '{}' THEN 'It has none.'
                         ELSE format('Its arguments are: %s.', array_to_string(known, ', ')) END;
        END IF;
    END LOOP;
    PERFORM ltv.step_arguments(arguments);
    IF NOT ((arguments #>> '{score,minimum_change}')::float8 BETWEEN 0 AND 1) THEN
        PERFORM ltv.raise_argument('minimum_change must be between 0 and 1',
            'It is relative: 0.01, the default, writes what has changed by more than a hundredth.');
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_step_arguments IS 'an error unless these are arguments of the steps of a chain';

CREATE FUNCTION ltv.step_arguments(
    arguments jsonb, OUT minimum_change float8, OUT monitored_version bigint, OUT thresholds jsonb,
    OUT retrain boolean, OUT stop boolean, OUT promote text, OUT metric text, OUT minimum_gain float8,
    OUT warm_start boolean, OUT as_of text,
    OUT options jsonb, OUT version bigint
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(s.minimum_change, 0.01), m.version, m.thresholds, COALESCE(m.retrain, false),
           COALESCE(m.stop, false), r.promote, r.metric, r.minimum_gain, COALESCE(r.warm_start, false),
           r.as_of, COALESCE(r.options, '{}'), r.version
    FROM jsonb_to_record(COALESCE(arguments -> 'score', '{}')) s(minimum_change float8),
         jsonb_to_record(COALESCE(arguments -> 'monitor', '{}'))
             m(version bigint, thresholds jsonb, retrain boolean, stop boolean),
         jsonb_to_record(COALESCE(arguments -> 'retrain', '{}'))
             r(promote text, metric text, minimum_gain float8, warm_start boolean, as_of text, options jsonb,
               version bigint)
$$;
COMMENT ON FUNCTION ltv.step_arguments IS 'the arguments of the steps of a chain, with defaults';

CREATE FUNCTION ltv.check_chain(definition jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    model text := definition ->> 'model';
    steps text[] := ltv.texts(definition -> 'steps');
BEGIN
    PERFORM ltv.check_model(model, CASE
        WHEN 'retrain' = ANY (steps) OR definition #> '{arguments,monitor,retrain}' = 'true' THEN 'owner'
        WHEN 'monitor' = ANY (steps) THEN 'read' ELSE 'predict' END);
    IF 'refresh' = ANY (steps) AND definition ->> 'features' IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'refresh needs the features that it is to make again',
            DETAIL = 'They are the customers of today, not those that the model is trained on.',
            HINT = 'Make them once with ltv_create_features and name them: features => ''serving''.';
    ELSIF 'score' = ANY (steps) AND definition ->> 'source' IS NULL THEN
        PERFORM ltv.raise_argument('score needs the customers that are to be scored',
            'Name a relation or a query with a row for each: features => ''serving''.');
    ELSIF 'score' = ANY (steps) AND definition ->> 'scores' IS NULL THEN
        PERFORM ltv.raise_argument('score needs the table to write to',
            'It is made if it does not exist: scores => ''scores''.');
    END IF;
    RETURN definition;
END
$$;
COMMENT ON FUNCTION ltv.check_chain IS 'a chain that the caller may run and that has what its steps need, or an error';

-- Names are bound. A time zone that is not given is that of the features.
CREATE FUNCTION ltv.chain(
    model text, steps text[], source text, features regclass, scores text, id_column text, time_zone text,
    arguments jsonb
) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_steps(steps), ltv.check_step_arguments(steps, arguments), now() AT TIME ZONE time_zone;
    RETURN ltv.check_chain(jsonb_build_object(
        'model', model, 'steps', steps, 'source', source, 'features', ltv.qualified_name(features), 'scores', scores,
        'id_column', COALESCE(id_column, ltv.feature_facts(features) ->> 'customer_id_column', 'customer_id'),
        'time_zone', COALESCE(time_zone, ltv.feature_definition(features) ->> 'time_zone', 'UTC'),
        'arguments', arguments));
END
$$;
COMMENT ON FUNCTION ltv.chain IS 'a chain of what was given, or an error';

CREATE FUNCTION ltv.save_chain(caller regrole, definition jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(caller, definition ->> 'model', 'predict');
    INSERT INTO ltv.chains AS c (model, owner, steps, definition, features, scores)
    VALUES (definition ->> 'model', caller, ltv.texts(definition -> 'steps'),
            definition || jsonb_build_object(
                'features_followed', ltv.to_follow(definition ->> 'features'),
                'scores_followed', COALESCE(ltv.to_follow(definition ->> 'scores'),
                                            jsonb_build_object('name', definition ->> 'scores'))),
            ltv.relation_named(definition ->> 'features'), ltv.relation_named(definition ->> 'scores'))
    ON CONFLICT ON CONSTRAINT chains_pkey DO UPDATE
    SET definition = excluded.definition, features = excluded.features, scores = excluded.scores;
END
$$;
COMMENT ON FUNCTION ltv.save_chain(regrole, jsonb) IS 'see the function without caller';

CREATE FUNCTION ltv.save_chain(definition jsonb) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.save_chain(jsonb) IS 'keeps a chain of the caller''s';

-- After a step: a table of scores that was made belongs to the chain, and names are those of today.
CREATE FUNCTION ltv.follow_chain(caller regrole, model text, steps text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ltv.chains c
    SET features = COALESCE(ltv.relation_named(n.features), c.features),
        scores = COALESCE(ltv.relation_named(n.scores), c.scores),
        definition = c.definition || jsonb_build_object(
            'features_followed', COALESCE(ltv.to_follow(n.features), c.definition -> 'features_followed'),
            'scores_followed', COALESCE(ltv.to_follow(n.scores), c.definition -> 'scores_followed'))
    FROM (SELECT k.steps, CASE WHEN f.replaced_by IS NULL THEN f.relation END AS features,
                 CASE WHEN s.replaced_by IS NULL THEN s.relation END AS scores
          FROM ltv.chains k, LATERAL ltv.followed(k.features, k.definition -> 'features_followed') f,
               LATERAL ltv.followed(k.scores, k.definition -> 'scores_followed') s
          WHERE k.model = follow_chain.model AND k.owner = caller AND k.steps = follow_chain.steps) n
    WHERE c.model = follow_chain.model AND c.owner = caller AND c.steps = n.steps
$$;
COMMENT ON FUNCTION ltv.follow_chain(regrole, text, text[]) IS 'see the function without caller';

CREATE FUNCTION ltv.follow_chain(model text, steps text[]) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.follow_chain(text, text[]) IS 'keeps what the relations of a chain of the caller''s are called';

-- By what belongs to the extension: anybody with a schema "cron" could have a table of that name in it.
CREATE FUNCTION ltv.has_cron() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_cron'
                   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                     AND d.classid = 'pg_class'::regclass AND d.objid = to_regclass('cron.job'))
$$;
COMMENT ON FUNCTION ltv.has_cron IS 'whether pg_cron is installed in this database';

CREATE FUNCTION ltv.schedule_name(model text, steps text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('ltv %s %s', array_to_string(steps, ','), model) $$;
COMMENT ON FUNCTION ltv.schedule_name IS 'the name of a schedule in cron.job';

CREATE FUNCTION ltv.schedule_command(model text, steps text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('CALL %s(%L, %L)', f.oid::regproc, model, steps) FROM ltv.functions f
    WHERE f.public AND f.name = 'ltv_nightly'
$$;
COMMENT ON FUNCTION ltv.schedule_command IS 'the statement that a schedule runs';

CREATE FUNCTION ltv.schedule_chain(definition jsonb, cron text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    steps text[] := ltv.texts(definition -> 'steps');
    command text := ltv.schedule_command(definition ->> 'model', steps);
    scheduled bigint;
BEGIN
    PERFORM ltv.save_chain(definition);
    IF cron IS NULL THEN
        PERFORM ltv.end_cron(definition ->> 'model', steps);
        RAISE NOTICE USING MESSAGE = 'the chain is kept, and nothing runs it',
            HINT = format('Let your scheduler run: %s;', command);
        RETURN NULL;
    ELSIF NOT ltv.has_cron() THEN
        RAISE feature_not_supported USING
            MESSAGE = format('pg_cron is not installed in database "%s"', current_database()),
            DETAIL = 'Schedules are run by pg_cron.',
            HINT = format(
                'Set shared_preload_libraries = ''pg_cron'' and cron.database_name = ''%s'', restart, '
                'and run CREATE EXTENSION pg_cron.'
                ' Or give null as the schedule and let any other scheduler run: %s;', current_database(), command);
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO scheduled
    USING ltv.schedule_name(definition ->> 'model', steps), cron, command;
    RETURN scheduled;
END
$$;
COMMENT ON FUNCTION ltv.schedule_chain IS 'keeps a chain and hands it to pg_cron';

-- A table that does not exist yet is made in the caller's current schema.
CREATE FUNCTION ltv.bind_scores(scores text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN scores IS NOT NULL
                THEN COALESCE(ltv.qualified_name(ltv.relation_here(scores)),
                              ltv.relation_name(scores, pg_catalog.current_schema())) END
$$;
COMMENT ON FUNCTION ltv.bind_scores IS 'the qualified name of a table of scores, which may have to be made';

CREATE FUNCTION ltv.relation_here(name text) RETURNS regclass
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN pg_catalog.to_regclass(name);
EXCEPTION WHEN invalid_name OR syntax_error OR feature_not_supported THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.relation_here IS 'the relation that a name means in the search_path of the caller';

CREATE FUNCTION ltv.schedule(
    model text, cron text, steps text[], features text, scores text, id_column text, time_zone text, arguments jsonb
) RETURNS bigint
LANGUAGE sql
AS $$
    SELECT ltv.schedule_chain(
        ltv.chain(model, steps, ltv.bind_query(features), ltv.bind_relation(features), ltv.bind_scores(scores),
                  id_column, time_zone, arguments), cron)
$$;
COMMENT ON FUNCTION ltv.schedule(text, text, text[], text, text, text, text, jsonb) IS 'see ltv_schedule';

CREATE FUNCTION @extschema@.ltv_schedule(
    model     text,
    cron      text,
    steps     text[] DEFAULT '{refresh,score,monitor}',
    features  text DEFAULT NULL,
    scores    text DEFAULT NULL,
    id_column text DEFAULT NULL,
    time_zone text DEFAULT NULL,
    arguments jsonb DEFAULT '{}'
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_schedule
    IS 'keeps a chain of steps for a model and lets pg_cron run it; replaces the schedule there was for these steps; '
       'without a schedule another scheduler has to CALL ltv_nightly';

-- Those in pg_cron that are ours and that the caller may see; none where it is not installed.
CREATE FUNCTION ltv.cron_jobs()
RETURNS TABLE (
    jobid bigint, name text, schedule text, command text, active boolean, role name, started_at timestamptz,
    status text, message text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF ltv.has_cron() AND has_schema_privilege('cron', 'USAGE') THEN
        RETURN QUERY EXECUTE $sql$
            SELECT j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::name, r.start_time, r.status,
                   r.return_message
            FROM cron.job j
            LEFT JOIN LATERAL (SELECT d.start_time, d.status, d.return_message
                               FROM cron.job_run_details d
                               WHERE d.jobid = j.jobid ORDER BY d.runid DESC LIMIT 1) r ON true
            WHERE j.jobname::text ~ '^ltv [a-z,]+ ' AND j.database = current_database()$sql$;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.cron_jobs IS 'the schedules in pg_cron that are ours';

CREATE FUNCTION ltv.end_cron(model text, steps text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended record;
BEGIN
    FOR ended IN
        SELECT j.jobid FROM ltv.cron_jobs() j
        WHERE j.name = ltv.schedule_name(model, steps) AND pg_has_role(current_user, j.role, 'USAGE')
    LOOP
        EXECUTE 'SELECT cron.unschedule($1)' USING ended.jobid;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.end_cron IS 'takes a chain out of pg_cron';

CREATE FUNCTION ltv.delete_chains(caller regrole, model text, steps text[]) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (
        DELETE FROM ltv.chains c
        WHERE c.model = delete_chains.model AND c.steps = COALESCE(delete_chains.steps, c.steps)
          AND pg_has_role(caller, c.owner, 'USAGE') RETURNING 1)
    SELECT count(*)::int FROM gone
$$;
COMMENT ON FUNCTION ltv.delete_chains(regrole, text, text[]) IS 'see the function without caller';

CREATE FUNCTION ltv.delete_chains(model text, steps text[]) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.delete_chains(text, text[]) IS 'forgets chains of the caller''s';

CREATE FUNCTION ltv.unschedule(model text, steps text[]) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF steps IS NOT NULL THEN
        PERFORM ltv.check_steps(steps);
    END IF;
    PERFORM ltv.end_cron(c.model, c.steps) FROM ltv.own_chains c
    WHERE c.model = unschedule.model AND c.steps = COALESCE(unschedule.steps, c.steps);
    RETURN ltv.delete_chains(model, steps);
END
$$;
COMMENT ON FUNCTION ltv.unschedule IS 'see ltv_unschedule';

CREATE FUNCTION @extschema@.ltv_unschedule(model text, steps text[] DEFAULT NULL) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_unschedule
    IS 'ends the schedules of a model, or the one for these steps; returns how many there were';
