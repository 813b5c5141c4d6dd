"""What the service counts, as Prometheus sees it on ``/metrics``.

Labels are bounded: models that are served, their columns, and classes of status codes. Nothing a caller sends becomes
a label, except that an unknown model counts under the empty name. In BentoML's workers every write goes to a file that
all of them share and costs about a microsecond. So a run is reported once and not once for each of its requests, and
all is counted in memory and written ten times a second.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from rowcast.service.metrics.files import count_in_reserved_files

count_in_reserved_files()

SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

REQUEST_SECONDS = Histogram(
    "rowcast_request_seconds", "From a request's headers to the end of its answer.", ["model"], buckets=SECONDS
)
QUEUE_SECONDS = Histogram(
    "rowcast_queue_seconds", "How long the longest-waiting request of each run was queued.", ["model"], buckets=SECONDS
)
COMPUTE_SECONDS = Histogram("rowcast_compute_seconds", "How long each run took.", ["model"], buckets=SECONDS)
BATCH_ROWS = Histogram("rowcast_batch_rows", "Rows of each run.", ["model"], buckets=_ROWS)
REQUESTS = Counter("rowcast_requests", "Requests, by the class of their status code.", ["model", "code"])
REFUSED = Counter("rowcast_refused_requests", "Requests refused with 429: too many rows were waiting.", ["model"])
LATE = Counter("rowcast_late_requests", "Requests answered with 504: not to be run by their deadline.", ["model"])
UNSEEN_LEVELS = Counter("rowcast_unseen_levels", "Category values that training never saw.", ["model", "column"])
QUEUED = Counter("rowcast_requests_queued_seconds", "How long requests were queued, all together.", ["model"])
COMPUTED = Counter("rowcast_requests_computed_seconds", "How long the runs of requests took, all together.", ["model"])
CPU_SECONDS = Counter("rowcast_cpu_seconds", "CPU time of the workers, while requests come.")
WORKERS = Gauge("rowcast_workers", "Workers that the service has.", multiprocess_mode="max")
DROPPED_LINES = Counter("rowcast_dropped_log_lines", "Log lines dropped: nobody read them, or the disk was full.")
LIVE_VERSION = Gauge("rowcast_live_version", "The version that is served.", ["model"], multiprocess_mode="mostrecent")
REFUSED_VERSION = Gauge(
    "rowcast_refused_version",
    "The newest version that is not served, by the reason; 0 for none.",
    ["model", "reason"],
    multiprocess_mode="mostrecent",
)
REPOSITORY_FAULT = Gauge(
    "rowcast_repository_fault",
    "Whether rollout.json or the repository keeps a model from following it, by the reason: 1, or 0.",
    ["model", "reason"],
    multiprocess_mode="mostrecent",
)

CODES = ("2xx", "4xx", "5xx")
_CLASS_OF_STATUS = {2: 0, 4: 1, 5: 2}
_WRITE_SECONDS = 0.1
NO_MODEL = ""
"""The label of requests that name no served model."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did, for the metrics."""

    rows: int
    seconds: float
    """How long it took, halvings included."""
    waits: list[float]
    """Seconds each of its requests was queued; for one that is cut, since it came."""


@dataclass(slots=True)
class Totals:
    """What a model did in this worker since it started."""

    answered: int = 0
    answered_seconds: float = 0.0
    refused: int = 0
    """Requests that got a 4xx or 5xx."""
    refused_seconds: float = 0.0
    runs: int = 0
    rows: int = 0
    requests: int = 0
    """Requests in those runs."""
    queue_seconds: float = 0.0
    """How long they were queued, all of them together; so with the next."""
    compute_seconds: float = 0.0
    last_run: float | None = None
    """When the last run ended, on the clock of ``time.perf_counter``; None for never."""


class _Cpu:
    """CPU time of this process that is counted already."""

    counted = time.process_time()

    @classmethod
    def count(cls) -> None:
        """Count what was used since."""
        now = time.process_time()
        CPU_SECONDS.inc(max(0.0, now - cls.counted))
        cls.counted = now


def worker_started(workers: int) -> None:
    """Count from here on in this process, one of so many workers: what a start takes says nothing of load."""
    WORKERS.set(workers)
    _Cpu.counted = time.process_time()


class _Gathered:
    """Values of a histogram that are yet to be written.

    Args:
        histogram: of one model.
        bounds: of its buckets, without the last, which has none.
    """

    def __init__(self, histogram: Histogram, bounds: Sequence[float]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self.buckets[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def write(self) -> None:
        """Do what ``Histogram.observe`` does, for all of them at once."""
        if self.sum:
            self._histogram._sum.inc(self.sum)
        for bucket, n in zip(self._histogram._buckets, self.buckets, strict=True):
            if n:
                bucket.inc(n)
        self.buckets = [0] * len(self.buckets)
        self.sum = 0.0


class Meter:
    """Writes the metrics of one model.

    Args:
        model: its name.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._request = _Gathered(REQUEST_SECONDS.labels(model), SECONDS)
        self._queue = _Gathered(QUEUE_SECONDS.labels(model), SECONDS)
        self._compute = _Gathered(COMPUTE_SECONDS.labels(model), SECONDS)
        self._rows = _Gathered(BATCH_ROWS.labels(model), _ROWS)
        self._queued, self._computed = QUEUED.labels(model), COMPUTED.labels(model)
        self._told_seconds = (0.0, 0.0)
        self._refused = REFUSED.labels(model)
        self._late = LATE.labels(model)
        self._codes = [REQUESTS.labels(model, code) for code in CODES]
        self._new_codes = [0] * len(CODES)
        self._new_seconds = [0.0] * len(CODES)
        self._counted = False
        self.totals = Totals()
        """As of the last :meth:`flush`."""

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request, on the event loop."""
        code = _CLASS_OF_STATUS[status // 100]
        self._new_codes[code] += 1
        self._request.buckets[bisect_left(SECONDS, seconds)] += 1  # as add does, which would be called for each
        self._new_seconds[code] += seconds
        if not self._counted:
            self._write_soon()

    def flush(self) -> None:
        """Write what was counted."""
        if not self._counted:
            return
        self._counted = False
        totals = self.totals
        totals.answered += self._new_codes[0]
        totals.answered_seconds += self._new_seconds[0]
        totals.refused += sum(self._new_codes[1:])
        totals.refused_seconds += sum(self._new_seconds[1:])
        for counter, n in zip(self._codes, self._new_codes, strict=True):
            if n:
                counter.inc(n)
        self._request.sum = sum(self._new_seconds)
        for gathered in (self._request, self._queue, self._compute, self._rows):
            gathered.write()
        self._queued.inc(totals.queue_seconds - self._told_seconds[0])
        self._computed.inc(totals.compute_seconds - self._told_seconds[1])
        self._told_seconds = (totals.queue_seconds, totals.compute_seconds)
        _Cpu.count()
        self._new_codes = [0] * len(CODES)
        self._new_seconds = [0.0] * len(CODES)

    def _write_soon(self) -> None:
        self._counted = True
        asyncio.get_running_loop().call_later(_WRITE_SECONDS, self.flush)

    def refused(self) -> None:
        """Count a request that found the queue full; it is counted as an answered one, too."""
        self._refused.inc()

    def late(self) -> None:
        """Count a request whose deadline could not be met; it is counted as an answered one, too."""
        self._late.inc()

    def run(self, report: RunReport) -> None:
        """Count a run of the model, on the event loop."""
        self._queue.add(max(report.waits))
        self._compute.add(report.seconds)
        self._rows.add(report.rows)
        if not self._counted:
            self._write_soon()
        totals, requests = self.totals, len(report.waits)
        totals.runs += 1
        totals.rows += report.rows
        totals.requests += requests
        totals.queue_seconds += sum(report.waits)
        totals.compute_seconds += report.seconds * requests
        totals.last_run = time.perf_counter()

    def unseen(self, levels: Mapping[str, int]) -> None:
        """Count category values that training never saw, by column."""
        for column, n in levels.items():
            UNSEEN_LEVELS.labels(self._model, column).inc(n)
