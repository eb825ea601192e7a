-- Rows kept in a column, whose type changes afterwards; rows that are NULL as a whole.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
SELECT ltv_import_onnx('linear', decode(:'linear', 'base64'), array['a', 'b']);
CREATE TYPE features AS (a real, b int);
CREATE TABLE kept (id int, f features, g features[]);
INSERT INTO kept SELECT i, ROW(i, i * 2), ARRAY[ROW(i, i * 3)::features] FROM generate_series(1, 3) i;
INSERT INTO kept VALUES (4, NULL, '{NULL}'), (5, ROW(NULL, NULL), NULL);
CREATE FUNCTION both_ways(query text) RETURNS TABLE (way text, predictions text) LANGUAGE plpgsql AS $$
BEGIN
    FOR way IN VALUES ('batch'), ('row') LOOP
        PERFORM set_config('ltv.enable_batch_scan', (way = 'batch')::text, true);
        BEGIN
            EXECUTE format('SELECT string_agg(COALESCE(round(p::numeric, 1)::text, ''NULL''), '' '' ORDER BY id) FROM (%s) x(id, p)', query) INTO predictions;
        EXCEPTION WHEN OTHERS THEN
            predictions := SQLSTATE || ' ' || SQLERRM;
        END;
        RETURN NEXT;
    END LOOP;
END
$$;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM kept');
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', g[1]) FROM kept');
ALTER TYPE features ADD ATTRIBUTE c text;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM kept');
INSERT INTO kept VALUES (6, ROW(6, 12, 'new'), NULL);
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM kept');
ALTER TYPE features DROP ATTRIBUTE c;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM kept');
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM (SELECT id, (f).*  FROM kept) f');
ALTER TYPE features RENAME ATTRIBUTE b TO other;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM kept');
ALTER TYPE features RENAME ATTRIBUTE other TO b;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', f) FROM kept');
-- The row type of a table.
CREATE TABLE customers (a real, dropped text, b int);
INSERT INTO customers SELECT i, 'x', i * 2 FROM generate_series(1, 3) i;
CREATE TABLE snapshots AS SELECT row_number() OVER () AS id, c FROM customers c;
ALTER TABLE customers DROP COLUMN dropped;
ALTER TABLE customers ADD COLUMN more numeric DEFAULT 7;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', c) FROM snapshots');
SELECT * FROM both_ways('SELECT a::int, ltv_predict(''linear'', c) FROM customers c');
INSERT INTO snapshots SELECT 10 + a, c FROM customers c;
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', c) FROM snapshots');
-- A type that would have to be read anew is not changed by PostgreSQL while it is stored.
ALTER TABLE customers ALTER b TYPE bigint;
-- Traffic looks for the customer in such rows, too.
SELECT * FROM both_ways('SELECT id, ltv_predict(''linear'', to_jsonb(c)) FROM snapshots');

-- NULL as a whole is no row; a row of NULLs is one (for this graph not a number, hence NULL; for others a value).
CREATE TABLE people (customer_id int, a real, b int);
INSERT INTO people SELECT i, i, 1 FROM generate_series(1, 4) i;
SELECT ltv_predict('linear', NULL::people) AS row, ltv_predict('linear', NULL::jsonb) AS jsonb, ltv_predict('linear', NULL::real[]) AS "array", ltv_predict('linear', NULL::json) AS json;
SELECT * FROM both_ways('SELECT i, ltv_predict(''linear'', p) FROM generate_series(1, 6) i LEFT JOIN people p ON p.customer_id = i');
SELECT * FROM both_ways('SELECT i, ltv_predict(''linear'', p) FROM generate_series(1, 6) i LEFT JOIN (SELECT * FROM people OFFSET 0) p ON p.customer_id = i');
SELECT * FROM both_ways('SELECT i, ltv_predict(''linear'', to_jsonb(p)) FROM generate_series(1, 6) i LEFT JOIN people p ON p.customer_id = i');
SELECT count(*), count(ltv_predict('linear', p)) AS predicted, sum(ltv_predict('linear', p)) FROM generate_series(1, 3000) i LEFT JOIN people p ON p.customer_id = i;
SELECT i FROM generate_series(1, 6) i LEFT JOIN people p ON p.customer_id = i WHERE ltv_predict('linear', p) IS NULL ORDER BY i;
SELECT (ltv_predict_all('linear', p)).version FROM generate_series(4, 5) i LEFT JOIN people p ON p.customer_id = i ORDER BY i;
SELECT ltv_predict('nobody', NULL::people);
