"""Compressed bodies: inflated whole or refused, and others have their turns whatever such a body is made of."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib

import pytest

from rowcast.models.errors import RequestError
from rowcast.service.http.compressed import inflated
from rowcast.service.limits.byte_budget import ByteBudget

MIB = 2**20
_BLOCK = 0x6BFF90000000000081C004
"""A block of deflate's that holds nothing but tables of codes, in 90 bits: inflating it takes a microsecond."""
EMPTY_BLOCKS = b"\x78\x01" + sum(_BLOCK << 90 * i for i in range(4)).to_bytes(45, "little") * 23000
EMPTY = EMPTY_BLOCKS + b"\x03\x00\x00\x00\x00\x01"
"""A megabyte with nothing in it."""


def inflate(body: bytes) -> bytes:
    budget = ByteBudget(64 * MIB)
    try:
        return asyncio.run(inflated(body, "gzip", 4 * MIB, budget))
    finally:
        assert budget.used == 0


@pytest.mark.parametrize("content", [b"", b"x", bytes(4 * MIB), os.urandom(3 * MIB), b"ab" * MIB], ids=len)
def test_a_body_is_inflated_whole(content: bytes) -> None:
    assert inflate(gzip.compress(content, 1)) == inflate(zlib.compress(content, 1)) == content


WRONG = {
    "nothing": b"",
    "cut": gzip.compress(b"x" * 1000)[:-1],
    "more after it": gzip.compress(b"x") + b"x",
    "more after a long one": gzip.compress(os.urandom(2**17)) + bytes(2**17),
    "two": gzip.compress(b"x") * 2,
    "none": b"x" * 100,
}


@pytest.mark.parametrize("body", WRONG.values(), ids=list(WRONG))
def test_what_is_not_compressed_from_its_beginning_to_its_end_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="got other bytes"):
        inflate(body)


def test_others_have_their_turns_while_nothing_comes_out() -> None:
    async def scenario() -> int:
        reading = asyncio.ensure_future(inflated(EMPTY, "deflate", 4 * MIB, ByteBudget(64 * MIB)))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert reading.result() == b""
        return turns

    assert asyncio.run(scenario()) > len(EMPTY) // 2**16


def test_many_long_bodies_are_inflated_a_step_in_each_turn() -> None:
    async def scenario() -> int:
        budget = ByteBudget(64 * MIB)
        reading = [asyncio.ensure_future(inflated(EMPTY, "deflate", 4 * MIB, budget)) for _ in range(8)]
        turns = 0
        while not all(one.done() for one in reading):
            await asyncio.sleep(0)
            turns += 1
        assert [one.result() for one in reading] == [b""] * 8
        return turns

    assert asyncio.run(scenario()) > 7 * (len(EMPTY) // 2**16)
