"""Open Inference bodies made at random: whatever they are, they are read or refused, and never fail the service."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.columns.rows import GraphInputs
from rowcast.service.columns.tensor_bytes import DATATYPES, DTYPES, from_raw
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.v2.request import RequestReader
from tests.abuse import mutations
from tests.abuse.mutations import MAX_ROWS, SIGNATURE, damage, edits, fuzzed
from tests.abuse.outcomes import check
from tests.service.open_inference import body

REQUESTS = RequestReader(SIGNATURE, MAX_ROWS)
COLUMNS = ColumnReader(SIGNATURE, MAX_ROWS)
DECODER = Decoder(SIGNATURE, MAX_ROWS)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats()
    | st.sampled_from(["UA", "7", "2013-07-01", "", "é", 2**53, -(2**53) - 1, 1e300])
)
SHAPES = st.sampled_from([[1], [2], [2, 1], [3], [1, 1], [0], [-1], [2, 2], [2**60], [], [1.0], [True], None, "2"])


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    """An input as it should be, or with an oddity."""
    name, rows = draw(st.sampled_from(SIGNATURE.names)), draw(st.integers(1, 3))
    kind = {column.name: column.kind for column in SIGNATURE.columns}[name]
    datatype = "BYTES" if kind in {"category", "timestamp"} else draw(st.sampled_from(["FP64", "FP32", "INT64"]))
    right = {"BYTES": st.sampled_from(["2013-07-01", "UA"]), "INT64": st.integers(0, 1)}.get(datatype, st.just(1.0))
    data = draw(st.lists(right, min_size=rows, max_size=rows))
    entry: dict[str, Any] = {"name": name, "shape": [rows], "datatype": datatype, "data": data}
    match draw(st.integers(0, 12)):
        case 0:
            entry["data"] = draw(st.lists(VALUES, max_size=3))
        case 1:
            entry["shape"] = draw(SHAPES)
        case 2:
            entry["datatype"] = draw(st.sampled_from([*DATATYPES, "x", None, 3]))
        case 3:
            entry["data"] = [[value] for value in entry["data"]]
        case 4:
            entry.pop(draw(st.sampled_from(list(entry))))
        case 5:
            entry[draw(st.sampled_from(["x", "name", "parameters"]))] = draw(VALUES)
        case 6:
            entry["parameters"] = {"binary_data_size": draw(st.integers(-1, 40) | VALUES)}
        case 7:
            entry["name"] = draw(st.sampled_from(["x", *SIGNATURE.names]))
    return entry


INPUTS = st.lists(inputs(), max_size=len(SIGNATURE.columns), unique_by=lambda entry: str(entry.get("name"))) | VALUES
MORE_KEYS = st.sampled_from(["id", "parameters", "outputs", "x"])
MORE = st.dictionaries(MORE_KEYS, VALUES | st.lists(VALUES, max_size=2), max_size=1)
REQUEST = st.builds(lambda inputs, more: {"inputs": inputs, **more}, INPUTS, MORE)


def outcome(text: bytes, json_bytes: int | None = None) -> Columns | RequestError:
    try:
        return COLUMNS.read(REQUESTS.read(text, json_bytes).tensors)
    except RequestError as error:
        return error


@fuzzed
@given(REQUEST, edits, st.booleans())
def test_bodies_nearly_valid_or_damaged_are_read_or_refused(
    content: dict[str, Any], changes: list[mutations.Edit], damaged: bool
) -> None:
    text = body(content)
    check(outcome(damage(text, changes) if damaged else text))


def test_half_floats_alone_are_read() -> None:
    entry = {"name": "distance", "shape": [2], "datatype": "FP16", "data": [1.0, 65504.0]}
    (tensor,) = REQUESTS.read(body({"inputs": [entry]})).tensors
    assert tensor.values.tolist() == [1.0, 65504.0]


@fuzzed
@given(st.binary(max_size=60), st.none() | st.integers(0, 70))
def test_any_bytes_are_read_or_refused(text: bytes, json_bytes: int | None) -> None:
    check(outcome(text, json_bytes))


@fuzzed
@given(REQUEST, st.binary(max_size=60), st.integers(-2, 2))
def test_any_bytes_after_the_json_are_read_or_refused(content: dict[str, Any], raw: bytes, off: int) -> None:
    text = body(content)
    check(outcome(text + raw, max(0, len(text) + off)))


@fuzzed
@given(st.sampled_from(DATATYPES), st.binary(max_size=40), st.integers(1, 2**62))
def test_raw_bytes_are_as_many_values_as_there_are_rows_or_refused(datatype: str, raw: bytes, rows: int) -> None:
    rows = rows if rows > 99 else 1 + rows % 6
    values = read_raw(datatype, raw, rows)
    if isinstance(values, ValueError):
        assert str(values).startswith(("must ", "has "))
    else:
        assert len(values) == rows
        assert datatype == "BYTES" or len(raw) == rows * DTYPES[datatype].itemsize


def read_raw(datatype: str, raw: bytes, rows: int) -> Any:
    try:
        return from_raw(datatype, raw, rows)
    except ValueError as error:
        return error


@fuzzed
@given(mutations.bodies())
def test_what_is_read_as_rows_is_read_as_the_same_tensors(text: bytes) -> None:
    try:
        rows = DECODER.rows(text)
    except RequestError:
        return
    sent = json.loads(text)["rows"]
    tensors = []
    for column in SIGNATURE.columns:
        datatype = "BYTES" if column.kind in {"category", "timestamp"} else "FP64"
        if column.kind == "boolean":
            datatype = "BOOL"
        values = [row.get(column.name) for row in sent]
        if column.whole_levels:
            values = [str(int(v)) if isinstance(v, int | float) and v is not None else v for v in values]
        tensors.append({"name": column.name, "shape": [len(sent)], "datatype": datatype, "data": values})
    got = outcome(body({"inputs": tensors}))
    assert isinstance(got, Columns), got
    for block, expected in zip(got.blocks, GraphInputs(SIGNATURE).blocks(rows), strict=True):
        assert np.array_equal(block, expected, equal_nan=block.dtype == np.float64)


def test_what_is_wrong_beyond_the_faults_that_are_told_is_refused_too() -> None:
    nameless = [{"shape": [9, 9], "datatype": "FP63"}] * RequestError.MAX_FAULTS
    got = outcome(body({"inputs": [*nameless, {"data": [1]}]}))
    assert isinstance(got, RequestError)
    assert len(got.faults) == RequestError.MAX_FAULTS
