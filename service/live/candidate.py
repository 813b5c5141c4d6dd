"""A version that may go live, and how the supervisor has it tried: see :mod:`rowcast.service.live.trial_process`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from rowcast.service.engine.catalog import CatalogOwner, Entry
from rowcast.service.live.checks import Refused
from rowcast.service.live.staging import Interrupted
from rowcast.service.live.trial import CPU_SECONDS

_SECONDS = 180.0
"""How long it may take in all, beside workers that leave it little of the processor."""
_LOOK_SECONDS = 0.1
NICE = 10
"""Beside busy workers a trial gets a tenth of a core, and takes all that is idle."""
_SHOWN = 300
_PRIVATE = ("PROMETHEUS_MULTIPROC_DIR",)
"""Variables that are for those who serve."""


class Candidate(NamedTuple):
    """A version that may go live."""

    name: str
    version: int
    path: Path
    allow_signature_change: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def try_version(
    candidate: Candidate,
    old: Entry | Path | None,
    owner: CatalogOwner,
    *,
    device: str,
    workers: int,
    stop: Callable[[], bool],
    seconds: float = _SECONDS,
    nice: int = NICE,
) -> Entry:
    """Have a version tried; the supervisor holds its bytes then.

    Args:
        candidate: the version.
        old: the one that it is to replace; or the folder of one that clients know, of which only the signature matters.
        owner: holds the bytes.
        device: that it is served on.
        workers: that are to open it, beside what they serve; 0 where it is not known yet how many there is room for.
        stop: tells whether nobody wants to know any more.
        seconds: how long it may take in all.
        nice: at which priority.

    Raises:
        Refused: it may not go live.
        Interrupted: nobody wants to know any more.
        OSError: there is no room for its bytes, or no process to be had.
    """
    number, into = owner.new_file()
    task = {
        "supervisor": os.getpid(),
        "path": str(candidate.path),
        "into": into,
        "old": asdict(old) if isinstance(old, Entry) else None,
        "known": str(old) if isinstance(old, Path) else None,
        "allow_signature_change": candidate.allow_signature_change,
        "device": device,
        "workers": workers,
        "nice": nice,
    }
    try:
        sha256 = _verdict(orjson.dumps(task), stop, seconds)
    except BaseException:
        owner.discard(number)
        raise
    entry = Entry(candidate.name, candidate.version, sha256, str(candidate.path.absolute()), into)
    owner.adopt(entry, number)
    return entry


def _verdict(task: bytes, stop: Callable[[], bool], seconds: float) -> str:
    """The SHA-256 of a graph that may go live.

    Raises:
        Refused: it may not.
        Interrupted: nobody wants to know any more.
        OSError: no process is to be had.
    """
    home = Path(str(sys.modules["rowcast"].__file__)).resolve().parents[1]  # holds the package
    process = subprocess.Popen(
        [sys.executable, "-m", "rowcast.service.live.trial_process"],
        cwd=home,
        env={name: value for name, value in os.environ.items() if name not in _PRIVATE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors, left, given = b"", b"", seconds, task
    try:
        while True:
            try:
                out, errors = process.communicate(given, timeout=_LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                given = b""
                left -= _LOOK_SECONDS
                if stop():
                    raise Interrupted("the service stops") from None
                if left <= 0:
                    raise Refused("busy", f"it was not tried within {seconds:g} s: the machine is busy") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return _read(out, errors)


def _read(out: bytes, errors: bytes) -> str:
    verdict: dict[str, Any] = {}
    with contextlib.suppress(ValueError, IndexError):
        verdict = orjson.loads(out.splitlines()[-1])
    if verdict.get("kind"):
        raise Refused(verdict["kind"], verdict["why"])
    if "sha256" in verdict:
        return str(verdict["sha256"])
    number = verdict.get("signal", 0)
    if number == signal.SIGXCPU:
        raise Refused("slow", f"to load it and run it took more than {CPU_SECONDS} s of the processor")
    kind = "memory" if number == signal.SIGKILL else "crashed"  # the kernel ends it first where memory runs out
    how = f", by {signal.Signals(number).name}" if number else ""
    how += " (as happens when memory is short)" if number == signal.SIGKILL else ""
    said = errors.decode(errors="replace").strip().splitlines()
    words = f": {said[-1][:_SHOWN]}" if said else ""
    raise Refused(kind, f"it ended the process that tried it{how}{words}")
