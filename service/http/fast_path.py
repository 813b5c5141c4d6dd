"""The fast path of a request for predictions: from the bytes on its connection to the model and back.

ASGI and a parser written for every request take more of a worker's time than the network does: at 32 connections
some 80 us a request, where its share of a run takes 35. Yet a caller who keeps a connection sends the same head again
and again. So a head is parsed once, and what it says is kept under its very bytes; a request under a known head, whole
and alone in what was received, goes straight to the model, and its answer is one write.

Everything else is left to uvicorn, untouched: whatever is chunked, compressed, pipelined, slow, large, to be closed,
or to another route, and streams of many rows. The answers are the same bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from rowcast.models.errors import RequestError
from rowcast.service.cache import BoundedCache
from rowcast.service.engine.model import Model
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import CLOSE, Header
from rowcast.service.http.connection import Protocol
from rowcast.service.http.handlers import Handler, ShortRoute, TakesLong
from rowcast.service.http.reply import Reply
from rowcast.service.http.request_head import fault_of_head
from rowcast.service.limits.byte_budget import ByteBudget, Hold, NoRoom

_HEAD_END = b"\r\n\r\n"
_MAX_HEAD_BYTES = 1024
"""Larger heads are not looked up."""
_MAX_HEADS = 1024
"""Heads that are kept, a megabyte at most."""
_MAX_REQUEST_BYTES = 2**18
"""Larger requests are not held here while they come."""
_HOLD_SECONDS = 0.25
"""How long a request may take to come whole; then it takes the standard path, which knows how to treat slow callers."""


class _Known(NamedTuple):
    """What a head says."""

    served: Model
    body_bytes: int
    handle: Handler


class FastPath:
    """The heads of one service's requests.

    Args:
        registry: the models, and whether they are ready.
        routes: tells the paths whose requests may come this way, of the models that are served now.
        admit: tells of headers whether nothing stands between them and a model, such as the lack of a key. What it says
            is kept with the head: a key is compared once, and after that as a part of a dictionary's key.
    """

    def __init__(
        self, registry: Registry, routes: Callable[[], Mapping[str, ShortRoute]], admit: Callable[[list[Header]], bool]
    ) -> None:
        self._registry = registry
        self._paths = routes
        self._admit = admit
        self._heads: BoundedCache[bytes, _Known | None] = BoundedCache(_MAX_HEADS)
        self.follow()
        registry.join(self)
        self._common: tuple[list[Header], bytes] = [], b""

    @property
    def open(self) -> bool:
        """Whether requests may come this way."""
        return self._registry.ready

    @property
    def budget(self) -> ByteBudget:
        """The bytes of the worker."""
        return self._registry.budget

    @property
    def draining(self) -> bool:
        """Whether connections end with the next answer."""
        return self._registry.draining

    def look_up(self, head: bytes) -> _Known | None:
        """What a head says, without the empty line at its end; None when its request has to go the standard path."""
        try:
            return self._heads[head]
        except KeyError:
            known = self._heads[head] = _Reading(head).understood(self._routes, self._admit)
            return known

    def prepare(self, model: Model) -> None:
        """Nothing is kept of a model before it is served."""

    def follow(self) -> None:
        """Have requests come this way on the paths of the models that are served now, and on no others."""
        self._routes = {path.encode(): route for path, route in self._paths().items()}
        self.forget()

    def forget(self) -> None:
        """Ask of every head anew what it says, and whether it is admitted."""
        self._heads.clear()

    def write(self, reply: Reply, common: list[Header], *, last: bool) -> bytes:
        """The bytes of an answer.

        Args:
            reply: what is told.
            common: the headers that uvicorn gives every answer; a new list every second.
            last: whether the connection is closed after it.
        """
        if self._common[0] is not common:
            self._common = common, _lines(common)
        own = (*reply.headers, CLOSE) if last else reply.headers
        return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
            STATUS_LINE[reply.status],
            self._common[1],
            reply.content_type,
            len(reply.body),
            _lines(own) if own else b"",
            reply.body,
        )


class _Reading:
    """Reads one head with the parser that reads all others."""

    def __init__(self, head: bytes) -> None:
        self._path = b""
        self._headers: list[Header] = []
        self._parser = httptools.HttpRequestParser(self)
        self._valid = False
        try:
            self._parser.feed_data(head + _HEAD_END)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._valid = False

    def understood(self, routes: Mapping[bytes, ShortRoute], admit: Callable[[list[Header]], bool]) -> _Known | None:
        """What it says, if it says nothing but: a body for this route, of this length, and keep the connection."""
        route = routes.get(self._path)
        if not self._valid or route is None or not admit(self._headers):
            return None
        values = dict(self._headers)
        if len(values) < len(self._headers) or not _SPECIAL.isdisjoint(values):
            return None
        if fault_of_head(b"POST", "1.1", self._headers) is not None:
            return None
        length = values.get(b"content-length", b"")
        if not (length.isdigit() and len(length) <= 9 and 0 < int(length) <= _MAX_REQUEST_BYTES):
            return None
        try:
            return _Known(route.model, int(length), route.handler(self._headers))
        except RequestError:
            return None

    def on_url(self, url: bytes) -> None:
        """Take in the path; a query makes it none of ours."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take in what the parser has concluded."""
        parser = self._parser
        self._valid = (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )


_SPECIAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"})


class FastPathProtocol(Protocol):
    """The service's protocol, with the fast path ahead of uvicorn's."""

    fast_path: ClassVar[FastPath]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parser_rests = True
        """Whether uvicorn's parser stands before a request's first byte."""
        self._held = bytearray()
        """The beginning of a request that has not come whole; or what came before the last answer was out."""
        self._hold: Hold | None = None
        """What counts it."""
        self._held_since = 0.0
        self._whole_bytes = 0
        """How long the held request will be; 0 when none is."""
        self._model: Model | None = None
        """The model that is answering."""
        self._since = 0.0
        self._waiting: QueuedRequest | None = None
        self._last = False
        """Whether the connection ends with the next answer."""
        self._rests_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Leave a connection that is for probes alone to uvicorn's parser."""
        super().connection_made(transport)
        self._parser_rests = not self._for_probes

    def data_received(self, data: bytes) -> None:
        """Answer a whole request under a known head; pass on whatever else came."""
        if self._deaf:
            return
        if self._model is not None:
            self._held += data
            self.flow.pause_reading()
            return
        if self._whole_bytes:
            self._held += data
            if len(self._held) < self._whole_bytes and self._count(len(data)):
                return
            is_whole = len(self._held) >= self._whole_bytes
            data = self._let_go()
            if not is_whole:  # there is no room for it: the standard path says so
                self._parser_rests = False
                super().data_received(data)
                return
        self._rests_since = None
        if self._parser_rests and self._resting and not self.flow.write_paused and self.fast_path.open:
            end = data.find(_HEAD_END, 0, _MAX_HEAD_BYTES)
            known = self.fast_path.look_up(data[:end]) if end > 0 else None
            if known is not None:
                start = end + len(_HEAD_END)
                whole = start + known.body_bytes
                if len(data) == whole and self._handle(known, data[start:]):
                    return
                if len(data) < whole and self._count(len(data)):
                    self._held += data
                    self._held_since = self.loop.time()
                    self._whole_bytes = whole
                    return
        self._parser_rests = False
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Take note that uvicorn's parser is at work."""
        self._parser_rests = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Take note that uvicorn's parser rests."""
        self._parser_rests = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a request whose caller is gone: it is not computed if it still waits."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._let_go()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what came whole, if anything did."""
        if self._whole_bytes:  # the rest will not come
            self._let_go()
        return super().eof_received()

    def shutdown(self) -> None:
        """Close, as soon as the request under way is answered."""
        if self._model is not None:
            self._last = True
        else:
            super().shutdown()

    @property
    def idle_since(self) -> float | None:
        """As uvicorn's part has it, and for connections that rest after a request that came the fast path."""
        if self._model is not None or self._whole_bytes:
            return None
        since = super().idle_since
        return since if self._rests_since is None or self.transport.is_closing() else self._rests_since

    def give_up_when_late(self, now: float) -> None:
        """Look after a connection that rests, or whose request does not come whole."""
        if self._whole_bytes:
            if now > self._held_since + _HOLD_SECONDS:
                self._parser_rests = False
                super().data_received(self._let_go())
        elif self._rests_since is not None and now > self._rests_since + self.timeout_keep_alive:
            self.transport.close()
        else:
            super().give_up_when_late(now)

    @property
    def _idle(self) -> bool:
        return self._model is None and self._resting

    def _count(self, size: int) -> bool:
        """Count bytes of a request that comes in parts; whether there is room for them."""
        try:
            if self._hold is None:
                self._hold = self.fast_path.budget.hold()
            self._hold.grow(size)
        except NoRoom:
            return False
        return True

    def _let_go(self) -> bytes:
        """Whatever is held."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None
        held = bytes(self._held)
        self._held.clear()
        self._whole_bytes = 0
        return held

    def _handle(self, known: _Known, body: bytes) -> bool:
        """Have a body answered; False when it has to go the standard path."""
        self._unset_keepalive_if_required()
        self._waiting_since = None
        self._model = known.served
        self._since = time.perf_counter()
        try:
            waiting = known.handle(body, self._respond, self._since)
        except TakesLong:
            self._model = None
            return False
        if waiting is not None:
            self._waiting = waiting
        return True

    def _respond(self, reply: Reply) -> None:
        served, self._model, self._waiting = self._model, None, None
        assert served is not None
        last = self._last or self.fast_path.draining
        self.transport.write(self.fast_path.write(reply, self.server_state.default_headers, last=last))
        (reply.meter or served.meter).request(reply.status, time.perf_counter() - self._since)
        self.server_state.total_requests += 1
        if last:
            self.transport.close()
        elif self._held:
            self.flow.resume_reading()
            self.data_received(self._let_go())
        elif self._deaf and self._idle:
            self._end_when_all_is_sent()
        else:
            self._rests_since = self.loop.time()


def _lines(headers: list[Header] | tuple[Header, ...]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)
