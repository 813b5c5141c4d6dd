"""What every peer does with rows once it has them: named columns into the graph, labels and probabilities out.

Written as a user would for a model of this kind; runs in the peers' own environments, without Rowcast.
"""

# mypy: ignore-errors
import json
import os
from datetime import datetime

import numpy as np
import onnxruntime as ort

PORT = int(os.environ["PORT"])

options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

SIGNATURE = json.loads(session.get_modelmeta().custom_metadata_map["rowcast.signature"])
COLUMNS = [(column["name"], column["kind"]) for column in SIGNATURE["columns"]]
CLASSES = SIGNATURE["classes"]
MISSING_TIMESTAMP = np.iinfo(np.int64).min


def micros(text):
    """Epoch microseconds of an ISO 8601 text."""
    return MISSING_TIMESTAMP if text is None else round(datetime.fromisoformat(text).timestamp() * 1e6)


def column(kind, values):
    """The graph input ``[rows, 1]`` of a column's JSON values."""
    if kind == "category":
        return np.array([[value or ""] for value in values], object)
    if kind == "timestamp":
        return np.array([[micros(value)] for value in values], np.int64)
    return np.array([[value] for value in values], np.float64)


def run(columns):
    """Labels ``[rows]`` and probabilities ``[rows, classes]`` of columns of JSON values."""
    inputs = {name: column(kind, columns[name]) for name, kind in COLUMNS}
    labels, probabilities = session.run(["label", "probabilities"], inputs)
    return labels[:, 0], probabilities


def predict(rows):
    """An answer a row."""
    labels, probabilities = run({name: [row[name] for row in rows] for name, _ in COLUMNS})
    return [
        {"label": label, "probabilities": dict(zip(CLASSES, row, strict=True))}
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]


predict([{name: None for name, _ in COLUMNS}])  # warm up
