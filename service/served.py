"""One version of one model at work: from a request to its answer.

Rows of JSON come as a body and leave as one; the open protocols bring columns and take predictions, which they read and
write themselves. In between they are gathered and run together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import orjson

from models.errors import RequestError
from models.repository import StoredModel
from models.session import Predictions, Session
from service.arrivals import Arrivals
from service.batcher import (
    SHORT_RUN_SECONDS,
    SHORT_RUN_SECONDS_ON_ONE_CORE,
    Batcher,
    DeadlineExceeded,
    QueueFull,
    Waiting,
)
from service.byte_budget import ByteBudget
from service.columns import ColumnReader, Columns
from service.encode import Encoder, NotFinite
from service.http import (
    BYTE_ORDER_MARK,
    JSON,
    BodyReader,
    ClientGone,
    Header,
    Receive,
    error_body,
    refusal_body,
    retry_after,
)
from service.limits import usable_cores
from service.metrics import Meter
from service.pieces import LONG_BODY
from service.reading import OneRow, RowsReader, decoded_bytes
from service.row_columns import JsonRows, RowColumns
from service.rows import GraphInputs, Row
from service.run_size import cheapest_size
from service.runner import Runner, joined
from service.settings import Settings
from service.terms import USUAL, Terms, server_timing

logger = logging.getLogger("rowcast.service")

_TIMED_RUNS = 5
_PATIENCE_SECONDS = 0.005
"""How long rows are queued before anyone looks whether their caller is still there: looking costs as much as a row."""


class NoAnswer(RequestError):
    """A good request that the model could not answer; the service's log says why. Its ``status`` is 500."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=500)


class Reply(NamedTuple):
    """What a caller is told."""

    status: int
    """The HTTP status."""
    body: bytes
    headers: tuple[Header, ...] = ()
    """Beyond those that every answer has."""
    content_type: bytes = JSON


def refused_with(error: RequestError) -> Reply:
    """What is told of a request that is refused."""
    headers = (retry_after(error.retry_after_seconds),) if isinstance(error, QueueFull) else ()
    return Reply(error.status, refusal_body(error), headers)


def _timed(reply: Reply, waiting: Waiting) -> Reply:
    """A reply with how long its rows were queued and run."""
    timing = server_timing(waiting.queue_seconds, waiting.compute_seconds)
    return reply._replace(headers=(*reply.headers, timing))


class ServedModel:
    """One version of one model.

    Args:
        stored: the verified version.
        versions: every version of this name that is served.
        settings: the service's.
        budget: the bytes of the worker.
    """

    def __init__(self, stored: StoredModel, versions: list[int], settings: Settings, budget: ByteBudget) -> None:
        self.manifest = stored.manifest
        self.signature = stored.manifest.signature.public()
        """What is not shown is not known here either: it cannot be told by a metric or a message."""
        self.name = stored.manifest.name
        self.version = stored.manifest.version
        self.versions = versions
        self.max_body = int(settings.max_body)
        self.max_queue = settings.max_queue
        self.has_second_core = usable_cores() > settings.workers
        self.columns = ColumnReader(self.signature, settings.max_rows)
        self.inputs = GraphInputs(self.signature)
        self.encoder = Encoder(self.name, self.version, self.signature)
        self.example = {"rows": [self.signature.example_row()]}
        self.description = {
            "name": self.name,
            "version": self.version,
            "versions": versions,
            "created": self.manifest.created,
            "sha256": stored.sha256,
            "signature": self.signature.model_dump(mode="json"),
            "metrics": self.manifest.metrics,
            "example": self.example,
        }
        self.meter = Meter(self.name)
        self.reader = RowsReader(self.signature, settings.max_rows, self.meter)
        self.budget = budget
        self.bodies = BodyReader(budget)
        self._batcher: Batcher | None = None

    def load(self, stored: StoredModel, device: str, thread: ThreadPoolExecutor, arrivals: Arrivals) -> str:
        """Open the session, warm it up and start the batcher, on the running event loop.

        Returns:
            The execution provider that it runs on.

        Raises:
            ModelRefused: the graph and its manifest do not belong together.
            DeviceError: CUDA was demanded and is absent.
        """
        session = Session.of(stored, device)
        session.warm_up()
        run = Runner(session, self.inputs, self.reader, self.encoder)
        row = self.reader.decoder.rows(orjson.dumps(self.example))
        max_rows = cheapest_size(lambda rows: run([row * rows]))
        apart = self.has_second_core or session.provider != "CPUExecutionProvider"  # a GPU leaves the core to the loop
        self._batcher = Batcher(
            run,
            thread,
            join=joined,
            max_rows=max_rows,
            max_queue=self.max_queue,
            seconds_per_row=_seconds_per_row(run, row),
            drain_seconds_per_row=_seconds_per_row(run, row * max_rows),
            short_run_seconds=SHORT_RUN_SECONDS if apart else SHORT_RUN_SECONDS_ON_ONE_CORE,
            report=self.meter.run,
            max_bytes=self.budget.limit,
            arrivals=arrivals,
            has_room=self.budget.has_room,
        )
        self.budget.count(lambda: self.batcher.bytes)
        return session.provider

    @property
    def batcher(self) -> Batcher:
        """The batcher of a loaded model."""
        assert self._batcher is not None, "the model is not loaded yet"
        return self._batcher

    def ask(
        self, body: bytes, done: Callable[[Reply], None], since: float = 0.0, *, terms: Terms = USUAL
    ) -> Waiting | None:
        """Answer a request: decode, validate, gather with whatever other requests wait, run, encode.

        Args:
            body: the request's.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            terms: what its headers ask for.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.
        """
        body = body.removeprefix(BYTE_ORDER_MARK)
        try:
            self.batcher.admit()  # when there is no room for even a row, the body need not be understood
            return self._enqueue(self.reader.begin(body), len(body), done, terms, since)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(self.refusal(error))
            return None

    def _enqueue(
        self, rows: JsonRows | OneRow, size: int, done: Callable[[Reply], None], terms: Terms, since: float
    ) -> Waiting:
        waiting = self._queued(rows, size, done, terms, since)
        if not isinstance(rows, OneRow):  # which is counted when it is read
            self.reader.count(rows)
        return waiting

    def _queued(
        self, rows: JsonRows | OneRow, size: int, done: Callable[[Reply], None], terms: Terms, since: float
    ) -> Waiting:
        if terms is USUAL:
            return self.batcher.enqueue(rows, lambda outcome: done(self._reply(outcome)), size=size)

        def tell(outcome: Any) -> None:
            reply = self._reply(outcome)
            done(_timed(reply, waiting) if terms.timed else reply)

        waiting = self.batcher.enqueue(rows, tell, deadline=terms.deadline(since), size=size)
        return waiting

    def admit(self) -> None:
        """Make sure that there is room for a request of columns, before it is read.

        Raises:
            QueueFull: there is none for even a row.
        """
        try:
            self.batcher.admit()
        except QueueFull:
            self.meter.refused()
            raise

    def ask_columns(
        self,
        columns: Columns,
        done: Callable[[Predictions | RequestError], None],
        *,
        deadline: float | None = None,
        priority: int = 0,
        size: int = 0,
    ) -> Waiting | None:
        """Answer a request of columns: gather with whatever other requests wait, and run.

        Args:
            columns: what :attr:`columns` has read. Levels that training never saw are counted.
            done: told the predictions, in the order of the rows, or why there are none: :class:`QueueFull` and
                :class:`DeadlineExceeded`, during this call or later, or :class:`NoAnswer`, later from the event loop.
            deadline: by when it has to be answered, on the clock of ``time.perf_counter``.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that the request came in.

        Returns:
            The queued request, to be cancelled when its caller is gone, which knows in the end how long it was queued
            and run; None when the outcome has been told.
        """
        try:
            waiting = self.batcher.enqueue(
                columns,
                lambda outcome: done(self._outcome(outcome)),
                deadline=deadline,
                priority=priority,
                size=size,
            )
        except (QueueFull, DeadlineExceeded) as refusal:
            self._count_refusal(refusal)
            done(refusal)
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(self._outcome(error))
            return None
        unseen = self.columns.unseen(columns)
        if unseen:
            self.meter.unseen(unseen)
        return waiting

    def reply_to(
        self,
        columns: Columns,
        write: Callable[[Predictions], Reply],
        done: Callable[[Reply], None],
        *,
        refuse: Callable[[RequestError], Reply] = refused_with,
        deadline: float | None = None,
        priority: int = 0,
        size: int = 0,
        timed: bool = False,
    ) -> Waiting | None:
        """Answer a request of columns, as :meth:`ask_columns` does, with a reply.

        Args:
            columns: what :attr:`columns` has read.
            write: makes the reply of the predictions.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            refuse: makes the reply of a refusal.
            deadline: by when it has to be answered, on the clock of ``time.perf_counter``.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that the request came in.
            timed: whether the reply tells how long the rows were queued and run.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.
        """
        waiting: Waiting | None = None

        def tell(outcome: Any) -> None:
            reply = self._written(write, refuse, outcome)
            done(reply if waiting is None or not timed else _timed(reply, waiting))

        waiting = self.ask_columns(columns, tell, deadline=deadline, priority=priority, size=size)
        return waiting

    async def answer(
        self, body: bytes, receive: Receive | None = None, terms: Terms = USUAL, since: float = 0.0
    ) -> Reply:
        """Answer a request, as :meth:`ask` does, for a caller who awaits.

        A long body is read piece by piece, and others are answered in between.

        Args:
            body: the request's.
            receive: the request's, to notice that its caller hangs up while the rows are queued.
            terms: what its headers ask for.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        ask = partial(self.ask, body, since=since, terms=terms)
        if len(body) > LONG_BODY:
            body = body.removeprefix(BYTE_ORDER_MARK)
            try:
                self.batcher.admit(size=len(body))
                async with self.budget.decoding(len(body)):
                    rows = await self.reader.read_long(body)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                return self.refusal(error)
            size = len(body) + decoded_bytes(rows)
            ask = partial(self._ask_rows, rows, size, terms=terms, since=since)
        reply: Reply = await self.told(ask, receive)
        return reply

    async def answer_rows(
        self, rows: RowColumns, size: int, receive: Receive | None = None, terms: Terms = USUAL, since: float = 0.0
    ) -> Reply:
        """Answer a request whose rows :attr:`reader` has read, as :meth:`answer` does.

        Args:
            rows: the request's.
            size: bytes that it came in.
            receive: the request's, to notice that its caller hangs up while the rows are queued.
            terms: what its headers ask for.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        reply: Reply = await self.told(partial(self._ask_rows, rows, size, terms=terms, since=since), receive)
        return reply

    def _ask_rows(
        self,
        rows: JsonRows | OneRow,
        size: int,
        done: Callable[[Reply], None],
        terms: Terms,
        since: float,
    ) -> Waiting | None:
        try:
            return self._enqueue(rows, size, done, terms, since)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(self.refusal(error))
            return None

    async def answer_columns(
        self,
        columns: Columns,
        receive: Receive | None = None,
        *,
        deadline: float | None = None,
        priority: int = 0,
        size: int = 0,
        queued: Callable[[Waiting], None] | None = None,
    ) -> Predictions:
        """Answer a request of columns, as :meth:`ask_columns` does, for a caller who awaits.

        Cancelled while it waits, the rows are not computed.

        Args:
            columns: what :attr:`columns` has read.
            receive: the request's, to notice that its caller hangs up while the rows are queued.
            deadline: by when it has to be answered, on the clock of ``time.perf_counter``.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that the request came in.
            queued: given the queued request, which knows in the end how long it was queued and run.

        Raises:
            QueueFull: too much waits already.
            DeadlineExceeded: it could not be answered by its deadline.
            NoAnswer: the model could not answer.
            ClientGone: the caller hung up.
        """

        def ask(done: Callable[[Predictions | RequestError], None]) -> Waiting | None:
            waiting = self.ask_columns(columns, done, deadline=deadline, priority=priority, size=size)
            if queued is not None and waiting is not None:
                queued(waiting)
            return waiting

        outcome: Predictions | RequestError = await self.told(ask, receive)
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

    async def told(self, ask: Callable[[Callable[[Any], None]], Waiting | None], receive: Receive | None) -> Any:
        """What is told in the end of a request that ``ask`` starts.

        Cancelled while it waits, the rows are not computed.

        Args:
            ask: takes what is told, and returns the queued request, or None when it has been told.
            receive: the request's, to notice that its caller hangs up while the rows are queued.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        must_wait = self.batcher.busy
        waiting = ask(lambda told: None if answer.done() else answer.set_result(told))
        watch: asyncio.TimerHandle | None = None
        if waiting is not None:
            answer.add_done_callback(lambda _: waiting.cancel())
            if must_wait and receive is not None:
                watch = answer.get_loop().call_later(_PATIENCE_SECONDS, _give_up_when_gone, answer, receive)
        try:
            return await answer
        finally:
            if watch is not None:
                watch.cancel()

    def _reply(self, outcome: Any) -> Reply:
        """What is told of rows that were run, were none, or waited until their deadline."""
        if isinstance(outcome, Exception):
            outcome = self._outcome(outcome)
        return self._written(self._in_json, refused_with, outcome)

    def _in_json(self, answers: list[bytes]) -> Reply:
        return Reply(200, self.encoder.answer(answers))

    def _written(self, write: Callable[[Any], Reply], refuse: Callable[[RequestError], Reply], outcome: Any) -> Reply:
        """What is told of an outcome. Nobody else tells the caller anything, so this raises nothing."""
        try:
            return refuse(outcome) if isinstance(outcome, RequestError) else write(outcome)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            return self.refusal(error)

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that was not queued; counts it, and logs what no caller is told."""
        if not isinstance(error, RequestError):
            logger.error("a request to %s failed", self.name, exc_info=error)
            return Reply(500, error_body("something went wrong on the server; its log says what"))
        self._count_refusal(error)
        return refused_with(error)

    def _count_refusal(self, error: RequestError) -> None:
        if isinstance(error, QueueFull):
            self.meter.refused()
        elif isinstance(error, DeadlineExceeded):
            self.meter.late()

    def _outcome(self, outcome: Any) -> Any:
        """What is told of columns that were run: what the run gave, or an exception that may be shown."""
        if not isinstance(outcome, Exception):
            return outcome
        if isinstance(outcome, RequestError):
            self._count_refusal(outcome)
            return outcome
        if isinstance(outcome, NotFinite):
            logger.error("%s:%d: %s", self.name, self.version, outcome)
            return NoAnswer("the model gave an answer that is not a finite number")
        logger.error("%s:%d could not answer", self.name, self.version, exc_info=outcome)
        return NoAnswer("the model could not answer these rows")


def _seconds_per_row(run: Runner, rows: list[Row]) -> float:
    """How long a row takes in a run of these, once such a run is nothing new."""
    run([rows])
    started = time.perf_counter()
    for _ in range(_TIMED_RUNS):
        run([rows])
    return (time.perf_counter() - started) / _TIMED_RUNS / len(rows)


def _give_up_when_gone(answer: asyncio.Future[Reply], receive: Receive) -> None:
    """Watch over a request that is being queued: when its caller hangs up, it is over."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answer.done():
            answer.set_exception(ClientGone())

    if not answer.done():
        watcher = asyncio.ensure_future(watch())
        answer.add_done_callback(lambda _: watcher.cancel())
