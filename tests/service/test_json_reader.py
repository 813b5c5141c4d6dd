"""JSON read in pieces is what it is when read at once, wherever it is cut."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.service.protocols.platforms import json_reader
from rowcast.service.protocols.platforms.json_reader import Limits, Open, read_json

MANY = Limits(10**9, 10**9)
TEXTS = st.sampled_from(["a", "", 'q"\\,{', "[é,]", "\\\\", '"', "\u2028", "}]", "x" * 40])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def read(body: bytes, limits: Limits = MANY, **options: Any) -> Any:
    """The content of a body, with its numbers as numbers."""
    content = asyncio.run(read_json(body, limits, **options))
    return json.loads(orjson.dumps(content))


@settings(deadline=None)
@given(VALUES, st.integers(1, 60), st.booleans())
def test_a_body_reads_the_same_wherever_it_is_cut(value: Any, piece: int, indented: bool) -> None:
    body = json.dumps(value, ensure_ascii=indented, indent=2 if indented else None).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "PIECE_BYTES", piece)
        patch.setattr(json_reader, "MAX_DEPTH", 50)
        assert read(body) == json.loads(body)


@settings(deadline=None)
@given(
    VALUES, st.integers(1, 60), st.integers(0, 200), st.sampled_from([b"", b",", b"]", b"}", b'"', b"[", b"\\", b":"])
)
def test_a_broken_body_is_refused_wherever_it_is_cut(value: Any, piece: int, at: int, sign: bytes) -> None:
    body = json.dumps(value).encode()
    at %= len(body)
    broken = body[:at] + sign + body[at + 1 :]
    try:
        expected = json.loads(broken)
    except ValueError:
        expected = RequestError
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "PIECE_BYTES", piece)
        patch.setattr(json_reader, "MAX_DEPTH", 50)
        try:
            got, why = read(broken), ""
        except RequestError as error:
            got, why = RequestError, str(error)
    assert got == expected or "each of its members once" in why


def test_what_is_complete_may_be_taken_away_while_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reader, "PIECE_BYTES", 100)
    rows = [[i, "x,]"] for i in range(1000)]
    taken: list[Any] = []
    longest = 0

    def drain(content: Any, still_open: Open) -> None:
        nonlocal longest
        values = content["rows"]
        longest = max(longest, len(values))
        whole = still_open.complete(values)
        taken.extend(values[:whole])
        del values[:whole]

    asyncio.run(read_json(json.dumps({"rows": rows}).encode(), MANY, drain))
    assert json.loads(orjson.dumps(taken)) == rows
    assert longest < 20


def test_numbers_keep_the_text_they_came_in() -> None:
    text = b"[1e400,0.10,12345678901234567890123,-0,NaN]"
    assert orjson.dumps(asyncio.run(read_json(text, MANY))) == text
    assert orjson.dumps(asyncio.run(read_json(text, MANY, nan_is_null=True))) == text.replace(b"NaN", b"null")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2**24,
        b"[" + b"[]," * 2**22 + b"[]]",
        b"[" + b'"",' * 2**22 + b'""]',
        b"[" + b"1," * 2**23 + b"1]",
        b'["' + b"," * 2**24 + b'"]',
        b'["' + b'\\"' * 2**23 + b'"]',
        b'["' + b"\\," * 2**23,
        b'{"a":' * 2**21,
        b" " * 2**24,
        b"[" + b'{"a":1},' * 2**21 + b"{}]",
    ],
    ids=["deep", "lists", "texts", "numbers", "commas", "quotes", "escapes", "objects", "blanks", "many objects"],
)
def test_a_body_of_16_mib_that_is_nonsense_costs_little_time_and_memory(body: bytes) -> None:
    """The loop is held for 50 ms at most; the bound here is wide, for busy machines."""
    longest = 0.0

    async def watched() -> None:
        nonlocal longest
        task = asyncio.ensure_future(read_json(body, Limits(10_000, 100_000)))
        while not task.done():
            began = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)
        with pytest.raises(RequestError):
            task.result()

    tracemalloc.start()
    try:
        asyncio.run(watched())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert longest < 0.5
    assert peak < len(body)
