"""How the texts of a column are read, where that is not the plain way: what travels in the signature.

A table may write a number as ``$1,234.50``, a date as ``31/12/2024`` and null as ``?`` or ``-999``. What training found
is part of the model, so that every way to ask it reads the same texts and numbers alike.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

__all__ = ["EpochUnit", "NumberForm", "Reading"]

EpochUnit: TypeAlias = Literal["s", "ms", "us", "ns"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class NumberForm(_Frozen):
    """How a column writes its numbers; a Unicode minus or one behind the digits is read in every form.

    A number written the plain way (``-1234.5``) is read as well, unless the decimal mark is a comma and its point may
    stand between thousands (``1.234``).
    """

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    """Between groups of three digits; a blank stands for every kind of space."""
    affixes: tuple[str, ...] = ()
    """Currency, percent or unit, before or behind the digits, which is cut off: ``26%`` is 26."""
    parentheses: bool = False
    """Whether training saw ``(12)`` for -12, as accountants write it; it is read in every form."""


class Reading(_Frozen):
    """How a column's texts become values, and which values mean null."""

    nulls: tuple[str, ...] = ()
    """Texts that mean null, besides the empty one. In a category the graph itself takes them for missing."""
    missing_numbers: tuple[float, ...] = ()
    """Numbers that mean null, such as -999, and epoch microseconds of timestamps that do, such as 9999-12-31: the graph
    itself takes them for missing."""
    number: NumberForm | None = None
    """Number and integer only."""
    duration: bool = False
    """Times of day and durations (``08:30``, ``1:02:03.5``, ``2 days 01:00:00``), read as seconds."""
    date_order: Literal["ymd", "dmy", "mdy"] | None = None
    """Timestamp only: dates in other forms than ISO 8601, and what their numbers stand for where a text alone does not
    say it."""
    epoch: EpochUnit | None = None
    """Timestamp only: numbers of this unit since 1970-01-01T00:00:00Z, beside dates in ISO 8601."""
    words: bool = False
    """Boolean only: whether ``yes`` and ``no``, ``on`` and ``off``, 1 and 0 and their like are read, and texts of true
    and false."""

    @property
    def of_texts(self) -> bool:
        """Whether it says anything of texts, so that a text is taken where a number, a boolean or a date is."""
        return bool(self.nulls or self.number or self.duration or self.date_order or self.words or self.epoch)
