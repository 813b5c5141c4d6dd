"""What each column is worth to a model: by how much the loss rises when its values are shuffled among the rows.

Source: Breiman 2001, "Random forests", section 10; of columns that say the same, each stands in for the other, and both
look worth little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError
from rowcast.models.repository import StoredModel
from rowcast.models.seeds import checked_seed
from rowcast.models.session import Predictions, Session
from rowcast.training.fit.evaluate import regression_metrics
from rowcast.training.fit.weighted import shares, weighted_regression_metrics
from rowcast.training.predict import bulk_session, open_known, predict_columns

MAX_ROWS = 10_000
"""Rows that are shuffled, at most; of more, random ones."""
MAX_CELLS = 400_000_000
"""Values that the graph is given in all, at most: of a table of thousands of columns fewer rows are shuffled."""
MIN_ROWS = 100


@dataclass(frozen=True)
class Importance:
    """How much columns are worth."""

    table: pl.DataFrame
    """``column``, ``importance``, ``deviation``; the highest first."""
    rows: int
    """Rows that were shuffled, of those that there are."""
    of_rows: int
    metric: str
    """What rises: ``rmse`` in the target's own units, or ``log_loss`` in nats."""

    @property
    def note(self) -> str:
        """What was measured, in a sentence."""
        some = "" if self.rows == self.of_rows else f" random rows of {self.of_rows:,}"
        metric = "the RMSE" if self.metric == "rmse" else "the log-loss"
        return f"importance is the rise of {metric} when a column is shuffled, on {self.rows:,}{some or ' rows'}"


def importance_of(
    model: StoredModel,
    source: Any,
    *,
    repeats: int = 5,
    seed: int = 0,
    encoding: str | None = None,
    separator: str | None = None,
) -> Importance:
    """The importance of each column of a stored model, by its own graph, on a table that holds the target.

    Rows count as the weights of training say, where the table holds them.

    Args:
        model: see :meth:`rowcast.models.repository.Repository.open`.
        source: a file or a data frame.
        repeats: how often each column is shuffled; the deviation is over these.
        seed: of the shuffles, and of the rows where there are too many.
        encoding: of a text file.
        separator: of its fields.

    Raises:
        ConfigError: ``repeats`` is less than 1, or the seed out of range.
        TableError: the table lacks a column, or holds a value that does not fit.
    """
    if repeats < 1:
        raise ConfigError(f"--repeats must be at least 1, got {repeats}")
    seed = checked_seed(seed)
    known = open_known(model, source, encoding=encoding, separator=separator)
    return permuted(bulk_session(model), known.columns, known.actual, known.weight, repeats=repeats, seed=seed)


def permuted(
    session: Session,
    columns: Mapping[str, NDArray[Any]],
    actual: NDArray[Any],
    weight: NDArray[np.float64] | None = None,
    *,
    repeats: int = 5,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    max_cells: int = MAX_CELLS,
) -> Importance:
    """See :func:`importance_of`; of columns ``[rows]`` by name, a target ``[rows]``, and how much each row counts."""
    names, generator = session.signature.names, np.random.default_rng(seed)
    enough = max(MIN_ROWS, max_cells // (len(names) ** 2 * repeats))
    of_rows = len(actual)
    n_rows = min(of_rows, max_rows, enough)
    rows = np.sort(generator.permutation(len(actual))[:n_rows]) if n_rows < len(actual) else np.arange(n_rows)
    columns, actual = {name: columns[name][rows] for name in names}, actual[rows]
    weight = None if weight is None else weight[rows]
    shuffles = [generator.permutation(n_rows) for _ in range(repeats)]
    classes = session.signature.classes
    before = loss_of(predict_columns(session, columns), actual, classes, weight)
    worse = np.empty((len(names), repeats))
    for i, name in enumerate(names):
        for j, shuffle in enumerate(shuffles):
            changed = columns | {name: columns[name][shuffle]}
            worse[i, j] = loss_of(predict_columns(session, changed), actual, classes, weight) - before
    deviation = worse.std(axis=1, ddof=1) if repeats > 1 else np.full(len(names), np.nan)
    table = pl.DataFrame({"column": list(names), "importance": worse.mean(axis=1), "deviation": deviation})
    metric = "log_loss" if classes else "rmse"
    return Importance(table.sort("importance", descending=True, maintain_order=True), n_rows, of_rows, metric)


def loss_of(
    answers: Predictions, actual: NDArray[Any], classes: tuple[str, ...], weight: NDArray[np.float64] | None = None
) -> float:
    """RMSE, or mean log-loss; ``weight`` is how much each row counts, ``[rows]``."""
    if answers.probabilities is None:
        assert answers.prediction is not None
        if weight is not None:
            return weighted_regression_metrics(actual, answers.prediction, weight)["rmse"]
        return regression_metrics(actual, answers.prediction)["rmse"]
    index = {label: i for i, label in enumerate(classes)}
    of_label = answers.probabilities[np.arange(len(actual)), [index[label] for label in actual]].astype(np.float64)
    losses = -np.log(np.clip(of_label, 1e-15, 1.0))
    return float(np.mean(losses) if weight is None else shares(weight) @ losses)
