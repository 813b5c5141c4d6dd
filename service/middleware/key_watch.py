"""Keys change while a service runs: every worker looks at the file itself, four times a second.

What holds is a function of the file alone, so all workers agree, those that started later too, and a key that was taken
out is dead everywhere within a second. It fails closed: a line that is no key lets nobody in, and while the file is
empty, gone or unreadable nobody gets in at all. So that an editor which empties a file before it writes it locks nobody
out, a file with something wrong holds only once it was found so twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

from rowcast.service.middleware.keys import Keys, Parsed, contents, parse

logger = logging.getLogger("rowcast.service")

_LOOK_SECONDS = 0.25
_LOG_SECONDS = 60.0
"""How often a fault that lasts is told."""
_FRESH_NS = 2_000_000_000
"""A file that was changed so lately may be changed again under the same times: it is read, whatever they say."""


class KeyWatch:
    """Keeps keys what a file says.

    Args:
        file: of keys.
        keys: that are replaced when it changes.
    """

    def __init__(self, file: Path, keys: Keys) -> None:
        self._file = file
        self._keys = keys
        self._seen: tuple[int, ...] | None = None
        """The times and the size under which the file was last read; None: read it again."""
        self._text: bytes | str | None = None
        self._found = Parsed([], "")
        self._fault = ""
        self._logged_at = float("-inf")

    @classmethod
    def of(cls, file: Path) -> KeyWatch:
        """A watch over the keys that a file holds now."""
        watch = cls(file, Keys(()))
        for _ in range(2):  # what is found so twice holds; nobody has a key yet who could be locked out
            watch.look()
        return watch

    @property
    def keys(self) -> Keys:
        """The keys, which change with the file."""
        return self._keys

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again and again, on a loop."""
        self.look()
        if self._fault:
            self._log_fault()
        loop.call_later(_LOOK_SECONDS, self.start, loop)

    def look(self) -> None:
        """Read the file if it has changed."""
        seen = _times(self._file)
        if seen is None or seen != self._seen:
            self._read(seen)

    def _read(self, seen: tuple[int, ...] | None) -> None:
        text = contents(self._file)
        if text != self._text:
            self._text, self._found = text, parse(text)
            if self._found.fault:  # it may be under an editor's hand
                self._seen = None
                return
        self._remember(seen)
        if self._found.fault != self._fault:
            self._fault, self._logged_at = self._found.fault, float("-inf")
        if self._keys.replace(self._found.hashes) and not self._fault:
            logger.info("API keys in force: the %d in %s", len(self._keys), self._file)

    def _remember(self, seen: tuple[int, ...] | None) -> None:
        fresh = seen is not None and time.time_ns() - max(seen[:2]) < _FRESH_NS
        self._seen = None if fresh else seen

    def _log_fault(self) -> None:
        now = time.monotonic()
        if now - self._logged_at < _LOG_SECONDS:
            return
        self._logged_at = now
        holds = f"its {len(self._keys):,} other keys hold" if len(self._keys) else "nobody gets in"
        logger.error("%s, the file of API keys, is not as it must be (%s): %s", self._file, self._fault, holds)


def _times(file: Path) -> tuple[int, ...] | None:
    """What changes whenever a file does, or is another one; None when it cannot be told."""
    try:
        found: Any = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
