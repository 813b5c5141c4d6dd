"""PyTorch's own exporter: it takes any module, and seconds."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping

import onnx_ir as ir
import torch
from torch import Tensor, nn


def export_by_pytorch(module: nn.Module, inputs: Mapping[str, Tensor], opset: int) -> ir.Graph:
    """The graph of a module, see :func:`rowcast.training.export.trace.trace`.

    The program is captured here: left to itself, the exporter tries three more ways to capture what it cannot.
    """
    with _quiet(), torch.no_grad():
        shapes = ({0: torch.export.Dim.DYNAMIC},) * len(inputs)
        captured = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
        program = torch.onnx.export(
            captured,
            dynamo=True,
            opset_version=opset,
            input_names=list(inputs),
            verbose=False,
        )
    assert program is not None
    return program.model.graph


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
