"""One version of one model at work: rows in, and what the model says of them out, whatever protocol brought them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import RequestError
from rowcast.models.labels import LABEL_TYPE
from rowcast.models.machine.limits import usable_cores
from rowcast.models.repository import StoredModel
from rowcast.models.session import Predictions, Session
from rowcast.models.signature import Column
from rowcast.models.texts.columns import text_reader
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.engine.arrivals import Arrivals
from rowcast.service.engine.batch_size import cheapest_size
from rowcast.service.engine.batcher import SHORT_RUN_SECONDS, SHORT_RUN_SECONDS_ON_ONE_CORE, Batcher
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.engine.runner import NotFinite, Request, Runner, joined
from rowcast.service.errors import DeadlineExceeded, QueueFull
from rowcast.service.limits.byte_budget import ByteBudget
from rowcast.service.limits.byte_rule import SMALL_BODY, SMALL_BODY_OF_TEXTS
from rowcast.service.metrics.counts import Meter
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

_TIMED_RUNS = 5


class NoAnswer(RequestError):
    """A good request that the model could not answer; the service's log says why. Its ``status`` is 500."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=500)


class _Opened(NamedTuple):
    """A session that is ready, and what was measured of it."""

    run: Runner
    max_rows: int
    seconds_per_row: float
    drain_seconds_per_row: float
    provider: str


class _UnseenCounter:
    """Counts levels that training never saw. The runner has it, and through it must not hold its model: whoever is
    replaced goes with its last request, without the garbage collector."""

    def __init__(self, columns: ColumnReader, meter: Meter) -> None:
        self._columns = columns
        self._meter = meter

    def __call__(self, columns: Columns) -> None:
        unseen = self._columns.unseen(columns)
        if unseen:
            self._meter.unseen(unseen)


class Model:
    """One version of one model.

    Nothing that it holds holds it: when it is replaced, and the last request that it answers is done, it is gone, and
    its session with it.

    Args:
        stored: the verified version.
        versions: every version of this name that is served, oldest first.
        settings: the service's.
        budget: the bytes of the worker.
    """

    def __init__(self, stored: StoredModel, versions: list[int], settings: Settings, budget: ByteBudget) -> None:
        self.manifest = stored.manifest
        self.sha256 = stored.sha256
        self.signature = stored.manifest.signature.public()
        """What is not shown is not known here either: it cannot be told by a metric or a message."""
        self.name = stored.manifest.name
        self.version = stored.manifest.version
        self.provider = ""
        """The execution provider that it runs on, once it is loaded."""
        self.max_body = int(settings.max_body)
        self.max_queue = settings.max_queue
        self.has_second_core = usable_cores() > settings.workers
        reads_texts = any(column.levels_of or text_reader(column) for column in self.signature.columns)
        self.small_body = SMALL_BODY_OF_TEXTS if reads_texts else SMALL_BODY
        """Bytes of a body that is decoded in one go."""
        self.columns = ColumnReader(self.signature, settings.max_rows)
        self.layout = Layout(self.signature)
        self.example = {"rows": [self.signature.example_row()]}
        self.description: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "versions": versions,  # told anew when others of the name come and go
            "created": self.manifest.created,
            "sha256": stored.sha256,
            "signature": self.signature.model_dump(mode="json"),
            "metrics": self.manifest.metrics,
            "example": self.example,
        }
        if (label_type := self.manifest.data.get(LABEL_TYPE, "text")) != "text":
            self.description[LABEL_TYPE] = label_type
        if self.manifest.threshold is not None:
            self.description["threshold"] = self.manifest.threshold
        self.meter = Meter(self.name)
        self.budget = budget
        self._count_unseen = _UnseenCounter(self.columns, self.meter)
        self._opened: _Opened | None = None
        self.run: Runner | None = None
        """What runs it, once it has begun; and how long a row of a run takes, measured when it was opened."""
        self.seconds_per_row = 0.0
        self._batcher: Batcher | None = None

    def load(self, stored: StoredModel, device: str, thread: ThreadPoolExecutor, arrivals: Arrivals) -> None:
        """Open the session, warm it up and start the batcher, on the running event loop.

        Args:
            stored: the version.
            device: that it runs on.
            thread: where longer runs go.
            arrivals: requests that are about to be queued.

        Raises:
            ModelRefused: the graph and its manifest do not belong together.
            DeviceError: CUDA was demanded and is absent.
        """
        self.open(stored, device)
        self.begin(thread, arrivals)

    def open(self, stored: StoredModel, device: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """Open the session, warm it up, and measure how long runs take; on any thread.

        Args:
            stored: the version.
            device: that it runs on.
            clock: seconds. On a thread beside others that of the thread: what they take is not the model's.

        Raises:
            ModelRefused: the graph and its manifest do not belong together.
            DeviceError: CUDA was demanded and is absent.
        """
        session = Session.of(stored, device)
        session.warm_up()
        if session.provider != "CPUExecutionProvider":
            clock = time.perf_counter  # the thread only waits for it
        run = Runner(session, self.layout, self._count_unseen)
        max_rows = cheapest_size(lambda rows: run([self._missing(rows)]), clock)
        one, full = (_seconds_per_row(run, self._missing(rows), clock) for rows in (1, max_rows))
        self._opened = _Opened(run, max_rows, one, full, session.provider)

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and has yet to begin."""
        return self._opened is not None

    def begin(self, thread: ThreadPoolExecutor, arrivals: Arrivals) -> None:
        """Start the batcher of a model that is open, on the running event loop; it takes no time."""
        opened, self._opened = self._opened, None
        assert opened is not None, "the model is not open yet"
        self.provider = opened.provider
        self.run, self.seconds_per_row = opened.run, opened.drain_seconds_per_row
        # a GPU leaves the core to the loop
        apart = self.has_second_core or self.provider != "CPUExecutionProvider"
        self._batcher = Batcher(
            opened.run,
            thread,
            join=joined,
            max_rows=opened.max_rows,
            max_queue=self.max_queue,
            seconds_per_row=opened.seconds_per_row,
            drain_seconds_per_row=opened.drain_seconds_per_row,
            short_run_seconds=SHORT_RUN_SECONDS if apart else SHORT_RUN_SECONDS_ON_ONE_CORE,
            report=self.meter.run,
            max_bytes=self.budget.limit,
            arrivals=arrivals,
            has_room=self.budget.has_room,
        )
        self.budget.count(self._batcher)

    @property
    def versions(self) -> list[int]:
        """Every version of this name that is served, oldest first."""
        return self.description["versions"]  # type: ignore[no-any-return]

    @versions.setter
    def versions(self, versions: list[int]) -> None:
        self.description["versions"] = versions

    @property
    def batcher(self) -> Batcher:
        """The batcher of a loaded model."""
        assert self._batcher is not None, "the model is not loaded yet"
        return self._batcher

    def admit(self, claimed_rows: int, priority: int) -> None:
        """Make sure that there is room for a request of columns, before it is read.

        Args:
            claimed_rows: that it says it holds.
            priority: as :meth:`Batcher.admit` has it.

        Raises:
            QueueFull: there is none.
        """
        try:
            self.batcher.admit(max(1, min(claimed_rows, self.columns.max_rows)), priority)
        except QueueFull:
            self.meter.refused()
            raise

    def submit(
        self,
        rows: Request,
        on_response: Callable[[Any], None],
        *,
        deadline: float | None = None,
        priority: int = 0,
        size: int = 0,
    ) -> QueuedRequest | None:
        """Have the rows of a request run, with those of whatever other requests wait.

        Args:
            rows: of the request. Levels that training never saw are counted.
            on_response: called with what the run gives for them, in their order, or the exception that they ended in,
                which :meth:`refusal_of` makes one that may be shown; during this call or later from the event loop.
            deadline: by when it has to be answered, on the clock of ``time.perf_counter``.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that the request came in.

        Returns:
            The queued request, to be cancelled when its caller is gone, which knows in the end how long it was queued
            and run; None when the outcome has been told.
        """
        try:
            waiting = self.batcher.enqueue(rows, on_response, deadline=deadline, priority=priority, size=size)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            on_response(error)
            return None
        if isinstance(rows, Columns):  # of others it is known when they are read
            self._count_unseen(rows)
        return waiting

    async def answer_columns(
        self,
        columns: Columns,
        *,
        deadline: float | None = None,
        priority: int = 0,
        size: int = 0,
        queued: Callable[[QueuedRequest], None] | None = None,
    ) -> Predictions:
        """Have the rows of a request run, as :meth:`submit` does, for a caller who awaits.

        Cancelled while it waits, the rows are not computed.

        Args:
            columns: what :attr:`columns` has read.
            deadline: by when it has to be answered, on the clock of ``time.perf_counter``.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that the request came in.
            queued: given the queued request, which knows in the end how long it was queued and run.

        Raises:
            QueueFull: too much waits already.
            DeadlineExceeded: it could not be answered by its deadline.
            NoAnswer: the model could not answer.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def respond(outcome: Any) -> None:
            if not answer.done():
                answer.set_result(self.refusal_of(outcome) if isinstance(outcome, Exception) else outcome)

        waiting = self.submit(columns, respond, deadline=deadline, priority=priority, size=size)
        if waiting is not None:
            answer.add_done_callback(lambda _: waiting.cancel())
            if queued is not None:
                queued(waiting)
        outcome: Predictions | RequestError = await answer
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

    def count_refusal(self, error: RequestError) -> None:
        """Count a request that is refused, where the metrics tell of such refusals."""
        if isinstance(error, QueueFull):
            self.meter.refused()
        elif isinstance(error, DeadlineExceeded):
            self.meter.late()

    def refusal_of(self, error: Exception) -> RequestError:
        """What is told of rows that were not answered, for whatever reason; counts it, or logs what nobody is told."""
        if isinstance(error, RequestError):
            self.count_refusal(error)
            return error
        if isinstance(error, NotFinite):
            logger.error("%s:%d: %s", self.name, self.version, error)
            return NoAnswer("the model gave an answer that is not a finite number")
        logger.error("%s:%d could not answer", self.name, self.version, exc_info=error)
        return NoAnswer("the model could not answer these rows")

    def _missing(self, rows: int) -> Columns:
        """So many rows whose every value is missing."""
        return Columns([_missing_block(columns, rows) for columns in self.layout.blocks])


def _missing_block(columns: list[Column], rows: int) -> NDArray[Any]:
    return np.full((len(columns), rows, 1), columns[0].missing, columns[0].dtype)


def _seconds_per_row(run: Runner, rows: Columns, clock: Callable[[], float]) -> float:
    """How long a row takes in a run of these, once such a run is nothing new."""
    run([rows])
    started = clock()
    for _ in range(_TIMED_RUNS):
        run([rows])
    return (clock() - started) / _TIMED_RUNS / len(rows)
