"""What a service answers, held against what it was asked before a caller gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

from rowcast.client.errors import Busy, ClientError, Failed, Refused, SeveralVersions, Unsendable
from rowcast.client.tables import Answer
from rowcast.models.arrow import MEDIA_TYPE, Malformed, Stream, head_of, metadata_of
from rowcast.models.errors import Fault, RequestError

RETRIED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SHOWN_CHARACTERS = 2000
_ROUNDING = 1e-5
_PROBABILITY = "probability_"
_NUMBERS = frozenset({"prediction", "lower", "upper"})


class Asked(NamedTuple):
    """What an answer has to fit."""

    path: str
    rows: int
    model: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """By their names in lower case."""
    body: bytes = field(repr=False)
    url: str
    """What was asked, without a secret."""


class Part(NamedTuple):
    """The answer to one request of a table."""

    answer: Answer
    version: int | None
    """Of the model that answered; None where it does not say."""


class Parts:
    """The answers to the requests of one table, as they come.

    Args:
        progress: told how many more rows are done; fewer than none where they are to be done again.
    """

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress = progress
        self._parts: list[Part] = []
        self._version: int | None = None
        self._rows = 0

    def add(self, rows: int, part: Part) -> None:
        """Take the answer to the next request, of so many rows.

        Raises:
            SeveralVersions: it is of another version than those before. No further request is of any use.
        """
        if self._version is None:
            self._version = part.version
        if part.version not in (None, self._version):
            if self._progress is not None and self._rows:
                self._progress(-self._rows)
            raise SeveralVersions(
                f"one version must answer all parts of a table, got {self._version} and {part.version}: choose one "
                "with model='NAME:VERSION'"
            )
        self._parts.append(part)
        self._rows += rows
        if self._progress is not None:
            self._progress(rows)

    def joined(self) -> Answer:
        """The answers as one.

        Raises:
            Failed: they are of different columns.
        """
        return _joined([part.answer for part in self._parts])


def understood(asked: Asked, response: Response) -> Part:
    """The columns of an answer.

    Raises:
        ClientError: it is none, but an error.
    """
    if response.status != HTTPStatus.OK:
        raise error_of(asked, response)
    try:
        if response.headers.get("content-type", "").startswith(MEDIA_TYPE):
            return _of_arrow(response.body, asked)
        return _of_json(response.body, asked)
    except KeyError as error:
        reason = f"it lacks {error}"
    except (Malformed, ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = str(error)
    raise _unreadable(reason)


def described(asked: Asked, response: Response) -> dict[str, Any]:
    """What a service says of one model.

    Raises:
        ClientError: it says something else, or speaks of several.
    """
    if response.status != HTTPStatus.OK:
        raise error_of(asked, response)
    try:
        about = orjson.loads(response.body)
        several = about.get("models")
        if several is not None and len(several) != 1:
            names = _shown(", ".join([str(model["name"]) for model in several]))
            raise Unsendable(f"several models are served, {names}: say which" if names else "no model is served")
        about = dict(about if several is None else several[0])
        _check_origin(about, asked)
        if not {"name", "version"} <= about.keys() or not isinstance(about.get("signature"), dict):
            raise ValueError("it must hold name, version and signature")
        return about
    except KeyError as error:
        reason = f"it lacks {error}"
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        reason = str(error)
    raise _unreadable(reason)


def error_of(asked: Asked, response: Response) -> ClientError:
    """What an answer other than 200 says."""
    status = response.status
    message, faults = f"the service answered with status {status}{_pointing_to(asked, response)}", []
    try:
        content = orjson.loads(response.body)
        told, places = content["error"], content.get("errors", ())
        if isinstance(told, str):
            message = _shown(told)
            faults = [
                Fault(_shown(str(place["path"])), _shown(str(place["message"])))
                for place in places[: RequestError.MAX_FAULTS]
            ]
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # no words of ours: the status has to do
    if status in RETRIED:
        return Busy(message, status, faults)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(message, status, faults) if refused else Failed(message, status, faults)


def names_unknown_column(error: Refused) -> bool:
    """Whether rows were refused for a column that the model does not have."""
    return any("is not a column of the model" in fault.message for fault in error.faults)


def columns_of(about: Mapping[str, Any]) -> frozenset[str]:
    """The names of the model's columns, by its description.

    Raises:
        Failed: it does not tell.
    """
    try:
        return frozenset(str(column["name"]) for column in about["signature"]["columns"])
    except (KeyError, TypeError):
        raise _unreadable("its signature must list columns with their names") from None


def _joined(answers: list[Answer]) -> Answer:
    if any(answer.keys() != answers[0].keys() for answer in answers):
        raise Failed("all parts of a table must be answered with the same columns, got others: is this one service?")
    if len(answers) == 1:
        return answers[0]
    together: Answer = {}
    for name, first in answers[0].items():
        values = [answer[name] for answer in answers]
        together[name] = [v for part in values for v in part] if isinstance(first, list) else np.concatenate(values)
    return together


def _pointing_to(asked: Asked, response: Response) -> str:
    """Where a redirect points to, in words. Nobody follows it: what is sent there would be the key and the rows."""
    location = response.headers.get("location")
    if location is None or not 300 <= response.status < 400:
        return ""
    try:
        parts = urlsplit(urljoin(response.url, location))
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or not location.isprintable():
        return " and points to no address: ask the service's operator for its URL"
    host = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}".removesuffix(asked.path)
    return f" and points to {_shown(address)}: use that URL"


def _of_json(body: bytes, asked: Asked) -> Part:
    content = orjson.loads(body)
    if type(content) is not dict:
        raise TypeError("it must be an object")
    version = _check_origin(content, asked)
    predictions = content["predictions"]
    if type(predictions) is not list or {type(row) for row in predictions} - {dict}:
        raise TypeError("predictions must be a list of objects")
    _check_rows(len(predictions), asked)
    first = predictions[0]
    if "label" in first:
        return Part(_classes(predictions), version)
    names = [name for name in first if name in _NUMBERS]
    if "prediction" not in names:
        raise ValueError("predictions must hold label or prediction")
    if any(row.keys() & _NUMBERS != set(names) for row in predictions):
        raise ValueError(f"every prediction must hold {', '.join(names)} and no other")
    return Part({name: _numbers(name, [row[name] for row in predictions]) for name in names}, version)


def _classes(predictions: list[dict[str, Any]]) -> Answer:
    labels = [row["label"] for row in predictions]
    given = [row["probabilities"] for row in predictions]
    if {type(row) for row in given} - {dict}:
        raise TypeError("probabilities must be objects")
    classes = given[0].keys()
    if not classes or any(row.keys() != classes for row in given):
        raise ValueError("every prediction must have the same classes")
    answer: Answer = {"label": _labels(labels, classes)}
    for name in classes:
        answer[_PROBABILITY + name] = _numbers(_PROBABILITY, [row[name] for row in given]).astype(np.float32)
    return answer


def _of_arrow(body: bytes, asked: Asked) -> Part:
    stream = Stream(body)
    told = metadata_of(head_of(body))
    origin: dict[str, Any] = {"model": told["rowcast.model"]} if "rowcast.model" in told else {}
    if "rowcast.version" in told:
        origin["version"] = int(told["rowcast.version"][:20])
    version = _check_origin(origin, asked)
    names = [column.name for column in stream.schema.fields]
    parts: list[list[Any]] = [[] for _ in names]
    rows = 0
    for batch in stream.batches():
        rows += batch.rows
        if rows > asked.rows:
            break
        for part, array in zip(parts, batch.columns(), strict=True):
            values = array[:]
            if values.missing is not None and values.missing.any():
                raise ValueError("an answer must hold no null")
            part.append(values.values)
    _check_rows(rows, asked)
    classes = [name.removeprefix(_PROBABILITY) for name in names if name.startswith(_PROBABILITY)]
    wanted = {"label", *(_PROBABILITY + name for name in classes)} if classes else _NUMBERS & {*names, "prediction"}
    if len(names) != len(wanted) or set(names) != wanted:
        raise ValueError("it must hold label and a probability for each class, or prediction, lower and upper")
    answer: Answer = {}
    for name, part in zip(names, parts, strict=True):
        if name == "label":
            answer["label"] = _labels([value for values in part for value in values], classes)
        elif all(isinstance(values, np.ndarray) and values.dtype.kind == "f" for values in part):
            answer[name] = _finite(name, np.concatenate(part))
        else:
            raise TypeError(f"{_shown(name)} must hold numbers")
    return Part(answer, version)


def _check_origin(content: Mapping[str, Any], asked: Asked) -> int | None:
    """The version that answers, if it says so. It has to be the one that was asked."""
    name = content.get("model", content.get("name", ""))
    version = content.get("version", 1)
    if type(name) is not str or type(version) is not int or version < 1:
        raise TypeError("model must be text, and version a whole number above 0")
    if asked.model is not None and name not in ("", asked.model):
        raise ValueError("another model answered than was asked")
    if asked.version is not None and "version" in content and version != asked.version:
        raise ValueError(f"version {asked.version} was asked and version {version} answered")
    return version if "version" in content else None


def _check_rows(rows: int, asked: Asked) -> None:
    if rows != asked.rows:
        raise ValueError(f"it must hold {asked.rows:,} rows, got {'more' if rows > asked.rows else f'{rows:,}'}")


def _labels(labels: list[Any], classes: Iterable[str]) -> list[str]:
    if {type(label) for label in labels} - {str}:
        raise TypeError("labels must be text")
    if not set(labels) <= set(classes):
        raise ValueError("labels must be among the classes")
    return labels


def _numbers(name: str, values: list[Any]) -> NDArray[np.float64]:
    if {type(value) for value in values} - {float, int}:
        raise TypeError(f"{name} must hold numbers")
    return _finite(name, np.array(values, np.float64))


def _finite(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise ValueError(f"{_shown(name)} must hold finite numbers")
    if name.startswith(_PROBABILITY) and ((values < -_ROUNDING) | (values > 1 + _ROUNDING)).any():
        raise ValueError("probabilities must lie between 0 and 1")
    return values


def _unreadable(reason: str) -> Failed:
    return Failed(f"the answer cannot be read, is this a Rowcast service? {_shown(reason)}", HTTPStatus.OK)


def _shown(text: str) -> str:
    """Words of others as an error repeats them: not too long, and nothing that a terminal would obey."""
    text = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
