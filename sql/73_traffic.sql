-- Traffic: a stable share of the customers is scored by the challenger instead of the champion.
--
-- The share stands in the row of the alias "challenger", which scoring reads together with the champion's: a
-- statement sees both as they stood together, and the share ends when the challenger does. A customer's id
-- decides, so that the same customers get the same version in every session, as long as the share stays; when
-- it grows, customers only move to the challenger.

CREATE FUNCTION ltv.set_traffic(caller regrole, model text, challenger_share float8, id_column text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.lock_model(caller, model);
    IF challenger_share NOT BETWEEN 0 AND 1 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the share of the challenger must be between 0 and 1, but is %s', challenger_share);
    END IF;
    UPDATE ltv.aliases a
    SET share = NULLIF(challenger_share, 0),
        id_column = CASE WHEN challenger_share > 0 THEN COALESCE(set_traffic.id_column,
            (SELECT v.recipe ->> 'id_column'
             FROM ltv.versions v JOIN ltv.aliases c USING (model, version)
             WHERE c.model = a.model AND c.alias = 'champion')) END
    WHERE a.model = set_traffic.model AND a.alias = 'challenger';
    IF challenger_share > 0 AND NOT FOUND THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('model "%s" has no challenger', model),
            HINT = 'Choose one with ltv_set_alias(model, version, ''challenger''), or train one with ltv_retrain.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.set_traffic IS 'see ltv_set_traffic';

CREATE FUNCTION @extschema@.ltv_set_traffic(
    model text, challenger_share float8, id_column text DEFAULT NULL
) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_set_traffic
    IS 'lets the challenger score a stable share of the customers, '
       'told apart by the id column of the recipe or the one given; 0 or null ends that';

-- From 0 to 1, the same for a customer for ever.
CREATE FUNCTION ltv.customer_position(customer_id text) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ltv.customer_fraction('traffic:', customer_id);
COMMENT ON FUNCTION ltv.customer_position
    IS 'a number from 0 to 1 that belongs to a customer; scoring computes the same';

CREATE VIEW @extschema@.ltv_traffic WITH (security_invoker = true) AS
SELECT m.model, c.version AS champion, d.version AS challenger,
       CASE WHEN c.version <> d.version THEN COALESCE(d.share, 0) ELSE 0 END AS challenger_share, d.id_column
FROM ltv.usable_models m LEFT JOIN ltv.usable_aliases c ON c.model = m.model AND c.alias = 'champion'
LEFT JOIN ltv.usable_aliases d ON d.model = m.model AND d.alias = 'challenger';
COMMENT ON VIEW @extschema@.ltv_traffic IS 'champion, challenger and the share of customers that the challenger scores';
COMMENT ON COLUMN @extschema@.ltv_traffic.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_traffic.champion IS 'the version that scores everybody else';
COMMENT ON COLUMN @extschema@.ltv_traffic.challenger IS 'the version that is tried';
COMMENT ON COLUMN @extschema@.ltv_traffic.challenger_share
    IS 'share of the customers that the challenger scores, 0 to 1';
COMMENT ON COLUMN @extschema@.ltv_traffic.id_column IS 'the column whose value decides which customers these are';
GRANT SELECT ON @extschema@.ltv_traffic TO PUBLIC;

CREATE FUNCTION ltv.assigned_version(model text, customer_id text) RETURNS int
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    champion int;
    challenger ltv.usable_aliases;
BEGIN
    PERFORM ltv.check_model(model, 'predict');
    SELECT a.version INTO champion
    FROM ltv.usable_aliases a WHERE a.model = assigned_version.model AND a.alias = 'champion';
    SELECT * INTO challenger
    FROM ltv.usable_aliases a WHERE a.model = assigned_version.model AND a.alias = 'challenger';
    IF champion IS NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('model "%s" has no champion', model),
            HINT = 'Wait for its training with ltv_wait, or choose a version with ltv_set_alias.';
    END IF;
    RETURN CASE WHEN ltv.customer_position(customer_id) < challenger.share THEN challenger.version ELSE champion END;
END
$$;
COMMENT ON FUNCTION ltv.assigned_version(text, text) IS 'see ltv_assigned_version';

CREATE FUNCTION @extschema@.ltv_assigned_version(model text, customer_id text) RETURNS int
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_assigned_version
    IS 'the version that ltv_predict scores a customer with while the challenger has a share of the traffic';
