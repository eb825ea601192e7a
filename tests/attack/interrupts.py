"""Every inference can be ended: statement_timeout, cancel, terminate and a fast shutdown within a second or two, in a long run, in the trial
run of an import, in a batch, in a parallel worker and in a training. Control flow is refused."""

import threading
import time

from tools import graphs
from tools.case import Case, Session, control, until

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
PATIENCE = 2

for name, graph in (("a Loop", graphs.loop(10)), ("a Loop as long as a feature says", graphs.loop_by_feature()), ("an endless Loop", graphs.endless_loop()), ("Loops in Loops", graphs.nested_loops(3)), ("a Scan", graphs.scan()),
                    ("a Loop in a function", graphs.loop_in_function()), ("an If", graphs.branch([graphs.node("Neg", ["x"], ["then_o"])])),
                    ("a Loop in an If", graphs.branch([graphs.node("Constant", [], ["trips"], value=graphs.constant("t", 10**9, "int64")), graphs.node("Constant", [], ["go"], value=graphs.constant("b", True, bool)),
                                                       graphs.node("Loop", ["trips", "go", "x"], ["then_o"], body=graphs.add_one())]))):
    alice.run("SET statement_timeout = '3s'")
    outcome, took = alice.timed("SELECT ltv_import_onnx('flow', %s)", [graph])
    case.check(f"{name} is refused", not outcome.ok and outcome.state != "57014" and took < PATIENCE, f"{outcome}, {took:.1f} s")
alice.run("SET statement_timeout = 0")

# What is long without a loop: the more rows, the longer. The first that is taken is the slowest.
alice.run("SET statement_timeout = '20s'; CREATE TABLE alice.many AS SELECT (i % 7)::real AS size FROM generate_series(1, 5000) i")
for size, times in ((500, 60), (300, 60), (200, 60), (100, 100), (50, 100)):
    outcome = alice.try_("SELECT ltv_import_onnx('slow', %s, features => ARRAY['size'], promote => true)", [graphs.slow(size, times)])
    print(f"      {times} products of {size} by {size} a row:", outcome)
    if outcome.ok:
        break
case.check("a slow graph can be imported", outcome.ok, outcome)
alice.run("SELECT ltv_grant('slow', 'bob', 'predict')")
outcome, took = alice.timed("SELECT ltv_predict('slow', ARRAY[1])")
print(f"      a row takes {took:.2f} s")
SLOW = "SELECT sum(ltv_predict('slow', m)) FROM alice.many m"
for timeout in ("300ms", "1s"):
    alice.run(f"SET statement_timeout = '{timeout}'")
    for statement in (SLOW, "SELECT sum(ltv_predict('slow', 1, m)) FROM alice.many m", "SELECT sum(ltv_predict('slow', ARRAY[g])) FROM generate_series(1, 5000) g", "SELECT count(ltv_predict_all('slow', to_jsonb(m))) FROM alice.many m",
                      "SELECT ltv_predict('slow', m) FROM alice.many m ORDER BY 1 LIMIT 1", "SELECT sum(ltv_predict('slow', m)) FROM alice.many m WHERE ltv_predict('slow', ARRAY[size]) > 0"):
        for batch in (1, 1024, 65536):
            alice.run(f"SET ltv.batch_size = {batch}")
            outcome, took = alice.timed(statement)
            case.check(f"statement_timeout {timeout} ends with batches of {batch}: {statement}", took < 1 + PATIENCE and not outcome.ok and outcome.state in ("57014", "53200"), f"{outcome}, {took:.1f} s")
alice.run("RESET ltv.batch_size; SET statement_timeout = 0")
case.check("the session is as good as before", alice.try_("SELECT ltv_predict('slow', ARRAY[3])").ok, alice.try_("SELECT ltv_predict('slow', ARRAY[3])"))
# In the trial run of an import, and while the graph is made ready.
alice.run("SET statement_timeout = '1s'")
for name, graph in (("products", graphs.product(3000, 60)), ("one large product", graphs.product(12000)), ("a long chain", graphs.chain("Neg", 60000)), ("functions twice each", graphs.doubling_functions(24)), ("a graph of twenty megabytes", graphs.strings(20 * 10**6))):
    outcome, took = alice.timed("SELECT ltv_import_onnx('trial', %s)", [graph])
    case.check(f"statement_timeout 1 s ends the import of {name}", took < 1 + PATIENCE, f"{outcome}, {took:.1f} s")
    # One operator that cannot be stopped costs its session, and no other.
    if outcome.state == "57P01" or outcome.lost:
        case.check("and only that session", bob.try_("SELECT 1").ok)
        alice.again()
        alice.run("SET statement_timeout = '1s'")
alice.run("SET statement_timeout = 0")


def begun(session, statement):
    thread = threading.Thread(target=session.try_, args=(statement,), daemon=True)
    thread.start()
    time.sleep(0.7)
    return thread


def ended(thread, what):
    started = time.time()
    thread.join(30)
    took = time.time() - started
    case.check(f"{what} ends it", not thread.is_alive() and took < PATIENCE, f"after {took:.1f} s{', not yet' if thread.is_alive() else ''}")


forced = "debug_parallel_query" if case.major >= 16 else "force_parallel_mode"
PARALLEL = f"SET {forced} = on; SELECT sum(ltv_predict('slow', 1, ARRAY[m.size])) FROM alice.many m"
for what, how in (("pg_cancel_backend", "SELECT pg_cancel_backend(%s)"), ("pg_terminate_backend", "SELECT pg_terminate_backend(%s)")):
    for where, statement in (("a scan by rows", SLOW), ("a scan by arrays", "SELECT sum(ltv_predict('slow', 1, ARRAY[m.size])) FROM alice.many m"), ("a parallel worker", PARALLEL), ("an import", None)):
        victim = Session("alice")
        if statement is None:
            graph = graphs.product(6000, 100)
            thread = threading.Thread(target=victim.try_, args=("SELECT ltv_import_onnx('trial', %s)", [graph]), daemon=True)
            thread.start()
            time.sleep(0.7)
        else:
            thread = begun(victim, statement)
        admin.run(how, [victim.pid])
        ended(thread, f"{what} in {where}")
# The client goes away.
victim = Session("alice", options="-c client_connection_check_interval=300ms")
thread = begun(victim, SLOW)
pid = victim.pid
victim.connection.pgconn.finish()
gone = until(lambda: not admin.run("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]), 5)
case.check("a client that goes away ends it", gone)
# Others are not stopped by it, nor by its locks.
victim = Session("alice")
thread = begun(victim, SLOW)
bob.run("SET statement_timeout = '5s'")
outcome, took = bob.timed("SELECT ltv_predict('slow', ARRAY[3])")
case.check("bob scores with the same model meanwhile", outcome.ok and took < 1, f"{outcome} {took:.1f} s")
outcome, took = alice.timed("SELECT ltv_import_onnx('slow', %s)", [graphs.linear(1, 0)])
case.check("alice changes it meanwhile", outcome.ok and took < 1, f"{outcome} {took:.1f} s")
admin.run("SELECT pg_cancel_backend(%s)", [victim.pid])
ended(thread, "a cancel")
# A training whose code hears no cancel: a termination and the time limit end it all the same.
alice.run("""CREATE FUNCTION alice.deaf() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_sleep(60);
        EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
            NULL;
        END;
    END LOOP;
END $$""")
DEAF = "SELECT c.* FROM alice.customers c, (SELECT alice.deaf()) d"
job = alice.train("long", query=DEAF)
until(lambda: alice.status(job) == "running", 15)
time.sleep(1)
started = time.time()
admin.run("SELECT pg_terminate_backend(pid) FROM ltv_jobs WHERE job = %s", [job])
status = alice.ended(job, 15)
case.check("pg_terminate_backend ends a training that is deaf", status in ("canceled", "failed", "lost") and time.time() - started < PATIENCE, f"{status} after {time.time() - started:.1f} s")
job = alice.train("long", query=DEAF)
until(lambda: alice.status(job) == "running", 15)
started = time.time()
alice.run("SELECT ltv_cancel(%s)", [job])
status = alice.ended(job, 15)
case.check("ltv_cancel ends a training that is deaf", status == "canceled" and time.time() - started < 8 + PATIENCE, f"{status} after {time.time() - started:.1f} s")
admin.run("ALTER ROLE alice SET ltv.job_timeout = '2s'")
again = Session("alice")
# Who hears the cancel ends at once; for the deaf a worker waits some seconds before it ends itself.
for query, patience in ((DEAF, 8), ("SELECT c.* FROM alice.customers c, pg_sleep(60)", PATIENCE)):
    job = again.train("long", query=query)
    status = again.ended(job, 20)
    took = again.value("SELECT extract(epoch FROM duration)::float8 FROM ltv_jobs WHERE job = %s", [job])
    case.check(f"ltv.job_timeout ends {query[-30:]}", status in ("canceled", "failed", "lost") and took < 2 + patience, f"{status} after {took:.1f} s")
admin.run("ALTER ROLE alice RESET ltv.job_timeout")
# A training that reads or computes.
for what, query, options in (("reading", "SELECT c.* FROM alice.customers c, generate_series(1, 10000000) g", '{"epochs": 1}'), ("computing", "SELECT * FROM alice.customers", '{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}'),
                             ("scoring", "SELECT c.customer_id, c.a, ltv_predict('slow', 1, ARRAY[c.a]) AS b, c.ltv FROM alice.customers c, generate_series(1, 20)", '{"epochs": 1}')):
    job = alice.train("long", query=query, options=options)
    until(lambda: alice.status(job) == "running", 15)
    time.sleep(1)
    started = time.time()
    alice.run("SELECT ltv_cancel(%s)", [job])
    status = alice.ended(job, 15)
    took = time.time() - started
    case.check(f"ltv_cancel ends a training that is {what}", status == "canceled" and took < PATIENCE, f"{status} after {took:.1f} s")
# A fast shutdown, with one of each under way.
for statement in (SLOW, "SELECT sum(ltv_predict('slow', 1, ARRAY[m.size])) FROM alice.many m"):
    begun(Session("alice"), statement)
job = alice.train("long", "alice.customers", options='{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}')
until(lambda: alice.status(job) == "running", 15)
time.sleep(1)
started = time.time()
control("stop", "--mode=fast")
took = time.time() - started
case.check("a fast shutdown ends them all", took < PATIENCE + 1, f"after {took:.1f} s")
case.finish()
