"""Data frames, Arrow tables, dicts and rows to one plain form: text, numbers, booleans, dates, times and durations.

An empty string and NaN are null there, as they are in text files. A column that is none of these (lists, bytes, ...) is
no error as long as nobody asks for it: what is wrong with it stands in ``InMemory.unusable``. One of several of them is
text, and ``InMemory.mixed`` says what each value was.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.models.numpy_times import duration_micros, micros_of
from rowcast.models.values import format_timestamp
from rowcast.training.data.arrays import array_columns, array_names, is_array
from rowcast.training.data.index import NOTHING_WRITTEN, PandasMetadata, pandas_metadata
from rowcast.training.data.objects import (
    BEYOND_DATES,
    BEYOND_DURATIONS,
    Mixed,
    Unusable,
    half_character,
    native,
    series_of,
)

_WAYS = (
    "a table is a file, a polars or pandas data frame, an Arrow table, an array of rows and columns, a dict of columns "
    "or a list of dicts"
)


@dataclass(frozen=True)
class InMemory:
    """A table that came as a Python object.

    Declared categories are ``pl.Categorical`` or ``pl.Enum``. ``unusable`` says what is wrong with columns that no
    model can take, by name; in ``frame`` they are null.
    """

    frame: pl.DataFrame
    unusable: Mapping[str, str]
    written: PandasMetadata = NOTHING_WRITTEN
    typed: Mapping[str, str] = field(default_factory=dict)
    """What the levels of a declared category are where they are no texts: ``number``, ``boolean`` or ``date``."""
    mixed: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """What the values were of columns that hold several kinds, by name; see :class:`.objects.Mixed`."""
    array_columns: int | None = None
    """How many columns the array had that the table came as; None where it came with names."""


def to_frame(source: Any) -> InMemory:
    """Take a polars or pandas data frame, an Arrow table, an array, a dict of columns or of a row, or a list of dicts.

    Raises:
        TableError: it is none of these, or its columns are not of one length; says what to pass instead.
    """
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return _from_polars(source)
    if _is_pandas(source, "DataFrame"):
        names = [str(name) for name in source.columns]
        read = _joined((name, _Pandas(source.iloc[:, i])) for i, name in enumerate(names))
        return replace(read, typed=_typed_levels(names, source))
    if type(source).__name__ == "Bunch":
        raise TableError(
            "a Bunch of scikit-learn is no table: load it with as_frame=True and pass its frame, such as "
            "load_iris(as_frame=True).frame"
        )
    if isinstance(source, Mapping):
        if source and all(is_scalar(value) for value in source.values()):
            source = {name: [value] for name, value in source.items()}
        return _joined((str(name), values) for name, values in source.items())
    if isinstance(source, np.ndarray) and source.dtype == object and source.ndim == 1:
        source = source.tolist() if all(isinstance(row, Mapping) for row in source) else source
    if isinstance(source, list | tuple) and source and all(isinstance(row, Mapping) for row in source):
        return _joined(_columns_of(source))
    if isinstance(source, np.ndarray) and source.dtype.names and source.ndim == 1:
        return _joined((name, source[name]) for name in source.dtype.names)
    if not _is_series(source) and any(hasattr(source, way) for way in ("__arrow_c_stream__", "__arrow_c_array__")):
        return _from_arrow(source)
    if not _is_series(source) and is_array(source):
        columns = array_columns(source)
        read = _joined(zip(array_names(len(columns)), columns, strict=True))
        return replace(read, array_columns=len(columns))
    raise TableError(f"{_WAYS}, got {type(source).__module__}.{type(source).__qualname__}{_advice(source)}")


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The same columns in their plain form."""
    return frame.select(_plain(column) for column in frame.get_columns())


def _plain(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column, dtype = column.cast(pl.String), pl.String()
    if dtype == pl.String:
        return column.set(column == "", None)
    if dtype.is_float():
        return column.fill_nan(None)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column


# --- tables -----------------------------------------------------------------------------------------------------------


def _from_polars(frame: pl.DataFrame, written: PandasMetadata = NOTHING_WRITTEN) -> InMemory:
    names = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    read = _joined((name, frame[name].to_list()) for name in names)
    coded = [pl.col(name).cast(pl.String).cast(pl.Categorical()) for name in written.categories if name in frame]
    return replace(read, frame=frame.with_columns(read.frame).with_columns(coded), written=written)


def _from_arrow(source: Any) -> InMemory:
    schema = getattr(source, "schema", None)
    described = (getattr(schema, "metadata", None) or {}).get(b"pandas", b"")
    try:
        frame = pl.DataFrame(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise TableError(f"the Arrow table cannot be read ({said}): cast or leave out the column") from None
    return _from_polars(frame, pandas_metadata(described))


def _joined(columns: Iterable[tuple[str, Any]]) -> InMemory:
    series: dict[str, pl.Series] = {}
    unusable: dict[str, str] = {}
    mixed: dict[str, NDArray[np.str_]] = {}
    for name, values in columns:
        if half_character(name):
            raise TableError(f"data frame: a column name must be text, got {name!r}, which holds half of a character")
        if name in series:
            raise TableError(f"data frame: column names must differ, got {name!r} comes twice; rename one of them")
        try:
            column = _from_any(name, values)
        except Mixed as found:
            column, mixed[name] = found.texts, found.kinds
        except Unusable as error:
            unusable[name] = f"data frame: {error}, or leave it out with --drop {named(name)}"
            column = pl.Series(name, [None] * len(values), pl.List(pl.Null))
        if series and len(column) != len(first := next(iter(series.values()))):
            raise TableError(
                f"data frame: columns must be of one length; {first.name!r} holds {len(first)} rows "
                f"and {name!r} holds {len(column)}; make them equal"
            )
        series[name] = column.alias(name)
    return InMemory(pl.DataFrame(series), unusable, mixed=mixed)


def _columns_of(rows: Sequence[Mapping[Any, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """The columns of a list of rows; a key that a row lacks is null there."""
    for name in dict.fromkeys(name for row in rows for name in row):
        yield str(name), [row.get(name) for row in rows]


def _is_pandas(source: Any, name: str = "") -> bool:
    # Asked by name: pandas need not be installed.
    kinds = [kind for kind in type(source).__mro__ if kind.__module__.partition(".")[0] == "pandas"]
    return any(not name or kind.__name__ == name for kind in kinds)


def _is_series(source: Any) -> bool:
    return isinstance(source, pl.Series) or _is_pandas(source, "Series")


def _advice(source: Any) -> str:
    if hasattr(source, "toarray"):
        return ": a sparse matrix is passed as an array, see toarray()"
    if _is_series(source):
        return ": one column alone is no table; pass several as a data frame, see to_frame()"
    if isinstance(source, list | tuple):
        return ": pass a list of dicts, one a row, or a dict of columns"
    if hasattr(source, "toPandas") or hasattr(source, "to_pandas"):
        return ": turn it into a pandas frame first, see its to_pandas() or toPandas()"
    return ""


# --- columns ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pandas:
    """A pandas column, which is read without pyarrow unless it is made by it."""

    column: Any

    def __len__(self) -> int:
        return len(self.column)


def is_scalar(value: Any) -> bool:
    """Whether a value is one rather than a column of them."""
    return isinstance(value, str | bytes) or getattr(value, "ndim", 1) == 0 or not isinstance(value, Iterable)


def _from_any(name: str, values: Any) -> pl.Series:
    if isinstance(values, _Pandas):
        return _from_pandas(name, values.column)
    if isinstance(values, pl.Series):
        return series_of(name, values.to_list()) if values.dtype == pl.Object else values
    if _is_pandas(values):
        return _from_pandas(name, sys.modules["pandas"].Series(values))
    if isinstance(values, np.ndarray):
        return _from_numpy(name, values)
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return _from_chunks(name, values)
    if hasattr(values, "__array__"):
        return _from_numpy(name, np.asarray(values))
    if is_scalar(values) or isinstance(values, Mapping | Set):
        raise TableError(f"data frame: column {name!r} must be a list of values, got {_shown(values)}")
    return series_of(name, list(values))


def _shown(values: Any) -> str:
    if isinstance(values, Mapping):
        return "a dict; from pandas, to_dict(orient='list') gives columns"
    return "a set, which has no order" if isinstance(values, Set) else f"{values!r:.60}"


def _from_numpy(name: str, values: Any) -> pl.Series:
    if values.ndim != 1:
        raise TableError(f"data frame: column {name!r} must be a list of values, got an array of shape {values.shape}")
    kind = values.dtype.kind
    if isinstance(values, np.ma.MaskedArray):
        if kind not in "Mm":
            return series_of(name, values.tolist())
        values = values.filled(values.dtype.type("NaT"))
    if kind == "f" and values.dtype.itemsize not in (4, 8):
        values = values.astype(np.float64)
    if kind in "biuf":
        return pl.Series(name, np.ascontiguousarray(values, values.dtype.newbyteorder("=")))
    if kind in "Mm":
        return _from_times(name, values)
    return series_of(name, values.tolist())


def _from_times(name: str, values: NDArray[Any]) -> pl.Series:
    """An array of datetime64 or timedelta64, of any unit."""
    dates = values.dtype.kind == "M"
    micros, missing, outside = micros_of(values) if dates else duration_micros(values)
    if outside.any():
        row = int(outside.argmax()) + 1
        raise Unusable(f"column {name!r}, row {row}, holds {BEYOND_DATES if dates else BEYOND_DURATIONS}; make it null")
    series = pl.Series(name, micros).cast(pl.Datetime("us") if dates else pl.Duration("us"))
    return series.set(pl.Series(missing), None)


def _from_chunks(name: str, values: Any) -> pl.Series:
    """An Arrow array, or one of several chunks."""
    try:
        series = pl.Series(name, values)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        raise Unusable(f"column {name!r} cannot be read ({str(error).partition(chr(10))[0]}); convert it") from None
    if series.dtype == pl.Object:
        return series_of(name, series.to_list())
    coded = hasattr(getattr(values, "type", None), "dictionary") or "dictionary" in str(getattr(values, "type", ""))
    return series.cast(pl.String).cast(pl.Categorical()) if coded else series


def _from_pandas(name: str, column: Any) -> pl.Series:
    """One pandas column; pyarrow is asked only where the column is made by it."""
    if hasattr(column.dtype, "pyarrow_dtype"):
        return _from_chunks(name, column.array.__arrow_array__())
    if hasattr(column, "cat"):
        return _from_categories(name, column)
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype):
        return _from_numpy(name, column.to_numpy())
    if column.dtype.kind == "M":
        return _from_numpy(name, column.to_numpy())
    absent = column.isna().to_numpy()
    objects = column.astype(object).to_numpy()
    return series_of(name, [None if gone else v for v, gone in zip(objects, absent, strict=True)])


def _from_categories(name: str, column: Any) -> pl.Series:
    """A declared category, its levels as they are written elsewhere: 1 for 1.0, true for True, ISO 8601 for a date."""
    levels = [*(_level(native(level)) for level in column.cat.categories), None]
    texts = np.array(levels, object)[column.cat.codes.to_numpy()].tolist()  # the code of what is missing is -1
    try:
        return pl.Series(name, texts, pl.String).cast(pl.Categorical())
    except UnicodeEncodeError:
        return series_of(name, texts)  # which says where


def _typed_levels(names: Sequence[str], source: Any) -> dict[str, str]:
    """What the levels of declared categories of pandas are, by name, where they are no texts."""
    kinds = {name: source.dtypes.iloc[i] for i, name in enumerate(names) if hasattr(source.iloc[:, i], "cat")}
    return {
        name: _LEVEL_TYPES[dtype.categories.dtype.kind]
        for name, dtype in kinds.items()
        if getattr(getattr(dtype, "categories", None), "dtype", np.dtype(object)).kind in _LEVEL_TYPES
    }


_LEVEL_TYPES = {"i": "number", "u": "number", "f": "number", "b": "boolean", "M": "date"}
"""By NumPy's letter for their kind."""


def _level(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dt.datetime):
        return format_timestamp(int(series_of("", [value]).to_physical()[0]))
    return str(value)
