"""A long text of JSON, parsed in steps: what it means, and what is said of it where it is none, is what it is in one.

Its length is in lists of values. So *runs* of values are taken out of lists, each from behind the list's bracket to a
comma between values or the end of the list, and cut at such commas into *parts* that are parsed one by one. What
remains is the *frame*, where a mark stands for each run. It is short, and parsed in one call.

Where the text is cut is exact, not guessed: brackets and commas count outside of strings only. Where it stops being
JSON, one parser is shown what it needs to stop at the same place: the frame before the part it does not like, and the
part.
"""

from __future__ import annotations

import json
import re
import secrets
from bisect import bisect_right
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
import pydantic_core

from rowcast.models.errors import RequestError
from rowcast.service.limits.byte_rule import MAX_TEXT_BYTES, STEP_BYTES
from rowcast.service.limits.steps import Steps

LONG_TEXT = 2**20
"""Bytes from which a text is parsed in steps; one as long takes up to 12 ms, if it is full of escapes."""
PART_BYTES = 2**17
"""Bytes that are looked at, or parsed, in one step. Of values of two bytes each it takes 20 ms to look at all."""
_LONG_LIST = 64
"""Bytes of a list from which it is taken out of the frame."""
_LIST_BYTES = 256
"""What a list costs besides its values, in the time that as many bytes take."""
_BEYOND = 16
"""Bytes that a parser is shown behind a part, so that it does not take the part's end for that of the text."""

_STRING = rb'"(?:[^"\\]++|(?:\\.)++)*+"'
_OUTSIDE = re.compile(rb'(?:[^"\[]++|%b)*+' % _STRING, re.DOTALL)
"""What is before a list."""
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_GAP = re.compile(rb"[ \t\r\n]*+")
_JITER_PLACE = re.compile(r"(.*) at line (\d+) column (\d+)", re.DOTALL)
_OPEN = ord("[")
_WRONG = object()
_NO_UTF8 = b"\xff"
_CONTAINERS = (dict, list)


class Kind(NamedTuple):
    """Of texts that are parsed alike."""

    values: re.Pattern[bytes]
    """Values of a list that may be cut at its commas: simple ones, and some that are none."""
    value: re.Pattern[bytes]
    """What is left of such a value, or all of it."""
    value_bytes: int
    """Where a value is not as long as that, it is looked at in one step."""
    parse: Callable[[bytes], Any]
    wrong: Callable[[bytes], tuple[str, int]]
    """What the parser says of a text that is no JSON, and of which of its bytes."""
    is_checked_first: bool
    """Whether the parser looks first whether all of the text is UTF-8; then it tells a place in characters, else in
    bytes."""

    @classmethod
    def of(cls, inner: bytes, value_bytes: int, parse: Callable[[bytes], Any], wrong: Any, *, checks: bool) -> Kind:
        """Of the pattern of values that are not simple."""
        values = re.compile(rb'(?:[^"\[\]{}]++|%b|%b)*+' % (_STRING, inner), re.DOTALL)
        value = re.compile(rb'[^",\[\]{}]*+(?:(?:%b|%b)[^",\[\]{}]*+)?+' % (_STRING, inner), re.DOTALL)
        return cls(values, value, value_bytes, parse, wrong, checks)


def _orjson_says(text: bytes) -> tuple[str, int]:
    try:
        orjson.loads(text)
    except json.JSONDecodeError as error:
        return error.msg, len(text.decode(errors="replace")[: error.pos].encode())
    raise AssertionError("a text that is no JSON was parsed")


def _jiter_says(text: bytes) -> tuple[str, int]:
    try:
        pydantic_core.from_json(text)
    except ValueError as error:
        place = _JITER_PLACE.fullmatch(str(error))
        assert place is not None
        line_at = 0
        for _ in range(int(place[2]) - 1):
            line_at = text.index(b"\n", line_at) + 1
        return place[1], line_at + int(place[3]) - 1
    raise AssertionError("a text that is no JSON was parsed")


def _inner(opens: bytes, closes: bytes, most: int, deeper: bytes = rb"(?!)") -> bytes:
    """The pattern of a list or object of a few strings, with a few of what is deeper in it, and what is between."""
    return rb'[%b](?:[^"\[\]{}]++|%b|%b){0,%d}+[%b]' % (opens, _STRING, deeper, most, closes)


TENSORS = Kind.of(_inner(rb"\[", rb"\]", 64), PART_BYTES, orjson.loads, _orjson_says, checks=True)
"""In whose lists of data a value may be a list of one."""
ROWS = Kind.of(
    _inner(rb"\[{", rb"\]}", 2**15, _inner(rb"\[{", rb"\]}", 16, _inner(rb"\[{", rb"\]}", 8))),
    MAX_TEXT_BYTES,
    pydantic_core.from_json,
    _jiter_says,
    checks=False,
)
"""In whose list a value is an object, in which are no lists and objects unless it is wrong."""


class Run(NamedTuple):
    """Values of a list that have been taken out of the frame."""

    parts: list[slice]
    """Of the text, with a comma between each and the next."""
    mark_at: int
    """Where its mark is in the frame."""


class LongJson:
    """A long text of JSON.

    Args:
        text: of which no string holds more than :data:`rowcast.service.limits.byte_rule.MAX_TEXT_BYTES`.
        kind: of text.
    """

    def __init__(self, text: bytes, kind: Kind) -> None:
        self.frame = b""
        """The text without the runs; each mark in it is one string more."""
        self.runs: dict[str, Run] = {}
        """What has been taken out, by its mark."""
        self._text = text
        self._kind = kind
        self._taken_from: dict[int, tuple[Run, int]] = {}
        self._lists: list[list[Any]] = []
        self._token = secrets.token_hex(8)  # so that nobody else can write a mark
        self._pieces: list[bytes] = []
        self._frame_bytes = 0
        self._lists_bytes = 0  # each list counts for as much as it may have, so that they are not too many
        self._frame_at: list[int] = []
        self._text_at: list[int] = []

    def parse(self) -> Steps[Any]:
        """What the text holds, as the kind's parser has it.

        Raises:
            RequestError: 413, it holds too much besides long lists of values.
            ValueError: it is no JSON; says what the parser would.
        """
        yield from self._cut()
        yield
        try:
            content = self._kind.parse(self.frame)
        except ValueError:
            content = _WRONG
        values: dict[str, list[Any]] = {}
        done = 0
        for mark, run in self.runs.items():
            values[mark] = []
            for part in run.parts:
                try:
                    found = self._kind.parse(b"[%b]" % self._text[part])
                except ValueError:
                    found = _WRONG
                if found is _WRONG or not (found or self._is_all(run, part)):
                    raise ValueError((yield from self._refusal(run, part)))
                values[mark] += found
                done += part.stop - part.start + _LIST_BYTES
                if done > PART_BYTES:
                    yield
                    done = 0
        if content is _WRONG:
            raise ValueError((yield from self._refusal()))
        yield
        self._fill(content, values)
        yield
        return content

    def parts(self, values: Any) -> Iterator[bytes] | None:
        """The texts of lists that together are a list of what was parsed; None where nothing was taken out of it.

        Values may be left that are not simple: the last ``len(values) - self.count(values)``.
        """
        run, _ = self._taken_from.get(id(values), (None, 0))
        return None if run is None else (b"[%b]" % self._text[part] for part in run.parts)

    def count(self, values: Any) -> int:
        """How many of a list's values those texts hold."""
        return self._taken_from.get(id(values), (None, 0))[1]

    def _is_all(self, run: Run, part: slice) -> bool:
        """Whether it is all that a list has: beside a comma there has to be a value."""
        return part == run.parts[0] and self._text[part.stop : part.stop + 1] == b"]"

    # ─── Cutting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _cut(self) -> Steps[None]:
        text, size = self._text, len(self._text)
        at = done = 0
        while at < size:
            stop = _end(_OUTSIDE, text, at, PART_BYTES)
            if text[stop : stop + 1] == b'"':  # of a string that the step cuts in two, or that does not end
                stop = yield from self._string_end(stop)
            self._keep(at, stop)
            done += stop - at
            at = stop
            if text[at : at + 1] == b"[":
                self._keep(at, at + 1)
                self._lists_bytes += _LONG_LIST
                run = yield from self._run(at + 1)
                end = run[-1].stop if run else at + 1
                if run and end - at > _LONG_LIST:
                    self._take(run)
                else:
                    self._keep(at + 1, end)
                done += _LIST_BYTES
                at = end
            if done > PART_BYTES:
                yield
                done = 0
        self.frame = b"".join(self._pieces)

    def _run(self, start: int) -> Steps[list[slice]]:
        """The values of a list from its first on, as far as they are simple and it can be cut behind them."""
        text, size = self._text, len(self._text)
        parts: list[slice] = []
        while True:
            stop = _end(self._kind.values, text, start, PART_BYTES)
            if text[stop : stop + 1] == b"]" and stop < start + PART_BYTES:
                if parts or stop > start:
                    parts.append(slice(start, stop))
                return parts
            if stop == size:
                return parts
            if self._kind.value_bytes > PART_BYTES:
                yield
            # to the end of the value that is cut in two there, or begins there
            end = _end(self._kind.value, text, stop, max(PART_BYTES, self._kind.value_bytes))
            if text[end : end + 1] in (b'"', b"["):
                end = yield from self._long_value_end(end)
            after = text[end : end + 1]
            if after == b"]":
                parts.append(slice(start, end))
                return parts
            if after != b",":
                return parts
            parts.append(slice(start, end))
            start = end + 1
            yield

    def _long_value_end(self, start: int) -> Steps[int]:
        """Where a string ends that is longer than a step, or a list of one; its start, if it is anything else."""
        text = self._text
        at, nested = start, text[start] == _OPEN
        if nested:
            at = _end(_GAP, text, start + 1, PART_BYTES)
        if text[at : at + 1] != b'"':
            return start
        at = _end(_GAP, text, (yield from self._string_end(at)), PART_BYTES)
        if not nested:
            return at
        return _end(_GAP, text, at + 1, PART_BYTES) if text[at : at + 1] == b"]" else start

    def _string_end(self, start: int) -> Steps[int]:
        """Where a string ends that begins there; the text's end, if it does not."""
        at = start + 1
        while (stop := _end(_IN_STRING, self._text, at, PART_BYTES + 1)) > at:
            at = stop
            yield
        return at + 1 if self._text[at : at + 1] == b'"' else len(self._text)

    def _keep(self, start: int, stop: int) -> None:
        """Let some of the text be of the frame."""
        self._frame_at.append(self._frame_bytes)
        self._text_at.append(start)
        self._add(self._text[start:stop])

    def _take(self, parts: list[slice]) -> None:
        """Let there be a mark in the frame, in the place of some of the text."""
        mark = f"{self._token}{len(self.runs)}"
        self.runs[mark] = Run(parts, self._frame_bytes)
        self._add(b'"%b"' % mark.encode())

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._frame_bytes += len(piece)
        if self._frame_bytes + self._lists_bytes > MAX_TEXT_BYTES:
            words = f"a body in JSON holds at most {MAX_TEXT_BYTES:,} bytes besides long flat lists, got more"
            raise RequestError(words, status=413)

    # ─── Filling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self, content: Any, values: dict[str, list[Any]]) -> None:
        """Put each run where its mark is."""
        containers = [content]
        while containers:
            container = containers.pop()
            if type(container) is dict:
                containers += [value for value in container.values() if type(value) in _CONTAINERS]
            elif type(container) is list:
                containers += [value for value in container if type(value) in _CONTAINERS]
                if container and type(container[0]) is str and container[0] in values:
                    mark = container[0]
                    self._taken_from[id(container)] = self.runs[mark], len(values[mark])
                    self._lists.append(container)  # lest another list have its id
                    container[:1] = values[mark]

    # ─── Refusing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _refusal(self, run: Run | None = None, part: slice | None = None) -> Steps[str]:
        """Why the text is no JSON: because of this part, unless something in the frame before it is wrong."""
        kind, text = self._kind, self._text
        if kind.is_checked_first:
            try:
                yield from _count_characters(text, 0, len(text))
            except UnicodeDecodeError:
                return f"{kind.wrong(_NO_UTF8)[0]}: line 1 column 1 (char 0)"
        shown = self.frame
        if run is not None and part is not None:
            shown = shown[: run.mark_at] + (b"" if part == run.parts[0] else b"0,")
            starts = len(shown)
            shown += text[part.start : part.stop + _BEYOND]
            if kind.is_checked_first:
                shown = shown.decode(errors="ignore").encode()  # the last character may be cut in two
        yield
        words, at = kind.wrong(shown)
        yield
        if run is not None and part is not None and at >= run.mark_at:
            at += part.start - starts
        else:
            i = bisect_right(self._frame_at, at) - 1
            at += self._text_at[i] - self._frame_at[i]
        if not kind.is_checked_first:  # whose parser has the end of a line at column 0 of the next
            line, line_at = 1 + text.count(b"\n", 0, at + 1), text.rfind(b"\n", 0, at + 1) + 1
            return f"{words} at line {line} column {at - line_at + 1}"
        line, line_at = 1 + text.count(b"\n", 0, at), text.rfind(b"\n", 0, at) + 1
        column = 1 + (yield from _count_characters(text, line_at, at))
        character = yield from _count_characters(text, 0, at)
        return f"{words}: line {line} column {column} (char {character})"


def _end(pattern: re.Pattern[bytes], text: bytes, at: int, size: int) -> int:
    """Where what the pattern matches ends, if it has so many bytes."""
    found = pattern.match(text, at, at + size)
    assert found is not None  # it matches nothing, too
    return found.end()


def _count_characters(text: bytes, start: int, stop: int) -> Steps[int]:
    """Characters of some of a text.

    Raises:
        UnicodeDecodeError: it is not in UTF-8.
    """
    decoder = getincrementaldecoder("utf-8")()
    count = 0
    for at in range(start, stop, STEP_BYTES):
        end = min(stop, at + STEP_BYTES)
        count += len(decoder.decode(text[at:end], end == stop))
        yield
    return count
