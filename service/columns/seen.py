"""Whether it is worth while to learn a form of request, or only to read this one."""

from __future__ import annotations

from collections.abc import Hashable

_MAX_FORMS = 1024
"""Forms that are counted; then all are forgotten."""


class SeenCounter:
    """Counts how often each form of request came that was not known.

    To learn one takes as long as to save by it a few times. Who writes something else each time would pay for that each
    time, and so would who always writes what cannot be learned. So it is tried when a form comes the second time, the
    fourth, the eighth and so on.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def worth(self, form: Hashable) -> bool:
        """Count one; whether to learn it."""
        mark = hash(form)
        count = self._counts.get(mark, 0) + 1
        if count == 1 and len(self._counts) >= _MAX_FORMS:
            self._counts.clear()
        self._counts[mark] = count
        return count > 1 and count & (count - 1) == 0

    def clear(self) -> None:
        """Forget all, as what was learned of them is forgotten."""
        self._counts.clear()
