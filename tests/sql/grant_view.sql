-- database: demo
-- A view that scores, for a role that may do nothing else.
CREATE ROLE ltv_bi;
CREATE ROLE ltv_bi_owner;
CREATE SCHEMA marts;
SET client_min_messages = warning;
CREATE VIEW marts.scores AS SELECT customer_id, round(ltv_predict('cdnow', f)::numeric, 2) AS ltv FROM cdnow_features f;
CREATE VIEW marts.invoked WITH (security_invoker = true) AS SELECT customer_id, ltv_predict('cdnow', f) AS ltv FROM cdnow_features f;
CREATE MATERIALIZED VIEW marts.stored AS SELECT * FROM marts.scores;
GRANT USAGE ON SCHEMA marts TO ltv_bi_owner;
RESET client_min_messages;
-- SELECT on the view is not enough: the functions in it are called by whoever reads it.
GRANT SELECT ON marts.scores TO ltv_bi;
GRANT USAGE ON SCHEMA marts TO ltv_bi;
SET ROLE ltv_bi;
\set VERBOSITY terse
SELECT count(ltv) FROM marts.scores;
RESET ROLE;
REVOKE ALL ON SCHEMA marts FROM ltv_bi;
REVOKE ALL ON marts.scores FROM ltv_bi;
\set VERBOSITY default
-- One call does it, and says what is missing.
SELECT ltv_grant('cdnow', 'ltv_bi', view => 'marts.scores');
GRANT USAGE ON SCHEMA marts TO ltv_bi;
SELECT ltv_grant('cdnow', 'ltv_bi', view => 'marts.scores');
SET ROLE ltv_bi;
SELECT count(ltv) > 20000 AS scored FROM marts.scores;
SELECT count(*) FROM cdnow_features;
RESET ROLE;
-- A view that reads as its reader needs the tables behind it.
SELECT ltv_grant('cdnow', 'ltv_bi', view => 'marts.invoked');
SET ROLE ltv_bi;
SELECT count(ltv) > 20000 AS scored FROM marts.invoked;
RESET ROLE;
-- A materialized view needs no model when it is read; everybody may be meant; names follow the search_path.
SET search_path = marts, public;
SELECT ltv_grant('cdnow', 'public', view => 'stored');
RESET search_path;
SELECT privileges FROM ltv_models WHERE model = 'cdnow';
SELECT has_table_privilege('public', 'marts.stored', 'SELECT') AS everybody;
-- What cannot be leaves nothing behind.
SELECT ltv_revoke('cdnow', 'public'), ltv_revoke('cdnow', 'ltv_bi');
SELECT ltv_grant('cdnow', 'ltv_bi', view => 'no_such');
SELECT ltv_grant('cdnow', 'ltv_bi', view => 'SELECT 1');
SELECT ltv_grant('cdnow', 'no_such_role', view => 'marts.scores');
SELECT ltv_set_owner('cdnow', 'ltv_bi_owner');
SET ROLE ltv_bi_owner;
SELECT ltv_grant('cdnow', 'ltv_bi', view => 'marts.scores');
RESET ROLE;
SELECT privileges FROM ltv_models WHERE model = 'cdnow';
DROP SCHEMA marts CASCADE;
SELECT ltv_set_owner('cdnow', current_user);
DROP ROLE ltv_bi, ltv_bi_owner;
