"""What stands for a value of each kind in JSON, in arrays and in Arrow, and the words for it: one table.

A number, an integer or a boolean comes in any width of float or integer, and a boolean in booleans as well. A category
comes as text, and where its levels are the texts of other values, as those values too. A timestamp comes in integers,
as epoch microseconds, or as ISO 8601 text: a float cannot hold today's microseconds and tell them apart for ever.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rowcast.models.arrow import Family
from rowcast.models.kinds import KINDS, Kind
from rowcast.models.levels import LevelType
from rowcast.models.signature import Column
from rowcast.models.texts.columns import text_reader

__all__ = ["LEVELS", "RULES", "LevelRule", "ValueRule", "arrow_families", "arrow_words", "json_types", "json_words"]

_NULL = type(None)
_NUMBERS: frozenset[type] = frozenset({float, int, _NULL})
_QUANTITIES: frozenset[Family] = frozenset({"float", "integer", "decimal", "null"})
_WORDS = frozenset({("float", "<f8"), ("integer", "<i8")})


class ValueRule(NamedTuple):
    """What stands for a value of a kind."""

    json_types: frozenset[type]
    """The types that a JSON parser gives for it, null's among them."""
    schema: dict[str, Any]
    """Its JSON schema."""
    description: str
    array: str
    """The types of an array, in words."""
    element: str
    """An element of an array that is right, in words."""
    arrow: str
    """The types of an Arrow column, in words."""
    families: frozenset[Family]
    """The same as families of types."""
    usual: frozenset[tuple[str, str]]
    """Those, and NumPy's names of their elements, that are read a block at a time."""
    json: str = ""
    """In JSON, in words, where the kind's own noun does not say it."""
    text_work: int = 1
    """How many times as long as a number a text of it may take to read."""


class LevelRule(NamedTuple):
    """What stands for a level of a category, besides a string, where its levels are the texts of typed values."""

    json: str
    json_types: frozenset[type]
    """Those that are read a column at a time."""
    json_type: str | None
    """Of its JSON schema."""
    array: str
    array_kinds: str
    """NumPy's letters for the kinds of arrays."""
    arrow: str
    families: frozenset[Family]


RULES: dict[Kind, ValueRule] = {
    "number": ValueRule(
        json_types=_NUMBERS,
        schema={"type": "number"},
        description="number",
        array="floats or integers",
        element="a number",
        arrow="numbers",
        families=_QUANTITIES,
        usual=_WORDS,
    ),
    "integer": ValueRule(
        json_types=_NUMBERS,
        schema={"type": "number", "multipleOf": 1},  # 3.0 is as good as 3
        description="whole number",
        array="integers, or floats that are whole",
        element="a whole number",
        arrow="whole numbers",
        families=_QUANTITIES,
        usual=_WORDS,
    ),
    "boolean": ValueRule(
        json_types=frozenset({bool, _NULL}),
        schema={"type": "boolean"},
        description="true or false",
        array="booleans, or 0 and 1 in floats or integers",
        element="0 or 1",
        arrow="booleans",
        families=frozenset({"boolean", "null"}),
        usual=frozenset({("boolean", "")}),
    ),
    "duration": ValueRule(
        json_types=_NUMBERS | {str},
        schema={"type": "number"},
        description="duration",
        array="floats or integers of seconds, or text of durations",
        element="a number of seconds",
        arrow="durations, numbers of seconds, or text of durations",
        families=_QUANTITIES | {"duration", "text"},
        usual=_WORDS | {("duration", "<i8")},
    ),
    "category": ValueRule(
        json_types=frozenset({str, _NULL}),
        schema={"type": "string"},
        description="category",
        array="text",
        element="text",
        arrow="text",
        families=frozenset({"text", "null"}),
        usual=frozenset({("text", "<i4"), ("text", "<i8")}),
    ),
    "text": ValueRule(
        json_types=frozenset({str, _NULL}),
        schema={"type": "string"},
        description="text, of which words are read",
        array="text",
        element="text",
        arrow="text",
        families=frozenset({"text", "null"}),
        usual=frozenset({("text", "<i4"), ("text", "<i8")}),
    ),
    "timestamp": ValueRule(
        json_types=frozenset({str, _NULL}),
        schema={"type": "string", "format": "date-time"},
        description="ISO 8601 date or date-time; without a zone it is UTC",
        array="integers of epoch microseconds, or ISO 8601 text",
        element="epoch microseconds of the years 0001 to 9999",
        arrow="timestamps, dates or ISO 8601 text",
        families=frozenset({"timestamp", "text", "null"}),
        usual=frozenset({("timestamp", "<i8")}),
        json="an ISO 8601 date or date-time string",
        text_work=32,
    ),
}
_MOMENT_LEVELS = LevelRule(
    "a string",
    frozenset(),
    None,
    "text, or integers of epoch microseconds",
    "i",
    "text, timestamps or dates",
    frozenset({"timestamp"}),
)
LEVELS: dict[LevelType, LevelRule] = {
    "whole": LevelRule(
        "a string or a whole number",
        frozenset({int}),
        "integer",
        "text or whole numbers",
        "iuf",
        "text or whole numbers",
        frozenset({"integer", "float"}),
    ),
    "number": LevelRule(
        "a string or a number",
        frozenset({int, float}),
        "number",
        "text or numbers",
        "iuf",
        "text or numbers",
        frozenset({"integer", "float", "decimal"}),
    ),
    "boolean": LevelRule(
        "a string, or true or false",
        frozenset({bool}),
        "boolean",
        "text or booleans",
        "b",
        "text or booleans",
        frozenset({"boolean"}),
    ),
    "date": _MOMENT_LEVELS,
    "timestamp": _MOMENT_LEVELS,
}


def json_words(column: Column) -> str:
    """What a JSON value of a column must be, null aside."""
    reader = text_reader(column)
    if reader is not None:
        return reader.expected
    if column.levels_of is not None:
        return LEVELS[column.levels_of].json
    return RULES[column.kind].json or KINDS[column.kind].noun


def json_types(column: Column) -> frozenset[type]:
    """The types that the JSON values of a column may have, where they are read a column at a time."""
    types, reader = RULES[column.kind].json_types, text_reader(column)
    if column.levels_of is not None:
        types |= LEVELS[column.levels_of].json_types
    if reader is not None:
        types |= {str, int, float} if reader.takes_digits else {str}
    return types


def arrow_families(column: Column) -> frozenset[Family]:
    """The families of Arrow types that are read into a column."""
    families, reader = RULES[column.kind].families, text_reader(column)
    if column.levels_of is not None:
        families |= LEVELS[column.levels_of].families
    if reader is not None:
        families |= {"text", "integer", "float"} if reader.takes_digits else {"text"}
    if column.reading is not None and column.reading.duration:  # a number in models of earlier versions
        families |= {"duration"}
    return families


def arrow_words(column: Column) -> str:
    """The same in words."""
    rule = RULES[column.kind]
    if column.levels_of is not None:
        return LEVELS[column.levels_of].arrow
    return rule.arrow if "text" in rule.families or text_reader(column) is None else f"{rule.arrow}, or text of them"
