"""Columns as the first layer takes them: numbers, levels and words embedded, or levels one-hot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from rowcast.training.features.encoder import FIRST_LEVEL_CODE


class NumberEmbedding(nn.Module):
    """Embed each encoded number by its own linear map.

    Starts as a random direction of the number's position among its bins, to which training adds what each bin needs
    (version B of the piecewise-linear embedding in TabM, appendix).

    Shape: ``[rows, n_features, d_encoded] -> [rows, n_features * d]``.
    """

    def __init__(self, n_features: int, d_encoded: int, d: int) -> None:
        super().__init__()
        weight = torch.zeros(n_features, d_encoded, d)
        bound = d**-0.5
        weight[:, -2:].uniform_(-bound, bound)  # position and missing flag; the bins start at 0
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(n_features, 1, d).uniform_(-bound, bound))

    def forward(self, encoded: Tensor) -> Tensor:
        embedded = torch.matmul(encoded.transpose(0, 1), self.weight) + self.bias
        return embedded.transpose(0, 1).flatten(1)


class CategoryEmbedding(nn.Module):
    """Look up a vector for each code; all columns share one table, each with rows of its own.

    Shape: ``[rows, n_categories] -> [rows, n_categories * d]``.
    """

    offsets: Tensor

    def __init__(self, level_counts: Sequence[int], d: int) -> None:
        super().__init__()
        self.level_counts = tuple(level_counts)
        starts = [sum(self.level_counts[:i]) for i in range(len(self.level_counts))]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64))
        self.weight = nn.Parameter(torch.empty(sum(self.level_counts), d).uniform_(-(d**-0.5), d**-0.5))
        self.taught: list[list[int]] = []
        """Of each column the rows that taught it missing values and unknown levels, once it is settled."""

    def forward(self, codes: Tensor) -> Tensor:
        # Not by indexing: on several threads its gradients are added up in whatever order the threads come.
        return nn.functional.embedding(codes + self.offsets, self.weight).flatten(1)

    @torch.no_grad()
    def settle(self, counts: Sequence[Tensor]) -> None:
        """Give codes that no training row held the mean of the levels, weighted by their rows.

        An unseen level then answers like the average one, not like the noise it started from.

        Args:
            counts: for each column the training rows of each code, ``[codes]``.
        """
        self.taught = [count[:FIRST_LEVEL_CODE].tolist() for count in counts]
        for start, n, count in zip(self.offsets.tolist(), self.level_counts, counts, strict=True):
            table = self.weight[start : start + n]
            share = count.to(table)
            share[:FIRST_LEVEL_CODE] = 0
            mean = (share / share.sum().clamp(min=1.0)) @ table
            for code in range(FIRST_LEVEL_CODE):
                if int(count[code]) == 0:
                    table[code] = mean


class OneHot(nn.Module):
    """One node for each code of each column. A code that no training row held has none, and all of them are 0.

    Shape: ``[rows, n_categories] -> [rows, all codes]``.
    """

    kept: Tensor

    def __init__(self, level_counts: Sequence[int]) -> None:
        super().__init__()
        self.level_counts = tuple(level_counts)
        self.register_buffer("kept", torch.ones(sum(self.level_counts)))
        for i, n in enumerate(self.level_counts):
            self.register_buffer(f"codes_{i}", torch.arange(n), persistent=False)
        self.taught: list[list[int]] = []
        """See :class:`CategoryEmbedding`."""

    def forward(self, codes: Tensor) -> Tensor:
        columns = [codes[:, i : i + 1] == getattr(self, f"codes_{i}") for i in range(len(self.level_counts))]
        return torch.cat(columns, dim=1).to(torch.float32) * self.kept

    @torch.no_grad()
    def settle(self, counts: Sequence[Tensor]) -> None:
        """Silence the codes that no training row held; ``counts`` as for :meth:`CategoryEmbedding.settle`."""
        self.taught = [count[:FIRST_LEVEL_CODE].tolist() for count in counts]
        self.kept.copy_(torch.cat([count > 0 for count in counts]).to(self.kept))


class WordEmbedding(nn.Module):
    """Add up the vectors of the words that a text holds, over the square root of how many they are.

    A text without any has a vector of its own. It and that of a missing text start at 0, and stay there if no training
    row is of the kind.

    Shape: ``[rows, all words] -> [rows, n_columns * d]``.
    """

    def __init__(self, word_counts: Sequence[int], d: int) -> None:
        """``word_counts``: of each column the words and one for missing, which comes first."""
        super().__init__()
        self.word_counts = tuple(word_counts)
        self.weight = nn.Parameter(torch.empty(sum(self.word_counts), d).uniform_(-(d**-0.5), d**-0.5))
        self.none = nn.Parameter(torch.zeros(len(self.word_counts), d))
        with torch.no_grad():
            self.weight[list(self._starts())] = 0.0

    def _starts(self) -> Iterator[int]:
        return accumulate(self.word_counts[:-1], initial=0)

    def forward(self, bags: Tensor) -> Tensor:
        columns = []
        for i, (start, n) in enumerate(zip(self._starts(), self.word_counts, strict=True)):
            bag = bags[:, start : start + n]
            held = bag.sum(1, keepdim=True)
            columns.append(
                torch.matmul(bag, self.weight[start : start + n]) / torch.sqrt(torch.clamp(held, 1.0, float(n)))
                + (held == 0.0).to(torch.float32) * self.none[i]
            )
        return torch.cat(columns, dim=1) if len(columns) > 1 else columns[0]
