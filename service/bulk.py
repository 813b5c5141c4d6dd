"""Requests of any number of rows: cut into runs, between which other callers have their turn.

At any moment only a few of a request's runs are queued: one that runs, and one that follows it at once. Whoever else
asks waits behind those, not behind the whole request. The answer is gathered and sent as one, so that a request is
either answered whole, or refused with everything that is wrong with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from itertools import chain, islice

from models.arrow import MEDIA_TYPE
from models.errors import Fault, RequestError
from models.session import Predictions
from service.arrow import ArrowEncoder, ArrowReader, LookedAt, OpenStream
from service.ask import TakesLong
from service.batcher import MAX_BATCH_ROWS, QueueFull, Waiting
from service.columns import Columns
from service.faults import refused
from service.http import ClientGone, Receive
from service.served import Reply, ServedModel, refused_with
from service.terms import USUAL, Terms

_QUEUED_RUNS = 2
"""Full runs of a request that are in the queue or being run."""
_ENCODED_ROWS = 8192
"""Rows that are gathered before they are encoded, as one record batch."""
_LOOKED_AT = 16
"""Record batches that are looked at before others have their turn."""
_POLL_SECONDS = 0.02
"""How often a request that is under way asks whether there is room for more of its rows."""
_PATIENCE_SECONDS = 30.0
"""How long it asks."""


class _LongStream(TakesLong):
    """An open stream, and what is known of its record batches."""

    def __init__(self, stream: OpenStream, looked_at: Iterator[LookedAt]) -> None:
        super().__init__()
        self.stream = stream
        self.looked_at = looked_at


class Bulk:
    """Answers Arrow streams for one model.

    Args:
        served: the model.
        max_rows: rows that a request of any kind may hold; a stream may hold more.
    """

    def __init__(self, served: ServedModel, max_rows: int) -> None:
        self._served = served
        self._reader = ArrowReader(served.signature, max_rows, served.max_body)
        self._encoder = ArrowEncoder(served.name, served.version, served.signature)

    def ask(
        self, body: bytes, done: Callable[[Reply], None], since: float = 0.0, *, terms: Terms = USUAL
    ) -> Waiting | None:
        """Answer a request of few rows.

        Args:
            body: the request's.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            terms: what its headers ask for.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.

        Raises:
            TakesLong: it has more rows or record batches than are answered in one go; ``done`` was told nothing.
        """
        try:
            self._served.batcher.admit()  # when there is no room for even a row, the body need not be understood
            stream = self._reader.open(body)
            looked_at = stream.batches()
            first = list(islice(looked_at, _LOOKED_AT))
            if len(first) == _LOOKED_AT or stream.rows > MAX_BATCH_ROWS:
                raise _LongStream(stream, chain(first, looked_at))
            columns = _whole(stream.parts(first))
        except TakesLong:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(self._served.refusal(error))
            return None

        def write(answer: Predictions) -> Reply:
            return self._reply(self._encoder.batch([answer]))

        return self._served.reply_to(columns, write, done, deadline=terms.deadline(since), timed=terms.timed)

    async def answer(self, body: bytes, receive: Receive, terms: Terms = USUAL, since: float = 0.0) -> Reply:
        """Answer a request.

        Args:
            body: the request's.
            receive: the request's, to notice that its caller hangs up.
            terms: what its headers ask for; each of its runs has the request's own deadline.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        try:
            ask = partial(self.ask, body, since=since, terms=terms)
            reply: Reply = await self._served.told(ask, receive)
        except _LongStream as long:
            stream, looked_at = long.stream, long.looked_at
        else:
            return reply
        try:
            return await self._long(stream, looked_at, receive, terms.deadline(since))
        except RequestError as error:
            return refused_with(error)

    async def _long(
        self, stream: OpenStream, looked_at: Iterator[LookedAt], receive: Receive, deadline: float | None
    ) -> Reply:
        """Answer a request of several runs, while its caller is there."""
        work = asyncio.ensure_future(self._work(stream, looked_at, deadline))
        watch = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientGone
            return self._reply(work.result())
        finally:
            work.cancel()
            watch.cancel()

    def _reply(self, batches: list[bytes]) -> Reply:
        body = b"".join([self._encoder.head, *batches, self._encoder.end])
        return Reply(200, body, content_type=MEDIA_TYPE.encode())

    async def _work(self, stream: OpenStream, looked_at: Iterator[LookedAt], deadline: float | None) -> list[bytes]:
        """The record batches of the answer."""
        batches = []
        for batch in looked_at:
            batches.append(batch)
            if len(batches) % _LOOKED_AT == 0:
                await asyncio.sleep(0)
        parts: list[bytes] = []
        gathered: list[Predictions] = []
        rows = 0

        def gather(answer: Predictions | None) -> None:
            nonlocal rows
            if answer is not None:
                gathered.append(answer)
                rows += len(answer)
            if gathered and (answer is None or rows >= _ENCODED_ROWS):
                parts.extend(self._encoder.batch(gathered))
                gathered.clear()
                rows = 0

        window = _Window(self._served, gather, deadline)
        run_rows = self._served.batcher.max_rows
        try:
            faults: list[Fault] = []
            for part in stream.parts(batches):
                if isinstance(part, RequestError):
                    faults.extend(part.faults)
                    window.close()
                    if part.status != HTTPStatus.BAD_REQUEST or not part.faults or len(faults) >= part.MAX_FAULTS:
                        break
                elif not faults:
                    for start in range(0, len(part), run_rows):
                        await window.put(part[start : start + run_rows])
                if faults:  # the rest is only looked at for more of them
                    await asyncio.sleep(0)
            if faults:
                raise refused(*faults)
            await window.drain()
        finally:
            window.close()
        gather(None)
        return parts


def _whole(parts: Iterable[Columns | RequestError]) -> Columns:
    """The rows of a short request.

    Raises:
        RequestError: with what is wrong with any of them.
    """
    columns: list[Columns] = []
    faults: list[Fault] = []
    for part in parts:
        if isinstance(part, RequestError):
            if part.status != HTTPStatus.BAD_REQUEST or not part.faults:
                raise part
            faults.extend(part.faults)
        else:
            columns.append(part)
    if faults:
        raise refused(*faults)
    return Columns.joined([part.blocks for part in columns])


class _Window:
    """The runs of a request that are under way.

    Args:
        served: the model.
        done: given the answer to each run, in the order in which they were put.
        deadline: by when each has to be answered.
    """

    def __init__(self, served: ServedModel, done: Callable[[Predictions], None], deadline: float | None) -> None:
        self._served = served
        self._done = done
        self._deadline = deadline
        self._runs: deque[tuple[int, asyncio.Future[Predictions]]] = deque()
        self._rows = 0
        self._most_rows = _QUEUED_RUNS * served.batcher.max_rows
        self._begun = False

    async def put(self, columns: Columns) -> None:
        """Queue some rows, as soon as there is room for them."""
        while self._runs and self._rows + len(columns) > self._most_rows:
            await self._next()
        self._runs.append((len(columns), asyncio.ensure_future(self._run(columns, patient=self._begun))))
        self._rows += len(columns)
        self._begun = True

    async def drain(self) -> None:
        """Wait for all that are under way."""
        while self._runs:
            await self._next()

    def close(self) -> None:
        """Give up all that are under way: what still waits is not computed."""
        for _, run in self._runs:
            run.cancel()
        self._runs.clear()
        self._rows = 0

    async def _next(self) -> None:
        rows, run = self._runs[0]
        answer = await run
        self._runs.popleft()
        self._rows -= rows
        self._done(answer)

    async def _run(self, columns: Columns, *, patient: bool) -> Predictions:
        if patient:
            await self._room(len(columns))
        return await self._served.answer_columns(columns, deadline=self._deadline)

    async def _room(self, rows: int) -> None:
        """Wait until the queue has room: a request that is half done is not refused because others came."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE_SECONDS
        while True:
            try:
                self._served.batcher.admit(rows)
            except QueueFull:
                if loop.time() > give_up:
                    raise
            else:
                return
            await asyncio.sleep(_POLL_SECONDS)


async def _gone(receive: Receive) -> None:
    """Return when the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
