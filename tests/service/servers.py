"""A real ``bentoml serve`` in a process of its own, stopped with all its workers."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil

from rowcast.models.repository import Repository
from tests.support import handmade
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP: without it, httpx reads the machine's certificate authorities for each client, in 40 ms."""


def publish_flights(repository: Path, versions: int = 1) -> None:
    for _ in range(versions):
        Repository(repository).publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})


def publish_delay(repository: Path) -> None:
    graph = handmade.graph(handmade.REGRESSION)
    Repository(repository).publish("delay", handmade.manifest(handmade.REGRESSION), {"model.onnx": graph})


UNSET = ""


def command(port: int, service: str = "rowcast.service:Rowcast") -> list[str]:
    return [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port)]


def environment(home: Path, **settings: str) -> dict[str, str]:
    """An environment in which BentoML writes under ``home`` only, and sends nothing home.

    gRPC is off unless asked for: its default port is one for all. A setting that is :data:`UNSET` is left out.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "BENTOML_"))}
    home.mkdir(parents=True, exist_ok=True)
    own = {"BENTOML_HOME": str(home), "TMPDIR": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    settings = {"grpc_port": "off", **settings}
    return kept | own | {f"ROWCAST_{name.upper()}": value for name, value in settings.items() if value != UNSET}


class Server:
    """A running service."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, verify=NO_TLS)

    def post(self, path: str, body: bytes, content_type: str = "application/json", **headers: str) -> httpx.Response:
        sent = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url + path, content=body, headers=sent, timeout=30, verify=NO_TLS)

    def predict(self, path: str, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        """The predictions of some rows."""
        answer = self.post(path, json.dumps({"rows": rows}).encode())
        assert answer.status_code == 200, answer.text
        return list(answer.json()["predictions"])

    def run_rows(self) -> int:
        """Rows that a run of the only model is filled up to."""
        found = re.search(r"in runs of up to (\d+) rows", self.log.read_text())
        assert found, self.log.read_text()
        return int(found[1])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready in {START_SECONDS} s:\n{self.log.read_text()}")


@contextmanager
def serving(
    repository: Path,
    home: Path,
    variables: Mapping[str, str] = MappingProxyType({}),
    service: str = "rowcast.service:Rowcast",
    port: int | None = None,
    before: Sequence[str] = (),
    **settings: str,
) -> Iterator[Server]:
    """A service of ``repository`` on a port of the loopback, with more environment variables if need be.

    Args:
        before: arguments of a Python program that becomes the one that follows.
    """
    settings = {"repository": str(repository), "workers": "1", "grace": "0", **settings}
    port = port or free_port()
    env = {**environment(home, **settings), **variables}
    log = home / "log.txt"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, *before, *command(port, service)[1:]],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(process, port, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the supervisor and every worker; none is left, however they take it."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)
    for member in psutil.wait_procs(family, timeout=10)[1]:
        member.kill()
