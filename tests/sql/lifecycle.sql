-- Versions, aliases, rollback, dropping, privileges. Versions are inserted here as a worker does it; none is scored.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE ltv_owner; CREATE ROLE ltv_reader; CREATE ROLE ltv_member IN ROLE ltv_owner;
CREATE FUNCTION make_version(model text, version int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO ltv.versions (model, version, checksum, onnx, schema, objective, backbone, history, statistics)
    SELECT model, version, encode(sha256(o), 'hex'), o, '{"inputs": [{"name": "recency", "kind": "numeric", "type": "integer"}, {"name": "country", "kind": "categorical", "type": "text"}]}',
        'ziln', 'mlp', '{"epochs": [{"member": 1, "epoch": 1, "training": {"loss": 2.5, "purchase": 0.5}, "validation": {"loss": 2.75, "auc": 0.75}, "learning_rate": 0.002, "seconds": 0.5}, {"member": 1, "epoch": 2, "training": {"loss": 2.25}}]}',
        '{"features": [{"name": "recency", "kind": "numeric", "n": 10, "missing": 0.1, "mean": 5, "std": 2, "min": 1, "max": 9, "quantiles": [1, 5, 9]}, {"name": "country", "n": 10, "missing": 0, "categories": {"DE": 0.5}}]}'
    FROM convert_to('graph ' || version, 'UTF8') o
$$;
CREATE FUNCTION fails(sql text, OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;

INSERT INTO ltv.models (model, owner, last_version) VALUES ('m', 'ltv_owner', 4);
SELECT make_version('m', v) FROM generate_series(1, 4) v;
SET ROLE ltv_owner;
SELECT model, owner, champion, challenger, versions, last_version FROM ltv_models;

-- Promotion, and rolling back as far as it goes.
SELECT ltv_set_alias('m', 1), ltv_set_alias('m', 2, reason => 'better'), ltv_set_alias('m', 4, 'challenger'), ltv_set_alias('m', 3), ltv_set_alias('m', 3);
SELECT model, version, aliases, objective, backbone, bytes FROM ltv_versions ORDER BY version;
SELECT ltv_rollback('m');
SELECT ltv_rollback('m');
SELECT * FROM fails($$SELECT ltv_rollback('m')$$);
SELECT ltv_set_alias('m', 4);
SELECT ltv_rollback('m', reason => 'complaints');
SELECT ltv_drop_alias('m', 'challenger');
SELECT model, alias, from_version, to_version, by, reason, is_rollback FROM ltv_promotions ORDER BY promotion;
SELECT * FROM ltv_training_info('m');
SELECT * FROM ltv_feature_info('m', 2);

-- What is in use cannot be dropped; a version cannot be changed; a checksum must be right.
SELECT * FROM fails($$SELECT ltv_drop_version('m', 1)$$);
SELECT ltv_drop_version('m', 4);
SELECT array_agg(version ORDER BY version) FROM ltv_versions;
RESET ROLE;
SELECT * FROM fails($$UPDATE ltv.versions SET n_rows = 1$$);
SELECT * FROM fails($$INSERT INTO ltv.versions (model, version, checksum, onnx, schema) VALUES ('m', 9, 'abc', 'x', '{}')$$) \gset bad_
SELECT :'bad_state' AS state, :'bad_message' LIKE '%versions_checksum%' AS checked;

-- Others see nothing until they are let in: a model of others is like one that does not exist.
SET ROLE ltv_reader;
SELECT count(*) FROM ltv_models;
SELECT count(*) FROM ltv_versions;
SELECT c.call, f.* FROM (VALUES ($$ltv_training_info('m')$$), ($$ltv_training_info('no_such')$$), ($$ltv_set_alias('m', 2)$$),
    ($$ltv_set_alias('no_such', 2)$$), ($$ltv_drop_model('m')$$), ($$ltv_drop_model('no_such')$$), ($$ltv_grant('m', 'ltv_reader', 'read')$$),
    ($$ltv_predict('m', '{}'::jsonb)$$), ($$ltv_predict('no_such', '{}'::jsonb)$$), ($$ltv_assigned_version('m', 'x')$$),
    ($$ltv_import_onnx('m', 'x'::bytea)$$)) c(call), fails('SELECT ' || c.call) f;

-- The tables of the catalog are closed, to owners of models too, and nobody can pretend to be called by somebody.
SET ROLE ltv_owner;
SELECT t.relname, f.state, f.message FROM pg_class t, LATERAL (VALUES ('SELECT FROM %s'), ('DELETE FROM %s'), ('LOCK TABLE %s IN ACCESS SHARE MODE'),
    ('LOCK TABLE %s IN ROW EXCLUSIVE MODE')) s(sql), fails(format(s.sql, t.oid::regclass)) f
WHERE t.relnamespace = 'ltv'::regnamespace AND t.relkind = 'r' AND f.state IS DISTINCT FROM '42501';
SELECT count(*) > 20 AS gated, count(*) FILTER (WHERE has_function_privilege(p.oid, 'EXECUTE')) AS open
FROM pg_proc p WHERE p.pronamespace = 'ltv'::regnamespace AND p.proargnames[1] = 'caller';
SELECT * FROM fails($$SELECT ltv.grant('ltv_owner'::regrole, 'm', 'ltv_reader', 'read')$$);
SET ROLE ltv_owner;
SELECT ltv_grant('m', 'ltv_reader');
SET ROLE ltv_reader;
SELECT model, champion, versions FROM ltv_models;
SELECT count(*) FROM ltv_versions;
SET ROLE ltv_owner;
SELECT ltv_grant('m', 'public', 'all');
SELECT privileges FROM ltv_models;
SET ROLE ltv_reader;
SELECT count(*) FROM ltv_versions;
SELECT count(*) FROM ltv_promotions;
SET ROLE ltv_owner;
-- Who loses predict loses read, which includes it.
SELECT ltv_grant('m', 'ltv_reader', 'read');
SELECT ltv_revoke('m', 'public'), ltv_revoke('m', 'ltv_reader', 'predict');
SELECT privileges FROM ltv_models;
SET ROLE ltv_member;
SELECT count(*) FROM ltv_versions;
SELECT ltv_set_alias('m', 2);

SELECT c.call, f.* FROM (VALUES
    ($$ltv_set_alias(NULL, 1)$$), ($$ltv_set_alias('no_such', 1)$$), ($$ltv_set_alias('m', NULL)$$), ($$ltv_set_alias('m', 99)$$),
    ($$ltv_set_alias('m', 1, '7')$$), ($$ltv_set_alias('m', 1, NULL)$$), ($$ltv_drop_alias('m', 'nobody')$$), ($$ltv_rollback('m', 'nobody')$$),
    ($$ltv_drop_version('m', 99)$$), ($$ltv_drop_version('m', NULL)$$), ($$ltv_drop_model(NULL)$$), ($$ltv_drop_model('no_such')$$),
    ($$ltv_grant('m', 'no_such_role')$$), ($$ltv_grant('m', NULL)$$), ($$ltv_grant('m', 'public', 'write')$$), ($$ltv_revoke('m', 'public', 'write')$$), ($$ltv_revoke('m', 'ltv_reader', NULL)$$), ($$ltv_revoke('m', NULL)$$),
    ($$ltv_set_owner('m', 'no_such_role')$$), ($$ltv_set_owner('m', 'ltv_reader')$$),
    ($$ltv_training_info('m', 99)$$), ($$ltv_feature_info('no_such')$$)) c(call), fails('SELECT ' || c.call) f;

-- A model of a role that was dropped hides from everybody but superusers, also from a new role of that name, and breaks nothing.
RESET ROLE;
CREATE ROLE ltv_gone;
INSERT INTO ltv.models (model, owner) VALUES ('orphan', 'ltv_gone');
ALTER ROLE ltv_gone RENAME TO ltv_renamed;
SET ROLE ltv_renamed;
SELECT model, owner FROM ltv_models;
RESET ROLE;
DROP ROLE ltv_renamed;
CREATE ROLE ltv_gone;
CREATE ROLE ltv_renamed;
SET ROLE ltv_gone;
SELECT model FROM ltv_models;
SET ROLE ltv_renamed;
SELECT model FROM ltv_models;
SET ROLE ltv_member;
SELECT model FROM ltv_models;
RESET ROLE;
SELECT model, regexp_replace(owner, '\d+', 'N') AS owner FROM ltv_models ORDER BY 1;
SELECT * FROM fails($$SELECT ltv_training_info('orphan')$$);
SET ROLE ltv_member;
SELECT * FROM fails($$SELECT ltv_training_info('orphan')$$);
RESET ROLE;
SELECT ltv_set_owner('orphan', 'ltv_reader');

-- Dropping all of it, jobs included. A number is not given out again, also to a new model of that name.
INSERT INTO ltv.jobs (model, owner) VALUES ('m', 'ltv_owner');
SET ROLE ltv_owner;
SELECT ltv_drop_model('m');
SELECT model, status FROM ltv_jobs;
RESET ROLE;
SELECT (SELECT count(*) FROM ltv.versions) AS versions, (SELECT count(*) FROM ltv.aliases) AS aliases, (SELECT count(*) FROM ltv.promotions) AS promotions,
       (SELECT count(*) FROM ltv.privileges) AS privileges;
SET ROLE ltv_owner;
SELECT ltv.claim_model('m');
SELECT model, versions FROM ltv_models;
RESET ROLE;
SELECT model, owner, last_version FROM ltv.models WHERE model = 'm';
SET ROLE ltv_reader;
SELECT * FROM fails($$SELECT ltv.claim_model('m')$$);
RESET ROLE;
SELECT ltv_drop_model('m'), ltv_drop_model('orphan');
SELECT * FROM ltv.dropped_models;
DELETE FROM ltv.jobs;
DROP ROLE ltv_owner, ltv_reader, ltv_member, ltv_gone, ltv_renamed;
