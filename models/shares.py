"""Shares as a person writes them: ``0.1%``, ``0.001``."""

from __future__ import annotations

import re

from rowcast.models.errors import ConfigError


def share(text: object, called: str = "a share") -> float:
    """The share of ``0.1%`` or ``0.001``.

    >>> share("0.1%")
    0.001

    Args:
        text: the share, or a number that is one.
        called: as a message names it, such as ``--errors``.

    Raises:
        ConfigError: it is none, or not from 0 to less than 1.
    """
    value = -1.0
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value = float(text)
    elif match := re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", str(text), re.ASCII):
        value = float(f"{match[1]}e-2") if match[2] else float(match[1])
    if not 0 <= value < 1:
        raise ConfigError(f"{called} must be a share from 0 to less than 1, such as 0.1% or 0.001, got {text!r}")
    return value
