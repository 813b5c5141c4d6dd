"""What is said to the service over a plain socket, and what an answer must be like whatever was said."""

from __future__ import annotations

import json
import re
import socket
from typing import NamedTuple

from tests.service.servers import ROOT, Server

PATIENCE_SECONDS = 15.0
"""No caller waits longer: whoever is silent for longer hangs."""

LEAKS = re.compile(
    r"Traceback|\.py\b|site-packages|\b(?:pydantic|bentoml|uvicorn|starlette|onnxruntime|numpy|orjson|httptools)\b"
    rf"|{re.escape(str(ROOT))}|/(?:usr|home|tmp|root|etc|opt)/",
    re.IGNORECASE,
)
"""What no caller need know: stack traces, paths and packages."""


class Answer(NamedTuple):
    """One answer, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def request(
    body: bytes, path: str = "/predict", *headers: str, method: str = "POST", content_type: str = "application/json"
) -> bytes:
    """A whole request; the connection is kept."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-type: {content_type}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def in_chunks(body: bytes, size: int = 65_536, path: str = "/predict") -> bytes:
    """The same, its body in chunks."""
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def read_answer(connection: socket.socket) -> Answer:
    """The next answer on a connection.

    Raises:
        TimeoutError: none comes.
        EOFError: the connection was closed before it was whole.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":  # how uvicorn sends what has no length
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
    while len(body) < int(headers.get("content-length", 0)):
        body += _more(connection)
    return Answer(int(first.split()[1]), headers, body)


def say(server: Server, *parts: bytes) -> Answer:
    """The first answer to what is sent on a new connection."""
    with connect(server) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):  # refused and closed: the answer is there to read
            pass
        return read_answer(connection)


def until_closed(connection: socket.socket) -> bytes:
    """Everything that comes until the service closes."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def check_refusal(answer: Answer, status: int) -> str:
    """Make sure that an answer is a refusal as it should be, and return its words."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    content = json.loads(answer.body)
    assert set(content) <= {"error", "errors"}
    assert isinstance(content["error"], str)
    assert content["error"]
    assert not LEAKS.search(answer.body.decode())
    return content["error"]


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise EOFError("the connection was closed before the answer was whole")
    return received
