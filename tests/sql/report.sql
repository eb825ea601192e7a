-- database: demo
-- The report has its parts, escapes what it shows and needs nothing from elsewhere.
\set SHOW_CONTEXT never
CREATE TABLE page AS SELECT ltv_report('cdnow', 'SELECT * FROM cdnow_features WHERE split = ''test''') AS html;
SELECT html LIKE '<!DOCTYPE html>%' AS is_html, length(html) > 3000 AS long, html !~ 'https?://' AS self_contained FROM page;
SELECT x[1] AS element, count(*) FROM page, regexp_matches(html, '<(svg|h2|polyline)[ >]', 'g') x GROUP BY 1 ORDER BY 1;
SELECT html ~ 'normalized Gini\)</td><td class="number">0\.\d+</td>' AS gini, html ~ '<td>recency</td><td>numeric</td>' AS features,
    html ~ 'Values are of 273 days' AS horizon, html ~ 'customers that were given' AS not_flattered FROM page;
SELECT html ~ 'What the order relies on' AS importance, html !~ '<h2>Training' AS no_losses FROM page;
SELECT html ~ '<h2>Training, network 1 of' AS losses, html ~ '<td>recency</td><td>numeric</td>' AS features,
    html !~ 'https?://' AS self_contained, html !~ 'class="cards"' AS for_engineers FROM ltv_training_report('cdnow') html;
SELECT ltv_training_report('cdnow', 99);
SELECT ltv_report('cdnow') ~ 'of the customers held out of training' AS by_validation;
-- Tiers with the intervals of their sums, and cohorts where the features are named.
SELECT html ~ '<h2>Tiers</h2>' AS tiers, html ~ 'in four of five cases between' AS total, html !~ '<h2>Cohorts</h2>' AS no_cohorts FROM page;
SELECT html ~ '<h2>Cohorts</h2>' AS cohorts, html ~ 'class="line0 dashed"' AS forecast, html ~ '<th class="number">paid back on day</th>' AS payback, html !~ '<h2>Tiers</h2>' AS no_tiers
FROM ltv_report('cdnow', features => 'cdnow_features', costs => 'SELECT date ''1997-01-01'' AS cohort, 100000 AS cost') html;
SELECT ltv_report('cdnow', features => 'SELECT 1');
SELECT ltv_report('cdnow', costs => 'SELECT 1');
SELECT ltv_report('no_such');
-- A document of another form; a name that is HTML.
SELECT ltv.report_page('{"model": 1}');
SELECT ltv_import_onnx('<script>', ltv_export_onnx('cdnow')) AS version;
SELECT html ~ '&lt;script&gt;, version 1' AS escaped, html !~ '<script' AS harmless FROM ltv_report('<script>') html;
