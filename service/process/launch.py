"""Start ``bentoml serve``, wait until it is ready, say where it is and how to ask it; stop it with this process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from rowcast.models.errors import ConfigError, ModelNotFound, RowcastError
from rowcast.models.repository import Repository
from rowcast.service.http.unix_socket import UNIX_SOCKET, remove_stale, unix_path, url_of_file
from rowcast.service.platform_variables import EnvironmentRefused, port_of
from rowcast.service.process.greeting import greet_when_ready, open_standard_streams, warn
from rowcast.service.process.parent import LAUNCHED_BY, LAUNCHERS_HOME
from rowcast.service.process.settle import settle

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The last comes when the terminal is closed."""
_LOOK_SECONDS = 0.5
_STOP_WITHIN_SECONDS = 9
"""How long a service that is no longer wanted gets before it is killed, beyond its grace."""


def launch(repository: Path, *, host: str = "127.0.0.1", port: int | None = None) -> int:
    """Serve the models of a repository until a signal says stop.

    Args:
        repository: folder of models.
        host: address to listen on, or ``unix:/path`` for a file.
        port: port to listen on; None for the one that a platform's variables name, or else 3000.

    Returns:
        0 after Ctrl-C or SIGTERM, otherwise the exit code of the service.

    Raises:
        ModelNotFound: there is nothing to serve.
        ConfigError: a setting breaks its rule.
        RowcastError: the port is taken.
    """
    open_standard_streams()
    environment = {**os.environ, LAUNCHED_BY: str(os.getpid())}
    settings, doubts = settle(Path.cwd(), environment, repository=repository.absolute())
    for doubt in doubts:
        warn(doubt)
    if port is None:
        port = _platforms_port()
    if not Repository(repository).names():
        raise ModelNotFound(
            f"there is no model in {repository}: make one with `rowcast train TABLE --target COLUMN`, "
            "or name another folder with --repository"
        )
    file = unix_path(host)
    if file is None:
        host = checked_address(host, port)
        environment.setdefault("ROWCAST_GRPC_HOST", host)
        environment.pop(UNIX_SOCKET, None)
    else:
        host = "127.0.0.1"  # for BentoML, which wants an address
        environment[UNIX_SOCKET] = str(file)
    home = (
        Path(str(sys.modules["rowcast"].__file__)).resolve().parents[1]
    )  # holds the package: a checkout or site-packages
    command = [sys.executable, "-m", "bentoml", "serve", "rowcast.service:Rowcast", "--working-dir", str(home)]
    command += ["--host", host, "--port", str(port)]
    service: subprocess.Popen[bytes] | None = None
    stopping = False
    stop_by: float | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping, stop_by
        if service is None or service.poll() is not None:
            pass
        elif stopping:  # by someone in a hurry: the workers stop when their supervisor is gone
            service.kill()
        else:
            service.send_signal(signal.SIGTERM)
            stop_by = time.monotonic() + settings.grace + _STOP_WITHIN_SECONDS
        stopping = True

    # A shell ignores SIGINT for what it runs in the background, where kill -INT is to stop the service all the same;
    # a closed terminal is ignored for nohup, and that is meant.
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heeded = [number for number in _STOP_SIGNALS if not (nohup and number == signal.SIGHUP)]
    before = {number: signal.signal(number, stop) for number in heeded}
    # BentoML keeps its metrics in files under its home, and a second service that shares them deletes them.
    with tempfile.TemporaryDirectory(prefix="rowcast-", ignore_cleanup_errors=True) as own_home:
        environment.setdefault("BENTOML_HOME", own_home)
        environment[LAUNCHERS_HOME] = own_home
        try:
            # A group of its own: the signal goes to the service once, from here, and not again from the terminal.
            service = subprocess.Popen(command, env=environment, start_new_session=True)
            secure = settings.certificate is not None
            url = _address(host, port, secure=secure) if file is None else url_of_file(file, secure=secure)
            if stopping:  # before there was a process to tell
                service.terminate()
                stop_by = time.monotonic() + settings.grace + _STOP_WITHIN_SECONDS
            else:
                greet_when_ready(url, settings, lambda: service.returncode is None)
            while (code := service.poll()) is None:
                if stop_by is not None and time.monotonic() > stop_by:  # it hangs, or somebody stopped it
                    service.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    service.wait(_LOOK_SECONDS)
        finally:
            if service is not None:
                _end(service)
            if file is not None:
                remove_stale(file)
            for number, handler in before.items():
                signal.signal(number, handler)
    return 0 if stopping else code or 1


def _platforms_port() -> int:
    try:
        port, why = port_of(os.environ)
    except EnvironmentRefused as error:
        raise ConfigError(str(error)) from None
    if why:
        warn(f"port {port}: {why}; --port chooses another")
    return port


def _end(service: subprocess.Popen[bytes]) -> None:
    """Make sure that the service has ended: in good order if it will."""
    if service.poll() is None:
        service.terminate()
    try:
        service.wait(_STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()


def _address(host: str, port: int, *, secure: bool) -> str:
    """The URL under which this machine reaches a service that listens on ``host``."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - listens nowhere
    scheme = "https" if secure else "http"
    return f"{scheme}://[{reached}]:{port}" if ":" in reached else f"{scheme}://{reached}:{port}"


def checked_address(host: str, port: int) -> str:
    """The numeric address of ``host``, which BentoML wants, once it is sure that the port can be listened on.

    Raises:
        RowcastError: there is no such host, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # localhost is often both: callers try 127.0.0.1
        family, address = min((family, address) for family, _, _, _, address in found)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        wrong = "host" if isinstance(error, socket.gaierror) else "port"
        raise RowcastError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --{wrong}") from None
    return str(address[0])
