"""``rowcast models``: list, show, verify and remove what is published."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rowcast import DEFAULT_REPOSITORY
from rowcast.cli.console import print_metrics, progress_console
from rowcast.cli.named import ModelArgument, RepositoryOption, name_and_version, open_model
from rowcast.cli.options import JsonOption
from rowcast.models.errors import ConfigError
from rowcast.models.printable import printable
from rowcast.models.repository import Repository

app = typer.Typer(help="The models of the repository.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", epilog="Example: rowcast models list")
def list_models(repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False) -> None:
    """Name every model and its versions."""
    home = Repository(repository)
    found = {name: home.versions(name) for name in home.names()}
    for name, versions in found.items():
        progress_console.print(f"{name}  versions {', '.join(map(str, versions))}")
    for line in home.listing().warnings:
        progress_console.print(line, soft_wrap=True)
    if not found:
        progress_console.print(f"no models in {repository}; `rowcast train TABLE --target COL` makes one")
    if as_json:
        listed = [{"name": name, "versions": versions} for name, versions in found.items()]
        print(json.dumps({"repository": str(repository.absolute()), "models": listed}))


@app.command(epilog="Example: rowcast models show flights:3")
def show(model: ModelArgument, repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False) -> None:
    """Show what a model takes, how well it does and what was decided about its table."""
    manifest = open_model(model, repository).manifest
    signature = manifest.signature
    about = f"{signature.task} of {signature.target!r}, published {manifest.created}"
    print(f"{manifest.name}:{manifest.version}  {printable(about)}")
    for column in signature.columns:
        print(f"  {printable(column.name)}  {column.kind}{', nullable' if column.nullable else ''}")
    print_metrics(manifest.metrics)
    for decision in manifest.decisions:
        print(f"  {printable(decision)}")
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))  # in ASCII: others wrote it


@app.command(epilog="Example: rowcast models verify flights")
def verify(
    model: ModelArgument, repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False
) -> None:
    """Check every file of a model against its SHA-256, and load it."""
    from rowcast.models.session import Session

    stored = open_model(model, repository)
    Session.of(stored, "cpu").warm_up()
    manifest = stored.manifest
    progress_console.print(f"{manifest.name}:{manifest.version} is what was published ({len(manifest.files)} files)")
    if as_json:
        print(json.dumps({"name": manifest.name, "version": manifest.version, "files": manifest.files}))


@app.command(epilog="Example: rowcast models remove flights:3")
def remove(
    model: Annotated[str, typer.Argument(metavar="NAME:VERSION")], repository: RepositoryOption = DEFAULT_REPOSITORY
) -> None:
    """Delete one version of a model for good."""
    name, version = name_and_version(model)
    if version is None:
        raise ConfigError(f"say which version to delete: rowcast models remove {name}:VERSION")
    Repository(repository).remove(name, version)
    progress_console.print(f"removed {name}:{version}")
