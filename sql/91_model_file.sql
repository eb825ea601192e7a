-- A version as one file: ltv_export_model, ltv_import_model.
--
-- What the file holds is read, where it comes in, by types that know what they take (ltv_core::model_file). No SQL goes
-- out and none comes in: of the query that a version was trained on there is the hash. Neither do the weights, which
-- only a training would go on from.

CREATE FUNCTION ltv.write_model_file(document jsonb, onnx bytea) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_write_model_file';
COMMENT ON FUNCTION ltv.write_model_file IS 'a document and a graph as one file with its checksum';

CREATE FUNCTION ltv.read_model_file(file bytea, OUT document jsonb, OUT onnx bytea)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'ltv_read_model_file';
COMMENT ON FUNCTION ltv.read_model_file
    IS 'the parts of a model file; an error unless it is whole, means something and scores';

-- The version is called as it was where it was made, so that a file of an imported version is the file that came in.
CREATE FUNCTION ltv.model_document(about ltv.readable_versions) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT jsonb_build_object(
        'model', COALESCE(about.recipe #>> '{origin,model}', about.model),
        'version', COALESCE((about.recipe #>> '{origin,version}')::int, about.version),
        'source', about.source, 'objective', about.objective, 'backbone', about.backbone,
        'schema', about.schema, 'statistics', about.statistics, 'metrics', about.metrics,
        'history', about.history - 'comparison', 'n_rows', about.n_rows, 'training_seconds', about.training_seconds,
        'created_at', (extract(epoch FROM about.created_at) * 1000000)::bigint, 'pg_ltv_version', about.pg_ltv_version,
        'recipe', jsonb_strip_nulls(jsonb_build_object(
            'target', about.recipe -> 'target', 'id_column', about.recipe -> 'id_column',
            'trained_on', COALESCE(about.recipe -> 'trained_on', about.recipe -> 'relation'),
            'query_sha256', ltv.query_hash(about.recipe)))
            || CASE WHEN about.recipe ? 'options' THEN jsonb_build_object('options', about.recipe -> 'options')
                    ELSE '{}' END)
$$;
COMMENT ON FUNCTION ltv.model_document IS 'all of a version but its graph, its weights and SQL';

CREATE FUNCTION ltv.export_model(model text, version bigint) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    version := ltv.version_or_champion(model, version);
    RETURN (SELECT ltv.write_model_file(ltv.model_document(v), v.onnx) FROM ltv.readable_versions v
            WHERE v.model = export_model.model AND v.version = export_model.version);
END
$$;
COMMENT ON FUNCTION ltv.export_model IS 'see ltv_export_model';

CREATE FUNCTION @extschema@.ltv_export_model(model text, version bigint DEFAULT NULL) RETURNS bytea
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_export_model
    IS 'a version, by default the champion, as one file for ltv_import_model: graph, statistics, metrics, schema, card';

CREATE FUNCTION ltv.import_model(caller regrole, file bytea, model text, promote boolean) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts record;
    document jsonb;
    number int;
BEGIN
    IF file IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the model file must not be null';
    ELSIF model IS NOT NULL THEN
        PERFORM ltv.claim_model(caller, model);
    END IF;
    parts := ltv.read_model_file(file);
    document := parts.document;
    model := COALESCE(model, document ->> 'model');
    PERFORM ltv.claim_model(caller, model);
    PERFORM ltv.lock_model(caller, model);
    SELECT v.version INTO number FROM ltv.readable_versions v
    WHERE v.model = import_model.model AND v.checksum = encode(sha256(parts.onnx), 'hex')
      AND ltv.model_document(v) = document
    ORDER BY v.version LIMIT 1;
    IF number IS NULL THEN
        number := ltv.next_version(caller, model);
        INSERT INTO ltv.versions (
            model, version, checksum, onnx, source, objective, backbone, schema, recipe, statistics, metrics, history,
            n_rows, training_seconds, created_at, created_by, pg_ltv_version
        )
        VALUES (import_model.model, number, encode(sha256(parts.onnx), 'hex'), parts.onnx, document ->> 'source',
                document ->> 'objective', document ->> 'backbone', document -> 'schema',
                (document -> 'recipe') || jsonb_build_object('origin', jsonb_build_object(
                    'model', document -> 'model', 'version', document -> 'version')),
                document -> 'statistics', document -> 'metrics', document -> 'history',
                (document ->> 'n_rows')::bigint, (document ->> 'training_seconds')::float8,
                to_timestamp(0) + make_interval(secs => 0.000001) * (document ->> 'created_at')::bigint,
                caller, document ->> 'pg_ltv_version');
    END IF;
    PERFORM ltv.place_import(caller, model, number, promote);
    RETURN number;
END
$$;
COMMENT ON FUNCTION ltv.import_model IS 'see ltv_import_model';

CREATE FUNCTION @extschema@.ltv_import_model(
    file bytea, model text DEFAULT NULL, promote boolean DEFAULT false
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_import_model
    IS 'stores a version that ltv_export_model wrote, and returns its number; the same version again gives the number '
       'that it has';
