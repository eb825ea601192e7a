"""Prints tests/onnx/graphs.sql: small foreign graphs that tests/sql use, as psql variables in base64.

They are made by the `onnx` package, not by pg_ltv, so that reading them is tested against somebody else's writer:
`python tests/onnx/graphs.py`, with onnx 1.17 or newer and numpy.
"""

import base64

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
DOUBLE, INT32, BOOL = TensorProto.DOUBLE, TensorProto.INT32, TensorProto.BOOL


def value(name, shape, element=FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def constant(name, data, kind=np.float32):
    return numpy_helper.from_array(np.array(data, kind), name)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def model(nodes, inputs, outputs, constants=(), check=True):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(constants))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if check:
        onnx.checker.check_model(made)
    return made


def linear(*weights):
    """a * weights[0] + b * weights[1] ..., from one input of that many columns; output `variable`, as skl2onnx names it."""
    w = constant("w", [[weight] for weight in weights])
    n = len(weights)
    return model([node("MatMul", ["x", "w"], ["variable"])], [value("x", ["N", n])], [value("variable", ["N", 1])], [w])


def kinds():
    """a (or -1) + 100, 200, 300, 400 for DE, FR, true, 7 + v . (.1, .01, .001) + 10000 * sum(s) + day (or -1)."""
    nodes = [
        node("IsNaN", ["a"], ["an"]), node("Where", ["an", "m1", "a"], ["a0"]),
        node("IsNaN", ["day"], ["dn"]), node("Where", ["dn", "m1", "day"], ["d0"]),
        node("LabelEncoder", ["country"], ["c"], domain="ai.onnx.ml", keys_strings=["DE", "FR", "true", "7"],
             values_floats=[100.0, 200.0, 300.0, 400.0], default_float=0.0),
        node("IsNaN", ["v"], ["vn"]), node("Where", ["vn", "zero", "v"], ["v0"]), node("Mul", ["v0", "vw"], ["v1"]),
        node("ReduceSum", ["v1", "axis1"], ["vs"], keepdims=1),
        node("IsNaN", ["s"], ["sn"]), node("Where", ["sn", "zero", "s"], ["s0"]),
        node("ReduceSum", ["s0", "axes12"], ["ss"], keepdims=0), node("Unsqueeze", ["ss", "axis1"], ["s1"]),
        node("Mul", ["s1", "k"], ["s2"]),
        node("Add", ["a0", "c"], ["t1"]), node("Add", ["t1", "vs"], ["t2"]), node("Add", ["t2", "s2"], ["t3"]),
        node("Add", ["t3", "d0"], ["ltv"]),
    ]
    constants = [constant("m1", -1), constant("zero", 0), constant("vw", [[0.1, 0.01, 0.001]]), constant("k", 10000),
                 constant("axis1", [1], np.int64), constant("axes12", [1, 2], np.int64)]
    inputs = [value("a", ["N", 1]), value("country", ["N", 1], STRING), value("v", ["N", 3]),
              value("s", ["N", "steps", 2]), value("day", ["N", 1])]
    return model(nodes, inputs, [value("ltv", ["N", 1])], constants)


def ziln():
    """purchase_probability sigmoid(z), mu as given, sigma 0.5."""
    nodes = [
        node("Sigmoid", ["z"], ["p"]), node("Squeeze", ["p", "axis"], ["purchase_probability"]),
        node("Squeeze", ["m", "axis"], ["mu"]),
        node("Mul", ["mu", "zero"], ["flat"]), node("Add", ["flat", "half"], ["sigma"]),
        node("Add", ["mu", "eighth"], ["exponent"]), node("Exp", ["exponent"], ["value"]),
        node("Mul", ["purchase_probability", "value"], ["ltv"]),
    ]
    constants = [constant("axis", [1], np.int64), constant("zero", 0), constant("half", 0.5), constant("eighth", 0.125)]
    outputs = [value(name, ["N"]) for name in ("ltv", "purchase_probability", "mu", "sigma")]
    return model(nodes, [value("z", ["N", 1]), value("m", ["N", 1])], outputs, constants)


def product():
    """a * b + 10 * c."""
    nodes = [node("Mul", ["a", "b"], ["ab"]), node("Mul", ["c", "ten"], ["tens"]), node("Add", ["ab", "tens"], ["ltv"])]
    inputs = [value(name, ["N", 1]) for name in "abc"]
    return model(nodes, inputs, [value("ltv", ["N", 1])], [constant("ten", 10)])


def external():
    """Weights in a file of the server's data directory."""
    made = linear(1, 10)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "PG_VERSION"), ("offset", "0"), ("length", "8")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return made


def external_constant():
    """The same in a Constant node."""
    made = linear(1, 10)
    tensor = external().graph.initializer[0]
    del made.graph.initializer[:]
    made.graph.node.insert(0, node("Constant", [], ["w"], value=tensor))
    return made


def of_type(element, kind):
    """a + 2 b in another type; whole numbers and booleans through a Cast."""
    if element == DOUBLE:
        return model([node("MatMul", ["x", "w"], ["variable"])], [value("x", ["N", 2], element)], [value("variable", ["N", 1], element)], [constant("w", [[1], [2]], kind)])
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "w"], ["variable"])]
    return model(nodes, [value("x", ["N", 2], element)], [value("variable", ["N", 1])], [constant("w", [[1], [2]])])


def classifier(zipmap):
    """Two classes, as converters write them: a label, and probabilities or a list of dictionaries of them."""
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Softmax", ["z"], ["p"], axis=1), node("ArgMax", ["p"], ["label"], axis=1, keepdims=0)]
    outputs = [value("label", ["N"], INT64)]
    if zipmap:
        nodes.append(node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]))
        types = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None)))
        outputs.append(helper.make_value_info("output_probability", types))
    else:
        nodes.append(node("Identity", ["p"], ["probabilities"]))
        outputs.append(value("probabilities", ["N", 2]))
    return model(nodes, [X], outputs, [constant("w", [[-0.5, 0.5], [-1, 1]])], check=not zipmap)


X = value("x", ["N", 2])
GRAPHS = {
    "linear": linear(1, 10),
    "steeper": linear(2, 20),
    "kinds": kinds(),
    "ziln": ziln(),
    "product": product(),
    "wide": model([node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)], [value("x", ["N", "D"])], [value("y", ["N"])],
                  [constant("axis", [1], np.int64)]),
    "external": external(),
    "external_constant": external_constant(),
    "unknown_operator": model([node("NoSuchOp", ["x"], ["y"])], [X], [value("y", ["N", 1])], check=False),
    "int_input": model([node("Identity", ["x"], ["y"])], [value("x", ["N", 2], INT64)], [value("y", ["N", 2], INT64)]),
    "two_columns": model([node("Identity", ["x"], ["y"])], [X], [value("y", ["N", 2])]),
    "one_total": model([node("ReduceSum", ["x"], ["y"], keepdims=0)], [X], [value("y", [])]),
    "mixed": model([node("ReduceMax", ["x"], ["top"], axes=[1], keepdims=0), node("ReduceSum", ["x"], ["sum"], keepdims=0),
                    node("Add", ["top", "sum"], ["y"])], [X], [value("y", ["N"])]),
    "fixed_batch": model([node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0)], [value("x", [1, 2])], [value("y", [1])]),
    "double": of_type(DOUBLE, np.float64),
    "whole": of_type(INT64, np.int64),
    "whole_32": of_type(INT32, np.int32),
    "truth": of_type(BOOL, bool),
    "by_column": model([node("Cast", ["b"], ["f"], to=FLOAT), node("Add", ["a", "f"], ["ltv"])], [value("a", ["N", 1]), value("b", ["N", 1], INT64)], [value("ltv", ["N", 1])]),
    "flat": model([node("Add", ["a", "b"], ["y"])], [value("a", ["N"]), value("b", ["N"])], [value("y", ["N"])]),
    "classes": classifier(False),
    "zipmap": classifier(True),
    "three_classes": model([node("MatMul", ["x", "w"], ["z"]), node("Softmax", ["z"], ["p"], axis=1)], [X], [value("p", ["N", 3])], [constant("w", [[1, 2, 3], [3, 2, 1]])]),
    "logits": model([node("MatMul", ["x", "w"], ["dense"])], [X], [value("dense", ["N", 3])], [constant("w", [[1, 1, 1], [1, 1, 1]])]),
    "same": model([node("Identity", ["x"], ["ltv"])], [value("x", ["N", 1])], [value("ltv", ["N", 1])]),
    "letters": model([node("LabelEncoder", ["x"], ["ltv"], domain="ai.onnx.ml", keys_strings=["", "Grüße", "c1", "true", "false", "happy", "p1", "n1", "v1"],
                           values_floats=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], default_float=-1.0)],
                     [value("x", ["N", 1], STRING)], [value("ltv", ["N", 1])]),
    "label": model([node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0),
                    node("Cast", ["y"], ["label"], to=INT64)], [X], [value("label", ["N"], INT64), value("y", ["N"])]),
}

if __name__ == "__main__":
    for name, graph in GRAPHS.items():
        print(f"\\set {name} '{base64.b64encode(graph.SerializeToString()).decode()}'")
