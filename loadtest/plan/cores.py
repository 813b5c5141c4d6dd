"""Which process runs where workers share a core: a fair scheduler as Linux has it.

The first process, the client, has a core to itself, unless there is one core in all; every other has one as well, if
there are enough, or else its place on one of those that are left. Who wakes runs at once if it has used less CPU than
who runs there; for having slept it is credited with a tick at most. Else it runs at a tick of the core, once the other
has used more, or when that one sleeps. So two processes that always have work take turns of a tick.
"""

from __future__ import annotations

import math

TICK_S = 0.004
"""How often Linux looks whether a process has had its share of a core, at its usual 250 times a second."""
_ALIKE_S = 1e-9
"""At a tick, two that have used as much take turns all the same."""


class Cores:
    """Who runs, and who waits for a core.

    Args:
        processes: which all have a core of their own if there are enough.
        cores: of the machine; a part of one counts as one.
    """

    def __init__(self, processes: int, cores: float) -> None:
        n = processes if cores >= processes else math.ceil(cores)
        shared = max(1, n - 1)
        self.core = [0] + [n - 1 - i % shared for i in range(processes - 1)]
        self.running: list[int | None] = [None] * n
        self.waiting: list[list[int]] = [[] for _ in range(n)]
        self.used = [0.0] * processes
        """Seconds of CPU of each process, which sleepers are credited with; whoever lets time pass counts it."""
        self.now = 0.0

    def runs(self, process: int) -> bool:
        """Whether a process has a core."""
        return self.running[self.core[process]] == process

    def wake(self, process: int) -> None:
        """A process has work."""
        core = self.core[process]
        other = self.running[core]
        if other is None:
            self.running[core] = process
            return
        self.used[process] = max(self.used[process], self.used[other] - TICK_S)
        self.waiting[core].append(process)
        self._change(core, 0.0)

    def sleep(self, process: int) -> None:
        """A process that runs has no more work."""
        core = self.core[process]
        self.running[core] = self._next(core) if self.waiting[core] else None

    def next_tick(self) -> tuple[float, int]:
        """When the next tick is that anybody waits for, and of which core; each has them at moments of its own."""
        n = len(self.running)
        ticks = [
            ((math.floor(self.now / TICK_S - core / n + 1e-9) + 1 + core / n) * TICK_S, core)
            for core in range(n)
            if self.waiting[core]
        ]
        return min(ticks, default=(math.inf, -1))

    def tick(self, core: int) -> None:
        """A tick of a core that others wait for."""
        self._change(core, _ALIKE_S)

    def _change(self, core: int, alike: float) -> None:
        """Have a core run who waits there and has used least, if that is less than who runs has used, and so much."""
        process = self.running[core]
        assert process is not None
        if min(self.used[i] for i in self.waiting[core]) < self.used[process] + alike:
            after = self._next(core)
            self.waiting[core].append(process)
            self.running[core] = after

    def _next(self, core: int) -> int:
        process = min(self.waiting[core], key=self.used.__getitem__)
        self.waiting[core].remove(process)
        return process
