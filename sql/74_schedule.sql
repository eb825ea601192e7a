-- Schedules: ltv_schedule hands retraining and monitoring to pg_cron, where that is installed in this database. Nothing
-- is stored here: what is in cron.job under a name of ours is a schedule.

CREATE FUNCTION ltv.schedule_name(model text, action text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('ltv %s %s', action, model) $$;
COMMENT ON FUNCTION ltv.schedule_name IS 'the name of a schedule in cron.job';

-- The statement to run, with the arguments checked against the parameters of the function.
CREATE FUNCTION ltv.schedule_command(model text, action text, arguments jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    called regproc;
    parameters text[];
    unknown text;
BEGIN
    PERFORM ltv.check_choice('action', action, '{retrain,monitor}');
    IF action IS NULL OR jsonb_typeof(arguments) IS DISTINCT FROM 'object' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the action must not be null, and arguments must be a JSON object',
            HINT = 'For example ltv_schedule(''m'', ''0 3 1 * *'', ''retrain'', ''{"promote": "if_better"}'').';
    END IF;
    SELECT f.oid, f.arguments INTO called, parameters FROM ltv.functions f WHERE f.name = 'ltv_' || action;
    SELECT k INTO unknown FROM jsonb_object_keys(arguments) k WHERE k = 'model' OR k <> ALL (parameters) LIMIT 1;
    IF FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('ltv_%s has no argument "%s"', action, unknown),
            DETAIL = format('Its arguments are: %s.', array_to_string(array_remove(parameters, 'model'), ', '));
    END IF;
    RETURN format('SELECT %s(%L%s)', called, model,
        (SELECT string_agg(format(', %I => %L', a.key, a.value), '' ORDER BY a.key) FROM jsonb_each_text(arguments) a));
END
$$;
COMMENT ON FUNCTION ltv.schedule_command IS 'the statement that a schedule runs';

CREATE FUNCTION ltv.schedule(model text, cron text, action text, arguments jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    command text;
    scheduled bigint;
BEGIN
    PERFORM ltv.check_model(model, CASE action WHEN 'monitor' THEN 'read' ELSE 'owner' END);
    command := ltv.schedule_command(model, action, arguments);
    IF cron IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'the schedule must not be null',
            HINT = 'For example ''0 3 * * 1'': Mondays at 3.';
    ELSIF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = format('pg_cron is not installed in database "%s"', current_database()),
            DETAIL = 'Schedules are run by pg_cron.',
            HINT = format(
                'Set shared_preload_libraries = ''pg_cron'' and cron.database_name = ''%s'', restart, '
                'and run CREATE EXTENSION pg_cron.'
                ' Or let any other scheduler run: %s;', current_database(), command);
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO scheduled USING ltv.schedule_name(model, action), cron, command;
    RETURN scheduled;
END
$$;
COMMENT ON FUNCTION ltv.schedule(text, text, text, jsonb) IS 'see ltv_schedule';

CREATE FUNCTION @extschema@.ltv_schedule(
    model text, cron text, action text DEFAULT 'retrain', arguments jsonb DEFAULT '{}'
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_schedule
    IS 'lets pg_cron retrain or monitor a model; replaces the schedule there was';

CREATE FUNCTION ltv.schedules()
RETURNS TABLE (
    jobid bigint, model text, action text, schedule text, command text, active boolean, role name,
    last_run timestamptz, last_status text, last_message text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('cron.job') IS NOT NULL AND has_schema_privilege('cron', 'USAGE') THEN
        RETURN QUERY EXECUTE $sql$
            SELECT j.jobid, substring(j.jobname::text FROM '^ltv [a-z]+ (.*)$'),
                   substring(j.jobname::text FROM '^ltv ([a-z]+) '), j.schedule, j.command, j.active,
                   j.username::name, r.start_time, r.status, r.return_message
            FROM cron.job j
            LEFT JOIN LATERAL (SELECT d.start_time, d.status, d.return_message
                               FROM cron.job_run_details d
                               WHERE d.jobid = j.jobid ORDER BY d.runid DESC LIMIT 1) r ON true
            WHERE j.jobname::text ~ '^ltv (retrain|monitor) ' AND j.database = current_database()$sql$;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.schedules IS 'the schedules in pg_cron that are ours; none where it is not installed';

CREATE VIEW @extschema@.ltv_schedules WITH (security_invoker = true) AS SELECT * FROM ltv.schedules();
COMMENT ON VIEW @extschema@.ltv_schedules IS 'what pg_cron does for models, and how its last runs went';
COMMENT ON COLUMN @extschema@.ltv_schedules.jobid IS 'its number in pg_cron';
COMMENT ON COLUMN @extschema@.ltv_schedules.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_schedules.action IS 'retrain or monitor';
COMMENT ON COLUMN @extschema@.ltv_schedules.schedule IS 'when, as pg_cron has it';
COMMENT ON COLUMN @extschema@.ltv_schedules.command IS 'the statement that runs';
COMMENT ON COLUMN @extschema@.ltv_schedules.active IS 'whether pg_cron runs it';
COMMENT ON COLUMN @extschema@.ltv_schedules.role IS 'the role that it runs as';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_run IS 'when it ran last';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_status IS 'how that ended';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_message IS 'what pg_cron noted of it';
GRANT SELECT ON @extschema@.ltv_schedules TO PUBLIC;

CREATE FUNCTION ltv.unschedule(model text, action text) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended record;
    count int := 0;
BEGIN
    PERFORM ltv.check_choice('action', action, '{retrain,monitor}');
    FOR ended IN
        SELECT s.jobid FROM ltv.schedules() s
        WHERE s.model = unschedule.model AND s.action = COALESCE(unschedule.action, s.action)
          AND pg_has_role(current_user, s.role, 'USAGE')
    LOOP
        EXECUTE 'SELECT cron.unschedule($1)' USING ended.jobid;
        count := count + 1;
    END LOOP;
    RETURN count;
END
$$;
COMMENT ON FUNCTION ltv.unschedule IS 'see ltv_unschedule';

CREATE FUNCTION @extschema@.ltv_unschedule(model text, action text DEFAULT NULL) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_unschedule
    IS 'ends the schedules of a model, or the one for an action; returns how many there were';
