"""A worker's last seconds: told to stop, it says so on ``/readyz`` and serves on until callers have noticed."""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType

from service.serving import Serving

logger = logging.getLogger("rowcast.service")


def drain_on_sigterm(serving: Serving, loop: asyncio.AbstractEventLoop) -> None:
    """Put ``settings.grace`` seconds between SIGTERM and the handler that was there before; a second one skips them.

    Call it on the main thread, once the server has set its own handlers.
    """
    server_stops = signal.getsignal(signal.SIGTERM)
    if serving.settings.grace == 0 or not callable(server_stops):
        return

    def stop() -> None:
        server_stops(signal.SIGTERM, None)

    def drain() -> None:
        logger.info("told to stop: serving on for %g seconds", serving.settings.grace)
        loop.call_later(serving.settings.grace, stop)

    def told_to_stop(number: int, frame: FrameType | None) -> None:
        if serving.draining:
            server_stops(number, frame)
        else:
            serving.draining = True
            loop.call_soon_threadsafe(drain)

    signal.signal(signal.SIGTERM, told_to_stop)
