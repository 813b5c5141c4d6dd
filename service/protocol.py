"""What is settled on a connection before there is a request: in the words and the shape of every other answer.

uvicorn bounds neither how large a request's head is nor how long it takes, and BentoML has no setting of the kind.
Here a head holds at most 32 KiB, and a caller who leaves the service waiting is gone within ten seconds.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http import error_body

MAX_HEAD_BYTES = 32 * 1024
"""A request's first line and headers; also whatever else comes without bringing a body on, such as trailers."""
_HEAD_SECONDS = 7.0
"""How long a head may take to come, from its first byte or from the moment of connecting."""
_LINGER_SECONDS = 1.0
"""How long a caller who is refused is listened to, for nothing: to close on one who is still sending resets the
connection, and the answer is lost with it."""
_UNREAD_SECONDS = 30.0
"""How long a caller may read nothing of an answer."""
_LOOK_SECONDS = 1.0
"""How often connections are looked at."""
_UVICORN_KEEP_ALIVE_SECONDS = 5
_KEEP_ALIVE_SECONDS = 75
"""How long a connection may rest between two requests. Load balancers drop theirs after 60 seconds; were we the first
to close, they would now and then send a request into a connection that is just going away."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds, and with refusals in JSON."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.timeout_keep_alive == _UVICORN_KEEP_ALIVE_SECONDS:  # nobody chose another
            self.timeout_keep_alive = _KEEP_ALIVE_SECONDS
        self._waiting_since: float | None = None
        """Since when the caller owes us something that nobody else waits for."""
        self._stalled_bytes = 0
        """Bytes that came since there was last a whole head, or any of a body."""
        self._moved = False
        self._unread: tuple[float, int] | None = None
        """Since when so many bytes of an answer have been waiting for their caller."""
        self._refusal: HTTPStatus | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        _watch(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see that it does not come to too much."""
        if self._refused:
            return
        self._moved = False
        super().data_received(data)
        if self._moved:
            self._stalled_bytes = 0
            return
        if self._waiting_since is None and self._resting:  # by a byte that begins no request
            self._waiting_since = self.loop.time()
        self._stalled_bytes += len(data)
        if self._stalled_bytes > MAX_HEAD_BYTES:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start waiting for the end of a head."""
        super().on_message_begin()
        self._waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its head is too large."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError("the head is too large")  # the parser stops, and calls for send_400_response
        self._moved = True
        self._waiting_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Owe nothing any more."""
        self._moved = True
        self._waiting_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start waiting for the rest of a request that was answered before its end."""
        if self.cycle.more_body and self._waiting_since is None:
            self._waiting_since = self.loop.time()
        super().on_response_complete()

    def give_up_when_late(self, now: float) -> None:
        """End the connection if its caller has let us wait for too long."""
        if not self.flow.write_paused:
            self._unread = None
        elif self._unread is None or self.transport.get_write_buffer_size() < self._unread[1]:
            self._unread = now, self.transport.get_write_buffer_size()
        elif now > self._unread[0] + _UNREAD_SECONDS:
            self.transport.abort()
            return
        if self._waiting_since is not None and now > self._waiting_since + _HEAD_SECONDS:
            if self._stalled_bytes and self._resting:
                self.refuse(HTTPStatus.REQUEST_TIMEOUT)
            else:  # nothing was asked, or it was answered
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that the parser refused, and close."""
        self.refuse(self._refusal or HTTPStatus.BAD_REQUEST)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with an error and close; only close where an answer is under way already."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._waiting_since = None
        self.pipeline.clear()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = error_body(_WORDS[status])
            head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\n"
            head %= status, status.phrase.encode()
            self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        if self.cycle is not None and not self.cycle.response_complete:  # its app need not go on
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(_LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    @property
    def _resting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)


_WORDS = {
    HTTPStatus.BAD_REQUEST: "the bytes are no valid HTTP request",
    HTTPStatus.REQUEST_TIMEOUT: f"the headers did not come within {_HEAD_SECONDS:g} seconds",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"headers hold at most {MAX_HEAD_BYTES:,} bytes",
}
_watched: set[asyncio.AbstractEventLoop] = set()


def _watch(protocol: Protocol) -> None:
    """See to it that somebody looks after the connections of a protocol's server, while there are any.

    One timer serves them all: a timer for each head would cost a tenth of an answer.
    """
    loop = protocol.loop

    def look() -> None:
        now = loop.time()
        for connection in list(protocol.connections):
            if isinstance(connection, Protocol):
                connection.give_up_when_late(now)
        if protocol.connections:
            loop.call_later(_LOOK_SECONDS, look)
        else:
            _watched.discard(loop)

    if loop not in _watched:
        _watched.add(loop)
        loop.call_later(_LOOK_SECONDS, look)


def install(protocol: type[Protocol]) -> None:
    """Have uvicorn use a protocol in this process. BentoML starts uvicorn itself, and passes no choice of it on."""
    auto.AutoHTTPProtocol = protocol
