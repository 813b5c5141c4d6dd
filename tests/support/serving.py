"""`rowcast serve` as a process of its own, for as long as a test or a proof needs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port


@contextmanager
def served(repository: Path, home: Path, *, workers: int = 1) -> Iterator[tuple[str, str]]:
    """Serve a repository from the working directory ``home``; stops with Ctrl-C and leaves nothing.

    Yields:
        the address, and everything printed up to the greeting's first curl command.
    """
    port = free_port()
    settings = {"BENTOML_HOME": str(home / "bentoml"), "ROWCAST_WORKERS": str(workers), "ROWCAST_GRACE": "0"}
    settings["ROWCAST_GRPC_PORT"] = "off"
    process = subprocess.Popen(
        [sys.executable, "-m", "rowcast", "serve", "--port", str(port), "--repository", str(repository)],
        env={**os.environ, **settings},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    greeting: list[str] = []
    assert process.stdout is not None
    for text in process.stdout:
        greeting.append(text)
        if text.startswith("curl "):
            break
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    drain.start()
    try:
        yield f"http://127.0.0.1:{port}", "".join(greeting)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
        drain.join(5)
        process.stdout.close()
    assert code == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return once ``/readyz`` says yes.

    Raises:
        AssertionError: the process ended, or it takes longer than ``seconds``.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        assert process.poll() is None, f"the service ended with code {process.returncode}"
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the service was not ready within {seconds} seconds")


def ask(url: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predictions of the one served model for rows."""
    request = urllib.request.Request(
        f"{url}/predict", json.dumps({"rows": rows}).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.load(answer)["predictions"])
