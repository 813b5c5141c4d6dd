"""Open Inference over HTTP, against a running service: with plain requests and with Triton's own clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

import rowcast
from rowcast.service.protocols.v2.metadata import SERVER
from tests.service import open_inference
from tests.service.hostile_payloads import ROW
from tests.service.open_inference import PATH, binary, body, raw_texts, request, with_input
from tests.service.servers import Server

ROWS: list[dict[str, Any]] = [
    ROW,
    {**ROW, "carrier": "AA", "night": True},
    {**ROW, "distance": 80.5, "stops": 3, "carrier": "never seen", "departs": "2013-01-02 03:04:05.678+05:45"},
]
NULLS: list[dict[str, Any]] = [*ROWS, dict.fromkeys(ROW), {**ROW, "distance": None, "carrier": None}]


def ask(server: Server, content: dict[str, Any], path: str = PATH) -> dict[str, Any]:
    answer = server.post(path, body(content))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(server: Server, content: Any, status: int = 400) -> str:
    answer = server.post(PATH, content if isinstance(content, bytes) else body(content))
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    return str(answer.json()["error"])


def expected(server: Server, rows: list[dict[str, Any]]) -> tuple[list[str], list[float]]:
    """The labels and the flat probabilities that rows JSON gives."""
    predictions = server.predict("/predict", *rows)
    return [p["label"] for p in predictions], [x for p in predictions for x in p["probabilities"].values()]


def test_the_server_and_its_health(server: Server) -> None:
    assert server.get("/v2").json() == SERVER
    assert SERVER["version"] == rowcast.__version__
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/flights/ready", "/v2/models/flights/versions/1/ready"):
        assert server.get(path).json() == {"name": "flights", "version": "1", "ready": True}


def test_a_model_tells_its_tensors_and_its_configuration(server: Server) -> None:
    described = server.get("/v2/models/flights").json()
    assert (described["name"], described["versions"], described["platform"]) == ("flights", ["1"], "onnxruntime_onnx")
    datatypes = {"distance": "FP64", "stops": "FP64", "night": "FP64", "carrier": "BYTES", "departs": "INT64"}
    assert described["inputs"] == [{"name": n, "datatype": d, "shape": [-1, 1]} for n, d in datatypes.items()]
    assert described["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
    ]
    assert server.get("/v2/models/flights/versions/1").json() == described
    config = server.get("/v2/models/flights/config").json()
    assert config["max_batch_size"] == 4096
    assert config["input"][3:] == [
        {"name": "carrier", "data_type": "TYPE_STRING", "dims": [1]},
        {"name": "departs", "data_type": "TYPE_INT64", "dims": [1]},
    ]
    assert config["output"][1] == {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]}


def test_an_answer_has_the_numbers_of_rows_json(server: Server) -> None:
    labels, probabilities = expected(server, NULLS)
    assert ask(server, request(*NULLS, id="a-1")) == {
        "model_name": "flights",
        "model_version": "1",
        "id": "a-1",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [5, 1], "data": labels},
            {"name": "probabilities", "datatype": "FP32", "shape": [5, 2], "data": probabilities},
        ],
    }
    assert "id" not in ask(server, request(*NULLS), "/v2/models/flights/versions/1/infer")


def test_a_regression_answers_in_doubles(typed_server: Server) -> None:
    answer = ask(typed_server, request(*ROWS), "/v2/models/delay/infer")
    assert [(o["name"], o["datatype"], o["shape"]) for o in answer["outputs"]] == [
        (name, "FP64", [3, 1]) for name in ("prediction", "lower", "upper")
    ]
    for i, prediction in enumerate(typed_server.predict("/models/delay/predict", *ROWS)):
        assert {output["name"]: output["data"][i] for output in answer["outputs"]} == prediction


def test_data_may_be_flat_or_nested_and_of_other_datatypes(server: Server) -> None:
    answer = ask(server, request(ROW, ROW))
    micros = 1_372_636_800_000_000
    for name, changes in (
        ("distance", {"data": [[872.0], [872]]}),
        ("distance", {"shape": [2]}),
        ("distance", {"datatype": "INT16", "data": [872, 872]}),
        ("distance", {"datatype": "FP16"}),
        ("night", {"datatype": "BOOL", "data": [False, False]}),
        ("departs", {"datatype": "INT64", "data": [[micros], [micros]]}),
        ("departs", {"datatype": "UINT64", "data": [micros, micros]}),
    ):
        assert ask(server, with_input(name, **changes)) == answer


def test_null_is_missing_whatever_the_datatype(server: Server) -> None:
    empty = ask(server, request(*[dict.fromkeys(ROW)] * 2))["outputs"]
    nothing = {"shape": [2], "data": [None, None]}
    for datatypes in (("FP32", "INT8", "BOOL", "BYTES", "INT64"), ("UINT8", "INT64", "FP64", "BYTES", "BYTES")):
        names = zip(open_inference.DATATYPES, datatypes, strict=True)
        inputs = [{"name": name, "datatype": datatype, **nothing} for name, datatype in names]
        assert ask(server, {"inputs": inputs})["outputs"] == empty


def test_outputs_come_as_they_are_asked_for(server: Server) -> None:
    whole = {output["name"]: output for output in ask(server, request(*ROWS))["outputs"]}
    one = ask(server, request(*ROWS, outputs=[{"name": "probabilities"}]))
    assert one["outputs"] == [whole["probabilities"]]
    both = ask(server, request(*ROWS, outputs=[{"name": "probabilities"}, {"name": "label"}]))
    assert both["outputs"] == [whole["probabilities"], whole["label"]]
    assert ask(server, request(*ROWS, outputs=[]))["outputs"] == list(whole.values())


def post_binary(server: Server, content: bytes, json_bytes: int | str) -> httpx.Response:
    headers = {"inference_header_content_length": str(json_bytes)}
    return server.post(PATH, content, "application/octet-stream", **headers)


def test_bytes_in_and_bytes_out(server: Server) -> None:
    labels, probabilities = expected(server, ROWS)
    answer = post_binary(server, *binary(*ROWS, parameters={"binary_data_output": True}))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    split = int(answer.headers["inference-header-content-length"])
    sizes = [output["parameters"]["binary_data_size"] for output in json.loads(answer.content[:split])["outputs"]]
    raw = answer.content[split:]
    assert sizes == [len(raw_texts(*labels)), 3 * 2 * 4]
    assert raw == raw_texts(*labels) + np.array(probabilities, "<f4").tobytes()


def test_bytes_in_and_json_out_and_both_at_once(server: Server) -> None:
    answer = ask(server, request(*ROWS))
    assert post_binary(server, *binary(*ROWS)).json() == answer
    mixed = [{"name": "label"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    both = server.post(PATH, body(request(*ROWS, outputs=mixed)))
    split = int(both.headers["inference-header-content-length"])
    assert json.loads(both.content[:split])["outputs"][0] == answer["outputs"][0]
    assert len(both.content) == split + 3 * 2 * 4


def test_plain_bytes_without_a_length_are_json(server: Server) -> None:  # so Triton's aio client sends it
    answer = server.post(PATH, body(request(*ROWS)), "application/octet-stream")
    assert answer.json() == ask(server, request(*ROWS))


def test_the_repository_lists_what_is_served_and_unloads_nothing(server: Server) -> None:
    index = server.post("/v2/repository/index", b"{}").json()
    assert index == [{"name": "flights", "version": "1", "state": "READY", "reason": ""}]
    assert server.post("/v2/repository/models/flights/load", b"").status_code == 200
    refused = server.post("/v2/repository/models/flights/unload", b"{}")
    assert (refused.status_code, "ROWCAST_MODELS" in refused.json()["error"]) == (400, True)
    assert server.post("/v2/repository/models/delay/load", b"").status_code == 404


def test_statistics_count_requests_rows_and_runs(server: Server) -> None:
    def read() -> dict[str, Any]:
        (statistics,) = server.get("/v2/models/flights/stats").json()["model_stats"]
        return dict(statistics)

    before = read()
    ask(server, request(*ROWS))
    refused(server, with_input("distance", data=["x", 1.0]))
    after = read()
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    for name in ("success", "fail", "queue", "compute_infer"):
        then, now = before["inference_stats"][name], after["inference_stats"][name]
        assert now["count"] == then["count"] + 1
        assert now["ns"] > then["ns"]
    assert server.get("/v2/models/stats").json()["model_stats"][0]["name"] == "flights"


def test_a_route_is_read_with_its_own_method_only(server: Server) -> None:
    for path in ("/v2", "/v2/models/flights", "/v2/health/ready"):
        assert server.post(path, b"{}").status_code == 405
    for path in (PATH, "/v2/repository/index"):
        answer = server.get(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_request_that_cannot_be_answered_in_its_time_is_refused(server: Server) -> None:
    assert "deadline" in refused(server, request(ROW, parameters={"timeout": 1}), status=504)
    assert ask(server, request(ROW, parameters={"timeout": 0}))["outputs"]
    assert ask(server, request(ROW, parameters={"timeout": 10_000_000, "priority": 1}))["outputs"]


@pytest.mark.parametrize(("name", "value"), [("timeout", -1), ("timeout", 1.5), ("timeout", True), ("priority", "1")])
def test_limits_are_whole_numbers(server: Server, name: str, value: Any) -> None:
    said = refused(server, request(ROW, parameters={name: value}))
    assert said.startswith(f"parameters.{name}: must be a whole number, 0 or more, got ")


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    """Triton's client, as it comes."""
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def as_triton(module: Any, *rows: dict[str, Any], **options: Any) -> list[Any]:
    inputs = []
    for entry in request(*rows)["inputs"]:
        dtype = object if entry["datatype"] == "BYTES" else np.float64
        tensor = module.InferInput(entry["name"], entry["shape"], entry["datatype"])
        tensor.set_data_from_numpy(np.array(entry["data"], dtype).reshape(-1, 1), **options)
        inputs.append(tensor)
    return inputs


@pytest.mark.parametrize("options", [{}, {"binary_data": False}], ids=["", "in JSON"])
def test_tritons_client_infers_with_its_defaults(
    server: Server, client: triton.InferenceServerClient, options: dict[str, bool]
) -> None:
    labels, probabilities = expected(server, ROWS)
    result = client.infer("flights", as_triton(triton, *ROWS, **options), request_id="7")
    assert result.get_response()["id"] == "7"
    assert result.as_numpy("label").ravel().tolist() == [label.encode() for label in labels]
    assert result.as_numpy("probabilities").tolist() == np.array(probabilities, np.float32).reshape(-1, 2).tolist()
    only = [triton.InferRequestedOutput("probabilities", **options)]
    result = client.infer("flights", as_triton(triton, *ROWS, **options), "1", outputs=only)
    assert result.as_numpy("label") is None
    assert result.as_numpy("probabilities").shape == (3, 2)


def test_tritons_client_finds_its_way_about(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights", "1")
    assert not client.is_model_ready("delay")
    assert client.get_server_metadata()["name"] == "rowcast"
    assert client.get_model_metadata("flights")["name"] == "flights"
    assert client.get_model_config("flights")["backend"] == "onnxruntime"
    assert client.get_model_repository_index()[0]["state"] == "READY"
    client.load_model("flights")
    with pytest.raises(InferenceServerException, match="ROWCAST_MODELS"):
        client.unload_model("flights")
    assert client.get_inference_statistics()["model_stats"][0]["name"] == "flights"
    with pytest.raises(InferenceServerException, match=r"inputs\[0\].data\[1\]: must be a number, or NaN"):
        client.infer("flights", as_triton(triton, ROW, {**ROW, "distance": np.inf}))


def test_tritons_aio_client_infers_with_its_defaults(server: Server) -> None:
    async def infer() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_model_ready("flights")
            await client.load_model("flights")
            for options in ({}, {"binary_data": False}):
                result = await client.infer("flights", as_triton(triton_aio, *ROWS, **options))
                assert result.as_numpy("probabilities").ravel().tolist() == probabilities.tolist()

    probabilities = np.array(expected(server, ROWS)[1], np.float32)
    asyncio.run(infer())
