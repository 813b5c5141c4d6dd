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
BEAT_S = 20.0
"""Between two signs of life of a trial, at least."""
LAST_SILENT_S = 5 * BEAT_S
"""The same where nothing is left to try but such trials: to try one twice costs less than to wait."""
RECENT_S = 30.0
"""After a trial, for its process to be taken for one that is at work."""
STARTS_S = 60.0
"""In which a process that has just got a trial says that it is its owner."""


def this_process() -> dict[str, Any]:
    """This process, as another one tells it from all others."""
    return {"machine": _machine(), "process": os.getpid(), "born": born(os.getpid())}


def as_opener() -> dict[str, Any]:
    """This process as one that has opened a study, and is about to begin a trial of it."""
    return {**this_process(), "at": time.time()}


def is_about_to_begin(opener: Mapping[str, Any] | None, me: Mapping[str, Any]) -> bool:
    """Whether another process that has opened a study is still there, as far as is known.

    Args:
        opener: the last, as :func:`as_opener` told it; None for nobody.
        me: this process.
    """
    if opener is None or {**opener, "at": None} == {**me, "at": None}:
        return False
    if opener["machine"] == me["machine"]:
        return bool(born(opener["process"]) == opener["born"])
    return bool(time.time() - opener["at"] < LAST_SILENT_S)


def is_alive(trial: FrozenTrial, me: Mapping[str, Any], silent_s: float = SILENT_S) -> bool:
    """Whether somebody still runs a trial.

    Args:
        trial: that is under way.
        me: this process.
        silent_s: without a sign of life for so long, another machine is taken to be gone.
    """
    owner, beat = trial.user_attrs.get("owner"), _beat_of(trial)
    if owner is None:
        return time.time() - _start_of(trial) < STARTS_S
    if owner["machine"] == me["machine"]:
        return bool(born(owner["process"]) == owner["born"])
    silence = time.time() - beat
    if _is_restarted(owner["machine"], me["machine"]) and beat < _up_since():
        return False
    return silence < silent_s


def whose(trial: FrozenTrial, me: Mapping[str, Any]) -> str:
    """Whose trial it is, and how long one waits for it, in words."""
    owner = trial.user_attrs.get("owner")
    if owner is None:
        return f"trial {trial.number} has just begun in another process"
    if owner["machine"] == me["machine"]:
        return f"trial {trial.number} is under way in process {owner['process']} of this machine, as long as that lives"
    silence = max(time.time() - _beat_of(trial), 0.0)
    return (
        f"trial {trial.number} is under way in process {owner['process']} of {_host(owner['machine'])!r}, last heard "
        f"of {silence:.0f} s ago, and is tried here once that is {LAST_SILENT_S:.0f} s"
    )


def _start_of(trial: FrozenTrial) -> float:
    return trial.datetime_start.timestamp() if trial.datetime_start else 0.0


def _beat_of(trial: FrozenTrial) -> float:
    """The last sign of life of a trial, in seconds since the epoch."""
    return float(trial.user_attrs.get("beat", _start_of(trial)))


def _host(machine: str) -> str:
    return machine.partition(" ")[0]


def _is_restarted(machine: str, mine: str) -> bool:
    """Whether another machine is this one, before it was started anew: by its name, which is all that has stayed."""
    boots = [one.split()[1:2] for one in (machine, mine)]
    return _host(machine) == _host(mine) and all(boots) and boots[0] != boots[1]


def _up_since() -> float:
    """When this machine was started, in seconds since the epoch; 0 where that is not known."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/stat").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("btime ")).split()[1])
    return 0.0


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
