"""Log lines that are written by a thread: an output that nobody reads, or a full disk, stops no request.

A line that finds the queue full is dropped and counted, and the count is written when there is room again.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

_MAX_BYTES = 1 << 20
"""Bytes of lines that may wait for one output. A pipe that nobody reads holds 64 KiB more."""
_FLUSH_SECONDS = 1.0
"""How long a process that ends waits for its last lines to be written."""
_GATHER_SECONDS = 0.02
"""How long lines are gathered before they are written together: to wake the thread for each would cost the event loop
more than the lines do."""
_PAUSE_SECONDS = 0.5
"""How long an output that cannot be written to is left alone."""


class LineWriter:
    """Writes lines to a file descriptor, in order, from a thread of its own.

    Args:
        descriptor: of the output; it stays open.
        max_bytes: bytes of lines that may wait.
    """

    def __init__(self, descriptor: int, max_bytes: int = _MAX_BYTES) -> None:
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        """Of the lines in the queue, and of the one that is being written."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines that found the queue full or could not be written, and have not been told of."""
        self.on_drop: Callable[[int], None] | None = None
        """Told how many lines were dropped, each time; by whatever thread."""

    def write(self, line: bytes) -> None:
        """Queue a line, with its line feed; never blocks."""
        with self._changed:
            full = self._waiting_bytes + len(line) > self._max_bytes
            if full:
                self.dropped += 1
            else:
                self._waiting_bytes += len(line)
                self._lines.append(line)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
                    self._thread.start()
                if len(self._lines) == 1:
                    self._changed.notify_all()
        if full and self.on_drop is not None:
            self.on_drop(1)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> None:
        """Wait until all lines are written, but not for longer than ``seconds``."""
        give_up = time.monotonic() + seconds
        with self._changed:
            while self._waiting_bytes and (left := give_up - time.monotonic()) > 0:
                self._changed.wait(left)

    def _write_lines(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
            time.sleep(_GATHER_SECONDS)
            with self._changed:
                lines = list(self._lines)
                self._lines.clear()
                dropped, self.dropped = self.dropped, 0
            notice = b"[%d log lines were dropped: nobody read them in time]\n" % dropped if dropped else b""
            data = b"".join(lines)
            written = self._write_whole(notice + data)
            with self._changed:
                self._waiting_bytes -= len(data)
                if not written:
                    self.dropped += dropped + len(lines)
                self._changed.notify_all()
            if not written:
                if self.on_drop is not None:
                    self.on_drop(len(lines))
                time.sleep(_PAUSE_SECONDS)

    def _write_whole(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:  # the disk is full, or the reader is gone
                return False
        return True


_writers: dict[int, LineWriter] = {}


def writer_of(descriptor: int) -> LineWriter:
    """The writer that all lines to an output of this process share, which keeps them in order."""
    if descriptor not in _writers:
        writer = _writers[descriptor] = LineWriter(descriptor)
        atexit.register(writer.flush)
    return _writers[descriptor]


def flush_lines() -> None:
    """Wait a moment until what is queued is written; before something is printed in another way."""
    for writer in list(_writers.values()):
        writer.flush()


class QueuedHandler(logging.Handler):
    """Hands formatted records to a :class:`LineWriter`; a record's line is made by the thread that logs it."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record."""
        try:
            self.writer.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as every handler does: a line that cannot be made stops nothing
            self.handleError(record)

    def flush(self) -> None:
        """Wait a moment for what is queued."""
        self.writer.flush()


def queue_log_lines(on_drop: Callable[[int], None] | None = None) -> None:
    """Replace each handler of this process that writes to standard output or error by one that never blocks.

    Args:
        on_drop: told how many lines were dropped, each time; of other writers of this process, too.
    """
    named = (logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger))
    for logger in (logging.root, *named):
        logger.handlers[:] = [_queued(handler) for handler in logger.handlers]
    for writer in _writers.values():
        writer.on_drop = on_drop


def _queued(handler: logging.Handler) -> logging.Handler:
    if type(handler) is not logging.StreamHandler or handler.stream not in (sys.stdout, sys.stderr):
        return handler
    try:
        queued = QueuedHandler(writer_of(handler.stream.fileno()))
    except (
        AttributeError,
        OSError,
        ValueError,
    ):  # there is none, or it was replaced by something that is no file, in a notebook for example
        return handler
    queued.setLevel(handler.level)
    queued.setFormatter(handler.formatter)
    queued.filters = handler.filters
    return queued
