"""Options that several commands take, declared once: what of a table is read, and how."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.models.errors import ConfigError

EncodingOption = Annotated[str | None, typer.Option(help="Encoding of a text file, such as latin-1.")]
SeparatorOption = Annotated[
    str | None, typer.Option(help="What stands between fields: , ; tab | ...; default: found.", metavar="S")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else there.")]
TableArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE", help="A CSV, Excel, JSON, Parquet, ... file, a folder or 'pattern' of files, or -."
    ),
]
ConfigOption = Annotated[Path | None, typer.Option(help="A TOML file, see `rowcast init`.", metavar="F")]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help="A field of the config.", metavar="key=value")]


def data_options(
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    task: Annotated[str | None, typer.Option(help="auto (default), regression, binary or multiclass.")] = None,
    split_by_time: Annotated[str | None, typer.Option(help="Column along which to split.", metavar="COL")] = None,
    group: Annotated[str | None, typer.Option(help="Column to keep together in the split.", metavar="COL")] = None,
    split: Annotated[str | None, typer.Option(help="Column of train, validation, test.", metavar="COL")] = None,
    fold: Annotated[str | None, typer.Option(help="Column of the fold of each row.", metavar="COL")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of row weights; no input.", metavar="COL")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Columns to leave out: A,B.", metavar="A,B")] = None,
    number: Annotated[list[str] | None, typer.Option(help="Columns to take as numbers.", metavar="A,B")] = None,
    date: Annotated[list[str] | None, typer.Option(help="Columns to take as dates: A,B=dmy.", metavar="A,B")] = None,
    boolean: Annotated[list[str] | None, typer.Option(help="Columns to take as true or false.", metavar="A,B")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Columns to take as categories.", metavar="A,B")] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Columns of texts: levels, or read word by word.", metavar="A,B")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Columns never to drop as an id.", metavar="A,B")] = None,
    null: Annotated[list[str] | None, typer.Option(help="Further texts that mean null.", metavar="V,W")] = None,
    rename: Annotated[list[str] | None, typer.Option(help="Rename a column.", metavar="old=new")] = None,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    decimal: Annotated[str | None, typer.Option(help="What stands before decimals: . or ,", metavar="S")] = None,
) -> dict[str, Any]:
    """The fields of :class:`rowcast.training.data.config.DataConfig` that the command line gives."""
    return given(
        {
            "target": target,
            "task": task,
            "split_by_time": split_by_time,
            "group": group,
            "split": split,
            "fold": fold,
            "weight": weight,
            "drop": names(drop),
            "number": names(number),
            "date": names(date),
            "boolean": names(boolean),
            "category": names(category),
            "text": names(text),
            "keep": names(keep),
            "null": names(null),
            "rename": renames(rename),
            "encoding": encoding,
            "separator": separator,
            "decimal": decimal,
        }
    )


def takes_data(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of :func:`data_options`; it gets what they say as ``data``."""
    options = inspect.signature(data_options, eval_str=True).parameters
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options.values() if parameter.name == "data" else [parameter]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        data = data_options(**{name: arguments.pop(name) for name in options if name in arguments})
        command(**arguments, data=data)

    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
    return run


def names(given: Sequence[str] | None) -> list[str] | None:
    """Names of ``--drop A,B --drop C``; a column whose name holds a comma can be listed in the TOML file."""
    return None if given is None else [name for text in given for name in text.split(",") if name]


def renames(given: Sequence[str] | None) -> dict[str, str] | None:
    """The pairs of ``--rename old=new``.

    Raises:
        ConfigError: a text is no such pair.
    """
    if given is None:
        return None
    pairs = [text.partition("=") for text in given]
    for old, separator, new in pairs:
        if not (old and separator and new):
            raise ConfigError(f"--rename takes old=new, got {old + separator + new!r}")
    return {old: new for old, _, new in pairs}


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that were given, so that the others keep what the config file or the preset says."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
