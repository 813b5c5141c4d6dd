"""``/invocations`` of a SageMaker container, which takes what MLflow sends as well: the two name the same route.

Sources: Amazon SageMaker, "Custom inference code with hosting services" and "Common data formats for inference". CSV is
without names in SageMaker's own formats, with names in MLflow's; ``text/csv; header=present`` or ``header=absent``
(RFC 4180) says which. The answer is in the form that ``Accept`` asks for: JSON, JSON Lines, or CSV without names.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import orjson

from rowcast.models.errors import Fault, RequestError
from rowcast.models.signature import Signature
from rowcast.service.engine.model import Model
from rowcast.service.errors import bad_request
from rowcast.service.http.body import Header, negotiate_content_type
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.platforms.csv_rows import read_csv
from rowcast.service.protocols.platforms.json_reader import PIECE_BYTES, Limits, read_json
from rowcast.service.protocols.platforms.mlflow import FORM
from rowcast.service.protocols.platforms.predictions import Exchange, Write, as_predictions, predictions_in
from rowcast.service.protocols.platforms.rows import ErrorPaths, RowSink

CSV = "text/csv"
LINES = "application/jsonlines"
_LINES = frozenset({LINES, "application/x-jsonlines", "application/x-ndjson", "application/json-lines"})
_TYPES = f"application/json, {LINES} or {CSV}"
_SLACK = 1000
"""Values that a line may hold beyond those of a row, so that a small muddle is still explained."""
_PIECE_CELLS = 2**13
"""Cells of an answer that are written in one go."""


def handler(headers: Iterable[Header], served: Model) -> Exchange:
    """How a request is exchanged.

    Raises:
        RequestError: 415 for a content type that is not taken, 406 for one that is not given, 413 for a body declared
            too large.
    """
    headers = list(headers)
    write = _writer(headers, served)
    media_type, parameters = _media_type(headers)
    if media_type == "application/json":
        negotiate_content_type(headers, served.max_body)
        return Exchange(FORM.read, ErrorPaths(FORM.lists[0]), write, FORM)
    others = [header for header in headers if header[0] != b"content-type"]
    negotiate_content_type(others, served.max_body)
    if media_type not in {CSV, *_LINES}:
        raise RequestError(f"a body must be {_TYPES}, got {media_type[:40]}", status=415)
    if parameters.get("charset", "utf-8") not in {"utf-8", "utf8", "us-ascii"}:
        raise RequestError("a body must be text in UTF-8: send it without another charset", status=415)
    if media_type in _LINES:
        return Exchange(_read_lines, _LinePaths(), write)
    header = {"present": True, "absent": False}.get(parameters.get("header", ""))
    return Exchange(partial(read_csv, header=header), ErrorPaths("csv"), write)


class _LinePaths(ErrorPaths):
    """Rows by their line: ``line 3.distance``."""

    def __init__(self) -> None:
        super().__init__("line")

    def row(self, i: int) -> str:
        """A row."""
        return f"line {i + 1}"


async def _read_lines(body: bytes, sink: RowSink) -> None:
    """Give the rows of JSON Lines to a sink: an object of columns, or a list of values, on each line."""
    limits = Limits(containers=4, values=len(sink.columns) + _SLACK)
    rows: list[Any] = []
    start, number, begun = 0, 0, 0
    stop = len(body.rstrip())
    while start < stop:
        end = body.find(b"\n", start, stop)
        end = stop if end < 0 else end
        number += 1
        try:
            rows.append(await read_json(body[start:end], limits, nan_is_null=True))
        except RequestError as error:
            raise bad_request(Fault(f"line {number}", str(error))) from None
        start = end + 1
        if start - begun > PIECE_BYTES or len(rows) > sink.max_rows:
            sink.add(rows)
            rows, begun = [], start
            await asyncio.sleep(0)
    sink.add(rows)


def _media_type(headers: list[Header]) -> tuple[str, dict[str, str]]:
    """The content type of a body and its parameters; JSON where none is named."""
    named = [value for name, value in headers if name == b"content-type"]
    if not named:
        return "application/json", {}
    media_type, *parameters = named[-1].decode("latin-1").lower().split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return media_type.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _writer(headers: list[Header], served: Model) -> Write:
    """What writes the answer that ``Accept`` asks for; the first that can be given, JSON where all are welcome."""
    accepted = b",".join(value for name, value in headers if name == b"accept").decode("latin-1").lower()
    types = [part.partition(";")[0].strip() for part in accepted.split(",") if part.strip()]
    for media_type in types or ["*/*"]:
        if media_type in {"*/*", "application/*", "application/json"}:
            return as_predictions
        if media_type in _LINES:
            return _as_lines
        if media_type in {CSV, "text/*"}:
            return _as_csv(served.signature)
    raise RequestError(f"an answer is {_TYPES}, got Accept: {accepted[:100]}", status=406)


async def _as_lines(reply: Reply) -> Reply:
    rows = orjson.loads(predictions_in(reply))
    return reply._replace(body=b"\n".join(map(orjson.dumps, rows)) + b"\n", content_type=LINES.encode())


def _as_csv(signature: Signature) -> Write:
    """Writes a line for each row: label and probabilities in order, or prediction and interval."""

    def cells(row: dict[str, Any]) -> list[Any]:
        return [row["label"], *row["probabilities"].values()] if signature.classes else list(row.values())

    async def write(reply: Reply) -> Reply:
        rows = orjson.loads(predictions_in(reply))
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        step = max(1, _PIECE_CELLS // (len(signature.classes) + 1))
        for start in range(0, len(rows), step):
            lines.writerows(map(cells, rows[start : start + step]))
            await asyncio.sleep(0)
        return reply._replace(body=text.getvalue().encode(), content_type=b"text/csv; charset=utf-8")

    return write
