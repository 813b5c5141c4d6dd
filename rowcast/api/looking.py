"""``rowcast.look``: what a table is, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.models.arguments import in_python, in_python_terms

if TYPE_CHECKING:
    from rowcast.training.look import Look


@in_python_terms("*")
def look(table: Any, target: str | None = None, *, seed: int = 0, **data: Any) -> Look:
    """Look at a table before anything is trained: what each column is and why, what is odd, what will be left out.

    >>> {column["name"]: column["kind"] for column in rowcast.look(houses, "price")["columns"]}
    {'rooms': 'integer', 'age': 'integer', 'price': 'number'}

    Args:
        table: as for :func:`rowcast.fit`.
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
