"""``rowcast predict``: predictions for every row of a table, made here or by a service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer

from rowcast.cli.console import print_result, progress_console
from rowcast.cli.named import RepositoryOption, open_model
from rowcast.cli.options import EncodingOption, JsonOption, SeparatorOption, names
from rowcast.cli.out import OUT_HELP, STDOUT, check_out
from rowcast.models.errors import ConfigError
from rowcast.models.names import DEFAULT_REPOSITORY

EXAMPLE = (
    "Example: rowcast predict flights new_rows.csv --out predictions.csv --keep flight. "
    "Through a service: rowcast predict --url http://127.0.0.1:3000 new_rows.csv --out predictions.csv"
)


def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:VERSION] TABLE", help="A model and a table; with --url the model may be left out."
        ),
    ],
    out: Annotated[Path, typer.Option(help=f"{OUT_HELP[:-1]}, or - for CSV to stdout.")],
    keep: Annotated[list[str] | None, typer.Option(help="Columns to carry along: A,B.", metavar="A,B")] = None,
    url: Annotated[str | None, typer.Option(help="Of a service that is to predict.")] = None,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Predict every row of a table, in order: here, or through a service."""
    check_out(out, may_be_stdout=True)
    to_stdout = str(out) == STDOUT
    if to_stdout and as_json:
        raise ConfigError("--json and --out - would both write to standard output: leave one of them out")
    if len(arguments) not in ((1, 2) if url else (2,)):
        usage = "--url U [NAME[:VERSION]] TABLE" if url else "NAME[:VERSION] TABLE"
        raise ConfigError(f"the arguments are {usage}, got {' '.join(arguments)}")
    model, table = (arguments[0] if len(arguments) == 2 else None), Path(arguments[-1])
    how: dict[str, Any] = {"keep": names(keep) or (), "encoding": encoding, "separator": separator}
    if url is not None:
        name, version, rows = _predict_through(url, model, table, out, how)
    else:
        from rowcast.training.stream.predict import predict_file

        stored = open_model(str(model), repository)
        rows = predict_file(stored, table, out, **how)
        name, version = stored.manifest.name, stored.manifest.version
    print_result(f"wrote {rows:,} predictions to {'standard output' if to_stdout else out}", aside=as_json or to_stdout)
    if as_json:
        print(json.dumps({"name": name, "version": version, "rows": rows, "out": str(out.absolute())}))


def _predict_through(
    url: str, model: str | None, table: Path, out: Path, how: Mapping[str, Any]
) -> tuple[str, int, int]:
    """Name and version of the model behind a service, and how many predictions of it were written.

    All are of the version that the service describes, whatever is published meanwhile. Where that one is not served any
    more before the last row, the whole table is predicted by the one that is, once.
    """
    from rowcast.client import Client, Refused, Unusable
    from rowcast.models.access import key_of_environment

    key = key_of_environment()
    try:
        first = Client(url, model, api_key=key)
    except Unusable as error:  # wrong usage
        raise ConfigError(str(error)) from None
    with first as client:
        about = client.describe()
        try:
            return _predict_by(url, key, about, table, out, how)
        except Refused as error:
            if error.status != HTTPStatus.NOT_FOUND or not table.is_file():  # a pipe is read but once
                raise
            again = client.describe()
            if (again["name"], again["version"]) == (about["name"], about["version"]):
                raise
            served = f"{again['name']}:{again['version']} is served now, and predicts the whole table"
            print_result(f"{error}: {served}", aside=True)
    return _predict_by(url, key, again, table, out, how)


def _predict_by(
    url: str, key: str | None, about: Mapping[str, Any], table: Path, out: Path, how: Mapping[str, Any]
) -> tuple[str, int, int]:
    """The same, of the version that is described."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from rowcast.client import Client, Failed
    from rowcast.models.labels import LABEL_TYPE, typed_labels
    from rowcast.models.signature import Signature
    from rowcast.training.predict import answers_of, no_predictions
    from rowcast.training.stream.predict import predict_file_elsewhere

    name, version = str(about["name"]), int(about["version"])
    of = about.get(LABEL_TYPE, "text")  # a service of an earlier version does not tell
    try:
        signature = Signature.model_validate(about["signature"])
        typed_labels(signature.classes, signature.classes, of)
    except (ValueError, KeyError):
        raise Failed("the model's signature cannot be read: is the service of this version of Rowcast?") from None
    columns = (BarColumn(12), MofNCompleteColumn(), TimeRemainingColumn())
    chosen = Client(url, f"{name}:{version}", api_key=key, protocol="arrow")
    with chosen as client, Bar(*columns, console=progress_console) as bar:
        task, asked = bar.add_task("", total=None), 0

        def ask(given: dict[str, Any], rows: int) -> Any:
            nonlocal asked
            if rows == 0:  # a service answers one row at least, and never with bounds of further levels
                answering = signature.model_copy(update={"further_levels": ()})
                return answers_of(no_predictions(answering), answering, of)
            asked += rows  # the rest of the table is not read yet
            bar.update(task, total=asked)
            answers = dict(client.predict(given, progress=lambda done: bar.advance(task, done)))
            if "label" in answers:
                answers["label"] = typed_labels(answers["label"], signature.classes, of)
            return answers

        return name, version, predict_file_elsewhere(ask, signature, name, table, out, **how)
