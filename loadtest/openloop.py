"""Open-loop load: requests leave on a schedule of their own, whether or not earlier ones have been answered.

A closed-loop client waits for an answer before it asks again, so a service that stalls is asked less and the stall is
measured once. Users do not wait for each other. Here the moments at which requests are due are drawn beforehand, and a
request is timed from when it was *due*, so that a stall counts for every request that fell into it.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rowcast.loadtest.connection import Connection, Endpoint, PreciseLoop
from rowcast.models.errors import ConfigError, RowcastError

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

MAX_CONNECTIONS = 512
MOST_REQUESTS = 20_000_000
"""Of a run: what one process offers in half an hour at best, and a few GiB of moments and latencies."""
IDLE_LIMIT_S = 2.0
"""A connection idle for longer is not used again: servers close idle ones (uvicorn after 5 s), and a request that
crosses such a close on the wire would be blamed on the service."""
SWEEP_S = 0.05
"""How often requests are looked through for those that have waited too long."""
SATURATED_CPU = 0.9
"""Share of one core past which the client cannot keep its own schedule."""
LAG_SHARE = 0.01
"""Share of requests that may leave later than the lag limit through the client's own fault."""
PROBE = "probe"
"""The kind of failure that is none of a request of the load."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run saw. Latencies are in milliseconds from the moment a request was due to the end of its answer.

    Every request that was answered or given up counts in the percentiles; one given up counts with the time it had
    waited. A request whose connection was refused or broke counts in ``errors`` alone.
    """

    offered: int
    """Requests that were due."""
    sent: int
    ok: int
    errors: dict[str, int]
    """Failures by kind: ``status 503``, ``connect``, ``disconnected``, ``malformed``, ``timeout``, ``unsent`` (no
    connection came free in time), ``wrong answer``; and ``probe``, of requests beside the load."""
    offered_rate: float
    """Requests a second that were due."""
    achieved_rate: float
    """Good answers a second, over the run's length or until the last request left, whichever is longer."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    least_p99_ms: float
    """What p99 would be at least if the client had been on time; 0 when nothing can be said."""
    client_lag_p99_ms: float
    """How late the client itself was for its schedule, at the 99th percentile."""
    client_cpu: float
    """Share of one core that the client used."""
    wrong: str | None
    """What was wrong with the first wrong answer."""
    void: str | None
    """Why the figures say nothing about the service (nobody listens, the client was saturated), if so."""
    saturated: bool = False
    """Whether that is because the client was saturated."""
    client_turns: int = 0
    """Of the client's loop; 0 where it does not count them."""

    @property
    def failed(self) -> int:
        """Requests of the load that failed."""
        return sum(self.errors.values()) - self.failed_probes

    @property
    def failed_probes(self) -> int:
        """Requests for the probe row that failed, before, during and after the load."""
        return self.errors.get(PROBE, 0)


def schedule(rate: float, duration_s: float, seed: int) -> NDArray[np.float64]:
    """When requests are due, in seconds from the start: a Poisson process given how many fall into the run.

    The number is fixed because the rate is part of the promise: a free one strays by 10% in 100 requests. Given the
    number, the moments of a Poisson process are independent and uniform.

    Args:
        rate: requests a second.
        duration_s: length of the run.
        seed: the same seed gives the same moments.

    Returns:
        ``[round(rate * duration_s)]``, ascending, below ``duration_s``.

    Raises:
        ConfigError: a figure is not a positive number, or there are more requests than a client can hold.
    """
    check_length(rate, duration_s)
    return np.sort(np.random.default_rng(seed).uniform(0.0, duration_s, size=round(rate * duration_s)))


def check_length(rate: float, duration_s: float, flag: str = "--rate") -> None:
    """Make sure that a run can be as long as it is to be, before anything is sent.

    Args:
        rate: requests a second.
        duration_s: length of the run.
        flag: that the rate came by.

    Raises:
        ConfigError: a figure is not a positive number, or there are more requests than a client can hold.
    """
    for name, value in ((flag, rate), ("--duration", duration_s)):
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} must be a number above 0, got {value}")
    if rate * duration_s > MOST_REQUESTS:
        raise ConfigError(
            f"a run has at most {MOST_REQUESTS:,} requests, got {rate:g} a second for {duration_s:g} s: lower {flag} "
            "or --duration"
        )


def check_due(rate: float, duration_s: float) -> None:
    """The same, and that anything is sent at all.

    Raises:
        ConfigError: as :func:`check_length`, or no request is due.
    """
    check_length(rate, duration_s)
    if not round(rate * duration_s):
        raise ConfigError(f"no request is due in {duration_s:g} s at {rate:g} a second: raise --rate or --duration")


def longest(rate: float, duration_s: float) -> float:
    """So long as is asked for, or as a client can hold the requests of: a step that measures is none the worse."""
    return min(duration_s, (MOST_REQUESTS - 1) / rate)  # one less, for rounding


async def run(
    endpoint: Endpoint,
    requests: Sequence[bytes],
    due: NDArray[np.float64],
    duration_s: float,
    *,
    fault: Callable[[bytes], str | None],
    connections: int = 64,
    timeout_s: float = 5.0,
    lag_limit_ms: float = 1.0,
    latencies: HdrHistogram | None = None,
    opened: Callable[[], None] | None = None,
) -> Result:
    """Send ``requests`` (taken in turn, again and again) at the moments ``due``.

    The run is void when the client was saturated: when it used more than :data:`SATURATED_CPU` of a core, or when more
    than :data:`LAG_SHARE` of the requests were looked at later than ``lag_limit_ms`` after they were due. Waiting for a
    connection that the service keeps busy is no lag of the client; it counts as latency.

    Args:
        endpoint: where to.
        requests: whole HTTP requests, as bytes.
        due: ``[requests]``, from :func:`schedule`, in seconds from the start.
        duration_s: length of the run that ``due`` was drawn for.
        fault: says what is wrong with the body of a 200 answer, or None.
        connections: at most so many are open at a time, 1 to :data:`MAX_CONNECTIONS`.
        timeout_s: a request is given up so long after it was due.
        lag_limit_ms: see above.
        latencies: where every latency is counted, in microseconds; one of :func:`histogram`.
        opened: called once connections are open, before anything is sent.

    Raises:
        ConfigError: ``connections`` is out of range.
        RowcastError: the package hdrhistogram is missing.
    """
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise ConfigError(f"--connections must be from 1 to {MAX_CONNECTIONS}, got {connections}")
    load = _Load(endpoint, fault, connections, timeout_s, histogram() if latencies is None else latencies)
    try:
        # As many as the load uses within about a second, so that neither a burst nor an idle limit opens them midway.
        async with asyncio.timeout(timeout_s):
            await load.open(min(connections, math.ceil(len(due) / duration_s)))
    except OSError as error:  # TimeoutError, which has no text, among them
        await load.close()
        load.unreachable = f"nobody answers at {endpoint.authority}: {error.strerror or type(error).__name__}"
        return load.result(len(due), duration_s, 0.0, lag_limit_ms)
    if opened is not None:
        opened()
    cpu_s, wall_s, turns = time.thread_time(), time.monotonic(), _turns()
    try:
        await load.offer(requests, due)
    finally:
        await load.close()
    used = (time.thread_time() - cpu_s) / (time.monotonic() - wall_s)
    return replace(load.result(len(due), duration_s, used, lag_limit_ms), client_turns=_turns() - turns)


def _turns() -> int:
    loop = asyncio.get_running_loop()
    return loop.turns if isinstance(loop, PreciseLoop) else 0


def histogram() -> HdrHistogram:
    """Latencies in microseconds, up to an hour, to three digits."""
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise RowcastError("a load test needs hdrhistogram: pip install 'rowcast[loadtest]'") from None
    return HdrHistogram(1, 3_600_000_000, 3)


def seconds_of(latencies: HdrHistogram) -> NDArray[np.float64]:
    """What a histogram counted, in seconds: ``[latencies]``, ascending, to three digits."""
    found = [
        np.full(item.count_added_in_this_iter_step, item.value_iterated_to / 1e6)
        for item in latencies.get_recorded_iterator()
    ]
    return np.concatenate(found) if found else np.zeros(0)


@dataclass(slots=True, eq=False)
class _Link:
    """A connection, when its request was due and when it left; while it is idle, ``left`` is when it became so."""

    connection: Connection
    left: float
    due: float = 0.0


@dataclass(slots=True, eq=False)
class _Load:
    """The state of one run. Callbacks and no task per request: the client must cost less than what it measures."""

    endpoint: Endpoint
    fault: Callable[[bytes], str | None]
    connections: int
    timeout_s: float
    latencies: HdrHistogram
    lags: array[float] = field(default_factory=lambda: array("d"))
    """Seconds by which the client itself was late for each request."""
    times: array[float] = field(default_factory=lambda: array("d"))
    """Seconds from when a request left to its answer, for each request answered."""
    errors: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    ok: int = 0
    wrong: str | None = None
    unreachable: str | None = None
    start: float = 0.0
    last_sent: float = 0.0
    outstanding: int = 0
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    """Requests that are due and have no connection yet, with the moments they were due."""
    links: dict[Connection, _Link] = field(default_factory=dict)
    idle: deque[_Link] = field(default_factory=deque)
    """First in, first out, so that the load spreads over all connections and so over all workers of the service."""
    opening: set[asyncio.Task[None]] = field(default_factory=set)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """No request is outstanding."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """No connection is open."""

    async def open(self, n: int) -> None:
        """Open the first connections; raises OSError when that fails."""
        for _ in range(n):
            await self._connect()

    async def offer(self, requests: Sequence[bytes], due: NDArray[np.float64]) -> None:
        """Send every request when it is due; return once each is answered or given up."""
        loop = asyncio.get_running_loop()
        self.outstanding = len(due)
        sweeper = asyncio.create_task(self._sweep())
        try:
            self.start = self.last_sent = loop.time()
            for i, moment in enumerate((due + self.start).tolist()):
                if (early := moment - loop.time()) > 0:
                    await asyncio.sleep(early)
                self.lags.append(loop.time() - moment)
                self.waiting.append((moment, requests[i % len(requests)]))
                self._pump()
                if i % 32 == 0:
                    await asyncio.sleep(0)  # a backlog of due requests must not keep answers from being read
            if self.outstanding:
                await self.settled.wait()
        finally:
            sweeper.cancel()

    async def close(self) -> None:
        """Close every connection and wait until they are closed."""
        self.waiting.clear()
        self.closed.clear()
        for task in self.opening:
            task.cancel()
        await asyncio.gather(*self.opening, return_exceptions=True)
        for connection in self.links:
            connection.abort()
        if self.links:
            await self.closed.wait()

    def result(self, offered: int, duration_s: float, cpu: float, lag_limit_ms: float) -> Result:
        """The figures of the run."""
        lags_ms = np.array(self.lags or [0.0]) * 1000
        times_ms = np.array(self.times or [0.0]) * 1000
        lag_ms = float(np.quantile(lags_ms, 1 - LAG_SHARE))
        # A busy loop reads an answer about as late as it sends a request. The median bounds p99 too, and better where a
        # few long pauses of the client make the tail uncertain.
        quantiles = [0.5, 0.9, 0.99]
        least_ms = float(np.max(np.quantile(times_ms, quantiles) - np.quantile(lags_ms, quantiles)))
        void = self.unreachable
        if void is None and cpu > SATURATED_CPU:
            void = f"the client was saturated: it used {cpu:.0%} of its core; lower --rate or use a faster machine"
        elif void is None and lag_ms > lag_limit_ms:
            void = (
                f"the client was saturated: {LAG_SHARE:.0%} of the requests left {lag_ms:.1f} ms late or later, "
                f"however the limit is {lag_limit_ms:.1f} ms; lower --rate or give the client a core of its own"
            )
        p50, p90, p99, p999 = (self.latencies.get_value_at_percentile(q) / 1000 for q in (50, 90, 99, 99.9))
        return Result(
            offered=offered,
            sent=self.sent,
            ok=self.ok,
            errors=dict(self.errors),
            offered_rate=offered / duration_s,
            achieved_rate=self.ok / max(duration_s, self.last_sent - self.start),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            p999_ms=p999,
            max_ms=self.latencies.get_max_value() / 1000 if self.latencies.get_total_count() else 0.0,
            least_p99_ms=max(0.0, least_ms),
            client_lag_p99_ms=lag_ms,
            client_cpu=cpu,
            wrong=self.wrong,
            void=void,
            saturated=void is not None and self.unreachable is None,
        )

    def _pump(self) -> None:
        """Give waiting requests to idle connections, and open more while requests wait and the limit allows."""
        now = asyncio.get_running_loop().time()
        while self.waiting and self.idle:
            link = self.idle.popleft()
            if not link.connection.usable:
                continue
            if now - link.left > IDLE_LIMIT_S:
                link.connection.abort()
                del self.links[link.connection]
                continue
            link.due, request = self.waiting.popleft()
            link.left = self.last_sent = now
            self.sent += 1
            link.connection.send(request)
        while len(self.opening) < len(self.waiting) and len(self.links) + len(self.opening) < self.connections:
            self.opening.add(asyncio.create_task(self._connect_or_fail()))

    async def _connect(self) -> None:
        connection = await self.endpoint.connect(lambda: Connection(self._answered, self._failed, self._closed))
        link = _Link(connection, asyncio.get_running_loop().time())
        self.links[connection] = link
        self.idle.append(link)

    async def _connect_or_fail(self) -> None:
        try:
            await self._connect()
        except OSError:
            if self.waiting:
                self.waiting.popleft()
                self._count_error("connect")
        self.opening -= {asyncio.current_task()}
        self._pump()

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        link = self.links[connection]
        now = asyncio.get_running_loop().time()
        self._record(now - link.due)
        self.times.append(now - link.left)
        link.left = now
        self.idle.append(link)
        if status != 200:
            self._count_error(f"status {status}")
        elif wrong := self.fault(body):
            self.wrong = self.wrong or wrong
            self._count_error("wrong answer")
        else:
            self.ok += 1
            self._settle()
        self._pump()

    def _failed(self, connection: Connection, kind: str) -> None:
        self._count_error(kind)

    def _closed(self, connection: Connection) -> None:
        link = self.links.pop(connection, None)
        if link is not None and link in self.idle:
            self.idle.remove(link)
        if not self.links:
            self.closed.set()
        self._pump()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            too_old = loop.time() - self.timeout_s
            while self.waiting and self.waiting[0][0] < too_old:
                moment, _ = self.waiting.popleft()
                self._record(loop.time() - moment)
                self._count_error("unsent")
            for link in list(self.links.values()):
                if link.connection.busy and link.due < too_old:
                    self._record(loop.time() - link.due)
                    link.connection.abort()
                    self._count_error("timeout")

    def _record(self, latency_s: float) -> None:
        self.latencies.record_value(max(1, round(latency_s * 1e6)))

    def _count_error(self, kind: str) -> None:
        self.errors[kind] += 1
        self._settle()

    def _settle(self) -> None:
        self.outstanding -= 1
        if not self.outstanding:
            self.settled.set()
