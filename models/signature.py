"""What a model takes and gives: the one object every other name in Rowcast comes from.

The signature travels inside the ONNX file (metadata key :data:`METADATA_KEY`) and beside it in ``model.json``. The
graph's inputs, the JSON keys of a request, the OpenAPI schema and the load test's payloads are all read from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rowcast.models.kinds import KINDS, MISSING_STRING, MISSING_TIMESTAMP, Kind
from rowcast.models.levels import LevelType, level_of
from rowcast.models.names import check_model_name, model_name_from
from rowcast.models.reading import Reading

__all__ = [
    "MAX_COLUMNS",
    "METADATA_KEY",
    "MISSING_STRING",
    "MISSING_TIMESTAMP",
    "PUBLIC_LEVEL_ROWS",
    "RESERVED_NAMES",
    "Column",
    "JsonValue",
    "Kind",
    "Signature",
    "Task",
    "check_model_name",
    "model_name_from",
]

Task: TypeAlias = Literal["regression", "binary", "multiclass"]
JsonValue: TypeAlias = float | int | bool | str | None

METADATA_KEY = "rowcast.signature"
RESERVED_NAMES = frozenset({"label", "probabilities", "prediction", "lower", "upper"})
"""Names of graph outputs, which no column may bear."""
PUBLIC_LEVEL_ROWS = 10
"""A level seen in fewer training rows than this could point at a person: a model does not know it. Models published by
earlier versions do; the service does not list it."""

MAX_COLUMNS = 10_000
"""A model of more is refused: before the fit where it is trained, and before it is read where it is opened."""


def bounds_of(levels: Sequence[float]) -> tuple[str, ...]:
    """What bounds of levels are called."""
    return tuple(f"{bound}_{100 * level:.10g}" for level in levels for bound in ("lower", "upper"))


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Column(_Frozen):
    """One input of the graph, and what training saw of it."""

    name: str = Field(min_length=1)
    kind: Kind
    nullable: bool
    """Whether a training row lacked it. A served row may hold null in any column, and may leave out a nullable one."""
    minimum: float | str | None = None
    maximum: float | str | None = None
    """What lies farther out is left to ``Signature.ends``; None where training saw too few rows to tell."""
    median: float | str | None = None
    """Numbers for number, integer and boolean; ISO 8601 strings for timestamp; None for category and text."""
    levels: dict[str, int] | None = None
    """Category only: each level the graph knows and its training rows, commonest first."""
    whole_levels: bool = False
    """Category only: every level is a whole number, so a JSON whole number is taken as well as its string."""
    level_type: Literal["number", "boolean", "date", "timestamp"] | None = Field(None, exclude_if=lambda of: of is None)
    """Category only: every level is the text of such a value, in its one form (:mod:`rowcast.models.levels`), so such a
    value is taken as well as its text, and its text in any form. Of whole numbers ``whole_levels`` says so."""
    words: int | None = Field(None, exclude_if=lambda words: words is None)
    """Text only: how many words the graph knows."""
    reading: Reading | None = Field(None, exclude_if=lambda reading: reading is None)
    """How texts are read and which values mean null, where that is not the plain way. Written only where there is one,
    so that earlier versions of the service read the models that need none."""
    example: JsonValue = None
    """A typical JSON value made from medians and commonest levels; no row of the training table."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type of the graph input, whose shape is ``[rows, 1]``."""
        return KINDS[self.kind].dtype

    @property
    def levels_of(self) -> LevelType | None:
        """What every level is the text of; None where levels are texts and nothing else."""
        return "whole" if self.whole_levels else self.level_type

    @property
    def missing(self) -> float | int | str:
        """The element that stands for null in the graph input."""
        return KINDS[self.kind].missing

    def public(self) -> Column:
        """This column as the service shows it: without levels so rare that they could point at a person."""
        if self.levels is None:
            return self
        levels = {level: n for level, n in self.levels.items() if n >= PUBLIC_LEVEL_ROWS}
        example = self.example if self.example is not None and level_of(self.example) in levels else None
        return self.model_copy(update={"levels": levels, "example": example})


class Signature(_Frozen):
    """What the model takes and gives. ``columns`` are the graph's inputs, in the graph's order."""

    task: Task
    target: str
    classes: tuple[str, ...] = ()
    """Class labels in the order of the ``probabilities`` output; empty for regression."""
    intervals: bool = False
    """Whether the graph also gives ``lower`` and ``upper``."""
    further_levels: tuple[float, ...] = Field((), exclude_if=lambda levels: not levels)
    """Shares of rows that further bounds are to hold, besides those of ``lower`` and ``upper``. No protocol answers
    with these; Python and ``rowcast predict`` do."""
    ends: Literal["extremes", "percentiles"] = "extremes"
    """What ``minimum`` and ``maximum`` of a column are: the 1st and 99th percentile of the training rows; or what one
    row held, as earlier versions had it, which the service does not show."""
    columns: tuple[Column, ...] = Field(min_length=1, max_length=MAX_COLUMNS)

    @property
    def names(self) -> tuple[str, ...]:
        """Input names in graph order."""
        return tuple(column.name for column in self.columns)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names in graph order."""
        if self.task != "regression":
            return ("label", "probabilities")
        return ("prediction", "lower", "upper") if self.intervals else ("prediction",)

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs behind :attr:`outputs`: of .8 ``lower_80`` and ``upper_80``."""
        return bounds_of(self.further_levels)

    def example_row(self) -> dict[str, JsonValue]:
        """One synthetic row as a client would send it."""
        return {column.name: column.example for column in self.columns}

    def public(self) -> Signature:
        """This signature as the service shows it: nothing in it is what a single row held."""
        columns = [column.public() for column in self.columns]
        if self.ends == "extremes":
            columns = [column.model_copy(update={"minimum": None, "maximum": None}) for column in columns]
        return self.model_copy(update={"columns": tuple(columns)})
