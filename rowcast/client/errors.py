"""What a client raises: see the tree in :mod:`rowcast.client`."""

from __future__ import annotations

from collections.abc import Sequence

from rowcast.models.errors import Fault, RowcastError


class ClientError(RowcastError):
    """Base of the family.

    ``status`` is the HTTP status of the answer, None where there was none; ``faults`` are the places that the service
    named, each with a ``path`` and a ``message``.
    """

    def __init__(self, message: str, status: int | None = None, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.faults = tuple(faults)


class Unusable(ClientError, ValueError):
    """The client cannot be made as it was asked for, or cannot be used any more: it is closed."""


class Unsendable(ClientError):
    """The table is none that can be sent; nothing was."""


class Unreachable(ClientError):
    """There is no answer: no connection, or it broke, or the time was up."""


class Refused(ClientError):
    """The service says that the request is wrong; sent again, it would be wrong again."""


class Busy(ClientError):
    """The service has no room or is not ready, and retries did not help."""


class Failed(ClientError):
    """The service failed, or what answered is none of ours."""


class SeveralVersions(Failed):
    """Two versions answered parts of one table: another went live meanwhile. Sent again as a whole, one may answer."""
