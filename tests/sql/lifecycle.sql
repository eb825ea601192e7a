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

SET ROLE ltv_owner;
INSERT INTO ltv.models (model, last_version) VALUES ('m', 4);
SELECT make_version('m', v) FROM generate_series(1, 4) v;
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

-- Others see nothing until they are let in.
SET ROLE ltv_reader;
SELECT count(*) FROM ltv_models;
SELECT count(*) FROM ltv.versions;
SELECT * FROM fails($$SELECT ltv_training_info('m')$$);
SELECT * FROM fails($$SELECT ltv_training_info('no_such')$$);
SELECT * FROM fails($$SELECT ltv_set_alias('m', 2)$$);
SELECT * FROM fails($$SELECT ltv_drop_model('m')$$);
SELECT * FROM fails($$SELECT ltv_grant('m', 'ltv_reader', 'read')$$);
SELECT * FROM fails($$INSERT INTO ltv.privileges VALUES ('m', 'ltv_reader', 'read')$$);
SELECT * FROM fails($$INSERT INTO ltv.jobs (model, owner) VALUES ('m', 'ltv_owner')$$);
SELECT * FROM fails($$UPDATE ltv.jobs SET owner = 'ltv_owner'$$);
UPDATE ltv.models SET owner = 'ltv_reader';
DELETE FROM ltv.models;
SELECT * FROM fails($$INSERT INTO ltv.aliases VALUES ('m', 'x', 1)$$);
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
SELECT ltv_revoke('m', 'public'), ltv_revoke('m', 'ltv_reader', 'predict');
SELECT privileges FROM ltv_models;
SET ROLE ltv_member;
SELECT count(*) FROM ltv_versions;
SELECT ltv_set_alias('m', 2);

SELECT c.call, f.* FROM (VALUES
    ($$ltv_set_alias(NULL, 1)$$), ($$ltv_set_alias('no_such', 1)$$), ($$ltv_set_alias('m', NULL)$$), ($$ltv_set_alias('m', 99)$$),
    ($$ltv_set_alias('m', 1, '7')$$), ($$ltv_set_alias('m', 1, NULL)$$), ($$ltv_drop_alias('m', 'nobody')$$), ($$ltv_rollback('m', 'nobody')$$),
    ($$ltv_drop_version('m', 99)$$), ($$ltv_drop_version('m', NULL)$$), ($$ltv_drop_model(NULL)$$), ($$ltv_drop_model('no_such')$$),
    ($$ltv_grant('m', 'no_such_role')$$), ($$ltv_grant('m', NULL)$$), ($$ltv_grant('m', 'public', 'write')$$), ($$ltv_revoke('m', 'public', 'write')$$),
    ($$ltv_set_owner('m', 'no_such_role')$$), ($$ltv_set_owner('m', 'ltv_reader')$$),
    ($$ltv_training_info('m', 99)$$), ($$ltv_feature_info('no_such')$$)) c(call), fails('SELECT ' || c.call) f;

-- A model of a role that was dropped hides from everybody but superusers, and breaks nothing.
RESET ROLE;
INSERT INTO ltv.models (model, owner) VALUES ('orphan', 'gone');
SET ROLE ltv_member;
SELECT model FROM ltv_models;
RESET ROLE;
SELECT model, owner FROM ltv_models ORDER BY 1;
SELECT * FROM fails($$SELECT ltv_training_info('orphan')$$);
SET ROLE ltv_member;
SELECT * FROM fails($$SELECT ltv_training_info('orphan')$$);
RESET ROLE;
SELECT ltv_set_owner('orphan', 'ltv_reader');

-- Dropping all of it, jobs included.
SET ROLE ltv_owner;
INSERT INTO ltv.jobs (model) VALUES ('m');
SELECT ltv_drop_model('m');
SELECT (SELECT count(*) FROM ltv.versions) AS versions, (SELECT count(*) FROM ltv.aliases) AS aliases, (SELECT count(*) FROM ltv.promotions) AS promotions;
SELECT model, status FROM ltv_jobs;
RESET ROLE;
SELECT ltv_drop_model('orphan');
DELETE FROM ltv.jobs;
DROP ROLE ltv_owner, ltv_reader, ltv_member;
