-- Watching jobs and stopping them: ltv_jobs, ltv_wait, ltv_cancel, ltv_retry. Everybody
-- sees the jobs of the roles whose rights they have.

-- While it reads, in one long transaction, a worker tells its rows as COPY does. A condition of the reader's must not
-- be looked at before the rows are known to be his.
CREATE VIEW @extschema@.ltv_jobs WITH (security_barrier) AS
SELECT j.job, j.model, j.kind,
       -- A worker that is gone without a word took its job with it.
       CASE WHEN j.status = 'running' AND ltv.job_is_lost(j.job) THEN 'lost' ELSE j.status END AS status,
       p.phase, p.step, p.epoch, p.epochs, COALESCE(r.rows, p.rows) AS rows,
       COALESCE(r.rows / NULLIF(extract(epoch FROM clock_timestamp() - j.started_at), 0), p.rows_per_second)
            AS rows_per_second,
       p.training_loss, p.validation_loss,
       CASE WHEN j.status = 'running' THEN p.eta END AS eta, p.memory_bytes, j.version,
       pg_catalog.pg_get_userbyid(j.owner) AS role,
       CASE WHEN j.status = 'running' THEN j.pid END AS pid,
       j.created_at, j.started_at, j.finished_at, COALESCE(j.finished_at, clock_timestamp()) - j.started_at AS duration,
       j.sqlstate, j.message, j.detail, j.hint
FROM ltv.own_jobs j
LEFT JOIN ltv.job_progress p USING (job)
LEFT JOIN LATERAL (SELECT NULLIF(c.param3, 0) AS rows FROM pg_catalog.pg_stat_get_progress_info('COPY') c
                   WHERE c.pid = j.pid AND j.status = 'running' AND p.phase = 'reading') r ON true;
COMMENT ON VIEW @extschema@.ltv_jobs IS 'training jobs, waiting, running and past, with their progress and errors';
COMMENT ON COLUMN @extschema@.ltv_jobs.job IS 'its number';
COMMENT ON COLUMN @extschema@.ltv_jobs.model IS 'the model that it makes a version of';
COMMENT ON COLUMN @extschema@.ltv_jobs.kind IS 'train, retrain or compare';
COMMENT ON COLUMN @extschema@.ltv_jobs.status
    IS 'queued, running, succeeded, failed, canceled, or lost with its server';
COMMENT ON COLUMN @extschema@.ltv_jobs.phase IS 'reading, preprocessing, training, validating, exporting or storing';
COMMENT ON COLUMN @extschema@.ltv_jobs.step IS 'which network of an ensemble, which candidate of a comparison';
COMMENT ON COLUMN @extschema@.ltv_jobs.epoch IS 'epochs done, over all networks';
COMMENT ON COLUMN @extschema@.ltv_jobs.epochs IS 'epochs at most, over all networks';
COMMENT ON COLUMN @extschema@.ltv_jobs.rows IS 'rows read so far, or read in all';
COMMENT ON COLUMN @extschema@.ltv_jobs.rows_per_second IS 'rows per second, of reading or of training';
COMMENT ON COLUMN @extschema@.ltv_jobs.training_loss IS 'loss of the last epoch';
COMMENT ON COLUMN @extschema@.ltv_jobs.validation_loss IS 'loss of the last epoch on rows held out';
COMMENT ON COLUMN @extschema@.ltv_jobs.eta IS 'time that is left, as estimated';
COMMENT ON COLUMN @extschema@.ltv_jobs.memory_bytes IS 'the most memory that the worker had for itself so far';
COMMENT ON COLUMN @extschema@.ltv_jobs.version IS 'the version that it made';
COMMENT ON COLUMN @extschema@.ltv_jobs.role IS 'the role that it runs as';
COMMENT ON COLUMN @extschema@.ltv_jobs.pid IS 'the process of its worker while it runs';
COMMENT ON COLUMN @extschema@.ltv_jobs.created_at IS 'when it was queued';
COMMENT ON COLUMN @extschema@.ltv_jobs.started_at IS 'when a worker took it';
COMMENT ON COLUMN @extschema@.ltv_jobs.finished_at IS 'when it ended';
COMMENT ON COLUMN @extschema@.ltv_jobs.duration IS 'from start to end, or to now';
COMMENT ON COLUMN @extschema@.ltv_jobs.sqlstate IS 'the SQLSTATE of its error';
COMMENT ON COLUMN @extschema@.ltv_jobs.message IS 'its error, or what there is to say of it';
COMMENT ON COLUMN @extschema@.ltv_jobs.detail IS 'the detail of its error';
COMMENT ON COLUMN @extschema@.ltv_jobs.hint IS 'what to do about it';
GRANT SELECT ON @extschema@.ltv_jobs TO PUBLIC;

-- Parsed here and now, and bound to the view: the schema that the extension is in may get another name.
CREATE FUNCTION ltv.describe_progress(of_job bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT concat_ws(', ',
        step,
        COALESCE(phase, 'starting'),
        CASE WHEN phase = 'reading' AND rows > 0 THEN trim(to_char(rows, '999,999,999,999')) || ' rows' END,
        CASE WHEN phase = 'training' THEN format('epoch %s of %s', epoch, epochs) END,
        CASE WHEN phase = 'training' AND training_loss IS NOT NULL THEN 'loss ' || round(training_loss::numeric, 4) END,
        CASE WHEN phase = 'training' AND validation_loss IS NOT NULL
             THEN 'validation ' || round(validation_loss::numeric, 4) END,
        CASE WHEN rows_per_second > 0 THEN trim(to_char(rows_per_second, '999,999,999,999')) || ' rows/s' END,
        CASE WHEN eta > '1 s' THEN 'about ' || date_trunc('second', eta) || ' left' END)
    FROM @extschema@.ltv_jobs WHERE job = of_job;
END;
COMMENT ON FUNCTION ltv.describe_progress IS 'one line on what a job is doing';

CREATE FUNCTION ltv.await_worker(job bigint, milliseconds int) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_await_worker';
COMMENT ON FUNCTION ltv.await_worker IS 'waits until a worker takes a job or lets go of it, at most so long';

CREATE FUNCTION ltv.raise(code text, message text, detail text, hint text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_raise';
COMMENT ON FUNCTION ltv.raise IS 'raises an error whose detail and hint may be missing';

CREATE FUNCTION ltv.wait(job bigint, timeout interval) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state record;
    line text;
    last_line text := '';
    next_print timestamptz := '-infinity';
    pause interval := '1 s';  -- between two lines; each is twice as long as the one before
    ends timestamptz := clock_timestamp() + timeout;
    -- the worker that a commit has just started gets a moment to come
    last_wake timestamptz := clock_timestamp() - interval '0.9 s';
    gone_since timestamptz;
BEGIN
    IF job IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the job must not be null';
    END IF;
    LOOP
        SELECT * INTO state FROM ltv.own_jobs j WHERE j.job = wait.job;
        IF NOT FOUND THEN
            RAISE undefined_object USING MESSAGE = format('job %s does not exist', job),
                DETAIL = 'It may belong to another role, or its transaction was rolled back or has not committed yet.',
                HINT = 'The view ltv_jobs lists the jobs that you may see.';
        ELSIF state.status = 'succeeded' THEN
            IF state.message IS NOT NULL THEN
                RAISE NOTICE USING MESSAGE = format('job %s: %s', job, state.message);
            END IF;
            RETURN state.version;
        ELSIF state.status = 'failed' THEN
            PERFORM ltv.raise(state.sqlstate, COALESCE(state.message, format('job %s failed', job)),
                              state.detail, state.hint);
        ELSIF state.status = 'canceled' THEN
            RAISE query_canceled USING MESSAGE = format('job %s was canceled', job),
                HINT = 'No version was made; run ltv_train again.';
        ELSIF state.status = 'lost' THEN
            RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s was lost', job),
                DETAIL = COALESCE(state.message, 'The server or the worker stopped while it was running.'),
                HINT = 'No version was made; run ltv_train again.';
        ELSIF state.xid = pg_current_xact_id_if_assigned() THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('job %s was queued in this very transaction', job),
                DETAIL = 'It starts when the transaction commits, so waiting for it here would never end.',
                HINT = 'Commit first, then call ltv_wait in a statement of its own.';
        ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('cannot wait for a job in a transaction that is %s',
                                 current_setting('transaction_isolation')),
                DETAIL = 'Such a transaction does not see what happens after its start.',
                HINT = 'Call ltv_wait in a transaction that is read committed.';
        END IF;

        IF state.status = 'queued' THEN
            IF clock_timestamp() > last_wake + interval '1 s' THEN
                PERFORM ltv.wake_queue();
                last_wake := clock_timestamp();
            END IF;
            line := concat_ws(', ', 'queued', state.message,
                (SELECT format('behind %s other job(s)', count(*)) FROM ltv.own_jobs j
                 WHERE j.status IN ('queued', 'running') AND j.job < wait.job HAVING count(*) > 0));
            IF line <> last_line THEN
                RAISE NOTICE USING MESSAGE = format('job %s: %s', job, line);
                IF state.hint IS NOT NULL THEN
                    RAISE NOTICE USING MESSAGE = state.hint;
                END IF;
                last_line := line;
            END IF;
        ELSE
            line := ltv.describe_progress(job);
            IF line <> last_line AND clock_timestamp() > next_print THEN
                RAISE NOTICE USING MESSAGE = format('job %s: %s', job, line);
                last_line := line;
                next_print := clock_timestamp() + pause;
                pause := least(pause * 2, '30 s');
            END IF;
            -- A transaction sees who is connected as at its first look; the worker may have come since.
            PERFORM pg_stat_clear_snapshot();
            IF pg_backend_pid() = ANY (pg_blocking_pids(state.pid)) THEN
                RAISE deadlock_detected USING
                    MESSAGE = format('job %s waits for a lock that this transaction holds', job),
                    HINT = 'Commit first, then call ltv_wait.';
            ELSIF EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = state.pid) THEN
                gone_since := NULL;
            ELSIF state.pid IS NOT NULL AND clock_timestamp() > gone_since + interval '3 s' THEN
                RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s was lost', job),
                    DETAIL = 'Its worker is gone.', HINT = 'No version was made; run ltv_train again.';
            ELSE
                gone_since := COALESCE(gone_since, clock_timestamp());
            END IF;
        END IF;
        IF clock_timestamp() > ends THEN
            RAISE query_canceled USING MESSAGE = format('job %s has not ended after %s', job, timeout);
        END IF;
        PERFORM ltv.await_worker(job, 250);
    END LOOP;
EXCEPTION WHEN query_canceled THEN
    IF state.status IN ('queued', 'running') THEN
        RAISE NOTICE USING
            MESSAGE = format('job %s goes on', job),
            HINT = format('SELECT ltv_cancel(%s) stops it.', job);
    END IF;
    RAISE;
END
$$;
COMMENT ON FUNCTION ltv.wait(bigint, interval) IS 'see ltv_wait';

CREATE FUNCTION ltv.wait(model text, timeout interval) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last bigint := (SELECT max(j.job) FROM ltv.own_jobs j WHERE j.model = wait.model);
BEGIN
    IF last IS NULL AND model ~ '^[0-9]{1,18}$' THEN  -- from a driver that passes numbers as text
        last := model::bigint;
    ELSIF last IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('there is no job for model "%s"', model),
            HINT = 'The view ltv_jobs lists the jobs that you may see.';
    END IF;
    RETURN ltv.wait(last, timeout);
END
$$;
COMMENT ON FUNCTION ltv.wait(text, interval) IS 'see ltv_wait';

CREATE FUNCTION ltv.wait(timeout interval) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last bigint := (SELECT max(j.job) FROM ltv.own_jobs j WHERE j.owner = quote_ident(current_user)::regrole);
BEGIN
    IF last IS NULL THEN
        RAISE undefined_object USING
            MESSAGE = format('role "%s" has no job to wait for', current_user),
            HINT = 'ltv_train queues one.';
    END IF;
    RETURN ltv.wait(last, timeout);
END
$$;
COMMENT ON FUNCTION ltv.wait(interval) IS 'see ltv_wait';

CREATE FUNCTION @extschema@.ltv_wait(job bigint, timeout interval DEFAULT NULL) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_wait(bigint, interval)
    IS 'waits for a job, printing its progress; returns the version made, or raises the error of the job';

CREATE FUNCTION @extschema@.ltv_wait(model text, timeout interval DEFAULT NULL) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_wait(text, interval) IS 'waits for the last job of a model';

CREATE FUNCTION @extschema@.ltv_wait(timeout interval DEFAULT NULL) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_wait(interval) IS 'waits for the last job of the current role';

-- The same by names that do not depend on the extension's schema.
CREATE FUNCTION ltv.ltv_train(
    model text, relation text, target text, id_column text, objective text, backbone text, features text[],
    split_column text, options jsonb, query text, preset text, promote boolean, exclude text[]
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION ltv.ltv_train IS 'ltv_train, for functions of the extension';
CREATE FUNCTION ltv.ltv_wait(job bigint, timeout interval) RETURNS int LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION ltv.ltv_wait IS 'ltv_wait, for functions of the extension';

CREATE FUNCTION ltv.may_commit() RETURNS boolean
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ltv_may_commit';
COMMENT ON FUNCTION ltv.may_commit IS 'whether the procedure that asks may end its transaction';

CREATE PROCEDURE ltv.train_now(
    model text, relation text, target text, id_column text, objective text, backbone text, features text[],
    split_column text, options jsonb, query text, preset text, promote boolean, exclude text[], timeout interval,
    INOUT version int
)
LANGUAGE plpgsql
AS $$
DECLARE
    job bigint;
BEGIN
    IF NOT ltv.may_commit() THEN
        RAISE invalid_transaction_termination USING
            MESSAGE = 'ltv_train_now cannot run inside a transaction block or a function',
            DETAIL = 'It commits, so that a worker sees the job.',
            HINT = 'Call it on its own, or queue the job with ltv_train and wait with ltv_wait after COMMIT.';
    END IF;
    job := ltv.ltv_train(
        model, relation, target, id_column, objective, backbone, features, split_column,
        options, query, preset, promote, exclude);
    COMMIT;
    version := ltv.ltv_wait(job, timeout);
END
$$;
COMMENT ON PROCEDURE ltv.train_now IS 'see ltv_train_now';

CREATE PROCEDURE @extschema@.ltv_train_now(
    model        text,
    relation     text DEFAULT NULL,
    target       text DEFAULT 'ltv',
    id_column    text DEFAULT 'customer_id',
    objective    text DEFAULT NULL,
    backbone     text DEFAULT NULL,
    features     text[] DEFAULT NULL,
    split_column text DEFAULT NULL,
    options      jsonb DEFAULT '{}',
    query        text DEFAULT NULL,
    preset       text DEFAULT NULL,
    promote      boolean DEFAULT NULL,
    exclude      text[] DEFAULT NULL,
    timeout      interval DEFAULT NULL,
    INOUT version int DEFAULT NULL
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON PROCEDURE @extschema@.ltv_train_now
    IS 'queues a training, commits and waits for it; version: the one it made';

CREATE FUNCTION @extschema@.ltv_cancel(job bigint) RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_cancel
    IS 'cancels a job once the transaction commits; false where it had ended already';

CREATE FUNCTION @extschema@.ltv_retry(job bigint) RETURNS bigint LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_retry
    IS 'queues a job that failed, was canceled or was lost once more, as the role that it ran as; returns the new job';
