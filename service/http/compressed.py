"""Bodies that come compressed, within the rules of those that don't: what counts is how long they are once inflated."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from contextlib import AsyncExitStack

from rowcast.models.errors import RequestError
from rowcast.service.limits.byte_budget import ByteBudget
from rowcast.service.limits.byte_rule import STEP_BYTES

_SLICE_BYTES = 2**16
"""Bytes that are inflated in one go: ten milliseconds where they are blocks that hold nothing but tables of codes."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_ENCODINGS = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate", b"identity": "", b"": ""}


def encoding_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """How a body is compressed: ``gzip``, ``deflate`` (RFC 9110, section 8.4.1: in zlib's format), or not, "".

    Raises:
        RequestError: 415 for another encoding, or several.
    """
    encodings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    if not encodings:
        return ""
    encoding = _ENCODINGS.get(encodings[0])
    if len(encodings) > 1 or encoding is None:
        came = b", ".join(encodings).decode("latin-1")[:40]
        raise RequestError(f"a body must be sent as it is, or in gzip or deflate alone, got {came}", status=415)
    return encoding


async def inflated(body: bytes, encoding: str, max_body: int, budget: ByteBudget) -> bytes:
    """What a compressed body holds; others have their turns in between, and its bytes are counted as it grows.

    What takes more than one step is inflated alone: many at once, each a step in every turn of the loop, would hold it.

    Raises:
        RequestError: 400, it is not compressed so; 413, as soon as more than ``max_body`` bytes have come out.
        NoRoom: too many bodies arrive and wait already.
    """
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    content = bytearray()
    hold = budget.hold(len(body))
    end, alone = 0, False
    turns = AsyncExitStack()
    try:
        while end < len(body) and not stream.eof:
            if end and not alone:
                alone = await _take_turn(turns, budget)
            rest = body[end : end + _SLICE_BYTES]
            end += len(rest)
            while True:
                part = stream.decompress(rest, STEP_BYTES)
                hold.grow(len(part))
                content += part
                if len(content) > max_body:
                    raise RequestError(
                        f"a body holds at most {max_body:,} bytes once it is inflated; send the rows in several "
                        "requests, or raise ROWCAST_MAX_BODY",
                        status=413,
                    )
                rest = stream.unconsumed_tail
                if stream.eof or not (rest or part):
                    break
                alone = alone or await _take_turn(turns, budget)
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        if not stream.eof or stream.unused_data or end < len(body):
            raise RequestError(f"the body must be {encoding} from its beginning to its end, got other bytes")
        return bytes(content)
    except zlib.error:
        raise RequestError(f"the body must be in {encoding} as its Content-Encoding says, got other bytes") from None
    finally:
        await turns.aclose()
        hold.release()
        content = bytearray()  # an error keeps this frame, and with it whatever was inflated, for as long as it lives


async def _take_turn(turns: AsyncExitStack, budget: ByteBudget) -> bool:
    await turns.enter_async_context(budget.decoding(0))
    return True
