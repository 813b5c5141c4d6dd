"""``rowcast demo``: a year of real flights, trained on, published and served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rowcast.cli.console import progress_console
from rowcast.cli.named import RepositoryOption
from rowcast.cli.serve import serve
from rowcast.cli.train import train
from rowcast.models.names import DEFAULT_REPOSITORY

EXAMPLE = "Example: rowcast demo --budget 30s"
EPOCHS = 3
"""Half a minute on two quiet cores. A budget would leave a busy machine a fit that has hardly begun."""


def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 3000,
    budget: Annotated[
        str | None, typer.Option(help="Wall clock of the fit; default: none, three epochs.", metavar="D")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where to put the table.", metavar="DIR")] = Path(".demo"),
    repository: RepositoryOption = DEFAULT_REPOSITORY,
) -> None:
    """Train `flights` on a year of real flights, publish it and serve it."""
    from rowcast.service.process.launch import checked_address
    from rowcast.training.data import flights

    checked_address(host, port)  # a port that is taken is noticed before the fit
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "flights.csv"
    rows = flights.write_flights(file)
    progress_console.print(
        f"{file}: {rows:,} flights. Which will arrive more than {flights.LATE_MINUTES} minutes late?"
    )
    train(
        table=file,
        target=flights.TARGET,
        name="flights",
        preset="quick",
        budget=budget,
        epochs=None if budget else EPOCHS,
        split_by_time=flights.TIME,
        repository=repository,
    )
    os.environ.setdefault("ROWCAST_GRACE", "0")  # nobody else calls the demo: Ctrl-C stops it at once
    serve(host=host, port=port, repository=repository)
