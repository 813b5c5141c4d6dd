"""Connections at random, against an oracle that knows how many answers must come, in which order, and what they say.

A connection is a sequence of requests with heads that are odd and valid, at times with nonsense at its end, cut
anywhere. The oracle is not a parser: it knows what it wrote. What each request is answered alone, on a connection of
its own and without anything odd, is asked of the same service beforehand.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from rowcast.models.arrow import MEDIA_TYPE
from tests.abuse.mutations import CASES
from tests.service.hostile_payloads import GOOD, ROW, rows
from tests.service.hostile_tensors import GOOD as GOOD_TENSORS
from tests.service.open_inference import PATH
from tests.service.test_arrow import stream, table
from tests.service.wire import Answer, Service, in_process

ROUNDS = max(1, CASES // 1000)
PER_ROUND = 200

SMUGGLED = b"GET /models/none HTTP/1.1\r\nhost: x\r\n\r\n"
KINDS: list[tuple[str, str, str, bytes]] = [
    *(("POST", "/predict", "application/json", rows({**ROW, "distance": float(n)})) for n in range(6)),
    ("POST", "/models/flights/predict", "application/json", GOOD),
    ("POST", "/predict", "application/json", b"{"),
    ("POST", "/predict", "application/json", SMUGGLED),
    ("POST", "/predict", "application/json", rows(*[ROW] * 700)),
    ("POST", PATH, "application/json", GOOD_TENSORS),
    ("POST", "/predict", MEDIA_TYPE, stream(table(3))),
    ("POST", "/predict", MEDIA_TYPE, stream(table(300))),
    ("GET", "/livez", "", b""),
    ("GET", "/models", "", b""),
    ("GET", "/livez", "text/plain", SMUGGLED),
    ("GET", "/models/none", "", b""),
    ("DELETE", "/models", "", b""),
]
"""Requests by method, path, type and body; none ends its connection by itself."""
ODD_HEADERS = [
    b"x-odd: ",
    b"X-Empty:",
    b"x-tab:\ta\tb",
    b"x-bytes: \xff\xfe",
    b"x-long: " + b"a" * 700,
    b"accept: */*",
    b"Connection: keep-alive",
    b"expect: 100-continue",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZQ==\r\nsec-websocket-version: 13",
    b"upgrade: x",
    b"connection: upgrade",
    b"te: trailers",
]
TRAILERS = [b"x-sum: 1", b"content-type: text/plain", b"connection: upgrade\r\nupgrade: x", b"Expect: 100-continue"]
NONSENSE = [
    b"no HTTP at all\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n",
    b"GET /livez HTTP/1.1\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\nhost: y\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


class Connection(NamedTuple):
    """What is said, the kinds of request in it, and how it ends."""

    sent: bytes
    kinds: list[int]
    ending: str
    """``kept``; ``closed`` by its last request; ``refused`` for nonsense; ``cut`` in the middle of a request."""


def one(rng: random.Random, kind: int, *more: bytes) -> bytes:
    """A request of a kind, in any of its spellings."""
    method, path, content_type, body = KINDS[kind]
    target = f"http://x{path}" if rng.random() < 0.05 else path
    lines = [b"host: x", *rng.sample(ODD_HEADERS, rng.choice([0, 0, 1, 2])), *more]
    if content_type:
        lines.append(b"Content-Type: " + content_type.encode())
    if not body:
        sent = b""
    elif rng.random() < 0.5:
        lines.append(b"content-length: %d" % len(body))
        sent = body
    else:
        lines.append(rng.choice([b"transfer-encoding: chunked", b"Transfer-Encoding:  Chunked"]))
        size = rng.choice([7, 64, 100_000])
        chunks = (body[start : start + size] for start in range(0, len(body), size))
        extension = rng.choice([b"", b"", b";a", b";a=b", b';a="b c"'])
        sent = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks) + b"0\r\n"
        sent += rng.choice([b"", b"", rng.choice(TRAILERS) + b"\r\n"]) + b"\r\n"
    rng.shuffle(lines)
    blank = rng.choice([b"", b"", b"", b"\r\n"])
    return blank + f"{method} {target} HTTP/1.1\r\n".encode() + b"\r\n".join([*lines, b"", b""]) + sent


def connection(rng: random.Random) -> Connection:
    """A connection at random."""
    kinds = [rng.randrange(len(KINDS)) for _ in range(rng.choice([1, 2, 3, 3, 8]))]
    ending = rng.choice(["kept", "kept", "closed", "refused", "cut"])
    requests = [one(rng, kind) for kind in kinds]
    if ending == "closed":
        requests[-1] = one(rng, kinds[-1], b"connection: close")
        requests.append(rng.choice([b"", SMUGGLED, NONSENSE[0], b"a" * 50_000]))
    elif ending == "refused":
        requests.append(rng.choice(NONSENSE))
        requests.append(rng.choice([b"", SMUGGLED]))
    elif ending == "cut":
        last = one(rng, rng.choice([0, 9, 10, 11]))
        requests.append(last[: rng.randrange(1, len(last))])
    return Connection(b"".join(requests), kinds, ending)


def cut(rng: random.Random, sent: bytes) -> list[bytes]:
    """The same bytes in pieces."""
    if len(sent) < 3000 and rng.random() < 0.1:
        return [bytes([byte]) for byte in sent]
    places = sorted(rng.randrange(len(sent)) for _ in range(rng.choice([0, 1, 2, 9])))
    return [part for a, b in zip([0, *places], [*places, len(sent)], strict=True) if (part := sent[a:b])]


def expected(case: Connection, alone: list[Answer]) -> list[tuple[int, bytes | None, bool]]:
    """Status, body and whether the connection ends, of every answer; the words of a refusal are free."""
    answers: list[tuple[int, bytes | None, bool]] = [tuple(alone[kind]) for kind in case.kinds]  # type: ignore[misc]
    if case.ending == "closed":
        status, body, _ = answers[-1]
        answers[-1] = status, body, True
    elif case.ending == "refused":
        answers.append((400, None, True))
    return answers


async def play(service: Service, case: Connection, pieces: list[bytes], rng: random.Random) -> list[Answer]:
    async with service.connect(short=rng.random() < 0.8) as wire:
        await wire.feed(pieces)
        if case.ending == "cut" or rng.random() < 0.2:
            wire.half_close()
            await wire.until_closed()
        answers = await wire.answers()
        assert wire.closed or case.ending in {"kept", "refused"}  # that one is still listened to
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_answer_is_missing_swapped_or_too_many(repository: Path, seed: int) -> None:
    rng = random.Random(seed)

    async def scene() -> None:
        async with in_process(repository) as service:
            alone = []
            for method, path, content_type, body in KINDS:
                head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type or 'text/plain'}\r\n"
                length = f"content-length: {len(body)}\r\n" if body else ""
                answers = await service.say(f"{head}{length}\r\n".encode() + body)
                assert len(answers) == 1
                assert not answers[0].closes
                alone += answers
            for n in range(PER_ROUND):
                case = connection(rng)
                pieces = cut(rng, case.sent)
                answers = await play(service, case, pieces, rng)
                wanted = expected(case, alone)
                got = [
                    (answer.status, None if want[1] is None else answer.body, answer.closes)
                    for answer, want in zip(answers, wanted, strict=False)
                ]
                assert len(answers) == len(wanted), (seed, n, case, pieces, answers)
                assert got == wanted, (seed, n, case, pieces)
            assert not service.state.tasks
            assert await service.say(*(one(rng, 0),)) == [alone[0]]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if seed % 2 == 0 else asyncio.new_event_loop) as runner:
        runner.run(scene())
