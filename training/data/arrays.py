"""Tables without names: a NumPy array ``[rows, columns]``, or a list of lists. Columns are called by their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import TableError


def array_names(n_columns: int) -> tuple[str, ...]:
    """What the columns of an array are called.

    >>> array_names(3)
    ('x0', 'x1', 'x2')
    """
    return tuple(f"x{place}" for place in range(n_columns))


def is_array(source: Any) -> bool:
    """Whether a table came as an array: of NumPy or of what gives one, or as a list of lists."""
    if isinstance(source, np.ndarray):
        return not source.dtype.names
    if isinstance(source, list | tuple):
        return bool(source) and all(_is_row(row) for row in source)
    return hasattr(source, "__array__") and hasattr(source, "ndim") and not hasattr(source, "columns")


def array_columns(source: Any) -> list[Any]:
    """The columns of an array ``[rows, columns]``; an array ``[rows]`` is one column.

    Raises:
        TableError: it has more dimensions, or none; or its rows are not of one length.
    """
    if isinstance(source, list | tuple):
        lengths = [len(row) for row in source]
        odd = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
        if odd is not None:
            raise TableError(
                f"rows must be of one length; row 1 holds {lengths[0]} values and row {odd + 1} holds {lengths[odd]}"
            )
        return [[row[place] for row in source] for place in range(lengths[0])]
    array = as_array(source)
    if array.ndim == 1:
        return [array]
    if array.ndim != 2:
        raise TableError(f"an array is a table of rows and columns, got one of shape {array.shape}")
    return [array[:, place] for place in range(array.shape[1])]


def as_array(source: Any) -> NDArray[Any]:
    """What gives an array, as one; a mask is kept.

    Raises:
        TableError: it gives none.
    """
    if isinstance(source, np.matrix):
        return np.asarray(source)
    if isinstance(source, np.ndarray):
        return source
    try:
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:  # of PyTorch, on a device or within a computation
        raise TableError(f"the table gives no NumPy array: {str(error).partition(chr(10))[0]}") from None


def _is_row(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.ndim == 1
    nested = (Mapping, list, tuple, np.ndarray)
    return isinstance(row, list | tuple) and not any(isinstance(value, nested) for value in row)
