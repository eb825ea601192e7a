-- Backtests: past cut-offs are scored with the version that was champion then, or with the first one where there was
-- none yet, on what was known of the customers then, and compared with what they spent since.

CREATE FUNCTION ltv.champion_at(model text, moment timestamptz) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.to_version
    FROM ltv.readable_promotions p
    JOIN ltv.readable_versions v ON v.model = p.model AND v.version = p.to_version
    WHERE p.model = $1 AND p.alias = 'champion' AND p.at < $2 ORDER BY p.promotion DESC LIMIT 1
$$;
COMMENT ON FUNCTION ltv.champion_at IS 'the version that was champion at a moment';

CREATE TYPE ltv.cutoff_metrics AS (
    cutoff date, used_version int, was_champion boolean, customers bigint, predicted float8,
    actual float8, total_ratio float8, normalized_gini float8, spearman float8, auc float8,
    decile_mape float8, mae float8, interval_coverage float8, interval_width float8
);
COMMENT ON TYPE ltv.cutoff_metrics IS 'a model judged at one cut-off, see ltv_backtest';

-- Runs as the owner of the features, who must be allowed to read the model. Returns an array of rows of ltv_backtest.
CREATE FUNCTION ltv.backtest_rows(argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_hashagg = off SET jit = off
AS $$
DECLARE
    model text := argument ->> 'model';
    target text := argument ->> 'target';
    spec jsonb := ltv.current_sources(argument ->> 'name', argument -> 'definition');
    today date := (now() AT TIME ZONE (spec ->> 'time_zone'))::date;
    facts ltv.log_facts := ltv.log_facts(spec, today);
    log_end record := ltv.log_end(spec);
    last_day date := COALESCE(log_end.day, facts.last_day);
    last_instant timestamptz := COALESCE(log_end.instant, facts.last_instant);
    context ltv.features_context;
    cutoff record;
    unfinished date;
    champion int;
    used int;
    query text;
    metrics jsonb;
    rows jsonb := '[]';
BEGIN
    IF NULLIF(spec -> 'age', 'null') IS NOT NULL THEN
        RAISE feature_not_supported USING MESSAGE = 'a backtest needs features as of days',
            DETAIL = format('%s looks at each customer so many days after the start.', argument ->> 'name'),
            HINT = 'Evaluate the model on those who came later, with a query => ''SELECT ... WHERE as_of > ...''.';
    END IF;
    IF NOT EXISTS (SELECT FROM ltv.feature_labels(spec) l WHERE l.name = target) THEN
        RAISE undefined_column USING MESSAGE = format('%s has no label "%s"', argument ->> 'name', target),
            DETAIL = format('Its labels are %s.', (SELECT string_agg(l.name, ', ' ORDER BY l.i)
                                                  FROM ltv.feature_labels(spec) l)),
            HINT = 'Name one of them with target => ''...'', or leave target out for the main one, ltv.';
    END IF;
    spec := ltv.with_cutoffs(spec || '{"materialized": true}',
        COALESCE((argument ->> 'as_of')::ltv.cutoffs, ltv.newest_cutoffs(spec, facts), ltv.own_cutoffs(spec)));
    SELECT min(c.as_of_day) INTO unfinished FROM ltv.features_cutoffs(spec) c
    WHERE CASE spec ->> 'unit' WHEN 'day' THEN c.until_day <= last_day
               ELSE c.until::timestamptz <= last_instant END IS NOT TRUE;
    IF unfinished IS NOT NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the horizon of the cut-off %s has not passed', unfinished),
            DETAIL = format('The log ends on %s.', COALESCE(last_day::text, 'no day, it is empty')),
            HINT = 'Give an earlier as_of.';
    END IF;
    PERFORM ltv.check_attributes(spec);
    context.today := today;
    context.log_end := ltv.known_log_end(spec, facts);

    FOR cutoff IN SELECT c.as_of, c.as_of_day AS day FROM ltv.features_cutoffs(spec) c ORDER BY c.as_of_day LOOP
        champion := ltv.champion_at(model, (cutoff.day + 1)::timestamp AT TIME ZONE (spec ->> 'time_zone'));
        used := COALESCE((argument ->> 'version')::int, champion,
                         (SELECT min(v.version) FROM ltv.readable_versions v WHERE v.model = argument ->> 'model'));
        query := ltv.features_query(spec || jsonb_build_object('as_of', jsonb_build_array(cutoff.as_of)), context);
        SELECT jsonb_object_agg(e.metric, e.value) INTO metrics
        FROM ltv.metrics(model, format('SELECT * FROM (%s) ltv_s WHERE ltv_s.%I IS NOT NULL', query, target),
                         used, target, NULL) e;
        rows := rows || jsonb_build_array(metrics || jsonb_build_object(
            'cutoff', cutoff.day, 'used_version', used, 'was_champion', COALESCE(used = champion, false)));
    END LOOP;
    RETURN rows;
END
$$;
COMMENT ON FUNCTION ltv.backtest_rows IS 'a backtest, as the owner of the features';

CREATE FUNCTION ltv.backtest(model text, as_of ltv.cutoffs, features regclass, version bigint, target text)
RETURNS SETOF ltv.cutoff_metrics
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reference int := ltv.version_or_champion(model, version);
    recipe jsonb := (SELECT COALESCE(v.recipe -> 'base', v.recipe) FROM ltv.readable_versions v
                     WHERE v.model = backtest.model AND v.version = reference);
    relation regclass := COALESCE(features, ltv.relation_named(ltv.trained_relation(
        (SELECT m.owner FROM ltv.usable_models m WHERE m.model = backtest.model), recipe)));
    spec jsonb := ltv.feature_definition(relation);
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation);
BEGIN
    IF spec IS NULL AND ltv.feature_facts(relation) IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', relation),
            DETAIL = format('It belongs to role "%s", whose query a backtest would run.', owner),
            HINT = 'Name features of your own with features => ''...'', or call ltv_evaluate with a query of your own.';
    ELSIF spec IS NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'a backtest needs features made by ltv_create_features',
            DETAIL = format('The model was trained on %s.', COALESCE(recipe ->> 'relation', 'a query')),
            HINT = 'Name such features with features => ''...'', or call ltv_evaluate with a query of your own.';
    END IF;
    RETURN QUERY
    SELECT r.cutoff, r.used_version, r.was_champion, r.rows::bigint, r.mean_prediction * r.rows,
           r.mean_actual * r.rows,
           r.total_ratio, r.normalized_gini, r.spearman, r.auc, r.decile_mape, r.mae,
           r.interval_coverage, r.interval_width
    FROM jsonb_to_recordset(ltv.run_as(owner, NULL, NULL, 'SELECT ltv.backtest_rows($2)', jsonb_build_object(
        'name', ltv.qualified_name(relation), 'definition', spec, 'model', model, 'version', version, 'as_of', as_of,
        'target', COALESCE(target, 'ltv'))))
        AS r (
            cutoff date, used_version int, was_champion boolean, rows float8, mean_prediction float8,
            mean_actual float8, total_ratio float8, normalized_gini float8, spearman float8, auc float8,
            decile_mape float8, mae float8, interval_coverage float8, interval_width float8
        ) ORDER BY r.cutoff;
END
$$;
COMMENT ON FUNCTION ltv.backtest IS 'see ltv_backtest';

CREATE FUNCTION ltv.backtest(model text, as_of ltv.cutoffs, features text, version bigint, target text)
RETURNS SETOF ltv.cutoff_metrics
LANGUAGE sql
AS $$ SELECT * FROM ltv.backtest(model, as_of, ltv.bind_relation(features), version, target) $$;
COMMENT ON FUNCTION ltv.backtest(text, ltv.cutoffs, text, bigint, text) IS 'see ltv_backtest';

CREATE FUNCTION @extschema@.ltv_backtest(
    model text, as_of ltv.cutoffs DEFAULT NULL, features text DEFAULT NULL, version bigint DEFAULT NULL,
    target text DEFAULT NULL
)
RETURNS TABLE (
    cutoff date, used_version int, was_champion boolean, customers bigint, predicted float8, actual float8,
    total_ratio float8, normalized_gini float8, spearman float8, auc float8, decile_mape float8, mae float8,
    interval_coverage float8, interval_width float8
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_backtest IS
    'compares the predictions of past days, by the versions of those days, with what customers really spent';
