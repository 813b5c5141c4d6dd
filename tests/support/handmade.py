"""A model made by hand: a graph of a few nodes whose every answer can be worked out on paper.

It has a column of each kind, so tests of the repository, the session and the service need no training. The score is

    score = distance/1000 + stops + 2*night - (carrier is "AA") + hours since 2013-01-01T00:00Z / 1000

with a missing value counting as 0; the probability of "late" is sigmoid(score).
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

from rowcast.models.signature import METADATA_KEY, MISSING_TIMESTAMP, Column, Signature

EPOCH_2013 = 1_356_998_400_000_000

COLUMNS = (
    Column(name="distance", kind="number", nullable=False, minimum=80.0, maximum=4983.0, median=872.0, example=872.0),
    Column(name="stops", kind="integer", nullable=False, minimum=0.0, maximum=3.0, median=1.0, example=1),
    Column(name="night", kind="boolean", nullable=True, minimum=0.0, maximum=1.0, median=0.0, example=False),
    Column(name="carrier", kind="category", nullable=False, levels={"UA": 50, "AA": 30, "9E": 3}, example="UA"),
    Column(
        name="departs",
        kind="timestamp",
        nullable=True,
        minimum="2013-01-01T00:00:00Z",
        maximum="2013-12-31T23:00:00Z",
        median="2013-07-01T00:00:00Z",
        example="2013-07-01T00:00:00Z",
    ),
)
BINARY = Signature(task="binary", target="late", classes=("on time", "late"), ends="percentiles", columns=COLUMNS)
REGRESSION = Signature(task="regression", target="delay", intervals=True, ends="percentiles", columns=COLUMNS)


def score(row: dict) -> float:
    """The score of one JSON row, in plain Python."""
    from rowcast.models.values import parse_timestamp

    def number(name: str) -> float:
        return float(row.get(name) or 0)

    total = number("distance") / 1000 + number("stops") + 2 * number("night") - (row.get("carrier") == "AA")
    if row.get("departs"):
        total += (parse_timestamp(row["departs"]) - EPOCH_2013) / 3.6e9 / 1000
    return total


def late(row: dict) -> float:
    """The probability of "late" of one JSON row."""
    return 1 / (1 + math.exp(-score(row)))


def graph(signature: Signature = BINARY, threshold: float | None = None) -> bytes:
    """The graph of the score: ``label`` and ``probabilities``, or ``prediction``, ``lower`` and ``upper`` (+- 1).

    With a ``threshold`` the label is "late" from that probability on.
    """
    nodes, inits = [], []

    def constant(name: str, value: np.ndarray) -> str:
        inits.append(onnx.numpy_helper.from_array(value, name))
        return name

    zero = constant("zero", np.array(0.0))
    terms = []
    for name, weight in (("distance", 0.001), ("stops", 1.0), ("night", 2.0)):
        nodes.append(h.make_node("IsNaN", [name], [f"{name}.missing"]))
        nodes.append(h.make_node("Where", [f"{name}.missing", zero, name], [f"{name}.filled"]))
        nodes.append(h.make_node("Mul", [f"{name}.filled", constant(f"{name}.w", np.array(weight))], [f"{name}.term"]))
        terms.append(f"{name}.term")
    encoder = {"keys_strings": ["AA"], "values_floats": [-1.0], "default_float": 0.0, "domain": "ai.onnx.ml"}
    nodes.append(h.make_node("LabelEncoder", ["carrier"], ["carrier.f"], **encoder))
    nodes.append(h.make_node("Cast", ["carrier.f"], ["carrier.term"], to=T.DOUBLE))
    nodes.append(h.make_node("Equal", ["departs", constant("never", np.array(MISSING_TIMESTAMP))], ["departs.missing"]))
    nodes.append(h.make_node("Sub", ["departs", constant("epoch", np.array(EPOCH_2013))], ["departs.since"]))
    nodes.append(h.make_node("Cast", ["departs.since"], ["departs.d"], to=T.DOUBLE))
    nodes.append(h.make_node("Div", ["departs.d", constant("hour", np.array(3.6e12))], ["departs.h"]))
    nodes.append(h.make_node("Where", ["departs.missing", zero, "departs.h"], ["departs.term"]))
    nodes.append(h.make_node("Sum", [*terms, "carrier.term", "departs.term"], ["score"]))
    if signature.task == "regression":
        one = constant("one", np.array(1.0))
        nodes.append(h.make_node("Identity", ["score"], ["prediction"]))
        nodes.append(h.make_node("Sub", ["score", one], ["lower"]))
        nodes.append(h.make_node("Add", ["score", one], ["upper"]))
        outputs = [h.make_tensor_value_info(name, T.DOUBLE, ["rows", 1]) for name in signature.outputs]
    else:
        nodes.append(h.make_node("Sigmoid", ["score"], ["late.d"]))
        nodes.append(h.make_node("Cast", ["late.d"], ["late"], to=T.FLOAT))
        nodes.append(h.make_node("Sub", [constant("one", np.array(1.0, np.float32)), "late"], ["on time"]))
        nodes.append(h.make_node("Concat", ["on time", "late"], ["probabilities"], axis=1))
        if threshold is None:
            nodes.append(h.make_node("ArgMax", ["probabilities"], ["index"], axis=1, keepdims=1))
        else:
            nodes.append(h.make_node("GreaterOrEqual", ["late", constant("at", np.float32([threshold]))], ["reached"]))
            nodes.append(h.make_node("Cast", ["reached"], ["index"], to=T.INT64))
        constant("classes", np.array(signature.classes, dtype=object))
        nodes.append(h.make_node("Gather", ["classes", "index"], ["label"]))
        outputs = [
            h.make_tensor_value_info("label", T.STRING, ["rows", 1]),
            h.make_tensor_value_info("probabilities", T.FLOAT, ["rows", 2]),
        ]
    types = {"category": T.STRING, "timestamp": T.INT64}
    inputs = [h.make_tensor_value_info(c.name, types.get(c.kind, T.DOUBLE), ["rows", 1]) for c in signature.columns]
    model = h.make_model(
        h.make_graph(nodes, "handmade", inputs, outputs, inits),
        opset_imports=[h.make_opsetid("", 20), h.make_opsetid("ai.onnx.ml", 4)],
        ir_version=10,
    )
    h.set_model_props(model, {METADATA_KEY: signature.model_dump_json()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def manifest(signature: Signature = BINARY, threshold: float | None = None) -> dict:
    """What a publish needs besides the files."""
    told = None if threshold is None else {"by": "number", "class": signature.classes[1], "value": threshold}
    return {
        "signature": signature,
        "metrics": {"test": {"roc_auc": 0.5}},
        "parity": {"rows": 0},
        "decisions": [],
        "config": {},
        "data": {"rows": 0, "sha256": ""},
        "versions": {},
        "threshold": told,
    }
