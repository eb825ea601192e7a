-- ltv_report: one self-contained HTML page on a version, with its curves as SVG.

CREATE FUNCTION ltv.html(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT replace(replace(replace(replace(content, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;') $$;
COMMENT ON FUNCTION ltv.html IS 'a text as HTML';

CREATE FUNCTION ltv.html_number(value float8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN value IS NULL OR value = 'NaN' OR abs(value) = 'Infinity' THEN '' WHEN abs(value) >= 100 THEN trim(to_char(value, '999,999,999,999,990'))
                ELSE round(value::numeric, 3)::text END
$$;
COMMENT ON FUNCTION ltv.html_number IS 'a number for people';

-- Lines over 1, 2, 3 ... in a box of 640 x 240, from 0 to the greatest value.
CREATE FUNCTION ltv.svg_lines(names text[], VARIADIC lines jsonb[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH points AS (
        SELECT l.i AS line, p.j, NULLIF(p.v, 'null')::text::float8 AS y FROM unnest(lines) WITH ORDINALITY AS l(points, i),
             LATERAL jsonb_array_elements(l.points) WITH ORDINALITY AS p(v, j)
    ), scale AS (
        SELECT greatest(max(j) - 1, 1)::float8 AS width, greatest(max(y), 1e-9) AS top, least(min(y), 0) AS bottom FROM points
    ), drawn AS (
        SELECT p.line, string_agg(round((40 + 560 * (p.j - 1) / s.width)::numeric, 1) || ',' || round((210 - 190 * (p.y - s.bottom) / (s.top - s.bottom))::numeric, 1), ' ' ORDER BY p.j) AS points
        FROM points p, scale s WHERE p.y IS NOT NULL GROUP BY p.line
    )
    SELECT format('<svg viewBox="0 0 640 240" role="img"><path d="M40 20V210H600" class="axis"/><text x="2" y="24">%s</text><text x="2" y="214">%s</text>%s</svg>',
        ltv.html_number((SELECT top FROM scale)), ltv.html_number((SELECT bottom FROM scale)),
        (SELECT string_agg(format('<polyline points="%s" class="l%s"/><text x="%s" y="234" class="l%s">%s</text>', d.points, d.line, 40 + 200 * (d.line - 1), d.line,
                                  ltv.html(names[d.line])), '' ORDER BY d.line) FROM drawn d))
$$;
COMMENT ON FUNCTION ltv.svg_lines IS 'a line chart';

CREATE FUNCTION ltv.report_on_query(model text, query text, version bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    about record;
    metrics text;
    training text;
    deciles text := '';
    features text;
BEGIN
    SELECT * INTO about FROM ltv.readable_versions v WHERE v.model = report_on_query.model AND v.version = used;
    IF query IS NULL THEN
        SELECT string_agg(format('<tr><td>%s</td><td>%s</td></tr>', ltv.html(m.key), ltv.html_number(m.value::text::float8)), '' ORDER BY m.key)
        INTO metrics FROM jsonb_each(about.metrics) m WHERE jsonb_typeof(m.value) = 'number';
    ELSE
        SELECT string_agg(format('<tr><td>%s</td><td>%s</td></tr>', ltv.html(e.metric), ltv.html_number(e.value)), '')
        INTO metrics FROM ltv.metrics(model, query, used, NULL, NULL) e;
        SELECT format('<h2>Ten groups, the best predicted first</h2>%s<h2>Share of the revenue found</h2>%s',
            ltv.svg_lines('{predicted,spent}', jsonb_agg(d.mean_prediction ORDER BY d.decile), jsonb_agg(d.mean_actual ORDER BY d.decile)),
            ltv.svg_lines('{"share of revenue"}', '[0]' || jsonb_agg(d.cumulative_revenue_share ORDER BY d.decile)))
        INTO deciles FROM ltv.decile_stats_of_query(model, query, used, NULL, 10) d;
    END IF;
    SELECT '<h2>Training, first network</h2>' || ltv.svg_lines('{"training loss","validation loss"}',
            jsonb_agg(t.training_loss ORDER BY t.epoch), jsonb_agg(t.validation_loss ORDER BY t.epoch))
    INTO training FROM ltv.training_info(model, used) t WHERE t.member = 1 HAVING count(*) > 1;
    SELECT string_agg(format('<tr><td>%s</td><td>%s</td><td>%s %%</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>', ltv.html(f.feature),
            ltv.html(f.kind), ltv.html_number(100 * f.missing), ltv.html_number(f.mean), ltv.html_number(f.std), ltv.html_number(f.min), ltv.html_number(f.max)), '')
    INTO features FROM ltv.feature_info(model, used) f;
    RETURN format('<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>%1$s, version %2$s</title><style>
body{font:15px/1.5 sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#222}table{border-collapse:collapse}td,th{padding:.1rem .8rem .1rem 0;text-align:left}
svg{width:100%%;background:#fafafa}svg text{font-size:12px}.axis{fill:none;stroke:#999}polyline{fill:none;stroke-width:2}.l1{stroke:#1f6feb}.l2{stroke:#d1502f}text.l1{stroke:none;fill:#1f6feb}text.l2{stroke:none;fill:#d1502f}
</style></head><body><h1>%1$s, version %2$s</h1><p>%3$s, %4$s; %5$s rows; %6$s</p>%7$s<h2>Metrics%8$s</h2><table>%9$s</table>%10$s
<h2>Features in training</h2><table><tr><th>feature</th><th>kind</th><th>missing</th><th>mean</th><th>deviation</th><th>least</th><th>greatest</th></tr>%11$s</table></body></html>',
        ltv.html(model), used, ltv.html(COALESCE(about.objective, about.source)), ltv.html(COALESCE(about.backbone, '')), ltv.html_number(about.n_rows), about.created_at::date,
        deciles, CASE WHEN query IS NOT NULL THEN '' WHEN about.metrics ->> 'evaluated_on' = 'training' THEN ' of rows that were trained on' ELSE ' of the customers kept for validation' END, metrics, training, features);
END
$$;
COMMENT ON FUNCTION ltv.report_on_query IS 'see ltv_report; the query is bound';

CREATE FUNCTION ltv.report(model text, query text, version bigint) RETURNS text
LANGUAGE sql
AS $$ SELECT ltv.report_on_query(model, ltv.bind_query(query), version) $$;
COMMENT ON FUNCTION ltv.report(text, text, bigint) IS 'see ltv_report';

CREATE FUNCTION @extschema@.ltv_report(model text, query text DEFAULT NULL, version bigint DEFAULT NULL) RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_report IS 'a self-contained HTML page on a version: metrics, curves, features; on the rows of a query if given';
