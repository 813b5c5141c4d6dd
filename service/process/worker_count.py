"""How many workers: one for each usable core, as long as they have room in memory; and the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rowcast.models.machine.limits import core_limit, memory_limit, usable_cores
from rowcast.models.repository import StoredModel
from rowcast.service.settings import Settings

SUPERVISOR_BYTES = 160 * 2**20
"""What the launcher and the supervisor take, without the models."""
WORKER_BYTES = 192 * 2**20
"""What a worker takes, without the models: 120 MiB of its own, and what requests under way need."""
GRAPH_COPIES = 3
"""A model at work takes so many times the size of its graph."""
MOST = 256
_MIB = 2**20


class WorkerCount(NamedTuple):
    """How many workers there are to be, and why."""

    workers: int
    why: str
    short: bool
    """Whether they have no room in memory."""


def worker_count(settings: Settings, models: Sequence[StoredModel], root: Path = Path("/")) -> WorkerCount:
    """Settle the number of workers; one that was set holds.

    Args:
        settings: of the service.
        models: what is served.
        root: of the file system whose ``proc`` and ``sys`` say what may be used.
    """
    cores, memory = core_limit(root), memory_limit(root)
    graphs = sum(len(stored.graph) for stored in models)
    each = WORKER_BYTES + GRAPH_COPIES * graphs
    room = max(0, int((memory.amount - SUPERVISOR_BYTES - graphs) // each))
    in_memory = f"memory for {room} of {each / _MIB:,.0f} MiB ({memory.amount / _MIB:,.0f} MiB, {memory.source})"
    if "workers" in settings.model_fields_set:
        return WorkerCount(settings.workers, f"as ROWCAST_WORKERS says; {in_memory}", room < settings.workers)
    usable = usable_cores(root)
    count = max(1, min(usable, room, MOST))
    return WorkerCount(count, f"{usable} usable cores ({cores.amount:g}: {cores.source}); {in_memory}", room < count)
