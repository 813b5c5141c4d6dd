"""Open Inference over gRPC, from outside: the same answers as over HTTP, and Triton's clients as they are."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from rowcast.service.protocols.grpc.messages import COMPILED, POOL, REQUEST_CLASSES, SERVICE
from rowcast.service.protocols.grpc.standard import REFLECTION_SERVICES
from tests.service.hostile_payloads import ROW
from tests.service.open_inference import raw_texts
from tests.service.rpc import CONTENTS, Caller, calling, good, message, outputs
from tests.service.servers import ROOT, UNSET, Server, command, environment, free_port, serving, stop

with warnings.catch_warnings():  # its messages were compiled by the protobuf before this one
    warnings.filterwarnings("ignore", "Protobuf gencode version")
    import tritonclient.grpc as triton
    import tritonclient.grpc.aio as triton_aio
    from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

ROWS: list[dict[str, Any]] = [
    ROW,
    {"distance": None, "stops": None, "night": None, "carrier": None, "departs": None},
    {"distance": -0.5, "stops": 3, "night": True, "carrier": "never seen é", "departs": "2013-07-01T08:30:00.5+02:00"},
    {"distance": 1e300, "stops": 2**53, "night": True, "carrier": "AA", "departs": "0001-01-01"},
    {"distance": 5e-324, "stops": -1, "night": False, "carrier": "", "departs": "9999-12-31T23:59:59.999999"},
]
"""Every kind of column, null, and a level that training never saw."""


class Both:
    """A service over HTTP and over gRPC."""

    def __init__(self, http: Server, port: int, caller: Caller) -> None:
        self.http = http
        self.port = port
        self.caller = caller


@pytest.fixture(scope="module")
def both(two_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """A service of two models."""
    port = free_port()
    home = tmp_path_factory.mktemp("grpc")
    with (
        serving(two_models, home, grpc_port=str(port), models="flights:1,flights:2,delay", max_body="2MiB") as server,
        calling(port) as caller,
    ):
        while "Completed async startup hook" not in server.log.read_text():  # written when it is ready, by a thread
            time.sleep(0.01)
        yield Both(server, port, caller)


def over_http(server: Server, path: str, *rows: dict[str, Any]) -> dict[str, list[Any]]:
    """What the rows are answered over HTTP, as columns."""
    answers = server.predict(path, *rows)
    if "prediction" in answers[0]:
        return {name: [[answer[name]] for answer in answers] for name in ("prediction", "lower", "upper")}
    classes = ("on time", "late")
    probabilities = [[np.float32(answer["probabilities"][name]).item() for name in classes] for answer in answers]
    return {"label": [answer["label"] for answer in answers], "probabilities": probabilities}


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("model", ["flights", "delay"])
def test_every_kind_of_column_is_answered_as_over_http(both: Both, model: str, raw: bool) -> None:
    answer = both.caller.infer(message(*ROWS, raw=raw, model_name=model))
    assert outputs(answer) == over_http(both.http, f"/models/{model}/predict", *ROWS)
    assert bool(answer.raw_output_contents) is raw
    for row in ROWS:  # and alone
        alone = outputs(both.caller.infer(message(row, raw=raw, model_name=model)))
        assert alone == over_http(both.http, f"/models/{model}/predict", row)


def test_an_answer_names_its_model_version_and_id_and_holds_the_outputs_that_were_asked_for(both: Both) -> None:
    sent = message(ROW, ROW, model_version="1", id="7")
    for name in ("probabilities", "label"):
        sent.outputs.add(name=name)
    answer = both.caller.infer(sent)
    assert (answer.model_name, answer.model_version, answer.id) == ("flights", "1", "7")
    described = [(output.name, output.datatype, list(output.shape)) for output in answer.outputs]
    assert described == [("probabilities", "FP32", [2, 2]), ("label", "BYTES", [2, 1])]
    assert both.caller.infer(message(ROW)).model_version == "2"


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_who_asks_is_told_how_long_the_rows_were_queued_and_run(both: Both, raw: bool) -> None:
    infer = both.caller.method("ModelInfer")
    told = infer(message(*ROWS, raw=raw), timeout=30, metadata=(("want-server-timing", "?1"),))
    assert list(told.parameters) == ["server-timing"]
    queue, compute = told.parameters["server-timing"].string_param.split(", ")
    assert (queue.partition("=")[0], compute.partition("=")[0]) == ("queue;dur", "compute;dur")
    assert float(queue.partition("=")[2]) >= 0 < float(compute.partition("=")[2])
    assert outputs(told) == outputs(both.caller.infer(message(*ROWS, raw=raw)))
    for metadata in ((), (("want-server-timing", "?0"),)):
        assert not infer(message(ROW, raw=raw), timeout=30, metadata=metadata).parameters


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT8", "int_contents"),
        ("INT16", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT16", "uint_contents"),
        ("UINT32", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("FP16", None),
        ("FP32", "fp32_contents"),
        ("FP64", "fp64_contents"),
    ],
)
def test_numbers_come_in_any_type(both: Both, datatype: str, field: str | None) -> None:
    expected = over_http(both.http, "/models/flights/predict", {**ROW, "stops": 2})
    dtype = np.dtype({"F": "<f", "I": "<i", "U": "<u"}[datatype[0]] + str(int(datatype.lstrip("FPINTU")) // 8))
    sent = message({**ROW, "stops": 2})
    sent.inputs[1].datatype = datatype
    sent.raw_input_contents[1] = np.array([2], dtype).tobytes()
    assert outputs(both.caller.infer(sent)) == expected
    if field is not None:
        typed = message({**ROW, "stops": 2}, raw=False)
        typed.inputs[1].datatype = datatype
        typed.inputs[1].contents.Clear()
        getattr(typed.inputs[1].contents, field).append(2)
        assert outputs(both.caller.infer(typed)) == expected


def test_booleans_and_moments_come_in_their_own_types(both: Both) -> None:
    row = {**ROW, "night": True, "departs": "1970-01-01T00:00:00.000005Z"}
    sent = message(row)
    sent.inputs[2].datatype, sent.raw_input_contents[2] = "BOOL", b"\1"
    sent.inputs[4].datatype, sent.raw_input_contents[4] = "BYTES", raw_texts(row["departs"])
    expected = over_http(both.http, "/models/flights/predict", row)
    assert outputs(both.caller.infer(sent)) == expected
    typed = message(row, raw=False)
    typed.inputs[2].datatype = "BOOL"
    typed.inputs[2].contents.Clear()
    typed.inputs[2].contents.bool_contents.append(True)
    assert outputs(both.caller.infer(typed)) == expected


def test_nullable_columns_may_be_left_out(both: Both) -> None:
    sent = message(ROW)
    for place in (4, 2):
        del sent.inputs[place]
        del sent.raw_input_contents[place]
    row = {name: value for name, value in ROW.items() if name not in {"night", "departs"}}
    assert outputs(both.caller.infer(sent)) == over_http(both.http, "/models/flights/predict", row)


def test_the_other_methods_say_what_http_says(both: Both) -> None:
    ask = both.caller.ask
    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ModelReady", name="flights", version="1").ready
    assert ask("ServerMetadata").name == "rowcast"
    described = ask("ModelMetadata", name="flights")
    assert (described.name, list(described.versions)) == ("flights", ["1", "2"])
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in described.inputs] == [
        ("distance", "FP64", [-1, 1]),
        ("stops", "FP64", [-1, 1]),
        ("night", "FP64", [-1, 1]),
        ("carrier", "BYTES", [-1, 1]),
        ("departs", "INT64", [-1, 1]),
    ]
    assert [(tensor.name, list(tensor.shape)) for tensor in described.outputs] == [
        ("label", [-1, 1]),
        ("probabilities", [-1, 2]),
    ]
    assert ask("ModelConfig", name="delay").config.max_batch_size == 4096
    index = {(model.name, model.version, model.state) for model in ask("RepositoryIndex").models}
    assert index == {("flights", "1", "READY"), ("flights", "2", "READY"), ("delay", "1", "READY")}
    ask("RepositoryModelLoad", model_name="delay")
    unload = REQUEST_CLASSES["RepositoryModelUnload"](model_name="delay")
    code, words = both.caller.refusal(unload, "RepositoryModelUnload")
    assert (code, "ROWCAST_MODELS" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_what_is_asked_of_a_model_that_is_not_served_is_not_found(both: Both, method: str) -> None:
    code, words = both.caller.refusal(REQUEST_CLASSES[method](name="../x", version="1"), method)
    assert code == grpc.StatusCode.NOT_FOUND
    assert words == 'no model "../x" of version "1" is served; RepositoryIndex lists those that are'
    assert both.caller.refusal(b"\xff", method)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_requests_and_runs_are_counted_with_those_of_http(both: Both) -> None:
    def counted() -> tuple[float, float, float, int]:
        lines = dict(line.rsplit(" ", 1) for line in both.http.get("/metrics").text.splitlines() if line[:1] != "#")
        requests = [lines.get(f'rowcast_requests_total{{code="{code}",model="delay"}}', 0) for code in ("2xx", "4xx")]
        unseen = lines.get('rowcast_unseen_levels_total{column="carrier",model="delay"}', 0)
        (statistics,) = both.caller.ask("ModelStatistics", name="delay").model_stats
        return (*map(float, requests), float(unseen), statistics.inference_count)

    before = counted()
    both.caller.infer(message(ROW, {**ROW, "carrier": "never"}, model_name="delay"))
    both.caller.refusal(message({**ROW, "distance": np.inf}, model_name="delay"))
    after = counted()
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 1, 2]


def test_a_deadline_that_cannot_be_kept_is_refused_whichever_way_it_is_told(both: Both) -> None:
    late = message(ROW)
    late.parameters["timeout"].int64_param = 1
    code, words = both.caller.refusal(late)
    assert (code, "deadline" in words) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
    late.parameters["timeout"].string_param = "1"
    code, words = both.caller.refusal(late)
    expected = 'parameters.timeout: must be a whole number, 0 or more, got "1"'
    assert (code, words) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
    soon = message(ROW)
    soon.parameters["priority"].uint64_param = 1
    assert len(both.caller.infer(soon).outputs) == 2


def test_the_health_service_says_serving(both: Both) -> None:
    health = health_pb2_grpc.HealthStub(both.caller.channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=10)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]


def test_the_health_service_lists_what_it_knows(both: Both) -> None:
    answer = health_pb2_grpc.HealthStub(both.caller.channel).List(health_pb2.HealthListRequest(), timeout=10)
    serving_ = health_pb2.HealthCheckResponse.SERVING
    assert {name: entry.status for name, entry in answer.statuses.items()} == {"": serving_, SERVICE: serving_}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_shows_the_services_and_their_messages(both: Both, version: str) -> None:
    """Asked in raw bytes but for the messages, which both versions share."""
    info = both.caller.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    def reflected(**asked: str) -> Any:
        (answer,) = info(iter([reflection_pb2.ServerReflectionRequest(**asked)]), timeout=10)
        return answer

    services = [service.name for service in reflected(list_services="").list_services_response.service]
    assert services == ["grpc.health.v1.Health", *REFLECTION_SERVICES, SERVICE]
    for symbol in services:  # every one that is listed can be called by what it is said to be
        files = reflected(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
        (file,) = map(FileDescriptorProto.FromString, files)
        assert symbol == f"{file.package}.{file.service[0].name}"
        types = {f".{file.package}.{message.name}" for message in file.message_type}
        assert {method.input_type for method in file.service[0].method} <= types
    absent = reflected(file_containing_symbol="no.such.Service")
    assert absent.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_what_is_no_message_is_refused_by_the_standard_services_without_a_line_in_the_log(both: Both) -> None:
    before = both.http.log.read_text()
    for method in ("Check", "List"):
        ask = both.caller.channel.unary_unary(f"/grpc.health.v1.Health/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            ask(b"\x0a\xff", timeout=10)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError) as caught:
        list(both.caller.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\xff", timeout=10))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    for service in REFLECTION_SERVICES:
        info = both.caller.channel.stream_stream(f"/{service}/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            list(info(iter([b"\x0a\xff"]), timeout=10))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert both.http.log.read_text() == before


def test_no_method_of_a_shared_memory_extension_is_there(both: Both) -> None:
    for method in ("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "CudaSharedMemoryUnregister"):
        with pytest.raises(grpc.RpcError) as caught:
            both.caller.channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


# ─── the messages ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_compiled_messages_are_those_of_the_source(tmp_path: Path) -> None:
    from grpc_tools import protoc

    made = tmp_path / "made.binpb"
    source = str(COMPILED.parent)
    arguments = [f"--proto_path={source}", f"--descriptor_set_out={made}", "open_inference.proto"]
    assert protoc.main(["protoc", *arguments]) == 0
    assert made.read_bytes() == COMPILED.read_bytes()


def test_every_message_is_as_tritons_clients_have_it() -> None:
    theirs = {**service_pb2.DESCRIPTOR.message_types_by_name, **model_config_pb2.DESCRIPTOR.message_types_by_name}
    ours = POOL.FindFileByName("open_inference.proto")

    def same(own: Any, other: Any) -> None:
        for field in own.fields:
            expected = other.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (
                expected.number,
                expected.type,
                expected.is_repeated,
            ), field.full_name
            if field.enum_type is not None:
                numbers = {value.name: value.number for value in expected.enum_type.values}
                assert {value.name: value.number for value in field.enum_type.values}.items() <= numbers.items()
        for nested in own.nested_types:
            same(nested, other.nested_types_by_name[nested.name])

    for name, own in ours.message_types_by_name.items():
        same(own, theirs[name])
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for method in ours.services_by_name["GRPCInferenceService"].methods:
        expected = methods[method.name]
        assert method.input_type.full_name == expected.input_type.full_name
        assert method.output_type.full_name == expected.output_type.full_name


# ─── Triton's clients ────────────────────────────────────────────────────────────────────────────────────────────────


def as_triton(module: Any, *rows: dict[str, Any]) -> list[Any]:
    inputs = []
    sent = message(*rows, raw=False)
    for entry in sent.inputs:
        dtype = {"BYTES": object, "FP64": np.float64, "INT64": np.int64}[entry.datatype]
        values = np.array(getattr(entry.contents, CONTENTS[entry.datatype]), dtype)
        tensor = module.InferInput(entry.name, list(entry.shape), entry.datatype)
        tensor.set_data_from_numpy(values.reshape(-1, 1))
        inputs.append(tensor)
    return inputs


def test_tritons_client_works_as_it_is(both: Both) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{both.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("flights", "1")
        assert client.get_server_metadata().name == "rowcast"
        assert client.get_model_metadata("flights", as_json=True)["name"] == "flights"
        assert client.get_model_config("flights").config.backend == "onnxruntime"
        assert len(client.get_model_repository_index().models) == 3
        client.load_model("flights")
        with pytest.raises(InferenceServerException, match="ROWCAST_MODELS"):
            client.unload_model("flights")
        assert client.get_inference_statistics("delay").model_stats[0].name == "delay"
        expected = over_http(both.http, "/models/flights/predict", *ROWS)
        result = client.infer("flights", as_triton(triton, *ROWS), request_id="7", client_timeout=30)
        assert result.get_response().id == "7"
        assert [text.decode() for text in result.as_numpy("label").ravel()] == expected["label"]
        assert result.as_numpy("probabilities").tolist() == expected["probabilities"]
        result = client.infer("flights", as_triton(triton, ROW), headers={"want-server-timing": "?1"})
        assert "compute" in result.get_response().parameters["server-timing"].string_param
        only = [triton.InferRequestedOutput("probabilities")]
        result = client.infer("flights", as_triton(triton, *ROWS), "1", outputs=only, priority=1, timeout=10_000_000)
        assert result.as_numpy("label") is None
        assert result.as_numpy("probabilities").shape == (5, 2)
        with pytest.raises(InferenceServerException, match=r"inputs\[0\].data\[1\]: must be a number, or NaN"):
            client.infer("flights", as_triton(triton, ROW, {**ROW, "distance": np.inf}))


def test_tritons_aio_client_works_as_it_is(both: Both) -> None:
    expected = over_http(both.http, "/models/flights/predict", *ROWS)

    async def infer() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{both.port}") as client:
            assert await client.is_model_ready("flights")
            calls = [client.infer("flights", as_triton(triton_aio, *ROWS)) for _ in range(20)]
            for result in await asyncio.gather(*calls):
                assert result.as_numpy("probabilities").tolist() == expected["probabilities"]

    asyncio.run(infer())


# ─── life ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_worker_answers_on_the_one_port(one_model: Path, tmp_path: Path) -> None:
    port = free_port()
    with serving(one_model, tmp_path, grpc_port=str(port), workers="2") as server:
        deadline = time.monotonic() + 30
        while server.log.read_text().count("Completed async startup hook") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = {child.pid for child in psutil.Process(server.process.pid).children()}
        listening = {
            worker.pid
            for worker in map(psutil.Process, workers)
            for held in worker.net_connections()
            if held.laddr.port == port and held.status == psutil.CONN_LISTEN
        }
        assert listening == workers
        for _ in range(8):
            with calling(port) as caller:
                assert len(caller.infer(good()).outputs) == 2


def test_told_to_stop_it_says_so_and_serves_on_until_its_grace_is_over(one_model: Path, tmp_path: Path) -> None:
    port = free_port()
    with (
        serving(one_model, tmp_path, grpc_port=str(port), grace="2") as server,
        calling(port) as caller,
        ThreadPoolExecutor(1) as thread,
    ):
        expected = caller.infer(good())
        health = health_pb2_grpc.HealthStub(caller.channel)
        watched = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        changed = thread.submit(lambda: next(watched).status)
        server.process.terminate()
        assert changed.result(10) == health_pb2.HealthCheckResponse.NOT_SERVING
        watched.cancel()
        assert not caller.ask("ServerReady").ready
        assert not caller.ask("ModelReady", name="flights").ready
        assert caller.ask("ServerLive").live
        assert caller.infer(good()) == expected
        assert server.process.wait(20) == 0
        assert caller.refusal(good())[0] == grpc.StatusCode.UNAVAILABLE
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("off", ["off", "0"])
def test_it_can_be_turned_off(one_model: Path, tmp_path: Path, off: str) -> None:
    with serving(one_model, tmp_path, grpc_port=off) as server:
        (worker,) = psutil.Process(server.process.pid).children()
        assert not any("grpc" in mapped.path for mapped in worker.memory_maps())


def refused(tmp_path: Path, repository: Path, **settings: str) -> str:
    """The line in which ``bentoml serve`` says why it does not start, after whatever it warns of."""
    env = environment(tmp_path, repository=str(repository), workers="1", **settings)
    process = subprocess.Popen(
        command(free_port()), cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        stop(process)
    assert process.returncode == 1
    *_, line = said.strip().splitlines()
    return line


def test_a_port_or_host_that_cannot_be_listened_on_is_one_clear_line(one_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, one_model, grpc_port=str(port))
    why = "(Address already in use): choose another ROWCAST_GRPC_PORT, or turn gRPC off with ROWCAST_GRPC_PORT=off"
    assert f"cannot listen for gRPC on 127.0.0.1:{port} {why}" in said
    said = refused(tmp_path, one_model, grpc_port=str(free_port()), grpc_host="no.such.invalid")
    assert "cannot listen for gRPC on no.such.invalid:" in said
    assert "choose another ROWCAST_GRPC_HOST" in said


DEFAULT_PORT = 3001
"""The one port here that cannot be picked: what happens to it is the matter. Who has it already does as well."""


@pytest.mark.alone  # two such at once would each find the other
def test_the_default_port_gives_way_to_another_service(one_model: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", DEFAULT_PORT)))
        with serving(one_model, tmp_path, grpc_port=UNSET) as server:
            assert server.predict("/predict", ROW)
            log = server.log.read_text()
    assert f"gRPC is off: cannot listen for gRPC on 127.0.0.1:{DEFAULT_PORT} (Address already in use)" in log


@pytest.mark.alone  # two such at once would each find the other
def test_the_default_port_gives_way_to_http_of_the_same_service(one_model: Path, tmp_path: Path) -> None:
    try:
        socket.create_server(("127.0.0.1", DEFAULT_PORT)).close()
    except OSError:
        pytest.skip(f"port {DEFAULT_PORT} is taken on this machine")
    with serving(one_model, tmp_path, port=DEFAULT_PORT, grpc_port=UNSET) as server:
        assert server.predict("/predict", ROW)
        assert f"gRPC is off: HTTP listens on its port, {DEFAULT_PORT}" in server.log.read_text()


# ─── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_a_certificate_it_speaks_tls_and_nothing_else(
    one_model: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    made, key = certificate
    port = free_port()
    with serving(one_model, tmp_path, grpc_port=str(port), grpc_tls_cert=str(made), grpc_tls_key=str(key)) as server:
        credentials = grpc.ssl_channel_credentials(made.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            answer = Caller(channel).infer(message(ROW))
            assert outputs(answer) == over_http(server, "/predict", ROW)
        with calling(port) as plain:
            assert plain.refusal(good(), timeout=2)[0] == grpc.StatusCode.UNAVAILABLE
        client = triton.InferenceServerClient(f"127.0.0.1:{port}", ssl=True, root_certificates=str(made))
        with client:
            assert client.is_server_ready()


def test_a_certificate_without_its_key_refuses_to_start(
    one_model: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    made, key = map(str, certificate)
    port = str(free_port())
    assert "ROWCAST_GRPC_TLS_KEY must be set as well" in refused(
        tmp_path, one_model, grpc_port=port, grpc_tls_cert=made
    )
    said = refused(tmp_path, one_model, grpc_port=port, grpc_tls_cert=key, grpc_tls_key=made)
    assert "must be a certificate and its key in PEM" in said
