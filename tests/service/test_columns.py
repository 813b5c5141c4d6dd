"""Named arrays become the graph's inputs, or faults with a place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rowcast.models.errors import RequestError
from rowcast.models.reading import NumberForm, Reading
from rowcast.models.signature import MISSING_TIMESTAMP, Column, Signature
from rowcast.models.values import EXACT_WHOLE, FIRST_TIMESTAMP, LAST_TIMESTAMP
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.columns.tensors import ErrorPaths, Tensor
from tests.abuse.mutations import SIGNATURE, fuzzed
from tests.service.hostile_payloads import ROW
from tests.service.tensors import tensors
from tests.support import handmade

READER = ColumnReader(handmade.BINARY, max_rows=4096)
JULY = 1_372_636_800_000_000
KINDS = {
    "number": Column(name="x", kind="number", nullable=False),
    "integer": Column(name="x", kind="integer", nullable=False),
    "boolean": Column(name="x", kind="boolean", nullable=False),
    "category": Column(name="x", kind="category", nullable=False, levels={"UA": 5}),
    "line": Column(name="x", kind="category", nullable=False, levels={"7": 5}, whole_levels=True),
    "timestamp": Column(name="x", kind="timestamp", nullable=False),
}


def reader(kind: str) -> ColumnReader:
    return ColumnReader(Signature(task="regression", target="y", columns=(KINDS[kind],)), max_rows=100)


def read(kind: str, values: Any, missing: list[bool] | None = None) -> list[Any]:
    """What the graph is given for a column."""
    mask = None if missing is None else np.array(missing)
    columns = reader(kind).read([Tensor("x", values, mask)])
    assert columns.blocks[0].shape == (1, len(columns), 1)
    assert columns.blocks[0].dtype == KINDS[kind].dtype
    return list(columns.blocks[0][0, :, 0].tolist())


def refusal(kind: str, values: Any, missing: list[bool] | None = None) -> str:
    with pytest.raises(RequestError) as caught:
        read(kind, values, missing)
    assert caught.value.status == 400
    assert len(caught.value.faults) >= 1
    return str(caught.value)


def inputs(tensors: list[Tensor]) -> dict[str, list[Any]]:
    blocks = READER.read(tensors).blocks
    return {name: values[:, 0].tolist() for name, values in Layout(handmade.BINARY).inputs(blocks).items()}


GOOD = tensors(handmade.BINARY, [ROW, ROW])


def with_tensor(name: str, values: Any) -> list[Tensor]:
    return [Tensor(name, values) if tensor.name == name else tensor for tensor in GOOD]


def faults(tensors: list[Tensor], **options: Any) -> list[str]:
    with pytest.raises(RequestError) as caught:
        READER.read(tensors, **options)
    assert caught.value.status == 400
    return [f"{fault.path}: {fault.message}" for fault in caught.value.faults]


def test_a_request_of_tensors_becomes_the_graphs_inputs() -> None:
    row = {"distance": 872.0, "stops": 1.0, "night": 0.0, "carrier": "UA", "departs": JULY}
    assert inputs(GOOD) == {name: [value, value] for name, value in row.items()}
    assert inputs(GOOD[::-1]) == inputs(GOOD)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i8"])
@pytest.mark.parametrize("kind", ["number", "integer", "boolean"])
def test_numbers_of_any_width_are_cast(kind: str, dtype: str) -> None:
    assert read(kind, np.array([0, 1, 1], dtype)) == [0.0, 1.0, 1.0]
    assert read(kind, np.array([[0], [1], [1]], dtype)) == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["number", "integer", "boolean"])
def test_nan_is_missing_and_so_is_what_the_mask_says_whatever_stands_there(kind: str) -> None:
    assert [math.isnan(value) for value in read(kind, np.array([1.0, math.nan]))] == [False, True]
    for junk in (np.array([1.0, math.inf]), np.array([1, 2**63 - 1]), np.array([1.0, 0.5])):
        assert [math.isnan(value) for value in read(kind, junk, [False, True])] == [False, True]


@pytest.mark.parametrize(("kind", "values", "words"), [
    ("number", np.array([0.0, math.inf]), "[1]: must be a number, or NaN where it is missing, got Infinity"),
    ("number", np.array([-math.inf], "f4"), "[0]: must be a number, or NaN where it is missing, got -Infinity"),
    ("integer", np.array([1.0, 2.5]), "[1]: must be a whole number, or NaN where it is missing, got 2.5"),
    ("integer", np.array([0.5], "f2"), "[0]: must be a whole number, or NaN where it is missing, got 0.5"),
    ("boolean", np.array([0, 1, 2]), "[2]: must be 0 or 1, or NaN where it is missing, got 2.0"),
    ("boolean", np.array([math.inf]), "[0]: must be 0 or 1, or NaN where it is missing, got Infinity"),
    ("number", np.array([2**53, 2**53 + 1]), "[1]: must be at most 2**53, got 9007199254740993"),
    ("integer", np.array([-(2**63)]), "[0]: must be at most 2**53, got -9223372036854775808"),
    ("number", np.array([2**64 - 1], "u8"), "[0]: must be at most 2**53, got 18446744073709551615"),
    ("line", np.array([7.5]), "[0]: must be a string or a whole number, got 7.5"),
    ("timestamp", np.array([LAST_TIMESTAMP + 1]),
     "[0]: must be epoch microseconds of the years 0001 to 9999, got 253402300800000000"),
    ("timestamp", np.array([FIRST_TIMESTAMP - 1]),
     "[0]: must be epoch microseconds of the years 0001 to 9999, got -62135596800000001"),
    ("timestamp", np.array([2**63], "u8"),
     "[0]: must be epoch microseconds of the years 0001 to 9999, got 9223372036854775808"),
    ("timestamp", [b"2013-07-01", b"2013-02-30"],
     '[1]: "2013-02-30" is not a date that exists: day is out of range for month'),
    ("timestamp", [b""], '[0]: "" is not an ISO 8601 date or date-time such as 2013-07-01T08:30:00Z'),
    ("category", [b"UA", b"\xff"], "[1]: must be text in UTF-8, got bytes that are not"),
    ("category", ["UA", "\ud800"], "[1]: must be text in UTF-8, got bytes that are not"),
    ("category", ["UA", 3], "[1]: must be text in UTF-8, got 3"),
    ("category", ["UA", object()], "[1]: must be text in UTF-8, got something else"),
    ("timestamp", [b"\xff"], "[0]: must be text in UTF-8, got bytes that are not"),
])  # fmt: skip
def test_a_value_that_breaks_a_rule_is_named(kind: str, values: Any, words: str) -> None:
    assert refusal(kind, values) == f"inputs[0].data{words}"


@pytest.mark.parametrize(("kind", "values", "words"), [
    ("number", np.array([True]), "x must be floats or integers, got booleans"),
    ("number", ["1"], "x must be floats or integers, got text"),
    ("integer", np.array([True]), "x must be integers, or floats that are whole, got booleans"),
    ("boolean", np.array(["true"]), "x must be booleans, or 0 and 1 in floats or integers, got text"),
    ("number", np.array([1j]), "x must be floats or integers, got another type"),
    ("category", np.array([1]), "x must be text, got integers"),
    ("category", np.array([True]), "x must be text, got booleans"),
    ("line", np.array([True]), "x must be text or whole numbers, got booleans"),
    ("timestamp", np.array([1.0]), "x must be integers of epoch microseconds, or ISO 8601 text, got floats"),
    ("timestamp", np.array([True]), "x must be integers of epoch microseconds, or ISO 8601 text, got booleans"),
])  # fmt: skip
def test_a_type_that_is_none_of_the_columns_is_refused(kind: str, values: Any, words: str) -> None:
    assert refusal(kind, values) == f"inputs[0]: {words}"


def test_large_numbers_are_taken_as_json_takes_them() -> None:
    assert read("number", np.array([EXACT_WHOLE, -EXACT_WHOLE])) == [2.0**53, -(2.0**53)]
    assert read("integer", np.array([1e300])) == [1e300]


def test_a_boolean_may_come_in_booleans() -> None:
    assert read("boolean", np.array([True, False])) == [1.0, 0.0]


@pytest.mark.parametrize("values", [
    ["UA", "", "\0é"],
    [b"UA", b"", "\0é".encode()],
    ["UA", None, "\0é".encode()],
    np.array(["UA", "", "\0é"], object),
    np.array([["UA"], [None], ["\0é"]], object),
])  # fmt: skip
def test_a_category_comes_as_any_text(values: Any) -> None:
    assert read("category", values) == ["UA", "", "\0é"]


def test_a_category_may_come_in_numpys_own_texts() -> None:
    assert read("category", np.array(["UA", "é"])) == ["UA", "é"]
    assert read("category", np.array([b"UA", b"AA"])) == ["UA", "AA"]


def test_a_masked_text_is_missing_whatever_stands_there() -> None:
    assert read("category", [b"UA", b"\xff"], [False, True]) == ["UA", ""]
    assert read("timestamp", [b"2013-07-01", b"never"], [False, True]) == [JULY, MISSING_TIMESTAMP]


def test_whole_levels_come_in_numbers_as_well() -> None:
    assert read("line", np.array([7, -12])) == ["7", "-12"]
    assert read("line", np.array([7.0, -0.0, math.nan, 1e20])) == ["7", "0", "", "100000000000000000000"]
    assert read("line", np.array([2**64 - 1, 5], "u8"), [False, True]) == ["18446744073709551615", ""]
    assert read("line", [b"7", b"x"]) == ["7", "x"]


def test_timestamps_come_in_microseconds_or_as_text() -> None:
    edges = [FIRST_TIMESTAMP, LAST_TIMESTAMP, MISSING_TIMESTAMP, 0]
    assert read("timestamp", np.array(edges)) == edges
    assert read("timestamp", np.array([5, 6], "u4")) == [5, 6]
    assert read("timestamp", np.array([5, 2**63], "u8"), [False, True]) == [5, MISSING_TIMESTAMP]
    texts = [b"2013-07-01", b"2013-07-01T00:00:00.5Z", b"2013-07-01"]
    assert read("timestamp", texts) == [JULY, JULY + 500_000, JULY]
    assert read("timestamp", ["2013-07-01", None]) == [JULY, MISSING_TIMESTAMP]


def test_nullable_columns_may_be_left_out() -> None:
    got = inputs([tensor for tensor in GOOD if tensor.name not in {"night", "departs"}])
    assert all(map(math.isnan, got["night"]))
    assert got["departs"] == [MISSING_TIMESTAMP] * 2


def test_tensors_that_are_not_the_models_columns_are_all_named() -> None:
    assert faults([*GOOD[1:], Tensor("weather", ["fine"] * 2), GOOD[1]]) == [
        'inputs[4]: "weather" is not a column of the model, whose columns are distance, stops, night, carrier, departs',
        'inputs[5]: "stops" appears more than once, first as inputs[0]',
        "inputs: distance is missing: training saw it in every row, so send a value or null",
    ]
    assert faults([])[0] == "inputs: must hold the model's columns, got none"


@pytest.mark.parametrize(("values", "words"), [
    (np.zeros(3), "must hold 2 rows as the one before, got 3"),
    (np.zeros(0), "must hold at least one row, got none"),
    (np.zeros((2, 2)), "must have the shape [rows] or [rows, 1], got [2, 2]"),
    (np.zeros((1, 2)), "must have the shape [rows] or [rows, 1], got [1, 2]"),
    (np.zeros((2, 1, 1)), "must have the shape [rows] or [rows, 1], got [2, 1, 1]"),
    (np.array(1.0), "must have the shape [rows] or [rows, 1], got []"),
])  # fmt: skip
def test_a_tensor_of_another_length_or_shape_is_refused(values: Any, words: str) -> None:
    assert faults(with_tensor("stops", values)) == [f"inputs[1]: {words}"]


def test_empty_tensors_are_refused() -> None:
    assert len(faults([Tensor(tensor.name, []) for tensor in GOOD])) == 5


def test_one_row_too_many_is_another_code() -> None:
    with pytest.raises(RequestError) as caught:
        READER.read([Tensor("distance", np.zeros(4097))])
    assert (caught.value.status, caught.value.faults) == (413, ())


def test_fifty_faults_are_listed() -> None:
    bad = [Tensor("distance", np.full(40, np.inf)), Tensor("stops", np.full(40, 0.5)), Tensor("carrier", ["UA"] * 40)]
    named = [fault.partition(": ")[0] for fault in faults(bad)]
    assert named == [*(f"inputs[0].data[{i}]" for i in range(40)), *(f"inputs[1].data[{i}]" for i in range(10))]


def test_a_protocol_names_its_own_places() -> None:
    class Named(ErrorPaths):
        whole = "columns"

        def tensor(self, i: int) -> str:
            return f"column {i}"

        def element(self, i: int, row: int) -> str:
            return f"column {i}, row {row}"

    assert faults(with_tensor("distance", np.array([0, np.inf])), places=Named())[0].startswith("column 0, row 1: ")
    assert faults(with_tensor("distance", ["", ""]), places=Named())[0].startswith("column 0: ")
    assert faults(GOOD[1:], places=Named())[0].startswith("columns: ")


def test_unseen_levels_are_counted_and_missing_ones_are_not() -> None:
    carriers = [b"UA", b"ZZ", b"", b"9E", b"zz", b"ZZ"]
    rows = [ROW] * len(carriers)
    given = [Tensor("carrier", carriers) if t.name == "carrier" else t for t in tensors(handmade.BINARY, rows)]
    assert READER.unseen(READER.read(given)) == {"carrier": 3}
    assert READER.unseen(READER.read(GOOD)) == {}


def test_a_slice_is_some_of_the_rows_without_a_copy() -> None:
    columns = READER.read(tensors(handmade.BINARY, [{**ROW, "distance": i} for i in range(5)]))
    part = columns[1:3]
    assert len(part) == 2
    assert part.blocks[0][0, :, 0].tolist() == [1.0, 2.0]
    assert all(np.shares_memory(block, whole) for block, whole in zip(part.blocks, columns.blocks, strict=True))


DTYPES = ["f2", "f4", "f8", ">f8", "i1", "i2", "i4", "i8", ">i8", "u1", "u2", "u4", "u8", "?", "c8", "S3", "M8[us]"]


def any_bits(dtype: str, shape: tuple[int, ...], bits: bytes) -> NDArray[Any]:
    """An array of whatever ``bits`` happen to be in a dtype."""
    kind = np.dtype(dtype)
    return np.frombuffer(bits[: math.prod(shape) * kind.itemsize], kind).reshape(shape)


ANY_SHAPE = st.sampled_from([(1,), (2,), (2, 1), (3,), (3, 1), (2, 2), (0,), (1, 2), ()])
ANY_ARRAY = st.one_of(
    st.builds(any_bits, st.sampled_from(DTYPES), ANY_SHAPE, st.binary(min_size=32, max_size=32)),
    st.builds(any_bits, st.sampled_from(DTYPES), st.just((2,)), st.sampled_from([bytes(32), b"\0\1" * 16])),
    st.lists(st.text(max_size=4) | st.binary(max_size=4) | st.none() | st.integers(), max_size=3),
)
ANY_TENSORS = st.fixed_dictionaries({}, optional=dict.fromkeys([*SIGNATURE.names, "x"], ANY_ARRAY))


def outcome(given: list[Tensor]) -> Columns | RequestError:
    try:
        return ColumnReader(SIGNATURE, max_rows=3).read(given)
    except RequestError as error:
        return error


@fuzzed
@given(ANY_TENSORS)
def test_whatever_the_tensors_they_are_read_or_refused_with_a_place(given: dict[str, Any]) -> None:
    got = outcome([Tensor(name, values) for name, values in given.items()])
    if isinstance(got, RequestError):
        assert got.status == 400
        assert got.faults
        assert all(fault.path.startswith("inputs") for fault in got.faults)
    else:
        assert {block.shape[1:] for block in got.blocks} == {(len(got), 1)}


def test_texts_that_are_read_one_by_one_are_read_in_steps_and_named_by_their_rows() -> None:
    columns = (
        Column(name="price", kind="number", nullable=True, reading=Reading(number=NumberForm(affixes=("$",)))),
        Column(name="size", kind="number", nullable=True),
    )
    many = ColumnReader(Signature(task="regression", target="y", columns=columns), max_rows=4096)
    sizes = np.arange(4000.0)

    def steps(texts: list[str | None]) -> tuple[int, Columns]:
        missing = np.array([text is None for text in texts])
        work = many.steps([Tensor("price", texts, missing), Tensor("size", sizes)])
        pauses = 0
        while True:
            try:
                next(work)
            except StopIteration as done:
                return pauses, done.value
            pauses += 1

    texts = [None if i == 2000 else f"${i}" for i in range(4000)]
    pauses, read = steps(texts)
    assert pauses == 8
    prices, read_sizes = (read.blocks[0][i, :, 0] for i in range(2))
    assert np.array_equal(prices, np.where(sizes == 2000, np.nan, sizes), equal_nan=True)
    assert np.array_equal(read_sizes, sizes)
    with pytest.raises(RequestError, match=r"inputs\[0\].data\[3999\]"):
        steps([*texts[:-1], "far"])


def test_many_columns_of_timestamps_in_text_are_read_in_steps() -> None:
    columns = tuple(Column(name=f"t{i}", kind="timestamp", nullable=True) for i in range(20))
    many = ColumnReader(Signature(task="regression", target="y", columns=columns), max_rows=4096)
    texts = [f"2013-07-01T{i // 60 % 24:02}:{i % 60:02}:00Z" for i in range(4000)]
    work = many.steps([Tensor(column.name, texts) for column in columns])
    pauses = 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            read = done.value
            break
        pauses += 1
    assert pauses == 7
    first = np.datetime64("2013-07-01").astype("M8[us]").astype(np.int64)
    expected = first + np.arange(4000) % 1440 * 60_000_000
    assert np.array_equal(read.blocks[0][:, :, 0], np.broadcast_to(expected, (20, 4000)))


def test_digits_of_a_date_are_no_microseconds() -> None:
    column = Column(name="day", kind="timestamp", nullable=True, reading=Reading(date_order="ymd"))
    one = ColumnReader(Signature(task="regression", target="y", columns=(column,)), max_rows=9)
    micros = one.read([Tensor("day", np.array([10**15]))]).blocks[0]
    assert micros.tolist() == [[[10**15]]]
    with pytest.raises(RequestError, match=r"inputs\[0\]: day must be"):
        one.read([Tensor("day", np.array([20241231], np.int32))])


def test_numbers_of_a_column_that_may_come_in_text_are_read_in_one_step() -> None:
    form = Reading(number=NumberForm(affixes=("$",)))
    columns = tuple(Column(name=f"price{i}", kind="number", nullable=True, reading=form) for i in range(512))
    many = ColumnReader(Signature(task="regression", target="y", columns=columns), max_rows=4096)
    work = many.steps([Tensor(column.name, np.arange(100.0)) for column in columns])
    with pytest.raises(StopIteration) as done:
        next(work)
    assert len(done.value.value) == 100
