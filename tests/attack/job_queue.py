# settings: ltv.max_concurrent_jobs = 2
"""The queue is fair and cannot be poisoned: rows that cannot be read fail by themselves, locked rows are skipped, and jobs of one role that
sleep, compute or wait for a lock do not hold up another's."""

import json
import time

from tools.case import QUICK, Case, Session, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
admin.run("GRANT USAGE ON SCHEMA bob TO PUBLIC")
bob.trained("m", "bob.customers")
started = time.time()
bob.trained("m", "bob.customers")
ALONE = time.time() - started
# Beyond what it takes alone.
PATIENCE = 15
LONG = '{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}'


def bob_trains(behind):
    started = time.time()
    job = bob.train("m", "bob.customers")
    status = bob.ended(job, 20)
    took = time.time() - started
    case.check(f"bob trains behind {behind}", status == "succeeded" and took < ALONE + PATIENCE, f"{status} after {took:.1f} s, alone {ALONE:.1f} s")
    if status != "succeeded":
        bob.try_("SELECT ltv_cancel(%s)", [job])


def clear():
    alice.try_("SELECT ltv_cancel(job) FROM ltv_jobs WHERE status IN ('queued', 'running')")
    until(lambda: admin.value("SELECT count(*) = 0 FROM ltv_jobs WHERE status IN ('queued', 'running')"), 15)
    # Rows that were put there by hand need not be seen as anybody's.
    admin.run("UPDATE ltv.jobs SET status = 'canceled' WHERE status IN ('queued', 'running')")


# What an honest user's queue can look like --------------------------------------------------------------------------------------------
alice.run("CREATE TABLE alice.locked AS SELECT * FROM alice.customers")
# Names are looked at when a job is queued, which would wait for the lock itself; what a function reads is not.
alice.run("CREATE FUNCTION alice.reads_locked() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM alice.locked); END $$")
holder = Session("alice")
for behind, queue, before, after in (
        ("queries that sleep", lambda: alice.train("sleeps", query="SELECT c.* FROM alice.customers c, pg_sleep(3600)"), None, None),
        ("queries that compute", lambda: alice.train("computes", query="SELECT c.* FROM alice.customers c, generate_series(1, 1000000000) g"), None, None),
        ("trainings without end", lambda: alice.train("endless", "alice.customers", options=LONG), None, None),
        ("comparisons", lambda: alice.value("SELECT ltv_compare('compares', 'alice.customers', options => %s)", [LONG]), None, None),
        ("jobs that wait for a lock", lambda: alice.train("waits", query="SELECT c.* FROM alice.customers c, alice.reads_locked()"), "BEGIN; LOCK TABLE alice.locked", "ROLLBACK"),
        ("jobs that wait for an advisory lock", lambda: alice.train("waits", query="SELECT c.* FROM alice.customers c, (SELECT pg_advisory_lock(1)) l"), "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)"),
        ("jobs that fail", lambda: alice.train("fails", query="SELECT *, 1 / (a - a) AS c FROM alice.customers"), None, None)):
    if before:
        holder.run(before)
    outcome = None
    for _ in range(6):
        try:
            outcome = queue()
        except RuntimeError as error:
            case.check(f"alice queues {behind}", False, error)
            break
    until(lambda: admin.value("SELECT count(*) > 0 FROM ltv_jobs WHERE status = 'running'"), 10)
    time.sleep(0.5)
    bob_trains(behind)
    if after:
        holder.run(after)
    clear()
many = alice.value("SELECT count(ltv_train('many', query => 'SELECT c.* FROM alice.customers c, pg_sleep(3600)', options => %s)) FROM generate_series(1, 300)", [QUICK])
bob_trains(f"{many} jobs of alice's")
clear()
# What is queued and not committed, or committed piece by piece, is nobody else's worry.
holder.run("BEGIN")
holder.try_("SELECT ltv_train('open', 'alice.customers')")
bob_trains("a transaction of alice's that queues and stays open")
holder.run("ROLLBACK")
holder.run("BEGIN")
holder.try_("SELECT ltv_train('m2', 'alice.customers'); SELECT ltv_cancel(job) FROM ltv_jobs")
bob_trains("a transaction that cancels and stays open")
holder.run("ROLLBACK")
clear()
# All advisory locks that a worker could think of.
holder.run("SELECT pg_advisory_lock(a, b) FROM generate_series(0, 30) a, generate_series(0, 300) b")
holder.run("SELECT pg_advisory_lock(a::bigint) FROM generate_series(0, 2000) a")
found = admin.run("SELECT DISTINCT classid::bigint, objid::bigint, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid <> %s", [holder.pid])
case.check("workers and sessions hold no advisory locks", not found, found)
bob_trains("advisory locks of alice's")
holder.run("SELECT pg_advisory_unlock_all()")
clear()
# Settings that a job takes along.
for name, setting in (("ltv.training_threads", "256"), ("ltv.training_memory", "'32MB'"), ("ltv.training_memory", "'1048576MB'"), ("work_mem", "'2000GB'"), ("statement_timeout", "1"), ("temp_file_limit", "1")):
    alice.try_(f"SET {name} = {setting}")
    job = alice.try_("SELECT ltv_train('set', 'alice.customers', options => %s)", [QUICK])
    if job.ok:
        case.check(f"a job with {name} = {setting} ends", alice.ended(job.value, 30) in ("succeeded", "failed"), alice.status(job.value))
    alice.try_("RESET ALL")
bob_trains("jobs with odd settings")
clear()

# Rows that no function of ours wrote, as a superuser's hand or a dump might ---------------------------------------------------------------------
columns = {name: kind for name, kind in admin.run("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'ltv.jobs'::regclass AND attnum > 0 AND NOT attisdropped")}
deep = "[" * 5000 + "]" * 5000
honest = admin.run("SELECT recipe::text, settings::text FROM ltv.jobs WHERE model = 'm' LIMIT 1")[0]
DOCUMENTS = [("null", "null"), ("1", "1"), ('"x"', '"x"'), ("[]", "[]"), ("{}", "{}"), ("{}", '{"x": 1e400}'), ('{"options": {"epochs": 1e400}}', "{}"), (f'{{"x": {deep}}}', "{}"), ("{}", f'{{"x": {deep}}}'),
             ('{"query": 5, "relation": []}', "{}"), ('{"query": "SELECT 1; SELECT 2", "target": "ltv", "id_column": "customer_id", "options": {}}', "{}"), ('{"query": "DROP TABLE bob.customers", "target": "ltv"}', "{}"),
             ('{"relation": "a.b.c.d", "target": "ltv", "options": {}}', "{}"), ('{"relation": "bob.customers", "target": "ltv", "options": {"epochs": 1}, "search_path": 7}', "{}"),
             ('{"query": "SELECT 1 AS customer_id, 1 AS a, 1 AS ltv", "target": "ltv", "id_column": "customer_id", "options": {"ensemble": 64, "hidden_sizes": [65536, 65536, 65536]}, "objective": "ziln", "backbone": "mlp"}', "{}"),
             (honest[0], '{"ltv.training_threads": "x"}'), (honest[0], '{"ltv.training_memory": -1}'), (honest[0], '{"session_authorization": "postgres"}'), (honest[0], '{"role": "postgres", "nosuch.setting": "1", "log_statement": "all"}'),
             (honest[0].replace('"ziln"', '"\\u00e4\\u0001"'), honest[1])]
others = [("model", "'' || chr(1)"), ("kind", "'nonsense'"), ("kind", "'retrain'"), ("kind", "'compare'"), ("pid", "-1"), ("pid", "1"), ("version", "-5"), ("cancel_requested", "true"), ("created_at", "'infinity'"), ("started_at", "'-infinity'"),
          ("owner", "'4294967295'"), ("owner", "'0'"), ("login", "'4294967295'")]
base = {"model": "'poison'", "kind": "'train'", "status": "'queued'", "recipe": "'{}'", "settings": "'{}'", "owner": "'alice'"}
if "login" in columns:
    base["login"] = "'alice'"


def poison(values, times=3):
    """Rows put there by a superuser, without the checks; whether they could be."""
    admin.run("SET session_replication_role = replica")
    text = ", ".join(f"{value}::{columns[name]}" for name, value in values.items())
    outcomes = [admin.try_(f"INSERT INTO ltv.jobs ({', '.join(values)}) VALUES ({text})") for _ in range(times)]
    admin.run("RESET session_replication_role")
    return outcomes[0]


def quote(text):
    return "'" + text.replace("'", "''") + "'"


put = 0
for recipe, settings in DOCUMENTS:
    put += poison({**base, "recipe": quote(recipe), "settings": quote(settings)}, 1).ok
for name, value in others:
    put += name in columns and poison({**base, name: value}, 1).ok
case.check("rows that no function of ours wrote are there", put > 10, put)
bob_trains(f"{put} rows that cannot be read")
left = until(lambda: admin.value("SELECT count(*) = 0 FROM ltv.jobs WHERE model LIKE 'poison%' AND status = 'queued' AND finished_at IS NULL"), 30)
print("      left queued:", admin.run("SELECT job, kind, status, left(recipe::text, 60), left(settings::text, 60), message FROM ltv.jobs WHERE status IN ('queued', 'running') ORDER BY 1"))
case.check("a row that cannot be read fails by itself", left)
case.check("bob's table is there", bob.value("SELECT count(*) FROM bob.customers") == 400)
clear()
# Four of the same kind each: as many as there are slots and more.
for recipe, settings in DOCUMENTS[:9]:
    poison({**base, "recipe": quote(recipe), "settings": quote(settings)}, 4)
bob_trains("many rows that cannot be read")
clear()
# Locked rows.
locker = Session()
for _ in range(4):
    poison({**base, "recipe": quote(honest[0].replace("bob.customers", "alice.customers")), "settings": quote(honest[1])}, 1)
locker.run("BEGIN")
locker.run("SELECT FROM ltv.jobs WHERE status = 'queued' FOR UPDATE")
bob_trains("rows that somebody has locked")
locker.run("ROLLBACK")
clear()
locker.run("BEGIN")
locker.run("SELECT FROM ltv.models WHERE model = 'sleeps' FOR UPDATE")
alice.run("SET lock_timeout = '1s'")
for _ in range(3):
    alice.try_("SELECT ltv_train('sleeps', 'alice.customers', options => %s)", [QUICK])
alice.run("RESET lock_timeout")
bob_trains("jobs whose model somebody has locked")
locker.run("ROLLBACK")
clear()
running = admin.run("SELECT status, count(*) FROM ltv_jobs GROUP BY 1 ORDER BY 1")
print("      in the end:", running)
json.dumps(running, default=str)
case.finish()
