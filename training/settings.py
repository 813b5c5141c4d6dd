"""The base of every component's config: frozen, range-checked when built, and able to explain itself.

Each component declares its own config beside itself; ``training/config.py`` puts them together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from rowcast.models.errors import ConfigError
from rowcast.models.printable import brief

QUOTE = '"'
_TOLD = 20
"""Faults that are told at a time."""


class ComponentConfig(BaseModel):
    """A frozen config. An unknown field or a value outside its range is refused when the object is built."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, given: Any) -> Any:
        """``layers = 64`` is ``layers = [64]``, and ``drop = "id"`` is ``drop = ["id"]``."""
        if not isinstance(given, dict):
            return given
        lists = {name for name, field in cls.model_fields.items() if get_origin(field.annotation) is tuple}
        return {
            name: [value] if name in lists and isinstance(value, int | float | str) else value
            for name, value in given.items()
        }


_KINDS = {
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
}
"""What is asked for where pydantic has a fault of this name."""


def valid_range(field: FieldInfo) -> str:
    """The values a field takes, in words: ``"adamw", "adam" or "sgd"``, ``at least 1``."""
    if get_origin(field.annotation) is tuple and get_origin(get_args(field.annotation)[0]) is Annotated:
        return _list_rule(field)
    bounds = _bounds(field.metadata)
    parts = ([bounds] if bounds else []) + _choices(field.annotation)
    return ", ".join(parts[:-1]) + (" or " if len(parts) > 1 else "") + parts[-1] if parts else ""


def _list_rule(field: FieldInfo) -> str:
    """The rule of a list of numbers with bounds."""
    items = get_args(get_args(field.annotation)[0])
    each = _bounds([rule for item in items[1:] for rule in (item.metadata if isinstance(item, FieldInfo) else [item])])
    least, most = (
        next((getattr(rule, name) for rule in field.metadata if getattr(rule, name, None) is not None), None)
        for name in ("min_length", "max_length")
    )
    count = f"of {least} to {most} " if least is not None and most is not None else "of "
    noun = {int: "whole numbers", float: "numbers"}.get(items[0], "values")
    return f"a list {count}{noun}{', each ' + each if each else ''}"


def _bounds(rules: Sequence[Any]) -> str:
    return " and ".join(
        f"{word} {_figure(getattr(rule, attribute))}"
        for attribute, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
        for rule in rules
        if getattr(rule, attribute, None) is not None
    )


def _figure(bound: float) -> str:
    """A bound in full: 4,294,967,296 and not 4.29497e+09."""
    return f"{int(bound):,}" if 10_000 <= bound < 1e15 and bound == int(bound) else f"{bound:g}"


def _choices(annotation: Any) -> list[str]:
    """What the parts of an annotation admit: the values of a Literal, the bounds of a number in a union or a table."""
    if get_origin(annotation) is Literal:
        return [f'"{value}"' for value in get_args(annotation)]
    if get_origin(annotation) is Annotated:
        inner, *rules = get_args(annotation)
        fields = [rule.metadata if isinstance(rule, FieldInfo) else [rule] for rule in rules]
        bounds = _bounds([rule for field in fields for rule in field])
        return [bounds] if bounds else _choices(inner)
    if get_origin(annotation) is dict:
        rule = " or ".join(_choices(get_args(annotation)[1]))
        of = f"tables{rule.removeprefix('a table')}" if rule.startswith("a table") else f"numbers {rule}"
        return [f"a table of {of}"] if rule else []
    if get_origin(annotation) is tuple:
        first, *others = get_args(annotation)
        rule = " or ".join(_choices(first))
        many = "a list of" if ... in others else f"a list of {1 + len(others)}"
        return [f"{many} {'' if rule.startswith(QUOTE) else 'numbers '}{rule}"] if rule else []
    if annotation is bool:
        return ["true", "false"]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question in brackets, after a space, where one of the known words is nearly the one that came."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1) if isinstance(word, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def _words(annotation: Any) -> list[str]:
    """The words that a field takes."""
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, str)]
    return [word for part in get_args(annotation) for word in _words(part)]


def explain(error: ValidationError, root: type[BaseModel], also: Iterable[str] = ()) -> ConfigError:
    """Turn pydantic's report into one sentence a field: the rule, what came, and the valid names or range.

    Args:
        error: what pydantic says.
        root: the config's class.
        also: names that are known beside the fields of ``root``.
    """
    sentences: dict[str, str] = {}  # by field: of a union's faults the last is the nearest
    for fault in error.errors():
        owner, name, field = _locate(root, [str(part) for part in fault["loc"]])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(owner.model_fields)
            meant = _meant(name, owner, also if owner is root else ())
            sentences[name] = f"there is no field {brief(repr(name))}{meant}; fields there: {known}"
        elif fault["type"] == "missing":
            sentences[name] = f"{name!r} is needed"
        else:
            rule = valid_range(field) if field is not None else ""
            kind = _KINDS.get(fault["type"], "")
            said = f"must be {rule or kind}" if rule or kind else fault["msg"].removeprefix("Value error, ")
            colon = "" if said.startswith("must ") else ":"
            meant = did_you_mean(fault["input"], _words(field.annotation)) if field is not None else ""
            sentences[name] = f"{name!r}{colon} {said}, got {brief(repr(fault['input']))}{meant}"
    more = len(sentences) - _TOLD
    told = [*sentences.values()][:_TOLD] + ([f"and {more:,} more"] if more > 0 else [])
    return ConfigError("; ".join(told))


def _meant(name: str, owner: type[BaseModel], also: Iterable[str]) -> str:
    """What a field that is not there may have meant: one of nearly that name, or one of that name in a section."""
    inside = [
        f"{section}.{name}"
        for section, field in owner.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
        and name in field.annotation.model_fields
    ]
    if inside:
        return f" (did you mean {inside[0]!r}?)"
    return did_you_mean(name.rpartition(".")[2], [*owner.model_fields, *also])


def _locate(root: type[BaseModel], location: list[str]) -> tuple[type[BaseModel], str, FieldInfo | None]:
    """The config class, dotted name and field that an error's location points at."""
    owner, path = root, []
    for part in location:
        field = owner.model_fields.get(part)
        path.append(part)
        if field is None:
            return owner, ".".join(path), None
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return owner, ".".join(path), field
        owner = field.annotation
    return owner, ".".join(path), None
