"""Graphs, honest and hostile, made by the package onnx; all as bytes."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING


def value(name, shape, element=FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def constant(name, data, kind=np.float32):
    return numpy_helper.from_array(np.array(data, kind), name)


def claimed(name, dims, element=FLOAT, raw=b"\0\0\0\0"):
    """A tensor that says it is larger than its bytes."""
    made = TensorProto()
    made.name, made.data_type, made.raw_data = name, element, raw
    made.dims.extend(dims)
    return made


node = helper.make_node
X, Y = value("x", ["N", 1]), value("ltv", ["N", 1])


def model(nodes, inputs=(X,), outputs=(Y,), constants=(), functions=(), domains=()):
    graph = helper.make_graph(nodes, "g", list(inputs), list(outputs), initializer=list(constants))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)] + [helper.make_opsetid(domain, 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions)).SerializeToString()


def linear(slope, offset):
    return model([node("Mul", ["x", "s"], ["t"]), node("Add", ["t", "o"], ["ltv"])], constants=[constant("s", slope), constant("o", offset)])


def mean(shape, more=(), constants=()):
    """The mean of whatever comes in, of any width."""
    axes = list(range(1, len(shape)))
    return model([*more, node("ReduceMean", ["x"], ["m"], axes=axes, keepdims=0), node("Unsqueeze", ["m", "one"], ["ltv"])], [value("x", shape)], constants=[constant("one", [1], np.int64), *constants])


# Control flow -------------------------------------------------------------------------------------------------------------


def body(nodes, constants=()):
    return helper.make_graph([node("Identity", ["go_in"], ["go_out"]), *nodes], "body", [value("i", [], INT64), value("go_in", [], BOOL), value("v_in", ["N", 1])],
                             [value("go_out", [], BOOL), value("v_out", ["N", 1])], list(constants))


def add_one():
    return body([node("Add", ["v_in", "step"], ["v_out"])], [constant("step", 1)])


def loop(trips):
    return model([node("Loop", ["trips", "go", "x"], ["ltv"], body=add_one())], constants=[constant("trips", trips, np.int64), constant("go", True, bool)])


def loop_by_feature():
    """As many rounds as the largest feature says: short for the trial rows of an import."""
    return model([node("ReduceMax", ["x"], ["most"], keepdims=0), node("Cast", ["most"], ["trips"], to=INT64), node("Loop", ["trips", "go", "x"], ["ltv"], body=add_one())], constants=[constant("go", True, bool)])


def endless_loop():
    """Without a number of rounds, while true."""
    return model([node("Loop", ["", "go", "x"], ["ltv"], body=add_one())], constants=[constant("go", True, bool)])


def nested_loops(depth):
    inner = add_one()
    for level in range(depth):
        inner = body([node("Loop", [f"trips{level}", f"go{level}", "v_in"], ["v_out"], body=inner)], [constant(f"trips{level}", 1000, np.int64), constant(f"go{level}", True, bool)])
    return model([node("Loop", ["trips", "go", "x"], ["ltv"], body=inner)], constants=[constant("trips", 1000, np.int64), constant("go", True, bool)])


def scan():
    """Sums along a constant of a hundred million entries that is made inside."""
    inner = helper.make_graph([node("Add", ["s_in", "e"], ["s_out"]), node("Identity", ["s_out"], ["o"])], "body", [value("s_in", [1]), value("e", [1])], [value("s_out", [1]), value("o", [1])])
    return model([node("ConstantOfShape", ["n"], ["long"], value=helper.make_tensor("v", FLOAT, [1], [1.0])), node("Scan", ["start", "long"], ["end", "all"], body=inner, num_scan_inputs=1), node("Add", ["x", "end"], ["ltv"])],
                 constants=[constant("n", [10**8, 1], np.int64), constant("start", [0.0])])


def branch(then):
    def one(name, nodes):
        return helper.make_graph(nodes, name, [], [value(f"{name}_o", ["N", 1])])
    return model([node("Greater", ["x", "limit"], ["each"]), node("Cast", ["each"], ["number"], to=FLOAT), node("ReduceMax", ["number"], ["any"], keepdims=0), node("Cast", ["any"], ["yes"], to=BOOL),
                  node("If", ["yes"], ["ltv"], then_branch=one("then", then), else_branch=one("else", [node("Identity", ["x"], ["else_o"])]))], constants=[constant("limit", 1000)])


def loop_in_function():
    """A Loop behind a local function of the model."""
    function = helper.make_function("hidden", "F", ["x"], ["y"], [node("Constant", [], ["trips"], value=constant("t", 10**9, np.int64)), node("Constant", [], ["go"], value=constant("b", True, bool)),
                                                                  node("Loop", ["trips", "go", "x"], ["y"], body=add_one())], [helper.make_opsetid("", 17)])
    return model([node("F", ["x"], ["ltv"], domain="hidden")], functions=[function], domains=["hidden"])


def recursive_function():
    function = helper.make_function("hidden", "F", ["x"], ["y"], [node("F", ["x"], ["y"], domain="hidden")], [helper.make_opsetid("", 17), helper.make_opsetid("hidden", 1)])
    return model([node("F", ["x"], ["ltv"], domain="hidden")], functions=[function], domains=["hidden"])


def doubling_functions(levels):
    """Each function calls the one below twice: 2^levels nodes out of a few lines."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("hidden", 1)]
    functions = [helper.make_function("hidden", "F0", ["x"], ["y"], [node("Neg", ["x"], ["y"])], opsets)]
    for level in range(1, levels):
        below = f"F{level - 1}"
        functions.append(helper.make_function("hidden", f"F{level}", ["x"], ["y"], [node(below, ["x"], ["t"], domain="hidden"), node(below, ["t"], ["y"], domain="hidden")], opsets))
    return model([node(f"F{levels - 1}", ["x"], ["ltv"], domain="hidden")], functions=functions, domains=["hidden"])


# Size ---------------------------------------------------------------------------------------------------------------------


def filled(*shape):
    """A constant of that shape, made inside the graph."""
    return model([node("ConstantOfShape", ["s"], ["m"], value=helper.make_tensor("v", FLOAT, [1], [0.5])), node("ReduceMean", ["m"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])], constants=[constant("s", list(shape), np.int64)])


def product(n, times=1):
    """A matrix n by n, multiplied with itself again and again: long inside one operator."""
    steps = [node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(times)]
    return model([node("ConstantOfShape", ["s"], ["m0"], value=helper.make_tensor("v", FLOAT, [1], [1.0 / n])), *steps, node("ReduceMean", [f"m{times}"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])],
                 constants=[constant("s", [n, n], np.int64)])


def slow(size, times):
    """So many products of matrices for each row; how long it takes is known beforehand."""
    steps = [node("MatMul", [f"m{i}", "w"], [f"m{i + 1}"]) for i in range(times)]
    return model([node("Unsqueeze", ["x", "axis"], ["x3"]), node("Mul", ["x3", "w"], ["m0"]), *steps, node("ReduceMean", [f"m{times}"], ["m"], axes=[1, 2], keepdims=0), node("Unsqueeze", ["m", "one"], ["ltv"])],
                 constants=[constant("axis", [2], np.int64), constant("one", [1], np.int64), constant("w", np.full((size, size), 1.0 / size))])


def product_by_feature():
    """As large as the largest feature says."""
    return model([node("ReduceMax", ["x"], ["most"], keepdims=0), node("Cast", ["most"], ["n"], to=INT64), node("Unsqueeze", ["n", "zero"], ["n1"]), node("Concat", ["n1", "n1"], ["s"], axis=0),
                  node("ConstantOfShape", ["s"], ["m"], value=helper.make_tensor("v", FLOAT, [1], [0.001])), node("MatMul", ["m", "m"], ["mm"]), node("MatMul", ["mm", "m"], ["mmm"]),
                  node("ReduceSum", ["mmm"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])], constants=[constant("zero", [0], np.int64)])


def doubling(levels):
    """Concatenated with itself again and again: 2^levels columns out of a few bytes."""
    steps = [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=1) for i in range(levels)]
    return model([node("Identity", ["x"], ["v0"]), *steps, node("ReduceMean", [f"v{levels}"], ["ltv"], axes=[1], keepdims=1)])


def expanded(columns):
    return model([node("Expand", ["x", "s"], ["wide"]), node("ReduceMean", ["wide"], ["ltv"], axes=[1], keepdims=1)], constants=[constant("s", [1, columns], np.int64)])


def tiled(times, axis=0):
    return model([node("Tile", ["x", "r"], ["ltv"])], constants=[constant("r", [times, 1] if axis == 0 else [1, times], np.int64)])


def ranged(limit):
    return model([node("Range", ["from", "to", "by"], ["all"]), node("ReduceMean", ["all"], ["r"], keepdims=0), node("Add", ["x", "r"], ["ltv"])], constants=[constant("from", 0), constant("to", limit), constant("by", 1)])


def chain(operator, length):
    """So many nodes one after the other."""
    return model([node(operator, [f"v{i}" if i else "x"], [f"v{i + 1}" if i + 1 < length else "ltv"]) for i in range(length)])


def deep_branches(depth):
    """If in If in If ...; made as bytes, because a deep message cannot be copied."""
    def field(number, payload):
        return varint(number << 3 | 2) + varint(len(payload)) + payload
    def head(number, length):
        return varint(number << 3 | 2) + varint(length)
    innermost = field(1, field(1, b"c") + field(2, b"o") + field(4, b"Identity"))
    # From the inside out as heads alone, because copying what is inside at each level takes minutes.
    name, tail, call = field(1, b"then_branch"), varint(20 << 3) + varint(5), field(1, b"c") + field(2, b"o") + field(4, b"If")
    heads, length = [], len(innermost)
    for _ in range(depth):
        attribute = name + head(6, length)
        in_attribute = len(attribute) + length + len(tail)
        in_node = call + head(5, in_attribute)
        node_length = len(in_node) + in_attribute
        heads.append(head(1, node_length) + in_node + attribute)
        length = len(heads[-1]) + length + len(tail)
    graph = b"".join(reversed(heads)) + innermost + tail * depth
    return varint(1 << 3) + varint(8) + field(7, graph + field(2, b"g")) + field(8, varint(2 << 3) + varint(17))


def varint(number):
    out = bytearray()
    while True:
        out.append(number & 127 | (128 if number > 127 else 0))
        number >>= 7
        if not number:
            return bytes(out)


# Lies ---------------------------------------------------------------------------------------------------------------------


def external(location):
    w = TensorProto()
    w.name, w.data_type, w.data_location = "w", FLOAT, TensorProto.EXTERNAL
    w.dims.extend([1, 1])
    for key, text in (("location", location), ("offset", "0"), ("length", "4")):
        entry = w.external_data.add()
        entry.key, entry.value = key, text
    return w


def external_initializer(location):
    return model([node("Add", ["x", "w"], ["ltv"])], constants=[external(location)])


def external_constant(location):
    return model([node("Constant", [], ["w"], value=external(location)), node("Add", ["x", "w"], ["ltv"])])


def external_sparse(location):
    made = helper.make_model(helper.make_graph([node("MatMul", ["x", "w"], ["ltv"])], "g", [X], [Y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external(location))
    sparse.indices.CopyFrom(constant("i", [0], np.int64))
    sparse.dims.extend([1, 1])
    return made.SerializeToString()


def external_in_branch(location):
    made = helper.make_model(helper.make_graph([node("If", ["c"], ["ltv"], then_branch=helper.make_graph([node("Add", ["x", "w"], ["t"])], "t", [], [value("t", ["N", 1])], [external(location)]),
                                                     else_branch=helper.make_graph([node("Identity", ["x"], ["e"])], "e", [], [value("e", ["N", 1])]))], "g", [X], [Y], [constant("c", True, bool)]),
                             opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def external_in_attribute_list(location):
    made = node("Constant", [], ["w"])
    attribute = made.attribute.add()
    attribute.name, attribute.type = "value", 9
    attribute.tensors.add().CopyFrom(external(location))
    return model([made, node("Add", ["x", "w"], ["ltv"])])


def lying_shape():
    return model([node("Concat", ["x", "x"], ["ltv"], axis=1)])


def lying_type():
    return model([node("Cast", ["x"], ["ltv"], to=DOUBLE)])


def fewer_rows():
    return model([node("Slice", ["x", "z", "o"], ["ltv"])], constants=[constant("z", [0], np.int64), constant("o", [1], np.int64)])


def no_rows():
    return model([node("Slice", ["x", "z", "z"], ["ltv"])], constants=[constant("z", [0], np.int64)])


def rows_by_feature():
    """Right for the trial rows; another number of rows for large features."""
    return model([node("ReduceMax", ["x"], ["most"], keepdims=0), node("Cast", ["most"], ["n"], to=INT64), node("Max", ["n", "k"], ["n2"]), node("Unsqueeze", ["n2", "zero"], ["n1"]), node("Shape", ["x"], ["s"]),
                  node("Slice", ["s", "zero", "one1"], ["rows"]), node("Max", ["n1", "rows"], ["r"]), node("Concat", ["r", "one1"], ["t"], axis=0), node("Expand", ["zero_f", "t"], ["ltv"])],
                 constants=[constant("k", 0, np.int64), constant("zero", [0], np.int64), constant("one1", [1], np.int64), constant("zero_f", [[0.0]])])


def not_finite(what):
    return model([node("Mul", ["x", "z"], ["t"]), node("Add", ["t", "c"], ["ltv"])], constants=[constant("z", 0), constant("c", what)])


def not_finite_by_feature():
    return model([node("Greater", ["x", "limit"], ["g"]), node("Where", ["g", "bad", "x"], ["ltv"])], constants=[constant("limit", 1000), constant("bad", float("nan"))])


def gather(index):
    return model([node("Gather", ["table", "i"], ["g"]), node("Add", ["x", "g"], ["ltv"])], constants=[constant("table", [1, 2, 3]), constant("i", [index], np.int64)])


def gather_by_feature():
    """Out of bounds for large features only."""
    return model([node("Cast", ["x"], ["i"], to=INT64), node("Gather", ["table", "i"], ["ltv"])], constants=[constant("table", [float(i) for i in range(64)])])


def divides_by_feature():
    return model([node("Cast", ["x"], ["i"], to=INT64), node("Sub", ["i", "k"], ["d"]), node("Div", ["i", "d"], ["q"]), node("Cast", ["q"], ["ltv"], to=FLOAT)], constants=[constant("k", 12345, np.int64)])


def resized(scale):
    return model([node("Unsqueeze", ["x", "axes"], ["image"]), node("Resize", ["image", "", "scales"], ["big"], mode="nearest"), node("ReduceMean", ["big"], ["m"], axes=[2, 3], keepdims=0), node("Identity", ["m"], ["ltv"])],
                 constants=[constant("axes", [2, 3], np.int64), constant("scales", [1, 1, scale, scale])])


def convolved(kernel):
    return model([node("Unsqueeze", ["x", "axes"], ["image"]), node("Conv", ["image", "w"], ["c"], pads=[kernel, kernel, kernel, kernel], kernel_shape=[3, 3]), node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=0),
                  node("Identity", ["m"], ["ltv"])], constants=[constant("axes", [2, 3], np.int64), constant("w", np.ones((1, 1, 3, 3)))])


def padded(width):
    return model([node("Pad", ["x", "pads"], ["wide"]), node("ReduceMean", ["wide"], ["ltv"], axes=[1], keepdims=1)], constants=[constant("pads", [0, 0, 0, width], np.int64)])


def one_hot(depth):
    return model([node("Cast", ["x"], ["i"], to=INT64), node("OneHot", ["i", "depth", "values"], ["h"], axis=-1), node("ReduceMean", ["h"], ["m"], axes=[2], keepdims=0), node("Identity", ["m"], ["ltv"])],
                 constants=[constant("depth", depth, np.int64), constant("values", [0.0, 1.0])])


def strings(length):
    """A label of so many letters."""
    return model([node("LabelEncoder", ["s"], ["v"], domain="ai.onnx.ml", keys_strings=["x" * length], values_floats=[1.0], default_float=0.0), node("Identity", ["v"], ["ltv"])], [value("s", ["N", 1], STRING)])


def trees(count):
    """A TreeEnsembleRegressor whose nodes point in a circle."""
    nodes = list(range(count))
    return model([node("TreeEnsembleRegressor", ["x"], ["ltv"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0] * count, nodes_nodeids=nodes, nodes_featureids=[0] * count, nodes_modes=["BRANCH_LEQ"] * count,
                       nodes_values=[0.5] * count, nodes_truenodeids=[(i + 1) % count for i in nodes], nodes_falsenodeids=[(i + 1) % count for i in nodes], nodes_missing_value_tracks_true=[0] * count,
                       target_treeids=[0], target_nodeids=[0], target_ids=[0], target_weights=[1.0])])
