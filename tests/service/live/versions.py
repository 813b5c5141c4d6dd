"""Versions of the model of ``tests/support/handmade.py`` that can be told apart by their answers."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from rowcast.models.repository import Repository, StoredModel
from rowcast.models.rollout import choose_version
from rowcast.models.signature import Signature
from tests.service.hostile_payloads import ROW
from tests.support import handmade

STOPS = {**ROW, "stops": 3}
"""A row of three stops, each of which counts as much as a version says."""


def graph(weight: float, signature: Signature = handmade.BINARY) -> bytes:
    """The graph of the score in which a stop counts so much."""
    model = onnx.load_from_string(handmade.graph(signature))
    (at,) = (i for i, tensor in enumerate(model.graph.initializer) if tensor.name == "stops.w")
    model.graph.initializer[at].CopyFrom(onnx.numpy_helper.from_array(np.array(float(weight)), "stops.w"))
    return model.SerializeToString()


def publish(root: Path, weight: float, signature: Signature = handmade.BINARY, name: str = "flights") -> StoredModel:
    """Publish the next version, in which a stop counts so much."""
    files = {"model.onnx": graph(weight, signature)}
    return Repository(root).publish(name, handmade.manifest(signature), files)


def one_waits(root: Path) -> Path:
    """A repository whose version 1 somebody chose, and where version 2 waits for that."""
    for weight in (1.0, 2.0):
        publish(root, weight)
    choose_version(root / "flights", 1, [1, 2], "somebody", None, allow_signature_change=False)
    return root


def publish_as(
    root: Path, version: int, weight: float, signature: Signature = handmade.BINARY, content: bytes = b""
) -> None:
    """Put a version of flights under a number where it is free, as somebody does who copies folders."""
    with tempfile.TemporaryDirectory(dir=root.parent) as elsewhere:
        for number in range(1, version):
            (Path(elsewhere) / "flights" / str(number)).mkdir(parents=True)
        files = {"model.onnx": content or graph(weight, signature)}
        made = Repository(elsewhere).publish("flights", handmade.manifest(signature), files)
        made.path.rename(root / "flights" / str(version))


def late(weight: float, row: dict[str, Any] = STOPS) -> float:
    """The probability of "late" that such a version gives for a row."""
    return 1 / (1 + math.exp(-handmade.score(row) - (weight - 1) * row["stops"]))


def nan_graph() -> bytes:
    """A graph that is whole and answers with no number."""
    return graph(math.nan)


def moody_graph(times: float = 1e200) -> bytes:
    """A graph that answers with no number where the score is too large, so many times: with 1e200 where a row has as
    many stops, with 1.5e307 where the score is 12. Elsewhere it answers as the first version does."""
    model = onnx.load_from_string(graph(1.0))
    h, nodes = onnx.helper, model.graph.node
    (sum_at,) = (i for i, node in enumerate(nodes) if "score" in node.output)
    nodes[sum_at].output[0] = "score.bare"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(times), "huge"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.0), "naught"))
    added = [
        h.make_node("Mul", ["score.bare", "huge"], ["far"]),
        h.make_node("Mul", ["far", "naught"], ["nothing"]),
        h.make_node("Add", ["score.bare", "nothing"], ["score"]),
    ]
    rest = list(nodes)
    del nodes[:]
    nodes.extend([*rest[: sum_at + 1], *added, *rest[sum_at + 1 :]])
    return model.SerializeToString()


def slow_graph(rows: int = 3_000_000, beyond: float = -1.0) -> bytes:
    """A graph that sorts so many numbers, which takes a second or so, in every run in which a row has more stops; a
    missing number counts as none."""
    model = onnx.load_from_string(handmade.graph())
    h, nodes = onnx.helper, model.graph.node
    (sum_at,) = (i for i, node in enumerate(nodes) if "score" in node.output)
    nodes[sum_at].output[0] = "score.bare"
    constants = {
        "beyond": np.array(beyond),
        "many.d": np.array([float(rows)]),
        "one.d": np.array([1.0]),
        "zeros.d": np.array([0.0]),
        "zero.i": np.array([0], np.int64),
        "one.i": np.array([1], np.int64),
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    added = [
        h.make_node("Greater", ["stops.filled", "beyond"], ["is.beyond"]),
        h.make_node("Cast", ["is.beyond"], ["is.d"], to=onnx.TensorProto.DOUBLE),
        h.make_node("ReduceMax", ["is.d"], ["any.d"], keepdims=0),
        h.make_node("Mul", ["any.d", "many.d"], ["sorted.d"]),
        h.make_node("Add", ["sorted.d", "one.d"], ["all.d"]),
        h.make_node("Cast", ["all.d"], ["many"], to=onnx.TensorProto.INT64),
        h.make_node("ReduceSum", ["score.bare"], ["whole"], keepdims=0),
        h.make_node("Expand", ["whole", "many"], ["wide"]),
        h.make_node("RandomUniformLike", ["wide"], ["random"], dtype=onnx.TensorProto.DOUBLE),
        h.make_node("TopK", ["random", "many"], ["sorted", "order"]),
        h.make_node("Slice", ["sorted", "zero.i", "one.i"], ["top"]),
        h.make_node("Mul", ["top", "zeros.d"], ["nothing"]),
        h.make_node("Add", ["score.bare", "nothing"], ["score"]),
    ]
    rest = list(nodes)
    del nodes[:]
    nodes.extend([*rest[: sum_at + 1], *added, *rest[sum_at + 1 :]])
    return model.SerializeToString()


def publish_graph(root: Path, content: bytes, name: str = "flights") -> StoredModel:
    """Publish any bytes as the graph of the next version."""
    return Repository(root).publish(name, handmade.manifest(), {"model.onnx": content})
