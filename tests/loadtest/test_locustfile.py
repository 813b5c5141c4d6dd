from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtest.stub import Misbehave, Reply, serving
from tests.service.processes import until

CLONE = Path(__file__).parents[2]

pytestmark = pytest.mark.alone  # three seconds are enough for two users, if nobody else is busy


def locust(url: str, *arguments: str, file: str = "loadtest/locustfile.py") -> tuple[int, dict[str, dict], str]:
    """Run Locust headless for 3 seconds: its exit code, its figures by request name, and its log."""
    command = [sys.executable, "-m", "locust", "-f", file, "--host", url, "--headless", "--json"]
    done = subprocess.run(
        [*command, "-u", "2", "-r", "2", "-t", "3s", *arguments],
        cwd=CLONE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, {entry["name"]: entry for entry in _last_list(done.stdout)}, done.stderr


def _last_list(text: str) -> list[dict]:
    """The master's figures, behind those of its workers, with or without line ends between."""
    found, at = [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        found, at = json.JSONDecoder().raw_decode(text, at)
    return found


def run(misbehave: Misbehave, *arguments: str) -> tuple[int, dict[str, dict], list]:
    with serving(misbehave, names=("flights", "trains")) as stub:
        code, figures, _ = locust(stub.url, "--model", "trains", *arguments)
    return code, figures, stub.asked


def test_two_users_ask_the_named_model_without_a_failure():
    code, figures, asked = run(lambda n, reply: None, "--rows", "3")
    assert code == 0
    assert set(figures) == {"/models/trains", "/models/trains/predict"}
    assert figures["/models/trains/predict"]["num_requests"] > 0
    assert sum(entry["num_failures"] for entry in figures.values()) == 0
    assert {len(rows) for rows in asked} == {3}
    assert len({json.dumps(rows) for rows in asked}) > len(asked) / 2, "rows are random"


@pytest.mark.parametrize(("model", "path"), [("trains@old", "trains@old"), ("trains:3", "trains/versions/3")])
def test_two_users_ask_a_version_or_an_alias(model, path):
    with serving(names=("flights", "trains")) as stub:
        code, figures, _ = locust(stub.url, "--model", model)
    assert code == 0
    assert set(figures) == {f"/models/{path}", f"/models/{path}/predict"}


def test_the_only_model_is_found_without_being_named():
    with serving() as stub:
        code, figures, _ = locust(stub.url)
    assert code == 0
    assert figures["/models/flights/predict"]["num_requests"] > 0


def test_a_wrong_answer_is_a_failure_and_the_exit_code_says_so():
    def too_many(n: int, reply: Reply) -> None:
        reply.predictions = reply.predictions * 2

    code, figures, _ = run(too_many)
    assert code == 1
    entry = figures["/models/trains/predict"]
    assert entry["num_failures"] == entry["num_requests"] > 0


def test_a_model_that_is_not_served_is_a_failure():
    with serving() as stub:
        code, figures, _ = locust(stub.url, "--model", "ships")
    assert code == 1
    assert figures["/models/ships"]["num_failures"] == 2


def test_a_stall_counts_for_every_request_that_was_due_and_a_promise_decides_the_exit_code():
    def stall(n: int, reply: Reply) -> None:
        reply.delay_s = 0.8 if n == 60 else 0

    with serving(stall) as stub:
        code, figures, log = locust(stub.url, "--user-rate", "50", "--promise-p99-ms", "300")
    assert code == 1
    assert re.search(r"^BROKEN p99 is \d+\.\d\d ms of 300 ms, 0 of \d+ requests failed$", log, re.MULTILINE)
    times = figures["/models/flights/predict"]["response_times"]
    late = sum(n for took, n in times.items() if float(took) >= 400)
    assert late >= 20, "40 of the 100 a second were due in the first half of the stall; two users would have seen two"


FEW_UNDER_WAY = """
from rowcast.loadtest.by_hand import open_loop
open_loop.UNDER_WAY = 5
from rowcast.loadtest.locustfile import *
"""


@pytest.mark.parametrize("under_way", ["many", "few"])
def test_what_a_service_that_hangs_has_not_answered_when_the_run_ends_has_failed(under_way, tmp_path):
    def hang(n: int, reply: Reply) -> None:
        reply.delay_s = 600.0 if n > 100 else 0.0

    file = CLONE / "loadtest" / "locustfile.py"
    if under_way == "few":
        file = tmp_path / "locustfile.py"
        file.write_text(FEW_UNDER_WAY)
    with serving(hang) as stub:
        options = ("--user-rate", "50", "--promise-p99-ms", "400")
        code, figures, log = locust(stub.url, *options, file=str(file))
    assert code == 1
    verdict = re.search(r"^BROKEN p99 is (.+) ms of 400 ms, (\d+) of (\d+) requests failed$", log, re.MULTILINE)
    p99, failed, requests = verdict.groups()
    assert int(requests) - int(failed) == 100
    assert int(requests) > 130, "up to 300 were due, and ten are under way where there may be few"
    assert 5000 < float(p99) < 9000, "the end is waited for as long as a check waits for an answer"
    assert figures["/models/flights/predict"]["num_failures"] == int(failed)


def test_a_stall_that_ends_after_the_run_does_is_seen_whole():
    def stall(n: int, reply: Reply) -> None:
        reply.delay_s = 3.0 if n == 100 else 0

    with serving(stall) as stub:
        code, _, log = locust(stub.url, "--user-rate", "50", "--promise-p99-ms", "400")
    assert code == 1
    p99 = re.search(r"^BROKEN p99 is (.+) ms of 400 ms, 0 of \d+ requests failed$", log, re.MULTILINE)
    assert 2500 < float(p99[1]) < 4000


@pytest.mark.parametrize(("hangs", "verdict"), [(False, "KEPT"), (True, "BROKEN")])
def test_several_processes_are_judged_together(hangs, verdict):
    def hang(n: int, reply: Reply) -> None:
        reply.delay_s = 600.0 if hangs and n > 60 else 0.0

    with serving(hang) as stub:
        options = ("--user-rate", "20", "--promise-p99-ms", "2000", "--processes", "2")
        code, figures, log = locust(stub.url, *options)
    assert code == {"KEPT": 0, "BROKEN": 1}[verdict]
    lines = re.findall(r"^(KEPT|BROKEN|VOID).* (\d+) of (\d+) requests failed$", log, re.MULTILINE)
    ((said, failed, requests),) = lines  # of the master, and of nobody else
    assert said == verdict
    assert int(requests) - int(failed) == sum(len(rows) for rows in stub.asked[: 60 if hangs else None])
    assert figures["/models/flights/predict"]["num_requests"] == int(requests)


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one", "two"])
def test_a_run_that_is_interrupted_is_judged_with_what_was_under_way(processes):
    def hang(n: int, reply: Reply) -> None:
        reply.delay_s = 600.0 if n > 60 else 0.0

    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "-u", "2", "-r", "2"]
    with serving(hang) as stub:
        options = ("--host", stub.url, "--user-rate", "50", "--promise-p99-ms", "2000", *processes)
        piped = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen([*command, *options], cwd=CLONE, start_new_session=True, **piped) as run:
            try:
                until(lambda: len(stub.asked) > 60, 30.0)
                os.killpg(run.pid, signal.SIGINT)
                _, log = run.communicate(timeout=60)
            finally:
                if run.poll() is None:
                    os.killpg(run.pid, signal.SIGKILL)
    verdict = re.search(r"^BROKEN .* (\d+) of (\d+) requests failed$", log, re.MULTILINE)
    assert run.returncode == 1
    assert int(verdict[1]) > 0
    assert int(verdict[2]) - int(verdict[1]) == 60


def test_a_promise_that_is_kept_ends_with_exit_code_0_although_requests_failed():
    def fail(n: int, reply: Reply) -> None:
        reply.status = 500 if n == 5 else 200

    with serving(fail) as stub:
        code, _, log = locust(stub.url, "--promise-p99-ms", "5000", "--promise-errors", "20%", "--ramp", "1s")
    assert (code, "KEPT p99 is " in log) == (0, True)
    assert ", 1 of " in log


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("--rows", "1,0", "must be whole numbers from 1 on, such as 1 or 1,8,64, got '1,0'"),
        ("--ramp", "soon", "must be a positive number and s, m or h, such as 60s or 30m, got 'soon'"),
        ("--user-rate", "fast", "must be a number above 0, got 'fast'"),
        ("--promise-p99-ms", "-5", "must be a number above 0, got '-5'"),
        ("--promise-p99-ms", "nan", "must be a number above 0, got 'nan'"),
        ("--promise-p99-ms", "0", "must be a number above 0, got '0'"),
        ("--promise-p99-ms", "", "must be a number above 0, got ''"),
        ("--promise-errors", "3", "must be a share from 0 to less than 1, such as 0.1% or 0.001, got '3'"),
        ("--model", "A/B", "a model is NAME, NAME@ALIAS or NAME:VERSION, and its name 1 to 64 of a-z, 0-9, '_' and"),
    ],
)
def test_an_argument_out_of_range_is_wrong_usage(argument, value, told):
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", f"{argument}={value}"]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"error: argument {argument}: {told}" in done.stderr
