"""What the Locust file is made of; the file itself is run by ``test_locustfile.py``."""

from __future__ import annotations

import itertools
import json
import random
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from tritonclient.grpc import service_pb2

from rowcast.loadtest.by_hand.arrivals import arrivals, rows_of
from rowcast.loadtest.by_hand.bodies import PROTOCOLS, asked
from rowcast.loadtest.by_hand.ending import Promise
from rowcast.loadtest.by_hand.processes import FINISHED, REPORT, judge_in_master
from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.served import ServedModel
from rowcast.models.errors import ConfigError
from rowcast.models.kinds import KINDS
from tests.support.handmade import BINARY

SERVED = ServedModel("flights", 3, "5e" * 32, BINARY.public())
ROWS = [Payloads(BINARY.public(), seed=seed).row() for seed in range(40)]
EMPTY = [dict.fromkeys(BINARY.names)]


def elements(name: str, rows: list[dict]) -> list:
    column = next(column for column in BINARY.columns if column.name == name)
    return [None if row[name] is None else KINDS[column.kind].taken(row[name]) for row in rows]


def until(seconds: float, rate: float, ramp_s: float) -> list[float]:
    moments = arrivals(rate, ramp_s, random.Random(1))
    return list(itertools.takewhile(lambda moment: moment < seconds, moments))


def test_without_a_ramp_arrivals_are_a_poisson_process_of_the_rate():
    gaps = np.diff(until(200, 100, 0))
    assert len(gaps) == pytest.approx(20_000, rel=0.03)
    assert gaps.std() == pytest.approx(0.01, rel=0.03)


def test_in_a_ramp_the_rate_rises_evenly():
    moments = np.array(until(200, 100, 100))
    assert np.sum(moments < 50) == pytest.approx(1250, rel=0.1), "a quarter of what is due in the ramp"
    assert np.sum(moments < 100) == pytest.approx(5000, rel=0.05)
    assert np.sum(moments >= 100) == pytest.approx(10_000, rel=0.05)
    assert (np.diff(moments) >= 0).all()


def test_a_mix_of_rows_is_read():
    assert rows_of("1,8,64") == [1, 8, 64]


def test_rows_are_sent_as_they_are():
    request = asked("rows", SERVED, ROWS)
    assert request.path == "/models/flights/predict"
    assert json.loads(request.body) == {"rows": ROWS}


def test_v2_has_a_tensor_for_each_column():
    request = asked("v2", SERVED, ROWS)
    assert request.path == "/v2/models/flights/infer"
    inputs = json.loads(request.body)["inputs"]
    assert [tensor["name"] for tensor in inputs] == list(BINARY.names)
    for tensor in inputs:
        assert tensor["shape"] == [len(ROWS), 1]
        assert tensor["data"] == elements(tensor["name"], ROWS)


def test_grpc_sends_what_tritons_classes_read():
    request = service_pb2.ModelInferRequest.FromString(asked("grpc", SERVED, ROWS).body)
    assert request.model_name == "flights"
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        expected = elements(tensor.name, ROWS)
        assert list(tensor.shape) == [len(ROWS), 1]
        if tensor.datatype == "BYTES":
            assert raw == b"".join(
                len(text).to_bytes(4, "little") + text for text in ((value or "").encode() for value in expected)
            )
        else:
            missing = np.nan if tensor.datatype == "FP64" else np.iinfo(np.int64).min
            read = np.frombuffer(raw, {"FP64": "<f8", "INT64": "<i8"}[tensor.datatype])
            np.testing.assert_array_equal(read, [missing if value is None else value for value in expected])


def test_arrow_sends_what_pyarrow_reads():
    table = pa.ipc.open_stream(asked("arrow", SERVED, ROWS).body).read_all()
    assert table.column_names == list(BINARY.names)
    for column in BINARY.columns:
        values = table[column.name]
        read = values.cast(pa.int64()).to_pylist() if column.kind == "timestamp" else values.to_pylist()
        assert read == elements(column.name, ROWS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nulls_are_sent_in_every_protocol(protocol):
    assert asked(protocol, SERVED, EMPTY).body


def test_answers_of_another_number_of_rows_or_version_are_faults():
    output = {"name": "label", "datatype": "BYTES", "shape": [2, 1], "data": ["late", "late"]}
    good = {"model_name": "flights", "model_version": "3", "outputs": [output]}
    fault = asked("v2", SERVED, ROWS[:2]).fault
    assert fault(json.dumps(good).encode()) is None
    newer = {**good, "model_version": "4"}
    assert fault(json.dumps(newer).encode()) == ("the answer comes from flights:4, while the load began with flights:3")
    assert asked("v2", SERVED, ROWS).fault(json.dumps(good).encode()) == "40 rows were sent and 2 predictions came back"
    assert fault(b"<html>") == "the answer is none of Open Inference"

    answer = service_pb2.ModelInferResponse(model_name="flights", model_version="3")
    answer.outputs.add(name="label", datatype="BYTES", shape=[2, 1])
    fault = asked("grpc", SERVED, ROWS[:2]).fault
    assert fault(answer.SerializeToString()) is None
    assert asked("grpc", SERVED, ROWS).fault(answer.SerializeToString()) == (
        "40 rows were sent and 2 predictions came back"
    )
    assert fault(b"\x0f") == fault(b"") == "the answer is none of Open Inference"


def arrow_answer(batches: list[int], origin: dict[str, str]) -> bytes:
    """A stream of predictions, with so many rows in each batch."""
    schema = pa.schema([("prediction", pa.float64())], origin)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for rows in batches:
            writer.write_batch(pa.record_batch([pa.array([1.0] * rows)], schema=schema))
    return sink.getvalue().to_pybytes()


def test_an_arrow_answer_has_to_be_a_stream_of_the_model():
    fault = asked("arrow", SERVED, ROWS[:5]).fault
    origin = {"rowcast.model": "flights", "rowcast.version": "3"}
    assert fault(arrow_answer([5], origin)) is None
    assert fault(arrow_answer([3, 2], origin)) is None
    assert fault(arrow_answer([3], origin)) == "5 rows were sent and 3 predictions came back"
    assert fault(arrow_answer([], origin)) == "5 rows were sent and 0 predictions came back"
    assert fault(arrow_answer([5], {**origin, "rowcast.version": "4"})) == (
        "the answer comes from flights:4, while the load began with flights:3"
    )
    assert fault(arrow_answer([5], {"flights": "3"})) == "the answer's schema does not name the model"
    assert fault(arrow_answer([5], origin)[:-100]) == "the answer is no Arrow stream: the stream is cut off"
    assert fault(b"\xff\xff\xff\xff....rowcast.model flights").startswith("the answer is no Arrow stream: ")
    assert fault(b"{}").startswith("the answer is no Arrow stream: ")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ConfigError, match="--protocol must be one of rows, v2, grpc, arrow, got 'soap'"):
        asked("soap", SERVED, ROWS)


def test_what_workers_counted_is_added_up():
    whole, worker = Promise(), Promise()
    for milliseconds in (1.0, 2.0, 50.25):
        worker.count("POST", milliseconds, exception=ValueError("late") if milliseconds > 2 else None)
        whole.add(worker.taken())
    whole.add(worker.taken())
    whole.add(None)  # of a worker of an older version
    assert whole.judge(60, 0.5) == (0, "KEPT p99 is 50.27 ms of 60 ms, 1 of 3 requests failed")
    whole.lost = 1
    assert whole.judge(60, 0.5) == (3, "VOID 1 of Locust's workers did not say what they counted")


class Hooks:
    """Locust's events, as far as they are listened to."""

    def __init__(self):
        self.listeners = {}

    def __getattr__(self, event):
        return SimpleNamespace(add_listener=lambda listener: self.listeners.__setitem__(event, listener))


class Known(dict):
    """The workers that Locust's master knows, by id."""

    @property
    def all(self):
        return list(self.values())


@pytest.mark.parametrize("left", [{"a", "b"}, {"a"}], ids=["all", "one forgotten"])
def test_a_worker_that_locust_has_forgotten_has_not_said_what_it_counted(left):
    events, promise = Hooks(), Promise()
    options = SimpleNamespace(promise_p99_ms=50.0)
    environment = SimpleNamespace(events=events, parsed_options=options, stop_timeout=None)
    told = {}
    runner = SimpleNamespace(
        clients=Known({worker: SimpleNamespace(id=worker, state="running") for worker in left}),
        register_message=told.__setitem__,
        send_message=lambda name, client_id: told[FINISHED](
            SimpleNamespace(node_id=client_id, data={REPORT: Promise().taken()})
        ),
    )
    judge_in_master(promise, environment, runner)
    for worker in ("a", "b", "gone"):
        events.listeners["worker_connect"](client_id=worker)
    told[FINISHED](SimpleNamespace(node_id="gone", data={REPORT: Promise().taken()}))  # it has left by itself
    events.listeners["test_stopping"](environment=environment)
    assert promise.lost == 2 - len(left)
    events.listeners["test_stopping"](environment=environment)  # of the next run, in which the forgotten has no part
    assert promise.lost == 0


def test_a_promise_counts_predictions_alone():
    promise = Promise()
    for i in range(100):
        promise.count("POST", 1.0 if i < 98 else 50.25, exception=None if i else ValueError("late"))
    promise.count("GET", 9000.0)
    assert promise.judge(60, 0.01) == (0, "KEPT p99 is 50.27 ms of 60 ms, 1 of 100 requests failed")
    assert promise.judge(60, 0.0)[0] == 1
    assert promise.judge(50, 0.01)[0] == 1
    assert Promise().judge(50, 0.0) == (3, "VOID no request was sent")
