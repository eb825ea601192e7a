-- ONNX in both directions: ltv_export_onnx, ltv_import_onnx.

CREATE FUNCTION ltv.inspect_onnx(onnx bytea, features text[], outputs text) RETURNS jsonb
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'ltv_inspect_onnx';
COMMENT ON FUNCTION ltv.inspect_onnx
    IS 'the schema of a foreign graph, which is run on a few rows first; an error if it cannot score';

CREATE FUNCTION ltv.client_graph(
    onnx bytea, schema jsonb, opset int, floats_only boolean, facts jsonb
) RETURNS bytea
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_client_graph';
COMMENT ON FUNCTION ltv.client_graph
    IS 'a graph as it goes out: with its columns, its outputs and these facts in the metadata of the file';

-- The checksum of the file that goes out cannot be inside it: it is that of the graph as it is stored.
CREATE FUNCTION ltv.export_onnx(model text, version bigint, opset int, external_client boolean) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    version := ltv.version_or_champion(model, version);
    RETURN (SELECT ltv.client_graph(v.onnx, v.schema, opset, external_client, jsonb_build_object(
                'model', v.model, 'version', v.version, 'checksum', v.checksum, 'source', v.source,
                'objective', v.objective, 'backbone', v.backbone, 'target', v.recipe -> 'target',
                'horizon_days', v.statistics -> 'horizon', 'horizons_days', v.schema -> 'horizons',
                'created_at', to_char(v.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
            FROM ltv.readable_versions v
            WHERE v.model = export_onnx.model AND v.version = export_onnx.version);
END
$$;
COMMENT ON FUNCTION ltv.export_onnx(text, bigint, int, boolean) IS 'see ltv_export_onnx';

CREATE FUNCTION @extschema@.ltv_export_onnx(
    model text, version bigint DEFAULT NULL, opset int DEFAULT NULL, external_client boolean DEFAULT false
) RETURNS bytea
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_export_onnx
    IS 'the ONNX graph of a version, by default the champion: one input per feature column, preprocessing included, '
       'what a client has to know in its metadata; external_client: floats only, all columns in one matrix';

CREATE FUNCTION ltv.place_import(caller regrole, model text, version int, promote boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF promote OR NOT EXISTS (SELECT FROM ltv.aliases a
                              WHERE a.model = place_import.model AND a.alias = 'champion') THEN
        PERFORM ltv.move_alias(caller, model, 'champion', version, 'imported', NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.place_import IS 'makes an imported version the champion, where that is wanted or there is none';

CREATE FUNCTION ltv.import_onnx(
    caller regrole, model text, onnx bytea, features text[], outputs jsonb, promote boolean
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    schema jsonb;
    number int;
BEGIN
    IF onnx IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the ONNX graph must not be null';
    ELSIF array_position(features, NULL) IS NOT NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the name of a feature must not be null';
    END IF;
    PERFORM ltv.claim_model(caller, model);
    schema := ltv.inspect_onnx(onnx, features, outputs::text);
    number := ltv.next_version(caller, model);
    INSERT INTO ltv.versions (model, version, checksum, onnx, source, schema, created_by, pg_ltv_version)
    VALUES (import_onnx.model, number, encode(sha256(onnx), 'hex'), onnx, 'imported', schema, caller,
            (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'pg_ltv'));
    PERFORM ltv.place_import(caller, model, number, promote);
    RETURN number;
END
$$;
COMMENT ON FUNCTION ltv.import_onnx IS 'see ltv_import_onnx';

CREATE FUNCTION @extschema@.ltv_import_onnx(
    model text, onnx bytea, features text[] DEFAULT NULL, outputs jsonb DEFAULT NULL, promote boolean DEFAULT false
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_import_onnx
    IS 'stores an ONNX graph made elsewhere as a version of a model and returns its number; '
       'features names the columns of its input, outputs says which of its outputs is what';
