"""Rows made up of training rows: each is one of them, with some values taken from others.

A teacher that can answer any row tells more than the table holds (model compression: Bucilă, Caruana and
Niculescu-Mizil 2006; for trees and networks on tables Fakoor et al. 2020, "Fast, accurate, and simple models for
tabular data via augmented distillation").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rowcast.training.config import Config
from rowcast.training.data.table import Table
from rowcast.training.distil.teacher import Asked
from rowcast.training.prepare import Prepared, read_columns


def make_up(prepared: Prepared, rows: Asked, config: Config) -> Asked:
    """Made-up rows, as many as ``config.distil.made_up`` asks for.

    Args:
        prepared: whose rules read them.
        rows: the training rows.
        config: also gives the seed.
    """
    random = np.random.default_rng([config.seed, len(rows.places)])
    n_rows = len(rows.places)
    n = max(1, round(config.distil.made_up * n_rows))
    whole, rest = divmod(n, n_rows)
    base = np.concatenate([*[np.arange(n_rows)] * whole, np.sort(random.permutation(n_rows)[:rest])]).astype(np.int64)
    of = {
        name: np.where(random.random(n) < config.distil.swap, random.integers(0, n_rows, n), base)
        for name in rows.table.names
    }
    table = _mixed(rows.table, base, of)
    part = prepared.train
    columns = read_columns(table, prepared.rules)
    weight = None if part.weight is None else part.weight[base]
    made = replace(part, columns=columns, target=part.target[base], weight=weight)
    return Asked(table, made, rows.places[base], {name: rows.places[at] for name, at in of.items()}, base)


def _mixed(table: Table, base: NDArray[np.int64], of: dict[str, NDArray[np.int64]]) -> Table:
    """A table of the rows at ``base`` with each column's values from rows of its own."""
    made = table.take(base)
    frame = made.frame.select(table.frame[name][at].alias(name) for name, at in of.items())
    return replace(made, frame=frame, mixed={name: kinds[of[name]] for name, kinds in table.mixed.items()})
