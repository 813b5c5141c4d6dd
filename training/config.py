"""The whole config of a training run: presets, TOML files, ``key=value`` settings, and a TOML that explains itself."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from rowcast.models.errors import ConfigError
from rowcast.training.data.config import DataConfig
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.fit.augment import AugmentConfig
from rowcast.training.fit.loop import FitConfig
from rowcast.training.fit.objective import ObjectiveConfig
from rowcast.training.fit.optimizer import OptimizerConfig
from rowcast.training.network.network import NetworkConfig
from rowcast.training.settings import ComponentConfig, explain, valid_range
from rowcast.training.track.config import TrackConfig

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # about a minute on two cores
    "quick": {
        "network": {"members": 4},
        "features": {"oblique_angles": 4},
        "fit": {"patience": 8, "row_visits": 800_000},
    },
    "balanced": {},
    # as long as it takes
    "best": {"fit": {"seeds": 4, "patience": 24}},
}


class Config(ComponentConfig):
    """Everything a training run can be told."""

    preset: Literal["quick", "balanced", "best"] = "balanced"
    """quick: about a minute. balanced: about five for 20,000 rows on two cores. best: as long as it takes."""
    seed: int = Field(0, ge=0, lt=2**32)
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
    track: TrackConfig = TrackConfig()

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, text: str) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:\d+)?", text) is None:
            raise ValueError("must be auto, cpu, cuda or cuda:N")
        return text

    @model_validator(mode="after")
    def _objective_fits_task(self) -> Config:
        if self.data.task != "auto":
            self.objective.check_task(self.data.task)
        return self


def make_config(
    *, file: Path | None = None, settings: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
) -> Config:
    """Put a config together; what comes later wins: defaults, preset, TOML file, ``key=value`` settings, overrides.

    Args:
        file: a TOML file, such as ``rowcast init`` prints.
        settings: such as ``network.members=16``; the value is TOML, or a bare word.
        overrides: nested fields, such as the command line's own flags.

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
    base: dict[str, Any] = {}
    _merge(base, PRESETS.get(preset, {}) if isinstance(preset, str) else {})
    _merge(base, chosen)
    try:
        return Config(**base)
    except ValidationError as error:
        raise explain(error, Config) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {file}; `rowcast init TABLE --target COL` prints one") from None
    except OSError as error:
        raise ConfigError(f"the config file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config file {file} is not valid TOML: {error}") from None


def _parse_setting(setting: str) -> dict[str, Any]:
    key, separator, text = setting.partition("=")
    path = key.strip().split(".")
    if not separator or not all(path):
        raise ConfigError(f"a setting is key=value, such as network.members=16, got {setting!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    for part in reversed(path):
        value = {part: value}
    return dict(value)


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = json.loads(json.dumps(value)) if isinstance(value, Mapping) else value


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
