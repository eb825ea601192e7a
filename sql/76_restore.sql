-- Restoring a dump: predictions stored in generated columns come back, in whatever order tables are filled.
--
-- In a session that restores a dump, a prediction with a pinned version that has not arrived yet is NULL
-- (src/catalog/restore.rs). When models and versions arrive, what is missing is computed.

CREATE FUNCTION ltv.restores() RETURNS boolean LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_restores';
COMMENT ON FUNCTION ltv.restores IS 'whether this session restores a dump';

CREATE FUNCTION ltv.end_missing() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_end_missing';
COMMENT ON FUNCTION ltv.end_missing
    IS 'waits for those that store predictions without their model; whoever comes later waits in turn';
REVOKE ALL ON FUNCTION ltv.end_missing FROM PUBLIC;

CREATE FUNCTION ltv.stored_predictions() RETURNS TABLE (relation regclass, name name, base name)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT c.oid::regclass, a.attname, base.attname
    FROM ltv.functions p JOIN pg_depend f ON f.refclassid = 'pg_proc'::regclass AND f.refobjid = p.oid
    JOIN pg_attrdef d
        ON f.classid = 'pg_attrdef'::regclass AND f.objid = d.oid
        OR f.classid = 'pg_class'::regclass AND f.objid = d.adrelid AND f.objsubid = d.adnum
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = 's'
    JOIN pg_class c ON c.oid = d.adrelid AND c.relkind = 'r'
    -- A generated column is computed again only where a column that it is made from is set.
    JOIN LATERAL (
        SELECT b.attname
        FROM pg_depend g JOIN pg_attribute b ON b.attrelid = g.refobjid AND b.attnum = g.refobjsubid
        WHERE g.classid = f.classid AND g.objid = f.objid AND g.objsubid = f.objsubid
            AND g.refclassid = 'pg_class'::regclass AND g.refobjid = d.adrelid
            AND g.refobjsubid > 0 AND g.refobjsubid <> d.adnum
        ORDER BY b.attnum LIMIT 1
    ) base ON true
    -- Those of json and text are SQL, and have no symbol.
    WHERE p.symbol LIKE 'ltv\_predict%\_version'
      OR p.name LIKE 'ltv\_predict%' AND 'version' = ANY (p.arguments) AND p.is_sql
    ORDER BY 1
$$;
COMMENT ON FUNCTION ltv.stored_predictions
    IS 'the generated columns that score with a pinned version, with a column that each is made from';

-- An UPDATE runs them as whoever restores. In a new database they come after the data; elsewhere they are somebody's.
CREATE FUNCTION ltv.has_others_triggers(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT o.rolsuper AND o.rolname <> current_user AND (
        EXISTS (SELECT FROM pg_trigger t
                WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 > 0)
        OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '2' AND r.ev_enabled <> 'D'))
    FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner WHERE c.oid = relation
$$;
COMMENT ON FUNCTION ltv.has_others_triggers
    IS 'whether an update of a table would run triggers or rules of another role, which is no superuser';

-- Without a search_path of its own, because an empty one is what a session that restores a dump is known
-- by. Tables are locked first: a parallel restore locks the table that it fills, and waits for us if it
-- stores a missing prediction after we have ended that.
CREATE FUNCTION ltv.complete_restore() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    stored record;
    missing boolean;
BEGIN
    IF NOT ltv.restores() THEN
        RETURN NULL;
    END IF;
    FOR stored IN SELECT DISTINCT s.relation FROM ltv.stored_predictions() s ORDER BY 1 LOOP
        EXECUTE format('LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE', stored.relation);
    END LOOP;
    PERFORM ltv.end_missing();
    FOR stored IN SELECT * FROM ltv.stored_predictions() LOOP
        IF ltv.has_others_triggers(stored.relation) THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s WHERE %I IS NULL)', stored.relation, stored.name)
                INTO missing;
            IF missing THEN
                RAISE WARNING USING
                    MESSAGE = format('predictions that are missing in %s are not computed', stored.relation),
                    DETAIL = 'Triggers or rules of its owner would run with your rights.',
                    HINT = format('Its owner can run: UPDATE %s SET %I = %2$I WHERE %I IS NULL;', stored.relation,
                                  stored.base, stored.name);
            END IF;
            CONTINUE;
        END IF;
        EXECUTE format('UPDATE ONLY %s SET %I = %2$I WHERE %I IS NULL', stored.relation, stored.base, stored.name);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.complete_restore IS 'computes the stored predictions that were restored before their models';

CREATE TRIGGER complete_restore AFTER INSERT ON ltv.models FOR EACH STATEMENT EXECUTE FUNCTION ltv.complete_restore();
CREATE TRIGGER complete_restore AFTER INSERT ON ltv.versions FOR EACH STATEMENT EXECUTE FUNCTION ltv.complete_restore();
