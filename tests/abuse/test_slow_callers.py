"""Callers who let the service wait: whatever they do, they are gone within ten seconds, and keep nobody waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.abuse.exchange import Answer, connect, read_answer, request, say, socket, until_closed
from tests.service.hostile_payloads import GOOD
from tests.service.servers import Server

POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
GONE_WITHIN_SECONDS = 10.5
"""Half a second more than is promised: callers look only when they send."""
CROWD = 200


def trickle(connection: socket.socket, part: bytes) -> None:
    """Send the same few bytes four times a second."""
    for _ in range(60):
        connection.sendall(part)
        time.sleep(0.25)


def silent(connection: socket.socket) -> None:
    pass


def half_a_head(connection: socket.socket) -> None:
    connection.sendall(POST)


def a_head_byte_by_byte(connection: socket.socket) -> None:
    connection.sendall(POST)
    trickle(connection, b"x")


def headers_one_by_one(connection: socket.socket) -> None:
    connection.sendall(POST)
    trickle(connection, b"x: 1\r\n")


def empty_lines(connection: socket.socket) -> None:
    trickle(connection, b"\r\n")


def half_a_second_head(connection: socket.socket) -> None:
    connection.sendall(request(GOOD))
    assert read_answer(connection).status == 200
    connection.sendall(POST)


def empty_lines_after_an_answer(connection: socket.socket) -> None:
    connection.sendall(request(GOOD))
    assert read_answer(connection).status == 200
    trickle(connection, b"\r\n")


def a_body_that_stops(connection: socket.socket) -> None:
    connection.sendall(POST + b"content-length: 900\r\n\r\n{")


def a_second_body_that_stops(connection: socket.socket) -> None:
    connection.sendall(request(GOOD))
    assert read_answer(connection).status == 200
    connection.sendall(request(GOOD)[:-1])


def a_body_byte_by_byte(connection: socket.socket) -> None:
    connection.sendall(POST + b"content-length: 900\r\n\r\n")
    trickle(connection, b" ")


def a_body_in_chunks_byte_by_byte(connection: socket.socket) -> None:
    connection.sendall(CHUNKED)
    trickle(connection, b"1\r\n \r\n")


def trailers_one_by_one(connection: socket.socket) -> None:
    connection.sendall(CHUNKED + b"1\r\n \r\n0\r\n")
    trickle(connection, b"x: 1\r\n")


def a_body_that_nobody_asked_for(connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n")
    trickle(connection, b" ")


def a_refused_body_that_does_not_come(connection: socket.socket) -> None:
    connection.sendall(POST + b"content-length: 999999999\r\n\r\n")
    assert read_answer(connection).status == 413


SLOW: dict[Callable[[socket.socket], None], bytes] = {
    silent: b"",
    half_a_head: b"HTTP/1.1 408 ",
    a_head_byte_by_byte: b"",
    headers_one_by_one: b"",
    empty_lines: b"",
    half_a_second_head: b"HTTP/1.1 408 ",
    empty_lines_after_an_answer: b"",
    a_body_that_stops: b"HTTP/1.1 408 ",
    a_second_body_that_stops: b"HTTP/1.1 408 ",
    a_body_byte_by_byte: b"",
    a_body_in_chunks_byte_by_byte: b"",
    trailers_one_by_one: b"",
    a_body_that_nobody_asked_for: b"",
    a_refused_body_that_does_not_come: b"",
}
"""What each does, and how its answer begins once it is silent; nobody reads one while he is still sending."""


class Crowd:
    """All of them at once, and many more who send half a head: the answers, and who got an answer beside them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.idle = [connect(server) for _ in range(CROWD)]
        for connection in self.idle:
            connection.sendall(POST)
        self.began = time.monotonic()
        self.threads = ThreadPoolExecutor(len(SLOW) + 1)
        self.plays: dict[Callable[[socket.socket], None], Future[float]] = {
            play: self.threads.submit(self.seconds_until_gone, play) for play in SLOW
        }
        self.told = self.threads.submit(self.seconds_until_all_are_told)
        self.beside = say(server, request(GOOD))
        self.answered_after = time.monotonic() - self.began

    def seconds_until_gone(self, play: Callable[[socket.socket], None]) -> float:
        with connect(self.server) as connection:
            started = time.monotonic()
            try:
                play(connection)
            except (BrokenPipeError, ConnectionResetError):
                pass
            else:
                assert until_closed(connection).startswith(SLOW[play])
            return time.monotonic() - started

    def seconds_until_all_are_told(self) -> float:
        for connection in self.idle:
            assert until_closed(connection).startswith(b"HTTP/1.1 408 ")
        return time.monotonic() - self.began

    def leave(self) -> None:
        for connection in self.idle:
            connection.close()
        self.threads.shutdown()


@pytest.fixture(scope="module")
def crowd(abused: Server, good_answer: Answer) -> Iterator[Crowd]:
    crowd = Crowd(abused)
    yield crowd
    crowd.leave()


@pytest.mark.slow
@pytest.mark.parametrize("play", SLOW, ids=lambda play: play.__name__.replace("_", "-"))
def test_a_caller_who_lets_the_service_wait_is_gone_within_ten_seconds(
    service: Server, crowd: Crowd, play: Callable[[socket.socket], None]
) -> None:
    assert crowd.plays[play].result() < GONE_WITHIN_SECONDS


@pytest.mark.slow
def test_many_slow_callers_at_once_are_told_and_keep_nobody_from_an_answer(
    service: Server, crowd: Crowd, good_answer: Answer
) -> None:
    assert crowd.beside.body == good_answer.body
    assert crowd.answered_after < 2
    assert crowd.told.result() < GONE_WITHIN_SECONDS
