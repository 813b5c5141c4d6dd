"""The middleware of a running service: API keys, CORS, TLS, the access log, traces."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import rowcast
from benchmarks.serving.middleware import collecting
from rowcast.service.middleware.keys import new_key
from rowcast.service.middleware.tracing import Tracing
from tests.service.hostile_payloads import GOOD, ROW
from tests.service.rpc import Caller, calling, good, message
from tests.service.servers import NO_TLS, ROOT, Server, environment, free_port, serving

V2_ROWS = {"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [1.0]}]}
PATHS = ["/predict", "/models/flights/predict", "/models/flights/versions/1/predict", "/v2/models/flights/infer"]
PAGES = ["/models", "/models/flights", "/metrics", "/", "/docs.json", "/v2", "/v2/models/flights", "/nowhere"]
PROBES = ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"]


# ─── Keys and origins ────────────────────────────────────────────────────────────────────────────────────────────────


class Locked:
    """A service that wants keys, over HTTP and over gRPC."""

    def __init__(self, server: Server, port: int, key: str) -> None:
        self.server = server
        self.port = port
        self.key = key
        self.bearer = {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def locked(one_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    home = tmp_path_factory.mktemp("locked")
    key = new_key("alice", home / "keys.txt")
    port = free_port()
    settings = {"api_keys": str(home / "keys.txt"), "cors_origins": "https://example.com,http://localhost:8080"}
    with serving(one_model, home, grpc_port=str(port), **settings) as server:
        yield Locked(server, port, key)
        assert key not in server.log.read_text()


@pytest.mark.parametrize("path", PATHS)
def test_rows_are_refused_without_a_key(locked: Locked, path: str) -> None:
    for headers, words in (
        ({}, "an API key is needed"),
        ({"authorization": "Basic YTpi"}, "an API key is needed"),
        ({"authorization": f"Bearer {locked.key}x"}, "this API key is not known here"),
        ({"x-api-key": locked.key[:-1]}, "this API key is not known here"),
    ):
        answer = locked.server.post(path, GOOD, **headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"].startswith(words)
        assert locked.key not in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_refused_without_a_key(locked: Locked, path: str) -> None:
    assert locked.server.get(path).status_code == 401
    assert httpx.get(locked.server.url + path, headers=locked.bearer, verify=NO_TLS).status_code == (
        404 if path == "/nowhere" else 200
    )


@pytest.mark.parametrize("path", PROBES)
def test_health_is_told_to_anyone(locked: Locked, path: str) -> None:
    assert locked.server.get(path).status_code == 200


def test_rows_are_answered_with_a_key_on_one_connection_and_no_longer_without(locked: Locked) -> None:
    with httpx.Client(
        base_url=locked.server.url, headers={"content-type": "application/json"}, verify=NO_TLS
    ) as client:
        for headers in (locked.bearer, {"x-api-key": locked.key}, locked.bearer):
            assert client.post("/predict", content=GOOD, headers=headers).status_code == 200
        assert client.post("/predict", content=GOOD).status_code == 401
        assert client.post("/predict", content=GOOD, headers={"x-api-key": "wrong"}).status_code == 401
        assert client.post("/predict", content=GOOD, headers=locked.bearer).status_code == 200


def test_a_key_that_is_taken_out_is_dead_within_a_second_on_connections_that_are_open(locked: Locked) -> None:
    """On the fast path, which remembers heads it has admitted, on the long one and over gRPC."""
    file = locked.server.log.parent / "keys.txt"
    before = file.read_text()
    bob = {"authorization": f"Bearer {new_key('bob', file)}"}
    with httpx.Client(base_url=locked.server.url, verify=NO_TLS) as client, calling(locked.port) as caller:

        def statuses(key: dict[str, str]) -> list[int | str]:
            typed = {**key, "content-type": "application/json"}
            told: list[int | str] = [client.post("/predict", content=GOOD, headers=typed).status_code for _ in range(3)]
            told.append(client.get("/models", headers=key).status_code)
            try:
                caller.method("ModelInfer")(good(), metadata=tuple(key.items()))
                told.append("OK")
            except grpc.RpcError as error:
                told.append(error.code().name)
            return told

        until(lambda: statuses(bob) == [200, 200, 200, 200, "OK"], locked.server.log, seconds=1)
        file.write_text(before)
        time.sleep(1)
        assert statuses(bob) == [401, 401, 401, 401, "UNAUTHENTICATED"]
        assert statuses(locked.bearer) == [200, 200, 200, 200, "OK"]


def test_the_client_sends_its_key(locked: Locked) -> None:
    for protocol in ("json", "arrow"):
        with rowcast.Client(locked.server.url, api_key=locked.key, protocol=protocol) as client:
            assert client.predict([ROW])[0]["label"]
        with rowcast.Client(locked.server.url, protocol=protocol) as client:
            with pytest.raises(rowcast.ClientError, match="API key") as caught:
                client.predict([ROW])
            assert caught.value.status == 401


def test_the_commands_take_a_key_from_the_environment(locked: Locked, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(",".join(ROW) + "\n" + ",".join(map(str, ROW.values())) + "\n")
    checking = ["--rate", "20", "--p99-ms", "5000", "--duration", "1", "--url", locked.server.url]
    predicting = [str(table), "--url", locked.server.url, "--out", str(tmp_path / "out.csv")]
    for command, refused in ((["loadtest", "check", *checking], 3), (["predict", *predicting], 1)):
        for key, code in ((locked.key, 0), ("wrong", refused)):
            env = {**environment(tmp_path), "ROWCAST_API_KEY": key}
            say = [sys.executable, "-m", "rowcast", *command]
            done = subprocess.run(say, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            assert locked.key not in done.stdout + done.stderr


def test_grpc_wants_the_same_key(locked: Locked) -> None:
    with calling(locked.port) as caller:
        for method, sent in (("ModelInfer", good()), ("ServerMetadata", b""), ("RepositoryIndex", b"")):
            assert caller.refusal(sent, method)[0] == grpc.StatusCode.UNAUTHENTICATED
            code, words = caller.refusal(sent, method, metadata=[("authorization", "Bearer wrong")])
            assert (code, words) == (grpc.StatusCode.UNAUTHENTICATED, "this API key is not known here")
        for name, value in (("authorization", f"Bearer {locked.key}"), ("x-api-key", locked.key)):
            assert caller.method("ModelInfer")(good(), metadata=[(name, value)], timeout=30).outputs
        assert caller.ask("ServerLive").live
        assert caller.ask("ServerReady").ready
        health = health_pb2_grpc.HealthStub(caller.channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=30).status == 1


def test_a_browser_may_ask_leave_without_a_key(locked: Locked) -> None:
    asked = {
        "origin": "https://example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-rowcast-key",
    }
    leave = httpx.options(f"{locked.server.url}/predict", headers=asked)
    assert leave.status_code == 200
    assert leave.headers["access-control-allow-origin"] == "https://example.com"
    assert "authorization" in leave.headers["access-control-allow-headers"].lower()
    assert "x-rowcast-key" in leave.headers["access-control-allow-headers"].lower()
    assert httpx.options(f"{locked.server.url}/predict", headers={**asked, "origin": "https://evil.example"}).is_error


@pytest.mark.parametrize(("origin", "allowed"), [("http://localhost:8080", True), ("http://localhost:8081", False)])
def test_a_page_reads_answers_when_its_origin_may(locked: Locked, origin: str, allowed: bool) -> None:
    for _ in range(2):  # the second would find its head known
        answer = locked.server.post("/predict", GOOD, origin=origin, **locked.bearer)
        assert answer.status_code == 200
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
    refused = locked.server.post("/predict", GOOD, origin=origin)
    assert refused.status_code == 401
    assert ("access-control-allow-origin" in refused.headers) is allowed


def test_without_settings_there_is_no_middleware(server: Server) -> None:
    answer = server.post("/predict", GOOD, origin="https://example.com", x_request_id="abc")
    assert answer.status_code == 200
    assert not {"access-control-allow-origin", "x-request-id", "www-authenticate"} & set(answer.headers)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"api_keys": "absent.txt"},
            f"ROWCAST_API_KEYS is a file of keys, as `rowcast key` writes it, got {ROOT / 'absent.txt'} (No such",
        ),
        ({"cors_origins": "example.com"}, "ROWCAST_CORS_ORIGINS is * or origins with commas between"),
        ({"cors_origins": "https://example.com/page"}, "ROWCAST_CORS_ORIGINS is * or origins with commas between"),
        ({"tls_cert": "absent.pem"}, "ROWCAST_TLS_KEY must be set as well; only ROWCAST_TLS_CERT is"),
        (
            {"tls_cert": "absent.pem", "tls_key": "absent.pem"},
            "ROWCAST_TLS_CERT and ROWCAST_TLS_KEY must be a certificate",
        ),
        ({"access_log": "perhaps"}, "ROWCAST_ACCESS_LOG is on or off, got 'perhaps'"),
    ],
)
def test_a_setting_that_cannot_be_refuses_the_start(
    one_model: Path, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    done = rowcast_serve(one_model, tmp_path, **settings)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def rowcast_serve(repository: Path, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A ``rowcast serve`` that ends by itself."""
    say = [sys.executable, "-m", "rowcast", "serve", "--port", str(free_port()), "--repository", str(repository)]
    env = environment(home, workers="1", grace="0", **settings)
    return subprocess.run(say, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


# ─── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_a_certificate_both_ports_speak_tls_and_nothing_else(
    one_model: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    made, key = certificate
    port, grpc_port = free_port(), free_port()
    say = [sys.executable, "-m", "rowcast", "serve", "--port", str(port), "--repository", str(one_model)]
    settings = {"grpc_port": str(grpc_port), "tls_cert": str(made), "tls_key": str(key)}
    env = environment(tmp_path, workers="1", grace="0", **settings)
    log = tmp_path / "log.txt"
    with open(log, "wb") as output:
        process = subprocess.Popen(say, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: "Rowcast serves" in log.read_text(), log)
        trust = ssl.create_default_context(cafile=str(made))
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trust) as client:
            for _ in range(2):
                answer = client.post("/predict", content=GOOD, headers={"content-type": "application/json"})
                assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.post(f"http://127.0.0.1:{port}/predict", content=GOOD, verify=NO_TLS)
        pasted = next(line for line in log.read_text().splitlines() if line.startswith("curl "))
        done = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["predictions"], done
        credentials = grpc.ssl_channel_credentials(made.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{grpc_port}", credentials) as channel:
            assert Caller(channel).infer(message(ROW)).outputs
    finally:
        process.terminate()
        assert process.wait(20) == 0


# ─── The line of a request, and its trace ────────────────────────────────────────────────────────────────────────────


@contextmanager
def collector() -> Iterator[tuple[int, list[Any]]]:
    """What takes OTLP over HTTP: its port, and the spans that came."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []

    def take(body: bytes, encoding: str) -> None:
        content = gzip.decompress(body) if encoding == "gzip" else body
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            spans.extend(span for scope in resource.scope_spans for span in scope.spans)

    with collecting(take) as port:
        yield port, spans


def until(true: Any, log: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


class Watched:
    """A service that writes lines, and sends spans."""

    def __init__(self, server: Server, port: int, key: str, spans: list[Any]) -> None:
        self.server = server
        self.port = port
        self.key = key
        self.spans = spans

    def lines(self, request: str) -> list[dict[str, Any]]:
        """The lines of a request."""
        found = [line for line in self.server.log.read_text().splitlines() if f'"id":"{request}"' in line]
        return [json.loads(line) for line in found]

    def line(self, request: str) -> dict[str, Any]:
        """The only line of a request."""
        until(lambda: self.lines(request), self.server.log)
        (line,) = self.lines(request)
        return line

    def trace(self, trace: str, spans: int) -> dict[str, Any]:
        """The spans of a trace by their names, as soon as there are so many."""

        def those() -> list[Any]:
            return [span for span in self.spans if span.trace_id.hex() == trace]

        until(lambda: len(those()) >= spans, self.server.log)
        return {span.name: span for span in those()}


@pytest.fixture(scope="module")
def watched(one_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    home = tmp_path_factory.mktemp("watched")
    key = new_key("alice", home / "keys.txt")
    port = free_port()
    with collector() as (collects, spans):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collects}", "OTEL_BSP_SCHEDULE_DELAY": "200"}
        settings = {"api_keys": str(home / "keys.txt"), "access_log": "on", "grpc_port": str(port)}
        with serving(one_model, home, variables, **settings) as server:
            yield Watched(server, port, key, spans)
            log = server.log.read_text()
            assert key not in log
            assert "distance" not in log  # nothing of any payload
            assert "Traceback" not in log


def test_a_request_has_one_line_without_what_it_holds(watched: Watched) -> None:
    sent = {"x_api_key": watched.key, "x_request_id": "first-1"}
    answer = watched.server.post("/predict?token=secret", GOOD, **sent)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "first-1"
    line = watched.line("first-1")
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("+00:00")
    expected = {"id": "first-1", "protocol": "http", "method": "POST", "path": "/predict", "status": 200}
    assert line == {**expected, "key": "alice"}
    assert "secret" not in watched.server.log.read_text()


def test_a_refused_request_has_a_line_too(watched: Watched) -> None:
    assert watched.server.post("/predict", GOOD, x_request_id="second-2").status_code == 401
    assert "key" not in watched.line("second-2")
    assert watched.line("second-2")["status"] == 401
    watched.server.post("/predict", b"{", x_api_key=watched.key, x_request_id="third-3")
    assert watched.line("third-3")["status"] == 400


def test_an_id_that_could_be_anything_is_replaced(watched: Watched) -> None:
    for given in ("a b", "x" * 129, '{"status":200}'):
        answer = watched.server.post("/predict", GOOD, x_api_key=watched.key, x_request_id=given)
        assert answer.headers["x-request-id"] != given
        assert watched.line(answer.headers["x-request-id"])["status"] == 200
    ids = [watched.server.get("/models").headers["x-request-id"] for _ in range(2)]
    assert len(set(ids)) == 2


def test_a_path_cannot_forge_a_line(watched: Watched) -> None:
    answer = httpx.get(f"{watched.server.url}/a%0A%7B%22id%22%3A%22forged%22%7D" + "x" * 300, verify=NO_TLS)
    line = watched.line(answer.headers["x-request-id"])
    assert line["path"].startswith('/a\n{"id":"forged"}')
    assert len(line["path"]) == 200


def test_probes_leave_no_line(watched: Watched) -> None:
    assert watched.server.get("/readyz").status_code == 200
    assert '"path":"/readyz"' not in watched.server.log.read_text()


def test_a_call_over_grpc_has_its_line_and_its_trace(watched: Watched) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = [
        ("x-request-id", "call-1"),
        ("x-api-key", watched.key),
        ("traceparent", f"00-{trace}-b7ad6b7169203331-01"),
    ]
    with calling(watched.port) as caller:
        answer, call = caller.method("ModelInfer").with_call(good(), metadata=metadata, timeout=30)
        assert answer.outputs
        assert ("x-request-id", "call-1") in [tuple(pair) for pair in call.initial_metadata()]
        assert caller.refusal(b"\xff", metadata=[("x-request-id", "call-2"), ("x-api-key", watched.key)])
        assert caller.refusal(good(), metadata=[("x-request-id", "call-3")])[0] == grpc.StatusCode.UNAUTHENTICATED
    line = watched.line("call-1")
    assert (line["protocol"], line["method"], line["status"], line["key"]) == ("grpc", "ModelInfer", "OK", "alice")
    assert watched.line("call-2")["status"] == "INVALID_ARGUMENT"
    assert watched.line("call-3")["status"] == "UNAUTHENTICATED"
    span = watched.trace(trace, 1)["inference.GRPCInferenceService/ModelInfer"]
    assert span.parent_span_id.hex() == "b7ad6b7169203331"


def test_the_span_of_a_refused_call_has_its_code_and_no_stack_trace(watched: Watched) -> None:
    trace = "1af7651916cd43dd8448eb211c80319c"
    metadata = [("x-api-key", watched.key), ("traceparent", f"00-{trace}-b7ad6b7169203331-01")]
    with calling(watched.port) as caller:
        assert caller.refusal(b"\xff", metadata=metadata)[0] == grpc.StatusCode.INVALID_ARGUMENT
    span = watched.trace(trace, 1)["inference.GRPCInferenceService/ModelInfer"]
    assert not span.events
    assert not span.status.code  # its caller is at fault
    assert not span.status.message
    (code,) = [pair.value.int_value for pair in span.attributes if pair.key == "rpc.grpc.status_code"]
    assert code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_a_span_does_not_say_who_asked(watched: Watched) -> None:
    trace = "2bf92f3577b34da6a3ce929d0e0e4736"
    person = {
        "user_agent": "mozilla-of-alice",
        "x_forwarded_for": "203.0.113.7",
        "x_real_ip": "203.0.113.7",
        "forwarded": "for=203.0.113.7",
        "cookie": "secret=1",
    }
    sent = {"x_api_key": watched.key, "traceparent": f"00-{trace}-00f067aa0ba902b7-01", **person}
    assert watched.server.post("/predict", GOOD, **sent).status_code == 200
    for span in watched.trace(trace, 3).values():
        told = str(span)
        assert not any(word in told for word in ("alice", "203.0.113.7", "secret", "user_agent", "peer", "client"))


def test_the_app_behind_the_traces_gets_a_request_as_it_came() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append(scope)

    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    headers = [(b"host", b"localhost"), (b"x-forwarded-for", b"203.0.113.7"), (b"cookie", b"secret=1")]
    scope = {"type": "http", "method": "GET", "path": "/predict", "scheme": "http", "headers": headers}
    scope |= {"query_string": b"token=secret", "client": ("203.0.113.8", 5), "server": ("127.0.0.1", 3000)}
    asyncio.run(Tracing(provider).around(app)(dict(scope), None, None))  # type: ignore[arg-type]
    assert got == [{**scope, "headers": [*headers, (b"want-server-timing", b"?1")]}]
    (span,) = spans.get_finished_spans()
    assert not any(word in span.to_json() for word in ("203.0.113", "secret"))


def test_details_are_told_with_traces_on(watched: Watched) -> None:
    url = f"{watched.server.url}/readyz?verbose"
    told = httpx.get(url, headers={"x-api-key": watched.key}, verify=NO_TLS, timeout=30).json()
    assert [(model["name"], model["version"]) for model in told["models"]] == [("flights", 1)]


def test_a_request_is_a_trace_with_its_queue_and_its_run(watched: Watched) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {"x_api_key": watched.key, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = watched.server.post("/predict?token=secret", GOOD, **sent)
    assert answer.status_code == 200
    assert "server-timing" not in answer.headers  # nobody asked for it
    spans = watched.trace(trace, 3)
    whole, queue, run = spans["POST /predict"], spans["queue"], spans["run"]
    assert whole.parent_span_id.hex() == "00f067aa0ba902b7"
    assert queue.parent_span_id == run.parent_span_id == whole.span_id
    assert queue.end_time_unix_nano == run.start_time_unix_nano
    assert run.end_time_unix_nano > run.start_time_unix_nano
    assert "/predict" in str(whole.attributes)
    assert "secret" not in str(whole.attributes)
    assert watched.key not in str(whole.attributes)
    timed = watched.server.post("/predict", GOOD, x_api_key=watched.key, want_server_timing="?1")
    assert timed.headers["server-timing"].startswith("queue;dur=")


def test_traces_without_what_sends_them_refuse_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rowcast.models.errors import ConfigError
    from rowcast.service.middleware import tracing

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert tracing.traces_are_asked_for()
    monkeypatch.setattr(tracing, "_EXPORTER", "opentelemetry.exporter.absent.trace_exporter")
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT asks for traces.*rowcast\[tracing\]"):
        tracing.traces_are_asked_for()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not tracing.traces_are_asked_for()
