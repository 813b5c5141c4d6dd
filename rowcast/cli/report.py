"""``rowcast report``: what is known of a model, in one file of HTML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rowcast import DEFAULT_REPOSITORY
from rowcast.cli.console import print_result
from rowcast.cli.named import ModelArgument, RepositoryOption, open_model
from rowcast.cli.options import EncodingOption, JsonOption, SeparatorOption

EXAMPLE = "Example: rowcast report flights new_rows.csv --out flights.html"


def report(
    model: ModelArgument,
    table: Annotated[
        Path | None, typer.Argument(metavar="[TABLE]", help="A table with the target, to be measured on as well.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default: NAME-VERSION.html.", metavar="F")] = None,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Write a model's report: how it was trained, how good it is and where it fails, in one file that loads nothing."""
    stored = open_model(model, repository)
    from rowcast.training.report.stored import write_report

    manifest = stored.manifest
    out = write_report(
        stored,
        Path(f"{manifest.name}-{manifest.version}.html") if out is None else out,
        table,
        encoding=encoding,
        separator=separator,
    )
    print_result(f"wrote {out}", aside=as_json)
    if as_json:
        print(json.dumps({"name": manifest.name, "version": manifest.version, "report": str(out)}))
