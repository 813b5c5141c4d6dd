"""More callers than descriptors: whoever asks how the service is gets an answer."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rowcast.service.limits.descriptors import make_room
from tests.service.hostile_payloads import GOOD
from tests.service.servers import NO_TLS, Server, free_port, serving

LIMIT = 300
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class Connection:
    def __init__(self, idle_since: float | None) -> None:
        self.idle_since = idle_since
        self.closed = False

    def make_room(self) -> None:
        self.closed = True


def test_those_that_were_idle_for_longest_make_room() -> None:
    busy, newest = Connection(None), Connection(0.0)
    idle = [Connection(1.0 + n) for n in range(25)]
    assert make_room({busy, newest, *idle}, newest)
    assert [connection.closed for connection in idle] == [True] * 3 + [False] * 22
    assert not busy.closed
    assert not newest.closed
    assert not make_room({busy, newest}, newest)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, one_model: Path) -> Iterator[tuple[Server, int]]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    home, grpc = tmp_path_factory.mktemp("served"), free_port()
    started = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300)); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    with serving(one_model, home, grpc_port=str(grpc), before=["-c", started]) as server:
        yield server, grpc
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


def open_many(port: int, sent: bytes, n: int = 400) -> list[socket.socket]:
    """Connections that say nothing more than ``sent``."""
    opened = []
    for _ in range(n):
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=2)
            connection.sendall(sent)
        except OSError:
            continue
        opened.append(connection)
    return opened


def probe_seconds(server: Server) -> float:
    started = time.monotonic()
    assert httpx.get(f"{server.url}/livez", timeout=5, verify=NO_TLS).status_code == 200
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("port", "sent"),
    [
        ("http", b""),
        ("http", b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-"),
        ("http", b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"),
        ("grpc", PREFACE),
        ("grpc", b""),
    ],
    ids=["silent", "half a head", "half a body", "gRPC without a call", "gRPC without a word"],
)
def test_probes_are_answered_while_hundreds_hold_connections(
    served: tuple[Server, int], port: str, sent: bytes
) -> None:
    server, grpc = served
    held = open_many(server.port if port == "http" else grpc, sent)
    try:
        for _ in range(5):
            assert probe_seconds(server) < 1.5
        if port == "grpc" or not sent.endswith(b"{"):
            assert server.post("/predict", GOOD).status_code == 200
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.5)
    assert server.post("/predict", GOOD).status_code == 200
    assert "Too many open files" not in server.log.read_text()


def test_a_limit_leaves_room_for_files() -> None:
    code = (  # in a process of its own: what other tests have opened here counts as well
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1024), hard))\n"
        "from rowcast.service.limits.descriptors import connection_caps\n"
        "print(*connection_caps())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    http, grpc = map(int, told.split())
    assert 600 < http + grpc < 1024 - 48
    assert grpc <= http / 2
