"""``rowcast loadtest``: does a running service keep its promise?"""

from __future__ import annotations

from typing import Annotated

import typer

from rowcast.cli.console import progress_console
from rowcast.cli.options import JsonOption
from rowcast.models.durations import seconds

app = typer.Typer(help="Load tests of a running service.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: rowcast loadtest check --url http://127.0.0.1:3000 --rate 500 --p99-ms 10 --duration 30s")
def check(
    url: Annotated[str, typer.Option(help="Of the service.")],
    rate: Annotated[float, typer.Option(help="Requests a second to offer.")],
    p99_ms: Annotated[float, typer.Option(help="The promise: p99 latency in milliseconds.")],
    duration: Annotated[str, typer.Option(help="How long: 30, 30s, 2m.")],
    model: Annotated[str | None, typer.Option(help="Which model, where several are served.")] = None,
    seed: Annotated[int, typer.Option(help="Of arrivals and rows.")] = 0,
    connections: Annotated[int, typer.Option(help="Connections at most.")] = 64,
    as_json: JsonOption = False,
) -> None:
    """Check a latency promise with open-loop arrivals. Exit code 0: kept; 1: broken; 3: void."""
    from rowcast.loadtest.promise import check as check_promise

    verdict = check_promise(
        url,
        model=model,
        rate=rate,
        p99_ms=p99_ms,
        duration_s=seconds(duration, "--duration"),
        seed=seed,
        connections=connections,
        console=progress_console if as_json else None,
    )
    if as_json:
        print(verdict.to_json())
    raise typer.Exit(verdict.exit_code)
