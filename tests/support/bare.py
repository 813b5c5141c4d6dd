"""A program with nothing but ONNX Runtime, NumPy and the standard library: a CSV file in, answers out.

It knows nothing of Rowcast but the contract of the graph: the signature in the metadata says which columns there are
and of what kind, each is an input ``[rows, 1]``, and null is NaN, "" or INT64_MIN.

    python tests/support/bare.py model.onnx table.csv
"""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import onnxruntime as ort

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def graph_value(text: str, kind: str):
    """What the graph takes for one field of a CSV file."""
    if kind == "category":
        return text
    if kind == "timestamp":
        if not text:
            return np.iinfo(np.int64).min
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // timedelta(microseconds=1)
    if not text:
        return np.nan
    return {"true": 1.0, "false": 0.0}[text.lower()] if kind == "boolean" else float(text)


def answer(graph: str, table: str, rows: int | None = None) -> dict[str, np.ndarray]:
    """Outputs of the graph for the first rows of a table, by name."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    signature = json.loads(session.get_modelmeta().custom_metadata_map["rowcast.signature"])
    dtypes = {"category": object, "timestamp": np.int64}
    with open(table, newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))[:rows]
    feeds = {
        column["name"]: np.array(
            [[graph_value(record[column["name"]], column["kind"])] for record in records],
            dtypes.get(column["kind"], np.float64),
        )
        for column in signature["columns"]
    }
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


if __name__ == "__main__":
    for name, values in answer(sys.argv[1], sys.argv[2]).items():
        print(name, values[:5].tolist())
