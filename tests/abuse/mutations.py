"""Bodies that are nearly valid: made of literals that are right, almost right or wrong, then damaged byte by byte."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rowcast.models.signature import Column, Signature
from tests.support import handmade

CASES = int(os.environ.get("FUZZ_CASES", "300"))
"""How many bodies each property is tried on: the same in each run of the suite; `make fuzz` tries 2,000 new ones."""

MAX_ROWS = 3

fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    print_blob=True,  # new cases are drawn each time: without it, one that fails is lost
    suppress_health_check=[HealthCheck.too_slow],  # a machine that is busy with something else is no defect
)

SIGNATURE = Signature(
    task="binary",
    target="late",
    classes=handmade.BINARY.classes,
    columns=(
        *handmade.COLUMNS,
        Column(name="line", kind="category", nullable=True, levels={"7": 50, "12": 40}, whole_levels=True),
        Column(name="Größe", kind="number", nullable=True),
    ),
)
"""Every kind, nullable and not, and a name beyond ASCII."""

_BIG = 2**53
_wholes = st.integers(-_BIG - 3, _BIG + 3) | st.sampled_from([-_BIG - 1, _BIG + 1, 2**63, 10**30])
_NUMBERS = ["0", "-0", "3", "3.0", "-2.50", "1e20", "1E+2", "5e-1", "9007199254740992", "9007199254740993.0", "1e-400"]
_NO_NUMBERS = [
    "01",
    "+1",
    "1.",
    ".5",
    "1e",
    "0x1",
    "1_0",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1.8e308",
    "٣",
]
_CONSTANTS = ["null", "true", "false", "None", "True", "[]", "{}", "[1]", '{"a":1}', '[{"a":[]}]', ""]
_PLAIN = ["UA", "AA", "", "never seen", "7", "12.0", "1e3", "null", "{,}", "[:]"]
_TEXTS = [*_PLAIN, "\0", "😀", "é", 'a"b', "a\\b"]
_DATES = ["2013-07-01", "2000-02-29", "0001-01-01", "9999-12-31", "1969-12-31"]
_NO_DATES = [
    "2013-02-30",
    "1900-02-29",
    "0000-01-01",
    "99999-01-01",
    "٢٠١٣-07-01",
    "2013-7-1",
    "20130701",
    "2013-W27-1",
    "",
]
_CLOCKS = ["", "T00:00:00", "T08:30", " 23:59:59", "t12:34:56.5", "T00:00:00,123456789", "T01:02:03.000001"]
_NO_CLOCKS = [
    "T24:00:00",
    "T23:60",
    "T23:59:60",
    "T08",
    "T8:30",
    "T00:00:00.",
    "T00:00:00.1234567890",
    "_00:00",
    "T 0:00:00",
]
_ZONES = ["", "Z", "z", "+05:45", "-0330", "+14", "-00:00", "+23:59"]
_NO_ZONES = ["UTC", "+24:00", "+1", "+00:60", " Z", "+-1:00", "+01:", "Z\n"]
_days = st.dates().map(str)
_times = st.times().map("T{}".format)


def _timestamps(dates: list[str], clocks: list[str], zones: list[str]) -> SearchStrategy[str]:
    parts = _days | st.sampled_from(dates), _times | st.sampled_from(clocks), st.sampled_from(zones)
    return st.tuples(*parts).map(lambda parts: "".join(parts if parts[1] else parts[:1]))


def _json(texts: SearchStrategy[str]) -> SearchStrategy[str]:
    """Strings in JSON, escaped or as they are."""
    return st.tuples(texts, st.booleans()).map(lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1]))


def _escaped_oddly(literal: str) -> SearchStrategy[str]:
    odd = ["\\", "\\/", "\\u0041", "\\ud83d\\ude00", "\\udc00", "\\ud800", "\\x41", "\n", "\t", '"', "\x7f"]
    place = st.integers(1, max(1, len(literal) - 1))
    return st.tuples(place, st.sampled_from(odd)).map(lambda put: literal[: put[0]] + put[1] + literal[put[0] :])


_texts = st.text(max_size=6) | st.sampled_from(_TEXTS)
_levels = st.sampled_from([f'"{text}"' for text in _PLAIN]) | _json(_texts)
"""Half of them need no escape: bodies without any are read another way."""
_right = {
    "number": st.sampled_from(_NUMBERS) | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "integer": st.integers(-9, 9).map(str) | st.sampled_from(["3.0", "1e20", "-0", "1E2", "9007199254740992", "1e308"]),
    "boolean": st.sampled_from(["true", "false"]),
    "category": _levels,
    "timestamp": _json(_timestamps(_DATES, _CLOCKS, _ZONES)),
    "line": _levels | _wholes.map(str) | st.sampled_from(["7.0", "1e3", "-0.0"]),
}
_near = st.one_of(
    st.sampled_from(_NO_NUMBERS + _NUMBERS),
    st.sampled_from(_CONSTANTS),
    _wholes.map(str),
    st.sampled_from([_BIG - 1, _BIG, _BIG + 1, -_BIG, -_BIG - 1, -_BIG - 2, 2**63 - 1, 10**20]).map(str),
    st.floats().map(repr),
    _json(_timestamps(_DATES + _NO_DATES, _CLOCKS + _NO_CLOCKS, _ZONES + _NO_ZONES)),
    _right["category"].flatmap(_escaped_oddly),
    _right["category"],
)
_values = st.tuples(*(_right["line" if column.whole_levels else column.kind] for column in SIGNATURE.columns))
_columns = st.integers(0, len(SIGNATURE.columns) - 1)
_GAPS = st.sampled_from(["", " ", "\n\t\r ", "\0", ",", "\x0b", "\xa0"])


@st.composite
def rows(draw: st.DrawFn) -> str:
    """One row, as text: as it should be, or with an oddity or two."""
    pairs = [[f'"{name}"', value] for name, value in zip(SIGNATURE.names, draw(_values), strict=True)]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        pair = pairs[draw(_columns) % len(pairs)]
        match draw(st.integers(0, 9)):
            case 0:
                pair[0] = draw(_json(st.sampled_from(["x", "", *SIGNATURE.names])))
            case 1:
                pair[0] = draw(_escaped_oddly(pair[0]))
            case 2:
                pairs.append(list(pair))
            case 3:
                pairs.remove(pair)
            case 4:
                pair[1] = draw(_GAPS) + pair[1]
            case 5:
                pair[1] = "null"
            case 6:
                pairs.reverse()
            case _:
                pair[1] = draw(_near)
    return "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies of a few rows, right or nearly so."""
    inside = f"[{','.join(draw(st.lists(rows(), min_size=1, max_size=MAX_ROWS)))}]"
    match draw(st.integers(0, 30)):
        case 0:
            text = draw(
                st.sampled_from([inside, f'{{"rows":{inside[1:-1]}}}', '{"rows":[]}', '{"rows":null}', "null", "{}"])
            )
        case 1:
            text = f'{{"rows":{inside},{draw(_json(_texts))}:1}}'
        case 2:
            text = f'{{"rows":{inside},"rows":{inside}}}'
        case 3:
            text = f'{{"rows":{inside[:-1]},{inside[1:]}}}'
        case 4:
            text = f'{draw(_GAPS)}{{"r\\u006fws"{draw(_GAPS)}:{inside}}}{draw(_GAPS)}'
        case _:
            text = f'{{"rows":{inside}}}'
    return text.encode(errors="surrogatepass")


_usual_dates = st.sampled_from([*_DATES * 6, "2013-02-30", "1900-02-29", "0000-01-01", "2O13-07-01", "2013/07/01"])
_usual_clocks = st.sampled_from([
    *("T00:00:00Z", "T08:30:00Z", "T23:59:59Z") * 20,
    "T24:00:00Z", "T23:60:00Z", "T23:59:60Z", "t08:30:00Z", "T08:30:00z", "T08-30-00Z", "T08:30:000", "T08:30Z", "",
])  # fmt: skip
_usual = {
    **_right,
    "number": st.sampled_from(["0", "-0", "3", "3.0", "-2.50", "5e-1", "1E+2", "9007199254740991", "1e-400"]),
    "integer": st.integers(-9, 9).map(str) | st.sampled_from(["3.0", "-0", "1E2", "9007199254740991"]),
    "category": st.sampled_from([f'"{text}"' for text in [*_PLAIN, "é"]]),
    "timestamp": st.tuples(_usual_dates, _usual_clocks).map(lambda parts: f'"{"".join(parts)}"'),
    "line": st.sampled_from(['"7"', "7", "12", "-0", "0", str(2**63), '""', '"x"']),
}
_usual_values = st.tuples(*(_usual["line" if column.whole_levels else column.kind] for column in SIGNATURE.columns))


@st.composite
def usual_bodies(draw: st.DrawFn, max_rows: int = MAX_ROWS) -> bytes:
    """Bodies whose rows all hold every column and no escape, or all but one of them."""
    table = [
        [[f'"{name}"', value] for name, value in zip(SIGNATURE.names, draw(_usual_values), strict=True)]
        for _ in range(draw(st.integers(1, max_rows)))
    ]
    row = draw(st.sampled_from(table))
    pair = row[draw(_columns)]
    match draw(st.integers(0, 15)):
        case 0 | 1 | 2:
            pair[1] = draw(_near)
        case 3 | 4 | 5:
            pair[1] = "null"
        case 6:
            row.append(list(pair))
        case 7:
            row.remove(pair)
        case 8:
            row.reverse()
        case 9:
            pair[0] = '"x"'
    inside = ",".join(f"{{{','.join(f'{key}:{value}' for key, value in row)}}}" for row in table)
    return f'{{"rows":[{inside}]}}'.encode(errors="surrogatepass")


class Edit(NamedTuple):
    """Some bytes in place of some others; ``None`` stands for those that were there, twice."""

    place: float
    """How far into the body, from 0 to 1."""
    cut: int
    put: bytes | None


_PUT = [b"", b'"', b"\\", b",", b"{", b"}", b"[", b"]", b"0", b":", b" ", b"e", b"-", b"1e999", b"\r\n", b"\0", b"null"]
_NO_UTF8 = [b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"]
_put = st.none() | st.sampled_from(_PUT + _NO_UTF8) | st.binary(min_size=1, max_size=4)
edits = st.lists(st.builds(Edit, st.floats(0, 1), st.sampled_from([0, 0, 1, 1, 2, 12]), _put), min_size=1, max_size=4)


def damage(body: bytes, edits: list[Edit]) -> bytes:
    """A body with edits made to it, one after the other."""
    for place, cut, put in edits:
        start = round(place * len(body))
        old = body[start : start + cut]
        body = body[:start] + (old * 2 if put is None else put) + body[start + cut :]
    return body


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rows", *SIGNATURE.names]), inner),
    max_leaves=8,
).map(lambda document: json.dumps(document).encode())
"""Any JSON, with the keys of a body strewn in."""
