"""Seeds: whole numbers that every generator of numbers takes, and JSON holds."""

from __future__ import annotations

from numbers import Integral

from rowcast.models.errors import ConfigError
from rowcast.models.printable import brief

END_OF_SEEDS = 2**32


def checked_seed(seed: object, called: str = "--seed") -> int:
    """A seed that is one.

    >>> checked_seed(7)
    7

    Args:
        seed: what was given.
        called: as a message names it.

    Raises:
        ConfigError: it is no whole number, or out of range.
    """
    number = -1 if isinstance(seed, bool) or not isinstance(seed, Integral) else int(seed)
    if not 0 <= number < END_OF_SEEDS:
        raise ConfigError(f"{called} must be a whole number from 0 to {END_OF_SEEDS - 1:,}, got {brief(repr(seed))}")
    return number
