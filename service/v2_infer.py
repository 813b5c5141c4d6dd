"""Inference by the Open Inference protocol over HTTP: from a body to its answer, for one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from models.errors import RequestError
from models.session import Predictions
from service.ask import Ask
from service.batcher import Waiting
from service.http import Header, check_headers, error_body
from service.served import Reply, ServedModel
from service.v2_answer import AnswerWriter
from service.v2_reading import InferReader
from service.v2_request import InferRequest

_JSON_BYTES = b"inference-header-content-length"
_OCTETS = b"application/octet-stream"
_MAX_DIGITS = 10


class Inference:
    """Answers inference requests for one version of a model.

    Args:
        served: the version.
    """

    def __init__(self, served: ServedModel) -> None:
        self.served = served
        self._reader = InferReader(served.signature, served.columns.max_rows)
        self._writer = AnswerWriter(served.name, served.version, served.signature)

    def understand(self, headers: Iterable[Header]) -> Ask:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """
        return partial(self.ask, json_bytes=_json_bytes(headers, self.served.max_body))

    def ask(
        self, body: bytes, done: Callable[[Reply], None], since: float = 0.0, *, json_bytes: int | None = None
    ) -> Waiting | None:
        """Answer a request: read, gather with whatever other requests wait, run, write.

        Args:
            body: the request's.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            json_bytes: how much of the body is JSON; None for all.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.
        """
        try:
            self.served.batcher.admit()  # when there is no room for even a row, the body need not be understood
            request, columns = self._reader.read(body, json_bytes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(_in_short(self.served.refusal(error), error))
            return None
        limits = request.limits
        return self.served.ask_columns(
            columns,
            lambda outcome: done(self._reply(request, outcome)),
            deadline=limits.deadline(since),
            priority=limits.priority,
            size=len(body),
        )

    def _reply(self, request: InferRequest, outcome: Predictions | RequestError) -> Reply:
        """What is told of rows that were run, or waited until their deadline."""
        reply = self.served.written(lambda predictions: self._written(request, predictions), outcome)
        return _in_short(reply, outcome) if isinstance(outcome, RequestError) else reply

    def _written(self, request: InferRequest, predictions: Predictions) -> Reply:
        answer = self._writer.write(predictions, request.id, request.outputs)
        if answer.json_bytes is None:
            return Reply(200, answer.body)
        return Reply(200, answer.body, ((_JSON_BYTES, b"%d" % answer.json_bytes),), _OCTETS)


def _in_short(reply: Reply, error: Exception) -> Reply:
    """A refusal as the protocol has it: in one line."""
    return reply._replace(body=error_body(str(error))) if isinstance(error, RequestError) else reply


def _json_bytes(headers: Iterable[Header], max_body: int) -> int | None:
    """How much of the body is JSON, None for all, of headers that are as they should be.

    Raises:
        RequestError: they are not.
    """
    check_headers(headers, max_body, "application/octet-stream")
    lengths = [value for name, value in headers if name == _JSON_BYTES]
    if not lengths:
        return None
    if len(lengths) > 1 or not (lengths[0].isdigit() and len(lengths[0]) <= _MAX_DIGITS):
        raise RequestError("Inference-Header-Content-Length must be one whole number: the bytes of the body's JSON")
    return int(lengths[0])
