"""The whole config of a training run: presets, TOML files, ``key=value`` settings, and a TOML that explains itself."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from rowcast.models.errors import ConfigError
from rowcast.models.plain_files import tell_of_pipe
from rowcast.models.printable import brief
from rowcast.models.seeds import END_OF_SEEDS
from rowcast.training.data.config import DataConfig
from rowcast.training.distil.config import DistilConfig
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.fit.augment import AugmentConfig
from rowcast.training.fit.loop import FitConfig
from rowcast.training.fit.objective import MEANS, ObjectiveConfig
from rowcast.training.fit.optimizer import OptimizerConfig
from rowcast.training.network.network import NetworkConfig
from rowcast.training.settings import ComponentConfig, explain, valid_range
from rowcast.training.track.config import TrackConfig
from rowcast.training.tune.config import TuneConfig

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # about a minute on two cores
    "quick": {
        "network": {"members": 4},
        "features": {"oblique_angles": 4},
        "fit": {"patience": 8, "row_visits": 800_000},
    },
    "balanced": {},
    # as long as it takes; with a budget, what there is time for
    "best": {"fit": {"seeds": 4, "patience": 24, "until_spent": True, "refit": "auto"}},
    # layers and nothing else: no bins, embeddings, members, averages or calibration; a level costs a node, so those
    # beyond 254 are pooled
    "textbook": {
        "features": {"numbers": "standardise", "oblique_angles": 0, "max_levels": 254},
        "network": {"members": 1, "layers": [64, 64], "levels": "one_hot", "dropout": 0.0},
        "objective": {"plain": True},
        "optimizer": {
            "name": "adam",
            "lr": 1e-3,
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup": 0.0,
            "average": 0.0,
        },
        "fit": {"clip": "none"},
    },
}


class Config(ComponentConfig):
    """Everything a training run can be told."""

    preset: Literal["quick", "balanced", "best", "textbook"] = "balanced"
    """quick: about a minute. balanced: about five for 20,000 rows on two cores. best: as long as it takes.
    textbook: a plain network of standardised numbers and one-hot levels."""
    seed: int = Field(0, ge=0, lt=END_OF_SEEDS)
    """Of the split, the initial weights and the order of rows."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N to train on."""
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    network: NetworkConfig = NetworkConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    fit: FitConfig = FitConfig()
    distil: DistilConfig = DistilConfig()
    track: TrackConfig = TrackConfig()
    tune: TuneConfig = TuneConfig()

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, text: str) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:\d+)?", text) is None:
            raise ValueError("must be auto, cpu, cuda or cuda:N")
        return text

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Config:
        if self.data.task != "auto":
            self.objective.check_task(self.data.task)
        if self.fit.folds == "none" and (self.fit.max_members, self.fit.max_row_us) != ("none", "none"):
            raise ConfigError("'fit.max_members' and 'fit.max_row_us' are for a fit with folds: add --folds 5, say")
        if self.optimizer.schedule == "plateau" and self.optimizer.plateau_patience >= self.fit.patience:
            raise ConfigError(
                f"'optimizer.plateau_patience' must be less than 'fit.patience', after which training stops "
                f"({self.fit.patience}), got {self.optimizer.plateau_patience}"
            )
        return self


def make_config(
    *,
    file: Path | None = None,
    settings: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    start: Callable[[str | None], Mapping[str, Any]] | None = None,
) -> Config:
    """Put a config together; what comes later wins: defaults, preset, the model that the fit starts from, TOML file,
    ``key=value`` settings, overrides.

    Args:
        file: a TOML file, such as ``rowcast init`` prints.
        settings: such as ``network.members=16``; the value is TOML, a bare word, or for a list ``64,32``.
        overrides: nested fields, such as the command line's own flags.
        arguments: what the caller takes besides fields, where an unknown one may have been meant for.
        start: what a model says that the fit starts from, given the target that is asked for, if one is.

    Raises:
        ConfigError: names the field, what came, and its valid values.
    """
    chosen: dict[str, Any] = {}
    if file is not None:
        _merge(chosen, _read_toml(file))
    for setting in settings:
        _merge(chosen, _parse_setting(setting))
    _merge(chosen, overrides or {})
    preset = chosen.get("preset", Config.model_fields["preset"].default)
    _let_loss_choose_task(chosen)
    base: dict[str, Any] = {}
    _merge(base, PRESETS.get(preset, {}) if isinstance(preset, str) else {})
    if start is not None:
        _merge(base, start(chosen["data"].get("target") if isinstance(chosen["data"], dict) else None))
    _merge(base, chosen)
    try:
        return Config(**base)
    except ValidationError as error:
        raise explain(error, Config, arguments) from None


def _let_loss_choose_task(chosen: dict[str, Any]) -> None:
    """A loss of counts and amounts makes a target of few whole numbers a quantity, where nothing else is said."""
    objective, data = chosen.get("objective"), chosen.setdefault("data", {})
    if isinstance(objective, dict) and isinstance(data, dict) and objective.get("loss") in MEANS:
        data["task"] = "regression" if data.get("task", "auto") == "auto" else data["task"]


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        tell_of_pipe(file)
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {file}; `rowcast init TABLE --target COL` prints one") from None
    except OSError as error:
        raise ConfigError(f"the config file {file} cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are of it, and a number of 5,000 digits
        raise ConfigError(f"the config file {file} is not valid TOML: {brief(str(error))}") from None
    except RecursionError:
        raise ConfigError(f"the config file {file} is not valid TOML: it is nested too deeply") from None


def _parse_setting(setting: str) -> dict[str, Any]:
    key, separator, text = setting.partition("=")
    path = key.strip().split(".")
    if not separator or not all(path):
        raise ConfigError(f"a setting is key=value, such as network.members=16, got {setting!r}")
    value = _toml_or_word(text)
    if isinstance(value, str) and value == text.strip() and _is_list(path, but_for=value):
        value = [_toml_or_word(part) for part in value.split(",")]
    for part in reversed(path):
        value = {part: value}
    return dict(value)


def _toml_or_word(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text.strip()  # a bare word is a string


def _is_list(path: Sequence[str], *, but_for: str) -> bool:
    """Whether a setting's field is a list, unless it also takes the word ``but_for``."""
    owner: Any = Config
    for name in path[:-1]:
        owner = owner.model_fields[name].annotation if name in getattr(owner, "model_fields", {}) else None
    field = getattr(owner, "model_fields", {}).get(path[-1])
    if field is None:
        return False
    kinds = [field.annotation, *get_args(field.annotation)]
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    return any(get_origin(kind) is tuple for kind in kinds) and but_for not in words


def _merge(into: dict[str, Any], new: Mapping[str, Any], path: str = "") -> None:
    for name, value in new.items():
        # A class may be named by the number or the truth value that the table holds.
        key = name if isinstance(name, str) else str(name).lower() if isinstance(name, bool) else str(name)
        if callable(value):
            raise ConfigError(_place_of_function(f"{path}{key}"))
        if isinstance(value, Mapping):
            held = into.get(key)
            inner: dict[str, Any] = held if isinstance(held, dict) else {}
            _merge(inner, value, f"{path}{key}.")
            into[key] = inner
        else:
            into[key] = value.item() if isinstance(value, np.generic) else value


def _place_of_function(field: str) -> str:
    """What to say of a function in the place of a value."""
    section, _, name = field.partition(".")
    if field == "network":
        return "'network' takes a function in rowcast.fit(..., network=...), and a table of fields here"
    argument = {"loss": "loss", "layers": "network", "activation": "network", "module": "network"}.get(name)
    own = {"objective": "loss", "network": "network"}.get(section) if argument else None
    way = f"; one of your own is given as {own}=..., an argument of rowcast.fit" if own else ""
    return f"{field!r} must be a value and no function{way}"


def to_toml(config: Config, *, explained: bool = False) -> str:
    """The config as TOML that :func:`make_config` reads back; ``explained`` puts each field's reason above it."""
    lines: list[str] = []
    sections = [name for name in Config.model_fields if isinstance(getattr(config, name), BaseModel)]
    plain = [name for name in Config.model_fields if name not in sections]
    _section(lines, config, plain, explained=explained)
    for name in sections:
        component: ComponentConfig = getattr(config, name)
        lines += ["", f"[{name}]"]
        if explained:
            lines.insert(-1, f"# {inspect.cleandoc(component.__doc__ or '')}")
        _section(lines, component, list(type(component).model_fields), explained=explained)
    return "\n".join(lines).strip() + "\n"


def _section(lines: list[str], component: ComponentConfig, names: Sequence[str], *, explained: bool) -> None:
    for name in names:
        if explained:
            field = type(component).model_fields[name]
            rule = valid_range(field)
            reason = " ".join((field.description or "").split())
            text = " ".join(filter(None, (reason, f"({rule})" if rule else "")))
            lines += ["", *textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"{name} = {_toml_value(getattr(component, name))}")


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are spelled alike in JSON and TOML
