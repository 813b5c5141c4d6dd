"""Bodies as KServe V1, MLflow, SageMaker and Vertex AI document them, on the routes that they name."""

from __future__ import annotations

import json
import re
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from rowcast.models.repository import Repository
from rowcast.service.engine.registry import Registry
from rowcast.service.http.options import NO_OPTIONS
from rowcast.service.router import Router
from tests.service.hostile_payloads import ROW
from tests.service.hostile_platforms import CASES, Platform
from tests.service.test_router import Caller, serve
from tests.support import handmade

with warnings.catch_warnings():  # a library of BentoML's was deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from rowcast.service.protocols.rows.bentoml_methods import typed_methods

VALUES = list(ROW.values())
NAMES = list(ROW)
JSON = b"application/json"
V1 = "/v1/models/flights:predict"
LATE = {"label": "late", "probabilities": {"on time": 0.001993239, "late": 0.99800676}}


class Asked(Caller):
    """A request with a content type, and what it accepts."""

    def __init__(self, path: str, body: bytes, content_type: bytes = JSON, accept: bytes = b"*/*") -> None:
        super().__init__("POST", path, body, headers=[(b"content-type", content_type), (b"accept", accept)])

    async def answer(self, app: Router) -> tuple[int, dict[bytes, bytes], Any]:
        await app(self.scope, self.receive, self.send)
        start, *bodies = self.sent
        headers = dict(start["headers"])
        content = b"".join(body["body"] for body in bodies)
        return start["status"], headers, json.loads(content) if headers[b"content-type"] == JSON else content


def body(content: Any) -> bytes:
    return json.dumps(content).encode()


def test_the_model_is_the_one_whose_answers_are_known() -> None:
    assert handmade.late(ROW) == pytest.approx(0.99800676, abs=1e-6)


FORMS = [
    (V1, {"instances": [ROW, ROW]}),
    (V1, {"instances": [VALUES, VALUES]}),
    (V1, {"instances": [VALUES, ROW]}),
    (V1, {"inputs": [ROW, ROW]}),
    (V1, {"signature_name": "serving_default", "instances": [ROW, ROW]}),
    (V1, {"instances": [ROW, ROW], "parameters": None}),
    ("/v1/models/flights/versions/1:predict", {"instances": [ROW, ROW]}),
    ("/invocations", {"instances": [ROW, ROW]}),
    ("/invocations", {"instances": [VALUES, VALUES]}),
    ("/invocations", {"instances": [{"features": VALUES}, {"features": VALUES}]}),
    ("/invocations", {"inputs": [ROW, ROW]}),
    ("/invocations", {"inputs": {name: [value, value] for name, value in ROW.items()}}),
    ("/invocations", {"dataframe_records": [ROW, ROW]}),
    ("/invocations", {"dataframe_records": [ROW, ROW], "params": {}}),
    ("/invocations", {"dataframe_split": {"columns": NAMES, "data": [VALUES, VALUES]}}),
    ("/invocations", {"dataframe_split": {"index": [7, 8], "columns": NAMES, "data": [VALUES, VALUES]}}),
    ("/invocations", {"dataframe_split": {"data": [VALUES[::-1]] * 2, "columns": NAMES[::-1]}}),
    ("/invocations", [VALUES, ROW]),
]


def test_every_form_of_a_row_is_answered_as_rows_are(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for path, content in FORMS:
            status, _, answer = await Asked(path, body(content)).answer(app)
            assert (status, answer) == (200, {"predictions": [LATE, LATE]}), content

    serve(one_model, scenario)


def test_platforms_and_the_description_follow_a_threshold(tmp_path: Path) -> None:
    told, graph = handmade.manifest(threshold=0.999), handmade.graph(threshold=0.999)
    Repository(tmp_path).publish("flights", told, {"model.onnx": graph})

    async def scenario(app: Router, models: Registry) -> None:
        for path, content in (*FORMS, ("/predict", {"rows": [ROW, ROW]})):
            status, _, answer = await Asked(path, body(content)).answer(app)
            assert (status, answer["predictions"]) == (200, [{**LATE, "label": "on time"}] * 2), content
        asked = Asked("/invocations", body([ROW]), JSON, b"text/csv")
        assert (await asked.answer(app))[2].startswith(b"on time,")
        about = models.find("flights").description
        assert about["threshold"] == {"by": "number", "class": "late", "value": 0.999}

    serve(tmp_path, scenario)


def test_the_typed_api_follows_a_threshold_as_the_fast_route_does(tmp_path: Path) -> None:
    told, graph = handmade.manifest(threshold=0.999), handmade.graph(threshold=0.999)
    Repository(tmp_path).publish("flights", told, {"model.onnx": graph})

    async def scenario(app: Router, models: Registry) -> None:
        content = body({"rows": [ROW]})
        with warnings.catch_warnings():  # of pydantic's, in BentoML
            warnings.simplefilter("ignore", DeprecationWarning)
            typed = typed_methods(models)["predict"]
        answer = json.loads((await typed.func(None, (NO_OPTIONS, time.perf_counter(), content))).body)
        assert answer["predictions"] == [{**LATE, "label": "on time"}]
        assert (await Asked("/predict", content).answer(app))[2] == answer

    serve(tmp_path, scenario)


def test_a_row_may_be_columns_of_one_value_each(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked("/invocations", body({"inputs": ROW})).answer(app)
        assert (status, answer) == (200, {"predictions": [LATE]})

    serve(one_model, scenario)


def test_nan_is_missing_where_mlflows_client_writes_it_and_wrong_elsewhere(one_model: Path) -> None:
    missing = b'[{"distance": NaN, "stops": 1, "carrier": "UA", "night": NaN}]'
    split = b'{"dataframe_split": {"columns": ["distance", "stops", "carrier"], "data": [[NaN, 1, "UA"]]}}'
    expected = {"predictions": [{"label": "late", "probabilities": {"on time": 0.2689414, "late": 0.7310586}}]}

    async def scenario(app: Router, models: Registry) -> None:
        for content in (b'{"dataframe_records": %b}' % missing, b'{"instances": %b}' % missing, split):
            status, _, answer = await Asked("/invocations", content).answer(app)
            assert (status, answer) == (200, expected), content
        dated = [{**ROW, "departs": "NaT"}]
        status, _, answer = await Asked("/invocations", body({"dataframe_records": dated})).answer(app)
        _, _, none = await Asked("/predict", body({"rows": [{**ROW, "departs": None}]})).answer(app)
        assert (status, answer["predictions"]) == (200, none["predictions"])
        assert (await Asked(V1, body({"instances": dated})).answer(app))[0] == 400
        status, _, answer = await Asked(V1, b'{"instances": %b}' % missing).answer(app)
        assert (status, answer["errors"][0]["path"]) == (400, "instances[0].distance")

    serve(one_model, scenario)


CSV = [
    ("text/csv", b"872.0,1,False,UA,2013-07-01T00:00:00Z\n872,1,false,UA,2013-07-01 00:00:00"),
    ("text/csv; charset=utf-8", b'"872","1","FALSE","UA","2013-07-01"\r\n+872,01, false ,UA,2013-07-01\r\n\r\n'),
    ("text/csv; header=absent", b"872,1,False,UA,2013-07-01\n8.72e2,1,False,UA,2013-07-01\n"),
    ("text/csv", b"distance,stops,night,carrier,departs\n872,1,False,UA,2013-07-01\n872.,1,False,UA,2013-07-01\n"),
    (
        "text/csv; header=present",
        b"\xef\xbb\xbfdeparts,carrier,night,stops,distance\n" + b"2013-07-01,UA,False,1,872\n" * 2,
    ),
]


def test_a_line_of_csv_is_a_row_with_names_before_it_or_without(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for content_type, content in CSV:
            status, _, answer = await Asked("/invocations", content, content_type.encode()).answer(app)
            assert (status, answer) == (200, {"predictions": [LATE, LATE]}), content

    serve(one_model, scenario)


def test_a_cell_is_read_as_training_reads_it(one_model: Path) -> None:
    cells = b'.5,+01,TRUE,NA,\nNaN,,,"A,""A",null\n -0.5 ,2,,null,NA\n'
    rows = [
        {"distance": 0.5, "stops": 1, "night": True, "carrier": "NA", "departs": None},
        {"distance": None, "stops": None, "night": None, "carrier": 'A,"A', "departs": None},
        {"distance": -0.5, "stops": 2, "night": None, "carrier": "null", "departs": None},
    ]

    async def scenario(app: Router, models: Registry) -> None:
        _, _, by_name = await Asked("/predict", body({"rows": rows})).answer(app)
        status, _, answer = await Asked("/invocations", cells, b"text/csv").answer(app)
        assert (status, answer) == (200, {"predictions": by_name["predictions"]})

    serve(one_model, scenario)


def test_json_lines_hold_objects_or_lists(one_model: Path) -> None:
    lines = b"\n".join([body(ROW), body(VALUES), body({"features": VALUES}), b""])

    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked("/invocations", lines, b"application/jsonlines").answer(app)
        assert (status, answer) == (200, {"predictions": [LATE] * 3})

    serve(one_model, scenario)


@pytest.mark.parametrize(
    ("accept", "content_type", "text"),
    [
        (b"text/csv", b"text/csv; charset=utf-8", b"late,0.001993239,0.99800676\nlate,0.001993239,0.99800676\n"),
        (
            b"application/jsonlines",
            b"application/jsonlines",
            (json.dumps(LATE, separators=(",", ":")) + "\n").encode() * 2,
        ),
        (b"image/png, text/csv;q=0.5", b"text/csv; charset=utf-8", b"late,0.001993239,0.99800676\n" * 2),
        (b"application/json", JSON, {"predictions": [LATE, LATE]}),
        (b"", JSON, {"predictions": [LATE, LATE]}),
    ],
)
def test_an_answer_is_in_the_form_that_is_accepted(
    one_model: Path, accept: bytes, content_type: bytes, text: Any
) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        asked = Asked("/invocations", body({"instances": [ROW, ROW]}), accept=accept)
        status, headers, answer = await asked.answer(app)
        assert (status, headers[b"content-type"], answer) == (200, content_type, text)

    serve(one_model, scenario)


def test_numbers_are_answered_in_csv_with_their_interval(two_models: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked("/invocations", body({"instances": [ROW]}), accept=b"text/csv").answer(app)
        numbers = [float(cell) for cell in answer.split(b",")]
        score = handmade.score(ROW)
        assert (status, numbers) == (200, pytest.approx([score, score - 1, score + 1]))

    serve(two_models, scenario, models="delay")


def test_every_fault_is_named_in_the_platforms_words(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for case in CASES:
            status, _, answer = await Asked(case.path, case.body, case.content_type, case.accept).answer(app)
            where = answer["errors"][0]["path"] if "errors" in answer else None
            assert (status, where) == (case.status, case.fault), (case.name, answer)
            if where:
                assert answer["error"] == f"{where}: {answer['errors'][0]['message']}"

    serve(one_model, scenario)


@pytest.mark.parametrize(
    "content",
    [rb'{"\ud800":1}', rb'{"instances":["\ud800"]}', rb'{"inputs":{"\ud800":[1]}}', rb'{"dataframe_split":"\ud800"}'],
)
def test_half_a_surrogate_pair_is_refused_in_words(one_model: Path, content: bytes) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked("/invocations", content).answer(app)
        assert status == 400
        assert any("?" in fault["path"] + fault["message"] for fault in answer["errors"])

    serve(one_model, scenario)


def test_a_row_of_csv_is_no_longer_than_it_may_be_however_many_lines_it_has(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked("/invocations", (b"ab," * 50000 + b'"\n",') * 2, b"text/csv").answer(app)
        assert status == 400
        assert answer["errors"] == [
            {"path": "csv line 1", "message": "must be a row of at most 262,144 bytes, got a longer one"}
        ]

    serve(one_model, scenario)


PIECES: list[Platform] = [
    Platform("lists", V1, {"instances": [VALUES] * 3000}),
    Platform("objects", V1, {"instances": [ROW] * 3000}),
    Platform("records", "/invocations", {"dataframe_records": [ROW] * 3000}),
    Platform("split", "/invocations", {"dataframe_split": {"columns": NAMES, "data": [VALUES] * 3000}}),
    Platform("names last", "/invocations", {"dataframe_split": {"data": [VALUES] * 3000, "columns": NAMES}}),
    Platform("columns", "/invocations", {"inputs": {name: [value] * 3000 for name, value in ROW.items()}}),
    Platform("csv", "/invocations", b"872,1,False,UA,2013-07-01\n" * 3000, b"text/csv"),
    Platform("json lines", "/invocations", (body(ROW) + b"\n") * 3000, b"application/jsonlines"),
]


@pytest.mark.parametrize("case", PIECES, ids=lambda case: case.name)
def test_a_long_body_is_read_in_pieces_and_answered_whole(one_model: Path, case: Platform) -> None:
    number = list(re.finditer(rb"872(\.0)?", case.body))[2899]
    wrong = case.body[: number.start()] + b'"f"' + case.body[number.end() :]
    where = {
        "lists": "instances[2899][0]",
        "objects": "instances[2899].distance",
        "records": "dataframe_records[2899].distance",
        "split": "dataframe_split.data[2899][0]",
        "names last": "dataframe_split.data[2899][0]",
        "columns": "inputs.distance[2899]",
        "csv": 'csv line 2900 column "distance"',
        "json lines": "line 2900.distance",
    }

    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked(case.path, case.body, case.content_type).answer(app)
        assert (status, answer) == (200, {"predictions": [LATE] * 3000})
        status, _, answer = await Asked(case.path, wrong, case.content_type).answer(app)
        assert (status, answer["errors"][0]["path"]) == (400, where[case.name])

    serve(one_model, scenario)


@pytest.mark.parametrize("case", PIECES, ids=lambda case: case.name)
def test_more_rows_than_a_request_may_hold_are_refused(one_model: Path, case: Platform) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked(case.path, case.body, case.content_type).answer(app)
        assert (status, answer["error"].startswith("a request holds at most 2,999 rows, ")) == (413, True)

    serve(one_model, scenario, max_rows=2999)


PAGES = [
    ("/v1/models", {"models": ["flights"]}),
    ("/v1/models/flights", {"name": "flights", "ready": True}),
    ("/v1/models/flights/versions/1", {"name": "flights", "ready": True}),
    ("/ping", b"\n"),
    ("/health", b"\n"),
]


def test_pages_say_whether_the_models_are_ready(one_model: Path) -> None:
    async def ready(app: Router, models: Registry) -> None:
        for path, content in PAGES:
            for method in ("GET", "HEAD"):
                status, _, answer = await Caller(method, path, headers=[]).answer(app)
                assert (status, answer) == (200, content), path
        models.draining = True
        for path, _ in PAGES:
            status, _, answer = await Caller("GET", path, headers=[]).answer(app)
            assert (status, answer) == (503, {"error": "the service is shutting down"})

    async def loading(app: Router, models: Registry) -> None:
        for path, _ in PAGES:
            assert (await Caller("GET", path, headers=[]).answer(app))[0] == 503
        assert (await Asked(V1, body({"instances": [ROW]})).answer(app))[0] == 503

    serve(one_model, ready)
    serve(one_model, loading, ready=False)


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ([(b"accept", b"*/*")], {"status": "alive"}),
        ([(b"accept", b"application/json")], {"status": "alive"}),
        ([(b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")], b"numbers"),
        ([], b"numbers"),
    ],
)
def test_the_first_page_is_a_sign_of_life_for_who_takes_no_html(
    one_model: Path, accept: list[tuple[bytes, bytes]], answer: Any
) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        assert (await Caller("GET", "/", headers=accept).answer(app))[::2] == (200, answer)

    serve(one_model, scenario)


def test_the_version_is_told_as_text(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        assert (await Caller("GET", "/version", headers=[]).answer(app))[2] == b"0.1.0"

    serve(one_model, scenario)


def test_invocations_need_a_single_model_and_say_the_way_out(two_models: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        status, _, answer = await Asked("/invocations", body({"instances": [ROW]})).answer(app)
        words = "this route is for one model, and several are served: name one with ROWCAST_MODELS, or send rows to "
        routes = "/models/delay/predict, /models/flights/predict"
        assert (status, answer) == (404, {"error": words + routes})
        status, _, answer = await Asked(V1, body({"instances": [ROW]})).answer(app)
        assert (status, len(answer["predictions"])) == (200, 1)
        assert (await Asked("/v1/models/flights/versions/9:predict", b"{}").answer(app))[0] == 404

    serve(two_models, scenario)


def test_other_methods_are_refused(one_model: Path) -> None:
    async def scenario(app: Router, models: Registry) -> None:
        for path, allowed in ((V1, b"POST"), ("/invocations", b"POST")):
            status, headers, _ = await Caller("GET", path, headers=[]).answer(app)
            assert (status, headers[b"allow"]) == (405, allowed)
        for path in ("/ping", "/v1/models"):
            status, headers, _ = await Caller("POST", path, b"{}").answer(app)
            assert (status, headers[b"allow"]) == (405, b"GET, HEAD")

    serve(one_model, scenario)


# ─── Vertex AI ───────────────────────────────────────────────────────────────────────────────────────────────────────

VERTEX = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/7/deployedModels/9",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/9:predict",
    "AIP_STORAGE_URI": "",
}


def test_the_routes_that_vertex_ai_names_are_served(one_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VERTEX.items():
        monkeypatch.setenv(name, value)

    async def scenario(app: Router, models: Registry) -> None:
        health, predict = VERTEX["AIP_HEALTH_ROUTE"], VERTEX["AIP_PREDICT_ROUTE"]
        assert (await Caller("GET", health, headers=[]).answer(app))[::2] == (200, {"ready": True})
        for content in ({"instances": [ROW, ROW]}, {"instances": [VALUES] * 2, "parameters": {}}):
            status, _, answer = await Asked(predict, body(content)).answer(app)
            assert (status, answer) == (200, {"predictions": [LATE, LATE]})
        status, _, answer = await Asked(predict, body({"instances": [ROW], "parameters": {"top": 3}})).answer(app)
        assert (status, answer["errors"][0]["path"]) == (400, "parameters")

    serve(one_model, scenario)


def test_a_route_that_vertex_ai_shares_with_rows_takes_both(one_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/predict")
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/health")

    async def scenario(app: Router, models: Registry) -> None:
        assert (await Caller("GET", "/health", headers=[]).answer(app))[0] == 200
        assert "/predict" not in app.routes
        status, _, answer = await Asked("/predict", body({"instances": [ROW]})).answer(app)
        assert (status, answer) == (200, {"predictions": [LATE]})
        status, _, answer = await Asked("/predict", body({"rows": [ROW]})).answer(app)
        assert (status, answer) == (200, {"model": "flights", "version": 1, "predictions": [LATE]})
        arrow = await Asked("/predict", b"", b"application/vnd.apache.arrow.stream").answer(app)
        assert (arrow[0], arrow[2]["error"][:4]) == (400, arrow[2]["error"][:4])
        assert "instances" not in arrow[2]["error"]

    serve(one_model, scenario)


def test_a_health_route_answers_nothing_else(one_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked without a key."""
    for route in (
        "/models",
        "/predict",
        "/v2/models/flights/infer",
        "/invocations",
        V1,
        "/v2/repository/index",
        "/metrics",
        "/",
    ):
        monkeypatch.setenv("AIP_HEALTH_ROUTE", route)

        async def scenario(app: Router, models: Registry, route: str = route) -> None:
            assert (await Caller("GET", route, headers=[]).answer(app))[::2] == (200, {"ready": True})
            assert (await Asked(route, body({"rows": [ROW], "instances": [ROW]})).answer(app))[0] == 405
            assert route not in app.routes

        serve(one_model, scenario)
