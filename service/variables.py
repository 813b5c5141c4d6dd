"""The variables that settings are read from: the environment, and under it the ``.env`` of one folder."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from rowcast.models.errors import ConfigError

PREFIX = "ROWCAST_"
ENV_FILE = ".env"
TRACING_PREFIX = "OTEL_"
INTERNAL = (
    "ROWCAST_LAUNCHED_BY",
    "ROWCAST_LAUNCHERS_HOME",
    "ROWCAST_SUPERVISED_BY",
    "ROWCAST_SETTLED_BY",
    "ROWCAST_CATALOG",
    "ROWCAST_UNIX_SOCKET",
)
"""What one process of a service tells the next; no settings."""
CLIENT_KEY = "ROWCAST_API_KEY"
"""The key that a client sends; no setting of the service."""
_BENCHMARKS = "ROWCAST_BENCH_"
_HINTS = {
    "ROWCAST_PORT": "the port is an option: --port",
    "ROWCAST_HOST": "the address is an option: --host",
}
_SERVICE_LINK = re.compile(
    r"ROWCAST_([A-Z0-9_]*_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
"""What Kubernetes and Docker set for a service whose own name is rowcast, or begins so."""
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETTING_INSIDE = re.compile(rf"^\s*(export\s+)?{PREFIX}\w+\s*=", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, and where it was set."""

    value: str
    file: Path | None = None
    """The ``.env`` that sets it; None: the environment does."""

    @property
    def where(self) -> str:
        """For a message: nothing, or the file."""
        return "" if self.file is None else f" (in {self.file})"


@dataclass(frozen=True, slots=True)
class Variables:
    """Every variable that may be meant for Rowcast or its traces, under its name in capitals.

    Relative paths in them are relative to :attr:`folder`.
    """

    folder: Path
    values: Mapping[str, Variable]

    @classmethod
    def read(cls, folder: Path, *, env_file: bool = True) -> Variables:
        """The variables of a process that is started in ``folder``.

        Args:
            folder: its ``.env`` is read, if there is one.
            env_file: False for the environment alone.

        Raises:
            ConfigError: ``.env`` is there and cannot be read.
        """
        found: dict[str, Variable] = {}
        if env_file:
            file = folder / ENV_FILE
            found = {name.upper(): Variable(value, file) for name, value in _of_file(file).items()}
        found |= {name.upper(): Variable(value) for name, value in os.environ.items()}
        ours = {
            name: variable
            for name, variable in found.items()
            if name.startswith((PREFIX.rstrip("_"), TRACING_PREFIX)) and not _is_service_link(name, variable.value)
        }
        return cls(folder, ours)

    def path(self, text: str) -> Path:
        """The absolute path that a variable's value means.

        Raises:
            ConfigError: no file can be there.
        """
        try:
            if "\0" in text:
                raise RuntimeError("it holds a NUL")
            return self.folder.absolute() / Path(text).expanduser()
        except RuntimeError as error:  # ~nobody, who has no home
            raise ConfigError(f"a path of a setting must be one of a file, got {text!r}: {error}") from None

    def tracing(self) -> dict[str, str]:
        """OpenTelemetry's variables."""
        return {name: variable.value for name, variable in self.values.items() if name.startswith(TRACING_PREFIX)}

    def unknown(self, known: Collection[str]) -> list[str]:
        """A sentence for each variable of Rowcast's prefix that nothing heeds.

        Args:
            known: the names of the settings.
        """
        sentences = []
        for name, variable in sorted(self.values.items()):
            if (
                name in known
                or name in INTERNAL
                or name == CLIENT_KEY
                or name.startswith((_BENCHMARKS, TRACING_PREFIX))
            ):
                continue
            near = get_close_matches(name, known, 1, 0.75)
            hint = _HINTS.get(name) or (f"did you mean {near[0]}?" if near else "the README lists the settings")
            sentences.append(f"{name}{variable.where} is not a setting, so it does nothing: {hint}")
        return sentences


def _of_file(file: Path) -> dict[str, str]:
    """What a ``.env`` sets. One that is there and is not heeded would leave a service open, so it must be readable."""
    try:
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):  # of an environment for Python, as some call it
            return {}
        if not stat.S_ISREG(mode):  # a pipe could be read by one process only
            raise OSError(errno.EINVAL, "it is not a plain file")
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if not file.is_symlink():
            return {}
        raise _unreadable(file, "it is a link to nothing") from None
    except OSError as error:
        raise _unreadable(file, str(error.strerror)) from None
    except UnicodeDecodeError:
        raise _unreadable(file, "it is not UTF-8") from None
    for binding in parse_stream(StringIO(text)):
        if not _is_clear(binding):
            raise ConfigError(
                f"{file} must hold NAME=VALUE in each line that names a setting of {PREFIX}..., and close every quote, "
                f"got something else from line {binding.original.line} on: the setting would do nothing"
            )
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


def _unreadable(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{file} must be a readable file of settings, got: {why}; start the service in another folder, or mend it"
    )


def _is_clear(binding: Binding) -> bool:
    """Whether a line of ``.env`` sets what it seems to set, as far as settings of ours go."""
    if binding.key is None:
        return not binding.error or PREFIX not in binding.original.string.upper()
    if PREFIX in binding.key.upper() and not _NAME.fullmatch(binding.key):  # a blank that is not seen, a colon
        return False
    return _SETTING_INSIDE.search(binding.value or "") is None


def _is_service_link(name: str, value: str) -> bool:
    return _SERVICE_LINK.fullmatch(name) is not None or _LINK_VALUE.match(value) is not None
