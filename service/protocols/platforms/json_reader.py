"""JSON of any size, read some 32 KiB at a time, so that nobody else waits while a long body is read.

A body is cut at a comma outside of its strings. Each piece is read on its own, in the brackets that were open where it
begins, and joined to what has been read. Between pieces the caller may take away what is complete, and the event loop
has its turn. How many lists, objects and values there are is counted before any of them is made.

Numbers keep the text they came in, as :class:`orjson.Fragment`: they are written again as they were sent, and so the
rules for numbers stay with whoever reads them next.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from rowcast.models.errors import Fault, RequestError
from rowcast.service.errors import bad_request

PIECE_BYTES = 2**15
MAX_VALUE_BYTES = 2**18
"""One value, which is read in one go."""
MAX_DEPTH = 6
"""Lists and objects inside of each other: a frame of rows has four."""

_BOM = b"\xef\xbb\xbf"
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_END_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BEGINS_VALUE = re.compile(rb"[ \t\r\n]*+[^ \t\r\n\]},:]")
_BLANKS = b" \t\r\n"
_UNMATCHED = re.compile(rb"([\]}]*)([\[{]*)")
_OPEN = "\0open"
"""The key, in the text that is read, of a value that was begun in an earlier piece."""
_OPENERS: dict[type[Any], str] = {list: "[", dict: f'{{"{json.dumps(_OPEN)[1:-1]}":'}
_CLOSERS = {ord("["): "]", ord("{"): "}"}

Drain = Callable[[Any, "Open"], None]
"""Given what has been read so far, and what of it is still open; may take away what is complete."""


class Limits(NamedTuple):
    """How much JSON a body may hold."""

    containers: int
    """Lists and objects."""
    values: int
    """Values, by the commas between them."""


class Open(list[Any]):
    """The lists and objects that have begun and not ended, the outermost first."""

    def complete(self, values: list[Any]) -> int:
        """How many values of a list have come whole: all but perhaps the last."""
        inner = any(outer is values for outer in self[:-1])
        return len(values) - inner


async def read_json(body: bytes, limits: Limits, drain: Drain | None = None, *, nan_is_null: bool = False) -> Any:
    """The content of a body.

    Args:
        body: JSON in UTF-8; a byte order mark before it is left out (RFC 8259, section 8.1).
        limits: how much it may hold.
        drain: called after each piece.
        nan_is_null: whether ``NaN`` is taken, for null: Python's ``json`` writes missing values so.

    Raises:
        RequestError: 400 where it is no JSON, holds more than it may, or has a key twice in an object.
    """
    reader = _Reader(limits, nan_is_null)
    start = len(_BOM) if body.startswith(_BOM) else 0
    while True:
        stop = _cut(body, start)
        last = stop == len(body)
        reader.add(body[start:stop], start, last=last)
        if drain is not None:
            drain(reader.content, reader.open)
        if last:
            return reader.content
        await asyncio.sleep(0)
        start = stop + 1


def plain_json(text: bytes) -> Any:
    """The content of JSON that :func:`read_json` has read and ``orjson`` written again."""
    keep = orjson.Fragment
    return json.loads(text, parse_int=keep, parse_float=keep, parse_constant=keep)


class _Reader:
    """What has been read of one body."""

    def __init__(self, limits: Limits, nan_is_null: bool) -> None:
        self.begun = False
        self.content: Any = None
        self.open = Open()
        self._limits = limits
        self._containers = 0
        self._values = 0
        self._constant = (
            (lambda text: None if text == "NaN" else orjson.Fragment(text)) if nan_is_null else (orjson.Fragment)
        )

    def add(self, piece: bytes, at: int, *, last: bool) -> None:
        """Read a piece that begins at byte ``at`` of the body, where no string is open."""
        begins = not self.begun or _BEGINS_VALUE.match(piece) is not None
        if not begins or not (last or piece.rstrip(_BLANKS)[-1:] not in {b"", b"[", b"{", b":"}):
            raise bad_request(Fault("", f"the body must be JSON in UTF-8: a comma without a value beside byte {at:,}"))
        closed, opened = self._weighed(piece)
        kinds = [type(container) for container in self.open]
        before = "".join(map(_OPENERS.__getitem__, kinds))
        if kinds and kinds[-1] is dict:
            before = before.removesuffix(_OPENERS[dict]) + "{"
        if closed >= len(kinds) + (not kinds) and not last:
            raise bad_request(Fault("", "the body must be one JSON value, got more after it"))
        if not last and closed >= len(kinds) + len(opened):
            raise bad_request(Fault("", "the body must be one JSON value, got more after it"))
        still_open = kinds[: len(kinds) - closed]
        after = (
            "" if last else _closers(opened) + "".join("]" if kind is list else "}" for kind in reversed(still_open))
        )
        try:
            read = json.loads(
                before + piece.decode() + after,
                parse_int=orjson.Fragment,
                parse_float=orjson.Fragment,
                parse_constant=self._constant,
                object_pairs_hook=_without_repeats,
            )
        except json.JSONDecodeError as error:
            place = max(0, at + error.pos - len(before))
            words = f"the body must be JSON in UTF-8: none: {error.msg} at character {place:,}"
            raise bad_request(Fault("", words)) from None
        except UnicodeDecodeError:
            raise bad_request(Fault("", "the body must be JSON in UTF-8: bytes that are not")) from None
        if kinds:
            self._join(0, read)
        else:
            self.content = read
        self.begun = True
        self.open = Open()
        inner = self.content
        for _ in range(0 if last else len(still_open) + len(opened)):
            self.open.append(inner)
            inner = (inner[-1] if type(inner) is list else inner[next(reversed(inner))]) if inner else None

    def _weighed(self, piece: bytes) -> tuple[int, bytes]:
        """How many brackets that were open a piece closes, and those that it leaves open.

        Raises:
            RequestError: there are more brackets or commas than there may be, or they lie too deep.
        """
        bare = _STRING.sub(b"", piece)
        brackets = bare.translate(None, _NO_BRACKETS)
        self._containers += brackets.count(b"[") + brackets.count(b"{")
        self._values += bare.count(b",") + 1
        if self._containers > self._limits.containers or self._values > self._limits.values:
            raise bad_request(
                Fault("", "the body must hold rows of the model's columns, got far more values than those")
            )
        for _ in range(MAX_DEPTH + 1):
            shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
            if len(shorter) == len(brackets):
                break
            brackets = shorter
        match = _UNMATCHED.fullmatch(brackets)
        if match is None or len(self.open) - len(match[1]) + len(match[2]) > MAX_DEPTH:
            raise bad_request(
                Fault("", "the body must be JSON of flat rows, got brackets that do not match or too many levels")
            )
        return len(match[1]), match[2]

    def _join(self, level: int, read: Any) -> None:
        """Put what a piece says into what is open."""
        into = self.open[level]
        innermost = level == len(self.open) - 1
        if not innermost:
            self._join(level + 1, read.pop(0) if type(read) is list else read.pop(_OPEN))
        if type(into) is list:
            into.extend(read)
            return
        for key, value in read.items():
            if key in into:
                raise _twice(key)
            into[key] = value


def _cut(body: bytes, start: int) -> int:
    """Where a piece ends that begins at ``start``: at a comma outside of a string, or at the end of the body."""
    limit = start + PIECE_BYTES + MAX_VALUE_BYTES
    at = body.find(b",", start + PIECE_BYTES, limit)
    while at >= 0:
        if not _in_string(body[start:at]):
            return at
        ended = _END_OF_STRING.match(body, at, limit)
        start = limit if ended is None else ended.end()
        at = body.find(b",", start, limit)
    if limit < len(body):
        raise bad_request(Fault("", f"a value must be at most {MAX_VALUE_BYTES:,} bytes long, got a longer one"))
    return len(body)


def _in_string(text: bytes) -> bool:
    """Whether a text that begins outside of a string ends inside of one."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.count(b'"') % 2 == 1


def _closers(opened: bytes) -> str:
    return "".join(_CLOSERS[bracket] for bracket in reversed(opened))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        raise _twice(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return content


def _twice(key: str) -> RequestError:
    return bad_request(Fault("", f"an object must name each of its members once, got {json.dumps(key)[:40]} twice"))
