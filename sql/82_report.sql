-- ltv_report: one self-contained HTML page on a version. SQL gathers what is on it, ltv-core writes it.

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
BEGIN
    SELECT * INTO about FROM ltv.readable_versions v WHERE v.model = report_on_query.model AND v.version = used;
    IF query IS NULL THEN
        SELECT jsonb_agg(jsonb_build_object('metric', m.key, 'value', m.value)) INTO metrics
        FROM jsonb_each(about.metrics) m WHERE jsonb_typeof(m.value) = 'number';
    ELSE
        SELECT jsonb_agg(to_jsonb(e)) INTO metrics FROM ltv.metrics(model, query, used, NULL, NULL) e;
        SELECT jsonb_agg(to_jsonb(d) ORDER BY d.decile) INTO deciles
        FROM ltv.decile_stats_of_query(model, query, used, NULL, 10) d;
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
        'deciles', COALESCE(deciles, '[]'),
        'epochs', COALESCE((SELECT jsonb_agg(to_jsonb(t) ORDER BY t.epoch)
                            FROM ltv.training_info(model, used) t WHERE t.member = 1), '[]'),
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
