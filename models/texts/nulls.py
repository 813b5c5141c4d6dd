"""Texts that people and tools write where there is no value."""

from __future__ import annotations

from rowcast.models.texts.numbers import BLANKS

MARKERS = frozenset(
    {
        *("na", "n/a", "n.a.", "n.a", "nan", "-nan", "nat", "<na>", "<nan>"),
        *("null", "<null>", "(null)", "none", "<none>", "nil", "\\n", "void"),
        *("?", "??", "???", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "#"),
        *("#n/a", "#na", "#n/a n/a", "#value!", "#ref!", "#div/0!", "#num!", "#name?", "#null!"),
        *("unknown", "unk", "undefined", "missing", "(missing)", "blank", "(blank)", "empty", "(empty)"),
        *("not available", "not known", "no data", "nodata", "1.#qnan", "-1.#ind", "1.#ind"),
        *("0000-00-00", "0000-00-00 00:00:00", "0000-00-00t00:00:00", "00/00/0000", "00.00.0000"),  # no date of MySQL
    }
)
"""In small letters; null in a column whose every other value is a number, a boolean, a date or a duration."""

NULL_SPELLINGS = frozenset({"NA", "NaN", "null"})
"""Texts that mean null in every column of numbers or dates whose texts are read."""


def is_marker(text: str) -> bool:
    """Whether a text says that there is no value, in any case and with blanks around it.

    >>> is_marker(" N/A "), is_marker("0")
    (True, False)
    """
    return text.strip(BLANKS).lower() in MARKERS
