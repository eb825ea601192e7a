"""Hostile graphs, imported by alice and scored with; see hostile_graphs.py."""

import random
import time

from tools import graphs
from tools.case import Case, Session

PATIENCE = 3
FILES = ("/etc/passwd", "PG_VERSION", "../../../../../../etc/passwd", "postmaster.pid", "/dev/zero", "/proc/self/environ", "")
INPUTS = ("ARRAY[1]", "ARRAY[1e6]", "'{\"x\": 5}'::jsonb", "ARRAY['NaN']::float8[]", "ARRAY[-1e30, 1e38]", "ARRAY[12345]")


def hostile():
    """Names and graphs."""
    sizes = (10**6, 10**9, 10**10, 10**12, 2**31, 2**32 + 1, 2**60, 2**62, 2**63 - 1)
    for size in sizes:
        yield f"{size} columns", graphs.mean(["N", size])
        yield f"a sequence of {size} channels", graphs.mean(["N", "T", size])
        yield f"a sequence of {size} steps", graphs.mean(["N", size, 4])
        yield f"{size} by {size}", graphs.mean(["N", size, size])
        yield f"a constant that claims {size} entries", graphs.model([graphs.node("Add", ["x", "w"], ["ltv"])], constants=[graphs.claimed("w", [size])])
        yield f"a constant in a node that claims {size}", graphs.model([graphs.node("Constant", [], ["w"], value=graphs.claimed("v", [size, size])), graphs.node("Add", ["x", "w"], ["ltv"])])
        yield f"filled with {size}", graphs.filled(size)
        yield f"expanded to {size}", graphs.expanded(size)
        yield f"padded to {size}", graphs.padded(size)
        yield f"one of {size}", graphs.one_hot(size)
        yield f"tiled {size} times", graphs.tiled(size)
        yield f"tiled {size} times to the right", graphs.tiled(size, 1)
        yield f"gathers at {size}", graphs.gather(size)
    for shape in ([0], ["N", 0], ["N", "K"], ["N", "K", "L"], [], ["N"], ["N", 1, 1, 1, 1, 1, 1, 1], [-1, -1], ["N", -5], [2**40, 1], [0, 1], ["N"] * 100):
        yield f"of shape {str(shape)[:30]}", graphs.model([graphs.node("ReduceSum", ["x"], ["s"], keepdims=0), graphs.node("Expand", ["s", "d"], ["ltv"])], [graphs.value("x", shape)],
                                                          constants=[graphs.constant("d", [1, 1], "int64")])
    for levels in (20, 30, 40, 62):
        yield f"doubled {levels} times", graphs.doubling(levels)
        yield f"functions that call each other twice, {levels} levels", graphs.doubling_functions(levels)
    yield "a function that calls itself", graphs.recursive_function()
    for n in (2000, 20000, 100000):
        yield f"a product of {n} by {n}", graphs.product(n)
        yield f"filled with {n} by {n}", graphs.filled(n, n)
    yield "products one after the other", graphs.product(1500, 40)
    yield "a range without end", graphs.ranged(1e12)
    yield "a range with NaN", graphs.ranged(float("nan"))
    for trips in (10**6, 2**62):
        yield f"a loop of {trips}", graphs.loop(trips)
    for name in ("endless_loop", "scan", "loop_in_function", "loop_by_feature", "lying_shape", "lying_type", "fewer_rows", "no_rows", "rows_by_feature", "not_finite_by_feature", "gather_by_feature", "divides_by_feature", "product_by_feature"):
        yield name.replace("_", " "), getattr(graphs, name)()
    yield "loops in loops", graphs.nested_loops(6)
    yield "a branch", graphs.branch([graphs.node("Neg", ["x"], ["then_o"])])
    for scale in (1000.0, 1e9, float("inf"), float("nan"), -1.0, 0.0):
        yield f"resized by {scale}", graphs.resized(scale)
    for kernel in (10000, 2**31 - 1, 2**62):
        yield f"convolved with {kernel}", graphs.convolved(kernel)
    for length in (1000, 20000):
        yield f"a chain of {length}", graphs.chain("Neg", length)
    for depth in (50, 200, 1000, 20000, 200000):
        yield f"branches {depth} deep", graphs.deep_branches(depth)
    for what in (float("nan"), float("inf"), float("-inf"), 3e38):
        yield f"gives {what}", graphs.not_finite(what)
    yield "a label of a million letters", graphs.strings(10**6)
    yield "a tree in a circle", graphs.trees(50)
    for file in FILES:
        for kind in ("initializer", "constant", "sparse", "in_branch", "in_attribute_list"):
            yield f"reads {file}, {kind}", getattr(graphs, f"external_{kind}")(file)
    yield "nothing", b""
    yield "a million zeros", bytes(10**6)
    yield "lengths without end", b"\x3a" + b"\xff" * 9 + b"\x7f"
    yield "a group in a group", b"\x0b" * 100000
    yield "a field of every number", b"".join(graphs.varint(number << 3) + b"\1" for number in range(1, 2000))
    yield "two graphs", graphs.linear(1, 0) * 2
    yield "a thousand graphs", graphs.linear(1, 0) * 1000


def mutated(honest, r):
    data = bytearray(r.choice(honest))
    for _ in range(r.choice((1, 1, 2, 4, 16))):
        place = r.randrange(len(data))
        kind = r.randrange(6)
        if kind == 0:
            data[place] = r.randrange(256)
        elif kind == 1:
            data[place] ^= 1 << r.randrange(8)
        elif kind == 2:
            del data[place:place + r.randrange(1, 12)]
        elif kind == 3:
            data[place:place] = bytes(r.randrange(256) for _ in range(r.randrange(1, 6)))
        elif kind == 4:
            data[place:place] = graphs.varint(r.choice((2**31, 2**32, 2**63 - 1, 2**64 - 1, 10**10)))
        else:
            other = r.choice(honest)
            start = r.randrange(len(other))
            data[place:place + 8] = other[start:start + r.randrange(1, 40)]
        data = data or bytearray(b"\0")
    return bytes(data)


def attack(mutations, seed=13):
    case = Case()
    alice, bob, admin = case.alice, case.bob, case.admin
    case.customers(alice, bob)
    bob.trained("m", "bob.customers")
    bob.run("SET statement_timeout = '10s'")
    watching = "SELECT count(ltv_predict('m', c)) FROM bob.customers c"
    bob.run(watching)
    seconds = 2
    alice.run(f"SET statement_timeout = '{seconds}s'")
    counts = {"imported": 0, "refused": 0}

    def attempt(what, statement, parameters=None):
        outcome, took = alice.timed(statement, parameters)
        fine = not outcome.lost and not (outcome.state or "").startswith("XX") and took < seconds + PATIENCE
        if not fine:
            case.check(f"{what}: {statement}", False, f"{outcome}, {took:.1f} s")
        if "panicked" in str(outcome) or "backtrace" in str(outcome):
            case.check(f"{what}: {statement} says nothing of the inside", False, outcome)
        if alice.closed:
            alice.again()
            alice.run(f"SET statement_timeout = '{seconds}s'")
        seen = bob.try_(watching)
        if seen.lost:
            case.check(f"{what}: bob's session lives", False, f"{statement} {outcome}")
            bob.again()
        return outcome

    def try_graph(what, graph):
        outcome = attempt(what, "SELECT ltv_import_onnx('hostile', %s, promote => true)", [graph])
        counts["imported" if outcome.ok else "refused"] += 1
        if outcome.ok:
            for given in INPUTS:
                attempt(what, f"SELECT ltv_predict('hostile', {given})")
            attempt(what, "SELECT count(ltv_predict_all('hostile', ARRAY[a])) FROM alice.customers")
            attempt(what, "SELECT ltv_quantize('hostile')")
            attempt(what, "SELECT count(*) FROM ltv_feature_info('hostile')")
        return outcome

    started = time.time()
    for what, graph in hostile():
        outcome = try_graph(what, graph)
        if what.startswith("reads "):
            case.check(f"a graph that {what} is refused", not outcome.ok, outcome)
    case.check(f"hostile graphs: {counts}, {time.time() - started:.0f} s", counts["refused"] > 50 and counts["imported"] > 0)
    # The second argument of the import, with an honest graph.
    honest = graphs.mean(["N", 3])
    for features in ("'{}'", "'{a}'", "'{a,b,c}'", "'{a,a,a}'", "'{NULL,b,c}'", "'{{a,b,c}}'", "'[5:7]={a,b,c}'", "(SELECT array_agg('c' || i) FROM generate_series(1, 100000) i)", "ARRAY[repeat('x', 1000000), 'b', 'c']"):
        attempt(f"features {features}", f"SELECT ltv_import_onnx('hostile', %s, features => {features}::text[])", [honest])
    for outputs in ("{}", "[]", "null", '{"ltv": 5}', '{"ltv": "none"}', '{"ltv": "ltv", "mu": "ltv", "sigma": "ltv"}', '{"quantiles": []}', '{"quantiles": {"0.5": "ltv"}}', '{"ltv": null}', '{"": ""}', '{"classes": 1e400}'):
        attempt(f"outputs {outputs}", "SELECT ltv_import_onnx('hostile', %s, outputs => %s::jsonb)", [honest, outputs])
    for given in ("ARRAY[]::real[]", "(SELECT array_agg(1) FROM generate_series(1, 5000000))", "ARRAY[[1, 2], [3, 4]]", "NULL::real[]", "(SELECT jsonb_build_object('x', (SELECT jsonb_agg(1) FROM generate_series(1, 1000000))))",
                  "('{\"x\": ' || repeat('[', 6000) || repeat(']', 6000) || '}')::jsonb", "'{\"x\": 1e400}'::jsonb"):
        attempt("wide input", f"SELECT ltv_predict('hostile', {given})")
    r = random.Random(seed)
    trained = bob.value("SELECT ltv_export_onnx('m')")
    sources = [graphs.linear(1, 2), graphs.mean(["N", "T", 3]), graphs.gather(1), graphs.strings(3), graphs.padded(3), graphs.one_hot(5), graphs.branch([graphs.node("Neg", ["x"], ["then_o"])]), trained, trained, trained]
    before = dict(counts)
    started = time.time()
    for number in range(mutations):
        graph = mutated(sources, r)
        outcome = attempt(f"mutation {number} of seed {seed}", "SELECT ltv_import_onnx('mutated', %s, promote => true)", [graph])
        counts["imported" if outcome.ok else "refused"] += 1
        if outcome.ok:
            attempt(f"mutation {number} of seed {seed}", "SELECT ltv_predict('mutated', '{\"a\": 5, \"b\": 7, \"x\": 1}'::jsonb)")
            attempt(f"mutation {number} of seed {seed}", "SELECT ltv_predict('mutated', ARRAY[3])")
    case.check(f"mutations: {({name: counts[name] - before[name] for name in counts})}, {time.time() - started:.0f} s", counts["imported"] > before["imported"])
    another = Session("bob")
    case.check("bob scores in a new session", another.try_(watching).ok)
    case.check("bob trains", bob.ended(bob.train("m", "bob.customers")) == "succeeded")
    assert admin
    case.finish()
