"""``rowcast.Model``: a fitted model, ready to predict whole tables."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast.api.given import with_target
from rowcast.models.arguments import in_python, in_python_terms
from rowcast.models.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from rowcast.api.curves import Plot
    from rowcast.api.predicting import Predictor
    from rowcast.api.temporary import TemporaryFolder
    from rowcast.models.repository import StoredModel
    from rowcast.models.signature import Signature
    from rowcast.models.summary import Summary


class Model:
    """A fitted model: what :func:`rowcast.fit` and :func:`rowcast.load` give.

    Args:
        stored: its files, verified.
        temporary: the folder it lives in, where it is not published.
        repository: where :meth:`publish` publishes it, unless it is told otherwise.
    """

    def __init__(
        self,
        stored: StoredModel,
        temporary: TemporaryFolder | None = None,
        repository: str | os.PathLike[str] | None = None,
    ) -> None:
        self.stored = stored
        self._temporary = temporary
        self._repository = repository

    @property
    def name(self) -> str | None:
        """The name it is published under; None where it is not."""
        return None if self._temporary else self.stored.manifest.name

    @property
    def version(self) -> int | None:
        """The version it is published as; None where it is not."""
        return None if self._temporary else self.stored.manifest.version

    @property
    def path(self) -> Path:
        """The folder of this version. Of a model that is not published it goes away with this object."""
        return self.stored.path

    @property
    def signature(self) -> Signature:
        """The task, the target, the classes and the columns that it takes."""
        return self.stored.manifest.signature

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on validation and test rows.

        >>> sorted(model.metrics["test"])
        ['mae', 'r2', 'rmse']
        """
        return self.stored.manifest.metrics

    @property
    @in_python_terms()
    def history(self) -> pl.DataFrame:
        """A row for each look at the validation rows: ``epoch``, ``train_loss``, ``validation_loss``,
        ``learning_rate``, ``seconds``, ``best``; see :mod:`rowcast.training.fit.history`.

        >>> model.history["epoch"].to_list()
        [1, 2, 3]
        """
        from rowcast.training.fit.history import history_of

        return history_of(self.stored)

    @property
    def decisions(self) -> tuple[str, ...]:
        """What training decided, in sentences that name arguments of :func:`rowcast.fit`; the manifest names flags.

        >>> [decision for decision in model.decisions if decision.startswith("intervals")]
        ['intervals are equally wide for every row, ... wide on average, asked to hold 0.9 of all rows; they hold ...']
        """
        return tuple(map(in_python, self.stored.manifest.decisions))

    @in_python_terms()
    def plot_history(self) -> Plot:
        """The learning curves: the losses of each look at the training and validation rows, and which was best.

        >>> model.plot_history()
        <rowcast plot of 3 looks at the validation rows; save() writes it>
        >>> model.plot_history().save("history.svg").stat().st_size > 1000
        True

        Returns:
            a picture that a notebook shows, and that is written by ``.save("history.svg")`` or ``"history.html"``.

        Raises:
            ModelError: the model was published before histories were kept.
        """
        from rowcast.api.curves import learning_curves

        return learning_curves(self.history)

    def summary(self) -> Summary:
        """The network: layers, shapes of their outputs, parameters, bytes, and microseconds of a row, measured now.

        >>> print(model.summary())
        not published  regression of 'price' from 2 columns
        ...
        ... us for a row alone, ... us a row in runs of 64 (medians of ... runs on this machine)
        """
        from rowcast.models.summary import summary_of

        return summary_of(self.stored, called=None if self._temporary is None else "not published")

    @property
    @in_python_terms()
    def classes(self) -> tuple[Any, ...]:
        """The classes in the target's own type, in the order of :meth:`predict_proba`; empty of a regression.

        >>> classifier.classes, model.classes
        ((False, True), ())
        """
        from rowcast.models.labels import typed_label
        from rowcast.training.predict import label_type_in

        of = label_type_in(self.stored.manifest)
        return tuple(typed_label(label, of) for label in self.signature.classes)

    @in_python_terms("keep", "encoding", "separator")
    def predict(
        self,
        table: Any,
        keep: Sequence[str] = (),
        explain: bool = False,
        *,
        encoding: str | None = None,
        separator: str | None = None,
    ) -> Any:
        """Predict every row of a table, in order.

        >>> list(model.predict(houses))
        ['prediction', 'lower', 'upper']
        >>> list(model.predict({"rooms": 5, "age": 41}))
        ['prediction', 'lower', 'upper']

        Args:
            table: whatever :func:`rowcast.fit` takes, or one row: a dict of its values, or a row of a pandas frame.
                Columns that the model does not know are ignored, the target too.
            keep: columns of the table to carry along, before the predictions.
            explain: not part of this model.
            encoding: of a text file; the one of the training table when not given.
            separator: of its fields; found when neither this nor the training named one.

        Returns:
            a table of the family that came in (:mod:`rowcast.api.families`). Classes give ``label``, in the target's
            own type, and a ``probability_CLASS`` for each class; regression gives ``prediction``, and ``lower`` and
            ``upper`` where intervals were fitted.

        Raises:
            TableError: the table lacks a column or holds a value that does not fit.
        """
        if explain:
            raise ConfigError("explain= asks for explanations, which are not part of this model")
        return self._predictor.answer(table, [keep] if isinstance(keep, str) else keep, encoding, separator)

    @in_python_terms("encoding", "separator")
    def predict_proba(self, table: Any, *, encoding: str | None = None, separator: str | None = None) -> NDArray[Any]:
        """The probability of each class in each row.

        >>> classifier.predict_proba(houses.head(3)).shape
        (3, 2)

        Args:
            table: as :meth:`predict` takes it.

        Returns:
            float32 ``[rows, classes]``, in the order of :attr:`classes`.

        Raises:
            ConfigError: the model predicts a number.
            TableError: the table lacks a column or holds a value that does not fit.
        """
        if not self.signature.classes:
            raise ConfigError(f"predict_proba() takes a model of classes; this one predicts a number, {self._target}")
        probabilities: NDArray[Any] = self._predictor.probabilities(table, encoding, separator)
        return probabilities

    @in_python_terms("encoding", "separator")
    def evaluate(
        self,
        table: Any,
        by: str | Sequence[str] | None = None,
        *,
        encoding: str | None = None,
        separator: str | None = None,
    ) -> Any:
        """Measure the model on a table that holds the target.

        >>> sorted(model.evaluate(houses))
        ['mae', 'r2', 'rmse']
        >>> list(model.evaluate(houses, by="rooms"))
        ['rooms', 'rows', 'few', 'rmse', 'mae', 'r2', 'coverage']

        Args:
            table: whatever :func:`rowcast.fit` takes, or a pair of a table and its target, ``(X, y)``. Where it holds
                the weights of the training, metrics are weighted.
            by: columns of the table, whose values are measured one by one; they need not be inputs.
            encoding: of a text file; the one of the training table when not given.
            separator: of its fields; found when neither this nor the training named one.

        Returns:
            a dict of metrics, numbers all. With ``by`` a frame with a row for each value, or combination of values: the
            columns of ``by``, ``rows``, ``few`` (fewer than 30 rows, whose metrics say little) and the metrics; of
            pandas where the table is, else of polars.

        Raises:
            TableError: the table lacks a column or holds a value that does not fit.
        """
        from rowcast.training.predict import judge_table, measure

        source, table = with_target(table, self.signature.target)
        judged = judge_table(self.stored, source, encoding=encoding, separator=separator)
        if by is None:
            return dict(measure(self.stored, judged)["metrics"])
        from rowcast.api.families import is_pandas
        from rowcast.training.slices import slices_of

        slices = slices_of(self.stored, judged, [by] if isinstance(by, str) else by)
        if not is_pandas(table, "DataFrame"):
            return slices
        pandas = sys.modules["pandas"]
        return pandas.DataFrame({name: slices[name].to_list() for name in slices.columns})

    @in_python_terms("repeats", "seed", "encoding", "separator")
    def importance(
        self,
        table: Any,
        repeats: int = 5,
        *,
        seed: int = 0,
        encoding: str | None = None,
        separator: str | None = None,
    ) -> Any:
        """What each column is worth: by how much the loss rises when its values are shuffled among the rows.

        >>> sorted(model.importance(houses, repeats=2)["column"])
        ['age', 'rooms']

        Args:
            table: whatever :func:`rowcast.fit` takes, with the target; better not the rows of training. At most 10,000
                of its rows are shuffled, of a wide table fewer.
            repeats: how often each column is shuffled.
            seed: of the shuffles; the same seed gives the same numbers.
            encoding: of a text file.
            separator: of its fields.

        Returns:
            a frame of ``column``, ``importance`` (of the RMSE in the target's own units, or of the log-loss in nats)
            and ``deviation`` (over the repeats), the highest first: of pandas where ``table`` is, else of polars.

        Raises:
            ConfigError: ``repeats`` is less than 1.
            TableError: the table lacks a column or holds a value that does not fit.
        """
        from rowcast.api.families import is_pandas
        from rowcast.training.importance import importance_of

        form = {"encoding": encoding, "separator": separator}
        source, table = with_target(table, self.signature.target)
        found = importance_of(self.stored, source, repeats=repeats, seed=seed, **form).table
        if not is_pandas(table, "DataFrame"):
            return found
        return sys.modules["pandas"].DataFrame(found.to_dict(as_series=False))

    @in_python_terms("encoding", "separator")
    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        table: Any = None,
        *,
        encoding: str | None = None,
        separator: str | None = None,
    ) -> Path:
        """Write what is known of the model into one file of HTML, which needs nothing else.

        >>> model.report("report.html", houses).name
        'report.html'

        Args:
            path: of the file; without one it is that of ``report.html`` in the model's own folder, as it was published.
            table: rows with the target, whose answers are shown beside those of validation and test rows.
            encoding: of a text file.
            separator: of its fields.

        Returns:
            the path of the file.

        Raises:
            ConfigError: ``path`` is needed: for a table, or by a model of an earlier version, which has no report yet.
            TableError: the table lacks a column or holds a value that does not fit.
        """
        from rowcast.training.report.page import REPORT_FILE
        from rowcast.training.report.stored import write_report

        if path is None:
            if table is not None or REPORT_FILE not in self.stored.manifest.files:
                raise ConfigError("path= says where to write the report: the model's own folder has none like it")
            return self.path / REPORT_FILE
        form = {"encoding": encoding, "separator": separator}
        source = None if table is None else with_target(table, self.signature.target)[0]
        return write_report(self.stored, path, source, named=self.name is not None, **form)

    @in_python_terms()
    def publish(self, name: str, repository: str | os.PathLike[str] | None = None) -> Model:
        """Publish it as the next version of ``name``: the same files, byte for byte.

        >>> model.publish("copy")
        <rowcast.Model copy:1 regression>

        Args:
            name: 1 to 64 of ``a-z 0-9 _ -``.
            repository: where; the one that was given to :func:`rowcast.fit`, ``ROWCAST_REPOSITORY``, or
                ``models/repository``.

        Returns:
            the published model.

        Raises:
            ModelError: the name is not valid, or the repository cannot be written.
            ModelRefused: its files are not those that were fitted.
        """
        from rowcast.api.loading import repository_at
        from rowcast.models.copies import publish_again
        from rowcast.models.names import check_model_name

        home = repository_at(repository or self._repository)
        home.check_writable(check_model_name(name))
        return Model(publish_again(self.stored, name, home))

    @functools.cached_property
    def _predictor(self) -> Predictor:
        """Opened at the first prediction, and kept."""
        from rowcast.api.predicting import Predictor

        return Predictor(self.stored)

    @property
    def _target(self) -> str:
        return repr(self.signature.target)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy holds the files: it lives where the original is published, or in a folder of its own."""
        from rowcast.api.copying import restored, state_of

        return restored, (type(self), state_of(self.stored), self._temporary is None, self._repository)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from rowcast.api.notebook import html_of

        return html_of(self)

    def __repr__(self) -> str:
        manifest = self.stored.manifest
        called = "not published" if self._temporary else f"{manifest.name}:{manifest.version}"
        return f"<rowcast.Model {called} {manifest.signature.task}>"
