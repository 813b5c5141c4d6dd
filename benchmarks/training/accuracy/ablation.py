"""What each ingredient of the default buys: one is taken out at a time, and the loss on validation rows compared.

Test rows are not opened. To put another ingredient on trial, add a line to `INGREDIENTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.cells import machine
from benchmarks.training.accuracy.contenders import Rowcast
from benchmarks.training.accuracy.datasets import Dataset, NotThere, Parts, write_parts
from benchmarks.training.accuracy.measure import Bench, interval
from benchmarks.training.accuracy.scores import primary, verdict
from rowcast.models.errors import ConfigError

DEFAULT = Rowcast("quick", validation_only=True)
DEFAULT_NAME = "the default"

INGREDIENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("one member instead of an ensemble", ("network.members=1",)),
    ("one hidden layer", ("network.layers=[256]",)),
    ("numbers without bins", ("features.bins=2",)),
    ("no directions between numbers", ("features.oblique_angles=0",)),
    ("levels of up to 29 rows pooled, not of up to 9", ("features.min_level_rows=30",)),
    ("no calendar", ("features.calendar=[]",)),
    ("normalised layers", ("network.normalisation=layer",)),
    ("residual layers", ("network.residual=true",)),
    ("no dropout", ("network.dropout=0.0",)),
    ("no weight averaging", ("optimizer.average=0.0",)),
    ("no weight decay", ("optimizer.weight_decay=0.0",)),
    ("constant learning rate", ("optimizer.schedule=constant",)),
    ("no warm-up", ("optimizer.warmup=0.0",)),
)
"""Name, and the settings that take it out, as ``--set`` takes them."""


@dataclass(frozen=True)
class Row:
    """What is left without an ingredient: ``cells`` by data set, ``text`` where it cannot be tried."""

    name: str
    cells: dict[str, str]
    text: str = ""


def ablate(
    bench: Bench,
    data: Sequence[Dataset],
    seeds: int,
    ingredients: Sequence[tuple[str, tuple[str, ...]]] = INGREDIENTS,
    default: Rowcast = DEFAULT,
) -> str:
    """Measure what is not measured yet; the table in Markdown."""
    tables, absent = [], []
    for one in data:
        try:
            tables.append(write_parts(one, bench.scratch))
        except NotThere as error:
            absent.append(f"{one.name}: not measured: {error}.")
    rows = [Row(DEFAULT_NAME, {parts.name: _figure(bench, parts, default, seeds) for parts in tables})]
    for name, settings in ingredients:
        cells, text = {}, ""
        for parts in tables:
            try:
                cells[parts.name] = _change(bench, parts, default, without(settings, default), name, seeds)
            except ConfigError as error:
                text = f"cannot be tried: {error}"
        rows.append(Row(name, cells, text))
    return page(tables, rows, absent, seeds)


def without(settings: tuple[str, ...], default: Rowcast = DEFAULT) -> Rowcast:
    """The default but for these settings."""
    return replace(default, settings=(*default.settings, *settings))


def _figure(bench: Bench, parts: Parts, default: Rowcast, seeds: int) -> str:
    cells = [bench.result(parts, default, seed, DEFAULT_NAME) for seed in range(seeds)]
    if any("reason" in cell for cell in cells):
        return _reason(cells)
    return f"{np.mean([cell['validation'][primary(parts.task)] for cell in cells]):.4g}"


def _change(bench: Bench, parts: Parts, default: Rowcast, lesser: Rowcast, name: str, seeds: int) -> str:
    if lesser.config(parts, 0) == default.config(parts, 0):
        return "is the default"
    cells = [
        bench.result(parts, one, seed, title)
        for one, title in ((default, DEFAULT_NAME), (lesser, name))
        for seed in range(seeds)
    ]
    if any("reason" in cell for cell in cells):
        return _reason(cells)
    figure = np.mean([cell["validation"][primary(parts.task)] for cell in cells[:seeds]])
    found = interval(bench, parts, (lesser, name), (default, DEFAULT_NAME), seeds, "validation")
    return _reason([found]) if "reason" in found else change(found, float(figure))


def change(found: dict[str, Any], default: float) -> str:
    """A difference as a share of the default's figure; marked where 0 lies inside its interval."""
    mark = " ≈" if verdict(found).startswith("level") else ""
    return f"{found['difference'] / default:+.1%}{mark}"


def _reason(cells: Sequence[dict[str, Any]]) -> str:
    return str(next(cell["reason"] for cell in cells if "reason" in cell)).replace("|", "/")


def page(tables: Sequence[Parts], rows: Sequence[Row], absent: Sequence[str], seeds: int) -> str:
    """The table in Markdown."""
    heads = [f"{parts.name}, {'RMSE' if primary(parts.task) == 'rmse' else 'log-loss'}" for parts in tables]
    out = [
        "# What each ingredient buys",
        "",
        (
            f"{machine()}. Preset {DEFAULT.preset}, {seeds} seed{'s' * (seeds > 1)}, **validation rows**; no "
            "test row is opened. First line: the figure of the default. Below: how much higher it is with one "
            "ingredient taken out, in percent; above 0 the ingredient helps. ≈: 0 lies inside the 95% interval over "
            "resampled rows."
        ),
        *("", f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)),
    ]
    for row in rows:
        cells = [row.text or row.cells.get(parts.name, "") for parts in tables]
        out.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join([*out, *([""] if absent else []), *absent]) + "\n"
