"""What workers count of versions on trial, in the memory that they share: each in its slot, and all add them up."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from rowcast.service.live.slots import END
from rowcast.service.process.slots import SLOT_BYTES
from rowcast.service.rollout.tally import TALLY_BYTES, Tally

_NUMBER = struct.Struct("Q")
_AREA_BYTES = _NUMBER.size + TALLY_BYTES
MOST_TRIALS = (SLOT_BYTES - END) // _AREA_BYTES
"""At a time: there is room for so many."""


def write_tallies(slot: memoryview, tallies: Mapping[int, Tally]) -> None:
    """Say what a worker has counted.

    Args:
        slot: the worker's.
        tallies: by the number of the trial.
    """
    areas = [*tallies.items()][:MOST_TRIALS]
    for at, (number, tally) in zip(range(END, SLOT_BYTES, _AREA_BYTES), areas, strict=False):
        if _NUMBER.unpack_from(slot, at)[0] != number:
            _NUMBER.pack_into(slot, at, 0)
        slot[at + _NUMBER.size : at + _AREA_BYTES] = tally.pack()
        _NUMBER.pack_into(slot, at, number)
    for area in range(len(areas), MOST_TRIALS):
        _NUMBER.pack_into(slot, END + area * _AREA_BYTES, 0)


def tallies_of(slots: Iterable[memoryview], number: int) -> list[Tally]:
    """What the worker of each slot has counted of a trial; nothing where it has not said anything."""
    return [_tally(slot, number) for slot in slots]


def _tally(slot: memoryview, number: int) -> Tally:
    for at in range(END, END + MOST_TRIALS * _AREA_BYTES, _AREA_BYTES):
        if _NUMBER.unpack_from(slot, at)[0] == number:
            return Tally.unpack(bytes(slot[at + _NUMBER.size : at + _AREA_BYTES]))
    return Tally()


def total(tallies: Iterable[Tally]) -> Tally:
    """All together."""
    whole = Tally()
    for tally in tallies:
        whole = whole.plus(tally)
    return whole
