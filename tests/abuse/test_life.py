"""Workers that are killed, a service that is told to stop, a clock that steps: no answer is lost or changed."""

from __future__ import annotations

import ast
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil

from tests.abuse.exchange import Answer, connect, in_chunks, read_answer, request, say
from tests.service.hostile_payloads import GOOD
from tests.service.servers import ROOT, Server, command, environment, free_port, serving

HOUR = 3600
GRACE_SECONDS = 1


def workers(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for a condition; how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def serving_workers(server: Server) -> int:
    """How many workers have begun to serve since the start."""
    return server.log.read_text().count("Completed async startup hook")


def test_when_a_worker_is_killed_the_other_serves_and_it_is_replaced_within_five_seconds(
    repository: Path, tmp_path: Path
) -> None:
    with serving(repository, tmp_path, workers="2") as server:
        until(lambda: serving_workers(server) == 2, 30)
        good = say(server, request(GOOD))
        killed = workers(server)[0]
        killed.kill()
        until(lambda: killed not in workers(server), 5)

        def replaced() -> bool:
            assert say(server, request(GOOD)).body == good.body
            return serving_workers(server) == 3

        assert until(replaced, 20) < 5
        assert say(server, request(GOOD)).body == good.body


class Caller:
    """Asks again and again on a kept connection, and opens another when it is told that the service closes it."""

    def __init__(self, server: Server, sent: bytes) -> None:
        self.server = server
        self.sent = sent
        self.answers: list[Answer] = []

    def call(self, enough: threading.Event) -> None:
        connection = connect(self.server)
        try:
            while not enough.is_set():
                connection.sendall(self.sent)
                self.answers.append(read_answer(connection))
                if self.answers[-1].headers.get("connection") == "close":
                    connection.close()
                    connection = connect(self.server)
        finally:
            connection.close()


def test_sigterm_under_load_flips_readiness_first_and_fails_no_request(repository: Path, tmp_path: Path) -> None:
    with serving(repository, tmp_path, grace=str(GRACE_SECONDS)) as server, ThreadPoolExecutor(4) as threads:
        good = say(server, request(GOOD))
        enough = threading.Event()
        callers = [Caller(server, sent) for sent in (request(GOOD), in_chunks(GOOD)) * 2]
        calls = [threads.submit(caller.call, enough) for caller in callers]
        until(lambda: all(len(caller.answers) > 10 for caller in callers), 20)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: say(server, request(b"", "/readyz", method="GET")).status == 503, 1)
        before = [len(caller.answers) for caller in callers]
        until(lambda: all(len(caller.answers) > n + 10 for caller, n in zip(callers, before, strict=True)), 20)
        assert say(server, request(b"", "/readyz", method="GET")).status == 503
        enough.set()
        for call in calls:
            call.result()
        assert server.process.wait(GRACE_SECONDS + 10) == 0
    answers = [answer for caller in callers for answer in caller.answers]
    assert {(answer.status, answer.body) for answer in answers} == {(200, good.body)}


def test_sigterm_while_a_model_is_being_loaded_is_a_clean_exit(repository: Path, tmp_path: Path) -> None:
    port = free_port()
    env = environment(tmp_path, repository=str(repository), workers="1")
    with open(tmp_path / "log.txt", "wb") as log:
        process = subprocess.Popen(command(port), cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
    until(lambda: bool(psutil.Process(process.pid).children()), 30)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert [member for member in family if member.is_running()] == []
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
    with socket.create_server(("127.0.0.1", port), reuse_port=False):
        pass  # nobody listens there


def test_a_clock_that_steps_an_hour_to_and_fro_changes_nothing(repository: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"

    def step(seconds: int) -> None:
        (tmp_path / "next").write_text(str(seconds))
        (tmp_path / "next").rename(clock)

    def ahead(answer: Answer) -> bool:
        """Whether the service's own clock, as its answers show it, is where it was put."""
        shown = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
        return abs(shown - int(clock.read_text())) < HOUR / 2

    step(0)
    variables = {"PYTHONPATH": str(Path(__file__).parent / "clock"), "STEPPED_CLOCK": str(clock)}
    with (
        serving(repository, tmp_path, variables, grace=str(GRACE_SECONDS)) as server,
        connect(server) as kept,
        connect(server) as half,
    ):
        good = say(server, request(GOOD))
        half.sendall(request(GOOD)[:-1])
        for seconds in (HOUR, -HOUR):

            def answers_alike() -> bool:
                """Whether the step has come through; until and beyond it the answer stays."""
                kept.sendall(request(GOOD))
                answer = read_answer(kept)
                assert (answer.status, answer.body) == (200, good.body)
                assert say(server, in_chunks(GOOD)).body == good.body
                return ahead(answer)

            step(seconds)
            until(answers_alike, 10)
            assert say(server, request(b"", "/readyz", method="GET")).status == 200
        half.sendall(request(GOOD)[-1:])  # its time is not up, nor has it begun anew
        assert read_answer(half).body == good.body
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        until(lambda: say(server, request(b"", "/readyz", method="GET")).status == 503, 1)
        step(HOUR)
        assert say(server, request(GOOD)).body == good.body
        assert server.process.wait(GRACE_SECONDS + 10) == 0
        assert time.monotonic() - started >= GRACE_SECONDS


TOLD = {
    "protocols/v2/metadata.py": {"time.time"},
    "middleware/access_log.py": {"datetime.now"},
    "middleware/tracing.py": {"time.time_ns"},
    "middleware/key_watch.py": {"time.time_ns"},
    "live/look.py": {"time.time_ns"},
}
"""Where the time of day is told, and decides nothing: Open Inference's statistics, lines and spans; and where it is
held against that of a file or folder, which says that it has to be read once more."""


def test_nothing_in_the_service_asks_the_wall_clock() -> None:
    wall = {"time.time", "time.time_ns", "time.localtime", "time.gmtime"}
    wall |= {f"{owner}.{name}" for owner in ("datetime", "datetime.datetime") for name in ("now", "utcnow", "today")}
    wall |= {"date.today", "datetime.date.today"}
    files = sorted((ROOT / "service").rglob("*.py"))
    assert files
    for file in files:
        name = file.relative_to(ROOT / "service").as_posix()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in wall - TOLD.get(name, set()), f"{name}:{node.lineno}"
            elif isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not {f"time.{alias.name}" for alias in node.names} & wall, name
