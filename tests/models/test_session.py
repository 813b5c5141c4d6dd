"""A session: named columns in, answers out, on the device that was asked for."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from rowcast.models import device
from rowcast.models.device import check_providers, cuda_device_count, providers
from rowcast.models.errors import DeviceError, ModelRefused
from rowcast.models.session import Session
from tests.support import handmade


def typical_columns(rows=1):
    values = {"distance": 872.0, "stops": 1.0, "night": 0.0, "carrier": "UA", "departs": handmade.EPOCH_2013}
    return {c.name: np.full((rows, 1), values[c.name], c.dtype) for c in handmade.COLUMNS}


def test_classes_get_labels_and_probabilities():
    answers = Session(handmade.graph()).run(typical_columns(3))
    expected = handmade.late({"distance": 872.0, "stops": 1})
    assert len(answers) == 3
    assert answers.labels == ["late"] * 3
    assert answers.probabilities[2].tolist() == pytest.approx([1 - expected, expected], abs=1e-7)


def test_regression_gets_predictions_and_intervals():
    answers = Session(handmade.graph(handmade.REGRESSION)).run(typical_columns())
    assert answers.prediction.tolist() == pytest.approx([1.872])
    assert answers.lower.tolist() == pytest.approx([0.872])
    assert answers.upper.tolist() == pytest.approx([2.872])
    assert answers.labels is None


def test_a_slice_of_answers_is_answers():
    answers = Session(handmade.graph()).run(typical_columns(5))[1:3]
    assert len(answers) == 2
    assert answers.probabilities.shape == (2, 2)


def test_every_value_may_be_missing():
    session = Session(handmade.graph())
    session.warm_up()
    assert session.run(session.missing_rows(2)).probabilities.tolist() == [[0.5, 0.5]] * 2


def test_bytes_that_are_no_graph_are_refused():
    with pytest.raises(ModelRefused, match="cannot load the graph"):
        Session(b"not a graph")


def test_a_graph_without_a_signature_is_refused():
    import onnx

    graph = onnx.load_from_string(handmade.graph())
    del graph.metadata_props[:]
    with pytest.raises(ModelRefused, match=r"carries no 'rowcast\.signature'"):
        Session(graph.SerializeToString())


def test_the_public_signature_hides_rare_levels():
    assert handmade.BINARY.public().columns[3].levels == {"UA": 50, "AA": 30}
    assert handmade.BINARY.columns[3].levels == {"UA": 50, "AA": 30, "9E": 3}


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_a_device_that_is_none_is_refused(text):
    with pytest.raises(DeviceError, match="auto, cpu, cuda or cuda:N"):
        providers(text)


@pytest.mark.skipif(cuda_device_count() > 0, reason="there is a CUDA device")
def test_without_a_gpu_auto_is_the_cpu_and_demanding_cuda_is_an_error():
    assert Session(handmade.graph(), "auto").provider == "CPUExecutionProvider"
    with pytest.raises(DeviceError, match="cuda was demanded"):
        Session(handmade.graph(), "cuda")


def test_with_a_driver_and_a_build_that_has_cuda_it_comes_first(monkeypatch):
    monkeypatch.setattr(device, "cuda_device_count", lambda: 2)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert providers("auto")[0] == ("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"})
    assert providers("cuda:1")[0] == ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"})
    with pytest.raises(DeviceError, match="reports 2 CUDA devices"):
        providers("cuda:2")


def test_a_silent_fall_back_to_the_cpu_is_noticed(caplog):
    wanted = [("CUDAExecutionProvider", {"device_id": "0"}), "CPUExecutionProvider"]
    check_providers("auto", wanted, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert not caplog.records
    check_providers("auto", wanted, ["CPUExecutionProvider"])
    assert "could not start its CUDA provider" in caplog.text
    with pytest.raises(DeviceError, match="could not start its CUDA provider"):
        check_providers("cuda", wanted, ["CPUExecutionProvider"])
