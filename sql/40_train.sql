-- Training, seen from SQL: ltv_train queues a job, ltv_wait and ltv_cancel deal with it, ltv_jobs shows it.
-- The job is run by a background worker, as the role that queued it, once the transaction has committed.

CREATE FUNCTION ltv.launch_workers() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_launch_workers';
COMMENT ON FUNCTION ltv.launch_workers() IS 'starts training workers for queued jobs when the transaction commits';

CREATE FUNCTION ltv.wake_queue() RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_wake_queue';
COMMENT ON FUNCTION ltv.wake_queue() IS 'starts workers for queued jobs now and tidies up lost ones; false if no worker slot is free';

CREATE FUNCTION ltv.await_worker(job bigint, milliseconds int) RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_await_worker';
COMMENT ON FUNCTION ltv.await_worker IS 'waits until a worker takes a job or lets go of it, at most so long';

CREATE FUNCTION ltv.interrupt_job(job bigint) RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_interrupt_job';
COMMENT ON FUNCTION ltv.interrupt_job IS 'interrupts the worker of a running job when the transaction commits';

CREATE FUNCTION ltv.check_recipe(recipe jsonb) RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_check_recipe';
COMMENT ON FUNCTION ltv.check_recipe IS 'an error if something is wrong with a recipe: its query, the types of the columns, an option';

-- Queueing ---------------------------------------------------------------------------------------------------------

-- What the worker has to set so that the query means to it what it means to the session that queued it.
CREATE FUNCTION ltv.job_settings() RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT pg_catalog.jsonb_object_agg(name, setting) FROM pg_catalog.pg_settings
    WHERE name IN ('search_path', 'row_security', 'TimeZone', 'DateStyle', 'IntervalStyle')
       OR (name LIKE 'ltv.%' AND source = 'session' AND context = 'user')
$$;
COMMENT ON FUNCTION ltv.job_settings IS 'the settings of this session that a job takes along';

-- What ltv_train and ltv_compare have in common. Names are the caller's, hence no search_path of its own.
CREATE FUNCTION ltv.queue_training(model text, kind text, relation text, query text, target text, id_column text, objective text, backbone text,
    features text[], split_column text, options jsonb, preset text, promote boolean, compare jsonb) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    source text := COALESCE(query, relation);
    relation_name text;
    recipe jsonb;
BEGIN
    PERFORM ltv.claim_model(model);
    IF pg_catalog.num_nonnulls(relation, query) <> 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'give either a relation or a query to train on',
            HINT = 'For example ltv_train(''my_model'', ''customer_features''), or query => ''SELECT ...''.';
    END IF;
    IF target IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the target must not be null',
            HINT = 'Name the column that holds the money spent in the horizon.';
    END IF;
    IF pg_catalog.jsonb_typeof(options) IS DISTINCT FROM 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'options must be a JSON object',
            HINT = 'For example options => ''{"seed": 7}''.';
    END IF;

    IF NOT ltv.is_query(source) THEN
        relation_name := ltv.resolve_relation(source);
        IF (SELECT relpersistence FROM pg_catalog.pg_class WHERE oid = relation_name::pg_catalog.regclass) = 't' THEN
            RAISE feature_not_supported USING MESSAGE = pg_catalog.format('"%s" is a temporary table, which the training worker cannot see', source),
                HINT = 'Use an ordinary or an unlogged table.';
        END IF;
        IF id_column = 'customer_id' THEN
            id_column := COALESCE(ltv.features_id_column(relation_name), id_column);
        END IF;
    END IF;
    IF pg_catalog.cardinality(features) = 0 OR pg_catalog.array_ndims(features) > 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'features must be a list of one or more columns',
            HINT = 'Leave it out to use every column but the target and the id.';
    ELSIF pg_catalog.array_position(features, NULL) IS NOT NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'features must not contain null';
    END IF;
    recipe := pg_catalog.jsonb_build_object(
        'relation', relation_name, 'query', CASE WHEN relation_name IS NULL THEN ltv.query_text(source) END,
        'target', target, 'id_column', id_column, 'split_column', split_column, 'features', features, 'options', options,
        'objective', COALESCE(objective, CASE WHEN preset IS NULL THEN 'ziln' END),
        'backbone', COALESCE(backbone, CASE WHEN preset IS NULL THEN 'mlp' END), 'preset', preset,
        'promote', COALESCE(promote, objective IS NOT DISTINCT FROM 'auto'), 'search_path', pg_catalog.current_setting('search_path'));
    IF objective = 'auto' THEN
        recipe := recipe || pg_catalog.jsonb_build_object('compare', COALESCE(compare,
            CASE WHEN backbone IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('backbones', ARRAY[backbone]) END));
    END IF;
    PERFORM ltv.check_recipe(recipe);
    RETURN ltv.queue_job(model, kind, recipe, ltv.job_settings(), pg_catalog.quote_ident(current_user)::pg_catalog.regrole);
END
$$;
COMMENT ON FUNCTION ltv.queue_training IS 'checks a recipe and queues its training';

CREATE FUNCTION @extschema@.ltv_train(
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
    promote      boolean DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
AS $$
    SELECT ltv.queue_training(model, CASE objective WHEN 'auto' THEN 'compare' ELSE 'train' END, relation, query, target, id_column, objective, backbone,
        features, split_column, options, preset, promote, NULL)
$$;
COMMENT ON FUNCTION @extschema@.ltv_train IS 'queues the training of a new version of a model and returns the job';

-- Watching and stopping --------------------------------------------------------------------------------------------

CREATE VIEW @extschema@.ltv_jobs WITH (security_invoker = true) AS
SELECT j.job, j.model, j.kind,
       -- A worker that is gone without a word took its job with it.
       CASE WHEN j.status = 'running' AND j.pid IS NOT NULL AND a.pid IS NULL THEN 'lost' ELSE j.status END AS status,
       p.phase, p.step, p.epoch, p.epochs, COALESCE(r.rows, p.rows) AS rows,
       COALESCE(r.rows / NULLIF(extract(epoch FROM clock_timestamp() - j.started_at), 0), p.rows_per_second) AS rows_per_second, p.training_loss, p.validation_loss,
       CASE WHEN j.status = 'running' THEN p.eta END AS eta, p.memory_bytes, j.version, pg_catalog.pg_get_userbyid(j.owner) AS role,
       CASE WHEN j.status = 'running' THEN j.pid END AS pid,
       j.created_at, j.started_at, j.finished_at, COALESCE(j.finished_at, clock_timestamp()) - j.started_at AS duration,
       j.sqlstate, j.message, j.detail, j.hint
FROM ltv.jobs j
LEFT JOIN ltv.job_progress p USING (job)
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = j.pid AND a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
-- While it reads, in one long transaction, a worker tells its rows by its activity only.
CROSS JOIN LATERAL (SELECT CASE WHEN j.status = 'running' AND p.phase = 'reading' THEN substring(a.query FROM ': reading, (\d+) rows$')::bigint END AS rows) r
CROSS JOIN ltv.wake_queue();  -- a job that was left behind starts when somebody looks
COMMENT ON VIEW @extschema@.ltv_jobs IS 'training jobs, waiting, running and past, with their progress and errors';
GRANT SELECT ON @extschema@.ltv_jobs TO PUBLIC;

CREATE FUNCTION ltv.describe_progress(of_job bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(', ',
        step,
        COALESCE(phase, 'starting'),
        CASE WHEN phase = 'reading' AND rows > 0 THEN trim(to_char(rows, '999,999,999,999')) || ' rows' END,
        CASE WHEN phase = 'training' THEN format('epoch %s of %s', epoch, epochs) END,
        CASE WHEN phase = 'training' AND training_loss IS NOT NULL THEN 'loss ' || round(training_loss::numeric, 4) END,
        CASE WHEN phase = 'training' AND validation_loss IS NOT NULL THEN 'validation ' || round(validation_loss::numeric, 4) END,
        CASE WHEN rows_per_second > 0 THEN trim(to_char(rows_per_second, '999,999,999,999')) || ' rows/s' END,
        CASE WHEN eta > '1 s' THEN 'about ' || date_trunc('second', eta) || ' left' END)
    FROM ltv.job_progress WHERE job = of_job
$$;
COMMENT ON FUNCTION ltv.describe_progress IS 'one line on what a job is doing';

-- RAISE takes no NULL and prints what is empty, hence the cases.
CREATE FUNCTION ltv.raise(code text, message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    code := COALESCE(code, 'XX000');
    IF detail <> '' AND hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
    ELSIF detail <> '' THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
    ELSIF hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    ELSE
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.raise IS 'raises an error whose detail and hint may be missing';

CREATE FUNCTION @extschema@.ltv_wait(job bigint) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state record;
    line text;
    last_line text := '';
    last_print timestamptz := '-infinity';
    last_wake timestamptz := clock_timestamp() - interval '0.9 s';  -- the worker that a commit has just started gets a moment to come
    gone_since timestamptz;
BEGIN
    IF job IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the job must not be null';
    END IF;
    LOOP
        SELECT * INTO state FROM ltv.jobs j WHERE j.job = ltv_wait.job;
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
            PERFORM ltv.raise(state.sqlstate, COALESCE(state.message, format('job %s failed', job)), state.detail, state.hint);
        ELSIF state.status = 'canceled' THEN
            RAISE query_canceled USING MESSAGE = format('job %s was canceled', job),
                HINT = 'No version was made; run ltv_train again.';
        ELSIF state.status = 'lost' THEN
            RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s was lost', job),
                DETAIL = COALESCE(state.message, 'The server or the worker stopped while it was running.'),
                HINT = 'No version was made; run ltv_train again.';
        ELSIF state.xid = pg_current_xact_id_if_assigned() THEN
            RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s was queued in this very transaction', job),
                DETAIL = 'It starts when the transaction commits, so waiting for it here would never end.',
                HINT = 'Commit first, then call ltv_wait in a statement of its own.';
        ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = format('cannot wait for a job in a transaction that is %s', current_setting('transaction_isolation')),
                DETAIL = 'Such a transaction does not see what happens after its start.',
                HINT = 'Call ltv_wait in a transaction that is read committed.';
        END IF;

        IF state.status = 'queued' THEN
            IF clock_timestamp() > last_wake + interval '1 s' THEN
                PERFORM ltv.wake_queue();
                last_wake := clock_timestamp();
            END IF;
            line := concat_ws(', ', 'queued', state.message,
                (SELECT format('behind %s other job(s)', count(*)) FROM ltv.jobs j
                 WHERE j.status IN ('queued', 'running') AND j.job < ltv_wait.job HAVING count(*) > 0));
            IF line <> last_line THEN
                RAISE NOTICE USING MESSAGE = format('job %s: %s', job, line);
                IF state.hint IS NOT NULL THEN
                    RAISE NOTICE USING MESSAGE = state.hint;
                END IF;
                last_line := line;
            END IF;
        ELSE
            line := ltv.describe_progress(job);
            IF line <> last_line AND clock_timestamp() > last_print + interval '0.9 s' THEN
                RAISE NOTICE USING MESSAGE = format('job %s: %s', job, line);
                last_line := line;
                last_print := clock_timestamp();
            END IF;
            -- A transaction sees who is connected as at its first look; the worker may have come since.
            PERFORM pg_stat_clear_snapshot();
            IF pg_backend_pid() = ANY (pg_blocking_pids(state.pid)) THEN
                RAISE deadlock_detected USING MESSAGE = format('job %s waits for a lock that this transaction holds', job),
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
        PERFORM ltv.await_worker(job, 250);
    END LOOP;
EXCEPTION WHEN query_canceled THEN
    IF state.status IN ('queued', 'running') THEN
        RAISE NOTICE USING MESSAGE = format('job %s goes on', job), HINT = format('SELECT ltv_cancel(%s) stops it.', job);
    END IF;
    RAISE;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_wait IS 'waits for a job, printing its progress; returns the version made, or raises the error of the job';

CREATE FUNCTION @extschema@.ltv_cancel(job bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text;
BEGIN
    -- One that is still queued ends here; a running one is told, and its worker has the last word.
    UPDATE ltv.jobs j SET cancel_requested = true,
        status = CASE j.status WHEN 'queued' THEN 'canceled' ELSE j.status END,
        finished_at = CASE j.status WHEN 'queued' THEN clock_timestamp() END
    WHERE j.job = ltv_cancel.job AND j.status IN ('queued', 'running');
    IF FOUND THEN
        PERFORM ltv.interrupt_job(job);
        PERFORM ltv.wake_queue();
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT FROM ltv.jobs j WHERE j.job = ltv_cancel.job) THEN
        RAISE undefined_object USING MESSAGE = format('job %s does not exist', COALESCE(job::text, 'null')),
            HINT = 'The view ltv_jobs lists the jobs that you may see.';
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_cancel IS 'cancels a job once the transaction commits; false where it had ended already';

CREATE FUNCTION @extschema@.ltv_retry(job bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old record;
BEGIN
    SELECT * INTO old FROM ltv.jobs j WHERE j.job = ltv_retry.job;
    IF NOT FOUND THEN
        RAISE undefined_object USING MESSAGE = format('job %s does not exist', COALESCE(job::text, 'null')),
            HINT = 'The view ltv_jobs lists the jobs that you may see.';
    -- A running job whose worker is gone is lost, as ltv_jobs shows it, before a worker has written that down.
    ELSIF old.status IN ('queued', 'succeeded') OR old.status = 'running' AND EXISTS (
            SELECT FROM pg_stat_activity a WHERE a.pid = old.pid AND a.datname = current_database()) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('job %s is %s', job, old.status),
            DETAIL = 'Only a job that failed, was canceled or was lost can be tried again.';
    END IF;
    PERFORM ltv.check_model(old.model, 'owner');
    RETURN ltv.queue_job(old.model, old.kind, old.recipe, old.settings, old.owner);
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_retry IS 'queues a job that failed, was canceled or was lost once more, as the current role; returns the new job';
