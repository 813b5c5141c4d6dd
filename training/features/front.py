"""The front of the graph: raw columns to numbers a network can take, fitted on training rows and nothing else.

Three kinds of raw input come in, side by side:

- numbers ``[rows, n_numbers]`` float64, NaN where missing (number, integer and boolean columns),
- moments ``[rows, n_moments]`` int64 epoch microseconds, INT64_MIN where missing (timestamp columns),
- codes ``[rows, n_categories]`` int64: 0 missing, 1 a level the graph does not know, 2 and up its levels.

A moment becomes a few numbers (time of day, weekday, ...), and numbers that belong together become a few more
(:mod:`training.features.oblique`). Every number is then written as how far it has come through each of its quantile
bins: a piecewise-linear encoding (Gorishniy et al. 2022, "On embeddings for numerical features", section 3.2). That
takes any scale and any outlier without harm: a value beyond the outermost bins answers like their end, and as ten
training rows lie beyond that, no row can be told by it (:mod:`training.columns.disclosure`). It is computed in float64,
since float32 would erase a difference of a minute between two epochs.

A number of two values has one bin and no need of an embedding: it is a switch, and enters the network as it is. So does
one that does not vary, of which only whether it is missing says anything; one that says nothing at all is no input
(:mod:`training.features.vary`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.reading import Reading
from models.signature import MISSING_STRING, MISSING_TIMESTAMP
from training.columns.infer import ColumnRule
from training.columns.levels import vocabulary
from training.features.bins import Bins, fit_bins
from training.features.calendar import Part, calendar_part, parts_of, values_of
from training.features.config import FeaturesConfig
from training.features.oblique import Oblique, fit_oblique
from training.features.spacing import is_flat, pulled_in

MISSING_CODE, UNKNOWN_CODE, FIRST_LEVEL_CODE = 0, 1, 2
_DIRECTION_ROUNDING = 1e-9
"""What a direction between two standardised numbers may be off, where the two cancel out."""


class Encoded(NamedTuple):
    """Numbers as the network takes them, float32."""

    numbers: Tensor
    """``[rows, n_features, d_encoded]``: bins, position among all bins, and whether it is missing."""
    switches: Tensor
    """``[rows, n_switches, 2]``: position, and whether it is missing."""


class Front(nn.Module):
    """The fitted front. Its arrays are buffers: they are saved, moved and exported with the network, never trained.

    Build it with :func:`fit_front`.
    """

    binned_at: Tensor
    switched_at: Tensor
    missing_numbers: Tensor
    missing_moments: Tensor

    def __init__(
        self,
        rules: Sequence[ColumnRule],
        calendar: Mapping[str, Sequence[Part]],
        vocabularies: Mapping[str, Mapping[str, int]],
        oblique: Oblique | None,
        bins: tuple[NDArray[np.int64], Bins],
        switches: tuple[NDArray[np.int64], Bins],
    ) -> None:
        """``bins`` and ``switches``: which of the derived features they read, and how."""
        super().__init__()
        self.rules = tuple(rules)
        self.calendar = {name: tuple(parts) for name, parts in calendar.items()}
        self.vocabularies = {name: dict(levels) for name, levels in vocabularies.items()}
        readings = {rule.name: rule.told or Reading() for rule in rules}
        self.nulls = {name: (MISSING_STRING, *readings[name].nulls) for name in self.vocabularies}
        """Levels of each category that mean missing."""
        self._codes = {
            name: {level: i for i, level in enumerate(levels, FIRST_LEVEL_CODE)}
            | dict.fromkeys(self.nulls[name], MISSING_CODE)
            for name, levels in self.vocabularies.items()
        }
        self.register_buffer("missing_numbers", _side_by_side([readings[name] for name in self.numbers], np.float64))
        self.register_buffer("missing_moments", _side_by_side([readings[name] for name in self.moments], np.int64))
        self.oblique = oblique
        self.register_buffer("binned_at", torch.from_numpy(bins[0]))
        self.bins = bins[1]
        self.register_buffer("switched_at", torch.from_numpy(switches[0]))
        self.switches = switches[1]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that come in as numbers."""
        return tuple(rule.name for rule in self.rules if rule.kind in ("number", "integer", "boolean"))

    @property
    def moments(self) -> tuple[str, ...]:
        """Columns that come in as moments."""
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
    def n_switches(self) -> int:
        """Numbers of two values."""
        return len(self.switched_at)

    @property
    def d_encoded(self) -> int:
        """Width of one encoded number: its bins, its position among all bins, and whether it is missing."""
        return int(self.bins.edges.shape[1]) + 2

    @property
    def level_counts(self) -> tuple[int, ...]:
        """Codes of each category, missing and unknown included."""
        return tuple(len(self.vocabularies[name]) + FIRST_LEVEL_CODE for name in self.categories)

    def raw(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Tensor, Tensor, Tensor]:
        """Put columns ``[rows]``, as :func:`training.columns.infer.read_column` gives them, side by side.

        Returns:
            numbers ``[rows, n_numbers]`` float64, moments ``[rows, n_moments]`` int64, codes ``[rows, n_categories]``
            int64, on the CPU.
        """
        rows = len(next(iter(columns.values())))
        numbers = np.empty((rows, len(self.numbers)), np.float64)
        for i, name in enumerate(self.numbers):
            numbers[:, i] = columns[name]
        moments = np.empty((rows, len(self.moments)), np.int64)
        for i, name in enumerate(self.moments):
            moments[:, i] = columns[name]
        codes = np.empty((rows, len(self.categories)), np.int64)
        for i, name in enumerate(self.categories):
            known = self._codes[name]
            codes[:, i] = [known.get(level, UNKNOWN_CODE) for level in columns[name]]
        return torch.from_numpy(numbers), torch.from_numpy(moments), torch.from_numpy(codes)

    def derive(self, numbers: Tensor, moments: Tensor) -> Tensor:
        """Read the calendar off the moments, and numbers that belong together along their directions.

        Numbers and moments that mean null are missing before anything is made of them.

        Shape: ``[rows, n_numbers], [rows, n_moments] -> [rows, derived features]``, float64, NaN where missing.
        """
        for i in range(len(self.missing_numbers)):
            numbers = torch.where(numbers == self.missing_numbers[i], float("nan"), numbers)
        for i in range(len(self.missing_moments)):
            moments = torch.where(moments == self.missing_moments[i], MISSING_TIMESTAMP, moments)
        parts = [numbers]
        for i, name in enumerate(self.moments):
            moment = moments[:, i : i + 1]
            absent = moment == MISSING_TIMESTAMP
            for part in self.calendar[name]:
                value = calendar_part(moment, part).to(torch.float64)
                parts.append(torch.where(absent, float("nan"), value))
        if self.oblique is not None:
            parts.append(self.oblique(numbers))
        return torch.cat(parts, dim=1)

    def encode(self, features: Tensor) -> Encoded:
        """Encode what :meth:`derive` gives, ``[rows, derived features]`` float64."""
        return Encoded(self.bins(features[:, self.binned_at]), self.switches(features[:, self.switched_at])[..., -2:])

    def fingerprint(self) -> str:
        """SHA-256 over everything that was fitted: equal fronts, and only they, have equal fingerprints."""
        digest = hashlib.sha256(repr((self.rules, self.calendar, self.vocabularies)).encode())
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


def fit_front(
    columns: Mapping[str, NDArray[Any]],
    rules: Sequence[ColumnRule],
    config: FeaturesConfig,
    target: NDArray[Any],
    *,
    trend: bool = True,
) -> Front:
    """Fit the front to training rows.

    Args:
        columns: name to array ``[training rows]``, as :func:`training.columns.infer.read_column` gives them.
        rules: the columns to use, in graph order.
        config: how columns become numbers.
        target: of the same rows, ``[training rows]``: numbers or labels, which tell what numbers belong together.
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
    features: list[NDArray[np.float64]] = [
        columns[rule.name] for rule in rules if rule.kind in ("number", "integer", "boolean")
    ]
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
    rounding = [0.0] * len(features) + [_DIRECTION_ROUNDING] * len(directions)
    features += list(directions)
    switched = np.array([_is_switch(feature) for feature in features], dtype=bool)
    parted = []
    for chosen in (~switched, switched):
        at = np.flatnonzero(chosen).astype(np.int64)
        parted.append((at, fit_bins([features[i] for i in at], config.bins, [rounding[i] for i in at])))
    return Front(rules, calendar, vocabularies, oblique, *parted)


def _is_switch(feature: NDArray[np.float64]) -> bool:
    """Whether a feature has no more than two values, or varies by rounding alone."""
    present = feature[~np.isnan(feature)]
    return len(np.unique(present)) <= 2 or is_flat(pulled_in(feature))
