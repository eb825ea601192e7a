"""A campaign belongs to the owner of its table: others learn nothing of it, nobody's code runs as somebody else, and nothing that is kept of it is pasted as SQL that was not checked."""

from tools.case import Case

# settings: row_security = on
case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
bob.trained("m", "bob.customers")
bob.run("SELECT ltv_grant('m', 'alice', 'predict')")
CREATE = "SELECT count(*) FROM ltv_create_campaign({}, 'm', {}, start => '2020-06-01')"
bob.run(CREATE.format("'bob.campaign'", "'bob.customers'"))
RESULT = "SELECT count(*) FROM ltv_campaign_result({}, 'SELECT * FROM {}.orders', date_column => 'day', value_column => 'amount')"

# What is bob's is not alice's, with the right to read it neither; and it looks like what is no campaign.
bob.run("CREATE TABLE bob.plain AS TABLE bob.campaign")
definition = admin.run("SELECT * FROM ltv.campaigns")
for granted in (False, True):
    if granted:
        bob.run("GRANT SELECT ON bob.campaign, bob.plain TO alice")
    for statement in ("SELECT * FROM ltv_refresh_campaign('{}')", RESULT.replace("{}, 'S", "'{}', 'S").replace("{}.orders", "alice.orders"), "SELECT * FROM ltv_campaign_curve('{}', 'alice.orders', date_column => 'day', value_column => 'amount')",
                      "SELECT * FROM ltv_export_audience('{}', 'plain')", "SELECT ltv.save_campaign('{}', '{{}}')", "SELECT ltv.campaign_definition('{}') IS NULL AND NULL::int / 0 IS NULL", CREATE.replace("{}", "'{}'", 1).replace("{}, st", "'alice.customers', st")):
        outcomes = [alice.try_(statement.format(f"bob.{name}")) for name in ("campaign", "plain")]
        same = [(o.state, (o.message or "").replace("bob.campaign", "bob.plain").replace('"campaign"', '"plain"')) for o in outcomes]
        if "campaign_definition" in statement:
            case.check("alice learns no definition", all(o.ok and o.value for o in outcomes) or not any(o.ok for o in outcomes), outcomes)
        else:
            case.check(f"refused to alice: {statement[:60]}", not any(o.ok for o in outcomes), outcomes)
        case.check("in the same way as for a table that is none", same[0] == same[1], outcomes) if "save" not in statement else None
    case.check("alice sees no campaign of bob's", alice.value("SELECT count(*) FROM ltv_campaigns") == 0)
case.check("the catalog is what it was", admin.run("SELECT * FROM ltv.campaigns") == definition)

# A campaign of alice's that others read: whatever she makes of her table, her code does not run as they.
alice.run("CREATE TYPE alice.kind AS ENUM ('1', '2', '3'); CREATE FUNCTION alice.as_text(alice.kind) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('cast'); RETURN '1'; END $$; CREATE CAST (alice.kind AS text) WITH FUNCTION alice.as_text(alice.kind) AS IMPLICIT")
alice.run("CREATE FUNCTION alice.as_date(alice.kind) RETURNS date LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('date'); RETURN '2020-06-01'; END $$; CREATE CAST (alice.kind AS date) WITH FUNCTION alice.as_date(alice.kind) AS IMPLICIT")
alice.run("CREATE TABLE alice.kinds AS SELECT DISTINCT ON (k) k AS customer_id, c.a, c.b FROM alice.customers c, unnest(enum_range(NULL::alice.kind)) k")
ARM = "since = '2020-06-01', drawn_arm = 'contact', arm = 'contact', left_at = NULL"
TRICKS = {
    "row security": ("'alice.customers'", "ALTER TABLE alice.trick ENABLE ROW LEVEL SECURITY; ALTER TABLE alice.trick FORCE ROW LEVEL SECURITY; CREATE POLICY p ON alice.trick USING (alice.spy('policy') = 0)"),
    "an id with a cast": ("'alice.kinds'", "SELECT 1"),
    "a day with a cast": ("'alice.customers'", "ALTER TABLE alice.trick ALTER since TYPE alice.kind USING '1'"),
    "a child": ("'alice.customers'", "CREATE TABLE alice.child () INHERITS (alice.trick); ALTER TABLE alice.child ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON alice.child USING (alice.spy('child') = 0); INSERT INTO alice.child SELECT * FROM alice.trick"),
    "a view": ("'alice.customers'", "CREATE TABLE alice.was AS TABLE alice.trick; DROP TABLE alice.trick; CREATE VIEW alice.trick AS SELECT w.*, alice.spy('view') AS spied FROM alice.was w"),
    "a trigger": ("'alice.customers'", "CREATE FUNCTION alice.fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('trigger'); RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT OR UPDATE ON alice.trick FOR EACH ROW EXECUTE FUNCTION alice.fired()"),
    "a condition": ("'SELECT * FROM alice.customers', eligible => 'alice.spy(''condition'') = 0'", "SELECT 1"),
    "an index": ("'alice.customers'", "CREATE FUNCTION alice.fixed(float8) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM alice.spy('index'); RETURN 0; END $$; CREATE INDEX ON alice.trick (alice.fixed(ltv))"),
}
for trick, (query, change) in TRICKS.items():
    made = alice.try_(CREATE.format("'alice.trick'", query))
    case.check(f"alice makes a campaign with {trick}", made.ok, made)
    changed = alice.try_(change)
    case.check("and changes it", changed.ok, changed)
    alice.run("GRANT SELECT ON ALL TABLES IN SCHEMA alice TO PUBLIC")
    case.forget()
    for session in (bob, admin):
        schema = session.role if session is bob else "bob"
        session.try_(f"SELECT count(*) FROM ltv_create_campaign('{schema}.rested', 'm', '{schema}.customers', cooldown => 30, start => '2020-06-01')")
        for statement in ("SELECT * FROM ltv_refresh_campaign('alice.trick')", RESULT.format("'alice.trick'", "bob"), RESULT.format("'alice.trick'", "bob").replace("_result", "_curve"), "SELECT * FROM ltv_export_audience('alice.trick', 'plain')", "SELECT * FROM ltv_campaigns"):
            session.try_(statement)
        session.try_(f"DROP TABLE {schema}.rested")
    found = sorted(spy for spy in case.spied() if spy[1] != "alice")
    case.check(f"her code runs as nobody else: {trick}", not found, found)
    alice.run("DROP VIEW IF EXISTS alice.trick") if trick == "a view" else alice.run("DROP TABLE IF EXISTS alice.trick CASCADE")
    alice.run("DROP TABLE IF EXISTS alice.was CASCADE; DROP FUNCTION IF EXISTS alice.fired, alice.fixed CASCADE")

# Whatever a campaign is made of, in every argument: it is a name or a value, and stays one.
HOSTILE = ("x'||alice.spy('pasted')||'", 'x"||alice.spy(\'pasted\')||"', "x') FROM (SELECT alice.spy('pasted')) q --", "x; SELECT alice.spy('pasted'); --", "x$$||alice.spy('pasted')||$$", "x\\'; SELECT alice.spy('pasted'); --", "%1$s%I%L", "x\ny", "x" * 200, "{id}{query}", "/*", "--", "")
ARGUMENTS = {"name": "'alice.n'", "model": "'m'", "query": "'alice.customers'", "id_column": None, "email_column": None, "draw": None, "time_zone": None, "suppress": None}
case.forget()
for argument in ARGUMENTS:
    for text in HOSTILE:
        literal = "'" + text.replace("'", "''") + "'"
        given = {name: value for name, value in ARGUMENTS.items() if value}
        given[argument] = "ARRAY[" + literal + "]" if argument == "suppress" else "'alice.\"" + text.replace('"', '""').replace("'", "''")[:60] + "\"'" if argument == "name" else literal
        outcome = alice.try_(f"SELECT count(*) FROM ltv_create_campaign({', '.join(f'{name} => {value}' for name, value in given.items())})")
        if not outcome.ok and (outcome.state.startswith("XX") or outcome.lost):
            case.check(f"{argument} => {text[:30]!r} ends in an ordinary way", False, outcome)
        for again in ("SELECT count(*) FROM ltv_refresh_campaign({})", RESULT.replace("{}.orders", "alice.orders"), "SELECT count(*) FROM ltv_export_audience({}, 'plain')") if outcome.ok else ():
            outcome = alice.try_(again.replace("{}", given["name"]))
            case.check(f"{argument} => {text[:30]!r} goes on", outcome.ok or "orders" in again, outcome) if not outcome.ok else None
        alice.try_(f"DROP TABLE {given['name'][1:-1]}") if argument != "name" or text else None
pasted = case.spied("pasted")
case.check("no name or value of a campaign was run", not pasted, pasted)

# Documents that a superuser restored from somebody's dump: what is in them is checked before it becomes SQL.
alice.run(CREATE.format("'alice.restored'", "'alice.customers'"))
honest = admin.value("SELECT definition::text FROM ltv.campaigns WHERE relation = 'alice.restored'::regclass")
for path in ("model", "query", "id_column", "email_column", "eligible", "suppress", "cooldown", "hold_out", "bounds", "thresholds", "budget", "cost_per_contact", "margin", "start", "time_zone", "search_path", "draw", "version", "query_relation", "query_followed"):
    for value in ('"x\' || alice.spy(\'pasted\')::text || \'"', '"alice.spy(\'pasted\')"', "[]", "{}", "null", "5", '["alice.spy(\'pasted\')"]', "[[1]]", '[{"query": "alice.spy(\'pasted\')"}]', '[{"query": "SELECT 1 AS customer_id) x; SELECT alice.spy(\'pasted\'); --"}]'):
        admin.run(f"UPDATE ltv.campaigns SET definition = %s::jsonb || jsonb_build_object('{path}', %s::jsonb) WHERE relation = 'alice.restored'::regclass", [honest, value])
        for session in (alice, admin):
            for statement in ("SELECT * FROM ltv_refresh_campaign('alice.restored')", RESULT.format("'alice.restored'", "bob"), "SELECT * FROM ltv_export_audience('alice.restored', 'plain')", "SELECT * FROM ltv_campaigns"):
                outcome = session.try_(statement)
                if outcome.lost or (outcome.state or "").startswith("XX"):
                    case.check(f"a definition with {path} = {value} ends in an ordinary way: {statement[:40]}", False, outcome)
foreign = sorted(spy for spy in case.spied("pasted") if spy[1] != "alice")
case.check("nothing in a restored definition runs as who refreshes it", not foreign, foreign)
outcome = bob.try_("SELECT * FROM ltv_refresh_campaign('bob.campaign')")
case.check("and bob's campaign goes on", outcome.ok, outcome)
case.finish()
