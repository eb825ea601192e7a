# settings: ltv.max_concurrent_jobs = 1
"""A role without rights cannot learn that a model exists, whose it is, what is in it, its features, alerts, jobs or progress."""

import re

from tools import graphs
from tools.case import Case, Session, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
# Names of one length, so that no message differs by it.
HIS, NONE = "secret_of_bob", "nothing_there"
bob.run("CREATE TABLE bob.secret AS SELECT customer_id AS secret_id, a AS secret_a, b AS secret_b, ltv AS secret_ltv FROM bob.customers")
for _ in range(2):
    bob.trained(HIS, "bob.secret", target="secret_ltv", id_column="secret_id", promote="true")
bob.run(f"SELECT ltv_set_alias('{HIS}', 2, 'secret_alias')")
bob.run("SELECT ltv_create_features('bob.secret_features', 'bob.orders', date_column => 'day', value_column => 'amount', horizon => 90)")
alice.run("SELECT ltv_import_onnx('own', %s)", [graphs.linear(1, 0)])
alice.trained("hers", "alice.customers")
long = bob.train(HIS, "bob.secret", options='{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}', target="secret_ltv", id_column="secret_id")
until(lambda: bob.value("SELECT phase = 'training' FROM ltv_jobs WHERE job = %s", [long]), 30)
waiting = bob.train(HIS, "bob.secret", target="secret_ltv", id_column="secret_id")
no_job = 2147483000
WORDS = re.compile("secret|bob", re.IGNORECASE)

# Errors: what is there and what is not must look the same. ---------------------------------------------------------------------------
SIGNATURES = admin.run("""
SELECT p.oid::regprocedure::text, n.nspname || '.' || p.proname, p.proretset, p.proargnames[1:p.pronargs], ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i) ORDER BY i), p.pronargdefaults
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'pg_ltv'
WHERE p.prokind = 'f' AND p.proargnames IS NOT NULL AND NOT 'internal'::regtype = ANY (p.proargtypes) ORDER BY 1""")
OWN = "SELECT 1 AS customer_id, 1::real AS a, 1::real AS b, 1::float8 AS ltv"
BY_NAME = {"query": OWN, "query_then": OWN, "query_now": OWN, "input": "{}", "horizon": "30", "q": "0.5", "version": "1", "customer_id": "1", "alias": "champion", "n": "5", "cron": "0 3 * * *", "role": "alice",
           "privilege": "read", "thresholds": "{}", "argument": "x", "moment": "2026-01-01", "kind": "train", "recipe": "{}", "settings": "{}", "relation": "alice.customers", "challenger_share": "0.1", "days": "30",
           "query_text": OWN, "promote": "never", "changes": "{}", "period": "month", "features": "alice.customers", "mean": "1", "error": "1", "metric": "mae", "target": "ltv", "reason": "x", "id_column": "customer_id"}
# These make a new model, so the name that is taken shows; nothing else may.
NEW = ("ltv_train", "ltv_compare", "ltv_import_onnx", "ltv_import_model", "claim_model", "queue_")


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def statement(name, names, types, model, needed, version):
    given = []
    for place, (argument, kind) in enumerate(zip(names, types)):
        if argument == "model":
            given.append(f"model => {literal(model)}")
        elif place < needed or (version and argument == "version"):
            if kind == "anyarray":
                given.append(f"{argument} => ARRAY[1, 2]")
            elif kind == "record":
                given.append(f"{argument} => ROW(1, 2)")
            elif kind == "bytea":
                given.append(f"{argument} => '\\x00'::bytea")
            else:
                given.append(f"{argument} => {literal(BY_NAME[argument]) if argument in BY_NAME and not kind.endswith('[]') else 'NULL'}::{kind}")
    return f"SELECT * FROM {name}({', '.join(given)})"


def told(outcome, model):
    """Everything that an error says, with the name that the caller gave himself taken out."""
    return [outcome.state] + [text and text.replace(model, "MODEL") for text in (outcome.message, outcome.detail, outcome.hint, outcome.context)]


compared = 0
for signature, name, _, names, types, defaults in SIGNATURES:
    if "model" not in names or not admin.value("SELECT has_function_privilege('alice', %s, 'EXECUTE')", [signature]):
        continue
    for version in (False, True) if "version" in names else (False,):
        his, none = (alice.try_(statement(name, names, types, model, len(names) - defaults, version)) for model in (HIS, NONE))
        compared += 1
        if any(part in name for part in NEW):
            text = " ".join(filter(None, told(his, HIS)))
            case.check(f"{signature} says no more than that the name is taken", not his.ok and not WORDS.search(text), his)
            if none.ok:
                alice.run("SELECT ltv_cancel(job) FROM ltv_jobs WHERE status IN ('queued', 'running')")
                alice.try_(f"SELECT ltv_drop_model('{NONE}')")
            continue
        alike = (his.ok and none.ok and str(his.rows).replace(HIS, "MODEL") == str(none.rows).replace(NONE, "MODEL")) or (not his.ok and not none.ok and told(his, HIS) == told(none, NONE))
        case.check(f"{signature}{' with a version' if version else ''}: a model of bob's is to alice as none", alike, None if alike else f"{his} | {none} | {his.hint} | {none.hint}")
print(f"      {compared} calls compared")
for setting in (HIS, NONE):
    alice.run(f"SET ltv.default_model = '{setting}'")
pair = []
for model in (HIS, NONE):
    alice.run(f"SET ltv.default_model = '{model}'")
    pair.append([told(alice.try_(call), model) for call in ("SELECT ltv_predict(ARRAY[1, 2])", "SELECT ltv_predict('{}'::jsonb)", "SELECT ltv_predict(ROW(1, 2))", "SELECT ltv_predict_all(ARRAY[1, 2])")])
case.check("the default model", pair[0] == pair[1], pair)
alice.run("RESET ltv.default_model")
for template in ("EXPLAIN (VERBOSE) SELECT ltv_predict('{}', ARRAY[1, 2])", "EXPLAIN (VERBOSE) SELECT ltv_predict('{}', 1, ARRAY[1, 2])", "EXPLAIN (ANALYZE, VERBOSE) SELECT ltv_predict('{}', c) FROM alice.customers c",
                 "EXPLAIN (VERBOSE) SELECT ltv_predict('{}', c) FROM alice.customers c WHERE ltv_predict('{}', 2, c) > 1", "CREATE TABLE alice.pinned (x float8, p float8 GENERATED ALWAYS AS (ltv_predict('{}', 1, ARRAY[x, 2])) STORED)",
                 "CREATE INDEX pinned ON alice.customers ((ltv_predict('{}', 1, ARRAY[a, b])))", "SELECT ltv_predict('{}', 1, NULL::jsonb)", "SELECT count(*) FROM alice.customers c WHERE false AND ltv_predict('{}', c) > 0",
                 "SELECT ltv_predict('{}', 99, ARRAY[1, 2])", "SELECT * FROM ltv_segment('{}', 'alice.customers')", "SELECT * FROM ltv_evaluate('{}', 'alice.customers', 1)", "SELECT ltv_set_alias('{}', 7, 'x')"):
    his, none = [], []
    for model, seen in ((HIS, his), (NONE, none)):
        alice.run("BEGIN")
        outcome = alice.try_(template.replace("{}", model))
        alice.run("ROLLBACK")
        seen += told(outcome, model) + [str(outcome.rows).replace(model, "MODEL")]
    # How long it took differs.
    alike = [re.sub(r"[\d.]+", "0", str(s)) for s in his] == [re.sub(r"[\d.]+", "0", str(s)) for s in none]
    case.check(f"the same for both: {template[:80]}", alike, None if alike else (his, none))
for function in ("ltv_wait", "ltv_cancel", "ltv_retry", "ltv.describe_progress", "ltv.interrupt_job"):
    if not admin.value("SELECT to_regprocedure(%s) IS NOT NULL", [f"{function}(bigint)"]):
        continue
    his, waits, none = (told(alice.try_(f"SELECT {function}({job})"), str(job)) + [str(alice.try_(f"SELECT {function}({job})").rows)] for job in (long, waiting, no_job))
    case.check(f"{function}: a job of bob's is to alice as none", his == none == waits, (his, none))
case.check("bob's jobs go on", bob.status(long) == "running" and bob.status(waiting) == "queued", (bob.status(long), bob.status(waiting)))

# Whatever can be read ------------------------------------------------------------------------------------------------------------
views = [row[0] for row in admin.run("SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'v' AND (c.relnamespace = 'ltv'::regnamespace OR c.relname LIKE 'ltv\\_%') ORDER BY 1")]
LEAKY = "CREATE FUNCTION alice.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
alice.run(LEAKY)
alice.run("CREATE FUNCTION alice.leaky(text, text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '% %', $1, $2; RETURN true; END $$; CREATE OPERATOR alice.=~= (LEFTARG = text, RIGHTARG = text, FUNCTION = alice.leaky)")
for view in views:
    alice.notices.clear()
    rows = alice.try_(f"SELECT * FROM {view} v")
    case.check(f"{view} shows alice nothing of bob's", not WORDS.search(str(rows.rows)), rows)
    # Conditions that are cheap are asked first, unless the view is a barrier.
    for condition in ("alice.leak(v::text)", "v::text OPERATOR(alice.=~=) 'x'", "(v::text)::int = 1 OR true"):
        outcome = alice.try_(f"SELECT count(*) FROM {view} v WHERE {condition}")
        case.check(f"{view} WHERE {condition} hears nothing of bob's", not WORDS.search(" ".join(alice.notices) + str(outcome)), alice.notices[:2] or outcome)
    plan = alice.try_(f"EXPLAIN (ANALYZE, VERBOSE, TIMING off, COSTS off) SELECT * FROM {view} v")
    case.check(f"the plan of {view} names nothing of bob's", not WORDS.search(str(plan.rows)), plan)
for what in ("SELECT * FROM pg_stat_activity", "SELECT * FROM pg_stat_activity WHERE backend_type LIKE 'pg_ltv%'", "SELECT * FROM pg_locks", "SELECT * FROM pg_stats WHERE schemaname = 'ltv'", "SELECT * FROM pg_sequences WHERE schemaname = 'ltv'",
             "SELECT objid, description FROM pg_description WHERE classoid = 'pg_class'::regclass AND description LIKE '%secret%'", "SELECT * FROM pg_stat_user_functions", "SELECT * FROM pg_statistic_ext",
             "SELECT name, setting FROM pg_settings WHERE name LIKE 'ltv.%'", "SELECT * FROM pg_prepared_statements", "SELECT * FROM pg_cursors", "SELECT * FROM pg_listening_channels()"):
    outcome = alice.try_(what)
    rows = [row for row in outcome.rows or [] if re.search("secret", str(row))]
    case.check(f"{what} names nothing of bob's", not rows, rows[:1])
locks = alice.run("SELECT locktype, classid, objid, objsubid FROM pg_locks l WHERE locktype = 'advisory' AND pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_ltv%')")
case.check("a worker holds no advisory lock, which anybody could take first", not locks, locks)
# A condition of her own, so cheap that the planner looks at it first, sees no row of a view before that row is known to be hers. ------------------
alice.run("CREATE FUNCTION alice.tell(x text) RETURNS bool LANGUAGE plpgsql STRICT COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', x; RETURN true; END $$")
alice.run("SET enable_nestloop = off; SET enable_mergejoin = off")
alice.notices.clear()
for view, columns in admin.run("""
    SELECT c.oid::regclass::text, array_agg(quote_ident(a.attname) || '::text') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    WHERE c.relkind = 'v' AND has_table_privilege('alice', c.oid, 'SELECT') AND c.oid <> 'ltv.functions'::regclass GROUP BY c.oid"""):
    for column in columns:
        alice.run(f"SELECT count(*) FROM {view} WHERE alice.tell({column})")
saw = [notice for notice in alice.notices if WORDS.search(notice)]
case.check("a condition of alice's sees nothing of bob's in a view", not saw, saw[:3])
progress = admin.run("SELECT p.memory_bytes::text FROM ltv.job_progress p JOIN ltv.jobs j USING (job) WHERE j.owner = 'bob'::regrole AND p.memory_bytes IS NOT NULL EXCEPT SELECT p.memory_bytes::text FROM ltv.job_progress p JOIN ltv.jobs j USING (job) WHERE j.owner = 'alice'::regrole")
saw = [value for (value,) in progress if f"saw {value}" in alice.notices]
case.check("nor of the progress of bob's jobs", progress and not saw, saw[:3])
alice.run("RESET enable_nestloop; RESET enable_mergejoin")

worker = admin.value("SELECT pid FROM ltv_jobs WHERE job = %s", [long])
for what in ("pg_terminate_backend", "pg_cancel_backend"):
    case.refused(f"{what} of bob's worker", alice, f"SELECT {what}({worker})")

# Alerts ---------------------------------------------------------------------------------------------------------------------------
listener = Session("alice")
oid = admin.value("SELECT oid FROM pg_roles WHERE rolname = 'bob'")
for channel in ("ltv_alerts", "ltv_alert", "ltv", "alerts", "ltv_jobs", "ltv_job", "ltv_alerts_bob", f"ltv_alerts_{oid}", f"ltv_alerts_{HIS}", HIS, "bob", "ltv.alerts", "ltv_queue"):
    listener.run(f'LISTEN "{channel}"')
his = Session("bob")
his.run("LISTEN ltv_alerts")
bob.run(f"SELECT ltv_monitor('{HIS}', 'SELECT secret_id, secret_a * 100 AS secret_a, secret_b, secret_ltv FROM bob.secret')")
heard = [f"{n.channel}: {n.payload}" for n in listener.connection.notifies(timeout=2)]
case.check("alice hears nothing of bob's alerts", not WORDS.search(" ".join(heard)) and not heard, heard)
case.check("bob's alert is there for bob", bob.value("SELECT count(*) > 0 FROM ltv_alerts"))
MONITOR = f"SELECT ltv_monitor('{HIS}', 'SELECT secret_id, secret_a * 100 AS secret_a, secret_b, secret_ltv FROM bob.secret')"
bob.run(f"SELECT ltv_grant('{HIS}', 'alice', 'read')")
case.check("and for whoever may read the model", alice.value("SELECT count(*) > 0 FROM ltv_alerts"))
channel = alice.value("SELECT alert_channel FROM ltv_models WHERE model = %s", [HIS])
listener.run(f'LISTEN "{channel}"')
bob.run(MONITOR)
case.check("who may read the model hears its alerts", [n for n in listener.connection.notifies(timeout=2, stop_after=1)])
bob.run(f"SELECT ltv_revoke('{HIS}', 'alice')")
list(listener.connection.notifies(timeout=0.5))
bob.run(MONITOR)
case.check("and none after the right was revoked", not [n for n in listener.connection.notifies(timeout=2)])
bob.run(f"SELECT ltv_grant('{HIS}', 'alice', 'predict')")
for what in (f"SELECT * FROM ltv_feature_info('{HIS}')", f"SELECT * FROM ltv_training_info('{HIS}')", f"SELECT ltv_export_onnx('{HIS}')", f"SELECT ltv_report('{HIS}')", f"SELECT * FROM ltv_evaluate('{HIS}', 'alice.customers', 1, 'ltv')",
             f"SELECT ltv_retrain('{HIS}')", f"SELECT ltv_drop_version('{HIS}', 1)", f"SELECT * FROM ltv_feature_importance('{HIS}')"):
    case.refused(f"the right to predict gives no more: {what}", alice, what)
for view in ("ltv_versions", "ltv_jobs", "ltv_promotions", "ltv_monitoring", "ltv_alerts"):
    rows = alice.run(f"SELECT * FROM {view} v WHERE v::text LIKE '%secret%'")
    case.check(f"the right to predict shows nothing in {view}", not rows, rows[:1])
outcome = alice.try_(f"SELECT ltv_predict('{HIS}', '{{}}'::jsonb)")
print("      what an error says to who may only predict:", outcome, outcome.hint)
bob.run(f"SELECT ltv_revoke('{HIS}', 'alice')")
bob.run("SELECT ltv_cancel(job) FROM ltv_jobs WHERE status IN ('queued', 'running')")
case.finish()
