"""What a study tells in the end: its best config, its trials, and which fields mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from rowcast.models.durations import said_seconds
from rowcast.training.config import Config, make_config, to_toml
from rowcast.training.tune.config import TuneConfig
from rowcast.training.tune.space import AS_GIVEN, value_in, with_values
from rowcast.training.tune.study.record import Record

if TYPE_CHECKING:
    from rowcast.training.train import Trained

_OF_THE_RUN = ("data", "device", "track", "tune")
"""What a config holds of this table and this machine."""


@dataclass(frozen=True)
class Tuned:
    """A study, and the model that was fitted with its best config."""

    study: str
    """Its name."""
    kept_in: str
    """Where it is kept, as messages call it."""
    measure: str
    """What trials are measured by: ``rmse``, ``mae``, ``log_loss`` or ``loss``, on validation rows; lower is better."""
    trials: tuple[Record, ...]
    """Those that are finished."""
    best: Record
    config: Config
    """The best one."""
    importance: dict[str, float]
    """How much each field mattered, the most first; empty after too few trials."""
    trained: Trained | None = None
    """The last fit, where one was asked for."""
    passed_over: str = ""
    """Why a better trial was not taken, where one was not."""
    is_new: bool = True
    """Whether the model came of it now, and not before."""
    ended_by: str = ""
    """The signal that ended the study before it was over, if one did."""

    @property
    def best_config(self) -> dict[str, Any]:
        """What :func:`rowcast.fit` takes to fit it, data and device apart: see :func:`settings_of`."""
        return settings_of(self.config, self.best.values)

    def toml(self) -> str:
        """The best config as a file for ``rowcast train --config``."""
        return to_toml(self.config)

    def summary(self) -> dict[str, Any]:
        """What ``rowcast tune --json`` prints."""
        return {
            "study": self.study,
            "trials": len(self.trials),
            "best": {"value": self.best.value, "config": self.best_config},
            "model": None if self.trained is None else self.trained.summary(),
        }

    def table(self) -> pl.DataFrame:
        """A row for each trial: ``number``, ``value``, ``pruned``, ``seconds``, ``origin``, and a column for each field
        that is searched; lists as JSON writes them."""
        names = list(self.best.values)
        columns: dict[str, Any] = {
            "number": [trial.number for trial in self.trials],
            "value": pl.Series([trial.value for trial in self.trials], dtype=pl.Float64),
            "pruned": [trial.pruned for trial in self.trials],
            "seconds": [trial.seconds for trial in self.trials],
            "origin": [trial.origin for trial in self.trials],
        }
        for name in names:
            values = [trial.values[name] for trial in self.trials]
            told = [str(value) if isinstance(value, list) else value for value in values]
            kinds = {type(value) for value in told}
            if len(kinds) > 1:
                told = [float(v) for v in told] if kinds <= {int, float} else list(map(str, told))
            columns[name] = told
        return pl.DataFrame(columns)


def ranked(trials: Sequence[Record]) -> list[Record]:
    """The trials that ran through, the best first."""
    through = [trial for trial in trials if not trial.pruned and trial.value is not None]
    return sorted(through, key=lambda trial: (trial.value, trial.number))


def best_of(trials: Sequence[Record]) -> Record | None:
    """The best trial that ran through; None where none did."""
    return next(iter(ranked(trials)), None)


def config_of(config: Config, best: Record) -> Config:
    """The config of a trial, with nothing in it of what else was searched."""
    return with_values(config, best.values).model_copy(update={"tune": TuneConfig()})


def settings_of(config: Config, searched: Mapping[str, Any]) -> dict[str, Any]:
    """A config as :func:`rowcast.fit` takes it: its preset, what differs from that, and all that was searched."""
    base = make_config(overrides={"preset": config.preset})
    found: dict[str, Any] = {"preset": config.preset}
    if config.seed != base.seed:
        found["seed"] = config.seed
    held = config.model_dump(mode="json", exclude=set(_OF_THE_RUN))
    for section, fields in held.items():
        if not isinstance(fields, dict):
            continue
        for name, value in fields.items():
            if f"{section}.{name}" in searched or value != value_in(base, f"{section}.{name}"):
                found.setdefault(section, {})[name] = value
    return found


def sentence_of(tuned: Tuned) -> str:
    """What the model says of how its config was found."""
    values = ", ".join(f"{name} {_figure(value)}" for name, value in tuned.best.values.items())
    pruned = sum(trial.pruned for trial in tuned.trials)
    return (
        f"tuned on validation rows: trial {tuned.best.number} is the best of {len(tuned.trials)} ({pruned} of them "
        f"pruned) of study {tuned.study!r}, {tuned.measure} {tuned.best.value:.6g} with {values}; metrics of "
        "validation rows, which chose it, look a little better than they are, and those of test rows do not"
        + _told_of_time(tuned.trials)
        + (f"; {tuned.passed_over}" if tuned.passed_over else "")
        + (f"; {tuned.ended_by} ended the study before it was over" if tuned.ended_by else "")
    )


def _told_of_time(trials: Sequence[Record]) -> str:
    """What the time of the trials did to them, where it did anything."""
    through = [trial for trial in trials if not trial.pruned]
    cut = [trial for trial in through if trial.cut_short]
    if not cut:
        return ""
    text = f"; the time cut short {len(cut)} of the {len(through)} trials that ran through"
    given = next((trial for trial in cut if trial.origin == AS_GIVEN), None)
    if given is None:
        return text
    return (
        f"{text}, that of the config as given among them: it takes longer than the {said_seconds(given.limit_s)} of a "
        "trial, so that with this budget `rowcast train` may do better"
    )


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
