"""A user of Locust who does not wait for answers: requests leave when they are due, and are timed from then.

Locust's users wait for an answer before they ask again, so a service that stalls is asked less and the stall is
measured once for each of them. A user of this kind stands for an arrival rate: each request has a greenlet of its own.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, task

from rowcast.loadtest.by_hand.arrivals import arrivals

CONNECTIONS = 64
"""Of a user at most; requests that find none wait, and that counts."""
UNDER_WAY = 10_000
"""Requests of a user at most that are due and not answered; further ones are timed from when they were due as well."""
_seeds = itertools.count()


class OpenLoopUser(FastHttpUser):  # type: ignore[misc]
    """Asks ``rate`` times a second, whatever becomes of the answers. Subclasses say what in :meth:`ask`."""

    abstract = True
    concurrency = CONNECTIONS

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        self.seed = next(_seeds)
        self._under_way = Pool(UNDER_WAY)
        self._arrivals = arrivals(options.user_rate, options.ramp, random.Random(self.seed))

    @task  # type: ignore[untyped-decorator]
    def offer(self) -> None:
        """Have every request sent when it is due, until the user is stopped."""
        start = time.perf_counter()
        for moment in self._arrivals:
            due = start + moment
            gevent.sleep(max(0.0, due - time.perf_counter()))
            self._under_way.spawn(self._ask, due)

    def on_stop(self) -> None:
        """Give up what is not answered: the run is over."""
        self._under_way.kill()

    def ask(self, since: Callable[[], float]) -> None:
        """Send one request and report it, with the latency that ``since`` tells in milliseconds."""
        raise NotImplementedError

    def _ask(self, due: float) -> None:
        self.ask(lambda: (time.perf_counter() - due) * 1000)
