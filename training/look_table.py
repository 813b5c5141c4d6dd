"""What a look at a table found, as a table to read."""

from __future__ import annotations

import html
import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rowcast.models.printable import printable
from rowcast.training.look import ColumnLook, Look

HEADINGS = ("column", "kind", "missing", "distinct", "values", "why")
WIDTH = 140
"""Where nothing else says how wide lines may be."""


def print_look(found: Look, console: Console) -> None:
    """Print the columns as a table, and the warnings below."""
    console.print(f"{found['rows']:,} rows, {len(found.seen):,} columns" + _task(found))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("missing", "distinct") else "left", overflow="fold")
    for column in found.seen:
        table.add_row(*map(Text, map(printable, _cells(column))))
    console.print(table)
    for warning in found["warnings"]:
        console.print(Text(printable(f"! {warning}")), soft_wrap=True)


def as_text(found: Look) -> str:
    """The table and the warnings as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False, emoji=False)
    print_look(found, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def as_html(found: Look) -> str:
    """The table and the warnings as HTML, for a notebook."""
    head = "".join(f'<th style="text-align:left">{heading}</th>' for heading in HEADINGS)
    rows = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{_html(cell)}</td>' for cell in _cells(column)) + "</tr>"
        for column in found.seen
    )
    warnings = "".join(f"<li>{_html(warning)}</li>" for warning in found["warnings"])
    caption = f"{found['rows']:,} rows, {len(found.seen):,} columns{_task(found)}"
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return table + (f"<ul>{warnings}</ul>" if warnings else "")


def _html(text: str) -> str:
    return html.escape(printable(text))


def _task(found: Look) -> str:
    return f": {found['task']}" if found["task"] else ""


def _cells(column: ColumnLook) -> tuple[str, str, str, str, str, str]:
    kind = f"{column.kind}, dropped" if column.dropped else column.kind
    missing = "" if column.missing == 0 else f"{column.missing:.1%}" if column.missing >= 0.001 else "<0.1%"
    return column.name, kind, missing, f"{column.distinct:,}", column.values, column.why
