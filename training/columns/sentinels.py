"""Numbers and dates that stand for no value: -999 among depths, 9999-12-31 among dates, 1e30 where a grid has none.

Left as they are they would be values like any other: a network asked between them and the rest makes something up.
A value is taken for missing where three things come together on the training rows: it is a well-known way to write
"no data", several rows hold it (or it is so large that nothing measures it), and it lies far outside all others. Where
only some of them do it is told and kept, for -999 may be a balance and 99 an age.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.signature import MISSING_TIMESTAMP, PUBLIC_LEVEL_ROWS
from rowcast.models.values import format_timestamp, parse_timestamp
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.reading import read_column
from rowcast.training.columns.target import Target
from rowcast.training.data.table import Table

FAR = 2.0
"""Distance from all others, in lengths of their range, from which on a repeated sentinel is missing. ``capital_gain``
of Adult ends at 41,310 but for 99,999, which is a top code and lies 1.4 ranges away."""
RATHER_FAR = 0.5
"""The same for one that is also many times as frequent as any value near the ends of the others: -99 among degrees."""
SPIKE = 5.0
"""Times as many rows as nearly all (95%) of the other values have."""
LEAST_OTHERS, LEAST_DISTINCT = 10, 3
"""Rows that hold something else, and different values among them: fewer tell nothing about where a column ends."""
FEW, DEARER = 20, 10.0
"""A price list: of few prices that many rows hold, 999 may be the dearest, if it is no more frequent than they are and
at most this many times as high."""
ABSURD = 1e6
"""A number this many times as large as all others is a filler even in a single row, if it is a well-known one of 10
digits or more."""

_NINES = [float("9" * n + rest) for rest in ("", ".9", ".99") for n in range(2, 20)]
_SIGNED = [
    *(number for number in _NINES if number >= 99.9),
    *(float("9" * n + ".25") for n in range(3, 6)),  # in well logs
    *(float(digit * n) for digit in "78" for n in range(3, 6)),  # "refused" and "does not apply" in surveys
    *(10.0**n for n in range(20, 39)),
    9.969209968386869e36,  # NetCDF
    1.70141e38,  # Surfer grids
    3.4028234663852886e38,  # the largest float32
    1e308,
    1.7976931348623157e308,  # the largest float64
]
_NUMBERS = np.unique(
    [
        *_SIGNED,
        *(-number for number in _SIGNED),
        *(99.0, -99.0, -9.0, -1.0, -32768.0, 32767.0, 65535.0),
        *(-(2.0**31), 2.0**31 - 1, 2.0**32 - 1, -(2.0**63), 2.0**63, 2.0**64),
    ]
)
_ALIKE = 1e-3
"""Relative difference up to which a number of 1e20 and more is one of these: -3.4028e38 is the lowest float32, cut off.
Others are met as they are, or as a float32 of them."""
_EXACT_SINGLE = 2.0**24
"""Whole numbers up to this size are exact as float32. 999,999,999 is another number there, and a round one."""
_NOT_SMALL = 10.0
"""Of -1 and -9 the sign alone says nothing: all others have to be as large as this."""
_TIMESTAMPS = {
    float(parse_timestamp(text))
    for day in (
        *("0001-01-01", "0001-01-03", "1000-01-01", "1111-11-11", "1582-10-15", "1601-01-01", "1753-01-01"),
        *("1800-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1900-01-02", "1901-01-01", "1904-01-01"),
        *("1970-01-01", "2099-12-31", "2100-01-01", "2199-12-31", "2200-01-01", "2222-02-22", "2262-04-11"),
        *("2299-12-31", "2900-12-31", "2999-01-01", "2999-12-31", "3000-01-01", "3000-12-31", "4000-12-31"),
        *("5999-12-31", "8888-12-31", "9000-12-31", "9998-12-31", "9999-01-01", "9999-12-30", "9999-12-31"),
    )
    for text in (day, f"{day}T23:59:59")
}
_LAST_YEARS = float(parse_timestamp("9000-01-01"))
_FILLER = 1e9
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class _Found:
    """A value outside all others that may stand for none."""

    value: float
    known: float
    """The sentinel it is, which it may differ from by rounding; NaN where it is none."""
    rows: int
    missing: bool

    @property
    def spellings(self) -> set[float]:
        """The numbers to take for missing: in a column of float32, -999.9 is another one."""
        return {self.value, self.known, _as_single(self.known)}


def with_sentinels(
    train: Table,
    rules: Sequence[ColumnRule],
    *,
    except_in: Collection[str] = (),
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[tuple[ColumnRule, ...], list[str]]:
    """Find numbers and dates that stand for no value.

    Args:
        train: training rows and no others.
        rules: of its columns.
        except_in: columns in which every value is taken as it is.
        columns: their values ``[rows]`` by these rules, as far as they are read already.

    Returns:
        the rules, which read such values as missing; and what was decided, in sentences.

    Raises:
        TableError: ``except_in`` names a column the table lacks.
    """
    for name in except_in:
        train.require(name, "data.no_sentinels names")
    known = columns or {}
    changed, notes = [], []
    for rule in rules:
        found: list[_Found] = []
        if (rule.is_quantity or rule.kind == "timestamp") and rule.name not in except_in:
            values = known[rule.name] if rule.name in known else read_column(train, rule)
            found = _found(values, is_time=rule.kind == "timestamp")
        changed.append(_without(rule, [sentinel for sentinel in found if sentinel.missing]))
        notes += [_note(rule, sentinel, len(train)) for sentinel in found]
    return tuple(changed), notes


def notes_on_target(target: Target) -> list[str]:
    """Sentences about numbers in a target that may stand for no value; none is left out unasked.

    Args:
        target: of the training rows.
    """
    if target.classes:
        return []
    rows = len(target.values)
    return [
        f"the target {target.name!r} holds {_shown(sentinel.value)} in {sentinel.rows / rows:.1%} of the training "
        f"rows, far from all other values: it is learned as it is, but may stand for a missing one; to leave such rows "
        f"out: --null {named(_shown(sentinel.value))}"
        for sentinel in _found(target.values, is_time=False)
    ]


def _without(rule: ColumnRule, missing: Sequence[_Found]) -> ColumnRule:
    """The rule, by which these are missing too."""
    if not missing:
        return rule
    numbers = set(rule.reading.missing_numbers)
    for sentinel in missing:
        numbers |= {sentinel.value} if rule.kind == "timestamp" else sentinel.spellings
    reading = rule.reading.model_copy(update={"missing_numbers": tuple(sorted(numbers))})
    return replace(rule, nullable=True, reading=reading)


def _found(values: NDArray[Any], *, is_time: bool) -> list[_Found]:
    """What looks like a sentinel among the training rows' values ``[rows]`` of a column."""
    present = (values[values != MISSING_TIMESTAMP] if is_time else values[~np.isnan(values)]).astype(np.float64)
    distinct, counts = np.unique(present, return_counts=True)
    known = np.where(np.isin(distinct, list(_TIMESTAMPS)), distinct, np.nan) if is_time else _known_numbers(distinct)
    is_rest = np.isnan(known)
    rest, rows = distinct[is_rest], counts[is_rest]
    if rows.sum() < LEAST_OTHERS or len(rest) < LEAST_DISTINCT:
        return []
    low, high = float(rest[0]), float(rest[-1])
    typical = float(np.quantile(rows, 0.95))
    found = []
    for value, sentinel, n in zip(distinct[~is_rest], known[~is_rest], counts[~is_rest], strict=True):
        away = _away(float(value), low, high)
        if away <= 0.0:
            continue
        missing = n > 1 and (away > FAR or (away > RATHER_FAR and n > SPIKE * typical))
        if not is_time and len(rest) <= FEW and n <= 2 * typical and low > 0 and 0 < value <= DEARER * high:
            missing = False
        if is_time:
            missing = missing or (value >= _LAST_YEARS and away > FAR)
        else:
            missing = missing or (n > 1 and _by_its_sign(value, low))
            missing = missing or (abs(value) >= _FILLER and abs(value) > ABSURD * max(abs(low), abs(high)))
        if missing or away > RATHER_FAR or (not is_time and value < 0 <= low):
            found.append(_Found(float(value), float(sentinel), int(n), bool(missing)))
    for value, n, others in ((rest[0], rows[0], rest[1:]), (rest[-1], rows[-1], rest[:-1])):
        # Nobody's habit, but many rows hold it: it is told, and a person may know.
        if n >= PUBLIC_LEVEL_ROWS and len(others) >= LEAST_DISTINCT and _away(value, others[0], others[-1]) > FAR:
            found.append(_Found(float(value), float("nan"), int(n), missing=False))
    return found


def _away(value: float, low: float, high: float) -> float:
    """How far a value lies outside a range, in lengths of the range; 0 inside, or where a double cannot tell."""
    span = float(high) - float(low)
    out = max(float(low) - float(value), float(value) - float(high), 0.0)
    return out / span if 0.0 < span < np.inf else 0.0


def _known_numbers(distinct: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each number the sentinel it is, NaN where it is none."""
    place = np.searchsorted(_NUMBERS, distinct)
    allowed = np.where(np.abs(distinct) >= 1e20, _ALIKE, 0.0) * np.abs(distinct)
    known = np.full(len(distinct), np.nan)
    for at in (np.maximum(place - 1, 0), np.minimum(place, len(_NUMBERS) - 1)):
        with np.errstate(over="ignore"):
            alike = np.abs(_NUMBERS[at] - distinct) <= allowed
        known = np.where(alike | (_SINGLES[at] == distinct), _NUMBERS[at], known)
    return known


def _as_single(known: float) -> float:
    """What a column of float32 holds for a sentinel, where that is no other number."""
    is_exact = abs(known) <= _EXACT_SINGLE or 1e20 <= abs(known) < _LARGEST_SINGLE
    return float(np.float32(known)) if is_exact else known


def _by_its_sign(value: float, low: float) -> bool:
    """Whether the only negative number is a sentinel: -999 where all others are 0 or more."""
    return bool(value < 0 <= low and (value <= -99 or low >= _NOT_SMALL))


def _note(rule: ColumnRule, sentinel: _Found, rows: int) -> str:
    value = _shown(sentinel.value, is_time=rule.kind == "timestamp")
    share = f"{sentinel.rows / rows:.1%} of the training rows"
    if sentinel.missing:
        return (
            f"{rule.name!r} holds {value} in {share}, far from all other values: it is taken for missing; to take it "
            f"as it is: --set 'data.no_sentinels=[\"{rule.name}\"]'"
        )
    return (
        f"{rule.name!r} holds {value} in {share}, far from all other values: it is kept as it is, but may stand for a "
        f"missing one; to take it for missing: --null {named(value)}"
    )


def _shown(value: float, *, is_time: bool = False) -> str:
    if is_time:
        text = format_timestamp(int(value))
        return text.removesuffix("T00:00:00Z")
    return str(int(value)) if value.is_integer() and abs(value) < 1e17 else f"{value:.15g}"


_SINGLES = np.array([_as_single(known) for known in _NUMBERS])
