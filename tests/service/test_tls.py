"""What TLS is spoken over HTTP, and how long a handshake may take."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.servers import ROOT, Server, command, environment, free_port, stop

AEAD = "ECDHE+AESGCM:ECDHE+CHACHA20"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, one_model: Path, certificate: tuple[Path, Path]
) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("served")
    port = free_port()
    tls = {"tls_cert": str(certificate[0]), "tls_key": str(certificate[1])}
    env = environment(home, repository=str(one_model), workers="1", grace="0", **tls)
    with open(home / "log.txt", "wb") as log:
        process = subprocess.Popen(command(port), cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
    server = Server(process, port, home / "log.txt")
    give_up = time.monotonic() + 60
    try:
        while True:
            try:
                connected(server, context())
                break
            except OSError:
                assert time.monotonic() < give_up, server.log.read_text()
                time.sleep(0.05)
        yield server
    finally:
        stop(process)


def context(
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ciphers: str = AEAD,
) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers(ciphers)
    made.minimum_version, made.maximum_version = lowest, highest
    return made


def connected(server: Server, made: ssl.SSLContext) -> tuple[str, str]:
    """Version and cipher of a connection on which a probe is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain, made.wrap_socket(plain) as tls:
        tls.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert tls.recv(15) == b"HTTP/1.1 200 OK"
        cipher = tls.cipher()
        assert cipher is not None
        return str(tls.version()), cipher[0]


def test_clients_that_speak_authenticated_ciphers_alone_connect(served: Server) -> None:
    version = ssl.TLSVersion
    made, cipher = connected(served, context(version.TLSv1_2, version.TLSv1_2))
    assert made == "TLSv1.2"
    assert "GCM" in cipher or "CHACHA20" in cipher
    assert connected(served, context(version.TLSv1_3))[0] == "TLSv1.3"


@pytest.mark.parametrize(
    "ciphers", ["ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA", "AES128-SHA256", "AES128-GCM-SHA256"]
)
def test_a_client_without_them_is_refused(served: Server, ciphers: str) -> None:
    twelve = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        connected(served, context(twelve, twelve, ciphers))


def test_connections_that_never_shake_hands_are_gone_within_ten_seconds(served: Server) -> None:
    started = time.monotonic()
    idle = [socket.create_connection(("127.0.0.1", served.port), timeout=12) for _ in range(50)]
    for connection in idle:
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        connection.close()
    assert 5 < time.monotonic() - started < 10
    assert connected(served, context())[0] == "TLSv1.3"
