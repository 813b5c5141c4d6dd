"""From the trained network to one ONNX graph that takes raw columns, and the gate it has to pass.

PyTorch's exporter writes the core: numbers, moments and codes in, answers out. In front of it go the nodes that make
these of the named columns:

    number columns ──── Concat ─────────────────────────────── numbers ─┐
    timestamp columns ─ Concat ─────────────────────────────── moments ─┤ core ─ probabilities ─ ArgMax ─ label
    category columns ── Concat ─ LabelEncoder ─ Add ─ Gather ─ codes ───┘

One LabelEncoder over the union of all vocabularies and a table of codes per column cost 8 us where an encoder a column
costs 93 us (50 columns). A column of very many levels gets an encoder of its own, since its row in the table would be
mostly empty.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import ExportRefused
from models.session import Predictions, Session
from models.signature import METADATA_KEY, MISSING_STRING, MISSING_TIMESTAMP, Column, Signature
from training.features.front import FIRST_LEVEL_CODE, MISSING_CODE, UNKNOWN_CODE, Front
from training.network.head import ClassHead, RegressionHead
from training.network.network import Ensemble, Network

OPSET, OPSET_ML, IR_VERSION = 20, 4, 10
UNION_LIMIT = 1000
"""A column with more levels than this gets an encoder of its own."""
TOLERANCE = 1e-5
"""Largest difference between PyTorch and ONNX Runtime, on probabilities and on predictions over the target's scale."""
GATE_ROWS = 2000
"""Held-out rows the gate looks at, at least (all of them when there are fewer)."""
NASTY_ROWS = 2000
"""Nasty rows with one hostile value each, at most; beyond that, a row holds several."""
GATE_BATCHES = (1, 7, 256)

UNSEEN_LEVEL = "\x7fno such level\x7f"


class Core(nn.Module):
    """Everything between codes and answers: calendar, encoding, network, head.

    Shape: ``numbers [rows, n_numbers] float64, moments [rows, n_moments] int64, codes [rows, n_categories] int64`` to
    ``[rows, classes] float32``, or ``[rows, 3] float64`` (prediction, lower, upper), ``[rows, 1]`` without intervals.
    """

    def __init__(self, front: Front, network: Network | Ensemble, head: ClassHead | RegressionHead) -> None:
        super().__init__()
        self.front, self.network, self.head = front, network, head

    def forward(self, numbers: Tensor, moments: Tensor, codes: Tensor) -> Tensor:
        encoded = self.front.encode(self.front.derive(numbers, moments))
        out: Tensor = self.head(self.network(encoded, codes))
        return out


def export(core: Core, signature: Signature) -> bytes:
    """Write the graph.

    Args:
        core: trained, in evaluation mode; it is exported from the CPU.
        signature: its columns become the inputs, and it travels in the metadata.
    """
    core = core.cpu().eval()
    front = core.front
    with _quiet():
        program = torch.onnx.export(
            core,
            (
                torch.zeros(3, len(front.numbers), dtype=torch.float64),
                torch.zeros(3, len(front.moments), dtype=torch.int64),
                torch.zeros(3, len(front.categories), dtype=torch.int64),
            ),
            dynamo=True,
            dynamic_shapes=({0: "rows"},) * 3,
            opset_version=OPSET,
            input_names=["numbers", "moments", "codes"],
            output_names=["answers"],
            verbose=False,
        )
    assert program is not None
    model = program.model
    model.ir_version = IR_VERSION
    model.opset_imports["ai.onnx.ml"] = OPSET_ML
    inside = _inside(signature)
    for node in model.graph:  # PyTorch names values "cat" or "add", which may be names of columns
        for value in node.outputs:
            value.name = f"{inside}core.{value.name}"
    for value in list(model.graph.initializers.values()):
        value.name = f"{inside}core.{value.name}"
    _put_front(model.graph, front, signature, f"{inside}front.")
    _put_outputs(model.graph, signature, f"{inside}head.")
    model.graph.name = "rowcast"
    model.metadata_props.clear()
    model.metadata_props[METADATA_KEY] = signature.model_dump_json()
    model.producer_name, model.producer_version = "rowcast", "1"
    proto = ir.serde.serialize_model(model)
    del proto.graph.value_info[:]
    for node in proto.graph.node:  # source lines and module paths of the machine that trained
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.metadata_props[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's exporter prints its progress and warns about its own insides; neither is for a person who trains."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _inside(signature: Signature) -> str:
    """What the names of the graph's own values begin with: nothing, or as many ``_`` as no column begins with."""
    inside = ""
    while any(name.startswith(f"{inside}{part}.") for name in signature.names for part in ("front", "core", "head")):
        inside += "_"
    return inside


def _put_front(graph: ir.Graph, front: Front, signature: Signature, prefix: str) -> None:
    """Replace the core's three inputs by named columns; ``prefix`` begins the names of what is put between."""
    kinds = {"category": ir.DataType.STRING, "timestamp": ir.DataType.INT64}
    inputs = {
        column.name: ir.val(column.name, kinds.get(column.kind, ir.DataType.DOUBLE), ["rows", 1])
        for column in signature.columns
    }
    nodes: list[ir.Node] = []
    old = {value.name: value for value in graph.inputs}

    def node(
        op: str, values: Sequence[ir.Value], name: str, attributes: Mapping[str, Any] | None = None, domain: str = ""
    ) -> ir.Value:
        made = ir.node(op, list(values), dict(attributes or {}), domain=domain)
        made.outputs[0].name = f"{prefix}{name}"
        nodes.append(made)
        return made.outputs[0]

    def constant(name: str, array: NDArray[Any]) -> ir.Value:
        value = ir.val(f"{prefix}{name}", const_value=ir.tensor(array, name=f"{prefix}{name}"))
        graph.register_initializer(value)
        return value

    def side_by_side(values: Sequence[ir.Value], name: str) -> ir.Value:
        return values[0] if len(values) == 1 else node("Concat", values, name, {"axis": 1})

    def encoder(value: ir.Value, levels: Sequence[str], ids: NDArray[np.int64], default: int, name: str) -> ir.Value:
        attributes = {
            "keys_tensor": ir.StringTensor([level.encode() for level in levels], shape=ir.Shape([len(levels)])),
            "values_tensor": ir.tensor(ids),
            "default_tensor": ir.tensor(np.array([default], np.int64)),
        }
        return node("LabelEncoder", [value], name, attributes, domain="ai.onnx.ml")

    if front.numbers:
        numbers = side_by_side([inputs[name] for name in front.numbers], "numbers")
        ir.convenience.replace_all_uses_with(old["numbers"], numbers)
    if front.moments:
        moments = side_by_side([inputs[name] for name in front.moments], "moments")
        ir.convenience.replace_all_uses_with(old["moments"], moments)
    if front.categories:
        shared = [name for name in front.categories if len(front.vocabularies[name]) <= UNION_LIMIT]
        union = sorted({level for name in shared for level in (*front.nulls[name], *front.vocabularies[name])})
        codes: dict[str, ir.Value] = {}
        if shared:
            text = side_by_side([inputs[name] for name in shared], "levels")
            ids = encoder(text, union, np.arange(1, len(union) + 1), 0, "level_ids")
            table = constant(
                "codes_of_ids", _codes_of_ids(union, [(front.vocabularies[name], front.nulls[name]) for name in shared])
            )
            starts = constant("row_of_column", np.arange(len(shared), dtype=np.int64) * (len(union) + 1))
            together = node("Gather", [table, node("Add", [ids, starts], "places")], "shared_codes")
        for name in front.categories:
            if name not in shared:
                known, nulls = front.vocabularies[name], front.nulls[name]
                levels = [*nulls, *known]
                last = FIRST_LEVEL_CODE + len(known)
                own = np.array([*[MISSING_CODE] * len(nulls), *range(FIRST_LEVEL_CODE, last)], np.int64)
                codes[name] = encoder(inputs[name], levels, own, UNKNOWN_CODE, f"codes.{name}")
        if not codes:
            merged = together
        else:  # put the columns back into the front's order
            blocks = ([together] if shared else []) + list(codes.values())
            order = [*shared, *codes]
            merged = side_by_side(blocks, "codes_by_block")
            if order != list(front.categories):
                places = np.array([order.index(name) for name in front.categories], np.int64)
                merged = node("Gather", [merged, constant("order", places)], "codes", {"axis": 1})
        ir.convenience.replace_all_uses_with(old["codes"], merged)

    for value in list(graph.inputs):
        graph.inputs.remove(value)
    graph.inputs.extend(inputs.values())
    for made in reversed(nodes):
        graph.insert_before(graph[0], made)


def _codes_of_ids(
    union: Sequence[str], columns: Sequence[tuple[Mapping[str, int], Sequence[str]]]
) -> NDArray[np.int64]:
    """For each column and each id of the union (0: in no vocabulary), the column's own code; flattened."""
    table = np.full((len(columns), len(union) + 1), UNKNOWN_CODE, np.int64)
    place = {level: i for i, level in enumerate(union, 1)}
    for row, (levels, nulls) in zip(table, columns, strict=True):
        row[[place[null] for null in nulls]] = MISSING_CODE
        for code, level in enumerate(levels, FIRST_LEVEL_CODE):
            row[place[level]] = code
    return table.reshape(-1)


def _put_outputs(graph: ir.Graph, signature: Signature, prefix: str) -> None:
    """Name the outputs: label and probabilities, or prediction, lower and upper."""
    answers = graph.outputs[0]
    graph.outputs.clear()
    if signature.task == "regression":
        outputs = [answers]
        if len(signature.outputs) > 1:
            sizes = ir.val(f"{prefix}sizes", const_value=ir.tensor(np.ones(3, np.int64), name=f"{prefix}sizes"))
            graph.register_initializer(sizes)
            split = ir.node("Split", [answers, sizes], {"axis": 1}, num_outputs=3)
            graph.append(split)
            outputs = list(split.outputs)
        for value, name in zip(outputs, signature.outputs, strict=True):
            value.name = name
            value.type, value.shape = ir.TensorType(ir.DataType.DOUBLE), ir.Shape(["rows", 1])
        graph.outputs.extend(outputs)
        return
    classes = ir.val(
        f"{prefix}classes",
        const_value=ir.StringTensor(
            [label.encode() for label in signature.classes],
            shape=ir.Shape([len(signature.classes)]),
            name=f"{prefix}classes",
        ),
    )
    graph.register_initializer(classes)
    best = ir.node("ArgMax", [answers], {"axis": 1, "keepdims": 1})
    best.outputs[0].name = f"{prefix}best"
    label = ir.node("Gather", [classes, best.outputs[0]], {"axis": 0})
    graph.extend([best, label])
    out = label.outputs[0]
    out.name, out.type, out.shape = "label", ir.TensorType(ir.DataType.STRING), ir.Shape(["rows", 1])
    answers.name = "probabilities"
    answers.type, answers.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["rows", len(signature.classes)])
    graph.outputs.extend([out, answers])


# ─── the gate ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Parity:
    """The largest differences the gate saw between PyTorch and ONNX Runtime."""

    rows: int
    nasty_rows: int
    max_difference: float
    """On probabilities, or on predictions over the standard deviation of the training target."""
    max_difference_between_shapes: float
    """The same rows run in batches of 1, 7, 256 and all."""
    labels_equal: bool

    def as_dict(self) -> dict[str, Any]:
        """For ``model.json``."""
        return {
            "rows": self.rows,
            "nasty_rows": self.nasty_rows,
            "batches": [*GATE_BATCHES, "all"],
            "tolerance": TOLERANCE,
            "max_difference": self.max_difference,
            "max_difference_between_shapes": self.max_difference_between_shapes,
            "labels_equal": self.labels_equal,
        }


def check_parity(core: Core, graph: bytes, held_out: Mapping[str, NDArray[Any]]) -> Parity:
    """The export gate: PyTorch and ONNX Runtime must agree on held-out rows and on nasty ones, in every batch size.

    Args:
        core: what was exported, on the CPU.
        graph: what :func:`export` wrote.
        held_out: columns ``[rows]`` of rows that no weight was fitted on.

    Raises:
        ExportRefused: they differ by more than :data:`TOLERANCE`, or on a label.
    """
    session = Session(graph, "cpu")
    signature = session.signature
    nasty = nasty_rows(signature)
    n_held_out, n_nasty = len(next(iter(held_out.values()))), len(next(iter(nasty.values())))
    columns = {name: np.concatenate([held_out[name][:GATE_ROWS], nasty[name]]) for name in signature.names}
    n_rows = min(n_held_out, GATE_ROWS) + n_nasty

    with torch.no_grad():
        expected = core(*core.front.raw(columns)).numpy()
    unit = _unit(core.head, expected)
    runs = [_run_in_batches(session, columns, n_rows, size) for size in (*GATE_BATCHES, n_rows)]
    answers = [_answers(run) / unit for run in runs]
    difference = max(_distance(run, expected / unit) for run in answers)
    between = max(_distance(run, answers[-1]) for run in answers)
    labels_equal = all(_labels_equal(run, expected, signature.classes) for run in runs) if signature.classes else True
    parity = Parity(n_rows - n_nasty, n_nasty, difference, between, labels_equal)
    if not difference <= TOLERANCE or not labels_equal:
        raise ExportRefused(
            f"the exported graph differs from the trained network by {difference:.3g} "
            f"(at most {TOLERANCE:g} is allowed; labels {'equal' if labels_equal else 'differ'}): nothing was published"
        )
    return parity


def _unit(head: ClassHead | RegressionHead, expected: NDArray[Any]) -> NDArray[Any] | float:
    """What a difference is measured in: 1 for probabilities; for a prediction the standard deviation of the training
    target, or the prediction itself where an exponential made it larger, or 1 where that is the network's own unit."""
    if isinstance(head, ClassHead):
        return 1.0
    unit, name = head.transform.unit, head.transform.name
    return np.maximum(np.abs(expected), unit) if name == "log" else max(unit, 1.0) if name == "none" else unit


def nasty_rows(signature: Signature) -> dict[str, NDArray[Any]]:
    """A typical row with one hostile value at a time, and rows that are hostile throughout; columns ``[rows]``."""
    hostile: dict[str, list[Any]] = {
        "number": [float("nan"), float("inf"), float("-inf"), 1e38, -1e38, 1e308, 5e-324, 0.0, -0.0],
        "category": [MISSING_STRING, UNSEEN_LEVEL, " ", "é\u0301", "0" * 1000],
        "timestamp": [
            MISSING_TIMESTAMP,
            0,
            -1,
            -2_208_988_800_000_000,  # 1900-01-01
            9_214_646_400_000_000,  # 2262-01-01
            -62_135_596_800_000_000,  # 0001-01-01
            253_402_300_799_999_999,  # the last microsecond of 9999
        ],
    }
    options = {
        column.name: [
            *hostile.get(column.kind, hostile["number"]),
            *_levels_and_bounds(column.levels),
            *_meaning_null(column),
        ]
        for column in signature.columns
    }
    longest = max(len(values) for values in options.values())
    # A table of thousands of columns has several hostile values in a row, or the rows alone would fill the memory.
    one_at_a_time = max(longest, min(sum(len(values) for values in options.values()), NASTY_ROWS))
    nasty: dict[str, NDArray[Any]] = {}
    placed = 0
    for column in signature.columns:
        values = options[column.name]
        typical = column.median if isinstance(column.median, float) else column.missing
        rows = np.full(1 + one_at_a_time + longest, typical, column.dtype)
        rows[1 + (placed + np.arange(len(values))) % one_at_a_time] = values
        rows[-longest:] = [values[i % len(values)] for i in range(longest)]
        nasty[column.name] = rows
        placed += len(values)
    return nasty


def _meaning_null(column: Column) -> list[Any]:
    """What means null in a column, for which the graph itself has nodes."""
    if column.reading is None:
        return []
    return list(column.reading.nulls if column.kind == "category" else column.reading.missing_numbers)


def _levels_and_bounds(levels: Mapping[str, int] | None) -> list[str]:
    """The commonest and the rarest levels: first and last entries of the encoder's tables."""
    names = list(levels or ())
    return list(dict.fromkeys([*names[:2], *names[-2:]]))


def _run_in_batches(session: Session, columns: Mapping[str, NDArray[Any]], n_rows: int, size: int) -> list[Predictions]:
    parts = []
    for start in range(0, n_rows, size):
        part = {name: column[start : start + size].reshape(-1, 1) for name, column in columns.items()}
        parts.append(session.run(part))
    return parts


def _answers(parts: Sequence[Predictions]) -> NDArray[Any]:
    """``[rows, classes]`` probabilities, or ``[rows, outputs]`` predictions and bounds."""
    if parts[0].probabilities is not None:
        return np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
    fields = [
        np.concatenate([field for part in parts if (field := getattr(part, name)) is not None])
        for name in ("prediction", "lower", "upper")
        if getattr(parts[0], name) is not None
    ]
    return np.stack(fields, axis=1)


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Largest difference; infinite where one side is not a finite number."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _labels_equal(run: Sequence[Predictions], expected: NDArray[Any], classes: Sequence[str]) -> bool:
    got = [label for part in run for label in part.labels or ()]
    wanted = [classes[i] for i in expected.argmax(axis=1)]
    return all(a == b or _tied(expected[i]) for i, (a, b) in enumerate(zip(wanted, got, strict=True)))


def _tied(probabilities: NDArray[Any]) -> bool:
    """Whether the two most probable classes are closer than the tolerance, so that either label is right."""
    second, first = np.sort(probabilities)[-2:]
    return bool(first - second <= TOLERANCE)
