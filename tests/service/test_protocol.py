"""Connections over real sockets: what a request may look like, and how long a connection may rest."""

from __future__ import annotations

import select
import socket
import time

import pytest

from tests.service.hostile_payloads import GOOD
from tests.service.servers import Server

POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
REQUEST = POST + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large"


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


def test_trailers_beyond_the_limit_are_refused(server: Server) -> None:
    chunked = POST + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(GOOD), GOOD)
    with connect(server) as connection:
        connection.sendall(chunked)
        for n in range(12):
            connection.sendall(b"x-%d: %b\r\n" % (n, b"a" * 4000))
            time.sleep(0.01)
        assert until_closed(connection).startswith(TOO_LARGE)


def test_chunks_that_hold_hardly_anything_of_a_body_are_refused(server: Server) -> None:
    tiny = b"1;extension=%b\r\n \r\n" % (b"a" * 8000)
    with connect(server) as connection:
        connection.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 2**28 and not select.select([connection], [], [], 0)[0]:
            connection.sendall(tiny)
            sent += len(tiny)
        assert sent < 2**28
        assert until_closed(connection).startswith(b"HTTP/1.1 400 ")


def test_chunks_of_a_byte_are_a_body(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(40):
            connection.sendall(b"0001\r\n \r\n" * 1000)
        connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD))
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")


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


@pytest.mark.slow
def test_a_connection_may_rest_between_two_requests(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(REQUEST)
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
        time.sleep(11)
        connection.sendall(REQUEST)
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
