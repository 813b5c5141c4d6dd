"""Requests against the rules of HTTP or of the service: answered in JSON, and the connection ended if it must."""

from __future__ import annotations

import contextlib
import gzip
import pickle
from typing import NamedTuple

import psutil
import pytest

from tests.abuse.conftest import MAX_BODY
from tests.abuse.exchange import check_refusal, connect, in_chunks, read_answer, request, say, until_closed
from tests.service.hostile_payloads import GOOD, rows
from tests.service.servers import Server

POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
NO_HTTP = "the bytes are no valid HTTP request"
LARGE_HEAD = "headers hold at most 32,768 bytes"
LARGE_BODY = "a body holds at most 2,097,152 bytes"
NO_ROUTE = "there is no such model or route"
NOT_JSON = "a body must be JSON"


class Case(NamedTuple):
    """Bytes on a new connection, and how their answer begins."""

    name: str
    sent: bytes
    status: int
    words: str
    closed: bool = False
    """Whether the service closes at once, hearing out nobody."""


def path(target: bytes, method: bytes = b"POST") -> bytes:
    return b"%b %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (method, target, len(GOOD), GOOD)


CASES = [
    Case("body over the limit, declared", request(b" " * (MAX_BODY + 1)), 413, LARGE_BODY, closed=True),
    Case("body over the limit, only declared", POST + b"content-length: 2097153\r\n\r\n{", 413, LARGE_BODY),
    Case("body over the limit by far", POST + b"content-length: " + b"9" * 18 + b"\r\n\r\n{", 413, LARGE_BODY),
    Case("body over the limit, in chunks", in_chunks(b" " * (MAX_BODY + 1)), 413, LARGE_BODY),
    Case("body over the limit, one chunk", in_chunks(b" " * 2**23, 2**23), 413, LARGE_BODY, closed=True),
    Case("body over the limit, to be closed", request(b" " * 2**24, "/predict", "connection: close"), 413, LARGE_BODY),
    Case(
        "rows over the limit", request(rows(*[{"distance": 1, "stops": 1, "carrier": ""}] * 4097)), 413, "a request h"
    ),
    Case("headers over the limit, one", POST + b"x: " + b"a" * 70_000 + b"\r\n\r\n", 431, LARGE_HEAD, closed=True),
    Case("headers over the limit, just", POST + b"x: " + b"a" * 33_000 + b"\r\n\r\n", 431, LARGE_HEAD, closed=True),
    Case(
        "headers over the limit, many", POST + b"x-a: aaaaaaaaaaaaa\r\n" * 3_000 + b"\r\n", 431, LARGE_HEAD, closed=True
    ),
    Case("headers over the limit, empty", POST + b"x:\r\n" * 20_000 + b"\r\n", 431, LARGE_HEAD, closed=True),
    Case("path over the limit", path(b"/" + b"a" * 40_000), 431, LARGE_HEAD, closed=True),
    Case("query over the limit", path(b"/predict?" + b"a" * 40_000), 431, LARGE_HEAD, closed=True),
    Case(
        "gzip bomb", request(gzip.compress(b" " * 2**27), "/predict", "Content-Encoding: GZip"), 413, "a body holds at"
    ),
    Case("no gzip", request(GOOD, "/predict", "content-encoding: gzip"), 400, "the body must be in gzip as its"),
    Case("no deflate", request(GOOD, "/predict", "content-encoding: deflate"), 400, "the body must be in deflate as"),
    Case(
        "gzip cut off", request(gzip.compress(GOOD)[:-1], "/predict", "content-encoding: gzip"), 400, "the body must be"
    ),
    Case("gzip and more", request(gzip.compress(GOOD) + b"x", "/predict", "content-encoding: gzip"), 400, "the body m"),
    Case("brotli", request(GOOD, "/predict", "content-encoding: br"), 415, "a body must be sent as it is, or in gzip"),
    Case("gzip twice", request(GOOD, "/predict", "content-encoding: gzip, gzip"), 415, "a body must be sent as it is"),
    Case("two encodings", request(GOOD, "/predict", "content-encoding: identity, gzip"), 415, "a body must be sent as"),
    *(
        Case(f"pickle as {media_type}", request(pickle.dumps({}), content_type=media_type), 415, NOT_JSON)
        for media_type in ("application/vnd.bentoml+pickle", "Application/VND.BentoML+Pickle", "application/x-pickle")
    ),
    Case("pickle as JSON", request(pickle.dumps({"rows": []})), 400, "the body must be JSON in UTF-8"),
    Case("text plain", request(GOOD, content_type="text/plain"), 415, NOT_JSON),
    Case("text json", request(GOOD, content_type="text/json"), 415, NOT_JSON),
    Case("two media types", request(GOOD, "/predict", "content-type: text/plain"), 415, NOT_JSON),
    Case("a charset that is none", request(GOOD, content_type="application/json; charset=latin-1"), 415, NOT_JSON),
    Case("a media type of bytes", request(GOOD, content_type="\xff\xfe"), 415, NOT_JSON),
    Case("multipart", request(b"--x\r\n\r\n1\r\n--x--", content_type="multipart/form-data; boundary=x"), 415, NOT_JSON),
    Case("multipart, malformed", request(b"\0--", content_type="multipart/form-data"), 415, NOT_JSON),
    Case("form", request(b"rows=1", content_type="application/x-www-form-urlencoded"), 415, NOT_JSON),
    Case("conflicting lengths", POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", 400, NO_HTTP, closed=True),
    Case(
        "length and chunks",
        POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n",
        400,
        NO_HTTP,
        closed=True,
    ),
    Case(
        "chunks and length",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n",
        400,
        NO_HTTP,
        closed=True,
    ),
    Case("a length that is none", POST + b"content-length: 0x10\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("a length below zero", POST + b"content-length: -1\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("a length beyond 64 bits", POST + b"content-length: " + b"9" * 25 + b"\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("bad chunk", CHUNKED + b"zz\r\n", 400, NO_HTTP, closed=True),
    Case("bad second chunk", CHUNKED + b"1\r\n{\r\nzz\r\n", 400, NO_HTTP, closed=True),
    Case("chunk longer than it says", CHUNKED + b"1\r\n{{{{\r\n", 400, NO_HTTP, closed=True),
    Case("chunk of 2**64 bytes", CHUNKED + b"1" + b"0" * 16 + b"\r\n", 400, NO_HTTP, closed=True),
    Case("NUL in the path", path(b"/models/\0/predict"), 400, NO_HTTP, closed=True),
    Case("NUL in the path, escaped", path(b"/models/flights%00/predict"), 404, NO_ROUTE),
    Case("NUL in a header", POST + b"x: \0\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("a header without a name", POST + b": x\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("a blank before a colon", POST + b"content-length : 3\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("a folded header", POST + b"x: 1\r\n 2\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("garbage line", b"no HTTP at all\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("garbage bytes", bytes(range(256)), 400, NO_HTTP, closed=True),
    Case("TLS", bytes.fromhex("1603010200010001fc0303") + b"a" * 200, 400, NO_HTTP, closed=True),
    Case("HTTP 2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, NO_HTTP, closed=True),
    Case("a version that is none", b"GET /livez HTTP/9.9\r\nhost: x\r\n\r\n", 400, NO_HTTP, closed=True),
    *(
        Case(f"wrong method, {method}", path(b"/predict", method.encode()), 405, "rows are sent with POST", closed=True)
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS")
    ),
    Case("wrong method of a page", path(b"/models"), 405, "this page is read with GET", closed=True),
    Case("a method that is none", path(b"/predict", b"PREDICT"), 400, NO_HTTP, closed=True),
    Case("unknown model", path(b"/models/other/predict"), 404, NO_ROUTE),
    Case("unknown version", path(b"/models/flights/versions/9/predict"), 404, "version 9 of flights is not served"),
    Case("unknown version of no model", path(b"/models/x/versions/9/predict"), 404, NO_ROUTE),
    Case("unknown page", path(b"/nowhere", b"GET"), 404, NO_ROUTE),
    Case("model name of dots", path(b"/models/../predict"), 404, NO_ROUTE),
    Case("model name of dots, to a file", path(b"/models/../../../../../../etc/passwd", b"GET"), 404, NO_ROUTE),
    Case("model name of dots, escaped", path(b"/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd/predict"), 404, NO_ROUTE),
    Case("model name of dots, twice escaped", path(b"/models/%252e%252e%252f/predict"), 404, NO_ROUTE),
    Case("model name of dots, backwards", path(b"/models/..\\..\\predict"), 404, NO_ROUTE),
    Case("model name of dots, to a page's file", path(b"/static_content/../../app.py", b"GET"), 404, NO_ROUTE),
    Case("model name that is absolute", path(b"/models//etc/passwd/predict"), 404, NO_ROUTE),
    Case("model name 256 long", path(b"/models/" + b"a" * 256 + b"/predict"), 404, NO_ROUTE),
    Case("model name in UTF-8", path(b"/models/%F0%9F%98%80/predict"), 404, NO_ROUTE),
    Case("model name that is no UTF-8", path(b"/models/%ff%fe/predict"), 404, NO_ROUTE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_request_that_should_not_be_is_refused_in_json(service: Server, case: Case) -> None:
    with connect(service) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused and closed: the answer is there
            connection.sendall(case.sent)
        answer = read_answer(connection)
        assert check_refusal(answer, case.status).startswith(case.words)
        if case.closed or case.words == LARGE_BODY:
            assert answer.headers["connection"] == "close"
        if case.closed:
            assert until_closed(connection) == b""
    if case.status == 405:
        assert answer.headers["allow"] in {"POST", "GET, HEAD"}


def test_a_million_chunks_of_one_byte_are_one_body_in_bounded_memory(service: Server, worker: psutil.Process) -> None:
    memory = worker.memory_info
    body = b" " * 1_000_000 + GOOD
    expected = say(service, request(body))
    before = memory().rss
    answer = say(service, in_chunks(body, 1))
    assert (answer.status, answer.body) == (200, expected.body)
    assert memory().rss - before < 2**24


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(POST + b"x-endless: ", id="a-header"),
        pytest.param(b"GET /", id="a-path"),
        pytest.param(CHUNKED + b"%x\r\n%b\r\n0\r\nx-trailer: " % (len(GOOD), GOOD), id="a-trailer"),
        pytest.param(CHUNKED + b"1;extension=", id="a-chunk's-extension"),
    ],
)
def test_what_never_ends_is_cut_off_long_before_it_fills_the_memory(
    service: Server, worker: psutil.Process, beginning: bytes
) -> None:
    memory = worker.memory_info
    before = memory().rss
    with connect(service) as connection:
        connection.sendall(beginning)
        sent = 0
        try:
            while sent < 2**34:
                sent += connection.send(b"a" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 2**34
    assert memory().rss - before < 2**23


def test_a_caller_who_hangs_up_halfway_harms_nobody(service: Server) -> None:
    for sent in (POST + b"content-length: 999\r\n\r\n" + GOOD[:50], in_chunks(GOOD)[:-9], request(GOOD)[:-1], POST):
        for _ in range(10):
            with connect(service) as connection:
                connection.sendall(sent)
