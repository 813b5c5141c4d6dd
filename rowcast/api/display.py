"""How a fit shows its progress: a bar in a terminal, a line that changes in a notebook, a line an epoch elsewhere.

Whatever is shown, the logger ``rowcast.fit`` gets a line an epoch at level INFO. Who has logging show that on a stream
sees it there and gets no bar beside it: nothing is printed twice.
"""

from __future__ import annotations

import html
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rowcast.models.errors import ConfigError
from rowcast.models.printable import printable

if TYPE_CHECKING:
    from rowcast.training.fit.loop import Progress as Look

Verbose = bool | int | Literal["auto"]
READING = "reading the table"

logger = logging.getLogger("rowcast.fit")


class Live(Protocol):
    """Something on the screen that changes while a fit goes on."""

    def show(self, look: Look) -> None:
        """A look at the validation rows."""

    def say(self, text: str) -> None:
        """A sentence that stays."""

    def doing(self, text: str, done: float | None) -> None:
        """What goes on, and the share of it that is done where that is known."""


class Display:
    """Tells how a fit goes.

    Args:
        live: what changes on the screen, if anything does.
        every: print a line after so many epochs; 0 for no lines.
    """

    def __init__(self, live: Live | None, every: int) -> None:
        self._live, self._every = live, every
        self._untold: Look | None = None

    def report(self, look: Look) -> None:
        """Take in a look at the validation rows."""
        if self._live is not None:
            self._live.show(look)
        self._untold = look
        if look.ends_epoch:
            self.close()

    def say(self, text: str) -> None:
        """Take in a sentence."""
        logger.info("%s", text)
        if self._live is not None:
            self._live.say(text)
        elif self._every:
            _print(text)

    def doing(self, text: str, done: float | None) -> None:
        """Take in what goes on: it is shown until something else does."""
        if self._live is not None:
            self._live.doing(text, done)

    def close(self) -> None:
        """Tell of an epoch that ended early."""
        look, self._untold = self._untold, None
        if look is not None:
            logger.info("%s", line_of(look))
            if self._every and look.epoch % self._every == 0:
                _print(line_of(look))


@contextmanager
def display_of(verbose: Verbose = "auto") -> Iterator[Display]:
    """What tells how a fit goes, for as long as this is entered.

    Args:
        verbose: ``"auto"``: a bar in a terminal, a line that changes in a notebook, else a line an epoch, and nothing
            where logging shows these lines. ``True``: the same, whatever logging shows. A number: a line after so many
            epochs. ``False`` or 0: nothing.

    Raises:
        ConfigError: ``verbose`` is none of these.
    """
    if not (verbose == "auto" or (isinstance(verbose, int) and verbose >= 0)):
        raise ConfigError(f'verbose must be "auto", True, False or a number of epochs, got {verbose!r}')
    with ExitStack() as stack:
        if verbose == 0 or (verbose == "auto" and _logging_shows()):
            display = Display(None, 0)
        elif isinstance(verbose, int) and verbose is not True:
            display = Display(None, verbose)
        elif _in_notebook():
            display = Display(stack.enter_context(_in_page()), 0)
        elif sys.stderr is not None and sys.stderr.isatty():
            display = Display(stack.enter_context(_bar()), 0)
        else:
            display = Display(None, 1)
        yield display
        display.close()


def line_of(look: Look) -> str:
    """A look in a line."""
    best = ", the best so far" if look.best else ""
    losses = f"loss {look.train_loss:.4f}, validation {look.validation_loss:.4f}"
    return f"epoch {look.epoch}/{look.epochs}: {losses}{best}; {duration(look.seconds)}"


def _print(text: str) -> None:
    if sys.stderr is not None:
        print(printable(text), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``4.2 s``, ``1:23:45``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _logging_shows() -> bool:
    """Whether somebody has the lines of the logger printed on a stream of this process."""
    at: logging.Logger | None = logger if logger.isEnabledFor(logging.INFO) else None
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    while at is not None:
        for handler in at.handlers:
            # logging's own have a stream, rich's a console
            stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
            if handler.level <= logging.INFO and stream is not None and stream in streams:
                return True
        at = at.parent if at.propagate else None
    return False


def _in_notebook() -> bool:
    """Whether IPython's display reaches a page: in Jupyter, and on what is made of it."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and hasattr(get_ipython(), "kernel")


# ─── a terminal ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task(READING, total=None)

    def show(self, look: Look) -> None:
        description = f"epoch {look.epoch}/{look.epochs}: loss {look.train_loss:.4f}, validation "
        self._bar.update(
            self._task, total=1.0, completed=look.done, description=f"{description}{look.validation_loss:.4f}"
        )

    def say(self, text: str) -> None:
        self._bar.console.print(printable(text), soft_wrap=True)

    def doing(self, text: str, done: float | None) -> None:
        self._bar.update(self._task, total=None if done is None else 1.0, completed=done or 0.0, description=text)


@contextmanager
def _bar() -> Iterator[_Bar]:
    """A bar on stderr with the losses and the time left. If an error ends it, nothing of it stays on the screen."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(12), TimeElapsedColumn())
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True, highlight=False, markup=False, emoji=False),
        # What a callback prints belongs on stdout, where that is a file or a pipe.
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
    bar.start()
    try:
        shown = _Bar(bar)
        yield shown
        bar.update(bar.task_ids[0], total=1.0, completed=1.0)
    except BaseException:
        bar.live.transient = True
        raise
    finally:
        bar.stop()


# ─── a notebook ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Page:
    def __init__(self, shown: Any) -> None:
        self._shown = shown
        self._said: list[str] = []
        self._line, self._done = READING, 0.0

    def show(self, look: Look) -> None:
        self._line, self._done = line_of(look), look.done
        self._update()

    def say(self, text: str) -> None:
        self._said.append(text)
        self._update()

    def doing(self, text: str, done: float | None) -> None:
        self._line, self._done = text, done or 0.0
        self._update()

    def _update(self) -> None:
        self._shown.update(_page("\n".join([*self._said, self._line]), self._done), raw=True)


@contextmanager
def _in_page() -> Iterator[_Page]:
    """A line with a bar in a notebook. IPython alone is needed, which every one has; rich would need ipywidgets."""
    from IPython.display import display

    shown = display(_page(READING, None), raw=True, display_id=True)
    try:
        yield _Page(shown)
    except BaseException:
        shown.update({"text/plain": ""}, raw=True)
        raise


def _page(text: str, done: float | None) -> dict[str, str]:
    value = "" if done is None else f' value="{done:.3f}"'
    lines = html.escape(text).replace("\n", "<br>")
    return {"text/plain": text, "text/html": f'<progress max="1"{value}></progress> {lines}'}
