"""The fields that are searched, and the values that each may take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

from rowcast.training.config import PRESETS, Config, make_config

AS_GIVEN = "as given"
"""The origin of the trial of the config as it is given."""
MOST_LISTED = 10_000
"""Configs of a space that are listed, to know when all were tried."""
_IN_RANGE = "in range"
"""The choice that stands for a value of the range."""


class Trial(Protocol):
    """What suggests values: a trial of Optuna."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def suggest(self, trial: Trial, name: str) -> float | int:
        """A number for a trial."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return (not self.whole or value == int(value)) and abs(steps - round(steps)) < 1e-9

    def values(self) -> list[Any] | None:
        """All of these; None where there is no end to them, or where they are too many to be listed."""
        if self.low == self.high:
            return [int(self.low) if self.whole else self.low]
        step = self.step or (1 if self.whole else None)
        count = math.inf if step is None else round((self.high - self.low) / step, 9) + 1
        if step is None or count > MOST_LISTED:
            return None
        found = [self.low + i * step for i in range(int(count))]
        return [int(value) for value in found] if self.whole else found

    def nearest(self, value: float) -> float | int:
        """The one of these that is nearest to a number."""
        near = min(max(value, self.low), self.high)
        if self.step is not None:
            near = min(self.low + round((near - self.low) / self.step) * self.step, self.high)
        return round(near) if self.whole else near

    def said(self) -> dict[str, Any]:
        """As the config says it."""
        kind = int if self.whole else float
        ways = {"log": self.log or None, "step": None if self.step is None else kind(self.step)}
        return {"low": kind(self.low), "high": kind(self.high)} | {k: v for k, v in ways.items() if v is not None}


@dataclass(frozen=True)
class Layers:
    """Hidden layers of one width."""

    depth: Range
    width: Range

    def suggest(self, trial: Trial, name: str) -> list[int]:
        """Layers for a trial."""
        depth = self.depth.suggest(trial, f"{name}.depth")
        return [int(self.width.suggest(trial, f"{name}.width"))] * int(depth)

    def holds(self, value: Any) -> bool:
        """Whether a list of widths is one of these."""
        return bool(value) and len(set(value)) == 1 and self.depth.holds(len(value)) and self.width.holds(value[0])

    def values(self) -> list[Any] | None:
        """All of these, or None: see :meth:`Range.values`."""
        depths, widths = self.depth.values(), self.width.values()
        if depths is None or widths is None:
            return None
        return [[width] * depth for depth in depths for width in widths]

    def nearest(self, value: Sequence[int]) -> list[int]:
        """The one of these that is nearest to a list of widths."""
        return [int(self.width.nearest(max(value)))] * int(self.depth.nearest(len(value)))

    def said(self) -> dict[str, Any]:
        """As the config says it."""
        return {"depth": self.depth.said(), "width": self.width.said()}


@dataclass(frozen=True)
class Field:
    """A field that is searched: single values, a range, or both."""

    name: str
    """``section.field``."""
    choices: tuple[Any, ...] = ()
    within: Range | Layers | None = None

    def suggest(self, trial: Trial) -> Any:
        """A value for a trial."""
        if self.choices:
            words = [*map(json.dumps, self.choices), *([_IN_RANGE] if self.within else [])]
            chosen = trial.suggest_categorical(self.name, words)
            if chosen != _IN_RANGE:
                return json.loads(chosen)
        assert self.within is not None
        return self.within.suggest(trial, f"{self.name}.value" if self.choices else self.name)

    def holds(self, value: Any) -> bool:
        """Whether a trial may take this value."""
        return value in self.choices or (self.within is not None and self.within.holds(value))

    def values(self) -> list[Any] | None:
        """All that a trial may take, or None: see :meth:`Range.values`."""
        within = [] if self.within is None else self.within.values()
        return None if within is None else [*self.choices, *within]

    def asked(self, value: Any) -> dict[str, Any]:
        """What Optuna is to suggest for a trial to take this value, which the field holds."""
        if value in self.choices:
            return {self.name: json.dumps(self.choices[self.choices.index(value)])}
        assert self.within is not None
        inner = f"{self.name}.value" if self.choices else self.name
        chosen = {self.name: _IN_RANGE} if self.choices else {}
        if isinstance(self.within, Layers):
            return chosen | {f"{inner}.depth": len(value), f"{inner}.width": value[0]}
        return chosen | {inner: value}

    def nearest(self, value: Any) -> Any:
        """A value that the field holds, and that is near to this one; None where none is."""
        if self.holds(value):
            return value
        if isinstance(self.within, Layers) and isinstance(value, Sequence) and value:
            return self.within.nearest(value)
        if isinstance(self.within, Range) and isinstance(value, int | float):
            return self.within.nearest(value)
        return None

    def with_value(self, value: Any) -> Field:
        """The field with one more value."""
        return self if self.holds(value) else replace(self, choices=(*self.choices, value))

    def said(self) -> Any:
        """As the config says it."""
        if self.within is None:
            return list(self.choices)
        return self.within.said() | ({"or": list(self.choices)} if self.choices else {})


@dataclass(frozen=True)
class Space:
    """The fields that are searched. What is given of them in the config is among their values."""

    fields: tuple[Field, ...]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """A value for each field, by its name."""
        return {field.name: field.suggest(trial) for field in self.fields}

    def configs(self) -> dict[str, dict[str, Any]] | None:
        """All that it holds, each by its :func:`key_of`; None where there is no end to them, or where they are too many
        to be listed."""
        values = [field.values() for field in self.fields]
        if any(some is None for some in values) or math.prod(len(some or ()) for some in values) > MOST_LISTED:
            return None
        names = [field.name for field in self.fields]
        found = [dict(zip(names, chosen, strict=True)) for chosen in product(*(some or () for some in values))]
        return {key_of(config): config for config in found}

    def asked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What Optuna is to suggest for a trial of these values."""
        return {name: said for field in self.fields for name, said in field.asked(values[field.name]).items()}

    def starts(self, config: Config) -> list[tuple[str, dict[str, Any]]]:
        """Where to begin: the config as it is given, then the presets as near as the space comes to them.

        Returns:
            what each is called, and its values by field; none twice.
        """
        given = {field.name: value_in(config, field.name) for field in self.fields}
        found = [(AS_GIVEN, given)]
        for name in PRESETS:
            preset = make_config(overrides={"preset": name})
            near = {f.name: f.nearest(value_in(preset, f.name)) for f in self.fields}
            values = {field: given[field] if value is None else value for field, value in near.items()}
            if all(values != earlier for _, earlier in found):
                found.append((name, values))
        return found

    def said(self) -> dict[str, Any]:
        """As the config says it."""
        return {field.name: field.said() for field in self.fields}


def key_of(values: Mapping[str, Any]) -> str:
    """The values of a trial, by field, as a text that is the same for the same ones."""
    plain = {name: float(f"{value:.12g}") if isinstance(value, float) else value for name, value in values.items()}
    return json.dumps(plain, sort_keys=True)


def value_in(config: Config, name: str) -> Any:
    """The value of a field, such as ``network.layers``, as JSON holds it."""
    section, _, field = name.partition(".")
    value = getattr(getattr(config, section), field)
    return list(value) if isinstance(value, tuple) else value


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with other values of some fields.

    Raises:
        ConfigError: they do not go together.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, field = name.partition(".")
        sections.setdefault(section, getattr(config, section).model_dump())[field] = value
    return make_config(overrides=config.model_dump() | sections)
