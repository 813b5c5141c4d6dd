"""What a client tries again, and what it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

import rowcast
from rowcast.client import AsyncClient, Busy, Client, ClientError, Failed, Refused, Unreachable, Unsendable
from rowcast.models.errors import Fault
from tests.client.conftest import Said, stub
from tests.service.servers import free_port

GOOD: Said = (200, {"content-type": "application/json"}, b'{"predictions":[{"prediction":1.5}]}')
ROW = [{"x": 1}]


def said(status: int, **headers: str) -> Said:
    return status, {k.replace("_", "-"): v for k, v in headers.items()}, orjson.dumps({"error": f"said {status}"})


def ask_blocking(url: str, table: Any = ROW, **options: Any) -> Any:
    with Client(url, **options) as client:
        return client.predict(table)


def ask_awaiting(url: str, table: Any = ROW, **options: Any) -> Any:
    async def main() -> Any:
        async with AsyncClient(url, **options) as client:
            return await client.predict(table)

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [ask_blocking, ask_awaiting])
Ask = Callable[..., Any]


@both
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_when_it_says(ask: Ask, status: int) -> None:
    with stub(said(status, retry_after="1"), GOOD) as service:
        started = time.monotonic()
        assert ask(service.url) == [{"prediction": 1.5}]
        assert time.monotonic() - started >= 1
        assert len(service.heard) == 2
        assert service.connections == 1


@both
def test_a_busy_service_is_asked_so_often_and_no_more(ask: Ask) -> None:
    with stub(said(503)) as service:
        with pytest.raises(Busy, match="said 503") as caught:
            ask(service.url, retries=2)
        assert caught.value.status == 503
        assert len(service.heard) == 3


@both
def test_nobody_waits_beyond_the_timeout(ask: Ask) -> None:
    with stub(said(429, retry_after="20")) as service:
        started = time.monotonic()
        with pytest.raises(Busy):
            ask(service.url, timeout=2.0)
        assert time.monotonic() - started < 2
        assert len(service.heard) == 1


@both
@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (401, Refused), (404, Refused), (413, Refused), (500, Failed), (504, Failed)]
)
def test_nothing_else_is_asked_again(ask: Ask, status: int, kind: type[ClientError]) -> None:
    with stub(said(status)) as service:
        with pytest.raises(kind, match=f"said {status}") as caught:
            ask(service.url)
        assert caught.value.status == status
        assert len(service.heard) == 1


def test_an_error_carries_the_faults() -> None:
    body = {"error": "rows[0].x: no", "errors": [{"path": "rows[0].x", "message": "no"}]}
    with stub((400, {}, orjson.dumps(body))) as service, pytest.raises(Refused) as caught:
        ask_blocking(service.url)
    assert caught.value.faults == (Fault("rows[0].x", "no"),)
    assert isinstance(caught.value, rowcast.ClientError)


@both
@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b"{}", b'{"predictions":[]}', b'{"predictions":[{"prediction":1},{"prediction":2}]}'],
)
def test_an_answer_that_is_none_of_ours_is_a_failure(ask: Ask, answer: bytes) -> None:
    with stub((200, {"content-type": "application/json"}, answer)) as service, pytest.raises(Failed):
        ask(service.url)


@both
def test_a_damaged_arrow_answer_is_a_failure(ask: Ask) -> None:
    answer: Said = (
        200,
        {"content-type": "application/vnd.apache.arrow.stream"},
        b"\xff\xff\xff\xff\x10\0\0\0" + b"\1" * 9,
    )
    with stub(answer) as service, pytest.raises(Failed, match="cannot be read"):
        ask(service.url, {"x": list(range(300))})


@both
def test_nobody_listening_is_tried_again_and_then_said(ask: Ask) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    started = time.monotonic()
    with pytest.raises(Unreachable, match=url) as caught:
        ask(url, retries=2)
    assert caught.value.status is None
    assert time.monotonic() - started >= 0.3  # 0.1 and 0.2 seconds


def test_the_key_the_model_and_the_form_are_as_they_were_chosen() -> None:
    with stub(GOOD) as service:
        ask_blocking(service.url + "/", model="flights:3", api_key="k")
        ask_blocking(service.url, model="flights")
        ask_blocking(service.url)
        (path, headers, body), (latest, without, _), (bare, _, _) = service.heard
    assert (path, latest, bare) == ("/models/flights/versions/3/predict", "/models/flights/predict", "/predict")
    assert (headers["authorization"], "authorization" in without) == ("Bearer k", False)
    assert orjson.loads(body) == {"rows": ROW}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "a table must hold at least one row, got none"),
        ({"x": []}, "a table must hold at least one row, got none"),
        ("rows.csv", "a table is a polars or pandas data frame, .* got builtins.str"),
        ({"x": [1], "y": [1, 2]}, "columns must be of one length, got {'x': 1, 'y': 2}"),
        ({"x": 3}, "column 'x' must be a list of values, got int"),
        ({"x": [2**70]}, "column 'x' holds a number beyond 64 bits"),
        ({"x": [float("inf")]}, r"rows\[0\].x must be a number, or NaN where it is missing, got inf"),
    ],
)
def test_what_cannot_be_sent_is_not(table: Any, message: str) -> None:
    with stub(GOOD) as service:
        with pytest.raises(Unsendable, match=message):
            ask_blocking(service.url, table)
        assert service.heard == []
