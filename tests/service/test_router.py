"""The ASGI app in front, called directly."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

import rowcast.service.engine.model
import rowcast.service.http.body
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import Message, Receive, Scope, Send
from rowcast.service.router import Router
from rowcast.service.settings import Settings
from tests.service.hostile_payloads import GOOD, ROW, rows
from tests.support import handmade

JSON = [(b"content-type", b"application/json")]
ROUTES = "/models/flights/predict, /predict"


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """An app behind the front that answers as BentoML does: errors in plain text."""
    if scope["path"] in {"/", "/metrics"}:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"numbers"})
    else:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Not Found"})


class Caller:
    """One request to an ASGI app; ``chunks`` are its body."""

    def __init__(self, method: str, path: str, *chunks: bytes, headers: list[tuple[bytes, bytes]] = JSON) -> None:
        self.scope = {"type": "http", "method": method, "path": path, "headers": headers}
        self.chunks = list(chunks or (b"",))
        self.read = 0
        self.sent: list[Message] = []
        self.hangs_up = asyncio.Event()

    async def receive(self) -> Message:
        if self.read == len(self.chunks):
            await self.hangs_up.wait()
            return {"type": "http.disconnect"}
        self.read += 1
        return {"type": "http.request", "body": self.chunks[self.read - 1], "more_body": self.read < len(self.chunks)}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def answer(self, app: Router) -> tuple[int, dict[bytes, bytes], Any]:
        await app(self.scope, self.receive, self.send)
        start, *bodies = self.sent
        headers = dict(start["headers"])
        content = b"".join(body["body"] for body in bodies)
        assert headers.get(b"content-length", b"%d" % len(content)) == b"%d" % len(content)
        return start["status"], headers, json.loads(content) if b"json" in headers[b"content-type"] else content


def serve(
    repository: Path, scenario: Callable[[Router, Registry], Awaitable[None]], ready: bool = True, **settings: Any
) -> None:
    """Run ``scenario`` on a loop of its own with a front and its models."""

    async def main() -> None:
        models = Registry(Settings(repository=repository, **settings))
        if ready:
            await models.start()
        try:
            await scenario(Router(inner, models, {"/", "/metrics", "/broken"}), models)
        finally:
            models.stop()

    asyncio.run(main())


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_predict_route_answers_with_its_version(two_models: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for path, name, version in [
            ("/models/flights/predict", "flights", 2),
            ("/models/flights/versions/1/predict", "flights", 1),
            ("/models/flights/versions/2/predict", "flights", 2),
            ("/models/delay/predict", "delay", 1),
        ]:
            status, _, answer = await Caller("POST", path, GOOD).answer(app)
            assert (status, answer["model"], answer["version"], len(answer["predictions"])) == (200, name, version, 1)

    serve(two_models, scenario, models="flights:1,flights:2,delay")


def test_predict_without_a_name_needs_a_single_model(one_model: Path, two_models: Path) -> None:
    async def single(app: Router, models: Registry) -> None:
        status, _, answer = await Caller("POST", "/predict", GOOD).answer(app)
        assert (status, answer["model"]) == (200, "flights")
        assert answer["predictions"][0]["probabilities"]["late"] == pytest.approx(handmade.late(ROW), abs=1e-6)

    async def several(app: Router, models: Registry) -> None:
        status, _, answer = await Caller("POST", "/predict", GOOD).answer(app)
        assert (status, answer) == (
            404,
            {
                "error": "there is no such model or route; "
                "rows are sent to /models/delay/predict, /models/flights/predict"
            },
        )

    serve(one_model, single)
    serve(two_models, several)


@pytest.mark.parametrize(
    "path",
    [
        "/models/",
        "/models/other",
        "/models/other/predict",
        "/models/flights/predict/",
        "/models/flights/versions/2/predict",
        "/models/flights/versions/01/predict",
        "/models/flights/versions/x/predict",
        "/models/../predict",
        "/models/..//predict",
        "/models/../../../../etc/passwd",
        "/models//etc/passwd/predict",
        "/models/flights\0/predict",
        f"/models/{'a' * 256}/predict",
    ],
)
def test_a_path_that_is_not_in_the_table_is_not_found_and_touches_no_file(one_model: Path, path: str) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        before = metric("rowcast_requests_total", model="", code="4xx")
        status, _, answer = await Caller("POST", path, GOOD).answer(app)
        assert status == 404
        assert list(answer) == ["error"]
        assert metric("rowcast_requests_total", model="", code="4xx") == before + 1

    serve(one_model, scenario)


def test_a_wrong_method_names_the_right_one(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            status, headers, answer = await Caller(method, "/predict", GOOD).answer(app)
            assert (status, headers[b"allow"], list(answer)) == (405, b"POST", ["error"])
        for path in ("/models", "/models/flights", "/livez", "/readyz"):
            status, headers, answer = await Caller("POST", path, GOOD).answer(app)
            assert (status, headers[b"allow"], list(answer)) == (405, b"GET, HEAD", ["error"])

    serve(one_model, scenario)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([(b"content-type", b'Application/JSON; Charset="UTF-8"')], 200),
        ([*JSON, (b"content-encoding", b"identity")], 200),
        ([(b"content-type", b"text/plain")], 415),
        ([(b"content-type", b"application/json; charset=utf-16")], 415),
        ([(b"content-type", b"application/jsonp")], 415),
        ([(b"content-type", b"Application/Vnd.BentoML+Pickle")], 415),
        ([(b"content-type", b"multipart/form-data; boundary=x")], 415),
        ([(b"content-type", b"application/x-www-form-urlencoded")], 415),
        ([(b"content-type", b"\xff\xfe")], 415),
        ([*JSON, (b"content-type", b"text/plain")], 415),
        ([*JSON, (b"content-encoding", b"br")], 415),
        ([*JSON, (b"content-length", b"1025")], 413),
        ([*JSON, (b"content-length", b"9" * 5000)], 413),
    ],
)
def test_headers_decide_before_the_body_is_read(
    one_model: Path, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        caller = Caller("POST", "/predict", GOOD, headers=headers)
        got, _, answer = await caller.answer(app)
        heard = int(status in {200, 413})  # at 413 only to throw it away, see below
        assert (got, caller.read) == (status, heard)
        assert status == 200 or list(answer) == ["error"]

    serve(one_model, scenario, max_body=1024)


def test_a_body_in_chunks_is_read_until_it_is_too_large(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, _ = await Caller("POST", "/predict", *(bytes([byte]) for byte in GOOD)).answer(app)
        assert status == 200
        caller = Caller("POST", "/predict", *[b" " * 100] * 1000)
        status, _, answer = await caller.answer(app)
        assert (status, caller.read) == (413, 11)
        assert answer["error"].startswith("a body holds at most 1,024 bytes")

    serve(one_model, scenario, max_body=1024)


def test_faults_are_listed_with_their_paths(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        body = rows({**ROW, "distance": "far"}, {**ROW, "night": 1})
        status, _, answer = await Caller("POST", "/predict", body).answer(app)
        assert status == 400
        assert answer == {
            "error": 'rows[0].distance: must be a number or null, got "far"',
            "errors": [
                {"path": "rows[0].distance", "message": 'must be a number or null, got "far"'},
                {"path": "rows[1].night", "message": "must be true or false or null, got 1"},
            ],
        }

    serve(one_model, scenario)


def test_the_pages_tell_what_is_served(two_models: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        _, _, answer = await Caller("GET", "/models").answer(app)
        assert [(m["name"], m["version"], m["versions"], m["signature"]["task"]) for m in answer["models"]] == [
            ("delay", 1, [1], "regression"),
            ("flights", 2, [1, 2], "binary"),
        ]
        _, _, page = await Caller("GET", "/models/flights").answer(app)
        assert (page["version"], page["metrics"]) == (2, {"test": {"roc_auc": 0.5}})
        assert page["signature"]["classes"] == ["on time", "late"]
        assert page["signature"]["columns"][3]["levels"] == {"UA": 50, "AA": 30}  # 9E is too rare to show
        assert len(page["sha256"]) == 64
        status, _, _ = await Caller("POST", "/models/flights/predict", json.dumps(page["example"]).encode()).answer(app)
        assert status == 200
        _, _, old = await Caller("GET", "/models/flights/versions/1").answer(app)
        assert old["version"] == 1

    serve(two_models, scenario, models="flights:1,flights:2,delay")


def test_the_worker_is_alive_before_it_is_ready_and_not_ready_while_it_drains(one_model: Path) -> None:
    async def loading(app: Router, models: Registry) -> None:
        assert (await Caller("GET", "/livez").answer(app))[0] == 200
        assert (await Caller("GET", "/readyz").answer(app))[0] == 503
        status, _, answer = await Caller("POST", "/predict", GOOD).answer(app)
        assert (status, list(answer)) == (503, ["error"])

    async def draining(app: Router, models: Registry) -> None:
        assert (await Caller("GET", "/readyz").answer(app))[0] == 200
        models.draining = True
        status, headers, _ = await Caller("GET", "/readyz").answer(app)
        assert (status, headers[b"connection"]) == (503, b"close")
        status, headers, _ = await Caller("POST", "/predict", GOOD).answer(app)
        assert (status, headers[b"connection"]) == (200, b"close")

    serve(one_model, loading, ready=False)
    serve(one_model, draining)


def test_everything_else_goes_through_and_errors_come_back_in_json(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        assert (await Caller("GET", "/metrics").answer(app))[2] == b"numbers"
        status, _, answer = await Caller("GET", "/broken").answer(app)
        assert (status, answer) == (404, {"error": "Not Found"})

    serve(one_model, scenario)


def test_a_path_that_bentoml_does_not_know_is_kept_from_it_and_from_its_metrics(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        before = metric("rowcast_requests_total", model="", code="4xx")
        status, _, answer = await Caller("GET", "/nowhere").answer(app)
        assert (status, answer) == (404, {"error": "there is no such model or route; rows are sent to " + ROUTES})
        assert metric("rowcast_requests_total", model="", code="4xx") == before + 1

    serve(one_model, scenario)


def test_bentomls_page_may_load_nothing_from_elsewhere(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        _, headers, _ = await Caller("GET", "/").answer(app)
        assert headers[b"content-security-policy"].startswith(b"default-src 'self';")

    serve(one_model, scenario)


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/predict", "POST", [*JSON, (b"content-length", b"5000")], 413),
        ("/predict", "POST", [(b"content-type", b"text/plain"), (b"transfer-encoding", b"chunked")], 415),
        ("/predict", "PUT", [*JSON, (b"content-length", b"500")], 405),
        ("/models/other/predict", "POST", [*JSON, (b"content-length", b"500")], 404),
        ("/models", "POST", [*JSON, (b"content-length", b"500")], 405),
    ],
)
def test_a_caller_who_is_refused_while_sending_is_answered_first_and_heard_out(
    one_model: Path, path: str, method: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        caller = Caller(method, path, *[b" " * 100] * 50, headers=headers)
        got, sent, answer = await caller.answer(app)
        assert (got, sent[b"connection"], list(answer)) == (status, b"close", ["error"])
        assert caller.read == 50
        assert [(bool(message["body"]), message.get("more_body", False)) for message in caller.sent[1:]] == [
            (True, True),
            (False, False),
        ]

    serve(one_model, scenario, max_body=1024)


def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer(
    one_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowcast.service.http.body, "_BODY_SECONDS", 0.1)
    monkeypatch.setattr(rowcast.service.http.body, "_LOOK_SECONDS", 0.02)

    async def scenario(app: Router, models: Registry) -> None:
        caller = Caller("POST", "/predict", GOOD[:9], headers=[*JSON, (b"content-length", b"900")])
        first_part = {"type": "http.request", "body": GOOD[:9], "more_body": True}
        caller.read = 1

        async def receive() -> Message:
            nonlocal first_part
            part, first_part = first_part, {}
            return part or await caller.receive()

        await app(caller.scope, receive, caller.send)
        assert [caller.sent[0]["status"], len(caller.sent)] == [408, 2]
        assert (b"connection", b"close") in caller.sent[0]["headers"]

    serve(one_model, scenario)


def test_with_the_front_off_only_the_typed_routes_go_through(two_models: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for path, status in [
            ("/models/flights/predict", 404),
            ("/models/flights/versions/2/predict", 200),
            ("/models/other/predict", 404),
        ]:
            assert (await Caller("POST", path, GOOD).answer(app))[0] == status
        assert (await Caller("GET", "/readyz").answer(app))[0] == 200

    serve(two_models, scenario, front=False)


def test_rows_of_a_caller_who_hangs_up_while_they_are_queued_are_not_computed(
    one_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORT_RUN_SECONDS", "SHORT_RUN_SECONDS_ON_ONE_CORE"):
        monkeypatch.setattr(rowcast.service.engine.model, name, 0.0)

    async def scenario(app: Router, models: Registry) -> None:
        before = metric("rowcast_batch_rows_sum", model="flights")
        gate = threading.Event()
        models.thread.submit(gate.wait, 30)  # the thread is taken, so whatever goes to it waits
        first = asyncio.create_task(Caller("POST", "/predict", rows(*[ROW] * 4096)).answer(app))
        while not models.models["flights"].batcher.busy:  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.001)
        leaving, staying = Caller("POST", "/predict", rows(ROW, ROW)), Caller("POST", "/predict", GOOD)
        left = asyncio.create_task(app(leaving.scope, leaving.receive, leaving.send))
        stayed = asyncio.create_task(staying.answer(app))
        leaving.hangs_up.set()
        await left
        gate.set()
        assert (await first)[0] == 200
        assert (await stayed)[0] == 200
        assert leaving.sent == []
        models.flush_meters()
        assert metric("rowcast_batch_rows_sum", model="flights") - before == 4096 + 1

    serve(one_model, scenario)


@pytest.mark.parametrize("body", [GOOD, b"not even JSON"], ids=["good", "bad"])
def test_when_the_queue_is_full_a_caller_is_told_when_to_come_back(one_model: Path, body: bytes) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        before = metric("rowcast_refused_requests_total", model="flights")
        gate = threading.Event()
        models.thread.submit(gate.wait, 30)  # the thread is taken, so whatever goes to it waits
        first = asyncio.create_task(Caller("POST", "/predict", rows(*[ROW] * 4096)).answer(app))
        for _ in range(10):
            await asyncio.sleep(0)
        waiting = asyncio.create_task(Caller("POST", "/predict", rows(ROW, ROW)).answer(app))
        await asyncio.sleep(0)
        status, headers, answer = await Caller("POST", "/predict", body).answer(app)
        assert (status, headers[b"retry-after"], b"connection" in headers) == (429, b"1", False)
        assert answer == {"error": "too many rows are waiting: send this request again later, see Retry-After"}
        gate.set()
        assert ((await first)[0], (await waiting)[0]) == (200, 200)
        assert (await Caller("POST", "/predict", GOOD).answer(app))[0] == 200
        assert metric("rowcast_refused_requests_total", model="flights") - before == 1

    serve(one_model, scenario, max_queue=2)


def test_an_infinite_answer_is_an_error_of_its_own_request_only(
    two_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        overflowing = rows({**ROW, "distance": 1.79e308, "stops": 1.797e308})
        good, bad = Caller("POST", "/models/delay/predict", GOOD), Caller("POST", "/models/delay/predict", overflowing)
        answers = await asyncio.gather(good.answer(app), bad.answer(app), Caller("GET", "/livez").answer(app))
        assert [status for status, _, _ in answers] == [200, 500, 200]
        assert answers[1][2] == {"error": "the model gave an answer that is not a finite number"}
        assert answers[0][2]["predictions"][0]["prediction"] == pytest.approx(handmade.score(ROW), abs=1e-6)

    serve(two_models, scenario)
    assert "delay:1" in caplog.text
    assert "1.79" not in caplog.text


def test_requests_and_unseen_levels_are_counted(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        labels = {"model": "flights"}
        before = [
            metric("rowcast_requests_total", code="2xx", **labels),
            metric("rowcast_requests_total", code="4xx", **labels),
            metric("rowcast_request_seconds_count", **labels),
            metric("rowcast_compute_seconds_count", **labels),
            metric("rowcast_queue_seconds_count", **labels),
            metric("rowcast_unseen_levels_total", column="carrier", **labels),
        ]
        await Caller("POST", "/predict", rows(ROW, {**ROW, "carrier": "ZZ"})).answer(app)
        await Caller("POST", "/predict", b"[]").answer(app)
        models.flush_meters()
        after = [
            metric("rowcast_requests_total", code="2xx", **labels),
            metric("rowcast_requests_total", code="4xx", **labels),
            metric("rowcast_request_seconds_count", **labels),
            metric("rowcast_compute_seconds_count", **labels),
            metric("rowcast_queue_seconds_count", **labels),
            metric("rowcast_unseen_levels_total", column="carrier", **labels),
        ]
        assert [new - old for old, new in zip(before, after, strict=True)] == [1, 1, 2, 1, 1, 1]

    serve(one_model, scenario)


@pytest.mark.parametrize("rows", [3, 2000])
def test_levels_unseen_in_training_are_counted_of_rows_that_are_run_and_of_no_refused_ones(
    one_model: Path, rows: int
) -> None:
    body = json.dumps({"rows": [{**ROW, "carrier": "nobody"}] * rows}).encode()

    def counted() -> float:
        return metric("rowcast_unseen_levels_total", model="flights", column="carrier")

    async def scenario(app: Router, models: Registry) -> None:
        models.flush_meters()
        before = counted()
        status, _, _ = await Caller("POST", "/predict", body, headers=[*JSON, (b"grpc-timeout", b"1n")]).answer(app)
        models.flush_meters()
        assert (status, counted() - before) == (504, 0)
        status, _, _ = await Caller("POST", "/predict", body).answer(app)
        models.flush_meters()
        assert (status, counted() - before) == (200, rows)

    serve(one_model, scenario)
