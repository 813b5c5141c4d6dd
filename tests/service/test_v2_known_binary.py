"""Raw bytes that resemble a known form of an Open Inference request, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.abuse.mutations import MAX_ROWS
from tests.service.hostile_payloads import ROW
from tests.service.known_forms import READER_OF, binary_of, check, is_known, known_binary, taught
from tests.service.open_inference import body, request


@pytest.mark.parametrize("rows", [
    [ROW, ROW],
    [{**ROW, "distance": math.nan, "night": math.nan}, ROW],
    [{**ROW, "carrier": ""}, {**ROW, "carrier": "😀" * 99}],
    [{**ROW, "distance": 1e300}, {**ROW, "distance": 2.0**60}],
])  # fmt: skip
def test_any_raw_values_of_a_known_body_are_read_the_short_way(rows: list[dict[str, Any]]) -> None:
    reader = known_binary()
    text, json_bytes = binary_of(*rows)
    assert is_known(reader, text, json_bytes)
    assert len(check(reader, text, json_bytes, **READER_OF)) == 4


@pytest.mark.parametrize("rows", [
    [{**ROW, "distance": math.inf}, ROW],
    [{**ROW, "stops": 0.5}, ROW],
    [{**ROW, "night": 2.0}, ROW],
    [{**ROW, "carrier": b"\xff"}, ROW],
    [ROW],
    [ROW] * (MAX_ROWS + 1),
])  # fmt: skip
def test_wrong_raw_values_of_a_known_body_are_told_of(rows: list[dict[str, Any]]) -> None:
    content = [{**row, "carrier": "??"} if isinstance(row["carrier"], bytes) else row for row in rows]
    text, json_bytes = binary_of(*content)
    check(known_binary(), text.replace(b"??", b"\xc3\xff"), json_bytes, **READER_OF)


def test_more_or_fewer_raw_bytes_than_the_sizes_say_are_told_of() -> None:
    text, json_bytes = binary_of(ROW, ROW)
    reader = known_binary()
    for off in (text + b"\0", text[:-1], text[:json_bytes], text + text[json_bytes:]):
        assert len(check(reader, off, json_bytes, **READER_OF)) == 3
    for wrong in (json_bytes - 1, json_bytes + 1, 0, len(text), len(text) + 1):
        assert len(check(reader, text, wrong, **READER_OF)) == 3
    assert len(check(reader, text, **READER_OF)) == 3


@pytest.mark.parametrize(
    "size", ["8", "016", "16.0", "1.6e1", "-16", "+16", '"16"', "true", "null", "0", "9" * 9, "9" * 10]
)
def test_a_size_that_is_wrong_is_told_of(size: str) -> None:
    text, json_bytes = binary_of(ROW, ROW)
    head = text[:json_bytes].replace(b'"binary_data_size": 16', f'"binary_data_size": {size}'.encode(), 1)
    assert len(check(known_binary(), head + text[json_bytes:], len(head), **READER_OF)) == 3


def test_sizes_that_fit_together_and_not_each_are_told_of() -> None:
    text, json_bytes = binary_of(ROW, ROW)
    sizes = text[:json_bytes].split(b'"binary_data_size": 16')
    assert len(sizes) >= 3
    head = sizes[0] + b'"binary_data_size": 15' + sizes[1] + b'"binary_data_size": 17'
    head += b'"binary_data_size": 16'.join(sizes[2:])
    assert len(check(known_binary(), head + text[json_bytes:], len(head), **READER_OF)) == 3


def test_a_key_that_looks_like_a_size_is_none() -> None:
    """Written with an escape, a size is not seen and another key is."""
    text, json_bytes = binary_of(ROW, ROW)
    trap = b'"binary\\u005fdata_size": 16, "x\\"binary_data_size": 16'
    head = text[:json_bytes].replace(b'"binary_data_size": 16', trap, 1)
    reader = taught((head + text[json_bytes:], len(head)), **READER_OF)
    assert not is_known(reader, head + text[json_bytes:], len(head))
    head = head.replace(trap, trap[:-2] + b"24")
    assert len(check(reader, head + text[json_bytes:] + bytes(8), len(head), **READER_OF)) == 3
    assert len(check(reader, head + text[json_bytes:], len(head), **READER_OF)) == 4


@pytest.mark.parametrize("in_raw", [[], ["distance"], ["night", "departs"]])
def test_a_body_of_which_some_is_json_and_some_raw_bytes_is_never_known(in_raw: list[str]) -> None:
    content = request(ROW)
    content["inputs"][-1].update(datatype="INT64", data=[0])
    for entry in content["inputs"]:
        if entry["name"] in in_raw:
            del entry["data"]
            entry["parameters"] = {"binary_data_size": 8}
    head = body(content)
    text = head + bytes(8 * len(in_raw))
    reader = taught((text, len(head)), **READER_OF)
    assert len(check(reader, text, len(head), **READER_OF)) == 4
    assert not is_known(reader, text, len(head))


@pytest.mark.parametrize(
    "more", [{"id": "a"}, {"parameters": {"binary_data_size": 8}}, {"parameters": {"x": "x" * 2**14}}]
)
def test_unusual_json_before_raw_bytes_is_never_known(more: dict[str, Any]) -> None:
    text, json_bytes = binary_of(ROW, **more)
    reader = taught((text, json_bytes), **READER_OF)
    assert len(check(reader, text, json_bytes, **READER_OF)) == 4
    assert not is_known(reader, text, json_bytes)
