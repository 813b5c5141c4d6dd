"""``rowcast train``: a table in, a published model out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_metrics, print_result, progress_console
from rowcast.cli.named import RepositoryOption, checked_name
from rowcast.cli.options import ConfigOption, JsonOption, SettingsOption, TableArgument, given, names, takes_data
from rowcast.models.durations import seconds
from rowcast.models.errors import ConfigError
from rowcast.models.names import DEFAULT_REPOSITORY, model_name_from
from rowcast.models.printable import printable
from rowcast.models.repository import Repository

FREEZE_WORDS = ("none", "columns", "layers", "all")
EXAMPLE = "Example: rowcast train my.csv --target y --preset quick --budget 60s"


@takes_data
def train(
    table: TableArgument,
    data: dict[str, Any],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the file's stem.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, balanced (default), best or textbook.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock at most, reading apart: 60, 60s, 30m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A table of validation rows.", metavar="F")] = None,
    test: Annotated[Path | None, typer.Option(help="A table that is only evaluated.", metavar="F")] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of split, weights and order; default 0.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A folder in which the fit is kept as it goes on.", metavar="DIR")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option("--from", help="A model whose weights the fit starts from.", metavar="NAME[:V]")
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(help="What stays as in --from: columns, layers, all; or A,B.", metavar="WHAT")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Fits that each leave out a fold; they answer together.", min=2, max=32)
    ] = None,
    max_members: Annotated[int | None, typer.Option(help="With --folds: members that answer at most.", min=1)] = None,
    max_row_us: Annotated[
        float | None, typer.Option(help="With --folds: microseconds that a row alone may take.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Learn from a model, a file of predictions, lightgbm, catboost, xgboost.", metavar="T"),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Then train on all rows, as long as was best.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the fit in --checkpoint.")] = False,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Train a model on a table, and publish it."""
    from rowcast.training.data.files.paths import stem_of

    model_name = checked_name(name) if name is not None else model_name_from(stem_of(table))
    overrides: dict[str, Any] = {"preset": preset, "device": device, "seed": seed, "data": data}
    length: dict[str, Any] = {
        "epochs": epochs,
        "budget_s": None if budget is None else seconds(budget, "--budget"),
        "folds": folds,
        "max_members": max_members,
        "max_row_us": max_row_us,
        "refit": refit or None,
    }
    length["freeze"] = _frozen(names(freeze))
    overrides["fit"] = given(length)

    from rowcast.api.display import display_of
    from rowcast.api.starting import start_at
    from rowcast.api.teaching import teacher_at
    from rowcast.training.config import make_config
    from rowcast.training.ranks.ranks import Followed
    from rowcast.training.ranks.start import Elsewhere, ranks_of_environment
    from rowcast.training.train import train as train_model

    try:
        with ranks_of_environment() as ranks, display_of("auto" if ranks.leads else False) as display:
            start = start_at(start_from, repository)
            chosen = make_config(
                file=config,
                settings=settings or (),
                overrides=given(overrides),
                start=None if start is None else start.settings,
            )
            if not chosen.data.target:
                raise ConfigError(f"a target is needed: rowcast train {table} --target COLUMN")
            trained = train_model(
                table,
                chosen,
                name=model_name,
                repository=Repository(repository),
                validation=validation,
                test=test,
                report=display.report,
                say=display.say,
                checkpoint=checkpoint,
                resume=resume,
                start=start,
                teacher=teacher_at(teacher, repository),
                ranks=ranks,
            )
    except Followed:  # another process publishes the model
        return
    except Elsewhere:
        raise
    except (KeyboardInterrupt, SystemExit):
        print("rowcast: stopped; nothing was published", file=sys.stderr)
        raise
    summary = trained.summary()
    _print_training(summary, trained.fit.stopped, aside=as_json)
    if as_json:
        print(json.dumps(summary))


def _frozen(names: list[str] | None) -> str | list[str] | None:
    """``--freeze layers`` is a word of its own, ``--freeze size,age`` a list of columns."""
    return names[0] if names is not None and len(names) == 1 and names[0] in FREEZE_WORDS else names


def _print_training(summary: dict[str, Any], stopped: str, *, aside: bool) -> None:
    for decision in summary["decisions"]:
        progress_console.print(f"  {printable(decision)}")
    rows = ", ".join(f"{count:,} {part}" for part, count in summary["rows"].items())
    epochs = "1 epoch" if summary["epochs"] == 1 else f"{summary['epochs']} epochs"
    progress_console.print(f"{summary['task']} on {rows} rows; {epochs} in {summary['seconds']:.0f} s")
    progress_console.print(
        {
            "patience": "stopped early",
            "budget": "the budget is spent",
            "interrupted": "ended when it was asked to, with the best weights so far",
        }.get(stopped, "went all epochs")
    )
    print_metrics(summary["metrics"], aside=aside)
    parity = summary["parity"]
    print_result(
        f"PyTorch and ONNX Runtime agree to {parity['max_difference']:.1e} on {parity['rows']:,} held-out "
        f"and {parity['nasty_rows']:,} adversarial rows",
        aside=aside,
    )
    print_result(f"published {summary['name']}:{summary['version']} in {summary['path']}", aside=aside)
