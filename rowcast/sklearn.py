"""Estimators of scikit-learn: ``RowcastClassifier`` and ``RowcastRegressor``.

>>> from rowcast.sklearn import RowcastRegressor
>>> from sklearn.model_selection import GridSearchCV, cross_val_score
>>> len(cross_val_score(RowcastRegressor(preset="quick", fit_settings={"epochs": 1}), X, y, cv=2))
2
>>> plain = RowcastRegressor(preset="textbook", fit_settings={"epochs": 1})
>>> GridSearchCV(plain, {"optimizer__lr": [0.001, 0.01]}, cv=2).fit(X, y).best_estimator_.model_
<rowcast.Model not published regression>

Nothing is published. The fitted :class:`rowcast.Model` is ``model_``, and ``model_.publish("name")`` publishes it.

Data frames are taken as they are, so their categories and dates need no encoding; arrays have columns of numbers, or of
whatever they hold. NaN is missing, infinity is refused, sparse matrices are not taken. Early stopping needs validation
rows: 16% of those given are held out for it (``data={"validation_share": 0.16}``), and no test rows are, since whoever
asks scikit-learn has them.

scikit-learn is needed by this module alone: ``pip install 'rowcast[train]'``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, RowcastError, TableError
from rowcast.models.warnings import TooFewRowsWarning

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        _check_y,
        assert_all_finite,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rowcast.sklearn needs scikit-learn, which is not installed: pip install 'rowcast[train]' ({error})",
        name=error.name,
    ) from None

if TYPE_CHECKING:
    from rowcast.api.model import Model

__all__ = ["EXPECTED_FAILED_CHECKS", "InvalidInput", "RowcastClassifier", "RowcastRegressor"]

EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is not the same row twice: rows are held out "
    "for early stopping and put into batches by chance, and both differ once there is a row more",
}
"""What of scikit-learn's ``check_estimator`` does not hold, and why."""
_ARGUMENTS = (
    *("preset", "budget", "seed", "device", "network", "loss", "folds", "max_members", "max_row_us", "teacher"),
    *("optimizer", "objective", "features", "augment"),
)
"""Parameters that are arguments of :func:`rowcast.fit` as they are."""
_WAYS_TO_SPLIT = frozenset({"split_by_time", "group", "split", "fold"})
"""Fields of ``data`` that say which rows are held out."""
_SECTIONS = ("network", "optimizer", "objective", "features", "augment", "data", "fit_settings")
"""Parameters that are dicts: each field of theirs is a parameter too, such as ``network__members``."""


class InvalidInput(RowcastError, ValueError):
    """A table or a setting breaks a rule: a ValueError, as scikit-learn raises one where input does."""


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators are.

    Args:
        preset: ``quick``, ``balanced``, ``best`` or ``textbook``; None is ``balanced``.
        budget: wall clock of a fit at most, in seconds or as a text: ``90``, ``"60s"``, ``"30m"``.
        seed: of the split, the initial weights and the order of rows. The same seed gives the same model.
        epochs: passes over the rows at most.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        network: fields of the network, or a function that builds a torch module.
        loss: the name of a loss, or a function.
        folds, max_members, max_row_us, refit: see :func:`rowcast.fit`.
        teacher: likewise. scikit-learn clones an estimator that is a parameter unfitted, in a search say: give it as a
            ``sklearn.frozen.FrozenEstimator``.
        optimizer, objective, features, augment, data: fields of these sections, see :func:`rowcast.fit`.
        fit_settings: fields of the section ``fit``, whose name is a method's here.
        verbose: what is shown meanwhile, see :func:`rowcast.fit`.

    Attributes:
        model_: the fitted model, not published.
        n_features_in_, feature_names_in_: as ever; names where a data frame was fitted whose names are texts.
        n_iter_: epochs of the fit.
    """

    model_: Model
    n_features_in_: int
    n_iter_: int

    def __init__(
        self,
        *,
        preset: str | None = None,
        budget: str | float | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        device: str | None = None,
        network: Any = None,
        loss: Any = None,
        folds: int | None = None,
        max_members: int | None = None,
        max_row_us: float | None = None,
        teacher: Any = None,
        refit: bool = False,
        optimizer: Mapping[str, Any] | None = None,
        objective: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
        augment: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        fit_settings: Mapping[str, Any] | None = None,
        verbose: Any = False,
    ) -> None:
        self.preset = preset
        self.budget = budget
        self.seed = seed
        self.epochs = epochs
        self.device = device
        self.network = network
        self.loss = loss
        self.folds = folds
        self.max_members = max_members
        self.max_row_us = max_row_us
        self.teacher = teacher
        self.refit = refit
        self.optimizer = optimizer
        self.objective = objective
        self.features = features
        self.augment = augment
        self.data = data
        self.fit_settings = fit_settings
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with ``deep`` also fields of those that are dicts, such as ``network__members``."""
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep:
            sections = {name: params[name] for name in _SECTIONS if isinstance(params[name], Mapping)}
            params |= {f"{name}__{field}": value for name, held in sections.items() for field, value in held.items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters; ``network__members=4`` sets one field of ``network`` and keeps the others."""
        fields = {
            path: value for path, value in params.items() if path.partition("__")[0] in _SECTIONS and "__" in path
        }
        super().set_params(**{name: value for name, value in params.items() if name not in fields})
        for path, value in fields.items():
            section, _, field = path.partition("__")
            held = getattr(self, section)
            if held is not None and not isinstance(held, Mapping):
                raise ValueError(f"{path} is a field of {section}, which must be a dict or None then, got {held!r}")
            setattr(self, section, {**(held or {}), field: value})
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Texts are taken too; but that tag would promise that any object in a cell is, and a dict is refused.
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _fit(
        self, table: Any, y: NDArray[Any], *, called: Any, task: str, sample_weight: Any, split: Any = None
    ) -> None:
        """Fit a model on the rows of a checked table.

        Args:
            table: a data frame, or an array ``[rows, columns]``.
            y: the target ``[rows]``, checked.
            called: the name of the target, if it has one.
            task: of ``config.data``.
            sample_weight: weights ``[rows]``, or None.
            split: ``train`` or ``validation`` for each row ``[rows]``; None: at random, by the config.
        """
        import polars as pl

        import rowcast
        from rowcast.api.families import names_of

        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        names = list(names_of(table) or ())
        called = called if isinstance(called, str) and called not in names else ""
        own = dict(self.data or {})
        data: dict[str, Any] = {"task": task, "test_share": 0.0}
        if isinstance(table, np.ndarray):  # whoever made an array wants its columns, even one that counts up
            data["keep"] = [name for name in names if name not in own.get("drop", ())]
        settings = {name: getattr(self, name) for name in _ARGUMENTS if getattr(self, name) is not None}
        length = dict(self.fit_settings or {}) | ({} if self.epochs is None else {"epochs": self.epochs})
        with _as_value_errors(), warnings.catch_warnings():
            # It tells of few rows to measure on, and here the caller measures.
            warnings.simplefilter("ignore", TooFewRowsWarning)
            self.model_ = rowcast.fit(
                table,
                pl.Series(called, y.tolist()),
                weight=weight,
                split=split,
                data=data | own,
                fit=length,
                verbose=self.verbose,
                refit=self.refit,
                **settings,
            )
        self._names = None if isinstance(table, np.ndarray) else names
        self.n_iter_ = int(self.model_.history["epoch"].max() or 0)  # type: ignore[arg-type]

    def _table(self, X: Any, *, reset: bool = False) -> Any:
        """A table that scientists hand over, checked: a data frame as it is, all else as an array ``[rows, columns]``.

        Args:
            X: the table.
            reset: whether it is fitted, and later ones have to be like it.
        """
        from rowcast.api.families import Arrow, Pandas, Polars, family_of

        family = family_of(X) if hasattr(X, "columns") or hasattr(X, "collect_schema") else None
        if isinstance(family, Arrow | Pandas | Polars):
            validate_data(self, family.table, reset=reset, skip_check_array=True)
            if reset or self._names is not None:
                return family.table
            X = family.table  # an array was fitted: by position
        array = self._array(X, reset=reset)
        if reset or self._names is None:
            return array
        return dict(zip(self._names, array.T, strict=True))  # a data frame was fitted: scikit-learn has warned

    def _array(self, X: Any, *, reset: bool) -> NDArray[Any]:
        from rowcast.training.data.split import MIN_ROWS

        few = MIN_ROWS if reset else 1
        checks: dict[str, Any] = {"reset": reset, "ensure_all_finite": "allow-nan", "ensure_min_samples": few}
        try:
            array: NDArray[Any] = validate_data(self, X, dtype="numeric", **checks)
        except ValueError:
            values = X if hasattr(X, "shape") else np.array(X, dtype=object)
            texts = getattr(values, "dtype", None)
            if getattr(values, "ndim", 0) != 2 or texts is None or texts.kind not in "OU":
                raise
            if not any(isinstance(value, str) for value in np.asarray(values, object).ravel()):
                raise
            array = validate_data(self, np.asarray(values, object), dtype=None, **checks)
        return array

    def _checked(self, X: Any, y: Any) -> Any:
        """The table to fit on."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        table = self._table(X, reset=True)
        check_consistent_length(table, y)
        return table

    def _answers(self, X: Any, name: str) -> Any:
        """A column of the model's answers ``[rows]``."""
        check_is_fitted(self)
        table = self._table(X)
        with _as_value_errors():
            return np.asarray(self.model_.predict(table)[name])


class RowcastClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A network that predicts classes. See the module; attributes are those of :class:`RowcastRegressor`.

    Attributes:
        classes_: the classes in the target's own type, sorted. Where a model cannot have them as labels (a blank text,
            or ``"True"``, which is a boolean), ``model_`` predicts their places here instead.
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RowcastClassifier:
        """Fit a model.

        Args:
            X: a data frame, or an array ``[rows, columns]``.
            y: a class for each row ``[rows]``.
            sample_weight: how much each row counts ``[rows]``.

        Raises:
            ValueError: a table or setting breaks a rule.
        """
        table = self._checked(X, y)
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        classes, places = np.unique(labels, return_inverse=True)
        counted = len(classes)
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
            counted = len(np.unique(places[weights > 0]))
        if counted < 2:
            rows = "rows" if sample_weight is None else "rows that have a weight"
            raise ValueError(f"{type(self).__name__} needs 2 classes at least, got {counted} class in the {rows}")
        task = "binary" if len(classes) == 2 else "multiclass"
        self._coded = not _may_be_labels(classes, task)
        self._fit(
            table,
            places if self._coded else labels,
            called=getattr(y, "name", None),
            task=task,
            sample_weight=sample_weight,
            split=self._split(places),
        )
        places_of = {
            label: place for place, label in enumerate(range(len(classes)) if self._coded else classes.tolist())
        }
        self._columns = np.argsort([places_of[label] for label in self.model_.classes])
        self.classes_ = classes
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each row ``[rows]``, in the type of ``classes_``."""
        labels = self._answers(X, "label")
        answers: NDArray[Any] = self.classes_[labels] if self._coded else labels.astype(self.classes_.dtype)
        return answers

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of each class in each row, float32 ``[rows, classes]``, in the order of ``classes_``."""
        check_is_fitted(self)
        table = self._table(X)
        with _as_value_errors():
            probabilities: NDArray[Any] = self.model_.predict_proba(table)[:, self._columns]
        return probabilities

    def _split(self, places: NDArray[Any]) -> list[str] | None:
        """Where a class has a single row, that row is trained on and the others are split; else None.

        Args:
            places: the class of each row ``[rows]``, by its place.
        """
        from rowcast.training.data.config import DataConfig
        from rowcast.training.data.split import split_random

        own = dict(self.data or {})
        folds = (self.fit_settings or {}).get("folds", "none") if self.folds is None else self.folds
        if np.bincount(places).min() > 1 or _WAYS_TO_SPLIT & own.keys() or folds != "none":
            return None
        shared = np.flatnonzero(np.bincount(places)[places] > 1)
        texts = places.astype(str).astype(object)
        share = own.get("validation_share", DataConfig.model_fields["validation_share"].default)
        with _as_value_errors():
            split = split_random(len(shared), seed=self.seed or 0, labels=texts[shared], test=0.0, validation=share)
        words = ["train"] * len(places)
        for row in shared[split.validation].tolist():
            words[row] = "validation"
        return words


class RowcastRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A network that predicts a number. See the module for what it takes."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RowcastRegressor:
        """Fit a model.

        Args:
            X: a data frame, or an array ``[rows, columns]``.
            y: a number for each row ``[rows]``.
            sample_weight: how much each row counts ``[rows]``.

        Raises:
            ValueError: a table or setting breaks a rule.
        """
        table = self._checked(X, y)
        values = _check_y(y, y_numeric=True, estimator=self)
        called = getattr(y, "name", None)
        self._fit(table, values, called=called, task="regression", sample_weight=sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The prediction of each row, float64 ``[rows]``."""
        predictions: NDArray[np.float64] = self._answers(X, "prediction")
        return predictions


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """What breaks a rule is a ValueError within, as scikit-learn and what stands on it expect."""
    try:
        yield
    except (TableError, ConfigError) as error:
        raise InvalidInput(*error.args) from error


def _may_be_labels(classes: NDArray[Any], task: str) -> bool:
    """Whether a model can have these classes as they are: a text that is blank or a number in disguise it cannot."""
    import polars as pl

    from rowcast.models.labels import typed_label
    from rowcast.training.columns.label_type import label_type
    from rowcast.training.data.config import DataConfig
    from rowcast.training.data.table import read_table
    from rowcast.training.prepare import target_of

    if classes.dtype.kind not in "biufUO" or not all(isinstance(c, str | int | float) for c in classes.tolist()):
        return False
    try:
        table = read_table(pl.DataFrame({"target": classes.tolist() * 3}))  # three rows of each: no key
        held, target = target_of(table, DataConfig(target="target", task=task))
    except RowcastError:
        return False
    of = label_type(held, target)
    return {typed_label(label, of) for label in target.classes} == set(classes.tolist())
