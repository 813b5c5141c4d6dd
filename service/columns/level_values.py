"""Values of a category whose levels are the texts of numbers, booleans or dates, as the levels that they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rowcast.models.levels import boolean_level, canonical_level, number_level, timestamp_level
from rowcast.models.signature import MISSING_STRING, Column


class TypedLevels:
    """Makes levels of the values of one column.

    Args:
        column: whose ``levels_of`` says what its levels are the texts of.
    """

    def __init__(self, column: Column) -> None:
        assert column.levels_of is not None
        self._of = column.levels_of
        self.known = frozenset(column.levels or ()) | {MISSING_STRING}
        """Texts that stay as they are."""

    def level_of(self, value: Any) -> str | None:
        """The level of a text, or of a number or boolean as JSON has them; None where it is no value of the column."""
        if isinstance(value, str):
            return canonical_level(value, self._of)
        if isinstance(value, bool):
            return boolean_level(value) if self._of == "boolean" else None
        if isinstance(value, int):
            return str(value) if self._of in ("whole", "number") else None
        if self._of == "number" or (self._of == "whole" and float(value).is_integer()):
            return number_level(value)
        return None

    def of_texts(self, texts: Sequence[str]) -> Sequence[str]:
        """The levels of texts; the same texts where all are known, which is soon seen."""
        if self.known.issuperset(texts):
            return texts
        levels = {text: canonical_level(text, self._of) for text in set(texts) - self.known}
        return [levels.get(text, text) for text in texts]

    def of_moments(self, micros: Sequence[int]) -> list[str]:
        """The levels of epoch microseconds."""
        levels = {micro: timestamp_level(micro, self._of) for micro in set(micros)}
        return list(map(levels.__getitem__, micros))
