"""Weights of a trained network as the first ones of another: column by column, and layer by layer.

Of a carried column the embedding, the members' scales and the rows of the first layer are taken over; of a level that
was not known, those of the unknown one, and the vector of a new word is 0. The first layer weighs a new column by 0 at
first, so that the network begins with the answers of the one it comes from. The layers behind are taken over as long as
each is of the same shape as there: behind one that is not, weights would mean nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from rowcast.models.errors import ConfigError
from rowcast.training.features.bins import Bins
from rowcast.training.features.encoder import UNKNOWN_CODE, FeatureEncoder
from rowcast.training.network.embedding import CategoryEmbedding, OneHot, WordEmbedding
from rowcast.training.network.network import Embedded, Network
from rowcast.training.network.own import OwnNetwork
from rowcast.training.start.keys import Key, binary_keys, binned_keys, code_map, columns_in, input_keys

State = Mapping[str, Tensor]


class Taken(NamedTuple):
    """What a network has of another."""

    known: Tensor
    """Which inputs of its first layer are carried over, ``[d_in]``."""
    n_layers: int
    """Layers that are, from the first."""
    notes: list[str]
    """Sentences on what could not be, besides columns."""


@torch.no_grad()
def carry_weights(
    network: Embedded,
    new: FeatureEncoder,
    old: FeatureEncoder,
    weights: State,
    carried: Collection[str],
    outputs: Sequence[int] | None,
) -> Taken:
    """Give a network the weights of another, in place, as far as they mean the same.

    Args:
        network: with fresh weights, on the CPU.
        new: the encoder before it.
        old: the encoder before the other one.
        weights: of the other one, by name.
        carried: columns that both have.
        outputs: for each output the one there that it starts from, -1 for none; None if the last layer starts fresh.

    Raises:
        ConfigError: columns are embedded in other widths than there.
    """
    _check_widths(network, weights)
    places = _Places(network, new, old, weights, carried)
    if network.numbers is not None and "numbers.weight" in weights:
        for i, j in _pairs(binned_keys(new), binned_keys(old), carried):
            bins = _place_of_bins(new.bins, i, old.bins, j)
            network.numbers.weight[i].zero_()
            network.numbers.weight[i, bins] = weights["numbers.weight"][j, : len(bins)]
            network.numbers.weight[i, -2:] = weights["numbers.weight"][j, -2:]
            network.numbers.bias[i] = weights["numbers.bias"][j]
            if _shows_missing_now(new.bins, i, old.bins, j):
                read = new.bins(_one_row(new.bins, i))[0, i]
                network.numbers.weight[i, -1] = read[:-1].to(torch.float32) @ network.numbers.weight[i, :-1]
    if isinstance(network.categories, CategoryEmbedding) and "categories.weight" in weights:
        here, there = _starts(new), _starts(old)
        for name in (name for name in new.categories if name in carried):
            for code, source in enumerate(code_map(new, old, name)):
                row = weights["categories.weight"][there[name] + (UNKNOWN_CODE if source < 0 else source)]
                network.categories.weight[here[name] + code] = row
    if network.texts is not None and "texts.weight" in weights:
        _carry_words(network.texts, new, old, weights, carried)
    if isinstance(network, OwnNetwork):
        return Taken(places.source >= 0, 0, _carry_module(network, weights, places, outputs))
    assert isinstance(network, Network)
    n_layers, notes = _carry_layers(network, weights, places, outputs)
    return Taken(places.source >= 0, n_layers, notes)


def _carry_words(
    texts: WordEmbedding, new: FeatureEncoder, old: FeatureEncoder, weights: State, carried: Collection[str]
) -> None:
    here, there = (dict(zip(of.words, accumulate(of.bags.counts, initial=0), strict=False)) for of in (new, old))
    columns = list(old.words)
    for i, name in enumerate(new.words):
        if name not in carried or name not in old.words:
            continue
        places = {word: place for place, word in enumerate(old.words[name], 1)}
        start = here[name]
        texts.weight[start : start + len(new.words[name]) + 1] = 0.0
        texts.weight[start] = weights["texts.weight"][there[name]]  # of a missing text
        for place, word in enumerate(new.words[name], 1):
            if word in places:
                texts.weight[start + place] = weights["texts.weight"][there[name] + places[word]]
        texts.none[i] = weights["texts.none"][columns.index(name)]


class _Places:
    """Where each input of the first layer stood in another network: ``source [d_in]``, -1 for one that is new."""

    def __init__(
        self, network: Embedded, new: FeatureEncoder, old: FeatureEncoder, weights: State, carried: Collection[str]
    ) -> None:
        self.source = torch.full((network.d_in,), -1, dtype=torch.int64)
        self.missing_like: list[tuple[int, float]] = []
        """Inputs that say whether a binary feature is missing, which training did not see there; and what its place is
        read as where it is missing."""
        widths_there = _widths(network, old, weights)
        starts = dict(zip(input_keys(old), accumulate(widths_there, initial=0), strict=False))
        of_numbers, at = sum(widths_there[: old.n_features + old.n_binary]), 0
        for key, width in zip(input_keys(new), network.columns, strict=True):
            if key in starts and all(name in carried for name in columns_in(key)):
                places = list(range(starts[key], starts[key] + width))
                if key[0] == "category" and isinstance(network.categories, OneHot):
                    codes = [UNKNOWN_CODE if code < 0 else code for code in code_map(new, old, str(key[1]))]
                    shown = weights["categories.kept"][starts[key] - of_numbers :]
                    places = [starts[key] + code if shown[code] > 0 else -1 for code in codes]
                self.source[at : at + width] = torch.tensor(places)
            at += width
        binned = len(binned_keys(new)) * (network.columns[0] if len(new.binned_at) else 0)
        for i, j in _pairs(binary_keys(new), binary_keys(old), carried):
            if _shows_missing_now(new.binary, i, old.binary, j):
                position = new.binary(_one_row(new.binary, i))[0, i, -2]
                self.missing_like.append((binned + 2 * i + 1, float(position)))
        self.same = bool((self.source == torch.arange(network.d_in)).all()) and sum(widths_there) == network.d_in


def _carry_layers(
    network: Network, weights: State, places: _Places, outputs: Sequence[int] | None
) -> tuple[int, list[str]]:
    """Carry scales, layers and outputs; how many layers were, and sentences on the others."""
    known = places.source >= 0
    if network.scales is not None:
        network.scales.weight[:, :, known] = weights["scales.weight"][:, :, places.source[known]]
        for at, _ in places.missing_like:
            network.scales.weight[:, :, at] = network.scales.weight[:, :, at - 1]
    n_layers = 0
    for i, layer in enumerate(network.layers):
        prefix = f"layers.{i}."
        there = {name.removeprefix(prefix): of for name, of in weights.items() if name.startswith(prefix)}
        here, wanted = layer.state_dict()["linear.weight"], there.get("linear.weight")
        if wanted is None or here.shape[1] != wanted.shape[1] or layer.state_dict().keys() != there.keys():
            break
        if i == 0:
            there["linear.weight"] = torch.zeros_like(here)
            there["linear.weight"][known] = wanted[places.source[known]]
            for at, position in places.missing_like:
                there["linear.weight"][at] = position * there["linear.weight"][at - 1]
        layer.load_state_dict(there)
        n_layers += 1
    n_here, n_there = len(network.layers), sum(name.endswith(".linear.weight") for name in weights)
    if n_layers == n_here == n_there:
        for output, source in enumerate(outputs or ()):
            if source >= 0:
                network.heads.weight[..., output] = weights["heads.weight"][..., source]
                network.heads.bias[..., output] = weights["heads.bias"][..., source]
        return n_layers, []
    if n_layers == 0:
        said = "all layers start fresh, as the first is not like that of the model: columns carry embeddings alone"
    elif n_layers == n_here:
        said = "the last layer starts fresh: the model has more layers before it"
    else:
        which = f"layer {n_here}" if n_layers + 1 == n_here else f"layers {n_layers + 1} to {n_here}"
        said = f"{which} and the last one start fresh, as the layers of the model are not like them there"
    return n_layers, [said]


def _carry_module(network: OwnNetwork, weights: State, places: _Places, outputs: Sequence[int] | None) -> list[str]:
    here = network.module.state_dict()
    there = {name.removeprefix("module."): tensor for name, tensor in weights.items() if name.startswith("module.")}
    alike = {name: tensor.shape for name, tensor in here.items()} == {name: t.shape for name, t in there.items()}
    whole = outputs is not None and list(outputs) == list(range(len(outputs)))
    if alike and whole and places.same:
        network.module.load_state_dict(there)
        return []
    said = "a network of one's own carries its weights over where columns, outputs and every shape are the same"
    return [f"{said}: it starts fresh, and columns carry their embeddings alone"]


def _check_widths(network: Embedded, weights: State) -> None:
    pairs = []
    if network.numbers is not None and "numbers.weight" in weights:
        pairs.append((network.numbers.weight.shape[2], weights["numbers.weight"].shape[2]))
    if isinstance(network.categories, CategoryEmbedding) and "categories.weight" in weights:
        pairs.append((network.categories.weight.shape[1], weights["categories.weight"].shape[1]))
    for here, there in pairs:
        if here != there:
            raise ConfigError(
                f"a fit that starts from a model embeds columns as that does, by {there} numbers each, got {here}, "
                "which hangs on how many there are: start from a model of as many, or leave some out with --drop"
            )


def _pairs(new: Sequence[Key], old: Sequence[Key], carried: Collection[str]) -> list[tuple[int, int]]:
    """Positions of features that both have."""
    there = {key: j for j, key in enumerate(old)}
    return [
        (i, there[key])
        for i, key in enumerate(new)
        if key in there and all(name in carried for name in columns_in(key))
    ]


def _place_of_bins(new: Bins, i: int, old: Bins, j: int) -> list[int]:
    """Where the bins of a feature stand now: behind those that were added below them."""
    added = int(((new.inverse_widths[i] > 0.0) & (new.edges[i] < old.edges[j, 0])).sum())
    return list(range(added, added + int((old.inverse_widths[j] > 0.0).sum())))


def _shows_missing_now(new: Bins, i: int, old: Bins, j: int) -> bool:
    return bool(new.shows_missing[i]) and not bool(old.shows_missing[j])


def _one_row(bins: Bins, i: int) -> Tensor:
    """A row of what stood for missing values of a feature ``[1, n]``."""
    row = torch.zeros(1, len(bins.fill), dtype=torch.float64)
    row[0, i] = bins.fill[i]
    return row


def _starts(encoder: FeatureEncoder) -> dict[str, int]:
    """Where the codes of each category begin in their common table."""
    return dict(zip(encoder.categories, accumulate(encoder.level_counts, initial=0), strict=False))


def _widths(network: Embedded, old: FeatureEncoder, weights: State) -> list[int]:
    """The width of each input of the other network."""
    d_number = weights["numbers.weight"].shape[2] if "numbers.weight" in weights else 0
    widths = [d_number] * old.n_features + [2] * old.n_binary
    if "categories.weight" in weights:
        widths += [weights["categories.weight"].shape[1]] * len(old.categories)
    else:
        widths += list(old.level_counts)
    d_text = weights["texts.weight"].shape[1] if old.words else 0
    return widths + [d_text] * len(old.words)
