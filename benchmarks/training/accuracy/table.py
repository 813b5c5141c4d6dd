"""The benchmark's table, in Markdown. No part of what is measured: to change it here costs no new measurement."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cells import machine
from benchmarks.training.accuracy.contenders import PEER_LIST, Rowcast
from benchmarks.training.accuracy.scores import Tally, primary, verdict

QUIET = 0.1
"""Of a core, used by others during a fit; beyond it, seconds are marked."""
_HEADS = {"rmse": "RMSE", "log_loss": "log-loss", "r2": "R²", "roc_auc": "AUC"}
_COLUMNS = {
    "regression": ("r2", "coverage"),
    "binary": ("roc_auc", "accuracy", "ece"),
    "multiclass": ("roc_auc", "accuracy", "ece"),
}
_LEVEL = "≈"
NOT_ASKED_FOR = "not asked for"


@dataclass
class Table:
    """A data set and what was found on it.

    ``cells`` by contender: one for each seed, or one with a reason. ``intervals`` by our preset and a peer, of the
    differences on test rows. ``reason`` says why there is none of it.
    """

    name: str
    task: str = "regression"
    rows: dict[str, int] = field(default_factory=dict)
    cells: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    intervals: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    reason: str = ""

    def mean(self, contender: str, part: str, metric: str) -> float | None:
        """Over seeds; None where there is no result."""
        cells = self.cells.get(contender, [])
        found = [cell[part][metric] for cell in cells if metric in cell.get(part, {})]
        return statistics.mean(found) if cells and len(found) == len(cells) else None

    def seconds(self, contender: str, figure: str = "fit_s") -> float | None:
        """Of a fit, over seeds, or another figure of its cost; None where there is no result."""
        found = [cell[figure] for cell in self.cells.get(contender, []) if figure in cell]
        return statistics.mean(found) if found else None


def number(value: float | None) -> str:
    """Four decimals, fewer for large numbers, nothing for none."""
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def duration(seconds: float | None) -> str:
    """In seconds, with a decimal below 10."""
    return "" if seconds is None else f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"


def gap(found: dict[str, Any] | None) -> str:
    """A difference with its interval; marked where 0 lies inside."""
    if not found or "reason" in found:
        return ""
    digits = 4 if max(abs(found["low"]), abs(found["high"])) < 10 else 1
    text = f"{found['difference']:+.{digits}f} ({found['low']:+.{digits}f} to {found['high']:+.{digits}f})"
    return f"{text} {_LEVEL}" if verdict(found).startswith("level") else text  # type: ignore[arg-type]


def section(table: Table, ours: Sequence[Rowcast]) -> list[str]:
    """A data set's results on test rows."""
    if table.reason:
        return ["", f"## {table.name}", "", f"Not measured: {table.reason}."]
    if all("reason" in cell and cell["reason"] == NOT_ASKED_FOR for found in table.cells.values() for cell in found):
        return ["", f"## {table.name}", "", "Not measured."]
    metric, more = primary(table.task), _COLUMNS[table.task]
    rows = table.rows
    heads = [_HEADS[metric], *(f"{one.short} − it" for one in ours), *(_HEADS.get(m, m.upper()) for m in more)]
    heads = [head.lower() if head in ("COVERAGE", "ACCURACY") else head for head in heads]
    out = [
        *("", f"## {table.name}", ""),
        f"{rows['train']:,} training, {rows['validation']:,} validation, {rows['test']:,} test rows.",
        *("", f"| | {' | '.join(heads)} | fit, s | all, s | a row, ms | MB |", "|---|" + "---|" * (len(heads) + 4)),
    ]
    for contender in (*ours, *PEER_LIST):
        if table.task not in contender.tasks:
            continue
        cells = table.cells[contender.name]
        reason = next((cell["reason"] for cell in cells if "reason" in cell), "")
        if reason == NOT_ASKED_FOR:  # neither wanted now nor measured before
            continue
        if reason:
            out.append(
                f"| {contender.title} | not measured: {str(reason).replace('|', '/')} |" + " |" * (len(heads) + 3)
            )
            continue
        mark = "*" if any(cell["others"] > QUIET for cell in cells) else ""
        line = [
            number(table.mean(contender.name, "test", metric)),
            *(gap(table.intervals.get((one.name, contender.name))) for one in ours),
            *(number(table.mean(contender.name, "test", other)) for other in more),
            *(duration(table.seconds(contender.name, figure)) + mark for figure in ("fit_s", "all_s")),
            *(number(table.seconds(contender.name, figure)) for figure in ("row_ms", "disk_mb")),
        ]
        out.append(f"| {contender.title} | {' | '.join(line)} |")
    return out


def summary(tables: Sequence[Table], ours: Sequence[Rowcast]) -> list[str]:
    """Counts, from the figures above."""
    there = [table for table in tables if not table.reason]
    out = [
        *("", "## Counted", ""),
        f"Clearly: 0 lies outside the interval. {_LEVEL}: the peer is ahead, but 0 lies inside the interval.",
        "",
        f"| | data sets | Rowcast better | of these clearly | peer better, but {_LEVEL} | Rowcast's fit no slower |",
        "|---|---|---|---|---|---|",
    ]
    for one in ours:
        for peer in PEER_LIST:
            both = (one.name, peer.name)
            found = [(t, t.intervals[both]) for t in there if both in t.intervals]
            told = [(t, verdict(cell)) for t, cell in found if "reason" not in cell]
            if told:
                tally = Tally.of_verdicts(told_of for _, told_of in told)
                quick = sum(_no_slower(t, one.name, peer.name) for t, _ in told)
                counts = (tally.of, tally.better, tally.clearly, tally.level, quick)
                out.append(f"| {one.short}, {peer.title} | {' | '.join(map(str, counts))} |")
    facts: dict[str, Callable[[Table, str], float | None]] = {
        "longest fit": lambda t, name: t.seconds(name),
        "ECE": lambda t, name: t.mean(name, "test", "ece"),
        "held by 90% intervals": lambda t, name: t.mean(name, "test", "coverage"),
    }
    lines = []
    for one in ours:
        for fact, figure in facts.items():
            values = [(t.name, value) for t in there if (value := figure(t, one.name)) is not None]
            if fact == "longest fit":
                values = sorted(values, key=lambda one: -one[1])[:1]
            form = "{} {:.0f} s" if fact == "longest fit" else "{} {:.3f}"
            shown = ", ".join(form.format(*one) for one in values)
            if values:
                lines.append(f"- {one.short}, {fact}: {shown}")
    return [*out, *([""] if lines else []), *lines]


def _no_slower(table: Table, ours: str, peer: str) -> bool:
    a, b = table.seconds(ours), table.seconds(peer)
    return a is not None and b is not None and a <= b


def validation(tables: Sequence[Table], ours: Sequence[Rowcast]) -> list[str]:
    """Every contender on validation rows: what choices are made by. One whose last fit learned them has no figure."""
    there = [table for table in tables if not table.reason]
    heads = [f"{table.name}, {_HEADS[primary(table.task)]}" for table in there]
    learned = [one for one in ours if one.learns_validation]
    lines = []
    for contender in (*(one for one in ours if one not in learned), *PEER_LIST):
        line = []
        for table in there:
            text = number(table.mean(contender.name, "validation", primary(table.task)))
            auc = table.mean(contender.name, "validation", "roc_auc")
            line.append(text if auc is None else f"{text} ({auc:.4f})")
        if any(line):
            lines.append(f"| {contender.title} | {' | '.join(line)} |")
    out = ["", "## Validation rows", ""]
    if lines:
        out += ["In brackets: AUC.", "", f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads), *lines]
    if learned:
        out += ["", f"None of {', '.join(one.title for one in learned)}: a last fit learns them."][not lines :]
    return out


def report(tables: Sequence[Table], ours: Sequence[Rowcast], seeds: int) -> str:
    """The whole page."""
    cells = [cell for table in tables for found in table.cells.values() for cell in found if "date" in cell]
    dates = sorted({str(cell["date"]) for cell in cells})
    machines = sorted({str(cell["machine"]) for cell in cells}) or [machine()]
    out = [
        "# Accuracy, side by side",
        "",
        (
            f"{' to '.join(dict.fromkeys((dates[0], dates[-1]))) if dates else 'Nothing measured'}, "
            f"{', '.join(machines)}. Test rows, {seeds} seed{'s' * (seeds > 1)}, nothing tuned, two threads, no GPU. "
            "How, and who is told what: [docs/accuracy.md](../../docs/accuracy.md). "
            "*quick − it*, *balanced − it*: Rowcast's figure less that of the line, with the 95% interval over "
            f"resampled test rows; below 0 Rowcast is better, {_LEVEL}: 0 lies inside. "
            "*fit*: the fit alone, *all*: from reading the files to the last answer; *a row*: median of 100 answers "
            "to one row in Python, the model in memory; *MB*: of its files. "
            f"\\* others used more than {QUIET:.0%} of a core meanwhile: the seconds say little."
        ),
    ]
    for table in tables:
        out += section(table, ours)
    out += summary(tables, ours)
    out += validation(tables, ours)
    return "\n".join(out) + "\n"
