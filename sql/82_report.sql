-- ltv_report and ltv_training_report: self-contained HTML pages on a version. SQL gathers what is on them, ltv-core
-- writes them.

CREATE FUNCTION ltv.report_page(document jsonb) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_report_page';
COMMENT ON FUNCTION ltv.report_page IS 'a report as HTML';

CREATE FUNCTION ltv.report_on_query(model text, query text, version bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    about record;
    metrics jsonb;
    deciles jsonb;
    importance jsonb;
    drift jsonb;
BEGIN
    SELECT * INTO about FROM ltv.readable_versions v WHERE v.model = report_on_query.model AND v.version = used;
    IF query IS NULL THEN
        SELECT jsonb_agg(jsonb_build_object('metric', m.key, 'value', m.value)) INTO metrics
        FROM jsonb_each(about.metrics) m WHERE jsonb_typeof(m.value) = 'number';
    ELSE
        SELECT jsonb_agg(to_jsonb(e)) INTO metrics FROM ltv.metrics(model, query, used, NULL, NULL) e;
        SELECT jsonb_agg(to_jsonb(d) ORDER BY d.decile) INTO deciles
        FROM ltv.decile_stats_of_query(model, query, used, NULL, 10) d;
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
        'importance', COALESCE(importance, '[]'),
        'drift', COALESCE(drift, '[]'),
        'features', COALESCE((SELECT jsonb_agg(to_jsonb(f)) FROM ltv.feature_info(model, used) f), '[]')));
END
$$;
COMMENT ON FUNCTION ltv.report_on_query IS 'see ltv_report; the query is bound';

CREATE FUNCTION ltv.report(model text, query text, version bigint) RETURNS text
LANGUAGE sql
AS $$ SELECT ltv.report_on_query(model, ltv.bind_query(query), version) $$;
COMMENT ON FUNCTION ltv.report(text, text, bigint) IS 'see ltv_report';

CREATE FUNCTION @extschema@.ltv_report(model text, query text DEFAULT NULL, version bigint DEFAULT NULL) RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_report
    IS 'a self-contained HTML page on a version: metrics, curves, features; on the rows of a query if given';

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
