"""Who somebody is: roles that are renamed, dropped and made again, and memberships that give less than everything."""

from tools import graphs
from tools.case import Case, Session, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob, admin)
SCORE = "SELECT ltv_predict('{}', '{{\"a\": 1, \"b\": 2, \"x\": 3}}'::jsonb)"


def owner(model):
    return admin.try_("SELECT owner::text FROM ltv_models WHERE model = %s", [model]).value


def is_stranger(session, what, model):
    for statement in (SCORE.format(model), f"SELECT ltv_predict('{model}', 1, '{{\"a\": 1, \"b\": 2, \"x\": 3}}'::jsonb)", f"SELECT length(ltv_export_onnx('{model}'))", f"SELECT ltv_drop_model('{model}')",
                      f"SELECT ltv_grant('{model}', '{session.role}', 'read')", f"SELECT ltv_set_owner('{model}', '{session.role}')", f"SELECT ltv_train('{model}', '{session.role}.customers')",
                      f"SELECT ltv_set_alias('{model}', 1)", f"SELECT ltv_rollback('{model}')", f"SELECT count(*) FROM ltv_feature_info('{model}')"):
        session.run("BEGIN")
        outcome = session.try_(statement)
        session.run("ROLLBACK")
        case.check(f"{what} is a stranger to the model: {statement[:60]}", not outcome.ok, outcome)
    seen = [session.try_(f"SELECT model FROM {view} WHERE model = '{model}'").rows for view in ("ltv_models", "ltv_versions", "ltv_jobs", "ltv_promotions", "ltv_traffic", "ltv_monitoring", "ltv_alerts")]
    case.check(f"{what} sees nothing of it", not any(seen), seen)


# Renamed: everything follows.
carol = case.role("carol")
case.customers(carol)
carol.trained("of carol", "carol.customers", promote="true")
carol.trained("of carol", "carol.customers", promote="true")
carol.run("SELECT ltv_grant('of carol', 'bob', 'read')")
bob.trained("of bob", "bob.customers")
bob.run("SELECT ltv_grant('of bob', 'carol', 'predict')")
carol.run("SELECT ltv_create_features('carol.features', 'carol.orders', date_column => 'day', value_column => 'amount', horizon => 90)")
job = carol.train("of carol", "carol.customers")
carol.ended(job)
carol.close()
admin.run("ALTER ROLE carol RENAME TO caroline; ALTER ROLE caroline PASSWORD 'caroline'; ALTER SCHEMA carol RENAME TO caroline")
caroline = Session("caroline")
case.check("a renamed role owns what it owned", owner("of carol") == "caroline", owner("of carol"))
case.check("and scores with it", caroline.try_(SCORE.format("of carol")).ok)
case.check("and has what was granted to it", caroline.try_(SCORE.format("of bob")).ok)
case.check("and sees its jobs", caroline.value("SELECT count(*) FROM ltv_jobs") >= 3)
case.check("and refreshes its features", caroline.try_("SELECT ltv_refresh_features('caroline.features')").ok, caroline.try_("SELECT ltv_refresh_features('caroline.features')"))
job = caroline.try_("SELECT ltv_train('of carol', 'caroline.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')")
case.check("and trains it on", job.ok and caroline.ended(job.value) == "succeeded", job)
case.check("what it was granted shows under its new name", bob.try_("SELECT ltv_revoke('of bob', 'caroline')").ok and not caroline.try_(SCORE.format("of bob")).ok)
bob.try_("SELECT ltv_grant('of bob', 'caroline', 'read')")
# A new role takes the old name.
admin.run("DROP SCHEMA IF EXISTS carol")
carol = case.role("carol")
case.customers(carol)
is_stranger(carol, "a new role with the old name of a renamed one", "of carol")
is_stranger(carol, "the same for what was granted to the name", "of bob")
case.check("it does not see the other's jobs", carol.value("SELECT count(*) FROM ltv_jobs") == 0)

# Dropped with everything it owned: its models belong to nobody but superusers, and to nobody by name.
caroline.run("SELECT ltv_grant('of carol', 'public', 'predict')")
caroline.run("SELECT ltv_revoke('of carol', 'public')")
queued = caroline.train("of carol", query="SELECT c.*, pg_sleep(0.02)::text AS s, caroline.spy('of a dropped role') AS t FROM caroline.customers c")
caroline.close()
admin.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'caroline'")
dropped = admin.try_("DROP OWNED BY caroline CASCADE")
dropped = admin.try_("DROP ROLE caroline") if dropped.ok else dropped
until(lambda: admin.try_("DROP ROLE IF EXISTS caroline").ok, 10)
case.check("a role that owns models can be dropped", not admin.value("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'caroline')"), dropped)
# Its worker may have been ended before it took the job: whoever waits wakes the queue.
admin.try_("SELECT ltv_wait(%s, timeout => '20 s')", [queued])
case.check("its jobs end", admin.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), admin.run("SELECT status, message FROM ltv_jobs WHERE status IN ('queued', 'running')"))
caroline = case.role("caroline")
case.customers(caroline)
is_stranger(caroline, "a new role with the name of a dropped one", "of carol")
is_stranger(caroline, "the same for what was granted to it", "of bob")
case.check("the new one does not see the old one's jobs", caroline.value("SELECT count(*) FROM ltv_jobs") == 0)
outcome = bob.try_(SCORE.format("of carol"))
case.check("who had a right on the model keeps it", outcome.ok, outcome)
for statement in ("SELECT model, owner::text FROM ltv_models", "SELECT * FROM ltv_versions", "SELECT * FROM ltv_jobs", "SELECT * FROM ltv_promotions", SCORE.format("of carol"), "SELECT ltv_set_owner('of carol', 'bob')"):
    outcome = admin.try_(statement)
    case.check(f"a superuser has it: {statement[:50]}", outcome.ok, outcome)
case.check("and gives it away", owner("of carol") == "bob", owner("of carol"))
case.check("the new owner promotes it", bob.try_("SELECT ltv_set_alias('of carol', 1)").ok)
outcome = bob.try_("SELECT ltv_revoke('of bob', 'caroline')")
print("      revoking from the new role of an old name:", outcome)
case.only("nothing ran as the new role", {"caroline", "carol"}, "of a dropped role")

# Names that need care.
for name in ('Quoted "Role"', "public1", "ä" * 20, "'; DROP TABLE x; --", "none ", "0"):
    quoted = '"' + name.replace('"', '""') + '"'
    admin.run(f"CREATE ROLE {quoted} LOGIN")
    outcome = bob.try_("SELECT ltv_grant('of bob', %s, 'predict')", [quoted])
    plain = bob.try_("SELECT ltv_grant('of bob', %s, 'predict')", [name]) if not outcome.ok else outcome
    case.check(f"rights can be granted to role {name}", plain.ok, plain)
    admin.run(f"SET ROLE {quoted}")
    outcome = admin.try_(SCORE.format("of bob"))
    admin.run("RESET ROLE")
    case.check(f"and {name} has them", outcome.ok, outcome)
    admin.run(f"DROP ROLE {quoted}")
for name in ("", "nobody at all", "pg_database_owner", "x" * 200, "none", "current_user", "public"):
    outcome = bob.try_("SELECT ltv_grant('of bob', %s, 'predict')", [name])
    case.check(f"a grant to '{name[:20]}' ends in an ordinary way", outcome.ok or outcome.state[:2] in ("42", "22"), outcome)
bob.try_("SELECT ltv_revoke('of bob', 'public')")

# Membership ------------------------------------------------------------------------------------------------------------------
bob.run("SELECT ltv_revoke('of bob', 'alice')")
is_stranger(alice, "alice before any membership", "of bob")


def plain():
    """What PostgreSQL itself makes of the membership: alice reads bob's table, alice becomes bob."""
    reads = alice.try_("SELECT count(*) FROM bob.customers").ok
    becomes = alice.try_("SET ROLE bob").ok
    alice.run("RESET ROLE")
    return reads, becomes


def ours():
    scores = alice.try_(SCORE.format("of bob")).ok
    alice.run("BEGIN")
    promotes = alice.try_("SELECT ltv_set_alias('of bob', 1)").ok
    alice.run("ROLLBACK")
    sees = bool(alice.try_("SELECT 1 FROM ltv_models WHERE model = 'of bob'").rows)
    versions = bool(alice.try_("SELECT 1 FROM ltv_versions WHERE model = 'of bob'").rows)
    jobs = bool(alice.try_("SELECT 1 FROM ltv_jobs WHERE model = 'of bob'").rows)
    return scores, promotes, sees, versions, jobs


if case.major >= 16:
    for options in ("INHERIT TRUE, SET TRUE", "INHERIT TRUE, SET FALSE", "INHERIT FALSE, SET TRUE", "INHERIT FALSE, SET FALSE", "INHERIT FALSE, SET FALSE, ADMIN TRUE"):
        admin.run(f"GRANT bob TO alice WITH {options}")
        reads, becomes = plain()
        got = ours()
        case.check(f"WITH {options}: a model is to a member what a table is", got == (reads,) * 5, f"table: {reads}, SET ROLE: {becomes}; scores, promotes, sees model, versions, jobs: {got}")
        admin.run("REVOKE bob FROM alice")
    admin.run("CREATE ROLE team; GRANT team TO alice WITH INHERIT FALSE, SET FALSE")
    bob.run("SELECT ltv_grant('of bob', 'team', 'read')")
    case.check("what was granted to a role that is not inherited is not alice's", not ours()[0], ours())
    admin.run("GRANT team TO alice WITH INHERIT TRUE, SET FALSE")
    case.check("and is hers where it is inherited", ours()[0], ours())
    case.check("but does not make her owner", not ours()[1])
    # Queueing runs code as the owner of the job: that takes SET.
    admin.run("GRANT bob TO alice WITH INHERIT TRUE, SET FALSE")
    alice.run("SET statement_timeout = '20s'")
    outcome = alice.try_("SELECT ltv_retrain('of bob', 'never', options => '{\"epochs\": 1, \"ensemble\": 1}')")
    if outcome.ok:
        role = admin.value("SELECT role::text FROM ltv_jobs WHERE job = %s", [outcome.value])
        case.check("a retraining by a member who may not become the owner is not the owner's job", role == "alice", (outcome, role))
        admin.ended(outcome.value)
    admin.run("REVOKE bob FROM alice; REVOKE team FROM alice; SELECT ltv_revoke('of bob', 'team')")
else:
    admin.run("GRANT bob TO alice")
    case.check("a member is an owner", ours() == (True,) * 5, ours())
    admin.run("ALTER ROLE alice NOINHERIT")
    reads, becomes = plain()
    got = ours()
    case.check("a member that does not inherit is to a model what it is to a table", got[0] == reads and got[1] == reads, f"{reads} {becomes} {got}")
    admin.run("ALTER ROLE alice INHERIT; REVOKE bob FROM alice")
alice.again()
is_stranger(alice, "alice after the membership", "of bob")

# Rights end at once, in sessions that have scored, with plans that are prepared, and in cursors not at all (they have begun).
bob.run("SELECT ltv_grant('of bob', 'alice', 'predict')")
pinned = "SELECT ltv_predict('of bob', 1, ARRAY[1, 2])"
alice.run("PREPARE by_name AS SELECT ltv_predict('of bob', ARRAY[1, 2])")
alice.run(f"PREPARE pinned AS {pinned}")
alice.run("PREPARE each AS SELECT sum(ltv_predict('of bob', 1, c)) FROM alice.customers c")
for mode in ("force_custom_plan", "force_generic_plan"):
    alice.run(f"SET plan_cache_mode = {mode}")
    for name in ("by_name", "pinned", "each"):
        alice.run(f"EXECUTE {name}")
bob.run("SELECT ltv_revoke('of bob', 'alice')")
for name in ("by_name", "pinned", "each"):
    case.refused(f"a revoked right is gone from the prepared statement {name}", alice, f"EXECUTE {name}", ("42501", "42704"))
case.refused("and from a new one", alice, pinned, ("42501", "42704"))
bob.run("CREATE FUNCTION bob.score() RETURNS float8 LANGUAGE sql SECURITY DEFINER AS $$ SELECT ltv_predict('of bob', 1, ARRAY[1, 2]) + ltv_predict('of bob', ARRAY[1, 2]) $$; GRANT USAGE ON SCHEMA bob TO PUBLIC")
case.check("bob's function with bob's rights scores for alice", alice.try_("SELECT bob.score()").ok)
case.refused("what it has loaded is not alice's", alice, pinned, ("42501", "42704"))
case.refused("by name neither", alice, "SELECT ltv_predict('of bob', ARRAY[1, 2])", ("42501", "42704"))
alice.run("BEGIN")
bob.run("SELECT ltv_grant('of bob', 'alice', 'read')")
alice.run("SET ROLE alice")
case.check("a right is there at the next statement", alice.try_(pinned).ok)
alice.run("COMMIT")
alice.run("SELECT ltv_import_onnx('of alice', %s)", [graphs.linear(1, 0)])
# Who may not execute ltv_train queues no job by any other function either.
alice.run("SELECT ltv_create_features('alice.features', 'alice.orders', date_column => 'day', value_column => 'amount', horizon => 90)")
alice.trained("trained", "alice.customers")
failed = alice.train("fails", query="SELECT *, 1 / (a - a) AS c FROM alice.customers")
alice.ended(failed)
admin.run("REVOKE EXECUTE ON FUNCTION ltv_train FROM PUBLIC")
jobs = admin.value("SELECT count(*) FROM ltv_jobs")
for statement in ("SELECT ltv_train('trained', 'alice.customers')", "SELECT ltv_train_now('trained', 'alice.customers')", "SELECT ltv_retrain('trained', 'never')", f"SELECT ltv_retry({failed})", "SELECT ltv_compare('trained', 'alice.customers')",
                  "SELECT ltv_monitor('trained', 'SELECT customer_id, a * 1000 AS a, b, ltv FROM alice.customers', retrain => true)", "SELECT ltv.queue_training('trained', 'train', 'alice.customers')"):
    outcome = alice.try_(statement)
    case.check(f"who may not train does not by {statement[:60]}", admin.value("SELECT count(*) FROM ltv_jobs") == jobs, outcome)
admin.run("GRANT EXECUTE ON FUNCTION ltv_train TO PUBLIC")
for statement in ("SELECT ltv_set_owner('of alice', 'bob')", "SELECT ltv_set_owner('of alice', 'postgres')", "SELECT ltv_set_owner('of alice', 'public')"):
    case.refused(f"a gift that alice could not take back: {statement}", alice, statement, ("42501", "22023", "42704", "0LP01"))
case.finish()
