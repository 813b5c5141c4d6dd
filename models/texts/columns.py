"""The texts of one column as its values, by what training found out: the rule of every door where a text meets it."""

from __future__ import annotations

from models.reading import NumberForm, Reading
from models.signature import Column, Kind
from models.texts.dates import parse_date
from models.texts.durations import parse_duration
from models.texts.nulls import is_marker
from models.texts.numbers import BLANKS, parse_number
from models.values import EXACT_WHOLE

__all__ = ["NULL_SPELLINGS", "TextReader", "text_reader", "text_value"]

NULL_SPELLINGS = frozenset({"NA", "NaN", "null"})
"""Texts that mean null in every column of numbers or dates whose texts are read."""
_LONGEST = 400
"""Characters of the longest text that is looked at, blanks included: a double has some 300 digits."""
_BOOLEANS = {"true": 1.0, "false": 0.0}
_DIGITS = frozenset("0123456789")
_ORDERS = {
    "ymd": "the year first (2024/12/31)",
    "dmy": "the day first (31/12/2024)",
    "mdy": "the month first (12/31/24)",
}


def text_value(text: str, kind: Kind, reading: Reading) -> float | int | None:
    """What a text stands for in a number, integer, boolean or timestamp column; None where it is no such value.

    Numbers and durations are doubles, booleans 1 or 0, moments epoch microseconds. Whether a null is meant is not
    looked at, nor whether a number is whole.
    """
    if kind == "boolean":
        return _BOOLEANS.get(text.strip(BLANKS).lower())
    if kind == "timestamp":
        return parse_date(text, reading.date_order)
    seconds = parse_duration(text) if reading.duration else None
    return parse_number(text, reading.number) if seconds is None else seconds


class TextReader:
    """Reads the texts of one column, a text at a time.

    Args:
        kind: of the column; no category.
        reading: what training found out.
    """

    def __init__(self, kind: Kind, reading: Reading) -> None:
        self.expected = _expected(kind, reading)
        """What a text has to be, in words."""
        self.takes_digits = kind == "timestamp" and reading.date_order is not None
        """Whether a whole number stands for the text of its digits: 20241231 is a date there."""
        self._kind = kind
        self._reading = reading
        spellings = frozenset() if kind == "boolean" else NULL_SPELLINGS
        self._nulls = spellings | {"", *(null.strip(BLANKS) for null in reading.nulls)}

    def __call__(self, text: str) -> float | int | None:
        """The value as the graph takes it; None where the text means null.

        Raises:
            ValueError: it is none; says what it must be.
        """
        if len(text) > _LONGEST and text not in self._nulls:
            raise ValueError(f"must be {self.expected} or null")
        text = text.strip(BLANKS)
        if text in self._nulls or is_marker(text):
            return None
        value = text_value(text, self._kind, self._reading)
        if value is None:
            raise ValueError(f"must be {self.expected} or null")
        if self._kind == "integer" and value != value // 1:
            raise ValueError("must be a whole number or null")
        if self._kind in ("number", "integer") and abs(value) >= EXACT_WHOLE and self._is_rounded(text, value):
            raise ValueError("must be at most 2**53, or a decimal such as 1e20")
        return value

    def _is_rounded(self, text: str, value: float) -> bool:
        """Whether a large number is given digit by digit and beyond 2**53, and is none that means null."""
        digits = text.lstrip("+-")
        return (
            set(digits) <= _DIGITS
            and (abs(value) > EXACT_WHOLE or int(digits) > EXACT_WHOLE)
            and value not in self._reading.missing_numbers
        )


def text_reader(column: Column) -> TextReader | None:
    """What reads the texts of a column; None where training found that it is written the plain way, or is text."""
    reading = column.reading
    if column.kind == "category" or reading is None or not reading.of_texts:
        return None
    return TextReader(column.kind, reading)


def _expected(kind: Kind, reading: Reading) -> str:
    if kind == "boolean":
        return "true or false, or a text of one"
    if kind == "timestamp":
        also = "" if reading.date_order is None else f", or one with {_ORDERS[reading.date_order]}"
        return f"an ISO 8601 date or date-time{also}"
    what = "a whole number" if kind == "integer" else "a number"
    if reading.duration:
        return f"{what} of seconds, or a text such as 08:30, 1:02:03.5 or 2 days 01:00:00"
    return f"{what}, or a text of one{'' if reading.number is None else _form(reading.number)}"


def _form(form: NumberForm) -> str:
    """How a form writes its numbers, in words."""
    digits = f"1{form.thousands}234{form.decimal}5"
    around = f" with {' or '.join(map(repr, form.affixes))} around it" if form.affixes else ""
    return f" such as {digits}{around}"
