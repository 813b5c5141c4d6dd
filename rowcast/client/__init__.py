"""Tables in, predictions out, through a running service.

ClientError             the base: ``status`` of the answer (None: there was none), ``faults`` with path and message
├── Unusable            the client cannot be made so, or is closed
├── Unsendable          the table cannot be sent; nothing was
├── Unreachable         no connection, or it broke, or the time was up
├── Refused             4xx: the request is wrong; never tried again
├── Busy                429 or 503, and retries did not help
└── Failed              5xx, or an answer that is none of a Rowcast service
"""

from rowcast.client.clients import AsyncClient, Client
from rowcast.client.errors import Busy, ClientError, Failed, Refused, Unreachable, Unsendable, Unusable

__all__ = ["AsyncClient", "Busy", "Client", "ClientError", "Failed", "Refused", "Unreachable", "Unsendable", "Unusable"]
