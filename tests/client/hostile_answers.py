"""Answers of 200 that no service of ours gives, to one row. None may reach a caller."""

from __future__ import annotations

from typing import Any

import orjson


def _said(*predictions: Any, **beside: Any) -> bytes:
    return orjson.dumps({"predictions": predictions, **beside})


HOSTILE_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<html>log in</html>",
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "no predictions": b"{}",
    "predictions are null": b'{"predictions":null}',
    "predictions are an object": b'{"predictions":{"0":{"prediction":1}}}',
    "a prediction is null": _said(None),
    "a prediction is a number": _said(1.5),
    "a prediction is empty": _said({}),
    "a prediction of another kind": _said({"score": 1.5}),
    "too few": _said(),
    "too many": _said({"prediction": 1.0}, {"prediction": 2.0}),
    "null for a number": _said({"prediction": None}),
    "text for a number": _said({"prediction": "1.5"}),
    "true for a number": _said({"prediction": True}),
    "a list for a number": _said({"prediction": [1.5]}),
    "an object for a number": _said({"prediction": {"value": 1.5}}),
    "a number beyond a double": b'{"predictions":[{"prediction":1e400}]}',
    "a whole number beyond a double": b'{"predictions":[{"prediction":1' + b"0" * 400 + b"}]}",
    "NaN": b'{"predictions":[{"prediction":NaN}]}',
    "Infinity": b'{"predictions":[{"prediction":Infinity}]}',
    "null for a bound": _said({"prediction": 1.0, "lower": None, "upper": 2.0}),
    "bounds alone": _said({"lower": 0.0, "upper": 2.0}),
    "a label that is null": _said({"label": None, "probabilities": {"a": 1.0}}),
    "a label that is a number": _said({"label": 1, "probabilities": {"1": 1.0}}),
    "a label that is true": _said({"label": True, "probabilities": {"a": 1.0}}),
    "a label that is a list": _said({"label": ["a"], "probabilities": {"a": 1.0}}),
    "a label that is no class": _said({"label": "c", "probabilities": {"a": 0.5, "b": 0.5}}),
    "a label without probabilities": _said({"label": "a"}),
    "no classes": _said({"label": "a", "probabilities": {}}),
    "probabilities that are a list": _said({"label": "a", "probabilities": [1.0]}),
    "a probability that is null": _said({"label": "a", "probabilities": {"a": None}}),
    "a probability that is text": _said({"label": "a", "probabilities": {"a": "1.0"}}),
    "a probability that is true": _said({"label": "a", "probabilities": {"a": True}}),
    "a probability above 1": _said({"label": "a", "probabilities": {"a": 2.5, "b": 0.0}}),
    "a probability below 0": _said({"label": "a", "probabilities": {"a": 1.0, "b": -1}}),
    "a model that is a number": _said({"prediction": 1.0}, model=3),
    "another model": _said({"prediction": 1.0}, model="other", version=1),
    "a version that is text": _said({"prediction": 1.0}, model="m", version="1"),
    "a version that is true": _said({"prediction": 1.0}, model="m", version=True),
    "a version of 0": _said({"prediction": 1.0}, model="m", version=0),
    "deep": b'{"predictions":' + b"[" * 100_000,
    "half": b'{"predictions":[{"prediction":1.',
    "no UTF-8": b'{"predictions":[{"label":"\xff","probabilities":{"\xff":1}}]}',
}

HOSTILE_PAIRS: dict[str, bytes] = {
    "the second lacks the column": _said({"prediction": 1.0}, {}),
    "the second has more columns": _said({"prediction": 1.0}, {"prediction": 2.0, "lower": 1.0}),
    "the second is of the other kind": _said({"prediction": 1.0}, {"label": "a", "probabilities": {"a": 1.0}}),
    "the second has other classes": _said(
        {"label": "a", "probabilities": {"a": 1.0}}, {"label": "b", "probabilities": {"b": 1.0}}
    ),
    "the second has more classes": _said(
        {"label": "a", "probabilities": {"a": 1.0}}, {"label": "a", "probabilities": {"a": 0.5, "b": 0.5}}
    ),
}
"""To two rows."""
