"""What is settled on a connection before there is a request: in the words and the shape of every other answer.

uvicorn bounds neither how large a request's head is nor how long it takes, and BentoML has no setting of the kind.
Here a head holds at most 32 KiB, and a caller who leaves the service waiting is gone within ten seconds.

What the parser (llhttp) concludes and what uvicorn remembers of it must not part. Every request that came whole gets
its own answer, in order, and whatever is no request is refused once, after those answers:

- An offer to speak another protocol (``Upgrade``) stops the parser in the middle of a request. It is ignored: the head
  is read again without it, by a new parser, and the body is a body.
- Nonsense after a good request does not take its answer away.
- A trailer is no header, and one that says ``Connection: close`` closes the connection.
- What follows a request that ends its connection is not read.
- Who has sent everything and closes that half of the connection is answered.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from rowcast.service.http.body import error_body
from rowcast.service.http.probes import PROBES
from rowcast.service.http.request_head import Refusal, fault_of_head, without_upgrade
from rowcast.service.limits.descriptors import FOR_PROBES, LINGERS, make_room

MAX_HEAD_BYTES = 32 * 1024
"""A request's first line and headers; also whatever else comes without bringing a body on, such as trailers."""
_MOST_FRAMING = 8
"""Bytes that may be sent around each byte of a body in chunks: one of a single byte takes five more."""
_HEAD_SECONDS = 7.0
"""How long a head may take to come, from its first byte or from the moment of connecting."""
_LINGER_SECONDS = 1.0
"""How long a caller who is refused is listened to, for nothing: to close on one who is still sending resets the
connection, and the answer is lost with it."""
_UNREAD_SECONDS = 30.0
"""How long a caller may read nothing of an answer."""
_HALF_CLOSED_SECONDS = 2.0
"""How long a caller who has closed his half of the connection is answered. One who hung up looks the same, and is
not computed for longer; while rows wait for a run, not at all."""
_LOOK_SECONDS = 1.0
"""How often connections are looked at."""
_UVICORN_KEEP_ALIVE_SECONDS = 5
_KEEP_ALIVE_SECONDS = 75
"""How long a connection may rest between two requests. Load balancers drop theirs after 60 seconds; were we the first
to close, they would now and then send a request into a connection that is just going away."""

logger = logging.getLogger("rowcast.http")


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds, and with refusals in JSON."""

    most_connections: ClassVar[int] = sys.maxsize
    """Connections of this process; see :mod:`rowcast.service.limits.descriptors`."""

    rows_wait: ClassVar[Callable[[], bool]] = staticmethod(lambda: False)
    """Tells whether rows wait for a run: then whoever hangs up must not be computed for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if isinstance(self.app, ProxyHeadersMiddleware):  # nothing here depends on what a caller says of itself
            self.app = self.app.app
        if self.timeout_keep_alive == _UVICORN_KEEP_ALIVE_SECONDS:  # nobody chose another
            self.timeout_keep_alive = _KEEP_ALIVE_SECONDS
        self._waiting_since: float | None = None
        """Since when the caller owes us something that nobody else waits for."""
        self._stalled_bytes = 0
        """Bytes that came since there was last a whole head, or any of a body."""
        self._moved = False
        self._unread: tuple[float, int] | None = None
        """Since when so many bytes of an answer have been waiting for their caller."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered, or was answered last; ``cycle`` is the newest."""
        self._in_head = False
        self._in_body = False
        """Whether the parser is between the head of the newest request and its end."""
        self._body_bytes = 0
        """Bytes of the body that is coming."""
        self._body_parts: list[bytes] = []
        """Those that the app has yet to be told of."""
        self._framing_bytes = 0
        """Bytes that came with it and are none of it: sizes of chunks, and what may stand behind them."""
        self._upgrading = False
        """Whether the head that has just been parsed has to be parsed again, without its offer of another protocol."""
        self._head_refusal: Refusal | None = None
        self._refusal: Refusal | None = None
        """What will be answered after the requests that came whole; nothing is read any more."""
        self._deaf = False
        """Whether nothing is read any more."""
        self._half_closed_since: float | None = None
        self._for_probes = False
        """Whether there are too many connections, so that nothing but probes is answered on this one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        _watch(self)
        if len(self.connections) > self.most_connections and not make_room(self.connections, self):
            self._for_probes = True
            if len(self.connections) > self.most_connections + FOR_PROBES:
                self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see that it does not come to too much."""
        if self._deaf:
            return
        self._moved = False
        self._unset_keepalive_if_required()
        cycle, before = self.cycle if self._in_body else None, self._body_bytes
        self._parse(data)
        if self._in_body:
            self._pass_body_on()
        if cycle is not None and self._in_body and cycle is self.cycle:  # all of it was sent with this body
            self._framing_bytes += len(data) - (self._body_bytes - before)
            if self._moved and self._framing_bytes > MAX_HEAD_BYTES + _MOST_FRAMING * self._body_bytes:
                self.refuse(_TOO_MUCH_FRAMING)
        if self._deaf or self._moved:
            self._stalled_bytes = 0
            return
        if self._waiting_since is None and self._resting:  # by a byte that begins no request
            self._waiting_since = self.loop.time()
        self._stalled_bytes += len(data)
        if self._stalled_bytes > MAX_HEAD_BYTES:
            self.refuse(_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        """Have the parser read what came, all of it."""
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                if not self._parse_without_upgrade():
                    return
            except httptools.HttpParserError:
                self.refuse(self._head_refusal or _NO_REQUEST)
                return
            else:
                return

    def _parse_without_upgrade(self) -> bool:
        """Parse the newest head again, as if it offered no other protocol; False when it is refused."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        head = without_upgrade(method, self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self._upgrading = False
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserError:
            self.refuse(self._head_refusal or _NO_REQUEST)
            return False
        return not self._deaf

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what came whole, if anything did; True keeps the connection open for it."""
        if self.scheme == "https":  # the end of TLS is the end of both directions
            return False
        self._deaf = True
        self._drop_unfinished()
        if self._idle or type(self).rows_wait():
            return False
        if self._half_closed_since is None:
            self._half_closed_since = self.loop.time()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, which need not be the newest."""
        self.pipeline.clear()
        _end(self._running)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start waiting for the end of a head."""
        super().on_message_begin()
        self._in_head = True
        self._waiting_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header. A trailer is dropped: what it says is said too late."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its head is refused."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head(_TOO_LARGE)
        version = self.parser.get_http_version()
        fault = fault_of_head(self.parser.get_method(), version, self.headers)
        if fault is not None:
            self._refuse_head(fault)
        if self._for_probes and self.url.partition(b"?")[0].decode("latin-1") not in PROBES:
            self._refuse_head(_TOO_MANY)
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        self._moved = True
        self._in_head = False
        self._in_body = True
        self._body_bytes = self._framing_bytes = 0
        self._body_parts.clear()
        self._waiting_since = None
        if version == "1.0":  # knows of no interim answers
            self.expect_100_continue = False
        super().on_headers_complete()

    def _refuse_head(self, refusal: Refusal) -> None:
        self._head_refusal = refusal
        raise ValueError(refusal.words)  # the parser stops

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        self._moved = True
        self._body_bytes += len(body)
        self._body_parts.append(body)

    def _pass_body_on(self) -> None:
        """Tell the app what came of a body: once for all that came, for chunks may be of a single byte."""
        if self._body_parts:
            body = b"".join(self._body_parts)
            self._body_parts.clear()
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Owe nothing any more."""
        if self._upgrading:  # what ended is the parser's patience
            return
        self._moved = True
        self._pass_body_on()
        self._in_body = False
        self._waiting_since = None
        if not self.parser.should_keep_alive():  # said by its head, or by a trailer: the parser reads no more
            self._deaf = True
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on to what is next: a request, a refusal, or the rest of a request that was answered before its end."""
        if self._in_body and self._running is self.cycle and self._waiting_since is None:
            self._waiting_since = self.loop.time()
        super().on_response_complete()
        if self._idle:
            self._end_when_all_is_sent()

    def _end_when_all_is_sent(self) -> None:
        """End a connection on which nothing is read any more."""
        if self._refusal is not None:
            self._write_refusal(self._refusal)
        elif self._half_closed_since is not None:
            self.transport.close()

    def give_up_when_late(self, now: float) -> None:
        """End the connection if its caller has let us wait for too long."""
        if not self.flow.write_paused:
            self._unread = None
        elif self._unread is None or self.transport.get_write_buffer_size() < self._unread[1]:
            self._unread = now, self.transport.get_write_buffer_size()
        elif now > self._unread[0] + _UNREAD_SECONDS:
            self.transport.abort()
            return
        if self._half_closed_since is not None:
            if now > self._half_closed_since + _HALF_CLOSED_SECONDS and self._write_buffer_is_empty:
                self.transport.close()
        elif self._waiting_since is not None and now > self._waiting_since + _HEAD_SECONDS:
            if not self._in_body and (self._stalled_bytes or self._in_head):
                self.refuse(_TOO_SLOW)
            else:  # nothing was asked, or it was answered
                self.transport.close()

    @property
    def idle_since(self) -> float | None:
        """Since when nobody waits for an answer on this connection, on the loop's clock; None while one is due."""
        if self.transport.is_closing():
            return None
        if self._refusal is not None and self._idle:  # it lingers, for nothing
            return LINGERS
        if self._waiting_since is not None:
            return self._waiting_since
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        return None

    def make_room(self) -> None:
        """Close a connection that is idle."""
        self.transport.close()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request whose bytes are coming with an error, after those that came whole, and close."""
        if self._refusal is not None or self.transport.is_closing():
            return
        told = not self._in_body or not self.cycle.response_started
        """Whether there is no other answer to what is refused."""
        self._deaf = True
        self._waiting_since = None
        self._drop_unfinished()
        if told:
            self._refusal = refusal
            if self._idle:
                self._write_refusal(refusal)
        elif self._idle:
            self.transport.close()

    def _drop_unfinished(self) -> None:
        """Forget the request whose body has not come whole, and never will; tell its app, if it has begun."""
        if not self._in_body:
            return
        self._in_body = False
        _end(self.cycle)
        if self.cycle is self._running:
            self._running = None
        else:
            self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else self._running  # type: ignore[assignment]

    def _write_refusal(self, refusal: Refusal) -> None:
        body = error_body(refusal.words)
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\n"
        head %= refusal.status, refusal.status.phrase.encode()
        if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
            head += b"allow: GET, HEAD, POST\r\n"
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        logger.warning("refused what came on a connection: %s", refusal.words)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(_LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    @property
    def _resting(self) -> bool:
        """Whether no request is being answered, nor waits for that."""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def _idle(self) -> bool:
        """Whether all that was asked is answered; also by the fast path, which a subclass may have."""
        return self._resting

    @property
    def _write_buffer_is_empty(self) -> bool:
        return self.transport.get_write_buffer_size() == 0


def _end(cycle: RequestResponseCycle | None) -> None:
    """Tell the app of a request that its caller is gone."""
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


_NO_REQUEST = Refusal(HTTPStatus.BAD_REQUEST, "the bytes are no valid HTTP request")
_TOO_MANY = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open: try again in a moment")
_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, f"the headers did not come within {_HEAD_SECONDS:g} seconds")
_TOO_LARGE = Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"headers hold at most {MAX_HEAD_BYTES:,} bytes")
_TOO_MUCH_FRAMING = Refusal(
    HTTPStatus.BAD_REQUEST, f"chunks hold at most {_MOST_FRAMING} bytes that are none of the body for each that is"
)
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
