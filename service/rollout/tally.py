"""What a worker counts of a version on trial, in numbers that add up over workers.

Times are counted in buckets of a 23rd of their size: fine enough to tell 1.2 times from once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

_SHORTEST = 20e-6
_PER_OCTAVE = 16
BUCKETS = 336
"""Up to 40 s."""
_TIMES = struct.Struct(f"{BUCKETS}I")


class Times:
    """How long things took."""

    __slots__ = ("buckets",)

    def __init__(self, buckets: Iterable[int] = ()) -> None:
        self.buckets = list(buckets) or [0] * BUCKETS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Times) and self.buckets == other.buckets

    __hash__ = None  # type: ignore[assignment]

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bucket_of(seconds)] += 1

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float:
        """The time that this share of them does not exceed, in seconds: the end of its bucket; 0 of none."""
        wanted, so_far = share * self.count, 0
        for bucket, n in enumerate(self.buckets):
            so_far += n
            if n and so_far >= wanted:
                return end_of(bucket)
        return 0.0

    def beyond(self, seconds: float) -> int:
        """How many took longer, for certain: those whose bucket begins there or later."""
        return sum(self.buckets[bucket_of(seconds) + 1 :])

    def plus(self, other: Times) -> Times:
        """Both."""
        return Times(map(sum, zip(self.buckets, other.buckets, strict=True)))

    def minus(self, other: Times) -> Times:
        """What has come since."""
        if self.buckets == other.buckets:  # as mostly, four times a second on the event loop
            return Times()
        return Times([a - b if a > b else 0 for a, b in zip(self.buckets, other.buckets, strict=True)])


def bucket_of(seconds: float) -> int:
    """The bucket of a time."""
    if seconds <= _SHORTEST:
        return 0
    return min(BUCKETS - 1, 1 + int(math.log2(seconds / _SHORTEST) * _PER_OCTAVE))


def end_of(bucket: int) -> float:
    """The longest time of a bucket."""
    return _SHORTEST * float(2 ** (bucket / _PER_OCTAVE))


@dataclass(slots=True)
class Tally:
    """What was counted of one trial. ``old`` is the version that is live, ``new`` the one on trial."""

    old_answered: int = 0
    """Requests that were there for either version and were answered; requests that named a version do not count."""
    old_failed: int = 0
    """Requests that were not, and not through their own fault."""
    new_answered: int = 0
    new_failed: int = 0
    rows: int = 0
    """Rows that both versions were run on."""
    differ: int = 0
    """Rows whose labels differ."""
    disagree: int = 0
    """Rows in which the new version disagrees with the old one."""
    difference: float = 0.0
    """The differences of all of these rows, added up."""
    largest: float = 0.0
    runs: int = 0
    """Runs that were compared."""
    run_failed: int = 0
    """Runs in the shadow that failed."""
    dropped: int = 0
    """Runs that nobody had the time to compare."""
    old_times: Times = field(default_factory=Times)
    """Of requests."""
    new_times: Times = field(default_factory=Times)
    old_runs: Times = field(default_factory=Times)
    """Of runs on the same rows."""
    new_runs: Times = field(default_factory=Times)

    def copy(self) -> Tally:
        """It as it is now."""
        times: dict[str, Any] = {name: Times(getattr(self, name).buckets) for name in _TIMES_NAMES}
        return replace(self, **times)

    def plus(self, other: Tally) -> Tally:
        """Both."""
        return _each(self, other, lambda a, b: a.plus(b) if isinstance(a, Times) else a + b, max)

    def minus(self, other: Tally) -> Tally:
        """What has come since; the largest difference is that of all."""
        return _each(self, other, lambda a, b: a.minus(b) if isinstance(a, Times) else max(0, a - b), lambda a, _: a)

    def has_less_than(self, other: Tally) -> bool:
        """Whether it counts less of anything that a worker only ever counts up, and so is another worker's."""
        return any(getattr(self, name) < getattr(other, name) for name in _COUNTS)

    def pack(self) -> bytes:
        """It in :data:`TALLY_BYTES`."""
        values = [getattr(self, one.name) for one in fields(self)]
        plain = _PLAIN.pack(*(float(value) for value in values if not isinstance(value, Times)))
        return plain + b"".join(_TIMES.pack(*value.buckets) for value in values if isinstance(value, Times))

    @classmethod
    def unpack(cls, packed: bytes) -> Tally:
        """What :meth:`pack` made."""
        plain = [
            int(value) if kind is int else value for value, kind in zip(_PLAIN.unpack_from(packed), _KINDS, strict=True)
        ]
        times = [Times(_TIMES.unpack_from(packed, _PLAIN.size + i * _TIMES.size)) for i in range(_N_TIMES)]
        return cls(*plain, *times)  # type: ignore[arg-type]

    def as_numbers(self) -> list[Any]:
        """It as JSON has it."""
        values = (getattr(self, one.name) for one in fields(self))
        return [value.buckets if isinstance(value, Times) else value for value in values]

    @classmethod
    def of_numbers(cls, numbers: list[Any]) -> Tally:
        """What :meth:`as_numbers` made.

        Raises:
            ValueError, TypeError: somebody else has made it.
        """
        plain, times = numbers[: len(_KINDS)], numbers[len(_KINDS) :]
        if len(times) != _N_TIMES or any(len(buckets) != BUCKETS for buckets in times):
            raise ValueError("these are no such numbers")
        kinds = zip(_KINDS, plain, strict=True)
        return cls(*(kind(value) for kind, value in kinds), *(Times(map(int, buckets)) for buckets in times))  # type: ignore[arg-type]

    def told(self) -> dict[str, Any]:
        """It for a person."""
        compared = self.rows > 0
        return {
            "live": _told_side(self.old_answered, self.old_failed, self.old_times),
            "trial": _told_side(self.new_answered, self.new_failed, self.new_times),
            "compared": {
                "rows": self.rows,
                "labels_differ": self.differ / self.rows if compared else None,
                "disagree": self.disagree / self.rows if compared else None,
                "mean_difference": self.difference / self.rows if compared else None,
                "largest_difference": self.largest if compared else None,
                "failed_runs": self.run_failed,
                "dropped_runs": self.dropped,
                "live_run_p99_ms": _milliseconds(self.old_runs),
                "trial_run_p99_ms": _milliseconds(self.new_runs),
            },
        }


def _each(a: Tally, b: Tally, both: Any, largest: Any) -> Tally:
    made = {one.name: both(getattr(a, one.name), getattr(b, one.name)) for one in fields(Tally)}
    return Tally(**made | {"largest": largest(a.largest, b.largest)})


def _told_side(answered: int, failed: int, times: Times) -> dict[str, Any]:
    share = failed / (answered + failed) if answered + failed else None
    return {"requests": answered + failed, "failed": share, "p99_ms": _milliseconds(times)}


def _milliseconds(times: Times) -> float | None:
    return round(times.quantile(0.99) * 1000, 3) if times.count else None


_KINDS = [float if isinstance(one.default, float) else int for one in fields(Tally) if one.default_factory is not Times]
_COUNTS = [one.name for one in fields(Tally) if isinstance(one.default, int)]
_PLAIN = struct.Struct(f"{len(_KINDS)}d")
_TIMES_NAMES = [one.name for one in fields(Tally) if one.default_factory is Times]
_N_TIMES = len(_TIMES_NAMES)
TALLY_BYTES = _PLAIN.size + _N_TIMES * _TIMES.size
