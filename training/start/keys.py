"""What an encoder's features and a network's inputs are called, so that those of two tables can be told apart.

A feature is a tuple: ``("number", "age")``, ``("calendar", "at", "weekday")``, ``("direction", "x", "y", 2)``,
``("category", "city")``, ``("text", "note")``.
"""

from __future__ import annotations

from collections.abc import Sequence

from rowcast.training.features.encoder import FeatureEncoder

Key = tuple[str | int, ...]


def derived_keys(encoder: FeatureEncoder) -> list[Key]:
    """The numbers that :meth:`FeatureEncoder.derive` gives, in its order."""
    keys: list[Key] = [("number", name) for name in encoder.numbers]
    keys += [("calendar", name, part) for name in encoder.timestamps for part in encoder.calendar[name]]
    if encoder.oblique is not None:
        angles = encoder.oblique.cosines.shape[-1]
        for first, second in pairs_of(encoder):
            keys += [("direction", first, second, i) for i in range(angles)]
    return keys


def pairs_of(encoder: FeatureEncoder) -> list[tuple[str, str]]:
    """The names of the numbers that are read along directions."""
    pairs = encoder.oblique.pairs if encoder.oblique is not None else ()
    return [(encoder.numbers[i], encoder.numbers[j]) for i, j, _ in pairs]


def binned_keys(encoder: FeatureEncoder) -> list[Key]:
    """The features that are binned, in the order of their embeddings."""
    keys = derived_keys(encoder)
    return [keys[i] for i in encoder.binned_at.tolist()]


def binary_keys(encoder: FeatureEncoder) -> list[Key]:
    """The features that enter as they are, in their order."""
    keys = derived_keys(encoder)
    return [keys[i] for i in encoder.binary_at.tolist()]


def input_keys(encoder: FeatureEncoder) -> list[Key]:
    """All columns as the network has them side by side."""
    numbers = [*binned_keys(encoder), *binary_keys(encoder)]
    return [*numbers, *(("category", name) for name in encoder.categories), *(("text", name) for name in encoder.words)]


def columns_in(key: Key) -> tuple[str, ...]:
    """The columns that a feature is made of."""
    return tuple(map(str, key[1:3] if key[0] == "direction" else key[1:2]))


def code_map(new: FeatureEncoder, old: FeatureEncoder, name: str) -> list[int]:
    """For each code of a category its code there; -1 for a level that was not known."""
    there = {level: i for i, level in enumerate(old.vocabularies[name], 2)}
    return [0, 1, *(there.get(level, -1) for level in new.vocabularies[name])]


def named_list(names: Sequence[str], most: int = 40) -> str:
    """Names of columns as a decision lists them."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
