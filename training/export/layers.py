"""What a network is made of, as it is written beside its weights: layers, shapes, parameters."""

from __future__ import annotations

import itertools
import json
from typing import Any

import torch
from torch import Tensor, nn

from rowcast.models.summary import LAYERS_KEY
from rowcast.training.export.graph import Core
from rowcast.training.network.network import Ensemble

_LEAST_ROWS = 11


def layers_of(core: Core) -> list[dict[str, Any]]:
    """The layers of a network in the order in which they run.

    Args:
        core: on the CPU, in evaluation mode.

    Returns:
        of each layer ``name``, ``kind``, ``shape`` of its output (a word for the rows) and ``parameters``; after the
        embeddings, what all columns are side by side. Of networks that were trained apart, those of the first, with how
        many there are as ``times``.
    """
    whole = core.network
    times = len(whole.networks) if isinstance(whole, Ensemble) else 1
    network = whole.networks[0] if isinstance(whole, Ensemble) else whole
    encoder, found = core.encoder, dict[str, dict[str, Any]]()
    rows = _rows_unlike_widths(core)
    with torch.no_grad():
        numbers = torch.zeros(rows, len(encoder.numbers), dtype=torch.float64)
        timestamps = torch.zeros(rows, len(encoder.timestamps), dtype=torch.int64)
        codes = torch.zeros(rows, len(encoder.categories), dtype=torch.int64)
        hooks = [
            layer.register_forward_hook(_note(found, path, times, rows))
            for path, layer in network.named_modules()
            if path and (not list(layer.children()) or list(layer.parameters(recurse=False)))
        ]
        try:
            words = torch.zeros(rows, encoder.bags.width) if encoder.words else None
            network(encoder.encode(encoder.derive(numbers, timestamps)), codes, words)
        finally:
            for hook in hooks:
                hook.remove()
    embedded = [layer for layer in found.values() if layer["name"] in ("numbers", "categories", "texts")]
    columns = {"name": "columns", "kind": "Encoded", "shape": ["rows", network.d_in], "parameters": 0, "times": times}
    return [*embedded, columns, *(layer for layer in found.values() if layer not in embedded)]


def layers_metadata(layers: list[dict[str, Any]]) -> dict[str, str]:
    """What :func:`layers_of` found as metadata of a safetensors file."""
    return {LAYERS_KEY: json.dumps(layers)}


def _rows_unlike_widths(core: Core) -> int:
    """A few rows, as many as nothing else in the network has, so that a shape tells where the rows are."""
    arrays = [*core.parameters(), *core.buffers()]
    widths = {size for array in arrays for size in array.shape}
    return next(n for n in itertools.count(_LEAST_ROWS) if not {n, n + 1} & widths)


def _note(found: dict[str, dict[str, Any]], path: str, times: int, rows: int) -> Any:
    def note(layer: nn.Module, _: Any, out: Any) -> None:
        does_nothing = isinstance(layer, nn.Identity) or getattr(layer, "p", None) == 0.0  # a dropout of nothing
        if does_nothing or path in found:
            return
        # In evaluation there is one row more, see Embedded.forward.
        sizes = list(out.shape) if isinstance(out, Tensor) else []
        shape = ["rows" if size in (rows, rows + 1) else size for size in sizes]
        parameters = sum(parameter.numel() for parameter in layer.parameters(recurse=bool(not list(layer.children()))))
        found[path] = {
            "name": path,
            "kind": type(layer).__name__,
            "shape": shape,
            "parameters": parameters,
            "times": times,
        }

    return note
