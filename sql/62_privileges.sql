-- Who may do what with a model: ltv_grant, ltv_revoke, ltv_set_owner.

-- The oid of a role by its name, as it stands in pg_roles; 0 is everybody.
CREATE FUNCTION ltv.role_named(name text) RETURNS regrole
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = name);
BEGIN
    IF name = 'public' AND found IS NULL THEN
        RETURN 0;
    ELSIF found IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', name),
            HINT = 'Give the name as in pg_roles, or public for everybody.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION ltv.role_named IS 'the role of that name, or an error';

CREATE FUNCTION ltv.granted_privileges(privilege text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_choice('privilege', privilege, '{predict,read,all}');
    RETURN CASE privilege WHEN 'all' THEN '{predict,read}' ELSE ARRAY[privilege] END;
END
$$;
COMMENT ON FUNCTION ltv.granted_privileges IS 'the privileges that a grant or revoke means, or an error';

CREATE FUNCTION ltv.check_granted(role text, privilege text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL OR privilege IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'neither the role nor the privilege may be null';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_granted IS 'an error unless a grant or revoke says to whom and what';

CREATE FUNCTION ltv.grant(caller regrole, model text, role text, privilege text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.lock_model(caller, model), ltv.check_granted(role, privilege);
    INSERT INTO ltv.privileges (model, grantee, privilege)
    SELECT $2, ltv.role_named($3), p FROM unnest(ltv.granted_privileges($4)) p ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION ltv.grant(regrole, text, text, text) IS 'see ltv_grant';

CREATE FUNCTION ltv.grant(model text, role text, privilege text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.grant(text, text, text) IS 'grants a privilege on a model of the current role';

-- A view reads its tables with the rights of its owner, but the functions in it are called by whoever reads it.
CREATE FUNCTION ltv.grant_with_view(model text, role text, privilege text, view text, relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee oid;
    invoker boolean;
    closed text;
BEGIN
    PERFORM ltv.grant(model, role, privilege);
    IF view IS NULL THEN
        RETURN;
    ELSIF relation IS NULL THEN
        RAISE wrong_object_type USING MESSAGE = format('"%s" is not the name of a view', view),
            HINT = 'Create a view of the query first, then name it.';
    END IF;
    grantee := ltv.role_named(role);
    EXECUTE format('GRANT SELECT ON %s TO %s', ltv.qualified_name(relation),
                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(role) END);
    SELECT n.nspname INTO closed FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = relation AND NOT CASE grantee WHEN 0 THEN has_schema_privilege('public', n.oid, 'USAGE')
                                                ELSE has_schema_privilege(grantee, n.oid, 'USAGE') END;
    IF closed IS NOT NULL THEN
        RAISE NOTICE USING MESSAGE = format('role "%s" may not use schema "%s", where the view is', role, closed),
            HINT = format('GRANT USAGE ON SCHEMA %I TO %s;', closed,
                          CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(role) END);
    END IF;
    SELECT o.option_value::boolean INTO invoker
    FROM pg_class c, pg_options_to_table(c.reloptions) o WHERE c.oid = relation AND o.option_name = 'security_invoker';
    IF invoker THEN
        RAISE NOTICE USING MESSAGE = format('%s reads its tables with the rights of whoever reads it', relation),
            DETAIL = 'It was made with security_invoker.',
            HINT = format('Grant role "%s" SELECT on these tables, too, or make the view without security_invoker.',
                          role);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.grant_with_view IS 'see ltv_grant; the view is bound';

CREATE FUNCTION ltv.grant(model text, role text, privilege text, view text) RETURNS void
LANGUAGE sql
AS $$ SELECT ltv.grant_with_view(model, role, privilege, view, ltv.bind_relation(view)) $$;
COMMENT ON FUNCTION ltv.grant(text, text, text, text) IS 'see ltv_grant';

CREATE FUNCTION @extschema@.ltv_grant(
    model text, role text, privilege text DEFAULT 'predict', view text DEFAULT NULL
) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_grant
    IS 'lets a role (or public) score with a model (predict) or also look into it (read), and read a view that scores';

-- read includes predict, so who is to lose predict loses read, too. Who was let in before knows the channel of the
-- alerts, so that changes.
CREATE FUNCTION ltv.revoke(caller regrole, model text, role text, privilege text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_role regrole;
    taken text[];
BEGIN
    PERFORM ltv.lock_model(caller, model), ltv.check_granted(role, privilege);
    of_role := ltv.role_named(role);
    taken := ltv.granted_privileges(CASE privilege WHEN 'predict' THEN 'all' ELSE privilege END);
    DELETE FROM ltv.privileges p WHERE p.model = $2 AND p.grantee = of_role AND p.privilege = ANY (taken);
    IF FOUND THEN
        UPDATE ltv.models m SET alert_channel = DEFAULT WHERE m.model = $2;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.revoke IS 'see ltv_revoke';

CREATE FUNCTION @extschema@.ltv_revoke(model text, role text, privilege text DEFAULT 'all') RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_revoke
    IS 'takes privileges on a model back; predict takes read along, which includes it';

CREATE FUNCTION ltv.set_owner(caller regrole, model text, role text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_owner regrole;
BEGIN
    PERFORM ltv.lock_model(caller, model);
    new_owner := ltv.role_named(role);
    IF new_owner IS NULL OR new_owner = 0 THEN
        RAISE undefined_object USING
            MESSAGE = format('role "%s" does not exist', role),
            HINT = 'Give the name as in pg_roles.';
    END IF;
    PERFORM ltv.check_role(caller, new_owner);
    UPDATE ltv.models m SET owner = new_owner WHERE m.model = set_owner.model;
END
$$;
COMMENT ON FUNCTION ltv.set_owner IS 'see ltv_set_owner';

CREATE FUNCTION @extschema@.ltv_set_owner(model text, role text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_set_owner IS 'gives a model, and the query that it was trained on, to another role';
