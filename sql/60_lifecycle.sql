-- The life of a model: versions, aliases, promotion and rollback, dropping.
--
-- Whatever changes a model takes the lock on its row in ltv.models first, so that such transactions run one after
-- the other and cannot deadlock.

CREATE FUNCTION ltv.lock_model(caller regrole, model text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(caller, model, 'owner');
    PERFORM FROM ltv.models m WHERE m.model = lock_model.model FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM ltv.check_model(caller, model, 'owner');  -- dropped while we waited: says so
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.lock_model IS 'locks a model of the caller against other changes until the transaction ends';

-- Makes the model on its first use; later uses need its owner. Two transactions that claim one name at
-- the same time do not wait for each other for long.
CREATE FUNCTION ltv.claim_model(model text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.claim_model(text) IS 'makes a model, or checks that the current role owns it';

CREATE FUNCTION ltv.claim_model(caller regrole, model text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
BEGIN
    IF model IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the model must not be null';
    ELSIF model = '' OR octet_length(model) > 200 THEN
        RAISE invalid_name USING MESSAGE = 'the name of a model must have between 1 and 200 bytes';
    ELSIF NOT EXISTS (SELECT FROM ltv.models m WHERE m.model = claim_model.model) THEN
        INSERT INTO ltv.models (model, owner, last_version)
        VALUES (claim_model.model, caller,
            COALESCE((SELECT d.last_version FROM ltv.dropped_models d WHERE d.model = claim_model.model), 0))
        ON CONFLICT DO NOTHING;
    END IF;
    IF NOT ltv.has_privilege(caller, model, 'predict') THEN
        RAISE insufficient_privilege USING MESSAGE = format('the name "%s" is taken', model),
            DETAIL = 'It belongs to a model of another role.', HINT = 'Choose another name.';
    END IF;
    PERFORM ltv.check_model(caller, model, 'owner');
EXCEPTION WHEN lock_not_available THEN
    RAISE lock_not_available USING MESSAGE = format('another transaction is just making model "%s"', model),
        HINT = 'Wait for its end, or choose another name.';
END
$$;
COMMENT ON FUNCTION ltv.claim_model(regrole, text) IS 'makes a model, or checks that the caller owns it';

-- The row of the model stays locked until the commit, so that versions are numbered in the order they appear in.
CREATE FUNCTION ltv.next_version(caller regrole, model text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.lock_model(caller, model);
    UPDATE ltv.models m SET last_version = m.last_version + 1
    WHERE m.model = next_version.model
    RETURNING m.last_version;
$$;
COMMENT ON FUNCTION ltv.next_version IS 'the number of a new version of a model of the caller';

CREATE FUNCTION ltv.check_version(model text, version bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF version IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the version must not be null';
    ELSIF NOT EXISTS (SELECT FROM ltv.readable_versions v
                      WHERE v.model = check_version.model AND v.version = check_version.version) THEN
        RAISE undefined_object USING MESSAGE = format('version %s of model "%s" does not exist', version, model),
            DETAIL = (SELECT COALESCE('Its versions are: '
                                      || string_agg(v.version::text, ', ' ORDER BY v.version) || '.',
                                      'It has no version; its training may not have finished.')
                      FROM ltv.readable_versions v WHERE v.model = check_version.model),
            HINT = 'The view ltv_versions lists the versions that you may look into.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_version IS 'an error unless the model has the version';

CREATE FUNCTION ltv.version_or_champion(model text, version bigint) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(model, 'read');
    version := COALESCE(version,
        (SELECT a.version FROM ltv.usable_aliases a
         WHERE a.model = version_or_champion.model AND a.alias = 'champion'));
    IF version IS NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('model "%s" has no champion', model),
            DETAIL = 'No version was trained yet, or the alias was removed.',
            HINT = 'Wait for its training with ltv_wait, or choose a version with ltv_set_alias.';
    END IF;
    PERFORM ltv.check_version(model, version);
    RETURN version;
END
$$;
COMMENT ON FUNCTION ltv.version_or_champion
    IS 'the version, or the champion where it is NULL; an error unless the current role may read it';

-- Aliases ----------------------------------------------------------------------------------------------------------

-- version NULL removes the alias. Returns the version that the alias named before.
CREATE FUNCTION ltv.move_alias(
    caller regrole, model text, alias text, version int, reason text, undoes bigint
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before int;
BEGIN
    PERFORM ltv.lock_model(caller, model);
    IF alias IS NULL OR alias !~ '^[a-z_][a-z0-9_.-]{0,62}$' THEN
        RAISE invalid_name USING MESSAGE = format('"%s" is not a valid alias', alias),
            HINT = 'An alias has up to 63 lower-case letters, digits, and _ . - and starts with a letter.';
    END IF;
    SELECT a.version INTO before FROM ltv.aliases a WHERE a.model = move_alias.model AND a.alias = move_alias.alias;
    IF version IS NULL THEN
        DELETE FROM ltv.aliases a WHERE a.model = move_alias.model AND a.alias = move_alias.alias;
    ELSE
        PERFORM ltv.check_version(model, version);
        INSERT INTO ltv.aliases AS a (model, alias, version)
        VALUES (move_alias.model, move_alias.alias, move_alias.version)
        ON CONFLICT ON CONSTRAINT aliases_pkey DO UPDATE SET version = excluded.version;
    END IF;
    IF before IS DISTINCT FROM version THEN
        INSERT INTO ltv.promotions (model, alias, from_version, to_version, by, reason, undoes)
        VALUES (move_alias.model, move_alias.alias, before, move_alias.version, caller,
                move_alias.reason, move_alias.undoes);
    END IF;
    RETURN before;
END
$$;
COMMENT ON FUNCTION ltv.move_alias(regrole, text, text, int, text, bigint)
    IS 'lets an alias name a version, and records it';

CREATE FUNCTION ltv.set_alias(caller regrole, model text, version bigint, alias text, reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(caller, model, 'owner');
    PERFORM ltv.check_version(model, version);
    RETURN ltv.move_alias(caller, model, alias, version::int, reason, NULL);
END
$$;
COMMENT ON FUNCTION ltv.set_alias IS 'see ltv_set_alias';

CREATE FUNCTION @extschema@.ltv_set_alias(
    model text, version bigint, alias text DEFAULT 'champion', reason text DEFAULT NULL
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_set_alias
    IS 'lets an alias name a version (champion is what ltv_predict uses); returns the version it named before';

CREATE FUNCTION ltv.drop_alias(caller regrole, model text, alias text, reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(caller, model, 'owner');
    IF NOT EXISTS (SELECT FROM ltv.aliases a WHERE a.model = drop_alias.model AND a.alias = drop_alias.alias) THEN
        RAISE undefined_object USING MESSAGE = format('model "%s" has no alias "%s"', model, alias),
            HINT = 'The column aliases of the view ltv_versions lists them.';
    END IF;
    RETURN ltv.move_alias(caller, model, alias, NULL, reason, NULL);
END
$$;
COMMENT ON FUNCTION ltv.drop_alias IS 'see ltv_drop_alias';

CREATE FUNCTION @extschema@.ltv_drop_alias(model text, alias text, reason text DEFAULT NULL) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_drop_alias IS 'removes an alias; returns the version it named';

-- The latest change that has not been taken back, and is not itself a taking back.
CREATE FUNCTION ltv.standing_promotion(model text, alias text) RETURNS ltv.promotions
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p FROM ltv.promotions p
    WHERE p.model = $1 AND p.alias = $2 AND p.undoes IS NULL
      AND NOT EXISTS (SELECT FROM ltv.promotions u WHERE u.model = p.model AND u.undoes = p.promotion)
    ORDER BY p.promotion DESC LIMIT 1
$$;
COMMENT ON FUNCTION ltv.standing_promotion IS 'the promotion that ltv_rollback would take back';

CREATE FUNCTION ltv.rollback(caller regrole, model text, alias text, reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last ltv.promotions;
BEGIN
    PERFORM ltv.lock_model(caller, model);
    last := ltv.standing_promotion(model, alias);
    IF last.from_version IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('alias "%s" of model "%s" has nothing to go back to', alias, model),
            HINT = 'The view ltv_promotions shows its history; ltv_set_alias chooses any version.';
    ELSIF NOT EXISTS (SELECT FROM ltv.versions v WHERE v.model = rollback.model AND v.version = last.from_version) THEN
        RAISE undefined_object USING
            MESSAGE = format('version %s of model "%s", to go back to, was dropped', last.from_version, model),
            HINT = 'Choose another version with ltv_set_alias.';
    END IF;
    PERFORM ltv.move_alias(caller, model, alias, last.from_version, reason, last.promotion);
    RETURN last.from_version;
END
$$;
COMMENT ON FUNCTION ltv.rollback IS 'see ltv_rollback';

CREATE FUNCTION @extschema@.ltv_rollback(
    model text, alias text DEFAULT 'champion', reason text DEFAULT 'rollback'
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_rollback
    IS 'takes back the last promotion that still stands; returns the version now in use';

-- Dropping ---------------------------------------------------------------------------------------------------------

-- The calls of functions of ours in an expression that give the model as a literal, as PostgreSQL writes them: what
-- follows the literal, which says the version.
CREATE FUNCTION ltv.calls_of_model(expression text, model text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.part
    FROM (SELECT x.part, lag(x.part) OVER (ORDER BY x.i) AS before
          FROM unnest(string_to_array(expression, concat('''', replace(model, '''', ''''''), '''')))
               WITH ORDINALITY AS x(part, i)) p
    WHERE p.before ~ '(ltv_predict[a-z_]*[(]|model => )[(]*$'
$$;
COMMENT ON FUNCTION ltv.calls_of_model IS 'what follows the name of a model in the calls of an expression';

-- Scores of a pinned version may be stored in indexes and generated columns, which are wrong without it. A call that
-- does not say plainly that it means another version counts, too. How expressions are written depends on settings.
CREATE FUNCTION ltv.pinned_by(model text, version int) RETURNS TABLE (object text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on
AS $$
    WITH users AS (
        SELECT DISTINCT d.classid, d.objid, d.objsubid
        FROM pg_depend d JOIN ltv.functions f ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid
        WHERE f.name LIKE 'ltv\_predict%'
    ), expressions AS (
        SELECT format('index %s', i.indexrelid::regclass) AS object, pg_get_indexdef(i.indexrelid) AS text
        FROM users u JOIN pg_index i ON u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid
        UNION ALL
        SELECT format('column %I of %s', a.attname, a.attrelid::regclass), pg_get_expr(ad.adbin, ad.adrelid)
        FROM users u JOIN pg_attrdef ad ON u.classid = 'pg_attrdef'::regclass AND ad.oid = u.objid
        JOIN pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum
        UNION ALL
        -- A generated column depends on the functions in its expression directly.
        SELECT format('column %I of %s', a.attname, a.attrelid::regclass), pg_get_expr(ad.adbin, ad.adrelid)
        FROM users u
        JOIN pg_attrdef ad ON u.classid = 'pg_class'::regclass AND ad.adrelid = u.objid AND ad.adnum = u.objsubid
        JOIN pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum
        UNION ALL
        SELECT format('constraint %I of %s', c.conname, CASE c.conrelid WHEN 0 THEN c.contypid::regtype::text
                                                        ELSE c.conrelid::regclass::text END),
               pg_get_constraintdef(c.oid)
        FROM users u JOIN pg_constraint c ON u.classid = 'pg_constraint'::regclass AND c.oid = u.objid
        UNION ALL
        SELECT format('partition key of %s', t.partrelid::regclass), pg_get_partkeydef(t.partrelid)
        FROM users u JOIN pg_partitioned_table t ON u.classid = 'pg_class'::regclass AND t.partrelid = u.objid
    )
    -- The number of a version as an integer, and cast to bigint.
    SELECT DISTINCT e.object
    FROM expressions e, ltv.calls_of_model(e.text, pinned_by.model) c(after),
         LATERAL (SELECT substring(c.after FROM '^::text, (?:version => )?[(]?''?([0-9]+)[)'',]')) n(number)
    WHERE pinned_by.version IS NULL OR COALESCE(n.number = pinned_by.version::text, true)
$$;
COMMENT ON FUNCTION ltv.pinned_by
    IS 'indexes, generated columns, constraints, partition keys that score with a version of a model (NULL: any one)';

CREATE FUNCTION ltv.refuse_pinned(model text, version int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    objects text := (SELECT string_agg(object, ', ' ORDER BY object) FROM ltv.pinned_by(model, version));
BEGIN
    IF objects IS NOT NULL THEN
        RAISE dependent_objects_still_exist USING
            MESSAGE = format('cannot drop %smodel "%s" because other objects depend on it',
                             CASE WHEN version IS NOT NULL THEN format('version %s of ', version) ELSE '' END, model),
            DETAIL = format('It is used by: %s.', objects),
            HINT = 'Drop them first.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.refuse_pinned IS 'an error where stored scores depend on a version of a model';

CREATE FUNCTION ltv.drop_version(caller regrole, model text, version bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named text;
BEGIN
    PERFORM ltv.lock_model(caller, model);
    PERFORM ltv.check_version(model, version);
    SELECT string_agg(a.alias, ', ' ORDER BY a.alias) INTO named FROM ltv.aliases a
    WHERE a.model = drop_version.model AND a.version = drop_version.version;
    IF named IS NOT NULL THEN
        RAISE dependent_objects_still_exist USING
            MESSAGE = format('cannot drop version %s of model "%s" because it is in use', version, model),
            DETAIL = format('It is: %s.', named),
            HINT = 'Move the alias with ltv_set_alias, or remove it with ltv_drop_alias, first.';
    END IF;
    PERFORM ltv.refuse_pinned(model, version::int);
    DELETE FROM ltv.versions v WHERE v.model = drop_version.model AND v.version = drop_version.version;
END
$$;
COMMENT ON FUNCTION ltv.drop_version IS 'see ltv_drop_version';

CREATE FUNCTION @extschema@.ltv_drop_version(model text, version bigint) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_drop_version
    IS 'drops a version that nothing uses; its number is not given out again';

CREATE FUNCTION ltv.delete_model(model text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.delete_model(text) IS 'what ltv_drop_model does in the catalog';

CREATE FUNCTION ltv.delete_model(caller regrole, model text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.lock_model(caller, model);
    PERFORM ltv.refuse_pinned(model, NULL);
    PERFORM ltv.cancel_jobs(model);
    INSERT INTO ltv.dropped_models (model, last_version) SELECT m.model, m.last_version FROM ltv.models m
    WHERE m.model = delete_model.model AND m.last_version > 0
    ON CONFLICT ON CONSTRAINT dropped_models_pkey DO UPDATE
    SET last_version = greatest(dropped_models.last_version, excluded.last_version);
    DELETE FROM ltv.aliases a WHERE a.model = delete_model.model;
    DELETE FROM ltv.promotions p WHERE p.model = delete_model.model;
    DELETE FROM ltv.privileges p WHERE p.model = delete_model.model;
    DELETE FROM ltv.monitoring m WHERE m.model = delete_model.model;
    DELETE FROM ltv.alerts a WHERE a.model = delete_model.model;
    DELETE FROM ltv.chains c WHERE c.model = delete_model.model;
    DELETE FROM ltv.nightly_steps s WHERE s.model = delete_model.model;
    DELETE FROM ltv.versions v WHERE v.model = delete_model.model;
    DELETE FROM ltv.models m WHERE m.model = delete_model.model;
END
$$;
COMMENT ON FUNCTION ltv.delete_model(regrole, text) IS 'drops a model with all that belongs to it and cancels its jobs';

CREATE FUNCTION ltv.drop_model(model text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(model, 'owner');
    PERFORM ltv.unschedule(model, NULL);
    PERFORM ltv.delete_model(model);
END
$$;
COMMENT ON FUNCTION ltv.drop_model(text) IS 'see ltv_drop_model';

CREATE FUNCTION @extschema@.ltv_drop_model(model text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_drop_model
    IS 'drops a model with all its versions, cancels its jobs and ends its schedules';
