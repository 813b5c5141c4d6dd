"""A trained model that a fit starts from: its weights, and everything that says what they mean.

Weights are read from ``weights.safetensors``, what is not a tensor from ``start.json`` and ``model.json``. All are held
to the SHA-256 that they were published with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_safetensors
from torch import Tensor, from_numpy

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, ModelRefused
from rowcast.models.pretrained import StoredPretrained
from rowcast.models.repository import StoredModel
from rowcast.models.signature import Column
from rowcast.models.summary import WEIGHTS_FILE
from rowcast.training.columns.reading import ColumnRule
from rowcast.training.config import Config
from rowcast.training.features.bins import Bins
from rowcast.training.features.calendar import Part
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.features.oblique import Oblique
from rowcast.training.predict import rule_of
from rowcast.training.start.record import START_FILE, Answers, Record

_MUST_BE_SAME = {
    "network": ("members", "levels", "d_number", "d_category", "d_text"),
    "features": ("numbers", "oblique_angles"),
}
"""Fields that say what a weight of a column is."""
_BEGUN_ANEW = {"network": ("module",), "objective": ("function",)}
"""Functions of one's own are given anew, from Python."""


@dataclass(frozen=True)
class Start:
    """A trained model as a further fit sees it."""

    called: str
    """Such as ``houses:3``, as decisions and errors name it."""
    columns: tuple[Column, ...]
    encoder: FeatureEncoder
    networks: tuple[Mapping[str, Tensor], ...]
    """The weights of each network that answers, by name."""
    config: Mapping[str, Any]
    record: Record
    sha256: str
    """Of its weights."""

    @property
    def target(self) -> str:
        """The name of what it predicts; empty if it was pre-trained without one."""
        return self.record.answers.target if self.record.answers is not None else ""

    @property
    def answers(self) -> Answers | None:
        """What its outputs stand for."""
        return self.record.answers

    def settings(self, target: str | None) -> dict[str, Any]:
        """Sections of the config that a fit takes over, unless it is told otherwise: what the weights are made for.

        Args:
            target: the column that the fit predicts; None for the model's own.
        """
        taken: dict[str, Any] = {
            section: {
                field: value
                for field, value in self.config[section].items()
                if field not in _BEGUN_ANEW.get(section, ())
            }
            for section in ("network", "features")
        }
        taken["fit"] = {"seeds": len(self.networks)}  # with a budget fewer may answer than its config asked for
        if self.answers is None or target not in (None, self.target):
            return taken
        taken["data"] = {"target": self.target, "task": self.config["data"]["task"]}
        if self.answers.task == "regression":
            taken["data"]["task"] = "regression"  # a few rows of whole numbers would be classes
        objective = self.config["objective"]
        taken["objective"] = {field: value for field, value in objective.items() if field != "function"}
        return taken

    def check(self, config: Config) -> None:
        """Make sure a config makes a network that these weights can be carried to.

        Raises:
            ConfigError: a field differs; names both values.
        """
        for section, fields in _MUST_BE_SAME.items():
            for field in fields:
                if field == "oblique_angles" and self.encoder.oblique is None:
                    continue
                here, there = getattr(getattr(config, section), field), self.config[section].get(field)
                if there is not None and here != there:
                    raise ConfigError(
                        f"'{section}.{field}' must be {there!r} as in {self.called}, which the fit starts from, got "
                        f"{here!r}: leave it out, or train without --from"
                    )
        if config.fit.seeds != len(self.networks):
            raise ConfigError(
                f"'fit.seeds' must be {len(self.networks)} as in {self.called}, since each fit starts from a network "
                f"of it, got {config.fit.seeds}: leave it out, or train without --from"
            )

    def rule(self, name: str) -> ColumnRule:
        """How it reads a column."""
        return next(rule for rule in self.encoder.rules if rule.name == name)

    @property
    def facts(self) -> dict[str, str]:
        """What ``model.json`` keeps of it."""
        return {"model": self.called, "weights": self.sha256}

    @property
    def about(self) -> dict[str, str]:
        """The same as a checkpoint says it."""
        return {"the model that it starts from": self.called, "the SHA-256 of the weights there": self.sha256}


def check_start(start: Start | None, config: Config) -> None:
    """Make sure that a config and the model that the fit starts from go together; there need be none.

    Raises:
        ConfigError: they do not.
    """
    if start is not None:
        start.check(config)
    elif config.fit.freeze != "none":
        raise ConfigError(
            f"'fit.freeze' is for a fit that starts from a model, got {config.fit.freeze!r} without one: leave it out, "
            "or name the model with --from"
        )


def start_of(stored: StoredModel, called: str = "") -> Start:
    """A published model as a fit starts from it.

    Args:
        stored: the model, verified.
        called: how messages name it; its name and version, unless they are given.

    Raises:
        ModelRefused: its weights cannot be read, or it was trained before a fit could start from it.
    """
    manifest = stored.manifest
    called = called or f"{manifest.name}:{manifest.version}"
    return read_start(stored.path, manifest.files, manifest.signature.columns, manifest.config, called)


def start_of_pretrained(stored: StoredPretrained) -> Start:
    """Pre-trained weights as a fit starts from them.

    Raises:
        ModelRefused: they cannot be read.
    """
    manifest = stored.manifest
    called = f"{manifest.name}:{manifest.version}"
    return read_start(stored.path, manifest.files, manifest.columns, manifest.config, called)


def read_start(
    path: Path, files: Mapping[str, str], columns: Sequence[Column], config: Mapping[str, Any], called: str
) -> Start:
    """Put together what lies in the folder of a version.

    Args:
        path: the folder.
        files: SHA-256 of its files.
        columns: that the model takes.
        config: of its training.
        called: how messages name it.

    Raises:
        ModelRefused: see :func:`start_of`.
    """
    if START_FILE not in files or WEIGHTS_FILE not in files:
        again = f"`rowcast train TABLE --config {named(path / 'config.toml')}`"
        raise ModelRefused(
            f"a fit starts from a model that keeps what its weights mean, in {START_FILE}, and {called} was trained "
            f"before there was one: train it once more, for example with {again}, and start from that"
        )
    content = {name: _read(path, name, files[name]) for name in (START_FILE, WEIGHTS_FILE)}
    try:
        record = Record.of(json.loads(content[START_FILE]))
        arrays = from_safetensors(content[WEIGHTS_FILE])
        if any(name.startswith("further.") for name in arrays):
            raise ModelRefused(
                f"a fit starts from a model of one front, and {called} has one for each of its folds: train one "
                "without --folds, and start from that"
            )
        rules = [rule_of(column, frozenset()) for column in columns]
        encoder = _encoder(columns, rules, record, arrays)
        networks = _networks(arrays)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(
            f"{called} cannot be started from: what {path} holds does not fit together: {error}"
        ) from None
    return Start(called, tuple(columns), encoder, networks, config, record, files[WEIGHTS_FILE])


def _read(path: Path, name: str, expected: str) -> bytes:
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise ModelRefused(f"{path / name} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelRefused(f"{path / name} is not the file that was published: its SHA-256 differs")
    return content


def _encoder(
    columns: Sequence[Column], rules: Sequence[ColumnRule], record: Record, arrays: Mapping[str, Any]
) -> FeatureEncoder:
    of = {name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")}

    def part(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): array for name, array in of.items() if name.startswith(prefix)}

    oblique = None
    if "oblique.first" in of:
        places = zip(of["oblique.first"].tolist(), of["oblique.second"].tolist(), strict=True)
        oblique = Oblique([(i, j, r) for (i, j), r in zip(places, record.correlations, strict=True)], part("oblique."))
    calendar: dict[str, Sequence[Part]] = {name: tuple(parts) for name, parts in record.calendar.items()}  # type: ignore[arg-type]
    vocabularies = {column.name: column.levels or {} for column in columns if column.kind == "category"}
    sides = [(of[f"{side}_at"].astype(np.int64), Bins(part(f"{bins}."))) for side, bins in _SIDES]
    words = {column.name: record.words[column.name] for column in columns if column.kind == "text"}
    return FeatureEncoder(rules, calendar, vocabularies, oblique, sides[0], sides[1], words)


_SIDES = (("binned", "bins"), ("binary", "binary"))


def _networks(arrays: Mapping[str, Any]) -> tuple[dict[str, Tensor], ...]:
    """The weights of each network, of which an ensemble has several."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        if not name.startswith("network."):
            continue
        rest, number = name.removeprefix("network."), 0
        if rest.startswith("networks."):
            place, _, rest = rest.removeprefix("networks.").partition(".")
            number = int(place)
        found.setdefault(number, {})[rest] = from_numpy(array.copy())
    return tuple(found[number] for number in sorted(found))
