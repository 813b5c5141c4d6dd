"""Shares as a person writes them: ``0.1%``, ``0.001``."""

from __future__ import annotations

import re

from rowcast.models.durations import as_float
from rowcast.models.errors import ConfigError
from rowcast.models.printable import brief


def share(text: object, called: str = "a share", *, whole: bool = False) -> float:
    """The share of ``0.1%`` or ``0.001``.

    >>> share("0.1%")
    0.001

    Args:
        text: the share, or a number that is one.
        called: as a message names it, such as ``--errors``.
        whole: whether it may be all, 100%.

    Raises:
        ConfigError: it is none, or not from 0 to less than 1.
    """
    value = -1.0
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value = as_float(text)
    elif match := re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", str(text), re.ASCII):
        value = float(f"{match[1]}e-2") if match[2] else float(match[1])
    if not (0 <= value < 1 or (whole and value == 1)):
        most = "100%" if whole else "less than 1"
        raise ConfigError(f"{called} must be a share from 0 to {most}, such as 0.1% or 0.001, got {brief(repr(text))}")
    return value
