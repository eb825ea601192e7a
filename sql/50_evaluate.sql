-- How good a model is: ltv_evaluate and ltv_decile_stats score the rows of a query and compare with what happened.
--
-- The public functions bind their caller's query in the caller's search_path. Without one ltv_evaluate tells what
-- the training found on customers held out, and ltv_decile_stats shows the rows trained on, which the stored
-- query delivers with the rights of the model's owner.

CREATE FUNCTION ltv.evaluation_add(internal, actual float8, prediction float8,
    purchase_probability float8, whale_probability float8, p10 float8,
    p90 float8, whale_threshold float8) RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_evaluation_add';
COMMENT ON FUNCTION ltv.evaluation_add IS 'transition function of ltv.evaluation';

CREATE FUNCTION ltv.evaluation_metrics(internal) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_evaluation_metrics';
COMMENT ON FUNCTION ltv.evaluation_metrics IS 'final function of ltv.evaluation';

CREATE AGGREGATE ltv.evaluation(actual float8, prediction float8,
    purchase_probability float8, whale_probability float8, p10 float8,
    p90 float8, whale_threshold float8) (
    SFUNC = ltv.evaluation_add, STYPE = internal, FINALFUNC = ltv.evaluation_metrics, PARALLEL = SAFE
);
COMMENT ON AGGREGATE ltv.evaluation(float8, float8, float8, float8,
    float8, float8, float8)
    IS 'all metrics of predictions, as an array of {metric, value}; rows whose actual value is NULL do not count';

CREATE FUNCTION ltv.deciles_add(internal, actual float8, prediction float8, groups float8)
RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_deciles_add';
COMMENT ON FUNCTION ltv.deciles_add IS 'transition function of ltv.deciles';

CREATE FUNCTION ltv.deciles_table(internal) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_deciles_table';
COMMENT ON FUNCTION ltv.deciles_table IS 'final function of ltv.deciles';

CREATE AGGREGATE ltv.deciles(actual float8, prediction float8, groups float8) (
    SFUNC = ltv.deciles_add, STYPE = internal, FINALFUNC = ltv.deciles_table, PARALLEL = SAFE
);
COMMENT ON AGGREGATE ltv.deciles(float8, float8, float8)
    IS 'rows in groups of equal size by descending prediction, as an array, best group first';

-- The same as ltv_predict and ltv_predict_all of a pinned version, by names that
-- do not depend on the extension's schema.
CREATE FUNCTION ltv.predict(model text, version int, input record) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_version';
COMMENT ON FUNCTION ltv.predict(text, int, record)
    IS 'ltv_predict of a pinned version, for functions of the extension';
CREATE FUNCTION ltv.predict(model text, input record) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_model';
COMMENT ON FUNCTION ltv.predict(text, record) IS 'ltv_predict of the champion, for functions of the extension';
CREATE FUNCTION ltv.predict_all(model text, version int, input record) RETURNS ltv.prediction
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support AS 'MODULE_PATHNAME', 'ltv_predict_all_version';
COMMENT ON FUNCTION ltv.predict_all(text, int, record)
    IS 'ltv_predict_all of a pinned version, for functions of the extension';

CREATE FUNCTION ltv.predict_horizon(model text, version int, input record, days float8) RETURNS float8
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_horizon_version';
COMMENT ON FUNCTION ltv.predict_horizon(text, int, record, float8)
    IS 'ltv_predict_horizon of a pinned version, for functions of the extension';

CREATE FUNCTION ltv.predict_interval(model text, version int, input record, coverage float8) RETURNS float8[]
LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 SUPPORT ltv.predict_support
AS 'MODULE_PATHNAME', 'ltv_predict_interval_version';
COMMENT ON FUNCTION ltv.predict_interval(text, int, record, float8)
    IS 'ltv_predict_interval of a pinned version, for functions of the extension';

-- SQL for a target as a number: an amount, or whether something happened.
CREATE FUNCTION ltv.target_value(row_name text, target text, type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE ltv.base_type(type) WHEN 'boolean'::regtype THEN format('%I.%I::int::float8', row_name, target)
        WHEN 'money'::regtype THEN format('%I.%I::numeric::float8', row_name, target)
        ELSE format('%I.%I::float8', row_name, target) END
$$;
COMMENT ON FUNCTION ltv.target_value IS 'SQL for a target as a number';

-- A label of a shorter horizon that a version has learned, ltv_30, is compared with what it predicts by that day.
CREATE FUNCTION ltv.learned_horizon(model text, version int, target text) RETURNS float8
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.days::float8
    FROM ltv.readable_versions v, jsonb_array_elements_text(v.schema -> 'horizons') AS h(days)
    WHERE v.model = $1 AND v.version = $2 AND target = 'ltv_' || h.days::float8 AND target <> v.recipe ->> 'target'
$$;
COMMENT ON FUNCTION ltv.learned_horizon IS 'the days of a label if a version predicts it beside its target, else NULL';

-- SQL for the 80 % interval of a row scored as p: with a promise where the version has such, else of its law.
CREATE FUNCTION ltv.scored_interval(model text, version int, input text, days float8) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN days IS NULL AND v.schema -> 'intervals' IS NOT NULL
                THEN format('ltv.predict_interval(%L, %s, %s, 0.8)', model, version, input) ELSE 'NULL::float8[]' END
    FROM ltv.readable_versions v WHERE v.model = $1 AND v.version = $2
$$;
COMMENT ON FUNCTION ltv.scored_interval IS 'SQL for the interval of a row, NULL where the version has none';

-- The rows of a bound query, scored once each, with the target that the version was trained on unless another is named.
CREATE FUNCTION ltv.scored_query(model text, version int, query text, target text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns record := ltv.query_columns(query);
    place int;
    days float8;
BEGIN
    target := COALESCE(target, (SELECT v.recipe ->> 'target' FROM ltv.readable_versions v
        WHERE v.model = scored_query.model AND v.version = scored_query.version), 'ltv');
    place := ltv.check_column(columns.names, target, 'target');
    days := ltv.learned_horizon(model, version, target);
    RETURN format(
        'SELECT %s AS actual, %s AS p, %s AS band FROM (%s%s) ltv_s WHERE ltv_s.%I IS NOT NULL OFFSET 0',
        ltv.target_value('ltv_s', target, columns.types[place]),
        CASE WHEN days IS NULL THEN format('ltv.predict_all(%L, %s, ltv_s)', model, version)
             ELSE format('ROW(ltv.predict_horizon(%L, %s, ltv_s, %s), NULL, NULL, NULL, NULL, NULL, %2$s)'
                         '::ltv.prediction', model, version, days) END,
        ltv.scored_interval(model, version, 'ltv_s', days), ltv.gathered_query(query), E'\n', target);
END
$$;
COMMENT ON FUNCTION ltv.scored_query
    IS 'the text of a query that gives the actual value and the predictions for each row of a bound query';

-- What a version was trained on, as somebody wrote it, with the search_path it
-- was written for and the role that it runs as.
CREATE FUNCTION ltv.stored_source(
    model text, version int, argument text, OUT source text, OUT path text, OUT owner regrole
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT COALESCE(ltv.trained_relation(m.owner, v.recipe), v.recipe ->> 'query'), v.recipe ->> 'search_path', m.owner
    INTO source, path, owner
    FROM ltv.readable_versions v JOIN ltv.usable_models m USING (model)
    WHERE v.model = stored_source.model AND v.version = stored_source.version;
    IF source IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = format('the %s must be given', argument),
            DETAIL = 'The version was imported, so the customers that it was trained on are not known.',
            HINT = format('Name a relation or a query of typical customers: %s => ''...''.', argument);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.stored_source IS 'what a version was trained on, or an error that asks for the argument';

-- A statement about the rows of a version: of the bound query if there is one, else of those that it
-- was trained on. $1 is the query, $2 the argument.
CREATE FUNCTION ltv.on_rows(model text, version int, query text, statement text, argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored record;
    result jsonb;
BEGIN
    IF query IS NULL THEN
        stored := ltv.stored_source(model, version, 'query');
        RETURN ltv.run_as(stored.owner, stored.path, stored.source, statement, argument);
    END IF;
    EXECUTE statement INTO result USING query, argument;
    RETURN result;
END
$$;
COMMENT ON FUNCTION ltv.on_rows
    IS 'runs a statement of ours on the rows of a query or, with the rights of the model''s owner, '
       'on those a version was trained on';

CREATE FUNCTION ltv.whale_threshold(model text, version int) RETURNS float8
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE((v.recipe #>> '{options,whale_threshold}')::float8,
        (v.statistics #> '{target,payer_quantiles}'
            ->> round(100 * COALESCE((v.recipe #>> '{options,whale_quantile}')::float8, 0.93))::int)::float8)
    FROM ltv.readable_versions v WHERE v.model = $1 AND v.version = $2
$$;
COMMENT ON FUNCTION ltv.whale_threshold IS 'from which value on a customer was a whale when a version was trained';

-- Metrics on the rows of a bound query, as an array of {metric, value}.
CREATE FUNCTION ltv.metrics_of_rows(
    query text, model text, version int, target text, whale_threshold float8
) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    metrics jsonb;
BEGIN
    EXECUTE 'SELECT ltv.evaluation(s.actual, (s.p).ltv, (s.p).purchase_probability, (s.p).whale_probability, '
            'COALESCE(s.band[1], (s.p).p10), COALESCE(s.band[2], (s.p).p90), $1) FROM ('
        || ltv.scored_query(model, version, query, target) || ') s'
        INTO metrics USING COALESCE(whale_threshold, ltv.whale_threshold(model, version));
    RETURN metrics;
END
$$;
COMMENT ON FUNCTION ltv.metrics_of_rows IS 'metrics of a version on the rows of a bound query';

-- How a version did on customers that it had not learnt from, as its training found.
CREATE FUNCTION ltv.held_out_metrics(model text, version int) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored jsonb := (SELECT v.metrics FROM ltv.readable_versions v
                     WHERE v.model = held_out_metrics.model AND v.version = held_out_metrics.version);
BEGIN
    IF stored -> 'rows' IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the query must be given',
            DETAIL = format('Version %s of model "%s" was not trained here, '
                            'so no metrics of customers held out are stored.',
                            version, model),
            HINT = 'Name a relation or a query of customers with a known value: query => ''...''.';
    ELSIF stored ->> 'evaluated_on' = 'training' THEN
        RAISE NOTICE USING
            MESSAGE = format('no customers were held out of the training of version %s: '
                             'these metrics are of rows that it was trained on', version),
            DETAIL = 'They flatter it.',
            HINT = 'Name a relation or a query of other customers with a known value: query => ''...''. '
                   'Or leave the split to pg_ltv when you train.';
    END IF;
    RETURN (SELECT jsonb_agg(jsonb_build_object('metric', m.key, 'value', m.value) ORDER BY o.i, m.key)
            FROM jsonb_each(stored) m
            LEFT JOIN unnest(
                '{rows,payers,normalized_gini,spearman,auc,decile_mape,total_ratio,total_ratio_low,total_ratio_high,'
                'mean_actual,mean_prediction,rmse,mae,log_loss,'
                'revenue_capture_1,revenue_capture_5,revenue_capture_10,revenue_capture_20,'
                'top_recall_1,top_recall_5,top_recall_10,top_recall_20,'
                'interval_coverage,interval_width}'::text[])
                 WITH ORDINALITY AS o(metric, i) ON o.metric = m.key
            WHERE jsonb_typeof(m.value) = 'number');
END
$$;
COMMENT ON FUNCTION ltv.held_out_metrics IS 'metrics of a version on the customers that were held out of its training';

-- Rows that a version has learnt from flatter it, so whoever asks about them is told:
-- where a query reads all that the training read.
CREATE FUNCTION ltv.training_relations(model text, version int, query text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trained_on text[];
BEGIN
    SELECT array_agg((ltv.followed((r ->> 'oid')::oid::regclass, r)).relation) INTO trained_on
    FROM ltv.readable_versions v,
         jsonb_array_elements(CASE WHEN v.recipe ->> 'relation' IS NULL THEN NULLIF(v.recipe -> 'reads', 'null')
                                   ELSE jsonb_build_array(v.recipe -> 'relation_followed') END) r
    WHERE v.model = training_relations.model AND v.version = training_relations.version
      AND v.recipe ->> 'split_column' IS NULL AND v.recipe #>> '{promotion,promote}' IS DISTINCT FROM 'if_better';
    IF ARRAY(SELECT ltv.relation_named(t) FROM unnest(trained_on) t) <@ ltv.query_relations(query) THEN
        RETURN array_to_string(trained_on, ', ');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.training_relations IS 'what a version was trained on, if a query reads all of it';

CREATE FUNCTION ltv.notice_training_rows(model text, version int, query text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trained_on text := ltv.training_relations(model, version, query);
BEGIN
    IF trained_on IS NOT NULL THEN
        RAISE NOTICE USING
            MESSAGE = format('version %s was trained on rows of %s: those flatter it', version, trained_on),
            HINT = format('ltv_evaluate(%L) without a query tells how it did on customers that it had not seen.',
                          model);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.notice_training_rows IS 'says so where a query reads what a version was trained on';

CREATE FUNCTION ltv.metrics(model text, query text, version bigint, target text, whale_threshold float8)
RETURNS TABLE (metric text, value float8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    metrics jsonb;
BEGIN
    IF query IS NOT NULL THEN
        metrics := ltv.metrics_of_rows(query, model, used, target, whale_threshold);
    ELSIF num_nonnulls(target, whale_threshold) > 0 THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the query must be given with another target or threshold',
            HINT = 'Name a relation or a query of customers with a known value: query => ''...''.';
    ELSE
        metrics := ltv.held_out_metrics(model, used);
    END IF;
    RETURN QUERY SELECT m.metric, m.value
        FROM ROWS FROM (jsonb_to_recordset(metrics) AS (metric text, value float8))
             WITH ORDINALITY AS m(metric, value, place)
        ORDER BY m.place;
END
$$;
COMMENT ON FUNCTION ltv.metrics IS 'see ltv_evaluate; the query is bound';

CREATE FUNCTION ltv.evaluate_for_user(
    model text, query text, version bigint, target text, whale_threshold float8
)
RETURNS TABLE (metric text, value float8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF query IS NOT NULL THEN
        PERFORM ltv.notice_training_rows(model, ltv.version_or_champion(model, version), query);
    END IF;
    RETURN QUERY SELECT * FROM ltv.metrics(model, query, version, target, whale_threshold);
END
$$;
COMMENT ON FUNCTION ltv.evaluate_for_user IS 'ltv.evaluate, with a notice about rows that were trained on';

CREATE FUNCTION ltv.evaluate(model text, query text, version bigint, target text,
    whale_threshold float8)
RETURNS TABLE (metric text, value float8)
LANGUAGE sql
AS $$ SELECT * FROM ltv.evaluate_for_user(model, ltv.bind_query(query), version, target, whale_threshold) $$;
COMMENT ON FUNCTION ltv.evaluate(text, text, bigint, text, float8) IS 'see ltv_evaluate';

CREATE FUNCTION @extschema@.ltv_evaluate(
    model text, query text DEFAULT NULL, version bigint DEFAULT NULL, target text DEFAULT NULL,
    whale_threshold float8 DEFAULT NULL
)
RETURNS TABLE (metric text, value float8)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_evaluate
    IS 'metrics of a version (by default the champion) on the rows of a relation or query; '
       'without one on the customers that were held out of its training';

CREATE FUNCTION ltv.deciles_of_rows(query text, model text, version int, target text, groups int) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deciles jsonb;
BEGIN
    EXECUTE 'SELECT ltv.deciles(s.actual, COALESCE((s.p).ltv, (s.p).purchase_probability), $1) FROM ('
        || ltv.scored_query(model, version, query, target) || ') s' INTO deciles USING groups::float8;
    RETURN deciles;
END
$$;
COMMENT ON FUNCTION ltv.deciles_of_rows IS 'groups of the rows of a bound query by descending prediction';

CREATE TYPE ltv.decile AS (
    decile int, customers bigint, min_prediction float8, max_prediction float8,
    mean_prediction float8, mean_actual float8, payer_share float8, cumulative_revenue_share float8
);
COMMENT ON TYPE ltv.decile IS 'one group of customers by descending prediction, see ltv_decile_stats';

CREATE FUNCTION ltv.decile_stats_of_query(model text, query text, version bigint, target text, groups int)
RETURNS SETOF ltv.decile
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int;
    deciles jsonb;
BEGIN
    IF groups IS NULL OR groups NOT BETWEEN 1 AND 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the number of groups must be between 1 and 1000';
    END IF;
    used := ltv.version_or_champion(model, version);
    deciles := ltv.on_rows(model, used, query,
        'SELECT ltv.deciles_of_rows($1, $2 ->> ''model'', ($2 ->> ''version'')::int, '
        '$2 ->> ''target'', ($2 ->> ''groups'')::int)',
        jsonb_build_object('model', model, 'version', used, 'target', target, 'groups', groups));
    RETURN QUERY
        SELECT d.* FROM jsonb_populate_recordset(NULL::ltv.decile, deciles) d ORDER BY d.decile;
END
$$;
COMMENT ON FUNCTION ltv.decile_stats_of_query IS 'see ltv_decile_stats; the query is bound';

CREATE FUNCTION ltv.decile_stats(model text, query text, version bigint, target text,
    groups int)
RETURNS SETOF ltv.decile
LANGUAGE sql
AS $$ SELECT * FROM ltv.decile_stats_of_query(model, ltv.bind_query(query), version, target, groups) $$;
COMMENT ON FUNCTION ltv.decile_stats(text, text, bigint, text, int) IS 'see ltv_decile_stats';

CREATE FUNCTION @extschema@.ltv_decile_stats(
    model text, query text DEFAULT NULL, version bigint DEFAULT NULL, target text DEFAULT NULL,
    groups int DEFAULT 10
)
RETURNS TABLE (decile int, customers bigint, min_prediction float8, max_prediction float8,
    mean_prediction float8, mean_actual float8, payer_share float8,
    cumulative_revenue_share float8)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_decile_stats
    IS 'customers in groups of equal size by descending prediction: predicted and actual value of each group';
