"""Dictionaries, and the columns that pick from them: a value is decoded when a row picks it, and kept while there is
room for it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow.arrays import MAX_REPEATED_TEXT, REPEATED, Array, Texts, Values
from rowcast.models.arrow.flatbuffer import Malformed


class Kept:
    """Room for the texts that all dictionaries of a stream keep decoded.

    Args:
        max_bytes: of text objects. One part of a column may take more, for as long as it is read.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._holders: list[Dictionary] = []

    def has_room(self, n_bytes: int) -> bool:
        """Whether so many may be added."""
        return self._bytes + n_bytes <= self._max_bytes

    def add(self, holder: Dictionary, n_bytes: int) -> None:
        """Take note that a dictionary keeps so many more."""
        if not holder.kept_bytes:
            self._holders.append(holder)
        holder.kept_bytes += n_bytes
        self._bytes += n_bytes

    def clear(self) -> None:
        """Have every dictionary forget what it keeps."""
        for holder in list(self._holders):
            holder.forget()

    def remove(self, holder: Dictionary) -> None:
        """Take note that a dictionary has forgotten what it kept."""
        if holder.kept_bytes:
            self._holders.remove(holder)
        self._bytes -= holder.kept_bytes
        holder.kept_bytes = 0


class Dictionary:
    """The values that a dictionary-encoded column picks from.

    Args:
        array: the values.
        kept: room for those that have been decoded.
    """

    def __init__(self, array: Array, kept: Kept) -> None:
        self.kept_bytes = 0
        """Of the text objects that it keeps."""
        self._array = array
        self._kept = kept
        self._texts: NDArray[Any] | None = None
        self._is_kept: NDArray[np.bool_] | None = None
        self._all_utf8 = True
        self._may_be_long = array.type.family == "text" and array.text_bytes > MAX_REPEATED_TEXT

    def __len__(self) -> int:
        return len(self._array)

    def forget(self) -> None:
        """Keep no text any more; each is decoded again when it is picked."""
        self._kept.remove(self)
        self._texts = self._is_kept = None

    def sizes(self, places: NDArray[Any], missing: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Bytes of the text at each place, 0 where it is missing.

        Raises:
            Malformed: there is no such place, or the texts do not lie in their bytes.
        """
        checked = self._checked(places, missing)
        if checked is None:
            return np.zeros(len(places), np.int64)
        sizes = self._array.sizes(checked)
        if missing is not None:
            sizes[missing] = 0
        return sizes

    def pick(self, places: NDArray[Any], missing: NDArray[np.bool_] | None) -> Values:
        """The values at these places, null where they are missing.

        Raises:
            Malformed: there is no such place, or the values are not what the message promised.
        """
        checked = self._checked(places, missing)
        in_text = self._array.type.family == "text"
        if checked is None:
            return Values(Texts([None] * len(places))) if in_text else Values(np.zeros(len(places)), missing)
        if in_text:
            texts = self._picked(checked)
            if missing is not None:
                texts[missing] = None
            listed = texts.tolist()
            return Values(Texts(listed) if self._all_utf8 else listed)
        values, absent = self._array.take(checked)
        if absent is not None:
            missing = absent if missing is None else missing | absent
        return Values(values, missing)

    def _checked(self, places: NDArray[Any], missing: NDArray[np.bool_] | None) -> NDArray[np.int64] | None:
        """Places that there are; None where there is none, nor any that is not missing."""
        if not len(self):
            if missing is None or not missing.all():
                raise Malformed("a column names a place in a dictionary that is empty")
            return None
        if missing is not None:
            places = np.where(missing, 0, places)
        if len(places) and (places.min() < 0 or places.max() >= len(self)):
            raise Malformed(f"a column names a place that its dictionary, of {len(self):,} values, does not have")
        return places.astype(np.int64)

    def _picked(self, places: NDArray[np.int64]) -> NDArray[Any]:
        if self._may_be_long and int(self._array.sizes(places).sum()) > MAX_REPEATED_TEXT * len(places):
            raise Malformed(REPEATED)
        if self._texts is None or self._is_kept is None:
            self._texts, self._is_kept = np.empty(len(self), object), np.zeros(len(self), bool)
        is_kept = self._is_kept[places]
        if not is_kept.all():
            self._decode(np.unique(places[~is_kept]), places)
        texts: NDArray[Any] = self._texts[places]
        return texts

    def _decode(self, wanted: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Decode and keep the texts that are wanted; where there is no room, forget all but those at the places."""
        texts = self._array.take(wanted).values
        n_bytes = sum(map(sys.getsizeof, texts))
        if not self._kept.has_room(n_bytes):
            self._kept.clear()
            wanted = np.unique(places)
            texts = self._array.take(wanted).values
            n_bytes = sum(map(sys.getsizeof, texts))
            self._texts, self._is_kept = np.empty(len(self), object), np.zeros(len(self), bool)
        self._all_utf8 &= isinstance(texts, Texts)
        self._kept.add(self, n_bytes)
        assert self._texts is not None
        assert self._is_kept is not None
        objects = np.empty(len(texts), object)
        objects[:] = texts
        self._texts[wanted] = objects
        self._is_kept[wanted] = True


class DictionaryArray:
    """A dictionary-encoded column of one record batch; a slice gives the :class:`Values` of its rows."""

    __slots__ = ("_dictionary", "_places")

    def __init__(self, places: Array, dictionary: Dictionary) -> None:
        self._places = places
        self._dictionary = dictionary

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice) -> Values:
        """The values of some rows, without a step.

        Raises:
            Malformed: they are not what the messages promised.
        """
        places, missing = self._places[rows]
        assert isinstance(places, np.ndarray)
        return self._dictionary.pick(places, missing)

    def sizes(self, rows: slice) -> NDArray[np.int64]:
        """Bytes of the texts of some rows, ``[rows]``, each counted as often as it is picked.

        Raises:
            Malformed: they are not what the messages promised.
        """
        places, missing = self._places[rows]
        assert isinstance(places, np.ndarray)
        return self._dictionary.sizes(places, missing)
