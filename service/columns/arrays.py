"""From the arrays of a request's columns to what the graph takes, or to everything that is wrong with their values.

What rows JSON says value by value is said here for whole arrays, with no Python per row except for texts that are dates
or not yet decoded:

- A *number*, an *integer* or a *boolean* comes in any width of float or integer, and a boolean in booleans as well. NaN
  is missing: JSON has no such literal and refuses it, but it is what the graph takes for missing and a tensor has no
  null. An infinity is refused, as in JSON, and so is a 64-bit integer beyond 2**53, which a double cannot tell from its
  neighbours, a fraction in an integer column, and anything but 0 and 1 in a boolean one.
- A *category* comes as text, str or UTF-8; where its levels are whole numbers, in numbers as well. "" is missing.
- A *timestamp* comes in integers, as epoch microseconds of the years 0001 to 9999 with the smallest int64 for missing,
  or as ISO 8601 text. A float is refused: it cannot hold today's microseconds and tell them apart for ever.

A mask says of any kind which rows are missing; what the array holds there is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.arrow import Texts as ArrowTexts
from models.signature import MISSING_STRING, MISSING_TIMESTAMP, Column
from models.texts.columns import TextReader, text_reader
from models.values import EXACT_WHOLE, FIRST_MOMENT, LAST_MOMENT, parse_timestamp
from service.columns.level_values import TypedLevels
from service.columns.tensors import FaultCollector, Tensor, kind_of
from service.columns.timestamps import usual_timestamps
from service.errors import EXPECTED, LEVELS_EXPECTED, brief

Order: TypeAlias = list[int]
"""For each column of a block the place of its tensor in a request, -1 where it is left out."""


class BlockReader:
    """Reads the columns of one block.

    Calling it gives the block, ``[columns, rows, 1]``, with each kind's own value for what is missing. Where something
    is wrong it complains, and what it gives is not used.
    """

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns


class Numbers(BlockReader):
    """Reads numbers, integers and booleans."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        kinds = [column.kind for column in columns]
        numbers, wholes = kinds.count("number"), kinds.count("integer")
        self._wholes = slice(numbers, numbers + wholes) if wholes else None
        self._booleans = slice(numbers + wholes, None) if "boolean" in kinds else None
        self._readers = {column.name: reader for column in columns if (reader := text_reader(column)) is not None}

    def __call__(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        lines: list[NDArray[Any]] = []
        for i, column in zip(order, self.columns, strict=True):
            if i < 0:
                lines.append(np.full(rows, np.nan))
                continue
            _, values, missing = tensors[i]
            if missing is not None or isinstance(values, list) or values.dtype.char not in _CAST_FREELY:
                values = self._line(i, tensors[i], column, rows, collector)
            lines.append(values if values.ndim == 1 else values.reshape(rows))
        block = np.concatenate(lines, dtype=np.float64, casting="unsafe").reshape(len(lines), rows)
        bad = self.wrong(block)
        if np.count_nonzero(bad):
            for i, column, values, wrong in zip(order, self.columns, block, bad, strict=True):
                collector.of_rows(i, wrong, partial(_wrong_number, column, values))
        return block[:, :, None]

    def wrong(self, block: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which numbers of ``[columns, rows]`` are none that their column takes."""
        bad: NDArray[np.bool_] = np.isinf(block)
        if self._wholes is not None:
            wholes = block[self._wholes]
            bad[self._wholes] |= np.floor(wholes) < wholes
        if self._booleans is not None:
            booleans = block[self._booleans]
            bad[self._booleans] = (booleans != 0) & (booleans != 1) & (booleans == booleans)
        return bad

    def _line(self, i: int, tensor: Tensor, column: Column, rows: int, collector: FaultCollector) -> NDArray[Any]:
        """A column that is not simply to be cast, with NaN for what is missing."""
        values, missing = tensor.values, tensor.missing
        kind = kind_of(values)
        if kind in _TEXT and column.name in self._readers:
            values = _read(self._readers[column.name], _texts(i, tensor, collector), i, collector)
            return np.array([np.nan if value is None else value for value in values], np.float64)
        if isinstance(values, list) or not (kind in "fiu" or (kind == "b" and column.kind == "boolean")):
            collector.of_type(i, tensor, _WANTED[column.kind])
            return np.zeros(rows)
        values = values.reshape(rows)
        if kind in "iu" and values.dtype.itemsize == 8:
            beyond = (values > EXACT_WHOLE) | (values < -EXACT_WHOLE)
            if missing is not None:
                beyond &= ~missing
            if column.reading is not None and np.count_nonzero(beyond):
                beyond &= ~np.isin(values.astype(np.float64), column.reading.missing_numbers)
            if np.count_nonzero(beyond):
                collector.of_rows(i, beyond, lambda row: f"must be at most 2**53, got {values[row]}")
                return np.zeros(rows)
        return values if missing is None else np.where(missing, np.nan, values)


def _wrong_number(column: Column, values: NDArray[np.float64], row: int) -> str:
    expected = "0 or 1" if column.kind == "boolean" else EXPECTED[column.kind]
    value = float(values[row])
    came = f"{'-' if value < 0 else ''}Infinity" if np.isinf(value) else brief(value)
    return f"must be {expected}, or NaN where it is missing, got {came}"


class Texts(BlockReader):
    """Reads categories."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._levels = {column.name: TypedLevels(column) for column in columns if column.levels_of is not None}

    def __call__(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        lines = [
            [MISSING_STRING] * rows if i < 0 else self._line(i, tensors[i], column, rows, collector)
            for i, column in zip(order, self.columns, strict=True)
        ]
        return np.array(lines, object)[:, :, None]

    def _line(self, i: int, tensor: Tensor, column: Column, rows: int, collector: FaultCollector) -> Sequence[str]:
        kind, levels = kind_of(tensor.values), self._levels.get(column.name)
        if kind in _TEXT:
            texts = [text or MISSING_STRING for text in _texts(i, tensor, collector)]
            return texts if levels is None else levels.of_texts(texts)
        if levels is not None and kind in _LEVELS_COME_IN[column.levels_of]:
            return self._typed(i, tensor, column, levels, rows, collector)
        wanted = _WANTED["category"] if column.levels_of is None else _LEVELS_WANTED[column.levels_of]
        collector.of_type(i, tensor, wanted)
        return [MISSING_STRING] * rows

    def _typed(
        self, i: int, tensor: Tensor, column: Column, levels: TypedLevels, rows: int, collector: FaultCollector
    ) -> list[str]:
        """Levels that come as numbers, booleans or moments, in the words that the graph knows them by."""
        values = np.asarray(tensor.values).reshape(rows)
        missing = np.zeros(rows, bool) if tensor.missing is None else tensor.missing
        bad = np.zeros(rows, bool)
        if values.dtype.kind == "f":
            missing = missing | np.isnan(values)
            bad = (np.isinf(values) | ((column.levels_of == "whole") & (np.floor(values) < values))) & ~missing
        elif column.levels_of in ("date", "timestamp"):
            missing = missing | (values == MISSING_TIMESTAMP)
            bad = Timestamps.wrong(values) & ~missing
        if np.count_nonzero(bad):
            assert column.levels_of is not None
            expected = f"must be {LEVELS_EXPECTED[column.levels_of]}"
            collector.of_rows(i, bad, lambda row: f"{expected}, got {brief(values[row].item())}")
            return [MISSING_STRING] * rows
        present = values[~missing].tolist()
        if column.levels_of in ("date", "timestamp"):
            found = iter(levels.of_moments(present))
        else:
            found = iter([levels.level_of(value) or MISSING_STRING for value in present])
        return [MISSING_STRING if gone else next(found) for gone in missing.tolist()]


class Timestamps(BlockReader):
    """Reads timestamps."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._readers = [text_reader(column) for column in columns]

    def __call__(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        block = np.empty((len(order), rows), np.int64)
        for line, i in enumerate(order):
            reader = self._readers[line]
            block[line] = MISSING_TIMESTAMP if i < 0 else self._line(i, tensors[i], reader, rows, collector)
        return block[:, :, None]

    def _line(
        self, i: int, tensor: Tensor, reader: TextReader | None, rows: int, collector: FaultCollector
    ) -> NDArray[Any] | int:
        kind = kind_of(tensor.values)
        if kind in _TEXT and reader is not None:
            read = _read(reader, _texts(i, tensor, collector), i, collector)
            return np.array([MISSING_TIMESTAMP if value is None else value for value in read], np.int64)
        if kind in _TEXT:
            return self._parsed(_texts(i, tensor, collector), i, collector)
        # Of dates written in digits (20241231), 32 bits hold the digits and no microseconds that anybody means.
        digits = reader is not None and reader.takes_digits and np.asarray(tensor.values).dtype.itemsize < 8
        if kind not in "iu" or digits:
            collector.of_type(i, tensor, _WANTED["timestamp"])
            return MISSING_TIMESTAMP
        values, missing = np.asarray(tensor.values).reshape(rows), tensor.missing
        bad = self.wrong(values)
        if missing is not None:
            bad &= ~missing
        if np.count_nonzero(bad):
            expected = "must be epoch microseconds of the years 0001 to 9999"
            collector.of_rows(i, bad, lambda row: f"{expected}, got {values[row]}")
            return MISSING_TIMESTAMP
        micros = values.astype(np.int64, copy=False)
        return micros if missing is None else np.where(missing, MISSING_TIMESTAMP, micros)

    @staticmethod
    def wrong(micros: NDArray[Any]) -> NDArray[np.bool_]:
        """Which whole numbers are neither a moment nor what stands for a missing one."""
        bad: NDArray[np.bool_] = (micros > LAST_MOMENT) | ((micros < FIRST_MOMENT) & (micros != MISSING_TIMESTAMP))
        return bad

    def _parsed(self, texts: list[str | None], i: int, collector: FaultCollector) -> NDArray[Any]:
        """Timestamps that come as text; each text is read once, however often it comes."""
        usual = None if None in texts else usual_timestamps(texts)  # type: ignore[arg-type]
        if usual is not None:
            return usual
        micros: dict[str | None, int] = {}
        wrong: dict[str | None, str] = {}
        for text in set(texts):
            try:
                micros[text] = MISSING_TIMESTAMP if text is None else parse_timestamp(text)
            except ValueError as error:
                wrong[text] = f"{brief(text)} {error}"
                micros[text] = MISSING_TIMESTAMP
        if wrong:
            collector.of_rows(i, np.array([text in wrong for text in texts]), lambda row: wrong[texts[row]])
        return np.fromiter(map(micros.__getitem__, texts), np.int64, len(texts))


def _read(reader: TextReader, texts: list[str | None], i: int, collector: FaultCollector) -> list[Any]:
    """The values of texts by the reading of their column, each read once; None where there is none."""
    read: dict[str | None, Any] = {None: None}
    wrong: dict[str | None, str] = {}
    for text in set(texts):
        if text is not None:
            try:
                read[text] = reader(text)
            except ValueError as error:
                read[text], wrong[text] = None, f"{error}, got {brief(text)}"
    if wrong:
        collector.of_rows(i, np.array([text in wrong for text in texts]), lambda row: wrong[texts[row]])
    return list(map(read.__getitem__, texts))


def _texts(i: int, tensor: Tensor, collector: FaultCollector) -> list[Any]:
    """The texts of a tensor, as str or None."""
    if isinstance(tensor.values, ArrowTexts) and tensor.missing is None:
        return tensor.values
    values: list[Any] = tensor.values if isinstance(tensor.values, list) else tensor.values.reshape(-1).tolist()
    if tensor.missing is not None:
        values = [None if gone else value for value, gone in zip(values, tensor.missing.tolist(), strict=True)]
    types = set(map(type, values))
    try:
        if types == {bytes}:
            return list(map(bytes.decode, values))
        if types <= {str, type(None)}:
            for value in values:
                if value is not None and not value.isascii():
                    value.encode()  # a lone surrogate is no text
            return values
    except UnicodeError:
        pass  # row by row it shows where
    texts = list(map(_text, values))
    bad = np.array([isinstance(text, _NoText) for text in texts])
    collector.of_rows(i, bad, lambda row: f"must be text in UTF-8, got {texts[row]}")
    return [None if isinstance(text, _NoText) else text for text in texts]


class _NoText(str):
    """What came where there should be text, in words."""

    __slots__ = ()


def _text(value: Any) -> str | None:
    """One value as text."""
    try:
        if isinstance(value, bytes):
            return value.decode()
        if value is None or isinstance(value, str):
            (value or "").encode()
            return value
    except UnicodeError:
        return _NoText("bytes that are not")
    return _NoText(brief(value) if isinstance(value, bool | int | float | list | dict) else "something else")


_TEXT = "OUS"
_CAST_FREELY = "efdbBhHiI"
"""NumPy's letters for types whose every value a double holds; native int64 and what else has 8 bytes is not among them
on any platform, nor are booleans."""
_LEVELS_COME_IN = {"whole": "iuf", "number": "iuf", "boolean": "b", "date": "i", "timestamp": "i", None: ""}
"""NumPy's letters for the kinds that a category takes besides texts."""
_LEVELS_WANTED = {
    "whole": "text or whole numbers",
    "number": "text or numbers",
    "boolean": "text or booleans",
    "date": "text, or integers of epoch microseconds",
    "timestamp": "text, or integers of epoch microseconds",
}
_WANTED = {
    "number": "floats or integers",
    "integer": "integers, or floats that are whole",
    "boolean": "booleans, or 0 and 1 in floats or integers",
    "category": "text",
    "timestamp": "integers of epoch microseconds, or ISO 8601 text",
}
