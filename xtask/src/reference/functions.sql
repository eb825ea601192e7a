-- The public functions of the extension, one object for each.
SELECT jsonb_agg(to_jsonb(f) ORDER BY f.name, f.oid)::text
FROM (
    SELECT p.oid::bigint AS oid, p.proname AS name, p.prokind = 'p' AS is_procedure, p.proretset AS returns_rows,
           obj_description(p.oid, 'pg_proc') AS comment,
           CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END AS volatility,
           CASE p.proparallel WHEN 's' THEN 'PARALLEL SAFE' WHEN 'r' THEN 'PARALLEL RESTRICTED'
                              ELSE 'PARALLEL UNSAFE' END AS parallel,
           format_type(p.prorettype, NULL) AS result,
           (SELECT jsonb_agg(jsonb_build_object('name', a.name, 'type', format_type(a.type, NULL),
                                                'default', pg_get_function_arg_default(p.oid, a.i::int)) ORDER BY a.i)
            FROM unnest(COALESCE(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
                 WITH ORDINALITY AS a(type, name, mode, i)
            WHERE COALESCE(a.mode, 'i') IN ('i', 'b')) AS arguments,
           COALESCE(
               (SELECT jsonb_agg(jsonb_build_object('name', a.name, 'type', format_type(a.type, NULL)) ORDER BY a.i)
                FROM unnest(p.proallargtypes, p.proargnames, p.proargmodes) WITH ORDINALITY AS a(type, name, mode, i)
                WHERE a.mode IN ('t', 'o', 'b')),
               (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
                                 ORDER BY a.attnum)
                FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
                WHERE t.oid = p.prorettype AND t.typtype = 'c')) AS columns
    FROM pg_proc p
    JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pg_ltv'
    WHERE p.pronamespace = e.extnamespace
) f
