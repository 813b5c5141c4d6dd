"""Durations as a person writes them: ``60``, ``60s``, ``30m``, ``2h``."""

from __future__ import annotations

import math
import re
import reprlib
from numbers import Real
from typing import Any

from rowcast.models.errors import ConfigError
from rowcast.models.printable import brief

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def as_seconds(value: object) -> object:
    """Seconds where a text says a duration; anything else as it is, for another to judge."""
    try:
        return seconds(value) if isinstance(value, str) else value
    except ConfigError:
        return value


def seconds(text: str, called: str = "a duration") -> float:
    """Seconds of ``60``, ``60s``, ``30m`` or ``2h``.

    >>> seconds("30m")
    1800.0

    Args:
        text: the duration.
        called: as a message names it, such as ``--budget``.

    Raises:
        ConfigError: the text is no such duration, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    found = 0.0 if match is None else float(match[1]) * _SECONDS[match[2]]
    if match is None or not 0 < found < math.inf:
        raise ConfigError(
            f"{called} must be a positive number and s, m or h, such as 60s or 30m, got {brief(repr(text))}"
        )
    return found


def said_seconds(seconds: float) -> str:
    """So many seconds, in words: three digits of a short time, and whole seconds of a long one.

    >>> said_seconds(38.84), said_seconds(1793.4)
    ('38.8 s', '1,793 s')
    """
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"


def budget_seconds(budget: object) -> float | None:
    """Seconds of a budget as Python takes it: a number, a text, or None for no bound.

    Raises:
        ConfigError: it is neither, or not above 0.
    """
    if budget is None:
        return None
    if isinstance(budget, str):
        return seconds(budget, "--budget")
    number = math.nan if isinstance(budget, bool) or not isinstance(budget, Real) else as_float(budget)
    if not 0 < number < math.inf:
        raise ConfigError(
            f'--budget must be more than 0 seconds, or a text such as "30m", got {brief(reprlib.repr(budget))}'
        )
    return number


def as_float(number: Any) -> float:
    """A number of any kind; infinity where it is larger than any float.

    >>> as_float(10**400)
    inf
    """
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
