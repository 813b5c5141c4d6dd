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

from rowcast.loadtest.served import NotServed
from rowcast.models.machine.limits import usable_cores

READY_WITHIN_S = 60.0
_ENDED_WITHIN_S = 20.0
_SERVE = """
import signal, sys
from rowcast.models.machine.parent import end_with
if end_with(int(sys.argv.pop(1)), signal.SIGTERM):
    from rowcast.cli import main
    main()
"""
"""``rowcast serve`` that ends with this process, however it goes."""
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
        NotServed: it does not come up; says what it said last.
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
        arguments = ["serve", "--port", str(port), "--repository", str(repository)]
        command = [sys.executable, "-c", _SERVE, str(os.getpid()), *arguments]
        clients, theirs = _cores(workers)
        with _on(theirs), log.open("wb") as out:  # what is started inherits it
            service = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            with _on(clients):
                url = f"http://127.0.0.1:{port}"
                _wait_until_ready(service, url, log)
                time.sleep(0.5 * workers)  # readiness is answered by the first worker
                yield url
        finally:
            service.terminate()
            try:
                service.wait(_ENDED_WITHIN_S)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()


def shared_out(cores: Sequence[int], workers: int) -> tuple[list[int], list[int]]:
    """The cores of the client and those of the workers: one for each of these, but never the last that is left.

    On one core all run there.
    """
    if len(cores) == 1:
        return list(cores), list(cores)
    n = min(workers, len(cores) - 1)
    return list(cores[:-n]), list(cores[-n:])


def _cores(workers: int) -> tuple[list[int], list[int]]:
    """The cores of the client and those of the workers; none where the system does not let them be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return [], []
    return shared_out(sorted(os.sched_getaffinity(0))[: usable_cores()], workers)


@contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and what it starts, on these cores; without any it stays where it is."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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
            raise NotServed(f"the service did not start: {_last_line(log)}")
        try:
            with directly.open(f"{url}/readyz", timeout=1):
                return
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.1)
    raise NotServed(f"the service was not ready within {READY_WITHIN_S:g} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
