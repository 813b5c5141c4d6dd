"""A table is sent as the same values whatever form it comes in, as JSON and as Arrow."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.test_values import arrow_of, objects, rows_of

Table: TypeAlias = dict[str, list[Any]]
KINDS = ("text", "boolean", "whole", "number", "timestamp", "day")
FIRST, LAST = dt.datetime(1700, 1, 1, tzinfo=dt.UTC), dt.datetime(2250, 1, 1, tzinfo=dt.UTC)
"""What nanoseconds reach."""
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "boolean": st.booleans(),
    "whole": st.integers(-(2**53), 2**53),
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000).map(float),
    "timestamp": st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(dt.UTC)),
    "day": st.dates(FIRST.date(), LAST.date()),
}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 6))
    return {
        kind: draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows))
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True))
    }


def mask(values: list[Any]) -> list[bool]:
    return [value is None for value in values]


def filled(values: list[Any], filler: Any) -> list[Any]:
    return [filler if value is None else value for value in values]


def micros(values: list[Any]) -> list[Any]:
    """Moments and days without their zone, for NumPy."""
    return [value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value for value in values]


def numpy_array(kind: str, values: list[Any]) -> Any:
    if kind == "text":
        return np.ma.MaskedArray(np.array(filled(values, "")), mask(values))
    if kind == "number":
        return np.array(filled(values, math.nan))
    if kind in ("timestamp", "day"):
        return np.array(
            filled(micros(values), np.datetime64("NaT")), f"datetime64[{'us' if kind == 'timestamp' else 'D'}]"
        )
    return np.ma.MaskedArray(filled(values, 0), mask(values), dtype=bool if kind == "boolean" else np.int64)


PANDAS = {"text": "str", "boolean": "boolean", "whole": "Int64", "number": "Float64"}
CLASSIC = {"text": "category", "boolean": "boolean", "whole": "Int64", "number": "float64"}
OLD_TEXT = {"text": "string", "boolean": "boolean", "whole": "Int64", "number": pd.SparseDtype("float64")}
ARROW = {
    "text": pa.string(),
    "boolean": pa.bool_(),
    "whole": pa.int64(),
    "number": pa.float64(),
    "timestamp": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
}
OTHER_ARROW = ARROW | {
    "text": pa.dictionary(pa.int8(), pa.large_string()),
    "timestamp": pa.timestamp("ns", "America/New_York"),
    "day": pa.date64(),
}
VIEWS = ARROW | {"text": pa.string_view(), "timestamp": pa.timestamp("us"), "day": pa.timestamp("s")}


def pandas_frame(table: Table, types: dict[str, Any], moments: str) -> pd.DataFrame:
    columns = {}
    for kind, values in table.items():
        if kind in ("timestamp", "day"):
            columns[kind] = pd.Series(filled(values, pd.NaT), dtype=object).astype(
                "datetime64[us, UTC]" if kind == "timestamp" else "datetime64[us]"
            )
            if kind == "timestamp":
                columns[kind] = columns[kind].astype(moments)
        else:
            columns[kind] = pd.Series(values, dtype=object).astype(types[kind])
    return pd.DataFrame(columns)


def arrow_table(table: Table, types: dict[str, pa.DataType]) -> pa.Table:
    def array(kind: str, values: list[Any]) -> pa.Array:
        if kind == "day" and pa.types.is_timestamp(types[kind]):
            values = [value and dt.datetime(value.year, value.month, value.day) for value in values]  # noqa: DTZ001
        if pa.types.is_dictionary(types[kind]):
            return pa.array(values, pa.large_string()).dictionary_encode()
        return pa.array(values, types[kind])

    return pa.table({kind: array(kind, values) for kind, values in table.items()})


def in_chunks(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])


def polars_frame(table: Table) -> pl.DataFrame:
    types = dict(
        zip(KINDS, (pl.String, pl.Boolean, pl.Int64, pl.Float64, pl.Datetime("us", "UTC"), pl.Date), strict=True)
    )
    return pl.DataFrame(table, {kind: types[kind] for kind in table})


def other_polars_frame(table: Table) -> pl.DataFrame:
    frame = polars_frame(table)
    other = {
        "text": pl.Categorical,
        "timestamp": pl.Datetime("ns", "Asia/Tokyo"),
        "day": pl.Datetime("ms"),
        "whole": pl.Int128,
    }
    return frame.cast({kind: dtype for kind, dtype in other.items() if kind in frame.columns})


FORMS: dict[str, Callable[[Table], Any]] = {
    "rows": lambda t: [dict(zip(t, row, strict=True)) for row in zip(*t.values(), strict=True)],
    "object arrays": lambda t: {kind: objects(values) for kind, values in t.items()},
    "object arrays with NaN": lambda t: {kind: objects(filled(values, math.nan)) for kind, values in t.items()},
    "object arrays with NaT": lambda t: {kind: objects(filled(values, pd.NaT)) for kind, values in t.items()},
    "NumPy scalars": lambda t: {
        kind: [v if v is None else numpy_array(kind, [v])[0] for v in values] for kind, values in t.items()
    },
    "NumPy arrays": lambda t: {kind: numpy_array(kind, values) for kind, values in t.items()},
    "pandas of objects": lambda t: pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in t.items()}),
    "pandas' records": lambda t: pandas_frame(t, PANDAS, "datetime64[ns, UTC]").to_dict("records"),
    "pandas, nullable": lambda t: pandas_frame(t, PANDAS, "datetime64[ns, Europe/Berlin]"),
    "pandas, categories": lambda t: pandas_frame(t, CLASSIC, "datetime64[us, UTC]"),
    "pandas, sparse": lambda t: pandas_frame(t, OLD_TEXT, "datetime64[us, UTC]"),
    "pandas of Arrow": lambda t: arrow_table(t, ARROW).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas of other Arrow": lambda t: arrow_table(t, OTHER_ARROW).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas Series": lambda t: dict(pandas_frame(t, PANDAS, "datetime64[us, UTC]").items()),
    "pyarrow": lambda t: arrow_table(t, ARROW),
    "pyarrow, in chunks": lambda t: in_chunks(arrow_table(t, ARROW)),
    "pyarrow, encoded": lambda t: in_chunks(arrow_table(t, OTHER_ARROW)),
    "pyarrow, views": lambda t: arrow_table(t, VIEWS),
    "pyarrow batch": lambda t: arrow_table(t, ARROW).to_batches()[0],
    "pyarrow arrays": lambda t: dict(zip(t, arrow_table(t, OTHER_ARROW).columns, strict=True)),
    "polars": polars_frame,
    "polars, lazy": lambda t: polars_frame(t).lazy(),
    "polars, other types": other_polars_frame,
    "polars Series": lambda t: polars_frame(t).to_dict(),
}


def plain(value: Any) -> Any:
    """A value as JSON has it, so that both ways compare."""
    if isinstance(value, dt.date):
        value = value if isinstance(value, dt.datetime) else dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001
        utc = value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return utc.isoformat().replace("+00:00", "Z")
    return None if isinstance(value, float) and math.isnan(value) else value


def compared(values: list[Any]) -> list[tuple[bool, Any]]:
    """3 and 3.0 are one number, true and 1 are two values."""
    return [(isinstance(value, bool), value) for value in map(plain, values)]


def sent_in_arrow(table: Any) -> Table:
    sent = arrow_of(table)
    moments = [
        column.cast(pa.timestamp("us", column.type.tz), safe=False) if pa.types.is_timestamp(column.type) else column
        for column in sent.columns
    ]
    return {name: column.to_pylist() for name, column in zip(sent.column_names, moments, strict=True)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_every_form_of_a_table_is_sent_as_the_same_values(table: Table) -> None:
    wanted = {kind: compared(values) for kind, values in table.items()}
    for name, form in FORMS.items():
        rows = rows_of(form(table))
        assert {kind: compared([row[kind] for row in rows]) for kind in table} == wanted, name
        in_arrow = sent_in_arrow(form(table))
        assert {kind: compared(values) for kind, values in in_arrow.items()} == wanted, name
