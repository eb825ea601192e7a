-- The catalog: models, their immutable versions, aliases, jobs and privileges.
--
-- Everybody may touch these tables; row level security decides which rows. That way the functions of the other
-- parts are plain SQL that runs as its caller, and a training worker, which runs as the role that queued the job,
-- needs no special rights. Roles are stored by name, because a dump must be restorable into another cluster.

\echo Use "CREATE EXTENSION pg_ltv" to load this file. \quit

CREATE SCHEMA ltv;
COMMENT ON SCHEMA ltv IS 'tables and internal functions of pg_ltv';
GRANT USAGE ON SCHEMA ltv TO PUBLIC;

-- Tables ---------------------------------------------------------------------------------------------------------

CREATE TABLE ltv.models (
    model        text PRIMARY KEY CHECK (model <> '' AND octet_length(model) <= 200),
    owner        name NOT NULL DEFAULT current_user,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_version int NOT NULL DEFAULT 0 CHECK (last_version >= 0),  -- numbers are never given out twice
    settings     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object')
);
COMMENT ON TABLE ltv.models IS 'one row per model; settings hold its promotion rule, how many versions to keep, thresholds';

CREATE TABLE ltv.versions (
    model            text NOT NULL REFERENCES ltv.models ON DELETE CASCADE,
    version          int NOT NULL CHECK (version > 0),
    checksum         text NOT NULL,
    onnx             bytea NOT NULL,
    source           text NOT NULL DEFAULT 'trained' CHECK (source IN ('trained', 'imported')),
    objective        text,
    backbone         text,
    schema           jsonb NOT NULL,
    recipe           jsonb NOT NULL DEFAULT '{}',
    statistics       jsonb NOT NULL DEFAULT '{}',
    metrics          jsonb NOT NULL DEFAULT '{}',
    history          jsonb NOT NULL DEFAULT '{}',
    weights          bytea,
    n_rows           bigint,
    training_seconds float8,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by       name NOT NULL DEFAULT current_user,
    job              bigint,  -- no foreign key: versions outlive the job log
    pg_ltv_version   text,
    PRIMARY KEY (model, version),
    CONSTRAINT versions_checksum CHECK (checksum = encode(sha256(onnx), 'hex'))
);
COMMENT ON TABLE ltv.versions IS 'one immutable row per version of a model, with everything needed to judge and to score it';
-- Graphs and weights do not compress; stored plainly they are read without a detour.
ALTER TABLE ltv.versions ALTER onnx SET STORAGE EXTERNAL, ALTER weights SET STORAGE EXTERNAL;

CREATE TABLE ltv.aliases (
    model   text NOT NULL REFERENCES ltv.models ON DELETE CASCADE,
    alias   text NOT NULL CHECK (alias ~ '^[a-z_][a-z0-9_.-]{0,62}$'),
    version int NOT NULL,
    share   float8 CHECK (share > 0 AND share <= 1),  -- of the customers, whom it scores instead of the champion
    id_column text,  -- whose value decides which customers these are
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES ltv.versions,
    CHECK (share IS NULL OR alias = 'challenger')
);
COMMENT ON TABLE ltv.aliases IS 'names of versions; champion is the one that ltv_predict uses';
CREATE INDEX ON ltv.aliases (model, version);

CREATE TABLE ltv.promotions (
    promotion    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text NOT NULL REFERENCES ltv.models ON DELETE CASCADE,
    alias        text NOT NULL,
    from_version int,  -- NULL: the alias was new
    to_version   int,  -- NULL: the alias was removed
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    by           name NOT NULL DEFAULT current_user,
    reason       text,
    undoes       bigint  -- the promotion that this rollback takes back
);
COMMENT ON TABLE ltv.promotions IS 'every change of an alias: who, when, from, to, why';
CREATE INDEX ON ltv.promotions (model, alias, promotion);

CREATE TABLE ltv.privileges (
    model     text NOT NULL REFERENCES ltv.models ON DELETE CASCADE,
    grantee   name NOT NULL,  -- a role, or public
    privilege text NOT NULL CHECK (privilege IN ('predict', 'read')),
    PRIMARY KEY (model, grantee, privilege)
);
COMMENT ON TABLE ltv.privileges IS 'who besides the owner may score with a model (predict) or also look into it (read, which includes predict)';

CREATE TABLE ltv.jobs (
    job              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text NOT NULL,
    kind             text NOT NULL DEFAULT 'train' CHECK (kind ~ '^[a-z_]+$'),
    status           text NOT NULL DEFAULT 'queued'
                     CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'lost')),
    owner            name NOT NULL DEFAULT current_user,
    login            name NOT NULL DEFAULT session_user,
    settings         jsonb NOT NULL DEFAULT '{}',
    recipe           jsonb NOT NULL DEFAULT '{}',
    xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    pid              int,
    version          int,
    cancel_requested bool NOT NULL DEFAULT false,
    sqlstate         text,
    message          text,
    detail           text,
    hint             text
);
COMMENT ON TABLE ltv.jobs IS 'the queue of training jobs and its log';
CREATE INDEX jobs_open ON ltv.jobs (job) WHERE status IN ('queued', 'running');
CREATE INDEX ON ltv.jobs (model);

CREATE TABLE ltv.job_progress (
    job             bigint PRIMARY KEY REFERENCES ltv.jobs ON DELETE CASCADE,
    phase           text CHECK (phase IN ('reading', 'preprocessing', 'training', 'validating', 'exporting', 'storing')),
    epoch           int,
    epochs          int,
    rows            bigint,
    rows_per_second float8,
    training_loss   float8,
    validation_loss float8,
    eta             interval,
    memory_bytes    bigint,
    step            text,  -- which candidate of a comparison
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ltv.job_progress IS 'what a running job is doing; apart from ltv.jobs so that reporting never waits for a lock on the job';

CREATE TABLE ltv.feature_definitions (
    name       text PRIMARY KEY,  -- schema-qualified, quoted where needed
    owner      name NOT NULL DEFAULT current_user,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ltv.feature_definitions IS 'how each feature relation was made, so that it can be made again for another day';

-- Who may do what ------------------------------------------------------------------------------------------------

CREATE FUNCTION ltv.is_member(of_role name, role name DEFAULT current_user) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $1 AND pg_has_role($2, r.oid, 'MEMBER')) $$;
COMMENT ON FUNCTION ltv.is_member IS 'whether role may act as of_role; false, not an error, where of_role was dropped';

-- SECURITY DEFINER because the policies of the tables it reads call it. The role is an argument, evaluated by the
-- caller, because current_user would be the definer in here.
CREATE FUNCTION ltv.has_privilege(model text, privilege text, role name DEFAULT current_user) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM ltv.models m WHERE m.model = $1 AND (ltv.is_member(m.owner, $3)
                   -- Superusers own what belongs to a role that was dropped, too.
                   OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $3 AND r.rolsuper)))
        OR EXISTS (SELECT FROM ltv.privileges p
                   WHERE p.model = $1 AND (p.privilege = $2 OR (p.privilege = 'read' AND $2 = 'predict'))
                     AND (p.grantee = 'public' OR ltv.is_member(p.grantee, $3)))
$$;
COMMENT ON FUNCTION ltv.has_privilege IS 'whether role has a privilege on a model: owner, read or predict';

CREATE FUNCTION ltv.model_owner(model text) RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT m.owner FROM ltv.models m WHERE m.model = $1 $$;
COMMENT ON FUNCTION ltv.model_owner IS 'the owner of a model, NULL where there is no such model';

CREATE FUNCTION ltv.check_model(model text, privilege text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF model IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the model must not be null';
    ELSIF ltv.has_privilege(model, privilege, current_user) THEN
        RETURN;
    ELSIF ltv.model_owner(model) IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('model "%s" does not exist', model),
            HINT = 'The view ltv_models lists the models that you may use; ltv_train makes a new one.';
    ELSIF privilege = 'owner' THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of model "%s"', model),
            DETAIL = format('The model belongs to role "%s".', ltv.model_owner(model));
    ELSE
        RAISE insufficient_privilege USING MESSAGE = format('permission denied for model "%s"', model),
            DETAIL = format('Role "%s" lacks the privilege %s.', current_user, privilege),
            HINT = format('Its owner can run: SELECT ltv_grant(%L, %L, %L);', model, current_user, privilege);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_model IS 'an error unless the current role has the privilege (owner, read or predict) on the model';

GRANT SELECT, INSERT, UPDATE, DELETE ON ltv.models, ltv.aliases, ltv.privileges, ltv.feature_definitions TO PUBLIC;
GRANT SELECT, INSERT, DELETE ON ltv.versions TO PUBLIC;
GRANT SELECT, INSERT ON ltv.promotions TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON ltv.job_progress TO PUBLIC;
-- What a job runs as, and what it runs, cannot be changed once it is queued.
GRANT SELECT, INSERT, DELETE, UPDATE (status, started_at, finished_at, pid, version, cancel_requested, sqlstate, message,
    detail, hint) ON ltv.jobs TO PUBLIC;

ALTER TABLE ltv.models ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON ltv.models FOR SELECT
    USING (ltv.is_member(owner) OR ltv.has_privilege(model, 'predict', current_user));
CREATE POLICY own ON ltv.models USING (ltv.is_member(owner)) WITH CHECK (ltv.is_member(owner));

ALTER TABLE ltv.versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON ltv.versions FOR SELECT USING (ltv.has_privilege(model, 'read', current_user));
CREATE POLICY own ON ltv.versions USING (ltv.has_privilege(model, 'owner', current_user));

ALTER TABLE ltv.aliases ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON ltv.aliases FOR SELECT USING (ltv.has_privilege(model, 'predict', current_user));
CREATE POLICY own ON ltv.aliases USING (ltv.has_privilege(model, 'owner', current_user));

ALTER TABLE ltv.promotions ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON ltv.promotions FOR SELECT USING (ltv.has_privilege(model, 'read', current_user));
CREATE POLICY own ON ltv.promotions FOR INSERT
    WITH CHECK (ltv.has_privilege(model, 'owner', current_user) AND by = current_user);

ALTER TABLE ltv.privileges ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON ltv.privileges FOR SELECT USING (grantee = 'public' OR ltv.is_member(grantee));
CREATE POLICY own ON ltv.privileges USING (ltv.has_privilege(model, 'owner', current_user));

-- A worker runs a job as its owner: nobody may queue one in another role's name.
ALTER TABLE ltv.jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON ltv.jobs FOR SELECT USING (ltv.is_member(owner));
CREATE POLICY queue ON ltv.jobs FOR INSERT
    WITH CHECK (owner = current_user AND login = session_user AND status = 'queued' AND xid = pg_current_xact_id());
CREATE POLICY change ON ltv.jobs FOR UPDATE USING (ltv.is_member(owner));
CREATE POLICY forget ON ltv.jobs FOR DELETE USING (ltv.is_member(owner) AND status NOT IN ('queued', 'running'));

ALTER TABLE ltv.job_progress ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON ltv.job_progress USING (EXISTS (SELECT FROM ltv.jobs j WHERE j.job = job_progress.job));

ALTER TABLE ltv.feature_definitions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON ltv.feature_definitions USING (ltv.is_member(owner)) WITH CHECK (ltv.is_member(owner));

-- Triggers -------------------------------------------------------------------------------------------------------

CREATE FUNCTION ltv.refuse_update() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE object_not_in_prerequisite_state USING MESSAGE = 'a version of a model cannot be changed',
        DETAIL = 'Scores must stay reproducible, and cached sessions rely on it.',
        HINT = 'Train or import a new version and move an alias to it with ltv_set_alias.';
END
$$;
CREATE TRIGGER immutable BEFORE UPDATE ON ltv.versions FOR EACH STATEMENT EXECUTE FUNCTION ltv.refuse_update();

-- Sessions everywhere, on standbys too, forget what they resolved names to.
CREATE FUNCTION ltv.invalidate() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_invalidate';
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ltv.models
    FOR EACH STATEMENT EXECUTE FUNCTION ltv.invalidate();
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ltv.versions
    FOR EACH STATEMENT EXECUTE FUNCTION ltv.invalidate();
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ltv.aliases
    FOR EACH STATEMENT EXECUTE FUNCTION ltv.invalidate();
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ltv.privileges
    FOR EACH STATEMENT EXECUTE FUNCTION ltv.invalidate();

-- Dumps ----------------------------------------------------------------------------------------------------------

SELECT pg_catalog.pg_extension_config_dump('ltv.models', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.versions', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.aliases', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.promotions', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.promotions_promotion_seq', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.privileges', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.feature_definitions', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.jobs_job_seq', '');
-- A job that has not finished belongs to this cluster; it must not start again where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('ltv.jobs', $$WHERE status NOT IN ('queued', 'running')$$);
SELECT pg_catalog.pg_extension_config_dump('ltv.job_progress',
    $$WHERE job IN (SELECT job FROM ltv.jobs WHERE status NOT IN ('queued', 'running'))$$);
