"""The processes of a running service: what they listen on, how they end, and that none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service.hostile_payloads import GOOD
from tests.service.processes import addresses, alive, family, supervisor, until, workers
from tests.service.rpc import calling
from tests.service.servers import ROOT, Server, command, environment, free_port, serving


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What is started here hears a hang-up, even where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def launched(repository: Path, home: Path, **settings: str) -> Iterator[Server]:
    """A running ``rowcast serve``, not waited for."""
    port = free_port()
    env = environment(home, **{"repository": str(repository), "workers": "2", "grace": "0", **settings})
    del env["BENTOML_HOME"]  # it makes its own
    log = home / "log.txt"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rowcast", "serve", "--port", str(port)],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    members: list[psutil.Process] = []
    try:
        yield Server(process, port, log)
    finally:
        members = family(process.pid)
        process.kill()
        process.wait(30)
        for member in psutil.wait_procs(members, timeout=15)[1]:
            member.kill()


def left_in(folder: Path) -> list[str]:
    """Files and folders of ours; ONNX Runtime may leave some of its own."""
    return [path.name for path in folder.iterdir() if path.name.startswith(("rowcast", "bentoml", "tmp"))]


def ready_workers(server: Server) -> int:
    """How many workers have begun to serve since the start."""
    return server.log.read_text().count("Completed async startup hook: start")


def test_nothing_listens_but_http_and_grpc(one_model: Path, tmp_path: Path) -> None:
    """A control socket on the loopback would let every user of the machine run programs as the service."""
    grpc = free_port()
    with launched(one_model, tmp_path, grpc_port=str(grpc)) as server:
        pid, expected = server.process.pid, {f"tcp {server.port}", f"tcp {grpc}"}
        until(lambda: not addresses(family(pid)) - expected and ready_workers(server) == 2, 60)
        assert len(family(pid)) == 4
        assert addresses(family(pid)) == expected
        workers(pid)[0].kill()
        until(lambda: ready_workers(server) == 3, 30)
        assert addresses(family(pid)) == expected
        found = supervisor(pid)
        assert found is not None
        found.send_signal(signal.SIGHUP)
        until(lambda: ready_workers(server) == 5 and len(workers(pid)) == 2, 60)
        assert addresses(family(pid)) == expected
        members = family(pid)
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert alive(members) == []
    assert left_in(tmp_path) == []


def test_a_service_whose_workers_are_replaced_is_ready_and_takes_connections_all_along(
    one_model: Path, tmp_path: Path
) -> None:
    """However short the grace: the old workers stay until the new ones, which need seconds, serve."""
    grpc = free_port()
    with launched(one_model, tmp_path, grpc_port=str(grpc), grace="0.5") as server:
        until(lambda: ready_workers(server) == 2, 60)
        before, found = set(workers(server.process.pid)), supervisor(server.process.pid)
        assert found is not None
        assert len(before) == 2
        found.send_signal(signal.SIGHUP)
        looks = 0
        while before & set(workers(server.process.pid)):
            looks += 1
            assert server.get("/readyz").status_code == 200, f"look {looks}"
            with calling(grpc) as caller:  # with a new connection
                assert caller.ask("ServerReady").ready, f"look {looks}"
        assert looks > 5
        assert len(workers(server.process.pid)) == 2
        text = server.log.read_text()
    assert "Traceback" not in text
    assert text.count("told to stop: serving on for 0.5 seconds") == 2


def test_plain_bentoml_serve_has_no_control_socket_either(one_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    with serving(one_model, tmp_path, {"TMPDIR": str(folder)}, workers="2") as server:
        assert addresses(family(server.process.pid)) == {f"tcp {server.port}"}
        assert left_in(folder) == []


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6, 1.0, 1.5])
def test_no_worker_outlives_a_supervisor_that_is_killed_while_they_start(
    one_model: Path, tmp_path: Path, seconds: float
) -> None:
    with launched(one_model, tmp_path, workers="2") as server:
        pid = server.process.pid
        until(lambda: workers(pid), 60)
        found = supervisor(pid)
        assert found is not None
        time.sleep(seconds)
        members = family(pid)
        found.kill()
        until(lambda: not alive(members), 5)
        assert server.process.wait(5) != 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.8, 1.2, 2.0])
def test_nothing_outlives_a_launcher_that_is_killed_while_it_starts(
    one_model: Path, tmp_path: Path, seconds: float
) -> None:
    with launched(one_model, tmp_path) as server:
        until(lambda: len(family(server.process.pid)) > 1, 60)
        time.sleep(seconds)
        members = family(server.process.pid)
        assert server.process.pid in {process.pid for process in newcomers(tmp_path)}
        server.process.kill()
        until(lambda: not alive(members), 15)
        until(lambda: not alive(newcomers(tmp_path)), 5)
    assert left_in(tmp_path) == []


def newcomers(home: Path) -> list[psutil.Process]:
    """Processes of a service that writes in a folder, whoever started them."""
    return [process for process in psutil.process_iter() if temporary_folder(process) == str(home)]


def temporary_folder(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("TMPDIR")
    except (psutil.Error, OSError):
        return None


def test_a_worker_that_is_stopped_is_replaced_and_the_service_still_ends(one_model: Path, tmp_path: Path) -> None:
    with serving(one_model, tmp_path, workers="2", grace="0") as server:
        pid = server.process.pid
        until(lambda: ready_workers(server) == 2, 30)
        stopped = workers(pid)[0]
        stopped.suspend()
        assert until(lambda: ready_workers(server) == 3, 40) < 20
        assert stopped not in alive(workers(pid))
        log = server.log.read_text()
        assert f"worker {stopped.pid} is killed: it showed no sign of life for " in log
        assert f"worker {stopped.pid} ended by SIGKILL after " in log
        members = family(pid)
        workers(pid)[0].suspend()
        server.process.terminate()
        assert server.process.wait(15) == 0
        assert alive(members) == []
        assert "Traceback" not in server.log.read_text()


def test_a_worker_that_is_stopped_while_it_starts_is_replaced(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, workers="1") as server:
        until(lambda: workers(server.process.pid), 60)
        stopped = workers(server.process.pid)[0]
        stopped.suspend()
        assert until(lambda: stopped not in alive([stopped]), 30) < 15
        server.wait_until_ready()


HUNG = """
import signal, time
def hang(*_):
    while True:
        time.sleep(1)
signal.signal(signal.SIGUSR2, hang)
from rowcast.service import *
from rowcast.service import Rowcast
"""


def test_a_loop_that_hangs_is_noticed_as_well(one_model: Path, tmp_path: Path) -> None:
    (tmp_path / "hung.py").write_text(HUNG)
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with serving(one_model, tmp_path, path, service="hung:Rowcast", workers="1") as server:
        (worker,) = workers(server.process.pid)
        worker.send_signal(signal.SIGUSR2)
        assert until(lambda: worker not in alive([worker]), 30) < 15
        until(lambda: ready_workers(server) == 2, 30)


@pytest.mark.slow
def test_a_service_that_was_stopped_as_a_whole_goes_on_with_the_same_workers(one_model: Path, tmp_path: Path) -> None:
    """A machine that was asleep, or a container that was frozen: nobody was silent for longer than the others."""
    with serving(one_model, tmp_path, workers="2") as server:
        until(lambda: ready_workers(server) == 2, 30)
        members = family(server.process.pid)
        for member in members:
            member.suspend()
        time.sleep(11)
        for member in members:
            member.resume()
        time.sleep(4)
        assert family(server.process.pid) == members
        assert server.post("/predict", GOOD).status_code == 200


def test_a_worker_that_is_killed_again_and_again_comes_back_and_is_named_each_time(
    one_model: Path, tmp_path: Path
) -> None:
    with serving(one_model, tmp_path, workers="1") as server:
        for n in range(3):
            until(lambda: ready_workers(server) == n + 1, 20)  # noqa: B023 - called at once
            (worker,) = workers(server.process.pid)
            worker.send_signal(signal.SIGSEGV if n == 1 else signal.SIGKILL)
            assert until(lambda: ready_workers(server) == n + 2, 20) < 10  # noqa: B023 - called at once
            name = "SIGSEGV" if n == 1 else "SIGKILL"
            assert f"worker {worker.pid} ended by {name} after " in server.log.read_text()


def test_an_output_that_nobody_reads_stops_neither_workers_nor_supervisor(one_model: Path, tmp_path: Path) -> None:
    reader, output = os.pipe()
    os.set_blocking(output, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(output, b"x" * 4096)
    os.set_blocking(output, True)
    port = free_port()
    env = environment(tmp_path, repository=str(one_model), workers="1", grace="0")
    process = subprocess.Popen(command(port), cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True)
    os.close(output)
    server = Server(process, port, tmp_path / "none.txt")
    server.log.write_text("")
    try:
        server.wait_until_ready()
        first = workers(process.pid)[0]
        first.kill()
        until(lambda: any(worker != first for worker in workers(process.pid)), 20)
        server.wait_until_ready()
        assert server.post("/predict", GOOD).status_code == 200
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
