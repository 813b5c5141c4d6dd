"""Whatever comes in a known form of an Open Inference request is read the short way, as the long way reads it."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP
from tests.abuse.mutations import CASES, MAX_ROWS, SIGNATURE, Edit, damage, edits
from tests.service.known_forms import check, is_known, taught
from tests.service.open_inference import raw_texts

BYTES = "BYTES"
fewer = settings(max_examples=1 + CASES // 5, deadline=None, database=None)
"""Each case here reads a body many times over."""

KINDS = {column.name: column.kind for column in SIGNATURE.columns}
NUMBERS = {
    "number": st.floats(-(2.0**40), 2.0**40).map(repr) | st.sampled_from(["3", "-0", "-0.0"]),
    "integer": st.integers(-9, 9).map(str) | st.sampled_from(["3.0", "-0.0", "1E2", "9007199254740991"]),
    "boolean": st.sampled_from(["0", "1", "0.0", "1.0"]),
}
USUAL_TEXTS = st.sampled_from(["UA", "", "7", "never seen", "é", "😀", "null", "a,b", "data", ":"])
DATES = st.sampled_from(["2013-07-01", "2013-07-01T08:30:00Z", "0001-01-01T00:00:00Z", "2013-07-01T08:30:00.5+01:00"])
MOMENTS = st.sampled_from([0, 1, -1, 1_372_636_800_000_000, FIRST_TIMESTAMP, LAST_TIMESTAMP, MISSING_TIMESTAMP])
ODD = st.sampled_from([
    "null", "true", "false", "NaN", "Infinity", "1e400", "-1e400", "1e308", "1e16", "0.5", "2", "01", "+1", "", " ",
    " 1", *(str(sign * (2**53 + near)) for sign in (1, -1) for near in (-1, 0, 1)), "9007199254740993.0",
    str(2**63 - 1), str(2**63), str(-(2**63) - 1), str(2**64), str(LAST_TIMESTAMP + 1), str(FIRST_TIMESTAMP - 1),
    "[1]", "[[1]]", "[]", "{}", "1],[2", "1],2", "1]", "[1", "1,2", ",", '"', '"a', 'a"', '"a","b"', '"],["', '"],"',
    '"]"', '"["', '"{"', '"}"', '"\\u0041"', '"\\""', '"\\\\"', '"\\ud800"', '"a\nb"', '"\0"', "UA", '"1"',
    '"2013-02-30"', '"2013-07-01T24:00:00Z"', '""', '"]},{"', '"]}"', '1]},{"name":"stops"',
])  # fmt: skip


class Form(NamedTuple):
    """What a caller sends each time."""

    datatypes: dict[str, str]
    rows: int
    nested_shape: bool
    spaced: bool
    data_first: bool
    more: dict[str, Any]

    def text(self, values: dict[str, list[str]]) -> bytes:
        """A body in JSON, of literals."""
        colon, comma = (": ", ", ") if self.spaced else (":", ",")
        inputs = []
        for name, datatype in self.datatypes.items():
            head = json.dumps(self._head(name, datatype), ensure_ascii=False, separators=(comma, colon))[1:-1]
            data = f'"data"{colon}[{comma.join(values[name])}]'
            inputs.append(f"{{{data}{comma}{head}}}" if self.data_first else f"{{{head}{comma}{data}}}")
        more = json.dumps(self.more, separators=(comma, colon))[1:-1]
        return f'{{"inputs"{colon}[{comma.join(inputs)}]{comma + more if more else ""}}}'.encode(errors="surrogatepass")

    def raw(self, values: dict[str, bytes]) -> tuple[bytes, int]:
        """A body in raw bytes."""
        inputs = [
            {**self._head(name, datatype), "parameters": {"binary_data_size": len(values[name])}}
            for name, datatype in self.datatypes.items()
        ]
        separators = (", ", ": ") if self.spaced else (",", ":")
        content = {**self.more, "inputs": inputs} if self.data_first else {"inputs": inputs, **self.more}
        text = json.dumps(content, separators=separators).encode()
        return text + b"".join(values[name] for name in self.datatypes), len(text)

    def _head(self, name: str, datatype: str) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [self.rows, 1] if self.nested_shape else [self.rows]}


MORE = st.sampled_from([
    {}, {}, {"parameters": {"timeout": 5_000_000, "priority": 2}}, {"parameters": {"binary_data_output": True}},
    {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]}, {"id": "7"}, {"id": None}, {"outputs": []},
    {"parameters": {"binary_data_size": 8}}, {"parameters": {"data": 5}}, {"x": 1},
])  # fmt: skip


@st.composite
def forms(draw: st.DrawFn, more: st.SearchStrategy[dict[str, Any]] = MORE, iso: bool | None = None) -> Form:
    texts = draw(st.booleans()) if iso is None else iso
    names = draw(st.permutations(SIGNATURE.names))
    by_kind = {"category": BYTES, "timestamp": BYTES if texts else "INT64"}
    datatypes = {name: by_kind.get(KINDS[name], "FP64") for name in names}
    return Form(datatypes, draw(st.integers(1, MAX_ROWS)), *draw(st.tuples(*[st.booleans()] * 3)), draw(more))


@st.composite
def literals(draw: st.DrawFn, form: Form, *, nulls: bool = True) -> dict[str, list[str]]:
    """Values that break no rule."""
    values = {}
    for name, datatype in form.datatypes.items():
        if datatype == BYTES:
            texts = DATES if KINDS[name] == "timestamp" else USUAL_TEXTS
            one = texts.map(lambda text: json.dumps(text, ensure_ascii=False))
        else:
            one = MOMENTS.map(str) if datatype == "INT64" else NUMBERS[KINDS[name]]
        one = st.one_of(one, one, st.just("null")) if nulls else one
        values[name] = draw(st.lists(one, min_size=form.rows, max_size=form.rows))
    return values


@st.composite
def raws(draw: st.DrawFn, form: Form) -> dict[str, bytes]:
    """Values that break no rule, as bytes."""
    values = {}
    for name, column in draw(literals(form, nulls=False)).items():
        if form.datatypes[name] == BYTES:
            values[name] = raw_texts(*map(json.loads, column))
        elif form.datatypes[name] == "INT64":
            values[name] = np.array(list(map(int, column)), "<i8").tobytes()
        else:
            missing = draw(st.lists(st.booleans(), min_size=form.rows, max_size=form.rows))
            numbers = [math.nan if gone else float(value) for value, gone in zip(column, missing, strict=True)]
            values[name] = np.array(numbers, "<f8").tobytes()
    return values


USUAL_MORE = st.sampled_from([
    {}, {"parameters": {"timeout": 5_000_000, "priority": 2}}, {"id": None}, {"outputs": [{"name": "label"}]},
])  # fmt: skip


@fewer
@given(st.data())
def test_other_values_in_a_known_form_are_read_the_short_way(data: st.DataObject) -> None:
    form = data.draw(forms(USUAL_MORE))
    reader = taught((form.text(data.draw(literals(form))), None))
    text = form.text(data.draw(literals(form)))
    assert len(check(reader, text)) == 4
    assert is_known(reader, text)


@fewer
@given(st.data())
def test_other_raw_values_in_a_known_form_are_read_the_short_way(data: st.DataObject) -> None:
    form = data.draw(forms(USUAL_MORE, iso=False))
    reader = taught(form.raw(data.draw(raws(form))))
    text, json_bytes = form.raw(data.draw(raws(form)))
    assert len(check(reader, text, json_bytes)) == 4
    assert is_known(reader, text, json_bytes)


@fewer
@given(st.data())
def test_odd_values_in_a_known_form_are_what_they_are_in_any(data: st.DataObject) -> None:
    form = data.draw(forms())
    reader = taught((form.text(data.draw(literals(form))), None))
    values = data.draw(literals(form))
    for _ in range(data.draw(st.integers(1, 2))):
        column = values[data.draw(st.sampled_from(SIGNATURE.names))]
        at = data.draw(st.integers(0, len(column)))
        column[at : at + data.draw(st.integers(0, 1))] = [data.draw(ODD)]
    check(reader, form.text(values))


@fewer
@given(st.data(), edits, st.booleans())
def test_a_damaged_body_of_a_known_form_is_what_it_is_in_any(
    data: st.DataObject, changes: list[Edit], again: bool
) -> None:
    form = data.draw(forms())
    reader = taught((form.text(data.draw(literals(form))), None))
    text = damage(form.text(data.draw(literals(form))), changes)
    for _ in range(3 if again else 1):  # if it is right it is itself known after two
        check(reader, text)


@fewer
@given(st.data(), edits, st.integers(0, 3), st.integers(-2, 2))
def test_damaged_raw_values_of_a_known_form_are_what_they_are_in_any(
    data: st.DataObject, changes: list[Edit], where: int, off: int
) -> None:
    form = data.draw(forms(iso=False))
    reader = taught(form.raw(data.draw(raws(form))))
    text, json_bytes = form.raw(data.draw(raws(form)))
    if where == 0:
        text, off = damage(text, changes), 0
    elif where < 3:
        head, raw = text[:json_bytes], text[json_bytes:]
        head, raw = (damage(head, changes), raw) if where == 1 else (head, damage(raw, changes))
        text, json_bytes, off = head + raw, len(head), 0
    for _ in range(3):
        check(reader, text, max(0, json_bytes + off))


@fewer
@given(st.data())
def test_forms_are_not_mistaken_for_each_other(data: st.DataObject) -> None:
    first = data.draw(forms(USUAL_MORE))
    like = first._replace(more=data.draw(MORE)) if data.draw(st.booleans()) else first._replace(rows=1 + first.rows % 3)
    reader = taught(*((form.text(data.draw(literals(form))), None) for form in (first, like)))
    for form in (first, like):
        check(reader, form.text(data.draw(literals(form))))
    raw = [form._replace(datatypes={**form.datatypes, "departs": "INT64"}) for form in (first, like)]
    reader = taught(*(form.raw(data.draw(raws(form))) for form in raw))
    for form in raw:
        check(reader, *form.raw(data.draw(raws(form))))
