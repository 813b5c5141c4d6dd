"""Where progress, decisions and metrics go: stderr, so that stdout holds results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rowcast.models.printable import printable

if TYPE_CHECKING:
    from rowcast.training.fit.loop import Progress

# No markup and no emoji: a column may be named [/b] or :cat:.
progress_console = Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
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


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print metrics of a model, which somebody else may have written: whatever they hold, it is shown."""

    def number(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)

    for part, values in metrics.items():
        named = values.items() if isinstance(values, dict) else [("", values)]
        text = "  ".join(f"{name} {number(value)}" for name, value in named)
        progress_console.print(printable(f"  {part:<10} {text}"), soft_wrap=True)
