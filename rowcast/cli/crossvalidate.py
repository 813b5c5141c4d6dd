"""``rowcast crossvalidate``: how well a model of this table would do, without publishing one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_metrics
from rowcast.cli.options import ConfigOption, JsonOption, SettingsOption, TableArgument, given, takes_data
from rowcast.models.durations import seconds

EXAMPLE = "Example: rowcast crossvalidate my.csv --target y --folds 5 --preset quick"


@takes_data
def crossvalidate(
    table: TableArgument,
    data: dict[str, Any],
    folds: Annotated[int, typer.Option(help="How many.", min=2, max=100)] = 5,
    preset: Annotated[str | None, typer.Option(help="quick, balanced (default), best or textbook.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock of the fit of each fold at most.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train once a fold and measure on the rows left out; publishes nothing."""
    overrides: dict[str, Any] = {"preset": preset, "data": data}
    overrides["fit"] = given({"epochs": epochs, "budget_s": None if budget is None else seconds(budget)})

    from rowcast.training.config import make_config
    from rowcast.training.crossvalidate import cross_validate

    chosen = make_config(file=config, settings=settings or (), overrides=given(overrides))
    result = cross_validate(table, chosen, folds=folds, report=lambda n, m: print_metrics({f"fold {n}": m}))
    print_metrics({"mean": result["mean"], "deviation": result["deviation"]})
    if as_json:
        print(json.dumps(result))
