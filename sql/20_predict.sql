-- Scoring: ltv_predict, ltv_predict_proba, ltv_predict_quantile, ltv_predict_all.
--
-- Each takes an array (the model's inputs in their order), a row (matched by column name) or jsonb (an object by
-- key, an array by position), for the default model, the champion of a model, or a pinned version. None is strict:
-- NULLs are missing values. A pinned version never changes, so those functions are immutable.

CREATE TYPE ltv.prediction AS (
    ltv                  float8,
    purchase_probability float8,
    whale_probability    float8,
    p10                  float8,
    p50                  float8,
    p90                  float8,
    version              int
);
COMMENT ON TYPE ltv.prediction IS 'everything a model can tell about one customer; NULL where it cannot';
GRANT USAGE ON TYPE ltv.prediction TO PUBLIC;

-- Tells the planner what a prediction costs.
CREATE FUNCTION ltv.predict_support(internal) RETURNS internal
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_predict_support';
COMMENT ON FUNCTION ltv.predict_support IS 'what a prediction costs, for the planner';

-- ltv_predict: expected value -------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.ltv_predict(input anyarray) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict';
COMMENT ON FUNCTION @extschema@.ltv_predict(anyarray)
    IS 'expected value, by the model in ltv.default_model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict(input record) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict';
COMMENT ON FUNCTION @extschema@.ltv_predict(record)
    IS 'expected value, by the model in ltv.default_model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict(input jsonb) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict';
COMMENT ON FUNCTION @extschema@.ltv_predict(jsonb)
    IS 'expected value, by the model in ltv.default_model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict(model text, input anyarray) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_model';
COMMENT ON FUNCTION @extschema@.ltv_predict(text, anyarray)
    IS 'expected value, by the champion of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict(model text, input record) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_model';
COMMENT ON FUNCTION @extschema@.ltv_predict(text, record)
    IS 'expected value, by the champion of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict(model text, input jsonb) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_model';
COMMENT ON FUNCTION @extschema@.ltv_predict(text, jsonb)
    IS 'expected value, by the champion of a model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict(model text, version bigint, input anyarray) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_version';
COMMENT ON FUNCTION @extschema@.ltv_predict(text, bigint, anyarray)
    IS 'expected value, by a pinned version of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict(model text, version bigint, input record) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_version';
COMMENT ON FUNCTION @extschema@.ltv_predict(text, bigint, record)
    IS 'expected value, by a pinned version of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict(model text, version bigint, input jsonb) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_version';
COMMENT ON FUNCTION @extschema@.ltv_predict(text, bigint, jsonb)
    IS 'expected value, by a pinned version of a model; inputs by key or position';

-- ltv_predict_proba: probability of a purchase --------------------------------------------------------------------

CREATE FUNCTION @extschema@.ltv_predict_proba(input anyarray) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_proba';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(anyarray)
    IS 'probability of a purchase, by the model in ltv.default_model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_proba(input record) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_proba';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(record)
    IS 'probability of a purchase, by the model in ltv.default_model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_proba(input jsonb) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_proba';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(jsonb)
    IS 'probability of a purchase, by the model in ltv.default_model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict_proba(model text, input anyarray) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_proba_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(text, anyarray)
    IS 'probability of a purchase, by the champion of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_proba(model text, input record) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_proba_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(text, record)
    IS 'probability of a purchase, by the champion of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_proba(model text, input jsonb) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_proba_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(text, jsonb)
    IS 'probability of a purchase, by the champion of a model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict_proba(model text, version bigint, input anyarray) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_proba_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(text, bigint, anyarray)
    IS 'probability of a purchase, by a pinned version of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_proba(model text, version bigint, input record) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_proba_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(text, bigint, record)
    IS 'probability of a purchase, by a pinned version of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_proba(model text, version bigint, input jsonb) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_proba_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_proba(text, bigint, jsonb)
    IS 'probability of a purchase, by a pinned version of a model; inputs by key or position';

-- ltv_predict_quantile: quantile at level q of the predicted distribution -----------------------------------------

CREATE FUNCTION @extschema@.ltv_predict_quantile(input anyarray, q float8) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_quantile';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(anyarray, float8)
    IS 'quantile at level q of the predicted distribution, by the model in ltv.default_model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_quantile(input record, q float8) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_quantile';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(record, float8)
    IS 'quantile at level q of the predicted distribution, by the model in ltv.default_model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_quantile(input jsonb, q float8) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_quantile';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(jsonb, float8)
    IS 'quantile at level q of the predicted distribution, '
       'by the model in ltv.default_model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict_quantile(
    model text, input anyarray, q float8
) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_quantile_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(text, anyarray, float8)
    IS 'quantile at level q of the predicted distribution, by the champion of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_quantile(model text, input record, q float8) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_quantile_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(text, record, float8)
    IS 'quantile at level q of the predicted distribution, by the champion of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_quantile(model text, input jsonb, q float8) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_quantile_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(text, jsonb, float8)
    IS 'quantile at level q of the predicted distribution, by the champion of a model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict_quantile(
    model text, version bigint, input anyarray, q float8
) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_quantile_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(text, bigint, anyarray, float8)
    IS 'quantile at level q of the predicted distribution, by a pinned version of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_quantile(
    model text, version bigint, input record, q float8
) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_quantile_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(text, bigint, record, float8)
    IS 'quantile at level q of the predicted distribution, by a pinned version of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_quantile(
    model text, version bigint, input jsonb, q float8
) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_quantile_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_quantile(text, bigint, jsonb, float8)
    IS 'quantile at level q of the predicted distribution, by a pinned version of a model; inputs by key or position';

-- ltv_predict_all: everything the model predicts ------------------------------------------------------------------

CREATE FUNCTION @extschema@.ltv_predict_all(input anyarray) RETURNS ltv.prediction
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(anyarray)
    IS 'everything the model predicts, by the model in ltv.default_model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_all(input record) RETURNS ltv.prediction
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(record)
    IS 'everything the model predicts, by the model in ltv.default_model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_all(input jsonb) RETURNS ltv.prediction
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(jsonb)
    IS 'everything the model predicts, by the model in ltv.default_model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict_all(model text, input anyarray) RETURNS ltv.prediction
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(text, anyarray)
    IS 'everything the model predicts, by the champion of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_all(model text, input record) RETURNS ltv.prediction
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(text, record)
    IS 'everything the model predicts, by the champion of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_all(model text, input jsonb) RETURNS ltv.prediction
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_model';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(text, jsonb)
    IS 'everything the model predicts, by the champion of a model; inputs by key or position';

CREATE FUNCTION @extschema@.ltv_predict_all(model text, version bigint, input anyarray) RETURNS ltv.prediction
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(text, bigint, anyarray)
    IS 'everything the model predicts, by a pinned version of a model; inputs by position';
CREATE FUNCTION @extschema@.ltv_predict_all(model text, version bigint, input record) RETURNS ltv.prediction
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(text, bigint, record)
    IS 'everything the model predicts, by a pinned version of a model; inputs by column name';
CREATE FUNCTION @extschema@.ltv_predict_all(model text, version bigint, input jsonb) RETURNS ltv.prediction
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_version';
COMMENT ON FUNCTION @extschema@.ltv_predict_all(text, bigint, jsonb)
    IS 'everything the model predicts, by a pinned version of a model; inputs by key or position';

-- What this session keeps ready ------------------------------------------------------------------------------------

CREATE FUNCTION ltv.loaded_models_as_json() RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ltv_loaded_models';
COMMENT ON FUNCTION ltv.loaded_models_as_json() IS 'what ltv.loaded_models shows, as an array';

CREATE FUNCTION ltv.loaded_models()
RETURNS TABLE (
    model text, version int, checksum text, graph_bytes bigint, load_milliseconds float8, uses bigint
)
LANGUAGE sql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM jsonb_to_recordset(ltv.loaded_models_as_json())
        AS m(model text, version int, checksum text, graph_bytes bigint, load_milliseconds float8, uses bigint)
    WHERE ltv.has_privilege(m.model, 'predict')
$$;
COMMENT ON FUNCTION ltv.loaded_models() IS 'the models that this session keeps ready and that the role may score with';

CREATE VIEW @extschema@.ltv_loaded_models AS SELECT * FROM ltv.loaded_models();
COMMENT ON VIEW @extschema@.ltv_loaded_models
    IS 'the models that this session keeps ready to score, most recently used first';
COMMENT ON COLUMN @extschema@.ltv_loaded_models.model IS 'the model';
COMMENT ON COLUMN @extschema@.ltv_loaded_models.version IS 'the version';
COMMENT ON COLUMN @extschema@.ltv_loaded_models.checksum IS 'SHA-256 of its ONNX graph';
COMMENT ON COLUMN @extschema@.ltv_loaded_models.graph_bytes IS 'size of its ONNX graph';
COMMENT ON COLUMN @extschema@.ltv_loaded_models.load_milliseconds IS 'how long loading it took';
COMMENT ON COLUMN @extschema@.ltv_loaded_models.uses IS 'how often it was looked up since';
GRANT SELECT ON @extschema@.ltv_loaded_models TO PUBLIC;

-- json and text -----------------------------------------------------------------------------------------------------
--
-- What clients send for JSON. A literal or parameter without a type is taken as text, which can only be meant as JSON.
-- The functions are inlined, so they are scored in batches like the others.

DO $do$
DECLARE
    called    text;
    quantile  boolean;
    type_name text;
    pin       record;
    signature text;
    body      text;
BEGIN
    FOREACH called IN ARRAY ARRAY['ltv_predict', 'ltv_predict_proba', 'ltv_predict_quantile', 'ltv_predict_all'] LOOP
        quantile := called = 'ltv_predict_quantile';
        FOREACH type_name IN ARRAY ARRAY['json', 'text'] LOOP
            FOR pin IN SELECT * FROM (VALUES
                ('', '', 'STABLE', 'the model in ltv.default_model'),
                ('model text, ', 'model, ', 'STABLE', 'the champion of a model'),
                ('model text, version bigint, ', 'model, version, ', 'IMMUTABLE', 'a pinned version of a model')
            ) v(declared, passed, volatility, meaning) LOOP
                signature := pin.declared || 'input pg_catalog.' || type_name
                    || CASE WHEN quantile THEN ', q float8' ELSE '' END;
                body := pin.passed || 'input::pg_catalog.jsonb' || CASE WHEN quantile THEN ', q' ELSE '' END;
                EXECUTE format(
                    'CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE sql %s PARALLEL SAFE COST 100 '
                    'RETURN @extschema@.%I(%s)',
                    called, signature,
                    CASE called WHEN 'ltv_predict_all' THEN 'ltv.prediction' ELSE 'float8' END,
                    pin.volatility, called, body);
                EXECUTE format('COMMENT ON FUNCTION @extschema@.%I(%s) IS %L', called, signature,
                               CASE type_name WHEN 'json' THEN 'the same for json, by '
                                    ELSE 'the same for JSON written as text, by ' END || pin.meaning);
            END LOOP;
        END LOOP;
    END LOOP;
END
$do$;
