"""One service has gRPC's port, from its start to its end, however many ask for it at the same moment."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from rowcast.models.errors import RowcastError
from rowcast.service.process import grpc_port
from rowcast.service.process.grpc_port import give_way, settle_port
from rowcast.service.settings import Settings
from tests.service.servers import ROOT, free_port


@pytest.fixture(autouse=True)
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ROWCAST_GRPC_PORT", "as it was")
    yield
    while grpc_port._held:
        grpc_port._held.pop().close()


def wanted(port: int, host: str = "127.0.0.1", chosen: bool = True) -> Settings:
    return Settings.model_construct({"grpc_port"} if chosen else set(), grpc_port=port, grpc_host=host)


def worker_listens(port: int) -> grpc.Server:
    """A gRPC server as a worker has it, of this user."""
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 1)])
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    return server


def test_workers_share_a_port_that_nobody_else_gets() -> None:
    port = free_port()
    settle_port(wanted(port))
    with pytest.raises(ConnectionRefusedError):  # it is held, and not listened on
        socket.create_connection(("127.0.0.1", port), timeout=5)
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(RowcastError, match=r"cannot listen for gRPC on .* \(Address already in use\)"):
            settle_port(wanted(port, host))
    servers = [worker_listens(port), worker_listens(port)]
    try:
        with pytest.raises(RowcastError, match="Address already in use"):
            settle_port(wanted(port))
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    finally:
        for server in servers:
            server.stop(None).wait(5)


def test_connections_that_are_ending_keep_nobody_from_the_port() -> None:
    port = free_port()
    settle_port(wanted(port))
    with socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", port))
        worker.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            worker.accept()[0].close()
            assert caller.recv(1) == b""  # whoever closes first keeps the port in TIME_WAIT
    while grpc_port._held:
        grpc_port._held.pop().close()
    settle_port(wanted(port))


def test_a_default_port_gives_way_once_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    settle_port(wanted(port, chosen=False))
    assert not give_way(port + 1)
    assert give_way(port)
    assert not give_way(port)
    assert caplog.messages == [f"gRPC is off: HTTP listens on its port, {port}: choose another ROWCAST_GRPC_PORT"]
    with socket.create_server(("127.0.0.1", port)):
        settle_port(wanted(port, chosen=False))
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith(f"gRPC is off: cannot listen for gRPC on 127.0.0.1:{port} (Address already in")


RACE = """
import sys, time
from rowcast.models.errors import RowcastError
from rowcast.service.process.grpc_port import settle_port
from rowcast.service.settings import Settings
print("here", flush=True)
sys.stdin.readline()
try:
    settle_port(Settings.model_construct({"grpc_port"}, grpc_port=int(sys.argv[1]), grpc_host="127.0.0.1"))
except RowcastError:
    print("refused", flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_of_services_that_start_together_one_has_the_port() -> None:
    port = free_port()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for _ in range(4)
    ]
    try:
        for _ in range(2):
            said = []
            for racer in racers:
                assert racer.stdout is not None
                said.append(racer.stdout.readline().strip())
            if said == ["here"] * 4:
                for racer in racers:
                    assert racer.stdin is not None
                    racer.stdin.write("go\n")
                    racer.stdin.flush()
        assert sorted(said) == ["held", "refused", "refused", "refused"]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
