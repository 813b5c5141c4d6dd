"""What a config says of the space, and the default one.

The default space is that of the literature on this kind of network, mapped to the fields here: TabM's (Gorishniy et al.
2024, table 8 and ``exp/tabm-mini-piecewiselinear/*/0-tuning.toml`` of its repository) and RealMLP's (Holzmüller et al.
2024, table C.4), both as TabArena runs them (``tabarena/models/tabm/hpo.py``, ``.../realmlp/hpo.py``). docs/tuning.md
goes through it field by field.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError
from rowcast.training.config import Config
from rowcast.training.settings import did_you_mean
from rowcast.training.tune.config import OF_LAST_FIT
from rowcast.training.tune.space import Field, Layers, Range, Space, value_in, with_values

DEFAULT_SPACE: dict[str, Any] = {
    "network.layers": {"depth": {"low": 2, "high": 4}, "width": {"low": 128, "high": 512, "step": 64}},
    "network.activation": ["relu", "mish"],
    "network.dropout": {"low": 0.0, "high": 0.5},
    "network.d_number": {"low": 8, "high": 32, "step": 4},
    "network.d_category": [4, 8, 16],
    "features.bins": {"low": 8, "high": 128, "log": True},
    "optimizer.lr": {"low": 1e-4, "high": 3e-3, "log": True},
    "optimizer.weight_decay": {"low": 1e-4, "high": 1e-1, "log": True, "or": [0.0]},
}
_RATES = {"sgd": 50.0, "rmsprop": 0.5}
"""What the range of the learning rate is multiplied by for optimizers that want others, see ``optimizer.lr``."""
_FIXED = {
    "preset": "says where to begin: give it once, with --preset",
    "seed": "is the same for all trials: give it once, with --seed",
    "device": "says where trials run: give it once, with --device",
    "data": "says which rows and columns there are, and trials have to be of the same ones",
    "distil": "says what is learned from a teacher, and trials have none",
    "track": "says who is told",
    "tune": "says what is searched",
    "fit.budget_s": "says how long a trial takes: give it once, with --set fit.budget_s=60s",
    "fit.freeze": "is for a fit that starts from a model, and trials start from none",
    **{f"fit.{name}": "is for the last fit: trials fit once" for name in OF_LAST_FIT},
}
_COMPARABLE = ("label_smoothing",)
"""Fields of the objective that change how a network learns, and not what its answers are measured by."""
_RANGE_KEYS = ("low", "high", "log", "step", "or")
_LAYERS_KEYS = ("depth", "width", "or")


def space_of(config: Config, *, without: Sequence[str] = ()) -> Space:
    """The space that a config asks for, or the default one.

    Args:
        config: ``config.tune.space`` says what is searched; the values it gives to these fields are searched too.
        without: sections and fields of the default space that mean nothing for this table.

    Raises:
        ConfigError: there is no such field, it is not one to search, or its values are not what it takes.
    """
    given = dict(_flat(config.tune.space))
    fields = [_field(config, name, said) for name, said in (given or _default(config)).items()]
    if not given:
        fields = [field for field in fields if field.name not in without and field.name.split(".")[0] not in without]
    fields = [field.with_value(value_in(config, field.name)) for field in fields]
    if not fields or all(field.within is None and len(field.choices) < 2 for field in fields):
        raise ConfigError("a space needs a field with two values at least: there is nothing to search in tune.space")
    return Space(tuple(fields))


def _default(config: Config) -> dict[str, Any]:
    """The default space, as far as it means something for this config."""
    space = dict(DEFAULT_SPACE)
    factor = _RATES.get(config.optimizer.name, 1.0)
    rate = space["optimizer.lr"]
    space["optimizer.lr"] = rate | {"low": rate["low"] * factor, "high": rate["high"] * factor}
    if config.features.numbers == "standardise":
        del space["features.bins"], space["network.d_number"]
    if config.network.levels == "one_hot":
        del space["network.d_category"]
    return space


def _flat(space: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Fields and what is said of them; TOML reads ``network.dropout = [...]`` as a table in a table."""
    for name, said in space.items():
        if isinstance(said, Mapping) and name in Config.model_fields and not above:
            yield from _flat(said, f"{name}.")
        else:
            yield f"{above}{name}", said


def _known() -> dict[str, Any]:
    """The annotation of every field that may be searched."""
    found = {}
    for section, owner in Config.model_fields.items():
        kind = owner.annotation
        if section in _FIXED or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        for name, field in kind.model_fields.items():
            if f"{section}.{name}" not in _FIXED and (section != "objective" or name in _COMPARABLE):
                found[f"{section}.{name}"] = field.annotation
    return found


def _field(config: Config, name: str, said: Any) -> Field:
    """What is said of a field.

    Raises:
        ConfigError: see :func:`space_of`.
    """
    known = _known()
    if name not in known:
        section = name.partition(".")[0]
        why = _FIXED.get(name) or _FIXED.get(section) or ""
        if section == "objective" and value_exists(name):
            why = "says what answers are measured by, and trials have to be measured by the same"
        if why:
            raise ConfigError(f"'tune.space' holds what may differ from trial to trial, got {name!r}, which {why}")
        last = name.rpartition(".")[2]
        inside = next((other for other in known if other.rpartition(".")[2] == last), "")
        meant = f" (did you mean {inside!r}?)" if inside else did_you_mean(name, known)
        raise ConfigError(f"'tune.space' holds fields of the config, got {name!r}{meant}; see docs/tuning.md")
    whole = _is_whole(known[name])
    field = Field(name)
    if isinstance(said, list | tuple):
        field = replace(field, choices=tuple(_plain(value) for value in said))
    elif isinstance(said, Mapping) and name == "network.layers":
        _check_keys(name, said, _LAYERS_KEYS)
        parts = {part: _range(f"{name}.{part}", said.get(part), whole=True) for part in ("depth", "width")}
        field = replace(field, choices=_further(name, said), within=Layers(**parts))
    elif isinstance(said, Mapping):
        _check_keys(name, said, _RANGE_KEYS)
        further = _further(name, said)
        field = replace(field, choices=further, within=_range(name, said, whole=whole))
    else:
        raise ConfigError(
            f"'tune.space': {name!r} must be a list of values, or a table of low and high, got {said!r}: to give it "
            f"one value, say it outside the space, such as --set {named(f'{name}={said}')}"
        )
    if not field.choices and field.within is None:
        raise ConfigError(f"'tune.space': {name!r} must be a list of one value at least, got []")
    for value in (*field.choices, *_ends(field.within)):
        _check_value(config, name, value)
    return field


def value_exists(name: str) -> bool:
    """Whether the config has this field."""
    section, _, field = name.partition(".")
    owner = Config.model_fields.get(section)
    return owner is not None and field in getattr(owner.annotation, "model_fields", {})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _further(name: str, said: Mapping[str, Any]) -> tuple[Any, ...]:
    further = said.get("or", [])
    if not isinstance(further, list | tuple):
        raise ConfigError(f"'tune.space': 'or' of {name!r} must be a list of values beside the range, got {further!r}")
    return tuple(_plain(value) for value in further)


def _check_keys(name: str, said: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in said:
        if key not in known:
            raise ConfigError(
                f"'tune.space': {name!r} must be a list of values, or a table of {', '.join(known)}, got "
                f"{key!r}{did_you_mean(key, known)}"
            )


def _range(name: str, said: Any, *, whole: bool) -> Range:
    """A range, as the config says it.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(said, list | tuple) and said and all(_is_number(value) for value in said):
        ordered = sorted(said)  # of depth and width: a list of whole numbers in equal steps
        steps = {b - a for a, b in pairwise(ordered)}
        if len(steps) <= 1 and 0 not in steps and (not whole or all(map(_is_whole_number, ordered))):
            return Range(ordered[0], ordered[-1], step=steps.pop() if steps else None, whole=whole)
    if not isinstance(said, Mapping) or not all(_is_number(said.get(end)) for end in ("low", "high")):
        raise ConfigError(f"'tune.space': {name!r} must have two numbers, low and high, got {said!r}")
    _check_keys(name, said, _RANGE_KEYS)
    low, high, log, step = said["low"], said["high"], said.get("log", False), said.get("step")
    if not low <= high:
        raise ConfigError(f"'tune.space': low of {name!r} must be at most its high, got {low:g} and {high:g}")
    if not isinstance(log, bool):
        raise ConfigError(f"'tune.space': log of {name!r} must be true or false, got {log!r}")
    if log and low <= 0:
        raise ConfigError(
            f"'tune.space': low of {name!r} must be more than 0 where log is true, got {low:g}: say or = [0.0] for a 0 "
            "beside the range"
        )
    if step is not None and (not _is_number(step) or step <= 0):
        raise ConfigError(f"'tune.space': step of {name!r} must be a number above 0, got {step!r}")
    if log and step is not None:
        raise ConfigError(f"'tune.space': {name!r} goes in steps or on a log scale, got both: leave one of them out")
    if whole and any(value != int(value) for value in (low, high, step or 1)):
        raise ConfigError(f"'tune.space': {name!r} takes whole numbers, got {dict(said)!r}")
    if step is not None:
        high = low + math.floor((high - low) / step + 1e-9) * step
    kind = int if whole else float
    return Range(kind(low), kind(high), log, None if step is None else kind(step), whole)


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) <= sys.float_info.max  # TOML has whole numbers that no double holds


def _is_whole_number(value: float) -> bool:
    return math.isfinite(value) and value == int(value)


def _ends(within: Range | Layers | None) -> list[Any]:
    if isinstance(within, Layers):
        return [[int(within.width.low)] * int(within.depth.low), [int(within.width.high)] * int(within.depth.high)]
    return [] if within is None else [within.low, within.high]


def _check_value(config: Config, name: str, value: Any) -> None:
    """Refuse a value that the field does not take."""
    try:
        with_values(config, {name: value})
    except ConfigError as error:
        raise ConfigError(f"'tune.space': {error}") from None


def _is_whole(annotation: Any) -> bool:
    """Whether a field takes whole numbers and no others."""
    kinds = {annotation, *get_args(annotation)}
    kinds |= {inner for kind in kinds for inner in get_args(kind) if get_origin(kind) is not dict}
    return int in kinds and float not in kinds and bool not in kinds
