"""``rowcast models``: list, show, compare, verify and remove what is published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_metrics, print_result, print_table, progress_console
from rowcast.cli.live import operator
from rowcast.cli.named import ModelArgument, RepositoryOption, name_and_version, open_model, open_pretrained_as
from rowcast.cli.options import EncodingOption, JsonOption, SeparatorOption, TableArgument
from rowcast.models.errors import ConfigError, ModelError, ModelRefused
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.pretrained import PRETRAINED_METRIC, Pretrained, read_pretrained
from rowcast.models.printable import printable
from rowcast.models.repository import Manifest, Repository, StoredModel, read_manifest
from rowcast.models.rollout import read_or_kept
from rowcast.models.rollout.steps import forget_version, what_names
from rowcast.models.signature import Column

app = typer.Typer(help="The models of the repository.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", epilog="Example: rowcast models list")
def list_models(repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False) -> None:
    """Name every model and its versions, with how well each does."""
    home = Repository(repository)
    found = {name: home.versions(name) for name in home.names()}
    details = {name: [_details(home, name, version) for version in versions] for name, versions in found.items()}
    without = [(name, _pretrained(home, name, v)) for name, all_ in home.listing().pretrained.items() for v in all_]
    if found or without:
        head = ("NAME", "VERSION", "TASK", "METRIC", "ROWS", "CREATED", "SIZE")
        rows = [(name, *_cells(one)) for name, every in details.items() for one in every]
        print_table(head, [*rows, *((name, *_cells(one)) for name, one in without)], aside=as_json)
    for line in home.listing().warnings:
        progress_console.print(line, soft_wrap=True)
    if not found and not without:
        progress_console.print(f"no models in {repository}; `rowcast train TABLE --target COL` makes one")
    if as_json:
        listed = [{"name": name, "versions": found[name], "details": details[name]} for name in found]
        pretrained = [{"name": name, **one} for name, one in without]
        print(json.dumps({"repository": str(repository.absolute()), "models": listed, "pretrained": pretrained}))


def _details(home: Repository, name: str, version: int) -> dict[str, Any]:
    """What ``models list --json`` says of a version; ``error`` where its manifest cannot be read."""
    path = home.root / name / str(version)
    try:
        manifest = read_manifest(path)
    except (ModelRefused, OSError) as error:
        return {"version": version, "error": printable(str(error))}
    metric = "rmse" if manifest.signature.task == "regression" else "log_loss"
    part, value = next(
        (
            (part, value)
            for part in ("test", "validation")
            if isinstance(values := manifest.metrics.get(part), dict)
            and isinstance(value := values.get(metric), (int, float))
        ),
        (None, None),
    )
    rows = manifest.data.get("rows")
    return {
        "version": version,
        "task": manifest.signature.task,
        "target": manifest.signature.target,
        "metric": metric,
        "value": value,
        "part": part,
        "rows": rows if isinstance(rows, int) else None,
        "created": manifest.created,
        "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    }


def _pretrained(home: Repository, name: str, version: int) -> dict[str, Any]:
    """The same of pre-trained weights."""
    path = home.root / name / str(version)
    try:
        manifest = read_pretrained(path)
    except (ModelRefused, OSError) as error:
        return {"version": version, "error": printable(str(error))}
    value = manifest.metrics.get("validation", {}).get(PRETRAINED_METRIC)
    return {
        "version": version,
        "task": "pre-trained",
        "target": None,
        "metric": PRETRAINED_METRIC,
        "value": value if isinstance(value, float) else None,
        "part": "validation",
        "rows": manifest.data.get("rows"),
        "created": manifest.created,
        "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    }


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    if "error" in one:
        return (str(one["version"]), one["error"], "", "", "", "")
    metric = "" if one["value"] is None else f"{one['part']} {one['metric']} {one['value']:.4g}"
    rows = "" if one["rows"] is None else f"{one['rows']:,}"
    return (str(one["version"]), one["task"], metric, rows, one["created"], _size(one["bytes"]))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:.0f} KiB"


@app.command(epilog="Example: rowcast models show flights:3")
def show(
    model: ModelArgument,
    network: Annotated[bool, typer.Option("--network", help="Its layers, parameters, and the time of a row.")] = False,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Show what a model takes, how well it does and what was decided about its table; or its network."""
    weights = open_pretrained_as(model, repository)
    if weights is not None:
        _show_pretrained(weights.manifest, as_json=as_json)
        return
    stored = open_model(model, repository)
    if network:
        _show_network(stored, as_json=as_json)
        return
    manifest = stored.manifest
    signature = manifest.signature
    about = f"{signature.task} of {signature.target!r}, published {manifest.created}"
    print_result(f"{manifest.name}:{manifest.version}  {about}", aside=as_json)
    _print_columns(signature.columns, aside=as_json)
    print_metrics(manifest.metrics, aside=as_json)
    if manifest.threshold is not None:
        print_result(f"  threshold  {json.dumps(manifest.threshold)}", aside=as_json)
    for decision in manifest.decisions:
        print_result(f"  {decision}", aside=as_json)
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))  # in ASCII: others wrote it


def _show_pretrained(manifest: Pretrained, *, as_json: bool) -> None:
    rows = manifest.data.get("rows")
    about = f"pre-trained on {rows} rows, published {manifest.created}"
    print_result(f"{manifest.name}:{manifest.version}  {about}", aside=as_json)
    _print_columns(manifest.columns, aside=as_json)
    print_metrics(manifest.metrics, aside=as_json)
    for decision in manifest.decisions:
        print_result(f"  {decision}", aside=as_json)
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))


def _print_columns(columns: Sequence[Column], *, aside: bool) -> None:
    for column in columns:
        print_result(f"  {column.name}  {column.kind}{', nullable' if column.nullable else ''}", aside=aside)


def _show_network(stored: StoredModel, *, as_json: bool) -> None:
    from rowcast.models.session import Session
    from rowcast.models.summary import WEIGHTS_FILE, microseconds, read_layers, summary_of

    if not as_json:
        print(summary_of(stored))
        return
    layers, _, n_bytes = read_layers(stored.path / WEIGHTS_FILE)
    micros = microseconds(Session.of(stored, "cpu"))
    about = {"layers": layers, "bytes": {"weights": n_bytes, "graph": len(stored.graph)}}
    print(json.dumps(about | {"microseconds": {str(rows): round(time, 1) for rows, time in micros.items()}}))


@app.command(epilog="Example: rowcast models verify flights")
def verify(
    model: ModelArgument, repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False
) -> None:
    """Check every file of a model against its SHA-256, and load it."""
    from rowcast.models.session import Session

    manifest: Manifest | Pretrained
    weights = open_pretrained_as(model, repository)
    if weights is not None:
        manifest = weights.manifest
    else:
        stored = open_model(model, repository)
        Session.of(stored, "cpu").warm_up()
        manifest = stored.manifest
    print_result(
        f"{manifest.name}:{manifest.version} is what was published ({len(manifest.files)} files)", aside=as_json
    )
    if as_json:
        print(json.dumps({"name": manifest.name, "version": manifest.version, "files": manifest.files}))


@app.command(epilog="Example: rowcast models compare flights:1 flights:2 new_rows.csv")
def compare(
    a: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="A model of the repository.")],
    b: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="Another one, of the same target.")],
    table: TableArgument,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Say which of two models is better on a table, or that its rows cannot tell."""
    models = open_model(a, repository), open_model(b, repository)
    from rowcast.training.compare import compare as compare_models

    found = compare_models(*models, table, encoding=encoding, separator=separator)
    rows = [
        (name, *(f"{one[side]:.4g}" for side in ("a", "b")), f"{one['difference']:.3g}", _interval(one), _better(one))
        for name, one in found["metrics"].items()
    ]
    head = ("METRIC", *found["models"], "DIFFERENCE", f"{found['level']:.0%} INTERVAL", "BETTER")
    print_table(head, rows, aside=as_json)
    print_result(found["verdict"], aside=as_json)
    if as_json:
        print(json.dumps(found))


def _interval(one: dict[str, Any]) -> str:
    return "[{:.3g}, {:.3g}]".format(*one["interval"])


def _better(one: dict[str, Any]) -> str:
    return {"a": "the first", "b": "the second"}.get(one["better"], "")


@app.command(epilog="Example: rowcast models remove flights:3")
def remove(
    model: Annotated[str, typer.Argument(metavar="NAME:VERSION")],
    force: Annotated[
        bool, typer.Option("--force", help="Though it is served, chosen, on trial or called something.")
    ] = False,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
) -> None:
    """Delete one version of a model for good."""
    name, version = name_and_version(model, repository)
    if version is None:
        raise ConfigError(f"say which version to delete: rowcast models remove {name}:VERSION")
    home = Repository(repository)
    home.check_there(name, version)
    if reasons := what_names(read_or_kept(home.root / name)[0], version):
        why = f"{name}:{version} would be missed: {'; '.join(reasons)}"
        if not force:
            raise ModelError(
                f"{why}. Have another take its place (rowcast rollout {name}:VERSION --promote; rowcast models alias), "
                "or remove it all the same with --force"
            )
        progress_console.print(why, soft_wrap=True)
        forget_version(home.root / name, version, operator())
    home.remove(name, version)
    print_result(f"removed {name}:{version}")
