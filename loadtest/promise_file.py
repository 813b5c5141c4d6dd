"""``promise.toml`` beside the versions of a model: what it promises; and the record of when that was kept.

The record, ``promise-kept.jsonl``, has a JSON object a line, the newest last: a promise is kept by one graph, with one
version of Rowcast, on one machine.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rowcast.loadtest.machine import described
from rowcast.loadtest.verdict import Verdict
from rowcast.models.access import checked_address
from rowcast.models.durations import as_float, seconds
from rowcast.models.errors import ConfigError
from rowcast.models.listing import is_absent
from rowcast.models.plain_files import append_plain, read_plain
from rowcast.models.printable import brief
from rowcast.models.shares import share
from rowcast.models.version import VERSION

PROMISE_FILE, KEPT_FILE = "promise.toml", "promise-kept.jsonl"
_MAX_BYTES = 2**16
_MAX_KEPT_BYTES, _MAX_ENTRY = 2**26, 2**14
"""Of the record, and characters of a line of it."""
_KEYS = {"rate": True, "p99_ms": True, "duration": True, "errors": False}
"""What the file holds, and whether it has to."""

_FLAT, _GROUPS = (
    {"time", "model", "version", "sha256", "rowcast", "client", "local"},
    {"machine", "promise", "measured"},
)
"""Keys of an entry of the record: of plain values, and of objects of such."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a model promises."""

    rate: float
    """Requests a second."""
    p99_ms: float
    duration_s: float
    errors: float = 0.0
    """Share of requests that may fail."""

    @classmethod
    def read(cls, path: Path) -> Promise:
        """Read a file.

        Raises:
            ConfigError: it is not there, no TOML, or a value breaks its rule; names the file and the key.
        """
        try:
            content = read_plain(path, _MAX_BYTES)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read ({error.strerror}): give --rate, --p99-ms and --duration, or write a "
                f"{PROMISE_FILE} with rate, p99_ms and duration"
            ) from None
        try:
            if len(content) > _MAX_BYTES:
                raise ValueError(f"it is longer than {_MAX_BYTES // 1024} KiB")
            given = tomllib.loads(content.decode("utf-8"))
        except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are of it
            raise ConfigError(f"{path} must be TOML: {brief(str(error))}") from None
        except RecursionError:
            raise ConfigError(f"{path} must be TOML: it is nested too deeply") from None
        if unknown := sorted(given.keys() - _KEYS.keys()):
            raise ConfigError(f"{path} must hold {', '.join(_KEYS)} and nothing else, got {brief(repr(unknown[0]))}")
        if missing := [key for key, needed in _KEYS.items() if needed and key not in given]:
            raise ConfigError(f"{path} must hold rate, p99_ms and duration: {missing[0]} is missing")
        duration = given["duration"]
        return cls(
            _positive(given["rate"], f"{path}: rate"),
            _positive(given["p99_ms"], f"{path}: p99_ms"),
            seconds(duration, f"{path}: duration")
            if isinstance(duration, str)
            else _positive(duration, f"{path}: duration"),
            share(given.get("errors", 0.0), f"{path}: errors"),
        )

    @classmethod
    def read_if_there(cls, path: Path) -> Promise | None:
        """The same; None where there is no file.

        Raises:
            ConfigError: as :meth:`read`.
        """
        try:
            os.stat(path)
        except OSError as error:
            if is_absent(error):
                return None
        return cls.read(path)


def promise_of(repository: Path, name: str) -> Path:
    """Where the promise of a model stands."""
    return repository / name / PROMISE_FILE


def record(verdict: Verdict, promise_file: Path, service: str | None) -> Path:
    """Add a kept promise to the record beside its file.

    Args:
        verdict: of the check.
        promise_file: the file of the promise.
        service: the version of Rowcast that answered; None where it did not tell.

    Returns:
        the record.

    Raises:
        OSError: it cannot be written.
    """
    result = verdict.result
    assert result is not None, "a promise that was kept was measured"
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "model": verdict.model,
        "version": verdict.version,
        "sha256": verdict.sha256,
        "rowcast": service,
        "client": VERSION,
        "machine": described(),
        "local": checked_address(verdict.url).is_local,
        "promise": {
            "rate": verdict.rate,
            "p99_ms": verdict.p99_ms,
            "duration_s": verdict.duration_s,
            "errors": verdict.errors,
        },
        "measured": {
            "p50_ms": result.p50_ms,
            "p99_ms": result.p99_ms,
            "p999_ms": result.p999_ms,
            "max_ms": result.max_ms,
            "requests": result.offered,
            "failed": result.failed,
            "achieved_rate": result.achieved_rate,
        },
    }
    path = promise_file.with_name(KEPT_FILE)
    append_plain(path, json.dumps(entry).encode() + b"\n")  # a few hundred bytes at once: two checks do not mix
    return path


def kept(path: Path) -> list[dict[str, Any]]:
    """The record of a file's folder, oldest first, with the keys that :func:`record` writes; lines of any other shape
    are passed over, and one without an end."""
    try:
        content = read_plain(path.with_name(KEPT_FILE), _MAX_KEPT_BYTES)
    except OSError:
        return []
    found = []
    for line in content.decode("utf-8", "replace").splitlines():
        if len(line) > _MAX_ENTRY:
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # half a line, of a disk that was full
            continue
        if isinstance(entry, dict) and (known := _known(entry)):
            found.append(known)
    return found


def _known(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Its keys that are known; None where one of them holds what no record does."""
    known = {key: value for key, value in entry.items() if key in _FLAT or key in _GROUPS}
    for key, value in known.items():
        if key in _GROUPS and not isinstance(value, dict):
            return None
        parts = value.values() if key in _GROUPS else (value,)
        if not all(part is None or isinstance(part, str | int | float) for part in parts):
            return None
    return known


def _positive(value: object, called: str) -> float:
    number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else as_float(value)
    if not 0 < number < math.inf:
        raise ConfigError(f"{called} must be a number above 0, got {brief(repr(value))}")
    return number
