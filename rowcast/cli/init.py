"""``rowcast init``: a TOML file with every default, to edit."""

from __future__ import annotations

from typing import Annotated

import typer

from rowcast.cli.options import EncodingOption, SeparatorOption, TableArgument, given

EXAMPLE = "Example: rowcast init my.csv --target y > rowcast.toml"


def init(
    table: TableArgument,
    target: Annotated[str, typer.Option(help="The column to predict.")],
    preset: Annotated[str, typer.Option(help="quick, balanced, best or textbook.")] = "balanced",
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
) -> None:
    """Print a commented TOML with every default, to edit and give to `train --config`."""
    from rowcast.training.config import make_config, to_toml
    from rowcast.training.prepare import open_table

    data = {"target": target} | given({"encoding": encoding, "separator": separator})
    config = make_config(overrides={"preset": preset, "data": data})
    _, found = open_table(table, config)
    print(f"# rowcast train {table} --config THIS_FILE")
    print(f"# {target!r} makes this a {found.task} task.\n")
    print(to_toml(config, explained=True), end="")
