"""The catalog is closed: no role has rights on its tables and sequences, no lock can be taken on them, functions that trust their caller
cannot be called, and a version never changes, not for its owner either."""

import base64

from tools import graphs
from tools.case import Case, Session

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
bob.trained("m", "bob.customers")
MODES = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
OBJECTS = """
SELECT format('%I.%I', n.nspname, c.relname), c.relkind, n.nspname, ARRAY(SELECT quote_ident(attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i', 'a')
WHERE c.relkind IN ('r', 'v', 'm', 'S', 'p') AND (n.nspname = 'ltv' OR c.relname LIKE 'ltv\\_%') GROUP BY c.oid, n.nspname ORDER BY 1
"""
objects = admin.run(OBJECTS)
assert sum(kind == "r" for _, kind, _, _ in objects) >= 8 and any(kind == "v" for _, kind, _, _ in objects), objects

for name, kind, _, columns in objects:
    kind = kind.decode() if isinstance(kind, bytes) else kind
    if kind == "S":
        attempts = [f"SELECT nextval('{name}')", f"SELECT setval('{name}', 1)", f"SELECT last_value FROM {name}", f"SELECT currval('{name}')"]
    elif kind in ("r", "p"):
        attempts = [f"SELECT 1 FROM {name}", f"SELECT {columns[0]} FROM {name}", f"SELECT count(*) FROM {name}", f"SELECT FROM {name} FOR UPDATE", f"SELECT FROM {name} FOR KEY SHARE", f"INSERT INTO {name} DEFAULT VALUES",
                    f"INSERT INTO {name} SELECT * FROM {name}", f"UPDATE {name} SET {columns[0]} = {columns[0]}", f"DELETE FROM {name}", f"DELETE FROM {name} WHERE false", f"TRUNCATE {name}", f"TRUNCATE {name} CASCADE",
                    f"CREATE TABLE alice.refers (x int REFERENCES {name})", f"CREATE TRIGGER t BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                    f"CREATE RULE r AS ON INSERT TO {name} DO INSTEAD NOTHING", f"CREATE POLICY p ON {name} USING (true)", f"ALTER TABLE {name} DISABLE TRIGGER ALL", f"ALTER TABLE {name} OWNER TO alice",
                    f"CREATE INDEX ON {name} ({columns[0]})", f"CREATE TABLE alice.child () INHERITS ({name})", f"COMMENT ON TABLE {name} IS 'x'", f"DROP TABLE {name} CASCADE", f"ANALYZE {name}",
                    f"CREATE STATISTICS s ON {columns[0]}, {columns[1]} FROM {name}", f"GRANT SELECT ON {name} TO alice"]
        attempts += [f"MERGE INTO {name} USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE"]
    else:
        attempts = [f"INSERT INTO {name} SELECT * FROM {name}", f"DELETE FROM {name}", f"UPDATE {name} SET {columns[0]} = {columns[0]}", f"CREATE OR REPLACE VIEW {name} AS SELECT 1", f"DROP VIEW {name}"]
    through = []
    for attempt in attempts:
        outcome = alice.try_(attempt)
        # What cannot be written at all is said before anybody's rights are looked at; ANALYZE only warns.
        if outcome.state not in ("42501", "55000", "0A000", "42P17", "42809", "42P16", "428C9") and not (attempt.startswith(("ANALYZE", "GRANT")) and outcome.ok):
            through.append((attempt, outcome))
    case.check(f"nothing gets at {name}", not through, through[:4])
    held = []
    for mode in MODES if kind in ("r", "p", "v") else ():
        if kind == "v" and mode == "ACCESS SHARE":
            continue  # what reading a view takes
        alice.run("BEGIN")
        outcome = alice.try_(f"LOCK TABLE {name} IN {mode} MODE NOWAIT")
        alice.run("ROLLBACK")
        if outcome.state != "42501":
            held.append((mode, outcome))
    case.check(f"{name} cannot be locked", not held, held)
    rights = admin.value("SELECT coalesce(string_agg(p, ' '), '') FROM unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p WHERE has_table_privilege('alice', %s, p)", [name]) if kind in ("r", "p") else ""
    case.check(f"no right on {name}", not rights, rights)
columns = admin.run("SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'ltv'::regnamespace AND relkind IN ('r', 'p')) AND attacl IS NOT NULL")
case.check("no right on any column either", not columns, columns)
default = admin.run("SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'ltv'::regnamespace AND relkind IN ('r', 'p', 'S') AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0)")
case.check("PUBLIC has no right on tables and sequences", not default, default)
for what in ("CREATE TABLE ltv.x (i int)", "CREATE FUNCTION ltv.x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TYPE ltv.x AS (i int)", "ALTER SCHEMA ltv RENAME TO mine", "DROP SCHEMA ltv CASCADE", "DROP EXTENSION pg_ltv",
             "ALTER EXTENSION pg_ltv DROP TABLE ltv.models", "CREATE OR REPLACE FUNCTION ltv.has_privilege(model text, privilege text, role name) RETURNS boolean LANGUAGE sql AS 'SELECT true'", "GRANT ALL ON SCHEMA ltv TO alice"):
    outcome = alice.try_(what)
    case.check(f"refused: {what}", outcome.state in ("42501", "2BP01", "42P13") or what.startswith("GRANT"), outcome)
case.check("no CREATE on schema ltv", not admin.value("SELECT has_schema_privilege('alice', 'ltv', 'CREATE')"))

# Functions -----------------------------------------------------------------------------------------------------------------
FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.prosecdef, coalesce(array_to_string(p.proconfig, '; '), ''), has_function_privilege('alice', p.oid, 'EXECUTE'), n.nspname || '.' || p.proname,
       ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i) ORDER BY i), p.proargnames[1], l.lanname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'pg_ltv' ORDER BY 1
"""
for signature, definer, config, may, name, types, first, language in admin.run(FUNCTIONS):
    if definer:
        path = config.replace('"', "").lower()
        case.check(f"{signature}, which has its owner's rights, has a search_path of its own", "search_path=pg_catalog, pg_temp" in path or "search_path=pg_catalog,pg_temp" in path, config)
        if may and "regrole" in types[:1]:
            case.check(f"{signature}, which trusts its caller, cannot be called", False)
    if first == "caller" and types[:1] == ["regrole"]:
        outcome = alice.try_(f"SELECT {name}({', '.join(['0::regrole'] + [f'NULL::{t}' for t in types[1:]])})")
        case.check(f"{signature} cannot be called", not may and outcome.state == "42501", outcome)
    if definer and "trigger" not in signature and may:
        print(f"      has its owner's rights and anybody may call it: {signature}")
for signature in ("ltv.settle_version(bigint,text,int,jsonb)", "ltv.move_alias(text,text,int,text,bigint)", "ltv.queue_job(text,text,jsonb,jsonb)", "ltv.change_settings(text,jsonb)", "ltv.drop_old_versions(text)",
                  "ltv.claim_model(text)", "ltv.forget_features(text)", "ltv.interrupt_job(bigint)", "ltv.invalidate()"):
    if admin.value("SELECT to_regprocedure(%s) IS NOT NULL", [signature]):
        print("      is there:", signature, "alice may call it:", admin.value("SELECT has_function_privilege('alice', %s, 'EXECUTE')", [signature]))
for statement in ("CREATE FUNCTION alice.gate(model text) RETURNS void LANGUAGE c AS '$libdir/pg_ltv', 'ltv_for_caller'", "CREATE FUNCTION alice.inspect(bytea, text[], text) RETURNS jsonb LANGUAGE c AS '$libdir/pg_ltv', 'ltv_inspect_onnx_wrapper'",
                  "CREATE FUNCTION alice.worker() RETURNS void LANGUAGE c AS '$libdir/pg_ltv', 'ltv_worker_main'"):
    case.refused(f"refused: {statement[:60]}", alice, statement)

# What only other sessions' locks could do: a transaction of alice's that has used everything she may use does not stop bob.
alice.run("BEGIN")
for statement in ("SELECT * FROM ltv_models", "SELECT * FROM ltv_versions", "SELECT * FROM ltv_jobs", "SELECT * FROM ltv_promotions", "SELECT ltv_import_onnx('hers', decode('" + base64.b64encode(graphs.linear(1, 0)).decode() + "', 'base64'))",
                  "SELECT ltv_set_promotion('hers', 'never')", "SELECT ltv_grant('hers', 'public', 'read')", "SELECT ltv_train('hers', 'alice.customers')", "SELECT ltv_set_alias('hers', 1, 'other')"):
    alice.run(f"SAVEPOINT s")
    if not alice.try_(statement).ok:
        alice.run("ROLLBACK TO s")
bob.run("SET statement_timeout = '5s'")
for statement in ("SELECT count(ltv_predict('m', c)) FROM bob.customers c", "SELECT * FROM ltv_versions", f"SELECT ltv_train('m', 'bob.customers')", "SELECT ltv_grant('m', 'public', 'predict')", "SELECT ltv_revoke('m', 'public')"):
    outcome, took = bob.timed(statement)
    case.check(f"an open transaction of alice's does not stop bob: {statement}", outcome.ok and took < 2, f"{outcome} {took:.1f} s")
new = Session("bob")
outcome, took = new.timed("SELECT ltv_import_onnx('new', decode(%s, 'base64'))", [base64.b64encode(graphs.linear(2, 0)).decode()])
case.check("nor a new model of bob's", outcome.ok and took < 2, f"{outcome} {took:.1f} s")
alice.run("ROLLBACK")

# Versions never change -----------------------------------------------------------------------------------------------------
one, two = graphs.linear(1, 0), graphs.linear(2, 5)
importing = "SELECT ltv_import_onnx('fixed', %s, promote => true)"
scoring = "SELECT ltv_predict('fixed', {}, ARRAY[3])"


def same(what, version, before):
    for session in (alice, Session("alice"), bob):
        now = session.try_(scoring.format(version))
        case.check(f"version {version} gives what it gave or nothing, after {what}", not now.ok or now.value == before, f"{before}, now {now}")


first = alice.value(importing, [one])
alice.run("SELECT ltv_grant('fixed', 'public', 'read')")
before = alice.value(scoring.format(first))
bob.value(scoring.format(first))
alice.try_("SELECT ltv_import_onnx('fixed', %s)", [two])
alice.try_(f"SELECT ltv_set_alias('fixed', {first + 1})")
alice.run(f"SELECT ltv_drop_version('fixed', {first})")
again = alice.value(importing, [two])
case.check("a dropped version's number is not given out again", again not in (first, first + 1), f"{first}, then {again}")
same("its owner dropped it and imported another", first, before)
latest = alice.value("SELECT max(version) FROM ltv_versions WHERE model = 'fixed'")
before_drop = {v: alice.value(scoring.format(v)) for v in (again, latest)}
alice.run("SELECT ltv_drop_model('fixed')")
new = alice.try_(importing, [graphs.linear(7, 7)])
print("      the model again:", new)
alice.try_("SELECT ltv_grant('fixed', 'public', 'read')")
for version, value in before_drop.items():
    same("its model was dropped and made again", version, value)
same("its model was dropped and made again", first, before)
for _ in range(3):
    alice.try_(importing, [graphs.linear(9, 9)])
same("more imports", first, before)
# What was never committed is nobody's version, in the session cache neither.
alice.run("BEGIN")
rolled = alice.value("SELECT ltv_import_onnx('rolled', %s)", [one])
alice.run(f"SELECT ltv_predict('rolled', {rolled}, ARRAY[3])")
alice.run("ROLLBACK")
committed = alice.value("SELECT ltv_import_onnx('rolled', %s)", [two])
value = alice.value(f"SELECT ltv_predict('rolled', {committed}, ARRAY[3])")
case.check("a version that was rolled back leaves nothing in the session", value == 11, value)
alice.run("BEGIN")
alice.run("SAVEPOINT s")
inner = alice.value("SELECT ltv_import_onnx('rolled', %s)", [one])
alice.run(f"SELECT ltv_predict('rolled', {inner}, ARRAY[3])")
alice.run("ROLLBACK TO s")
inner = alice.value("SELECT ltv_import_onnx('rolled', %s)", [graphs.linear(10, 0)])
value = alice.value(f"SELECT ltv_predict('rolled', {inner}, ARRAY[3])")
alice.run("COMMIT")
case.check("nor one rolled back to a savepoint", value == 30, value)
# Two sessions at once, one of which gives up.
other = Session("alice")
alice.run("BEGIN")
number = alice.value("SELECT ltv_import_onnx('rolled', %s)", [one])
other.run("SET lock_timeout = '1s'")
waiting = other.try_("SELECT ltv_import_onnx('rolled', %s)", [two])
alice.run("ROLLBACK")
case.check("two imports at once do not make one number", not waiting.ok or waiting.value != number, waiting)
case.finish()
