"""Columns of pandas, polars and pyarrow, each by its type, as :mod:`rowcast.client.columns` takes them.

None of the libraries is imported: their objects are known by where their types come from, and bring what is needed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.client.columns import Column, column_of

_NUMBERS = frozenset(
    {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
    | {"halffloat", "float", "double", "float16", "float32", "float64"}
)
"""What polars and pyarrow call the numbers that NumPy has too."""
_SENT_BY_POLARS = frozenset(
    {"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "Float32", "Float64", "Boolean"}
    | {"String", "Categorical", "Enum", "Date", "Datetime", "Duration", "Null"}
)
_SENT_BY_PYARROW = frozenset(
    {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float", "double", "bool"}
    | {"string", "large_string", "string_view", "date32", "date64", "timestamp", "duration", "null"}
)
"""The types that these libraries write as a service reads them."""
Rows = Sequence[int] | range | None


def family_of(value: object) -> tuple[str, str]:
    """The library that an object's type, or the type it extends, comes from, and the type's name there."""
    for kind in type(value).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in ("pandas", "polars", "pyarrow"):
            return library, kind.__name__
    return "", ""


def any_column(name: str, values: Any, rows: Rows = None) -> Column:
    """A column of whatever a caller has for one: a list, an array, a series of any library.

    Raises:
        Unsendable: it is none, or holds what is not sent.
    """
    library, kind = family_of(values)
    if library == "polars" and kind == "Series":
        return polars_column(name, values, rows)
    if library == "pyarrow" and (kind == "ChunkedArray" or kind.endswith("Array")):
        return pyarrow_column(name, values, rows)
    if library == "pandas" and hasattr(values, "dtype"):
        return pandas_column(name, sys.modules["pandas"].Series(values), rows)
    return column_of(name, values, rows)


def pandas_column(name: str, series: Any, rows: Rows = None) -> Column:
    """A column of a pandas Series of any type: NumPy's, nullable, Arrow's, categories, sparse."""
    dtype = series.dtype
    kind = type(dtype).__name__
    if kind == "ArrowDtype":
        return pyarrow_column(name, series.array.__arrow_array__(), rows)
    if kind == "SparseDtype":
        return column_of(name, np.asarray(series), rows)
    if kind == "DatetimeTZDtype":
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biufMmO":
        return column_of(name, series.to_numpy(), rows)
    gone = series.isna().to_numpy()
    numbers = getattr(dtype, "numpy_dtype", None)
    if isinstance(numbers, np.dtype) and numbers.kind in "biuf":  # Int64, boolean and their like
        values = series.array.to_numpy(dtype=numbers, na_value=0)
        return column_of(name, np.ma.MaskedArray(values, gone), rows)
    objects = series.astype(object).to_numpy()
    return column_of(name, [None if lost else value for value, lost in zip(objects, gone, strict=True)], rows)


def polars_column(name: str, series: Any, rows: Rows = None) -> Column:
    """A column of a polars Series."""
    kind = str(series.dtype.base_type())
    missing = series.is_null().to_numpy() if series.null_count() else None
    if kind.lower() in _NUMBERS or kind == "Boolean":
        if missing is not None:
            series = series.fill_null(False if kind == "Boolean" else 0)
        return column_of(name, _masked(series.to_numpy(), missing), rows)
    if kind in ("Date", "Datetime"):
        counts = series.to_physical().fill_null(0).to_numpy()
        unit = "D" if kind == "Date" else series.dtype.time_unit
        return column_of(name, _counted(counts, f"datetime64[{unit}]", missing), rows)
    if kind == "Duration":
        counts = series.to_physical().fill_null(0).to_numpy()
        return column_of(name, _counted(counts, f"timedelta64[{series.dtype.time_unit}]", missing), rows)
    return column_of(name, series.to_list(), rows)


def pyarrow_column(name: str, array: Any, rows: Rows = None) -> Column:
    """A column of a pyarrow array, whole or in chunks."""
    if str(array.type).startswith("dictionary<"):
        array = array.cast(array.type.value_type)
    kind = str(array.type).partition("[")[0]
    missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if kind in _NUMBERS or kind == "bool":
        if kind == "halffloat":
            array = array.cast("float")  # pyarrow fills no gaps in the other
        if missing is not None:
            array = array.fill_null(False if kind == "bool" else 0)
        return column_of(name, _masked(array.to_numpy(zero_copy_only=False), missing), rows)
    if kind in ("timestamp", "date32", "date64", "duration"):
        counts = array.cast("int32" if kind == "date32" else "int64").fill_null(0).to_numpy(zero_copy_only=False)
        unit = {"date32": "D", "date64": "ms"}.get(kind) or array.type.unit
        type_ = "timedelta64" if kind == "duration" else "datetime64"
        return column_of(name, _counted(counts, f"{type_}[{unit}]", missing), rows)
    return column_of(name, array.to_pylist(), rows)


def polars_stream(frame: Any) -> bytes | None:
    """A polars frame as its own Arrow stream, which takes a fifth of the time; None where its columns are to be
    converted, for they hold what a service does not read, or not as the other forms of a table have it."""
    for series in frame.get_columns():
        kind = str(series.dtype.base_type())
        if kind not in _SENT_BY_POLARS or (kind.startswith("Float") and series.is_infinite().any()):
            return None
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="uncompressed")
    return out.getvalue()


def pyarrow_stream(table: Any) -> bytes | None:
    """The same of a pyarrow table or record batch."""
    from pyarrow import compute, ipc

    for field, array in zip(table.schema, table.columns, strict=True):
        text = str(field.type)
        if text.startswith("dictionary<"):
            text = str(field.type.value_type)
        kind = text.partition("[")[0]
        if kind not in _SENT_BY_PYARROW:
            return None
        if kind in ("float", "double") and compute.any(compute.is_inf(array)).as_py():
            return None
    out = io.BytesIO()
    with ipc.new_stream(out, table.schema.remove_metadata()) as writer:
        writer.write(table)
    return out.getvalue()


def _masked(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> NDArray[Any]:
    return values if missing is None else np.ma.MaskedArray(values, missing)


def _counted(counts: NDArray[Any], dtype: str, missing: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Counts of a unit, ``[rows]``, as timestamps or durations."""
    values: NDArray[Any] = counts.astype(np.int64).view(dtype)
    if missing is not None:
        values[missing] = values.dtype.type("NaT")
    return values
