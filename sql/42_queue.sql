-- The queue: a job's life in one place.
--
--            take_job                finish_job
--   queued ------------> running -----------------> succeeded, failed, canceled
--     |                     |
--     |                     +-- tidy_jobs: its worker is gone ---------> lost
--     +-- tidy_jobs: it can never run here (its role is gone) ---------> failed, lost
--     +-- cancel ------------------------------------------------------> canceled
--
-- Nobody else writes ltv.jobs and ltv.job_progress. Nothing here is callable by users: a worker calls it as
-- the owner of the catalog, the rest is behind functions that check their caller. Whose turn it is: of the
-- roles that may start another job the one with the fewest running, then the oldest job. A row that
-- somebody has locked is passed over, never waited for.

CREATE FUNCTION ltv.launch_workers(owner regrole) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_launch_workers';
COMMENT ON FUNCTION ltv.launch_workers
    IS 'starts a worker of a role when the transaction commits; an error inside a security-restricted operation';

CREATE FUNCTION ltv.wake_queue() RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_wake_queue';
COMMENT ON FUNCTION ltv.wake_queue()
    IS 'starts workers for the jobs that may run now and tidies up lost ones; false if no worker slot is free';

CREATE FUNCTION ltv.job_is_held(job bigint, pid int) RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_job_is_held';
COMMENT ON FUNCTION ltv.job_is_held
    IS 'whether a worker runs the job: one has its lock, or the process is a worker of this database';

CREATE FUNCTION ltv.interrupt_worker(pid int, owner regrole) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_interrupt_worker';
COMMENT ON FUNCTION ltv.interrupt_worker
    IS 'when the transaction commits, interrupts the process if it is a worker of that role in this database';

-- Whose turn it is -------------------------------------------------------------------------------------------------

CREATE FUNCTION ltv.role_setting(role oid, setting text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(c.item, strpos(c.item, '=') + 1)
    FROM pg_db_role_setting s, unnest(s.setconfig) c(item)
    WHERE s.setrole IN (0, $1)
      AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
      AND split_part(c.item, '=', 1) = $2
    ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1
$$;
COMMENT ON FUNCTION ltv.role_setting
    IS 'what ALTER ROLE or ALTER DATABASE gives a role for a setting in this database, NULL where neither does';

-- 0 and NULL: all slots but one, so that one role alone never fills the queue; superusers may.
CREATE FUNCTION ltv.most_jobs(role oid, slots int, per_role int) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN given.n > 0 THEN given.n
                WHEN (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = $1) THEN $2
                ELSE greatest($2 - 1, 1) END
    FROM (SELECT COALESCE(substring(ltv.role_setting($1, 'ltv.max_jobs_per_role') FROM '^[0-9]{1,6}$')::int,
                          $3)) given(n)
$$;
COMMENT ON FUNCTION ltv.most_jobs IS 'how many jobs of a role run at the same time';

-- What a job runs as, and who stands behind it, may be gone by now.
CREATE FUNCTION ltv.job_obstacle(owner oid, login oid, database oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN $3 <> d.oid THEN 'database'
                WHEN o.oid IS NULL THEN 'owner'
                WHEN l.rolcanlogin IS NOT TRUE
                     OR NOT pg_has_role(l.oid, o.oid,
                         CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
                THEN 'login'
                WHEN o.rolcanlogin AND NOT has_database_privilege(o.oid, d.oid, 'CONNECT') THEN 'connect' END
    FROM pg_database d
    LEFT JOIN pg_roles o ON o.oid = $1
    LEFT JOIN pg_roles l ON l.oid = $2
    WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION ltv.job_obstacle IS 'why a queued job can never run here, NULL where it can';

-- candidates: only these, where given. A job's place grows with the jobs of its role that run or stand before it.
CREATE FUNCTION ltv.jobs_in_turn(slots int, per_role int, candidates bigint[] DEFAULT NULL)
RETURNS TABLE (job bigint, owner oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH running AS MATERIALIZED (
        SELECT j.owner::oid AS owner, count(*) AS n
        FROM ltv.jobs j WHERE j.status = 'running' AND ltv.job_is_held(j.job, j.pid) GROUP BY 1
    ), queued AS MATERIALIZED (
        SELECT j.job, j.owner::oid AS owner, row_number() OVER (PARTITION BY j.owner::oid ORDER BY j.job) AS place
        FROM ltv.jobs j
        WHERE j.status = 'queued' AND ($3 IS NULL OR j.job = ANY ($3))
          AND ltv.job_obstacle(j.owner, j.login, j.database) IS NULL
    ), waiting AS (
        SELECT q.job, q.owner, COALESCE(r.n, 0) + q.place AS level
        FROM queued q LEFT JOIN running r ON r.owner = q.owner
        WHERE q.place <= $1
    )
    SELECT w.job, w.owner FROM waiting w, LATERAL (SELECT ltv.most_jobs(w.owner, $1, $2) AS most OFFSET 0) m
    WHERE w.level <= m.most
    ORDER BY w.level, w.job
    LIMIT greatest($1 - (SELECT COALESCE(sum(r.n), 0) FROM running r), 0)
$$;
COMMENT ON FUNCTION ltv.jobs_in_turn IS 'the queued jobs that may run now, the next one first';

-- What a worker calls, one at a time under the lock on the queue ---------------------------------------------------

CREATE FUNCTION ltv.tidy_jobs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone record;
BEGIN
    FOR gone IN SELECT j.job, j.pid, j.owner, j.login,
                       ltv.job_obstacle(j.owner, j.login, j.database) AS obstacle, j.status
                FROM ltv.jobs j
                WHERE j.status = 'running' AND ltv.job_is_held(j.job, j.pid) IS NOT TRUE
                   OR j.status = 'queued' AND ltv.job_obstacle(j.owner, j.login, j.database) IS NOT NULL
                FOR UPDATE OF j SKIP LOCKED LOOP
        IF gone.status = 'running' THEN
            -- Looked at again once the row is ours: its worker may have been about to finish.
            UPDATE ltv.jobs j SET status = 'lost', finished_at = clock_timestamp(), sqlstate = '57P02',
                message = 'the server or the worker stopped while the job was running',
                hint = 'No version was made; run ltv_train again.'
            WHERE j.job = gone.job AND j.status = 'running' AND ltv.job_is_held(j.job, j.pid) IS NOT TRUE;
        ELSIF gone.obstacle = 'database' THEN
            UPDATE ltv.jobs j SET status = 'lost', finished_at = clock_timestamp(), sqlstate = '55000',
                message = 'the job was queued in another database, of which this one is a copy',
                hint = 'Run ltv_retry here if it is wanted here, too.'
            WHERE j.job = gone.job;
        ELSE
            UPDATE ltv.jobs j SET status = 'failed', finished_at = clock_timestamp(),
                sqlstate = CASE gone.obstacle WHEN 'connect' THEN '42501' ELSE '28000' END,
                message = CASE gone.obstacle
                    WHEN 'owner' THEN format('role "%s" does not exist', gone.owner)
                    WHEN 'login' THEN format('role "%s" does not exist, may not log in, or may not SET ROLE to "%s"',
                                             gone.login, gone.owner)
                    ELSE format('role "%s" may not connect to database "%s"', gone.owner, current_database()) END,
                detail = CASE gone.obstacle
                    WHEN 'login' THEN 'It was logged in when the job was queued.'
                    ELSE 'A job runs as the role that queued it.' END,
                hint = 'Queue the job again in a session of a role that may log in; SET ROLE in it is kept.'
            WHERE j.job = gone.job;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.tidy_jobs IS 'writes down what became of jobs that will never be run, or whose worker is gone';

CREATE FUNCTION ltv.queue_is_untidy() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM ltv.jobs j WHERE j.status = 'running' AND ltv.job_is_held(j.job, j.pid) IS NOT TRUE
                   OR j.status = 'queued' AND ltv.job_obstacle(j.owner, j.login, j.database) IS NOT NULL)
$$;
COMMENT ON FUNCTION ltv.queue_is_untidy() IS 'whether ltv.tidy_jobs has something to do';

-- A few rows of each role, locked until the transaction ends: which ones nobody else holds.
CREATE FUNCTION ltv.lock_queued_jobs(slots int) RETURNS bigint[]
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(array_agg(free.job), '{}')
    FROM (SELECT DISTINCT q.owner::oid AS owner FROM ltv.jobs q WHERE q.status = 'queued') o,
         LATERAL (SELECT j.job FROM ltv.jobs j
                  WHERE j.status = 'queued' AND j.owner::oid = o.owner
                  ORDER BY j.job LIMIT slots FOR UPDATE SKIP LOCKED) free
$$;
COMMENT ON FUNCTION ltv.lock_queued_jobs IS 'the oldest queued jobs of each role that nobody else has locked';

-- Texts, because what cannot be read as JSON is to fail the job and not the worker.
CREATE FUNCTION ltv.take_job(of_job bigint) RETURNS TABLE (model text, settings text, recipe text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        UPDATE ltv.jobs j
        SET status = 'running', pid = pg_backend_pid(), started_at = clock_timestamp(), message = NULL, hint = NULL
        WHERE j.job = of_job AND j.status = 'queued' RETURNING j.model, j.settings::text, j.recipe::text;
    IF FOUND THEN
        INSERT INTO ltv.job_progress AS p (job, phase) VALUES (of_job, 'reading')
        ON CONFLICT (job) DO UPDATE SET phase = excluded.phase, updated_at = clock_timestamp();
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.take_job IS 'a queued job starts, run by this process; no row where it is not queued any more';

-- What a worker calls for the job it runs --------------------------------------------------------------------------

CREATE FUNCTION ltv.report_progress(
    of_job bigint, phase text, step text DEFAULT NULL, epoch int DEFAULT NULL, epochs int DEFAULT NULL,
    rows bigint DEFAULT NULL, rows_per_second float8 DEFAULT NULL, training_loss float8 DEFAULT NULL,
    validation_loss float8 DEFAULT NULL, eta_seconds float8 DEFAULT NULL, memory_bytes bigint DEFAULT NULL
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ltv.job_progress p SET phase = $2, step = $3, epoch = COALESCE($4, p.epoch), epochs = COALESCE($5, p.epochs),
        rows = COALESCE($6, p.rows), rows_per_second = COALESCE($7, p.rows_per_second),
        training_loss = COALESCE($8, p.training_loss),
        validation_loss = COALESCE($9, p.validation_loss), eta = make_interval(secs => $10),
        memory_bytes = COALESCE($11, p.memory_bytes),
        updated_at = clock_timestamp()
    WHERE p.job = $1
$$;
COMMENT ON FUNCTION ltv.report_progress IS 'what a running job is doing; NULL keeps what was said last';

-- Where it says nothing new the job had ended before: the end that was written first stands.
CREATE FUNCTION ltv.finish_job(
    of_job bigint, status text, version int, sqlstate text, message text, detail text, hint text
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ltv.jobs j
    SET status = $2, finished_at = clock_timestamp(), version = $3, sqlstate = $4, message = $5, detail = $6, hint = $7
    WHERE j.job = $1 AND j.status = 'running'
$$;
COMMENT ON FUNCTION ltv.finish_job IS 'a running job ends';

-- The rows of the job and of its model stay locked until the commit: nobody takes the job for lost meanwhile, and
-- versions are numbered in the order they appear in.
CREATE FUNCTION ltv.store_version(
    of_job bigint, onnx bytea, objective text, backbone text, schema jsonb, recipe jsonb, statistics jsonb,
    metrics jsonb, history jsonb, weights bytea, n_rows bigint, seconds float8, pg_ltv_version text
) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored ltv.jobs;
    number int;
BEGIN
    SELECT * INTO stored FROM ltv.jobs j
    WHERE j.job = of_job AND j.status = 'running' AND j.pid = pg_backend_pid() FOR UPDATE;
    IF NOT FOUND THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s is not run by this process', of_job);
    END IF;
    number := ltv.next_version(stored.owner, stored.model);
    INSERT INTO ltv.versions (
        model, version, checksum, onnx, source, objective, backbone, schema, recipe, statistics, metrics, history,
        weights, n_rows, training_seconds, created_by, job, pg_ltv_version
    )
    VALUES (stored.model, number, encode(sha256($2), 'hex'), $2, 'trained', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
            stored.owner, of_job, $13);
    RETURN number;
END
$$;
COMMENT ON FUNCTION ltv.store_version IS 'stores what a job has trained, with the rights of its owner on the model';

CREATE FUNCTION ltv.weights_of(role regrole, model text, version int) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(role, model, 'owner');
    RETURN (SELECT v.weights FROM ltv.versions v WHERE v.model = weights_of.model AND v.version = weights_of.version);
END
$$;
COMMENT ON FUNCTION ltv.weights_of IS 'the weights that a training of the role continues from';

-- Queueing, cancelling, trying again -------------------------------------------------------------------------------

-- The settings that decide what the training query means, and those of pg_ltv that are a user's to set.
CREATE FUNCTION ltv.kept_settings(settings jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(jsonb_object_agg(s.key, s.value), '{}')
    FROM jsonb_each_text(CASE jsonb_typeof(settings) WHEN 'object' THEN settings ELSE '{}' END) s
    WHERE s.key IN ('search_path', 'row_security', 'TimeZone', 'DateStyle', 'IntervalStyle',
                    'standard_conforming_strings')
       OR s.key LIKE 'ltv.%' AND EXISTS (SELECT FROM pg_settings g WHERE g.name = s.key AND g.context = 'user')
$$;
COMMENT ON FUNCTION ltv.kept_settings IS 'what a job may take along of a session''s settings';

-- owner: as whom it runs, by default the caller.
CREATE FUNCTION ltv.queue_job(
    caller regrole, model text, kind text, recipe jsonb, settings jsonb, owner regrole
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most_waiting CONSTANT int := 1000;
    queued bigint;
BEGIN
    owner := COALESCE(owner, caller);
    -- Who may not train does not by another way either.
    IF NOT has_function_privilege(
        caller, (SELECT f.oid FROM ltv.functions f WHERE f.name = 'ltv_train' AND f.public), 'EXECUTE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied for function ltv_train',
            DETAIL = 'Whoever may not call it queues no job.';
    END IF;
    PERFORM ltv.check_role(caller, owner);
    -- Nor in the name of the owner of a SECURITY DEFINER function, which does not know what it would run.
    PERFORM ltv.check_role(quote_ident(session_user)::regrole, owner);
    PERFORM ltv.check_model(owner, model, 'owner');
    IF octet_length(recipe::text) > 1e6 THEN
        RAISE program_limit_exceeded USING
            MESSAGE = 'the recipe of the job is longer than 1 MB',
            HINT = 'Put the query into a view.';
    ELSIF (SELECT count(*) FROM ltv.jobs j WHERE j.status = 'queued' AND j.owner = queue_job.owner) >= most_waiting THEN
        RAISE configuration_limit_exceeded USING
            MESSAGE = format('role "%s" has %s jobs in the queue', owner, most_waiting),
            HINT = 'Wait for some of them, or cancel them with ltv_cancel.';
    END IF;
    INSERT INTO ltv.jobs (model, kind, recipe, settings, owner, login, database)
    VALUES (queue_job.model, queue_job.kind, queue_job.recipe, ltv.kept_settings(queue_job.settings), queue_job.owner,
            quote_ident(session_user)::regrole, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
    RETURNING job INTO queued;
    PERFORM ltv.launch_workers(owner);
    RETURN queued;
END
$$;
COMMENT ON FUNCTION ltv.queue_job(regrole, text, text, jsonb, jsonb, regrole)
    IS 'queues a job, which starts when the transaction commits';

CREATE FUNCTION ltv.queue_job(model text, kind text, recipe jsonb, settings jsonb, owner regrole) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.queue_job(text, text, jsonb, jsonb, regrole)
    IS 'queues a job, which starts when the transaction commits';

-- Whose jobs a role sees, cancels and tries again.
CREATE FUNCTION ltv.check_job(caller regrole, of_job bigint) RETURNS ltv.jobs
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted ltv.jobs;
BEGIN
    SELECT * INTO wanted FROM ltv.jobs j WHERE j.job = of_job;
    IF NOT FOUND OR NOT pg_has_role(caller, wanted.owner, 'USAGE') THEN
        RAISE undefined_object USING MESSAGE = format('job %s does not exist', COALESCE(of_job::text, 'null')),
            HINT = 'The view ltv_jobs lists the jobs that you may see.';
    END IF;
    RETURN wanted;
END
$$;
COMMENT ON FUNCTION ltv.check_job IS 'a job of a role whose rights the caller has, or an error';

-- By what is so at this moment, whatever the statement that asks sees: the worker may have come or ended since.
CREATE FUNCTION ltv.job_is_lost(caller regrole, of_job bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM ltv.jobs j WHERE j.job = of_job AND pg_has_role(caller, j.owner, 'USAGE')
                   AND j.status = 'running' AND ltv.job_is_held(j.job, j.pid) IS NOT TRUE);
END
$$;
COMMENT ON FUNCTION ltv.job_is_lost(regrole, bigint) IS 'see the function without caller';

CREATE FUNCTION ltv.job_is_lost(of_job bigint) RETURNS boolean
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.job_is_lost(bigint) IS 'whether the worker of a job of the caller''s is gone without a word';

-- The row of a running job is not touched: it is its worker's alone, who must
-- never wait for somebody's open transaction.
CREATE FUNCTION ltv.cancel_job(of_job bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    running record;
BEGIN
    UPDATE ltv.jobs j SET status = 'canceled', finished_at = clock_timestamp()
    WHERE j.job = of_job AND j.status = 'queued';
    IF FOUND THEN
        RETURN true;
    END IF;
    SELECT j.pid, j.owner INTO running FROM ltv.jobs j WHERE j.job = of_job AND j.status = 'running';
    PERFORM ltv.interrupt_worker(running.pid, running.owner);
    RETURN running.pid IS NOT NULL;
END
$$;
COMMENT ON FUNCTION ltv.cancel_job
    IS 'ends a queued job, or tells the worker of a running one when the transaction commits; false where it had ended';

CREATE FUNCTION ltv.cancel_jobs(model text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cancel_job(j.job) FROM ltv.jobs j WHERE j.model = $1 AND j.status IN ('queued', 'running') $$;
COMMENT ON FUNCTION ltv.cancel_jobs IS 'cancels the jobs of a model';

CREATE FUNCTION ltv.cancel(caller regrole, job bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_job(caller, job);
    RETURN ltv.cancel_job(job);
END
$$;
COMMENT ON FUNCTION ltv.cancel IS 'see ltv_cancel';

CREATE FUNCTION ltv.retry(caller regrole, job bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old ltv.jobs := ltv.check_job(caller, job);
BEGIN
    -- A running job whose worker is gone is lost, as ltv_jobs shows it, before a worker has written that down.
    IF old.status IN ('queued', 'succeeded') OR old.status = 'running' AND ltv.job_is_held(old.job, old.pid) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s is %s', job, old.status),
            DETAIL = 'Only a job that failed, was canceled or was lost can be tried again.';
    END IF;
    RETURN ltv.queue_job(caller, old.model, old.kind, old.recipe, old.settings, old.owner);
END
$$;
COMMENT ON FUNCTION ltv.retry IS 'see ltv_retry';

REVOKE ALL ON FUNCTION
    ltv.launch_workers, ltv.job_is_held, ltv.interrupt_worker, ltv.role_setting, ltv.most_jobs, ltv.job_obstacle,
    ltv.jobs_in_turn, ltv.tidy_jobs, ltv.queue_is_untidy, ltv.lock_queued_jobs, ltv.take_job, ltv.report_progress,
    ltv.finish_job, ltv.store_version, ltv.weights_of, ltv.kept_settings,
    ltv.queue_job(regrole, text, text, jsonb, jsonb, regrole), ltv.check_job, ltv.cancel_job, ltv.cancel_jobs,
    ltv.cancel, ltv.retry
FROM PUBLIC;
