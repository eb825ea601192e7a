"""A model of pg_ltv outside PostgreSQL: the file that ltv_export_onnx gives, and tables of Arrow.

The file says which columns it reads, of which types; where it does not, the model card does. What a table lacks, or has in another
type, is an error before anything is scored. Needs numpy, onnxruntime and pyarrow.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

ROWS = 8192
DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


class WrongInput(ValueError):
    """The table is not what the model was trained on, or the file not what was asked for."""


class Model:
    """A model, checked against tables and run on them."""

    def __init__(self, onnx, card=None, threads=1):
        """The bytes of the file, or its path. With a card (what ltv_model_card gives), the file must be of that version."""
        onnx = bytes(onnx) if isinstance(onnx, (bytes, bytearray, memoryview)) else Path(onnx).read_bytes()
        card = json.loads(card) if isinstance(card, str) else card
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise WrongInput(f"onnxruntime cannot read the file: {error}") from error
        said = self.session.get_modelmeta().custom_metadata_map
        self.about = {key.removeprefix("pg_ltv."): value for key, value in said.items() if key.startswith("pg_ltv.")}
        self.about.setdefault("checksum", hashlib.sha256(onnx).hexdigest())
        if card and card["checksum"] != self.about["checksum"]:
            raise WrongInput(f"the file is not version {card['version']} of {card['model']}: its checksum is {self.about['checksum']}, not {card['checksum']}")
        if "columns" not in self.about and not card:
            raise WrongInput("the file does not say which columns it reads: give the model card, or export it by ltv_export_onnx")
        self.columns = json.loads(self.about["columns"]) if "columns" in self.about else card["inputs"]
        self.name = "version {version} of {model}".format(**(card or self.about))
        self.outputs = [port.name for port in self.session.get_outputs()]
        shapes = {port.name: port.shape for port in self.session.get_inputs()}
        if shapes.keys() != {column["name"] for column in self.columns}:
            raise WrongInput(f"the inputs of the graph are {sorted(shapes)}: export it without external_client")
        self.widths = {name: shape[-1] for name, shape in shapes.items()}

    def check(self, schema):
        """An error that names everything in which a schema of Arrow is not what the model reads."""
        wrong = []
        for column in self.columns:
            name, places = column["name"], schema.get_all_field_indices(column["name"])
            wanted = column.get("type") or column["kind"]
            if len(places) != 1:
                wrong.append(f"column {name} ({wanted}) is {'missing' if not places else 'there twice'}")
            elif not fits(column, schema.field(places[0]).type):
                wrong.append(f"column {name} is {schema.field(places[0]).type}, not {wanted}")
        if wrong:
            raise WrongInput(f"{self.name} cannot score this: " + "; ".join(wrong))

    def score(self, table, outputs=("ltv",), rows=ROWS):
        """Each of these outputs as an array, one number for each row."""
        self.check(table.schema)
        unknown = set(outputs) - set(self.outputs)
        if unknown:
            raise WrongInput(f"no output {sorted(unknown)}; there are {self.outputs}")
        parts = [[np.zeros(0)] for _ in outputs]
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows)
            feeds = {column["name"]: tensor(column, part.column(column["name"]), self.widths[column["name"]]) for column in self.columns}
            for scores, found in zip(parts, self.session.run(list(outputs), feeds)):
                scores.append(found.reshape(-1).astype(float))
        return {name: np.concatenate(scores) for name, scores in zip(outputs, parts)}


def is_number(kind):
    return t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind)


def is_list(kind):
    return t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind)


def is_text(kind):
    return t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)


def fits(column, kind):
    """Whether values of this type of Arrow are what the column was trained on."""
    if t.is_dictionary(kind):
        kind = kind.value_type
    wanted = column.get("type")
    if column["kind"] == "timestamp":
        if wanted == "date":
            return t.is_date(kind)
        return t.is_timestamp(kind) and (kind.tz is not None) == (wanted == "timestamp with time zone")
    if column["kind"] == "categorical":
        if wanted == "boolean":
            return t.is_boolean(kind)
        return t.is_integer(kind) if wanted in ("smallint", "integer", "bigint") else is_text(kind)
    if column["kind"] == "vector":
        return is_list(kind) and is_number(kind.value_type)
    if column["kind"] == "sequence":
        return is_list(kind) and is_list(kind.value_type) and is_number(kind.value_type.value_type)
    return is_number(kind)


def numbers(values):
    """Single precision. What is missing, not finite or does not fit is NaN."""
    if t.is_decimal(values.type):
        values = pc.cast(values, pa.float64())
    with np.errstate(over="ignore"):
        found = np.asarray(pc.fill_null(pc.cast(values, pa.float64(), safe=False), np.nan), dtype=np.float64).astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


def tensor(column, values, width):
    """The values of a column as the graph takes them."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if t.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = column["kind"]
    if kind == "categorical":
        return np.array(pc.fill_null(pc.cast(values, pa.string()), "").to_pylist(), dtype=object).reshape(-1, 1)
    if kind == "timestamp":
        per_day = 1 if t.is_date32(values.type) else 86_400_000 if t.is_date64(values.type) else DAY[values.type.unit]
        whole = pc.cast(values, pa.int32() if t.is_date32(values.type) else pa.int64())
        return numbers(pc.divide(pc.cast(whole, pa.float64(), safe=False), float(per_day))).reshape(-1, 1)
    if kind == "vector":
        found = np.full((len(values), width), np.nan, np.float32)
        found[np.asarray(values.is_valid())] = items(column, values, width)
        return found
    if kind == "sequence":
        return padded(items(column, values.flatten(), width), np.asarray(pc.fill_null(pc.list_value_length(values), 0)))
    return numbers(values).reshape(-1, 1)


def items(column, lists, width):
    """The numbers of lists that have as many as they must."""
    widths = set(pc.unique(pc.list_value_length(lists.drop_null())).to_pylist())
    if not widths <= {width}:
        raise WrongInput(f"column {column['name']} has {sorted(widths - {width})} numbers where there must be {width}")
    return numbers(lists.flatten()).reshape(-1, width)


def padded(steps, lengths):
    """Sequences of one length, with steps of NaN in front."""
    longest = max(1, int(lengths.max(initial=0)))
    found = np.full((len(lengths), longest, steps.shape[1]), np.nan, np.float32)
    row = np.repeat(np.arange(len(lengths)), lengths)
    found[row, np.arange(len(steps)) - np.repeat(np.cumsum(lengths) - longest, lengths)] = steps
    return found
