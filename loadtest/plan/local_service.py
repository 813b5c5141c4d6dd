"""A service on this machine with a chosen number of workers, for as long as it is measured."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rowcast.models.errors import RowcastError

READY_WITHIN_S = 60.0
_ENDED_WITHIN_S = 20.0
_LEFT_OUT = ("ROWCAST_TLS_", "ROWCAST_GRPC_", "ROWCAST_API_KEY", "ROWCAST_ROOT_PATH", "ROWCAST_ACCESS_LOG", "BENTOML_")
"""Settings of a deployment that would keep this process from asking, or would be another one's."""


@contextmanager
def local_service(repository: Path, model: str, workers: int) -> Iterator[str]:
    """Serve one model with so many workers, on other cores than this process, which is the client.

    A worker of a plan has a core, and the client is elsewhere; where the scheduler moves both about, they meet. Where
    there are not that many cores the workers share all but one of them, and the client keeps that one.

    Args:
        repository: holds the model.
        model: ``name:version``.
        workers: of the service.

    Yields:
        its address, once all workers are ready.

    Raises:
        RowcastError: it does not come up; says what it said last.
    """
    with (
        _ending_in_good_order(),
        tempfile.TemporaryDirectory(prefix="rowcast-plan-") as folder,
        socket.socket() as taken,
    ):
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
        environment |= {
            "ROWCAST_WORKERS": str(workers),
            "ROWCAST_MODELS": model,
            "ROWCAST_GRPC_PORT": "off",
        }
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "rowcast", "serve", "--port", str(port), "--repository", str(repository)]
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        apart = len(cores) > 1
        if apart:
            os.sched_setaffinity(0, workers_cores(cores, workers))  # what is started here inherits it
        try:
            with log.open("wb") as out:
                service = subprocess.Popen(
                    command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
                )
        finally:
            if apart:
                os.sched_setaffinity(0, [core for core in cores if core not in workers_cores(cores, workers)])
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(service, url, log)
            time.sleep(0.5 * workers)  # readiness is answered by the first worker
            yield url
        finally:
            if apart:
                os.sched_setaffinity(0, cores)
            service.terminate()
            try:
                service.wait(_ENDED_WITHIN_S)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()


def workers_cores(cores: Sequence[int], workers: int) -> list[int]:
    """Which cores workers have: one each, but never the last that is left for the client."""
    return list(cores[-min(workers, len(cores) - 1) :])


@contextmanager
def _ending_in_good_order() -> Iterator[None]:
    """Have SIGTERM end this process as Ctrl-C does, so that no service outlives it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_until_ready(service: subprocess.Popen[bytes], url: str, log: Path) -> None:
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the environment says
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up:
        if service.poll() is not None:
            raise RowcastError(f"the service did not start: {_last_line(log)}")
        try:
            with directly.open(f"{url}/readyz", timeout=1):
                return
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.1)
    raise RowcastError(f"the service was not ready within {READY_WITHIN_S:g} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
