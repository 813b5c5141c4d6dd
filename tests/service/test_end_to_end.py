"""A real ``bentoml serve`` of handmade models, from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import rowcast
from tests.service.hostile_payloads import GOOD, PAYLOADS, ROW, Payload, rows
from tests.service.servers import ROOT, Server, command, environment, free_port, serving
from tests.support import handmade

ROWS = [
    ROW,
    {**ROW, "carrier": "AA", "night": True},
    {**ROW, "distance": None, "departs": None, "stops": 3.0},
    {"distance": 80, "stops": 0, "carrier": "never seen"},
    {**ROW, "departs": "2013-01-02 03:04:05.678+05:45"},
]


def test_predictions_are_those_of_the_graph(server: Server) -> None:
    for path in ("/predict", "/models/flights/predict", "/models/flights/versions/1/predict"):
        predictions = server.predict(path, *ROWS)
        late = [prediction["probabilities"]["late"] for prediction in predictions]
        assert late == pytest.approx([handmade.late(row) for row in ROWS], abs=1e-6)
        assert [p["label"] for p in predictions] == ["late" if x > 0.5 else "on time" for x in late]


def test_the_pages_of_the_service(server: Server) -> None:
    assert server.get("/livez").json() == {"live": True}
    assert server.get("/readyz").json() == {"ready": True}
    assert [model["name"] for model in server.get("/models").json()["models"]] == ["flights"]
    example = server.get("/models/flights").json()["example"]
    assert server.post("/predict", json.dumps(example).encode()).status_code == 200


def test_metrics_show_histograms_and_counters_with_bounded_labels(server: Server) -> None:
    server.predict("/predict", {**ROW, "carrier": "unseen by any"})
    server.post("/models/made-up/predict", GOOD)
    metrics = server.get("/metrics").text
    for name in ("request_seconds", "queue_seconds", "compute_seconds", "batch_rows"):
        assert f'rowcast_{name}_bucket{{le="+Inf",model="flights"}}' in metrics
    assert 'rowcast_requests_total{code="2xx",model="flights"}' in metrics
    assert 'rowcast_requests_total{code="4xx",model=""}' in metrics
    assert 'rowcast_unseen_levels_total{column="carrier",model="flights"}' in metrics
    assert "made-up" not in metrics
    assert "unseen by any" not in metrics


def test_paths_that_nobody_serves_leave_no_metrics_behind(server: Server) -> None:
    server.get("/nowhere")
    lines = len(server.get("/metrics").text.splitlines())
    for i in range(20):
        for path in (f"/nowhere/{i}", f"/models/other{i}/predict", f"/static_content/{i}", f"/livez/{i}", f"//{i}"):
            assert server.get(path).status_code == 404
    assert len(server.get("/metrics").text.splitlines()) == lines


def test_the_page_of_bentoml_still_works(server: Server) -> None:
    assert server.get("/").status_code == 200
    assert server.get("/static_content/swagger-ui.css").status_code == 200
    assert server.get("/schema.json").status_code == 200


def test_the_docs_describe_the_columns_with_an_example(server: Server) -> None:
    docs = server.get("/docs.json").json()
    assert (docs["info"]["title"], docs["info"]["version"]) == ("Rowcast", rowcast.__version__)
    assert "BentoML" not in json.dumps(docs["info"])
    assert not any("'null'" in str(schema) for schema in docs["components"]["schemas"].values())  # OpenAPI 3.1's
    for path in ("/predict", "/models/flights/predict"):
        schema = docs["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        columns = schema["properties"]["rows"]["items"]["properties"]
        assert list(columns) == [column.name for column in handmade.COLUMNS]
        assert columns["distance"] == {"type": "number", "nullable": True, "description": "number", "example": 872.0}
        assert schema["properties"]["rows"]["example"] == [ROW]
        assert schema["properties"]["rows"]["items"]["required"] == ["distance", "stops", "carrier"]


def test_bentomls_own_client_predicts(server: Server, tmp_path: Path) -> None:
    code = (
        "import bentoml, json\n"
        f"with bentoml.SyncHTTPClient({server.url!r}) as client:\n"
        f"    print(json.dumps([client.predict(rows=[{ROW!r}]), client.predict_flights(rows=[{ROW!r}])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [server.post("/predict", GOOD).json()] * 2


def test_the_log_holds_no_payload(server: Server) -> None:
    server.predict("/predict", {**ROW, "carrier": "a secret carrier"})
    server.post("/predict", rows({**ROW, "distance": "a secret distance"}))
    assert "secret" not in server.log.read_text()


def test_the_typed_api_gives_the_same_bytes_as_the_front(server: Server, typed_server: Server) -> None:
    body = rows(*ROWS)
    typed = typed_server.post("/models/flights/predict", body)
    assert typed.headers["server"] == "BentoML Service/Rowcast"
    assert typed.content == server.post("/predict", body).content.replace(b'"version":1', b'"version":2')
    front = typed_server.post("/models/flights/versions/1/predict", body)
    assert front.content == server.post("/predict", body).content


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_the_typed_api_refuses_in_the_same_words(server: Server, typed_server: Server, payload: Payload) -> None:
    if len(payload.body) > 2 * 2**20:  # beyond the limit of the one server only
        assert typed_server.post("/models/flights/predict", payload.body).status_code == payload.status
        return
    typed, front = typed_server.post("/models/flights/predict", payload.body), server.post("/predict", payload.body)
    assert (typed.status_code, typed.content) == (front.status_code, front.content)


def test_the_typed_api_takes_only_plain_json_and_post(typed_server: Server) -> None:
    assert typed_server.post("/models/flights/predict", GOOD, "text/plain").status_code == 415
    answer = typed_server.get("/models/flights/predict")
    assert (answer.status_code, list(answer.json())) == (405, ["error"])


def test_a_regression_answers_with_its_interval(typed_server: Server) -> None:
    for row, prediction in zip(ROWS, typed_server.predict("/models/delay/predict", *ROWS), strict=True):
        score = handmade.score(row)
        assert prediction == pytest.approx({"prediction": score, "lower": score - 1, "upper": score + 1}, abs=1e-6)


def test_several_models_have_no_route_without_a_name(typed_server: Server) -> None:
    answer = typed_server.post("/predict", GOOD)
    assert answer.status_code == 404
    assert answer.json()["error"].endswith("rows are sent to /models/delay/predict, /models/flights/predict")


def test_stopping_leaves_no_process(one_model: Path, tmp_path: Path) -> None:
    with serving(one_model, tmp_path, workers="2") as server:
        family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
        assert len(family) >= 3
    assert [member for member in family if member.is_running()] == []


def test_a_caller_who_never_finishes_does_not_keep_the_service_from_stopping(one_model: Path, tmp_path: Path) -> None:
    with serving(one_model, tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0


def workers(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_worker_is_replaced_and_a_killed_supervisor_takes_its_workers_along(
    one_model: Path, tmp_path: Path
) -> None:
    with serving(one_model, tmp_path) as server:
        (first,) = workers(server)
        first.kill()
        deadline = time.monotonic() + 5
        while not (replaced := [worker for worker in workers(server) if worker != first]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.wait_until_ready()
        server.process.kill()
        deadline = time.monotonic() + 10
        while replaced[0].is_running() and replaced[0].status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def refused(tmp_path: Path, repository: Path, **settings: str) -> str:
    """What ``bentoml serve`` says when it does not start."""
    env = environment(tmp_path, repository=str(repository), **settings)
    done = subprocess.run(
        command(free_port()), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_an_empty_repository_refuses_to_start_and_names_the_way_out(tmp_path: Path) -> None:
    assert f"there is no model in {tmp_path / 'none'}: make one with rowcast train TABLE --target COLUMN" in refused(
        tmp_path, tmp_path / "none"
    )


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="there is a GPU")
def test_cuda_that_is_demanded_and_absent_refuses_to_start(one_model: Path, tmp_path: Path) -> None:
    assert "cuda was demanded, but " in refused(tmp_path, one_model, device="cuda")


def test_a_model_or_setting_that_does_not_exist_refuses_to_start(one_model: Path, tmp_path: Path) -> None:
    assert "no model 'other'" in refused(tmp_path, one_model, models="other")
    assert "model 'flights' has no version 7; versions: 1" in refused(tmp_path, one_model, models="flights:7")
    assert "ROWCAST_FRONT is on or off, got 'maybe'" in refused(tmp_path, one_model, front="maybe")
