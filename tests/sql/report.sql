-- database: demo
-- The report has its parts, escapes what it shows and needs nothing from elsewhere.
\set SHOW_CONTEXT never
CREATE TABLE page AS SELECT ltv_report('cdnow', 'SELECT * FROM cdnow_features WHERE split = ''test''') AS html;
SELECT html LIKE '<!doctype html>%' AS is_html, length(html) > 3000 AS long, html !~ 'https?://' AS self_contained FROM page;
SELECT x[1] AS element, count(*) FROM page, regexp_matches(html, '<(svg|h2|polyline)[ >]', 'g') x GROUP BY 1 ORDER BY 1;
SELECT html ~ '<td>normalized_gini</td><td>0\.\d+</td>' AS gini, html ~ '<td>recency</td><td>numeric</td>' AS features FROM page;
SELECT ltv.html('<script>alert("a & b")</script>');
SELECT ltv_report('cdnow') ~ 'of the customers kept for validation' AS by_validation;
SELECT ltv_report('no_such');
