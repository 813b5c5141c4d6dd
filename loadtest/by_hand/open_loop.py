"""A user of Locust who does not wait for answers: requests leave when they are due, and are timed from then.

Locust's users wait for an answer before they ask again, so a service that stalls is asked less and the stall is
measured once for each of them. A user of this kind stands for an arrival rate: each request has a greenlet of its own.

When the run ends, Locust kills its users. What is under way then is waited for as long as a check waits for an answer,
and what has none by then has failed: otherwise a service that stops answering would lose its requests, and not its
promise.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, task
from locust.exception import StopUser

from rowcast.loadtest.by_hand.arrivals import arrivals
from rowcast.loadtest.by_hand.options import Options, promised_p99_ms
from rowcast.loadtest.trial import answered_within
from rowcast.models.errors import ConfigError

_log = logging.getLogger(__name__)

CONNECTIONS = 64
"""Of a user at most; requests that find none wait, and that counts."""
UNDER_WAY = 10_000
"""Requests of a user at most that are due and not answered; further ones are timed from when they were due as well."""
UNSENT = 100_000
"""Requests of a user at most that were due, could not be sent, and are counted as failed when the run ends. A service
that hangs leaves so many of 1,000 a second in two minutes; a rate beyond all that can be sent leaves no end of them."""
WORKER_SEEDS = 1_000_003
"""How far the seeds of users lie apart in processes of one run, which would ask for the same at the same moments."""
_seeds = itertools.count()


class OpenLoopUser(FastHttpUser):  # type: ignore[misc]
    """Asks ``--user-rate`` times a second, whatever becomes of the answers. Subclasses say what in :meth:`ask`."""

    abstract = True
    concurrency = CONNECTIONS

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        worker = max(0, getattr(environment.runner, "worker_index", 0))
        self.seed = worker * WORKER_SEEDS + next(_seeds)
        self._limit_s = answered_within(promised_p99_ms(environment.parsed_options))
        self._under_way = Pool(UNDER_WAY)
        self._numbers = itertools.count()
        self._unanswered: dict[int, float] = {}
        """When each request was due that is under way."""
        self._due: Iterator[float] = iter(())
        self._next: float | None = None
        """When the request is due that is begun next."""
        self._arrivals: Iterator[float] = iter(())

    def on_start(self) -> None:
        """Read the options; a user who cannot stops, and that is a failure."""
        try:
            self.options = Options.of(self.environment.parsed_options)
        except ConfigError as error:
            self.environment.events.request.fire(
                request_type="options", name="options", response_time=0, response_length=0, exception=error, context={}
            )
            raise StopUser from None
        self._arrivals = arrivals(self.options.user_rate, self.options.ramp, random.Random(self.seed))

    @task  # type: ignore[untyped-decorator]
    def offer(self) -> None:
        """Have every request sent when it is due, until the user is stopped."""
        start = time.perf_counter()
        self._due = (start + moment for moment in self._arrivals)
        for due in self._due:
            self._next = due
            gevent.sleep(max(0.0, due - time.perf_counter()))
            self._begin(due)
            self._next = None

    def on_stop(self) -> None:
        """Wait for what is under way, and report as failed what is not answered in time."""
        ended = time.perf_counter()
        after = itertools.chain(() if self._next is None else (self._next,), self._due)
        waiting = itertools.takewhile(lambda due: due <= ended, after)  # a moment late, or kept back by those before
        first = next(waiting, None)
        with gevent.Timeout(self._limit_s, False):
            while first is not None:
                self._begin(first)
                first = next(waiting, None)
            self._under_way.join()
        self._under_way.kill()
        unsent = itertools.chain(() if first is None else (first,), waiting)
        for due in (*self._unanswered.values(), *itertools.islice(unsent, UNSENT)):
            self.give_up((time.perf_counter() - due) * 1000)
        if next(unsent, None) is not None:
            _log.warning(
                "more than %s requests of a user were due and never sent: further ones are not counted; "
                "a lower --user-rate and more users leave fewer",
                f"{UNSENT:,}",
            )

    def ask(self, since: Callable[[], float]) -> None:
        """Send one request and report it, with the latency that ``since`` tells in milliseconds."""
        raise NotImplementedError

    def give_up(self, waited_ms: float) -> None:
        """Report a request that has no answer as failed."""
        raise NotImplementedError

    def _begin(self, due: float) -> None:
        number = next(self._numbers)
        self._under_way.spawn(self._ask, number, due)  # waits while as many are under way as may be
        self._unanswered[number] = due

    def _ask(self, number: int, due: float) -> None:
        self.ask(lambda: (time.perf_counter() - due) * 1000)
        del self._unanswered[number]
