-- database: empty
-- Identity, not names: the schema of the extension, relations, columns and roles get other names, change places, go, and come again.
\set SHOW_CONTEXT never
\pset null NULL
SET client_min_messages = warning;
CREATE SCHEMA "First Home";
CREATE EXTENSION pg_ltv SCHEMA "First Home";
ALTER SCHEMA "First Home" RENAME TO "It's {home}";
SET search_path = public, "It's {home}";
CREATE ROLE ltv_identity_owner;
CREATE ROLE ltv_identity_other;
CREATE SCHEMA shop;
GRANT ALL ON SCHEMA shop TO ltv_identity_owner, ltv_identity_other;
GRANT USAGE ON SCHEMA "It's {home}" TO PUBLIC;

-- Everything goes on in the schema of the new name.
SET ROLE ltv_identity_owner;
CREATE TABLE shop.orders AS SELECT i % 150 AS customer_id, date '2024-01-01' + i * 7919 % 500 AS d, (i * 37 % 101)::numeric AS amount FROM generate_series(1, 3000) i;
SELECT ltv_create_features('shop.f', 'shop.orders', date_column => 'd', value_column => 'amount', as_of => '2024-06-30', horizon => 90);
CALL ltv_train_now('m', 'shop.f', options => '{"epochs": 2, "ensemble": 1, "seed": 1}');
CREATE VIEW shop.scored AS SELECT customer_id, ltv_predict('m', f) AS p, (ltv_predict_all('m', f)).version FROM shop.f f;
CREATE TABLE shop.stored (doc jsonb, p float8 GENERATED ALWAYS AS (ltv_predict('m', 1, doc)) STORED);
INSERT INTO shop.stored SELECT to_jsonb(f) FROM shop.f f;
CREATE INDEX ON shop.f (ltv_predict('m', 1, f));
RESET ROLE;
ALTER SCHEMA "It's {home}" RENAME TO home;
SET search_path = public, home;
SET ROLE ltv_identity_owner;
SELECT count(p) AS scored, min(version) AS version, (SELECT count(p) FROM shop.stored) AS stored FROM shop.scored;
SELECT ltv_refresh_features('shop.f');
SELECT ltv_retrain('m', promote => 'if_better', options => '{"seed": 2}') AS job \gset
SELECT ltv_wait(:job);
SELECT to_version, reason LIKE '%on customers held out: version 2 has%' AS compared FROM ltv_promotions ORDER BY promotion DESC LIMIT 1;
SELECT count(*) > 10 AS metrics FROM ltv_evaluate('m');
SELECT count(*) AS deciles FROM ltv_decile_stats('m', 'shop.f');
SELECT count(*) > 0 AS importance FROM ltv_feature_importance('m', 'shop.f', repeats => 1);
SELECT count(*) AS explained FROM ltv_explain_predict('m', 'SELECT * FROM shop.f ORDER BY customer_id LIMIT 2', top_k => 3, samples => 2);
SELECT ltv_monitor('m', 'shop.f') >= 0 AS monitored, length(ltv_report('m')) > 1000 AS reported, (SELECT count(*) FROM ltv_segment('m', 'shop.f')) AS segmented,
       (SELECT count(*) FROM ltv_backtest('m', '{2024-03-31}')) AS backtested, ltv_import_onnx('copy', ltv_export_onnx('m', 1)) AS imported,
       (SELECT count(*) FROM ltv_rfm_summary('shop.orders', date_column => 'd', value_column => 'amount', as_of => '2024-06-30')) AS summarised;
CALL ltv_train_now('m', 'shop.f', options => '{"epochs": 2, "ensemble": 1, "seed": 3}');
CALL ltv_train_now('m', 'no_such');
SELECT ltv_set_alias('m', 1), ltv_quantize('copy', 1, 'shop.f') IS NOT NULL AS quantized;
SELECT ltv_drop_model('copy');

-- A relation that a model was trained on keeps being it under new names and in new schemas.
CREATE TABLE shop.made AS SELECT customer_id, as_of, recency, frequency, t, ltv FROM shop.f;
CALL ltv_train_now('r', 'shop.made', options => '{"epochs": 2, "ensemble": 1}');
RESET ROLE;
CREATE SCHEMA attic AUTHORIZATION ltv_identity_owner;
ALTER SCHEMA shop RENAME TO store;
SET ROLE ltv_identity_owner;
ALTER TABLE store.made RENAME TO remade;
ALTER TABLE store.remade SET SCHEMA attic;
SELECT count(*) AS deciles FROM ltv_decile_stats('r');
SELECT ltv_retrain('r', promote => 'always') AS job \gset
SELECT ltv_wait(:job);
SELECT version, recipe ->> 'relation' AS relation, n_rows FROM ltv_versions WHERE model = 'r' ORDER BY version;
-- Columns are found by name, wherever they are; those that are gone are an error that names them.
ALTER TABLE attic.remade DROP COLUMN recency;
ALTER TABLE attic.remade ADD COLUMN extra int, ADD COLUMN recency int;
UPDATE attic.remade SET recency = (customer_id * 7) % 180, extra = customer_id % 3;
SELECT ltv_retrain('r', promote => 'always') AS job \gset
SELECT ltv_wait(:job);
SELECT version, (SELECT string_agg(i ->> 'name', ', ') FROM jsonb_array_elements(schema -> 'inputs') i) AS inputs FROM ltv.readable_versions WHERE model = 'r' ORDER BY version;
SELECT count(ltv_predict('r', 1, f)) AS scored FROM attic.remade f;
ALTER TABLE attic.remade RENAME COLUMN recency TO since;
SELECT ltv_predict('r', 1, f) FROM attic.remade f LIMIT 1;
SELECT ltv_retrain('r', promote => 'always') AS job \gset
SELECT ltv_wait(:job);
ALTER TABLE attic.remade RENAME COLUMN since TO recency;
-- Swapped: what has the name is read, as after a load into a new table.
CREATE TABLE attic.next AS SELECT * FROM attic.remade WHERE customer_id < 120;
ALTER TABLE attic.remade RENAME TO past;
ALTER TABLE attic.next RENAME TO remade;
SELECT ltv_retrain('r', promote => 'always') AS job \gset
SELECT ltv_wait(:job);
SELECT version, recipe ->> 'relation' AS relation, n_rows < 120 AS of_the_new_one FROM ltv_versions WHERE model = 'r' ORDER BY version DESC LIMIT 1;
-- Dropped and made again by somebody else: nothing of theirs runs with the rights of the owner, and nothing of theirs is changed.
DROP TABLE attic.remade, attic.past;
GRANT ALL ON SCHEMA attic TO ltv_identity_other;
SET ROLE ltv_identity_other;
CREATE TABLE attic.told (by name);
GRANT ALL ON attic.told TO PUBLIC;
CREATE FUNCTION attic.spy() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO attic.told VALUES (current_user); RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 1; END $$;
CREATE VIEW attic.remade AS SELECT i AS customer_id, date '2024-06-30' AS as_of, i % 90 AS recency, i % 7 AS frequency, i % 180 AS t, attic.spy() * (i % 5) AS ltv, 1 AS extra FROM generate_series(1, 200) i;
GRANT SELECT ON attic.remade TO PUBLIC;
SET ROLE ltv_identity_owner;
SELECT ltv_retrain('r');
SELECT count(*) FROM ltv_decile_stats('r');
SELECT ltv_monitor('r');
SELECT count(*) AS told FROM attic.told;
RESET ROLE;
-- A superuser's is nobody else's.
ALTER VIEW attic.remade OWNER TO postgres;
SET ROLE ltv_identity_owner;
SELECT count(*) AS deciles FROM ltv_decile_stats('r');
RESET ROLE;

-- Roles: renamed, the owner goes on; REASSIGN OWNED and DROP OWNED leave models alone, which are rows; dropped, superusers go on.
ALTER ROLE ltv_identity_owner RENAME TO ltv_identity_renamed;
CREATE ROLE ltv_identity_owner;
SET ROLE ltv_identity_owner;
SELECT count(*) AS models FROM ltv_models;
SET ROLE ltv_identity_renamed;
SELECT model, owner FROM ltv_models ORDER BY model;
SELECT count(p) AS scored FROM store.scored;
RESET ROLE;
REASSIGN OWNED BY ltv_identity_renamed TO ltv_identity_other;
SET ROLE ltv_identity_other;
SELECT count(*) AS models FROM ltv_models;
SELECT ltv_refresh_features('store.f', '2024-07-31');
RESET ROLE;
SELECT ltv_set_owner('m', 'ltv_identity_other');
DROP OWNED BY ltv_identity_renamed;
DROP ROLE ltv_identity_renamed;
SELECT model, regexp_replace(owner, '\d+', 'N') AS owner, versions FROM ltv_models ORDER BY model;
-- A superuser is not locked out of what belongs to nobody.
SELECT count(ltv_predict('r', 1, f)) AS scored FROM store.f f;
SELECT count(*) > 10 AS metrics FROM ltv_evaluate('r', 'SELECT customer_id, recency, frequency, t, ltv FROM store.f', 1);
SELECT ltv_set_alias('r', 2), ltv_grant('r', 'ltv_identity_other');
CREATE FUNCTION pg_temp.fails(sql text, OUT state text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    message := regexp_replace(message, '\d+', 'N');
END
$$;
SELECT * FROM pg_temp.fails($$SELECT ltv_retrain('r')$$);
SELECT ltv_set_owner('r', 'ltv_identity_other'), ltv_drop_model('r');
-- The new owner of table and model retrains.
SET ROLE ltv_identity_other;
SELECT ltv_retrain('m', promote => 'always') AS job \gset
SELECT ltv_wait(:job);
SELECT DISTINCT as_of FROM store.f;
RESET ROLE;
DROP SCHEMA store, attic CASCADE;
SELECT ltv_drop_model('m');
DROP OWNED BY ltv_identity_owner, ltv_identity_other;
DROP ROLE ltv_identity_owner, ltv_identity_other;
