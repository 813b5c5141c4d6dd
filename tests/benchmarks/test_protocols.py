"""The parts of the benchmark of protocols: what is sent is what the service reads, and what is told of it."""

from __future__ import annotations

import subprocess
import sys

import grpc
import numpy as np
import pyarrow as pa
import pytest
from tritonclient.grpc import service_pb2

from benchmarks.cells import ROOT
from benchmarks.serving.harness.contenders import PEERS
from benchmarks.serving.harness.duel import Load, Plan, WrongAnswers
from benchmarks.serving.harness.processes import Server, free_port
from benchmarks.serving.tensors.contenders import PEER_LIST, UNSPOKEN
from benchmarks.serving.tensors.duel import LOADS, compare
from benchmarks.serving.tensors.loops import INFER, ask_grpc, drive_grpc, drive_http
from benchmarks.serving.tensors.table import report, share
from benchmarks.serving.tensors.tables import row_of, table_of, tables
from benchmarks.serving.tensors.wire import ARROW, GRPC, PROTOCOLS, V2_BINARY, V2_JSON
from rowcast.loadtest.connection import Endpoint
from rowcast.models.signature import Column, Signature
from rowcast.service.columns.named import ColumnReader
from rowcast.service.protocols.arrow.stream import ArrowReader
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from rowcast.service.protocols.grpc.request import RequestReader as GrpcReader
from rowcast.service.protocols.v2.request import RequestReader

CLASSES = ("late", "on time")
ANSWERS = [("late", [0.75, 0.25]), ("on time", [0.125, 0.875])]
SIGNATURE = Signature(
    task="binary",
    target="arrival",
    classes=CLASSES,
    columns=(
        Column(name="distance", kind="number", nullable=True, minimum=1.5, maximum=2.5, median=2.0),
        Column(name="stops", kind="integer", nullable=True, minimum=0, maximum=3, median=1),
        Column(name="night", kind="boolean", nullable=False),
        Column(name="carrier", kind="category", nullable=False, levels={"ü": 20, "AA": 10}),
        Column(
            name="departs",
            kind="timestamp",
            nullable=True,
            minimum="2013-01-01T00:00:00Z",
            maximum="2013-12-31T00:00:00Z",
            median="2013-07-01T00:00:00Z",
        ),
    ),
)
ROWS = [
    {"distance": 1.5, "stops": 2, "night": True, "carrier": "ü", "departs": "1970-01-01T00:00:01Z"},
    dict.fromkeys(SIGNATURE.names),
]


@pytest.fixture
def table():
    return table_of(SIGNATURE, ROWS)


def graph_inputs(columns):
    """What the service hands to the graph, a list a column, NaN as None."""
    values = [column.ravel().tolist() for block in columns.blocks for column in block]
    return sorted(str([None if value != value else value for value in column]) for column in values)


EXPECTED = sorted(map(str, ([1.5, None], [2.0, None], [1.0, None], ["ü", ""], [1_000_000, -(2**63)])))


def test_rows_become_arrays_of_the_graph(table):
    assert [(name, values.dtype, values.shape) for name, values in table.items()] == [
        (column.name, column.dtype, (2, 1)) for column in SIGNATURE.columns
    ]
    assert [values.tolist() for values in row_of(table, 0).values()] == [[[1.5]], [[2.0]], [[1.0]], [["ü"]], [[10**6]]]


def test_tables_are_reproducible_and_lack_nothing_where_nothing_may_be_missing():
    for nulls in (True, False):
        (some, _), (same, _) = (
            tables(SIGNATURE, rows=200, number=2, seed=3, nulls=nulls),
            tables(SIGNATURE, rows=200, number=2, seed=3, nulls=nulls),
        )
        for name in some:
            np.testing.assert_array_equal(some[name], same[name])
        assert bool(np.isnan(some["distance"]).any()) is nulls


def test_the_service_reads_v2_as_it_is_written(table):
    reader, columns = RequestReader(SIGNATURE, 100), ColumnReader(SIGNATURE, 100)
    body = V2_BINARY.write(SIGNATURE, table)
    (length,) = (int(line.partition(": ")[2]) for line in body.headers if line.startswith("Inference-Header"))
    asked = reader.read(body.content, length)
    assert graph_inputs(columns.read(asked.tensors)) == EXPECTED
    assert all(output.binary for output in asked.outputs)
    whole = row_of(table, 0)
    text = V2_JSON.write(SIGNATURE, whole).content
    assert graph_inputs(columns.read(reader.read(text).tensors)) == sorted(
        map(str, ([1.5], [2.0], [1.0], ["ü"], [10**6]))
    )


def test_the_service_reads_grpc_as_it_is_written(table):
    message = REQUEST_CLASSES["ModelInfer"].FromString(GRPC.write(SIGNATURE, table).content)
    asked = GrpcReader(SIGNATURE, 100).read(message)
    assert graph_inputs(ColumnReader(SIGNATURE, 100).read(asked.tensors)) == EXPECTED


def test_the_service_reads_arrow_as_it_is_written(table):
    stream = ArrowReader(SIGNATURE, 100, 2**20).open(ARROW.write(SIGNATURE, table).content)
    (part,) = stream.parts(list(stream.batches()))
    assert graph_inputs(part.columns) == EXPECTED


def test_answers_of_every_protocol_are_read():
    raw = b"\4\0\0\0late\7\0\0\0on time", np.array([0.75, 0.25, 0.125, 0.875], "<f4").tobytes()
    head = (
        b'{"outputs":[{"name":"label","parameters":{"binary_data_size":%d}},'
        b'{"name":"probabilities","parameters":{"binary_data_size":16}}]}' % len(raw[0])
    )
    assert V2_BINARY.read(head + b"".join(raw), CLASSES) == ANSWERS
    answer = service_pb2.ModelInferResponse(raw_output_contents=[raw[1], raw[0]])
    answer.outputs.add(name="probabilities")
    answer.outputs.add(name="label")
    assert GRPC.read(answer.SerializeToString(), CLASSES) == ANSWERS
    columns = {"label": ["late", "on time"], "probability_on time": [0.25, 0.875], "probability_late": [0.75, 0.125]}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns))
    assert ARROW.read(sink.getvalue().to_pybytes(), CLASSES) == ANSWERS


def test_answers_must_be_those_of_the_model():
    compare([("late", [0.750009, 0.249991]), ANSWERS[1]], ANSWERS, "Triton")
    with pytest.raises(WrongAnswers, match=r"^Triton answers 1 of 2 rows$"):
        compare(ANSWERS[:1], ANSWERS, "Triton")
    for wrong in (("on time", [0.75, 0.25]), ("late", [0.7501, 0.2499]), ("late", [float("nan"), 0.25])):
        with pytest.raises(WrongAnswers, match=r"^row 0: Triton answers"):
            compare([wrong, ANSWERS[1]], ANSWERS, "Triton")


def test_a_round_over_http_ends_when_all_that_was_begun_is_answered(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.harness.ceiling", str(port), "1"]
    server = Server(command, {}, directory=ROOT, core=0, log=tmp_path / "log")
    try:
        server.wait_until_ready(f"http://127.0.0.1:{port}/")
        endpoint = Endpoint.of(f"http://127.0.0.1:{port}")
        request = V2_JSON.write(SIGNATURE, table_of(SIGNATURE, ROWS[:1])).post(endpoint)
        result = drive_http(endpoint, [request], 4, 0.2)
        assert result.failures == 0
        assert result.requests >= 4
        assert drive_http(endpoint, [request], 4, 0.0).requests == 4
    finally:
        server.end()


def test_every_connection_of_grpc_is_one(tmp_path):
    port = free_port()
    serve = (
        "import asyncio, grpc\n"
        "peers = set()\n"
        "async def infer(request, context):\n"
        "    peers.add(context.peer())\n"
        "    if request == b'no': await context.abort(grpc.StatusCode.INTERNAL, 'no')\n"
        "    return str(len(peers)).encode()\n"
        "async def main():\n"
        "    server = grpc.aio.server()\n"
        "    handler = grpc.unary_unary_rpc_method_handler(infer)\n"
        "    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(\n"
        "        'inference.GRPCInferenceService', {'ModelInfer': handler})])\n"
        f"    server.add_insecure_port('127.0.0.1:{port}')\n"
        "    await server.start()\n"
        "    await server.wait_for_termination()\n"
        "asyncio.run(main())\n"
    )
    server = Server([sys.executable, "-c", serve], {}, directory=tmp_path, core=0, log=tmp_path / "log")
    try:
        result = drive_grpc(port, [b"ok", b"no"], 3, 0.2)
        assert result.failures > 0
        assert result.requests > 0
        assert ask_grpc(port, b"ok", timeout_s=10) == b"4"
        with pytest.raises(grpc.RpcError):
            ask_grpc(port, b"no", timeout_s=10)
    finally:
        server.end()
    assert INFER.endswith("/ModelInfer")


def test_every_peer_has_its_code_and_exact_requirements():
    for peer in PEER_LIST:
        assert PEERS / f"{peer.name}.py" in peer.files, peer.name
        assert peer.protocols
        if peer.environment:
            assert PEERS / f"{peer.environment}.txt" in peer.files
    assert {peer for _, peer in UNSPOKEN} <= {peer.name for peer in PEER_LIST}


def test_the_table_tells_shares_of_bare_and_why_one_was_not_measured():
    good = {"rate": 10.0, "p50_ms": 1.0, "p99_ms": 2.0, "server_cpu_us": 100.0, "others": 0.0, "client_cpu": 0.2}
    ours = [{**good, "failures": 0}]
    theirs = [{**good, "failures": 3, "rate": 5.0, "server_cpu_us": 400.0, "client_cpu": 0.95}]
    load = Load(32, 1024)
    bare = [{"rows_per_s": 12_800.0, "others": 0.5}]
    cells = {
        (protocol.name, peer.name, load.name): {"reason": "ended with exit code 1"}
        for peer in PEER_LIST
        for protocol in peer.protocols
        for load in LOADS
    }
    n = len(cells)
    cells["v2_binary", "tensors_triton", load.name] = {"ours": ours, "theirs": theirs, "bare": bare}
    text = report(cells, Plan(2.0, 3, 3))
    assert f"| {load.name} | **Rowcast** | 10 | 1.00 | 2.00 | 100 |  |  | 0.80* |" in text
    assert "| Triton, Python backend (3 failed)† | 5 | 1.00 | 2.00 | 400 | 2.00 | 4.00 | 0.40* |" in text
    assert text.count("not measured: ended with exit code 1") == n - 1
    assert "MLServer is missing: its server does not read the binary extension" in text
    assert all(f"\n## {protocol.title}\n" in text for protocol in PROTOCOLS)
    assert share(ours, [], load) is None


def test_help_says_how_to_run_it():
    command = [sys.executable, "-m", "benchmarks.serving.protocols", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "make bench-protocols" in done.stdout
    assert "--protocols" in done.stdout
