"""Prints tests/onnx/converters.sql: small models of other libraries as their own converters write them, as psql variables in
base64, and in `converted` what each library itself predicts.

`python tests/onnx/converters.py > tests/onnx/converters.sql`, after
`pip install numpy pandas onnx scikit-learn skl2onnx onnxmltools lightgbm xgboost catboost torch onnxscript keras tensorflow-cpu tf2onnx`.
The exports are those of docs/foreign_models.md.
"""

import base64
import os
import subprocess
import sys
import tempfile

import numpy as np

NAMES = ["recency", "frequency", "monetary"]
# Exact in 32 bits, so that nothing is lost on the way.
X = np.array([[(i * 7) % 32, i % 5, (i * 13) % 64 / 4] for i in range(80)], np.float32)
VALUE = X[:, 1] * X[:, 2] * (X[:, 0] < 20)
BOUGHT = (VALUE > 4).astype(int)
PROBES = X[::16]


def told(name, model, predictions):
    onnx = without_remarks(model).SerializeToString()
    print(f"\\set {name} '{base64.b64encode(onnx).decode()}'")
    for i, prediction in enumerate(np.asarray(predictions, float).ravel()):
        print(f"INSERT INTO converted VALUES ('{name}', {i}, {float(prediction)!r});")


def without_remarks(model):
    """Exporters write down where and by whom they were built, and the stack of the program that called them."""
    model.producer_version = model.producer_version.split("\n")[0]
    for described in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        described.ClearField("doc_string")
        for entry in described.metadata_props:
            entry.value = ""
    return model


def file(path):
    import onnx

    return onnx.load(path, load_external_data=False)


def sklearn():
    import pandas as pd
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regressor = make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=3, max_depth=2, random_state=0)).fit(X, VALUE)
    told("sklearn_regressor", to_onnx(regressor, X[:1]), regressor.predict(PROBES))
    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, BOUGHT)
    told("sklearn_classifier", to_onnx(classifier, X[:1]), classifier.predict_proba(PROBES)[:, 1])
    frame = pd.DataFrame(X, columns=NAMES)
    by_column = make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=3, max_depth=2, random_state=0)).fit(frame, VALUE)
    told("sklearn_by_column", to_onnx(by_column, frame[:1]), by_column.predict(frame[::16]))


def lightgbm():
    from lightgbm import LGBMClassifier, LGBMRegressor
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    for name, kind, y in (("regressor", LGBMRegressor, VALUE), ("classifier", LGBMClassifier, BOUGHT)):
        model = kind(n_estimators=3, max_depth=2, min_child_samples=5, verbose=-1, random_state=0).fit(X, y)
        onnx = convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, X.shape[1]]))])
        told(f"lightgbm_{name}", onnx, model.predict_proba(PROBES)[:, 1] if name == "classifier" else model.predict(PROBES))


def xgboost():
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from xgboost import XGBClassifier, XGBRegressor

    for name, kind, y in (("regressor", XGBRegressor, VALUE), ("classifier", XGBClassifier, BOUGHT)):
        model = kind(n_estimators=3, max_depth=2, random_state=0).fit(X, y)
        onnx = convert_xgboost(model, initial_types=[("X", FloatTensorType([None, X.shape[1]]))])
        told(f"xgboost_{name}", onnx, model.predict_proba(PROBES)[:, 1] if name == "classifier" else model.predict(PROBES))


def catboost():
    from catboost import CatBoostClassifier, CatBoostRegressor

    for name, kind, y in (("regressor", CatBoostRegressor, VALUE), ("classifier", CatBoostClassifier, BOUGHT)):
        model = kind(iterations=3, depth=2, random_seed=0, verbose=False, allow_writing_files=False, metadata={}).fit(X, y)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "model.onnx")
            model.save_model(path, format="onnx")
            onnx = file(path)
        told(f"catboost_{name}", onnx, model.predict_proba(PROBES)[:, 1] if name == "classifier" else model.predict(PROBES))


def torch():
    import torch

    torch.manual_seed(0)
    # More weights than the exporter keeps in the graph, where it writes a file.
    network = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1), torch.nn.Softplus()).eval()
    predictions = network(torch.from_numpy(PROBES)).detach().numpy()
    sys.stdout, printed = sys.stderr, sys.stdout
    program = torch.onnx.export(network, (torch.zeros(2, 3),), dynamic_shapes=({0: "batch"},), input_names=["x"], output_names=["ltv"])
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "model.onnx")
        torch.onnx.export(network, (torch.zeros(2, 3),), path, dynamic_shapes=({0: "batch"},), input_names=["x"], output_names=["ltv"])
        in_two_files = file(path)
        torch.onnx.export(network, torch.zeros(1, 3), path, input_names=["x"], output_names=["ltv"], dynamo=False,
                          dynamic_axes={"x": {0: "batch"}, "ltv": {0: "batch"}})
        older = file(path)
        torch.onnx.export(network, (torch.zeros(1, 3),), path, input_names=["x"], output_names=["ltv"], external_data=False)
        one_row = file(path)
    sys.stdout = printed
    told("torch", program.model_proto, predictions)
    told("torch_older", older, predictions)
    told("torch_in_two_files", in_two_files, [])
    told("torch_one_row", one_row, [])


def keras(backend):
    os.environ["KERAS_BACKEND"] = backend
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    model.fit(X, VALUE, epochs=2, verbose=0)
    predictions = model.predict(PROBES, verbose=0)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "model.onnx")
        sys.stdout, printed = sys.stderr, sys.stdout
        model.export(path, format="onnx")
        sys.stdout = printed
        told(f"keras_{backend}", file(path), predictions)


FAMILIES = {
    "sklearn": sklearn, "lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost, "torch": torch,
    "keras_tensorflow": lambda: keras("tensorflow"), "keras_torch": lambda: keras("torch"),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        FAMILIES[sys.argv[1]]()
    else:
        print("-- Made by tests/onnx/converters.py.")
        for row, probe in enumerate(PROBES):
            print(f"INSERT INTO probes VALUES ({row}, {', '.join(str(x) for x in probe.tolist())});")
        sys.stdout.flush()
        # Each in a process of its own: they bring libraries that do not like each other.
        for family in FAMILIES:
            subprocess.run([sys.executable, __file__, family], check=True)
