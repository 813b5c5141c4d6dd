"""What the service says it serves, and what a right answer to it looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import ValidationError

from rowcast.models.errors import ConfigError, ModelError, RowcastError
from rowcast.models.names import asked_of_service, is_version
from rowcast.models.printable import printable
from rowcast.models.signature import Signature

SAME = 1e-6
"""How far two answers to one row may lie apart: on a probability, and relative to a prediction above 1."""
_SHOWN = 200


class NotServed(RowcastError):
    """The service is not there, is no Rowcast service, or does not serve the model that was asked for."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as ``GET /models/{name}`` describes it."""

    name: str
    version: int
    sha256: str
    signature: Signature
    asked: str = ""
    """``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``, as it is asked; empty: by its name."""

    @classmethod
    def of(cls, description: object, asked: str = "") -> ServedModel:
        """Read the parsed answer of ``GET /models/{name}``.

        Args:
            description: the answer.
            asked: the model, as it was asked for.

        Raises:
            NotServed: a part is missing or is not what the contract says.
        """
        if not isinstance(description, Mapping):
            raise NotServed("a service describes its model as a JSON object; is this the address of a Rowcast service?")
        try:
            return cls(
                name=str(description["name"]),
                version=int(description["version"]),
                sha256=str(description["sha256"]),
                signature=Signature.model_validate(description["signature"]),
                asked=asked,
            )
        except KeyError as error:
            raise NotServed(f"a service describes its model with {error}, which this answer lacks") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = _brief(".".join(str(part) for part in ("signature", *first["loc"])))
            raise NotServed(f"this description of a model cannot be read: {where}: {first['msg']}") from None
        except (TypeError, ValueError) as error:
            raise NotServed(f"this description of a model cannot be read: {_brief(str(error))}") from None

    @property
    def predict_path(self) -> str:
        """The route that predicts with this model."""
        return f"{model_path(self.asked or self.name)}/predict"

    @property
    def infer_path(self) -> str:
        """The same of Open Inference."""
        return f"/v2{model_path(self.asked or self.name)}/infer"

    @property
    def model_field(self) -> tuple[str, str]:
        """The name and the version that a request over gRPC names; the version is empty where none was asked for."""
        name, _, version = (self.asked or self.name).partition(":")
        return name, version

    def fault(self, body: bytes, rows: int) -> str | None:
        """What is wrong with the body of a 200 answer to ``rows`` rows; None when it is in the model's shape."""
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            return "the answer is not JSON"
        if not isinstance(answer, dict) or not isinstance(answer.get("predictions"), list):
            return "the answer holds no list of predictions"
        if answer.get("model") != self.name or answer.get("version") != self.version:
            came = _brief(f"{answer.get('model')}:{answer.get('version')}")
            return f"the answer comes from {came}, while the check began with {self.name}:{self.version}"
        predictions = answer["predictions"]
        if len(predictions) != rows:
            return f"{rows} rows were sent and {len(predictions)} predictions came back"
        for prediction in predictions:
            if fault := self._prediction_fault(prediction):
                return fault
        return None

    def difference(self, first: bytes, second: bytes) -> str | None:
        """How two right answers to the same single row differ by more than :data:`SAME`; None when they agree."""
        one, other = (orjson.loads(body)["predictions"][0] for body in (first, second))
        if self.signature.task == "regression":
            one, other = ({name: p[name] for name in self.signature.outputs} for p in (one, other))
        else:
            one, other = one["probabilities"], other["probabilities"]
        for name, value in one.items():
            scale = max(1.0, abs(value)) if self.signature.task == "regression" else 1.0
            if abs(value - other[name]) > SAME * scale:
                return f"the same row was answered with {name} = {value!r} and later with {other[name]!r}"
        return None

    def _prediction_fault(self, prediction: object) -> str | None:
        if not isinstance(prediction, dict):
            return "a prediction is not a JSON object"
        if self.signature.task == "regression":
            for name in self.signature.outputs:
                if not _is_number(prediction.get(name)):
                    return f"a prediction has no finite number {name!r}"
            return None
        classes = self.signature.classes
        probabilities = prediction.get("probabilities")
        if prediction.get("label") not in classes:
            return (
                f"a prediction's label is {_brief(repr(prediction.get('label')))}, which is none of the model's classes"
            )
        if not isinstance(probabilities, dict) or probabilities.keys() != set(classes):
            return "a prediction's probabilities do not name the model's classes"
        if not all(_is_number(p) and -SAME <= p <= 1 + SAME for p in probabilities.values()):
            return "a prediction's probabilities are not all between 0 and 1"
        return None


def model_path(model: str) -> str:
    """The route that describes a model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``."""
    name, separator, version = model.partition(":")
    if separator and is_version(version):
        return f"/models/{quote(name, safe='')}/versions/{version}"
    return f"/models/{quote(model, safe='@')}"


def name_of(model: str) -> str:
    """The name in ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        return asked_of_service(model)[0]
    except ModelError as error:
        raise ConfigError(f"--model: {error}") from None


def only_name(listing: object) -> str:
    """The name of the one model that ``GET /models`` lists.

    Raises:
        NotServed: there is none, or more than one.
    """
    entries: Any = listing.get("models") if isinstance(listing, Mapping) else listing
    if not isinstance(entries, list | Mapping):
        raise NotServed("a service lists its models at /models; is this the address of a Rowcast service?")
    names = [str(entry["name"] if isinstance(entry, Mapping) and "name" in entry else entry) for entry in entries]
    if not names:
        raise NotServed("the service serves no model: train one with `rowcast train` and start it again")
    if len(names) > 1:
        raise NotServed(f"the service serves {_brief(', '.join(names))}: choose one with --model")
    return names[0]


def _brief(text: str) -> str:
    """What a service says, on a line that a person reads."""
    text = printable(text[:_SHOWN])
    return text if len(text) < _SHOWN else text + "..."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
