"""Start ``bentoml serve``, wait until it is ready, say where it is and how to ask it; stop it with this process."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType

from models.errors import ModelNotFound, RowcastError
from models.repository import Repository

READY_WITHIN_SECONDS = 60
_POLL_SECONDS = 0.05
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def launch(repository: Path, *, host: str = "127.0.0.1", port: int = 3000) -> int:
    """Serve the models of a repository until a signal says stop.

    Args:
        repository: folder of models.
        host: address to listen on.
        port: port to listen on.

    Returns:
        0 after Ctrl-C or SIGTERM, otherwise the exit code of the service.

    Raises:
        ModelNotFound: there is nothing to serve.
        RowcastError: the port is taken.
    """
    if not Repository(repository).names():
        raise ModelNotFound(
            f"there is no model in {repository}: make one with `rowcast train TABLE --target COLUMN`, "
            "or name another folder with --repository"
        )
    _check_port(host, port)
    home = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "ROWCAST_REPOSITORY": str(repository.absolute())}
    command = [sys.executable, "-m", "bentoml", "serve", "service:Rowcast", "--working-dir", str(home)]
    # A group of its own: the signal goes to the service once, from here, and not a second time from the terminal.
    service = subprocess.Popen([*command, "--host", host, "--port", str(port)], env=environment, start_new_session=True)
    told_to_stop = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal told_to_stop
        told_to_stop = True
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    try:
        url = _address(host, port)
        if _wait_until_ready(service, url):
            print(_greeting(url), flush=True)
        code = service.wait()
    finally:
        if service.poll() is None:
            service.kill()
            service.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if told_to_stop else code or 1


def _address(host: str, port: int) -> str:
    """The URL under which this machine reaches a service that listens on ``host``."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - listens nowhere
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RowcastError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None


def _wait_until_ready(service: subprocess.Popen[bytes], url: str) -> bool:
    """Whether the service became ready; False when it ended, or takes suspiciously long."""
    give_up = time.monotonic() + READY_WITHIN_SECONDS
    while service.poll() is None and time.monotonic() < give_up:
        try:
            _get(f"{url}/readyz")
        except OSError:  # nobody listens yet, or not ready
            time.sleep(_POLL_SECONDS)
        else:
            return True
    return False


def _greeting(url: str) -> str:
    """Where the service is, and a command for each model that works as pasted."""
    models = json.loads(_get(f"{url}/models"))["models"]
    lines = [f"\nRowcast serves {', '.join(model['name'] for model in models)} on {url} (Ctrl-C stops). Try:\n"]
    for model in models:
        body = json.dumps(model["example"], ensure_ascii=False)
        ask = f"curl {url}/models/{model['name']}/predict -H 'content-type: application/json'"
        lines.append(f"{ask} -d {shlex.quote(body)}\n")
    return "\n".join(lines)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the address is our own
        return bytes(answer.read())
