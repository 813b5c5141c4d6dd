"""Connections over real sockets: how large a request's head may be, and how long a caller may take."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.service.hostile_payloads import GOOD
from tests.service.servers import Server

POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
REQUEST = POST + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large"
GONE_WITHIN_SECONDS = 10


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def until_closed(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while chunk := connection.recv(65536):
            answer += chunk
    except ConnectionResetError:
        pass
    return answer


def one_answer(connection: socket.socket) -> bytes:
    """The next answer of a connection that stays open."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "fields",
    [
        b"x-large: " + b"a" * 70_000 + b"\r\n",
        b"".join(b"x-%d: %s\r\n" % (n, b"a" * 100) for n in range(700)),
        b"".join(b"x%d:\r\n" % n for n in range(20_000)),
        b"cookie: " + b"a" * 33_000 + b"\r\n",
    ],
    ids=["one", "many", "very many", "just over"],
)
def test_headers_beyond_the_limit_are_refused(server: Server, fields: bytes) -> None:
    head, _, body = server.talk(POST + fields + b"content-length: 0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(TOO_LARGE)
    assert json.loads(body) == {"error": "headers hold at most 32,768 bytes"}
    assert server.post("/predict", GOOD).status_code == 200


@pytest.mark.parametrize(
    "beginning",
    [
        POST + b"x-endless: ",
        b"GET /",
        POST + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx-trailer: " % (len(GOOD), GOOD),
        POST + b"transfer-encoding: chunked\r\n\r\n1;extension=",
    ],
    ids=["a header", "a path", "a trailer", "a chunk's extension"],
)
def test_what_never_ends_is_cut_off_long_before_it_fills_the_memory(server: Server, beginning: bytes) -> None:
    memory = psutil.Process(server.process.pid).children()[0].memory_info
    before = memory().rss
    with connect(server) as connection:
        connection.sendall(beginning)
        sent = 0
        try:
            while sent < 2**34:
                sent += connection.send(b"a" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert memory().rss - before < 2**23
    assert server.get("/livez").status_code == 200


def test_a_path_beyond_the_limit_is_refused(server: Server) -> None:
    assert server.talk(b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n").startswith(TOO_LARGE)


def test_trailers_beyond_the_limit_are_refused(server: Server) -> None:
    chunked = POST + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(GOOD), GOOD)
    with connect(server) as connection:
        connection.sendall(chunked)
        for n in range(12):
            connection.sendall(b"x-%d: %b\r\n" % (n, b"a" * 4000))
            time.sleep(0.01)
        assert until_closed(connection).startswith(TOO_LARGE)


def test_headers_just_below_the_limit_are_fine_and_the_connection_goes_on(server: Server) -> None:
    large = POST + b"x-large: " + b"a" * 32_000 + b"\r\ncontent-length: %d\r\n\r\n" % len(GOOD) + GOOD
    with connect(server) as connection:
        for sent in (REQUEST, large, REQUEST, large):
            connection.sendall(sent)
            assert one_answer(connection).startswith(b"HTTP/1.1 200 ")


def test_a_request_may_come_byte_by_byte_and_several_at_once(server: Server) -> None:
    with connect(server) as connection:
        for byte in REQUEST:
            connection.sendall(bytes([byte]))
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
    with connect(server) as connection:
        connection.sendall(REQUEST * 20)
        answers = b""
        while answers.count(b'"predictions"') < 20:
            answers += connection.recv(65536)
    assert answers.count(b"HTTP/1.1 200 ") == 20


def silent(connection: socket.socket) -> None:
    pass


def half_a_head(connection: socket.socket) -> None:
    connection.sendall(POST)


def a_head_byte_by_byte(connection: socket.socket) -> None:
    connection.sendall(POST)
    for _ in range(60):
        time.sleep(0.25)
        connection.sendall(b"x")


def headers_one_by_one(connection: socket.socket) -> None:
    connection.sendall(POST)
    for n in range(60):
        time.sleep(0.25)
        connection.sendall(b"x-%d: 1\r\n" % n)


def empty_lines(connection: socket.socket) -> None:
    for _ in range(60):
        connection.sendall(b"\r\n")
        time.sleep(0.25)


def half_a_second_head(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    one_answer(connection)
    connection.sendall(POST)


def empty_lines_after_an_answer(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    one_answer(connection)
    empty_lines(connection)


def a_body_that_stops(connection: socket.socket) -> None:
    connection.sendall(POST + b"content-length: 900\r\n\r\n{")


def a_body_byte_by_byte(connection: socket.socket) -> None:
    connection.sendall(POST + b"content-length: 900\r\n\r\n")
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(0.25)


def a_body_that_nobody_asked_for(connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n")
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(0.25)


SLOW: dict[Callable[[socket.socket], None], bytes] = {
    silent: b"",
    half_a_head: b"HTTP/1.1 408 ",
    a_head_byte_by_byte: b"",
    headers_one_by_one: b"",
    empty_lines: b"",
    half_a_second_head: b"HTTP/1.1 408 ",
    empty_lines_after_an_answer: b"",
    a_body_that_stops: b"HTTP/1.1 408 ",
    a_body_byte_by_byte: b"",
    a_body_that_nobody_asked_for: b"",
}
"""Callers who let the service wait, and how the answer to each begins; nobody reads one while he is still sending."""


def seconds_until_gone(server: Server, play: Callable[[socket.socket], None]) -> float:
    with connect(server) as connection:
        started = time.monotonic()
        try:
            play(connection)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            assert until_closed(connection).startswith(SLOW[play])
        return time.monotonic() - started


@pytest.mark.slow
def test_callers_who_let_the_service_wait_are_gone_within_ten_seconds(server: Server) -> None:
    with ThreadPoolExecutor(len(SLOW)) as callers:
        seconds = dict(zip(SLOW, callers.map(lambda play: seconds_until_gone(server, play), SLOW), strict=True))
    late = {play.__name__: took for play, took in seconds.items() if took > GONE_WITHIN_SECONDS + 0.5}
    assert late == {}  # half a second, for callers look only when they send
    assert server.post("/predict", GOOD).status_code == 200


@pytest.mark.slow
def test_many_slow_callers_at_once_keep_nobody_from_an_answer(server: Server) -> None:
    slow = [connect(server) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(POST)
        started = time.monotonic()
        assert server.post("/predict", GOOD).status_code == 200
        for connection in slow:
            assert until_closed(connection).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < GONE_WITHIN_SECONDS + 1
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.slow
def test_a_connection_may_rest_between_two_requests(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(REQUEST)
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
        time.sleep(11)
        connection.sendall(REQUEST)
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
