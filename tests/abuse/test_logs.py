"""Logs that nobody reads stop nothing, and what callers send does not fill them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.abuse.exchange import connect, in_chunks, request
from tests.service.hostile_payloads import GOOD
from tests.service.servers import ROOT, Server, command, environment, free_port, stop

ENDS_WITHIN_SECONDS = 15.0
LINES = 12_000
"""Access lines of 130 bytes: more than a pipe and the queue hold."""


def ask_many(port: int, n: int) -> None:
    """Have many requests answered on one connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        answers = connection.makefile("rb")
        for _ in range(n // 50):
            connection.sendall(request(b"{}", "/models/flights/predict") * 50)
            for _ in range(50):
                assert answers.readline().startswith(b"HTTP/1.1 400")
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.startswith(b"content-length: "):
                        length = int(line.split()[1])
                answers.read(length)


def dropped(server: Server) -> float:
    found = re.search(r"^rowcast_dropped_log_lines_total (\S+)$", server.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


@pytest.mark.slow
def test_an_output_that_nobody_reads_stops_nothing_and_what_is_lost_is_told(repository: Path, tmp_path: Path) -> None:
    reader, output = os.pipe()
    env = environment(tmp_path, repository=str(repository), access_log="on", workers="1", grace="0")
    port = free_port()
    process = subprocess.Popen(
        command(port), cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    os.close(output)
    server = Server(process, port, tmp_path / "none")
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if server.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        ask_many(port, LINES)
        assert server.get("/livez").status_code == 200
        assert dropped(server) > 100
        os.set_blocking(reader, False)
        told, deadline = b"", time.monotonic() + 10
        while b"log lines were dropped" not in told and time.monotonic() < deadline:
            try:
                told += os.read(reader, 1 << 20)
            except BlockingIOError:
                ask_many(port, 50)
        assert re.search(rb"\[\d+ log lines were dropped: nobody read them in time\]", told)
        ask_many(port, LINES)  # and with all full again, it ends
        process.terminate()
        assert process.wait(ENDS_WITHIN_SECONDS) == 0
    finally:
        stop(process)
        os.close(reader)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [">/dev/full 2>&1", ">&- 2>&-"], ids=["full", "closed"])
def test_an_output_that_cannot_be_written_to_stops_nothing(repository: Path, tmp_path: Path, outputs: str) -> None:
    env = environment(tmp_path, repository=str(repository), access_log="on", workers="1", grace="0")
    port = free_port()
    shell = f"exec {' '.join(command(port))} {outputs}"
    process = subprocess.Popen(["sh", "-c", shell], cwd=ROOT, env=env, start_new_session=True)
    server = Server(process, port, Path(os.devnull))
    try:
        server.wait_until_ready()
        ask_many(port, 1000)
        assert server.get("/livez").status_code == 200
        process.terminate()
        process.wait(ENDS_WITHIN_SECONDS)
    finally:
        stop(process)


def hang_up(server: Server, sent: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(sent)


def reset(server: Server, sent: bytes) -> None:
    connection = connect(server)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.sendall(sent)
    connection.close()


@pytest.mark.parametrize("leave", [hang_up, reset])
def test_nonsense_and_hang_ups_are_a_handful_of_lines(service: Server, leave: Callable[[Server, bytes], None]) -> None:
    before = service.log.read_text()
    good = in_chunks(GOOD)
    for _ in range(60):
        for sent in (
            good * 5,
            good * 3 + b"no HTTP\r\n\r\n",
            b"no HTTP\r\n\r\n" + good,
            request(b"", "/docs.json", method="GET") * 5,
            good * 2 + in_chunks(GOOD)[:-9],
            request(b"x" * 99_999)[:5000],
            request(GOOD, "/predict", "connection: upgrade", "upgrade: websocket") * 2,
        ):
            leave(service, sent)
    time.sleep(0.5)
    written = service.log.read_text()[len(before) :]
    assert "Traceback" not in written
    assert len(written.splitlines()) <= 30
