"""The path of a model that takes rows: in JSON, or as an Arrow stream."""

from __future__ import annotations

from functools import partial

from models.arrow import MEDIA_TYPE
from service.ask import Ask, AskLong
from service.bulk import Bulk
from service.http import Header, Receive, check_headers
from service.reply import Reply
from service.rows_endpoint import RowsEndpoint
from service.served import ServedModel
from service.terms import Terms, terms_of


class RowsRoute:
    """Takes rows, and answers in the form in which they came.

    Args:
        rows: answers those in JSON.
        streams: answers those in Arrow streams.
    """

    sent_with_post = "rows are sent with POST"

    def __init__(self, rows: RowsEndpoint, streams: Bulk) -> None:
        self.rows = rows
        self._streams = streams

    @property
    def model(self) -> ServedModel:
        """The model."""
        return self.rows.model

    def understand(self, headers: list[Header]) -> Ask:
        """What answers requests with these headers that are whole and short.

        Raises:
            RequestError: they are not as they should be.
        """
        endpoint, terms = self._understood(headers)
        return partial(endpoint.ask, terms=terms)

    def understand_long(self, headers: list[Header]) -> AskLong:
        """The same for requests of any length.

        Raises:
            RequestError: they are not as they should be.
        """
        endpoint, terms = self._understood(headers)

        async def answer(body: bytes, receive: Receive, since: float) -> Reply:
            return await endpoint.answer(body, receive, terms, since)

        return answer

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that is refused before it is read."""
        return self.rows.refusal(error)

    def _understood(self, headers: list[Header]) -> tuple[RowsEndpoint | Bulk, Terms]:
        in_arrow = check_headers(headers, self.model.max_body, MEDIA_TYPE)
        return self._streams if in_arrow else self.rows, terms_of(headers)
