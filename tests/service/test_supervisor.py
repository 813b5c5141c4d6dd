"""Workers that die are replaced; those that cannot start are not tried for ever."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.service.hostile_payloads import GOOD
from tests.service.servers import ROOT, Server, command, environment, free_port, serving


def workers(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def seconds_until_good_answer(server: Server, expected: bytes) -> float:
    started = time.monotonic()
    while time.monotonic() < started + 30:
        try:
            if server.post("/predict", GOOD).content == expected:
                return time.monotonic() - started
        except httpx.TransportError:  # the worker was at it when it was killed
            pass
        time.sleep(0.02)
    raise AssertionError(server.log.read_text())


@pytest.mark.parametrize("variables", [{}, {"BENTOML_CONTAINERIZED": "true"}], ids=["", "in a container"])
def test_the_only_worker_killed_is_replaced_within_five_seconds(
    one_model: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    with serving(one_model, tmp_path, variables) as server:
        expected = server.post("/predict", GOOD).content
        for _ in range(2):
            (worker,) = workers(server)
            worker.kill()
            assert seconds_until_good_answer(server, expected) < 5


@contextmanager
def fragile(
    repository: Path, home: Path, certificate: tuple[Path, Path], **settings: str
) -> Iterator[tuple[Server, Path]]:
    """A service none of whose workers can start any more once a file is gone: the certificate of gRPC."""
    copy = home / "certificate.pem"
    copy.write_bytes(certificate[0].read_bytes())
    settings |= {"grpc_port": str(free_port()), "grpc_tls_cert": str(copy), "grpc_tls_key": str(certificate[1])}
    with serving(repository, home, **settings) as server:
        yield server, copy


def test_a_service_whose_last_worker_cannot_be_replaced_ends_and_says_why(
    one_model: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with fragile(one_model, tmp_path, certificate) as (server, needed):
        needed.unlink()
        (worker,) = workers(server)
        worker.kill()
        assert server.process.wait(20) == 1
        log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count("a worker cannot start: ") == 1
    assert log.count("cannot listen for gRPC") == 1
    assert log.splitlines()[-1].endswith("no worker is left and none could start, so the service ends; see above why")


SLOW_TO_END = """
import ctypes, os, sys, threading, time
def end():
    time.sleep(1.5)  # more than one look of the supervisor
    os._exit(78)
with open(sys.argv[1], "a") as starts:
    starts.write("one\\n")
threading.Thread(target=end).start()
ctypes.CDLL(None).pthread_exit(None)
"""

SUPERVISE = """
import sys
from circus.watcher import Watcher
from rowcast.service.process.supervisor import StartRefused, look_after_workers
look_after_workers()
from bentoml._internal.utils.circus import create_standalone_arbiter
worker = Watcher("worker", sys.executable, args=["-c", sys.argv[1], sys.argv[2]], copy_env=True)
try:
    create_standalone_arbiter([worker]).start()
except StartRefused as refused:
    sys.exit(str(refused))
"""


def test_a_worker_whose_main_thread_ends_first_is_not_forgotten(tmp_path: Path) -> None:
    """Dropped without a word, it would be started again and again."""
    starts = tmp_path / "starts"
    supervisor = [sys.executable, "-c", SUPERVISE, SLOW_TO_END, str(starts)]
    done = subprocess.run(supervisor, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert "no worker is left and none could start" in done.stderr
    assert done.returncode == 1
    assert starts.read_text() == "one\n"


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_tried_ever_more_seldom_while_the_others_serve(
    one_model: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with fragile(one_model, tmp_path, certificate, workers="2") as (server, needed):
        expected = server.post("/predict", GOOD).content
        while len(workers(server)) < 2 or server.log.read_text().count("Completed async startup hook") < 2:
            time.sleep(0.05)
        needed.unlink()
        workers(server)[0].kill()
        assert seconds_until_good_answer(server, expected) < 5
        time.sleep(9)
        log = server.log.read_text()
        assert "Traceback" not in log
        # at once, after 2 seconds and after 4 more: on a slow machine the third falls into what has passed
        assert log.count("a worker cannot start: ") in {1, 2, 3}
        assert "a worker could not start; trying again in 2 seconds" in log
        assert server.post("/predict", GOOD).content == expected


def test_a_taken_port_is_named_with_the_way_out(one_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = environment(tmp_path, repository=str(one_model))
        done = subprocess.run(command(port), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: [serve] `serve` failed: cannot listen on 127.0.0.1:{port} (Address already in use): "
        "choose another --port or --host\n"
    )
    assert "Traceback" not in done.stdout


def test_a_stop_that_meets_the_start_of_a_worker_is_heeded(one_model: Path, tmp_path: Path) -> None:
    env = environment(tmp_path, repository=str(one_model), workers="1", grace="0")
    process = subprocess.Popen(
        command(free_port()), cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        supervisor = psutil.Process(process.pid)
        while not supervisor.children():
            time.sleep(0.001)
        process.terminate()  # while the supervisor still starts its watcher
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
