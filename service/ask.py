"""What answers a body in one go, on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from service.batcher import Waiting
from service.served import Reply

Ask: TypeAlias = Callable[[bytes, Callable[[Reply], None], float], Waiting | None]
"""Answers a body: ``done`` is told the reply, once, during this call or later from the event loop; the number says when
it came, on the clock of ``time.perf_counter``.

Returns the queued request, to be cancelled when its caller is gone, or None when the reply has been told. Raises
:class:`TakesLong`, and has told nothing, where the body is more than can be answered in one go."""


class TakesLong(Exception):
    """A request that cannot be answered in one go; nobody has been told anything."""
