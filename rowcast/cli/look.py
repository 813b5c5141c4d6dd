"""``rowcast look``: what training would make of a table, before anything is trained."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from rowcast.cli.options import ConfigOption, JsonOption, SettingsOption, TableArgument, given, takes_data

EXAMPLE = "Example: rowcast look my.csv --target y"


@takes_data
def look(
    table: TableArgument,
    data: dict[str, Any],
    seed: Annotated[int | None, typer.Option(help="Of the split, as in training; default 0.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each column is and why, what is odd in it and what training would leave out; nothing is trained."""
    from rowcast.training.data.config import TableConfig
    from rowcast.training.look import LookConfig
    from rowcast.training.look import look as look_at

    chosen: TableConfig
    if config is None and not settings:
        chosen = LookConfig.of(data, seed or 0)
    else:
        from rowcast.training.config import make_config

        overrides = given({"seed": seed, "data": data})
        chosen = make_config(file=config, settings=settings or (), overrides=overrides)
    found = look_at(table, chosen)
    if as_json:
        print(json.dumps(found))
        return
    from rowcast.training.look_table import WIDTH, print_look

    width = None if sys.stdout.isatty() else WIDTH
    print_look(found, Console(width=width, highlight=False, markup=False, emoji=False))
