-- Traffic: a stable share of the customers is scored by the challenger instead of the champion.
--
-- A customer's id decides, so that the same customers get the same version in every session, as long as the share stays;
-- when it grows, customers only move to the challenger.

CREATE FUNCTION @extschema@.ltv_set_traffic(model text, challenger_share float8) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(model, 'owner');
    IF challenger_share NOT BETWEEN 0 AND 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the share of the challenger must be between 0 and 1, but is %s', challenger_share);
    ELSIF challenger_share > 0 AND NOT EXISTS (SELECT FROM ltv.aliases a WHERE a.model = ltv_set_traffic.model AND a.alias = 'challenger') THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('model "%s" has no challenger', model),
            HINT = 'Choose one with ltv_set_alias(model, version, ''challenger''), or train one with ltv_retrain.';
    END IF;
    PERFORM ltv.change_settings(model, jsonb_build_object('challenger_share', NULLIF(challenger_share, 0)));
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_set_traffic IS 'sends a stable share of the customers to the challenger; 0 or null ends that';

-- From 0 to 1, the same for a customer for ever.
CREATE FUNCTION ltv.customer_position(customer_id text) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT ('x' || pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to('traffic:' || customer_id, 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0::float8 $$;
COMMENT ON FUNCTION ltv.customer_position IS 'a number from 0 to 1 that belongs to a customer';

CREATE VIEW @extschema@.ltv_traffic WITH (security_invoker = true) AS
SELECT m.model, c.version AS champion, d.version AS challenger,
       CASE WHEN d.version IS NULL THEN 0 ELSE COALESCE((m.settings ->> 'challenger_share')::float8, 0) END AS challenger_share
FROM ltv.models m LEFT JOIN ltv.aliases c ON c.model = m.model AND c.alias = 'champion'
LEFT JOIN ltv.aliases d ON d.model = m.model AND d.alias = 'challenger';
COMMENT ON VIEW @extschema@.ltv_traffic IS 'champion, challenger and the share of customers that the challenger scores';
GRANT SELECT ON @extschema@.ltv_traffic TO PUBLIC;

CREATE FUNCTION @extschema@.ltv_assigned_version(model text, customer_id text) RETURNS int
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t record;
BEGIN
    SELECT * INTO t FROM @extschema@.ltv_traffic v WHERE v.model = ltv_assigned_version.model;
    IF t.champion IS NULL THEN
        PERFORM ltv.check_model(model, 'predict');
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('model "%s" has no champion', model),
            HINT = 'Wait for its training with ltv_wait, or choose a version with ltv_set_alias.';
    END IF;
    RETURN CASE WHEN ltv.customer_position(customer_id) < t.challenger_share THEN t.challenger ELSE t.champion END;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_assigned_version IS 'the version that scores a customer: ltv_predict(model, ltv_assigned_version(model, customer_id), row)';
