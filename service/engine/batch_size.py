"""How many rows a run of a model is filled up to: what makes a row cheapest, measured on the machine that serves it.

In a larger run more rows share what any run costs, and none of it is left to gain beyond some hundred; but what is
between two layers has to stay in the processor's caches. Where that turns depends on both the model and the processor:
with one model an Intel Xeon does 9% more rows a second in runs of 128 than of 256, and an AMD EPYC gains with the size.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SIZES = (256, 128)
"""Rows that a run may be filled up to, the most first. What runs of 64 gain, the event loop takes for each of them."""
LEAST_GAIN = 0.03
"""By which a row has to be cheaper in smaller runs: less is luck, or what the event loop takes for twice as many."""
_ROUNDS = 5
_LONGEST_SECONDS = 0.5
"""After which no further round begins. A model so slow is timed well by one of its runs."""


def cheapest_size(run: Callable[[int], object], clock: Callable[[], float] = time.perf_counter) -> int:
    """The one of :data:`SIZES` in which a row takes least.

    Args:
        run: runs the model with so many rows.
        clock: seconds.
    """
    for size in SIZES:
        run(size)  # the first of its size is no news about the next
    least = dict.fromkeys(SIZES, float("inf"))
    began = clock()
    for _ in range(_ROUNDS):  # in turns: what disturbs one disturbs all
        for size in SIZES:
            started = clock()
            run(size)
            least[size] = min(least[size], (clock() - started) / size)
        if clock() - began > _LONGEST_SECONDS:
            break
    best = SIZES[0]
    for size in SIZES[1:]:
        if least[size] < (1 - LEAST_GAIN) * least[best]:
            best = size
    return best
