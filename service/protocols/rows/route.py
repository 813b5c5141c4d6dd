"""The path of a model that takes rows: in JSON, or as an Arrow stream."""

from __future__ import annotations

from functools import partial

from rowcast.models.arrow import MEDIA_TYPE
from rowcast.service.engine.model import Model
from rowcast.service.http.body import Header, negotiate_content_type
from rowcast.service.http.handlers import AsyncHandler, Handler
from rowcast.service.http.options import RequestOptions, options_of
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.arrow.endpoint import ArrowEndpoint
from rowcast.service.protocols.rows.endpoint import RowsEndpoint


class RowsRoute:
    """Takes rows, and answers in the form in which they came.

    Args:
        rows: answers those in JSON.
        streams: answers those in Arrow streams.
    """

    sent_with_post = "rows are sent with POST"

    def __init__(self, rows: RowsEndpoint, streams: ArrowEndpoint) -> None:
        self.rows = rows
        self._streams = streams

    @property
    def model(self) -> Model:
        """The model."""
        return self.rows.model

    def handler(self, headers: list[Header]) -> Handler:
        """What answers requests with these headers that are whole and short.

        Raises:
            RequestError: they are not as they should be.
        """
        endpoint, options = self._understood(headers)
        return partial(endpoint.handle, options=options)

    def async_handler(self, headers: list[Header]) -> AsyncHandler:
        """The same for requests of any length.

        Raises:
            RequestError: they are not as they should be.
        """
        endpoint, options = self._understood(headers)
        return partial(endpoint.answer, options=options)

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that is refused before it is read."""
        return self.rows.refusal(error)

    def _understood(self, headers: list[Header]) -> tuple[RowsEndpoint | ArrowEndpoint, RequestOptions]:
        in_arrow = negotiate_content_type(headers, self.model.max_body, MEDIA_TYPE)
        return self._streams if in_arrow else self.rows, options_of(headers)
