"""The texts of one column as its values, by what training found out: the rule of every protocol that brings a text."""

from __future__ import annotations

from rowcast.models.kinds import KINDS, Kind
from rowcast.models.reading import Reading
from rowcast.models.signature import Column
from rowcast.models.texts.nulls import NULL_SPELLINGS, is_marker
from rowcast.models.texts.numbers import BLANKS
from rowcast.models.values import EXACT_WHOLE

__all__ = ["NULL_SPELLINGS", "TextReader", "digits_of", "text_reader", "text_value"]

_LONGEST = 400
"""Characters of the longest text that is looked at, blanks included: a double has some 300 digits."""
_DIGITS = frozenset("0123456789")


def text_value(text: str, kind: Kind, reading: Reading) -> float | int | None:
    """What a text stands for in a number, integer, boolean or timestamp column; None where it is no such value.

    Numbers and durations are doubles, booleans 1 or 0, timestamps epoch microseconds. Whether a null is meant is not
    looked at, nor whether a number is whole.
    """
    return KINDS[kind].read(text, reading)


def digits_of(value: float | bool) -> str:
    """The text that a typed value stands for in a column that takes digits: 20241231 for a date, 1.0 for 1.

    >>> digits_of(20241231.0), digits_of(1700000000.25), digits_of(True)
    ('20241231', '1700000000.25', 'True')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class TextReader:
    """Reads the texts of one column, a text at a time.

    Args:
        kind: of the column; no category.
        reading: what training found out.
    """

    def __init__(self, kind: Kind, reading: Reading) -> None:
        rule = KINDS[kind]
        self.expected = rule.words(reading)
        """What a text has to be, in words."""
        self.takes_digits = rule.takes_digits(reading)
        """Whether a number stands for the text of its digits: 20241231 is a date there, 1 is yes."""
        self._read = rule.read
        self._is_whole = kind == "integer"
        self._is_quantity = rule.is_quantity
        self._reading = reading
        self._nulls = rule.null_spellings | {"", *(null.strip(BLANKS) for null in reading.nulls)}

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
        value = self._read(text, self._reading)
        if value is None:
            raise ValueError(f"must be {self.expected} or null")
        if self._is_whole and value != value // 1:
            raise ValueError("must be a whole number or null")
        if self._is_quantity and abs(value) >= EXACT_WHOLE and self._is_rounded(text, value):
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
    reading = column.reading or KINDS[column.kind].reading
    if column.dtype == object or not reading.of_texts:
        return None
    return TextReader(column.kind, reading)
