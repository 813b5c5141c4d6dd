"""Bodies become rows, or faults with a path."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.models.signature import MISSING_TIMESTAMP, Column, Signature
from rowcast.service.columns.many_json_rows import MANY_ROWS
from rowcast.service.columns.named import ColumnReader
from rowcast.service.columns.rows import GraphInputs, Row
from rowcast.service.protocols.rows.decode import Decoder
from tests.service.hostile_payloads import ACCEPTED, GOOD, PAYLOADS, ROW, Payload, rows, with_value
from tests.support import handmade

DECODER = Decoder(handmade.BINARY, max_rows=4096)


def refusal(body: bytes, decoder: Decoder = DECODER) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decoder.rows(body)
    return caught.value


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_a_hostile_body_is_refused_where_it_is_wrong(payload: Payload) -> None:
    error = refusal(payload.body)
    assert error.status == payload.status
    assert (error.faults[0].path if error.faults else None) == payload.path
    assert not {"pydantic", "http", "Traceback", "\n"} & set(str(error).split("/"))
    assert len(str(error)) < 500


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_an_unusual_body_is_accepted(body: bytes) -> None:
    assert len(DECODER.rows(body)) == len(json.loads(body)["rows"])


def test_a_good_body_becomes_rows_of_final_values() -> None:
    assert DECODER.rows(GOOD) == [{**ROW, "departs": 1_372_636_800_000_000}]


def test_every_kind_of_fault_says_what_it_wants_and_what_came() -> None:
    cases = {
        with_value("distance", '"far"'): 'rows[1].distance: must be a number or null, got "far"',
        with_value("stops", "2.5"): "rows[1].stops: must be a whole number or null, got 2.5",
        with_value("night", "0"): "rows[1].night: must be true or false or null, got 0",
        with_value("carrier", "[]"): "rows[1].carrier: must be a string or null, got an empty list",
        with_value("departs", '"1.7.2013"'): (
            'rows[1].departs: "1.7.2013" is not an ISO 8601 date or date-time such as 2013-07-01T08:30:00Z'
        ),
        with_value("stops", "9007199254740993"): (
            "rows[1].stops: must be at most 2**53, or a decimal such as 1e20, got 9007199254740993"
        ),
        rows({**ROW, "late": 1}): (
            "rows[0].late: is not a column of the model, whose columns are distance, stops, night, carrier, departs"
        ),
        rows({"distance": 1.0, "stops": 1}): (
            "rows[0].carrier: is missing: training saw it in every row, so send a value or null"
        ),
    }
    assert {body: str(refusal(body)) for body in cases} == cases


def test_fifty_faults_are_listed_in_the_order_of_the_rows() -> None:
    error = refusal(rows(*[{**ROW, "distance": "far"}] * 100))
    assert [fault.path for fault in error.faults] == [f"rows[{i}].distance" for i in range(50)]


def test_faults_of_several_columns_and_rows_are_all_listed() -> None:
    error = refusal(rows({**ROW, "distance": None, "stops": "1"}, 7, {**ROW, "x": 1, "night": 2}))
    assert {fault.path for fault in error.faults} == {"rows[0].stops", "rows[1]", "rows[2].x", "rows[2].night"}


def test_faults_only_the_values_show_are_all_listed() -> None:
    error = refusal(rows({**ROW, "stops": 1.5, "departs": "x"}, {**ROW, "stops": 2.5}))
    assert [fault.path for fault in error.faults] == ["rows[0].stops", "rows[1].stops", "rows[0].departs"]


def test_one_row_too_many_is_another_code() -> None:
    decoder = Decoder(handmade.BINARY, max_rows=2)
    assert len(decoder.rows(rows(ROW, ROW))) == 2
    error = refusal(rows(ROW, ROW, ROW), decoder)
    assert (error.status, error.faults) == (413, ())
    assert str(error) == (
        "a request holds at most 2 rows, got 3; send them in several requests, or raise ROWCAST_MAX_ROWS"
    )


def test_whole_levels_take_whole_numbers_as_well_as_strings() -> None:
    column = Column(name="line", kind="category", nullable=False, levels={"7": 50, "12": 40}, whole_levels=True)
    signature = Signature(task="regression", target="y", columns=(column,))
    decoder = Decoder(signature, max_rows=9)
    body = b'{"rows":[{"line":7},{"line":7.0},{"line":"7"},{"line":-12},{"line":123456789012345678901},{"line":null}]}'
    got = decoder.rows(body)
    assert [row["line"] for row in got] == ["7", "7", "7", "-12", "123456789012345678901", None]
    assert ColumnReader(signature, 9).unseen(decoder.columns_of(got)) == {"line": 2}
    for literal in (b"7.5", b"true", b"1e400", b"[7]"):
        error = refusal(b'{"rows":[{"line":%b}]}' % literal, decoder)
        assert str(error).startswith("rows[0].line: must be a string or a whole number or null, got ")


def test_unseen_levels_are_counted_and_missing_ones_are_not() -> None:
    body = rows(*({**ROW, "carrier": carrier} for carrier in ("UA", "ZZ", "", None, "9E", "zz")))
    assert ColumnReader(handmade.BINARY, 9).unseen(DECODER.columns_of(DECODER.rows(body))) == {"carrier": 2}


def test_graph_inputs_hold_each_kinds_own_value_for_what_is_missing() -> None:
    inputs = GraphInputs(handmade.BINARY)(DECODER.rows(rows({**ROW, "night": True}, dict.fromkeys(ROW))))
    assert {name: values.dtype for name, values in inputs.items()} == {c.name: c.dtype for c in handmade.COLUMNS}
    assert {values.shape for values in inputs.values()} == {(2, 1)}
    assert [inputs[name][0, 0] for name in ROW] == [872.0, 1.0, 1.0, "UA", 1_372_636_800_000_000]
    assert np.isnan([inputs[name][1, 0] for name in ("distance", "stops", "night")]).all()
    assert (inputs["carrier"][1, 0], inputs["departs"][1, 0]) == ("", MISSING_TIMESTAMP)


def test_columns_left_out_are_missing_values() -> None:
    inputs = GraphInputs(handmade.BINARY)(DECODER.rows(rows({"distance": 1, "stops": 2, "carrier": "UA"})))
    assert math.isnan(inputs["night"][0, 0])
    assert inputs["departs"][0, 0] == MISSING_TIMESTAMP


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "x"]), children),
    max_leaves=8,
)


def outcome(body: bytes) -> list[Row] | RequestError:
    try:
        return DECODER.rows(body)
    except RequestError as error:
        return error


@settings(database=None, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*ROW, "x"], JSON)))
def test_whatever_a_row_holds_it_is_read_or_refused_with_a_path(row: dict[str, object]) -> None:
    got = outcome(rows(row))
    if isinstance(got, RequestError):
        assert got.status == 400
        assert {fault.path.split(".")[0] for fault in got.faults} <= {"", "rows[0]"}
        assert got.faults
    else:
        assert {len(values) for values in GraphInputs(handmade.BINARY)(got).values()} == {1}


@settings(database=None, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: GOOD[:60] + text.encode() + GOOD[60:]))
def test_whatever_the_bytes_they_are_read_or_refused(body: bytes) -> None:
    got = outcome(body)
    assert got.status == 400 if isinstance(got, RequestError) else len(got) == 1


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_many_rows_are_refused_in_the_same_words(payload: Payload) -> None:
    decoder = Decoder(handmade.BINARY, max_rows=4096, many_rows=0)
    with pytest.raises(RequestError) as caught:
        decoder.read(payload.body)
    assert str(caught.value) == str(refusal(payload.body))


def test_a_body_of_many_rows_is_read_by_columns() -> None:
    body = rows(*[ROW] * MANY_ROWS)
    many = DECODER.together([body])
    blocks = GraphInputs(handmade.BINARY).blocks(DECODER.rows(body))
    assert all(map(np.array_equal, many.blocks, blocks))
    assert [block.dtype for block in many.blocks] == [block.dtype for block in blocks]


@pytest.mark.parametrize("kind", ["number", "category", "timestamp"])
def test_a_model_of_one_column_reads_many_rows(kind: str) -> None:
    signature = Signature(task="regression", target="y", columns=(Column(name="only", kind=kind, nullable=False),))
    value = {"number": 2, "category": "a", "timestamp": "2013-07-01T08:30:00Z"}[kind]
    body = rows(*[{"only": value}] * 20, {"only": None})
    decoder = Decoder(signature, max_rows=100)
    many = decoder.together([body])
    (right,) = GraphInputs(signature).blocks(decoder.rows(body))
    np.testing.assert_array_equal(many.blocks[0], right)
