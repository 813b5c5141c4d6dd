"""What is asked of :func:`rowcast.fit` or :func:`rowcast.crossvalidate`: a table, a config, functions of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.api.functions import Functions, functions_of
from rowcast.api.given import Given, given
from rowcast.models.durations import budget_seconds
from rowcast.models.errors import ConfigError

if TYPE_CHECKING:
    from rowcast.training.config import Config
    from rowcast.training.start.start import Start

_FIELDS = {"time": "split_by_time"}
"""Arguments that are called otherwise in ``config.data``."""
_SECTIONS = ("data", "features", "objective", "augment", "optimizer", "fit", "distil")
"""Of the settings: dicts, and nothing else."""


@dataclass(frozen=True)
class Call:
    """What is asked for."""

    data: Given
    config: Config
    functions: Functions


def call_of(
    table: Any,
    y: Any,
    target: Any,
    beside: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    budget: str | float | None,
    network: Any,
    loss: Any,
    length: Mapping[str, Any] | None = None,
    start: Start | None = None,
    needs_target: bool = True,
    arguments: Sequence[str],
) -> Call:
    """Put the arguments of a call together.

    Args:
        table: whatever is read as a table.
        y: the target's values, or None.
        target: the name of the target's column, or None.
        beside: by argument: a column's name, values for each row, or None.
        settings: single values and sections of the config; None stands for what was not given.
        budget: of the fit, in seconds or as a text.
        network: see :func:`rowcast.api.functions.functions_of`.
        loss: likewise.
        length: further fields of ``config.fit``.
        start: the model that the fit starts from, whose target it has unless another is given.
        needs_target: whether there has to be one.
        arguments: of the function called, for errors.

    Raises:
        ConfigError: names the argument, what came, and its valid values.
        TableError: columns beside the table are not as long as it is.
    """
    from rowcast.training.config import make_config

    functions = functions_of(network, loss)
    chosen: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    for section, fields in functions.fields.items():
        chosen[section] = _section(chosen, section) | fields
    for section in _SECTIONS:
        _section(chosen, section)
    needed = needs_target and not (start is not None and start.target)
    found = given(table, y, target, beside, _section(chosen, "data"), needed=needed)
    limit = budget_seconds(budget)
    of_fit = {field: value for field, value in {"budget_s": limit, **(length or {})}.items() if value is not None}
    chosen["data"] = _section(chosen, "data") | {_FIELDS.get(name, name): of for name, of in found.fields.items()}
    if of_fit:
        chosen["fit"] = _section(chosen, "fit") | of_fit
    settings_there = None if start is None else start.settings
    config = make_config(overrides=chosen, arguments=list(arguments), start=settings_there)
    return Call(found, config, functions)


def _section(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section of the settings.

    Raises:
        ConfigError: it is no dict.
    """
    section = settings.get(name, {})
    if not isinstance(section, Mapping):
        raise ConfigError(f'{name}= must be a dict, such as {name}={{"field": value}}, got {section!r}')
    return dict(section)
