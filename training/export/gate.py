"""The gate that a graph has to pass before it is published: it answers as the network does, and no odd value runs wild.

Both are asked on held-out rows, on adversarial rows, and on training rows with one odd value
(:mod:`rowcast.training.export.adversarial`), of the answers and of what the network says before the head makes answers
of it: two probabilities of 1 hide whatever lies between their logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import ExportRefused
from rowcast.models.session import Predictions, Session
from rowcast.models.signature import MISSING_TIMESTAMP, Signature
from rowcast.training.export.adversarial import OddRows, adversarial_rows, odd_rows, rows_of, typical
from rowcast.training.export.graph import Core, raw_output_name
from rowcast.training.network.head import ClassHead, RegressionHead

TOLERANCE = 1e-5
"""Largest difference between PyTorch and ONNX Runtime, on probabilities and on predictions over the target's scale."""
RAW_TOLERANCE = 1e-4
"""The same on what the network says, beside 1 or beside the largest that it says in the row: float32 has 7 digits, and
a few are lost in sums over thousands of nodes."""
GATE_ROWS = 2000
"""Held-out rows the gate looks at, at least (all of them when there are fewer)."""
GATE_BATCHES = (1, 7, 256)
SINGLE_CELLS = 50_000
"""Values that are run in batches of one row, at most: each costs as much as hundreds in a large batch."""
SEEN_ROWS = 1000
"""Training rows that say how far logits lie apart."""
LEAST_SPAN = 10.0
"""Logits of ordinary rows may lie closer together than this; an odd value may move them by as much all the same."""
_CULPRITS = 200
"""Columns that are tried one by one to find the one that makes the difference."""

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Parity:
    """The largest differences the gate saw between PyTorch and ONNX Runtime."""

    rows: int
    adversarial_rows: int
    max_difference: float
    """On probabilities, or on predictions over the standard deviation of the training target."""
    max_difference_between_shapes: float
    """The same rows run in batches of 1, 7, 256 and all."""
    max_difference_raw: float
    """On logits, or on targets in the network's units, beside 1 or beside the largest of the row."""
    labels_equal: bool
    odd_rows: int = 0
    """Training rows with one odd value each, which were looked at as well."""

    def as_dict(self) -> dict[str, Any]:
        """For ``model.json``."""
        return {
            "rows": self.rows,
            "nasty_rows": self.adversarial_rows,
            "batches": [*GATE_BATCHES, "all"],
            "tolerance": TOLERANCE,
            "max_difference": self.max_difference,
            "max_difference_between_shapes": self.max_difference_between_shapes,
            "max_difference_said": self.max_difference_raw,
            "labels_equal": self.labels_equal,
        }


def pass_gate(
    core: Core,
    graph: bytes,
    held_out: Columns,
    seen: Columns,
    target: NDArray[Any],
    rows: int = GATE_ROWS,
    single_cells: int = SINGLE_CELLS,
) -> Parity:
    """Ask both questions.

    Args:
        core: what was exported, on the CPU.
        graph: what :func:`rowcast.training.export.graph.export` wrote.
        held_out: columns ``[rows]`` of rows that no weight was fitted on.
        seen: columns ``[rows]`` of the training rows.
        target: of the training rows, ``[rows]``.
        rows: held-out rows to look at, at most.
        single_cells: values that are run in batches of one row, at most.

    Raises:
        ExportRefused: graph and network differ, or a single odd value decides; names column and value.
    """
    odd = odd_rows(Session(graph, "cpu").signature, seen)
    parity, raw = _compared(core, graph, held_out, odd, rows, single_cells)
    check_sane(core, odd, seen, target, raw)
    return parity


# ─── the graph answers as the network does ───────────────────────────────────────────────────────────────────────────


def check_parity(
    core: Core,
    graph: bytes,
    held_out: Columns,
    odd: OddRows | None = None,
    rows: int = GATE_ROWS,
    single_cells: int = SINGLE_CELLS,
) -> Parity:
    """PyTorch and ONNX Runtime must agree on held-out rows, adversarial ones and odd ones, in every batch size.

    Args:
        core: what was exported, on the CPU.
        graph: what :func:`rowcast.training.export.graph.export` wrote.
        held_out: columns ``[rows]`` of rows that no weight was fitted on.
        odd: training rows with one odd value each.
        rows: held-out rows to look at, at most.
        single_cells: values that are run in batches of one row, at most.

    Raises:
        ExportRefused: they differ by more than :data:`TOLERANCE`, or on a label.
    """
    return _compared(core, graph, held_out, odd, rows, single_cells)[0]


def _compared(
    core: Core, graph: bytes, held_out: Columns, odd: OddRows | None, rows: int, single_cells: int
) -> tuple[Parity, torch.Tensor]:
    """See :func:`check_parity`; and what the network said of the odd rows, before the head."""
    session = Session(graph, "cpu")
    signature = session.signature
    adversarial = adversarial_rows(signature)
    n_held_out = min(_length(held_out), rows_of(len(signature.columns), rows))
    parts = [{name: held_out[name][:n_held_out] for name in signature.names}, adversarial]
    if odd is not None:
        parts.append(odd.columns)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in signature.names}
    n_rows = _length(columns)

    with torch.no_grad():
        raw = core.raw_output(*core.inputs(columns))
        expected = core.head.answer(raw).numpy()
    unit = _unit(core.head, expected)
    difference = between = raw_difference = 0.0
    worst = np.zeros(n_rows)
    labels_equal = True
    whole = session.run_all({name: column.reshape(-1, 1) for name, column in columns.items()})
    whole_answer = _answers([whole]) / unit
    singles = max(8, single_cells // len(signature.columns))
    for size in (*GATE_BATCHES, n_rows):
        chosen = _spread(n_rows, singles * size)
        runs = [whole] if size == n_rows else _run_in_batches(session, columns, chosen, size)
        answer = _answers(runs) / (unit[chosen] if isinstance(unit, np.ndarray) else unit)
        wanted = (expected / unit)[chosen]
        apart = _apart(answer, wanted)
        worst[chosen] = np.maximum(worst[chosen], apart / TOLERANCE)
        difference = max(difference, float(apart.max(initial=0.0)))
        between = max(between, float(_apart(answer, whole_answer[chosen]).max(initial=0.0)))
        if signature.classes:
            wrong = _wrong_labels(runs, expected[chosen], signature.classes, core.head)
            worst[chosen[wrong]] = np.inf
            labels_equal = labels_equal and not len(wrong)
    apart = _apart_raw(_raw_output(graph, signature, columns), raw.numpy())
    worst = np.maximum(worst, apart / RAW_TOLERANCE)
    raw_difference = float(apart.max(initial=0.0))

    n_odd = 0 if odd is None else len(odd.changed)
    n_adversarial = n_rows - n_held_out - n_odd
    parity = Parity(n_held_out, n_adversarial, difference, between, raw_difference, labels_equal, n_odd)
    if not difference <= TOLERANCE or not raw_difference <= RAW_TOLERANCE or not labels_equal:
        row = {name: column[int(np.nan_to_num(worst, nan=np.inf).argmax())] for name, column in columns.items()}
        name, value = _culprit(core, graph, signature, row)
        raise ExportRefused(
            f"the exported graph differs from the trained network by {difference:.3g} "
            f"(at most {TOLERANCE:g} is allowed), before the last step by {raw_difference:.3g} "
            f"(at most {RAW_TOLERANCE:g}; labels {'equal' if labels_equal else 'differ'}), most where {name!r} is "
            f"{_shown(value)}: {_way_out(name)}"
        )
    return parity, raw[n_rows - n_odd :]


def _culprit(core: Core, graph: bytes, signature: Signature, row: Mapping[str, Any]) -> tuple[str, Any]:
    """The column whose value in a row makes most of the difference, alone among typical values."""
    columns = signature.columns
    if len(columns) > _CULPRITS:  # those that are farthest from typical first
        columns = tuple(sorted(columns, key=lambda column: row[column.name] == typical(column)))[:_CULPRITS]
    n = len(columns)  # rows: each column alone in a typical row, each made typical in the row, the row, a typical row
    tried = {
        column.name: np.array([typical(column)] * n + [row[column.name]] * (n + 1) + [typical(column)], column.dtype)
        for column in signature.columns
    }
    for i, column in enumerate(columns):
        tried[column.name][i], tried[column.name][n + i] = row[column.name], typical(column)
    with torch.no_grad():
        wanted = core.raw_output(*core.inputs(tried)).numpy()
    apart = np.nan_to_num(_apart(_raw_output(graph, signature, tried), wanted), nan=1e300, posinf=1e300)
    effect = (apart[:n] - apart[-1]) + (apart[-2] - apart[n : 2 * n])
    name = columns[int(effect.argmax())].name
    return name, row[name]


def _raw_output(graph: bytes, signature: Signature, columns: Columns) -> NDArray[Any]:
    """What the graph says before its last nodes, which publish no such output, ``[rows, ...]``."""
    name = raw_output_name(signature)
    model = onnx.load_from_string(graph)
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    raw: NDArray[Any] = session.run([name], {name: column.reshape(-1, 1) for name, column in columns.items()})[0]
    return raw


def _unit(head: ClassHead | RegressionHead, expected: NDArray[Any]) -> NDArray[Any] | float:
    """What a difference is measured in: 1 for probabilities; for a prediction the standard deviation of the training
    target, or the prediction itself where an exponential made it larger, or 1 where that is the network's own unit."""
    if isinstance(head, ClassHead):
        return 1.0
    unit, name = head.transform.unit, head.transform.name
    return (
        np.maximum(np.abs(expected), unit)
        if name in ("log", "log_link")
        else max(unit, 1.0)
        if name == "none"
        else unit
    )


def _spread(rows: int, wanted: int) -> NDArray[np.int64]:
    """Rows evenly among all, in their order."""
    return np.arange(rows) if wanted >= rows else np.unique(np.linspace(0, rows - 1, wanted).astype(np.int64))


def _run_in_batches(session: Session, columns: Columns, rows: NDArray[np.int64], size: int) -> list[Predictions]:
    chosen = {name: column[rows].reshape(-1, 1) for name, column in columns.items()}
    return [
        session.run_all({name: column[start : start + size] for name, column in chosen.items()})
        for start in range(0, len(rows), size)
    ]


def _answers(parts: Sequence[Predictions]) -> NDArray[Any]:
    """``[rows, classes]`` probabilities, or ``[rows, outputs]`` predictions and bounds."""
    if parts[0].probabilities is not None:
        return np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
    fields = [
        np.concatenate([field for part in parts if (field := getattr(part, name)) is not None])
        for name in ("prediction", "lower", "upper")
        if getattr(parts[0], name) is not None
    ]
    further = [part.further for part in parts if part.further is not None]
    bounds = [*fields[1:], *(np.concatenate(further).T if further else ())]
    return np.stack([fields[0], *bounds[::2], *bounds[1::2]], axis=1)


def _apart(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Largest difference in each row; infinite where one side is not a finite number."""
    finite = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(axis=1)
    return np.where(finite, apart, np.inf)


def _apart_raw(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """The same beside the largest number of the row, or beside 1 where that is larger."""
    size: NDArray[np.float64] = np.maximum(1.0, np.nan_to_num(np.abs(b).max(axis=1), nan=1.0, posinf=1.0))
    return np.asarray(_apart(a, b) / size, np.float64)


def _wrong_labels(
    run: Sequence[Predictions], expected: NDArray[Any], classes: Sequence[str], head: ClassHead | RegressionHead
) -> NDArray[np.int64]:
    """Rows whose label is another one, though the probabilities leave no doubt."""
    assert isinstance(head, ClassHead)
    got = np.array([label for part in run for label in part.labels or ()], dtype=object)
    wanted = np.array(classes, dtype=object)[head.rule.choose(expected)]
    tied = head.rule.margin(expected) <= TOLERANCE
    return np.flatnonzero((got != wanted) & ~tied)


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


# ─── no odd value runs wild ──────────────────────────────────────────────────────────────────────────────────────────


def check_sane(core: Core, odd: OddRows, seen: Columns, target: NDArray[Any], raw: torch.Tensor | None = None) -> None:
    """Whatever one column holds, the answer stays within sight of what training saw.

    A prediction lies in the range of the training rows' targets, extended by half of it at either end; a logit, less
    the mean of its row, in the range of the training rows' logits, extended by once that range (:data:`LEAST_SPAN` at
    least). An odd value that did more would decide alone.

    Args:
        core: what was exported, on the CPU.
        odd: training rows with one odd value each.
        seen: columns ``[rows]`` of the training rows.
        target: of the same rows, ``[rows]``.
        raw: what the network says of the odd rows, if that is known.

    Raises:
        ExportRefused: an answer is farther away; names column and value.
    """
    with torch.no_grad():
        raw = core.raw_output(*core.inputs(odd.columns)) if raw is None else raw
        if isinstance(core.head, RegressionHead):
            answers = core.head.answer(raw)[:, :1].numpy()
            low, high = np.array([target.min() / 2]), np.array([target.max() / 2])
            span = high - low
            low, high, answers = low - span / 2, high + span / 2, answers / 2  # halves do not overflow
            span = np.maximum(span, np.finfo(np.float64).tiny)
            what = "the prediction"
        else:
            some = _spread(_length(seen), min(SEEN_ROWS, rows_of(len(seen), SEEN_ROWS)))
            ordinary = core.raw_output(*core.inputs({name: column[some] for name, column in seen.items()})).numpy()
            ordinary = ordinary - ordinary.mean(axis=1, keepdims=True)
            answers = raw.numpy() - raw.numpy().mean(axis=1, keepdims=True)
            low, high = ordinary.min(axis=0), ordinary.max(axis=0)
            span = np.maximum(high - low, LEAST_SPAN)
            low, high = low - span, high + span
            what = "a logit"
    beyond = np.maximum(low - answers, answers - high) / span
    worst = np.nan_to_num(beyond.max(axis=1), nan=np.inf)
    row = int(worst.argmax())
    if worst[row] > 1e-9:
        name, value = odd.changed[row]
        raise ExportRefused(
            f"a training row in which {name!r} is {_shown(value)} instead moves {what} out of what training saw, by "
            f"{worst[row]:.3g} times its range: one value must not decide alone; {_way_out(name)}"
        )


def _shown(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return "null" if value in ("", MISSING_TIMESTAMP) or value != value else repr(value)


def _way_out(name: str) -> str:
    return f"leave the column out with --drop {named(name)}, or read it as levels with --category {named(name)}"
