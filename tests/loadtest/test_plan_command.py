"""``rowcast loadtest plan`` from end to end: a service is started, measured and ended, and the answer is JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.service.live.versions import publish
from tests.service.processes import until

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture
def command(tmp_path):
    publish(tmp_path, 1.0)
    arguments = ("--rate", "1000", "--p99-ms", "100", "--duration", "0.5s", "--price", "1", "--json")
    return [sys.executable, "-m", "rowcast", "loadtest", "plan", *arguments, "--repository", str(tmp_path)]


def test_a_plan_is_json_whatever_the_machine_allows_and_leaves_no_service(command, tmp_path):
    before = sorted(file.name for file in (tmp_path / "flights").iterdir())
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=480)
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert (told["rate"], told["p99_ms"], told["exit_code"]) == (1000.0, 100.0, done.returncode)
    assert told["validated"] is (done.returncode == 0)
    if told["reason"] is None:
        assert [one["workers"] for one in told["validation"]] == [1, 2]
        assert told["machines"] * told["workers_per_machine"] >= told["workers"] >= 1
        assert told["cost_per_hour"] == told["machines"]
        assert (told["model"], told["version"]) == ("flights", 1)
    else:  # the machine has too much else to do for a figure to mean anything
        assert (told["workers"], done.returncode) == (None, 1)
        assert done.stderr.splitlines()[-1] == f"rowcast: {told['reason']}"
    assert sorted(file.name for file in (tmp_path / "flights").iterdir()) == before
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in (one.info["cmdline"] or ())]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_plan_that_ends_early_takes_its_service_with_it(command, number, code, tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # a killed plan cannot remove its folder
    plan = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started: list[psutil.Process] = []

    def serves() -> bool:
        started[:] = psutil.Process(plan.pid).children(recursive=True)
        return len(started) >= 3  # what launches it, the supervisor, and a worker

    until(serves, 60.0)
    os.kill(plan.pid, number)
    out, _ = plan.communicate(timeout=60)
    assert (plan.returncode, out) == (code, "")
    psutil.wait_procs(started, timeout=30)
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
