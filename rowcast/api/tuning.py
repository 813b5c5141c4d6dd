"""``rowcast.tune``: a table in, the config that does best on it and a model fitted with that out."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.api.call import call_of
from rowcast.api.display import Verbose, display_of
from rowcast.api.families import read_again
from rowcast.api.loading import repository_at
from rowcast.api.model import Model
from rowcast.api.temporary import TemporaryFolder
from rowcast.api.trial_lines import TrialLines
from rowcast.models.arguments import in_python, in_python_terms
from rowcast.models.durations import budget_seconds
from rowcast.models.errors import ConfigError
from rowcast.models.names import UNPUBLISHED
from rowcast.models.warnings import InterruptedWarning

if TYPE_CHECKING:
    import polars as pl

    from rowcast.training.tune.outcome import Tuned
    from rowcast.training.tune.study.record import Record


@dataclass(frozen=True)
class Trial:
    """A trial that is finished."""

    number: int
    """From 0, in the order in which they began."""
    value: float | None
    """On validation rows, lower is better; of a pruned one at the point where it was ended."""
    pruned: bool
    """Whether it was ended before it was over, for being no good."""
    config: dict[str, Any]
    """The fields that are searched, by section."""
    seconds: float
    origin: str
    """``as given``, the name of a preset, or nothing where the values were sampled."""


class Study:
    """What :func:`tune` found."""

    def __init__(self, tuned: Tuned, model: Model | None) -> None:
        self._tuned = tuned
        self.model = model
        """The model fitted with the best config; None with ``publish=False``."""

    @property
    def name(self) -> str:
        """Of the study."""
        return self._tuned.study

    @property
    def trials(self) -> list[Trial]:
        """All that are finished, whichever process ran them, in the order in which they began."""
        return [_trial(record) for record in self._tuned.trials]

    @property
    def best_value(self) -> float:
        """Of the best trial, on validation rows: in the unit of :attr:`measure`, lower is better."""
        assert self._tuned.best.value is not None
        return self._tuned.best.value

    @property
    def best_config(self) -> dict[str, Any]:
        """The best config, as :func:`rowcast.fit` takes it: ``rowcast.fit(table, target=..., **study.best_config)``."""
        return self._tuned.best_config

    @property
    def measure(self) -> str:
        """What trials are measured by: ``rmse``, ``mae``, ``log_loss``, or ``loss`` where it has no such name."""
        return self._tuned.measure

    @property
    def importance(self) -> dict[str, float]:
        """How much each field mattered for being among the best, summing to 1; empty after fewer than 10 trials."""
        return dict(self._tuned.importance)

    def table(self) -> pl.DataFrame:
        """A row for each trial, and a column for each field that is searched."""
        return self._tuned.table()

    def toml(self) -> str:
        """The whole best config, for ``rowcast train --config``."""
        return self._tuned.toml()

    def _repr_html_(self) -> str:
        """What a notebook shows: the trials, the best first."""
        from rowcast.api.notebook import html_of_study

        return html_of_study(self)

    def __repr__(self) -> str:
        count = len(self._tuned.trials)
        return f"<rowcast.tune {count} trials, best {self.measure} {self.best_value:.4g} of {self._tuned.best.number}>"


@in_python_terms("budget")
def tune(
    table: Any,
    y: Any = None,
    *,
    target: str | None = None,
    name: str | None = None,
    repository: str | os.PathLike[str] | None = None,
    trials: int | None = None,
    budget: str | float | None = None,
    jobs: int = 1,
    folds: int | None = None,
    test: Any = None,
    epochs: int | None = None,
    storage: str | os.PathLike[str] | None = None,
    space: Mapping[str, Any] | None = None,
    publish: bool = True,
    weight: Any = None,
    split: Any = None,
    fold: Any = None,
    verbose: Verbose = "auto",
    preset: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    network: Any = None,
    loss: Any = None,
    **sections: Any,
) -> Study:
    """Try configs on a table, and fit a model with the best.

    >>> study = rowcast.tune(houses, target="price", trials=2, verbose=False, fit={"epochs": 1})
    >>> len(study.trials), study.measure, sorted(study.best_config)
    (2, 'rmse', ['features', 'fit', 'network', 'optimizer', 'preset'])
    >>> list(study.model.predict(new_rows))
    ['prediction', 'lower', 'upper']

    Test rows are set aside before anything is tried: the best config is the one that does best on validation rows, and
    the model alone is measured on test rows.

    Args:
        table: as for :func:`rowcast.fit`.
        y: the target of each row ``[rows]``, where it is no column of the table.
        target: the column to predict, where it is one.
        name: of the study, and to publish the model under. Without a name nothing is published, and the study goes away
            with this call, unless ``storage`` keeps it.
        repository: where models are published, and where studies are kept, in ``.studies/NAME.journal``.
        trials: how many are to be finished in all, those of earlier calls and other processes too; without this and a
            budget, 50.
        budget: wall clock of this call at most, the last fit included, in seconds or as a text.
        jobs: processes of this machine that try configs at the same time.
        folds: measure each config on so many folds of the training and validation rows; its value is their mean.
        test: a table that the model alone is measured on, instead of a share of ``table``; where ``y`` is given, a pair
            of both.
        epochs: passes over the training rows of a fit at most.
        storage: a file, or the URL of a database, to keep the study in instead.
        space: what is searched, as ``[tune.space]`` of the config: by field, such as ``"optimizer.lr"``, a list of
            values or ``{"low": ..., "high": ..., "log": ..., "step": ...}``.
        publish: whether to fit (and, under a name, publish) a model in the end. The same call after the end of a study
            gives the version that came of it, and publishes none again.
        weight: how much each row counts: a column's name, or a value for each row.
        split: which rows are for what: a column's name, or a word for each row.
        fold: the fold of each row, of which whole ones are held out: a column's name, or a value for each row.
        verbose: what is shown meanwhile, as for :func:`rowcast.fit`.
        preset: where to begin: ``quick``, ``balanced``, ``best`` or ``textbook``.
        seed: of the split, the initial weights, the order of rows, and what is sampled.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        network: as for :func:`rowcast.fit`.
        loss: as for :func:`rowcast.fit`.
        sections: further sections of the config, where to begin; ``fit={"budget_s": 60}`` bounds each trial.

    Raises:
        RowcastError: see :mod:`rowcast.models.errors`.
    """
    limit = budget_seconds(budget)
    if space is not None and not isinstance(space, Mapping):
        raise ConfigError(f"space= must be a dict of the fields that are searched, got {space!r}")
    if storage is not None and not isinstance(storage, str | os.PathLike):
        raise ConfigError(f"storage= must be a file, or the URL of a database, got {storage!r}")
    if space is not None and sections.get("tune") is not None:
        raise ConfigError('what is searched is said once, got both space= and tune={"space": ...}: leave one out')
    if space is not None:
        sections["tune"] = {"space": dict(space)}
    if epochs is not None and isinstance(sections.get("fit"), Mapping) and "epochs" in sections["fit"]:
        raise ConfigError('passes are said once, got both epochs= and fit={"epochs": ...}: leave one out')
    call = call_of(
        read_again(table),
        y,
        target,
        {"weight": weight, "split": split, "fold": fold},
        {"preset": preset, "seed": seed, "device": device, **sections},
        budget=None,
        network=network,
        loss=loss,
        length={"epochs": epochs},
        arguments=list(inspect.signature(tune).parameters),
    )

    from rowcast.models.repository import Repository
    from rowcast.training.export.aside import REFUSED_FOLDER
    from rowcast.training.own import Own
    from rowcast.training.tune.run import tune as tune_model

    folder = TemporaryFolder() if name is None else None
    with display_of(verbose) as display:
        lines = TrialLines(display, lambda text: in_python(text, ("budget",)))
        try:
            tuned = tune_model(
                call.data.source,
                call.config,
                name=name or UNPUBLISHED,
                repository=repository_at(repository) if folder is None else Repository(folder.path),
                storage=storage,
                trials=trials,
                budget_s=limit,
                jobs=jobs,
                folds=folds,
                publish=publish,
                test=call.data.further(_read_again(test), "test"),
                report=lines.report,
                report_fit=display.report,
                say=lines.say,
                own=Own(call.functions.network, call.functions.loss),
            )
        except BaseException:
            if folder is not None:
                if (folder.path / REFUSED_FOLDER).exists():  # the error says that the model is there
                    folder.keep()
                folder.remove()
            raise
    if tuned.ended_by:
        told = f"{tuned.ended_by} ended the study before it was over: the best of {len(tuned.trials)} trials is chosen"
        warnings.warn(told, InterruptedWarning, stacklevel=3)
    if tuned.trained is None:
        if folder is not None:
            folder.remove()
        return Study(tuned, None)
    for caution in tuned.trained.cautions:
        warnings.warn(in_python(caution), caution.category, stacklevel=3)
    model = Model(tuned.trained.model) if folder is None else Model(tuned.trained.model, folder, repository)
    return Study(tuned, model)


def _read_again(test: Any) -> Any:
    """A table of test rows, or a pair of one and its target, that says the same each time it is read."""
    if isinstance(test, tuple) and len(test) == 2:
        return read_again(test[0]), test[1]
    return test if test is None else read_again(test)


def _trial(record: Record) -> Trial:
    config: dict[str, Any] = {}
    for name, value in record.values.items():
        section, _, field = name.partition(".")
        config.setdefault(section, {})[field] = value
    return Trial(record.number, record.value, record.pruned, config, record.seconds, record.origin)
