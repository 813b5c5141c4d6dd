"""``rowcast pretrain``: rows without a target in, weights out that fits start from."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_metrics, print_result, progress_console
from rowcast.cli.named import RepositoryOption, checked_name
from rowcast.cli.options import ConfigOption, JsonOption, SettingsOption, TableArgument, given, takes_data
from rowcast.models.durations import seconds
from rowcast.models.names import DEFAULT_REPOSITORY, model_name_from
from rowcast.models.printable import printable
from rowcast.models.repository import Repository

EXAMPLE = "Example: rowcast pretrain all.csv --name people --drop income --preset quick"


@takes_data
def pretrain(
    table: TableArgument,
    data: dict[str, Any],
    name: Annotated[str | None, typer.Option(help="Name to publish under; default: the file's stem.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, balanced (default), best or textbook.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock at most, reading apart: 60, 60s, 30m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and order; default 0.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Learn from rows without a target; `rowcast train --from NAME` starts from what was learned."""
    from rowcast.training.data.files.paths import stem_of

    chosen_name = checked_name(name) if name is not None else model_name_from(stem_of(table))
    length: dict[str, Any] = {"epochs": epochs, "budget_s": None if budget is None else seconds(budget, "--budget")}
    overrides: dict[str, Any] = {"preset": preset, "device": device, "seed": seed, "data": data, "fit": given(length)}

    from rowcast.api.display import display_of
    from rowcast.training.config import make_config
    from rowcast.training.pretrain.pretrain import pretrain as run

    chosen = make_config(file=config, settings=settings or (), overrides=given(overrides))
    try:
        with display_of() as display:
            trained = run(
                table,
                chosen,
                name=chosen_name,
                repository=Repository(repository),
                report=display.report,
                say=display.say,
            )
    except (KeyboardInterrupt, SystemExit):
        print("rowcast: stopped; nothing was published", file=sys.stderr)
        raise
    summary = trained.summary()
    for decision in summary["decisions"]:
        progress_console.print(f"  {printable(decision)}")
    rows = ", ".join(f"{count:,} {part}" for part, count in summary["rows"].items())
    epochs_gone = "1 epoch" if summary["epochs"] == 1 else f"{summary['epochs']} epochs"
    progress_console.print(f"{rows} rows; {epochs_gone} in {summary['seconds']:.0f} s")
    print_metrics(summary["metrics"], aside=as_json)
    called = f"{summary['name']}:{summary['version']}"
    print_result(f"published {called} in {summary['path']}; --from {called} starts a fit from it", aside=as_json)
    if as_json:
        print(json.dumps(summary))
