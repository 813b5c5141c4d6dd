"""What the parser concludes and what the service remembers of it do not part, however a connection is cut."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from prometheus_client import REGISTRY
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import rowcast.service.engine.model
import rowcast.service.http.connection
from rowcast.models.arrow import MEDIA_TYPE
from rowcast.service.http.body import Receive, Scope, Send, respond
from rowcast.service.http.fast_path import FastPath
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from tests.service.hostile_payloads import GOOD, ROW, rows
from tests.service.hostile_tensors import GOOD as GOOD_TENSORS
from tests.service.hostile_tensors import SPLIT, WHOLE
from tests.service.open_inference import PATH
from tests.service.test_arrow import stream, table
from tests.service.wire import Answer, Service, in_process

UPGRADES = {
    "h2c as Java sends it": (
        b"connection: Upgrade, HTTP2-Settings",
        b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        b"upgrade: h2c",
    ),
    "h2c as curl sends it": (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ),
    "a websocket": (
        b"connection: keep-alive, Upgrade",
        b"upgrade: websocket",
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        b"sec-websocket-version: 13",
    ),
    "anything, twice": (b"Upgrade: x", b"connection: upgrade", b"upgrade: TLS/1.3, y/2"),
}
SMUGGLED = b"GET /models/none HTTP/1.1\r\nhost: x\r\n\r\n"
"""A body that would be a request, and get a 404."""
LIVE = Answer(200, b'{"live":true}', closes=False)
GET_LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
NO_REQUEST = b'{"error":"the bytes are no valid HTTP request"}'


def head(method: str, path: str, *headers: bytes) -> bytes:
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), b"host: x", *headers, b"", b""])


def post(path: str, body: bytes, content_type: str, *headers: bytes) -> bytes:
    lines = (b"content-type: " + content_type.encode(), *headers, b"content-length: %d" % len(body))
    return head("POST", path, *lines) + body


def chunked(path: str, body: bytes, content_type: str, *headers: bytes, trailers: bytes = b"") -> bytes:
    lines = (b"content-type: " + content_type.encode(), *headers, b"transfer-encoding: chunked")
    cut = len(body) // 2
    chunks = b"".join(b"%x;e=1\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
    return head("POST", path, *lines) + chunks + b"0\r\n" + trailers + b"\r\n"


GOOD_REQUESTS: dict[str, Callable[..., bytes]] = {
    "rows": lambda *more: post("/predict", GOOD, "application/json", *more),
    "rows in chunks": lambda *more: chunked("/predict", GOOD, "application/json", *more),
    "tensors": lambda *more: post(PATH, GOOD_TENSORS, "application/json", *more),
    "a stream": lambda *more: post("/predict", stream(table(3)), MEDIA_TYPE, *more),
    "a page": lambda *more: head("GET", "/models", *more),
    "a body that nobody asked for": lambda *more: post("/livez", SMUGGLED, "text/plain", *more).replace(
        b"POST", b"GET"
    ),
    "a body that looks like a request": lambda *more: post("/predict", SMUGGLED, "application/json", *more),
    "the same in chunks": lambda *more: chunked("/predict", SMUGGLED, "application/json", *more),
    "no route": lambda *more: post("/nowhere", SMUGGLED, "application/json", *more),
}


LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
"""What workers run on, and what they would run on where it is not installed."""


def run(repository: Path, scenario: Callable[[Service], Awaitable[None]], loop: str = "uvloop") -> None:
    async def scene() -> None:
        async with in_process(repository) as service:
            await scenario(service)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scene())


def in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have even the shortest runs go to the models' thread, so that a test can hold them up."""
    for name in ("SHORT_RUN_SECONDS", "SHORT_RUN_SECONDS_ON_ONE_CORE"):
        monkeypatch.setattr(rowcast.service.engine.model, name, 0.0)


# ─── Upgrade ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("request_", GOOD_REQUESTS)
def test_an_offer_of_another_protocol_changes_no_answer(one_model: Path, request_: str, upgrade: str) -> None:
    make = GOOD_REQUESTS[request_]

    async def scenario(service: Service) -> None:
        expected = await service.say(make())
        assert len(expected) == 1
        offered = make(*UPGRADES[upgrade])
        for parts in ((offered,), tuple(bytes([byte]) for byte in offered)):
            assert await service.say(*parts) == expected

    run(one_model, scenario)


@pytest.mark.parametrize("request_", ["rows", "rows in chunks", "a body that looks like a request"])
def test_an_offer_is_ignored_wherever_the_request_is_cut(one_model: Path, request_: str) -> None:
    make = GOOD_REQUESTS[request_]

    async def scenario(service: Service) -> None:
        alone = await service.say(make())
        if alone[0].closes:
            pytest.fail("the connection is to be kept")
        offered = make(*UPGRADES["h2c as Java sends it"]) + GET_LIVE
        for cut in range(1, len(offered)):
            async with service.connect() as wire:
                await wire.feed((offered[:cut], offered[cut:]))
                assert await wire.answers() == [*alone, LIVE], cut

    run(one_model, scenario)


def test_pipelined_offers_are_answered_in_order(one_model: Path) -> None:
    makes = [make for name, make in GOOD_REQUESTS.items() if name != "no route"]

    async def scenario(service: Service) -> None:
        alone = [(await service.say(make()))[0] for make in makes]
        offers = [make(*lines) for make, lines in zip(makes, list(UPGRADES.values()) * 2, strict=True)]
        sent = b"".join(offers)
        for size in (len(sent), 1000, 97):
            parts = [sent[start : start + size] for start in range(0, len(sent), size)]
            assert await service.say(*parts) == alone

    run(one_model, scenario)


def test_thousands_of_offers_in_one_packet_take_no_time_that_grows_with_their_square(one_model: Path) -> None:
    async def scenario(service: Service) -> None:
        async with service.connect() as wire:
            n = 3000
            before = asyncio.get_running_loop().time()
            wire.protocol.data_received(head("GET", "/livez", b"connection: upgrade", b"upgrade: x") * n)
            assert asyncio.get_running_loop().time() - before < 5
            assert await wire.answers() == [LIVE] * n

    run(one_model, scenario)


@pytest.mark.parametrize("target", ["/predict", "127.0.0.1:22", "/livez"])
def test_what_comes_through_a_tunnel_that_was_asked_for_is_never_a_request(one_model: Path, target: str) -> None:
    sent = head("CONNECT", target) + GET_LIVE

    async def scenario(service: Service) -> None:
        for parts in ((sent,), (sent[: -len(GET_LIVE)], GET_LIVE), tuple(bytes([byte]) for byte in sent)):
            (answer,) = await service.say(*parts)
            assert answer.status == 405
            assert answer.closes

    run(one_model, scenario)


# ─── Pipelines ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "nonsense",
    [
        b"no HTTP at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost : x\r\n\r\n",
    ],
    ids=["words", "TLS", "a version", "a blank"],
)
@pytest.mark.parametrize("request_", [name for name in GOOD_REQUESTS if name != "no route"])
def test_a_good_request_before_nonsense_is_answered_and_the_nonsense_refused(
    one_model: Path, request_: str, nonsense: bytes
) -> None:
    good = GOOD_REQUESTS[request_]()

    async def scenario(service: Service) -> None:
        (alone,) = await service.say(good)
        sent = good * 3 + nonsense
        for parts in ((sent,), (good * 2, good + nonsense), (good, good, good, nonsense)):
            *answers, refusal = await service.say(*parts)
            assert answers == [alone] * 3
            assert refusal == Answer(400, NO_REQUEST, closes=True)

    run(one_model, scenario)


def test_a_request_whose_chunks_are_nonsense_is_refused_in_its_turn(one_model: Path) -> None:
    good = GOOD_REQUESTS["rows"]()
    broken = head("POST", "/predict", b"transfer-encoding: chunked") + b"1\r\n{\r\nzz\r\n"

    async def scenario(service: Service) -> None:
        (alone,) = await service.say(good)
        refusal = Answer(400, NO_REQUEST, closes=True)
        assert await service.say(broken) == [refusal]
        assert await service.say(good + good + broken + good) == [alone, alone, refusal]
        assert await service.say(good + broken[:-4], broken[-4:], good) == [alone, refusal]

    run(one_model, scenario)


def test_what_follows_a_request_that_ends_its_connection_is_not_read(one_model: Path) -> None:
    good = GOOD_REQUESTS["rows"]()
    last = GOOD_REQUESTS["rows"](b"connection: close")

    async def scenario(service: Service) -> None:
        (alone,) = await service.say(good)
        ending = alone._replace(closes=True)
        for rest in (good, b"no HTTP at all\r\n\r\n", b"a" * 100_000):
            assert await service.say(last + rest) == [ending]
            assert await service.say(good + last, rest) == [alone, ending]

    run(one_model, scenario)


def test_a_trailer_is_no_header(one_model: Path) -> None:
    make = GOOD_REQUESTS["rows in chunks"]

    async def scenario(service: Service) -> None:
        (alone,) = await service.say(make())
        for trailer in (b"content-type: text/plain", b"content-encoding: gzip", b"grpc-timeout: 1n", b"upgrade: x"):
            sent = chunked("/predict", GOOD, "application/json", b"connection: x", trailers=trailer + b"\r\n")
            assert await service.say(sent + GET_LIVE) == [alone, LIVE], trailer
            assert await service.say(*(bytes([byte]) for byte in sent), GET_LIVE) == [alone, LIVE], trailer

    run(one_model, scenario)


def test_a_trailer_that_ends_the_connection_ends_it(one_model: Path) -> None:
    sent = chunked("/predict", GOOD, "application/json", trailers=b"connection: close\r\n")

    async def scenario(service: Service) -> None:
        for parts in ((sent + GET_LIVE,), (sent, GET_LIVE), tuple(bytes([byte]) for byte in sent)):
            async with service.connect() as wire:
                await wire.feed(parts)
                (answer,) = await wire.answers()
                assert answer.status == 200
                assert wire.closed

    run(one_model, scenario)


def test_an_old_caller_gets_no_interim_answer(one_model: Path) -> None:
    sent = GOOD_REQUESTS["rows"](b"expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)

    async def scenario(service: Service) -> None:
        async with service.connect() as wire:
            await wire.feed((sent,))
            assert [answer.status for answer in await wire.answers()] == [200]
            assert not wire._received.startswith(b"HTTP/1.1 100")

    run(one_model, scenario)


def test_a_caller_who_hangs_up_in_a_pipeline_is_not_computed_for_and_leaves_no_trace(
    one_model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_thread(monkeypatch)
    good = GOOD_REQUESTS["rows in chunks"]()

    async def scenario(service: Service) -> None:
        gate = threading.Event()
        service.serving.thread.submit(gate.wait, 30)
        async with service.connect() as wire:
            await wire.feed((good + good,))
            wire.protocol.transport.abort()
            await asyncio.sleep(0.05)
        gate.set()
        assert await service.say(good) == await service.say(good)
        assert not service.state.tasks

    with caplog.at_level(logging.WARNING):
        run(one_model, scenario)
    assert caplog.records == []


# ─── Hosts and codings ───────────────────────────────────────────────────────────────────────────────────────────────


AMBIGUOUS = {
    "no host": head("POST", "/predict", b"content-length: %d" % len(GOOD)).replace(b"host: x\r\n", b"") + GOOD,
    "two hosts": post("/predict", GOOD, "application/json", b"Host: x"),
    "two hosts that differ": post("/predict", GOOD, "application/json", b"host: y"),
    "two hosts in HTTP/1.0": post("/predict", GOOD, "application/json", b"host: y").replace(b"/1.1", b"/1.0", 1),
    "a host with a path": post("/predict", GOOD, "application/json").replace(b"host: x", b"host: x/y"),
    "a host with a blank": post("/predict", GOOD, "application/json").replace(b"host: x", b"host: x y"),
    "a host of bytes": post("/predict", GOOD, "application/json").replace(b"host: x", b"host: \xff"),
    "a coding before chunked": chunked("/predict", GOOD, "application/json").replace(b": chunked", b": gzip, chunked"),
    "chunked, twice": chunked("/predict", GOOD, "application/json").replace(b": chunked", b": chunked, chunked"),
    "chunked in two lines": chunked("/predict", GOOD, "application/json", b"transfer-encoding: chunked"),
    "chunked with a parameter": chunked("/predict", GOOD, "application/json").replace(b": chunked", b": chunked;q=1"),
    "chunked in HTTP/1.0": chunked("/predict", GOOD, "application/json").replace(b"/1.1", b"/1.0", 1),
    "identity": chunked("/predict", GOOD, "application/json").replace(b": chunked", b": identity"),
    "no coding": chunked("/predict", GOOD, "application/json").replace(b": chunked", b":"),
    "chunked with a length": chunked("/predict", GOOD, "application/json", b"content-length: 3"),
    "a length with chunks": chunked("/predict", GOOD, "application/json").replace(
        b": chunked", b": chunked\r\ncontent-length: 3"
    ),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
@pytest.mark.parametrize("offered", [False, True], ids=["", "with an offer of another protocol"])
def test_a_head_that_can_be_read_in_two_ways_is_refused(one_model: Path, case: str, offered: bool) -> None:
    sent = AMBIGUOUS[case]
    if offered:
        sent = sent.replace(b"\r\n", b"\r\nconnection: upgrade\r\nupgrade: h2c\r\n", 1)

    async def scenario(service: Service) -> None:
        for parts in ((sent,), (sent[:-9], sent[-9:]), tuple(bytes([byte]) for byte in sent)):
            (answer,) = await service.say(*parts, GET_LIVE)
            assert (answer.status, answer.closes) == (400, True), answer
        assert [answer.status for answer in await service.say(GET_LIVE + sent)] == [200, 400]

    run(one_model, scenario)


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
def test_another_version_is_refused(one_model: Path, version: bytes) -> None:
    async def scenario(service: Service) -> None:
        (answer,) = await service.say(GET_LIVE.replace(b"HTTP/1.1", version) + GET_LIVE)
        assert (answer.status, answer.closes) == (505, True)

    run(one_model, scenario)


def test_what_may_be_said_of_hosts_is_answered(one_model: Path) -> None:
    async def scenario(service: Service) -> None:
        for host in (b"", b"[::1]:3000", b"a-b_c.example:80", b"127.0.0.1", b"x.svc.cluster.local."):
            assert await service.say(GET_LIVE.replace(b"host: x", b"host: " + host)) == [LIVE], host
        (answer,) = await service.say(b"GET /livez HTTP/1.0\r\n\r\n")
        assert answer.status == 200
        assert await service.say(GET_LIVE.replace(b"/livez", b"http://h:80/livez")) == [LIVE]

    run(one_model, scenario)


# ─── Byte order marks ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("short", [True, False], ids=["short way", "long way"])
def test_a_byte_order_mark_before_json_is_ignored(one_model: Path, short: bool) -> None:
    mark = b"\xef\xbb\xbf"
    long = b'{"rows": [' + b", ".join([GOOD[GOOD.index(b"[") + 1 : GOOD.rindex(b"]")]] * 700) + b"]}"
    assert len(long) > 2**16

    async def scenario(service: Service) -> None:
        for path, content in (("/predict", GOOD), ("/predict", long), (PATH, GOOD_TENSORS)):
            (expected,) = await service.say(post(path, content, "application/json"), short=short)
            assert expected.status == 200
            assert await service.say(post(path, mark + content, "application/json"), short=short) == [expected]
        lines = (b"inference-header-content-length: %d" % (SPLIT + len(mark)),)
        (expected,) = await service.say(
            post(PATH, WHOLE, "application/octet-stream", b"inference-header-content-length: %d" % SPLIT)
        )
        sent = post(PATH, mark + WHOLE, "application/octet-stream", *lines)
        assert await service.say(sent, short=short) == [expected]
        for wrong in (mark * 2 + GOOD, GOOD.decode().encode("utf-16"), GOOD + mark):
            (answer,) = await service.say(post("/predict", wrong, "application/json"), short=short)
            assert answer.status == 400

    run(one_model, scenario)


def test_a_body_in_chunks_of_a_byte_is_passed_on_once_for_all_that_came(
    one_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[bytes] = []
    pass_on = HttpToolsProtocol.on_body

    def counted(self: HttpToolsProtocol, body: bytes) -> None:
        passed.append(body)
        pass_on(self, body)

    monkeypatch.setattr(HttpToolsProtocol, "on_body", counted)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD)
    sent = head("POST", "/predict", b"content-type: application/json", b"transfer-encoding: chunked")

    async def scenario(service: Service) -> None:
        async with service.connect(short=False) as wire:
            await wire.feed((sent, chunks, b"0\r\n\r\n"))
            assert [answer.status for answer in await wire.answers()] == [200]
        assert passed == [GOOD]

    run(one_model, scenario)


# ─── Half-closed callers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("short", [True, False], ids=["short way", "long way"])
@pytest.mark.parametrize("request_", ["rows", "rows in chunks", "tensors", "a stream", "a page", "no route"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_caller_who_closes_his_half_is_answered(one_model: Path, request_: str, short: bool, loop: str) -> None:
    sent = GOOD_REQUESTS[request_]()

    async def scenario(service: Service) -> None:
        expected = await service.say(sent, short=short)
        async with service.connect(short=short) as wire:
            await wire.feed((sent,) if request_ == "no route" else (sent, sent))
            wire.half_close()
            assert await wire.answers() == expected * (1 if request_ == "no route" else 2)
            await wire.until_closed()

    run(one_model, scenario, loop)


@pytest.mark.parametrize("short", [True, False], ids=["short way", "long way"])
def test_a_caller_who_closes_his_half_with_his_last_byte_is_answered(one_model: Path, short: bool) -> None:
    sent = GOOD_REQUESTS["rows"]()

    async def scenario(service: Service) -> None:
        expected = await service.say(sent, short=short)
        async with service.connect(short=short) as wire:
            wire.protocol.data_received(sent)
            wire.half_close()  # is noticed in the turn in which the row is queued
            assert await wire.answers() == expected
            await wire.until_closed()

    run(one_model, scenario)


@pytest.mark.parametrize("short", [True, False], ids=["short way", "long way"])
@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_takes_a_while_reaches_a_caller_who_closed_his_half(
    one_model: Path, short: bool, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_thread(monkeypatch)
    sent = GOOD_REQUESTS["a stream"]()
    many = post("/predict", stream(table(300)), MEDIA_TYPE)

    async def scenario(service: Service) -> None:
        for request_ in (sent, many):
            (expected,) = await service.say(request_, short=short)
            gate = threading.Event()
            service.serving.thread.submit(gate.wait, 30)
            async with service.connect(short=short) as wire:
                await wire.feed((request_,))
                wire.half_close()
                asyncio.get_running_loop().call_later(0.3, gate.set)
                assert await wire.answers() == [expected]
                await wire.until_closed()

    run(one_model, scenario, loop)


def test_who_hung_up_is_not_computed_for_after_a_while(one_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_thread(monkeypatch)
    monkeypatch.setattr(rowcast.service.http.connection, "_HALF_CLOSED_SECONDS", 0.1)

    async def scenario(service: Service) -> None:
        served = service.serving.models["flights"]

        def computed() -> float:
            served.meter.flush()
            return REGISTRY.get_sample_value("rowcast_batch_rows_sum", {"model": "flights"}) or 0.0

        for short in (True, False):
            before = computed()
            gate = threading.Event()
            service.serving.thread.submit(gate.wait, 30)
            first = asyncio.create_task(RowsEndpoint(served).answer(rows(*[ROW] * 4096)))
            while not served.batcher.busy:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            async with service.connect(short=short) as wire:
                await wire.feed((GOOD_REQUESTS["rows"](),), rest=0.02)
                assert served.batcher.queued_rows == 1
                wire.half_close()
                await wire.until_closed()
            gate.set()
            assert (await first).status == 200
            assert (await RowsEndpoint(served).answer(GOOD)).status == 200
            assert computed() - before == 4096 + 1

    run(one_model, scenario)


# ─── Who asks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_caller_says_of_where_it_asks_from_is_not_believed(one_model: Path) -> None:
    async def scenario(service: Service) -> None:
        seen: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope)
            await respond(send, 200, b"{}")

        listening = Service(service.serving, app, FastPath(service.serving, dict, lambda _: True))
        sent = head("GET", "/", b"x-forwarded-for: 203.0.113.7", b"x-forwarded-proto: https")
        assert [answer.status for answer in await listening.say(sent, short=False)] == [200]
        assert seen[0]["scheme"] == "http"
        assert "203.0.113.7" not in str(seen[0]["client"])

    run(one_model, scenario)
