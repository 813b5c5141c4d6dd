"""The command line as a whole: its verbs, and how it ends when one fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from rowcast import __version__
from rowcast.cli import (
    crossvalidate,
    demo,
    evaluate,
    importance,
    init,
    key,
    live,
    loadtest,
    look,
    models,
    predict,
    pretrain,
    report,
    rollout,
    serve,
    train,
    tune,
)
from rowcast.cli.console import progress_console
from rowcast.cli.usage import UsageError, sentence_of
from rowcast.models.errors import ConfigError, RowcastError
from rowcast.models.extras import missing
from rowcast.models.printable import printable
from rowcast.training.ranks.environment import check_alone

app = typer.Typer(
    help="Train a deep neural network on a table, get one ONNX file, serve it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models.app.command(epilog=live.PROMOTE)(live.promote)
models.app.command(epilog=live.STATUS)(live.status)
models.app.command(epilog=live.ALIAS)(live.alias)
app.add_typer(models.app, name="models")
app.add_typer(loadtest.app, name="loadtest")
app.command(epilog=init.EXAMPLE)(init.init)
app.command(epilog=look.EXAMPLE)(look.look)
app.command(epilog=train.EXAMPLE)(train.train)
app.command(epilog=pretrain.EXAMPLE)(pretrain.pretrain)
app.command(epilog=crossvalidate.EXAMPLE)(crossvalidate.crossvalidate)
app.command(epilog=tune.EXAMPLE)(tune.tune)
app.command(epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command(epilog=importance.EXAMPLE)(importance.importance)
app.command(epilog=report.EXAMPLE)(report.report)
app.command(epilog=predict.EXAMPLE)(predict.predict)
app.command(epilog=serve.EXAMPLE)(serve.serve)
app.command(epilog=rollout.EXAMPLE)(rollout.rollout)
app.command(epilog=key.EXAMPLE)(key.key)
app.command(epilog=demo.EXAMPLE)(demo.demo)


def _version(asked: bool) -> None:
    if asked:
        print(f"rowcast {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = debug
    if context.invoked_subcommand not in (None, "train"):
        check_alone(f"`rowcast {context.invoked_subcommand}`")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line. Exit code 0: done; 1: the work failed, or a check says no; 2: wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if logging.lastResort is not None:  # a command shows warnings on stderr, where a library leaves it to its caller
        logging.getLogger("rowcast").addHandler(logging.lastResort)
    given = [argument for argument in given if argument != "--debug"]  # it may stand anywhere
    try:
        code = app(given, standalone_mode=False, prog_name="rowcast")
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            sys.exit(2)
        _fail(error, 2, debug=debug, text=sentence_of(error))
    except typer.Abort:  # standard input ended where an answer was asked for
        sys.exit(1)
    except ConfigError as error:
        _fail(error, 2, debug=debug)
    except (RowcastError, OSError) as error:
        _fail(error, 1, debug=debug)
    except ModuleNotFoundError as error:
        line = f"{error.name} is not installed: pip install 'rowcast[train]'"
        _fail(missing(error) or error, 1, debug=debug, text=str(missing(error) or line))
    except MemoryError as error:
        _fail(error, 1, debug=debug, text="the memory is full: train on fewer rows or columns, see --drop")
    except Exception as error:  # noqa: BLE001 - a mistake of ours; a person is told in a line, a trace is there to ask for
        first_line = next(iter(str(error).splitlines()), "")
        text = f"something went wrong that should not have, {type(error).__name__}: {first_line}"
        _fail(error, 1, debug=debug, text=f"{text}; --debug shows the trace")
    sys.exit(code if isinstance(code, int) else 0)


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
