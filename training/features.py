"""The front of the graph: raw columns to numbers a network can take, fitted on training rows and nothing else.

Three kinds of raw input come in, side by side:

- numbers ``[rows, n_numbers]`` float64, NaN where missing (number, integer and boolean columns),
- moments ``[rows, n_moments]`` int64 epoch microseconds, INT64_MIN where missing (timestamp columns),
- codes ``[rows, n_categories]`` int64: 0 missing, 1 a level the graph does not know, 2 and up its levels.

A moment becomes a few numbers (time of day, weekday, ...). Every number is then written as how far it has come through
each of its quantile bins: a piecewise-linear encoding (Gorishniy et al. 2022, "On embeddings for numerical features",
section 3.2). That takes any scale and any outlier without harm: a value beyond the training range answers like the end
of the range. It is computed in float64, since float32 would erase a difference of a minute between two epochs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from models.signature import MISSING_STRING, MISSING_TIMESTAMP, Column, JsonValue
from models.values import format_timestamp
from training.columns import ColumnRule
from training.settings import ComponentConfig

MISSING_CODE, UNKNOWN_CODE, FIRST_LEVEL_CODE = 0, 1, 2
DAY = 86_400_000_000
"""Microseconds in a day."""
MAX_ENCODED = 4096
"""Bins of all numbers together: a table of thousands of columns gets fewer bins for each, and bounded memory."""

CalendarPart = Literal["time_of_day", "weekday", "day_of_month", "season", "trend"]


class FeaturesConfig(ComponentConfig):
    """How columns become numbers."""

    bins: int = Field(48, ge=2, le=256)
    """Quantile bins of a number at most; 48 as in TabM. Fewer when a table has very many numbers."""
    min_level_rows: int = Field(3, ge=1)
    """A level in fewer training rows than this is treated like one never seen: there is nothing to learn from it,
    and it teaches the network what to say to the unseen."""
    max_levels: int = Field(100_000, ge=1)
    """Levels of one column that the graph knows; the rarest beyond that are pooled, which bounds memory."""
    calendar: tuple[CalendarPart, ...] = ("time_of_day", "weekday", "season", "trend")
    """What is read off a timestamp, each where the training rows span at least two of its periods. A table split by
    time goes without trend: the future lies outside every range that training saw."""


class Front(nn.Module):
    """The fitted front. Its arrays are buffers: they are saved, moved and exported with the network, never trained.

    Build it with :func:`fit_front`.
    """

    edges: Tensor
    inverse_widths: Tensor
    fill: Tensor
    lowest: Tensor
    highest: Tensor
    shows_missing: Tensor
    position_mean: Tensor
    position_scale: Tensor

    def __init__(
        self,
        rules: Sequence[ColumnRule],
        calendar: Mapping[str, Sequence[CalendarPart]],
        vocabularies: Mapping[str, Mapping[str, int]],
        arrays: Mapping[str, NDArray[np.float64]],
    ) -> None:
        super().__init__()
        self.rules = tuple(rules)
        self.calendar = {name: tuple(parts) for name, parts in calendar.items()}
        self.vocabularies = {name: dict(levels) for name, levels in vocabularies.items()}
        self._codes = {
            name: {MISSING_STRING: MISSING_CODE} | {level: i for i, level in enumerate(levels, FIRST_LEVEL_CODE)}
            for name, levels in self.vocabularies.items()
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array))

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
    def n_features(self) -> int:
        """Numbers after the calendar."""
        return int(self.edges.shape[0])

    @property
    def d_encoded(self) -> int:
        """Width of one encoded number: its bins, its position among all bins, and whether it is missing."""
        return int(self.edges.shape[1]) + 2

    @property
    def level_counts(self) -> tuple[int, ...]:
        """Codes of each category, missing and unknown included."""
        return tuple(len(self.vocabularies[name]) + FIRST_LEVEL_CODE for name in self.categories)

    def raw(self, columns: Mapping[str, NDArray[Any]]) -> tuple[Tensor, Tensor, Tensor]:
        """Put columns ``[rows]``, as :func:`training.columns.read_column` gives them, side by side.

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
        """Read the calendar off the moments.

        Shape: ``[rows, n_numbers], [rows, n_moments] -> [rows, n_features]``, float64, NaN where missing.
        """
        parts = [numbers]
        for i, name in enumerate(self.moments):
            moment = moments[:, i : i + 1]
            absent = moment == MISSING_TIMESTAMP
            for part in self.calendar[name]:
                value = calendar_part(moment, part).to(torch.float64)
                parts.append(torch.where(absent, torch.full_like(value, float("nan")), value))
        return torch.cat(parts, dim=1)

    def encode(self, features: Tensor) -> Tensor:
        """Encode numbers by how far they have come through their bins.

        Shape: ``[rows, n_features] -> [rows, n_features, d_encoded]``, float32.
        """
        absent = torch.isnan(features)
        value = torch.where(absent, self.fill, features)
        value = torch.minimum(torch.maximum(value, self.lowest), self.highest)
        through = ((value.unsqueeze(-1) - self.edges) * self.inverse_widths).clamp(0.0, 1.0)
        shown = absent.logical_and(self.shows_missing).to(torch.float64).unsqueeze(-1)
        position = (through.sum(-1, keepdim=True) - self.position_mean) * self.position_scale
        # A missing value that training saw is its own thing: only the flag speaks.
        return torch.cat([torch.cat([through, position], dim=-1) * (1.0 - shown), shown], dim=-1).to(torch.float32)

    def fingerprint(self) -> str:
        """SHA-256 over everything that was fitted: equal fronts, and only they, have equal fingerprints."""
        digest = hashlib.sha256(repr((self.rules, self.calendar, self.vocabularies)).encode())
        for name, buffer in self.named_buffers():
            digest.update(name.encode() + buffer.cpu().numpy().tobytes())
        return digest.hexdigest()


def calendar_part(moment: Tensor, part: CalendarPart) -> Tensor:
    """Read one part off epoch microseconds (int64), exactly, before and after 1970.

    ``//`` and ``%`` on int64 export to exact integer arithmetic; ``torch.div(..., rounding_mode=)`` would not.
    """
    if part == "time_of_day":
        return moment % DAY  # microseconds
    day = moment // DAY
    if part == "weekday":
        return (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    if part == "season":
        return day * 400 % 146_097  # 1/400 day in the mean Gregorian year of 146,097/400 days
    if part == "day_of_month":
        return _day_of_month(day)
    return moment


def _day_of_month(day: Tensor) -> Tensor:
    """Days since 1970 to the day of the month, 1 to 31. Source: H. Hinnant, chrono-compatible date algorithms."""
    of_era = (day + 719_468) % 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    return of_year - (153 * month + 2) // 5 + 1


def fit_front(
    columns: Mapping[str, NDArray[Any]], rules: Sequence[ColumnRule], config: FeaturesConfig, *, trend: bool = True
) -> Front:
    """Fit the front to training rows.

    Args:
        columns: name to array ``[training rows]``, as :func:`training.columns.read_column` gives them.
        rules: the columns to use, in graph order.
        config: how columns become numbers.
        trend: whether time itself may be an input; not when the table is split by time.
    """
    calendar = {
        rule.name: _calendar_of(columns[rule.name], config, trend=trend) for rule in rules if rule.kind == "timestamp"
    }
    vocabularies = {rule.name: _vocabulary(columns[rule.name], config) for rule in rules if rule.kind == "category"}
    features: list[NDArray[np.float64]] = [
        columns[rule.name] for rule in rules if rule.kind in ("number", "integer", "boolean")
    ]
    for name, parts in calendar.items():
        moment = torch.from_numpy(columns[name])
        absent = columns[name] == MISSING_TIMESTAMP
        features += [np.where(absent, np.nan, calendar_part(moment, part).numpy().astype(np.float64)) for part in parts]
    return Front(rules, calendar, vocabularies, _bins(features, config))


def _calendar_of(moments: NDArray[np.int64], config: FeaturesConfig, *, trend: bool) -> list[CalendarPart]:
    """The parts whose cycle the training rows went through at least twice: of the rest nothing can be learned."""
    present = moments[moments != MISSING_TIMESTAMP]
    span_days = (int(present.max()) - int(present.min())) / DAY if len(present) else 0.0
    enough = {
        "time_of_day": span_days >= 2 and len(np.unique(present % DAY)) > 1,
        "weekday": span_days >= 14,
        "day_of_month": span_days >= 61,
        "season": span_days >= 731,
        "trend": trend and span_days > 0,
    }
    return [part for part in config.calendar if enough[part]]


def _vocabulary(levels: NDArray[Any], config: FeaturesConfig) -> dict[str, int]:
    """Levels and their training rows, commonest first, ties by text."""
    names, counts = np.unique(levels[levels != MISSING_STRING].astype(str), return_counts=True)
    order = np.lexsort((names, -counts))[: config.max_levels]
    return {str(names[i]): int(counts[i]) for i in order if counts[i] >= config.min_level_rows}


def _bins(features: Sequence[NDArray[np.float64]], config: FeaturesConfig) -> dict[str, NDArray[np.float64]]:
    """Quantile bins of every number, padded to the same count with bins that always read 0."""
    n_bins = max(2, min(config.bins, MAX_ENCODED // max(1, len(features))))
    edges = [_edges(feature[~np.isnan(feature)], n_bins) for feature in features]
    width = max((len(e) - 1 for e in edges), default=1)
    shape = (len(features), width)
    left, inverse = np.zeros(shape), np.zeros(shape)
    fill, lowest, highest, mean, scale = (np.zeros(len(features)) for _ in range(5))
    for i, (feature, edge) in enumerate(zip(features, edges, strict=True)):
        present = feature[~np.isnan(feature)]
        left[i, : len(edge) - 1] = edge[:-1]
        inverse[i, : len(edge) - 1] = 1.0 / np.diff(edge)
        fill[i] = np.median(present) if len(present) else 0.0
        lowest[i], highest[i] = edge[0], edge[-1]
        position = np.interp(present, edge, np.arange(len(edge))) if len(present) else np.zeros(1)
        mean[i], scale[i] = position.mean(), 1.0 / max(float(position.std()), 1e-6)
    return {
        "edges": left,
        "inverse_widths": inverse,
        "fill": fill,
        "lowest": lowest,
        "highest": highest,
        "shows_missing": np.array([bool(np.isnan(feature).any()) for feature in features], dtype=bool),
        "position_mean": mean[:, None],
        "position_scale": scale[:, None],
    }


def _edges(present: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Bin edges: the distinct values when there are few, else distinct quantiles. At least one bin, none of width 0."""
    distinct = np.unique(present)
    if len(distinct) > n_bins + 1:
        distinct = np.unique(np.quantile(present, np.linspace(0.0, 1.0, n_bins + 1)))
    if len(distinct) > 1:  # edges closer than a double can divide by would give an infinite slope
        nearest = 1e-12 * max(abs(distinct[0]), abs(distinct[-1])) if len(distinct) > 2 else 0.0
        wide = np.diff(distinct) > max(nearest, 1e-300)
        distinct = distinct[np.concatenate([[True], wide])]
    if len(distinct) == 0:
        return np.array([0.0, 1.0])
    return distinct if len(distinct) > 1 else np.array([distinct[0], distinct[0] + max(1.0, abs(distinct[0]))])


def describe_columns(
    front: Front, columns: Mapping[str, NDArray[Any]], rules: Sequence[ColumnRule]
) -> tuple[Column, ...]:
    """What training saw of each column, for the signature. ``columns`` are training rows."""
    return tuple(_describe(rule, columns[rule.name], front) for rule in rules)


def _describe(rule: ColumnRule, values: NDArray[Any], front: Front) -> Column:
    if rule.kind == "category":
        levels = front.vocabularies[rule.name]
        commonest = next(iter(levels), None)
        example: JsonValue = int(commonest) if commonest is not None and rule.whole_levels else commonest
        return Column(
            name=rule.name,
            kind=rule.kind,
            nullable=rule.nullable,
            levels=levels,
            whole_levels=rule.whole_levels,
            example=example,
        )
    if rule.kind == "timestamp":
        present = values[values != MISSING_TIMESTAMP]
        shown = [format_timestamp(int(v)) for v in (present.min(), present.max(), np.sort(present)[len(present) // 2])]
        low, high, middle = shown
        return Column(
            name=rule.name,
            kind=rule.kind,
            nullable=rule.nullable,
            minimum=low,
            maximum=high,
            median=middle,
            example=middle,
        )
    present = values[~np.isnan(values)]
    median = float(np.median(present))
    example = median if rule.kind == "number" else bool(round(median)) if rule.kind == "boolean" else round(median)
    return Column(
        name=rule.name,
        kind=rule.kind,
        nullable=rule.nullable,
        minimum=float(present.min()),
        maximum=float(present.max()),
        median=median,
        example=example,
    )
