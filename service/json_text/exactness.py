"""What a JSON parser would lose of a body: equal keys of an object, and whole numbers that a double rounds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rowcast.models.values import EXACT_WHOLE
from rowcast.service.errors import SHOWN, Beyond


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it was sent, equal keys included."""


def whole(literal: str) -> float | Beyond:
    """What a whole-number literal is read as."""
    # int() refuses thousands of digits
    if len(literal) > SHOWN or abs(value := int(literal)) > EXACT_WHOLE:
        return Beyond(literal)
    return float(value)


def repeated(pairs: list[tuple[str, Any]]) -> list[str]:
    """The keys that an object has more than once."""
    return [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
