"""The columns of one dtype, and how each form of request is read into them.

Every form gives what the graph takes, with each kind's own value for what is missing. The forms that are read a block
at a time say nothing of what is wrong: they give None, or raise :class:`Unusual`, and the request is read again by
:meth:`Block.of_tensors` or value by value, which know all of the rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow import Texts
from rowcast.models.signature import Column
from rowcast.models.texts.columns import TextReader, text_reader
from rowcast.service.columns.arrow_buffers import BatchLayout, Place
from rowcast.service.columns.kinds.rules import json_types
from rowcast.service.columns.tensors import FaultCollector, Tensor
from rowcast.service.errors import brief

Order: TypeAlias = list[int]
"""For each column of a block the place of its tensor in a request, -1 where it is left out."""
Values: TypeAlias = tuple[Any, ...]
"""A column's values, as a JSON parser gives them."""
Lists: TypeAlias = list[list[Any]]
"""The same of several columns."""

NULL = type(None)
TEXT_ARRAYS = "OUS"
"""NumPy's letters for arrays of text."""


class Unusual(ValueError):
    """Rows that are not read a column at a time; they may still be good ones."""


class ReadsBatch(Protocol):
    """Reads some rows of a record batch: the block ``[columns, rows]``, None where it is unusual; and bytes of text."""

    def __call__(
        self, layout: BatchLayout, start: int, stop: int, max_text: int
    ) -> tuple[NDArray[Any] | None, int]: ...


class Block(ABC):
    """The columns of one dtype."""

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns
        self.readers = [text_reader(column) for column in columns]
        """Of each column, where its texts are read as training found out."""
        self._types = [json_types(column) for column in columns]

    @abstractmethod
    def of_tensors(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        """``[columns, rows, 1]``, of named arrays; where something is wrong the collector is told, and it is not used.

        A mask says which rows are missing; what the array holds there is not looked at. In numbers NaN is missing as
        well: JSON has no such literal, but it is what the graph takes for missing.
        """

    @abstractmethod
    def of_rows(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        """How many texts came in many rows of JSON, and ``[columns, rows]``.

        Raises:
            Unusual: they break a rule, or may.
        """

    @abstractmethod
    def of_lists(self, lines: Lists, *, iso: bool) -> NDArray[Any] | None:
        """``[columns, rows]``, of JSON lists of the graph's own datatypes; ``iso``: timestamps come as texts."""

    @abstractmethod
    def of_bytes(self, entries: list[bytes], rows: int) -> NDArray[Any] | None:
        """``[columns, rows]``, of raw bytes of the graph's own datatypes."""

    @abstractmethod
    def of_batches(self, places: list[Place]) -> ReadsBatch:
        """What reads record batches whose columns are of usual types, and are found there.

        Raises:
            LookupError: not those.
        """

    def types_of(self, lines: list[Values]) -> list[set[type]]:
        """The types of each column's values, which are those that it may have.

        Raises:
            Unusual: they are not.
        """
        found = [set(map(type, values)) for values in lines]
        if not all(map(frozenset.issuperset, self._types, found)):
            raise Unusual
        return found


def types_in(lines: Lists) -> set[type]:
    """The types of all values."""
    return set(map(type, chain.from_iterable(lines)))


def joined(entries: list[bytes], dtype: str, rows: int) -> NDArray[Any] | None:
    """``[entries, rows]`` of raw bytes; None where they are not those of so many rows."""
    if set(map(len, entries)) != {rows * np.dtype(dtype).itemsize}:
        return None
    return np.frombuffer(b"".join(entries), dtype).reshape(len(entries), rows)


def read_values(reader: TextReader, values: Values) -> Values:
    """The values with those for which there came a text, each of which is read once."""
    read = {text: reader(text) for text in {value for value in values if type(value) is str}}
    return tuple([read[value] if type(value) is str else value for value in values])


def read_texts(reader: TextReader, texts: list[str | None], i: int, collector: FaultCollector) -> list[Any]:
    """The values of a tensor's texts by the reading of their column, each read once; None where there is none."""
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


def texts_of(i: int, tensor: Tensor, collector: FaultCollector) -> list[Any]:
    """The texts of a tensor, as str or None."""
    if isinstance(tensor.values, Texts) and tensor.missing is None:
        return tensor.values
    values: list[Any] = tensor.values if isinstance(tensor.values, list) else tensor.values.reshape(-1).tolist()
    if tensor.missing is not None:
        values = [None if gone else value for value, gone in zip(values, tensor.missing.tolist(), strict=True)]
    types = set(map(type, values))
    try:
        if types == {bytes}:
            return list(map(bytes.decode, values))
        if types <= {str, NULL}:
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
