"""Where a command writes a table: ``--out FILE.csv``, ``.parquet`` or ``.jsonl``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.models.errors import ConfigError
from rowcast.models.whole_file import check_file, whole_file

OUT_HELP = "Where to write: a .csv, .parquet or .jsonl file."
STDOUT = "-"
_SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson")
OutOption = Annotated[Path | None, typer.Option(help=OUT_HELP, metavar="F")]


def check_out(out: Path, flag: str = "--out", *, may_be_stdout: bool = False) -> None:
    """Make sure that the name says how to write, and that a file of it can be written.

    Args:
        out: a file.
        flag: that it came by.
        may_be_stdout: whether it may be ``-``, for CSV to standard output.

    Raises:
        ConfigError: it ends in something else, is a folder, or lies where nothing can be written.
    """
    if str(out) == STDOUT and may_be_stdout:
        return
    if out.suffix.lower() not in _SUFFIXES:
        also = ", or be - for CSV to standard output" if may_be_stdout else ""
        raise ConfigError(f"{flag} must end in .csv, .parquet or .jsonl{also}, got {out}")
    check_file(out, flag)


def write_table(out: Path, frame: Any) -> None:
    """Write a file so that nobody ever sees half of it; ``frame`` is a data frame of polars."""
    with whole_file(out) as half:
        if out.suffix.lower() == ".csv":
            frame.write_csv(half)
        elif out.suffix.lower() == ".parquet":
            frame.write_parquet(half)
        else:
            frame.write_ndjson(half)
