"""The handmade model with so much arithmetic for each row that a worker does a few hundred large requests a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from rowcast.models.repository import Repository
from tests.support import handmade

WIDTH = 512
LAYERS = 14


def heavy_graph() -> bytes:
    """The graph of ``tests/support/handmade.py``; to its score is added what comes of layers of zeros: zero."""
    model = onnx.load_from_string(handmade.graph())
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.ones((1, WIDTH)), "widen"))
    graph.initializer.append(numpy_helper.from_array(np.zeros((WIDTH, WIDTH), np.float32), "zeros"))
    (total,) = (node for node in graph.node if "score" in node.output)
    total.input.append("nothing")
    place = list(graph.node).index(total)
    layers = [h.make_node("MatMul", [f"layer.{n}", "zeros"], [f"layer.{n + 1}"]) for n in range(LAYERS)]
    for node in (
        h.make_node("Cast", ["mean"], ["nothing"], to=T.DOUBLE),
        h.make_node("ReduceMax", [f"layer.{LAYERS}", "last"], ["mean"], keepdims=1),
        *reversed(layers),
        h.make_node("Cast", ["wide"], ["layer.0"], to=T.FLOAT),
        h.make_node("MatMul", ["distance.filled", "widen"], ["wide"]),
    ):
        graph.node.insert(place, node)
    graph.initializer.append(numpy_helper.from_array(np.array([1]), "last"))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def publish_heavy(repository: Path) -> None:
    """Publish it as ``flights``."""
    Repository(repository).publish("flights", handmade.manifest(), {"model.onnx": heavy_graph()})
