"""LightGBM, CatBoost and XGBoost with their defaults: fitted on an array, asked about an array.

Each library is imported where it is needed, and is an extra of its own. Targets come as shares of their spread, since
the libraries keep them in float32. The defaults are those of ``lightgbm.train`` (100 rounds of 31 leaves), of CatBoost
(1,000 rounds of depth 6), and of ``xgboost.train`` with the 100 rounds of its estimators (depth 6).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.extras import told_where_missing
from rowcast.training.distil.teacher import TooLate

ROUNDS_OF_XGBOOST, ROUNDS_OF_CATBOOST = 100, 1000
Matrix = NDArray[np.float64]
Ask = Callable[[Matrix], NDArray[np.float64]]
"""Rows ``[rows, columns]`` to numbers ``[rows]``, or to probabilities ``[rows, classes]``."""


@dataclass(frozen=True)
class Task:
    """What trees are to learn."""

    n_classes: int
    """0 for a number."""
    categories: tuple[int, ...]
    """Columns of the matrix that hold codes of levels, from 0; NaN is missing."""
    threads: int
    seed: int
    look: Callable[[int, int], None] = field(default=lambda done, rounds: None)
    """Called after each round with how many are done, and of how many; ends the fit with :class:`TooLate`."""


Fit = Callable[[Matrix, NDArray[Any], NDArray[np.float64] | None, Task], Ask]
"""Rows ``[rows, columns]``; their target ``[rows]``, numbers or classes from 0; weights ``[rows]``; the task."""


@told_where_missing()
def library(name: str) -> Any:
    """One of the libraries.

    Raises:
        MissingPackage: it is not installed; names the line that installs it.
    """
    return importlib.import_module(name)


def _lightgbm(x: Matrix, y: NDArray[Any], weight: NDArray[np.float64] | None, task: Task) -> Ask:
    lightgbm = library("lightgbm")
    kinds = {0: "regression", 2: "binary"}
    settings: dict[str, Any] = {"objective": kinds.get(task.n_classes, "multiclass"), "verbosity": -1}
    settings |= {"num_threads": task.threads, "seed": task.seed, "deterministic": True, "force_row_wise": True}
    if settings["objective"] == "multiclass":
        settings["num_class"] = task.n_classes
    data = lightgbm.Dataset(
        x, y, weight=weight, categorical_feature=list(task.categories), params={"verbosity": -1}, free_raw_data=True
    )
    model = lightgbm.train(settings, data, callbacks=[lambda at: task.look(at.iteration + 1, at.end_iteration)])
    return lambda rows: _of_both(np.asarray(model.predict(rows, num_threads=task.threads), np.float64), task)


def _xgboost(x: Matrix, y: NDArray[Any], weight: NDArray[np.float64] | None, task: Task) -> Ask:
    xgboost = library("xgboost")
    types = ["c" if i in task.categories else "float" for i in range(x.shape[1])]
    kinds = {0: "reg:squarederror", 2: "binary:logistic"}
    settings: dict[str, Any] = {"objective": kinds.get(task.n_classes, "multi:softprob"), "verbosity": 0}
    settings |= {"nthread": task.threads, "seed": task.seed}
    if settings["objective"] == "multi:softprob":
        settings["num_class"] = task.n_classes

    def matrix(rows: Matrix, *labels: Any) -> Any:
        given = dict(zip(("label", "weight"), labels, strict=False))
        return xgboost.DMatrix(rows, **given, feature_types=types, enable_categorical=True, nthread=task.threads)

    def after_iteration(_: Any, model: Any, epoch: int, evals_log: Any) -> bool:
        task.look(epoch + 1, ROUNDS_OF_XGBOOST)
        return False

    looks = type("Looks", (xgboost.callback.TrainingCallback,), {"after_iteration": after_iteration})()
    model = xgboost.train(settings, matrix(x, y, weight), num_boost_round=ROUNDS_OF_XGBOOST, callbacks=[looks])
    return lambda rows: _of_both(np.asarray(model.predict(matrix(rows)), np.float64), task)


def _catboost(x: Matrix, y: NDArray[Any], weight: NDArray[np.float64] | None, task: Task) -> Ask:
    catboost = library("catboost")
    plain = [i for i in range(x.shape[1]) if i not in task.categories]
    levels = list(task.categories)

    def features(rows: Matrix) -> Any:
        codes = np.where(np.isnan(rows[:, levels]), -1, rows[:, levels]).astype(np.int64).astype("S").astype(object)
        numbers = np.ascontiguousarray(rows[:, plain], np.float32)
        return catboost.FeaturesData(numbers if plain else None, codes if levels else None)

    looks = _Looks(task)
    kind = catboost.CatBoostClassifier if task.n_classes else catboost.CatBoostRegressor
    model = kind(random_seed=task.seed, thread_count=task.threads, verbose=False, allow_writing_files=False)
    model.fit(catboost.Pool(features(x), label=y, weight=weight), callbacks=[looks])
    if looks.ended_by is not None:
        raise looks.ended_by
    ask = model.predict_proba if task.n_classes else model.predict
    return lambda rows: np.asarray(ask(catboost.Pool(features(rows))), np.float64)


class _Looks:
    """Looks at the clock for CatBoost, which a callback ends by its answer and not by what it raises."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.ended_by: TooLate | None = None

    def after_iteration(self, info: Any) -> bool:
        """Whether to go on."""
        try:
            self.task.look(info.iteration, ROUNDS_OF_CATBOOST)
        except TooLate as error:
            self.ended_by = error
        return self.ended_by is None


def _of_both(said: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Probabilities of both of two classes, of which a library says that of the second."""
    return np.stack([1.0 - said, said], axis=1) if task.n_classes == 2 else said


BOOSTERS: dict[str, Fit] = {"lightgbm": _lightgbm, "catboost": _catboost, "xgboost": _xgboost}
"""By the name of the library."""
