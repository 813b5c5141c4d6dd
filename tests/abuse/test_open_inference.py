"""Open Inference requests that should not be: each is refused where it is wrong, whichever way it comes in."""

from __future__ import annotations

import gzip
import json
import socket
import zlib

import pytest

from tests.abuse.conftest import MAX_BODY
from tests.abuse.exchange import check_refusal, request, say
from tests.abuse.test_payloads import readable
from tests.service.hostile_payloads import ROW
from tests.service.hostile_tensors import GOOD, HOSTILE, OCTETS, PATHS, Hostile
from tests.service.open_inference import PATH, body, with_input
from tests.service.open_inference import request as tensors_of
from tests.service.servers import Server


def sent(hostile: Hostile, content_type: str = "application/json") -> bytes:
    if hostile.json_bytes is None:
        return request(hostile.body, PATH, content_type=content_type)
    return request(hostile.body, PATH, f"Inference-Header-Content-Length: {hostile.json_bytes}", content_type=OCTETS)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: readable(hostile.name))
def test_a_hostile_request_is_refused_where_it_is_wrong(service: Server, hostile: Hostile) -> None:
    answer = say(service, sent(hostile))
    words = check_refusal(answer, hostile.status)
    assert words.startswith(hostile.error)
    assert len(words) < 500
    assert list(json.loads(answer.body)) == ["error"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_where_nobody_is_nothing_is_read(service: Server, path: str, method: str) -> None:
    check_refusal(say(service, request(GOOD, path, method=method)), 404)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.bentoml+pickle",
        "Application/Octet-Stream+pickle",
        "application/json; charset=utf-16",
    ],
)
def test_another_media_type_is_refused(service: Server, content_type: str) -> None:
    check_refusal(say(service, request(GOOD, PATH, content_type=content_type)), 415)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "identity, gzip"])
def test_a_body_compressed_in_another_way_or_twice_is_refused(service: Server, encoding: str) -> None:
    check_refusal(say(service, request(GOOD, PATH, f"content-encoding: {encoding}")), 415)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", "deflate", "identity"])
def test_a_compressed_body_is_read_as_what_it_holds(service: Server, encoding: str) -> None:
    compress = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)
    plain = say(service, request(GOOD, PATH))
    told = say(service, request(compress(GOOD), PATH, f"content-encoding: {encoding}"))
    assert (told.status, told.body) == (200, plain.body)


def test_a_compressed_body_is_bounded_by_what_it_holds(service: Server) -> None:
    bomb = gzip.compress(GOOD + b" " * 2**26)
    told = say(service, request(bomb, PATH, "content-encoding: gzip"))
    check_refusal(told, 413)


def test_a_body_beyond_the_limit_is_refused_whether_it_says_so_or_not(service: Server) -> None:
    large = GOOD + b" " * MAX_BODY
    check_refusal(say(service, request(large, PATH)), 413)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    check_refusal(say(service, head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large)), 413)
    command = request(b" " * 2**17, "/v2/repository/index")
    check_refusal(say(service, command), 413)


def test_two_json_lengths_are_refused(service: Server) -> None:
    twice = ["Inference-Header-Content-Length: 5", "inference-header-content-length: 5"]
    check_refusal(say(service, request(GOOD, PATH, *twice)), 400)


def test_a_url_as_a_value_makes_the_service_connect_nowhere(service: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/tensor"
        assert say(service, request(body(with_input("carrier", data=[url, url])), PATH)).status == 200
        for column in ("distance", "departs"):
            check_refusal(say(service, request(body(with_input(column, data=[url, url])), PATH)), 400)
        check_refusal(say(service, request(body({**tensors_of(ROW), "inputs": url}), PATH)), 400)
        with pytest.raises(BlockingIOError):
            listener.accept()
