"""Ctrl-C and SIGTERM during a fit: the first ends it at its next step, a second ends the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Whether a fit has been asked to end; true once it has."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """The one that came."""
        self.begun = False
        """Whether the fit has begun: before that there is nothing to publish, and the first signal ends all."""
        self.published = False
        """Whether the model is published: a second signal has nothing left to end."""
        self._has_come = False

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        """What came, as one says it."""
        return "" if self.signal is None else "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name

    def tell(self, number: int) -> None:
        """Take in a signal that came to another process of the fit; one that comes to this one is still its first."""
        self.signal = self.signal or signal.Signals(number)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.begun and not self._has_come:
            self._has_come = True
            self.tell(number)
        elif self.published:
            return
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)


@contextmanager
def ended_by_signals() -> Iterator[Interrupt]:
    """Take SIGINT and SIGTERM for as long as this is entered; afterwards what was there before is there again.

    Once the fit has begun, the first of them is only noted, for the fit to see. The second raises
    :class:`KeyboardInterrupt`, or :class:`SystemExit` with code 143 for a SIGTERM. A signal that is ignored (``nohup``,
    a job in the background) stays so, and outside the main thread, which alone may take signals, nothing is taken.
    """
    interrupt = Interrupt()
    former: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in SIGNALS}
        # None: something else than Python takes it
        former = {number: handler for number, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in former:
            signal.signal(number, interrupt._on_signal)
        yield interrupt
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
