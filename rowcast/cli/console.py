"""Where progress, decisions and metrics go: stderr, so that stdout holds results alone."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from rowcast.models.printable import printable

# No markup and no emoji: a column may be named [/b] or :cat:.
progress_console = Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print metrics of a model, which somebody else may have written: whatever they hold, it is shown."""

    def number(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)

    for part, values in metrics.items():
        named = values.items() if isinstance(values, dict) else [("", values)]
        text = "  ".join(f"{name} {number(value)}" for name, value in named)
        progress_console.print(printable(f"  {part:<10} {text}"), soft_wrap=True)
