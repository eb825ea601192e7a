# settings: shared_preload_libraries = pg_ltv
"""A worker trusts only tables that belong to the extension: a schema called ltv in a database without it, made by the owner of that database,
is nothing to pg_ltv, preloaded or not."""

from tools.case import SUPERUSER, Case, Session, control, until

case = Case()
alice, admin = case.alice, case.admin
admin.run("CREATE DATABASE hers OWNER alice")
admin.run("CREATE DATABASE half OWNER alice")
admin.run("CREATE DATABASE renamed OWNER alice")
# The true catalog's shape, read from the database that has the extension.
TABLES = {}
for table, column, kind in admin.run("""SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                                        WHERE c.relnamespace = 'ltv'::regnamespace AND c.relkind = 'r' ORDER BY c.relname, a.attnum"""):
    TABLES.setdefault(table, []).append((column, kind))
VIEWS = [row[0] for row in admin.run("SELECT relname FROM pg_class WHERE relnamespace = 'ltv'::regnamespace AND relkind = 'v'")]
FUNCTIONS = admin.run("""SELECT p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid) FROM pg_proc p WHERE p.pronamespace = 'ltv'::regnamespace AND p.prokind = 'f'
    AND NOT p.proargtypes::oid[] && ARRAY['internal', 'cstring', 'record', '"any"']::regtype[]::oid[] AND p.prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'cstring'::regtype)""")
superuser = admin.value("SELECT oid FROM pg_roles WHERE rolname = %s", [SUPERUSER])
job_columns = [column for column, _ in TABLES["jobs"]]


def fake(database):
    owner = Session("alice", database)
    owner.run("""
CREATE SCHEMA ltv; CREATE SCHEMA evil;
CREATE FUNCTION evil.take(what text) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
    RAISE LOG 'spied "%" as current "%" session "%"', what, current_user, session_user;
    IF current_setting('transaction_read_only') = 'off' THEN
        BEGIN EXECUTE 'ALTER ROLE alice SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
    END IF;
    RETURN 1;
END $$;
CREATE FUNCTION evil.on_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evil.take('in a trigger');
    BEGIN EXECUTE 'DECLARE evil CURSOR WITH HOLD FOR SELECT evil.take(''in a cursor'')'; EXCEPTION WHEN OTHERS THEN NULL; END;
    RETURN NEW;
END $$;
""")
    for table, columns in TABLES.items():
        made = owner.try_(f"CREATE TABLE ltv.{table} ({', '.join(f'{column} {kind}' for column, kind in columns)})")
        assert made.ok, made
        owner.run(f"CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON ltv.{table} FOR EACH ROW EXECUTE FUNCTION evil.on_row()")
    for view in VIEWS:
        owner.try_(f"CREATE VIEW ltv.{view} AS SELECT j.*, evil.take('in a view') FROM ltv.jobs j")
    for name, arguments, result in FUNCTIONS:
        body = "PERFORM evil.take('in a function'); RETURN" + ("" if result == "void" or result.startswith(("SETOF", "TABLE")) else " NULL") if not arguments.startswith("OUT") and "OUT " not in arguments else "PERFORM evil.take('in a function')"
        owner.try_(f"CREATE FUNCTION ltv.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $f$ BEGIN {body}; END $f$")
    # Rows that any worker would take, one as the superuser's and one as the owner's.
    for role in (superuser, admin.value("SELECT oid FROM pg_roles WHERE rolname = 'alice'")):
        values = {"job": "1", "model": "'x'", "kind": "'train'", "status": "'queued'", "settings": "'{}'", "cancel_requested": "false", "xid": "pg_current_xact_id()", "created_at": "now()",
                  "recipe": """'{"query": "SELECT i AS customer_id, i AS a, evil.take(''in a query'') AS ltv FROM generate_series(1, 100) i", "target": "ltv", "id_column": "customer_id", "options": {}, "objective": "ziln", "backbone": "mlp"}'"""}
        for column, kind in TABLES["jobs"]:
            if column in ("owner", "login"):
                values[column] = f"{role}::regrole::{kind}"
        owner.run("ALTER TABLE ltv.jobs DISABLE TRIGGER ALL")
        owner.run(f"INSERT INTO ltv.jobs ({', '.join(v for v in values if v in job_columns)}) SELECT {', '.join(values[v] for v in values if v in job_columns)}")
        # A worker that is gone is looked for, too.
        owner.run("INSERT INTO ltv.jobs SELECT * FROM ltv.jobs")
        owner.run("UPDATE ltv.jobs SET status = 'running', pid = 1 WHERE ctid = (SELECT max(ctid) FROM ltv.jobs)")
        owner.run("ALTER TABLE ltv.jobs ENABLE TRIGGER ALL")
    return owner


owner = fake("hers")
# One with the extension itself, and half of its tables replaced where the owner can.
half = fake("half")
once = Session(SUPERUSER, "half").try_("CREATE EXTENSION pg_ltv")
case.check("CREATE EXTENSION does not take over a schema of alice's", not once.ok, once)
owner.close()
half.close()
control("restart", "--mode=fast")
for session in (admin, alice, case.bob):
    session.again()
case.forget()
for round in range(2):
    # A superuser in that database, who scores and looks, where the library is loaded.
    victim = Session(SUPERUSER, "hers")
    victim.run("LOAD 'pg_ltv'")
    until(lambda: False, 3)
    control("restart", "--mode=fast")
    admin.again()
    until(lambda: False, 3)
case.check("alice is no superuser", not admin.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'"))
spies = case.spied()
case.check("nothing in the fake catalogs was run", not spies, sorted(spies)[:4])
statuses = Session("alice", "hers").run("SELECT status FROM ltv.jobs ORDER BY 1")
case.check("nor changed", statuses == [("queued",), ("running",)] * 1 or sorted(statuses) == sorted(statuses) and set(statuses) == {("queued",), ("running",)}, statuses)
# The honest database is served as ever.
case.alice.again()
case.customers(case.alice)
case.check("the honest database trains", case.alice.ended(case.alice.train("m", "alice.customers")) == "succeeded")
case.finish()
