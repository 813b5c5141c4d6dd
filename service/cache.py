"""What was learned of earlier requests: one bounded store for every kind of it.

Callers send the same heads, names and forms again and again. What one means is found out once and kept under its very
bytes or words; the next request that has them is not asked again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

_MAX_SEEN = 1024
"""Forms that are counted before they are known."""

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """A dict of at most so many entries. When one more comes, all are forgotten, and those in use soon known again.

    So to find an entry costs what it costs in any dict, and whoever sends something else each time fills no memory.

    Args:
        max_entries: how many.
    """

    __slots__ = ("_max_entries",)

    def __init__(self, max_entries: int) -> None:
        super().__init__()
        self._max_entries = max_entries

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self._max_entries and key not in self:
            self.clear()
        super().__setitem__(key, value)


class LearningCache(BoundedCache[K, V]):
    """A cache of forms that take as long to learn as to save by them a few times.

    Who writes something else each time would pay for learning each time, and so would who always writes what cannot be
    learned. So a form is to be learned when it comes the second time, the fourth, the eighth and so on.
    """

    __slots__ = ("_seen",)

    def __init__(self, max_entries: int) -> None:
        super().__init__(max_entries)
        self._seen: BoundedCache[int, int] = BoundedCache(_MAX_SEEN)

    def is_worth_learning(self, form: Hashable) -> bool:
        """Count a form that came and is not known; whether to learn it now."""
        mark = hash(form)
        count = self._seen.get(mark, 0) + 1
        self._seen[mark] = count
        return count > 1 and count & (count - 1) == 0

    def clear(self) -> None:
        """Forget all, and what was counted of it."""
        super().clear()
        self._seen.clear()
