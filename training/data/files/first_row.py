"""Whether the first line of a table is a row like those below it, or holds the names of the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

_NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_SIGN, _CURRENCY = r"[+\-\u2212]", r"[$\u00a3\u20ac\u00a5\u20b9]"
_DIGITS = r"[0-9][0-9.,'\u2019\u00a0\u202f]*"
_AMOUNT = re.compile(rf"[(]?{_SIGN}? ?(?:{_CURRENCY} ?)?{_SIGN}?{_DIGITS} ?(?:[%\u2030]|{_CURRENCY})?[)]?")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    rf"(?i)(?:[0-9]{{1,4}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,4}}|[0-9]{{1,2}}[-. ]{_MONTH}[-., ]+[0-9]{{2,4}}"
    rf"|{_MONTH} [0-9]{{1,2}},? [0-9]{{4}})(?:[T ,][0-9:. ]+.*)?"
)
_CLOCK = re.compile(r"(?i)[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[ap]\.?m\.?)?")
_CODE = re.compile(r"(\D*)[0-9]+(\D*)")
_NO_VALUE = frozenset({"?", "nan", "null", "none", "n/a", "na", "nat", "<na>"})
_MOSTLY, _MANY = 0.9, 10


def looks_like_row(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first line is a row like the rows below it.

    Numbers, dates, times and true/false over such values, and texts or codes that come again below, tell it. Numbers
    may be names where they count on or run in one direction, as years do.
    """
    rows = [row for row in rows if len(row) == len(header)]
    if len(header) < 2 or not rows:
        return False
    if all(value_kind(name) == "number" for name in header):
        # Other numbers than these are refused by themselves, see header.check_header.
        return counts_up(header) and _counts_by_chance(header, rows)
    if list(header) in [list(row) for row in rows]:
        return False  # a header that comes again below is a mistake of another kind
    valued, repeated, alike = [], 0, 0
    for place, name in enumerate(header):
        below = [value for row in rows if (value := row[place].strip())]
        kind = value_kind(name)
        if kind and below and sum(value_kind(value) == kind for value in below) >= _MOSTLY * len(below):
            valued.append(name.strip())
            alike += _of_one_size(name.strip(), below)
        elif name.strip().lower() in _NO_VALUE or (not kind and _comes_again(name.strip(), below)):
            repeated += 1
        elif _of_letters([name.strip(), *below]):
            alike += 1
    filled = sum(bool(name.strip()) for name in header)
    if len(valued) + repeated == filled and filled >= 2:
        return True
    if filled > len(valued) and alike == filled:  # 1,2,x,y over 5,6,a,b
        return bool(valued)
    return bool(valued) and (repeated > 0 or not _in_one_direction(valued))


def may_be_row(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the names of a data frame are the first row of a file that had no names.

    Args:
        names: of its columns.
        rows: its first rows, as texts.
    """
    names = [name.strip() for name in names]
    if len(names) > 1 and all(value_kind(name) == "number" for name in names):
        many = len(names) >= _MANY and _in_one_direction(names)  # wavelengths, say
        return not (many or counts_up(names) or _counts_on(names))
    return any(value_kind(name) for name in names) and looks_like_row(names, rows)


def value_kind(text: str) -> str:
    """``number``, ``date``, ``time`` or ``boolean`` where a text is written as one, else nothing."""
    text = text.strip()
    if _NUMBER.fullmatch(text) or _AMOUNT.fullmatch(text):
        return "date" if _DATE.fullmatch(text) else "number"
    if _DATE.fullmatch(text):
        return "date"
    if _CLOCK.fullmatch(text):
        return "time"
    return "boolean" if text.lower() in ("true", "false") else ""


def counts_up(header: Sequence[str]) -> bool:
    """Whether the names are 0, 1, 2, ... or 1, 2, 3, ..., as tools name columns that have no names."""
    names = [name.strip() for name in header]
    return any(names == [str(i) for i in range(start, start + len(names))] for start in (0, 1))


def _counts_by_chance(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether whole numbers that count up stand over whole numbers, and not as data frames name columns: 0, 1, 2."""
    values = [value for row in rows for field in row if (value := field.strip())]
    whole = sum(bool(_WHOLE.fullmatch(value)) for value in values) >= _MOSTLY * len(values)
    return whole and (len(header) < 3 or header[0].strip() != "0")


def _comes_again(text: str, below: Sequence[str]) -> bool:
    """Whether a text stands below too, or is a code like those below, digits between the same letters: A12 over A13."""
    if not text or text in below:
        return bool(text)
    code = _CODE.fullmatch(text)
    if code is None or not any(code.groups()) or len(below) < 2:
        return False
    return sum(bool((m := _CODE.fullmatch(v)) and m.groups() == code.groups()) for v in below) >= _MOSTLY * len(below)


def _of_one_size(number: str, below: Sequence[str]) -> bool:
    """Whether a whole number stands over whole numbers of as many digits."""
    return bool(_WHOLE.fullmatch(number)) and all(_WHOLE.fullmatch(v) and len(v) == len(number) for v in below)


def _of_letters(texts: Sequence[str]) -> bool:
    """Whether all are single letters of one case, a name and two values at least."""
    return len(texts) > 2 and all(len(v) == 1 and v.isalpha() and v.isupper() == texts[0].isupper() for v in texts)


def _in_one_direction(names: Sequence[str]) -> bool:
    """Whether numbers or dates are names that run: 2019, 2020, 2021, or three at least that only grow or only fall."""
    if _counts_on(names):
        return True
    if all(_NUMBER.fullmatch(name) for name in names):
        steps = [float(after) - float(before) for before, after in pairwise(names)]
    elif all(_DATE.fullmatch(name) for name in names):
        steps = [1.0 if after > before else -1.0 for before, after in pairwise(names)]
    else:
        return False
    return len(names) >= 3 and (all(step > 0 for step in steps) or all(step < 0 for step in steps))


def _counts_on(names: Sequence[str]) -> bool:
    """Whether whole numbers go on by one, as years do."""
    return all(_WHOLE.fullmatch(name) for name in names) and all(
        abs(float(after) - float(before)) == 1 for before, after in pairwise(names)
    )
