-- When a dump brings the models, stored predictions that came before are computed; but triggers of somebody else do not run with the rights of who restores.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE ltv_restored;
CREATE SCHEMA restored AUTHORIZATION ltv_restored;
CREATE TABLE customers AS SELECT i AS customer_id, (i % 17)::real AS a, CASE WHEN i % 3 = 0 THEN 0 ELSE i % 17 END AS ltv FROM generate_series(1, 300) i;
SELECT ltv_train('m', 'customers', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job);
SELECT ltv_grant('m', 'ltv_restored');
CREATE TABLE models AS TABLE ltv.models;
CREATE TABLE versions AS TABLE ltv.versions;
CREATE TABLE privileges AS TABLE ltv.privileges;
SELECT ltv_drop_model('m');
CREATE TABLE mine (a real, value float8 GENERATED ALWAYS AS (ltv_predict('m', 1, ARRAY[a])) STORED);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'a trigger of % runs as %', TG_RELID::regclass, current_user; RETURN new; END $$;
CREATE TRIGGER tell BEFORE UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION tell();
GRANT SELECT ON mine TO ltv_restored;
SET ROLE ltv_restored;
CREATE TABLE restored.plain (LIKE mine INCLUDING GENERATED);
CREATE TABLE restored.watched (LIKE mine INCLUDING GENERATED);
CREATE TRIGGER tell BEFORE UPDATE ON restored.watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TABLE restored.silent (LIKE mine INCLUDING GENERATED);
CREATE TRIGGER tell BEFORE UPDATE ON restored.silent FOR EACH ROW EXECUTE FUNCTION tell();
ALTER TABLE restored.silent DISABLE TRIGGER tell;
CREATE TABLE restored.ruled (LIKE mine INCLUDING GENERATED);
CREATE RULE tell AS ON UPDATE TO restored.ruled DO ALSO SELECT pg_notify('heard', current_user::text);
RESET ROLE;
-- As pg_dump and pg_restore do.
SET search_path = '';
SET check_function_bodies = off;
INSERT INTO public.mine VALUES (1);
INSERT INTO restored.plain VALUES (1);
INSERT INTO restored.watched VALUES (1);
INSERT INTO restored.silent VALUES (1);
INSERT INTO restored.ruled VALUES (1);
INSERT INTO ltv.models SELECT * FROM public.models;
INSERT INTO ltv.versions SELECT * FROM public.versions;
INSERT INTO ltv.privileges SELECT * FROM public.privileges;
RESET search_path;
RESET check_function_bodies;
SELECT tableoid::regclass::text COLLATE "C" AS relation, value IS NOT NULL AS computed
FROM (SELECT tableoid, value FROM mine UNION ALL SELECT tableoid, value FROM restored.plain UNION ALL SELECT tableoid, value FROM restored.watched
      UNION ALL SELECT tableoid, value FROM restored.silent UNION ALL SELECT tableoid, value FROM restored.ruled) s ORDER BY 1;
SET ROLE ltv_restored;
UPDATE restored.watched SET a = a WHERE value IS NULL;
SELECT value IS NOT NULL AS computed FROM restored.watched;
RESET ROLE;
DROP SCHEMA restored CASCADE;
DROP TABLE mine;
DROP ROLE ltv_restored;
