-- The catalog: models, their immutable versions, aliases, jobs and privileges.
--
-- It is closed: nobody but its owner has rights on these tables, for a right to read is a right to lock. Functions
-- check who calls and write; views show what the caller may see. What belongs together is checked by these functions
-- and not by foreign keys, because a parallel restore fills the tables of an extension in any order. Roles and
-- relations are kept by oid, of types that a dump writes as names.

\echo Use "CREATE EXTENSION pg_ltv" to load this file. \quit

-- The schema that the extension goes into may be one in which others create, too: functions and operators of theirs
-- that fit better than PostgreSQL's would run here as a superuser, and stay in views and functions of ours.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Models and ONNX graphs are in UTF-8, and so is everything that the library compares with them.
DO $$
BEGIN
    IF getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_conversion c
        WHERE c.condefault AND c.conforencoding = pg_char_to_encoding(getdatabaseencoding())
        AND c.contoencoding = pg_char_to_encoding('UTF8')) THEN
        RAISE feature_not_supported USING
            MESSAGE = format('pg_ltv does not support databases in the encoding %s', getdatabaseencoding()),
            DETAIL = 'PostgreSQL has no conversion between it and UTF-8.',
            HINT = 'Use a database with another encoding: CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

CREATE SCHEMA ltv;
COMMENT ON SCHEMA ltv IS 'tables and internal functions of pg_ltv';
GRANT USAGE ON SCHEMA ltv TO PUBLIC;

-- Tables ---------------------------------------------------------------------------------------------------------

CREATE TABLE ltv.models (
    model         text PRIMARY KEY CHECK (model <> '' AND octet_length(model) <= 200),
    owner         regrole NOT NULL DEFAULT quote_ident(current_user)::regrole,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_version  int NOT NULL DEFAULT 0 CHECK (last_version >= 0),  -- numbers are never given out twice
    settings      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    alert_channel text NOT NULL DEFAULT 'ltv_alerts_' || translate(gen_random_uuid()::text, '-', '')
);
COMMENT ON TABLE ltv.models
    IS 'one row per model; settings hold its promotion rule, how many versions to keep, thresholds';

-- A pinned prediction is immutable, so a version that somebody once scored with must not become another one.
CREATE TABLE ltv.dropped_models (
    model        text PRIMARY KEY,
    last_version int NOT NULL
);
COMMENT ON TABLE ltv.dropped_models
    IS 'the last version number of each model that was dropped: a new model of that name goes on counting';

CREATE TABLE ltv.versions (
    model            text NOT NULL,
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
    created_by       regrole NOT NULL DEFAULT quote_ident(current_user)::regrole,
    job              bigint,
    pg_ltv_version   text,
    PRIMARY KEY (model, version),
    CONSTRAINT versions_checksum CHECK (checksum = encode(sha256(onnx), 'hex'))
);
COMMENT ON TABLE ltv.versions
    IS 'one immutable row per version of a model, with everything needed to judge and to score it';
-- Graphs and weights do not compress; stored plainly they are read without a detour.
ALTER TABLE ltv.versions ALTER onnx SET STORAGE EXTERNAL, ALTER weights SET STORAGE EXTERNAL;

CREATE TABLE ltv.aliases (
    model     text NOT NULL,
    alias     text NOT NULL CHECK (alias ~ '^[a-z_][a-z0-9_.-]{0,62}$'),
    version   int NOT NULL,
    share     float8 CHECK (share > 0 AND share <= 1),  -- of the customers, whom it scores instead of the champion
    id_column text,  -- whose value decides which customers these are
    PRIMARY KEY (model, alias),
    CHECK (share IS NULL OR alias = 'challenger')
);
COMMENT ON TABLE ltv.aliases IS 'names of versions; champion is the one that ltv_predict uses';
CREATE INDEX ON ltv.aliases (model, version);

CREATE TABLE ltv.promotions (
    promotion    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model        text NOT NULL,
    alias        text NOT NULL,
    from_version int,  -- NULL: the alias was new
    to_version   int,  -- NULL: the alias was removed
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    by           regrole NOT NULL DEFAULT quote_ident(current_user)::regrole,
    reason       text,
    undoes       bigint  -- the promotion that this rollback takes back
);
COMMENT ON TABLE ltv.promotions IS 'every change of an alias: who, when, from, to, why';
CREATE INDEX ON ltv.promotions (model, alias, promotion);

CREATE TABLE ltv.privileges (
    model     text NOT NULL,
    grantee   regrole NOT NULL,  -- 0 is everybody
    privilege text NOT NULL CHECK (privilege IN ('predict', 'read')),
    PRIMARY KEY (model, grantee, privilege)
);
COMMENT ON TABLE ltv.privileges
    IS 'who besides the owner may score with a model (predict) or also look into it (read, which includes predict)';

CREATE TABLE ltv.jobs (
    job              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model            text NOT NULL,
    kind             text NOT NULL DEFAULT 'train' CHECK (kind ~ '^[a-z_]+$'),
    status           text NOT NULL DEFAULT 'queued'
                     CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'lost')),
    owner            regrole NOT NULL DEFAULT quote_ident(current_user)::regrole,  -- as whom it runs
    login            regrole NOT NULL DEFAULT quote_ident(session_user)::regrole,  -- who had logged in, for the record
    database         oid,  -- where it was queued: a copy of the database does not run it again
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
    job             bigint PRIMARY KEY,
    phase           text
                    CHECK (phase IN ('reading', 'preprocessing', 'training', 'validating', 'exporting', 'storing')),
    epoch           int,
    epochs          int,
    rows            bigint,
    rows_read       bigint,
    rows_per_second float8,
    training_loss   float8,
    validation_loss float8,
    eta             interval,
    memory_bytes    bigint,
    step            text,  -- which candidate of a comparison, which network of an ensemble
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ltv.job_progress
    IS 'what a running job is doing; apart from ltv.jobs so that reporting never waits for a lock on the job';

CREATE TABLE ltv.feature_definitions (
    relation   regclass PRIMARY KEY,
    definition jsonb NOT NULL,
    orders     regclass,  -- what it reads, where that is a relation and not a query
    attributes regclass,
    customers  regclass,
    events     regclass[],  -- one for each log, NULL for a query
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ltv.feature_definitions
    IS 'how each feature relation was made, so that it can be made again for another day; '
       'it belongs to the owner of the relation';

-- Who may do what ------------------------------------------------------------------------------------------------

-- A function that must write the catalog on behalf of its caller is declared with this symbol. It calls the
-- function in schema ltv of the same name (without "ltv_") and arguments whose first one is the caller. That one
-- runs as the catalog's owner, is executable by nobody else (see 99_rights.sql), and checks what its caller may do:
-- SECURITY DEFINER alone would have forgotten who calls.

CREATE FUNCTION ltv.has_privilege(model text, privilege text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_has_privilege';
COMMENT ON FUNCTION ltv.has_privilege(text, text)
    IS 'whether the current role has a privilege on a model: predict, read or owner';

CREATE FUNCTION ltv.has_privilege(caller regrole, model text, privilege text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_has_privilege';
COMMENT ON FUNCTION ltv.has_privilege(regrole, text, text)
    IS 'whether a role has a privilege on a model: predict, read or owner';

CREATE FUNCTION ltv.check_model(model text, privilege text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_check_model';
COMMENT ON FUNCTION ltv.check_model(text, text)
    IS 'an error unless the current role has the privilege (predict, read or owner) on the model';

CREATE FUNCTION ltv.check_model(caller regrole, model text, privilege text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_check_model';
COMMENT ON FUNCTION ltv.check_model(regrole, text, text)
    IS 'an error unless a role has the privilege (predict, read or owner) on the model';

CREATE FUNCTION ltv.check_role(caller regrole, role regrole) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_check_role';
COMMENT ON FUNCTION ltv.check_role IS 'an error unless the caller could become the role with SET ROLE';

-- Views filter by the role that reads them, while their owner's rights reach the tables.
CREATE VIEW ltv.usable_models WITH (security_barrier) AS
SELECT m.* FROM ltv.models m WHERE ltv.has_privilege(m.model, 'predict');
COMMENT ON VIEW ltv.usable_models IS 'the models that the current role may score with';

CREATE VIEW ltv.usable_aliases WITH (security_barrier) AS
SELECT a.* FROM ltv.aliases a WHERE ltv.has_privilege(a.model, 'predict');
COMMENT ON VIEW ltv.usable_aliases IS 'the aliases of the models that the current role may score with';

CREATE VIEW ltv.readable_versions WITH (security_barrier) AS
SELECT v.* FROM ltv.versions v WHERE ltv.has_privilege(v.model, 'read');
COMMENT ON VIEW ltv.readable_versions IS 'the versions that the current role may look into';

CREATE VIEW ltv.readable_promotions WITH (security_barrier) AS
SELECT p.* FROM ltv.promotions p WHERE ltv.has_privilege(p.model, 'read');
COMMENT ON VIEW ltv.readable_promotions
    IS 'the history of the aliases of the models that the current role may look into';

CREATE VIEW ltv.own_jobs WITH (security_barrier) AS
SELECT j.* FROM ltv.jobs j WHERE pg_has_role(current_user, j.owner, 'USAGE');
COMMENT ON VIEW ltv.own_jobs IS 'the jobs of the current role and of those whose rights it has';

CREATE VIEW ltv.own_job_progress WITH (security_barrier) AS
SELECT p.* FROM ltv.job_progress p JOIN ltv.own_jobs j USING (job);
COMMENT ON VIEW ltv.own_job_progress IS 'the progress of the jobs of the current role and of those whose rights it has';

GRANT SELECT ON
    ltv.usable_models, ltv.usable_aliases, ltv.readable_versions, ltv.readable_promotions, ltv.own_jobs,
    ltv.own_job_progress
TO PUBLIC;

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
COMMENT ON FUNCTION ltv.refuse_update IS 'keeps versions immutable';
CREATE TRIGGER immutable BEFORE UPDATE ON ltv.versions FOR EACH STATEMENT EXECUTE FUNCTION ltv.refuse_update();

-- Sessions everywhere, on standbys too, forget what they resolved names to.
CREATE FUNCTION ltv.invalidate() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_invalidate';
COMMENT ON FUNCTION ltv.invalidate IS 'tells every session to look up models again';
-- A subscriber of logical replication fires triggers of rows only, where it does not copy or
-- truncate, and of these only those that are meant for it.
DO $$
DECLARE
    watched regclass;
BEGIN
    FOREACH watched IN ARRAY '{ltv.models,ltv.versions,ltv.aliases,ltv.privileges}'::regclass[] LOOP
        EXECUTE format(
            'CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION ltv.invalidate()', watched);
        EXECUTE format(
            'CREATE TRIGGER invalidate_applied AFTER INSERT OR UPDATE OR DELETE ON %s '
            'FOR EACH ROW EXECUTE FUNCTION ltv.invalidate()', watched);
        EXECUTE format(
            'ALTER TABLE %s ENABLE ALWAYS TRIGGER invalidate, ENABLE REPLICA TRIGGER invalidate_applied', watched);
    END LOOP;
END
$$;

-- Dumps ----------------------------------------------------------------------------------------------------------

SELECT pg_catalog.pg_extension_config_dump('ltv.models', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.dropped_models', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.versions', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.aliases', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.promotions', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.promotions_promotion_seq', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.privileges', '');
-- The oid of a relation that is gone would be another relation's where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('ltv.feature_definitions',
    'WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)');
SELECT pg_catalog.pg_extension_config_dump('ltv.jobs_job_seq', '');
-- A job that has not finished belongs to this cluster; it must not start again where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('ltv.jobs', $$WHERE status NOT IN ('queued', 'running')$$);
SELECT pg_catalog.pg_extension_config_dump('ltv.job_progress',
    $$WHERE job IN (SELECT job FROM ltv.jobs WHERE status NOT IN ('queued', 'running'))$$);
