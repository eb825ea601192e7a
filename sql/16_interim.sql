-- Interim: what the parts that are being rewritten still call.
CREATE FUNCTION ltv.is_query(source text) RETURNS boolean LANGUAGE sql STABLE
AS $$ SELECT ltv.bind_relation(source) IS NULL $$;
CREATE FUNCTION ltv.resolve_relation(source text) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ltv.bind_relation(source) $$;
CREATE FUNCTION ltv.query_text(source text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT ltv.bind_query(source) $$;
CREATE FUNCTION ltv.queue_job(model text, kind text, recipe jsonb, settings jsonb, owner regrole) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
CREATE FUNCTION ltv.queue_job(caller regrole, model text, kind text, recipe jsonb, settings jsonb, owner regrole) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queued bigint;
BEGIN
    PERFORM ltv.check_role(caller, owner);
    INSERT INTO ltv.jobs (model, kind, recipe, settings, owner) VALUES ($2, $3, $4, $5, $6) RETURNING job INTO queued;
    PERFORM ltv.launch_workers();
    RETURN queued;
END
$$;
CREATE FUNCTION ltv.cancel_jobs(model text) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ UPDATE ltv.jobs j SET cancel_requested = true, status = CASE j.status WHEN 'queued' THEN 'canceled' ELSE j.status END,
        finished_at = CASE j.status WHEN 'queued' THEN clock_timestamp() END
    WHERE j.model = $1 AND j.status IN ('queued', 'running') $$;
CREATE FUNCTION ltv.move_alias(model text, alias text, version int, reason text) RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN ltv.move_alias(quote_ident(current_user)::regrole, model, alias, version, reason, NULL); END $$;
CREATE FUNCTION ltv.drop_old_versions(model text) RETURNS int[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN ltv.drop_old_versions(quote_ident(current_user)::regrole, model); END $$;
