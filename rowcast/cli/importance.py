"""``rowcast importance``: what each column is worth to a model."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rowcast import DEFAULT_REPOSITORY
from rowcast.cli.console import print_table, progress_console
from rowcast.cli.named import ModelArgument, RepositoryOption, open_model
from rowcast.cli.options import EncodingOption, JsonOption, SeparatorOption, TableArgument

EXAMPLE = "Example: rowcast importance flights new_rows.csv"


def importance(
    model: ModelArgument,
    table: TableArgument,
    repeats: Annotated[int, typer.Option(help="How often each column is shuffled.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the shuffles.")] = 0,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Say by how much the loss rises when a column's values are shuffled among the rows of a table."""
    stored = open_model(model, repository)
    from rowcast.training.importance import importance_of

    found = importance_of(stored, table, repeats=repeats, seed=seed, encoding=encoding, separator=separator)
    progress_console.print(found.note)
    rows = found.table.rows()
    head = ("COLUMN", "IMPORTANCE", "DEVIATION")
    print_table(head, [(c, f"{i:.4g}", f"{d:.2g}") for c, i, d in rows], aside=as_json)
    if as_json:
        columns = [
            {"column": name, "importance": value, "deviation": deviation if deviation == deviation else None}
            for name, value, deviation in rows
        ]
        about = {"name": stored.manifest.name, "version": stored.manifest.version, "metric": found.metric}
        print(json.dumps({**about, "rows": found.rows, "repeats": repeats, "columns": columns}))
