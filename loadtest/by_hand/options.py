"""The options of our users beside Locust's own: what each may say, wherever it comes from.

Locust's page makes of a value what the one before it is (``type(before)(value)``), and calls no type of the command
line. So all options stay the text that a person wrote, and are read here: by the command line, which refuses what is
wrong as wrong usage; by :mod:`~rowcast.loadtest.by_hand.page`, before a run starts; and by each user who begins.
"""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from rowcast.loadtest.by_hand.arrivals import rows_of
from rowcast.loadtest.by_hand.bodies import PROTOCOLS
from rowcast.models.durations import seconds
from rowcast.models.errors import ConfigError, RowcastError
from rowcast.models.names import asked_of_service
from rowcast.models.printable import brief
from rowcast.models.shares import share


@dataclass(frozen=True, slots=True)
class Options:
    """Every option, read."""

    model: str
    """Empty where the only one is meant."""
    rows: str
    """As :func:`~rowcast.loadtest.by_hand.arrivals.rows_of` reads it."""
    protocol: str
    user_rate: float
    """Requests a second of each user."""
    ramp: float
    """Seconds."""
    grpc_host: str
    """Empty where it is port 3001 of the host."""
    promise_p99_ms: float
    """0 where nothing is promised."""
    promise_errors: float

    @classmethod
    def of(cls, parsed: Any) -> Options:
        """What Locust's ``parsed_options`` say.

        Raises:
            ConfigError: one of them says nothing that it may.
        """
        return cls(**{field.name: option(parsed, field.name) for field in fields(cls)})


def option(parsed: Any, name: str) -> Any:
    """One option of Locust's ``parsed_options``.

    Raises:
        ConfigError: it says nothing that it may.
    """
    return read(name, getattr(parsed, name))


def read(name: str, value: object) -> Any:
    """What a value of an option says.

    Args:
        name: as ``parsed_options`` has it, such as ``user_rate``.
        value: a text, or None where the option is not given.

    Raises:
        ConfigError: nothing that it may.
    """
    text = "" if value is None else str(value)
    if not text and name in _NOT_GIVEN:
        return _NOT_GIVEN[name]
    try:
        return READERS[name](text)
    except (RowcastError, ValueError) as error:
        raise ConfigError(f"{_flag(name)}: {str(error).strip()}") from None


def promised_p99_ms(parsed: Any) -> float:
    """The promise; 0 where there is none, or none that can be read: then no user has begun."""
    try:
        return float(option(parsed, "promise_p99_ms"))
    except ConfigError:
        return 0.0


def checked(name: str) -> Callable[[str], str]:
    """The type of an argument: its text as it is, or wrong usage that is told behind the name of the argument."""

    def argument(text: str) -> str:
        try:
            READERS[name](text)
        except (RowcastError, ValueError) as error:
            raise ArgumentTypeError(str(error).strip()) from None
        return text

    return argument


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _model(text: str) -> str:
    if text:
        asked_of_service(text)
    return text


def _mix(text: str) -> str:
    rows_of(text)
    return text


def _protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise ValueError(f"must be one of {', '.join(PROTOCOLS)}, got {brief(repr(text))}")
    return text


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"must be a number above 0, got {brief(repr(text))}")
    return number


def _share(text: str) -> float:
    return share(text, "")


def _duration(text: str) -> float:
    return 0.0 if text.strip() in ("", "0", "0.0") else seconds(text, "")


READERS: dict[str, Callable[[str], Any]] = {
    "model": _model,
    "rows": _mix,
    "protocol": _protocol,
    "user_rate": _positive,
    "ramp": _duration,
    "grpc_host": str,
    "promise_p99_ms": _positive,
    "promise_errors": _share,
}
"""By name, as ``parsed_options`` has it; each raises ValueError or an error of ours where a text says nothing."""

_NOT_GIVEN = {"promise_p99_ms": 0.0}
"""Options that need not be given: an empty field of the page says so. An empty argument is wrong usage all the same: it
is more likely a variable that is not set, and the run would end as if it had kept a promise."""
