"""Memory that the supervisor shares with its workers: a slot for each, which only its worker and the supervisor write.

It is anonymous and taken at the start, so that no full disk stands in the way.
"""

from __future__ import annotations

import mmap
import os
import tempfile

SLOT_BYTES = 48 * 2**10
"""Most of it for what is counted of versions on trial, see :mod:`rowcast.service.live.counted`."""
SUPERVISOR_SLOT = 0
"""The slot in which the supervisor says what no worker can any more: circus counts workers from 1."""


class Slots:
    """The supervisor's side.

    Args:
        slots: how many workers there may be at a time.
    """

    def __init__(self, slots: int) -> None:
        self.descriptor = _anonymous_file(slots * SLOT_BYTES)
        """To be inherited by the workers."""
        self._memory = memoryview(mmap.mmap(self.descriptor, slots * SLOT_BYTES))

    def __getitem__(self, slot: int) -> memoryview:
        """The bytes of a slot."""
        return self._memory[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]

    def __len__(self) -> int:
        return len(self._memory) // SLOT_BYTES

    def clear(self, slot: int) -> None:
        """Forget what a worker left in a slot; before a new one takes it."""
        self[slot][:] = bytes(SLOT_BYTES)


def slots_beside(slot: memoryview) -> list[memoryview]:
    """The slots of all workers, from the one of this; to be read."""
    memory = memoryview(slot.obj)
    return [memory[at : at + SLOT_BYTES] for at in range(0, len(memory), SLOT_BYTES)]


def slot_of(descriptor: int, slot: int) -> memoryview:
    """A worker's side: the bytes of its slot."""
    return memoryview(mmap.mmap(descriptor, 0))[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]


def _anonymous_file(size: int) -> int:
    """A file without a name, whose bytes are there already; programs that are started inherit it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("rowcast-workers", 0)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.set_inheritable(descriptor, True)
    os.write(descriptor, bytes(size))
    return descriptor
