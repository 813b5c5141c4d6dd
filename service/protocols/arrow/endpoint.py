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
from typing import Any

from rowcast.models.arrow import MEDIA_TYPE
from rowcast.models.errors import Fault, RequestError
from rowcast.models.session import Predictions
from rowcast.service.columns.named import Columns
from rowcast.service.engine.batcher import MAX_BATCH_ROWS
from rowcast.service.engine.model import Model
from rowcast.service.errors import QueueFull, bad_request
from rowcast.service.http.body import ClientGone, Receive
from rowcast.service.http.endpoint import Decoded, Endpoint
from rowcast.service.http.handlers import TakesLong
from rowcast.service.http.options import NO_OPTIONS, RequestOptions
from rowcast.service.http.reply import Reply, refused_with
from rowcast.service.protocols.arrow.bounds import Bounds
from rowcast.service.protocols.arrow.stream import ArrowEncoder, ArrowReader, LookedAt, OpenStream, Part

_QUEUED_RUNS = 2
"""Full runs of a request that are in the queue or being run."""
_ENCODED_ROWS = 8192
"""Rows that are gathered before they are encoded, as one record batch."""
_ENCODED_VALUES = 2**18
"""The same in values, for models of many classes: to encode as many takes a few milliseconds."""
_SHORT_BODY = 2**17
"""Bytes of a body that is answered in one go. Whatever is in them is read within some milliseconds."""
_LOOKED_AT = 512
"""Columns of record batches that are looked at before others have their turn, which takes two milliseconds."""
_LOOKED_AT_BATCHES = 16
"""The same in record batches, and dictionaries."""
_POLL_SECONDS = 0.02
"""How often a request that is under way asks whether there is room for more of its rows."""
_PATIENCE_SECONDS = 30.0
"""How long it asks."""


class _LongStream(TakesLong):
    """An open stream, and what is known of its messages.

    Args:
        stream: the stream.
        looked_at: the first of its messages.
        rest: the others; None where there are none.
    """

    def __init__(
        self, stream: OpenStream, looked_at: list[LookedAt | None], rest: Iterator[LookedAt | None] | None
    ) -> None:
        super().__init__()
        self.stream = stream
        self.looked_at = looked_at
        self.rest = rest


class ArrowEndpoint(Endpoint):
    """Answers Arrow streams for one model, which may hold more rows than a request of any other kind.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._reader = ArrowReader(model.signature, model.columns.max_rows, model.max_body)
        self._encoder = ArrowEncoder(model.name, model.version, model.signature)

    def decode(self, body: bytes, form: Any) -> Decoded:
        """Read a stream of few rows and record batches."""
        return Decoded(self._read(self._reader.open(body), len(body)), self._written)

    def _read(self, stream: OpenStream, size: int) -> Columns:
        """The rows of a short stream.

        Raises:
            RequestError: what is wrong with it.
            TakesLong: it is none.
        """
        messages = stream.batches()
        if size > _SHORT_BODY:
            raise _LongStream(stream, [], messages)
        step = _step(stream)
        first = list(islice(messages, step + 1))
        if len(first) > step:
            raise _LongStream(stream, [], chain(first, messages))
        if stream.rows > min(MAX_BATCH_ROWS, stream.bounds.at_once_rows):
            raise _LongStream(stream, first, None)
        parts: list[Part | RequestError] = []
        text_bytes = 0
        for part in stream.parts(first):
            if isinstance(part, Part):
                text_bytes += part.text_bytes
                if text_bytes > stream.bounds.part_text:
                    raise _LongStream(stream, first, None)
            if part is not None:
                parts.append(part)
        return _whole(parts)

    async def answer(
        self, body: bytes, receive: Receive, since: float = 0.0, *, options: RequestOptions = NO_OPTIONS
    ) -> Reply:
        """Answer a stream of any length, as :meth:`handle` does, for a caller who awaits.

        Each of its runs has the request's own deadline.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        try:
            return await self.wait(partial(self.handle, body, since=since, options=options), receive)
        except _LongStream as taken:
            long = taken
        try:
            return await self._long(long, receive, options.deadline(since))
        except RequestError as error:
            return refused_with(error)

    async def _long(self, long: _LongStream, receive: Receive, deadline: float | None) -> Reply:
        """Answer a request of several runs, while its caller is there."""
        work = asyncio.ensure_future(self._work(long, deadline))
        watch = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientGone
            return self._reply(work.result())
        finally:
            work.cancel()
            watch.cancel()

    def _written(self, answer: Predictions) -> Reply:
        return self._reply(self._encoder.batch([answer]))

    def _reply(self, batches: list[bytes]) -> Reply:
        body = b"".join([self._encoder.head, *batches, self._encoder.end])
        return Reply(200, body, content_type=MEDIA_TYPE.encode())

    async def _look(self, long: _LongStream) -> Iterable[LookedAt | None]:
        """The messages of a stream that have all been looked at.

        They are not kept: each takes several times its bytes. So they are looked at again as they are read, and what
        comes of the first look is how many rows there are, and that nothing is wrong with any.
        """
        if long.rest is None:
            return long.looked_at
        step = _step(long.stream)
        for n, _ in enumerate(long.rest, 1):
            if n % step == 0:
                await asyncio.sleep(0)
        return long.stream.batches()

    async def _work(self, long: _LongStream, deadline: float | None) -> list[bytes]:
        """The record batches of the answer."""
        stream = long.stream
        batches = await self._look(long)
        all_rows = max(1, stream.rows)
        parts: list[bytes] = []
        gathered: list[Predictions] = []
        rows = 0
        encoded_rows = max(1, min(_ENCODED_ROWS, _ENCODED_VALUES // max(1, len(self.model.signature.classes))))

        def gather(answer: Predictions | None) -> None:
            nonlocal rows
            if answer is not None:
                gathered.append(answer)
                rows += len(answer)
            if gathered and (answer is None or rows >= encoded_rows):
                parts.extend(self._encoder.batch(gathered))
                gathered.clear()
                rows = 0

        window = _Window(self.model, gather, deadline, stream.bounds)
        try:
            faults: list[Fault] = []
            for n, part in enumerate(stream.parts(batches)):
                if isinstance(part, RequestError):
                    if part.status != HTTPStatus.BAD_REQUEST or not part.faults:
                        raise part
                    faults.extend(part.faults)
                    window.close()
                    if len(faults) >= part.MAX_FAULTS:
                        break
                elif part is not None and not faults:
                    await window.put_part(part, all_rows)
                if part is not None or n % _LOOKED_AT_BATCHES == 0:
                    await asyncio.sleep(0)
            if faults:
                raise bad_request(*faults)
            await window.drain()
        finally:
            window.close()
        gather(None)
        return parts


def _step(stream: OpenStream) -> int:
    """Messages of a stream that are looked at before others have their turn."""
    return max(1, min(_LOOKED_AT_BATCHES, _LOOKED_AT // max(1, stream.n_fields)))


def _whole(parts: Iterable[Part | RequestError]) -> Columns:
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
            columns.append(part.columns)
    if faults:
        raise bad_request(*faults)
    return Columns.joined([part.blocks for part in columns])


class _Window:
    """The runs of a request that are under way.

    Args:
        model: the model.
        on_answer: given the answer to each run, in the order in which they were put.
        deadline: by when each has to be answered.
        bounds: of the stream.
    """

    def __init__(
        self, model: Model, on_answer: Callable[[Predictions], None], deadline: float | None, bounds: Bounds
    ) -> None:
        self._model = model
        self._on_answer = on_answer
        self._deadline = deadline
        self._runs: deque[tuple[int, int, asyncio.Future[Predictions]]] = deque()
        self._rows = self._text = 0
        self._most_rows = min(_QUEUED_RUNS * model.batcher.max_rows, bounds.waiting_rows)
        self._run_rows = min(model.batcher.max_rows, self._most_rows)
        self._most_text = bounds.part_text
        self._body_bytes = bounds.size
        self._begun = self._counted = False

    async def put_part(self, part: Part, all_rows: int) -> None:
        """Queue the rows of a part.

        Args:
            part: of the stream.
            all_rows: that the stream has: a run counts for its share of the stream's bytes.
        """
        rows = len(part.columns)
        for start in range(0, rows, self._run_rows):
            columns = part.columns[start : start + self._run_rows]
            text = part.text_bytes * len(columns) // rows
            await self._put(columns, text, self._body_bytes * len(columns) // all_rows)

    async def _put(self, columns: Columns, text: int, size: int) -> None:
        """Queue some rows, as soon as there is room for them."""
        rows = len(columns)
        while self._runs and (self._rows + rows > self._most_rows or self._text + text > self._most_text):
            await self._next()
        self._runs.append((rows, text, asyncio.ensure_future(self._run(columns, size, patient=self._begun))))
        self._rows += rows
        self._text += text
        self._begun = True

    async def drain(self) -> None:
        """Wait for all that are under way."""
        while self._runs:
            await self._next()

    def close(self) -> None:
        """Give up all that are under way: what still waits is not computed."""
        for _, _, run in self._runs:
            run.cancel()
        self._runs.clear()
        self._rows = self._text = 0

    async def _next(self) -> None:
        rows, text, run = self._runs[0]
        answer = await run
        self._runs.popleft()
        self._rows -= rows
        self._text -= text
        self._on_answer(answer)

    async def _run(self, columns: Columns, size: int, *, patient: bool) -> Predictions:
        if patient:
            await self._room(len(columns), size)
        return await self._model.answer_columns(columns, deadline=self._deadline, size=size)

    async def _room(self, rows: int, size: int) -> None:
        """Wait until the queue has room: a request that is half done is not refused because others came."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE_SECONDS
        while True:
            try:
                self._model.batcher.admit(rows, size=size)
            except QueueFull as error:
                if loop.time() > give_up:
                    if not self._counted:  # two runs may give up at once
                        self._counted = True
                        self._model.count_refusal(error)
                    raise
            else:
                return
            await asyncio.sleep(_POLL_SECONDS)


async def _gone(receive: Receive) -> None:
    """Return when the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
