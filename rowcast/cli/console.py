"""What goes where: results to stdout, progress and decisions to stderr.

With ``--json`` stdout holds the JSON object alone, and what a person would read of the result goes to stderr, too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from rowcast.models.printable import printable

# No markup and no emoji: a column may be named [/b] or :cat:.
progress_console = Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, aside: bool = False) -> None:
    """Print rows as a table, in columns as wide as what they hold; ``aside`` as in :func:`print_result`."""
    lines = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print_result(text.rstrip(), aside=aside)


def print_result(text: str, *, aside: bool = False) -> None:
    """Print a line of a result.

    Args:
        text: the line.
        aside: to stderr, because stdout is for a JSON object.
    """
    print(printable(text), file=sys.stderr if aside else sys.stdout)


def print_metrics(metrics: dict[str, Any], *, aside: bool = False) -> None:
    """Print metrics of a model, which somebody else may have written: whatever they hold, it is shown.

    Args:
        metrics: by part of the table, or by name.
        aside: as in :func:`print_result`.
    """

    def number(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)

    for part, values in metrics.items():
        named = values.items() if isinstance(values, dict) else [("", values)]
        text = "  ".join(f"{name} {number(value)}" for name, value in named)
        print_result(f"  {part:<10} {text}", aside=aside)
