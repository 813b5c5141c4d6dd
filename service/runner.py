"""One run of the model for requests of every protocol.

Rows of JSON are made into arrays together, and their answers are encoded together; columns are joined array by array,
and their answers are slices of the run's. A run may hold both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as fields_of
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.session import Predictions, Session
from service.columns import Columns
from service.encode import Encoder, NotFinite
from service.rows import GraphInputs, Row

Request: TypeAlias = list[Row] | Columns
"""What a protocol makes of a request: validated rows of JSON, or validated columns."""
Outcome: TypeAlias = list[bytes] | Predictions
"""What it gets for it: the JSON of each row, or the predictions as they are."""


class Runner:
    """Answers requests for one model.

    Args:
        session: the model's.
        inputs: makes the graph's inputs of rows.
        encoder: writes the answers to rows.
    """

    def __init__(self, session: Session, inputs: GraphInputs, encoder: Encoder) -> None:
        self._session = session
        self._inputs = inputs
        self._encoder = encoder

    def __call__(self, requests: list[Request]) -> list[Any]:
        """The :data:`Outcome` of each request, computed at once and on this thread.

        Raises:
            NotFinite: the model answers a row with something that is not a number.
        """
        if Columns in map(type, requests):
            return self._any(requests)
        rows: Any = requests[0] if len(requests) == 1 else [row for rows in requests for row in rows]  # type: ignore[union-attr]
        return shares(self._encoder.rows(self._session.run(self._inputs(rows))), requests)

    def _any(self, requests: list[Request]) -> list[Any]:
        """The same, where columns are among the requests: first come the rows of JSON, then the columns."""
        rows = [row for request in requests if isinstance(request, list) for row in request]
        parts: list[Sequence[NDArray[Any]]] = [self._inputs.blocks(rows)] if rows else []
        parts.extend(request.blocks for request in requests if isinstance(request, Columns))
        blocks = parts[0] if len(parts) == 1 else [np.concatenate(lines, axis=1) for lines in zip(*parts, strict=True)]
        predictions = self._session.run(self._inputs.layout.inputs(blocks))
        if not predictions.finite:
            raise NotFinite(f"the model gave an answer that is not finite, in {len(predictions)} rows")
        encoded = self._encoder.rows(predictions[: len(rows)]) if rows else []
        outcomes: list[Any] = []
        next_encoded, next_row = 0, len(rows)
        for request in requests:
            if isinstance(request, list):
                outcomes.append(encoded[next_encoded : next_encoded + len(request)])
                next_encoded += len(request)
            else:
                outcomes.append(predictions[next_row : next_row + len(request)])
                next_row += len(request)
        return outcomes


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
