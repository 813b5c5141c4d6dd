"""Numbers as how far they have come through their quantile bins, fitted on training rows and nothing else.

Bins are as fine as the values are apart, wherever they lie: what parts two values is the spacing of doubles at their
own size (a unit in the last place), so that one value of 1e30 takes nothing from those between 0 and 100, and
1e14 + 1 is told from 1e14 + 2. What differs by rounding alone is one value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rowcast.training.features.spacing import edges_of, is_flat, median, pulled_in

MAX_ENCODED = 4096
"""Bins of all numbers together: a table of thousands of columns gets fewer bins for each, and bounded memory."""
FARTHEST = 20.0
"""Deviations of a position from the mean at most: a binary feature that one row in ten thousand holds would be at 100,
and that row alone would have to teach the network what to make of it."""


class Bins(nn.Module):
    """Quantile bins of some features. Build it with :func:`fit_bins`.

    Shape: ``[rows, n] float64 -> [rows, n, bins + 2] float32``.
    """

    edges: Tensor
    inverse_widths: Tensor
    fill: Tensor
    lowest: Tensor
    highest: Tensor
    shows_missing: Tensor
    position_mean: Tensor
    position_scale: Tensor

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, features: Tensor) -> Tensor:
        """Encode numbers by how far they have come through their bins."""
        absent = torch.isnan(features)
        value = torch.where(absent, self.fill, features)
        value = torch.minimum(torch.maximum(value, self.lowest), self.highest)
        through = ((value.unsqueeze(-1) - self.edges) * self.inverse_widths).clamp(0.0, 1.0)
        shown = absent.logical_and(self.shows_missing).to(torch.float64).unsqueeze(-1)
        position = (through.sum(-1, keepdim=True) - self.position_mean) * self.position_scale
        # A missing value that training saw is its own thing: only the flag speaks.
        return torch.cat([torch.cat([through, position], dim=-1) * (1.0 - shown), shown], dim=-1).to(torch.float32)


def fit_bins(features: Sequence[NDArray[np.float64]], max_bins: int, rounding: Sequence[float] | None = None) -> Bins:
    """Quantile bins of every feature, padded to the same count with bins that always read 0.

    Args:
        features: training rows ``[rows]`` of each, NaN where missing.
        max_bins: bins of one at most; fewer when there are thousands of features. With 1, a position is a number on its
            own scale, at mean 0 and deviation 1.
        rounding: what values of each may be off, besides what their own size says.
    """
    n_bins = 1 if max_bins == 1 else max(2, min(max_bins, MAX_ENCODED // max(1, len(features))))
    off = [0.0] * len(features) if rounding is None else list(rounding)
    held = [pulled_in(feature) for feature in features]
    edges = [edges_of(present, n_bins, o) for present, o in zip(held, off, strict=True)]
    width = max((len(e) - 1 for e in edges), default=1)
    shape = (len(features), width)
    left, inverse = np.zeros(shape), np.zeros(shape)
    fill, lowest, highest, mean, scale = (np.zeros(len(features)) for _ in range(5))
    for i, (present, edge) in enumerate(zip(held, edges, strict=True)):
        left[i, : len(edge) - 1] = edge[:-1]
        inverse[i, : len(edge) - 1] = 1.0 / np.diff(edge)
        fill[i] = median(present) if len(present) else 0.0
        lowest[i], highest[i] = edge[0], edge[-1]
        position = np.interp(present, edge, np.arange(len(edge))) if len(present) else np.zeros(1)
        mean[i] = position.mean()
        if is_flat(present, off[i]):  # the rows say nothing about any other value, so neither does this feature
            lowest[i] = highest[i] = np.clip(fill[i], edge[0], edge[-1])
        else:
            scale[i] = 1.0 / max(float(position.std()), (len(edge) - 1 - mean[i]) / FARTHEST, mean[i] / FARTHEST)
    return Bins(
        {
            "edges": left,
            "inverse_widths": inverse,
            "fill": fill,
            "lowest": lowest,
            "highest": highest,
            "shows_missing": np.array([bool(np.isnan(feature).any()) for feature in features], dtype=bool),
            "position_mean": mean[:, None],
            "position_scale": scale[:, None],
        }
    )
