# settings: ltv.max_concurrent_jobs = 4
"""Stored SQL never runs with a visitor's rights: not a superuser's, not those of a role that was granted read, in any function."""

from tools.case import QUICK, Case, Session, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
alice.run("GRANT SELECT ON ALL TABLES IN SCHEMA alice TO PUBLIC")

# Models whose stored parts are alice's code: the query, the relation, the features, operators in the search_path, and names that
# would be code if they were pasted unquoted.
PASTED = ('x"||alice.spy(\'pasted\')||"', "x'||alice.spy('pasted')||'", "x)); SELECT alice.spy('pasted'); --", "x$$||alice.spy('pasted')||$$", "%s%I%L")
quoted = ['"' + name.replace('"', '""') + '"' for name in PASTED]
alice.run(f"""
CREATE VIEW alice.spying AS SELECT customer_id, a, b, ltv + alice.spy('in the relation') AS ltv FROM alice.customers;
CREATE VIEW alice."odd; SELECT alice.spy('pasted')" AS SELECT * FROM alice.customers;
CREATE TABLE alice.pasted AS SELECT customer_id AS "id'||alice.spy('pasted')||'", {', '.join(f'(a + {number})::real AS {name}' for number, name in enumerate(quoted))},
    'k' || (customer_id % 3) || '''||alice.spy(''pasted'')||''' AS kind, ltv AS "l""tv'" FROM alice.customers;
CREATE FUNCTION alice.equal(a text, b text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in an operator'); RETURN a OPERATOR(pg_catalog.=) b; END $$;
CREATE OPERATOR alice.= (LEFTARG = text, RIGHTARG = text, FUNCTION = alice.equal);
CREATE FUNCTION alice.sum4(a real, b real) RETURNS real LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in an operator'); RETURN a; END $$;
CREATE OPERATOR alice.+ (LEFTARG = real, RIGHTARG = real, FUNCTION = alice.sum4);
GRANT SELECT ON ALL TABLES IN SCHEMA alice TO PUBLIC;
""")
alice.run("CREATE FUNCTION alice.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in a function'); RETURN $1; END $$")
path = Session("alice", options="-c search_path=alice,public,pg_catalog")
spying = "SELECT customer_id, a, b, ltv + alice.spy('in the query') AS ltv FROM alice.customers"
jobs = [alice.train("by query", query=spying), alice.train("by relation", "alice.spying"), alice.train("by odd name", 'alice."odd; SELECT alice.spy(\'pasted\')"'),
        path.train("by path", query="SELECT customer_id, a, b, lower('K' || (customer_id % 3)) AS kind, ltv FROM customers WHERE 'a'::text = 'a'::text"),
        alice.train("by names", "alice.pasted", id_column="id'||alice.spy('pasted')||'", target="l\"tv'"),
        alice.train("x'||alice.spy('pasted')||'", query=spying)]
alice.run("""
SELECT ltv_create_features('alice.features', 'SELECT customer_id, day, amount + alice.spy(''in the features'') AS amount FROM alice.orders', date_column => 'day', value_column => 'amount', horizon => 90,
    attributes => 'SELECT DISTINCT ON (customer_id) customer_id, alice.spy(''in the attributes'') AS x FROM alice.orders');
SELECT ltv_create_features('alice.view_of_features', 'SELECT customer_id, day, amount + alice.spy(''in the features'') AS amount FROM alice.orders', date_column => 'day', value_column => 'amount', horizon => 90, materialized => false);
GRANT SELECT ON alice.features, alice.view_of_features TO PUBLIC;
""")
jobs += [alice.train("by features", "alice.features"), alice.train("by view of features", "alice.view_of_features")]
failing = alice.train("failing", query="SELECT customer_id, a, b, ltv + alice.spy('in the query') + 1 / (ltv - ltv) AS ltv FROM alice.customers")
for job in jobs:
    case.check(f"job {job} of alice's", alice.ended(job) == "succeeded", alice.try_("SELECT ltv_wait(%s)", [job]))
alice.ended(failing)
alice.run("SELECT ltv_grant(model, 'bob', 'read') FROM ltv_models WHERE champion IS NOT NULL")
alice.try_("SELECT ltv_grant('failing', 'bob', 'read')")
case.only("alice's code runs as alice when she trains", {"alice"}, needed=True)
case.forget()

# Every function of the extension that takes a model, with nothing but what it needs; what else it has a use for, by name.
SIGNATURES = admin.run("""
SELECT p.oid::regprocedure::text, n.nspname || '.' || p.proname, p.proretset OR p.prorettype = 'record'::regtype, p.proargnames[1:p.pronargs],
       ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i) ORDER BY i), p.pronargdefaults
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'pg_ltv'
WHERE p.prokind = 'f' AND 'model' = ANY (p.proargnames[1:p.pronargs]) AND NOT 'anyarray'::regtype = ANY (p.proargtypes) ORDER BY 1""")
OWN = "SELECT 1 AS customer_id, 1::real AS a, 1::real AS b, 1::float8 AS ltv"
ARGUMENTS = {"query": OWN, "query_then": OWN, "query_now": OWN, "input": '{"a": 1, "b": 2}', "promote": "never", "horizon": "30", "q": "0.5", "version": "1", "customer_id": "1", "alias": "champion", "n": "5",
             "cron": "0 3 * * *", "action": "monitor", "challenger_share": "0.1", "role": "bob", "privilege": "read", "thresholds": "{}", "argument": "x", "moment": "2026-01-01", "kind": "train", "recipe": "{}",
             "relation": "alice.features", "features": "alice.features", "rows": "20", "repeats": "1", "samples": "2", "days": "30", "period": "month", "retrain": "true", "name": "alice.features"}
# These change or end what the others look at; a superuser may, and no stored SQL is in them.
LAST = ("ltv_drop_model", "ltv_set_owner", "ltv_drop_version", "ltv_keep_versions", "ltv_drop_alias", "drop_", "forget")


def call(name, is_set, names, types, defaults, model, filled):
    needed = len(names) - defaults
    given = []
    for place, (argument, kind) in enumerate(zip(names, types)):
        if argument == "model":
            given.append(f"model => {literal(model)}")
        elif place < needed or argument in filled:
            if argument not in ARGUMENTS or kind == "record":
                return None
            given.append(f"{argument} => {literal(ARGUMENTS[argument])}::{'text' if kind == 'any' else kind}")
    return f"SELECT {'count(*) FROM ' if is_set else ''}{name}({', '.join(given)})"


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# Each kind of function with each kind of stored SQL would take minutes; these have it in the query, behind a relation, in features, and in names.
SWEPT = ("by query", "by relation", "by features", "by names")


def visit(visitor):
    tried = set()
    visitor.run("SET statement_timeout = '20s'")
    for name in ("ltv_evaluate", "ltv_decile_stats", "ltv_monitor", "ltv_report", "ltv_training_info", "ltv_feature_info", "ltv_feature_importance", "ltv_quantize", "ltv_retrain", "ltv_backtest"):
        assert any(signature[1].endswith("." + name) for signature in SIGNATURES), name
    for _, name, is_set, names, types, defaults in SIGNATURES:
        if any(last in name for last in LAST) or "predict" in name and name != "public.ltv_explain_predict":
            continue
        for model in SWEPT:
            for filled in ((), ("promote",) if "promote" in names and types[names.index("promote")] == "text" else ("query",), ("features", "relation", "retrain")):
                statement = call(name, is_set, names, types, defaults, model, [f for f in filled if f in names])
                if statement and statement not in tried:
                    tried.add(statement)
                    visitor.try_(statement)
                    if any(spy[1] != "alice" for spy in case.spied()):
                        case.only(f"{visitor.role}: {statement}", {"alice", visitor.role})
                        case.check(f"{visitor.role}: {statement}", False, sorted(case.spied())[:3])
                        case.forget()
    for statement in ("SELECT ltv_refresh_features('alice.features')", "SELECT ltv_refresh_features('alice.view_of_features')", "SELECT ltv_refresh_features('alice.features', '2020-06-01')",
                      "SELECT ltv_backtest('by features', features => 'alice.features')", f"SELECT ltv_retry({failing})", f"SELECT ltv_wait({failing})", f"SELECT ltv_cancel({failing})",
                      "SELECT count(*) FROM ltv_explain_predict('by names', 'SELECT * FROM alice.pasted LIMIT 1', samples => 2)", "SELECT count(*) FROM ltv_segment('by names', 'alice.pasted', id_column => $q$id'||alice.spy('pasted')||'$q$)",
                      "SELECT sum(ltv_predict('by names', p)) FROM alice.pasted p", "SELECT ltv_quantize('by names', 1, 'SELECT * FROM alice.pasted')", "SELECT ltv_evaluate('by names', 'SELECT * FROM alice.pasted')",
                      "SELECT * FROM ltv_jobs", "SELECT * FROM ltv_models", "SELECT * FROM ltv_versions", "SELECT * FROM ltv_promotions", "SELECT * FROM ltv_monitoring", "SELECT * FROM ltv_alerts", "SELECT * FROM ltv_traffic",
                      "SELECT * FROM ltv_loaded_models", "SELECT * FROM ltv_schedules"):
        tried.add(statement)
        visitor.try_(statement)
        if any(spy[1] != "alice" for spy in case.spied()):
            case.check(f"{visitor.role}: {statement}", False, sorted(case.spied())[:3])
            case.forget()
    # Workers run what was queued.
    until(lambda: admin.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), 90, 0.5)
    # The visitor's session is underneath; in a worker, it must be alice's.
    spies = case.spied()
    case.check(f"{len(tried)} statements of {visitor.role} and the jobs they queue run alice's code as alice", all(spy[1] == "alice" and spy[2] in ("alice", visitor.role) for spy in spies),
               sorted(spy for spy in spies if spy[1] != "alice")[:5])
    case.forget()


outcome = bob.try_("SELECT ltv_monitor('by query')")
case.check("a reader is refused, and told to pass a query", outcome.state == "42501" and "query" in (outcome.hint or ""), (outcome, outcome.hint))
visit(bob)
visit(admin)

# What is queued anew from what is stored is a job of its owner's; a training that a superuser asks for with a query of their own is theirs.
for job, kind, owner in admin.run("SELECT job, kind, role::text FROM ltv_jobs WHERE kind NOT IN ('train', 'compare') ORDER BY 1"):
    if owner != "alice":
        case.check("a retraining from what alice has stored is her job", False, (job, kind, owner))
case.finish()
