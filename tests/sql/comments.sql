-- database: cdnow
-- What a BI tool may show says what it is: each column of features of every kind, of each view and each function.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE signups AS SELECT customer_id, min(ordered_at) AS started, 'web' AS channel FROM orders GROUP BY 1;
CREATE TABLE visits AS SELECT customer_id, ordered_at AS at, 'view' AS kind, 1.5 AS seconds FROM orders;
SELECT ltv_create_features('buyers', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 90,
    attributes => 'customers', sequence => true, windows => '{30,90}');
SELECT ltv_create_features('grid', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '{1997-06-30,1997-09-30}', horizon => 90,
    horizons => '{30}', sequence => '{"step": "7 days", "steps": 12}', materialized => false);
SELECT ltv_create_features('everyone', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 90,
    customers => 'signups', start_column => 'started', returns => true,
    events => '{"visits": {"source": "visits", "date_column": "at", "type_column": "kind", "value_columns": ["seconds"]}}');
SELECT ltv_create_features('by_age', 'orders', date_column => 'ordered_at', value_column => 'amount', age => '{7,30}', horizon => 90);

SELECT c.relname, count(*) > 10 AS many, string_agg(a.attname, ', ' ORDER BY a.attnum) FILTER (WHERE col_description(c.oid, a.attnum) IS NULL) AS without
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relname IN ('buyers', 'grid', 'everyone', 'by_age') GROUP BY 1 ORDER BY 1;
SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a WHERE a.attrelid = 'everyone'::regclass AND a.attname IN ('customer_id', 'channel', 'ltv') ORDER BY 1;

-- Of the extension itself.
SELECT c.relname, a.attname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v' AND c.relname LIKE 'ltv%'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND col_description(c.oid, a.attnum) IS NULL ORDER BY 1, 2;
SELECT p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND obj_description(p.oid, 'pg_proc') IS NULL AND p.proname LIKE 'ltv\_%' ORDER BY 1;
