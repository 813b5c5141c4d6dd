"""From predictions to the bytes of an answer.

orjson writes the bare numbers of all rows in one go, and templates put the labels and keys around them. Besides being
quick this keeps numbers short: orjson writes a float32 with the fewest digits that give the same float32 back (``0.1``,
where going through a Python float gives ``0.10000000149011612``). Read as a double those digits are less than half a
float32 step away, so a probability comes back within 3e-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from numpy.typing import NDArray

from rowcast.models.session import Predictions
from rowcast.models.signature import Signature
from rowcast.service.engine.runner import NotFinite

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class Encoder:
    """Writes the answers of one model: ``{"model", "version", "predictions": [...]}``.

    In two steps, since the rows of a run are those of many requests: :meth:`rows` of the run, :meth:`answer` of each.
    """

    def __init__(self, name: str, version: int, signature: Signature) -> None:
        self._head = b'{"model":%b,"version":%d,"predictions":[' % (orjson.dumps(name), version)
        self._classes = len(signature.classes)
        self._outputs = signature.outputs
        numbers = b",".join(_literal(key) + b":%b" for key in signature.classes or signature.outputs)
        self._row = b"{%b}" % numbers
        self._rows = {
            label: b'{"label":%b,"probabilities":{%b}}' % (_literal(label), numbers) for label in signature.classes
        }

    def rows(self, predictions: Predictions) -> list[bytes]:
        """The JSON of each row of ``predictions``, in their order.

        Raises:
            NotFinite: a probability or a prediction is NaN or infinite.
        """
        return self._class_rows(predictions) if predictions.labels is not None else self._number_rows(predictions)

    def answer(self, rows: Iterable[bytes]) -> bytes:
        """The body of the answer to these rows."""
        return b"%b%b]}" % (self._head, b",".join(rows))

    def _class_rows(self, predictions: Predictions) -> list[bytes]:
        assert predictions.labels is not None
        assert predictions.probabilities is not None
        numbers = _numbers(predictions.probabilities.reshape(-1))
        step = self._classes
        return [
            self._rows[label] % tuple(numbers[i * step : (i + 1) * step]) for i, label in enumerate(predictions.labels)
        ]

    def _number_rows(self, predictions: Predictions) -> list[bytes]:
        columns = [_numbers(getattr(predictions, name)) for name in self._outputs]
        return [self._row % numbers for numbers in zip(*columns, strict=True)]


def _literal(text: str) -> bytes:
    """``text`` as a JSON string inside a template."""
    return orjson.dumps(text).replace(b"%", b"%%")


def _numbers(values: NDArray[Any]) -> list[bytes]:
    """JSON literals of the numbers in ``values``, a vector."""
    text = orjson.dumps(values, option=_OPTIONS)
    if b"n" in text:  # orjson writes NaN and the infinities as null
        raise NotFinite(f"the model gave an answer that is not finite, in {len(values)} numbers")
    return text[1:-1].split(b",")
