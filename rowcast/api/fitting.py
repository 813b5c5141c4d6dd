"""``rowcast.fit``: a table in, a model out."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rowcast.api.call import call_of
from rowcast.api.display import Verbose, display_of
from rowcast.api.families import read_again
from rowcast.api.loading import repository_at
from rowcast.api.model import Model
from rowcast.api.starting import start_at
from rowcast.api.teaching import teacher_at
from rowcast.api.temporary import TemporaryFolder
from rowcast.models.arguments import in_python, in_python_terms
from rowcast.models.errors import ConfigError
from rowcast.models.names import UNPUBLISHED
from rowcast.training.ranks.environment import check_alone

if TYPE_CHECKING:
    from rowcast.models.warnings import Caution
    from rowcast.training.config import Config
    from rowcast.training.fit.loop import Progress


@in_python_terms("budget")
def fit(
    table: Any,
    y: Any = None,
    *,
    target: str | None = None,
    name: str | None = None,
    repository: str | os.PathLike[str] | None = None,
    validation: Any = None,
    test: Any = None,
    weight: Any = None,
    split: Any = None,
    fold: Any = None,
    start_from: Any = None,
    freeze: str | Sequence[str] | None = None,
    folds: int | None = None,
    max_members: int | None = None,
    max_row_us: float | None = None,
    teacher: Any = None,
    refit: bool = False,
    callbacks: Sequence[Callable[[Progress], object]] = (),
    verbose: Verbose = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    preset: str | None = None,
    budget: str | float | None = None,
    seed: int | None = None,
    device: str | None = None,
    network: Any = None,
    loss: Any = None,
    **sections: Any,
) -> Model:
    """Train a model on a table.

    >>> rowcast.fit(houses, target="price", preset="quick", fit={"epochs": 1})
    <rowcast.Model not published regression>
    >>> rowcast.fit(X, y, preset="quick", budget="2s")
    <rowcast.Model not published regression>
    >>> houses.to_csv("houses.csv", index=False)
    >>> rowcast.fit("houses.csv", target="price", name="homes", preset="quick", fit={"epochs": 1})
    <rowcast.Model homes:1 regression>

    Args:
        table: a pandas or polars data frame, an Arrow table or whatever exports one, a NumPy array ``[rows, columns]``,
            a dict of columns, a list of dicts, or a file, a folder or a pattern of files.
        y: the target of each row ``[rows]``, where it is no column of the table.
        target: the column to predict, where it is one.
        name: to publish the model under, as its next version. Without a name nothing is published: the model lives in
            a temporary folder until :meth:`rowcast.Model.publish`.
        repository: where models are published, now or later; ``ROWCAST_REPOSITORY``, or ``models/repository``.
        validation: a table of validation rows, instead of a share of ``table``; where ``y`` is given, a pair of both.
        test: a table that is only evaluated, instead of a share of ``table``; where ``y`` is given, a pair of both.
        weight: how much each row counts: a column's name, or a value for each row.
        split: which rows are for what, ``train``, ``validation`` or ``test``: a column's name, or a word for each row.
        fold: the fold of each row, of which whole ones are held out: a column's name, or a value for each row.
        start_from: a model to go on from, or to fine-tune: a :class:`rowcast.Model`, a name such as ``"houses:3"``, or
            a folder. Columns of the same name and kind carry their weights over, see :mod:`rowcast.training.start`; its
            network, and for the same target its objective, are taken over unless they are given here.
        freeze: what stays as it is there: ``"columns"``, ``"layers"``, ``"all"``, or names of columns.
        folds: so many fits that each leave out a fold of the training rows, and whose members answer together:
            calibration, intervals and metrics of validation rows are those of all folds, each answered by the fit that
            has not seen it. They share the budget.
        max_members: of a fit with folds, members that answer at most.
        max_row_us: the same by what a row alone may take, in microseconds on this machine.
        teacher: what else is learned from, see ``docs/distil.md``: a :class:`rowcast.Model`, its name or its folder; a
            file or a frame of predictions; ``"lightgbm"``, ``"catboost"`` or ``"xgboost"``, fitted here; or an object
            that has ``predict_proba`` or ``predict``.
        refit: train once more on all rows, for as many epochs as were best.
        callbacks: called after each look at the validation rows, with :class:`rowcast.training.fit.loop.Progress`; one
            that answers with what is true ends the fit, and the best weights so far are kept.
        verbose: what is shown meanwhile, see :func:`rowcast.api.display.display_of`: ``"auto"``, ``True``, ``False``,
            or a number of epochs between two lines.
        checkpoint: a folder in which the fit is kept as it goes on.
        resume: go on with the fit that is kept there.
        preset: ``quick``, ``balanced``, ``best`` or ``textbook``.
        budget: wall clock at most, in seconds or as a text: ``90``, ``"60s"``, ``"30m"``, ``"2h"``.
        seed: of the split, the initial weights and the order of rows.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        network: fields of the network, such as ``{"layers": [64, 32]}``; or a function ``(d_in, d_out)`` that builds a
            torch module in place of its layers, see :mod:`rowcast.training.network.own`.
        loss: the name of a loss, such as ``"huber"``; or a function of outputs and target, see
            :mod:`rowcast.training.fit.own_loss`.
        sections: further sections of :class:`rowcast.training.config.Config`, such as ``fit={"epochs": 20}``.

    Raises:
        RowcastError: see :mod:`rowcast.models.errors`.
    """
    check_alone("rowcast.fit")
    _check_callbacks(callbacks)
    start = start_at(start_from, repository)
    table = table if teacher is None else read_again(table)
    call = call_of(
        table,
        y,
        target,
        {"weight": weight, "split": split, "fold": fold},
        {"preset": preset, "seed": seed, "device": device, **sections},
        budget=budget,
        network=network,
        loss=loss,
        length={
            "folds": folds,
            "max_members": max_members,
            "max_row_us": max_row_us,
            "refit": refit or None,
            "freeze": freeze,
        },
        start=start,
        arguments=list(inspect.signature(fit).parameters),
    )
    with display_of(verbose) as display:
        how: dict[str, Any] = {
            "validation": call.data.further(validation, "validation"),
            "test": call.data.further(test, "test"),
            "report": display.report,
            "say": lambda text: display.say(in_python(text)),
            "callbacks": callbacks,
            "checkpoint": checkpoint,
            "resume": resume,
            "network": call.functions.network,
            "loss": call.functions.loss,
            "start": start,
            "teacher": teacher_at(teacher, repository, table, call.config),
        }
        return _trained(call.data.source, call.config, name, repository, how)


def _check_callbacks(callbacks: object) -> None:
    """Make sure that callbacks are functions.

    Raises:
        ConfigError: they are not.
    """
    if callable(callbacks):
        raise ConfigError("callbacks= must be a list of functions, got a single one: put it into brackets")
    listed = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    other = next((one for one in listed if not callable(one)), None)
    if other is not None:
        raise ConfigError(f"callbacks= must be a list of functions, got {other!r}")


def _trained(
    source: Any, config: Config, name: str | None, repository: str | os.PathLike[str] | None, how: Mapping[str, Any]
) -> Model:
    """Train, and publish under the name, or in a temporary folder where there is none."""
    from rowcast.models.repository import Repository
    from rowcast.training.export.aside import REFUSED_FOLDER
    from rowcast.training.train import train

    if name is not None:
        trained = train(source, config, name=name, repository=repository_at(repository), **how)
        _warn(trained.cautions)
        return Model(trained.model)
    folder = TemporaryFolder()
    try:
        trained = train(source, config, name=UNPUBLISHED, repository=Repository(folder.path), **how)
    except BaseException:
        if (folder.path / REFUSED_FOLDER).exists():  # the error says that the model is there
            folder.keep()
        folder.remove()
        raise
    _warn(trained.cautions)
    return Model(trained.model, folder, repository)


def _warn(cautions: Sequence[Caution]) -> None:
    """Python's warnings, at the line that called :func:`fit`."""
    for caution in cautions:
        warnings.warn(in_python(caution), caution.category, stacklevel=5)
