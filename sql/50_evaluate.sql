-- How good a model is: ltv_evaluate and ltv_decile_stats score the rows of a query and compare with what happened.
--
-- The query is the caller's own, so these functions keep the caller's search_path.

CREATE FUNCTION ltv.evaluation_add(internal, actual double precision, prediction double precision,
    purchase_probability double precision, whale_probability double precision, p10 double precision,
    p90 double precision, whale_threshold double precision) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_evaluation_add';
COMMENT ON FUNCTION ltv.evaluation_add IS 'transition function of ltv.evaluation';

CREATE FUNCTION ltv.evaluation_metrics(internal) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_evaluation_metrics';
COMMENT ON FUNCTION ltv.evaluation_metrics IS 'final function of ltv.evaluation';

CREATE AGGREGATE ltv.evaluation(actual double precision, prediction double precision,
    purchase_probability double precision, whale_probability double precision, p10 double precision,
    p90 double precision, whale_threshold double precision) (
    SFUNC = ltv.evaluation_add, STYPE = internal, FINALFUNC = ltv.evaluation_metrics, PARALLEL = SAFE
);
COMMENT ON AGGREGATE ltv.evaluation(double precision, double precision, double precision, double precision,
    double precision, double precision, double precision)
    IS 'all metrics of predictions, as an array of {metric, value}; rows whose actual value is NULL do not count';

CREATE FUNCTION ltv.deciles_add(internal, actual double precision, prediction double precision, groups double precision)
RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_deciles_add';
COMMENT ON FUNCTION ltv.deciles_add IS 'transition function of ltv.deciles';

CREATE FUNCTION ltv.deciles_table(internal) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_deciles_table';
COMMENT ON FUNCTION ltv.deciles_table IS 'final function of ltv.deciles';

CREATE AGGREGATE ltv.deciles(actual double precision, prediction double precision, groups double precision) (
    SFUNC = ltv.deciles_add, STYPE = internal, FINALFUNC = ltv.deciles_table, PARALLEL = SAFE
);
COMMENT ON AGGREGATE ltv.deciles(double precision, double precision, double precision)
    IS 'rows in groups of equal size by descending prediction, as an array, best group first';

-- The rows of a query, scored once each, with the target that the version was trained on unless another is named.
CREATE FUNCTION ltv.scored_query(model text, query text, version integer, target text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    source text;
    names  text[];
BEGIN
    IF query IS NULL THEN
        SELECT COALESCE(v.recipe->>'query', v.recipe->>'relation') INTO query
        FROM ltv.versions v WHERE v.model = scored_query.model AND v.version = scored_query.version;
        IF query IS NULL THEN
            RAISE null_value_not_allowed USING MESSAGE = 'the query must not be null',
                HINT = 'Give the relation or the query whose rows are to be scored.';
        END IF;
    END IF;
    target := COALESCE(target, (SELECT v.recipe->>'target' FROM ltv.versions v
        WHERE v.model = scored_query.model AND v.version = scored_query.version), 'ltv');
    source := ltv.query_text(query);
    SELECT c.names INTO names FROM ltv.query_columns(source) c;
    PERFORM ltv.check_column(names, target, 'target');
    RETURN pg_catalog.format(
        'SELECT ltv_s.%I::pg_catalog.float8 AS actual, @extschema@.ltv_predict_all(%L, %s, ltv_s) AS p FROM (%s) ltv_s WHERE ltv_s.%I IS NOT NULL OFFSET 0',
        target, model, version, source || E'\n', target);
END
$$;
COMMENT ON FUNCTION ltv.scored_query IS 'the text of a query that gives the actual value and the predictions for each row of a query';

CREATE FUNCTION @extschema@.ltv_evaluate(model text, query text DEFAULT NULL, version integer DEFAULT NULL, target text DEFAULT NULL,
    whale_threshold double precision DEFAULT NULL)
RETURNS TABLE (metric text, value double precision)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    scored  text;
    metrics jsonb;
BEGIN
    version := ltv.version_or_champion(model, version);
    scored := ltv.scored_query(model, query, version, target);
    IF whale_threshold IS NULL THEN
        SELECT COALESCE((v.recipe #>> '{options,whale_threshold}')::pg_catalog.float8,
               (v.statistics #> '{target,payer_quantiles}' ->> pg_catalog.round(100
                    * COALESCE((v.recipe #>> '{options,whale_quantile}')::pg_catalog.float8, 0.93))::pg_catalog.int4)::pg_catalog.float8)
        INTO whale_threshold
        FROM ltv.versions v WHERE v.model = ltv_evaluate.model AND v.version = ltv_evaluate.version;
    END IF;
    EXECUTE 'SELECT ltv.evaluation(s.actual, (s.p).ltv, (s.p).purchase_probability, (s.p).whale_probability, (s.p).p10, (s.p).p90, $1) FROM ('
        || scored || ') s' INTO metrics USING whale_threshold;
    RETURN QUERY SELECT m.metric, m.value
        FROM ROWS FROM (pg_catalog.jsonb_to_recordset(metrics) AS (metric text, value pg_catalog.float8)) WITH ORDINALITY AS m(metric, value, place)
        ORDER BY m.place;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_evaluate IS 'metrics of a version (by default the champion) on the rows of a relation or query (by default what it was trained on)';

CREATE FUNCTION @extschema@.ltv_decile_stats(model text, query text DEFAULT NULL, version integer DEFAULT NULL, target text DEFAULT NULL,
    groups integer DEFAULT 10)
RETURNS TABLE (decile integer, customers bigint, min_prediction double precision, max_prediction double precision,
    mean_prediction double precision, mean_actual double precision, payer_share double precision,
    cumulative_revenue_share double precision)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    scored text;
    deciles jsonb;
BEGIN
    IF groups IS NULL OR groups NOT BETWEEN 1 AND 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the number of groups must be between 1 and 1000';
    END IF;
    version := ltv.version_or_champion(model, version);
    scored := ltv.scored_query(model, query, version, target);
    EXECUTE 'SELECT ltv.deciles(s.actual, COALESCE((s.p).ltv, (s.p).purchase_probability), $1) FROM (' || scored || ') s'
        INTO deciles USING groups::pg_catalog.float8;
    RETURN QUERY SELECT d.* FROM pg_catalog.jsonb_to_recordset(deciles) AS d(decile integer, customers bigint,
        min_prediction pg_catalog.float8, max_prediction pg_catalog.float8, mean_prediction pg_catalog.float8,
        mean_actual pg_catalog.float8, payer_share pg_catalog.float8, cumulative_revenue_share pg_catalog.float8)
        ORDER BY d.decile;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_decile_stats IS 'customers in groups of equal size by descending prediction: predicted and actual value of each group';
