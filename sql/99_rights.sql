-- Who may call what, said once for all functions above.

-- A function whose first argument is the caller believes what it is told: only the gate (ltv_for_caller) may tell it.
DO $$
DECLARE
    closed record;
BEGIN
    FOR closed IN
        SELECT p.oid::pg_catalog.regprocedure AS signature FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'ltv'::pg_catalog.regnamespace AND p.proargnames[1] = 'caller'
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', closed.signature);
    END LOOP;
END
$$;

-- What only functions with the rights of the catalog's owner call, with arguments that they have checked.
REVOKE ALL ON FUNCTION ltv.inspect_onnx, ltv.quantize_graph, ltv.read_model_file FROM PUBLIC;

-- A backup is made by the owner of the database.
GRANT SELECT ON ALL TABLES IN SCHEMA ltv TO pg_database_owner;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA ltv TO pg_database_owner;
