"""Tables composed at random of the odd columns that people's tables hold, each from a seed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Rng = np.random.Generator
Values = list[Any]


@dataclass(frozen=True)
class OddTable:
    """Columns of a table by name, the target among them, and for each input values that new rows may hold."""

    columns: dict[str, Values]
    target: str
    odd_values: dict[str, Values]
    made_of: dict[str, str]
    """What each column is, by name."""


def odd_table(seed: int) -> OddTable:
    """The table of a seed: an ordinary number that tells the target, and a handful of odd columns."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(60, 260))
    signal = rng.normal(size=rows)
    kinds = [*rng.choice(list(COLUMNS), int(rng.integers(2, 6)), replace=False), "ordinary"]
    names = [str(name) for name in rng.choice(NAMES, len(kinds) + 1, replace=False)]
    columns: dict[str, Values] = {}
    odd_values: dict[str, Values] = {}
    for name, kind in zip(names, kinds, strict=False):
        columns[name], odd_values[name] = COLUMNS[kind](rng, rows, signal)
    target = str(rng.choice(list(TARGETS)))
    columns[names[-1]] = TARGETS[target](rng, signal)
    made_of = [*map(str, kinds), f"target {target}"]
    return OddTable(columns, names[-1], odd_values, dict(zip(names, made_of, strict=True)))


# ─── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

NUMBERS: Values = [None, 0.5, -1e30, 1e300, 5e-324, 4.9, -999.0]
"""Values that anybody may send for a number."""
TEXTS: Values = [None, "", "never seen", "0", "NA"]
DATES: Values = [None, "0001-01-01", "9999-12-31", "1970-01-01T00:00:00Z"]

NAMES = (
    *("a", "b", "depth", "größe", "a b", "a.b", "[x]", "{y}", 'say "x"', "it's", "rows", "input", "x\ty", "new\nline"),
    *(
        "😀",
        "0",
        "-1",
        "true",
        "null",
        "inputs.numbers",
        "A",
        "__index__",
        "e\u0301",
        "/x",
        "a,b",
        "--drop",
        "%s",
        "$1",
    ),
)


def _with(rng: Rng, values: Values, marker: Any, share: float) -> Values:
    """Some values replaced; three at least, and not all."""
    hidden = rng.random(len(values)) < share
    hidden[:3] = True
    hidden[-1] = False
    return [marker if gone else value for value, gone in zip(values, hidden, strict=True)]


def _sometimes_missing(rng: Rng, values: Values) -> Values:
    return _with(rng, values, None, 0.15) if rng.random() < 0.5 else values


def _amounts(rng: Rng, rows: int, signal: np.ndarray) -> np.ndarray:
    return np.round(50.0 + 20.0 * signal + rng.normal(size=rows), 2)


def _shares(rng: Rng) -> float:
    return float(rng.choice([0.02, 0.05, 0.1, 0.15, 0.4]))


def _ordinary(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return _amounts(rng, rows, signal).tolist(), NUMBERS


def _outlier(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    wild = float(rng.choice([1e13, 1e30, -3.4e38, 1.79e308, 9999999999999999.0]))
    values = _amounts(rng, rows, signal).tolist()
    for place in rng.choice(rows, int(rng.integers(1, 4)), replace=False):
        values[int(place)] = wild
    return values, [*NUMBERS, wild, -wild]


def _sentinel(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    stands_for_none = float(rng.choice([-999.0, -1.0, 9999.0, -9999.0, 999999.0]))
    return _with(rng, _amounts(rng, rows, signal).tolist(), stands_for_none, _shares(rng)), [*NUMBERS, stands_for_none]


def _one_value_or_null(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    one = rng.choice([5.0, 0.0, 1e9, 0.19]).item()
    return _with(rng, [one] * rows, None, float(rng.choice([0.1, 0.5, 0.9]))), [*NUMBERS, one]


def _noisy_constant(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [0.19 + float(noise) * 1e-17 * 3 for noise in rng.integers(0, 4, rows)], [*NUMBERS, 0.07]


def _mostly_one(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [0.0 if value < 2.2 else 7.5 for value in signal], NUMBERS


def _offset(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return (1e14 + np.round(500 + 100 * signal)).tolist(), [*NUMBERS, 1e14]


def _tiny(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return (signal * float(rng.choice([1e-30, 1e-300, 1e-310]))).tolist(), NUMBERS


def _counting(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    start = int(rng.choice([0, 1, 1000, 1_700_000_000]))
    return [start + i for i in range(rows)], [None, 0, -5, start + 2 * rows, 2**53]


def _whole(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return rng.integers(0, 5, rows).tolist(), [None, 7, -1, 2**53]


def _huge_whole(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [2**60 + int(v) for v in rng.integers(0, 5, rows)], [None, 2**60]


def _all_null(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [None] * rows, [None]


def _boolean(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return _with(rng, (signal > 0).tolist(), None, _shares(rng)), [None, True, False]


def _checkbox(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [True if value > 0 else None for value in signal], [None, True, False]


def _written_boolean(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    marker = str(rng.choice(["NA", "?", "unknown"]))
    texts = ["TRUE" if value > 0 else "FALSE" for value in signal]
    return _with(rng, texts, marker, _shares(rng)), [None, "true", "False", marker]


def _written(form: Callable[[float], str], *odd: Any) -> Callable[[Rng, int, np.ndarray], tuple[Values, Values]]:
    def column(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
        values = [form(value) for value in (_amounts(rng, rows, signal) * 30.0).tolist()]
        return (_with(rng, values, None, 0.1) if rng.random() < 0.5 else values), [
            None,
            *odd,
            form(12345.5),
            form(-3.0),
        ]

    return column


def _marked(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    marker = str(rng.choice(["N/A", "?", "-", "None", "unknown", "#N/A", "NULL", "n.a.", "missing", "xx"]))
    texts = [str(value) for value in _amounts(rng, rows, signal).tolist()]
    return _with(rng, texts, marker, _shares(rng)), [None, marker, "4.9", "1e300", "-999"]


def _dates(form: str, *odd: Any) -> Callable[[Rng, int, np.ndarray], tuple[Values, Values]]:
    def column(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
        step = int(rng.choice([0, 7, 1]))
        start = dt.datetime(2023, 1, 17, 8, 30)  # noqa: DTZ001 - no zone is meant
        span = 1 if step == 0 else 900 // step
        days = [
            start + dt.timedelta(days=step * int(i), minutes=int(m))
            for i, m in zip(rng.integers(0, span, rows), rng.integers(0, 900, rows), strict=True)
        ]
        values = [day.strftime(form) for day in days]
        return _sometimes_missing(rng, values), [None, *odd, values[0]]

    return column


def _marked_dates(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    values, odd = _dates("%Y-%m-%d", *DATES)(rng, rows, signal)
    marker = str(rng.choice(["NaT", "9999-12-31", "0000-00-00", "?", "N/A"]))
    return _with(rng, values, marker, _shares(rng)), [*odd, marker]


def _zip(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [f"0{code}" for code in rng.integers(2100, 2106, rows)], [*TEXTS, "2103", "02103"]


def _levels(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    levels = ["red", "blue", "größe", "x" * 300, "\u202e", "NA"][: int(rng.integers(1, 7))]
    return [levels[int(i)] for i in rng.integers(0, len(levels), rows)], TEXTS


def _poor_levels(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [f"level {i // 2}" for i in range(rows)], TEXTS


def _texts(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [f"text {i} {v:.3f}" for i, v in enumerate(signal)], TEXTS


def _numbered_levels(rng: Rng, rows: int, signal: np.ndarray) -> tuple[Values, Values]:
    return [f"{v:.2f}" for v in rng.choice([1.5, 2.0, 2.25], rows)], [None, "1.5", "2", "9"]


COLUMNS: dict[str, Callable[[Rng, int, np.ndarray], tuple[Values, Values]]] = {
    "ordinary": _ordinary,
    "outlier": _outlier,
    "sentinel": _sentinel,
    "one value or null": _one_value_or_null,
    "noisy constant": _noisy_constant,
    "mostly one": _mostly_one,
    "offset": _offset,
    "tiny": _tiny,
    "counting": _counting,
    "whole": _whole,
    "huge whole": _huge_whole,
    "all null": _all_null,
    "boolean": _boolean,
    "checkbox": _checkbox,
    "written boolean": _written_boolean,
    "currency": _written(lambda v: f"${v:,.2f}", "$1", "$1e5", "12"),
    "percent": _written(lambda v: f"{v:.1f}%", "26 %", "26"),
    "unit": _written(lambda v: f"{v:.1f} km", "5km", "7"),
    "decimal comma": _written(lambda v: f"{v:.2f}".replace(".", ","), "1,5", "1.5"),
    "thousands of dots": _written(lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")), "1.234,5"),
    "accounting": _written(lambda v: f"({-v:.2f})" if v < 0 else f"{v:.2f}", "(5)", "-5"),
    "unicode minus": _written(lambda v: f"{v - 1500:.2f}".replace("-", "\u2212"), "-5"),
    "marked": _marked,
    "dates": _dates("%Y-%m-%d", *DATES),
    "moments": _dates("%Y-%m-%dT%H:%M:%SZ", *DATES),
    "day first": _dates("%d/%m/%Y", "31/12/2024", "2023-02-01"),
    "month first": _dates("%m/%d/%Y", "12/31/2024", "2023-02-01"),
    "dotted dates": _dates("%d.%m.%Y %H:%M", "31.12.2024"),
    "utc": _dates("%Y-%m-%d %H:%M:%S UTC", "2024-01-01"),
    "am or pm": _dates("%m/%d/%Y %I:%M %p", "12/31/2024 1:00 PM"),
    "times of day": _dates("%H:%M", "23:59", "1:02:03", "90"),
    "marked dates": _marked_dates,
    "zip": _zip,
    "levels": _levels,
    "poor levels": _poor_levels,
    "texts": _texts,
    "numbered levels": _numbered_levels,
}

# ─── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _wild(rng: Rng, signal: np.ndarray) -> Values:
    values = np.round(100 + 30 * signal, 2)
    values[rng.choice(len(values), int(rng.integers(1, 3)), replace=False)] = float(rng.choice([1e6, 1e9, -1e12]))
    return values.tolist()


def _some_missing(rng: Rng, signal: np.ndarray) -> Values:
    return _with(rng, np.round(signal, 3).tolist(), None, 0.1)


TARGETS: dict[str, Callable[[Rng, np.ndarray], Values]] = {
    "number": lambda rng, signal: np.round(signal, 3).tolist(),
    "offset": lambda rng, signal: (1e7 + np.round(signal, 3)).tolist(),
    "wild": _wild,
    "huge": lambda rng, signal: (signal * 1e30).tolist(),
    "tiny": lambda rng, signal: (signal * 1e-20).tolist(),
    "skewed": lambda rng, signal: np.exp(3 * signal).round(4).tolist(),
    "counts": lambda rng, signal: rng.poisson(np.exp(1 + signal / 2)).tolist(),
    "missing": _some_missing,
    "binary": lambda rng, signal: np.where(signal + rng.normal(size=len(signal)) > 0, "yes", "no").tolist(),
    "flag": lambda rng, signal: (signal > 0.5).tolist(),
    "rare": lambda rng, signal: np.where(signal > np.sort(signal)[-4], "rare", "usual").tolist(),
    "classes": lambda rng, signal: [f"c{int(v)}" for v in np.clip(np.round(signal + 2), 0, 4)],
}
