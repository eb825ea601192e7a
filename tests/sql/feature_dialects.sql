-- ltv_feature_sql in dialects: what can be said only in PostgreSQL is refused. What the SELECTs give is compared by e2e/engines.
-- database: cdnow
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE VIEW shop AS SELECT customer_id, ordered_at, amount FROM orders;
SELECT ltv_create_features('plain', 'shop', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273);
SELECT dialect, regexp_replace(ltv_feature_sql('plain', dialect), '^.*FROM ([^ ]*shop[^ ]*) o.*$', '\1') AS source
FROM unnest('{postgres,duckdb,spark}'::text[]) AS d(dialect);
SELECT ltv_feature_sql('plain') = ltv_feature_sql('plain', dialect => 'postgres') AS is_default;
SELECT ltv_feature_sql('plain', 'oracle');
SELECT ltv_feature_sql('plain', NULL);

SELECT ltv_create_features('of_a_query', 'SELECT * FROM orders', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273);
SELECT length(ltv_feature_sql('of_a_query')) > 1000 AS is_said;
SELECT ltv_feature_sql('of_a_query', 'duckdb');

SELECT ltv_create_features('of_grid', 'shop', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273,
    sequence => '{"step": "7 days", "steps": 8}');
SELECT ltv_feature_sql('of_grid', 'spark');

CREATE VIEW padded AS SELECT customer_id::text::char(8) AS customer_id, ordered_at, amount FROM orders;
SELECT ltv_create_features('of_padded', 'padded', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273);
SELECT ltv_feature_sql('of_padded', 'duckdb');

CREATE VIEW visits AS SELECT customer_id, ordered_at, cds::float8 AS kind FROM orders;
SELECT ltv_create_features('of_kinds', 'shop', date_column => 'ordered_at', value_column => 'amount', as_of => '1997-09-30', horizon => 273,
    events => '{"visits": {"source": "visits", "date_column": "ordered_at", "type_column": "kind", "types": ["1"]}}');
SELECT ltv_feature_sql('of_kinds', 'duckdb');
