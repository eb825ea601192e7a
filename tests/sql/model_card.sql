-- What a model card says, and that no name in it can become markup.
SET client_min_messages = warning;
CREATE TABLE t AS SELECT i AS customer_id, i % 17 AS "a|b", (ARRAY['x', '<script>', 'y|z'])[1 + i % 3] AS "c<d", CASE WHEN i % 3 = 0 THEN i % 50 ELSE 0 END AS ltv
FROM generate_series(1, 300) i;
CALL ltv_train_now('card_x', 't', options => '{"epochs": 1, "ensemble": 1, "horizon": 90}');
SELECT jsonb_object_keys(ltv_model_card('card_x'));
SELECT c ->> 'version' AS version, c -> 'aliases' AS aliases, c ->> 'target' AS target, c -> 'horizon_days' AS horizon, c #> '{data,rows}' AS rows, c #>> '{data,relation}' AS relation,
    c #>> '{data,query_sha256}' = encode(sha256('public.t'), 'hex') AS hashed, c -> 'intended_use' AS use, regexp_replace(c ->> 'limits', '\d\.\d\d', 'N.NN', 'g') AS limits
FROM ltv_model_card('card_x') c;
SELECT i ->> 'name' AS name, i ->> 'kind' AS kind, i -> 'min' AS min, i -> 'max' AS max, (SELECT count(*) FROM jsonb_object_keys(NULLIF(i -> 'categories', 'null'))) AS categories
FROM jsonb_array_elements(ltv_model_card('card_x') -> 'inputs') i;
-- Of what was read, only the hash of a query stands in it.
CALL ltv_train_now('card_x', query => 'SELECT * FROM t WHERE customer_id > 7', options => '{"epochs": 1, "ensemble": 1}');
SELECT ltv_model_card('card_x', 2)::text LIKE '%customer_id > 7%' AS tells_the_query, ltv_model_card('card_x', 2) #>> '{data,query_sha256}' IS NOT NULL AS hashed;
-- As Markdown: every row of a table has the cells that it should have, and there is no tag.
WITH lines AS (SELECT line FROM regexp_split_to_table(ltv_model_card_markdown('card_x'), '\n') line)
SELECT count(*) FILTER (WHERE line LIKE '#%') AS headings, count(*) FILTER (WHERE line ~ '[<>]') AS tags,
    array_agg(DISTINCT array_length(regexp_split_to_array(line, '(?<!\\)\|'), 1)) FILTER (WHERE line LIKE '|%') AS cells FROM lines;
SELECT line FROM regexp_split_to_table(ltv_model_card_markdown('card_x'), '\n') line WHERE line LIKE '%a%b%' AND line LIKE '| a%';
-- An imported graph says what is not known; who may only predict sees no card.
SELECT ltv_import_onnx('card_imported', ltv_export_onnx('card_x')) AS version;
SELECT ltv_model_card('card_imported') -> 'limits' AS limits, ltv_model_card('card_imported') -> 'metrics' AS metrics;
SELECT line FROM regexp_split_to_table(ltv_model_card_markdown('card_imported'), '\n') line WHERE line !~ '^\| (made|SHA-256|pg_ltv|by) ';
CREATE ROLE ltv_card_reader;
SELECT ltv_grant('card_x', 'ltv_card_reader', 'predict');
SET ROLE ltv_card_reader;
SELECT ltv_model_card('card_x');
SELECT ltv_model_card_markdown('card_imported');
RESET ROLE;
SELECT ltv_revoke('card_x', 'ltv_card_reader');
DROP ROLE ltv_card_reader;
