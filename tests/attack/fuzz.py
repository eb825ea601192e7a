# long: yes
# settings: ltv.max_concurrent_jobs = 2
"""Every function of the extension with nasty values, as an ordinary role with models of its own, for two minutes or --seconds N, from --seed S.

No connection may be lost, no error be an internal one or show the inside, and no statement outlive its timeout."""

import argparse
import collections
import random
import re
import time

from tools import graphs
from tools.case import Case
from tools.values import Values

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=120)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--like", default="", help="only functions whose name contains this")
options = parser.parse_args()
# What PostgreSQL says when it meets what cannot be, and what a panic looks like.
INSIDE = re.compile(r"panicked|internal error|backtrace|unwrap|RUST_BACKTRACE|cache lookup failed|unrecognized node|index out of bounds|out of range for slice|\.rs:\d+|unreachable|called `|attempt to (add|subtract|multiply|divide|negate)", re.IGNORECASE)
TIMEOUT = 2
PATIENCE = 3

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
bob.trained("of bob", "bob.customers")
bob.run("SELECT ltv_grant('of bob', 'alice', 'read')")
alice.run("""
CREATE TYPE alice.pair AS (a real, b text); CREATE DOMAIN alice.positive AS float8 CHECK (value > 0); CREATE DOMAIN alice.words AS text[] CHECK (cardinality(value) < 5);
CREATE TYPE alice.mood AS ENUM ('sad', 'ok'); CREATE TYPE alice.nested AS (a alice.pair, b alice.pair[]);
CREATE TABLE alice.odd ("a""b" int, "select" float8, "ü" text, " " date, "%s" numeric, "a" alice.mood, b alice.pair);
INSERT INTO alice.odd SELECT i, i, 'x', 'infinity', 'NaN', 'ok', ROW(i, 'x')::alice.pair FROM generate_series(1, 30) i;
CREATE TABLE alice.dropped AS SELECT * FROM alice.customers; ALTER TABLE alice.dropped DROP b, ADD b text DEFAULT 'x', ADD c jsonb; ALTER TABLE alice.dropped ALTER a TYPE numeric;
CREATE TABLE alice.wide AS SELECT i AS customer_id, i AS a, i AS b, i::float8 AS ltv FROM generate_series(1, 5) i;
CREATE TABLE alice.sequences AS SELECT customer_id, a, ARRAY[[a, b], [b, a]]::real[] AS s, ltv FROM alice.customers;
SELECT ltv_create_features('alice.features', 'alice.orders', date_column => 'day', value_column => 'amount', horizon => 90);
""")
alice.run("DO $$ BEGIN FOR i IN 1..600 LOOP EXECUTE format('ALTER TABLE alice.wide ADD w%s int', i); END LOOP; END $$")
for model, table in (("m", "customers"), ("m", "customers"), ("featured", "features")):
    alice.trained(model, f"alice.{table}")
alice.trained("sequences", "alice.sequences", backbone="lstm")
alice.run("SELECT ltv_import_onnx('imported', %s)", [graphs.linear(1, 0)])
HONEST = [graphs.linear(1, 0), graphs.mean(["N", 2]), alice.value("SELECT ltv_export_onnx('m')"), alice.value("SELECT ltv_export_onnx('sequences')")]
FUNCTIONS = admin.run("""
SELECT n.nspname || '.' || quote_ident(p.proname), p.proretset, p.proargnames, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i) ORDER BY i), p.pronargdefaults, p.provariadic <> 0
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_ltv'
WHERE p.prokind IN ('f', 'a') AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype) AND NOT p.proargtypes::oid[] && ARRAY['internal', 'cstring']::regtype[]::oid[] AND strpos(p.proname, %s) > 0 ORDER BY 1, 4""", [options.like])
VIEWS = [row[0] for row in admin.run("SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'v' AND (c.relnamespace = 'ltv'::regnamespace OR c.relname LIKE 'ltv\\_%') ORDER BY 1")]
admin.run("LOAD 'pg_ltv'")
GUCS = admin.run("SELECT name, vartype, min_val, max_val FROM pg_settings WHERE name LIKE 'ltv.%' AND context = 'user' ORDER BY 1")
admin.run(f"ALTER ROLE alice SET statement_timeout = '{TIMEOUT}s'; ALTER ROLE alice SET lock_timeout = '{TIMEOUT}s'; ALTER ROLE alice SET client_min_messages = error")
alice.close()
alice.open()
r = random.Random(options.seed)
values = Values(r, HONEST)


def call():
    """A statement over one function."""
    name, is_set, names, types, defaults, variadic = r.choice(FUNCTIONS)
    names = names or [""] * len(types)
    count = len(types) - (r.randrange(defaults + 1) if defaults else 0) - variadic
    given = [values.of(kind, argument) for kind, argument in zip(types[:count], names)]
    # Those in between may be left out where the others have names.
    if all(names[:len(types)]) and defaults and r.random() < 0.4 and not variadic:
        needed = len(types) - defaults
        given = [f"{names[place]} => {values.of(types[place], names[place])}" for place in range(len(types)) if place < needed or r.random() < 0.4]
    text = f"{name}({', '.join(given)})"
    if is_set:
        return f"SELECT * FROM {text} LIMIT 50"
    kind = r.random()
    if kind < 0.7:
        return f"SELECT {text}"
    if kind < 0.8 and "predict" in name:
        return f"SELECT {text}, {text} FROM alice.customers ORDER BY 1 LIMIT 5"
    if kind < 0.9:
        return f"EXPLAIN (VERBOSE) SELECT {text}"
    return f"SELECT * FROM {text} LIMIT 50"


def other():
    """Whatever else goes by the extension."""
    kind = r.randrange(6)
    if kind == 0:
        return f"SELECT * FROM {r.choice(VIEWS)} LIMIT 50"
    if kind == 1:
        name, vartype, low, high = r.choice(GUCS)
        return f"SELECT set_config('{name}', {r.choice(['NULL', repr(low or 'm'), repr(high or 'x'), repr('on'), repr('off'), repr('m')])}, {r.choice(['true', 'false'])})"
    target = r.choice(("ltv_predict", "ltv_predict_all", "ltv_predict_proba"))
    source = r.choice(("alice.customers", "alice.features", "alice.odd", "alice.dropped", "alice.wide", "alice.sequences"))
    model = r.choice(("'m'", "'featured'", "'sequences'", "'imported'", "'of bob'", "NULL", "'none'"))
    if kind == 2:
        return f"SELECT count({target}({model}, t)) FROM {source} t"
    if kind == 3:
        return f"SELECT {target}({model}, {r.choice(('1', '2', '-1', 'NULL'))}, t) FROM {source} t WHERE ltv_predict({model}, to_jsonb(t)) > {r.choice(('0', 'NULL'))} LIMIT 3"
    if kind == 4:
        return f"SELECT ltv_predict({model}, q) FROM (SELECT {', '.join(f'{values.raw_value()} AS {name}' for name in ('a', 'b'))} FROM generate_series(1, 20)) q"
    return f"SELECT g, avg(ltv_predict({model}, t)) FROM {source} t, generate_series(1, 3) g GROUP BY g ORDER BY 2 LIMIT 2"


def raw_value():
    from tools.values import VALUES
    return r.choice(VALUES)


values.raw_value = raw_value
states, calls = collections.Counter(), 0
found = {}
began = time.time()
tidied = began
while time.time() - began < options.seconds:
    statement = call() if r.random() < 0.85 else other()
    calls += 1
    kept = r.random() < 0.15  # most are rolled back, so that the models stay
    if not kept:
        alice.try_("BEGIN")
    outcome, took = alice.timed(statement)
    states[outcome.state or "ok"] += 1
    texts = " ".join(filter(None, (outcome.message, outcome.detail, outcome.hint)))
    key = re.search(r"(\w+\.)?\w+\(", statement)
    problem = None
    if outcome.lost:
        problem = "lost connection"
    elif (outcome.state or "").startswith("XX"):
        problem = "class XX"
    elif not outcome.ok and INSIDE.search(texts):
        problem = "shows the inside"
    elif took > TIMEOUT + PATIENCE:
        problem = f"took {took:.1f} s"
    # An operator that does not stop ends its session, as docs/security.md says.
    stopped = outcome.state == "57014" and alice.closed
    ended = outcome if stopped else alice.try_("ROLLBACK" if not kept else "SELECT 1")
    if ended.lost and not problem:
        problem = "lost connection afterwards"
    if problem:
        found.setdefault((problem.split(" s")[0][:6], key and key[0], (outcome.message or "")[:40]), f"{problem}: {outcome} ({outcome.detail}; {outcome.hint})\n         call {calls} of seed {options.seed}: {statement[:1500]}")
    if alice.closed:
        alice.again()
    if time.time() - tidied > 5:
        # So that it does not end as a test of the queue, and what was dropped is there again.
        alice.try_("SELECT ltv_cancel(job) FROM ltv_jobs WHERE status IN ('queued', 'running') AND created_at < now() - interval '3 s'")
        alice.try_("RESET ALL")
        for model, version in (("m", 1), ("m", 2), ("featured", 1), ("sequences", 1)):
            if not alice.try_(f"SELECT ltv_predict('{model}', '{{}}'::jsonb)").ok and "does not exist" in str(alice.try_(f"SELECT ltv_predict('{model}', '{{}}'::jsonb)").message):
                alice.try_(f"SELECT ltv_import_onnx('{model}', %s, promote => true)", [HONEST[2]])
        tidied = time.time()
print(f"{calls} calls of {len(FUNCTIONS)} functions in {time.time() - began:.0f} s; SQLSTATEs: {dict(states.most_common(40))}")
for text in found.values():
    case.check("fuzz", False, text)
jobs = admin.run("SELECT job, sqlstate, message, left(recipe::text, 300) FROM ltv.jobs WHERE sqlstate LIKE 'XX%' OR message ~* 'panick|internal error|unwrap' LIMIT 10")
case.check("no job ended by an internal error", not jobs, jobs)
lost = admin.run("SELECT job, message, left(recipe::text, 600) FROM ltv.jobs WHERE status = 'lost' LIMIT 10")
case.check("no job was lost", not lost, lost)
case.check("the functions are known", calls > 100 and states["ok"] > 50, states["ok"])
case.finish()
