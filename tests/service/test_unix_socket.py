"""``rowcast serve --host unix:/path``: a file in place of an address, and no file of anybody else's is touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from rowcast.models.errors import RowcastError
from rowcast.service.http.unix_socket import unix_path
from tests.service.hostile_payloads import GOOD
from tests.service.servers import NO_TLS, ROOT, environment


@contextmanager
def launched(
    repository: Path, home: Path, host: str, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running ``rowcast serve`` in the folder ``home``, once it has greeted, and its log."""
    command = [sys.executable, "-m", "rowcast", "serve", "--host", host, "--repository", str(repository)]
    env = {**environment(home, workers="2", grace="0", **settings), "PYTHONPATH": str(ROOT)}
    del env["BENTOML_HOME"]
    log = home / "log.txt"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while "Ctrl-C stops" not in log.read_text() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert "Ctrl-C stops" in log.read_text(), log.read_text()
        yield process, log
    finally:
        process.kill()  # all it started ends with it
        process.wait(30)


def asking(path: Path, **options: object) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path), verify=NO_TLS), timeout=30, **options)  # type: ignore[arg-type]


def may_change(client: httpx.Client, url: str) -> bool:
    """Whether a service without keys takes a caller for one who may change what is served, to a version that is not
    there."""
    parameters = {"parameters": {"version": "9"}}
    answer = client.post(f"{url}/v2/repository/models/flights/load", json=parameters)
    assert answer.status_code in (400, 403), answer.text
    return answer.status_code == 400


def test_a_service_listens_in_a_file_and_nowhere_else(one_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rowcast.sock"
    with launched(one_model, tmp_path, "unix:rowcast.sock") as (process, log):
        mode = file.lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
        with asking(file, base_url="http://x") as client:
            for _ in range(3):
                answer = client.post("/predict", content=GOOD, headers={"content-type": "application/json"})
                assert answer.status_code == 200
                assert client.get("/models").json()["models"][0]["name"] == "flights"
            assert may_change(client, "http://x")
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            assert one.net_connections("inet") == []
        text = log.read_text()
        assert f"on unix:{file} (Ctrl-C stops)" in text
        assert "http://127.0.0.1" not in text
        command = re.search(rf"^curl --unix-socket {re.escape(str(file))} http://localhost/.*$", text, re.MULTILINE)
        assert command
        if shutil.which("curl"):
            said = subprocess.run(["sh", "-c", command[0]], capture_output=True, text=True, check=True, timeout=30)
            assert json.loads(said.stdout)["predictions"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not file.exists()


def test_tls_is_spoken_in_a_file_too(one_model: Path, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    file = tmp_path / "rowcast.sock"
    tls = {"tls_cert": str(certificate[0]), "tls_key": str(certificate[1])}
    with launched(one_model, tmp_path, f"unix:{file}", **tls) as (_, log):
        assert f"curl --unix-socket {file} https://localhost/models/flights/predict" in log.read_text()
        transport = httpx.HTTPTransport(uds=str(file), verify=ssl.create_default_context(cafile=certificate[0]))
        with httpx.Client(transport=transport, timeout=30) as client:
            assert client.get("https://127.0.0.1/livez").status_code == 200
            assert may_change(client, "https://127.0.0.1")


def test_the_file_of_a_service_that_was_killed_is_replaced(one_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rowcast.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(file))
        left.listen()
    assert file.exists()
    assert unix_path(f"unix:{file}") == file
    assert not file.exists()


def listening(file: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(file))
    listener.listen()
    return listener


def linked(file: Path) -> None:
    (file.parent / "other").write_text("precious")
    file.symlink_to(file.parent / "other")


def identity(file: Path) -> tuple[int, ...]:
    """What must stay of a file; the time it was last read must not: a connection to a socket counts as a reading."""
    found = file.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: file.write_text("precious"), "something that is no socket is there"),
        (lambda file: file.mkdir(), "something that is no socket is there"),
        (linked, "something that is no socket is there"),
        (os.mkfifo, "something that is no socket is there"),
        (listening, "somebody listens there already"),
    ],
    ids=["a file", "a folder", "a link", "a pipe", "somebody who listens"],
)
def test_what_is_there_is_left_alone(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    file = tmp_path / "rowcast.sock"
    kept = make(file)
    try:
        before = identity(file)
        with pytest.raises(RowcastError, match=words):
            unix_path(f"unix:{file}")
        assert identity(file) == before
    finally:
        if isinstance(kept, socket.socket):
            kept.close()


def test_a_path_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RowcastError, match=r"the folder .*/nowhere must be there: make it"):
        unix_path(f"unix:{tmp_path}/nowhere/rowcast.sock")
    with pytest.raises(RowcastError, match="a path must hold at most 107 bytes, got"):
        unix_path(f"unix:{tmp_path}/{'a' * 120}")
    assert unix_path("127.0.0.1") is None
