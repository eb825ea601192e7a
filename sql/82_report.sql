-- ltv_report and ltv_training_report: self-contained HTML pages on a version. SQL gathers what is on them, ltv-core
-- writes them.

CREATE FUNCTION ltv.report_page(document jsonb) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_report_page';
COMMENT ON FUNCTION ltv.report_page IS 'a report as HTML';

-- What the best hundredth, the next nine and so on are predicted to spend, as ltv_segment makes tiers, and what they
-- spent; and all of them together.
CREATE FUNCTION ltv.report_tiers(model text, version int, query text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spread ltv.spread := ltv.spread((SELECT v.statistics -> 'spread' FROM ltv.readable_versions v
                                     WHERE v.model = report_tiers.model AND v.version = report_tiers.version));
    tiers jsonb;
BEGIN
    EXECUTE format($sql$
        SELECT jsonb_agg(to_jsonb(t) || jsonb_build_object('low', r.ends[1], 'high', r.ends[2]) ORDER BY t.tier)
        FROM (SELECT b.tier, sum(b.customers) AS customers, sum(b.predicted) AS predicted, sum(b.actual) AS actual,
                     sum(b.variance + (($1).tier * b.predicted) ^ 2) AS variance
              FROM (SELECT s.tier, count(*) AS customers, sum(s.predicted) AS predicted, sum(s.actual) AS actual,
                           sum(ltv.variance_of($1, s.predicted)) AS variance
                    FROM (SELECT x.actual, x.predicted,
                                 width_bucket((row_number() OVER best - 1)::float8 / count(*) OVER (), $2) + 1 AS tier
                          FROM (SELECT q.actual, (q.p).ltv AS predicted FROM (%s) q) x
                          WHERE x.predicted IS NOT NULL WINDOW best AS (ORDER BY x.predicted DESC)) s
                    GROUP BY s.tier, width_bucket(s.predicted, ($1).tiers)) b
              GROUP BY GROUPING SETS ((b.tier), ())) t,
             LATERAL (SELECT ltv.sum_interval(t.predicted, t.variance, ($1).level) AS ends) r
        $sql$, ltv.scored_query(model, version, query, NULL))
    INTO tiers USING spread, ltv.tier_bounds('{0.01,0.09,0.2,0.3,0.4}');
    RETURN COALESCE(tiers, '[]');
END
$$;
COMMENT ON FUNCTION ltv.report_tiers
    IS 'tiers of the rows of a bound query, predicted and spent; the last entry, whose tier is NULL, is of all';

CREATE FUNCTION ltv.report_on_query(
    model text, query text, version bigint, with_cohorts boolean, features regclass, costs text
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    about record;
    metrics jsonb;
    deciles jsonb;
    importance jsonb;
    drift jsonb;
    tiers jsonb;
    perfect jsonb;
    cohorts jsonb;
BEGIN
    IF with_cohorts THEN
        SELECT jsonb_agg(to_jsonb(c) || jsonb_build_object('cohort', c.cohort::text) ORDER BY c.cohort, c.days)
        INTO cohorts FROM ltv.cohorts_of(model, features, 'month', costs, 1, 0, NULL, used, NULL) c;
    ELSIF costs IS NOT NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the features must be given with costs',
            HINT = 'Costs are of cohorts, which are read off the orders behind a relation of ltv_create_features: '
                   'features => ''my_features''.';
    END IF;
    SELECT * INTO about FROM ltv.readable_versions v WHERE v.model = report_on_query.model AND v.version = used;
    IF query IS NULL THEN
        SELECT jsonb_agg(jsonb_build_object('metric', m.key, 'value', m.value)) INTO metrics
        FROM jsonb_each(about.metrics) m WHERE jsonb_typeof(m.value) = 'number';
    ELSE
        SELECT jsonb_agg(to_jsonb(e)) INTO metrics FROM ltv.metrics(model, query, used, NULL, NULL) e;
        SELECT jsonb_agg(to_jsonb(d) ORDER BY d.decile) INTO deciles
        FROM ltv.decile_stats_of_query(model, query, used, NULL, 10) d;
        tiers := ltv.report_tiers(model, used, query);
        EXECUTE 'SELECT ltv.deciles(s.actual, s.actual, 10) FROM ('
            || ltv.scored_query(model, used, query, NULL) || ') s'
            INTO perfect;
        SELECT jsonb_agg(to_jsonb(i) ORDER BY i.importance DESC) INTO importance
        FROM (SELECT * FROM ltv.importance_of_query(model, query, used, 'normalized_gini', 1, NULL, 5000) i
              WHERE i.importance > 0 ORDER BY i.importance DESC LIMIT 10) i;
        IF jsonb_array_length(about.statistics -> 'features') > 0 THEN
            SELECT jsonb_agg(to_jsonb(d)) INTO drift FROM ltv.skew_of_query(model, query, used, NULL) d WHERE d.drifted;
        END IF;
    END IF;
    RETURN ltv.report_page(jsonb_build_object(
        'model', model,
        'version', used,
        'kind', COALESCE(about.objective, about.source),
        'backbone', about.backbone,
        'created', about.created_at::date::text,
        'trained_rows', about.n_rows,
        'horizon', about.statistics -> 'horizon',
        'basis', CASE WHEN query IS NOT NULL AND ltv.training_relations(model, used, query) IS NOT NULL
                      THEN 'given_and_trained_on'
                      WHEN query IS NOT NULL THEN 'given'
                      WHEN about.metrics ->> 'evaluated_on' = 'training' THEN 'trained_on'
                      ELSE 'held_out' END,
        'metrics', COALESCE(metrics, '[]'),
        'horizons', COALESCE((SELECT jsonb_agg(to_jsonb(h) ORDER BY h.horizon)
                              FROM ltv.horizons_of_query(model, query, used, false) h
                              WHERE about.schema -> 'horizons' IS NOT NULL AND h.customers > 0), '[]'),
        'deciles', COALESCE(deciles, '[]'),
        'perfect', COALESCE((SELECT jsonb_agg(p -> 'cumulative_revenue_share' ORDER BY p -> 'decile')
                             FROM jsonb_array_elements(perfect) p
                             WHERE p -> 'cumulative_revenue_share' <> 'null'), '[]'),
        'total', (SELECT t FROM jsonb_array_elements(tiers) t WHERE t -> 'tier' = 'null'),
        'tiers', COALESCE((SELECT jsonb_agg(t ORDER BY t -> 'tier') FROM jsonb_array_elements(tiers) t
                           WHERE t -> 'tier' <> 'null'), '[]'),
        'cohorts', COALESCE(cohorts, '[]'),
        'importance', COALESCE(importance, '[]'),
        'drift', COALESCE(drift, '[]'),
        'features', COALESCE((SELECT jsonb_agg(to_jsonb(f)) FROM ltv.feature_info(model, used) f), '[]')));
END
$$;
COMMENT ON FUNCTION ltv.report_on_query IS 'see ltv_report; the query is bound';

CREATE FUNCTION ltv.report(model text, query text, version bigint, features text, costs text) RETURNS text
LANGUAGE sql
AS $$
    SELECT ltv.report_on_query(model, ltv.bind_query(query), version, features IS NOT NULL,
                               ltv.bind_relation(features), ltv.bind_query(costs))
$$;
COMMENT ON FUNCTION ltv.report(text, text, bigint, text, text) IS 'see ltv_report';

CREATE FUNCTION @extschema@.ltv_report(
    model text, query text DEFAULT NULL, version bigint DEFAULT NULL, features text DEFAULT NULL,
    costs text DEFAULT NULL
) RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_report
    IS 'a self-contained HTML page on a version: metrics, curves, tiers; on the rows of a query if given, with the '
       'cohorts of features if given';

CREATE FUNCTION ltv.training_report(model text, version bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    about record;
BEGIN
    SELECT * INTO about FROM ltv.readable_versions v WHERE v.model = training_report.model AND v.version = used;
    RETURN ltv.report_page(jsonb_build_object(
        'page', 'training',
        'model', model,
        'version', used,
        'kind', COALESCE(about.objective, about.source),
        'backbone', about.backbone,
        'created', about.created_at::date::text,
        'trained_rows', about.n_rows,
        'basis', CASE about.metrics ->> 'evaluated_on' WHEN 'training' THEN 'trained_on' ELSE 'held_out' END,
        'metrics', COALESCE((SELECT jsonb_agg(jsonb_build_object('metric', m.key, 'value', m.value))
                             FROM jsonb_each(about.metrics) m WHERE jsonb_typeof(m.value) = 'number'), '[]'),
        'options', COALESCE((SELECT jsonb_agg(jsonb_build_array(o.key, o.value #>> '{}') ORDER BY o.key)
                             FROM jsonb_each(about.recipe -> 'options') o WHERE jsonb_typeof(o.value) <> 'null'), '[]'),
        'epochs', COALESCE((SELECT jsonb_agg(to_jsonb(t) ORDER BY t.member, t.epoch)
                            FROM ltv.training_info(model, used) t), '[]'),
        'features', COALESCE((SELECT jsonb_agg(to_jsonb(f)) FROM ltv.feature_info(model, used) f), '[]')));
END
$$;
COMMENT ON FUNCTION ltv.training_report(text, bigint) IS 'see ltv_training_report';

CREATE FUNCTION @extschema@.ltv_training_report(model text, version bigint DEFAULT NULL) RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_training_report
    IS 'a self-contained HTML page on the training of a version: losses of each network, options, metrics, features';
