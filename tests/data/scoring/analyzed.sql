-- analyzed('SELECT ...'): the plan as it was run, in the words that all releases of PostgreSQL share.
CREATE FUNCTION analyzed(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
        RETURN NEXT regexp_replace(line, '(actual rows=\d+)\.00', '\1');
    END LOOP;
END
$$;
