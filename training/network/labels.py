"""Which class a row is called, given its probabilities: one rule, written into the graph and asked by the gate.

Without a rule the label is the most probable class. Every rule is a case of ``argmax(p @ M)`` with ``M`` ``[classes,
classes]``. Of two classes any such rule is a threshold on the probability of the second, and is kept as one: a
comparison is exact where the probability is the threshold itself, a product of matrices is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


@dataclass(frozen=True)
class Threshold:
    """The second of two classes from a probability on, the first below it.

    Args:
        value: a float32 between 0 and 1, so that it is the probability that answers show.
    """

    value: float

    @classmethod
    def at(cls, value: float) -> Threshold:
        """The threshold at a number, rounded to the nearest float32 that is more than 0 and less than 1."""
        least, most = np.finfo(np.float32).tiny, np.nextafter(np.float32(1.0), np.float32(0.0))
        return cls(float(str(np.clip(np.float32(value), least, most))))

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """The index of each row's label, ``[rows, 2] -> [rows]``."""
        return (probabilities[:, 1].astype(np.float32) >= np.float32(self.value)).astype(np.int64)

    def margin(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far probabilities may move before the label is another one, ``[rows]``."""
        return np.abs(probabilities[:, 1].astype(np.float64) - self.value)

    def put(self, graph: ir.Graph, answers: ir.Value, prefix: str) -> ir.Value:
        """Append the nodes that make indices ``[rows, 1]`` of probabilities, and return those."""
        second = _constant(graph, f"{prefix}second", np.array([1], np.int64))
        value = _constant(graph, f"{prefix}threshold", np.array(self.value, np.float32))
        of_second = _node(graph, "Gather", [answers, second], f"{prefix}of_second", {"axis": 1})
        reached = _node(graph, "GreaterOrEqual", [of_second, value], f"{prefix}reached")
        return _node(graph, "Cast", [reached], f"{prefix}best", {"to": int(ir.DataType.INT64)})


@dataclass(frozen=True)
class Scores:
    """The class with the highest of ``probabilities @ matrix``, of several the first.

    Args:
        matrix: ``[classes, classes]`` float64, by actual class and by the class that is said: factors of the classes on
            its diagonal, or what each error costs, below 0.
    """

    matrix: NDArray[np.float64]

    @classmethod
    def of_weights(cls, weights: NDArray[np.float64]) -> Scores:
        """Factors of the probabilities, ``[classes]``."""
        return cls(np.diag(weights / weights.max()))

    @classmethod
    def of_costs(cls, costs: NDArray[np.float64]) -> Scores:
        """The least expected cost, with ``costs`` by actual class and by the class that is said."""
        return cls(-costs / costs.max())

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """The index of each row's label, ``[rows, classes] -> [rows]``."""
        return np.asarray((probabilities.astype(np.float64) @ self.matrix).argmax(axis=1), np.int64)

    def margin(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far probabilities may move, at least, before the label is another one, ``[rows]``."""
        ordered = np.sort(probabilities.astype(np.float64) @ self.matrix, axis=1)
        return np.asarray((ordered[:, -1] - ordered[:, -2]) / (2.0 * np.abs(self.matrix).sum(axis=0).max()))

    def put(self, graph: ir.Graph, answers: ir.Value, prefix: str) -> ir.Value:
        """Append the nodes that make indices ``[rows, 1]`` of probabilities, and return those."""
        matrix = _constant(graph, f"{prefix}scores_of", self.matrix)
        exact = _node(graph, "Cast", [answers], f"{prefix}exact", {"to": int(ir.DataType.DOUBLE)})
        scores = _node(graph, "MatMul", [exact, matrix], f"{prefix}scores")
        return _node(graph, "ArgMax", [scores], f"{prefix}best", {"axis": 1, "keepdims": 1})


@dataclass(frozen=True)
class MostProbable:
    """The most probable class, of several the first: what a label is without a rule."""

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """The index of each row's label, ``[rows, classes] -> [rows]``."""
        return np.asarray(probabilities.argmax(axis=1), np.int64)

    def margin(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far the most probable class is ahead of the next, ``[rows]``."""
        ordered = np.sort(probabilities, axis=1)
        return np.asarray(ordered[:, -1] - ordered[:, -2])

    def put(self, graph: ir.Graph, answers: ir.Value, prefix: str) -> ir.Value:
        """Append the node that makes indices ``[rows, 1]`` of probabilities, and return those."""
        return _node(graph, "ArgMax", [answers], f"{prefix}best", {"axis": 1, "keepdims": 1})


LabelRule = Threshold | Scores | MostProbable


def _constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def _node(
    graph: ir.Graph, op: str, values: list[ir.Value], name: str, attributes: dict[str, Any] | None = None
) -> ir.Value:
    made = ir.node(op, values, attributes or {})
    made.outputs[0].name = name
    graph.append(made)
    return made.outputs[0]
