"""A definition of features belongs to the owner of the relation, and nothing in it is pasted as SQL that was not checked."""

from tools.case import Case, Session

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
admin.run("CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO PUBLIC")
CREATE = "SELECT ltv_create_features({}, {}, date_column => 'day', value_column => 'amount', horizon => 90)"


def define(session, name, source="'alice.orders'"):
    return session.try_(CREATE.format("'" + name.replace("'", "''") + "'", source))


bob.run("GRANT SELECT ON bob.orders TO alice; GRANT SELECT ON bob.customers TO alice")
bob.run(CREATE.format("'bob.features'", "'bob.orders'"))
before = bob.run("SELECT count(*), sum(frequency), max(recency) FROM bob.features")
definition = admin.run("SELECT * FROM ltv.feature_definitions")
for name in ("bob.customers", "bob.features", "bob.new", "pg_catalog.x", "ltv.x", "ltv.models", "public.x", "information_schema.x", "pg_temp.x", "bob.features\" AS SELECT 1; --"):
    outcome = define(alice, name)
    case.check(f"alice defines no features as {name}", not outcome.ok or name in ("pg_temp.x",), outcome)
for statement in ("SELECT ltv_refresh_features('bob.features')", "SELECT ltv_refresh_features('bob.features', '2020-06-01')"):
    outcome = alice.try_(statement)
    case.check(f"refused to alice: {statement}", not outcome.ok, outcome)
case.check("bob's definition is what it was", admin.run("SELECT * FROM ltv.feature_definitions") == definition)
case.check("and the features of bob", bob.run("SELECT count(*), sum(frequency), max(recency) FROM bob.features") == before)

# A name that was alice's and is bob's now; a relation that moved.
case.check("alice defines features in a schema that all may use", define(alice, "shared.taken").ok)
alice.run("DROP TABLE shared.taken")
bob.run("CREATE TABLE shared.taken AS SELECT customer_id, a, b, ltv FROM bob.customers")
outcome = bob.try_("SELECT ltv_refresh_features('shared.taken')")
case.check("a table of bob's with the name of dropped features of alice's has no definition", not outcome.ok, outcome)
job = bob.train("on taken", "shared.taken")
case.check("and trains as any table", bob.ended(job) == "succeeded", bob.try_("SELECT ltv_wait(%s)", [job]))
recipe = admin.value("SELECT recipe::text FROM ltv.jobs WHERE job = %s", [job])
case.check("with the id column that bob's call has", '"id_column": "customer_id"' in recipe, recipe[:200])
case.check("alice defines features again", define(alice, "alice.moving").ok)
alice.run("ALTER TABLE alice.moving RENAME TO moved; CREATE TABLE alice.moving (customer_id int, x int)")
outcome = alice.try_("SELECT ltv_refresh_features('alice.moved')")
case.check("a definition goes with its relation", outcome.ok, outcome)
outcome = alice.try_("SELECT ltv_refresh_features('alice.moving')")
case.check("and not with its name", not outcome.ok, outcome)
case.check("alice defines features that she loses", define(alice, "shared.given").ok)
admin.run("GRANT bob TO alice; ALTER TABLE shared.given OWNER TO bob; REVOKE bob FROM alice")
outcome = alice.try_("SELECT ltv_refresh_features('shared.given')")
case.check("features that bob owns now are not alice's to refresh", not outcome.ok, outcome)
bob.run("GRANT SELECT ON ALL TABLES IN SCHEMA shared TO alice")
outcome = alice.try_("SELECT ltv_backtest('on taken', features => 'shared.given')")
case.check("nor to test with", not outcome.ok, outcome)

# Whatever a definition is made of, in every argument: it is a name or a value, and stays one.
HOSTILE = ("x'||alice.spy('pasted')||'", 'x"||alice.spy(\'pasted\')||"', "x') FROM (SELECT alice.spy('pasted')) q --", "x; SELECT alice.spy('pasted'); --", "x$$||alice.spy('pasted')||$$", "x\\'; SELECT alice.spy('pasted'); --",
           "%1$s%I%L", "x\ny", "é" * 30, "x" * 200, "(SELECT alice.spy('pasted'))", "alice.spy('pasted')", "/*", "*/", "--", "E'\\\\", "")
ARGUMENTS = {"name": "'alice.n{number}'", "source": "'alice.orders'", "customer_id_column": "'customer_id'", "date_column": "'day'", "value_column": "'amount'", "as_of": "'2020-06-01'", "horizon": "'90'",
             "attributes": None, "windows": None, "sequence": None, "time_zone": "'UTC'", "log_end": None}
number = 0
victim = "SELECT count(*) FROM alice.customers"
for argument in ARGUMENTS:
    for text in HOSTILE:
        number += 1
        given = {name: (f"'{text.replace(chr(39), chr(39) * 2)}'" if name == argument else value and value.replace("{number}", str(number))) for name, value in ARGUMENTS.items()}
        if argument == "name":
            given["name"] = "'alice.\"" + text.replace('"', '""').replace("'", "''") + "\"'" if text else "''"
        outcome = alice.try_(f"SELECT ltv_create_features({', '.join(f'{name} => {value}' for name, value in given.items() if value)})")
        bad = not outcome.ok and (outcome.state.startswith("XX") or outcome.lost)
        case.check(f"{argument} => {text[:30]!r} ends in an ordinary way", not bad, outcome) if bad else None
        for again in () if not outcome.ok else ("SELECT ltv_refresh_features(%s)", "SELECT ltv_refresh_features(%s, '2020-07-01')"):
            outcome = alice.try_(again, [outcome.value])
pasted = case.spied("pasted")
case.check("no name or value of a definition was run", not pasted, pasted)

# Columns with such names; the same read by ltv_rfm_summary, a training, a refresh.
for text in HOSTILE[:-1]:
    quoted = '"' + text.replace('"', '""')[:60] + '"'
    literal = "'" + text.replace("'", "''")[:60] + "'"
    if not alice.try_(f"CREATE TABLE alice.odd AS SELECT customer_id AS {quoted}, day, amount FROM alice.orders").ok:
        continue
    for statement in (f"SELECT count(*) FROM ltv_rfm_summary('alice.odd', customer_id_column => {literal}, date_column => 'day', value_column => 'amount')",
                      f"SELECT ltv_create_features('alice.odd_features', 'alice.odd', customer_id_column => {literal}, date_column => 'day', value_column => 'amount', horizon => 90)", "SELECT ltv_refresh_features('alice.odd_features')"):
        outcome = alice.try_(statement)
        case.check(f"{statement[:70]} ends in an ordinary way", outcome.ok or not outcome.state.startswith("XX"), outcome) if not outcome.ok and outcome.state.startswith("XX") else None
    alice.run("DROP TABLE IF EXISTS alice.odd_features; DROP TABLE alice.odd")
pasted = case.spied("pasted")
case.check("no name of a column was run", not pasted, pasted)

# Documents that a superuser restored from somebody's dump: what is in them is checked before it becomes SQL.
columns = [row[0] for row in admin.run("SELECT attname FROM pg_attribute WHERE attrelid = 'ltv.feature_definitions'::regclass AND attnum > 0 AND NOT attisdropped")]
key = "relation" if "relation" in columns else "name"
alice.run(CREATE.format("'alice.restored'", "'alice.orders'"))
honest = admin.value(f"SELECT definition::text FROM ltv.feature_definitions WHERE {key}::text LIKE '%restored'")
for path in ("unit", "horizon", "time_zone", "as_of", "date_type", "value_type", "date_column", "value_column", "customer_id_column", "known_end", "log_end", "search_path", "windows", "materialized", "sequence", "attributes", "attribute_columns", "customers", "customers_relation", "customer_columns", "customers_followed", "start_column", "start_type", "events", "part", "source"):
    for value in ('"x\' || alice.spy(\'pasted\')::text || \'"', '"alice.spy(\'pasted\')"', "[]", "{}", "null", "5", '["alice.spy(\'pasted\')"]', '[[1]]'):
        if path == "source" and value.startswith('"'):
            continue  # that is a query, and alice's own
        admin.run("SET session_replication_role = replica")
        admin.run(f"UPDATE ltv.feature_definitions SET definition = %s::jsonb || jsonb_build_object('{path}', %s::jsonb) WHERE {key}::text LIKE '%%restored'", [honest, value])
        admin.run("RESET session_replication_role")
        for session in (alice, admin):
            for statement in ("SELECT ltv_refresh_features('alice.restored')", "SELECT ltv_refresh_features('alice.restored', '2020-06-01')"):
                outcome = session.try_(statement)
                if outcome.lost or (outcome.state or "").startswith("XX"):
                    case.check(f"a definition with {path} = {value} ends in an ordinary way", False, outcome)
        job = alice.try_("SELECT ltv_train('restored', 'alice.restored', options => '{\"epochs\": 1, \"ensemble\": 1}')")
        if job.ok:
            alice.try_("SELECT ltv_cancel(%s)", [job.value])
        elif job.state.startswith("XX"):
            case.check(f"training with {path} = {value} ends in an ordinary way", False, job)
foreign = sorted(spy for spy in case.spied("pasted") if spy[1] != "alice")
case.check("nothing in a restored definition runs as who refreshes it", not foreign, foreign)
job = bob.train("m", "bob.customers")
case.check("and bob's training goes on", bob.ended(job) == "succeeded", bob.status(job))
assert Session
case.finish()
