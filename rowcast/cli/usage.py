"""Wrong usage, said as every other error is: the rule, what came, the way out; in a line, without a usage block."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import typer

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser raises when a command line cannot be read; only a class below it has a public name."""

_RULES = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of less than 4,300 digits",
    "float_parsing": "a number",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}
"""By the kind of a fault as pydantic names it, the rule that was broken."""


def sentence_of(error: Any) -> str:
    """The sentence for an error of :data:`UsageError`."""
    command = error.ctx.command_path if error.ctx is not None else "rowcast"
    shows = f"`{command} --help` shows what it takes"
    kind = type(error).__name__
    if kind == "MissingParameter":
        return f"{_name(error.param)} is needed: {shows}"
    if kind == "NoSuchOption":
        return f"there is no option {error.option_name}{_meant(error.possibilities)}: {shows}"
    if kind == "BadOptionUsage":
        return f"{error.option_name} needs a value, got none" if "requires" in error.message else _plain(error.message)
    if isinstance(error, typer.BadParameter) and error.param is not None:
        return f"{_name(error.param)} {_broken(error)}"
    commands = getattr(error.ctx.command, "commands", {}) if error.ctx is not None else {}
    if "No such command" in error.message:
        given = error.message.partition("'")[2].rpartition("'")[0].partition("'.")[0]
        return f"there is no command {given!r}{_meant(get_close_matches(given, commands))}: {shows}"
    if "unexpected extra argument" in error.message:
        extra = error.message.partition("(")[2].partition("(")[2].rstrip(")")
        return f"there are too many arguments, beginning with {extra}: {shows}"
    return f"{_plain(error.message)}: {shows}"


def _name(parameter: Any) -> str:
    """An option's longest name; what stands for an argument in the usage."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())


def _broken(error: Any) -> str:
    """The rule that a value breaks, and the value."""
    faults: list[Any] = getattr(error.__cause__, "errors", list)()
    if faults and faults[0]["type"] in _RULES:
        rule = _RULES[faults[0]["type"]].format(**faults[0].get("ctx", {}))
        return f"must be {rule}, got {faults[0]['input']!r}"
    return f"cannot be read: {_plain(error.message)}"


def _meant(near: Sequence[str] | None) -> str:
    """The nearest of some names that somebody may have meant."""
    return f" (did you mean {near[0]}?)" if near else ""


def _plain(message: str) -> str:
    """A parser's sentence, as it goes on within another."""
    return message[:1].lower() + message[1:].rstrip(".")
