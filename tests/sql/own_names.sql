-- A shop whose names are its own: quoted, accented, not customer_id. They are given once, to ltv_create_features.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA "The Shop";
CREATE TABLE "The Shop"."Orders 2024" AS
    SELECT i % 150 AS "Customer №", timestamptz '2024-01-01 12:00+00' + i % 397 * interval '1 day' AS "When", (i * 37 % 101)::numeric AS "Amount €" FROM generate_series(1, 3000) i;
SELECT ltv_create_features('"The Shop"."Features"', '"The Shop"."Orders 2024"', customer_id_column => 'Customer №', date_column => 'When', value_column => 'Amount €',
    as_of => '2024-09-30', horizon => 90);
SELECT ltv_train('Wert "A"', '"The Shop"."Features"', options => '{"epochs": 2, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT recipe ->> 'id_column' AS id_column, recipe ->> 'relation' AS relation FROM ltv.versions;
SELECT count(ltv_predict('Wert "A"', f)) AS scored FROM "The Shop"."Features" f;
SELECT count(*) AS customers, count(DISTINCT customer_id) AS ids FROM ltv_segment('Wert "A"', '"The Shop"."Features"');
SELECT count(*) AS cells, count(DISTINCT customer_id) AS ids FROM ltv_explain_predict('Wert "A"', 'SELECT * FROM "The Shop"."Features" WHERE "Customer №" < 3', samples => 2);
-- Somebody else's column is asked for by name, as before.
SELECT ltv_segment('Wert "A"', 'SELECT f.*, 1 AS x FROM "The Shop"."Features" f', id_column => 'customer');
SELECT ltv_train('Wert "A"', 'SELECT "recency", ltv FROM "The Shop"."Features"');
DROP SCHEMA "The Shop" CASCADE;
