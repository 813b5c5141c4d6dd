"""What training saw of each column, for the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS
from rowcast.models.signature import Column, JsonValue
from rowcast.training.columns.disclosure import percentiles, too_few
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.features.spacing import median as median_of

_EXAMPLE_WORDS = 8
"""Of a text, the commonest."""


def describe_columns(
    encoder: FeatureEncoder, columns: Mapping[str, NDArray[Any]], rules: Sequence[ColumnRule]
) -> tuple[Column, ...]:
    """What training saw of each column, for the signature. ``columns`` are training rows."""
    return tuple(_describe(rule, columns[rule.name], encoder) for rule in rules)


def _as_sent(level: str | None, rule: ColumnRule) -> JsonValue:
    """A level as a client would send it: typed, where its text is that of a number or a boolean."""
    if level is None or rule.levels_of in (None, "date", "timestamp"):
        return level
    if rule.levels_of == "boolean":
        return level == "true"
    return int(level) if level.lstrip("-").isdigit() else float(level)


def _describe(rule: ColumnRule, values: NDArray[Any], encoder: FeatureEncoder) -> Column:
    if rule.kind == "category":
        levels = encoder.vocabularies[rule.name]
        commonest = next(iter(levels), None)
        example: JsonValue = _as_sent(commonest, rule)
        return Column(
            name=rule.name,
            kind=rule.kind,
            nullable=rule.nullable,
            reading=rule.signature_reading,
            levels=levels,
            whole_levels=rule.whole_levels,
            level_type=rule.level_type,
            example=example,
        )
    if rule.kind == "text":
        words = encoder.words[rule.name]
        return Column(
            name=rule.name,
            kind=rule.kind,
            nullable=rule.nullable,
            reading=rule.signature_reading,
            words=len(words),
            example=" ".join(words[:_EXAMPLE_WORDS]),
        )
    kind = KINDS[rule.kind]
    column = Column(name=rule.name, kind=rule.kind, nullable=rule.nullable, reading=rule.signature_reading)
    present = values[~rule.is_missing(values)]
    if too_few(len(present), len(values)):
        return column
    middle = median_of(present) if rule.dtype == np.float64 else np.sort(present)[len(present) // 2]
    ends = (0.0, 1.0) if rule.kind == "boolean" else percentiles(present)
    low, high = (None, None) if ends is None else map(kind.shown, ends)
    return column.model_copy(
        update={"minimum": low, "maximum": high, "median": kind.shown(middle), "example": kind.sent(middle)}
    )
