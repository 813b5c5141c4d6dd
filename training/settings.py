"""The base of every component's config: frozen, range-checked when built, and able to explain itself.

Each component declares its own config beside itself; ``training/config.py`` puts them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from rowcast.models.errors import ConfigError


class ComponentConfig(BaseModel):
    """A frozen config. An unknown field or a value outside its range is refused when the object is built."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def valid_range(field: FieldInfo) -> str:
    """The values a field takes, in words: ``"adamw", "adam" or "sgd"``, ``at least 1``."""
    bounds = _bounds(field.metadata)
    parts = ([bounds] if bounds else []) + _choices(field.annotation)
    return ", ".join(parts[:-1]) + (" or " if len(parts) > 1 else "") + parts[-1] if parts else ""


def _bounds(rules: Sequence[Any]) -> str:
    return " and ".join(
        f"{word} {getattr(rule, attribute):g}"
        for rule in rules
        for attribute, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
        if getattr(rule, attribute, None) is not None
    )


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
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def explain(error: ValidationError, root: type[BaseModel]) -> ConfigError:
    """Turn pydantic's report into one sentence a field: the rule, what came, and the valid names or range."""
    sentences: dict[str, str] = {}  # by field: of a union's faults the last is the nearest
    for fault in error.errors():
        owner, name, field = _locate(root, [str(part) for part in fault["loc"]])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(owner.model_fields)
            sentences[name] = f"there is no field {name!r}; fields there: {known}"
        elif fault["type"] == "missing":
            sentences[name] = f"{name!r} is needed"
        else:
            rule = valid_range(field) if field is not None else ""
            sentence = f"{name!r} must be {rule}" if rule else f"{name!r}: {fault['msg'].removeprefix('Value error, ')}"
            sentences[name] = f"{sentence}, got {fault['input']!r}"
    return ConfigError("; ".join(sentences.values()))


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
