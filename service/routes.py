"""Routes whose requests may take the short way (:mod:`service.lane`): what a head says is understood once for all of
them, and after that a body is all there is to a request.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from models.arrow import MEDIA_TYPE
from service.ask import Ask
from service.bulk import Bulk
from service.http import Header, check_headers
from service.served import ServedModel
from service.terms import terms_of


class ShortRoute(Protocol):
    """A path, by what is behind it."""

    @property
    def served(self) -> ServedModel:
        """The model."""

    def understand(self, headers: list[Header]) -> Ask:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """


class RowsRoute:
    """Takes rows, in JSON or as an Arrow stream.

    Args:
        served: the model.
        bulk: what answers streams for it.
    """

    def __init__(self, served: ServedModel, bulk: Bulk) -> None:
        self.served = served
        self._bulk = bulk

    def understand(self, headers: list[Header]) -> Ask:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """
        in_arrow = check_headers(headers, self.served.max_body, MEDIA_TYPE)
        return partial(self._bulk.ask if in_arrow else self.served.ask, terms=terms_of(headers))
