"""A service that listens in a file: ``rowcast serve --host unix:/path/to.sock``.

BentoML's supervisor listens on addresses alone. So the launcher, which checks the path, names it in a variable, and the
supervisor gives circus a socket of that file in place of the one that BentoML wants.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

from rowcast.models.errors import RowcastError

SCHEME = "unix:"
UNIX_SOCKET = "ROWCAST_UNIX_SOCKET"
"""Variable that tells the supervisor the file; no setting."""
_UMASK = 0o117
"""The socket is for its owner and group: who may write to it may ask."""
_LONGEST = 107
"""Bytes of a path, as the kernel has it."""

logger = logging.getLogger("rowcast.service")


def unix_path(host: str) -> Path | None:
    """The file that a host such as ``unix:/run/rowcast.sock`` names, absolute; None for any other host.

    A file that was left by a service that was killed is removed.

    Raises:
        RowcastError: nobody can listen there.
    """
    if not host.startswith(SCHEME):
        return None
    path = Path(host.removeprefix(SCHEME).removeprefix("//")).absolute()
    wrong = _fault(path)
    if wrong is not None:
        raise RowcastError(f"cannot listen on {SCHEME}{path}: {wrong}")
    return path


def _fault(path: Path) -> str | None:
    if len(os.fsencode(path)) > _LONGEST:
        return f"a path must hold at most {_LONGEST} bytes, got {len(os.fsencode(path))}"
    if not path.parent.is_dir():
        return f"the folder {path.parent} must be there: make it"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the folder {path.parent} must be one that this user may write to"
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(mode):
        return "something that is no socket is there: choose another path, or remove it"
    if _answers(path):
        return "somebody listens there already: choose another path, or stop who listens"
    path.unlink()
    return None


def _answers(path: Path) -> bool:
    """Whether somebody listens in a file, or cannot be asked."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


_FILE_URL = re.compile(r"(https?)\+unix:(.*)", re.DOTALL)


def url_of_file(path: Path, *, secure: bool) -> str:
    """What stands for the URL of a service that listens in a file, for :func:`file_of_url`."""
    return f"{'https' if secure else 'http'}+unix:{path}"


def file_of_url(url: str) -> tuple[str, Path] | None:
    """The scheme that is spoken in a file, and the file; None for a URL that is one."""
    match = _FILE_URL.fullmatch(url)
    return (match[1], Path(match[2])) if match else None


class FileConnection(http.client.HTTPConnection):
    """A connection to a service that listens in a file.

    Args:
        path: the file.
        context: for TLS; None for none.
        timeout: seconds.
    """

    def __init__(self, path: Path, context: ssl.SSLContext | None, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._context = context

    def connect(self) -> None:
        """Connect to the file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname="localhost")


def remove_stale(path: Path) -> None:
    """Remove the file of a service that has ended, unless somebody else listens there by now."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()


def listen_in_file(path: Path) -> None:
    """Have BentoML's supervisor, in this process, listen in a file; before it is made."""
    from bentoml._internal.utils.circus import Arbiter  # the launcher needs none of it

    construct, begin = Arbiter.__init__, Arbiter.start

    def in_file(self: Any, *args: Any, **options: Any) -> None:
        sockets = options.get("sockets") or []
        options["sockets"] = [_in_place_of(wanted, path) for wanted in sockets]
        for wanted in sockets:
            wanted.close()
        construct(self, *args, **options)

    def start(self: Any, *args: Any, **options: Any) -> None:
        if "cb" in options:  # BentoML would name the address that it wanted
            options["cb"] = lambda _: logger.info("listening on %s%s", SCHEME, path)
        begin(self, *args, **options)

    Arbiter.__init__ = in_file  # type: ignore[method-assign]
    Arbiter.start = start  # type: ignore[method-assign]


def _in_place_of(wanted: Any, path: Path) -> Any:
    from circus.sockets import CircusSocket

    return CircusSocket(name=wanted.name, path=str(path), umask=_UMASK, backlog=wanted.backlog)
