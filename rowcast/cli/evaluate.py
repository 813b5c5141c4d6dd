"""``rowcast evaluate``: a published model, measured on another table."""

from __future__ import annotations

import json

from rowcast.cli.console import print_metrics, progress_console
from rowcast.cli.named import ModelArgument, RepositoryOption, open_model
from rowcast.cli.options import EncodingOption, JsonOption, SeparatorOption, TableArgument
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.printable import printable

EXAMPLE = "Example: rowcast evaluate flights new_rows.csv"


def evaluate(
    model: ModelArgument,
    table: TableArgument,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a table that holds the target."""
    stored = open_model(model, repository)
    from rowcast.training.predict import evaluate_table

    result = evaluate_table(stored, table, encoding=encoding, separator=separator)
    summary = {"name": stored.manifest.name, "version": stored.manifest.version, **result}
    for decision in result.get("decisions", ()):
        progress_console.print(printable(decision), markup=False, highlight=False)
    print_metrics({f"{result['rows']:,} rows": result["metrics"]})
    if as_json:
        print(json.dumps(summary))
