# settings: ltv.max_concurrent_jobs = 4, autovacuum_naptime = 1s, max_parallel_workers = 4
"""A worker is the owner of its job from start to end: no SQL of a job runs as anybody else, and nothing is queued by code that the
caller does not run as himself."""

from tools.case import SUPERUSER, Case, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob, admin)
admin.run("CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO PUBLIC")

# What a job's own code can try -----------------------------------------------------------------------------------------

# Each statement is run by a function in the query of the training, whatever comes of it; then a spy looks whose rights there are.
LEFT_BEHIND = {
    "nothing": "SELECT 1",
    "cursor with hold": "DECLARE held CURSOR WITH HOLD FOR SELECT alice.spy('run by a cursor with hold')",
    "cursor": "DECLARE plain CURSOR FOR SELECT alice.spy('run by a cursor')",
    "deferred trigger": "INSERT INTO alice.deferred VALUES (1)",
    "temporary table": "CREATE TEMP TABLE jobs ON COMMIT DELETE ROWS AS SELECT 1",
    "temporary table with a deferred trigger": "CREATE TEMP TABLE later (i int); "
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION alice.on_row(); INSERT INTO later VALUES (1)",
    "temporary view": "CREATE TEMP VIEW pg_roles AS SELECT alice.spy('run by a view')",
    "temporary function": "CREATE FUNCTION pg_temp.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT alice.spy(''run by format'')::text'",
    "temporary type": "CREATE DOMAIN pg_temp.jsonb AS text CHECK (alice.spy('run by a domain') = 0)",
    "search_path": "SELECT set_config('search_path', 'alice, pg_temp, pg_catalog', false)",
    "role": "SELECT set_config('role', 'none', false)",
    "role of a superuser": f"SELECT set_config('role', '{SUPERUSER}', false)",
    "session authorization": f"SELECT set_config('session_authorization', '{SUPERUSER}', false)",
    "SET ROLE": f"SET ROLE {SUPERUSER}",
    "SET LOCAL ROLE": "SET LOCAL ROLE bob",
    "RESET ROLE": "RESET ROLE",
    "SET SESSION AUTHORIZATION": "SET SESSION AUTHORIZATION bob",
    "RESET SESSION AUTHORIZATION": "RESET SESSION AUTHORIZATION",
    "RESET ALL": "RESET ALL",
    "DISCARD ALL": "DISCARD ALL",
    "default role": f"ALTER ROLE alice SET role = '{SUPERUSER}'",
    "event trigger": "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION alice.on_event()",
    "prepared statement": "PREPARE ltv AS SELECT alice.spy('run by a prepared statement')",
    "listen and notify": "LISTEN x; NOTIFY x",
    "read write": "SELECT set_config('transaction_read_only', 'off', false)",
    "session_replication_role": "SELECT set_config('session_replication_role', 'replica', false)",
    "commit": "COMMIT",
    "program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "superuser": "ALTER ROLE alice SUPERUSER",
    "another job": "SELECT public.ltv_train('nested', query => 'SELECT c.*, alice.spy(''run by a nested job'') AS s FROM alice.customers c', options => '{\"epochs\": 1, \"ensemble\": 1}')",
    "a lock of the catalog": "LOCK TABLE ltv.jobs IN ACCESS EXCLUSIVE MODE",
    "a job of another": "SELECT public.ltv_cancel(job) FROM generate_series(1, 100) job",
}
alice.run("""
CREATE TABLE alice.deferred (i int);
CREATE FUNCTION alice.on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('run by a deferred trigger'); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON alice.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION alice.on_row();
CREATE FUNCTION alice.on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('run by an event trigger'); END $$;
CREATE TABLE alice.statements (name text, statement text);
CREATE FUNCTION alice.leave(which text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    part text;
BEGIN
    PERFORM alice.spy('before ' || which);
    -- Once a worker is enough.
    IF current_setting('attack.done', true) IS DISTINCT FROM which THEN
        PERFORM set_config('attack.done', which, false);
        FOREACH part IN ARRAY string_to_array((SELECT statement FROM alice.statements WHERE name = which), '; ') LOOP
            BEGIN
                EXECUTE part;
            EXCEPTION WHEN OTHERS THEN
                PERFORM alice.spy('after a refusal of ' || which);
            END;
        END LOOP;
    END IF;
    PERFORM alice.spy('after ' || which);
    RETURN 0;
END $$;
""")
for name, statement in LEFT_BEHIND.items():
    alice.run("INSERT INTO alice.statements VALUES (%s, %s)", [name, statement])
QUERY = "SELECT customer_id, a, b, ltv + alice.leave('{}') AS ltv FROM alice.customers WHERE customer_id <= 60"
jobs = {name: alice.train(f"left {number}", query=QUERY.format(name)) for number, name in enumerate(LEFT_BEHIND)}
# A superuser who acts for alice is no less to be wished for.
admin.run("SET ROLE alice")
under = {f"{name}, queued by a superuser as alice": admin.train(f"under {number}", query=QUERY.format(name)) for number, name in enumerate(LEFT_BEHIND)}
admin.run("RESET ROLE")
for name, job in {**jobs, **under}.items():
    case.check(f"a job that leaves behind: {name}, ends", alice.ended(job) in ("succeeded", "failed"), alice.status(job))
until(lambda: admin.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), 30)
case.only("what a job leaves behind runs as its owner", {"alice"}, needed=True)
nested = admin.run("SELECT count(*) FROM ltv_jobs WHERE model = 'nested'")
case.check("a job's own code queues no job", nested == [(0,)], nested)
case.check("alice is no superuser", not admin.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'"))
case.forget()

# Where the code may hide: whatever a worker reads, and whatever it may parse in the owner's search_path -------------------------------------
alice.run("""
CREATE VIEW alice.through_view AS SELECT customer_id, a, b, ltv + alice.spy('in a view') AS ltv FROM alice.customers;
CREATE MATERIALIZED VIEW alice.matview AS SELECT * FROM alice.customers;
CREATE TABLE alice.with_policy AS SELECT * FROM alice.customers;
ALTER TABLE alice.with_policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE alice.with_policy FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON alice.with_policy USING (alice.spy('in a policy') = 0);
CREATE DOMAIN alice.amount AS float8;
CREATE TABLE alice.with_domain AS SELECT customer_id, a, b::float8::alice.amount AS b, ltv FROM alice.customers;
ALTER DOMAIN alice.amount ADD CHECK (alice.spy('in a domain') = 0) NOT VALID;
CREATE TYPE alice.pair AS (a int, b int);
CREATE FUNCTION alice.pair_text(alice.pair) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in a cast'); RETURN 'x'; END $$;
CREATE CAST (alice.pair AS text) WITH FUNCTION alice.pair_text AS IMPLICIT;
CREATE FUNCTION alice.pair_number(alice.pair) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in a cast'); RETURN 1; END $$;
CREATE CAST (alice.pair AS float8) WITH FUNCTION alice.pair_number AS IMPLICIT;
CREATE TYPE alice.mood AS ENUM ('sad', 'ok');
CREATE TABLE alice.with_cast AS SELECT customer_id, a, ROW(1, 2)::alice.pair AS b, 'ok'::alice.mood AS c, ltv FROM alice.customers;
CREATE TABLE alice.partitioned (customer_id int, a real, b real, ltv float8) PARTITION BY RANGE (customer_id);
CREATE TABLE alice.part PARTITION OF alice.partitioned FOR VALUES FROM (0) TO (1000);
INSERT INTO alice.partitioned SELECT * FROM alice.customers;
CREATE FUNCTION alice.parallel_spy() RETURNS float8 LANGUAGE plpgsql PARALLEL SAFE AS $$ BEGIN PERFORM alice.spy('in a parallel worker'); RETURN 0; END $$;
GRANT SELECT ON alice.customers TO bob;
""")
bob.run("CREATE VIEW bob.over_alice AS SELECT customer_id, a, b, ltv + alice.spy('in a view of bob') AS ltv FROM alice.customers; GRANT SELECT ON bob.over_alice TO alice")
alice.run("CREATE FUNCTION alice.rows() RETURNS SETOF alice.customers LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in a set'); RETURN QUERY SELECT * FROM alice.customers; END $$")
hidden = [alice.train(f"hidden {number}", query=f"SELECT * FROM {source}") for number, source in enumerate(("alice.through_view", "alice.with_policy", "alice.with_domain", "bob.over_alice", "alice.partitioned", "alice.rows()"))]
for source in ("alice.with_cast", "(SELECT customer_id, a, b::text AS b, c, ltv FROM alice.with_cast) q", "(SELECT customer_id, a, b::float8 AS b, c, ltv FROM alice.with_cast) q"):
    outcome = alice.try_("SELECT ltv_train('hidden in a cast', query => %s, options => '{\"epochs\": 1, \"ensemble\": 1}')", [f"SELECT * FROM {source}"])
    hidden += [outcome.value] if outcome.ok else []
# Parallel workers of a worker, in the settings of the role.
forced = "debug_parallel_query" if case.major >= 16 else "force_parallel_mode"
alice.run(f"ALTER ROLE alice SET {forced} = on; ALTER ROLE alice SET parallel_setup_cost = 0; ALTER ROLE alice SET parallel_tuple_cost = 0; ALTER ROLE alice SET min_parallel_table_scan_size = 0")
hidden.append(alice.train("parallel", query="SELECT customer_id, a, b, ltv + alice.parallel_spy() AS ltv FROM alice.customers"))
for job in hidden:
    alice.ended(job)
alice.run("ALTER ROLE alice RESET ALL")
case.only("code in views, policies, domains, casts, sets and parallel workers runs as the job's owner", {"alice"}, needed=True)
case.forget()

# Operators and functions that fit a worker's own statements better than PostgreSQL's.
TYPES = ("text", "name", "int4", "int8", "float8", "jsonb", "oid", "bool", "timestamptz", "xid8", "regrole", "regclass", "bytea")
for left in TYPES:
    for right in TYPES:
        alice.run(f"""
CREATE FUNCTION shared.f(a {left}, b {right}) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.spy('in an operator'); RETURN true; END $$;
CREATE OPERATOR shared.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = shared.f);
CREATE OPERATOR shared.< (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = shared.f);
CREATE OPERATOR shared.~ (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = shared.f);
""")
alice.run("ALTER ROLE alice SET search_path = shared, alice, public, pg_catalog")
for name, statement in (("default_transaction_read_only", "on"), ("statement_timeout", "10s"), ("standard_conforming_strings", "off"), ("quote_all_identifiers", "on"), ("bytea_output", "escape"),
                        ("datestyle", "SQL, DMY"), ("intervalstyle", "iso_8601"), ("extra_float_digits", "-15"), ("transform_null_equals", "on"), ("default_transaction_isolation", "serializable"),
                        ("default_transaction_deferrable", "on"), ("plan_cache_mode", "force_generic_plan"), ("timezone", "Pacific/Apia"), ("array_nulls", "off"), ("client_min_messages", "error"),
                        ("xmloption", "document"), ("row_security", "off"), ("from_collapse_limit", "1"), ("enable_seqscan", "off"), ("work_mem", "64kB"), ("idle_in_transaction_session_timeout", "100")):
    alice.run(f"ALTER ROLE alice SET {name} = '{statement}'")
other = type(alice)("alice")
job = other.try_("SELECT public.ltv_train('with settings', 'alice.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')")
print("      with all settings of alice's:", job)
if not job.ok:
    other.run("SET default_transaction_read_only = off; SET transaction_read_only = off")
    job = other.try_("SELECT public.ltv_train('with settings', 'alice.customers', options => '{\"epochs\": 1, \"ensemble\": 1}')")
print("      a job with them:", job, admin.ended(job.value) if job.ok else "")
alice.run("ALTER ROLE alice RESET ALL")
job = bob.train("after settings", "bob.customers")
case.check("settings of alice's role do not stop bob's training", bob.ended(job, 30) == "succeeded", bob.status(job))
case.only("operators in alice's search_path run as alice at most", {"alice"})
case.forget()
admin.run("DROP SCHEMA shared CASCADE")

# Whoever acts for alice ------------------------------------------------------------------------------------------------------
spying = "SELECT customer_id, a, b, ltv + alice.spy(''{}'') AS ltv FROM alice.customers"
admin.run("SET ROLE alice")
as_alice = admin.value(f"SELECT ltv_train('set role', query => '{spying.format('by SET ROLE')}', options => '{{\"epochs\": 1, \"ensemble\": 1}}')")
admin.run("RESET ROLE")
admin.ended(as_alice)
case.only("a job that a superuser queued as alice is alice's session", {"alice"}, "by SET ROLE", needed=True)
admin.run("SET SESSION AUTHORIZATION alice")
as_alice = admin.value(f"SELECT ltv_train('set role', query => '{spying.format('by authorization')}', options => '{{\"epochs\": 1, \"ensemble\": 1}}')")
admin.run("RESET SESSION AUTHORIZATION")
admin.ended(as_alice)
case.only("the same by SET SESSION AUTHORIZATION", {"alice"}, "by authorization", needed=True)
case.forget()

# With an identity that the caller could not take by SET ROLE.
for owner in (bob, admin):
    schema = "bob" if owner is bob else "public"
    owner.run(f"""
CREATE FUNCTION {schema}.train_for(model text, query text) RETURNS bigint LANGUAGE sql SECURITY DEFINER
AS $$ SELECT public.ltv_train(model, query => query, options => '{{"epochs": 1, "ensemble": 1}}') $$;
GRANT EXECUTE ON FUNCTION {schema}.train_for TO PUBLIC
""")
    before = admin.value("SELECT count(*) FROM ltv_jobs")
    outcome = alice.try_(f"SELECT {schema}.train_for('not mine', 'SELECT *, alice.spy(''by a definer'') AS s FROM alice.customers')")
    queued = admin.value("SELECT count(*) FROM ltv_jobs") - before
    case.check(f"a function of {owner.role}'s with their rights queues nothing for alice", not outcome.ok and queued == 0, outcome)
if (job := admin.try_("SELECT max(job) FROM ltv_jobs").value) is not None:
    admin.ended(job)
case.only("nothing of it ran", {"alice"}, "by a definer")

# Restricted operations: a superuser or autovacuum looks after a table of alice's. ------------------------------------------------
QUEUE = {
    "ltv_train": "SELECT public.ltv_train('bait', query => 'SELECT c.*, alice.spy(''by a bait'') AS s FROM alice.customers c', options => '{\"epochs\": 1, \"ensemble\": 1}')",
    "ltv_compare": "SELECT public.ltv_compare('bait', query => 'SELECT c.*, alice.spy(''by a bait'') AS s FROM alice.customers c')",
    "ltv_retrain": "SELECT public.ltv_retrain('spying', 'never')",
    "ltv_retry": f"SELECT public.ltv_retry({jobs['another job']})",
    "ltv_monitor": "SELECT public.ltv_monitor('spying', 'SELECT customer_id, a * 1000 AS a, b, ltv FROM alice.customers', retrain => true)",
    "ltv_set_owner": f"SELECT public.ltv_set_owner('spying', '{SUPERUSER}')",
}
# What else alice may do there, as INSERT and CREATE TABLE, is done with her rights and on what is hers.
alice.trained("spying", query="SELECT customer_id, a, b, ltv + alice.spy('by a bait') AS ltv FROM alice.customers")
case.forget()
alice.run("""
CREATE TABLE alice.which (statement text);
CREATE FUNCTION alice.lure(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i';
CREATE TABLE alice.bait AS SELECT 1 AS i;
CREATE INDEX bait_index ON alice.bait (alice.lure(i));
CREATE MATERIALIZED VIEW alice.bait_view AS SELECT alice.lure(i) AS i FROM alice.bait;
CREATE UNIQUE INDEX ON alice.bait_view (i);
CREATE OR REPLACE FUNCTION alice.lure(i int) RETURNS int VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    tried record;
BEGIN
    IF session_user <> 'alice' OR current_setting('attack.lure', true) = 'on' THEN
        FOR tried IN SELECT statement FROM alice.which LOOP
            BEGIN
                EXECUTE tried.statement;
                PERFORM alice.spy('let through: ' || tried.statement);
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END LOOP;
    END IF;
    PERFORM alice.spy('in a lure');
    RETURN i;
END $$;
""")
for statement in QUEUE.values():
    alice.run("INSERT INTO alice.which VALUES (%s)", [statement])
state = "SELECT (SELECT count(*) FROM ltv.jobs), (SELECT count(*) FROM ltv.models), (SELECT count(*) FROM ltv.versions), (SELECT count(*) FROM ltv.privileges), (SELECT count(*) FROM ltv.feature_definitions)"
before = admin.run(state)
for statement in ("ANALYZE alice.bait", "VACUUM (ANALYZE) alice.bait", "VACUUM (FULL) alice.bait", "REINDEX TABLE alice.bait", "REINDEX INDEX CONCURRENTLY alice.bait_index", "CLUSTER alice.bait USING bait_index",
                  "REFRESH MATERIALIZED VIEW alice.bait_view", "REFRESH MATERIALIZED VIEW CONCURRENTLY alice.bait_view", "CREATE INDEX ON alice.bait (alice.lure(i))", "ALTER TABLE alice.bait ALTER i TYPE bigint"):
    outcome = admin.try_(statement)
    case.check(f"nothing is queued inside {statement} by a superuser", admin.run(state) == before, outcome)
    before = admin.run(state)
alice.run("ALTER TABLE alice.bait SET (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)")
alice.run("DROP INDEX IF EXISTS alice.bait_i_idx; SET attack.lure = off")
alice.run("INSERT INTO alice.bait SELECT generate_series(1, 500); DELETE FROM alice.bait WHERE i % 2 = 0")
looked = until(lambda: admin.value("SELECT last_autoanalyze IS NOT NULL FROM pg_stat_all_tables WHERE relid = 'alice.bait'::regclass"), 15)
case.check("nothing is queued by autovacuum", admin.run(state) == before, f"autovacuum came: {looked}")
before = admin.run(state)
# As one who acts for alice by membership, and by alice herself inside a restricted operation.
alice.run("DELETE FROM alice.bait WHERE i > 9; SET attack.lure = on")
for statement in ("ANALYZE alice.bait", "REFRESH MATERIALIZED VIEW alice.bait_view"):
    alice.try_(statement)
    case.check(f"nor inside {statement} by alice herself", admin.run(state) == before)
    before = admin.run(state)
until(lambda: admin.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), 30)
# The superuser is underneath, having called ANALYZE; the code itself has alice's rights.
lured = {spy for spy in case.spied() if spy[1] != "alice"} | {spy for spy in case.spied("by a bait") if spy[2] != "alice"}
case.check("code in a table of alice's runs as alice", not lured, sorted(lured))
through = sorted(spy[0] for spy in case.spied("let through.*"))
case.check("whatever queues is refused there", not through, through)
case.finish()
