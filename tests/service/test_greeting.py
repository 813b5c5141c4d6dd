"""The greeting of ``rowcast serve`` may fail in any way: the service runs on, and a line says what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rowcast.service.process import greeting
from rowcast.service.settings import Settings
from tests.service.servers import ROOT

ODD_ANSWERS = (
    b"HTTP/1.0 200 OK\r\n\r\n<html>Please log in to the proxy</html>",
    b"HTTP/1.0 200 OK\r\n\r\n[]",
    b'HTTP/1.0 200 OK\r\n\r\n{"models": [{}]}',
    b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe",
    b"HTTP/1.0 500 OK\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{",
    b"nonsense\r\n",
    b"",
)


@contextmanager
def answering(answer: bytes, not_ready: int = 0) -> Iterator[str]:
    """A server that is ready after some refusals, and then answers everything with the same bytes; yields its URL."""
    left = not_ready

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal left
            if self.path != "/readyz":
                self.wfile.write(answer)
            elif left:
                left -= 1
                self.wfile.write(b"HTTP/1.0 503 Later\r\n\r\n")
            else:
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_an_odd_answer_is_told_in_one_line(answer: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with answering(answer) as url:
        greeting._greet(url, Settings(), lambda: True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"rowcast: the service on {url} is ready, but did not say what it serves (")
    assert err.endswith("); it runs on\n")
    assert err.count("\n") == 1


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with answering(b'HTTP/1.0 200 OK\r\n\r\n{"models": [{"name": "flights", "example": {}}]}') as url:
        assert greeting.greeting(url, Settings()).startswith(f"\nRowcast serves flights on {url} (Ctrl-C stops). Try:")


def test_a_slow_start_is_told_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(greeting, "READY_WITHIN_SECONDS", 0.05)
    with answering(b'HTTP/1.0 200 OK\r\n\r\n{"models": []}', not_ready=4) as url:
        greeting._greet(url, Settings(), lambda: True)
    out, err = capfd.readouterr()
    assert (
        f"rowcast: the service on {url} is not ready after 0 s (HTTPError: HTTP Error 503: Later); still waiting" in err
    )
    assert out.startswith("\nRowcast serves ")


def test_it_ends_with_the_service() -> None:
    greeting._greet("http://127.0.0.1:9", Settings(), lambda: False)


SAY = """
import os, sys
from rowcast.service.process import greeting
from rowcast.service.settings import Settings
from pathlib import Path
greeting.open_standard_streams()
greeting._greet(sys.argv[1], Settings(), lambda: True)
assert os.open("own", os.O_CREAT) > 2
"""


@pytest.mark.parametrize("output", [">&-", ">/dev/full", "| true", ">&- 2>&-", "<&- >&- 2>&-"])
def test_an_output_that_takes_nothing_is_no_reason_to_end(output: str, tmp_path: Path) -> None:
    with answering(b'HTTP/1.0 200 OK\r\n\r\n{"models": []}') as url:
        line = f'sleep .1; "$@" {output}; echo "${{PIPESTATUS[0]}}" >code'
        say = ["bash", "-c", line, "bash", sys.executable, "-c", SAY, url]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(say, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (tmp_path / "code").read_text() == "0\n"
    told = f"rowcast: the service on {url} is ready; the greeting could not be printed, and it runs on\n"
    assert done.stderr == (told if output in (">/dev/full", "| true") else "")
