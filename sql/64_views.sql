-- What there is: the views of models, versions and promotions, and what a version is made of.

CREATE FUNCTION ltv.granted(model text) RETURNS text[]
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.granted(text) IS 'what was granted on a model, as far as the current role may see it';

CREATE FUNCTION ltv.granted(caller regrole, model text) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(SELECT CASE WHEN p.grantee = 0 THEN 'public' ELSE pg_get_userbyid(p.grantee) END || '=' || p.privilege
                 FROM ltv.privileges p WHERE p.model = $2
                 AND (ltv.has_privilege($1, $2, 'owner') OR p.grantee = 0 OR pg_has_role($1, p.grantee, 'USAGE'))
                 ORDER BY 1)
$$;
COMMENT ON FUNCTION ltv.granted(regrole, text)
    IS 'what was granted on a model: all of it to its owner, to others what they have';

-- What the jobs of a model say of it while it has no version.
CREATE FUNCTION ltv.training_state(model text) RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.training_state(text) IS 'how the last training of a model stands';

CREATE FUNCTION ltv.training_state(caller regrole, model text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE((SELECT CASE WHEN j.status IN ('queued', 'running') THEN 'in training'
                                 ELSE 'training ' || j.status END
                     FROM ltv.jobs j WHERE j.model = $2 AND ltv.has_privilege($1, $2, 'predict')
                     ORDER BY j.job DESC LIMIT 1), 'never trained')
$$;
COMMENT ON FUNCTION ltv.training_state(regrole, text)
    IS 'how the last training of a model stands, if the caller may use it';

-- A name belongs to whoever queues the first training for it, so it stands here
-- before it has a version; the state says so.
CREATE VIEW @extschema@.ltv_models WITH (security_invoker = true) AS
SELECT m.model, pg_get_userbyid(m.owner) AS owner,
       CASE WHEN c.version IS NOT NULL THEN 'ready' WHEN m.last_version > 0 THEN 'no champion'
            ELSE ltv.training_state(m.model) END AS state,
       c.version AS champion, d.version AS challenger, v.versions, v.last_version, v.last_trained_at,
       m.created_at, m.settings,
       ltv.granted(m.model) AS privileges,
       CASE WHEN ltv.has_privilege(m.model, 'read') THEN m.alert_channel END AS alert_channel
FROM ltv.usable_models m
LEFT JOIN ltv.usable_aliases c ON c.model = m.model AND c.alias = 'champion'
LEFT JOIN ltv.usable_aliases d ON d.model = m.model AND d.alias = 'challenger',
     LATERAL (SELECT count(*) AS versions, max(r.version) AS last_version, max(r.created_at) AS last_trained_at
              FROM ltv.readable_versions r WHERE r.model = m.model) v;
COMMENT ON VIEW @extschema@.ltv_models IS 'the models that you may use';
COMMENT ON COLUMN @extschema@.ltv_models.model IS 'its name';
COMMENT ON COLUMN @extschema@.ltv_models.owner IS 'the role that owns it';
COMMENT ON COLUMN @extschema@.ltv_models.state
    IS 'ready, no champion, in training, training failed, never trained and the like';
COMMENT ON COLUMN @extschema@.ltv_models.champion IS 'the version that ltv_predict uses';
COMMENT ON COLUMN @extschema@.ltv_models.challenger IS 'the version that waits to replace it';
COMMENT ON COLUMN @extschema@.ltv_models.versions IS 'how many versions you may look into';
COMMENT ON COLUMN @extschema@.ltv_models.last_version IS 'the newest of them';
COMMENT ON COLUMN @extschema@.ltv_models.last_trained_at IS 'when the newest one was made';
COMMENT ON COLUMN @extschema@.ltv_models.created_at IS 'when the model was made';
COMMENT ON COLUMN @extschema@.ltv_models.settings IS 'its promotion rule, thresholds and how many versions to keep';
COMMENT ON COLUMN @extschema@.ltv_models.privileges
    IS 'what was granted, as role=privilege: all of it to the owner, to others what they have';
COMMENT ON COLUMN @extschema@.ltv_models.alert_channel
    IS 'the channel to LISTEN to for alerts; NULL unless you may read the model';
GRANT SELECT ON @extschema@.ltv_models TO PUBLIC;

CREATE VIEW @extschema@.ltv_versions WITH (security_invoker = true) AS
SELECT v.model, v.version,
       ARRAY(SELECT a.alias FROM ltv.usable_aliases a
             WHERE a.model = v.model AND a.version = v.version ORDER BY a.alias) AS aliases,
       v.source, v.objective, v.backbone, v.metrics, v.n_rows, v.training_seconds,
       octet_length(v.onnx) AS bytes, v.checksum,
       v.created_at, pg_get_userbyid(v.created_by) AS created_by, v.job, v.pg_ltv_version, v.schema, v.recipe
FROM ltv.readable_versions v;
COMMENT ON VIEW @extschema@.ltv_versions IS 'the versions that you may look into';
COMMENT ON COLUMN @extschema@.ltv_versions.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_versions.version IS 'its number, never given out twice';
COMMENT ON COLUMN @extschema@.ltv_versions.aliases IS 'the aliases that name it';
COMMENT ON COLUMN @extschema@.ltv_versions.source IS 'trained or imported';
COMMENT ON COLUMN @extschema@.ltv_versions.objective IS 'what was learnt; NULL where it was imported';
COMMENT ON COLUMN @extschema@.ltv_versions.backbone IS 'the shape of the network; NULL where there is none';
COMMENT ON COLUMN @extschema@.ltv_versions.metrics IS 'how good it was on customers held out of its training';
COMMENT ON COLUMN @extschema@.ltv_versions.n_rows IS 'rows that it was trained on';
COMMENT ON COLUMN @extschema@.ltv_versions.training_seconds IS 'how long the training took';
COMMENT ON COLUMN @extschema@.ltv_versions.bytes IS 'size of its ONNX graph';
COMMENT ON COLUMN @extschema@.ltv_versions.checksum IS 'SHA-256 of its ONNX graph';
COMMENT ON COLUMN @extschema@.ltv_versions.created_at IS 'when it was stored';
COMMENT ON COLUMN @extschema@.ltv_versions.created_by IS 'the role that made it';
COMMENT ON COLUMN @extschema@.ltv_versions.job IS 'the job that made it';
COMMENT ON COLUMN @extschema@.ltv_versions.pg_ltv_version IS 'the version of pg_ltv that made it';
COMMENT ON COLUMN @extschema@.ltv_versions.schema IS 'its inputs and outputs';
COMMENT ON COLUMN @extschema@.ltv_versions.recipe IS 'how it was trained: relation or query, columns and options';
GRANT SELECT ON @extschema@.ltv_versions TO PUBLIC;

CREATE VIEW @extschema@.ltv_promotions WITH (security_invoker = true) AS
SELECT p.promotion, p.model, p.alias, p.from_version, p.to_version, p.at,
       pg_get_userbyid(p.by) AS by, p.reason, p.undoes IS NOT NULL AS is_rollback
FROM ltv.readable_promotions p;
COMMENT ON VIEW @extschema@.ltv_promotions
    IS 'the history of aliases: who moved which, when, from where, to where and why';
COMMENT ON COLUMN @extschema@.ltv_promotions.promotion IS 'its number';
COMMENT ON COLUMN @extschema@.ltv_promotions.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_promotions.alias IS 'the alias that was moved';
COMMENT ON COLUMN @extschema@.ltv_promotions.from_version IS 'the version that it named before; NULL: it was new';
COMMENT ON COLUMN @extschema@.ltv_promotions.to_version IS 'the version that it names since; NULL: it was removed';
COMMENT ON COLUMN @extschema@.ltv_promotions.at IS 'when';
COMMENT ON COLUMN @extschema@.ltv_promotions.by IS 'the role that did it';
COMMENT ON COLUMN @extschema@.ltv_promotions.reason IS 'why; for a retraining with the metrics of both versions';
COMMENT ON COLUMN @extschema@.ltv_promotions.is_rollback IS 'whether it took another one back';
GRANT SELECT ON @extschema@.ltv_promotions TO PUBLIC;

-- One row per epoch of each network of the ensemble; training and validation
-- hold the parts of the loss and the metrics.
CREATE FUNCTION ltv.training_info(model text, version bigint)
RETURNS TABLE (
    member int, epoch int, training_loss float8, validation_loss float8, learning_rate float8, seconds float8,
    rows_per_second float8, training jsonb, validation jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted int := ltv.version_or_champion(model, version);
BEGIN
    RETURN QUERY
    SELECT (h.e ->> 'member')::int, (h.e ->> 'epoch')::int, (h.e #>> '{training,loss}')::float8,
           (h.e #>> '{validation,loss}')::float8,
           (h.e ->> 'learning_rate')::float8, (h.e ->> 'seconds')::float8, (h.e ->> 'rows_per_second')::float8,
           h.e -> 'training', h.e -> 'validation'
    FROM ltv.readable_versions v, jsonb_array_elements(COALESCE(v.history -> 'epochs', '[]')) WITH ORDINALITY AS h(e, i)
    WHERE v.model = training_info.model AND v.version = wanted ORDER BY h.i;
END
$$;
COMMENT ON FUNCTION ltv.training_info IS 'see ltv_training_info';

CREATE FUNCTION @extschema@.ltv_training_info(model text, version bigint DEFAULT NULL)
RETURNS TABLE (
    member int, epoch int, training_loss float8, validation_loss float8, learning_rate float8, seconds float8,
    rows_per_second float8, training jsonb, validation jsonb
)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_training_info
    IS 'how the training of a version went, epoch by epoch; of the champion by default';

CREATE FUNCTION ltv.feature_info(model text, version bigint)
RETURNS TABLE (
    feature text, kind text, type text, n bigint, missing float8, mean float8, std float8, min float8, max float8,
    quantiles float8[], categories jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted int := ltv.version_or_champion(model, version);
BEGIN
    RETURN QUERY
    SELECT i.e ->> 'name', i.e ->> 'kind', i.e ->> 'type', (s.e ->> 'n')::bigint,
           (s.e ->> 'missing')::float8, (s.e ->> 'mean')::float8,
           (s.e ->> 'std')::float8, (s.e ->> 'min')::float8, (s.e ->> 'max')::float8,
           CASE WHEN jsonb_typeof(s.e -> 'quantiles') = 'array'
                THEN ARRAY(SELECT q::float8
                           FROM jsonb_array_elements_text(s.e -> 'quantiles') WITH ORDINALITY AS x(q, o)
                           ORDER BY o) END,
           s.e -> 'categories'
    FROM ltv.readable_versions v
    CROSS JOIN LATERAL jsonb_array_elements(v.schema -> 'inputs') WITH ORDINALITY AS i(e, o)
    LEFT JOIN LATERAL jsonb_array_elements(v.statistics -> 'features') s(e) ON s.e ->> 'name' = i.e ->> 'name'
    WHERE v.model = feature_info.model AND v.version = wanted ORDER BY i.o;
END
$$;
COMMENT ON FUNCTION ltv.feature_info IS 'see ltv_feature_info';

CREATE FUNCTION @extschema@.ltv_feature_info(model text, version bigint DEFAULT NULL)
RETURNS TABLE (
    feature text, kind text, type text, n bigint, missing float8, mean float8, std float8, min float8, max float8,
    quantiles float8[], categories jsonb
)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_feature_info
    IS 'the features of a version as they were in training; of the champion by default';
