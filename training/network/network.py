"""The deep network: a shared-weight ensemble of multilayer perceptrons over embedded columns.

One pass gives the answers of all members (TabM: Gorishniy et al. 2024, "TabM: advancing tabular deep learning with
parameter-efficient ensembling", section 3). ``members=1`` is a plain deep neural network.

    encoded numbers ── NumberEmbedding ─┐
    binary features ────────────────────┼─ MemberScales ─ Linear ─ activation ─ dropout ─ ... ─ Heads
    codes ─────────── CategoryEmbedding ┤
    words ─────────── WordEmbedding ────┘

Layers may be normalised and may add to what they get; neither is the default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rowcast.training.features.bins import MAX_ENCODED
from rowcast.training.features.encoder import Encoded
from rowcast.training.network.embedding import CategoryEmbedding, NumberEmbedding, OneHot, WordEmbedding
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
    normalisation: Literal["none", "layer", "batch"] = "none"
    """Of each hidden layer, before its activation. layer: over the nodes of a row. batch: over the rows of a batch, and
    once trained by statistics that are averaged as the weights are."""
    residual: bool = False
    """Whether a hidden layer that is as wide as the one before adds to it, for networks of many layers."""
    module: str = ""
    """Name of a torch module of one's own, which stands behind the embeddings in place of all layers. Python alone
    gives one, as rowcast.fit(..., network=...); it is written down here."""
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the nodes that is silenced in training."""
    d_number: int = Field(16, ge=1, le=128)
    """Width of an embedded number; as in TabM. Less when a table has very many columns."""
    d_category: int = Field(16, ge=1, le=128)
    """Width of an embedded category."""
    d_text: int = Field(32, ge=1, le=256)
    """Width of a text that is read word by word."""
    levels: Literal["embedding", "one_hot"] = "embedding"
    """Of categories: a learned vector for each level, or a node for each level."""


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

    def keep_members(self, which: Tensor) -> None:
        """Forget all members but these."""
        self.weight = nn.Parameter(self.weight[which].contiguous())

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


class BatchNorm(nn.Module):
    """Each node of each member at mean 0 and deviation 1 over the rows of a batch, then a scale and a shift (Ioffe and
    Szegedy 2015). Once trained a fixed scale and shift, by the running statistics of training.

    Shape: ``[members, rows, d] -> [members, rows, d]``.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, members: int, d: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(d))
        self.register_buffer("running_mean", torch.zeros(members, 1, d))
        self.register_buffer("running_var", torch.ones(members, 1, d))
        self.total: Callable[[Tensor], Tensor] | None = None
        """Adds up a tensor over the processes that share a batch, where there are several; gradients flow through."""

    def keep_members(self, which: Tensor) -> None:
        """Forget all members but these."""
        self.running_mean, self.running_var = self.running_mean[which], self.running_var[which]

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean, var = self._moments(x)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(var + self.eps)
        return x * scale + (self.bias - mean * scale)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over the rows of a batch, ``[members, 1, d]`` each."""
        if self.total is None:
            return x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, correction=0)
        rows = self.total(torch.tensor(float(x.shape[1]), device=x.device))
        mean = self.total(x.sum(dim=1, keepdim=True)) / rows
        return mean, self.total(((x - mean) ** 2).sum(dim=1, keepdim=True)) / rows


class Layer(nn.Module):
    """A hidden layer: linear, normalised if asked, activation, dropout; if asked, added to what it got.

    Shape: ``[members, rows, d_in] -> [members, rows, d_out]``.
    """

    def __init__(self, d_in: int, d_out: int, config: NetworkConfig) -> None:
        super().__init__()
        self.linear = Linear(d_in, d_out)
        self.normalisation = _normalisation(config.members, d_out, config)
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = Dropout(config.dropout)
        self.adds = config.residual and d_in == d_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.activation(self.normalisation(self.linear(x))))
        return x + out if self.adds else out


def _normalisation(members: int, d: int, config: NetworkConfig) -> nn.Module:
    if config.normalisation == "batch":
        return BatchNorm(members, d)
    return nn.LayerNorm(d) if config.normalisation == "layer" else nn.Identity()


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

    def keep_members(self, which: Tensor) -> None:
        """Forget all members but these."""
        self.weight = nn.Parameter(self.weight[which].contiguous())
        self.bias = nn.Parameter(self.bias[which].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return torch.matmul(x, self.weight) + self.bias
        return torch.matmul(x.to(torch.float64), self.weight.to(torch.float64)) + self.bias


class Embedded(nn.Module, ABC):
    """Columns side by side, embedded; what the networks of this module stand on.

    Shape: ``Encoded, [rows, n_categories] int64 -> [members, rows, n_outputs]``; where columns are read word by word,
    ``[rows, all words] float32`` is a third input.
    """

    def __init__(
        self,
        config: NetworkConfig,
        n_features: int,
        d_encoded: int,
        level_counts: Sequence[int],
        n_binary: int,
        word_counts: Sequence[int] = (),
    ) -> None:
        super().__init__()
        d_limit = max(2, MAX_ENCODED // max(1, n_features + len(level_counts)))
        d_number, d_category = min(config.d_number, d_limit), min(config.d_category, d_limit)
        self.numbers = NumberEmbedding(n_features, d_encoded, d_number) if n_features else None
        self.has_binary = n_binary > 0
        self.categories: CategoryEmbedding | OneHot | None = None
        widths = [d_category] * len(level_counts)
        if level_counts and config.levels == "one_hot":
            self.categories, widths = OneHot(level_counts), list(level_counts)
        elif level_counts:
            self.categories = CategoryEmbedding(level_counts, d_category)
        self.texts = WordEmbedding(word_counts, config.d_text) if word_counts else None
        self.columns = [d_number] * n_features + [2] * n_binary + widths + [config.d_text] * len(word_counts)
        """Width of each column."""
        self.held: Any = None
        """What no step moves, see :class:`rowcast.training.fit.optimizer.Held`."""

    @property
    def d_in(self) -> int:
        """Width of all columns."""
        return sum(self.columns)

    def forward(self, encoded: Encoded, codes: Tensor, words: Tensor | None = None) -> Tensor:
        if self.training:
            return self._members(self._side_by_side(encoded, codes, words))
        # A row must not be answered by how many there are, but ONNX Runtime multiplies a single row by another kernel
        # than several, which rounds otherwise. So there are always two: the first stands at the end once more.
        if words is not None:
            words = _one_more(words)
        return self._members(self._side_by_side(Encoded(*map(_one_more, encoded)), _one_more(codes), words))[:, :-1]

    def _side_by_side(self, encoded: Encoded, codes: Tensor, words: Tensor | None) -> Tensor:
        """``[rows, d_in]`` float32."""
        parts = []
        if self.numbers is not None:
            parts.append(self.numbers(encoded.numbers))
        if self.has_binary:
            parts.append(encoded.binary.flatten(1))
        if self.categories is not None:
            parts.append(self.categories(codes))
        if self.texts is not None:
            parts.append(self.texts(words))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    @abstractmethod
    def _members(self, x: Tensor) -> Tensor:
        """``[rows, d_in] -> [members, rows, n_outputs]``."""

    def settle(self, counts: Sequence[Tensor]) -> None:
        """See :meth:`CategoryEmbedding.settle`."""
        if self.categories is not None:
            self.categories.settle(counts)
        if self.held is not None:
            self.held.put_back()

    @abstractmethod
    def keep_first(self) -> None:
        """Forget all outputs but the first: what is not asked for need not be computed."""


class Network(Embedded):
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
        word_counts: Sequence[int] = (),
    ) -> None:
        super().__init__(config, n_features, d_encoded, level_counts, n_binary, word_counts)
        self.scales = MemberScales(config.members, self.columns) if config.members > 1 else None
        widths = [self.d_in, *config.layers]
        self.layers = nn.Sequential(*(Layer(a, b, config) for a, b in pairwise(widths)))
        self.heads = Heads(widths[-1], n_outputs, config.members)

    def _members(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0)
        if self.scales is not None:
            x = self.scales(x)
        out: Tensor = self.heads(self.layers(x))
        return out

    def keep_first(self) -> None:
        """See :meth:`Heads.keep_first`."""
        self.heads.keep_first()

    def keep_members(self, which: Sequence[int]) -> None:
        """Forget all members but these: a member is its scales, its running statistics and its head."""
        at = torch.tensor(which, dtype=torch.int64, device=self.heads.weight.device)
        for module in self.modules():
            if isinstance(module, MemberScales | BatchNorm | Heads):
                module.keep_members(at)


class Ensemble(nn.Module):
    """Networks that were trained apart, whose members answer together (Lakshminarayanan et al. 2017).

    Shape: ``Encoded, [rows, n_categories] int64 -> [networks * members, rows, n_outputs]``.
    """

    def __init__(self, networks: Sequence[Embedded]) -> None:
        super().__init__()
        self.networks: Sequence[Embedded] = nn.ModuleList(networks)  # type: ignore[assignment]

    def forward(self, encoded: Encoded, codes: Tensor, words: Tensor | None = None) -> Tensor:
        return torch.cat([network(encoded, codes, words) for network in self.networks])

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
