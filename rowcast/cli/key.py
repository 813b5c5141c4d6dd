"""``rowcast key``: an API key for a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rowcast.cli.console import progress_console

EXAMPLE = "Example: rowcast key alice --file keys.txt"


def key(
    holder: Annotated[str, typer.Argument(help="Who gets it: a name for the log.")],
    file: Annotated[Path, typer.Option(help="Where its hash is added; ROWCAST_API_KEYS names it.", metavar="F")],
    admin: Annotated[bool, typer.Option("--admin", help="It may change what is served, too.")] = False,
) -> None:
    """Make an API key and print it, once: only its hash is kept."""
    from rowcast.service.middleware.keys import new_key

    print(new_key(holder, file, admin=admin))
    progress_console.print(f"added to {file}: a service that reads this file knows it within a second")
