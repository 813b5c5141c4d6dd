"""The texts of one column as its values, by what training found out: the rule of every door where a text meets it."""

from __future__ import annotations

import re

from models.reading import EpochUnit, NumberForm, Reading
from models.signature import Column, Kind
from models.texts.dates import parse_date
from models.texts.durations import parse_duration
from models.texts.nulls import is_marker
from models.texts.numbers import BLANKS, parse_number
from models.values import EXACT_WHOLE, FIRST_MOMENT, LAST_MOMENT

__all__ = ["EPOCH_WORDS", "NULL_SPELLINGS", "TextReader", "digits_of", "parse_epoch", "text_reader", "text_value"]

NULL_SPELLINGS = frozenset({"NA", "NaN", "null"})
"""Texts that mean null in every column of numbers or dates whose texts are read."""
_LONGEST = 400
"""Characters of the longest text that is looked at, blanks included: a double has some 300 digits."""
_BOOLEANS = {"true": 1.0, "false": 0.0}
_WORDS = _BOOLEANS | {
    **dict.fromkeys(
        ("1", "t", "y", "j", "yes", "on", "ja", "wahr", "oui", "vrai", "sí", "si", "sì", "sim", "vero"), 1.0
    ),
    **dict.fromkeys(("0", "f", "n", "no", "off", "nein", "falsch", "non", "faux", "falso", "não", "nao", "nee"), 0.0),
}
"""What a column that was declared boolean may say, in small letters; no word means both, in any language of these."""
_MICROS = {"s": 10**6, "ms": 10**3, "us": 1}
"""Of a unit since 1970."""
_BOOLEAN = "true or false, or a text of one"
EPOCH_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DIGITS = frozenset("0123456789")
_UNITS_SINCE = re.compile(r"([+-]?)([0-9]{1,20})(?:\.([0-9]*))?", re.ASCII)
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
        return (_WORDS if reading.words else _BOOLEANS).get(text.strip(BLANKS).lower())
    if kind == "timestamp":
        moment = None if reading.epoch is None else parse_epoch(text, reading.epoch)
        return parse_date(text, reading.date_order) if moment is None else moment
    seconds = parse_duration(text) if reading.duration else None
    return parse_number(text, reading.number) if seconds is None else seconds


def digits_of(value: float | bool) -> str:
    """The text that a typed value stands for in a column that takes digits: 20241231 for a date, 1.0 for 1.

    >>> digits_of(20241231.0), digits_of(1700000000.25), digits_of(True)
    ('20241231', '1700000000.25', 'True')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def parse_epoch(text: str, unit: EpochUnit) -> int | None:
    """Epoch microseconds of a number of units since 1970; None where it is none, or beyond the years there are.

    Digits past the microsecond are cut off.

    >>> parse_epoch("1700000000", "s"), parse_epoch("1700000000123.0", "ms"), parse_epoch("-1500", "ns")
    (1700000000000000, 1700000000123000, -2)
    """
    match = _UNITS_SINCE.fullmatch(text.strip(BLANKS))
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    # Digit by digit: nanoseconds are more than a double holds.
    units = int(f"{whole}{(fraction or '')[:6]:0<6}") * (-1 if sign == "-" else 1)
    micros = units // 10**9 if unit == "ns" else units * _MICROS[unit] // 10**6
    return micros if FIRST_MOMENT <= micros <= LAST_MOMENT else None


class TextReader:
    """Reads the texts of one column, a text at a time.

    Args:
        kind: of the column; no category.
        reading: what training found out.
    """

    def __init__(self, kind: Kind, reading: Reading) -> None:
        self.expected = _expected(kind, reading)
        """What a text has to be, in words."""
        self.takes_digits = reading.takes_digits(kind)
        """Whether a number stands for the text of its digits: 20241231 is a date there, 1 is yes."""
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
        return "true or false, or a text or number of one such as yes, no, 1 or 0" if reading.words else _BOOLEAN
    if kind == "timestamp" and reading.epoch is not None:
        return f"a whole number of {EPOCH_WORDS[reading.epoch]} since 1970, or an ISO 8601 date or date-time"
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
