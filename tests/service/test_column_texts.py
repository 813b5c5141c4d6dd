"""Texts where a number, a boolean or a date is expected, and typed values where levels are: by the column's reading."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rowcast.models.errors import RequestError
from rowcast.models.reading import NumberForm, Reading
from rowcast.models.signature import MISSING_TIMESTAMP, Column, Signature
from rowcast.service.columns.flat import FlatColumnReader
from rowcast.service.columns.kinds.rules import arrow_families
from rowcast.service.columns.many_json_rows import MANY_ROWS
from rowcast.service.columns.named import ColumnReader
from rowcast.service.columns.raw import RawColumnReader
from rowcast.service.columns.tensors import Tensor
from rowcast.service.protocols.arrow.stream import ArrowReader, Part
from rowcast.service.protocols.rows.decode import Decoder

with warnings.catch_warnings():  # a library of BentoML's was deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from rowcast.service.protocols.rows.bentoml_methods import request_schema

JULY = 1_372_636_800_000_000
NAN = float("nan")
PLAIN = Column(name="x", kind="number", nullable=False)
PRICE = Column(
    name="x",
    kind="number",
    nullable=False,
    reading=Reading(nulls=("?",), number=NumberForm(thousands=",", affixes=("$",))),
)
WHOLE = Column(name="x", kind="integer", nullable=False, reading=Reading(nulls=("?",)))
FLAG = Column(name="x", kind="boolean", nullable=False, reading=Reading(nulls=("NA",)))
DAY = Column(name="x", kind="timestamp", nullable=False, reading=Reading(nulls=("never",), date_order="dmy"))
LINE = Column(name="x", kind="category", nullable=False, levels={"7": 50, "12": 40}, whole_levels=True)
GRADE = Column(name="x", kind="category", nullable=False, levels={"1.5": 50, "2": 40}, level_type="number")
MEMBER = Column(name="x", kind="category", nullable=False, levels={"true": 50, "false": 40}, level_type="boolean")
DATE = Column(name="x", kind="category", nullable=False, levels={"2013-07-01": 50}, level_type="date")
ZIP = Column(name="x", kind="category", nullable=False, levels={"02139": 50})


def signature(column: Column) -> Signature:
    return Signature(task="regression", target="y", columns=(column,))


def by_json(column: Column, values: list[Any]) -> list[Any]:
    """What the graph is given for values in JSON, few at a time and many: one answer, or one refusal."""
    found = []
    for times in (1, MANY_ROWS):
        decoder = Decoder(signature(column), max_rows=4096)
        body = json.dumps({"rows": [{"x": value} for value in values] * times}).encode()
        try:
            rows = decoder.read(body)
        except RequestError as error:
            found.append(str(error))
            continue
        blocks = rows.blocks
        found.append(blocks[0][0, : len(values), 0].tolist())
    assert str(found[0]) == str(found[1])
    if isinstance(found[0], str):
        raise RequestError(found[0])
    return list(found[0])


def by_tensor(column: Column, values: Any, missing: list[bool] | None = None) -> list[Any]:
    mask = None if missing is None else np.array(missing)
    columns = ColumnReader(signature(column), max_rows=100).read([Tensor("x", values, mask)])
    return list(columns.blocks[0][0, :, 0].tolist())


TEXTS: dict[str, tuple[Column, list[str], list[Any]]] = {
    "currency": (PRICE, ["$1,234.50", "7", " $ 7 ", "?", "", "NA"], [1234.5, 7.0, 7.0, NAN, NAN, NAN]),
    "whole": (WHOLE, ["3", "3.0", "?", str(2**53)], [3.0, 3.0, NAN, 2.0**53]),
    "boolean": (FLAG, ["TRUE", "false", "NA", ""], [1.0, 0.0, NAN, NAN]),
    "day first": (
        DAY,
        ["01/07/2013", "2013-07-01", "2013-07-01T00:00:00Z", "never"],
        [JULY, JULY, JULY, MISSING_TIMESTAMP],
    ),
    "whole levels": (LINE, ["7", "7.0", "007", "x", "7.5"], ["7", "7", "007", "x", "7.5"]),
    "number levels": (GRADE, ["1.50", "1.5", "2.0", "x"], ["1.5", "1.5", "2", "x"]),
    "boolean levels": (MEMBER, ["TRUE", "true", "yes"], ["true", "true", "yes"]),
    "date levels": (DATE, ["2013-07-01T00:00:00Z", "2013-07-01", "soon"], ["2013-07-01", "2013-07-01", "soon"]),
}


@pytest.mark.parametrize(("column", "texts", "values"), TEXTS.values(), ids=TEXTS)
def test_texts_are_read_alike_in_json_and_in_tensors(column: Column, texts: list[str], values: list[Any]) -> None:
    assert str(by_json(column, texts)) == str(values)
    assert str(by_tensor(column, [text.encode() for text in texts])) == str(values)
    assert str(by_tensor(column, texts)) == str(values)


@pytest.mark.parametrize("name", ["currency", "boolean", "day first", "number levels"])
def test_many_rows_of_texts_are_read_column_by_column(name: str) -> None:
    column, texts, values = TEXTS[name]
    body = json.dumps({"rows": [{"x": text} for text in texts] * MANY_ROWS}).encode()
    rows = Decoder(signature(column), max_rows=4096).read(body)
    assert str(rows.blocks[0][0, : len(texts), 0].tolist()) == str(values)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (PRICE, [1.5, "$2"], [1.5, 2.0]),
        (WHOLE, [3, "4"], [3.0, 4.0]),
        (FLAG, [True, "NA", False], [1.0, NAN, 0.0]),
        (LINE, [7, "12"], ["7", "12"]),
        (GRADE, [1.5, 2, "1.50"], ["1.5", "2", "1.5"]),
        (GRADE, [2.0, float(np.float32(1.6))], ["2", "1.6"]),
        (MEMBER, [True, "FALSE"], ["true", "false"]),
    ],
)
def test_typed_values_may_stand_beside_texts_in_json(column: Column, values: list[Any], expected: list[Any]) -> None:
    assert str(by_json(column, values)) == str(expected)


def test_whole_numbers_are_the_digits_of_dates_where_dates_are_written_so() -> None:
    assert by_json(DAY, [20130701, "20130701", None]) == [JULY, JULY, MISSING_TIMESTAMP]
    with pytest.raises(RequestError, match=r"or null, got 20130231"):
        by_json(DAY, [20130231])
    plain = Column(name="x", kind="timestamp", nullable=False)
    with pytest.raises(RequestError, match="date-time string or null, got 20130701"):
        by_json(plain, [20130701])
    stream = pa.BufferOutputStream()
    table = pa.table({"x": pa.array([20130701, None])})
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    opened = ArrowReader(signature(DAY), 100, 2**20).open(stream.getvalue().to_pybytes())
    (part,) = opened.parts(list(opened.batches()))
    assert isinstance(part, Part)
    assert part.columns.blocks[0][0, :, 0].tolist() == [JULY, MISSING_TIMESTAMP]


def test_typed_levels_come_in_tensors() -> None:
    assert by_tensor(GRADE, np.array([1.5, 2.0, NAN])) == ["1.5", "2", ""]
    assert by_tensor(GRADE, np.array([1.6], np.float32)) == ["1.6"]
    assert by_tensor(GRADE, np.array([2, 3]), [False, True]) == ["2", ""]
    assert by_tensor(MEMBER, np.array([True, False])) == ["true", "false"]
    assert by_tensor(DATE, np.array([JULY, MISSING_TIMESTAMP])) == ["2013-07-01", ""]


FORM = "must be a number, or a text of one such as 1,234.5 with '$' around it or null"
DAYS = "must be an ISO 8601 date or date-time, or one with the day first (31/12/2024) or null"
WRONG: dict[str, tuple[Column, Any, str]] = {
    "no number": (PRICE, "far", f'{FORM}, got "far"'),
    "a boolean": (PRICE, True, f"{FORM}, got true"),
    "a fraction in text": (WHOLE, "3.5", 'must be a whole number or null, got "3.5"'),
    "a large number in text": (
        WHOLE,
        str(2**53 + 1),
        f'must be at most 2**53, or a decimal such as 1e20, got "{2**53 + 1}"',
    ),
    "no boolean": (FLAG, "yes", 'must be true or false, or a text of one or null, got "yes"'),
    "a number for a boolean": (FLAG, 1, "must be true or false, or a text of one or null, got 1"),
    "the month first": (DAY, "12/31/2013", f'{DAYS}, got "12/31/2013"'),
    "text for a plain number": (PLAIN, "1", 'must be a number or null, got "1"'),
    "a number for text": (ZIP, 2139, "must be a string or null, got 2139"),
    "a fraction for whole levels": (LINE, 7.5, "must be a string or a whole number or null, got 7.5"),
    "a boolean for numbers": (GRADE, True, "must be a string or a number or null, got true"),
    "a number for booleans": (MEMBER, 1, "must be a string, or true or false or null, got 1"),
}


@pytest.mark.parametrize(("column", "value", "words"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_with_the_form(column: Column, value: Any, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        by_json(column, [value])
    assert str(caught.value) == f"rows[0].x: {words}"


@pytest.mark.parametrize(("column", "value", "words"), [one for one in WRONG.values() if isinstance(one[1], str)])
def test_texts_that_do_not_fit_are_refused_in_tensors(column: Column, value: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        by_tensor(column, [value])
    where = "inputs[0]: x must be floats or integers, got text"
    assert str(caught.value) == (where if column is PLAIN else f"inputs[0].data[0]: {words}")


def test_a_large_number_that_means_null_is_taken() -> None:
    column = Column(name="x", kind="number", nullable=False, reading=Reading(missing_numbers=(1e16,)))
    assert by_json(column, [9999999999999999]) == [1e16]
    assert by_tensor(column, np.array([9999999999999999])) == [1e16]


def test_the_short_ways_of_open_inference_give_levels_their_form() -> None:
    for column, texts, levels in (TEXTS["number levels"], TEXTS["boolean levels"], TEXTS["whole levels"]):
        raw = RawColumnReader(signature(column))
        entry = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in texts)
        order = raw.order([("x", "BYTES")])
        assert order is not None
        columns = raw(order, [entry], len(texts))
        assert columns is not None
        assert columns.blocks[0][0, :, 0].tolist() == levels
        flat = FlatColumnReader(signature(column), raw)
        flat_order = flat.order([("x", "BYTES")])
        assert flat_order is not None
        columns = flat(flat_order, [list(texts)])
        assert columns is not None
        assert columns.blocks[0][0, :, 0].tolist() == levels


def test_short_ways_leave_dates_in_other_forms_to_the_long_one() -> None:
    flat = FlatColumnReader(signature(DAY), RawColumnReader(signature(DAY)))
    order = flat.order([("x", "BYTES")])
    assert order is not None
    assert flat(order, [["2013-07-01T00:00:00Z"]]) is None


def test_arrow_takes_text_where_a_column_reads_it() -> None:
    assert "text" in arrow_families(PRICE)
    assert "text" not in arrow_families(PLAIN)
    assert arrow_families(ZIP) == {"text", "null"}
    assert arrow_families(MEMBER) == {"text", "null", "boolean"}
    assert arrow_families(FLAG) == {"text", "null", "boolean"}


def test_the_schema_says_what_may_come() -> None:
    def schema(column: Column) -> dict[str, Any]:
        items = request_schema(signature(column), {"rows": []})["rows"]["items"]
        return dict(items["properties"]["x"])

    assert schema(PRICE)["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert schema(PRICE)["description"] == FORM.removeprefix("must be ").removesuffix(" or null")
    assert schema(FLAG)["oneOf"] == [{"type": "string"}, {"type": "boolean"}]
    assert schema(GRADE)["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert schema(DAY)["oneOf"] == [{"type": "string"}, {"type": "integer"}]
    assert "format" not in schema(DAY)
    assert schema(PLAIN) == {"type": "number", "nullable": True, "description": "number", "example": None}


def test_examples_of_rare_levels_are_not_shown_however_they_are_typed() -> None:
    rare = GRADE.model_copy(update={"levels": {"1.5": 50, "2": 3}, "example": 2})
    assert rare.public().example is None
    assert rare.model_copy(update={"example": 1.5}).public().example == 1.5
    assert MEMBER.model_copy(update={"example": True}).public().example is True
