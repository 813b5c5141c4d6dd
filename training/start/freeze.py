"""What of a network stays as it was in the model that the fit starts from: ``fit.freeze``.

Columns share arrays, so that it is parts of arrays that are frozen: their gradients are 0, and after each step they are
put back, since decay, L1 and momentum would move them all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from rowcast.models.errors import ConfigError
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.loop import Freeze
from rowcast.training.fit.optimizer import Held
from rowcast.training.network.embedding import CategoryEmbedding
from rowcast.training.network.network import Embedded, Network
from rowcast.training.start.keys import binned_keys, columns_in, input_keys, named_list


def freeze(
    network: Embedded,
    encoder: FeatureEncoder,
    carried: Collection[str],
    known: Tensor,
    n_layers: int,
    what: Freeze,
) -> list[str]:
    """Freeze what was carried over, in place; the last layer learns always.

    Args:
        network: on its device, with the weights that it starts from.
        encoder: before it.
        carried: columns that the model knows, too.
        known: which inputs of the first layer it knows, ``[d_in]``.
        n_layers: layers that were carried over, from the first.
        what: ``fit.freeze``.

    Returns:
        a sentence.

    Raises:
        ConfigError: a column is named that was not carried over.
    """
    if what == "none":
        return []
    held = Held()
    columns = list(carried) if what in ("columns", "all") else [] if isinstance(what, str) else list(what)
    unknown = [name for name in columns if name not in carried]
    if unknown:
        raise ConfigError(
            f"'fit.freeze' names columns that are carried over, {named_list(sorted(carried), 10)}, got "
            f"{named_list(unknown, 10)}"
        )
    said = []
    if columns:
        _hold_columns(held, network, encoder, set(columns))
        said.append(f"the embeddings of {named_list(sorted(columns))}")
    if what in ("layers", "all") and isinstance(network, Network):
        for i in range(n_layers):
            _hold_layer(held, network.layers[i], known if i == 0 else None)
        if n_layers:
            said.append("the first layer" if n_layers == 1 else f"the first {n_layers} layers")
    if not said:
        raise ConfigError(
            f"'fit.freeze' keeps layers as they are that are carried over, and none is: leave {what!r} out"
        )
    network.held = held
    return [f"{' and '.join(said)}: as in the model that the fit starts from, and frozen, as fit.freeze says"]


def _hold_columns(held: Held, network: Embedded, encoder: FeatureEncoder, columns: Collection[str]) -> None:
    def chosen(names: Sequence[tuple[str, ...]]) -> Tensor:
        return torch.tensor([all(name in columns for name in of) for of in names], dtype=torch.bool)

    keys = input_keys(encoder)
    if network.numbers is not None:
        features = chosen([columns_in(key) for key in binned_keys(encoder)])
        held.add(network.numbers.weight, features[:, None, None])
        held.add(network.numbers.bias, features[:, None, None])
    if isinstance(network.categories, CategoryEmbedding):
        of_codes = [(name,) for name, n in zip(encoder.categories, encoder.level_counts, strict=True) for _ in range(n)]
        held.add(network.categories.weight, chosen(of_codes)[:, None])
    if network.texts is not None:
        of_words = [(name,) for name, n in zip(encoder.words, encoder.bags.counts, strict=True) for _ in range(n)]
        held.add(network.texts.weight, chosen(of_words)[:, None])
        held.add(network.texts.none, chosen([(name,) for name in encoder.words])[:, None])
    if isinstance(network, Network) and network.scales is not None:
        widths = torch.tensor(network.columns)
        held.add(network.scales.weight, chosen([columns_in(key) for key in keys]).repeat_interleave(widths))


def _hold_layer(held: Held, layer: nn.Module, known: Tensor | None) -> None:
    for name, array in (*layer.named_parameters(), *layer.named_buffers()):
        rows = known[:, None] if known is not None and name == "linear.weight" else torch.ones((), dtype=torch.bool)
        held.add(array, rows)
