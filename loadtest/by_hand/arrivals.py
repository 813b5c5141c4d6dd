"""When the requests of a user are due: a Poisson process, whose rate may rise at first."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from rowcast.models.printable import brief


def arrivals(rate: float, ramp_s: float, chance: random.Random) -> Iterator[float]:
    """Seconds from the start, without end.

    While it rises, the rate at t seconds is ``rate * t / ramp_s``, so that ``rate * t**2 / (2 * ramp_s)`` requests are
    due until then. Moments of a process of one a second are put where as many are due.

    Args:
        rate: requests a second, above 0.
        ramp_s: for so long the rate rises evenly from nothing; 0 for not at all.
        chance: where the moments come from.
    """
    due = 0.0
    in_ramp = rate * ramp_s / 2
    while True:
        due += chance.expovariate(1.0)
        yield math.sqrt(2 * ramp_s * due / rate) if due < in_ramp else ramp_s + (due - in_ramp) / rate


def rows_of(text: str) -> list[int]:
    """The numbers of rows that ``1``, ``1,8,64`` say: requests have them in turn, by chance.

    Raises:
        ValueError: it says none.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise ValueError(f"must be whole numbers from 1 on, such as 1 or 1,8,64, got {brief(repr(text))}")
    return numbers
