"""Where progress and decisions go: stderr, so that stdout holds results alone."""

from __future__ import annotations

from rich.console import Console

# No markup and no emoji: a column may be named [/b] or :cat:.
progress_console = Console(stderr=True, highlight=False, markup=False, emoji=False)
