"""Inference by the Open Inference protocol over HTTP: from a body to its answer, for one model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from rowcast.models.errors import RequestError
from rowcast.models.session import Predictions
from rowcast.service.columns.named import Columns
from rowcast.service.engine.model import Model
from rowcast.service.http.body import BYTE_ORDER_MARK, Header, error_body, negotiate_content_type
from rowcast.service.http.endpoint import Claims, Decoded, SteppedEndpoint
from rowcast.service.http.handlers import AsyncHandler, Handler
from rowcast.service.http.options import options_of
from rowcast.service.http.reply import Reply, refused_with
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.v2.answer import AnswerWriter
from rowcast.service.protocols.v2.claims import claims_of
from rowcast.service.protocols.v2.reading import InferReader
from rowcast.service.protocols.v2.request import InferRequest

_JSON_BYTES = b"inference-header-content-length"
_OCTETS = b"application/octet-stream"
_MAX_DIGITS = 10


class InferEndpoint(SteppedEndpoint):
    """Answers inference requests for one version of a model. ``form`` says how much of a body is JSON; None for all.

    Args:
        model: the version.
    """

    sent_with_post = "tensors are sent with POST"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._reader = InferReader(model.signature, model.columns.max_rows)
        self._writer = AnswerWriter(model.name, model.version, model.signature)

    def handler(self, headers: Iterable[Header]) -> Handler:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """
        return partial(self.handle, form=_json_bytes(headers, self.model.max_body), options=options_of(headers))

    def async_handler(self, headers: Iterable[Header]) -> AsyncHandler:
        """The same for bodies that may be long: it is awaited, and others have their turns in between."""
        return partial(self.answer, form=_json_bytes(headers, self.model.max_body), options=options_of(headers))

    def decode(self, body: bytes, form: int | None) -> Decoded:
        """Read a body in one go."""
        if body.startswith(BYTE_ORDER_MARK):
            body, form = _unmarked(body, form)
        return self._decoded(*self._reader.read(body, form))

    def decode_steps(self, body: bytes, form: int | None) -> Steps[Decoded]:
        """The same in steps."""
        return self._decoded(*(yield from self._reader.steps(*_unmarked(body, form))))

    def claims(self, body: bytes, form: int | None) -> Claims:
        """What its first shape and its parameters say, see :func:`claims_of`."""
        return claims_of(body, form)

    def _decoded(self, request: InferRequest, columns: Columns) -> Decoded:
        limits = request.limits
        return Decoded(columns, partial(self._written, request), limits.timeout, limits.priority)

    def error_reply(self, error: RequestError) -> Reply:
        """A refusal as the protocol has it: in one line."""
        return refused_with(error)._replace(body=error_body(str(error)))

    def _written(self, request: InferRequest, predictions: Predictions) -> Reply:
        answer = self._writer.write(predictions, request.id, request.outputs)
        if answer.json_bytes is None:
            return Reply(200, answer.body)
        return Reply(200, answer.body, ((_JSON_BYTES, b"%d" % answer.json_bytes),), _OCTETS)


def _unmarked(body: bytes, json_bytes: int | None) -> tuple[bytes, int | None]:
    """A body without its byte order mark, and how much of that is JSON."""
    if not body.startswith(BYTE_ORDER_MARK):
        return body, json_bytes
    return body[len(BYTE_ORDER_MARK) :], None if json_bytes is None else max(0, json_bytes - len(BYTE_ORDER_MARK))


def _json_bytes(headers: Iterable[Header], max_body: int) -> int | None:
    """How much of the body is JSON, None for all, of headers that are as they should be.

    Raises:
        RequestError: they are not.
    """
    negotiate_content_type(headers, max_body, "application/octet-stream")
    lengths = [value for name, value in headers if name == _JSON_BYTES]
    if not lengths:
        return None
    if len(lengths) > 1 or not (lengths[0].isdigit() and len(lengths[0]) <= _MAX_DIGITS):
        raise RequestError("Inference-Header-Content-Length must be one whole number: the bytes of the body's JSON")
    return int(lengths[0])
