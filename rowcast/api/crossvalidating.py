"""``rowcast.crossvalidate``: how well a table can be learned, told by rows that each model has not seen."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.api.call import call_of
from rowcast.api.families import Family, Polars, family_of
from rowcast.models.arguments import in_python, in_python_terms
from rowcast.models.errors import RowcastError
from rowcast.models.labels import typed_label
from rowcast.training.ranks.environment import check_alone

if TYPE_CHECKING:
    import polars as pl

    from rowcast.training.crossvalidate import CrossValidated


@dataclass(frozen=True)
class CrossValidation:
    """How well models of a table do on rows they have not seen."""

    folds: list[dict[str, float]]
    """The metrics of each fold."""
    mean: dict[str, float]
    """Of the folds, by metric."""
    deviation: dict[str, float]
    """Of the folds around their mean, by metric."""
    predictions: Any
    """What the model that had not seen a row says of it: a table of the family that came in, its rows in order. Columns
    are those of :meth:`rowcast.Model.predict`, and ``fold``, counted from 1. Null (NaN in pandas and NumPy) for rows
    that no fold tests: without a target, of weight 0, or before the first fold in time."""
    rows: list[dict[str, int]]
    """How many rows each fold trained on, chose when to stop on, and was tested on."""
    decisions: tuple[str, ...]
    """What was decided in reading the table."""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from rowcast.api.notebook import html_of_folds

        return html_of_folds(self)

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {value:.4g} ± {self.deviation[name]:.2g}" for name, value in self.mean.items())
        return f"<rowcast.crossvalidate {len(self.folds)} folds: {told}>"


@contextmanager
def _time() -> Iterator[None]:
    """Errors raised within call the column of time as :func:`crossvalidate` does; also a decorator."""
    try:
        yield
    except RowcastError as error:
        error.args = tuple(part.replace("split_by_time=", "time=") for part in map(str, error.args))
        raise


@_time()
@in_python_terms("group", "split-by-time")
def crossvalidate(
    table: Any,
    y: Any = None,
    *,
    target: str | None = None,
    folds: int = 5,
    group: Any = None,
    time: Any = None,
    fold: Any = None,
    weight: Any = None,
    preset: str | None = None,
    budget: str | float | None = None,
    seed: int | None = None,
    device: str | None = None,
    network: Any = None,
    loss: Any = None,
    **sections: Any,
) -> CrossValidation:
    """Train once a fold, and measure on the rows of the fold. Nothing is published.

    >>> found = rowcast.crossvalidate(houses, target="price", folds=2, preset="quick", fit={"epochs": 1})
    >>> found
    <rowcast.crossvalidate 2 folds: rmse ... ± ..., mae ... ± ..., r2 ... ± ...>
    >>> found.mean["rmse"] == (found.folds[0]["rmse"] + found.folds[1]["rmse"]) / 2
    True
    >>> len(found.predictions) == len(houses)
    True

    Whatever is fitted in a fold, statistics of columns and the network alike, is fitted on its own training rows.

    Args:
        table: as for :func:`rowcast.fit`.
        y: the target of each row ``[rows]``, where it is no column of the table.
        target: the column to predict, where it is one.
        folds: how many; a column of folds says so itself.
        group: rows to keep in one fold, such as those of a customer: a column's name, or a value for each row.
        time: to test each fold by a model of the rows before it: a column's name, or a value for each row.
        fold: the fold of each row: a column's name, or a value for each row. With ``group`` beside it, a group in two
            folds is refused.
        weight: how much each row counts: a column's name, or a value for each row.
        preset: ``quick``, ``balanced``, ``best`` or ``textbook``.
        budget: wall clock of the fit of each fold at most, in seconds or as a text.
        seed: of the folds, the initial weights and the order of rows.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        network: as for :func:`rowcast.fit`.
        loss: as for :func:`rowcast.fit`.
        sections: further sections of the config, such as ``fit={"epochs": 20}``.

    Raises:
        RowcastError: see :mod:`rowcast.models.errors`.
    """
    check_alone("rowcast.crossvalidate")
    from rowcast.training.crossvalidate import cross_validate
    from rowcast.training.own import Own

    family = family_of(table)
    call = call_of(
        family.table,
        y,
        target,
        {"group": group, "time": time, "fold": fold, "weight": weight},
        {"preset": preset, "seed": seed, "device": device, **sections},
        budget=budget,
        network=network,
        loss=loss,
        arguments=list(inspect.signature(crossvalidate).parameters),
    )
    own = Own(call.functions.network, call.functions.loss)
    found = cross_validate(call.data.source, call.config, folds=folds, own=own)
    return CrossValidation(
        folds=found.folds,
        mean=found.mean,
        deviation=found.deviation,
        predictions=_answered(family, found),
        rows=found.rows,
        decisions=tuple(map(in_python, found.decisions)),
    )


def _answered(family: Family, found: CrossValidated) -> Any:
    """The out-of-fold predictions in the family of the table."""
    frame = _typed(found)
    if isinstance(family, Polars) or type(family) is Family:
        return frame
    answers: dict[str, Any] = {}
    for column in frame.get_columns():
        if column.dtype.is_numeric():
            answers[column.name] = column.cast(float).to_numpy() if column.null_count() else column.to_numpy()
        elif column.null_count() or str(column.dtype) == "String":
            answers[column.name] = column.to_list()
        else:
            answers[column.name] = column.to_numpy()
    return family.answered(answers)


def _typed(found: CrossValidated) -> pl.DataFrame:
    """The predictions with labels as the target had them."""
    frame = found.predictions
    if found.label_type == "text" or "label" not in frame.columns:
        return frame
    import polars as pl

    typed = [None if label is None else typed_label(label, found.label_type) for label in frame["label"]]
    return frame.with_columns(pl.Series("label", typed))
