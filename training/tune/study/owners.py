"""Whose a trial is: the process that runs it, and whether that is still there."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

SILENT_S = 600.0
"""Without a sign of life, a trial of another machine is taken for dead; on this machine the system says whether a
process is."""
RECENT_S = 30.0
"""After a trial, for its process to be taken for one that is at work."""
STARTS_S = 60.0
"""In which a process that has just got a trial says that it is its owner."""


def this_process() -> dict[str, Any]:
    """This process, as another one tells it from all others."""
    return {"machine": _machine(), "process": os.getpid(), "born": born(os.getpid())}


def is_alive(trial: FrozenTrial, me: Mapping[str, Any]) -> bool:
    """Whether somebody still runs a trial."""
    owner = trial.user_attrs.get("owner")
    since = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    if owner is None:
        return time.time() - since < STARTS_S
    if owner["machine"] == me["machine"]:
        return bool(born(owner["process"]) == owner["born"])
    return time.time() - float(trial.user_attrs.get("beat", since)) < SILENT_S


def is_recent(trial: FrozenTrial) -> bool:
    """Whether a trial is under way, or was just now."""
    ended = trial.datetime_complete
    return trial.state == TrialState.RUNNING or (ended is not None and time.time() - ended.timestamp() < RECENT_S)


def _machine() -> str:
    """The machine, until it is started anew; each container is one."""
    parts = [socket.gethostname()]
    for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            parts.append(os.readlink(file) if "ns" in file else Path(file).read_text().strip())
    return " ".join(parts)


def born(process: int) -> str:
    """When a process began, in a form that tells it from another of its number; empty where there is none."""
    with suppress(OSError, IndexError):
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    import psutil

    with suppress(psutil.Error):
        if psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
            return f"{psutil.Process(process).create_time():.0f}"
    return ""
