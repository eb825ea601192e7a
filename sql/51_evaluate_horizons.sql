-- How good each horizon of a version is: as its training found, or on the rows of a query.

CREATE TYPE ltv.horizon_metrics AS (
    horizon float8, customers bigint, predicted float8, actual float8, total_ratio float8, normalized_gini float8,
    spearman float8, decile_mape float8
);
COMMENT ON TYPE ltv.horizon_metrics IS 'one horizon of a version judged, see ltv_horizons';

CREATE FUNCTION ltv.horizons_of_query(model text, query text, version bigint, notices boolean DEFAULT true)
RETURNS SETOF ltv.horizon_metrics
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    about record;
    days float8;
    longest float8;
    label text;
    found jsonb;
    columns text[];
    known boolean;
BEGIN
    SELECT v.recipe ->> 'target' AS target, v.schema -> 'horizons' AS horizons, v.metrics,
           v.statistics -> 'horizon' AS horizon
    INTO about FROM ltv.readable_versions v WHERE v.model = horizons_of_query.model AND v.version = used;
    IF query IS NOT NULL THEN
        IF notices THEN
            PERFORM ltv.notice_training_rows(model, used, query);
        END IF;
        columns := (ltv.query_columns(query)).names;
    END IF;
    SELECT max(h::float8) INTO longest FROM jsonb_array_elements_text(about.horizons) h;
    FOR days IN
        SELECT h::float8 FROM jsonb_array_elements_text(COALESCE(about.horizons, jsonb_build_array(about.horizon))) h
        ORDER BY 1 NULLS LAST
    LOOP
        IF query IS NULL THEN
            found := CASE WHEN about.horizons IS NULL THEN about.metrics
                          ELSE (SELECT m FROM jsonb_array_elements(about.metrics -> 'horizons') m
                                WHERE (m ->> 'days')::float8 = days) END;
        ELSE
            label := CASE WHEN days < longest THEN 'ltv_' || days ELSE about.target END;
            -- Of customers of yesterday nobody may know the longer ones.
            known := false;
            IF label = ANY (columns) THEN
                EXECUTE format('SELECT EXISTS (SELECT FROM (%s%s) ltv_s WHERE ltv_s.%I IS NOT NULL)',
                               query, E'\n', label) INTO known;
            END IF;
            found := CASE WHEN known
                          THEN (SELECT jsonb_object_agg(e.metric, e.value)
                                FROM ltv.metrics(model, query, used, label, NULL) e) END;
        END IF;
        RETURN NEXT (days, (found ->> 'rows')::float8::bigint,
            (found ->> 'mean_prediction')::float8 * (found ->> 'rows')::float8,
            (found ->> 'mean_actual')::float8 * (found ->> 'rows')::float8,
            (found ->> 'total_ratio')::float8, (found ->> 'normalized_gini')::float8,
            (found ->> 'spearman')::float8, (found ->> 'decile_mape')::float8)::ltv.horizon_metrics;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.horizons_of_query IS 'see ltv_horizons; the query is bound';

CREATE FUNCTION ltv.horizons(model text, query text, version bigint)
RETURNS SETOF ltv.horizon_metrics
LANGUAGE sql
AS $$ SELECT * FROM ltv.horizons_of_query(model, ltv.bind_query(query), version) $$;
COMMENT ON FUNCTION ltv.horizons(text, text, bigint) IS 'see ltv_horizons';

CREATE FUNCTION @extschema@.ltv_horizons(model text, query text DEFAULT NULL, version bigint DEFAULT NULL)
RETURNS TABLE (
    horizon float8, customers bigint, predicted float8, actual float8, total_ratio float8, normalized_gini float8,
    spearman float8, decile_mape float8
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_horizons
    IS 'the horizons of a version in days with their metrics, '
       'on customers held out of its training or on the rows of a query';
