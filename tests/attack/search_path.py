"""Operators, functions, casts, types and relations of alice's, in a schema of bob's search_path, are not what pg_ltv's own statements use."""

from tools.case import Case, Session, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob, admin)
admin.run("CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO PUBLIC; GRANT USAGE ON SCHEMA alice TO PUBLIC")
bob.trained("m", "bob.customers")
bob.trained("m", "bob.customers")
bob.run("SELECT ltv_set_alias('m', 2, 'challenger')")
bob.run("SELECT ltv_create_features('bob.features', 'bob.orders', date_column => 'day', value_column => 'amount', horizon => 90)")
bob.trained("featured", "bob.features")
bob.run("SELECT ltv_create_campaign('bob.campaign', 'm', 'bob.customers', eligible => 'a > 1', suppress => '{SELECT customer_id FROM bob.orders WHERE amount > 12}', cooldown => 7, start => '2020-06-01')")

# Everything is volatile and tells on itself; each gives what PostgreSQL's own would, so that whoever uses it goes on.
TYPES = ("text", "name", "int4", "int8", "int2", "float8", "float4", "numeric", "jsonb", "oid", "bool", "date", "timestamptz", "interval", "bytea", "regclass", "regrole", "xid8", '"char"', "varchar", "text[]", "float8[]", "int4[]")
OPERATORS = ("=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "||", "~", "~*", "!~", "%", "->", "->>", "#>>", "?", "@>", "&&", "^", "<@")
made = 0
KNOWN = {(operator, left, right): result for operator, left, right, result in admin.run("""
    SELECT o.oprname, l.name, r.name, format_type(o.oprresult, NULL) FROM pg_operator o JOIN unnest(%(types)s::text[]) l(name) ON o.oprleft = l.name::regtype JOIN unnest(%(types)s::text[]) r(name) ON o.oprright = r.name::regtype
    WHERE o.oprnamespace = 'pg_catalog'::regnamespace""", {"types": list(TYPES)})}
for left in TYPES:
    for right in TYPES:
        for operator in OPERATORS:
            # Where PostgreSQL has none for these very types, alice's would be the better fit.
            result = KNOWN.get((operator, left, right))
            found = result is not None
            if result is None and (left, right) not in (("int4", "float8"), ("float8", "int4"), ("name", "text"), ("text", "name"), ("numeric", "float8"), ("float8", "numeric"), ("int4", "numeric"), ("text", "oid"), ("varchar", "text"),
                                                        ("text", "varchar"), ("int8", "float8"), ("float8", "int8"), ("float4", "numeric"), ("int2", "float8"), ("float8", "int2"), ("text", "text[]"), ("float8", "float8[]"), ("int4", "int4[]")):
                continue
            result = result or ("bool" if operator in ("=", "<>", "<", "<=", ">", ">=", "~", "~*", "!~", "?", "@>", "&&", "<@") else "float8")
            body = f"$1 OPERATOR(pg_catalog.{operator}) $2" if found else f"NULL::{result}"
            outcome = alice.try_(f"""CREATE OR REPLACE FUNCTION shared.o{made}(a {left}, b {right}) RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in an operator'); RETURN {body}; END $$;
                CREATE OPERATOR shared.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = shared.o{made})""")
            made += outcome.ok
case.check("alice's operators are there", made > 150, made)
# A domain of bob's is one of the types of a call, so that an operator for it fits better than that of the type under it.
DOMAINS = {"money": "numeric", "day": "date", "moment": "timestamptz", "word": "text", "number": "int4", "short": "varchar"}
for domain, base in DOMAINS.items():
    bob.run(f"CREATE DOMAIN bob.{domain} AS {base}")
bob.run("CREATE TABLE bob.own_types AS SELECT customer_id::bob.number AS customer_id, day::bob.day AS day, day::timestamptz::bob.moment AS moment, amount::bob.money AS amount, (amount::text)::bob.word AS kind FROM bob.orders")
bob.run("CREATE TABLE bob.odd_types AS SELECT customer_id, extract(epoch FROM day) AS seconds, to_char(day, 'DD.MM.YYYY')::varchar AS written, day, amount::text::varchar AS price FROM bob.orders")
fitting = 0
for domain in DOMAINS:
    for other in [f"bob.{name}" for name in DOMAINS] + ["text", "int4", "numeric", "date", "timestamptz", "interval", "float8"]:
        for operator in OPERATORS:
            fitting += 1
            alice.run(f"""CREATE FUNCTION shared.d{fitting}(a bob.{domain}, b {other}) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in an operator for a domain'); RETURN true; END $$;
                CREATE OPERATOR shared.{operator} (LEFTARG = bob.{domain}, RIGHTARG = {other}, FUNCTION = shared.d{fitting})""")
for name, arguments in {"to_timestamp": "numeric", "to_date": "varchar, text"}.items():
    alice.run(f"CREATE FUNCTION shared.{name}({arguments}) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in {name}'); RETURN now(); END $$")
FUNCTIONS = admin.run("""
SELECT DISTINCT ON (p.proname, p.proargtypes) quote_ident(p.proname), pg_get_function_identity_arguments(p.oid), format_type(p.prorettype, NULL), p.pronargs FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
  AND p.prorettype NOT IN ('internal'::regtype, 'cstring'::regtype, 'void'::regtype, 'record'::regtype, 'anyelement'::regtype, 'anyarray'::regtype, 'trigger'::regtype)
  AND NOT p.proargtypes::oid[] && ARRAY['internal', 'cstring', '"any"', 'anyelement', 'anyarray', 'anyrange', 'anyenum', 'anycompatible', 'anycompatiblearray', 'anymultirange', 'anynonarray', 'record']::regtype[]::oid[]
  AND p.proname IN ('lower', 'upper', 'length', 'left', 'right', 'round', 'abs', 'floor', 'ceil', 'exp', 'ln', 'sqrt', 'power', 'substring', 'replace', 'md5', 'sha256', 'encode', 'decode', 'convert_to', 'quote_ident', 'quote_literal',
      'regexp_replace', 'string_to_array', 'now', 'clock_timestamp', 'to_regclass', 'to_char', 'random', 'date_trunc', 'extract', 'date_part', 'current_setting', 'set_config', 'pg_backend_pid', 'has_table_privilege', 'pg_has_role',
      'jsonb_typeof', 'jsonb_array_length', 'jsonb_strip_nulls', 'trim', 'btrim', 'split_part', 'repeat', 'make_interval', 'age', 'timezone', 'width_bucket', 'octet_length', 'parse_ident', 'numeric', 'float8', 'int4', 'text', 'date', 'interval')
""")
functions = 0
for name, arguments, result, count in FUNCTIONS:
    call = ", ".join(f"${n + 1}" for n in range(count))
    functions += alice.try_(f"CREATE FUNCTION shared.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $f$ BEGIN PERFORM alice.spy('in {name}'); RETURN pg_catalog.{name}({call}); END $f$").ok
case.check("alice's functions are there", functions > 80, functions)
# Better fits than functions of PostgreSQL's with polymorphic or variadic arguments, and than the extension's own.
for statement in ("CREATE FUNCTION shared.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in format'); RETURN pg_catalog.format($1, $2); END $$",
                  "CREATE FUNCTION shared.format(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in format'); RETURN pg_catalog.format($1, $2, $3); END $$",
                  "CREATE FUNCTION shared.format(text, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in format'); RETURN pg_catalog.format($1, $2); END $$",
                  "CREATE FUNCTION shared.to_jsonb(text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in to_jsonb'); RETURN pg_catalog.to_jsonb($1); END $$",
                  "CREATE FUNCTION shared.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in unnest'); RETURN QUERY SELECT * FROM pg_catalog.unnest($1); END $$",
                  "CREATE FUNCTION shared.unnest(float8[]) RETURNS SETOF float8 LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in unnest'); RETURN QUERY SELECT * FROM pg_catalog.unnest($1); END $$",
                  "CREATE FUNCTION shared.array_length(text[], int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in array_length'); RETURN pg_catalog.array_length($1, $2); END $$",
                  "CREATE FUNCTION shared.cardinality(text[]) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in cardinality'); RETURN pg_catalog.cardinality($1); END $$",
                  "CREATE FUNCTION shared.concat_ws(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in concat_ws'); RETURN pg_catalog.concat_ws($1, $2, $3); END $$",
                  "CREATE FUNCTION shared.array_position(text[], text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in array_position'); RETURN pg_catalog.array_position($1, $2); END $$",
                  "CREATE FUNCTION shared.ltv_predict(model text, input bob.customers) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in ltv_predict'); RETURN 1; END $$",
                  "CREATE FUNCTION shared.ltv_predict(model text, version int, input jsonb) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in ltv_predict'); RETURN 1; END $$",
                  "CREATE FUNCTION shared.ltv_retrain(model text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in ltv_retrain'); RETURN 1; END $$",
                  "CREATE AGGREGATE shared.sum(float8) (SFUNC = shared.o0, STYPE = text)", "CREATE AGGREGATE shared.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '7')",
                  "CREATE VIEW shared.pg_class AS SELECT c.*, alice.spy('in pg_class') AS s FROM pg_catalog.pg_class c", "CREATE VIEW shared.pg_proc AS SELECT c.*, alice.spy('in pg_proc') AS s FROM pg_catalog.pg_proc c",
                  "CREATE VIEW shared.pg_roles AS SELECT c.*, alice.spy('in pg_roles') AS s FROM pg_catalog.pg_roles c", "CREATE VIEW shared.pg_type AS SELECT c.*, alice.spy('in pg_type') AS s FROM pg_catalog.pg_type c",
                  "CREATE VIEW shared.pg_stat_activity AS SELECT c.*, alice.spy('in pg_stat_activity') AS s FROM pg_catalog.pg_stat_activity c", "CREATE VIEW shared.ltv_jobs AS SELECT j.*, alice.spy('in ltv_jobs') AS s FROM public.ltv_jobs j",
                  "CREATE VIEW shared.ltv_traffic AS SELECT j.*, alice.spy('in ltv_traffic') AS s FROM public.ltv_traffic j", "CREATE VIEW shared.ltv_alerts AS SELECT j.*, alice.spy('in ltv_alerts') AS s FROM public.ltv_alerts j",
                  "CREATE DOMAIN shared.text AS pg_catalog.text CHECK (alice.spy('in text') = 0)", "CREATE DOMAIN shared.jsonb AS pg_catalog.jsonb CHECK (alice.spy('in jsonb') = 0)",
                  "CREATE DOMAIN shared.regclass AS pg_catalog.regclass CHECK (alice.spy('in regclass') = 0)", "CREATE DOMAIN shared.float8 AS pg_catalog.float8 CHECK (alice.spy('in float8') = 0)",
                  "CREATE TYPE shared.record AS (a int)", "CREATE COLLATION shared.\"C\" FROM \"POSIX\""):
    outcome = alice.try_(statement)
    if not outcome.ok:
        print("      not made:", statement[:70], outcome)
alice.run("GRANT ALL ON ALL TABLES IN SCHEMA shared TO PUBLIC")
case.forget()

ONNX = "ltv_export_onnx('m', 1)"
USES = (
    "SELECT count(*) FROM ltv_segment('m', 'TABLE bob.customers')", "SELECT count(*) FROM ltv_segment_as(NULL::int, 'm', 'TABLE bob.customers')", "SELECT count(*) FROM ltv_segment('m', 'bob.customers', budget => 10, cost_per_contact => 1)", "SELECT count(*) FROM ltv_segment_summary('m', 'TABLE bob.customers')",
    "SELECT count(*) FROM ltv_create_campaign('bob.made', 'm', 'TABLE bob.customers', eligible => 'true', suppress => '{bob.customers}', cooldown => 7)", "SELECT count(*) FROM ltv_refresh_campaign('bob.campaign')",
    "SELECT count(*) FROM ltv_campaign_result('bob.campaign', 'TABLE bob.orders', date_column => 'day', value_column => 'amount')", "SELECT count(*) FROM ltv_campaign_curve('bob.campaign', 'bob.orders', date_column => 'day', value_column => 'amount')",
    "SELECT count(*) FROM ltv_export_audience('bob.campaign', 'google', 'SELECT customer_id, ''x@example.com'' AS email, ''1'' AS phone, ''a'' AS first_name, ''b'' AS last_name, ''DE'' AS country, ''1'' AS zip FROM bob.customers')", "SELECT * FROM ltv_campaigns",
    "SELECT count(*) FROM ltv_rfm_segments('bob.orders', date_column => 'day', value_column => 'amount')", "SELECT count(*) FROM ltv_tier_movement('bob.customers', 'TABLE bob.customers', tier_column => 'a')",
    "SELECT * FROM ltv_evaluate('m')", "SELECT * FROM ltv_evaluate('m', 'TABLE bob.customers')", "SELECT * FROM ltv_decile_stats('m')", "SELECT * FROM ltv_decile_stats('m', 'bob.customers')", "SELECT ltv_monitor('m')",
    "SELECT ltv_monitor('m', 'TABLE bob.customers')", "SELECT ltv_monitor('featured')", "SELECT * FROM ltv_validate_data_skew('m', 'TABLE bob.customers')", "SELECT * FROM ltv_validate_data_drift('m', 'TABLE bob.customers', 'bob.customers')",
    "SELECT length(ltv_report('m'))", "SELECT length(ltv_report('m', 'bob.customers'))", "SELECT count(*) FROM ltv_explain_predict('m', 'TABLE bob.customers', samples => 2)", "SELECT count(*) FROM ltv_feature_importance('m', repeats => 1, rows => 20)",
    "SELECT count(*) FROM ltv_selection_weights('m')", "SELECT * FROM ltv_training_info('m')", "SELECT * FROM ltv_feature_info('m')", "SELECT * FROM ltv_comparison('m')", "SELECT ltv_quantize('m', 1)", "SELECT ltv_quantize('m', 1, 'TABLE bob.customers')",
    "SELECT ltv_train('m', 'bob.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')", "SELECT ltv_train('m', query => 'TABLE bob.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')",
    "SELECT ltv_retrain('m', 'if_better', options => '{\"epochs\": 1, \"ensemble\": 1}')", "SELECT ltv_retrain('featured', 'if_better', options => '{\"epochs\": 1, \"ensemble\": 1}')", "SELECT ltv_retry(1)", "SELECT ltv_wait(1)", "SELECT ltv_cancel(1)",
    "SELECT ltv_refresh_features('bob.features')", "SELECT ltv_refresh_features('bob.features', '2020-09-01')", "SELECT * FROM ltv_backtest('featured')", "SELECT * FROM ltv_backtest('featured', '2020-06-01')",
    "SELECT ltv_create_features('bob.other', 'bob.orders', date_column => 'day', value_column => 'amount', horizon => 60, sequence => true, attributes => 'SELECT customer_id, 1 AS x FROM bob.customers')",
    "SELECT ltv_create_features('bob.viewed', 'TABLE bob.orders', date_column => 'day', value_column => 'amount', horizon => 60, materialized => false)", "SELECT count(*) FROM bob.viewed",
    "SELECT ltv_create_features('bob.own_other', 'bob.own_types', date_column => 'day', value_column => 'amount', horizon => 60, sequence => true, start_column => 'day', age => '{30,90}', customers => 'SELECT DISTINCT ON (customer_id) customer_id, day FROM bob.own_types',"
    " events => '{\"kinds\": {\"source\": \"bob.own_types\", \"date_column\": \"moment\", \"type_column\": \"kind\", \"value_columns\": [\"amount\"]}}')",
    "SELECT ltv_create_features('bob.own_viewed', 'bob.own_types', date_column => 'moment', value_column => 'amount', horizon => 60, materialized => false)", "SELECT count(*) FROM ltv_rfm_summary('bob.own_types', date_column => 'day', value_column => 'amount', as_of => '2021-06-01')",
    "SELECT ltv_create_features('bob.not_made', 'bob.odd_types', date_column => 'seconds', value_column => 'price', horizon => 60)", "SELECT ltv_create_features('bob.not_made', 'bob.odd_types', date_column => 'written', value_column => 'price', horizon => 60)",
    "SELECT ltv_create_features('bob.not_made', 'bob.odd_types', date_column => 'day', value_column => 'price', horizon => 60)",
    "SELECT count(*) FROM ltv_rfm_summary('bob.orders', date_column => 'day', value_column => 'amount')", "SELECT ltv_set_alias('m', 1)", "SELECT ltv_rollback('m')", "SELECT ltv_set_traffic('m', 0.5, 'customer_id')", "SELECT ltv_assigned_version('m', '5')",
    "SELECT ltv_set_promotion('m', 'if_better', 'mae', 0.1)", "SELECT ltv_set_thresholds('m', '{\"a\": 0.2}')", "SELECT ltv_keep_versions('m', 3)", "SELECT ltv_drop_alias('m', 'challenger')", "SELECT ltv_grant('m', 'public', 'read')",
    "SELECT ltv_revoke('m', 'public')", "SELECT ltv_schedule('m', '0 3 * * *', '{monitor}')", "SELECT ltv_schedule('m', NULL, '{score}', 'bob.customers', 'bob.scores')", "CALL ltv_nightly('m', '{score}')", "CALL ltv_nightly('m', '{score,monitor}', 'TABLE bob.customers', 'bob.scores', arguments => '{\"score\": {\"minimum_change\": 0}}')", "CALL ltv_nightly('featured', '{refresh,retrain}', 'bob.features')", "SELECT * FROM ltv_nightly_steps", "SELECT ltv_unschedule('m')", f"SELECT ltv_import_onnx('again', {ONNX})", "SELECT ltv_drop_version('again', 1)", "SELECT ltv_drop_model('again')",
    "SELECT ltv_compare('m', 'bob.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')", "SELECT sum(ltv_predict('m', c)) FROM bob.customers c", "SELECT ltv_predict('m', 1, ARRAY[1, 2])", "SELECT ltv_predict_all('m', '{\"a\": 1}'::jsonb)",
    "SELECT * FROM ltv_models", "SELECT * FROM ltv_versions", "SELECT * FROM public.ltv_jobs", "SELECT * FROM ltv_promotions", "SELECT * FROM public.ltv_traffic", "SELECT * FROM ltv_monitoring", "SELECT * FROM public.ltv_alerts", "SELECT * FROM ltv_schedules",
)
# What bob writes in these statements means what it means in bob's search_path.
OWN_WORDS = ("in length", "in ltv_jobs", "in ltv_predict", "in jsonb")
for role, path in (("bob", "shared, bob, public"), ("bob", "shared, pg_catalog, bob, public"), ("bob", "bob, public, shared"), ("postgres", "shared, pg_catalog, public")):
    session = Session(role)
    session.run(f"SET search_path = {path}; SET statement_timeout = '30s'")
    unusual = []
    for statement in USES:
        text = statement.replace("bob.own_other", f"bob.own_other{len(path)}").replace("bob.own_viewed", f"bob.own_viewed{len(path)}").replace("bob.other", f"bob.other{len(path)}").replace("bob.made", f"bob.made{len(path)}").replace("bob.viewed", f"bob.viewed{len(path)}")
        outcome = session.try_(text)
        if not outcome.ok and outcome.state not in ("0A000", "42704", "55000", "42501", "2BP01"):
            unusual.append((statement, outcome))
        spies = {spy for spy in case.spied() if spy[1] != "alice"}
        spies = {spy for spy in spies if spy[0] not in OWN_WORDS}
        if spies:
            case.check(f"{role}, search_path {path}: {statement[:80]}", False, sorted(spies))
            case.forget()
    case.check(f"{role}, search_path {path}: alice's objects are not used", True)
    print("      in another way than usual:", unusual[:6])
until(lambda: admin.value("SELECT count(*) = 0 FROM public.ltv_jobs WHERE status IN ('queued', 'running')"), 60)
failed = admin.run("SELECT job, role::text, status, message FROM public.ltv_jobs WHERE status = 'failed'")
print("      jobs that failed:", failed)
case.check("nor by workers", not [spy for spy in case.spied() if spy[1] != "alice" and spy[0] not in OWN_WORDS], sorted(case.spied())[:5])
case.finish()
