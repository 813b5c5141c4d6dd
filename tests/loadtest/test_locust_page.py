"""The Locust file with Locust's own page, as a user of it starts, stops and starts runs again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.loadtest.stub import Reply, serving
from tests.service.processes import until
from tests.support.ports import free_port

CLONE = Path(__file__).parents[2]

pytestmark = pytest.mark.alone

REFUSED = [
    ("user_rate", "-1", "--user-rate: must be a number above 0, got '-1'"),
    ("user_rate", "0", "--user-rate: must be a number above 0, got '0'"),
    ("user_rate", "nan", "--user-rate: must be a number above 0, got 'nan'"),
    ("user_rate", "fast", "--user-rate: must be a number above 0, got 'fast'"),
    ("ramp", "nan", "--ramp: must be a positive number and s, m or h, such as 60s or 30m, got 'nan'"),
    ("ramp", "-5", "--ramp: must be a positive number and s, m or h, such as 60s or 30m, got '-5'"),
    ("rows", "abc", "--rows: must be whole numbers from 1 on, such as 1 or 1,8,64, got 'abc'"),
    ("rows", "0", "--rows: must be whole numbers from 1 on, such as 1 or 1,8,64, got '0'"),
    ("protocol", "foo", "--protocol: must be one of rows, v2, grpc, arrow, got 'foo'"),
    ("model", "A/B", "--model: a model is NAME, NAME@ALIAS or NAME:VERSION, and its name 1 to 64 of a-z, 0-9, '_' and"),
    ("promise_p99_ms", "-1", "--promise-p99-ms: must be a number above 0, got '-1'"),
    ("promise_p9_9ms", "-1", "--promise-p99-ms: must be a number above 0, got '-1'"),  # as the page's script names it
    ("promise_errors", "3", "--promise-errors: must be a share from 0 to less than 1, such as 0.1% or 0.001, got '3'"),
]


class Page:
    """Locust's page, asked as its script asks."""

    def __init__(self, port: int, host: str, process: subprocess.Popen) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.host = host
        self.process = process

    def swarm(self, **options: str) -> dict:
        """Start a run of two users with these fields."""
        return self._post("/swarm", {"user_count": "2", "spawn_rate": "2", "host": self.host, **options})

    def stop(self) -> dict:
        return self._post("/stop", {})

    def figures(self) -> dict:
        with urlopen(f"{self.url}/stats/requests", timeout=30) as answer:
            return json.load(answer)

    def ready(self, workers: int) -> bool:
        try:
            return len(self.figures().get("workers", ())) == workers
        except (URLError, ConnectionError):
            return False

    def _post(self, path: str, fields: dict[str, str]) -> dict:
        with urlopen(Request(self.url + path, urlencode(fields).encode(), method="POST"), timeout=30) as answer:
            return json.load(answer)

    def leave(self) -> tuple[int, str]:
        """End Locust: its exit code, and its log.

        Ctrl-C would be an exception in whatever it does just then, such as the end of the answer before.
        """
        self.process.terminate()
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log


@contextmanager
def page_of(host: str, *arguments: str, workers: int = 0) -> Iterator[Page]:
    port = free_port()
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--host", host]
    command += ["--web-host", "127.0.0.1", "--web-port", str(port), *arguments]
    members = []
    piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "text": True, "cwd": CLONE}
    if workers:
        master = str(free_port())
        command += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", master]
    try:
        members.append(subprocess.Popen(command, stderr=subprocess.PIPE, **piped))
        for _ in range(workers):
            worker = [*command[:5], "--worker", "--master-host", "127.0.0.1", "--master-port", master]
            members.append(subprocess.Popen(worker, stderr=subprocess.DEVNULL, **piped))
        page = Page(port, host, members[0])
        until(lambda: page.ready(workers), 30.0)
        yield page
        for member in members[1:]:
            member.wait(30)  # the master has told it
    finally:
        for member in members:
            if member.poll() is None:
                member.kill()
            member.wait()
            if member.stderr:
                member.stderr.close()


def test_what_the_help_gives_as_examples_is_taken_by_the_page():
    with serving() as stub, page_of(stub.url) as page:
        options = {"ramp": "30s", "promise_errors": "0.1%", "user_rate": "20.5", "rows": "1,8", "protocol": "rows"}
        assert page.swarm(**options)["success"]
        until(lambda: len(stub.asked) > 30, 60.0)
        assert page.stop()["success"]
        code, log = page.leave()
    assert (code, "Traceback" in log) == (0, False), log
    assert {len(rows) for rows in stub.asked} == {1, 8}


def test_the_fields_as_the_page_shows_them_start_a_run_without_a_promise():
    with serving() as stub, page_of(stub.url) as page:
        with urlopen(page.url, timeout=30) as answer:
            shown = json.loads(re.search(r"window.templateArgs = (\{.*\})", answer.read().decode())[1])
        fields = {name: option["default_value"] or "" for name, option in shown["extra_options"].items()}
        assert fields["promise_p99_ms"] == ""
        fields["promise_p9_9ms"] = fields.pop("promise_p99_ms")
        assert page.swarm(**fields)["success"]
        until(lambda: len(stub.asked) > 5, 30.0)
        page.stop()
        code, log = page.leave()
    assert (code, "Traceback" in log, "p99 is" in log) == (0, False, False)


@pytest.mark.parametrize("field", ["promise_p99_ms", "promise_p9_9ms"])
def test_a_promise_of_the_page_decides_the_exit_code(field):
    with serving() as stub, page_of(stub.url) as page:
        assert page.swarm(**{field: "0.001", "user_rate": "50"})["success"]
        until(lambda: len(stub.asked) > 5, 30.0)
        page.stop()
        code, log = page.leave()
    assert code == 1
    assert re.search(r"^BROKEN p99 is .* ms of 0.001 ms, 0 of \d+ requests failed$", log, re.MULTILINE)


@pytest.mark.parametrize(("workers", "refused"), [(0, REFUSED), (1, REFUSED[:1])], ids=["one process", "a worker"])
def test_what_the_command_line_refuses_is_refused_by_the_page_in_the_same_words(workers, refused):
    with serving() as stub, page_of(stub.url, "--promise-p99-ms", "5000", workers=workers) as page:
        for name, value, told in refused:
            answer = page.swarm(**{name: value})
            assert not answer["success"], name
            assert answer["message"].startswith(told)
        assert not stub.asked
        assert page.swarm()["success"], "nothing of it stays"
        until(lambda: len(stub.asked) > 5, 30.0)
        assert not page.swarm(user_rate="-1")["success"]
        before = len(stub.asked)
        until(lambda: len(stub.asked) > before + 20, 30.0)  # a run that goes on goes on
        page.stop()
        code, log = page.leave()
    assert (code, "Traceback" in log) == (0, False), log
    assert re.search(r"^KEPT p99 is .* of 5000 ms, 0 of \d+ requests failed$", log, re.MULTILINE)


def test_a_promise_is_void_where_no_run_was_started():
    with serving() as stub, page_of(stub.url, "--promise-p99-ms", "5000") as page:
        assert not page.swarm(user_rate="-1")["success"]
        code, log = page.leave()
    assert (code, "VOID no request was sent" in log) == (3, True)


# What has not come by the page: a file that sets an option itself, a rate beyond all that can be sent.

SETS_OPTIONS = """
from locust import events
from rowcast.loadtest.locustfile import *

@events.test_start.add_listener
def set_options(environment, **_):
    vars(environment.parsed_options).update({options})
"""
ONE_OF_FEW = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from rowcast.loadtest.by_hand import open_loop
open_loop.UNDER_WAY, open_loop.UNSENT = 20, 50
from rowcast.loadtest.locustfile import *
"""


def headless(file: Path, text: str, url: str, *arguments: str) -> tuple[int, dict[str, dict], str]:
    """Run a Locust file of one's own for three seconds: exit code, figures by request name, and log."""
    file.write_text(text)
    command = [sys.executable, "-m", "locust", "-f", str(file), "--host", url, "--headless", "--json"]
    command += ["-u", "2", "-r", "2", "-t", "3s", *arguments]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, timeout=90, check=False)
    return done.returncode, {entry["name"]: entry for entry in json.loads(done.stdout)}, done.stderr


@pytest.mark.parametrize(
    ("options", "promise", "code", "verdict"),
    [
        ({"user_rate": -1.0}, (), 1, ""),
        ({"user_rate": -1.0}, ("--promise-p99-ms", "50"), 3, "VOID no request was sent"),
        ({"rows": "abc"}, (), 1, ""),
        ({"promise_p99_ms": "nan"}, (), 3, "VOID --promise-p99-ms: must be a number above 0, got 'nan'"),
    ],
)
def test_a_user_whose_options_say_nothing_stops_and_that_is_a_failure(options, promise, code, verdict, tmp_path):
    with serving() as stub:
        text = SETS_OPTIONS.format(options=options)
        came, figures, log = headless(tmp_path / "locustfile.py", text, stub.url, *promise)
    assert came == code
    assert set(figures) == {"options"}
    assert figures["options"]["num_failures"] == 2
    assert re.search(rf"^{re.escape(verdict)}$", log, re.MULTILINE)
    assert not stub.asked


def test_a_rate_beyond_all_that_can_be_sent_ends_when_the_run_does(tmp_path):
    def hang(n: int, reply: Reply) -> None:
        reply.delay_s = 600.0

    with serving(hang) as stub:
        options = ("--user-rate", "1e300", "--promise-p99-ms", "400")
        code, figures, log = headless(tmp_path / "locustfile.py", ONE_OF_FEW, stub.url, *options)
    assert code == 1
    assert figures["/models/flights/predict"]["num_failures"] in (20 + 50, 2 * (20 + 50)), "of a user, or of both"
    assert "more than 50 requests of a user were due and never sent: further ones are not counted" in log
