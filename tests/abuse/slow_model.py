"""The handmade model, held up and brought down at will, so that nothing of the service need be replaced for a test.

A run takes as many turns of a loop as the largest ``stops`` of its rows, and fails if any row has a negative
``distance``, which no decoder can know.
"""

from __future__ import annotations

import time
from pathlib import Path

import onnx
from onnx import TensorProto as T
from onnx import helper as h

from rowcast.models.repository import Repository
from rowcast.models.session import Session
from rowcast.service.columns.rows import GraphInputs
from tests.service.hostile_payloads import ROW
from tests.support import handmade

_TURNS = 200_000


def slow_graph() -> bytes:
    """The graph of ``tests/support/handmade.py``; to the score are added a loop's result and a look-up's, both zero."""
    model = onnx.load_from_string(handmade.graph())
    graph = model.graph
    body = h.make_graph(
        [h.make_node("Identity", ["go"], ["go.on"]), h.make_node("Mul", ["carried", "carried"], ["carried.on"])],
        "turn",
        [
            h.make_tensor_value_info("turn.number", T.INT64, []),
            h.make_tensor_value_info("go", T.BOOL, []),
            h.make_tensor_value_info("carried", T.DOUBLE, [1, 1]),
        ],
        [
            h.make_tensor_value_info("go.on", T.BOOL, []),
            h.make_tensor_value_info("carried.on", T.DOUBLE, [1, 1]),
        ],
    )
    graph.initializer.append(h.make_tensor("nothing", T.DOUBLE, [1, 1], [0.0]))
    graph.initializer.append(h.make_tensor("always", T.BOOL, [], [True]))
    (total,) = (node for node in graph.node if "score" in node.output)
    total.input.extend(["waited", "found"])
    place = list(graph.node).index(total)
    for node in (
        h.make_node("Gather", ["nothing", "culprit"], ["found"], axis=0),
        h.make_node("ReduceMax", ["culprits"], ["culprit"], keepdims=0),
        h.make_node("Cast", ["negative"], ["culprits"], to=T.INT64),
        h.make_node("Less", ["distance.filled", "zero"], ["negative"]),
        h.make_node("Loop", ["turns", "always", "nothing"], ["waited"], body=body),
        h.make_node("Cast", ["most"], ["turns"], to=T.INT64),
        h.make_node("ReduceMax", ["stops.filled"], ["most"], keepdims=0),
    ):
        graph.node.insert(place, node)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def publish_slow(repository: Path) -> None:
    """Publish it as ``flights``."""
    Repository(repository).publish("flights", handmade.manifest(), {"model.onnx": slow_graph()})


def slow_row(seconds: float) -> dict[str, object]:
    """A row that takes at least so long: measured in processor time, which a busy machine hardly changes."""
    session = Session(slow_graph(), "cpu")
    row = {**ROW, "stops": float(_TURNS), "departs": handmade.EPOCH_2013}
    inputs = GraphInputs(session.signature)([row])
    started = time.process_time()
    session.run(inputs)
    return {**ROW, "stops": round(_TURNS * seconds / (time.process_time() - started))}
