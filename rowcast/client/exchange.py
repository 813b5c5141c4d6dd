"""The requests that a table takes, and how long and how often each is tried. Both clients share it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

import orjson

from rowcast.client.answers import RETRIED, Asked
from rowcast.client.columns import SeveralTypes
from rowcast.client.errors import Unreachable, Unsendable, Unusable
from rowcast.client.tables import Given
from rowcast.models.arrow import MEDIA_TYPE
from rowcast.models.errors import ModelError
from rowcast.models.names import asked_of_service

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
_ANSWER_BYTES = 2**20
"""Of an answer, beside its rows."""
_JSON_ROW_BYTES = 128 * 2**10
_ARROW_ROW_BYTES = 16 * 2**10
"""Of an answer's row: generous for 1,000 classes, which is as many as a model has."""
_DESCRIPTION_BYTES = 64 * 2**20
_LONGEST_KEY = 200
_LONGEST_WAIT_SECONDS = 30.0
_FIRST_WAIT_SECONDS = 0.1


class Sent(NamedTuple):
    """One request."""

    asked: Asked
    media_type: str
    """Of the body; empty where there is none."""
    body: bytes
    most_bytes: int
    """Bytes that its answer may take."""
    key: str = ""
    """Requests of one key are answered by one version, though another is on trial."""


class Speaker:
    """Makes requests of tables.

    Args:
        model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; None for the only model that is served.
        protocol: ``auto``, ``json`` or ``arrow``.
        key: whose requests are answered by one version, though another is on trial; empty for none.

    Raises:
        Unusable: the protocol is none of these, or no model or key is called so.
    """

    def __init__(self, model: str | None, protocol: Protocol, key: str = "") -> None:
        if protocol not in ("auto", "json", "arrow"):
            raise Unusable(f"a protocol is auto, json or arrow, got {protocol!r}")
        self._model, self._version, self._path = _named(model)
        self._protocol = protocol
        if not isinstance(key, str) or len(key) > _LONGEST_KEY or not (key.isascii() and key.isprintable()):
            raise Unusable(f"a key is text of at most {_LONGEST_KEY} ASCII characters that are seen, got {key!r:.80}")
        self._key = key.strip()

    def description(self) -> Sent:
        """The request for what the service says of its model."""
        return Sent(Asked(self._path or "/models", 0, self._model, self._version), "", b"", _DESCRIPTION_BYTES)

    def requests(self, table: Given) -> Iterator[Sent]:
        """The requests that a table takes, in the order of its rows, each made when it is asked for.

        Several have one key, so that one version answers them all while another is on trial.

        Raises:
            Unsendable: a part of it cannot be sent.
        """
        rows = len(table)
        if rows == 0:
            raise Unsendable("a table must hold at least one row, got none")
        in_arrow = self._protocol == "arrow"
        if self._protocol == "auto":
            in_arrow = rows > JSON_ROWS and table.alike
        step = MOST_ARROW_ROWS if in_arrow else MOST_JSON_ROWS
        key = self._key or (secrets.token_hex(8) if rows > step else "")
        for start in range(0, rows, step):
            yield from self._pieces(table.piece(start, min(start + step, rows)), in_arrow, key)

    def _pieces(self, table: Given, in_arrow: bool, key: str) -> Iterator[Sent]:
        rows = len(table)
        try:
            body = table.stream() if in_arrow else orjson.dumps({"rows": table.rows()})
        except SeveralTypes:
            if self._protocol == "arrow":
                raise
            key = key or secrets.token_hex(8)
            for start in range(0, rows, MOST_JSON_ROWS):
                yield from self._pieces(table.piece(start, min(start + MOST_JSON_ROWS, rows)), False, key)
            return
        too_light = in_arrow and rows > max(len(body), MOST_JSON_ROWS)  # such as nulls, which take no bytes
        if (len(body) > MOST_BYTES or too_light) and rows > 1:
            key = key or secrets.token_hex(8)
            yield from self._pieces(table.piece(0, rows // 2), in_arrow, key)
            yield from self._pieces(table.piece(rows // 2, rows), in_arrow, key)
        else:
            asked = Asked(f"{self._path}/predict", rows, self._model, self._version)
            most = _ANSWER_BYTES + rows * (_ARROW_ROW_BYTES if in_arrow else _JSON_ROW_BYTES)
            yield Sent(asked, MEDIA_TYPE if in_arrow else "application/json", body, most, key)


class RetryPolicy:
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
        self._dropped = False

    @property
    def left(self) -> float:
        """Seconds that are left; 0 or less: none."""
        return self._give_up - time.monotonic()

    def out_of_time(self) -> Unreachable:
        """What is raised when the time is up."""
        return Unreachable(f"the service did not answer within {self._seconds:g} seconds; see timeout=")

    def wait_after(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Seconds to wait before an answer's request is tried again; None when it is not to be."""
        return self._next(headers.get("retry-after", "")) if status in RETRIED else None

    def wait_unconnected(self) -> float | None:
        """Seconds to wait before trying again to connect; None when it has been tried enough."""
        return self._next("")

    def may_repeat(self, *, counts: bool) -> bool:
        """Whether a request may be sent again at once, for its connection broke without an answer; once.

        Args:
            counts: as one of the retries.
        """
        if self._dropped or (counts and self._retries <= 0) or self.left <= 0:
            return False
        self._dropped = True
        self._retries -= counts
        return True

    def _next(self, retry_after: str) -> float | None:
        if self._retries <= 0:
            return None
        self._retries -= 1
        wait = (
            float(retry_after)
            if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10
            else self._wait
        )
        self._wait *= 2
        wait = min(wait, _LONGEST_WAIT_SECONDS)
        return wait if time.monotonic() + wait < self._give_up else None


def _named(model: str | None) -> tuple[str | None, int | None, str]:
    """Name and version of ``NAME`` or ``NAME:VERSION``, and what they are called in a path."""
    if model is None:
        return None, None, ""
    if not isinstance(model, str):
        raise Unusable(f"a model is NAME, NAME@ALIAS or NAME:VERSION, got {type(model).__name__}")
    try:
        return asked_of_service(model)
    except ModelError as error:
        raise Unusable(str(error)) from None
