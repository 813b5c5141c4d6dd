"""The same 5,000 raw rows through every way in: one answer, and it is that of bare ONNX Runtime."""

from __future__ import annotations

import asyncio
import csv
import io
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tritonclient.http as http_triton
import tritonclient.http.aio as http_triton_aio

import rowcast
from rowcast.models.repository import Repository
from tests.service import open_inference
from tests.service.rpc import Caller, calling, message, outputs
from tests.service.servers import Server, free_port, publish_delay, serving
from tests.support import bare, handmade

with warnings.catch_warnings():  # its messages were compiled by the protobuf before this one
    warnings.filterwarnings("ignore", "Protobuf gencode version")
    import tritonclient.grpc as grpc_triton
    import tritonclient.grpc.aio as grpc_triton_aio

ROWS = 5_000
CHUNK = 1_000
"""Rows of a request."""
TOLERANCE = 1e-6
Row = dict[str, Any]
Answers = dict[str, np.ndarray]
"""``label`` and ``probabilities``, or ``prediction``, ``lower`` and ``upper``."""


def rows() -> list[Row]:
    """Every kind of column, each null now and then; unseen levels, far dates, zones, huge and tiny numbers."""
    rng = random.Random(0)

    def moment() -> str:
        day = f"{rng.choice([1, 1900, 2013, 2262, 9999]):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
        later = [f"{day}T{clock}Z", f"{day} {clock}.{rng.randint(0, 999_999):06}", f"2013-07-01T{clock}.5+05:45"]
        return rng.choice([day, *later])

    make: dict[str, Callable[[], Any]] = {
        "distance": lambda: rng.choice([rng.uniform(80, 4983), rng.uniform(-1e38, 1e38), 5e-324, -0.0]),
        "stops": lambda: rng.choice([0, 1, 2, 3, -1, 2**53]),
        "night": lambda: rng.random() < 0.5,
        "carrier": lambda: rng.choice(["UA", "AA", "9E", "never seen", "é", "naïve 🚀", " AA", "0"]),
        "departs": moment,
    }
    return [{name: None if rng.random() < 0.1 else one() for name, one in make.items()} for _ in range(ROWS)]


TABLE = rows()
CHUNKS = [TABLE[start : start + CHUNK] for start in range(0, ROWS, CHUNK)]


def joined(parts: list[Answers]) -> Answers:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# ─── the ways in ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Service:
    """A service over HTTP and gRPC, and one whose typed API answers."""

    def __init__(self, server: Server, typed: Server, port: int, caller: Caller) -> None:
        self.server = server
        self.typed = typed
        self.port = port
        self.caller = caller


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``flights:1``, whose label is "late" from a probability of .2 on, and ``delay:1``."""
    root = tmp_path_factory.mktemp("models")
    told, graph = handmade.manifest(threshold=0.2), handmade.graph(threshold=0.2)
    Repository(root).publish("flights", told, {"model.onnx": graph})
    publish_delay(root)
    return root


@pytest.fixture(scope="module")
def service(repository: Path, typed_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    port = free_port()
    with (
        serving(repository, tmp_path_factory.mktemp("one"), grpc_port=str(port), models="flights:1,delay") as server,
        calling(port) as caller,
    ):
        yield Service(server, typed_server, port, caller)


def _of_json(predictions: list[Row]) -> Answers:
    if "label" not in predictions[0]:
        return {name: np.array([[one[name]] for one in predictions]) for name in predictions[0]}
    probabilities = [list(one["probabilities"].values()) for one in predictions]
    return {
        "label": np.array([[one["label"]] for one in predictions], object),
        "probabilities": np.array(probabilities),
    }


def rows_json(service: Service, model: str, chunk: list[Row]) -> Answers:
    return _of_json(service.server.predict(f"/models/{model}/predict", *chunk))


def typed_api(service: Service, model: str, chunk: list[Row]) -> Answers:
    path = "/models/flights/versions/1/predict" if model == "flights" else f"/models/{model}/predict"
    return _of_json(service.typed.predict(path, *chunk))


def v2_json(service: Service, model: str, chunk: list[Row]) -> Answers:
    answer = service.server.post(f"/v2/models/{model}/infer", open_inference.body(open_inference.request(*chunk)))
    assert answer.status_code == 200, answer.text
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer.json()["outputs"]}


def v2_binary(service: Service, model: str, chunk: list[Row]) -> Answers:
    """With the raw bytes of gRPC's message, and an answer in JSON."""
    sent = message(*chunk)
    inputs = [
        {
            "name": entry.name,
            "shape": list(entry.shape),
            "datatype": entry.datatype,
            "parameters": {"binary_data_size": len(raw)},
        }
        for entry, raw in zip(sent.inputs, sent.raw_input_contents, strict=True)
    ]
    text = open_inference.body({"inputs": inputs})
    content = text + b"".join(sent.raw_input_contents)
    headers = {"inference_header_content_length": str(len(text))}
    answer = service.server.post(f"/v2/models/{model}/infer", content, "application/octet-stream", **headers)
    assert answer.status_code == 200, answer.text
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer.json()["outputs"]}


def _of_triton(result: Any) -> Answers:
    response = result.get_response()
    names = [
        one["name"] if isinstance(one, dict) else one.name
        for one in (response["outputs"] if isinstance(response, dict) else response.outputs)
    ]
    answers = {name: result.as_numpy(name) for name in names}
    if "label" in answers:
        answers["label"] = np.array([[text.decode()] for text in answers["label"].ravel()], object)
    return answers


def grpc_raw(service: Service, model: str, chunk: list[Row]) -> Answers:
    return _of_grpc(service.caller.infer(message(*chunk, model_name=model)))


def grpc_typed(service: Service, model: str, chunk: list[Row]) -> Answers:
    return _of_grpc(service.caller.infer(message(*chunk, model_name=model, raw=False)))


def _of_grpc(answer: Any) -> Answers:
    answers = {name: np.array(values) for name, values in outputs(answer).items()}
    return {name: values.reshape(len(values), -1) for name, values in answers.items()}


def arrow(service: Service, model: str, chunk: list[Row]) -> Answers:
    types = {"distance": pa.float64(), "stops": pa.int64(), "night": pa.bool_(), "carrier": pa.utf8()}
    columns = {name: pa.array([row[name] for row in chunk], kind) for name, kind in types.items()}
    moments = [None if row["departs"] is None else bare.graph_value(row["departs"], "timestamp") for row in chunk]
    columns["departs"] = pa.array(moments, pa.int64()).cast(pa.timestamp("us", "UTC"))
    table = pa.table(columns)
    body = io.BytesIO()
    with pa.ipc.new_stream(body, table.schema) as writer:
        writer.write_table(table)
    answer = service.server.post(f"/models/{model}/predict", body.getvalue(), "application/vnd.apache.arrow.stream")
    assert answer.status_code == 200, answer.text
    return _of_columns(pa.ipc.open_stream(answer.content).read_all().to_pydict())


def _of_columns(columns: dict[str, list[Any]]) -> Answers:
    if "label" not in columns:
        return {name: np.array(values).reshape(-1, 1) for name, values in columns.items()}
    probabilities = np.stack([np.array(columns[f"probability_{name}"]) for name in ("on time", "late")], axis=1)
    return {"label": np.array(columns["label"], object).reshape(-1, 1), "probabilities": probabilities}


def client_json(service: Service, model: str, chunk: list[Row]) -> Answers:
    with rowcast.Client(service.server.url, model, protocol="json") as client:
        return _of_json(client.predict(chunk))


def client_arrow(service: Service, model: str, chunk: list[Row]) -> Answers:
    with rowcast.Client(service.server.url, model, protocol="arrow") as client:
        return _of_columns(client.predict({name: [row[name] for row in chunk] for name in chunk[0]}))


def client_awaited(service: Service, model: str, chunk: list[Row]) -> Answers:
    async def ask() -> Any:
        async with rowcast.AsyncClient(service.server.url, model) as client:
            return await client.predict(chunk)

    return _of_json(asyncio.run(ask()))


def _inputs(module: Any, chunk: list[Row]) -> list[Any]:
    sent = message(*chunk, raw=False)
    fields = {"BYTES": ("bytes_contents", object), "FP64": ("fp64_contents", np.float64)}
    fields["INT64"] = ("int64_contents", np.int64)
    inputs = []
    for entry in sent.inputs:
        field, dtype = fields[entry.datatype]
        tensor = module.InferInput(entry.name, list(entry.shape), entry.datatype)
        tensor.set_data_from_numpy(np.array(getattr(entry.contents, field), dtype).reshape(-1, 1))
        inputs.append(tensor)
    return inputs


def triton_http(service: Service, model: str, chunk: list[Row]) -> Answers:
    client = http_triton.InferenceServerClient(f"127.0.0.1:{service.server.port}")
    try:
        return _of_triton(client.infer(model, _inputs(http_triton, chunk)))
    finally:
        client.close()


def triton_http_aio(service: Service, model: str, chunk: list[Row]) -> Answers:
    async def ask() -> Any:
        async with http_triton_aio.InferenceServerClient(f"127.0.0.1:{service.server.port}") as client:
            return await client.infer(model, _inputs(http_triton_aio, chunk))

    return _of_triton(asyncio.run(ask()))


def triton_grpc(service: Service, model: str, chunk: list[Row]) -> Answers:
    with grpc_triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        return _of_triton(client.infer(model, _inputs(grpc_triton, chunk)))


def triton_grpc_aio(service: Service, model: str, chunk: list[Row]) -> Answers:
    async def ask() -> Any:
        async with grpc_triton_aio.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
            return await client.infer(model, _inputs(grpc_triton_aio, chunk))

    return _of_triton(asyncio.run(ask()))


WAYS = [
    rows_json,
    typed_api,
    v2_json,
    v2_binary,
    grpc_raw,
    grpc_typed,
    arrow,
    client_json,
    client_arrow,
    client_awaited,
    triton_http,
    triton_http_aio,
    triton_grpc,
    triton_grpc_aio,
]


# ─── the answer ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def bare_answers(repository: Path, two_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """What a program with nothing but ONNX Runtime makes of the rows, from a CSV file."""
    table = tmp_path_factory.mktemp("bare") / "rows.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, TABLE[0])
        writer.writeheader()
        writer.writerows(TABLE)  # None becomes an empty field
    graphs = {name: str(repository / name / "1" / "model.onnx") for name in ("flights", "delay")}
    graphs["flights, typed"] = str(two_models / "flights" / "1" / "model.onnx")
    return {name: bare.answer(graph, str(table)) for name, graph in graphs.items()}


@pytest.mark.parametrize("model", ["flights", "delay"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_gives_the_answer_of_bare_onnx_runtime(
    service: Service, bare_answers: dict[str, Answers], way: Callable[[Service, str, list[Row]], Answers], model: str
) -> None:
    answers = joined([way(service, model, chunk) for chunk in CHUNKS])
    expected = bare_answers["flights, typed" if (way, model) == (typed_api, "flights") else model]
    assert answers.keys() == expected.keys()
    for name, values in expected.items():
        found = answers[name]
        assert found.shape == (ROWS, *values.shape[1:])
        if name == "label":
            assert found.tolist() == values.tolist()
        else:
            furthest = np.abs(found.astype(np.float64) - values.astype(np.float64)) / np.maximum(1, np.abs(values))
            assert furthest.max() <= TOLERANCE


def test_some_labels_are_not_of_the_most_probable_class(bare_answers: dict[str, Answers]) -> None:
    answers = bare_answers["flights"]
    assert np.mean((answers["probabilities"][:, 1] > 0.5) != (answers["label"][:, 0] == "late")) > 0.01


def test_the_rows_are_of_every_kind() -> None:
    for name in TABLE[0]:
        values = [row[name] for row in TABLE]
        assert 0.05 < values.count(None) / ROWS < 0.2
        assert len(set(values)) > 2
