-- The settings of the extension, one object for each.
SELECT jsonb_agg(to_jsonb(s) ORDER BY s.name)::text
FROM (
    SELECT g.name, g.short_desc AS purpose, g.extra_desc AS detail,
           CASE WHEN g.boot_val IS NULL OR g.boot_val = '' THEN 'empty'
                ELSE g.boot_val || COALESCE(' ' || g.unit, '') END AS default,
           CASE WHEN g.min_val IS NOT NULL THEN format('%s to %s%s', g.min_val, g.max_val, ' ' || g.unit)
                WHEN g.vartype = 'bool' THEN 'on, off' ELSE 'text' END AS range,
           CASE g.context WHEN 'user' THEN 'everybody, at any time'
                          WHEN 'superuser' THEN 'superusers, at any time; also for a role or a database'
                          WHEN 'sighup' THEN 'the server configuration, taken up by a reload'
                          ELSE 'the server configuration, taken up by a restart' END AS who
    FROM pg_settings g WHERE g.name LIKE 'ltv.%'
) s
