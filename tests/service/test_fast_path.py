"""The short way answers what the standard path answers, and takes no request that is not for it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from uvicorn import Config
from uvicorn.server import ServerState

import rowcast.service.engine.batcher
import rowcast.service.engine.model
import rowcast.service.http.connection
import rowcast.service.protocols.arrow.stream
import rowcast.service.protocols.rows.encode
import rowcast.service.protocols.v2.answer
import rowcast.service.protocols.v2.reading
from rowcast.models.arrow import MEDIA_TYPE
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import ASGIApp, Receive, Scope, Send
from rowcast.service.http.fast_path import FastPath, FastPathProtocol
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.router import Router
from rowcast.service.settings import Settings
from tests.service.hostile_payloads import GOOD, PAYLOADS, ROW, rows
from tests.service.hostile_tensors import GOOD as GOOD_TENSORS
from tests.service.hostile_tensors import HOSTILE, SPLIT, WHOLE
from tests.service.open_inference import PATH, body, request
from tests.service.test_arrow import stream, table

HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
UNUSUAL = (b"host: x\r\n", b"host: x\r\nx-twice: 1\r\nx-twice: 2\r\n")
"""What makes a head the same for the service, and none for the short way: a header comes twice."""


def post(path: str, content: bytes, content_type: str, *headers: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "host: x", f"content-type: {content_type}", *headers)
    return "\r\n".join([*lines, f"content-length: {len(content)}", "\r\n"]).encode() + content


def tensors(content: bytes, json_bytes: int | str | None = None) -> bytes:
    if json_bytes is None:
        return post(PATH, content, "application/json")
    return post(PATH, content, "application/octet-stream", f"inference-header-content-length: {json_bytes}")


class Counting:
    """An app that counts the requests that come the standard path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        await self.app(scope, receive, send)


class Listening:
    """A service in this process, behind a real socket."""

    def __init__(self, port: int, models: Registry, usual: Counting, state: ServerState) -> None:
        self.port, self.models, self.usual, self.state = port, models, usual, state

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, *parts: bytes) -> bytes:
        """The answer to a request on a connection of its own, sent in parts that arrive apart."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        answer = await one_answer(reader)
        writer.close()
        await writer.wait_closed()
        return answer


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return head + await reader.readexactly(int(length[1]))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for knows of no event
        await asyncio.sleep(0.01)


def undated(answer: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*", b"date: -", answer)


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing here is for BentoML")


def lane_of(serving: Registry) -> FastPath:
    front = Router(inner, serving, {"/"})
    return FastPath(serving, lambda: front.routes, lambda _: True)


@asynccontextmanager
async def listening(repository: Path) -> AsyncIterator[Listening]:
    models = Registry(Settings(repository=repository, max_queue=2))
    await models.start()
    front = Router(inner, models, {"/"})
    usual = Counting(front)
    config, state = Config(usual, lifespan="off", log_config=None), ServerState()
    state.default_headers = [(b"date", b"now"), (b"server", b"rowcast")]

    class Bound(FastPathProtocol):
        fast_path = FastPath(models, lambda: front.routes, lambda _: True)

    config.load()
    server = await asyncio.get_running_loop().create_server(lambda: Bound(config, state, {}), "127.0.0.1", 0)
    try:
        yield Listening(server.sockets[0].getsockname()[1], models, usual, state)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await server.wait_closed()
        models.stop()


BODIES = [GOOD, rows(ROW, {**ROW, "carrier": "ZZ"}), *(p.body for p in PAYLOADS if 0 < len(p.body) < 10_000)]


STREAM = stream(table(3))
REQUESTS = {
    "rows": [HEAD % len(body) + body for body in BODIES],
    "tensors in JSON": [tensors(GOOD_TENSORS), tensors(body(request(ROW, id="x", parameters={"priority": 1})))],
    "tensors in bytes": [tensors(WHOLE, SPLIT)] * 3,
    "tensors that are refused": [
        tensors(hostile.body, hostile.json_bytes)
        for hostile in HOSTILE
        if 0 < len(hostile.body) < 10_000 and (hostile.json_bytes is None or isinstance(hostile.json_bytes, int))
    ],
    "streams": [
        post("/models/flights/predict", content, MEDIA_TYPE)
        for content in (STREAM, STREAM, STREAM[:-9], STREAM[:40], b"x", STREAM[:500] + b"\xff" * 16 + STREAM[516:])
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REQUESTS)
def test_every_answer_is_the_same_bytes_on_either_way(one_model: Path, kind: str) -> None:
    async def scenario() -> None:
        async with listening(one_model) as service:
            for request in REQUESTS[kind]:
                before = service.usual.requests
                short = await service.ask(request)
                assert service.usual.requests == before
                assert UNUSUAL[0] in request
                usual = await service.ask(request.replace(*UNUSUAL, 1))
                assert service.usual.requests == before + 1
                assert undated(short) == undated(usual)

    asyncio.run(scenario())


def test_a_stream_of_many_rows_takes_the_standard_path(one_model: Path) -> None:
    request = post("/predict", stream(table(300)), MEDIA_TYPE)

    async def scenario() -> None:
        async with listening(one_model) as service:
            reader, writer = await service.connect()
            for n in range(1, 4):
                writer.write(request)
                assert (await one_answer(reader)).startswith(b"HTTP/1.1 200")
                assert service.usual.requests == n
                writer.write(HEAD % len(GOOD) + GOOD)  # the next on the same connection does not
                assert (await one_answer(reader)).startswith(b"HTTP/1.1 200")
                assert service.usual.requests == n
            writer.close()

    asyncio.run(scenario())


def test_a_body_of_more_than_64_kib_takes_the_standard_path(one_model: Path) -> None:
    """There it is decoded in steps, whatever its texts take."""
    long = GOOD + b" " * (2**16 + 1 - len(GOOD))

    async def scenario() -> None:
        async with listening(one_model) as service:
            reader, writer = await service.connect()
            for body, usual in ((long, 1), (long[:-1], 1), (long, 2)):
                writer.write(HEAD % len(body) + body)
                assert (await one_answer(reader)).startswith(b"HTTP/1.1 200")
                assert service.usual.requests == usual
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "place",
    [
        (rowcast.service.protocols.v2.reading.InferReader, "read"),
        (rowcast.service.protocols.arrow.stream.ArrowReader, "open"),
        (rowcast.service.protocols.v2.answer.AnswerWriter, "write"),
        (rowcast.service.protocols.arrow.stream.ArrowEncoder, "batch"),
        (rowcast.service.protocols.rows.encode.Encoder, "answer"),
        (rowcast.service.engine.batcher.Batcher, "enqueue"),
    ],
    ids=lambda place: f"{place[0].__name__}.{place[1]}",
)
def test_what_no_rule_foresees_is_an_answer_too(
    one_model: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[type, str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    async def scenario() -> None:
        async with listening(one_model) as service:
            requests = (HEAD % len(GOOD) + GOOD, tensors(GOOD_TENSORS), post("/predict", STREAM, MEDIA_TYPE))
            assert [(await service.ask(request))[:12] for request in requests] == [b"HTTP/1.1 200"] * 3
            monkeypatch.setattr(*place, broken)
            short = [await service.ask(request) for request in requests]
            assert service.usual.requests == 0
            usual = [await service.ask(request.replace(*UNUSUAL, 1)) for request in requests]
            assert list(map(undated, short)) == list(map(undated, usual))
            codes = {answer[:12] for answer in short}
            assert b"HTTP/1.1 500" in codes
            assert codes <= {b"HTTP/1.1 200", b"HTTP/1.1 500"}
            assert not any(b"secret" in answer for answer in short)

    asyncio.run(scenario())


@pytest.mark.parametrize("cut", [len(HEAD % len(GOOD)), len(HEAD % len(GOOD)) + 9], ids=["after the head", "later"])
def test_a_request_in_two_parts_comes_the_short_way_too(one_model: Path, cut: int) -> None:
    request = HEAD % len(GOOD) + GOOD

    async def scenario() -> None:
        async with listening(one_model) as service:
            whole = await service.ask(request)
            assert await service.ask(request[:cut], request[cut:]) == whole
            assert service.usual.requests == 0

    asyncio.run(scenario())


def test_a_request_that_does_not_come_whole_soon_takes_the_standard_path(one_model: Path) -> None:
    request = HEAD % len(GOOD) + GOOD

    async def scenario() -> None:
        async with listening(one_model) as service:
            whole = await service.ask(request)
            reader, writer = await service.connect()
            writer.write(request[:-1])
            await until(lambda: service.usual.requests == 1)
            writer.write(request[-1:])
            assert undated(await one_answer(reader)) == undated(whole)
            writer.write(request)  # and the next is whole again
            assert await one_answer(reader) == whole
            assert service.usual.requests == 1
            writer.close()

    asyncio.run(scenario())


def test_requests_that_overtake_their_answers_are_answered_in_order(one_model: Path) -> None:
    bodies = [rows({**ROW, "distance": float(n)}) for n in range(20)]

    async def scenario() -> None:
        async with listening(one_model) as service:
            alone = [await service.ask(HEAD % len(body) + body) for body in bodies]
            assert len(set(alone)) > 10
            reader, writer = await service.connect()
            for body in bodies:
                writer.write(HEAD % len(body) + body)
                await asyncio.sleep(0)
            assert [await one_answer(reader) for _ in bodies] == alone
            writer.close()

    asyncio.run(scenario())


def test_rows_of_a_caller_who_hangs_up_are_not_computed(one_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHORT_RUN_SECONDS", "SHORT_RUN_SECONDS_ON_ONE_CORE"):
        monkeypatch.setattr(rowcast.service.engine.model, name, 0.0)

    def computed() -> float:
        return REGISTRY.get_sample_value("rowcast_batch_rows_sum", {"model": "flights"}) or 0.0

    async def scenario() -> None:
        async with listening(one_model) as service:
            before = computed()
            gate = threading.Event()
            service.models.thread.submit(gate.wait, 30)  # the thread is taken, so whatever goes to it waits
            served = service.models.models["flights"]
            first = asyncio.create_task(RowsEndpoint(served).answer(rows(*[ROW] * 4096)))
            await until(lambda: served.batcher.busy)
            _, leaving = await service.connect()
            leaving.write(HEAD % len(GOOD) + GOOD)
            await until(lambda: served.batcher.queued_rows == 1)
            connections = len(service.state.connections)
            leaving.close()
            await until(lambda: len(service.state.connections) < connections)
            gate.set()
            assert (await first).status == 200
            assert (await RowsEndpoint(served).answer(GOOD)).status == 200
            served.meter.flush()
            assert computed() - before == 4096 + 1

    asyncio.run(scenario())


def test_while_the_service_drains_every_answer_ends_its_connection(one_model: Path) -> None:
    async def scenario() -> None:
        async with listening(one_model) as service:
            service.models.draining = True
            reader, writer = await service.connect()
            writer.write(HEAD % len(GOOD) + GOOD)
            assert b"\r\nconnection: close\r\n" in await one_answer(reader)
            assert await reader.read() == b""
            assert service.usual.requests == 0
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        (b"POST", b"GET"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/predict", b"/predict?x=1"),
        (b"/predict", b"/models"),
        (b"/predict", b"/%70redict"),
        (b"host: x", b"transfer-encoding: chunked"),
        (b"host: x", b"expect: 100-continue"),
        (b"host: x", b"connection: close"),
        (b"host: x", b"connection: upgrade\r\nupgrade: h2c"),
        (b"host: x", b"content-encoding: gzip"),
        (b"host: x", b"content-length: 3"),
        (b"application/json", b"text/plain"),
        (b"content-length: 3", b"content-length: 0"),
        (b"content-length: 3", b"content-length: +3"),
        (b"content-length: 3", b"content-length: 300000"),
        (b"\r\ncontent-length: 3", b""),
        (b"host: x", b"no colon"),
    ],
    ids=lambda change: change[1].decode(),
)
def test_what_a_head_must_not_say(one_model: Path, change: tuple[bytes, bytes]) -> None:
    serving = Registry(Settings(repository=one_model))
    lane = lane_of(serving)
    head = (HEAD % 3)[:-4]
    known = lane.look_up(head)
    assert known is not None
    assert known.body_bytes == 3
    assert change[0] in head
    assert lane.look_up(head.replace(*change)) is None


def test_heads_that_are_never_seen_again_do_not_fill_the_memory(one_model: Path) -> None:
    serving = Registry(Settings(repository=one_model))
    lane = lane_of(serving)
    for n in range(3000):
        assert lane.look_up((HEAD % 3)[:-4] + b"\r\nx-request-id: %d" % n) is not None
    assert len(lane._heads) <= 1024


def test_a_caller_who_reads_no_answers_is_let_go_and_costs_one_answer_of_memory(
    one_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowcast.service.http.connection, "_UNREAD_SECONDS", 1.0)
    body = rows(*[ROW] * 2000)

    async def scenario() -> None:
        async with listening(one_model) as service:
            _, writer = await service.connect()
            answer = len(await service.ask(HEAD % len(body) + body))
            await until(lambda: len(service.state.connections) == 1)
            (connection,) = service.state.connections
            writer.write((HEAD % len(body) + body) * 60)
            largest = 0
            while service.state.connections:
                largest = max(largest, connection.transport.get_write_buffer_size())
                await asyncio.sleep(0.01)
            assert answer / 2 < largest < 3 * answer
            writer.close()

    asyncio.run(scenario())
