"""A chain belongs to the role that made it and runs as that role: others do not see it, cannot run it, and nothing that it reads or writes makes it run their code."""

from tools.case import Case, Session

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
bob.trained("m", "bob.customers")
bob.run("SELECT ltv_grant('m', 'alice', 'predict')")
bob.run("SELECT ltv_schedule('m', NULL, '{score,monitor}', 'bob.customers', 'bob.scores')")
bob.run("CALL ltv_nightly('m')")
bob.run("CALL ltv_nightly('m', '{score}', 'SELECT * FROM bob.customers', 'bob.other')")

# What is bob's is not alice's.
case.check("alice sees no chain and no step of bob's", alice.value("SELECT (SELECT count(*) FROM ltv_schedules) + (SELECT count(*) FROM ltv_nightly_steps)") == 0)
chains = admin.run("SELECT * FROM ltv.chains")
steps = admin.run("SELECT * FROM ltv.nightly_steps")
case.check("she ends none of it", alice.value("SELECT ltv_unschedule('m')") == 0)
case.check("and finds none to run", not alice.try_("CALL ltv_nightly('m')").ok)
for statement in ("SELECT ltv.begin_night('bob'::regrole, 'm', '{score}')", "SELECT ltv.end_step('bob'::regrole, 1, 1, '{}')", "SELECT ltv.save_chain('bob'::regrole, '{}')", "SELECT ltv.delete_chains('bob'::regrole, 'm', NULL)", "SELECT ltv.follow_chain('bob'::regrole, 'm', '{score,monitor}')",
                  "SELECT ltv.close_lost_nights('bob'::regrole, 'm')", "SELECT ltv.alert_missed_nights('bob'::regrole, 'm', '{score}')", "SELECT ltv.raise_alert('m', 'step', 1, 1, 'x', 'hello')", "SELECT ltv.alert_step('bob'::regrole, 'm', 'score', 'hello')", "DELETE FROM ltv.chains", "UPDATE ltv.nightly_steps SET status = 'lost'", "SELECT * FROM ltv.alerts", "DO $$ BEGIN LOCK TABLE ltv.nightly_steps; END $$"):
    case.refused(f"refused to alice: {statement[:60]}", alice, statement)
# What she may call writes of herself only.
for statement in ("SELECT ltv.end_step(1, 1, '{\"message\": \"forged\"}')", "SELECT ltv.end_step(1, 1, '[]')", "SELECT ltv.follow_chain('m', '{score,monitor}')", "SELECT ltv.delete_chains('m', NULL)", "SELECT ltv.begin_night('m', '{score}')"):
    alice.try_(statement)
case.check("the record of bob is what it was", admin.run("SELECT * FROM ltv.nightly_steps WHERE role = 'bob'::regrole") == steps and admin.run("SELECT * FROM ltv.chains") == chains)
case.check("a night that she has begun does not stop bob's", bob.try_("CALL ltv_nightly('m')").ok)
before = admin.value("SELECT count(*) FROM ltv.alerts")
alice.try_("CALL ltv_nightly('m', '{score}', 'SELECT 1 AS customer_id, 1 / 0 AS a', 'alice.scores')")
case.check("nor does a failed step of hers alarm him, for she may not look into the model", admin.value("SELECT count(*) FROM ltv.alerts") == before)
case.check("a model that she may not use does not exist", alice.try_("CALL ltv_nightly('no_such')").message.replace("no_such", "x") == Session("alice").try_("CALL ltv_nightly('nothing')").message.replace("nothing", "x"))

# Where bob writes, nobody else's triggers wait.
case.forget()
alice.run("CREATE FUNCTION alice.fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('trigger'); RETURN NEW; END $$")
alice.run("CREATE TABLE alice.scores (customer_id int, ltv float8, version int, valid_from date, valid_to date); CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON alice.scores FOR EACH ROW EXECUTE FUNCTION alice.fired(); GRANT ALL ON alice.scores TO PUBLIC; GRANT ALL ON SCHEMA alice TO PUBLIC")
for session, source in ((bob, "bob.customers"), (admin, "bob.customers")):
    case.refused(f"{session.role} does not write into a table of alice's", session, f"CALL ltv_nightly('m', '{{score}}', '{source}', 'alice.scores')")
# Nor where the table of a chain was dropped and hers stands in its place.
bob.run("SELECT ltv_schedule('m', NULL, '{score}', 'bob.customers', 'alice.of_bob')")
bob.run("CALL ltv_nightly('m', '{score}')")
bob.run("DROP TABLE alice.of_bob")
alice.run("CREATE TABLE alice.of_bob (LIKE alice.scores); CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON alice.of_bob FOR EACH ROW EXECUTE FUNCTION alice.fired(); GRANT ALL ON alice.of_bob TO PUBLIC")
case.refused("nor into hers in place of his", bob, "CALL ltv_nightly('m', '{score}')")
# What his chain reads, dropped and made again by alice, is not read.
bob.run("CREATE TABLE alice.read AS TABLE bob.customers; SELECT ltv_schedule('m', NULL, '{monitor}', 'alice.read')")
bob.run("CALL ltv_nightly('m', '{monitor}')")
bob.run("DROP TABLE alice.read")
alice.run("CREATE VIEW alice.read AS SELECT c.*, alice.spy('view') AS spied FROM alice.customers c; GRANT SELECT ON alice.read TO PUBLIC")
case.refused("nor is what she put in place of what he read", bob, "CALL ltv_nightly('m', '{monitor}')", ("55000",))
# What looks like pg_cron and belongs to her is not asked.
admin.run("CREATE SCHEMA cron AUTHORIZATION alice; GRANT USAGE ON SCHEMA cron TO PUBLIC")
alice.run("CREATE VIEW cron.job AS SELECT 1::bigint AS jobid, 'ltv score m' AS jobname, '* * * * *' AS schedule, 'x' AS command, true AS active, 'bob' AS username, current_database() AS database, alice.spy('cron') AS s; CREATE VIEW cron.job_run_details AS SELECT j.jobid, 1 AS runid, now() AS start_time, now() AS end_time, 'failed' AS status, alice.spy('cron')::text AS return_message FROM cron.job j; "
          "CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS 'SELECT alice.spy(''cron'')::bigint'; CREATE FUNCTION cron.unschedule(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT alice.spy(''cron'') = 0'; GRANT ALL ON ALL TABLES IN SCHEMA cron TO PUBLIC")
for session in (bob, admin):
    for statement in ("SELECT * FROM ltv_schedules", "SELECT ltv_schedule('m', '* * * * *', '{score}', 'bob.customers', 'bob.more')", "CALL ltv_nightly('m', '{score}', 'bob.customers', 'bob.scores')", "SELECT ltv_schedule('m', NULL, '{score}', 'bob.customers', 'bob.more')", "SELECT ltv_unschedule('m')"):
        session.try_(statement)
admin.run("DROP SCHEMA cron CASCADE")
foreign = sorted(spy for spy in case.spied() if spy[1] != "alice")
case.check("her code ran as nobody else", not foreign, foreign)

# Definitions that were restored from somebody's dump: what is in them stays a name or a value.
bob.run("SELECT ltv_unschedule('m')")
bob.run("SELECT ltv_schedule('m', NULL, '{score,monitor}', 'bob.customers', 'bob.scores')")
honest = admin.value("SELECT definition::text FROM ltv.chains")
for path in ("model", "source", "features", "scores", "id_column", "time_zone", "arguments", "steps", "features_followed", "scores_followed"):
    for value in ('"x\' || bob.spy(\'pasted\')::text || \'"', '"bob.spy(\'pasted\')"', '"SELECT 1 AS customer_id) x; SELECT bob.spy(\'pasted\'); --"', "[]", "{}", "null", "5", '["bob.spy(\'pasted\')"]', '{"name": "bob.x AS SELECT bob.spy(\'pasted\') AS s; --"}', '{"name": "bob.customers; SELECT bob.spy(\'pasted\')"}'):
        admin.run(f"UPDATE ltv.chains SET features = NULL, scores = NULL, definition = %s::jsonb || jsonb_build_object('{path}', %s::jsonb)", [honest, value])
        for statement in ("CALL ltv_nightly('m')", "SELECT * FROM ltv_schedules"):
            outcome = bob.try_(statement)
            if outcome.lost or (outcome.state or "").startswith("XX"):
                case.check(f"a chain with {path} = {value} ends in an ordinary way: {statement}", False, outcome)
pasted = case.spied("pasted")
case.check("nothing in it was run but one SELECT", not pasted, pasted)
case.finish()
