"""``rowcast serve``: the models of a repository, served."""

from __future__ import annotations

from typing import Annotated

import typer

from rowcast.cli.named import RepositoryOption
from rowcast.models.names import DEFAULT_REPOSITORY

EXAMPLE = "Example: rowcast serve --port 3000"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on, or unix:/path for a file.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on: 3000, or the one a platform names.", min=1, max=65535)
    ] = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
) -> None:
    """Serve the models of the repository: runs `bentoml serve`. Settings: see the table in the README."""
    from rowcast.service.process.launch import launch

    raise typer.Exit(launch(repository, host=host, port=port))
