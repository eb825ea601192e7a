"""Makes the graphs of the scoring tests (tests/data/scoring) and benchmark (benches/scoring). Needs onnx and numpy.

    python tests/data/make_scoring_models.py

The files are kept in the repository: the tests need neither this script nor onnx.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, STRING, INT64 = TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64


class Graph:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.inputs, self.constants = [], [], []

    def input(self, name, width, element=FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, element, ["batch", width]))
        return name

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator, *inputs, domain="", **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def missing_as_zero(self, x):
        return self.add("Where", self.add("IsNaN", x), self.constant(np.float32(0)), x)

    def dense(self, x, inputs, outputs):
        weights = (self.random.normal(size=(inputs, outputs)) / np.sqrt(inputs)).astype(np.float32)
        bias = (self.random.normal(size=outputs) * 0.1).astype(np.float32)
        return self.add("Gemm", x, self.constant(weights), self.constant(bias))

    def head(self, x, width):
        """A zero-inflated lognormal head: probability, mu and sigma, the expected value."""
        z = self.dense(x, width, 3)
        column = lambda i: self.add("Gather", z, self.constant(np.int64(i)), axis=1)
        outputs = {}
        outputs["purchase_probability"] = self.add("Sigmoid", column(0))
        outputs["mu"] = self.add("Clip", column(1), self.constant(np.float32(-10)), self.constant(np.float32(10)))
        outputs["sigma"] = self.add("Softplus", column(2))
        half = self.add("Mul", self.add("Mul", outputs["sigma"], outputs["sigma"]), self.constant(np.float32(0.5)))
        mean = self.add("Exp", self.add("Add", outputs["mu"], half))
        outputs["ltv"] = self.add("Mul", outputs["purchase_probability"], mean)
        return outputs

    def save(self, path, outputs):
        for name, node in outputs.items():
            self.nodes.append(helper.make_node("Identity", [node], [name]))
        order = ["ltv", "purchase_probability", "mu", "sigma"]
        ports = [helper.make_tensor_value_info(name, FLOAT, ["batch"]) for name in order]
        graph = helper.make_graph(self.nodes, "scoring", self.inputs, ports, self.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())


def network(graph, x, sizes):
    for inputs, outputs in zip(sizes, sizes[1:]):
        x = graph.add("Relu", graph.dense(x, inputs, outputs))
    return graph.head(x, sizes[-1])


def vector(path, width, hidden, seed):
    graph = Graph(seed)
    x = graph.missing_as_zero(graph.input("features", width))
    graph.save(path, network(graph, x, [width, *hidden]))


def table(path, seed):
    graph = Graph(seed)
    numbers = [graph.missing_as_zero(graph.input(name, 1)) for name in ("recency", "frequency", "monetary")]
    country = graph.input("country", 1, STRING)
    ids = graph.add(
        "LabelEncoder",
        country,
        domain="ai.onnx.ml",
        keys_strings=["", "DE", "FR", "GB"],
        values_int64s=[0, 1, 2, 3],
        default_int64=0,
    )
    embedding = graph.constant(graph.random.normal(size=(4, 2)).astype(np.float32))
    looked_up = graph.add("Gather", embedding, ids, axis=0)
    flat = graph.add("Reshape", looked_up, graph.constant(np.array([-1, 2], np.int64)))
    x = graph.add("Concat", *numbers, flat, axis=1)
    graph.save(path, network(graph, x, [5, 8]))


if __name__ == "__main__":
    directory = Path(__file__).parent / "scoring"
    directory.mkdir(exist_ok=True)
    vector(directory / "vector_1.onnx", 4, [8], 1)
    vector(directory / "vector_2.onnx", 4, [8], 2)
    table(directory / "customers_1.onnx", 3)
    benches = Path(__file__).parents[2] / "benches/scoring"
    benches.mkdir(exist_ok=True)
    vector(benches / "mlp_32_128_64_3.onnx", 32, [128, 64], 5)
