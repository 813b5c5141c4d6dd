"""``rowcast crossvalidate``: how well a model of this table would do, without publishing one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_metrics, print_result, progress_console
from rowcast.cli.options import ConfigOption, JsonOption, SettingsOption, TableArgument, given, takes_data
from rowcast.cli.out import OutOption, check_out, write_table
from rowcast.models.arguments import named
from rowcast.models.durations import seconds
from rowcast.models.errors import ConfigError
from rowcast.models.printable import printable

EXAMPLE = "Example: rowcast crossvalidate my.csv --target y --folds 5 --preset quick --out out_of_fold.parquet"


@takes_data
def crossvalidate(
    table: TableArgument,
    data: dict[str, Any],
    folds: Annotated[int | None, typer.Option(help="How many; 5 unless given.", min=2, max=100)] = None,
    out: OutOption = None,
    preset: Annotated[str | None, typer.Option(help="quick, balanced (default), best or textbook.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock of the fit of each fold at most.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of folds, weights and order; default 0.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train once a fold and measure on the rows left out; publishes nothing. --out writes the predictions of these."""
    overrides: dict[str, Any] = {"preset": preset, "device": device, "seed": seed, "data": data}
    overrides["fit"] = given({"epochs": epochs, "budget_s": None if budget is None else seconds(budget, "--budget")})
    if out is not None:
        check_out(out)

    from rowcast.training.config import make_config
    from rowcast.training.crossvalidate import cross_validate

    chosen = make_config(file=config, settings=settings or (), overrides=given(overrides))
    if chosen.data.fold and folds is not None:
        raise ConfigError(
            f"--fold {named(chosen.data.fold)} says how many folds there are, so it does not go with --folds {folds}: "
            "leave one of them out"
        )

    def report(number: int, metrics: dict[str, float]) -> None:
        print_metrics({f"fold {number}": metrics}, aside=as_json)

    result = cross_validate(table, chosen, folds=folds or 5, report=report)
    for decision in result.decisions:
        progress_console.print(f"  {printable(decision)}")
    print_metrics({"mean": result.mean, "deviation": result.deviation}, aside=as_json)
    if out is not None:
        write_table(out, result.predictions)
        print_result(f"wrote {len(result.predictions):,} out-of-fold predictions to {out}", aside=as_json)
    if as_json:
        print(json.dumps(result.summary()))
