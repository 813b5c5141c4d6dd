"""``rowcast tune``: which config does best on a table, and a model fitted with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowcast.cli.console import print_metrics, print_result, print_table, progress_console
from rowcast.cli.named import RepositoryOption, checked_name
from rowcast.cli.options import ConfigOption, JsonOption, SettingsOption, TableArgument, given, takes_data
from rowcast.cli.out import check_out, write_table
from rowcast.models.durations import seconds
from rowcast.models.errors import ConfigError
from rowcast.models.names import DEFAULT_REPOSITORY, model_name_from
from rowcast.models.printable import printable
from rowcast.models.repository import Repository
from rowcast.models.whole_file import check_file, whole_file

if TYPE_CHECKING:
    from rowcast.training.tune.outcome import Tuned

EXAMPLE = "Example: rowcast tune my.csv --target y --trials 50 --budget 30m --out best.toml"
SHOWN = 10
"""Trials of the table on stdout."""


@takes_data
def tune(
    table: TableArgument,
    data: dict[str, Any],
    name: Annotated[str | None, typer.Option(help="Of study and model; default: the file's stem.")] = None,
    trials: Annotated[int | None, typer.Option(help="Configs to try in all; 50 without --budget.", min=1)] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock of all, last fit too: 60s, 30m, 2h.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes that try configs at the same time.", min=1)] = 1,
    folds: Annotated[int | None, typer.Option(help="Folds a config is measured on.", min=2, max=100)] = None,
    test: Annotated[Path | None, typer.Option(help="A table that the model alone is measured on.", metavar="F")] = None,
    storage: Annotated[
        str | None, typer.Option(help="A file, or a database's URL, to keep the study in.", metavar="S")
    ] = None,
    no_publish: Annotated[bool, typer.Option("--no-publish", help="Fit no model in the end.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the best config there: a .toml.", metavar="F")] = None,
    table_out: Annotated[
        Path | None, typer.Option(help="Write all trials there: a .csv or .parquet.", metavar="F")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Where to begin: balanced (default), quick, best.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of split, weights, order and samples; default 0.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Try configs, each on training and validation rows alone, and publish a model fitted with the best.

    The study is kept as it goes on: the same command goes on after a kill.
    """
    from rowcast.training.data.files.paths import stem_of

    study = checked_name(name) if name is not None else model_name_from(stem_of(table))
    overrides: dict[str, Any] = {"preset": preset, "device": device, "seed": seed, "data": data}
    overrides["fit"] = given({"epochs": epochs})
    limit = None if budget is None else seconds(budget, "--budget")
    if out is not None and out.suffix.lower() != ".toml":
        raise ConfigError(f"--out must end in .toml, got {out}")
    if out is not None:
        check_file(out, "--out")
    if table_out is not None:
        check_out(table_out, "--table-out")

    from rowcast.api.display import display_of
    from rowcast.api.trial_lines import TrialLines
    from rowcast.training.config import make_config
    from rowcast.training.tune.run import tune as tune_model

    chosen = make_config(file=config, settings=settings or (), overrides=given(overrides))
    if not chosen.data.target:
        raise ConfigError(f"a target is needed: rowcast tune {table} --target COLUMN")
    try:
        with display_of() as display:
            lines = TrialLines(display)
            tuned = tune_model(
                table,
                chosen,
                name=study,
                repository=Repository(repository),
                storage=storage,
                trials=trials,
                budget_s=limit,
                jobs=jobs,
                folds=folds,
                publish=not no_publish,
                test=test,
                report=lines.report,
                report_fit=display.report,
                say=lines.say,
            )
    except (KeyboardInterrupt, SystemExit):
        print("rowcast: stopped; nothing was published, the study is kept", file=sys.stderr)
        raise
    if out is not None:
        _write(out, tuned.toml())
    if table_out is not None:
        write_table(table_out, tuned.table())
    _print(tuned, out, as_json=as_json)
    if as_json:
        print(json.dumps(tuned.summary()))


def _print(tuned: Tuned, out: Path | None, *, as_json: bool) -> None:
    """What a person reads of a study."""
    best, pruned = tuned.best, sum(trial.pruned for trial in tuned.trials)
    if not as_json:
        fields = list(best.values)
        ordered = sorted(tuned.trials, key=lambda trial: (trial.pruned, trial.value is None, trial.value or 0.0))
        rows = []
        for trial in ordered[:SHOWN]:
            value = "" if trial.value is None else f"{trial.value:.5g}"
            how = [str(trial.number), value, "pruned" if trial.pruned else "", f"{trial.seconds:.1f}"]
            rows.append([*how, *(_shown(trial.values[field]) for field in fields)])
        print_table(["trial", tuned.measure, "", "s", *(field.partition(".")[2] for field in fields)], rows)
        more = len(tuned.trials) - len(rows)
        if more > 0:
            print_result(f"and {more} more; all of them: --table-out F.csv")
    if tuned.importance:
        told = ", ".join(f"{field} {share:.0%}" for field, share in tuned.importance.items() if share >= 0.01)
        print_result(f"what mattered: {told}", aside=as_json)
    print_result(
        f"best of {len(tuned.trials)} trials ({pruned} pruned): trial {best.number}, {tuned.measure} {best.value:.6g} "
        "on validation rows",
        aside=as_json,
    )
    if out is not None:
        print_result(f"wrote the best config to {out}: rowcast train TABLE --config {out}", aside=as_json)
    if tuned.trained is None:
        return
    summary = tuned.trained.summary()
    for decision in summary["decisions"]:
        progress_console.print(f"  {printable(decision)}")
    print_metrics(summary["metrics"], aside=as_json)
    came = "published" if tuned.is_new else "nothing new; of this trial came"
    print_result(f"{came} {summary['name']}:{summary['version']} in {summary['path']}", aside=as_json)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _write(out: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    with whole_file(out) as half:
        half.write_text(text, "utf-8")
