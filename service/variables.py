"""The variables that settings are read from: the environment, and under it the ``.env`` of one folder."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from models.errors import ConfigError

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
        """The absolute path that a variable's value means."""
        return self.folder.absolute() / Path(text).expanduser()

    def tracing(self) -> dict[str, str]:
        """OpenTelemetry's variables."""
        return {name: variable.value for name, variable in self.values.items() if name.startswith(TRACING_PREFIX)}

    def unknown(self, known: Collection[str]) -> list[str]:
        """A sentence for each variable of Rowcast's prefix that nothing heeds.

        Args:
            known: the names of the settings.
        """
        told = []
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
            told.append(f"{name}{variable.where} is not a setting, so it does nothing: {hint}")
        return told


def _of_file(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    try:
        return {name: value or "" for name, value in dotenv_values(file, encoding="utf-8-sig").items()}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{file} must be a readable file of settings, got: {why}; start the service in another folder, or mend it"
        ) from None


def _is_service_link(name: str, value: str) -> bool:
    return _SERVICE_LINK.fullmatch(name) is not None or _LINK_VALUE.match(value) is not None
