"""The graph of a network that holds a module of one's own: written if it can be, or refused with the layer's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from rowcast.models.errors import ExportRefused
from rowcast.training.export.operators import OPERATORS
from rowcast.training.export.pytorch import export_by_pytorch
from rowcast.training.export.trace import ROWS, Untranslated, trace
from rowcast.training.network.own import name_of_layer, watched


def trace_at_any_size(module: nn.Module, inputs: Mapping[str, Tensor], opset: int) -> ir.Graph:
    """The graph of a module that is not ours, see :func:`rowcast.training.export.trace.trace`.

    Raises:
        Untranslated: as there; or the graph hangs on the number of rows, which the module has read.
    """
    graph = trace(module, OPERATORS, inputs, opset)
    more = {name: torch.cat([rows, rows[:2]]) for name, rows in inputs.items()}
    if _bytes_of(trace(module, OPERATORS, more, opset)) != _bytes_of(graph):
        raise Untranslated("a size that hangs on the rows")
    return graph


def _bytes_of(graph: ir.Graph) -> bytes:
    return bytes(ir.serde.serialize_graph(graph).SerializeToString(deterministic=True))


def refusal(module: nn.Module, d_in: int, error: Exception, opset: int) -> ExportRefused:
    """What to raise where the exporter failed: with the innermost layer that does not export by itself.

    Args:
        module: one's own, on the CPU and in evaluation mode.
        d_in: width of a row that it takes.
        error: of the exporter.
        opset: version of ONNX's operators.
    """
    taken: dict[str, tuple[Any, ...]] = {}
    with watched(module, lambda layer, inputs, _: taken.setdefault(layer, inputs)), torch.no_grad():
        module(torch.zeros(ROWS, d_in))
    layers = [(name_of_layer(path, layer), layer) for path, layer in module.named_modules()]
    for name, layer in sorted(layers, key=lambda named: -named[0].count(".")):  # the innermost first
        inputs = taken.get(name, ())
        if layer is module or not inputs or not all(isinstance(tensor, Tensor) for tensor in inputs):
            continue
        why = _why_not(layer, {f"x{i}": tensor for i, tensor in enumerate(inputs)}, opset)
        if why is not None:
            return _refused(name, why)
    return _refused(name_of_layer("", module), error)


def _why_not(layer: nn.Module, inputs: Mapping[str, Tensor], opset: int) -> Exception | None:
    try:
        trace(layer, OPERATORS, inputs, opset)
    except Untranslated:
        try:
            export_by_pytorch(layer, inputs, opset)
        except Exception as error:  # noqa: BLE001 - the exporter raises anything
            return error
    return None


def _refused(name: str, error: Exception) -> ExportRefused:
    why = error.__cause__ or error
    line = next((line for line in str(why).splitlines() if line.strip()), type(why).__name__)
    return ExportRefused(
        f"network= must be made of what PyTorch can export to ONNX; {name} is not: {type(why).__name__}: "
        f"{line.strip()[:200]}"
    )
