"""What can be known before the fit: whether encoder, target and export will do. A refusal costs no epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import ExportRefused, TableError
from rowcast.models.signature import Signature
from rowcast.training.export.gate import GATE_ROWS, pass_gate
from rowcast.training.export.graph import Core, export
from rowcast.training.features.bins import FARTHEST, Bins
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.objective import Objective
from rowcast.training.network.head import RegressionHead

PRECHECK_ROWS = 64
"""Held-out rows that an untrained network is asked."""
PRECHECK_VISITS = 30_000
"""Rows times epochs from which a fit takes longer than export and gate: below, the fit is the cheaper check."""


def check_encoder(encoder: FeatureEncoder) -> None:
    """Whatever a column holds, it is encoded in finite numbers that lie no farther out than those of training rows may.

    Raises:
        ExportRefused: a feature does not; names the column.
    """
    for at, bins in ((encoder.binned_at, encoder.bins), (encoder.binary_at, encoder.binary)):
        if len(at) == 0:
            continue
        encoded = bins(_odd_features(bins))
        wild = ~(torch.isfinite(encoded) & (encoded.abs() <= FARTHEST * 1.001)).all(dim=2).all(dim=0)
        if bool(wild.any()):
            feature = int(at[int(wild.to(torch.int64).argmax())])
            name = _columns_of(encoder)[feature]
            raise ExportRefused(
                f"a value of {name!r} that training did not see would be read as more than {FARTHEST:g} deviations "
                f"from the mean: leave the column out with --drop {named(name)}, or read it as levels with "
                f"--category {named(name)}"
            )


def _odd_features(bins: Bins) -> torch.Tensor:
    """Missing, infinite, huge and small values, and some around, between and at the edges of each, ``[rows, n]``."""
    n, edges = len(bins.lowest), bins.edges.T
    fixed = [float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 0.0, 1.0, -1.0]
    rows = [torch.full((n,), value, dtype=torch.float64) for value in fixed]
    rows += [bins.lowest, bins.highest, bins.lowest / 2 + bins.highest / 2, bins.fill]
    rows += [bins.lowest - bins.lowest.abs() - 1.0, bins.highest + bins.highest.abs() + 1.0]
    return torch.cat([torch.stack(rows), edges, edges[:-1] / 2 + edges[1:] / 2])


def _columns_of(encoder: FeatureEncoder) -> list[str]:
    """The column that each derived feature is made of; of a direction the first."""
    names = list(encoder.numbers)
    for name in encoder.timestamps:
        names += [name] * len(encoder.calendar[name])
    if encoder.oblique is not None:
        angles = encoder.oblique.cosines.shape[-1]
        names += [encoder.numbers[i] for i, _, _ in encoder.oblique.pairs for _ in range(angles)]
    return names


def check_target(objective: Objective, name: str, values: NDArray[Any]) -> None:
    """The training rows' targets are of a size that the graph computes with.

    Raises:
        TableError: they are not.
    """
    if not isinstance(objective.head, RegressionHead):
        return
    if not objective.transform.survives(values):
        size = np.abs(np.clip(values, *objective.transform.range)).max()
        raise TableError(
            f"the target {name!r} must survive the way into the network's units, which are float32, and back, got "
            f"values of up to {size:.3g} that do not: give it in another unit, or try --set "
            "objective.target_transform=standardise"
        )


def precheck(
    core: Core,
    signature: Signature,
    held_out: Mapping[str, NDArray[Any]],
    seen: Mapping[str, NDArray[Any]],
    target: NDArray[Any],
) -> float:
    """Put an untrained network through export and gate.

    Args:
        core: the fitted feature encoder, a network with fresh weights and an uncalibrated head.
        signature: of the model to come.
        held_out: columns ``[rows]`` of rows that no weight will be fitted on.
        seen: columns ``[rows]`` of the training rows.
        target: of the training rows.

    Returns:
        seconds that export and gate of the trained network will take.

    Raises:
        ExportRefused: the graph would be refused whatever is learned.
    """
    started = time.monotonic()
    graph = export(core, signature)
    exported = time.monotonic()
    parity = pass_gate(core, graph, held_out, seen, target, PRECHECK_ROWS)
    always = parity.adversarial_rows + parity.odd_rows
    later = min(len(next(iter(held_out.values()))), GATE_ROWS)
    return (exported - started) + (time.monotonic() - exported) * (later + always) / (parity.rows + always)
