"""The kinds of columns: what each is, in one place.

How the protocols of the service bring the values of each kind is said in :mod:`rowcast.service.columns.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from rowcast.models.reading import NumberForm, Reading
from rowcast.models.texts.dates import EPOCH_WORDS, ORDER_WORDS, parse_date, parse_epoch
from rowcast.models.texts.durations import format_duration, parse_duration
from rowcast.models.texts.nulls import NULL_SPELLINGS
from rowcast.models.texts.numbers import BLANKS, parse_number
from rowcast.models.values import format_timestamp, parse_timestamp

__all__ = ["KINDS", "MISSING_STRING", "MISSING_TIMESTAMP", "Kind", "KindRule"]

Kind: TypeAlias = Literal["number", "integer", "boolean", "duration", "category", "text", "timestamp"]

MISSING_TIMESTAMP = np.iinfo(np.int64).min
"""Epoch microseconds that stand for a missing timestamp."""
MISSING_STRING = ""
"""The string that stands for a missing category or text."""

_BOOLEANS = {"true": 1.0, "false": 0.0}
_WORDS = _BOOLEANS | {
    **dict.fromkeys(
        ("1", "t", "y", "j", "yes", "on", "ja", "wahr", "oui", "vrai", "sí", "si", "sì", "sim", "vero"), 1.0
    ),
    **dict.fromkeys(("0", "f", "n", "no", "off", "nein", "falsch", "non", "faux", "falso", "não", "nao", "nee"), 0.0),
}
"""What a column that was declared boolean may say, in small letters; no word means both, in any language of these."""


class KindRule(NamedTuple):
    """What a kind of column is."""

    noun: str
    """A value of it in words."""
    dtype: np.dtype[Any]
    """Element type of the graph input: float64, int64 or object, of str."""
    missing: float | int | str
    """The element that stands for null there."""
    read: Callable[[str, Reading], float | int | None]
    """The element that a text stands for; None where it is no such value."""
    words: Callable[[Reading], str]
    """What a text has to be."""
    shown: Callable[[Any], Any]
    """An element as the signature shows it: a number, or a text."""
    sent: Callable[[Any], Any]
    """An element as a caller sends it in JSON."""
    taken: Callable[[Any], Any]
    """The element for what is sent or shown."""
    values: frozenset[str]
    """What a value may be among values of several types: ``number``, ``boolean``, ``text``, ``date``, ``time``,
    ``duration``."""
    declared: str
    """The flag that declares a column to be of it, without dashes."""
    reading: Reading = Reading()
    """How its texts are read where the signature says nothing else."""
    null_spellings: frozenset[str] = NULL_SPELLINGS
    """Texts that mean null in every column of this kind whose texts are read."""
    is_quantity: bool = False
    """Whether it is a number of something: it may lie far beyond all others, and be exact or rounded."""
    takes_digits: Callable[[Reading], bool] = lambda reading: False
    """Whether a number stands for the text of its digits: 20241231 for a date, 1 for yes."""


def _read_number(text: str, reading: Reading) -> float | None:
    seconds = parse_duration(text) if reading.duration else None
    return parse_number(text, reading.number) if seconds is None else seconds


def _number_words(what: str, reading: Reading) -> str:
    if reading.duration:
        return f"{what} of seconds, or a text such as 08:30, 1:02:03.5 or 2 days 01:00:00"
    return f"{what}, or a text of one{'' if reading.number is None else _form(reading.number)}"


def _form(form: NumberForm) -> str:
    """How a form writes its numbers, in words."""
    digits = f"1{form.thousands}234{form.decimal}5"
    around = f" with {' or '.join(map(repr, form.affixes))} around it" if form.affixes else ""
    return f" such as {digits}{around}"


def _read_boolean(text: str, reading: Reading) -> float | None:
    return (_WORDS if reading.words else _BOOLEANS).get(text.strip(BLANKS).lower())


def _boolean_words(reading: Reading) -> str:
    if reading.words:
        return "true or false, or a text or number of one such as yes, no, 1 or 0"
    return "true or false, or a text of one"


def _read_duration(text: str, reading: Reading) -> float | None:
    seconds = parse_duration(text)
    return parse_number(text) if seconds is None else seconds  # a bare number is one of seconds


def _read_timestamp(text: str, reading: Reading) -> int | None:
    moment = None if reading.epoch is None else parse_epoch(text, reading.epoch)
    return parse_date(text, reading.date_order) if moment is None else moment


def _timestamp_words(reading: Reading) -> str:
    if reading.epoch is not None:
        return f"a whole number of {EPOCH_WORDS[reading.epoch]} since 1970, or an ISO 8601 date or date-time"
    also = "" if reading.date_order is None else f", or one with {ORDER_WORDS[reading.date_order]}"
    return f"an ISO 8601 date or date-time{also}"


_DOUBLE, _INT64, _TEXT = np.dtype(np.float64), np.dtype(np.int64), np.dtype(object)

KINDS: dict[Kind, KindRule] = {
    "number": KindRule(
        noun="a number",
        dtype=_DOUBLE,
        missing=float("nan"),
        read=_read_number,
        words=partial(_number_words, "a number"),
        shown=float,
        sent=float,
        taken=float,
        values=frozenset({"number"}),
        declared="number",
        is_quantity=True,
    ),
    "integer": KindRule(
        noun="a whole number",
        dtype=_DOUBLE,
        missing=float("nan"),
        read=_read_number,
        words=partial(_number_words, "a whole number"),
        shown=float,
        sent=round,
        taken=float,
        values=frozenset({"number"}),
        declared="number",
        is_quantity=True,
    ),
    "boolean": KindRule(
        noun="true or false",
        dtype=_DOUBLE,
        missing=float("nan"),
        read=_read_boolean,
        words=_boolean_words,
        shown=float,
        sent=lambda value: bool(round(value)),
        taken=float,
        values=frozenset({"boolean"}),
        declared="boolean",
        null_spellings=frozenset(),
        takes_digits=lambda reading: reading.words,
    ),
    "duration": KindRule(
        noun="a time of day or a duration",
        dtype=_DOUBLE,
        missing=float("nan"),
        read=_read_duration,
        words=lambda reading: _number_words("a number", KINDS["duration"].reading),
        shown=format_duration,
        sent=format_duration,
        taken=lambda value: parse_duration(value) if isinstance(value, str) else float(value),
        values=frozenset({"number", "text", "time", "duration"}),
        declared="number",
        reading=Reading(duration=True),
        is_quantity=True,
    ),
    "category": KindRule(
        noun="a string",
        dtype=_TEXT,
        missing=MISSING_STRING,
        read=lambda text, reading: None,
        words=lambda reading: "a string",
        shown=str,
        sent=str,
        taken=str,
        values=frozenset({"text"}),
        declared="category",
        null_spellings=frozenset(),
    ),
    "text": KindRule(
        noun="a string",
        dtype=_TEXT,
        missing=MISSING_STRING,
        read=lambda text, reading: None,
        words=lambda reading: "a string",
        shown=str,
        sent=str,
        taken=str,
        values=frozenset({"text"}),
        declared="text",
        null_spellings=frozenset(),
    ),
    "timestamp": KindRule(
        noun="an ISO 8601 date or date-time",
        dtype=_INT64,
        missing=MISSING_TIMESTAMP,
        read=_read_timestamp,
        words=_timestamp_words,
        shown=lambda micros: format_timestamp(int(micros)),
        sent=lambda micros: format_timestamp(int(micros)),
        taken=lambda text: parse_timestamp(str(text)),
        values=frozenset({"date", "text"}),
        declared="date",
        takes_digits=lambda reading: (reading.date_order or reading.epoch) is not None,
    ),
}
"""In the order in which columns of a dtype lie side by side."""
