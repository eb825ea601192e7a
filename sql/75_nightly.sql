-- ltv_nightly: the steps of a chain, one after the other, each with what became of it on record.
--
-- A step that fails takes back its own work, not that of the steps before; those behind it are skipped, for they would
-- work on what it did not make. Where the procedure may, it commits after each step. Everything happens with the rights
-- of the caller.

CREATE TABLE ltv.nightly_steps (
    run           bigint NOT NULL,
    place         int NOT NULL,
    model         text NOT NULL,
    step          text NOT NULL,
    role          regrole NOT NULL,
    status        text NOT NULL
                  CHECK (status IN ('waiting', 'running', 'succeeded', 'failed', 'skipped', 'lost')),
    started_at    timestamptz,
    finished_at   timestamptz,
    rows          bigint,
    message       text,
    sqlstate      text,
    pid           int NOT NULL DEFAULT pg_backend_pid(),
    backend_start timestamptz,
    query_start   timestamptz,
    PRIMARY KEY (run, place)
);
CREATE SEQUENCE ltv.nightly_run OWNED BY ltv.nightly_steps.run;
-- Two nights at once would do everything twice.
CREATE UNIQUE INDEX nightly_steps_running ON ltv.nightly_steps (model, role) WHERE status = 'running';
CREATE INDEX ON ltv.nightly_steps (model, role, run);
COMMENT ON TABLE ltv.nightly_steps IS 'what ltv_nightly did, one row per run and step';
SELECT pg_catalog.pg_extension_config_dump('ltv.nightly_steps', $$WHERE status NOT IN ('waiting', 'running')$$);
SELECT pg_catalog.pg_extension_config_dump('ltv.nightly_run', '');

CREATE VIEW ltv.own_nightly_steps WITH (security_barrier) AS
SELECT s.* FROM ltv.nightly_steps s WHERE pg_has_role(current_user, s.role, 'USAGE');
COMMENT ON VIEW ltv.own_nightly_steps IS 'the steps that ran as the current role and as those whose rights it has';
GRANT SELECT ON ltv.own_nightly_steps TO PUBLIC;

CREATE VIEW @extschema@.ltv_nightly_steps WITH (security_invoker = true) AS
SELECT s.run, s.model, s.step, s.status, s.started_at, s.finished_at - s.started_at AS duration, s.rows, s.message,
       s.sqlstate, pg_get_userbyid(s.role) AS role
FROM ltv.own_nightly_steps s ORDER BY s.run, s.place;
COMMENT ON VIEW @extschema@.ltv_nightly_steps
    IS 'the steps of the chains of the current role and of those whose rights it has: when, how long, on how many rows';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.run IS 'the number of the night';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.step IS 'refresh, score, monitor or retrain';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.status IS 'running, succeeded, failed, skipped or lost';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.started_at IS 'when it began';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.duration IS 'how long it took';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.rows IS 'rows that it made, scored or looked at';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.message IS 'what it did, or why it failed';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.sqlstate IS 'of the error';
COMMENT ON COLUMN @extschema@.ltv_nightly_steps.role IS 'the role that it ran as';
GRANT SELECT ON @extschema@.ltv_nightly_steps TO PUBLIC;

-- The record -------------------------------------------------------------------------------------------------------

-- Whoever may look into the model is told that, not what the error said, which may be of data that he may not see. Of a
-- step of somebody who may not look into it, only the record tells.
CREATE FUNCTION ltv.alert_step(role regrole, model text, step text, what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF ltv.has_privilege(role, model, 'read') THEN
        PERFORM ltv.raise_alert(model, 'step', NULL, NULL, NULL, format('step "%s" %s', step, what));
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.alert_step IS 'raises an alert over a step that failed';
REVOKE ALL ON FUNCTION ltv.alert_step FROM PUBLIC;

-- A night is known by its session and the statement that it runs.
CREATE FUNCTION ltv.close_lost_nights(caller regrole, model text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone record;
BEGIN
    -- A transaction sees who is connected as at its first look.
    PERFORM pg_stat_clear_snapshot();
    FOR gone IN
        UPDATE ltv.nightly_steps s
        SET status = 'lost', finished_at = clock_timestamp(), message = 'the session ended before the step did'
        WHERE s.model = close_lost_nights.model AND s.role = caller AND s.status = 'running'
          AND NOT EXISTS (SELECT FROM pg_stat_get_activity(s.pid) a
                          WHERE a.backend_start IS NOT DISTINCT FROM s.backend_start
                            AND a.query_start IS NOT DISTINCT FROM s.query_start)
        RETURNING s.run, s.step
    LOOP
        UPDATE ltv.nightly_steps s SET status = 'skipped', message = format('step "%s" was lost', gone.step)
        WHERE s.run = gone.run AND s.status = 'waiting';
        PERFORM ltv.alert_step(caller, model, gone.step, format('was lost in run %s', gone.run));
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.close_lost_nights IS 'marks the steps whose session is gone';

-- What pg_cron could not even start since the last night, of which nothing is on record here.
CREATE FUNCTION ltv.alert_missed_nights(caller regrole, model text, steps text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    since timestamptz := (SELECT max(s.started_at) FROM ltv.nightly_steps s
                          WHERE s.model = alert_missed_nights.model AND s.role = caller);
    missed record;
BEGIN
    IF NOT ltv.has_cron() OR since IS NULL THEN
        RETURN;
    END IF;
    FOR missed IN EXECUTE $sql$
        SELECT d.start_time FROM cron.job_run_details d JOIN cron.job j USING (jobid)
        WHERE j.jobname = $1 AND j.username = pg_get_userbyid($2) AND j.database = current_database()
          AND d.status = 'failed' AND d.start_time > $3 AND NOT EXISTS (
              SELECT FROM ltv.nightly_steps s
              WHERE s.role = $2 AND s.started_at BETWEEN d.start_time AND COALESCE(d.end_time, 'infinity'))
        ORDER BY d.start_time$sql$ USING ltv.schedule_name(model, steps), caller, since
    LOOP
        PERFORM ltv.alert_step(caller, model, steps[1], format('could not be started by pg_cron at %s',
                                                               missed.start_time));
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.alert_missed_nights IS 'raises an alert over runs that pg_cron could not start';

CREATE FUNCTION ltv.begin_night(caller regrole, model text, steps text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this_run bigint;
    other record;
BEGIN
    PERFORM ltv.check_model(caller, model, 'predict'), ltv.check_steps(steps),
            ltv.close_lost_nights(caller, model), ltv.alert_missed_nights(caller, model, steps);
    this_run := nextval('ltv.nightly_run');
    INSERT INTO ltv.nightly_steps (run, place, model, step, role, status, started_at, backend_start, query_start)
    SELECT this_run, s.place, begin_night.model, s.step, caller, CASE s.place WHEN 1 THEN 'running' ELSE 'waiting' END,
           CASE s.place WHEN 1 THEN clock_timestamp() END, a.backend_start, a.query_start
    FROM unnest(steps) WITH ORDINALITY AS s(step, place), pg_stat_get_activity(pg_backend_pid()) a;
    RETURN this_run;
EXCEPTION WHEN unique_violation THEN
    SELECT s.step, s.started_at, s.pid INTO other FROM ltv.nightly_steps s
    WHERE s.model = begin_night.model AND s.role = caller AND s.status = 'running';
    RAISE object_in_use USING MESSAGE = format('a chain of model "%s" is running already', model),
        DETAIL = format('Process %s has been at step "%s" since %s.', other.pid, other.step, other.started_at),
        HINT = 'Wait for it; the view ltv_nightly_steps shows how it goes on.';
END
$$;
COMMENT ON FUNCTION ltv.begin_night(regrole, text, text[]) IS 'see the function without caller';

CREATE FUNCTION ltv.begin_night(model text, steps text[]) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.begin_night(text, text[]) IS 'puts the steps of a run on record, the first of them as running';

CREATE FUNCTION ltv.end_step(caller regrole, run bigint, place int, outcome jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended ltv.nightly_steps;
BEGIN
    UPDATE ltv.nightly_steps s
    SET status = CASE WHEN outcome ? 'sqlstate' THEN 'failed' ELSE 'succeeded' END, finished_at = clock_timestamp(),
        rows = (outcome ->> 'rows')::bigint, message = outcome ->> 'message', sqlstate = outcome ->> 'sqlstate'
    WHERE s.run = end_step.run AND s.place = end_step.place AND s.role = caller AND s.status = 'running'
    RETURNING * INTO ended;
    IF ended.status = 'failed' THEN
        UPDATE ltv.nightly_steps s SET status = 'skipped', message = format('step "%s" failed', ended.step)
        WHERE s.run = end_step.run AND s.role = caller AND s.status = 'waiting';
        PERFORM ltv.alert_step(caller, ended.model, ended.step,
                               format('failed with SQLSTATE %s in run %s', ended.sqlstate, ended.run));
    ELSE
        UPDATE ltv.nightly_steps s SET status = 'running', started_at = clock_timestamp()
        WHERE s.run = end_step.run AND s.place = end_step.place + 1 AND s.role = caller AND s.status = 'waiting';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.end_step(regrole, bigint, int, jsonb) IS 'see the function without caller';

CREATE FUNCTION ltv.end_step(run bigint, place int, outcome jsonb) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.end_step(bigint, int, jsonb) IS 'puts on record what became of a step; the next one begins';

-- The steps --------------------------------------------------------------------------------------------------------

CREATE FUNCTION ltv.night_source(night jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF night ->> 'features' IS NULL THEN
        RETURN ltv.bind_query(night ->> 'source');
    ELSIF night ->> 'replaced_by' IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('%s was dropped and made again by role "%s"', night ->> 'features',
                             night ->> 'replaced_by'),
            DETAIL = 'The chain would run whatever its new owner has put there.',
            HINT = 'If that is as it should be, call ltv_schedule again.';
    ELSIF ltv.relation_named(night ->> 'features') IS NULL THEN
        RAISE undefined_table USING MESSAGE = format('%s does not exist', night ->> 'features'),
            DETAIL = 'It was dropped.',
            HINT = 'Make it again under that name, or call ltv_schedule with other features.';
    END IF;
    RETURN 'SELECT * FROM ' || (night ->> 'features');
END
$$;
COMMENT ON FUNCTION ltv.night_source IS 'the customers of a chain as a bound query, or an error';

-- A day stands for its end, so the features of today are those of yesterday.
CREATE FUNCTION ltv.night_refresh(night jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    source text := ltv.night_source(night);
    relation regclass := ltv.relation_named(night ->> 'features');
    spec jsonb := ltv.feature_definition(relation);
    today date := (night ->> 'day')::date;
    as_of text;
    filled bigint;
    silence int;
BEGIN
    IF jsonb_array_length(spec -> 'as_of') > 1 THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('%s has several cut-offs', relation),
            DETAIL = 'They are features to train on. To refresh them to today would leave nothing to learn from.',
            HINT = 'Make features of today beside them with ltv_create_features, with one cut-off, and name these.';
    END IF;
    as_of := CASE WHEN NULLIF(spec -> 'age', 'null') IS NOT NULL THEN NULL
                  WHEN spec ->> 'unit' = 'day' THEN (today - 1)::text
                  ELSE to_char(today::timestamp AT TIME ZONE (night ->> 'time_zone') AT TIME ZONE 'UTC',
                               'YYYY-MM-DD HH24:MI:SS') || 'Z' END;
    PERFORM ltv.refresh_features(relation, as_of::ltv.cutoffs);
    IF spec -> 'materialized' = 'true' THEN
        EXECUTE format('SELECT count(*), min(s.recency) FROM (%s) s', source) INTO filled, silence;
    END IF;
    RETURN jsonb_build_object('rows', filled, 'message', concat_ws(', ', 'as of ' || as_of,
                                                                   'days since the last order: ' || silence));
END
$$;
COMMENT ON FUNCTION ltv.night_refresh IS 'the step refresh';

CREATE FUNCTION ltv.night_monitor(night jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source text := ltv.night_source(night);
    given record := ltv.step_arguments(night -> 'arguments');
    raised int := ltv.monitor_query(night ->> 'model', source, given.monitored_version, given.thresholds,
                                    given.retrain);
BEGIN
    -- An error would take back what was found.
    RETURN (SELECT jsonb_build_object('rows', m.n, 'message', 'alerts: ' || raised)
                   || CASE WHEN raised > 0 AND given.stop THEN '{"sqlstate": "55000"}' ELSE '{}' END::jsonb
            FROM ltv.readable_monitoring m WHERE m.model = night ->> 'model' ORDER BY m.run DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION ltv.night_monitor IS 'the step monitor';

-- The job runs when the night is over, or beside it.
CREATE FUNCTION ltv.night_retrain(night jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record := ltv.step_arguments(night -> 'arguments');
BEGIN
    RETURN jsonb_build_object('message', format('job %s is queued', ltv.retrain(
        night ->> 'model', given.promote, given.metric, given.minimum_gain, given.warm_start,
        given.as_of::ltv.cutoffs, given.options, given.version)));
END
$$;
COMMENT ON FUNCTION ltv.night_retrain IS 'the step retrain';

-- Returns null, or how the step failed.
CREATE FUNCTION ltv.run_step(night jsonb, run bigint, place int) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    step text := night #>> ARRAY['steps', (place - 1)::text];
    outcome jsonb;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    BEGIN
        outcome := CASE step WHEN 'refresh' THEN ltv.night_refresh(night) WHEN 'score' THEN ltv.night_score(night)
                             WHEN 'monitor' THEN ltv.night_monitor(night) ELSE ltv.night_retrain(night) END;
        PERFORM ltv.follow_chain(night ->> 'model', ltv.texts(night -> 'chain'));
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT;
        outcome := jsonb_build_object('sqlstate', state, 'message', message, 'detail', detail, 'hint', hint);
    END;
    PERFORM ltv.end_step(run, place, outcome);
    RETURN CASE WHEN outcome ? 'sqlstate' THEN outcome || jsonb_build_object('step', step) END;
END
$$;
COMMENT ON FUNCTION ltv.run_step IS 'runs a step of a night and puts on record what became of it';

-- The error comes when all is committed, for the sake of the scheduler. Where nothing could be committed it would undo
-- the night, so a warning has to do.
CREATE FUNCTION ltv.end_night(night jsonb, failed jsonb, committed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message text := format('step "%s" failed: %s', failed ->> 'step', failed ->> 'message');
    detail text := NULLIF(failed ->> 'detail', '');
    hint text := COALESCE(NULLIF(failed ->> 'hint', ''), 'The view ltv_nightly_steps shows each step.');
BEGIN
    IF committed THEN
        PERFORM ltv.raise(failed ->> 'sqlstate', message, detail, hint);
    END IF;
    RAISE WARNING USING MESSAGE = message, DETAIL = concat_ws(' ', detail, 'Nothing is committed yet.'), HINT = hint;
END
$$;
COMMENT ON FUNCTION ltv.end_night IS 'tells the scheduler that a night failed';

-- The caller's chain of these steps, or the only one that has them all.
CREATE FUNCTION ltv.chain_for(model text, steps text[]) RETURNS ltv.chains
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept ltv.chains;
    other ltv.chains;
BEGIN
    FOR other IN
        SELECT c.* FROM ltv.own_chains c
        WHERE c.model = chain_for.model AND c.owner = quote_ident(current_user)::regrole
          AND (chain_for.steps IS NULL OR c.steps @> chain_for.steps)
        ORDER BY c.steps = chain_for.steps DESC, c.steps
    LOOP
        IF kept.steps IS NOT NULL THEN
            RAISE ambiguous_function USING MESSAGE = format('model "%s" has several such chains', model),
                HINT = format('Name the steps: CALL ltv_nightly(%L, %L). The view ltv_schedules lists them.', model,
                              other.steps);
        END IF;
        kept := other;
        EXIT WHEN kept.steps = steps;
    END LOOP;
    RETURN kept;
END
$$;
COMMENT ON FUNCTION ltv.chain_for IS 'the chain of the caller''s that has these steps; null where there is none';

-- What is to be done: what the caller's chain says, and the arguments that are given instead.
CREATE FUNCTION ltv.night(
    model text, steps text[], source text, features regclass, scores text, id_column text, time_zone text,
    arguments jsonb, day date
) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    kept ltv.chains;
    today date;
    reads record;
    writes record;
    night jsonb;
BEGIN
    PERFORM ltv.check_model(model, 'predict'), ltv.check_steps(COALESCE(steps, '{score}'));
    kept := ltv.chain_for(model, steps);
    steps := COALESCE(steps, kept.steps, '{refresh,score,monitor}');
    IF kept.steps IS NULL THEN
        night := ltv.chain(model, steps, source, features, scores, id_column, time_zone, COALESCE(arguments, '{}'));
    ELSE
        reads := ltv.followed(kept.features, kept.definition -> 'features_followed');
        writes := ltv.followed(kept.scores, kept.definition -> 'scores_followed');
        arguments := COALESCE(arguments, (SELECT COALESCE(jsonb_object_agg(a.key, a.value), '{}')
                                          FROM jsonb_each(kept.definition -> 'arguments') a
                                          WHERE a.key = ANY (steps)));
        -- What a dump brought is a name or nothing.
        night := kept.definition || jsonb_build_object(
                'model', model, 'features', reads.relation, 'steps', steps, 'arguments', arguments,
                'scores', CASE WHEN writes.relation IS NOT NULL THEN ltv.relation_name(writes.relation, NULL) END)
            || jsonb_strip_nulls(jsonb_build_object('replaced_by', reads.replaced_by, 'scores', scores,
                                                    'id_column', id_column, 'time_zone', time_zone));
        IF source IS NOT NULL THEN
            night := night - 'replaced_by'
                || jsonb_build_object('source', source, 'features', ltv.qualified_name(features));
        END IF;
        PERFORM now() AT TIME ZONE time_zone,
                ltv.check_step_arguments(steps, night -> 'arguments'), ltv.check_chain(night);
    END IF;
    today := (clock_timestamp() AT TIME ZONE (night ->> 'time_zone'))::date;
    IF day = '-infinity' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the day must be finite';
    ELSIF day > today THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the day %s lies in the future', day),
            DETAIL = format('Today is %s in time zone %s.', today, night ->> 'time_zone');
    END IF;
    RETURN night || jsonb_build_object('chain', kept.steps, 'day', COALESCE(day, today));
END
$$;
COMMENT ON FUNCTION ltv.night IS 'what a call of ltv_nightly is to do, or an error';

CREATE FUNCTION ltv.night_steps(night jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ltv.texts(night -> 'steps');
COMMENT ON FUNCTION ltv.night_steps IS 'the steps of a night';

-- Without a search_path of its own, which would forbid it to commit: nothing here has a name that is looked up in one,
-- types included.
CREATE PROCEDURE ltv.nightly(
    model text, steps text[], features text, scores text, id_column text, time_zone text, arguments jsonb, day date
)
LANGUAGE plpgsql
AS $$
DECLARE
    commits boolean := ltv.may_commit();
    night pg_catalog.jsonb := ltv.night(model, steps, ltv.bind_query(features), ltv.bind_relation(features),
                                        ltv.bind_scores(scores), id_column, time_zone, arguments, day);
    todo pg_catalog.text[] := ltv.night_steps(night);
    run bigint := ltv.begin_night(model, todo);
    failed pg_catalog.jsonb;
BEGIN
    IF commits THEN
        COMMIT;
    END IF;
    FOR place IN 1 .. pg_catalog.cardinality(todo) LOOP
        failed := ltv.run_step(night, run, place);
        IF commits THEN
            COMMIT;
        END IF;
        IF failed IS NOT NULL THEN
            PERFORM ltv.end_night(night, failed, commits);
            EXIT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE ltv.nightly IS 'see ltv_nightly';

CREATE PROCEDURE @extschema@.ltv_nightly(
    model     text,
    steps     text[] DEFAULT NULL,
    features  text DEFAULT NULL,
    scores    text DEFAULT NULL,
    id_column text DEFAULT NULL,
    time_zone text DEFAULT NULL,
    arguments jsonb DEFAULT NULL,
    day       date DEFAULT NULL
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON PROCEDURE @extschema@.ltv_nightly
    IS 'runs the chain of a model, or the steps given, and commits after each; what became of them is in '
       'ltv_nightly_steps';

-- What there is ----------------------------------------------------------------------------------------------------

CREATE FUNCTION ltv.schedules()
RETURNS TABLE (
    jobid bigint, model text, steps text[], schedule text, features text, scores text, time_zone text, command text,
    active boolean, role name, last_run timestamptz, last_status text, last_message text, last_steps jsonb
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.jobid, c.model, c.steps, j.schedule,
           COALESCE((ltv.followed(c.features, c.definition -> 'features_followed')).relation,
                    c.definition ->> 'source'),
           (ltv.followed(c.scores, c.definition -> 'scores_followed')).relation, c.definition ->> 'time_zone',
           ltv.schedule_command(c.model, c.steps), j.active, pg_get_userbyid(c.owner),
           GREATEST(n.started_at, j.started_at),
           CASE WHEN j.started_at > n.finished_at OR n.run IS NULL THEN j.status ELSE n.status END,
           CASE WHEN j.started_at > n.finished_at OR n.run IS NULL THEN j.message ELSE n.message END, n.steps
    FROM ltv.own_chains c
    LEFT JOIN ltv.cron_jobs() j
        ON j.name = ltv.schedule_name(c.model, c.steps) AND j.role = pg_get_userbyid(c.owner)
    LEFT JOIN LATERAL (
        SELECT s.run, min(s.started_at) AS started_at, COALESCE(max(s.finished_at), 'infinity') AS finished_at,
               CASE WHEN bool_and(s.status = 'succeeded') THEN 'succeeded'
                    ELSE max(s.status) FILTER (WHERE s.status IN ('failed', 'lost', 'running')) END AS status,
               max(format('step "%s": %s', s.step, s.message)) FILTER (WHERE s.status IN ('failed', 'lost')) AS message,
               jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'step', s.step, 'status', s.status, 'rows', s.rows, 'message', s.message,
                   'seconds', round(extract(epoch FROM s.finished_at - s.started_at), 3))) ORDER BY s.place) AS steps
        FROM ltv.own_nightly_steps s WHERE s.model = c.model AND s.role = c.owner
        GROUP BY s.run HAVING array_agg(s.step ORDER BY s.place) = c.steps
        ORDER BY s.run DESC LIMIT 1) n ON true
$$;
COMMENT ON FUNCTION ltv.schedules IS 'the chains of the current role, what runs them, and how their last runs went';

CREATE VIEW @extschema@.ltv_schedules WITH (security_invoker = true) AS SELECT * FROM ltv.schedules();
COMMENT ON VIEW @extschema@.ltv_schedules IS 'what is done for models again and again, and how the last runs went';
COMMENT ON COLUMN @extschema@.ltv_schedules.jobid IS 'its number in pg_cron; NULL where another scheduler runs it';
COMMENT ON COLUMN @extschema@.ltv_schedules.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_schedules.steps IS 'what is done, in this order';
COMMENT ON COLUMN @extschema@.ltv_schedules.schedule IS 'when, as pg_cron has it';
COMMENT ON COLUMN @extschema@.ltv_schedules.features IS 'the relation that is refreshed, scored and watched';
COMMENT ON COLUMN @extschema@.ltv_schedules.scores IS 'the relation of scores';
COMMENT ON COLUMN @extschema@.ltv_schedules.time_zone IS 'in which a day ends';
COMMENT ON COLUMN @extschema@.ltv_schedules.command IS 'the statement that runs';
COMMENT ON COLUMN @extschema@.ltv_schedules.active IS 'whether pg_cron runs it';
COMMENT ON COLUMN @extschema@.ltv_schedules.role IS 'the role that it runs as';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_run IS 'when it ran last';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_status IS 'how that ended';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_message IS 'why it failed';
COMMENT ON COLUMN @extschema@.ltv_schedules.last_steps IS 'each step of the last run, with status, rows and seconds';
GRANT SELECT ON @extschema@.ltv_schedules TO PUBLIC;
