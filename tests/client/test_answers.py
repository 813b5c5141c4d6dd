"""An answer is bounded while it comes, and held against what was asked before anybody gets it."""

from __future__ import annotations

import socket
import time
import zlib
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest

from rowcast.client import Busy, Client, ClientError, Failed, Refused
from rowcast.client.answers import Asked, Response, described, understood
from rowcast.models import arrow
from rowcast.models.arrow import types, writer
from tests.client.conftest import GOOD_BODY, RawStub, answer, ask_blocking, both, raw_stub, stub
from tests.client.hostile_answers import HOSTILE_ANSWERS, HOSTILE_PAIRS
from tests.support.memory import peak_bytes, reset_peak

JSON = {"content-type": "application/json"}
ARROW = {"content-type": arrow.MEDIA_TYPE}
BOMB = zlib.compress(bytes(2**24))


@both
@pytest.mark.parametrize("body", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS)
def test_no_malformed_answer_reaches_a_caller(ask: Any, body: bytes) -> None:
    with stub((200, JSON, body)) as service, pytest.raises(Failed, match="cannot be read") as caught:
        ask(service.url, model="m")
    assert caught.value.status == 200


@pytest.mark.parametrize("body", HOSTILE_PAIRS.values(), ids=HOSTILE_PAIRS)
def test_no_row_may_differ_from_the_first(body: bytes) -> None:
    with stub((200, JSON, body)) as service, pytest.raises(Failed, match="cannot be read"):
        ask_blocking(service.url, [{"x": 1}, {"x": 2}])


def test_the_version_that_was_asked_has_to_answer() -> None:
    body = b'{"model":"m","version":3,"predictions":[{"prediction":1}]}'
    with stub((200, JSON, body)) as service:
        assert ask_blocking(service.url, model="m:3") == [{"prediction": 1.0}]
        with pytest.raises(Failed, match="version 2 was asked and version 3 answered"):
            ask_blocking(service.url, model="m:2")


def arrow_answer(rows: int, told: dict[str, str] | None = None, **columns: tuple[types.Kind, Any]) -> bytes:
    head = writer.schema([(name, kind) for name, (kind, _) in columns.items()], told)
    return b"".join(
        [head, *writer.batch(rows, [writer.column(kind, values) for kind, values in columns.values()]), arrow.END]
    )


NUMBERS = np.ones(300)
GOOD_ARROW = arrow_answer(300, prediction=(types.FLOAT64, NUMBERS))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (arrow_answer(299, prediction=(types.FLOAT64, NUMBERS[:299])), "must hold 300 rows, got 299"),
        (arrow_answer(2**40, prediction=(types.NULL, NUMBERS)), "must hold 300 rows, got more"),
        (arrow_answer(300, prediction=(types.FLOAT64, NUMBERS * np.nan)), "must hold finite numbers"),
        (arrow_answer(300, prediction=(types.FLOAT64, NUMBERS * np.inf)), "must hold finite numbers"),
        (arrow_answer(300, prediction=(types.INT64, NUMBERS.astype(int))), "must hold numbers"),
        (arrow_answer(300, prediction=(types.UTF8, ["1.5"] * 300)), "must hold numbers"),
        (arrow_answer(300, prediction=(types.NULL, NUMBERS)), "must hold no null"),
        (arrow_answer(300, lower=(types.FLOAT64, NUMBERS)), "must hold label and a probability"),
        (arrow_answer(300, score=(types.FLOAT64, NUMBERS)), "must hold label and a probability"),
        (arrow_answer(300, label=(types.UTF8, ["a"] * 300)), "must hold label and a probability"),
        (
            arrow_answer(300, label=(types.UTF8, ["b"] * 300), probability_a=(types.FLOAT64, NUMBERS)),
            "labels must be among the classes",
        ),
        (
            arrow_answer(300, label=(types.UTF8, [None] * 300), probability_a=(types.FLOAT64, NUMBERS)),
            "must hold no null|must be text",
        ),
        (
            arrow_answer(300, label=(types.FLOAT64, NUMBERS), probability_a=(types.FLOAT64, NUMBERS)),
            "labels must be text",
        ),
        (
            arrow_answer(300, label=(types.UTF8, ["a"] * 300), probability_a=(types.FLOAT64, NUMBERS * 2)),
            "probabilities must lie between 0 and 1",
        ),
        (GOOD_ARROW[:-60], "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_malformed_arrow_answer_reaches_no_caller(body: bytes, words: str) -> None:
    with stub((200, ARROW, body)) as service, pytest.raises(Failed, match=words):
        ask_blocking(service.url, {"x": list(range(300))})


def test_a_good_arrow_answer_does() -> None:
    with stub((200, ARROW, GOOD_ARROW)) as service:
        assert ask_blocking(service.url, {"x": list(range(300))}) == {"prediction": [1.0] * 300}


def told(rows: int, **beside: str) -> bytes:
    return arrow_answer(rows, {f"rowcast.{k}": v for k, v in beside.items()}, prediction=(types.FLOAT64, np.ones(rows)))


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({"model": "m", "version": "2"}, "version 3 was asked and version 2 answered"),
        ({"model": "other", "version": "3"}, "another model answered"),
        ({"model": "m", "version": "x"}, "cannot be read"),
        ({"model": "m", "version": "0"}, "version a whole number above 0"),
    ],
)
def test_the_version_of_an_arrow_answer_is_the_one_that_was_asked(beside: dict[str, str], words: str) -> None:
    table = {"x": list(range(300))}
    with stub((200, ARROW, told(300, model="m", version="3"))) as service:
        assert ask_blocking(service.url, table, model="m:3") == {"prediction": [1.0] * 300}
    with stub((200, ARROW, told(300, **beside))) as service, pytest.raises(Failed, match=words):
        ask_blocking(service.url, table, model="m:3")


@both
@pytest.mark.parametrize("protocol", ["json", "arrow"])
def test_no_table_is_answered_by_two_versions(ask: Any, protocol: str) -> None:
    step = 2048 if protocol == "json" else 16_384
    table = {"x": list(range(step + 1))}

    def answered(rows: int, version: int) -> tuple[int, dict[str, str], bytes]:
        if protocol == "arrow":
            return 200, ARROW, told(rows, model="m", version=str(version))
        predictions = [{"prediction": 1.0}] * rows
        return 200, JSON, orjson.dumps({"model": "m", "version": version, "predictions": predictions})

    with stub(answered(step, 1), answered(1, 1)) as service:
        assert len(ask(service.url, table, protocol=protocol)["prediction"]) == step + 1
    words = "one version must answer all parts of a table, got 1 and 2: choose one"
    mixed = [answered(step, 1), answered(1, 2)]
    with stub(*mixed, *mixed) as service, pytest.raises(Failed, match=words):
        ask(service.url, table, protocol=protocol)
    assert len(service.heard) == 4  # the whole table twice


@both
def test_a_table_into_which_a_swap_falls_is_sent_again_as_a_whole_at_once(
    ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = [2048, 2048, 2048, 4]

    def answered(version: int, rows: int) -> tuple[int, dict[str, str], bytes]:
        predictions = [{"prediction": float(version)}] * rows
        return 200, JSON, orjson.dumps({"model": "m", "version": version, "predictions": predictions})

    before = [answered(1, 2048), answered(2, 2048)]
    after = [answered(2, rows) for rows in sizes]
    with stub(*before, *after) as service:
        answers = ask(service.url, {"x": list(range(sum(sizes)))}, protocol="json")
    assert answers == {"prediction": [2.0] * sum(sizes)}
    keys = [headers["x-rowcast-key"] for _, headers, _ in service.heard]
    assert [len(set(keys[:2])), len(set(keys[2:])), len(keys)] == [1, 1, 6]  # two requests in vain, and then all four
    (line,) = caplog.messages
    assert line.startswith("the whole table is sent again, once: one version must answer all parts of a table, got 1")


def test_the_progress_of_a_table_that_is_sent_again_is_taken_back() -> None:
    def answered(version: int, rows: int) -> tuple[int, dict[str, str], bytes]:
        predictions = [{"prediction": 1.0}] * rows
        return 200, JSON, orjson.dumps({"model": "m", "version": version, "predictions": predictions})

    seen: list[int] = []
    answers = [answered(1, 2048), *[answered(2, rows) for rows in (2, 2048, 2)]]
    with stub(*answers) as service, Client(service.url, protocol="json") as client:
        client.predict({"x": list(range(2050))}, progress=seen.append)
    assert seen == [2048, -2048, 2048, 2]


def test_no_mutilated_answer_does_anything_but_fail() -> None:
    random = Random(3)
    asked = Asked("/predict", 300, "m", 1)
    rows = [{"label": "a", "probabilities": {"a": 1.0, "b": 0.0}}] * 300
    answers = [
        (GOOD_ARROW, ARROW),
        (told(300, model="m", version="1"), ARROW),
        (orjson.dumps({"model": "m", "version": 1, "predictions": rows}), JSON),
    ]
    for _ in range(1500):
        good, headers = random.choice(answers)
        body = bytearray(good)
        for _ in range(random.choice((1, 1, 2, 5))):
            at = random.randrange(min(len(body), random.choice((400, len(good)))))
            body[at : at + random.randrange(9)] = random.randbytes(random.choice((0, 1, 4)))
        for read, status in ((understood, 200), (understood, 500), (described, 200)):
            with suppress(ClientError):
                read(asked, Response(status, headers, bytes(body), "http://h/predict"))


@both
def test_an_answer_that_says_it_is_too_long_is_not_read(ask: Any) -> None:
    def script(_: RawStub, connection: socket.socket, __: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 600000000\r\n\r\n")
        connection.settimeout(0.2)
        connection.recv(1)  # it is closed at once

    with (
        raw_stub(script) as service,
        pytest.raises(Failed, match="at most 1,179,648 bytes for 1 rows, got 600,000,000"),
    ):
        ask(service.url)


@both
def test_an_answer_without_an_end_is_cut_off(ask: Any) -> None:
    sent = 0

    def script(_: RawStub, connection: socket.socket, __: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        for _ in range(600):
            connection.sendall(bytes(2**20))
            sent += 2**20

    reset_peak()
    before = peak_bytes()
    with raw_stub(script) as service, pytest.raises(Failed, match="at most 1,179,648 bytes for 1 rows, got more"):
        ask(service.url)
    assert sent < 64 * 2**20
    assert peak_bytes() - before < 64 * 2**20


@both
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_no_compressed_answer_is_asked_for_or_inflated(ask: Any, encoding: str) -> None:
    def script(_: RawStub, connection: socket.socket, __: bytes) -> None:
        connection.sendall(answer(BOMB, "200 OK", f"content-encoding: {encoding}"))

    with raw_stub(script) as service:
        with pytest.raises(Failed, match=f"must not be compressed, .* got '{encoding}'"):
            ask(service.url)
        assert b"accept-encoding: identity" in service.heads[0].lower()


@both
def test_a_long_error_is_told_by_its_status(ask: Any) -> None:
    body = orjson.dumps({"error": "x" * 2**17})
    with stub((500, {}, body)) as service, pytest.raises(Failed, match=r"^the service answered with status 500$"):
        ask(service.url)
    with stub((400, {}, orjson.dumps({"error": "x" * 5000}))) as service, pytest.raises(Refused) as caught:
        ask(service.url)
    assert len(str(caught.value)) == 2003


def test_what_a_service_says_of_an_error_is_made_harmless() -> None:
    errors = [{"path": "rows[0].x\x1b[2J", "message": "no\r"}] * 500
    body = orjson.dumps({"error": "rows[0].x: \x1b[31mno\nand no", "errors": errors})
    with stub((400, {}, body)) as service, pytest.raises(Refused) as caught:
        ask_blocking(service.url)
    assert str(caught.value) == "rows[0].x: �[31mno\nand no"
    assert len(caught.value.faults) == 50
    assert (caught.value.faults[0].path, caught.value.faults[0].message) == ("rows[0].x�[2J", "no�")


@pytest.mark.parametrize("said", [b'{"error":["x"]}', b'{"error":{}}', b'{"errors":3}', b"[]", b"\xff", b""])
def test_an_error_in_no_words_of_ours_is_told_by_its_status(said: bytes) -> None:
    with stub((503, {}, said)) as service, pytest.raises(Busy, match=r"^the service answered with status 503$"):
        ask_blocking(service.url, retries=0)


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://other.example/v1/predict", "points to https://other.example/v1: use that URL"),
        (
            "https://u:secret@other.example:8443/predict?token=secret#secret",
            "points to https://other.example:8443: use",
        ),
        ("/elsewhere/predict", r"points to http://127\.0\.0\.1:\d+/elsewhere: use that URL"),
        ("ftp://other.example/", "points to no address"),
        ("http://[", "points to no address"),
    ],
)
def test_a_redirect_is_told_and_not_followed(ask: Any, status: int, location: str, words: str) -> None:
    with stub((status, {"location": location}, b"")) as service:
        with pytest.raises(Failed, match=f"answered with status {status} and {words}") as caught:
            ask(service.url, api_key="k")
        assert "secret" not in str(caught.value)
        assert len(service.heard) == 1


def test_a_description_that_is_none_is_a_failure() -> None:
    for body in (
        b"[]",
        b"{}",
        b'{"models":3}',
        b'{"models":[]}',
        b'{"models":[{}]}',
        b'{"models":[3]}',
        b'{"name":"m","version":"1","signature":{}}',
        b'{"name":3,"version":1,"signature":{}}',
        b'{"name":"m","version":1,"signature":[]}',
        b'{"name":"other","version":1,"signature":{}}',
        b"<html>",
    ):
        with (
            stub((200, JSON, body)) as service,
            Client(service.url, "m") as client,
            pytest.raises(ClientError, match=r"cannot be read|no model is served"),
        ):
            client.describe()


def test_a_usual_answer_is_as_it_was() -> None:
    body = (
        b'{"model":"m","version":1,"predictions":[{"label":"a","probabilities":{"a":0.75,"b":0.25}},'
        b'{"label":"b","probabilities":{"a":0,"b":1}}]}'
    )
    with stub((200, JSON, body)) as service:
        assert ask_blocking(service.url, [{"x": 1}, {"x": 2}]) == [
            {"label": "a", "probabilities": {"a": 0.75, "b": 0.25}},
            {"label": "b", "probabilities": {"a": 0.0, "b": 1.0}},
        ]
    with stub((200, JSON, GOOD_BODY)) as service:
        started = time.monotonic()
        assert ask_blocking(service.url) == [{"prediction": 1.5}]
        assert time.monotonic() - started < 5
