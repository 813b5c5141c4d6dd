"""One run of the model for requests of every protocol.

Rows of JSON are made into arrays together, and their answers are encoded together; columns are joined array by array,
and their answers are slices of the run's; many rows of JSON come as columns and are answered as rows. Single rows come
unread. A run may hold all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as fields_of
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import RequestError
from models.session import Predictions, Session
from service.columns import Columns
from service.encode import Encoder, NotFinite
from service.reading import OneRow, RowsReader
from service.row_columns import JsonRows, RowColumns
from service.rows import GraphInputs

Request: TypeAlias = OneRow | JsonRows | Columns
"""What a protocol makes of a request: an unread row, validated rows of JSON, the same as columns, or other columns."""
Outcome: TypeAlias = list[bytes] | Predictions | RequestError
"""What it gets for it: the JSON of each row, the predictions as they are, or what is wrong with an unread row."""


class Runner:
    """Answers requests for one model.

    Args:
        session: the model's.
        inputs: makes the graph's inputs of rows.
        reader: reads the rows that come unread.
        encoder: writes the answers to rows.
    """

    def __init__(self, session: Session, inputs: GraphInputs, reader: RowsReader, encoder: Encoder) -> None:
        self._session = session
        self._inputs = inputs
        self._reader = reader
        self._encoder = encoder

    def __call__(self, requests: list[Request]) -> list[Any]:
        """The :data:`Outcome` of each request, computed at once and on this thread.

        Raises:
            NotFinite: the model answers a row with something that is not a number.
            RequestError: the only request breaks a rule.
        """
        if len(requests) == 1:
            return [self._alone(requests[0])]
        kinds = set(map(type, requests))
        if OneRow not in kinds:
            return self._read(requests)
        if len(kinds) == 1:
            columns = self._reader.together([request.body for request in requests])  # type: ignore[union-attr]
            if columns is not None:
                return shares(self._in_json(self._inputs.layout.inputs(columns.blocks)), requests)
        read = list(map(self._one_by_one, requests))
        rows = [request for request in read if not isinstance(request, RequestError)]
        outcomes = iter(self._read(rows) if rows else ())
        return [request if isinstance(request, RequestError) else next(outcomes) for request in read]

    def _alone(self, request: Request) -> Outcome:
        rows = self._reader.read_one(request.body) if isinstance(request, OneRow) else request
        if isinstance(rows, list):
            return self._in_json(self._inputs(rows))
        inputs = self._inputs.layout.inputs(rows.blocks)
        return self._in_json(inputs) if isinstance(rows, RowColumns) else _finite(self._session.run(inputs))

    def _one_by_one(self, request: Request) -> JsonRows | Columns | RequestError:
        if not isinstance(request, OneRow):
            return request
        try:
            return self._reader.read_one(request.body)
        except RequestError as refusal:
            return refusal

    def _read(self, requests: list[Any]) -> list[Any]:
        """The outcome of each request that has been read."""
        if any(type(request) is not list for request in requests):
            return self._any(requests)
        return shares(self._in_json(self._inputs([row for rows in requests for row in rows])), requests)

    def _in_json(self, inputs: dict[str, NDArray[Any]]) -> list[bytes]:
        return self._encoder.rows(self._session.run(inputs))

    def _any(self, requests: list[JsonRows | Columns]) -> list[Any]:
        """The same, where columns are among the requests: first come rows, then those to be answered in JSON."""
        order = sorted(range(len(requests)), key=lambda i: _ORDER[type(requests[i])])
        rows = [row for request in requests if isinstance(request, list) for row in request]
        parts: list[Sequence[NDArray[Any]]] = [self._inputs.blocks(rows)] if rows else []
        parts.extend(request.blocks for i in order if isinstance(request := requests[i], Columns))
        predictions = self._session.run(self._inputs.layout.inputs(Columns.joined(parts).blocks))
        in_json = sum(len(request) for request in requests if type(request) is not Columns)
        encoded = self._encoder.rows(predictions[:in_json]) if in_json else []
        if in_json < len(predictions):
            _finite(predictions)
        outcomes: list[Any] = [None] * len(requests)
        start = 0
        for i in order:
            stop = start + len(requests[i])
            outcomes[i] = (predictions if type(requests[i]) is Columns else encoded)[start:stop]
            start = stop
        return outcomes


def _finite(predictions: Predictions) -> Predictions:
    if not predictions.finite:
        raise NotFinite(f"the model gave an answer that is not finite, in {len(predictions)} rows")
    return predictions


_ORDER: dict[type, int] = {list: 0, RowColumns: 1, Columns: 2}


def shares(answers: Any, requests: list[Any]) -> list[Any]:
    """The answers to the rows of several requests, cut into those of each."""
    if len(requests) == 1:
        return [answers]
    outcomes = []
    start = 0
    for request in requests:
        outcomes.append(answers[start : start + len(request)])
        start += len(request)
    return outcomes


def joined(parts: list[Outcome]) -> Outcome:
    """The outcome of a request that was run in parts, in the order of its rows."""
    if not isinstance(parts[0], Predictions):
        return list(chain.from_iterable(parts))  # type: ignore[arg-type]
    fields: list[Any] = []
    for field in fields_of(Predictions):
        values = [getattr(part, field.name) for part in parts]
        if values[0] is None:
            fields.append(None)
        else:
            fields.append(list(chain.from_iterable(values)) if field.name == "labels" else np.concatenate(values))
    return Predictions(*fields)
