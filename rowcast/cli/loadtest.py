"""``rowcast loadtest``: does a running service keep its promise, and how much can it take?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_result, progress_console
from rowcast.cli.named import RepositoryOption, name_and_version
from rowcast.cli.options import JsonOption
from rowcast.models.durations import seconds
from rowcast.models.errors import ModelError
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.shares import share

app = typer.Typer(help="Load tests of a running service.", no_args_is_help=True, rich_markup_mode=None)

UrlOption = Annotated[str, typer.Option(help="Of the service.")]
P99Option = Annotated[float, typer.Option(help="The promise: p99 latency in milliseconds.")]
ModelOption = Annotated[
    str | None, typer.Option(help="NAME, NAME:VERSION or NAME@ALIAS; which, where several are served.")
]
ErrorsOption = Annotated[str, typer.Option(help="Share of requests that may fail: 0.1% or 0.001.")]
SeedOption = Annotated[int, typer.Option(help="Of arrivals and rows.")]
ConnectionsOption = Annotated[int, typer.Option(help="Connections at most.")]


@app.command(epilog="Example: rowcast loadtest check --url http://127.0.0.1:3000 --rate 500 --p99-ms 10 --duration 30s")
def check(
    url: UrlOption,
    rate: Annotated[float | None, typer.Option(help="Requests a second to offer.")] = None,
    p99_ms: Annotated[float | None, typer.Option(help="The promise: p99 latency in milliseconds.")] = None,
    duration: Annotated[str | None, typer.Option(help="How long: 30, 30s, 2m.")] = None,
    model: ModelOption = None,
    errors: Annotated[str | None, typer.Option(help="Share of requests that may fail: 0.1% or 0.001.")] = None,
    promise: Annotated[
        Path | None,
        typer.Option(help="Says what no flag says; default: promise.toml in the model's folder.", metavar="F"),
    ] = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    seed: SeedOption = 0,
    connections: ConnectionsOption = 64,
    as_json: JsonOption = False,
) -> None:
    """Check a latency promise with open-loop arrivals. Exit code 0: kept; 1: broken; 3: void.

    What is not given of --rate, --p99-ms, --duration and --errors is read from promise.toml.
    """
    from rowcast.loadtest.promise import check as check_promise

    verdict = check_promise(
        url,
        model=model,
        rate=rate,
        p99_ms=p99_ms,
        duration_s=None if duration is None else seconds(duration, "--duration"),
        errors=None if errors is None else share(errors, "--errors"),
        promise=promise,
        repository=repository,
        seed=seed,
        connections=connections,
        console=progress_console if as_json else None,
    )
    if as_json:
        print(verdict.to_json())
    raise typer.Exit(verdict.exit_code)


@app.command(epilog="Example: rowcast loadtest search --url http://127.0.0.1:3000 --p99-ms 10")
def search(
    url: UrlOption,
    p99_ms: P99Option,
    duration: Annotated[str, typer.Option(help="How long a step lasts: 5, 5s.")] = "5s",
    first_rate: Annotated[float, typer.Option("--from", help="Requests a second to begin with.")] = 100.0,
    precision: Annotated[str, typer.Option(help="How close: a rate higher by so much does not hold.")] = "3%",
    model: ModelOption = None,
    errors: ErrorsOption = "0",
    seed: SeedOption = 0,
    connections: ConnectionsOption = 64,
    as_json: JsonOption = False,
) -> None:
    """Find the highest rate that holds a latency, by bisection. Exit code 0: found; 1: none holds; 3: void."""
    from rowcast.loadtest.highest_rate import search as find

    found = find(
        url,
        model,
        p99_ms=p99_ms,
        step_s=seconds(duration, "--duration"),
        errors=share(errors, "--errors"),
        seed=seed,
        connections=connections,
        first_rate=first_rate,
        precision=share(precision, "--precision", whole=True),
        console=progress_console if as_json else None,
    )
    if as_json:
        print(found.to_json())
    raise typer.Exit(found.exit_code)


@app.command(epilog="Example: rowcast loadtest plan --rate 20000 --p99-ms 10 --cores 16 --price 0.68")
def plan(
    rate: Annotated[float, typer.Option(help="Requests a second to be served.")],
    p99_ms: P99Option,
    model: Annotated[str | None, typer.Option(help="NAME, NAME:VERSION or NAME@ALIAS; which, of several.")] = None,
    cores: Annotated[int | None, typer.Option(help="Of a machine; default: this one's.")] = None,
    price: Annotated[float | None, typer.Option(help="Of a machine for an hour.")] = None,
    duration: Annotated[str, typer.Option(help="How long a step of the measurements lasts: 3, 3s.")] = "3s",
    seed: SeedOption = 0,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Plan workers, machines and cost of a rate, by a simulation that is validated here. Takes some minutes.

    Exit code 0: validated; 1: not, or nothing was measured.
    """
    from rowcast.loadtest.plan.planning import plan as make_plan
    from rowcast.loadtest.served import NotServed

    try:
        if model is not None:
            name, version = name_and_version(model, repository)
            model = name if version is None else f"{name}:{version}"
        made = make_plan(
            repository,
            model,
            rate=rate,
            p99_ms=p99_ms,
            cores=cores,
            price=price,
            step_s=seconds(duration, "--duration"),
            seed=seed,
            console=progress_console if as_json else None,
        )
    except (NotServed, ModelError) as error:
        if as_json:
            nothing: dict[str, Any] = {"workers": None, "machines": None, "validated": False, "validation": []}
            print(json.dumps({"rate": rate, "p99_ms": p99_ms, **nothing, "reason": str(error), "exit_code": 1}))
        raise
    if as_json:
        print(made.to_json())
    raise typer.Exit(made.exit_code)


@app.command(epilog="Example: rowcast loadtest report --url http://127.0.0.1:3000 --out load.html")
def report(
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="F")],
    url: UrlOption = "http://127.0.0.1:3000",
    model: ModelOption = None,
    rate: Annotated[float | None, typer.Option(help="Whose latencies are shown; default: the promise's.")] = None,
    p99_ms: Annotated[float | None, typer.Option(help="The promise; default: that of promise.toml.")] = None,
    duration: Annotated[str, typer.Option(help="How long each rate of the sweep lasts: 2, 2s.")] = "2s",
    promise: Annotated[
        Path | None, typer.Option(help="The promise; default: promise.toml in the model's folder.", metavar="F")
    ] = None,
    seed: SeedOption = 0,
    connections: ConnectionsOption = 64,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Sweep over rates and write one HTML file: latencies, throughput, where the time goes, machine and model.

    Exit code as of check where there is a promise, of flags or promise.toml; else 0, or 3 where nothing was measured.
    """
    from rowcast.loadtest.report.write import report as write_report

    written = write_report(
        url,
        out,
        model,
        rate=rate,
        p99_ms=p99_ms,
        promise=promise,
        repository=repository,
        step_s=seconds(duration, "--duration"),
        seed=seed,
        connections=connections,
    )
    for line in written.lines():
        print_result(line, aside=as_json)
    if as_json:
        print(written.to_json())
    raise typer.Exit(written.exit_code)
