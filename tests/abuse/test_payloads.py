"""Bodies that should not be: each is refused where it is wrong, whichever way it comes in."""

from __future__ import annotations

import json
import math
import socket

import pytest

from tests.abuse.conftest import MAX_BODY
from tests.abuse.exchange import check_refusal, in_chunks, request, say
from tests.service.hostile_payloads import ACCEPTED, PAYLOADS, ROW, Payload, rows
from tests.service.servers import Server


def readable(name: str) -> str:
    """A case's name without its number: ``1 truncated`` is ``truncated``."""
    number, _, rest = name.partition(" ")
    return (rest if number.isdigit() else name).replace(" ", "-")


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: readable(payload.name))
def test_a_hostile_payload_is_refused_in_the_same_words_whole_and_in_chunks(service: Server, payload: Payload) -> None:
    whole, chunked = say(service, request(payload.body)), say(service, in_chunks(payload.body))
    check_refusal(whole, 413 if len(payload.body) > MAX_BODY else payload.status)
    assert (whole.status, whole.body) == (chunked.status, chunked.body)
    if whole.status == payload.status and payload.path is not None:
        assert json.loads(whole.body)["errors"][0]["path"] == payload.path


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=map(readable, ACCEPTED))
def test_an_unusual_payload_is_answered_with_the_same_finite_numbers_whole_and_in_chunks(
    service: Server, body: bytes
) -> None:
    whole, chunked = say(service, request(body)), say(service, in_chunks(body))
    assert whole.status == 200
    assert whole.body == chunked.body
    predictions = json.loads(whole.body)["predictions"]
    assert len(predictions) == len(json.loads(body)["rows"])
    assert all(math.isfinite(p) for prediction in predictions for p in prediction["probabilities"].values())


def test_an_unseen_category_is_counted(service: Server) -> None:
    def counted() -> float:
        lines = service.get("/metrics").text.splitlines()
        name = 'rowcast_unseen_levels_total{column="carrier",model="flights"} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = counted()
    assert say(service, request(rows(ROW, {**ROW, "carrier": "ZZ"}, {**ROW, "carrier": "zz"}))).status == 200
    assert counted() == before + 2


def test_a_url_as_a_value_makes_the_service_connect_nowhere(service: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/row.json"
        assert say(service, request(rows({**ROW, "carrier": url}))).status == 200
        for body in (
            rows({**ROW, "departs": url}),
            rows({**ROW, "distance": url}),
            rows(url),
            json.dumps({"rows": url}).encode(),
            json.dumps(url).encode(),
            url.encode(),
        ):
            check_refusal(say(service, request(body)), 400)
        check_refusal(say(service, request(rows(ROW), url)), 404)
        with pytest.raises(BlockingIOError):
            listener.accept()
