"""What a network is asked when there is no target: what each column of a row held before a share of them was changed.

Values of a row are taken from other rows, and the network says what stood there: of a number its place among its bins,
of a category its level. Whoever does that well knows how columns go together. Sources: reconstruction in Rubachev et
al. 2022, "Revisiting pretraining objectives for tabular deep learning" (arXiv 2207.03208), section 3; corruption by
values of other rows as in Bahri et al. 2022 (SCARF). Words of texts are told to the network, and it is not asked for
them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rowcast.training.features.encoder import FeatureEncoder

MOST_CODES = 256
"""Codes of a category that are told apart, the commonest ones: an output each is kept in memory for every row."""


class Reconstruction:
    """The loss of a network that says what columns held.

    Args:
        encoder: fitted; its features and categories are the columns.

    Outputs are ``[members, rows, n_outputs]``: a place for each number, then a logit for each code of each category.
    Targets are ``[rows, n_numbers + n_categories]`` float32: places, NaN where missing, and codes.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        self.n_numbers = encoder.n_features + encoder.n_binary
        self.codes = [min(n, MOST_CODES) for n in encoder.level_counts]
        self.n_outputs = self.n_numbers + sum(self.codes)
        self.n_columns = self.n_numbers + len(self.codes)
        self._encoder = encoder

    def targets(self, features: Tensor, codes: Tensor) -> Tensor:
        """What rows hold, from what :meth:`FeatureEncoder.derive` gives and the codes."""
        encoded = self._encoder.encode(features)
        places = torch.cat([encoded.numbers[..., -2], encoded.binary[..., -2]], dim=1)
        at = torch.cat([self._encoder.binned_at, self._encoder.binary_at])
        places = places.masked_fill(torch.isnan(features[:, at]), torch.nan)
        return torch.cat([places, codes.to(torch.float32)], dim=1)

    def loss(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None = None) -> Tensor:
        """Mean over columns, members and rows: squared errors of places, whose deviation is 1, and the log-loss of
        codes over that of a guess. About 1 knows nothing."""
        members, n = outputs.shape[0], self.n_numbers
        wanted = target[:, :n]
        present = ~torch.isnan(wanted)
        errors = torch.where(present, outputs[..., :n] - wanted.nan_to_num(0.0), 0.0).square().mean(dim=0)
        total = (errors.sum(dim=0) / present.sum(dim=0).clamp(min=1)).sum()
        at = n
        for i, count in enumerate(self.codes):
            codes = target[:, n + i].to(torch.int64).clamp(max=count - 1)
            logits = outputs[..., at : at + count].flatten(0, 1)
            total = total + F.cross_entropy(logits, codes.repeat(members)) / math.log(count)
            at += count
        return total / self.n_columns

    def score(self, outputs: Tensor, target: Tensor, of_rows: Tensor | None = None) -> Tensor:
        """What early stopping watches: the same."""
        return self.loss(outputs, target)
