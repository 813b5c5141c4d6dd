"""Where a command writes a table: ``--out FILE.csv`` or ``--out FILE.parquet``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.models.errors import ConfigError

OUT_HELP = "Where to write: a .csv or .parquet file."
OutOption = Annotated[Path | None, typer.Option(help=OUT_HELP, metavar="F")]


def check_out(out: Path, flag: str = "--out") -> None:
    """Make sure the name says how to write; ``flag`` names it.

    Raises:
        ConfigError: it ends in something else.
    """
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"{flag} must end in .csv or .parquet, got {out}")


def write_table(out: Path, frame: Any) -> None:
    """Write a file so that nobody ever sees half of it; ``frame`` is a data frame of polars."""
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        if out.suffix.lower() == ".csv":
            frame.write_csv(half)
        else:
            frame.write_parquet(half)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
