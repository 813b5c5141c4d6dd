"""Rowcast: train a network on a table, get one ONNX file, serve it. This is its Python API.

>>> import rowcast
>>> model = rowcast.fit(frame, target="price")          # doctest: +SKIP
>>> model.predict(new_rows)                             # doctest: +SKIP
>>> client = rowcast.Client("http://127.0.0.1:3000")    # doctest: +SKIP
>>> client.predict(new_rows)                            # doctest: +SKIP

Each function hands over to the room that does the work; nothing is computed here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The folders models/, training/, service/ and loadtest/ stand at the top of a checkout and are modules of this package
# by links that git keeps: mypy, pytest and editors follow them, ruff reads each file once, at its own place. A wheel
# maps the folders (pyproject.toml) and needs no links. A bento and a clone on Windows hold the folders without the
# links: there, the rooms are found beside this package.
if not os.path.isdir(os.path.join(os.path.dirname(__file__), "service")):
    __path__.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rowcast.models.arguments import in_python, in_python_terms
from rowcast.models.errors import RowcastError
from rowcast.models.version import VERSION

if TYPE_CHECKING:
    import polars as pl

    from rowcast.client import AsyncClient, Client, ClientError
    from rowcast.models.repository import StoredModel
    from rowcast.training.fit.loop import Progress
    from rowcast.training.look import Look

__all__ = ["AsyncClient", "Client", "ClientError", "Model", "RowcastError", "fit", "load", "look"]
__version__ = VERSION

DEFAULT_REPOSITORY = Path("models/repository")


def __dir__() -> list[str]:
    """What users may call, and nothing that this module needs itself."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


def __getattr__(name: str) -> Any:
    """The clients, imported when they are asked for: whoever trains need not wait for them."""
    why = ""
    if name in ("AsyncClient", "Client", "ClientError"):
        try:
            import rowcast.client

            return getattr(rowcast.client, name)
        except ModuleNotFoundError as error:  # a bento holds no clients; hasattr() asks for an AttributeError
            why = f": {error}"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{why}")


class Model:
    """A published model, ready to predict whole tables."""

    def __init__(self, stored: StoredModel) -> None:
        self.stored = stored

    @property
    def path(self) -> Path:
        """The folder of this version."""
        return self.stored.path

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on validation and test rows."""
        return self.stored.manifest.metrics

    @property
    def history(self) -> pl.DataFrame:
        """A row for each look at the validation rows: ``epoch``, ``train_loss``, ``validation_loss``,
        ``learning_rate``, ``seconds``, ``best``; see :mod:`rowcast.training.fit.history`."""
        from rowcast.training.fit.history import history_of

        return history_of(self.stored)

    @property
    def decisions(self) -> tuple[str, ...]:
        """What training decided, in sentences that name arguments of :func:`fit`; the manifest names flags."""
        return tuple(map(in_python, self.stored.manifest.decisions))

    @in_python_terms("keep", "encoding", "separator")
    def predict(
        self, table: Any, *, keep: Sequence[str] = (), encoding: str | None = None, separator: str | None = None
    ) -> pl.DataFrame:
        """Predictions for a file or data frame, rows in order; see :func:`rowcast.training.predict.predict_table`."""
        from rowcast.training.predict import predict_table

        return predict_table(self.stored, table, keep=keep, encoding=encoding, separator=separator)

    @in_python_terms("encoding", "separator")
    def evaluate(self, table: Any, *, encoding: str | None = None, separator: str | None = None) -> dict[str, Any]:
        """Metrics on a file or data frame that holds the target."""
        from rowcast.training.predict import evaluate_table

        return dict(evaluate_table(self.stored, table, encoding=encoding, separator=separator)["metrics"])

    def __repr__(self) -> str:
        manifest = self.stored.manifest
        return f"<rowcast.Model {manifest.name}:{manifest.version} {manifest.signature.task}>"


@in_python_terms()
def fit(
    table: Any,
    *,
    target: str,
    name: str = "model",
    repository: str | os.PathLike[str] = DEFAULT_REPOSITORY,
    validation: Any = None,
    test: Any = None,
    callbacks: Sequence[Callable[[Progress], object]] = (),
    **config: Any,
) -> Model:
    """Train a model on a file or data frame, and publish it.

    Args:
        table: a file, a folder or pattern of files, a data frame, or a dict of columns; see
            :func:`rowcast.training.data.table.read_table`.
        target: the column to predict.
        name: of the model.
        repository: where models live.
        validation: a table of validation rows, instead of a share of ``table``.
        test: a table that is only evaluated, instead of a share of ``table``.
        callbacks: called after each look at the validation rows, with
            :class:`rowcast.training.fit.loop.Progress`; one that answers with what is true ends the fit, and the best
            weights so far are published.
        config: fields of :class:`rowcast.training.config.Config`, such as ``preset="quick"`` or
            ``network={"members": 16}``.

    Raises:
        RowcastError: see :mod:`rowcast.models.errors`.
    """
    from rowcast.models.repository import Repository
    from rowcast.training.config import make_config
    from rowcast.training.train import train

    config["data"] = {**config.get("data", {}), "target": target}
    trained = train(
        table,
        make_config(overrides=config),
        name=name,
        repository=Repository(repository),
        validation=validation,
        test=test,
        callbacks=callbacks,
    )
    return Model(trained.model)


@in_python_terms("*")
def look(table: Any, target: str | None = None, *, seed: int = 0, **data: Any) -> Look:
    """Look at a table before anything is trained: what each column is and why, what is odd, what will be left out.

    Args:
        table: as for :func:`fit`.
        target: the column to predict; without one, every column is looked at as an input.
        seed: of the split, as in training.
        data: fields of :class:`rowcast.training.data.config.DataConfig`, such as ``drop=["id"]`` or
            ``category=["zip"]``.

    Returns:
        a dict of ``rows``, ``columns``, ``task`` and ``warnings``, as ``rowcast look --json`` prints it; printed, a
        table to read.

    Raises:
        RowcastError: the table cannot be read; see :mod:`rowcast.models.errors`.
    """
    from rowcast.training.look import LookConfig
    from rowcast.training.look import look as look_at

    found = look_at(table, LookConfig.of(data if target is None else {**data, "target": target}, seed))
    return found.reworded(lambda text: in_python(text, "*"))


@in_python_terms()
def load(name: str, version: int | None = None, repository: str | os.PathLike[str] = DEFAULT_REPOSITORY) -> Model:
    """Open a published model, the latest version unless one is given.

    Raises:
        ModelNotFound: no such name or version.
        ModelRefused: its files are not the published ones.
    """
    from rowcast.models.repository import Repository

    return Model(Repository(repository).open(name, version))
