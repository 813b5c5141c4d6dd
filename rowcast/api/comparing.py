"""``rowcast.compare``: which of two models is better on the same rows, or that the rows cannot tell."""

from __future__ import annotations

import os
from typing import Any

from rowcast.api.given import with_target
from rowcast.api.loading import load
from rowcast.api.model import Model
from rowcast.models.arguments import in_python_terms


@in_python_terms("seed", "encoding", "separator")
def compare(
    a: Model | str | os.PathLike[str],
    b: Model | str | os.PathLike[str],
    table: Any,
    *,
    seed: int = 0,
    repository: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
    separator: str | None = None,
) -> dict[str, Any]:
    """Measure two models on the same rows, with an interval of their difference.

    >>> found = rowcast.compare("houses:1", other, houses)
    >>> found["metric"], found["rows"], found["difference"] == found["a"] - found["b"]
    ('rmse', 120, True)
    >>> print(found["verdict"])
    120 rows cannot tell which of houses:1 and ... is better: rmse ... and ..., difference ... [..., ...]

    Args:
        a: a model, or what :func:`rowcast.load` opens.
        b: another one, of the same target and task; it may take other columns.
        table: whatever :func:`rowcast.fit` takes, with the target and the columns of both; or a pair ``(X, y)``.
        seed: of the paired bootstrap over rows.
        repository: where models are looked for by name.
        encoding: of a text file.
        separator: of its fields.

    Returns:
        ``metric`` (``rmse``, or ``log_loss`` for classes) and of it ``a``, ``b``, ``difference`` (a less b),
        ``interval`` (``[low, high]``), ``level`` (.95) and ``better`` (``"a"``, ``"b"``, or None where 0 lies in the
        interval); ``metrics``: the same of every metric by name; ``rows``, ``task``, ``target``, ``models``; and
        ``verdict``, a sentence. See :func:`rowcast.training.compare.compare`.

    Raises:
        ModelError: the two do not have the same task, target and classes.
        TableError: the table lacks a column or holds a value that does not fit.
    """
    from rowcast.training.compare import compare as compare_models

    first, second = (model if isinstance(model, Model) else load(model, repository=repository) for model in (a, b))
    source, _ = with_target(table, first.signature.target)
    called = (_called(first, "a"), _called(second, "b"))
    return compare_models(
        first.stored, second.stored, source, seed=seed, encoding=encoding, separator=separator, called=called
    )


def _called(model: Model, place: str) -> str:
    """A model's name and version, or its place among the arguments where it has none."""
    return place if model.name is None else f"{model.name}:{model.version}"
