-- same(query): the query's result without and with batch scans, row by row; how many batch scans its plan has.
CREATE FUNCTION same(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    scans int := 0;
    rows bigint;
    differing bigint;
BEGIN
    SET LOCAL client_min_messages = warning;
    SET LOCAL ltv.enable_batch_scan = off;
    DROP TABLE IF EXISTS pg_temp.plain, pg_temp.batched;
    EXECUTE 'CREATE TEMP TABLE plain AS ' || query;
    SET LOCAL ltv.enable_batch_scan = on;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        scans := scans + (line LIKE '%Custom Scan (LTV Batch)%')::int;
    END LOOP;
    EXECUTE 'CREATE TEMP TABLE batched AS ' || query;
    SELECT count(*), count(*) FILTER (WHERE NOT close(a, b)) INTO rows, differing
    FROM (SELECT row_number() OVER () AS i, to_jsonb(plain) AS a FROM plain) AS p
    FULL JOIN (SELECT row_number() OVER () AS i, to_jsonb(batched) AS b FROM batched) AS q USING (i);
    RETURN format('%s, %s rows, %s batch scans',
        CASE WHEN differing = 0 THEN 'same' ELSE differing || ' DIFFERENT' END, rows, scans);
END $$;
-- Predictions of one row and of many differ in the last bits.
CREATE FUNCTION close(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN a IS NULL OR b IS NULL THEN false
        WHEN jsonb_typeof(a) = 'number' AND jsonb_typeof(b) = 'number'
        THEN abs(a::float8 - b::float8) <= 1e-5 * greatest(abs(a::float8), abs(b::float8), 1e-3)
        WHEN jsonb_typeof(a) = 'object' AND jsonb_typeof(b) = 'object'
        THEN (SELECT count(*) = count(key) AND coalesce(bool_and(close(x.value, y.value)), true)
              FROM jsonb_each(a) x FULL JOIN jsonb_each(b) y USING (key))
        ELSE a = b
    END
$$;
