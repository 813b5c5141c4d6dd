"""Predictions become JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rowcast.models.session import Predictions
from rowcast.models.signature import Signature
from rowcast.service.engine.runner import NotFinite
from rowcast.service.protocols.rows.encode import Encoder
from tests.support import handmade

COLUMNS = handmade.COLUMNS


def written(encoder: Encoder, predictions: Predictions) -> bytes:
    return encoder.answer(encoder.rows(predictions))


def test_classes_are_written_with_label_and_probabilities() -> None:
    probabilities = np.array([[0.9, 0.1], [0.25, 0.75]], np.float32)
    body = written(Encoder("flights", 3, handmade.BINARY), Predictions(["on time", "late"], probabilities))
    assert body == (
        b'{"model":"flights","version":3,"predictions":['
        b'{"label":"on time","probabilities":{"on time":0.9,"late":0.1}},'
        b'{"label":"late","probabilities":{"on time":0.25,"late":0.75}}]}'
    )


def test_a_number_is_written_with_its_interval() -> None:
    values = (np.array([1.5, -2.0]), np.array([0.1, 1e-300]), np.array([3.0, 1e300]))
    body = written(Encoder("delay", 1, handmade.REGRESSION), Predictions(None, None, *values))
    assert body == (
        b'{"model":"delay","version":1,"predictions":['
        b'{"prediction":1.5,"lower":0.1,"upper":3.0},{"prediction":-2.0,"lower":1e-300,"upper":1e+300}]}'
    )


def test_a_number_without_interval_stands_alone() -> None:
    signature = Signature(task="regression", target="y", columns=COLUMNS)
    body = written(Encoder("m", 1, signature), Predictions(None, None, np.array([0.1])))
    assert json.loads(body)["predictions"] == [{"prediction": 0.1}]


def test_labels_of_any_text_come_back_as_they_are() -> None:
    classes = ('100%s "x"', "ä\n{}", "%", "")
    signature = Signature(task="multiclass", target="y", classes=classes, columns=COLUMNS)
    probabilities = np.full((4, 4), 0.25, np.float32)
    answer = json.loads(written(Encoder("m", 1, signature), Predictions(list(classes), probabilities)))
    assert [row["label"] for row in answer["predictions"]] == list(classes)
    assert answer["predictions"][0]["probabilities"] == dict.fromkeys(classes, 0.25)


def test_a_slice_of_a_batch_is_written_as_its_own_rows() -> None:
    probabilities = np.arange(8, dtype=np.float32).reshape(4, 2)
    batch = Predictions(["late", "on time", "late", "late"], probabilities)
    answer = json.loads(written(Encoder("m", 1, handmade.BINARY), batch[1:3]))
    assert [list(row["probabilities"].values()) for row in answer["predictions"]] == [[2.0, 3.0], [4.0, 5.0]]
    assert [row["label"] for row in answer["predictions"]] == ["on time", "late"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_never_written(value: float) -> None:
    with pytest.raises(NotFinite):
        written(Encoder("m", 1, handmade.BINARY), Predictions(["late"], np.array([[0.5, value]], np.float32)))
    intervals = (np.array([1.0]), np.array([value]), np.array([2.0]))
    with pytest.raises(NotFinite):
        written(Encoder("m", 1, handmade.REGRESSION), Predictions(None, None, *intervals))


@settings(database=None, deadline=None)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(2)), elements=st.floats(0, 1, width=32)))
def test_probabilities_come_back_as_the_same_float32_and_within_1e_7(probabilities: np.ndarray) -> None:
    labels = ["late"] * len(probabilities)
    answer = json.loads(written(Encoder("m", 1, handmade.BINARY), Predictions(labels, probabilities)))
    back = np.array([list(row["probabilities"].values()) for row in answer["predictions"]])
    assert (back.astype(np.float32) == probabilities).all()
    assert np.abs(back - probabilities.astype(np.float64)).max() <= 1e-7


@settings(database=None, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 9), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_predictions_come_back_exactly(values: np.ndarray) -> None:
    answer = json.loads(written(Encoder("m", 1, handmade.REGRESSION), Predictions(None, None, values, values, values)))
    assert [row["prediction"] for row in answer["predictions"]] == values.tolist()
