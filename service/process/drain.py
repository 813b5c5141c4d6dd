"""A worker's last seconds: told to stop, it says so on ``/readyz`` and serves on until callers have noticed.

Where another has taken its place, the service goes on, and ``/readyz`` says nothing of it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from rowcast.service.engine.registry import Registry

logger = logging.getLogger("rowcast.service")

_LAST_SECONDS = 3
"""How long callers may take for what is still open at the end: one who never reads would keep the worker for ever."""


def drain_on_sigterm(
    registry: Registry, loop: asyncio.AbstractEventLoop, on_drain: Callable[[], None] = lambda: None
) -> None:
    """Put ``settings.grace`` seconds between SIGTERM and the handler that was there before; a second one skips them.

    Call it on the main thread, once the server has set its own handlers.

    Args:
        registry: is marked as draining.
        loop: the worker's.
        on_drain: called on it when the seconds begin, unless another worker has taken the place of this one.
    """
    server_stops = signal.getsignal(signal.SIGTERM)
    server: Any = getattr(server_stops, "__self__", None)  # uvicorn's, whose handler is a method
    if getattr(getattr(server, "config", None), "timeout_graceful_shutdown", 0) is None:
        server.config.timeout_graceful_shutdown = _LAST_SECONDS
    if registry.settings.grace == 0 or not callable(server_stops):
        return

    def stop() -> None:
        server_stops(signal.SIGTERM, None)

    def drain() -> None:
        logger.info("told to stop: serving on for %g seconds", registry.settings.grace)
        if registry.replaced():  # whoever took its place accepts what comes; here it might come just before the end
            for listening in getattr(server, "servers", ()):
                listening.close()
        else:
            on_drain()
        loop.call_later(registry.settings.grace, stop)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if registry.draining:
            server_stops(number, frame)
        else:
            registry.draining = True
            loop.call_soon_threadsafe(drain)

    signal.signal(signal.SIGTERM, on_signal)
