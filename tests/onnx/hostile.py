"""Prints tests/onnx/hostile.sql: small graphs that ask for much, break promises or are broken, as psql variables in base64.

`python tests/onnx/hostile.py`, with onnx 1.17 or newer and numpy; see graphs.py.
"""

import base64
import random

import numpy as np
from onnx import TensorProto, helper

from graphs import FLOAT, INT64, STRING, constant, linear, model, node, value, ziln

BOOL, DOUBLE = TensorProto.BOOL, TensorProto.DOUBLE
X, Y = value("x", ["N", 1]), value("ltv", ["N", 1])


def made(nodes, inputs, outputs, constants=()):
    return model(nodes, inputs, outputs, constants, check=False)


def wide(width):
    return made([node("ReduceMean", ["x"], ["ltv"], axes=[1], keepdims=1)], [value("x", ["N", width])], [Y])


def steps(channels):
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0), node("Unsqueeze", ["m", "a"], ["ltv"])]
    return made(nodes, [value("x", ["N", "T", channels])], [Y], [constant("a", [1], np.int64)])


def loop():
    """x steps that add nothing; quick for the rows of an import."""
    body = helper.make_graph([node("Identity", ["go_in"], ["go_out"]), node("Add", ["v_in", "one"], ["v_out"])], "body",
                             [value("i", [], INT64), value("go_in", [], BOOL), value("v_in", ["N", 1])],
                             [value("go_out", [], BOOL), value("v_out", ["N", 1])], [constant("one", 0)])
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["trips"], to=INT64), node("Sub", ["x", "x"], ["zero"]),
             node("Loop", ["trips", "go", "zero"], ["ltv"], body=body)]
    return made(nodes, [X], [Y], [constant("go", True, bool)])


def long_chain(links):
    """Many operators on a large matrix that is computed: some seconds, each operator short."""
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Mul", ["m", "zero"], ["z"]), node("Expand", ["z", "shape"], ["v0"])]
    nodes += [node("Sin", [f"v{i}"], [f"v{i + 1}"]) for i in range(links)]
    nodes += [node("ReduceMax", [f"v{links}"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])]
    return made(nodes, [X], [Y], [constant("zero", 0), constant("shape", [1000, 1000], np.int64)])


def one_operator(size):
    """A convolution that takes minutes, as one operator."""
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Mul", ["m", "zero"], ["z"]), node("Expand", ["z", "long"], ["a"]), node("Expand", ["z", "short"], ["b"]),
             node("Conv", ["a", "b"], ["c"]), node("ReduceMax", ["c"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])]
    return made(nodes, [X], [Y], [constant("zero", 0), constant("long", [1, 1, size], np.int64), constant("short", [1, 1, size // 2], np.int64)])


def doubling(times):
    """2 ** times numbers, all of them constant."""
    nodes = [node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(times)]
    nodes += [node("ReduceSum", [f"c{times}"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])]
    return made(nodes, [X], [Y], [constant("c0", [1.0])])


def doubling_text(times):
    """The same with strings."""
    nodes = [node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(times)]
    nodes += [node("Shape", [f"c{times}"], ["s"]), node("Cast", ["s"], ["r"], to=FLOAT), node("Add", ["x", "r"], ["ltv"])]
    text = helper.make_tensor("c0", STRING, [1], [b"x" * 1000])
    return made(nodes, [X], [Y], [text])


def square(side):
    nodes = [node("ConstantOfShape", ["s"], ["m"], value=helper.make_tensor("v", FLOAT, [1], [0.5])), node("MatMul", ["m", "m"], ["mm"]),
             node("ReduceMean", ["mm"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])]
    return made(nodes, [X], [Y], [constant("s", [side, side], np.int64)])


def sized_by_value():
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["n"], to=INT64), node("Range", ["zero", "n", "one"], ["many"]),
             node("Shape", ["many"], ["s"]), node("Cast", ["s"], ["r"], to=FLOAT), node("Add", ["x", "r"], ["ltv"])]
    return made(nodes, [X], [Y], [constant("zero", 0, np.int64), constant("one", 1, np.int64)])


def function(depth, calls):
    """A function that calls another so often, which calls another ..."""
    graph = made([node("F0", ["x"], ["ltv"], domain="f")], [X], [Y])
    graph.opset_import.append(helper.make_opsetid("f", 1))
    for i in range(depth):
        last = i == depth - 1
        body = [node("Neg" if last else f"F{i + 1}", [f"t{c}" if c else "a"], [f"t{c + 1}" if c < calls - 1 else "b"], domain="" if last else "f") for c in range(calls)]
        graph.functions.append(helper.make_function("f", f"F{i}", ["a"], ["b"], body, [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]))
    return graph


def function_with_loop():
    inner = loop()
    nodes = list(inner.graph.node) + [node("Constant", [], ["go"], value=helper.make_tensor("t", BOOL, [], [True]))]
    graph = made([node("F", ["x"], ["ltv"], domain="f")], [X], [Y])
    graph.opset_import.append(helper.make_opsetid("f", 1))
    graph.functions.append(helper.make_function("f", "F", ["x"], ["ltv"], [nodes[-1]] + nodes[:-1], [helper.make_opsetid("", 17)]))
    return graph


def endless_tree():
    """A node whose branch leads back to it."""
    tree = node("TreeEnsembleRegressor", ["x"], ["ltv"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
                nodes_modes=["BRANCH_LEQ", "LEAF", "BRANCH_LEQ"], nodes_values=[1000.0, 0.0, 1000.0], nodes_truenodeids=[1, 0, 1], nodes_falsenodeids=[2, 0, 2],
                target_treeids=[0], target_nodeids=[1], target_ids=[0], target_weights=[1.0])
    return made([tree], [X], [Y])


def lying(kind):
    return {
        "many_rows": lambda: made([node("Tile", ["x", "r"], ["ltv"])], [X], [Y], [constant("r", [3, 1], np.int64)]),
        "few_rows": lambda: made([node("Slice", ["x", "z", "o"], ["ltv"])], [X], [Y], [constant("z", [0], np.int64), constant("o", [1], np.int64)]),
        "no_rows": lambda: made([node("Slice", ["x", "z", "z"], ["ltv"])], [X], [value("ltv", None)], [constant("z", [0], np.int64)]),
        "text_output": lambda: made([node("Cast", ["x"], ["ltv"], to=STRING)], [X], [value("ltv", ["N", 1], STRING)]),
        "lying_type": lambda: made([node("Cast", ["x"], ["ltv"], to=DOUBLE)], [X], [Y]),
        "cyclic": lambda: made([node("Add", ["x", "b"], ["a"]), node("Add", ["a", "x"], ["b"]), node("Identity", ["b"], ["ltv"])], [X], [Y]),
        "beyond": lambda: made([node("Gather", ["t", "i"], ["g"]), node("Add", ["x", "g"], ["ltv"])], [X], [Y], [constant("t", [1, 2, 3]), constant("i", [2_000_000_000], np.int64)]),
    }[kind]()


def claimed(dimensions):
    """An initializer of four bytes that says that it is larger."""
    graph = made([node("Add", ["x", "w"], ["ltv"])], [X], [Y])
    w = graph.graph.initializer.add()
    w.name, w.data_type, w.raw_data = "w", FLOAT, b"\0\0\0\0"
    w.dims.extend(dimensions)
    return graph


GRAPHS = {
    "wide_9": wide(10**9), "wide_62": wide(2**62), "no_columns": wide(0), "any_width": wide("K"), "steps_12": steps(10**12), "any_steps": steps("K"),
    "loop": loop(), "long_chain": long_chain(2000), "one_operator": one_operator(4_000_000), "doubling": doubling(30), "doubling_text": doubling_text(24),
    "square": square(100_000), "sized_by_value": sized_by_value(), "laughs": function(8, 10), "functions": function(2, 3), "function_with_loop": function_with_loop(),
    "own_domain": made([node("Evil", ["x"], ["ltv"], domain="com.evil")], [X], [Y]), "endless_tree": endless_tree(),
    "claimed": claimed([2**40]), "negative": claimed([-5]), "wrapping": claimed([2**33, 2**33]),
    **{name: lying(name) for name in ("many_rows", "few_rows", "no_rows", "text_output", "lying_type", "cyclic", "beyond")},
}


def mutated(seed):
    """A small graph with one of its parts taken away, doubled, or put in another's place."""
    r = random.Random(seed)
    graph = r.choice([linear(1, 10), ziln(), function(2, 2), square(3), doubling(3), endless_tree()])
    nodes = graph.graph.node
    kind = r.randrange(8)
    if kind == 0:
        del nodes[r.randrange(len(nodes))]
    elif kind == 1:
        nodes.append(nodes[r.randrange(len(nodes))])
    elif kind == 2:
        one = r.choice(nodes)
        one.input.append(r.choice(r.choice(nodes).output))
    elif kind == 3:
        r.choice(nodes).op_type = r.choice(["Gather", "Concat", "Reshape", "TopK", "Slice", "Pad", "Cast", "MatMul", "GRU", "Einsum", "Resize", "TreeEnsembleClassifier", ""])
    elif kind == 4 and graph.graph.initializer:
        tensor = r.choice(graph.graph.initializer)
        del tensor.dims[:]
        tensor.dims.extend(r.choice([[0], [-1], [2**31], [1, 2**62], [], [3, 3, 3], [7]]))
    elif kind == 5 and graph.graph.initializer:
        r.choice(graph.graph.initializer).data_type = r.randrange(30)
    elif kind == 6:
        port = r.choice(list(graph.graph.input) + list(graph.graph.output))
        port.type.tensor_type.elem_type = r.randrange(20)
    else:
        port = r.choice(list(graph.graph.input) + list(graph.graph.output))
        for dimension in port.type.tensor_type.shape.dim:
            dimension.dim_value = r.choice([0, 1, 2, 7, -1, 2**31, 2**62])
    return graph


def text(graph):
    return base64.b64encode(graph.SerializeToString()).decode()


for name, graph in GRAPHS.items():
    print(f"\\set {name} '{text(graph)}'")
print("\\set mutated '{" + ",".join(text(mutated(seed)) for seed in range(120)) + "}'")
