"""What is said to the service and what it answers, without saying how the bytes travel: both clients share it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import orjson

from client.errors import Busy, ClientError, Failed, Refused, Unreachable, Unsendable
from client.tables import Answer, Given, Rows
from models.arrow import MEDIA_TYPE, Malformed, Stream
from models.errors import Fault

Protocol: TypeAlias = Literal["auto", "json", "arrow"]

JSON_ROWS = 256
"""Rows up to which ``auto`` sends JSON: as many as the service runs together. Beyond it the text costs more than the
rows do."""
MOST_JSON_ROWS = 2048
"""Rows of one request in JSON."""
MOST_ARROW_ROWS = 16_384
"""Rows of one request in Arrow: seconds of the service's time, not minutes."""
MOST_BYTES = 8 * 2**20
"""Bytes of one request, half of what the service takes unless told otherwise."""
_RETRIED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_LONGEST_WAIT_SECONDS = 30.0
_FIRST_WAIT_SECONDS = 0.1


class Sent(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    rows: int


class Speaker:
    """Makes requests of tables, and answers of what comes back.

    Args:
        model: ``NAME`` or ``NAME:VERSION``; None for the only model that is served.
        api_key: sent as a bearer token.
        protocol: ``auto``, ``json`` or ``arrow``.

    Raises:
        ValueError: the protocol is none of these.
    """

    def __init__(self, model: str | None, api_key: str | None, protocol: Protocol) -> None:
        if protocol not in ("auto", "json", "arrow"):
            raise ValueError(f"a protocol is auto, json or arrow, however: {protocol!r}")
        name, _, version = (model or "").partition(":")
        self._path = f"/models/{name}/versions/{version}/predict" if version else f"/models/{name}/predict"
        if not name:
            self._path = "/predict"
        self._headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._protocol = protocol

    def description(self) -> Sent:
        """The request for what the service says of its model."""
        return Sent(self._path.removesuffix("/predict") or "/models", dict(self._headers), b"", 0)

    def requests(self, table: Given) -> Iterator[Sent]:
        """The requests that a table takes, in the order of its rows, each made when it is asked for.

        Raises:
            Unsendable: a part of it cannot be sent.
        """
        rows = len(table)
        if rows == 0:
            raise Unsendable("a table must hold at least one row, however: none")
        in_arrow = self._protocol == "arrow"
        if self._protocol == "auto":
            in_arrow = rows > JSON_ROWS and not (isinstance(table, Rows) and not table.alike)
        step = MOST_ARROW_ROWS if in_arrow else MOST_JSON_ROWS
        for start in range(0, rows, step):
            yield from self._pieces(table.piece(start, min(start + step, rows)), in_arrow)

    def _pieces(self, table: Given, in_arrow: bool) -> Iterator[Sent]:
        rows = len(table)
        body = table.stream() if in_arrow else orjson.dumps({"rows": table.rows()})
        if len(body) > MOST_BYTES and rows > 1:
            yield from self._pieces(table.piece(0, rows // 2), in_arrow)
            yield from self._pieces(table.piece(rows // 2, rows), in_arrow)
        else:
            headers = {"content-type": MEDIA_TYPE if in_arrow else "application/json", **self._headers}
            yield Sent(self._path, headers, body, rows)


def understood(sent: Sent, status: int, content_type: str, body: bytes) -> Answer:
    """The columns of an answer.

    Raises:
        ClientError: it is none, but an error.
    """
    if status != HTTPStatus.OK:
        raise error_of(status, body)
    try:
        answer = _of_arrow(body) if content_type.startswith(MEDIA_TYPE) else _of_json(body)
    except (Malformed, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise Failed(f"the answer cannot be read, is this a Rowcast service? {error}", status) from None
    if len(next(iter(answer.values()), ())) != sent.rows:
        raise Failed(f"the answer must hold {sent.rows:,} rows, however: another number", status)
    return answer


def described(status: int, body: bytes) -> dict[str, Any]:
    """What a service says of one model.

    Raises:
        ClientError: it says something else, or speaks of several.
    """
    if status != HTTPStatus.OK:
        raise error_of(status, body)
    try:
        about = orjson.loads(body)
        several = about.get("models")
        if several is not None and len(several) != 1:
            names = ", ".join(model["name"] for model in several)
            raise Unsendable(f"several models are served, {names}: say which") from None
        return dict(about if several is None else several[0])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed(f"the answer cannot be read, is this a Rowcast service? {error}", status) from None


def error_of(status: int, body: bytes) -> ClientError:
    """What an answer other than 200 says."""
    message, faults = f"the service answered with status {status}", []
    try:
        content = orjson.loads(body)
        message = str(content["error"])
        faults = [Fault(str(fault["path"]), str(fault["message"])) for fault in content.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # no words of ours: the status has to do
    if status in _RETRIED:
        return Busy(message, status, faults)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(message, status, faults) if refused else Failed(message, status, faults)


def joined(answers: list[Answer]) -> Answer:
    """The answers to the pieces of a table, as one."""
    if len(answers) == 1:
        return answers[0]
    together: Answer = {}
    for name, first in answers[0].items():
        parts = [answer[name] for answer in answers]
        together[name] = [v for part in parts for v in part] if isinstance(first, list) else np.concatenate(parts)
    return together


class Patience:
    """How often and how long one request is tried.

    Args:
        seconds: for all tries and waits together.
        retries: tries after the first.
    """

    def __init__(self, seconds: float, retries: int) -> None:
        self._give_up = time.monotonic() + seconds
        self._seconds = seconds
        self._retries = retries
        self._wait = _FIRST_WAIT_SECONDS

    @property
    def left(self) -> float:
        """Seconds that are left.

        Raises:
            Unreachable: none.
        """
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise self.out_of_time()
        return left

    def out_of_time(self) -> Unreachable:
        """What is raised when the time is up."""
        return Unreachable(f"the service did not answer within {self._seconds:g} seconds; see timeout=")

    def wait_after(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Seconds to wait before an answer's request is tried again; None when it is not to be."""
        if status not in _RETRIED:
            return None
        return self._next(headers.get("retry-after", ""))

    def wait_unconnected(self) -> float | None:
        """Seconds to wait before trying again to connect; None when it has been tried enough."""
        return self._next("")

    def _next(self, retry_after: str) -> float | None:
        if self._retries <= 0:
            return None
        self._retries -= 1
        wait = float(retry_after) if retry_after.isdigit() and len(retry_after) < 10 else self._wait
        self._wait *= 2
        wait = min(wait, _LONGEST_WAIT_SECONDS)
        return wait if time.monotonic() + wait < self._give_up else None


def _of_json(body: bytes) -> Answer:
    predictions = orjson.loads(body)["predictions"]
    first = predictions[0]
    if "label" not in first:
        return {name: np.array([row[name] for row in predictions], np.float64) for name in first}
    answer: Answer = {"label": [row["label"] for row in predictions]}
    for name in first["probabilities"]:
        answer[f"probability_{name}"] = np.array([row["probabilities"][name] for row in predictions], np.float32)
    return answer


def _of_arrow(body: bytes) -> Answer:
    stream = Stream(body)
    parts: list[list[Any]] = [[] for _ in stream.schema.fields]
    for batch in stream.batches():
        for part, array in zip(parts, batch.columns(), strict=True):
            part.append(array[:].values)
    return {
        field.name: [v for values in part for v in values] if isinstance(part[0], list) else np.concatenate(part)
        for field, part in zip(stream.schema.fields, parts, strict=True)
    }
