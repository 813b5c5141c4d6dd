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

_MAX_BYTES = 1 << 20
"""Bytes of lines that may wait for one output. A pipe that nobody reads holds 64 KiB more."""
_FLUSH_SECONDS = 1.0
"""How long a process that ends waits for its last lines to be written."""


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

    def write(self, line: bytes) -> None:
        """Queue a line, with its line feed; never blocks."""
        with self._changed:
            if self._waiting_bytes + len(line) > self._max_bytes:
                self.dropped += 1
                return
            self._waiting_bytes += len(line)
            self._lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

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
                line = self._lines.popleft()
                dropped, self.dropped = self.dropped, 0
            told = b"[%d log lines were dropped: nobody read them in time]\n" % dropped if dropped else b""
            written = self._write_whole(told + line)
            with self._changed:
                self._waiting_bytes -= len(line)
                if not written:
                    self.dropped += dropped + 1
                self._changed.notify_all()

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


def queue_log_lines() -> None:
    """Replace each handler of this process that writes to standard output or error by one that never blocks."""
    named = (logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger))
    for logger in (logging.root, *named):
        logger.handlers[:] = [_queued(handler) for handler in logger.handlers]


def _queued(handler: logging.Handler) -> logging.Handler:
    if type(handler) is not logging.StreamHandler or handler.stream not in (sys.stdout, sys.stderr):
        return handler
    try:
        queued = QueuedHandler(writer_of(handler.stream.fileno()))
    except (OSError, ValueError):  # it was replaced by something that is no file, in a notebook for example
        return handler
    queued.setLevel(handler.level)
    queued.setFormatter(handler.formatter)
    queued.filters = handler.filters
    return queued
