"""Files for ltv_import_model that were made to do harm: bytes changed, cut and swapped; documents changed in any place and signed again; SQL in them.

No connection may be lost and no error be an internal one. What is let in must be readable by everything that reads a version, and no SQL of the file ever
runs: not when it is imported, and not when the version is evaluated, retrained, explained or shown."""

import argparse
import collections
import copy
import hashlib
import json
import random
import struct

from tools.case import Case

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=500)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
r = random.Random(options.seed)

case = Case()
alice, bob, admin = case.alice, case.bob, case.admin
case.customers(alice, bob)
bob.trained("m", "bob.customers")
alice.trained("trees", "alice.customers", backbone="trees", options='{"rounds": 5}')
alice.run("SET client_min_messages = error")
FILES = [bytes(bob.value("SELECT ltv_export_model('m')")), bytes(alice.value("SELECT ltv_export_model('trees')"))]
HEADER = 60


def signed(document, graph, form=1):
    """A file as ltv_export_model makes it, whatever is in it."""
    head = b"pg_ltv\r\n" + struct.pack("<IQQ", form, len(document), len(graph))
    return head + hashlib.sha256(head + document + graph).digest() + document + graph


def parts(file):
    length = struct.unpack("<Q", file[12:20])[0]
    return json.loads(file[HEADER:HEADER + length]), file[HEADER + length:]


for file in FILES:
    document, graph = parts(file)
    case.check("no SQL goes out", "SELECT" not in json.dumps(document) and "search_path" not in json.dumps(document), document["recipe"])

# Every function that reads a version by what is kept with it.
READERS = ["ltv_model_card('{0}')", "ltv_model_card_markdown('{0}')", "ltv_feature_info('{0}')", "ltv_training_info('{0}')", "ltv_evaluate('{0}')", "ltv_evaluate('{0}', 'alice.customers')", "ltv_horizons('{0}')",
           "ltv_validate_data_skew('{0}', 'alice.customers')", "ltv_monitor('{0}', 'alice.customers')", "ltv_segment_summary('{0}', 'alice.customers')", "ltv_feature_importance('{0}', metric => 'gain')", "ltv_feature_importance('{0}')",
           "ltv_explain_predict('{0}', 'SELECT * FROM alice.customers LIMIT 5', background => 'alice.customers', samples => 8)", "ltv_selection_weights('{0}')", "ltv_comparison('{0}')", "ltv_report('{0}')", "ltv_report('{0}', 'alice.customers')", "ltv_training_report('{0}')",
           "ltv_retrain('{0}')", "ltv_backtest('{0}')", "ltv_export_model('{0}')", "ltv_export_onnx('{0}', external_client => true)", "ltv_quantize('{0}')"]
READERS += [f"count({score}) FROM alice.customers c"
            for score in ("ltv_predict_all('{0}', c)", "ltv_predict_interval('{0}', c, 0.8)", "ltv_predict_quantile('{0}', c, 0.5)", "ltv_predict_curve('{0}', c)", "ltv_predict_state('{0}', c)")]
states = collections.Counter()
stored = 0


def harmless(statement, parameters=None):
    """Whether it ended as a statement may; what it ended with."""
    outcome = alice.try_(statement, parameters)
    bad = outcome.lost or (outcome.state or "").startswith("XX")
    if bad:
        case.check("harmless", False, f"{outcome} by {statement} of seed {options.seed}")
    if alice.closed:
        alice.again()
    return outcome


def attempt(file, what, readers=6):
    """Imported in a transaction that is rolled back; some of what reads versions, drawn by lot, reads what was let in."""
    global stored
    harmless("BEGIN")
    outcome = harmless("SELECT ltv_import_model(%s, 'x')", [file])
    states[outcome.state or "ok"] += 1
    if outcome.ok:
        stored += 1
        for call in r.sample(READERS, min(readers, len(READERS))):
            harmless("SAVEPOINT s")
            harmless(f"SELECT {call.format('x')}")
            harmless("ROLLBACK TO s")
        recipe = json.loads(alice.value("SELECT recipe FROM ltv_versions WHERE model = 'x'"))
        case.check("no SQL was stored", not {"query", "relation", "search_path", "reads", "base", "relation_followed"} & recipe.keys(), f"{recipe} by {what}")
    harmless("ROLLBACK")
    return outcome


# Bytes.
for turn in range(options.rounds):
    file = bytearray(r.choice(FILES))
    kind = r.randrange(6)
    if kind == 0:
        file[r.randrange(len(file))] ^= 1 << r.randrange(8)
    elif kind == 1:
        del file[r.randrange(len(file)):]
    elif kind == 2:
        at = r.randrange(HEADER)
        file[at:at + 8] = struct.pack("<Q", r.choice((0, 1, 2 ** 31, 2 ** 63, 2 ** 64 - 1, len(file))))
    elif kind == 3:
        file = bytearray(r.randbytes(r.randrange(200)))
    elif kind == 4:
        file += r.randbytes(r.randrange(1, 50))
    else:
        a, b = sorted(r.randrange(len(file)) for _ in range(2))
        file[a:b] = file[a:b][::-1]
    if bytes(file) in FILES:
        continue
    outcome = harmless("SELECT ltv_import_model(%s, 'x')", [bytes(file)])
    states[outcome.state or "ok"] += 1
    if outcome.ok:
        case.check("no changed file is let in", False, f"turn {turn} of seed {options.seed}")

# Documents, signed again.
ODD = [None, True, 0, -1, 1, 1.5, 1e300, -1e300, 2 ** 31, 2 ** 63, 2 ** 64, "", "x", "ltv", "NaN", "1; SELECT alice.spy('x')", "'||alice.spy('x')||'", "x" * 5000, "\u0000", "ü\U0001f600", [], {}, [None], [1, 2, 3], ["a"], {"a": 1}, [[1]], {"name": "x"},
       {"kind": "vector", "len": 10 ** 12, "name": "a"}, {"tiers": [], "moves": [[0]] * 4}]


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, path + (key,))


def changed(document):
    document = copy.deepcopy(document)
    for _ in range(r.choice((1, 1, 1, 2, 5))):
        path = r.choice([path for path in places(document) if path] or [()])
        if not path:
            return document
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        last = path[-1]
        kind = r.randrange(5)
        if kind == 0:
            del holder[last]
        elif kind == 1 and isinstance(holder, dict):
            holder[r.choice(("query", "more", "relation", "features", "search_path", last))] = r.choice(ODD)
        elif kind == 2 and isinstance(holder[last], (int, float)) and not isinstance(holder[last], bool):
            holder[last] = r.choice((holder[last] * r.uniform(-2, 2), -holder[last], holder[last] + 1, 0, 1e308))
        elif kind == 3 and isinstance(holder, list):
            holder.insert(r.randrange(len(holder) + 1), copy.deepcopy(r.choice(holder)))
        else:
            holder[last] = copy.deepcopy(r.choice(ODD))
    return document


for turn in range(options.rounds):
    document, graph = parts(FILES[turn % len(FILES)])
    kind = r.randrange(12)
    if kind == 0:
        graph = parts(FILES[(turn + 1) % len(FILES)])[1]
    elif kind == 1:
        at = r.randrange(len(graph))
        graph = graph[:at] + bytes([graph[at] ^ (1 << r.randrange(8))]) + graph[at + 1:]
    written = json.dumps(changed(document))
    if kind == 2:
        at = r.randrange(len(written))
        written = written[:at] + r.choice("{}[]\",:0e-\\") + written[at + r.randrange(3):]
    attempt(signed(written.encode("utf-8", "surrogatepass"), graph), f"turn {turn} of seed {options.seed}")

# Large and deep.
document, graph = parts(FILES[0])
for what, text in (("deep", b"[" * 1_000_000), ("deep objects", b'{"a":' * 1_000_000), ("long", b'"' + b"x" * 30_000_000 + b'"'), ("many", b"[" + b"0," * 20_000_000 + b"0]"),
                   ("many columns", json.dumps({**document, "schema": {**document["schema"], "inputs": [{"name": f"c{i}", "kind": "numeric"} for i in range(200_000)]}}).encode()), ("no UTF-8", b"\xff\xfe"),
                   ("twice", json.dumps(document).encode()[:-1] + b', "model": "y"}')):
    outcome = attempt(signed(text, graph), what)
    case.check(f"refused: {what}", not outcome.ok and outcome.state in ("22P03", "54000", "53200", "22P05"), outcome)
case.check("a newer format is refused as such", attempt(signed(json.dumps(document).encode(), graph, 2), "newer").state == "0A000", "")
case.check("honest files are let in", all(attempt(file, "honest", len(READERS)).ok for file in FILES), "")
case.check("some changed documents are let in, and were read", stored > 20, stored)

# The query of the training is nowhere, so that nobody can be made to run another one.
spying, graph = parts(FILES[0])
for path in (("recipe", "query"), ("recipe", "relation"), ("recipe", "search_path"), ("recipe", "base"), ("recipe", "reads"), ("query",), ("recipe", "options", "query"), ("schema", "query"), ("statistics", "query"), ("metrics", "query")):
    with_sql = copy.deepcopy(spying)
    holder = with_sql
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "SELECT *, alice.spy('in the file') FROM alice.customers"
    outcome = admin.try_("SELECT ltv_import_model(%s, 'spying')", [signed(json.dumps(with_sql).encode(), graph)])
    case.check(f"SQL at {'.'.join(path)} is refused", outcome.state == "22P03", outcome)

# A model of others: no import into it, no look at it.
for statement, wanted in (("SELECT ltv_import_model(%s, 'm')", "42501"), ("SELECT ltv_import_model(%s)", "42501")):
    outcome = alice.try_(statement, [FILES[0]])
    case.check(f"refused: {statement}", outcome.state == wanted, outcome)
outcome = alice.try_("SELECT ltv_export_model('m')")
case.check("no export of a model of others", outcome.state == "42704", outcome)
case.only("no SQL of a file ever ran", ())
print(f"{2 * options.rounds} files, {stored} let in; SQLSTATEs: {dict(states.most_common())}")
case.finish()
