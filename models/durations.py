"""Durations as a person writes them: ``60``, ``60s``, ``30m``, ``2h``."""

from __future__ import annotations

import re

from rowcast.models.errors import ConfigError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def as_seconds(value: object) -> object:
    """Seconds where a text says a duration; anything else as it is, for another to judge."""
    try:
        return seconds(value) if isinstance(value, str) else value
    except ConfigError:
        return value


def seconds(text: str) -> float:
    """Seconds of ``60``, ``60s``, ``30m`` or ``2h``.

    >>> seconds("30m")
    1800.0

    Raises:
        ConfigError: the text is no such duration, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"a duration is a positive number and s, m or h, such as 60s or 30m, got {text!r}")
    return float(match[1]) * _SECONDS[match[2]]
