"""A query that is given to a function delivers rows and does nothing else: one SELECT, whatever comments, quotes and brackets are in it."""

from tools.case import Case, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(bob)
bob.trained("m", "bob.customers")
bob.run("SELECT ltv_create_features('bob.features', 'bob.orders', date_column => 'day', value_column => 'amount', horizon => 90)")
bob.run("CREATE TABLE bob.bought AS SELECT customer_id, customer_id AS order_id, now() AS conversion_time, 'x' AS gclid, ltv AS value FROM bob.customers; CREATE TABLE bob.scored AS SELECT customer_id, ltv FROM bob.customers")
bob.run("CREATE TABLE bob.reached AS SELECT c.*, 'x@example.com' AS email FROM bob.customers c")
bob.run("SELECT ltv_create_campaign('bob.campaign', 'm', 'bob.customers', start => '2020-06-01')")
bob.run("CREATE TABLE bob.victim AS SELECT 1 AS i; CREATE SEQUENCE bob.counter")

# Every argument that takes a query. {} is the query as a literal.
PLACES = {
    "ltv_train": "SELECT ltv_train('m', query => {}, options => '{\"epochs\": 1, \"ensemble\": 1}')",
    "ltv_train, relation": "SELECT ltv_train('m', {}, options => '{\"epochs\": 1, \"ensemble\": 1}')",
    "ltv_compare": "SELECT ltv_compare('m', query => {}, options => '{\"epochs\": 1, \"ensemble\": 1}')",
    "ltv_evaluate": "SELECT count(*) FROM ltv_evaluate('m', {})",
    "ltv_decile_stats": "SELECT count(*) FROM ltv_decile_stats('m', {})",
    "ltv_segment": "SELECT count(*) FROM ltv_segment('m', {})",
    "ltv_segment_as": "SELECT count(*) FROM ltv_segment_as(NULL::int, 'm', {})",
    "ltv_schedule": "SELECT ltv_schedule('m', NULL, '{score}', {}, 'bob.scores')",
    "ltv_nightly": "CALL ltv_nightly('m', '{monitor}', {})",
    "ltv_segment_summary": "SELECT count(*) FROM ltv_segment_summary('m', {})",
    "ltv_monitor": "SELECT ltv_monitor('m', {})",
    "ltv_validate_data_skew": "SELECT count(*) FROM ltv_validate_data_skew('m', {})",
    "ltv_validate_data_drift, then": "SELECT count(*) FROM ltv_validate_data_drift('m', {}, 'bob.customers')",
    "ltv_validate_data_drift, now": "SELECT count(*) FROM ltv_validate_data_drift('m', 'bob.customers', {})",
    "ltv_horizons": "SELECT count(*) FROM ltv_horizons('m', {})",
    "ltv_report": "SELECT length(ltv_report('m', {}))",
    "ltv_explain_predict": "SELECT count(*) FROM ltv_explain_predict('m', {}, samples => 2)",
    "ltv_feature_importance": "SELECT count(*) FROM ltv_feature_importance('m', {}, repeats => 1, rows => 50)",
    "ltv_quantize": "SELECT ltv_quantize('m', 1, {})",
    "ltv_rfm_summary": "SELECT count(*) FROM ltv_rfm_summary({}, date_column => 'day', value_column => 'amount', as_of => '2021-06-01')",
    "ltv_create_features": "SELECT ltv_create_features('bob.made', {}, date_column => 'day', value_column => 'amount', horizon => 90)",
    "ltv_create_campaign": "SELECT count(*) FROM ltv_create_campaign('bob.made', 'm', {})",
    "ltv_create_campaign, eligible": "SELECT count(*) FROM ltv_create_campaign('bob.made', 'm', 'bob.customers', eligible => {})",
    "ltv_create_campaign, suppress": "SELECT count(*) FROM ltv_create_campaign('bob.made', 'm', 'bob.customers', suppress => ARRAY[{}])",
    "ltv_campaign_result": "SELECT count(*) FROM ltv_campaign_result('bob.campaign', {}, date_column => 'day', value_column => 'amount')",
    "ltv_campaign_curve": "SELECT count(*) FROM ltv_campaign_curve('bob.campaign', {}, date_column => 'day', value_column => 'amount')",
    "ltv_export_audience": "SELECT count(*) FROM ltv_export_audience('bob.campaign', 'plain', {})",
    "ltv_export_conversions": "SELECT count(*) FROM ltv_export_conversions({}, 'bob.scored', 'First order')",
    "ltv_export_conversions, scores": "SELECT count(*) FROM ltv_export_conversions('bob.bought', {}, 'First order')",
    "ltv_export_conversions, sent": "SELECT count(*) FROM ltv_export_conversions('bob.bought', 'bob.scored', 'First order', sent => {})",
    "ltv_rfm_segments": "SELECT count(*) FROM ltv_rfm_segments({}, date_column => 'day', value_column => 'amount')",
    "ltv_tier_movement": "SELECT count(*) FROM ltv_tier_movement('bob.customers', {}, tier_column => 'a')",
    "ltv_create_features, attributes": "SELECT ltv_create_features('bob.made', 'bob.orders', date_column => 'day', value_column => 'amount', horizon => 90, attributes => {})",
}
ROWS = {"ltv_report, costs": "SELECT day AS cohort, amount AS cost FROM bob.orders", "ltv_export_conversions": "SELECT * FROM bob.bought", "ltv_export_conversions, sent": "SELECT * FROM bob.bought", "ltv_campaign_result": "SELECT * FROM bob.orders", "ltv_campaign_curve": "SELECT * FROM bob.orders", "ltv_rfm_segments": "SELECT * FROM bob.orders", "ltv_export_audience": "SELECT * FROM bob.reached", "ltv_rfm_summary": "SELECT * FROM bob.orders", "ltv_create_features": "SELECT * FROM bob.orders", "ltv_create_features, attributes": "SELECT DISTINCT ON (customer_id) customer_id, amount AS x FROM bob.orders"}
missing = [name for name in PLACES if not admin.value("SELECT count(*) > 0 FROM pg_proc WHERE proname = %s", [name.split(",")[0]])]
assert not missing, missing
# Arguments that take a query, and that this list does not know yet.
known = {name.split(",")[0] for name in PLACES} | {"ltv_train_now"}  # which takes what ltv_train takes, and waits
others = admin.run("""SELECT p.proname, a.name FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_ltv',
    unnest(p.proargnames[1:p.pronargs]) a(name) WHERE p.proname LIKE 'ltv\\_%' AND (a.name LIKE 'query%' OR a.name IN ('source', 'costs', 'attributes', 'customers', 'contacts', 'eligible', 'suppress', 'conversions', 'scores', 'sent', 'features')) ORDER BY 1""")
for function, argument in others:
    if function not in known:
        print(f"      not tried here: {function}({argument})")

DELETE = "DELETE FROM bob.victim"
HIDDEN = [
    "{rows}; DELETE FROM bob.victim", "{rows};; DELETE FROM bob.victim;", "{rows} ; /* x */ DELETE FROM bob.victim", "DELETE FROM bob.victim; {rows}", "DELETE FROM bob.victim RETURNING i AS customer_id, 1 AS a, 2 AS b, 3 AS ltv",
    "WITH x AS (DELETE FROM bob.victim RETURNING i) SELECT q.* FROM ({rows}) q, x", "WITH x AS (INSERT INTO bob.victim VALUES (2) RETURNING i) {rows}", "WITH x AS (UPDATE bob.victim SET i = 7 RETURNING i) {rows}",
    "WITH RECURSIVE x AS (SELECT 1), y AS (DELETE FROM bob.victim RETURNING i) {rows}", "SELECT * INTO bob.taken FROM ({rows}) q", "{rows} FOR UPDATE", "SELECT * FROM ({rows}) q FOR SHARE", "TABLE bob.customers; DELETE FROM bob.victim",
    "{rows} -- x\n; DELETE FROM bob.victim --", "{rows} /* ; */; DELETE FROM bob.victim /*", "{rows}) q; DELETE FROM bob.victim; SELECT * FROM ({rows}", "{rows}) q; DELETE FROM bob.victim; --", "{rows}\n) q LIMIT 0; DELETE FROM bob.victim; --",
    "SELECT 1 AS a) ltv_q LIMIT 1) ltv_s; DELETE FROM bob.victim; SELECT * FROM (SELECT * FROM ({rows}", "SELECT 1 AS a) s LIMIT 0) ltv_q ON true) ltv_r; DELETE FROM bob.victim; SELECT * FROM (SELECT * FROM ({rows}",
    "{rows}) q ON true) r; DELETE FROM bob.victim; SELECT * FROM (SELECT * FROM (SELECT * FROM ({rows}", "{rows} WHERE true) a WHERE true; DELETE FROM bob.victim; --", "({rows}); DELETE FROM bob.victim", "{rows} UNION ALL DELETE FROM bob.victim",
    "CREATE TABLE bob.taken AS {rows}", "EXPLAIN ANALYZE DELETE FROM bob.victim", "DO $$ BEGIN DELETE FROM bob.victim; END $$", "CALL bob.p()", "COPY (DELETE FROM bob.victim RETURNING *) TO STDOUT", "PREPARE p AS DELETE FROM bob.victim",
    "EXECUTE p", "TRUNCATE bob.victim", "DROP TABLE bob.victim", "BEGIN; DELETE FROM bob.victim; COMMIT; {rows}", "SELECT 1; COMMIT; DELETE FROM bob.victim; SELECT 1", "FETCH ALL FROM c", "DECLARE c CURSOR WITH HOLD FOR {rows}", "SHOW all", "VALUES (1); DELETE FROM bob.victim",
    "MERGE INTO bob.victim USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE", "{rows} LIMIT 1; DELETE FROM bob.victim", "$$ {rows} $$; DELETE FROM bob.victim", "E'\\'; DELETE FROM bob.victim; --'", "{rows}\u037e DELETE FROM bob.victim", "{rows}$$; DELETE FROM bob.victim; $$",
    "{rows}$q$; DELETE FROM bob.victim; $q$", "SELECT * FROM ({rows}) q\\; DELETE FROM bob.victim", "NOTIFY x; {rows}", "SET ROLE postgres; {rows}", "LOCK TABLE bob.victim; {rows}", "", " ", ";", "--", "/*", "SELECT", "(", ")", "((((", "'", '"', "$$", "{rows} %s %I %L %1$s",
]
bob.run("CREATE PROCEDURE bob.p() LANGUAGE sql AS 'DELETE FROM bob.victim'")
state = "SELECT (SELECT count(*) FROM bob.victim), (SELECT min(i) FROM bob.victim), to_regclass('bob.taken') IS NULL"
before = bob.run(state)
for place, call in PLACES.items():
    rows = ROWS.get(place, "SELECT customer_id, a, b, ltv FROM bob.customers")
    for text in HIDDEN:
        query = text.replace("{rows}", rows)
        outcome = bob.try_(call.replace("{}", "'" + query.replace("'", "''") + "'"))
        after = bob.run(state)
        if after != before:
            case.check(f"{place} does not run: {text}", False, outcome)
            bob.run("DROP TABLE IF EXISTS bob.taken, bob.victim; CREATE TABLE bob.victim AS SELECT 1 AS i")
        elif not outcome.ok and (outcome.lost or outcome.state.startswith("XX")):
            case.check(f"{place} refuses in an ordinary way: {text}", False, outcome)
        elif outcome.ok and "bob.victim" in text and "SELECT 1 AS a" not in text:
            case.check(f"{place} refuses: {text}", False, outcome)
        bob.run("DROP TABLE IF EXISTS bob.made; DROP VIEW IF EXISTS bob.made; DEALLOCATE ALL")
    case.check(f"{place}: {len(HIDDEN)} texts", True)
until(lambda: bob.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), 120)
case.check("nor do the jobs that were queued", bob.run(state) == before, bob.run(state))
odd = bob.run("SELECT job, sqlstate, message FROM ltv_jobs WHERE sqlstate LIKE 'XX%' OR status = 'lost'")
case.check("and they end in an ordinary way", not odd, odd[:3])

# A table's name is a name.
for name in ("bob.customers; DELETE FROM bob.victim", "bob.customers) q; DELETE FROM bob.victim; --", "bob.victim\" ; --", "(DELETE FROM bob.victim RETURNING *) x", "bob.customers, bob.victim", "bob.customers WHERE true", "generate_series(1, 5)", "bob.\"nothing\"", "a.b.c.d"):
    for place, call in PLACES.items():
        outcome = bob.try_(call.replace("{}", "'" + name.replace("'", "''") + "'"))
        if outcome.ok or outcome.lost or outcome.state.startswith("XX"):
            case.check(f"{place} takes this for no relation: {name}", False, outcome)
case.check("names of relations are names", bob.run(state) == before)
# And what is one SELECT is taken.
for text in ("{rows}", "{rows};", " \n{rows} ;; ", "-- a comment\n{rows}", "/* a; comment */ {rows} -- end", "({rows})", "WITH x AS ({rows}) SELECT * FROM x", "SELECT q.* FROM ({rows}) q WHERE $$;$$ <> 'x'", "SELECT q.* FROM ({rows}) q WHERE E'\\'; --' IS NOT NULL",
             "TABLE {table}", "{table}", "select * from ({rows}) \"q;\"", "SELECT * FROM ({rows}) q /* /* nested */ */", "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT q.* FROM ({rows}) q WHERE (SELECT count(*) FROM n) = 3"):
    for place, call in PLACES.items():
        if place == "ltv_compare" or "ltv_train" in place or "eligible" in place:  # which is a condition
            continue
        rows = ROWS.get(place, "SELECT customer_id, a, b, ltv FROM bob.customers")
        table = "bob.reached" if "audience" in place else "bob.bought" if "bob.bought" in rows else "bob.orders" if "FROM bob.orders" in rows and "attributes" not in place else "bob.customers"
        query = text.replace("{rows}", rows).replace("{table}", table)
        outcome = bob.try_(call.replace("{}", "'" + query.replace("'", "''") + "'"))
        if not outcome.ok and not (outcome.state == "42701" and "attributes" in place):
            case.check(f"{place} takes: {text}", False, outcome)
        bob.run("DROP TABLE IF EXISTS bob.made")
case.check("honest queries are taken", True)
case.finish()
