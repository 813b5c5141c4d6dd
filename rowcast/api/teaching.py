"""What ``teacher=`` and ``--teacher`` name: a model, a file of predictions, a library of trees, or any object."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.api.families import is_pandas
from rowcast.api.loading import load
from rowcast.api.model import Model
from rowcast.api.starting import NOT_PUBLISHED
from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, ModelError
from rowcast.models.names import is_model_name

if TYPE_CHECKING:
    from rowcast.training.config import Config
    from rowcast.training.distil.teacher import Asked, Teacher

_RULE = (
    "the name of a model, such as houses or houses:3, its folder, a file of predictions, or lightgbm, catboost or "
    "xgboost"
)


def teacher_at(
    given: Any, repository: str | os.PathLike[str] | None, table: Any = None, config: Config | None = None
) -> Teacher | None:
    """Who teaches a fit; None if nobody does.

    Args:
        given: a :class:`rowcast.Model`, or the name of one or its folder; a file or a data frame of predictions; the
            name of a library of boosted trees; an object that has ``predict`` or ``predict_proba``; or None.
        repository: where models are looked for by name.
        table: that the fit learns from, for an object that is asked about its rows.
        config: of the fit, which says what columns of the table are no inputs.

    Raises:
        ConfigError: it is none of these.
        ModelNotFound: no such name, version or folder.
        ModelRefused: its files are not the published ones.
    """
    if given is None:
        return None
    from rowcast.training.distil.file import FileTeacher
    from rowcast.training.distil.own import ObjectTeacher
    from rowcast.training.distil.stored import StoredTeacher

    if isinstance(given, Model):
        return StoredTeacher(given.stored, "" if given.name is not None else NOT_PUBLISHED)
    if isinstance(given, str | os.PathLike):
        return _named(given, repository)
    if any(callable(getattr(given, way, None)) for way in ("predict_proba", "predict")):
        assert config is not None
        return ObjectTeacher(given, _rows_of(table, config, given))
    if is_pandas(given, "DataFrame") or hasattr(given, "__arrow_c_stream__") or isinstance(given, Mapping):
        return FileTeacher(given)
    raise ConfigError(
        f"teacher= must be a model, {_RULE}, or an object with predict or predict_proba, got a "
        f"{type(given).__module__}.{type(given).__qualname__}"
    )


def _named(given: str | os.PathLike[str], repository: str | os.PathLike[str] | None) -> Teacher:
    """A teacher by what is typed on the command line."""
    from rowcast.training.distil.boosters import BOOSTERS
    from rowcast.training.distil.file import FileTeacher
    from rowcast.training.distil.stored import StoredTeacher
    from rowcast.training.distil.trees import TreesTeacher
    from rowcast.training.settings import did_you_mean

    text = os.fspath(given)
    if text in BOOSTERS:
        return TreesTeacher(text)
    path = Path(text)
    is_name = isinstance(given, str) and is_model_name(text.partition(":")[0].partition("@")[0])
    if not text or (not is_name and not path.is_dir()):
        if not text or not path.exists():
            raise ConfigError(f"--teacher must be {_RULE}, got {text!r}, and there is no such file or folder")
        return FileTeacher(given)
    try:
        return StoredTeacher(load(given, repository=repository).stored)
    except (ModelError, ConfigError) as error:
        meant = did_you_mean(text, BOOSTERS)
        raise type(error)(f"--teacher {named(text)}: {error}{meant}") from error


def _rows_of(table: Any, config: Config, asked_of: Any) -> Callable[[Asked], Any]:
    """How rows of the caller's table are handed to an object: in its family, with the columns that it was fitted on.

    An object that does not say which these were gets all but the target and others that are no inputs.

    Raises:
        ConfigError: the table is of a family that has no types, or no rows by number; or it lacks a column.
    """
    data = config.data
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(table, polars.LazyFrame):
        table = table.collect()

    def kept(names: Any) -> list[Any]:
        wanted = [str(name) for name in getattr(asked_of, "feature_names_in_", ())]
        found = {str(name): name for name in names}
        lacks = [name for name in wanted if name not in found]
        if lacks:
            raise ConfigError(
                f"teacher={type(asked_of).__qualname__} was fitted on {', '.join(map(repr, lacks[:10]))}, which the "
                f"table lacks; its columns: {', '.join(list(found)[:20])}"
            )
        if wanted:
            return [found[name] for name in wanted]
        return [name for name in names if data.rename.get(str(name), str(name)) not in data.no_inputs]

    def places(name: Any, asked: Asked) -> Any:
        return asked.of[data.rename.get(str(name), str(name))] if asked.of else asked.places

    if is_pandas(table, "DataFrame"):
        pandas, names = sys.modules["pandas"], kept(table.columns)
        return lambda asked: pandas.DataFrame({name: table[name].array.take(places(name, asked)) for name in names})
    if polars is not None and isinstance(table, polars.DataFrame):
        names = kept(table.columns)
        return lambda asked: polars.DataFrame([table[name].gather(places(name, asked)) for name in names])
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(table, pyarrow.Table):
        names = kept(table.column_names)
        return lambda asked: pyarrow.table({name: table.column(name).take(places(name, asked)) for name in names})
    if isinstance(table, np.ndarray) and table.ndim == 2:
        from rowcast.training.data.arrays import array_names

        columns = list(array_names(table.shape[1]))
        chosen = [(i, name) for i, name in enumerate(columns) if name not in data.no_inputs]
        return lambda asked: np.stack([table[places(name, asked), i] for i, name in chosen], axis=1)
    raise ConfigError(
        "teacher= is asked about rows as it was fitted on them, so the table must be a data frame of pandas or polars, "
        f"an Arrow table or an array of rows and columns, got a {type(table).__module__}.{type(table).__qualname__}"
    )
