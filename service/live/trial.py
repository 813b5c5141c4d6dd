"""The trial of a version: read and verified, handed over to the supervisor, run.

It goes on in a process of its own (:mod:`rowcast.service.live.trial_process`), which it may take with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
from pathlib import Path
from typing import Any

import orjson

from rowcast.models.device import cuda_device_count
from rowcast.models.errors import DeviceError, ModelError
from rowcast.models.machine.limits import available_memory
from rowcast.models.repository import Manifest, StoredModel, open_version, read_manifest
from rowcast.service.engine.catalog import Entry, chunks_of, seal
from rowcast.service.live.checks import Refused, check_runs, check_signature
from rowcast.service.process.worker_count import GRAPH_COPIES

CPU_SECONDS = 60
"""Of the processor's time that it may take for all of it."""
_OF_THE_MACHINE = frozenset(
    {errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}
)
"""Errors that say nothing of the version: a mount that is away, or a process that has too many files."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def work(task: dict[str, Any]) -> None:
    """Write the verdict on a version to standard output."""
    _limit(task["device"], beside_others=bool(task["workers"]))
    try:
        verdict = _try(task)
    except Refused as refused:
        verdict = {"kind": refused.kind, "why": str(refused)}
    except MemoryError:
        verdict = {"kind": "memory", "why": "it takes more memory than there is"}
    except DeviceError as error:
        verdict = {"kind": "device", "why": str(error)}
    sys.stdout.buffer.write(orjson.dumps(verdict) + b"\n")
    sys.stdout.flush()


def _try(task: dict[str, Any]) -> dict[str, Any]:
    """The verdict on a version that may go live.

    Raises:
        Refused: it may not.
    """
    try:
        stored = open_version(Path(task["path"]))
    except ModelError as error:
        raise Refused(_kind(error.__context__), str(error)) from None
    except OSError as error:
        raise Refused(_kind(error), f"{error.filename or task['path']} cannot be read: {error.strerror}") from None
    if task["workers"]:
        _check_memory(len(stored.graph), task["workers"])
    _hand_over(stored, task["into"])
    old = _known(task)
    compatible = True
    if old is not None:
        try:
            check_signature(stored, old.signature, f"{old.name}:{old.version}")
        except Refused:
            if not task["allow_signature_change"]:
                raise
            compatible = False
    check_runs(stored, old.signature if old is not None and compatible else None, task["device"])
    return {"kind": "", "sha256": stored.sha256}


def _kind(error: BaseException | None) -> str:
    """Of what keeps a version from being read: this machine's, for a moment perhaps, or the version's."""
    return "unreadable" if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE else "damaged"


def _known(task: dict[str, Any]) -> Manifest | None:
    """What the version says of itself that clients know; None for no such."""
    if task["old"] is not None:
        return Entry(**task["old"]).open().manifest
    try:
        return None if task["known"] is None else read_manifest(Path(task["known"]))
    except (ModelError, OSError):  # it has gone meanwhile
        return None


def _hand_over(stored: StoredModel, into: str) -> None:
    """Write a version where the supervisor holds it. What is tried from here on can be changed by nobody."""
    try:
        with open(into, "r+b") as file:
            file.writelines(chunks_of(stored))
            file.flush()
            with contextlib.suppress(OSError):  # no file in memory
                seal(file.fileno())
    except OSError as error:
        raise Refused("memory", f"there is no room to hold it for the workers: {error.strerror}") from None


def _check_memory(graph_bytes: int, workers: int) -> None:
    """Make sure that there is room for it in every worker, beside the version that it is to replace.

    Raises:
        Refused: there is not.
    """
    needed = graph_bytes * (1 + GRAPH_COPIES * (workers + 1))
    left = available_memory(beside_others=True)
    if needed > left.amount:
        mib = f"{needed / 2**20:,.0f} MiB in {workers} workers, got {left.amount / 2**20:,.0f} MiB ({left.source})"
        raise Refused("memory", f"beside the version that is served it needs {mib}")


def _limit(device: str, *, beside_others: bool) -> None:
    """Take no more time, and no more memory, than there is; at a start there are no others who need their pages."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, CPU_SECONDS)
    if device == "cpu" or not cuda_device_count():  # CUDA reserves addresses by the terabyte
        with contextlib.suppress(OSError):
            mapped = int(Path("/proc/self/statm").read_bytes().split()[0]) * _PAGE
            _lower(resource.RLIMIT_AS, mapped + int(available_memory(beside_others=beside_others).amount))


def _lower(limit: int, to: int) -> None:
    """Set a limit, unless it is lower already."""
    soft, hard = resource.getrlimit(limit)
    known = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(limit, (min([to, *known]), hard))
