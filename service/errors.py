"""What is wrong with a request, in words: the rule, and what came instead."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from rowcast.models.errors import Fault, RequestError

SHOWN = 40
"""Characters of a wrong value that a message repeats."""
LEFT_OUT = "is missing: training saw it in every row, so send a value or null"
BEYOND = "must be at most 2**53, or a decimal such as 1e20"
"""Of a whole number that a double may not hold."""
_NAMES_SHOWN = 20


class Beyond(str):
    """A whole-number literal beyond 2**53, as it was written."""

    __slots__ = ()


class QueueFull(RequestError):
    """A request that would wait too long, and has not been queued.

    ``retry_after_seconds`` is a whole number, at least 1: when what waits now should be done.
    """

    def __init__(self, wait_seconds: float, words: str = "too many rows are waiting") -> None:
        super().__init__(f"{words}: send this request again later, see Retry-After", status=429)
        self.retry_after_seconds = max(1, math.ceil(wait_seconds))


class DeadlineExceeded(RequestError):
    """A request that could not be answered by its deadline, and has not been run; one that was cut, not to its end."""

    def __init__(self) -> None:
        super().__init__(
            "the rows cannot be answered by the request's deadline, and were not run: give them more time, or come "
            "when fewer rows are waiting",
            status=504,
        )


def unknown_column(columns: Collection[str]) -> str:
    """The message where a name is none of ``columns``."""
    known = ", ".join(list(columns)[:_NAMES_SHOWN]) + (", ..." if len(columns) > _NAMES_SHOWN else "")
    return f"is not a column of the model, whose columns are {known}"


def too_many_rows(rows: int, max_rows: int) -> RequestError:
    """The refusal of a request that holds more rows than it may."""
    return RequestError(
        f"a request holds at most {max_rows:,} rows, got {rows:,}; "
        "send them in several requests, or raise ROWCAST_MAX_ROWS",
        status=413,
    )


def brief(value: Any) -> str:
    """A wrong value in a few words."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, Beyond):
        return value if len(value) <= SHOWN else value[:SHOWN] + "..."
    if isinstance(value, int) and abs(value) >= 10**SHOWN:  # str() refuses thousands of digits
        return f"a whole number of more than {SHOWN} digits"
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN, Infinity or a number beyond the range of a double"
    if isinstance(value, str):
        value = value[: SHOWN + 1]  # of 16 MB the rest would take a fifth of a second to write
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def raise_faults(faults: Iterator[Fault]) -> None:
    """Look at as many faults as a refusal lists.

    Raises:
        RequestError: there are any.
    """
    found = [fault for fault, _ in zip(faults, range(RequestError.MAX_FAULTS), strict=False)]
    if found:
        raise bad_request(*found)


def bad_request(*faults: Fault) -> RequestError:
    """The refusal of a request for its faults."""
    if not faults:  # the two readings of a body disagree: it is refused all the same
        return RequestError("the body does not fit the model's signature")
    first = faults[0]
    return RequestError(f"{first.path}: {first.message}" if first.path else first.message, faults)
