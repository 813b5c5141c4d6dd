"""Requests made wrong at random, thrown at the running service: never a 5xx, never silence, and it lives on."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter

import pytest

from tests.abuse.exchange import PATIENCE_SECONDS, in_chunks, request
from tests.abuse.mutations import CASES
from tests.service.hostile_payloads import ACCEPTED, GOOD, PAYLOADS
from tests.service.servers import Server

ROUNDS = max(1, CASES // 1000)
CALLERS = 300
"""At once, in each round: most of the time goes by waiting for those who never finish."""
STATUSES = {100, 200, 400, 404, 405, 408, 413, 415, 431, 505}

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_BODIES = [GOOD, *(body for body in ACCEPTED.values() if len(body) < 2000), PAYLOADS[0].body, b"", b"{}"]
_HEADERS = [
    "content-length: 5",
    "content-length: 0",
    "content-length: +5",
    "content-length: 18446744073709551616",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: identity",
    "Transfer-Encoding : chunked",
    "expect: 100-continue",
    "expect: a miracle",
    "upgrade: websocket",
    "upgrade: h2c",
    "connection: upgrade",
    "connection: close",
    "connection: keep-alive, close",
    "connection: content-length",
    "content-type: text/plain",
    "content-encoding: gzip",
    "host: a",
    "x: \x00",
    "x: \xff",
    "x",
    ": x",
    " x: folded",
    "x: " + "a" * 1500,
]
_EDGES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"\t",
    b"0\r\n\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / ",
    b"%00",
    b"\xff",
]
_ROUTES = [
    "/predict",
    "/models/flights/predict",
    "/models/flights/versions/1/predict",
    "/predict?x=1",
    "/predict#x",
    "*",
]
_PAGES = ["/livez", "/models", "/models/flights", "/nowhere", "//predict", "http://x/predict", "/docs.json"]


def valid(rng: random.Random) -> bytes:
    """A request that is all right, or has headers too many."""
    body = rng.choice(_BODIES)
    if rng.random() < 0.3:
        return in_chunks(body, rng.choice([1, 7, 1000]), rng.choice(_ROUTES))
    headers = rng.sample(_HEADERS, rng.choice([0, 0, 1, 1, 2]))
    method = rng.choice(["POST"] * 6 + ["GET", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE"])
    return request(body, rng.choice(_ROUTES * 2 + _PAGES), *headers, method=method)


def wrong(rng: random.Random) -> bytes:
    """One or two requests in a row, with a few edits: mostly in the heads, where each byte means something."""
    sent = b"".join(valid(rng) for _ in range(rng.choice([1, 1, 1, 2])))
    for _ in range(rng.randrange(4)):
        start = rng.randrange(len(sent) + 1 if rng.random() < 0.3 else min(len(sent), 200) + 1)
        end = min(len(sent), start + rng.choice([0, 0, 1, 1, 2, 16]))
        put = rng.choice([b"", sent[start:end] * 2, rng.randbytes(rng.randint(1, 3)), rng.choice(_EDGES)])
        sent = sent[:start] + put + sent[end:]
    if rng.random() < 0.1:
        sent = sent[: rng.randrange(len(sent) + 1)]
    return sent


async def fate(port: int, sent: bytes, pieces: int) -> list[int]:
    """The statuses that come back until the service closes, or has answered and says no more.

    Raises:
        TimeoutError: it is silent.
    """
    received = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        size = max(1, -(-len(sent) // pieces))
        for start in range(0, len(sent), size):
            writer.write(sent[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while chunk := await reader.read(65_536):
                received += chunk
                if _STATUS_LINE.search(received):
                    break
        async with asyncio.timeout(0.2):
            while chunk := await reader.read(65_536):
                received += chunk
    except ConnectionError:
        pass
    except TimeoutError:
        if not received:
            raise
    finally:
        writer.transport.abort()
    return [int(status) for status in _STATUS_LINE.findall(received)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_wrong_requests_are_answered_or_closed_and_never_fail(service: Server, seed: int) -> None:
    rng = random.Random(seed)
    thrown = [wrong(rng) for _ in range(CALLERS)]
    pieces = [rng.choice([1, 1, 2, 5]) for _ in thrown]

    async def throw() -> list[list[int] | BaseException]:
        fates = (fate(service.port, sent, n) for sent, n in zip(thrown, pieces, strict=True))
        return await asyncio.gather(*fates, return_exceptions=True)

    counts: Counter[int] = Counter()
    for sent, statuses in zip(thrown, asyncio.run(throw()), strict=True):
        assert not isinstance(statuses, BaseException), (sent, statuses)
        assert set(statuses) <= STATUSES, (sent, statuses)
        counts.update(statuses)
    assert counts[200] > CALLERS / 20  # else it was refused at the gate, all of it
    assert counts[400] > CALLERS / 20
