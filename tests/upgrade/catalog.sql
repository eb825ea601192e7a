-- What the extension consists of, one line each: the same after an update as after CREATE EXTENSION.
WITH member AS (
    SELECT classid, objid FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_ltv')
), relation AS (
    SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
), line AS (
    SELECT concat_ws(' ', 'object', i.type, i.identity, obj_description(objid, classid::regclass::name)) AS line
    FROM member, pg_identify_object(classid, objid, 0) i
    UNION ALL
    SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid), p.proacl::text)
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE p.prokind IN ('f', 'p')
    UNION ALL
    SELECT concat_ws(' ', 'aggregate', p.oid::regprocedure, p.proacl::text, a::text)
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    CROSS JOIN LATERAL (
        SELECT aggkind, aggtransfn, aggfinalfn, aggcombinefn, aggtranstype::regtype FROM pg_aggregate WHERE aggfnoid = p.oid
    ) a
    UNION ALL
    SELECT concat_ws(' ', 'relation', oid::regclass, relkind, relrowsecurity, relacl::text, reloptions::text,
        CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
    FROM relation WHERE relkind <> 'i'
    UNION ALL
    SELECT concat_ws(' ', 'column', r.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        a.attidentity, a.attgenerated, a.attacl::text, pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE r.relkind NOT IN ('i', 'S')
    UNION ALL
    SELECT concat_ws(' ', 'constraint', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
    FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
    UNION ALL
    SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN relation r ON r.oid = i.indrelid
    UNION ALL
    SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT concat_ws(' ', 'policy', p.polname, p.polrelid::regclass, p.polcmd, pg_get_expr(p.polqual, p.polrelid))
    FROM pg_policy p JOIN relation r ON r.oid = p.polrelid
    UNION ALL
    SELECT concat_ws(' ', 'label', e.enumtypid::regtype, e.enumlabel, rank() OVER (PARTITION BY enumtypid ORDER BY enumsortorder))
    FROM pg_enum e JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = e.enumtypid
    UNION ALL
    SELECT concat_ws(' ', 'dumped', c.oid::regclass, x.condition)
    FROM pg_extension e, unnest(e.extconfig, e.extcondition) x (relation, condition) JOIN pg_class c ON c.oid = x.relation
    WHERE e.extname = 'pg_ltv'
)
SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM line
