from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rowcast.loadtest.served import NotServed, ServedModel, model_path, name_of, only_name
from rowcast.models.signature import Signature
from tests.loadtest.stub import SHA256, Stub, good
from tests.support.handmade import BINARY, REGRESSION

ROW = BINARY.example_row()


def served(signature: Signature = BINARY) -> ServedModel:
    return ServedModel.of(Stub(signature, ("flights",), lambda n, reply: None).describe("flights"))


def body(predictions: object, **other: object) -> bytes:
    return json.dumps({"model": "flights", "version": 3, "predictions": predictions, **other}).encode()


def test_a_description_gives_name_version_hash_and_signature():
    model = served()
    assert (model.name, model.version, model.sha256) == ("flights", 3, SHA256)
    assert model.signature == BINARY.public()
    assert model.predict_path == "/models/flights/predict"


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ([], "as a JSON object"),
        ({"name": "flights"}, "with 'version'"),
        ({"name": "f", "version": "new", "sha256": "", "signature": {}}, "cannot be read: invalid literal for int"),
        (
            {"name": "f", "version": 1, "sha256": "", "signature": {"task": "poetry"}},
            "read: signature.task: Inp",
        ),
    ],
)
def test_a_description_that_is_none_is_refused(description, message):
    with pytest.raises(NotServed, match=message) as refused:
        ServedModel.of(description)
    assert "\n" not in str(refused.value)


def test_what_a_service_says_is_told_on_one_line_that_can_be_read():
    fault = served().fault(body([{"label": "x\n" * 10_000, "probabilities": {}}]), 1)
    assert "\n" not in fault
    assert len(fault) < 400
    with pytest.raises(NotServed) as refused:
        only_name({"models": [f"model-{i}" for i in range(1000)]})
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("signature", [BINARY, REGRESSION], ids=["classes", "regression"])
def test_a_right_answer_has_no_fault(signature):
    assert served(signature).fault(body(good(signature, [ROW] * 3)), 3) is None


RIGHT = {"label": "late", "probabilities": {"on time": 0.25, "late": 0.75}}
WRONG_CLASSES = [
    (b"<html>", "not JSON"),
    (b"[]", "no list of predictions"),
    (body(None), "no list of predictions"),
    (body([RIGHT], model="other"), "comes from other:3"),
    (body([RIGHT], version=4), "comes from flights:4, while the check began with flights:3"),
    (body([]), "1 rows were sent and 0 predictions came back"),
    (body([RIGHT, RIGHT]), "1 rows were sent and 2 predictions came back"),
    (body(["late"]), "not a JSON object"),
    (body([{**RIGHT, "label": "early"}]), "label is 'early'"),
    (body([{"label": "late"}]), "do not name the model's classes"),
    (body([{**RIGHT, "probabilities": {"late": 1.0}}]), "do not name the model's classes"),
    (body([{**RIGHT, "probabilities": {"on time": -0.5, "late": 1.5}}]), "between 0 and 1"),
    (body([{**RIGHT, "probabilities": {"on time": None, "late": 1.0}}]), "between 0 and 1"),
    (body([{**RIGHT, "probabilities": {"on time": False, "late": True}}]), "between 0 and 1"),
]


@pytest.mark.parametrize(("answer", "fault"), WRONG_CLASSES)
def test_a_wrong_answer_of_a_classifier_is_named(answer, fault):
    assert fault in served().fault(answer, 1)


@pytest.mark.parametrize(
    "prediction", [{"prediction": 1.0, "lower": 0.0}, {"prediction": "1", "lower": 0.0, "upper": 2.0}, {}]
)
def test_a_regression_must_answer_with_every_output_as_a_number(prediction):
    assert "has no finite number" in served(REGRESSION).fault(body([prediction]), 1)


def probability(p: float) -> bytes:
    return body([{"label": "late", "probabilities": {"on time": 1 - p, "late": p}}])


def prediction(x: float) -> bytes:
    return body([{"prediction": x, "lower": x - 1, "upper": x + 1}])


def test_probabilities_may_differ_by_a_millionth_and_no_more():
    assert served().difference(probability(0.6), probability(0.6 + 9e-7)) is None
    assert "later with" in served().difference(probability(0.6), probability(0.6 + 2e-6))


def test_predictions_may_differ_by_a_millionth_of_their_size_and_no_more():
    assert served(REGRESSION).difference(prediction(1e6), prediction(1e6 + 0.9)) is None
    assert "prediction = 1000000.0 and later" in served(REGRESSION).difference(prediction(1e6), prediction(1e6 + 2))


@pytest.mark.parametrize(
    "listing",
    [{"models": [{"name": "flights"}]}, {"models": ["flights"]}, {"models": {"flights": {}}}, [{"name": "flights"}]],
)
def test_the_only_model_needs_no_name(listing):
    assert only_name(listing) == "flights"


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ({"models": []}, "rowcast train"),
        ({"models": ["a", "b"]}, "serves a, b: choose one with --model"),
        ({"message": "hello"}, "address of a Rowcast service"),
        (None, "address of a Rowcast service"),
    ],
)
def test_a_listing_without_exactly_one_model_is_refused(listing, message):
    with pytest.raises(NotServed, match=message):
        only_name(listing)


def test_a_name_is_quoted_in_a_path():
    assert model_path("../a b") == "/models/..%2Fa%20b"


@pytest.mark.parametrize(
    ("asked", "path", "field"),
    [
        ("flights", "/models/flights", ("flights", "")),
        ("flights@old", "/models/flights@old", ("flights@old", "")),
        ("flights:12", "/models/flights/versions/12", ("flights", "12")),
    ],
)
def test_a_version_and_an_alias_have_paths_of_their_own_in_every_protocol(asked, path, field):
    model = replace(served(), asked=asked)
    assert (model_path(asked), name_of(asked)) == (path, "flights")
    assert (model.predict_path, model.infer_path, model.model_field) == (f"{path}/predict", f"/v2{path}/infer", field)
