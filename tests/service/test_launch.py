"""``rowcast serve`` as a process: what it starts, it stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from rowcast.models.errors import RowcastError
from rowcast.service.middleware.keys import new_key
from rowcast.service.process.launch import launch
from tests.service.hostile_payloads import GOOD
from tests.service.servers import ROOT, UNSET, Server, environment, free_port

IGNORING = (
    "import os, signal, sys; signal.signal(int(sys.argv[1]), signal.SIG_IGN); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
"""A program that becomes another Python program which ignores a signal, as a shell's `&` and nohup have it."""


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What is started here hears a hang-up, even where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def launched(
    repository: Path | None,
    home: Path,
    host: str = "127.0.0.1",
    ignored: signal.Signals | None = None,
    folder: Path = ROOT,
    variables: Mapping[str, str] = MappingProxyType({}),
    **settings: str,
) -> Iterator[Server]:
    """A running ``rowcast serve``, started in ``folder``."""
    port = free_port()
    ignoring = [] if ignored is None else ["-c", IGNORING, str(int(ignored))]
    command = [sys.executable, *ignoring, "-m", "rowcast", "serve", "--host", host, "--port", str(port)]
    env = {**environment(home, **{"workers": "1", **settings}), "PYTHONPATH": str(ROOT), **variables}
    del env["BENTOML_HOME"]  # it makes its own
    log = home / "log.txt"
    with open(log, "wb") as output:
        named = [] if repository is None else ["--repository", str(repository)]
        process = subprocess.Popen([*command, *named], cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
    server = Server(process, port, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        process.kill()  # all it started ends with it
        process.wait(30)


def test_grpc_listens_on_the_host_of_http(one_model: Path, tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    everywhere = launched(one_model, tmp_path, host="0.0.0.0", grpc_port=str(port))
    with everywhere, socket.create_connection(("127.0.0.2", port), timeout=10):
        pass
    with launched(one_model, tmp_path, grpc_port=str(other)):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", other), timeout=10)
        with socket.create_connection(("127.0.0.1", other), timeout=10):
            pass


def family(server: Server) -> list[psutil.Process]:
    return [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]


def assert_ended(members: list[psutil.Process], within: float) -> None:
    deadline = time.monotonic() + within
    for member in members:
        while member.is_running() and member.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, member
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_everything_in_good_order(one_model: Path, tmp_path: Path, number: signal.Signals) -> None:
    with launched(one_model, tmp_path, grace="0") as server:
        members = family(server)
        assert len(members) >= 3
        os.kill(server.process.pid, number)
        assert server.process.wait(15) == 0
        assert_ended(members, within=0.5)
    assert not list(tmp_path.glob("rowcast-*"))


def test_the_log_tells_what_is_served_where_and_that_it_stops(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, device="cpu", grace="0.1") as server:
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(15) == 0
    log = server.log.read_text()
    assert re.search(r"serving \w+:1 on CPUExecutionProvider, in runs of up to (256|128) rows$", log, re.MULTILINE)
    assert "told to stop: serving on for 0.1 seconds" in log


def test_in_the_background_of_a_script_it_can_still_be_interrupted(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, ignored=signal.SIGINT, grace="0") as server:
        members = family(server)
        os.kill(server.process.pid, signal.SIGINT)
        assert_ended(members, within=15)


def test_under_nohup_it_outlives_the_terminal(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, ignored=signal.SIGHUP, grace="0") as server:
        os.kill(server.process.pid, signal.SIGHUP)
        time.sleep(1)
        assert server.get("/readyz").status_code == 200


def test_a_second_signal_skips_the_grace(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, grace="60") as server:
        members = family(server)
        for _ in range(2):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert server.process.wait(10) == 0
        assert_ended(members, within=10)


def test_what_it_started_does_not_outlive_it(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, grace="0") as server:
        members = family(server)
        server.process.kill()
        assert_ended(members, within=10)


def test_a_host_may_be_a_name(one_model: Path, tmp_path: Path) -> None:
    with launched(one_model, tmp_path, host="localhost", grace="0") as server:
        assert server.get("/livez").status_code == 200
    with pytest.raises(RowcastError, match=r"cannot listen on no\.such\.invalid:3000 .*: choose another --host"):
        launch(one_model, host="no.such.invalid", port=3000)


def test_two_services_keep_their_metrics_apart(one_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with launched(one_model, tmp_path / "a", grace="0") as first:
        first.post("/predict", b"[]")
        with launched(one_model, tmp_path / "b", grace="0") as second:
            counted = 'rowcast_requests_total{code="4xx",model="flights"}'
            assert f"{counted} 1.0" in first.get("/metrics").text
            assert f"{counted} 1.0" not in second.get("/metrics").text


def test_the_env_file_of_the_folder_it_is_started_in_holds_for_every_worker(one_model: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    (started / "link").symlink_to(one_model)
    key = new_key("alice", started / "keys.txt")
    lines = (
        "ROWCAST_REPOSITORY=link\nROWCAST_API_KEYS=keys.txt\nROWCAST_WORKERS=2\nROWCAST_MAX_ROWS=1\nROWCAST_APIKEYS=x\n"
    )
    (started / ".env").write_text(lines)
    proxies = {"http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}
    with launched(None, tmp_path, folder=started, variables=proxies, workers=UNSET, grace="0") as server:
        body = json.dumps({"rows": [json.loads(GOOD)["rows"][0]] * 2}).encode()

        def answers() -> set[int]:
            told = {server.get("/models").status_code for _ in range(10)}
            return told | {server.post("/predict", body, authorization=f"Bearer {key}").status_code for _ in range(10)}

        assert answers() == {401, 413}
        supervisor = psutil.Process(server.process.pid).children()[0]
        while server.log.read_text().count("Completed async startup hook") < 2:  # one that is killed before says none
            time.sleep(0.05)
        supervisor.children()[0].kill()
        while server.log.read_text().count("Completed async startup hook") < 3:
            time.sleep(0.05)
        assert answers() == {401, 413}
        log = server.log.read_text()
    file = started / ".env"
    assert log.count(f"ROWCAST_APIKEYS (in {file}) is not a setting, so it does nothing: did you mean") == 1
    assert "Rowcast serves whoever has a key" in log


def test_a_service_whose_keys_are_named_with_nothing_does_not_start(one_model: Path, tmp_path: Path) -> None:
    env = environment(tmp_path, repository=str(one_model)) | {"ROWCAST_API_KEYS": "", "PYTHONPATH": str(ROOT)}
    say = [sys.executable, "-m", "rowcast", "serve", "--port", str(free_port())]
    done = subprocess.run(say, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("rowcast: ROWCAST_API_KEYS must name a file, got nothing: ")
