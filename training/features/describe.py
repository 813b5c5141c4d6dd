"""What training saw of each column, for the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.signature import MISSING_TIMESTAMP, Column, JsonValue
from models.values import format_timestamp
from training.columns.disclosure import percentiles, too_few
from training.columns.infer import ColumnRule
from training.features.encoder import FeatureEncoder
from training.features.spacing import median as median_of


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
    if rule.kind == "timestamp":
        present = values[values != MISSING_TIMESTAMP]
        hidden = too_few(len(present), len(values))
        middle = None if hidden else format_timestamp(int(np.sort(present)[len(present) // 2]))
        shown = percentiles(present)
        low, high = (None, None) if shown is None else (format_timestamp(int(timestamp)) for timestamp in shown)
        return Column(
            name=rule.name,
            kind=rule.kind,
            nullable=rule.nullable,
            reading=rule.signature_reading,
            minimum=low,
            maximum=high,
            median=middle,
            example=middle,
        )
    present = values[~np.isnan(values)]
    if too_few(len(present), len(values)):
        return Column(name=rule.name, kind=rule.kind, nullable=rule.nullable, reading=rule.signature_reading)
    median = median_of(present)
    example = median if rule.kind == "number" else bool(round(median)) if rule.kind == "boolean" else round(median)
    shown = (0.0, 1.0) if rule.kind == "boolean" else percentiles(present)
    return Column(
        name=rule.name,
        kind=rule.kind,
        nullable=rule.nullable,
        reading=rule.signature_reading,
        minimum=None if shown is None else float(shown[0]),
        maximum=None if shown is None else float(shown[1]),
        median=median,
        example=example,
    )
