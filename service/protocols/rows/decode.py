"""From the bytes of a request to rows the model can run on, or to everything that is wrong with them.

A body is checked in three steps, the cheap ones first:

1. *Weigh* it, unless it is small: count braces, brackets and commas (:mod:`rowcast.service.limits.weigh`). A body with
   more of them than its rows could need is refused unparsed, because parsing 16 MiB of ``{},{},...`` takes seconds and
   a gigabyte.
2. *Validate* it against the signature in one pass of pydantic's parser, which stops at the first bad row. Only when it
   fails is the body read again, slowly, to name every fault.
3. *Compare* what was read with what was sent where the parser is lenient: it keeps the last of two equal keys, and
   rounds a whole number beyond 2**53, where a double no longer tells neighbours apart (RFC 7493, section 2.2). One that
   is meant to be rounded can be written as a decimal: 1e20. Hardly any body needs this: one with a number that large
   does not pass the first validation, whose numbers are bounded, and equal keys show in the number of quotes.

A body of many rows that is in the standard form is read column by column instead
(:mod:`rowcast.service.columns.many_json_rows`), to the same values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydantic_core
from pydantic import TypeAdapter, ValidationError

from rowcast.models.errors import Fault, RequestError
from rowcast.models.signature import MISSING_TIMESTAMP, Column, Signature
from rowcast.models.texts.columns import digits_of, text_reader
from rowcast.models.values import parse_timestamp
from rowcast.service.columns.kinds.rules import json_types, json_words
from rowcast.service.columns.level_values import TypedLevels
from rowcast.service.columns.many_json_rows import MANY_ROWS, RowColumnReader, Unusual
from rowcast.service.columns.named import Columns
from rowcast.service.columns.rows import GraphInputs, Row, body_type, row_type
from rowcast.service.errors import (
    BEYOND,
    LEFT_OUT,
    SHOWN,
    Beyond,
    bad_request,
    brief,
    raise_faults,
    too_many_rows,
    unknown_column,
)
from rowcast.service.json_text.exactness import Pairs, repeated, whole
from rowcast.service.json_text.long_text import ROWS, LongJson
from rowcast.service.limits.byte_rule import SMALL_BODY
from rowcast.service.limits.steps import Steps, at_once, refuse_in_steps
from rowcast.service.limits.weigh import Weight, weigh, without_long_texts

_SLACK = 1000
"""Commas a body may have beyond what its rows need, so that a small muddle is still explained column by column."""
_VALUES_AT_ONCE = 1024
"""Values of a column that are looked at one by one before others have their turn: at 25 us as many milliseconds."""
_ROWS_AT_ONCE = 128
"""Rows that are checked one by one before others have their turn: a millisecond or two for twenty columns."""
_NESTED = 3
"""Objects in one another from which they are no rows in a body."""


class Decoder:
    """Reads requests for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
        many_rows: rows from which a body is read column by column.
    """

    def __init__(self, signature: Signature, max_rows: int, many_rows: int = MANY_ROWS) -> None:
        self.columns = {column.name: column for column in signature.columns}
        self.max_rows = max_rows
        self._many_rows = many_rows
        self._row_columns = RowColumnReader(signature, max_rows)
        self._inputs = GraphInputs(signature)
        row = row_type(signature)
        self._row: TypeAdapter[Row] = TypeAdapter(row)
        self._body = TypeAdapter(body_type(row)).validator
        self._usual_body = TypeAdapter(body_type(row_type(signature, exact_only=True))).validator
        self._readers = {c.name: reader for c in signature.columns if (reader := text_reader(c)) is not None}
        self._texts = [c.name for c in signature.columns if str in json_types(c)]
        self._timestamps = [c.name for c in signature.columns if c.dtype == np.int64 and c.name not in self._readers]
        self._wholes = [c.name for c in signature.columns if c.kind == "integer"]
        self._levels = [(c.name, TypedLevels(c)) for c in signature.columns if c.levels_of is not None]
        self._settles = bool(self._wholes or self._levels or self._timestamps or self._readers)

    def read(self, body: bytes) -> Columns:
        """The rows of a request's body.

        Raises:
            RequestError: 400 with the path of each fault, or 413 for too many rows.
        """
        return at_once(self.steps(body))

    def steps(self, body: bytes) -> Steps[Columns]:
        """The same in steps."""
        yield from self.weigh(body)
        columns = yield from self.weighed(body)
        return columns

    def weighed(self, body: bytes) -> Steps[Columns]:
        """The same of a body that was weighed."""
        if body.count(b"{") > self._many_rows:
            try:
                return self._row_columns([body])
            except Unusual:
                yield  # the long way knows all of the rules
        rows = yield from self._rows(body)
        return self.columns_of(rows)

    def columns_of(self, rows: list[Row]) -> Columns:
        """Rows that were read one by one, as columns."""
        return Columns(self._inputs.blocks(rows))

    def weigh(self, body: bytes) -> Steps[None]:
        """Look whether a body may be parsed, which takes far more memory than it has bytes where it holds but marks.

        Raises:
            RequestError: it holds more than its rows could need.
        """
        if len(body) <= SMALL_BODY:
            return
        most = self.max_rows + 1
        weight = yield from weigh(body, Weight(most, len(body), len(self.columns) * most + _SLACK))
        if weight.objects > most and weight.deepest < _NESTED:
            raise too_many_rows(weight.objects - 1, self.max_rows)
        # lists need commas between them: those in one another a parser refuses soon
        if weight.objects > most or weight.commas > len(self.columns) * weight.objects + _SLACK:
            raise bad_request(
                Fault("rows", "must hold flat rows of the model's columns, got far more values than those")
            )

    def together(self, bodies: list[bytes]) -> Columns:
        """The rows of several bodies, none of them large, one after the other.

        Raises:
            Unusual: they have to be read one by one; some of them may break a rule.
        """
        return self._row_columns(bodies)

    def rows(self, body: bytes) -> list[Row]:
        """The same, row by row."""
        if len(body) > SMALL_BODY:
            at_once(self.weigh(body))
        return at_once(self._rows(body))

    def _rows(self, body: bytes) -> Steps[list[Row]]:
        try:
            rows: list[Row] = self._usual_body.validate_json(body)["rows"]
        except ValidationError:
            yield
            rows = yield from self._unusual(body)
        else:
            if b"\\" in body or body.count(b'"') != 2 * (1 + self._strings(rows)):
                yield
                raise_faults(_inexact((yield from without_long_texts(body)), self.columns))
        if len(rows) > self.max_rows:
            raise too_many_rows(len(rows), self.max_rows)
        if self._settles:
            yield from refuse_in_steps(self._settle(rows))
        return rows

    def long_steps(self, body: bytes) -> Steps[list[Row]]:
        """The rows of a long, weighed body that is not in the standard form, row by row, or all that is wrong.

        Raises:
            RequestError: it breaks a rule.
        """
        long = LongJson(body, ROWS)
        try:
            content = yield from long.parse()
        except ValueError as error:
            raise _no_json(error) from None
        refusal = yield from self._wrong(content)
        if refusal is not None:
            raise refusal
        yield from refuse_in_steps(self._inexact_long(long, content))
        sent = content["rows"]
        parts, left = long.parts(sent) or (), sent[long.count(sent) :]
        del content, sent
        rows: list[Row] = []
        try:
            for part in parts:
                rows += self._body.validate_json(b'{"rows":%b}' % part)["rows"]
                yield
            rows += [self._row.validate_python(row) for row in left]
        except ValidationError:
            raise bad_request() from None
        yield from refuse_in_steps(self._settle(rows))
        return rows

    def _inexact_long(self, long: LongJson, content: Any) -> Iterator[Fault | None]:
        """As :func:`_inexact`, of a long body; None is a pause."""
        around = _pairs_of((yield from without_long_texts(long.frame)))
        yield from (Fault(name, "appears more than once") for name in repeated(around))
        ((_, left),) = around[-1:]
        first = 0
        for part in long.parts(content["rows"]) or ():
            rows = _pairs_of((yield from without_long_texts(part)))
            yield from _inexact_rows(rows, self.columns, first)
            yield None
            first += len(rows)
        yield from _inexact_rows(left[1:] if first else left, self.columns, first)

    def _unusual(self, body: bytes) -> Steps[list[Row]]:
        """The rows of a body that holds a large number, or breaks a rule."""
        try:
            rows: list[Row] = self._body.validate_json(body)["rows"]
        except ValidationError:
            pass
        else:
            if len(rows) <= self.max_rows:
                yield
                raise_faults(_inexact((yield from without_long_texts(body)), self.columns))
            return rows
        yield
        raise self._refusal(body)

    def _strings(self, rows: list[Row]) -> int:
        """Strings the rows take in JSON: their keys, and the values that are text."""
        strings = sum(map(len, rows))
        for name in self._texts:
            strings += sum(isinstance(row.get(name), str) for row in rows)
        return strings

    def _settle(self, rows: list[Row]) -> Iterator[Fault | None]:
        """Turn values into their final form in place; yield what pydantic could not check, and None for a pause."""
        for name, reader in self._readers.items():
            missing = self.columns[name].missing if self.columns[name].dtype == np.int64 else None
            for i, row in enumerate(rows):
                value = row.get(name)
                if isinstance(value, str) or (reader.takes_digits and value is not None):
                    try:
                        value = reader(value if isinstance(value, str) else digits_of(value))
                    except ValueError as error:
                        yield Fault(_path(i, name), f"{error}, got {brief(row[name])}")
                        value = None
                    row[name] = missing if value is None else value
                elif value is None and missing is not None:
                    row[name] = missing
                if i % _VALUES_AT_ONCE == _VALUES_AT_ONCE - 1:
                    yield None
        for name in self._wholes:
            for i, row in enumerate(rows):
                value = row.get(name)
                if value is not None and not value.is_integer():
                    yield self._fault(i, name, value)
        for name, levels in self._levels:
            for i, row in enumerate(rows):
                value = row.get(name)
                if value is not None and value not in levels.known:
                    level = levels.level_of(value)
                    if level is None:
                        yield self._fault(i, name, value)
                    else:
                        row[name] = level
                if i % _VALUES_AT_ONCE == _VALUES_AT_ONCE - 1:
                    yield None
        for name in self._timestamps:
            for i, row in enumerate(rows):
                value = row.get(name)
                if value is None:
                    row[name] = MISSING_TIMESTAMP
                    continue
                try:
                    row[name] = parse_timestamp(value)
                except ValueError as error:
                    yield Fault(_path(i, name), f"{brief(value)} {error}")

    def _refusal(self, body: bytes) -> RequestError:
        """Why a body that did not validate is refused, fault by fault."""
        try:
            content = pydantic_core.from_json(body)
        except ValueError as error:
            return _no_json(error)
        return at_once(self._wrong(content)) or bad_request()

    def _wrong(self, content: Any) -> Steps[RequestError | None]:
        """Why a body that holds this is refused; None if it is good but for what only its text shows."""
        if not isinstance(content, dict):
            return bad_request(Fault("", f'the body must be an object {{"rows": [...]}}, got {brief(content)}'))
        rows = content.get("rows")
        if isinstance(rows, list) and len(rows) > self.max_rows:
            return too_many_rows(len(rows), self.max_rows)
        faults = [Fault(str(key)[:SHOWN], 'is unknown: a body holds "rows" only') for key in content if key != "rows"]
        if "rows" not in content:
            faults.append(Fault("rows", "is missing"))
        elif not isinstance(rows, list) or not rows:
            faults.append(Fault("rows", f"must be a list of at least one row, got {brief(rows)}"))
        else:
            for i, row in enumerate(rows):
                faults.extend(self._row_faults(i, row))
                if len(faults) >= RequestError.MAX_FAULTS:
                    break
                if i % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1:
                    yield
        return bad_request(*faults) if faults else None

    def _row_faults(self, i: int, row: Any) -> list[Fault]:
        if not isinstance(row, dict):
            return [Fault(f"rows[{i}]", f"must be an object of columns, got {brief(row)}")]
        try:
            self._row.validate_python(row)
        except ValidationError as error:
            names = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors(include_url=False))
            return [self._fault(i, name, row[name]) if name in row else _missing(i, name) for name in names]
        return []

    def _fault(self, i: int, name: str, value: Any) -> Fault:
        column = self.columns.get(name)
        if column is None:
            return Fault(_path(i, name[:SHOWN]), unknown_column(self.columns))
        return Fault(_path(i, name), f"must be {json_words(column)} or null, got {brief(value)}")


def _no_json(error: ValueError) -> RequestError:
    return bad_request(Fault("", f"the body must be JSON in UTF-8: {error}"))


def _inexact(body: bytes, columns: dict[str, Column]) -> Iterator[Fault]:
    """Faults of a valid body that only its text shows: equal keys, and whole numbers that may have been rounded."""
    content = _pairs_of(body)
    yield from (Fault(name, "appears more than once") for name in repeated(content))
    ((_, rows),) = content[-1:]  # which were validated: before them may be anything
    yield from _inexact_rows(rows, columns)


def _pairs_of(text: bytes) -> Any:
    return json.loads(text, object_pairs_hook=Pairs, parse_int=whole)


def _inexact_rows(rows: list[Any], columns: dict[str, Column], first: int = 0) -> Iterator[Fault]:
    for i, row in enumerate(rows, first):
        yield from (Fault(_path(i, name), "appears more than once in its row") for name in repeated(row))
        for name, value in row:
            if isinstance(value, Beyond) and not _may_be_large(columns[name], value):
                message = f"{BEYOND}, got {brief(value)}"
                yield Fault(_path(i, name), message)


def _may_be_large(column: Column, value: Beyond) -> bool:
    """Whether a number that a double rounds is one of a column's: of a text, of a date in digits, or one that means
    null."""
    return column.dtype != np.float64 or (column.reading is not None and float(value) in column.reading.missing_numbers)


def _missing(i: int, name: str) -> Fault:
    return Fault(_path(i, name), LEFT_OUT)


def _path(i: int, name: str) -> str:
    return f"rows[{i}].{name}"
