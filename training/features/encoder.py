"""The feature encoder: raw columns to numbers a network can take, fitted on training rows and nothing else.

Three kinds of raw input come in, side by side:

- numbers ``[rows, n_numbers]`` float64, NaN where missing (number, integer and boolean columns),
- timestamps ``[rows, n_timestamps]`` int64 epoch microseconds, INT64_MIN where missing (timestamp columns),
- codes ``[rows, n_categories]`` int64: 0 missing, 1 a level the graph does not know, 2 and up its levels.

Where columns are read word by word (:mod:`rowcast.training.features.words`), which words they hold is a fourth.

A timestamp becomes a few numbers (time of day, weekday, ...), and numbers that belong together become a few more
(:mod:`rowcast.training.features.oblique`). Every number is then written as how far it has come through each of its
quantile bins: a piecewise-linear encoding (Gorishniy et al. 2022, "On embeddings for numerical features", section 3.2).
That takes any scale and any outlier without harm: a value beyond the outermost bins answers like their end, and as ten
training rows lie beyond that, no row can be told by it (:mod:`rowcast.training.columns.disclosure`). It is computed in
float64, since float32 would erase a difference of a minute between two epochs.

A number of two values has one bin and no need of an embedding: it is a binary feature, and enters the network as it
is; with ``features.numbers = "standardise"`` all numbers do. So does one that does not vary, of which only whether it
is missing says anything; one that says nothing at all is no input (:mod:`rowcast.training.features.vary`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rowcast.models.reading import Reading
from rowcast.models.signature import MISSING_STRING, MISSING_TIMESTAMP
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.levels import vocabulary
from rowcast.training.features.bins import Bins, fit_bins
from rowcast.training.features.calendar import Part, calendar_part, parts_of, values_of
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.features.oblique import Oblique, fit_oblique
from rowcast.training.features.spacing import is_flat, pulled_in
from rowcast.training.features.words import WordBags, fit_words

MISSING_CODE, UNKNOWN_CODE, FIRST_LEVEL_CODE = 0, 1, 2
DIRECTION_ROUNDING = 1e-9
"""What a direction between two standardised numbers may be off, where the two cancel out."""


class Encoded(NamedTuple):
    """Numbers as the network takes them, float32."""

    numbers: Tensor
    """``[rows, n_features, d_encoded]``: bins, position among all bins, and whether it is missing."""
    binary: Tensor
    """``[rows, n_binary, 2]``: position, and whether it is missing."""


class FeatureEncoder(nn.Module):
    """Columns as numbers a network can take. Its arrays are buffers: saved, moved and exported with the network, never
    trained.

    Build it with :func:`fit_encoder`.
    """

    binned_at: Tensor
    binary_at: Tensor
    missing_numbers: Tensor
    missing_timestamps: Tensor

    def __init__(
        self,
        rules: Sequence[ColumnRule],
        calendar: Mapping[str, Sequence[Part]],
        vocabularies: Mapping[str, Mapping[str, int]],
        oblique: Oblique | None,
        bins: tuple[NDArray[np.int64], Bins],
        binary: tuple[NDArray[np.int64], Bins],
        words: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """``bins`` and ``binary``: which of the derived features they read, and how."""
        super().__init__()
        self.rules = tuple(rules)
        self.calendar = {name: tuple(parts) for name, parts in calendar.items()}
        self.vocabularies = {name: dict(levels) for name, levels in vocabularies.items()}
        readings = {rule.name: rule.signature_reading or Reading() for rule in rules}
        self.nulls = {name: (MISSING_STRING, *readings[name].nulls) for name in self.vocabularies}
        """Levels of each category that mean missing."""
        self._codes = {
            name: {level: i for i, level in enumerate(levels, FIRST_LEVEL_CODE)}
            | dict.fromkeys(self.nulls[name], MISSING_CODE)
            for name, levels in self.vocabularies.items()
        }
        self.register_buffer("missing_numbers", _side_by_side([readings[name] for name in self.numbers], np.float64))
        self.register_buffer(
            "missing_timestamps", _side_by_side([readings[name] for name in self.timestamps], np.int64)
        )
        self.oblique = oblique
        self.register_buffer("binned_at", torch.from_numpy(bins[0]))
        self.bins = bins[1]
        self.register_buffer("binary_at", torch.from_numpy(binary[0]))
        self.binary = binary[1]
        self.words = {name: tuple(known) for name, known in (words or {}).items()}
        """Of each column that is read word by word, the words that are known."""
        nulls = {name: (MISSING_STRING, *readings[name].nulls) for name in self.words}
        self.bags = WordBags(self.words, nulls)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that come in as numbers."""
        return tuple(rule.name for rule in self.rules if rule.dtype == np.float64)

    @property
    def timestamps(self) -> tuple[str, ...]:
        """Columns that come in as timestamps."""
        return tuple(rule.name for rule in self.rules if rule.kind == "timestamp")

    @property
    def categories(self) -> tuple[str, ...]:
        """Columns that come in as codes."""
        return tuple(rule.name for rule in self.rules if rule.kind == "category")

    @property
    def decisions(self) -> list[str]:
        """What was decided about the columns, in sentences."""
        pairs = self.oblique.pairs if self.oblique is not None else ()
        return [
            f"{self.numbers[i]!r} and {self.numbers[j]!r} belong together (rank correlation {r:.2f}): "
            "they are also read along directions between them"
            for i, j, r in pairs
        ]

    @property
    def n_features(self) -> int:
        """Numbers that are binned: columns, parts of the calendar, and directions."""
        return len(self.binned_at)

    @property
    def n_binary(self) -> int:
        """Numbers of two values."""
        return len(self.binary_at)

    @property
    def d_encoded(self) -> int:
        """Width of one encoded number: its bins, its position among all bins, and whether it is missing."""
        return int(self.bins.edges.shape[1]) + 2

    @property
    def level_counts(self) -> tuple[int, ...]:
        """Codes of each category, missing and unknown included."""
        return tuple(len(self.vocabularies[name]) + FIRST_LEVEL_CODE for name in self.categories)

    def raw(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Tensor, Tensor, Tensor]:
        """Put columns ``[rows]``, as :func:`rowcast.training.columns.infer.read_column` gives them, side by side.

        Returns:
            numbers ``[rows, n_numbers]`` float64, timestamps ``[rows, n_timestamps]`` int64, codes
            ``[rows, n_categories]`` int64, on the CPU.
        """
        rows = len(next(iter(columns.values())))
        numbers = np.empty((rows, len(self.numbers)), np.float64)
        for i, name in enumerate(self.numbers):
            numbers[:, i] = columns[name]
        timestamps = np.empty((rows, len(self.timestamps)), np.int64)
        for i, name in enumerate(self.timestamps):
            timestamps[:, i] = columns[name]
        codes = np.empty((rows, len(self.categories)), np.int64)
        for i, name in enumerate(self.categories):
            known = self.codes_of(name)
            codes[:, i] = [known.get(level, UNKNOWN_CODE) for level in columns[name]]
        return torch.from_numpy(numbers), torch.from_numpy(timestamps), torch.from_numpy(codes)

    def codes_of(self, name: str) -> Mapping[str, int]:
        """The code of each level of a category that is known or means missing; all others are ``UNKNOWN_CODE``."""
        return self._codes[name]

    def inputs(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Tensor, ...]:
        """What the core of a graph takes: as :meth:`raw`, and where words are read which they are, ``[rows, n_words]``.

        It is for a few thousand rows: of more, the words are many.
        """
        return (*self.raw(columns), *((self.bags.of(self.bags.places(columns)),) if self.words else ()))

    def with_vocabularies(self, vocabularies: Mapping[str, Mapping[str, int]]) -> FeatureEncoder:
        """The same encoder with other levels: those of more rows than it was fitted to."""
        bins = (self.binned_at.numpy(), self.bins), (self.binary_at.numpy(), self.binary)
        return FeatureEncoder(self.rules, self.calendar, vocabularies, self.oblique, *bins, self.words)

    def derive(self, numbers: Tensor, timestamps: Tensor) -> Tensor:
        """Read the calendar off the timestamps, and numbers that belong together along their directions.

        Numbers and timestamps that mean null are missing before anything is made of them.

        Shape: ``[rows, n_numbers], [rows, n_timestamps] -> [rows, derived features]``, float64, NaN where missing.
        """
        for i in range(len(self.missing_numbers)):
            numbers = torch.where(numbers == self.missing_numbers[i], float("nan"), numbers)
        for i in range(len(self.missing_timestamps)):
            timestamps = torch.where(timestamps == self.missing_timestamps[i], MISSING_TIMESTAMP, timestamps)
        parts = [numbers]
        for i, name in enumerate(self.timestamps):
            timestamp = timestamps[:, i : i + 1]
            absent = timestamp == MISSING_TIMESTAMP
            for part in self.calendar[name]:
                value = calendar_part(timestamp, part).to(torch.float64)
                parts.append(torch.where(absent, float("nan"), value))
        if self.oblique is not None:
            parts.append(self.oblique(numbers))
        return torch.cat(parts, dim=1)

    def encode(self, features: Tensor) -> Encoded:
        """Encode what :meth:`derive` gives, ``[rows, derived features]`` float64."""
        return Encoded(self.bins(features[:, self.binned_at]), self.binary(features[:, self.binary_at])[..., -2:])

    def fingerprint(self) -> str:
        """SHA-256 over everything that was fitted: equal encoders, and only they, have equal fingerprints."""
        # Sets come in another order in each process.
        rules = [
            [sorted(value) if isinstance(value, frozenset) else value for value in vars(rule).values()]
            for rule in self.rules
        ]
        fitted = (rules, self.calendar, self.vocabularies, *([self.words] if self.words else []))
        digest = hashlib.sha256(repr(fitted).encode())
        for name, buffer in self.named_buffers():
            digest.update(name.encode() + buffer.cpu().numpy().tobytes())
        return digest.hexdigest()


def _side_by_side(readings: Sequence[Reading], dtype: type[np.float64 | np.int64]) -> Tensor:
    """Numbers of each column that mean null, ``[n, columns]``; n is 0 where none does.

    A column of fewer is filled up with what is missing already: NaN, which equals nothing, or INT64_MIN.
    """
    longest = max((len(reading.missing_numbers) for reading in readings), default=0)
    filler = np.array(np.nan if dtype is np.float64 else MISSING_TIMESTAMP, dtype)
    columns = np.full((longest, len(readings)), filler)
    for i, reading in enumerate(readings):
        columns[: len(reading.missing_numbers), i] = np.array(reading.missing_numbers).astype(dtype)
    return torch.from_numpy(columns)


def fit_encoder(
    columns: Mapping[str, NDArray[Any]],
    rules: Sequence[ColumnRule],
    config: FeaturesConfig,
    target: NDArray[Any] | None,
    *,
    trend: bool = True,
) -> FeatureEncoder:
    """Fit the feature encoder to training rows.

    Args:
        columns: name to array ``[training rows]``, as :func:`rowcast.training.columns.infer.read_column` gives them.
        rules: the columns to use, in graph order.
        config: how columns become numbers.
        target: of the same rows, ``[training rows]``: numbers or labels, which tell what numbers belong together; None
            where there is none, and then nothing tells it.
        trend: whether time itself may be an input; not when the table is split by time.
    """
    calendar = {
        rule.name: parts_of(columns[rule.name], config.calendar, trend=trend)
        for rule in rules
        if rule.kind == "timestamp"
    }
    vocabularies = {
        rule.name: vocabulary(columns[rule.name], config.level_rows.of(declared=rule.declared), config.max_levels)
        for rule in rules
        if rule.kind == "category"
    }
    features: list[NDArray[np.float64]] = [columns[rule.name] for rule in rules if rule.dtype == np.float64]
    oblique = None
    if target is not None:
        oblique = fit_oblique(
            np.stack(features, axis=1) if features else np.zeros((0, 0)),
            target,
            angles=config.oblique_angles,
            correlation=config.oblique_correlation,
            max_pairs=config.oblique_pairs,
        )
    directions = oblique(torch.from_numpy(np.stack(features, axis=1))).numpy().T if oblique is not None else ()
    for name, parts in calendar.items():
        features += [values_of(columns[name], part) for part in parts]
    rounding = [0.0] * len(features) + [DIRECTION_ROUNDING] * len(directions)
    features += list(directions)
    plain = config.numbers == "standardise"  # as a binary feature is: its place between two ends, standardised
    is_binary = np.array([plain or has_two_values(feature) for feature in features], dtype=bool)
    parted = []
    for chosen in (~is_binary, is_binary):
        at = np.flatnonzero(chosen).astype(np.int64)
        most = 1 if plain else config.bins
        parted.append((at, fit_bins([features[i] for i in at], most, [rounding[i] for i in at])))
    words = fit_words(columns, [rule.name for rule in rules if rule.kind == "text"], config.word_limits)
    return FeatureEncoder(rules, calendar, vocabularies, oblique, parted[0], parted[1], words)


def has_two_values(feature: NDArray[np.float64]) -> bool:
    """Whether a feature has no more than two values, or varies by rounding alone."""
    present = feature[~np.isnan(feature)]
    return len(np.unique(present)) <= 2 or is_flat(pulled_in(feature))
