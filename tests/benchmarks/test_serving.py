"""The benchmark's own parts: what it starts, what it counts, and whom it refuses to measure."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cells import ROOT, cell, hash_of
from benchmarks.serving.harness.closedloop import drive
from benchmarks.serving.harness.contenders import OURS, PEER_LIST, PEERS, ROWS, V2
from benchmarks.serving.harness.duel import LOADS, Plan
from benchmarks.serving.harness.processes import NotStarted, Server, busy_s, free_port, pinned
from benchmarks.serving.harness.table import report
from rowcast.loadtest.connection import Endpoint, fetch

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the benchmark runs on Linux")

CORE = min(os.sched_getaffinity(0))
CLASSES = ("late", "on time")


@pytest.fixture
def constant(tmp_path):
    """The server that does nothing, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.harness.ceiling", str(port), "1"]
    server = Server(command, {}, directory=ROOT, core=CORE, log=tmp_path / "log")
    try:
        server.wait_until_ready(f"http://127.0.0.1:{port}/")
        yield server, Endpoint.of(f"http://127.0.0.1:{port}")
    finally:
        server.end()


def test_every_request_is_answered_and_counted_once(constant):
    _, endpoint = constant
    requests = [endpoint.post("/predict", body) for body in (b"{}", b'{"rows":[]}', b"x" * 100_000)]
    result = drive(endpoint, requests, 4, warm_s=0.0, seconds=0.3)
    assert result.failures == 0
    assert result.requests > 0
    assert 0 < result.rate <= result.requests / 0.29
    assert 0 < result.p50_ms <= result.p99_ms


def test_a_server_that_is_held_answers_nothing_until_it_goes_on(constant):
    server, endpoint = constant
    request = endpoint.post("/predict", b"{}")
    server.hold()
    with pytest.raises(TimeoutError):
        asyncio.run(fetch(endpoint, request, timeout_s=0.3))
    server.go_on()
    status, body = asyncio.run(fetch(endpoint, request, timeout_s=10))
    assert status == 200
    assert ROWS.read(body, CLASSES) == [("on time", [0.25464484, 0.7453552])]


def test_the_cpu_of_a_server_is_counted_and_not_that_of_others(constant):
    server, endpoint = constant
    before = server.cpu_s()
    for _ in range(2_000_000):  # ours, not the server's
        pass
    assert server.cpu_s() - before <= 0.02
    drive(endpoint, [endpoint.post("/predict", b"{}")], 8, warm_s=0.0, seconds=1.0)
    assert server.cpu_s() > before


def test_children_in_sessions_of_their_own_are_ended_too(tmp_path):
    child = "import time; print('up', flush=True); time.sleep(600)"
    parent = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True); "
        "print(p.pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    server = Server([sys.executable, "-c", parent], {}, directory=tmp_path, core=CORE, log=log)
    while "up" not in log.read_text():
        time.sleep(0.01)
    pid = int(next(line for line in log.read_text().splitlines() if line.isdigit()))
    server.end()
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path):
    server = Server(
        [sys.executable, "-c", "raise SystemExit('no such model')"],
        {},
        directory=tmp_path,
        core=CORE,
        log=tmp_path / "l",
    )
    with pytest.raises(NotStarted, match=r"^ended with exit code 1: no such model$"):
        server.wait_until_ready(f"http://127.0.0.1:{free_port()}/")
    server.end()


def test_pinning_is_for_a_while():
    before = os.sched_getaffinity(0)
    with pinned(CORE):
        assert os.sched_getaffinity(0) == {CORE}
    assert os.sched_getaffinity(0) == before
    assert busy_s(CORE) > 0
    with pytest.raises(ValueError, match="no core 99999"):
        busy_s(99999)


def test_both_dialects_read_what_their_servers_write():
    rows = [{"distance": 1.5, "carrier": "ü"}, {"distance": None, "carrier": ""}]
    assert ROWS.write(rows) == '{"rows":[{"distance":1.5,"carrier":"ü"},{"distance":null,"carrier":""}]}'.encode()
    assert V2.write(rows[1:]) == (
        b'{"inputs":[{"name":"rows","shape":[1,1],"datatype":"BYTES",'
        b'"data":["{\\"distance\\":null,\\"carrier\\":\\"\\"}"]}]}'
    )
    answers = [("late", [0.9, 0.1]), ("on time", [0.2, 0.8])]
    body = (
        b'[{"label": "late", "probabilities": {"on time": 0.1, "late": 0.9}},'
        b'{"label": "on time", "probabilities": {"late": 0.2, "on time": 0.8}}]'
    )
    assert ROWS.read(body, CLASSES) == answers
    assert ROWS.read(b'{"model": "flights", "predictions": %b}' % body, CLASSES) == answers
    v2 = b'{"outputs": [{"name": "label", "data": ["late", "on time"]}, {"name": "probabilities", "data": [%b]}]}'
    assert V2.read(v2 % b"0.9, 0.1, 0.2, 0.8", CLASSES) == answers


def test_every_peer_has_its_code_and_exact_requirements():
    for peer in PEER_LIST:
        assert any(file.suffix == ".py" and file.stem == peer.name for file in peer.files), peer.name
        requirements = PEERS / f"{peer.name}.txt"
        assert requirements.exists() == peer.own_environment
        if peer.own_environment:
            assert all("==" in line for line in requirements.read_text().split()), peer.name
    assert not set(OURS.files) & set(PEER_LIST[0].files) - {PEERS / "onnx_rows.py", PEERS / "rows_model.py"}


def test_a_cell_is_measured_once_for_its_code(tmp_path):
    code, store, calls = ROOT / "Makefile", tmp_path / "cells.json", []

    def measure():
        calls.append(1)
        return {"rate": 5.0}

    first = cell(store, "one", hash_of([code]), measure)
    assert cell(store, "one", hash_of([code]), measure) == first
    assert len(calls) == 1
    cell(store, "one", hash_of([code], "other settings"), measure)
    assert len(calls) == 2


def test_a_cell_that_measures_another_one_keeps_both(tmp_path):
    store = tmp_path / "cells.json"

    def measure():
        return {"of": cell(store, "inner", "b", lambda: {"rate": 5.0})["rate"]}

    outer = cell(store, "outer", "a", measure)
    assert json.loads(store.read_text()).keys() == {"inner", "outer"}
    assert outer["of"] == 5.0


def test_the_table_names_every_peer_and_says_why_one_was_not_measured():
    good = {"rate": 10.0, "p50_ms": 1.0, "p99_ms": 2.0, "server_cpu_us": 100.0, "others": 0.0, "client_cpu": 0.2}
    ours = [{**good, "failures": 0}]
    theirs = [{**good, "failures": 3, "rate": 5.0, "server_cpu_us": 400.0, "others": 0.5, "client_cpu": 0.95}]
    cells = {(p.name, load.name): {"reason": "ended with exit code 1"} for p in PEER_LIST for load in LOADS}
    cells["by_hand", LOADS[0].name] = {"date": "2026-01-02", "ours": ours, "theirs": theirs}
    text = report(cells, {LOADS[0].name: {"rate": 1000.0}}, Plan(5.0, 3, 3))
    assert "| **Rowcast** | 10 | 1.00 | 2.00 | 100 |  |  |" in text
    assert "no validation (3 failed)*† | 5 | 1.00 | 2.00 | 400 | 2.00 | 4.00 |" in text
    assert text.count("not measured: ended with exit code 1") == len(PEER_LIST) * len(LOADS) - 1
    assert all(peer.title in text for peer in PEER_LIST)


def test_help_says_how_to_run_it():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.compare", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "make bench-serving" in done.stdout
    assert "--attempts" in done.stdout
