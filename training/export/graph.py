"""From the trained network to one ONNX graph that takes raw columns.

The core is written down while it runs (:mod:`rowcast.training.export.trace`): numbers, timestamps and codes in, answers
out. In front of it go the nodes that make these of the named columns:

    number columns ──── Concat ──────────────────────────────── numbers ─┐
    timestamp columns ─ Concat ───────────────────────────── timestamps ─┤ core ─ probabilities ─ ArgMax ─ label
    category columns ── Concat ─ LabelEncoder ─ Add ─ Gather ─── codes ──┤
    text columns ────── StringSplit ─ TfIdfVectorizer ────────── words ──┘

Where a threshold was asked for, other nodes stand in ArgMax's place (:mod:`rowcast.training.network.labels`).

One LabelEncoder over the union of all vocabularies and a table of codes per column cost 8 us where an encoder a column
costs 93 us (50 columns). A column of very many levels gets an encoder of its own, since its row in the table would be
mostly empty. Texts are in :mod:`rowcast.training.export.words`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rowcast.models.signature import METADATA_KEY, Signature
from rowcast.training.export.operators import OPERATORS
from rowcast.training.export.own import refusal, trace_at_any_size
from rowcast.training.export.pytorch import export_by_pytorch
from rowcast.training.export.trace import ROWS, Untranslated, trace
from rowcast.training.export.words import put_words
from rowcast.training.features.encoder import FIRST_LEVEL_CODE, MISSING_CODE, UNKNOWN_CODE, FeatureEncoder
from rowcast.training.network.head import ClassHead, RegressionHead
from rowcast.training.network.network import Embedded, Ensemble
from rowcast.training.network.own import OwnNetwork

OPSET, OPSET_ML, IR_VERSION = 20, 4, 10
UNION_LIMIT = 1000
"""A column with more levels than this gets an encoder of its own."""


class Core(nn.Module):
    """Everything between codes and answers: calendar, encoding, network, head.

    Shape: ``numbers [rows, n_numbers] float64, timestamps [rows, n_timestamps] int64, codes [rows, n_categories]
    int64``, and ``words [rows, all words] float32`` where columns are read word by word, to ``[rows, classes]
    float32``, or ``[rows, 3] float64`` (prediction, lower, upper, and further bounds), ``[rows, 1]`` without intervals.
    """

    def __init__(self, encoder: FeatureEncoder, network: Embedded | Ensemble, head: ClassHead | RegressionHead) -> None:
        super().__init__()
        self.encoder, self.network, self.head = encoder, network, head

    @property
    def fronts(self) -> tuple[FeatureEncoder, ...]:
        """What reads the columns: several where networks of several folds answer together."""
        return (self.encoder,)

    def inputs(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Tensor, ...]:
        """What :meth:`raw_output` takes of columns ``[rows]``, front after front."""
        return tuple(value for front in self.fronts for value in front.inputs(columns))

    def fingerprint(self) -> str:
        """SHA-256 over everything that was fitted on columns."""
        return self.encoder.fingerprint()

    def raw_output(self, *inputs: Tensor) -> Tensor:
        """What the network says before the head makes an answer of it: logits, or targets in the network's units.

        Shape: ``[rows, classes]`` or ``[rows, n_outputs]``, float64. Two probabilities of 1 hide whatever lies between
        their logits.
        """
        numbers, timestamps, codes, *words = inputs
        encoded = self.encoder.encode(self.encoder.derive(numbers, timestamps))
        out: Tensor = self.head.raw_output(self.network(encoded, codes, *words))
        return out

    def forward(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.head.answer(self.raw_output(*inputs))
        return out


class _Both(nn.Module):
    """A core that gives what it says beside its answers, so that the gate finds it in the graph."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.core.raw_output(*inputs)
        return self.core.head.answer(raw), raw


class _BothNamed(_Both):
    """The same with named inputs, as PyTorch's exporter needs them."""

    def forward(  # type: ignore[override]
        self, numbers: Tensor, timestamps: Tensor, codes: Tensor, words: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return super().forward(numbers, timestamps, codes, *(() if words is None else (words,)))


def export(core: Core, signature: Signature) -> bytes:
    """Write the graph.

    Args:
        core: trained, in evaluation mode; it is exported from the CPU.
        signature: its columns become the inputs, and it travels in the metadata.

    Raises:
        ExportRefused: a module of one's own does not export; names the layer.
    """
    core = core.cpu().eval()
    examples: dict[str, Tensor] = {}
    for front, behind in _named(core.fronts):
        examples[f"numbers{behind}"] = torch.zeros(ROWS, len(front.numbers), dtype=torch.float64)
        examples[f"timestamps{behind}"] = torch.zeros(ROWS, len(front.timestamps), dtype=torch.int64)
        examples[f"codes{behind}"] = torch.zeros(ROWS, len(front.categories), dtype=torch.int64)
        if front.words:
            examples[f"words{behind}"] = torch.zeros(ROWS, front.bags.width)
    graph = _graph_of(core, examples)
    graph.opset_imports["ai.onnx.ml"] = OPSET_ML
    graph.name = "rowcast"
    inside = _inside(signature)
    for node in graph:  # PyTorch names values "cat" or "add", which may be names of columns
        for value in node.outputs:
            value.name = f"{inside}core.{value.name}"
    for value in list(graph.initializers.values()):
        value.name = f"{inside}core.{value.name}"
    graph.outputs.pop().name = raw_output_name(signature)
    _put_inputs(graph, core.fronts, signature, f"{inside}inputs.")
    _put_outputs(graph, core.head, signature, f"{inside}head.")
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="rowcast", producer_version="1")
    model.metadata_props[METADATA_KEY] = signature.model_dump_json()
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


def _named(fronts: Sequence[FeatureEncoder]) -> list[tuple[FeatureEncoder, str]]:
    """Each front, and what stands behind the names of its values: nothing where there is one."""
    return [(front, "" if len(fronts) == 1 else f".{i}") for i, front in enumerate(fronts)]


def _graph_of(core: Core, examples: Mapping[str, Tensor]) -> ir.Graph:
    """Of everything between codes and answers, by the quick way, or else by PyTorch's."""
    own = next((part for part in core.network.modules() if isinstance(part, OwnNetwork)), None)
    try:
        if own is not None:
            return trace_at_any_size(_Both(core), examples, OPSET)
        return trace(_Both(core), OPERATORS, examples, OPSET)
    except Untranslated:
        try:
            return export_by_pytorch(_BothNamed(core), examples, OPSET)
        except Exception as error:
            if own is None:
                raise
            raise refusal(own.module, own.d_in, error, OPSET) from error


def _inside(signature: Signature) -> str:
    """What the names of the graph's own values begin with: nothing, or as many ``_`` as no column begins with."""
    inside = ""
    while any(name.startswith(f"{inside}{part}.") for name in signature.names for part in ("inputs", "core", "head")):
        inside += "_"
    return inside


def raw_output_name(signature: Signature) -> str:
    """The value inside the graph that holds the raw outputs, see :meth:`Core.raw_output`; no output of it."""
    return f"{_inside(signature)}head.raw_output"


def _put_inputs(graph: ir.Graph, fronts: Sequence[FeatureEncoder], signature: Signature, prefix: str) -> None:
    """Replace the core's inputs by named columns; ``prefix`` begins the names of what is put between.

    What several fronts read alike is read once: columns side by side, and the levels of categories.
    """
    types = {np.dtype(object): ir.DataType.STRING, np.dtype(np.int64): ir.DataType.INT64}
    inputs = {
        column.name: ir.val(column.name, types.get(column.dtype, ir.DataType.DOUBLE), ["rows", 1])
        for column in signature.columns
    }
    nodes: list[ir.Node] = []
    old = {value.name: value for value in graph.inputs}

    def node(
        op: str,
        values: Sequence[ir.Value],
        name: str,
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
        outputs: int = 1,
    ) -> ir.Value:
        made = ir.node(op, list(values), dict(attributes or {}), domain=domain, num_outputs=outputs)
        made.outputs[0].name = f"{prefix}{name}"
        for i, other in enumerate(made.outputs[1:], 1):
            other.name = f"{prefix}{name}.{i}"
        nodes.append(made)
        return made.outputs[0]

    def constant(name: str, array: NDArray[Any]) -> ir.Value:
        name = f"{prefix}{name}"
        if array.dtype == object:
            texts = [text.encode() for text in array.reshape(-1).tolist()]
            value = ir.val(name, const_value=ir.StringTensor(texts, shape=ir.Shape(array.shape), name=name))
        else:
            value = ir.val(name, const_value=ir.tensor(array, name=name))
        graph.register_initializer(value)
        return value

    joined: dict[tuple[ir.Value, ...], ir.Value] = {}

    def side_by_side(values: Sequence[ir.Value], name: str) -> ir.Value:
        if len(values) == 1:
            return values[0]
        if tuple(values) not in joined:
            joined[tuple(values)] = node("Concat", values, name, {"axis": 1})
        return joined[tuple(values)]

    def label_encoder(
        value: ir.Value, levels: Sequence[str], ids: NDArray[np.int64], default: int, name: str
    ) -> ir.Value:
        attributes = {
            "keys_tensor": ir.StringTensor([level.encode() for level in levels], shape=ir.Shape([len(levels)])),
            "values_tensor": ir.tensor(ids),
            "default_tensor": ir.tensor(np.array([default], np.int64)),
        }
        return node("LabelEncoder", [value], name, attributes, domain="ai.onnx.ml")

    known = {name: [front for front in fronts if name in front.categories] for name in signature.names}
    shared = [
        name
        for name, readers in known.items()
        if readers and all(len(front.vocabularies[name]) <= UNION_LIMIT for front in readers)
    ]
    union = sorted(
        {level for name in shared for front in known[name] for level in (*front.nulls[name], *front.vocabularies[name])}
    )

    @functools.cache
    def ids_of_levels() -> ir.Value:
        text = side_by_side([inputs[name] for name in shared], "levels")
        return label_encoder(text, union, np.arange(1, len(union) + 1), 0, "level_ids")

    def codes_of(front: FeatureEncoder, behind: str) -> ir.Value:
        mine = [name for name in shared if name in front.categories]
        codes: dict[str, ir.Value] = {}
        if mine:
            read = ids_of_levels()
            table = constant(
                f"codes_of_ids{behind}",
                _codes_of_ids(union, [(front.vocabularies[name], front.nulls[name]) for name in mine]),
            )
            if mine != shared:
                places = np.array([shared.index(name) for name in mine], np.int64)
                read = node("Gather", [read, constant(f"shared{behind}", places)], f"ids{behind}", {"axis": 1})
            starts = constant(f"row_of_column{behind}", np.arange(len(mine), dtype=np.int64) * (len(union) + 1))
            together = node("Gather", [table, node("Add", [read, starts], f"places{behind}")], f"shared_codes{behind}")
        for name in front.categories:
            if name not in shared:
                levels = [*front.nulls[name], *front.vocabularies[name]]
                last = FIRST_LEVEL_CODE + len(front.vocabularies[name])
                own = np.array([*[MISSING_CODE] * len(front.nulls[name]), *range(FIRST_LEVEL_CODE, last)], np.int64)
                codes[name] = label_encoder(inputs[name], levels, own, UNKNOWN_CODE, f"codes{behind}.{name}")
        if not codes:
            return together
        # put the columns back into the encoder's order
        blocks = ([together] if mine else []) + list(codes.values())
        order = [*mine, *codes]
        merged = side_by_side(blocks, f"codes_by_block{behind}")
        if order != list(front.categories):
            places = np.array([order.index(name) for name in front.categories], np.int64)
            merged = node("Gather", [merged, constant(f"order{behind}", places)], f"codes{behind}", {"axis": 1})
        return merged

    for front, behind in _named(fronts):
        if front.numbers:
            numbers = side_by_side([inputs[name] for name in front.numbers], f"numbers{behind}")
            ir.convenience.replace_all_uses_with(old[f"numbers{behind}"], numbers)
        if front.timestamps:
            timestamps = side_by_side([inputs[name] for name in front.timestamps], f"timestamps{behind}")
            ir.convenience.replace_all_uses_with(old[f"timestamps{behind}"], timestamps)
        if front.categories:
            ir.convenience.replace_all_uses_with(old[f"codes{behind}"], codes_of(front, behind))
        if front.words:
            bags = put_words(front.bags, inputs, node, constant, behind)
            ir.convenience.replace_all_uses_with(old[f"words{behind}"], side_by_side(bags, f"words{behind}"))

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


def _in_order_of_head(signature: Signature) -> list[str]:
    """The outputs of a regression as its head has them side by side."""
    prediction, *bounds = signature.outputs
    bounds += signature.further_outputs
    return [prediction, *bounds[::2], *bounds[1::2]]


def _put_outputs(graph: ir.Graph, head: ClassHead | RegressionHead, signature: Signature, prefix: str) -> None:
    """Name the outputs: label and probabilities, or prediction, lower and upper."""
    answers = graph.outputs[0]
    graph.outputs.clear()
    if isinstance(head, RegressionHead):
        outputs = [answers]
        names = _in_order_of_head(signature)
        if len(names) > 1:
            ones = np.ones(len(names), np.int64)
            sizes = ir.val(f"{prefix}sizes", const_value=ir.tensor(ones, name=f"{prefix}sizes"))
            graph.register_initializer(sizes)
            split = ir.node("Split", [answers, sizes], {"axis": 1}, num_outputs=len(names))
            graph.append(split)
            outputs = list(split.outputs)
        for value, name in zip(outputs, names, strict=True):
            value.name = name
            value.type, value.shape = ir.TensorType(ir.DataType.DOUBLE), ir.Shape(["rows", 1])
        wanted = [*signature.outputs, *signature.further_outputs]
        graph.outputs.extend(sorted(outputs, key=lambda value: wanted.index(value.name or "")))
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
    label = ir.node("Gather", [classes, head.rule.put(graph, answers, prefix)], {"axis": 0})
    graph.append(label)
    out = label.outputs[0]
    out.name, out.type, out.shape = "label", ir.TensorType(ir.DataType.STRING), ir.Shape(["rows", 1])
    answers.name = "probabilities"
    answers.type, answers.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["rows", len(signature.classes)])
    graph.outputs.extend([out, answers])
