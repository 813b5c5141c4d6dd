"""``rowcast evaluate``: a published model, measured on another table."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rowcast.cli.console import print_metrics, print_result, progress_console
from rowcast.cli.named import ModelArgument, RepositoryOption, open_model
from rowcast.cli.options import EncodingOption, JsonOption, SeparatorOption, TableArgument, names
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.printable import printable

EXAMPLE = "Example: rowcast evaluate flights new_rows.csv --by carrier"


def evaluate(
    model: ModelArgument,
    table: TableArgument,
    by: Annotated[list[str] | None, typer.Option(help="Metrics for each value as well: A,B.", metavar="A,B")] = None,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a table that holds the target; with --by for each value of a column, too."""
    stored = open_model(model, repository)
    from rowcast.training.predict import if_learned, judge_table, measure

    judged = judge_table(stored, table, encoding=encoding, separator=separator)
    result = measure(stored, judged)
    if told := if_learned(stored.manifest, table, judged.known.table):
        result["decisions"] = [*result.get("decisions", ()), told]
    if by:
        from rowcast.training.slices import as_text, slices_of

        slices = slices_of(stored, judged, names(by) or [])
        result["by"] = slices.to_dicts()
    for decision in result.get("decisions", ()):
        progress_console.print(printable(decision), markup=False, highlight=False)
    print_metrics({f"{result['rows']:,} rows": result["metrics"]}, aside=as_json)
    if by:
        for line in as_text(slices).splitlines():
            print_result(line, aside=as_json)
    if as_json:
        print(json.dumps({"name": stored.manifest.name, "version": stored.manifest.version, **result}, default=str))
