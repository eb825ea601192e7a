-- Whose rights SQL runs with: stored queries with those of their owner, or not at all; queries that are passed with the caller's.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE ltv_author; CREATE ROLE ltv_visitor;
CREATE SCHEMA author AUTHORIZATION ltv_author;
GRANT USAGE ON SCHEMA author TO PUBLIC;
SET ROLE ltv_author;
CREATE TABLE author.customers AS SELECT i AS customer_id, (i % 17)::real AS a, (i * 7 % 23)::real AS b, CASE WHEN i % 3 = 0 THEN 0 ELSE i % 17 + 1 END::float8 AS ltv
FROM generate_series(1, 400) i;
GRANT SELECT ON author.customers TO ltv_visitor;
CREATE TABLE author.log (role name, can_return bool);
GRANT ALL ON author.log TO PUBLIC;
-- Says as whom it runs, and whether it could become whoever logged in.
CREATE FUNCTION author.spy() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_read_only') = 'off' THEN
        INSERT INTO author.log VALUES (current_user, true);
        BEGIN
            EXECUTE 'RESET ROLE';
        EXCEPTION WHEN insufficient_privilege THEN
            UPDATE author.log SET can_return = false;
        END;
    END IF;
    RETURN 0;
END
$$;
SET search_path = author, public;
SELECT ltv_train('spying', query => 'SELECT c.* FROM customers c, (SELECT spy()) s LIMIT 300', options => '{"epochs": 1, "ensemble": 1}') AS job \gset
SELECT ltv_wait(:job) > 0 AS trained;
SELECT ltv_grant('spying', 'ltv_visitor', 'read');
RESET ALL;
RESET ROLE;
CREATE FUNCTION attempt(sql text, OUT outcome text, OUT state text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM author.log;
    EXECUTE sql;
    SELECT COALESCE(string_agg(DISTINCT role || CASE WHEN can_return THEN ', could return' ELSE '' END, '; '), 'not run') INTO outcome FROM author.log;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;
CREATE TABLE calls (call text);
INSERT INTO calls VALUES ($$count(*) FROM ltv_evaluate('spying')$$), ($$count(*) FROM ltv_decile_stats('spying')$$), ($$ltv_monitor('spying')$$),
    ($$count(*) FROM ltv_feature_importance('spying', repeats => 1, rows => 50)$$),
    ($$count(*) FROM ltv_explain_predict('spying', 'SELECT 1 AS customer_id, 1::real AS a, 2::real AS b', samples => 2)$$),
    ($$length(ltv_report('spying')) > 0$$), ($$count(*) FROM ltv_evaluate('spying', 'author.customers')$$);
GRANT SELECT ON calls TO PUBLIC;

-- A superuser, a role that may read the model, and the owner.
SELECT call, a.* FROM calls, attempt('SELECT ' || call) a;
SET ROLE ltv_visitor;
SELECT call, a.* FROM calls, attempt('SELECT ' || call) a;
SET ROLE ltv_author;
SELECT call, a.* FROM calls, attempt('SELECT ' || call) a;
-- Nobody runs anything as a role that they could not become.
SET ROLE ltv_visitor;
SELECT * FROM attempt($$SELECT ltv.run_as('ltv_author', 'author', 'SELECT spy()', 'SELECT to_jsonb($1)')$$);
-- With their own rights they may; a statement that gives something else than a document is an error.
SELECT s, a.* FROM unnest('{SELECT 1,SELECT,"SELECT repeat(''x'', 100000)","DO ''BEGIN END''",SELECT 1 WHERE false,""}'::text[]) s,
    attempt(format($$SELECT ltv.run_as('ltv_visitor', NULL, NULL, %L)$$, s)) a;
RESET ROLE;

-- What begins as a query ends as one SELECT.
SELECT q, a.state, a.message FROM (VALUES ('SELECT 1; DELETE FROM author.customers'), ('DELETE FROM author.customers'), ('SELECT 1 FROM author.customers FOR UPDATE'),
    ('WITH d AS (DELETE FROM author.customers RETURNING 1) SELECT * FROM d'), ('SELECT * INTO author.copy FROM author.customers'), ('SELECT 1 AS a) s LIMIT 0) q; DELETE FROM author.customers; SELECT * FROM (SELECT 1'),
    ('COPY author.customers TO PROGRAM ''true'''), ('no_such_table'), ('a.b.c.d'), ('"unfinished'), (''), ('SELECT $1'), ('EXPLAIN SELECT 1'), ('author.customers;')) v(q),
    attempt(format('SELECT count(*) FROM ltv_segment(''spying'', %L)', q)) a;
SELECT count(*) FROM author.customers;
SELECT ltv.bind_query('author.customers') AS relation, ltv.bind_query(E'-- first\n /* then */ (SELECT count(*) FROM author.customers);') AS query;
SELECT ltv.query_relations(ltv.bind_query('SELECT * FROM ltv_models')) @> '{ltv.models}'::regclass[] AS through_views;

-- Operators of others in the caller's search_path are not taken for ours.
GRANT CREATE ON SCHEMA public TO ltv_author;
SET ROLE ltv_author;
CREATE FUNCTION public.told(float8, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM author.spy(); RETURN false; END $$;
CREATE OPERATOR public.< (LEFTARG = float8, RIGHTARG = int, FUNCTION = public.told);
CREATE OPERATOR public.<= (LEFTARG = float8, RIGHTARG = int, FUNCTION = public.told);
CREATE OPERATOR public.> (LEFTARG = float8, RIGHTARG = int, FUNCTION = public.told);
CREATE OPERATOR public.>= (LEFTARG = float8, RIGHTARG = int, FUNCTION = public.told);
RESET ROLE;
SELECT a.* FROM attempt($$SELECT count(*) FROM ltv_segment('spying', 'author.customers', budget => 10, cost_per_contact => 1)$$) a;
SELECT a.* FROM attempt($$SELECT count(*) FROM ltv_explain_predict('spying', 'SELECT * FROM author.customers LIMIT 2', background => 'author.customers', samples => 2)$$) a;

DROP FUNCTION attempt; DROP TABLE calls;
SELECT ltv_drop_model('spying');
DROP OPERATOR public.< (float8, int); DROP OPERATOR public.<= (float8, int); DROP OPERATOR public.> (float8, int); DROP OPERATOR public.>= (float8, int);
DROP FUNCTION public.told;
DROP OWNED BY ltv_author, ltv_visitor CASCADE;
DROP ROLE ltv_author, ltv_visitor;
