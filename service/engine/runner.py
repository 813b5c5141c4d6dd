"""One run of the model for requests of every protocol: their rows are joined, and the answers cut into those of each.

A protocol whose answers are written row by row brings a *codec*: it writes those of all its requests in the run in one
go, and reads those that came unread. All others are handed their part of the predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from rowcast.models.errors import RequestError
from rowcast.models.session import Predictions, Session
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.named import Columns


class NotFinite(ArithmeticError):
    """The model answered with something that is not a finite number."""


class Codec(Protocol):
    """What a protocol brings into a run."""

    def read(self, bodies: list[bytes]) -> tuple[Columns | None, list[RequestError | None]]:
        """Read requests of one row each.

        Returns:
            the rows of those that break no rule, in their order, and None if there are none; and for each request why
            it is refused, or None.
        """

    def write(self, predictions: Predictions) -> list[bytes]:
        """The answer to each row.

        Raises:
            NotFinite: the model answers a row with something that is not a number.
        """


class Unread:
    """A request of one row that has yet to be read: together with those it shares a run with it takes less time."""

    __slots__ = ("body", "codec")

    def __init__(self, body: bytes, codec: Codec) -> None:
        self.body = body
        self.codec = codec

    def __len__(self) -> int:
        return 1

    def __getitem__(self, rows: slice) -> Unread:
        return self


Request: TypeAlias = Unread | Columns
"""What a protocol makes of a request."""
Outcome: TypeAlias = list[bytes] | Predictions | RequestError
"""What it gets for it: what its codec wrote for each row, the predictions, or what is wrong with an unread row."""


class Runner:
    """Answers requests for one model.

    Args:
        session: the model's.
        layout: of its columns.
        count: told of the columns that are read in a run.
    """

    def __init__(self, session: Session, layout: Layout, count: Callable[[Columns], None]) -> None:
        self._session = session
        self._layout = layout
        self._count = count
        self.watch: Callable[[Sequence[NDArray[Any]], Predictions], None] | None = None
        """Told of every run, while a version is on trial: the rows, and what came of them."""

    def predict(self, blocks: Sequence[NDArray[Any]]) -> Predictions:
        """Run the model on the columns of some rows; on any thread."""
        return self._session.run(self._layout.inputs(blocks))

    def _run(self, blocks: Sequence[NDArray[Any]]) -> Predictions:
        predictions = self._session.run(self._layout.inputs(blocks))
        if self.watch is not None:
            self.watch(blocks, predictions)
        return predictions

    def __call__(self, requests: list[Request]) -> list[Any]:
        """The :data:`Outcome` of each request, computed at once and on this thread.

        Raises:
            NotFinite: the model answers a row with something that is not a number.
        """
        if len(requests) == 1:
            return [self._alone(requests[0])]
        outcomes: list[Any] = [None] * len(requests)
        by_codec: dict[Codec | None, list[int]] = {}
        for i, request in enumerate(requests):
            by_codec.setdefault(request.codec, []).append(i)
        parts: list[Sequence[NDArray[Any]]] = []
        joined: list[tuple[Codec | None, list[int]]] = []
        for codec, places in by_codec.items():
            unread = [i for i in places if type(requests[i]) is Unread]
            read = [i for i in places if type(requests[i]) is not Unread] if len(unread) < len(places) else []
            if unread:
                assert codec is not None
                columns, refusals = codec.read([requests[i].body for i in unread])  # type: ignore[union-attr]
                if columns is not None:
                    self._count(columns)
                    parts.append(columns.blocks)
                if refusals.count(None) < len(unread):
                    for i, refusal in zip(unread, refusals, strict=True):
                        outcomes[i] = refusal
                    unread = [i for i in unread if outcomes[i] is None]
            parts.extend(requests[i].blocks for i in read)  # type: ignore[union-attr]
            joined.append((codec, unread + read))
        if parts:
            blocks = parts[0] if len(parts) == 1 else Columns.joined(parts).blocks
            self._share(self._run(blocks), joined, requests, outcomes)
        return outcomes

    def _alone(self, request: Request) -> Outcome:
        columns = request
        if isinstance(columns, Unread):
            read, (refusal,) = columns.codec.read([columns.body])
            if read is None:
                assert refusal is not None
                return refusal
            self._count(read)
            columns = read
        return _answers(self._run(columns.blocks), request.codec)

    def _share(
        self,
        predictions: Predictions,
        joined: list[tuple[Codec | None, list[int]]],
        requests: list[Request],
        outcomes: list[Any],
    ) -> None:
        """Give each request its part of a run, in which those of a codec lie side by side."""
        start = 0
        for codec, places in joined:
            own = predictions
            if len(joined) > 1:
                rows = sum(len(requests[i]) for i in places)
                own = predictions[start : start + rows]
                start += rows
            answers: Any = _answers(own, codec)
            if len(places) == 1:
                outcomes[places[0]] = answers
                continue
            at = 0
            for i in places:
                end = at + len(requests[i])
                outcomes[i] = answers[at:end]
                at = end


def _answers(predictions: Predictions, codec: Codec | None) -> Predictions | list[bytes]:
    if codec is not None:
        return codec.write(predictions)
    if not predictions.finite:
        raise NotFinite(f"the model gave an answer that is not finite, in {len(predictions)} rows")
    return predictions


def joined(parts: list[Outcome]) -> Outcome:
    """The outcome of a request that was run in parts, in the order of its rows."""
    if not isinstance(parts[0], Predictions):
        return list(chain.from_iterable(parts))  # type: ignore[arg-type]
    return Predictions.joined(parts)  # type: ignore[arg-type]
