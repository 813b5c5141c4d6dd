"""Rows like those the model was trained on, made from its public signature alone."""

from __future__ import annotations

import math
import random

import orjson

from rowcast.models.kinds import KINDS
from rowcast.models.signature import Column, JsonValue, Signature

NULL_SHARE = 0.05
"""Share of nulls in a column of which training saw nulls."""
UNSEEN_SHARE = 0.01
"""Share of levels that training did not see: the world grows new ones, and they must not be a slow path."""
UNSEEN_LEVEL = "a level never seen in training"


class Payloads:
    """Request bodies for a model, reproducible from a seed.

    Numbers and timestamps are uniform between the training minimum and maximum, levels come as often as in training, a
    text is made of its example's words and of unknown ones, and where the signature knows nothing of a column its
    example stands.

    Args:
        signature: of the model, as the service shows it.
        rows: rows in a body, at least 1.
        seed: the same seed gives the same bodies.

    Raises:
        ValueError: ``rows`` is below 1.
    """

    def __init__(self, signature: Signature, *, rows: int = 1, seed: int = 0) -> None:
        if rows < 1:
            raise ValueError(f"`rows` must be at least 1, got rows={rows}")
        self.signature = signature
        self.rows = rows
        self._random = random.Random(seed)

    def row(self) -> dict[str, JsonValue]:
        """One random row, as a client would send it."""
        return {column.name: self._value(column) for column in self.signature.columns}

    def body(self) -> bytes:
        """One request body with :attr:`rows` random rows."""
        return orjson.dumps({"rows": [self.row() for _ in range(self.rows)]})

    def _value(self, column: Column) -> JsonValue:
        if column.nullable and self._random.random() < NULL_SHARE:
            return None
        if column.kind == "category":
            return self._level(column)
        if column.kind == "text":
            return self._text(column)
        if column.kind == "boolean":
            return self._random.random() < 0.5
        if column.minimum is None or column.maximum is None:
            return column.example
        kind = KINDS[column.kind]
        lowest, highest = kind.taken(column.minimum), kind.taken(column.maximum)
        value: float
        if column.kind == "integer" or isinstance(lowest, int):
            value = self._random.randint(math.ceil(lowest), math.floor(highest))
        else:
            share = self._random.random()
            # A weighted mean and not `uniform`: the distance between the two may be more than a double holds.
            value = min(max(lowest * (1 - share) + highest * share, lowest), highest)
        sent: JsonValue = kind.sent(value)
        return sent

    def _text(self, column: Column) -> JsonValue:
        words = str(column.example).split(" ")
        return " ".join([*self._random.choices(words, k=self._random.randint(0, 2 * len(words))), UNSEEN_LEVEL])

    def _level(self, column: Column) -> JsonValue:
        if self._random.random() < UNSEEN_SHARE:
            return UNSEEN_LEVEL
        if not column.levels:
            return column.example
        return self._random.choices(list(column.levels), weights=list(column.levels.values()))[0]


def probe_body(signature: Signature) -> bytes:
    """The body that asks for the signature's example row, always the same."""
    return orjson.dumps({"rows": [signature.example_row()]})
