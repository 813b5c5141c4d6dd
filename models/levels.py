"""The one text of a level whose column holds the texts of numbers, booleans or dates: 1.5 for 1.50, true for TRUE.

A category declared of such values meets them typed (a data frame, JSON, Arrow) as well as written (a file). What is one
value has to be one level, whichever way it comes: its *canonical* text, which is what the graph knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Literal, TypeAlias

import numpy as np

from rowcast.models.values import format_timestamp, parse_timestamp

LevelType: TypeAlias = Literal["whole", "number", "boolean", "date", "timestamp"]
"""What every level of a category is the text of."""

_NUMBER = re.compile(
    r"0|-?(?:[1-9][0-9]*|(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+|[1-9](?:\.[0-9]+)?e-[0-9]+)",
    re.ASCII,
)
"""As numbers print: with a leading zero or a plus it is a text. 02139 is none, nor a level that 2139 stands for."""
_WHOLE = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
_LONGEST = 400
"""Characters of the longest text that is looked at: a double has some 300 digits."""
_DATE = len("2013-07-01")
_DIGITS_OF_FLOAT32 = 15
"""Characters from which on a double may be a float32 that its own digits would say in fewer."""


def number_level(value: float) -> str:
    """The level of a finite number: 3 for 3.0, else as few digits as tell it apart, of a float32 as few as do there.

    >>> number_level(1.50), number_level(3.0), number_level(float(np.float32(1.6)))
    ('1.5', '3', '1.6')
    """
    value = float(value)
    if value.is_integer():
        return str(int(value))
    text = repr(value)
    if len(text) >= _DIGITS_OF_FLOAT32:  # 1.600000023841858 is what a double makes of the float32 1.6
        with np.errstate(over="ignore"):
            short = np.float32(value)
        return str(short) if float(short) == value else text
    return text


def boolean_level(value: bool) -> str:
    """The level of a boolean."""
    return "true" if value else "false"


def timestamp_level(micros: int, of: LevelType) -> str:
    """The level of epoch microseconds; among dates that of midnight, UTC, is the date alone."""
    text = format_timestamp(micros)
    return text.removesuffix("T00:00:00Z") if of == "date" else text


def level_of(value: float | bool | str) -> str:
    """The level of a value that a caller may send."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return boolean_level(value)
    return str(value) if isinstance(value, int) else number_level(value)


def canonical_level(text: str, of: LevelType) -> str:
    """The text of the same value as the graph knows it; the text itself where it is none.

    >>> canonical_level("1.50", "number"), canonical_level("02139", "number"), canonical_level("TRUE", "boolean")
    ('1.5', '02139', 'true')
    """
    if len(text) > _LONGEST:
        return text
    if of == "boolean":
        return text.lower() if text.lower() in ("true", "false") else text
    if of in ("date", "timestamp"):
        try:
            return timestamp_level(parse_timestamp(text), of)
        except ValueError:
            return text
    if _WHOLE.fullmatch(text):  # however many digits there are
        return text
    if not _NUMBER.fullmatch(text) or not np.isfinite(value := float(text)):
        return text
    return number_level(value)


def type_of_levels(texts: Iterable[str]) -> LevelType | None:
    """What all of these texts are the texts of, in any form; None where there are none, or they are of no one type."""
    texts = list(texts)
    if not texts:
        return None
    if all(len(text) <= _LONGEST and _NUMBER.fullmatch(text) for text in texts):
        canonical = [canonical_level(text, "number") for text in texts]
        if all(map(_WHOLE.fullmatch, canonical)):
            return "whole"
        return "number" if all(np.isfinite(float(text)) for text in texts) else None
    if all(text.lower() in ("true", "false") for text in texts):
        return "boolean"
    if not all(map(_is_timestamp, texts)):
        return None
    return "date" if all(len(text) == _DATE for text in texts) else "timestamp"


def canonical_levels(texts: Collection[str], of: LevelType, known: Collection[str] = ()) -> dict[str, str]:
    """The canonical text of each text that is not canonical, or known, already."""
    forms = {text: canonical_level(text, of) for text in set(texts).difference(known)}
    return {text: form for text, form in forms.items() if form != text}


def _is_timestamp(text: Any) -> bool:
    try:
        parse_timestamp(text)
    except ValueError:
        return False
    return True
