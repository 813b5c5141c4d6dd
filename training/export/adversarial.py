"""Rows that try the graph: hostile values among typical ones, and training rows with one odd value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS
from rowcast.models.signature import MISSING_STRING, MISSING_TIMESTAMP, Column, Signature
from rowcast.training.columns.words import WORDS_READ

ADVERSARIAL_ROWS = 2000
"""Adversarial rows with one hostile value each, at most; beyond that, a row holds several."""
ODD_ROWS = 2000
"""Training rows with one odd value each, at most; a table of more columns than that allows has some of them tried."""
CELLS = 600_000
"""Values of all columns of such rows, at most: ONNX Runtime takes a row of thousands of columns in milliseconds."""
BASES = 3
"""Training rows that each odd value is put into."""

UNSEEN_LEVEL = "\x7fno such level\x7f"
_YEAR = 31_556_952_000_000
"""Microseconds in a year of the Gregorian calendar."""


def rows_of(columns: int, most: int) -> int:
    """``most`` rows, or fewer where a table has thousands of columns."""
    return max(1, min(most, CELLS // max(1, columns)))


def adversarial_rows(signature: Signature) -> dict[str, NDArray[Any]]:
    """A typical row with one hostile value at a time, and rows that are hostile throughout; columns ``[rows]``."""
    hostile: dict[str, list[Any]] = {
        "number": [float("nan"), float("inf"), float("-inf"), 1e38, -1e38, 1e308, 5e-324, 0.0, -0.0],
        "category": [MISSING_STRING, UNSEEN_LEVEL, " ", "é\u0301", "0" * 1000],
        "text": [MISSING_STRING, UNSEEN_LEVEL],
        "timestamp": [
            MISSING_TIMESTAMP,
            0,
            -1,
            -2_208_988_800_000_000,  # 1900-01-01
            9_214_646_400_000_000,  # 2262-01-01
            -62_135_596_800_000_000,  # 0001-01-01
            253_402_300_799_999_999,  # the last microsecond of 9999
        ],
    }
    options = {
        column.name: [
            *hostile.get(column.kind, hostile["number"]),
            *_levels_and_bounds(column.levels),
            *_meaning_null(column),
            *_hostile_texts(column),
        ]
        for column in signature.columns
    }
    longest = max(len(values) for values in options.values())
    # A table of thousands of columns has several hostile values in a row, or the rows alone would fill the memory.
    wanted = min(sum(len(values) for values in options.values()), rows_of(len(signature.columns), ADVERSARIAL_ROWS))
    one_at_a_time = max(longest, wanted)
    adversarial: dict[str, NDArray[Any]] = {}
    placed = 0
    for column in signature.columns:
        values = options[column.name]
        rows = np.full(1 + one_at_a_time + longest, typical(column), column.dtype)
        rows[1 + (placed + np.arange(len(values))) % one_at_a_time] = values
        rows[-longest:] = [values[i % len(values)] for i in range(longest)]
        adversarial[column.name] = rows
        placed += len(values)
    return adversarial


def typical(column: Column) -> Any:
    """What a typical row holds in a column."""
    is_number = column.dtype == np.float64 and column.median is not None
    return KINDS[column.kind].taken(column.median) if is_number else column.missing


def _hostile_texts(column: Column) -> list[str]:
    """Known words where a text may be read in two ways: among what separates none, past the last that is read."""
    if column.kind != "text":
        return []
    words = str(column.example or "a b").split(" ")
    first, last, known = words[0], words[-1], " ".join(words)
    return [
        known,
        f"  {known}   {known} ",
        f"{first}\t{last}\n{first}\u00a0{last}\u3000{first}\r{last}",
        f"\0{first} {last}\0 {first}\0{last}",
        " ".join(f"{word.upper()}, {word.capitalize()}! {word};; ({word}) {word}." for word in words),
        " ".join([first] * WORDS_READ + [last]),
        " ".join(["\x7f"] * (WORDS_READ - 1) + [first, last]),
        " ".join(["\x7f"] * WORDS_READ + [last]),
        f"{last} {'é' * 100_000} {first}",
        " " * 100_000 + first,
        f"\U0001f600 {last}\u0301 \ufeff{first} {first}",
    ]


def _meaning_null(column: Column) -> list[Any]:
    """What means null in a column, for which the graph itself has nodes."""
    if column.reading is None:
        return []
    return list(column.reading.nulls if column.dtype == object else column.reading.missing_numbers)


def _levels_and_bounds(levels: Mapping[str, int] | None) -> list[str]:
    """The commonest and the rarest levels: first and last entries of the encoder's tables."""
    names = list(levels or ())
    return list(dict.fromkeys([*names[:2], *names[-2:]]))


@dataclass(frozen=True)
class OddRows:
    """Training rows, each with one value that is not its own."""

    columns: dict[str, NDArray[Any]]
    """``[rows]`` each."""
    changed: list[tuple[str, Any]]
    """Column and value of each row."""


def odd_rows(signature: Signature, seen: Mapping[str, NDArray[Any]]) -> OddRows:
    """Training rows in which one value is out of its column's range, between the values seen, null, or unseen.

    Args:
        signature: of the model.
        seen: columns ``[training rows]``.
    """
    n_seen = len(next(iter(seen.values())))
    bases = np.unique(np.linspace(0, n_seen - 1, BASES + 2).astype(np.int64)[1:-1])
    budget = rows_of(len(signature.columns), ODD_ROWS)
    tried: list[tuple[str, Any]] = []
    columns = list(signature.columns)
    spread = np.random.default_rng(0).permutation(len(columns)) if len(columns) * 10 * len(bases) > budget else None
    for i in range(len(columns)) if spread is None else spread:
        values = odd_values(columns[i], seen[columns[i].name])
        if tried and (len(tried) + len(values)) * len(bases) > budget:
            break
        tried += [(columns[i].name, value) for value in values]
    changed = [one for one in tried for _ in bases]
    rows = {column.name: np.tile(np.asarray(seen[column.name][bases], column.dtype), len(tried)) for column in columns}
    for row, (name, value) in enumerate(changed):
        rows[name][row] = value
    return OddRows(rows, changed)


def odd_values(column: Column, seen: NDArray[Any]) -> list[Any]:
    """Values of a column that no training row holds, or that it holds only as null."""
    if column.kind == "text":
        known = str(column.example or "")
        return [MISSING_STRING, UNSEEN_LEVEL, known.partition(" ")[0], known, " ".join([known] * WORDS_READ)]
    if column.kind == "category":
        return [MISSING_STRING, UNSEEN_LEVEL, *_levels_and_bounds(column.levels)[-1:]]
    if column.kind == "timestamp":
        timestamps = seen[seen != MISSING_TIMESTAMP]
        first, last = (int(timestamps.min()), int(timestamps.max())) if len(timestamps) else (0, 0)
        return [MISSING_TIMESTAMP, first // 2 + last // 2, first - 10 * _YEAR, last + 10 * _YEAR, last + _YEAR // 5]
    present = np.unique(seen[~np.isnan(seen)])
    if len(present) == 0:
        return [float("nan"), 0.0]
    low, high = float(present[0]), float(present[-1])
    reach = max(high / 2 - low / 2, abs(high) / 2, abs(low) / 2, 1.0)
    with np.errstate(over="ignore"):
        outside = [float("nan"), -1e308, 1e308, low - 0.01 * reach, high + 0.01 * reach, low - reach, high + reach, 0.0]
    between = []
    if len(present) > 1:
        with np.errstate(over="ignore"):
            widest = int(np.argmax(present[1:] / 2 - present[:-1] / 2))
        between = [float(present[widest] / 2 + present[widest + 1] / 2), low / 2 + high / 2]
    return outside + between
