"""The deep network: a shared-weight ensemble of multilayer perceptrons over embedded columns.

One pass gives the answers of all members (TabM: Gorishniy et al. 2024, "TabM: advancing tabular deep learning with
parameter-efficient ensembling", section 3). ``members=1`` is a plain deep neural network.

    encoded numbers ── NumberEmbedding ─┐
    binary features ────────────────────┼─ MemberScales ─ Linear ─ activation ─ dropout ─ ... ─ Heads
    codes ─────────── CategoryEmbedding ┘

Layers may be normalised and may add to what they get; neither is the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rowcast.training.features.bins import MAX_ENCODED
from rowcast.training.features.encoder import FIRST_LEVEL_CODE, Encoded
from rowcast.training.settings import ComponentConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
}


class NetworkConfig(ComponentConfig):
    """Layers, nodes and activations."""

    members: int = Field(8, ge=1, le=64)
    """Members of the ensemble; 1 is a plain network. 8 buys most of what 32 do at a fifth of the serving cost, and 4 do
    nearly as well in half the time (validation RMSE on California housing .429 against .428, log-loss on Adult .2735
    against .2726)."""
    layers: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field((256, 256), min_length=1, max_length=16)
    """Nodes of each hidden layer. Wider than 256 costs more at serving than it gains on tables of this size."""
    activation: Literal["relu", "leaky_relu", "gelu", "silu", "mish", "selu", "tanh"] = "relu"
    """Between the layers; relu as in TabM, and the cheapest to serve."""
    normalisation: Literal["none", "layer"] = "none"
    """Of each hidden layer, before its activation. Statistics of a batch are not on offer: they would be those of other
    weights than the averaged ones that are kept."""
    residual: bool = False
    """Whether a hidden layer that is as wide as the one before adds to it, for networks of many layers."""
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the nodes that is silenced in training."""
    d_number: int = Field(16, ge=1, le=128)
    """Width of an embedded number; as in TabM. Less when a table has very many columns."""
    d_category: int = Field(16, ge=1, le=128)
    """Width of an embedded category."""


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
        for start, n, count in zip(self.offsets.tolist(), self.level_counts, counts, strict=True):
            table = self.weight[start : start + n]
            share = count.to(table)
            share[:FIRST_LEVEL_CODE] = 0
            mean = (share / share.sum().clamp(min=1.0)) @ table
            for code in range(FIRST_LEVEL_CODE):
                if int(count[code]) == 0:
                    table[code] = mean


class MemberScales(nn.Module):
    """Show each member the columns at scales of its own; all layers behind it are shared.

    It starts as one random factor a column, which makes the members differ (TabM-mini, section 3.3 of the paper above).
    Scales in every layer, as in the full form, made a step 1.2 times as long and gained nothing on Adult (log-loss
    .2729 with, .2726 without).

    Shape: ``[1, rows, d_in] -> [members, rows, d_in]``.
    """

    def __init__(self, members: int, columns: Sequence[int]) -> None:
        """``columns``: the width of each column; together ``d_in``."""
        super().__init__()
        factors = torch.randn(members, 1, len(columns))
        self.weight = nn.Parameter(factors.repeat_interleave(torch.tensor(columns), dim=2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Linear(nn.Module):
    """A linear layer that all members share.

    Shape: ``[members, rows, d_in] -> [members, rows, d_out]``.
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = d_in**-0.5
        self.weight = nn.Parameter(torch.empty(d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weight) + self.bias


class Dropout(nn.Module):
    """Silence nodes in training, the same ones for every member.

    Drawing a mask for each member took a fifth of a training step; sharing one made the fit 1.45 times as fast and left
    the RMSE on California housing where it was (.4529 and .4532).

    Shape: ``[members, rows, d] -> [members, rows, d]``.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return x * nn.functional.dropout(torch.ones_like(x[:1]), self.p)


class Layer(nn.Module):
    """A hidden layer: linear, normalised if asked, activation, dropout; if asked, added to what it got.

    Shape: ``[members, rows, d_in] -> [members, rows, d_out]``.
    """

    def __init__(self, d_in: int, d_out: int, config: NetworkConfig) -> None:
        super().__init__()
        self.linear = Linear(d_in, d_out)
        self.normalisation = nn.LayerNorm(d_out) if config.normalisation == "layer" else nn.Identity()
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = Dropout(config.dropout)
        self.adds = config.residual and d_in == d_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.activation(self.normalisation(self.linear(x))))
        return x + out if self.adds else out


class Heads(nn.Module):
    """The last layer, one for each member; in float64 once trained.

    A single output a row is another product that ONNX Runtime rounds by the number of rows, and here the rounding is
    no longer evened out: with a target of standard deviation 1e6 it moved predictions by .05.

    Shape: ``[members, rows, d_in] -> [members, rows, n_outputs]``.
    """

    def __init__(self, d_in: int, n_outputs: int, members: int) -> None:
        super().__init__()
        bound = d_in**-0.5
        self.weight = nn.Parameter(torch.empty(members, d_in, n_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, n_outputs).uniform_(-bound, bound))

    def keep_first(self) -> None:
        """Forget all outputs but the first: what is not asked for need not be computed."""
        self.weight = nn.Parameter(self.weight[..., :1].contiguous())
        self.bias = nn.Parameter(self.bias[..., :1].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return torch.matmul(x, self.weight) + self.bias
        return torch.matmul(x.to(torch.float64), self.weight.to(torch.float64)) + self.bias


class Network(nn.Module):
    """Embeddings, hidden layers and heads.

    Shape: ``Encoded, [rows, n_categories] int64 -> [members, rows, n_outputs]``.
    """

    def __init__(
        self,
        config: NetworkConfig,
        n_features: int,
        d_encoded: int,
        level_counts: Sequence[int],
        n_outputs: int,
        *,
        n_binary: int = 0,
    ) -> None:
        super().__init__()
        d_limit = max(2, MAX_ENCODED // max(1, n_features + len(level_counts)))
        d_number, d_category = min(config.d_number, d_limit), min(config.d_category, d_limit)
        self.numbers = NumberEmbedding(n_features, d_encoded, d_number) if n_features else None
        self.has_binary = n_binary > 0
        self.categories = CategoryEmbedding(level_counts, d_category) if level_counts else None
        columns = [d_number] * n_features + [2] * n_binary + [d_category] * len(level_counts)
        self.scales = MemberScales(config.members, columns) if config.members > 1 else None
        d_in = sum(columns)
        widths = [d_in, *config.layers]
        self.layers = nn.Sequential(*(Layer(a, b, config) for a, b in pairwise(widths)))
        self.heads = Heads(widths[-1], n_outputs, config.members)

    def forward(self, encoded: Encoded, codes: Tensor) -> Tensor:
        if self.training:
            return self._members(encoded, codes)
        # A row must not be answered by how many there are, but ONNX Runtime multiplies a single row by another kernel
        # than several, which rounds otherwise. So there are always two: the first stands at the end once more.
        return self._members(Encoded(*map(_one_more, encoded)), _one_more(codes))[:, :-1]

    def _members(self, encoded: Encoded, codes: Tensor) -> Tensor:
        parts = []
        if self.numbers is not None:
            parts.append(self.numbers(encoded.numbers))
        if self.has_binary:
            parts.append(encoded.binary.flatten(1))
        if self.categories is not None:
            parts.append(self.categories(codes))
        x = (torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]).unsqueeze(0)
        if self.scales is not None:
            x = self.scales(x)
        out: Tensor = self.heads(self.layers(x))
        return out

    def settle(self, counts: Sequence[Tensor]) -> None:
        """See :meth:`CategoryEmbedding.settle`."""
        if self.categories is not None:
            self.categories.settle(counts)

    def keep_first(self) -> None:
        """See :meth:`Heads.keep_first`."""
        self.heads.keep_first()


class Ensemble(nn.Module):
    """Networks that were trained apart, whose members answer together (Lakshminarayanan et al. 2017).

    Shape: ``Encoded, [rows, n_categories] int64 -> [networks * members, rows, n_outputs]``.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks: Sequence[Network] = nn.ModuleList(networks)  # type: ignore[assignment]

    def forward(self, encoded: Encoded, codes: Tensor) -> Tensor:
        return torch.cat([network(encoded, codes) for network in self.networks])

    def settle(self, counts: Sequence[Tensor]) -> None:
        """See :meth:`CategoryEmbedding.settle`."""
        for network in self.networks:
            network.settle(counts)

    def keep_first(self) -> None:
        """See :meth:`Heads.keep_first`."""
        for network in self.networks:
            network.keep_first()


def _one_more(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows[:1]])
