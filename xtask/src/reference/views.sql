-- The public views of the extension, one object for each.
SELECT jsonb_agg(to_jsonb(v) ORDER BY v.name)::text
FROM (
    SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS comment,
           (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                                                'comment', col_description(c.oid, a.attnum)) ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) AS columns
    FROM pg_class c
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pg_ltv'
    WHERE c.relnamespace = e.extnamespace AND c.relkind = 'v'
) v
