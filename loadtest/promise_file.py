"""``promise.toml`` beside the versions of a model: what it promises; and the record of when that was kept.

The record, ``promise-kept.jsonl``, has a JSON object a line, the newest last: a promise is kept by one graph, with one
version of Rowcast, on one machine.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rowcast.loadtest.machine import described
from rowcast.loadtest.verdict import Verdict
from rowcast.models.access import checked_address
from rowcast.models.durations import seconds
from rowcast.models.errors import ConfigError
from rowcast.models.shares import share
from rowcast.models.version import VERSION

PROMISE_FILE, KEPT_FILE = "promise.toml", "promise-kept.jsonl"
_MAX_BYTES = 2**16
_KEYS = {"rate": True, "p99_ms": True, "duration": True, "errors": False}
"""What the file holds, and whether it has to."""


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
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
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
            raise ConfigError(f"{path} must be TOML: {error}") from None
        if unknown := sorted(given.keys() - _KEYS.keys()):
            raise ConfigError(f"{path} must hold {', '.join(_KEYS)} and nothing else, got {unknown[0]!r}")
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
            "failed": sum(result.errors.values()),
            "achieved_rate": result.achieved_rate,
        },
    }
    path = promise_file.with_name(KEPT_FILE)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(entry) + "\n")  # one write of a few hundred bytes at the end: two checks do not mix
    return path


def kept(path: Path) -> list[dict[str, Any]]:
    """The record of a file's folder, oldest first; what is no record in it is passed over."""
    try:
        lines = path.with_name(KEPT_FILE).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # half a line, of a disk that was full
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def _positive(value: object, called: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{called} must be a number above 0, got {value!r}")
    return float(value)
