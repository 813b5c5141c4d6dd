"""A bound on how often a kind of line is logged: what callers send must not fill the disk.

Lines of one kind come from one place in the code, with one type of exception. Each kind is written ten times a minute,
for all callers together; the rest is counted, and the count is written when the minute is over.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import NamedTuple

_PER_MINUTE = 10
_MINUTE_SECONDS = 60.0
_WORDS = 120
"""Characters of a line's text, as it stands in the code, that its count repeats."""


class _Kind(NamedTuple):
    logger: str
    level: int
    place: tuple[str, int]
    exception: str


class _Window:
    """The minute of one kind."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.written = 0
        self.left_out = 0


class LogLimit(logging.Filter):
    """Lets the first warnings and errors of each kind pass, and counts the others.

    Args:
        per_minute: lines of a kind that pass.
        seconds: how long the minute is.
    """

    def __init__(self, per_minute: int = _PER_MINUTE, seconds: float = _MINUTE_SECONDS) -> None:
        super().__init__()
        self._per_minute = per_minute
        self._seconds = seconds
        self._windows: dict[_Kind, _Window] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if record.levelno < logging.WARNING or getattr(record, "is_count", False):
            return True
        exception = record.exc_info[0].__qualname__ if record.exc_info and record.exc_info[0] else ""
        kind = _Kind(record.name, record.levelno, (record.pathname, record.lineno), exception)
        now = time.monotonic()
        with self._lock:
            window = self._windows.get(kind)
            if window is None or (now >= window.started + self._seconds and not window.left_out):
                window = self._windows[kind] = _Window(now)
            if window.written < self._per_minute:
                window.written += 1
                return True
            window.left_out += 1
            if window.left_out == 1:
                words = str(record.msg).strip().partition("\n")[0][:_WORDS]
                timer = threading.Timer(max(0.0, window.started + self._seconds - now), self._summarise, (kind, words))
                timer.daemon = True
                timer.start()
        return False

    def _summarise(self, kind: _Kind, words: str) -> None:
        with self._lock:
            window = self._windows.pop(kind)
        summary = f"{kind.exception}: {words}" if kind.exception else words
        text = "%d more lines of this kind were left out: %s"
        logging.getLogger(kind.logger).log(kind.level, text, window.left_out, summary, extra={"is_count": True})


def limit_log_lines(limit: LogLimit | None = None) -> None:
    """Put a limit on every handler of this process, once it has its handlers; access lines are no warnings."""
    limit = limit or LogLimit()
    # BentoML hands uvicorn's lines to one handler twice
    logging.getLogger("uvicorn.error").propagate = False
    named = (logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger))
    handlers = {id(handler): handler for logger in (logging.root, *named) for handler in logger.handlers}
    for handler in handlers.values():
        if not any(isinstance(known, LogLimit) for known in handler.filters):
            handler.addFilter(limit)
