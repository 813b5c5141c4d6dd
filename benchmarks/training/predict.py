"""What ``model.predict`` in Python takes beside bare ONNX Runtime: one row and 100,000 rows, in families of tables.

Processor time of this process, the least of a few rounds. Bare is ``InferenceSession.run`` on arrays that lie ready.

    make bench-predict
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

import rowcast
from benchmarks.cells import RESULTS, machine
from rowcast.models.session import Session
from rowcast.training.predict import CHUNK_ROWS

TABLE = RESULTS / "predict.md"
NUMBERS, CATEGORIES, FIT_ROWS, MANY_ROWS = 15, 5, 3000, 100_000
FIT = {"preset": "quick", "fit": {"epochs": 1}, "verbose": False}
LEVELS = np.array(list("abcdefgh"))


def table(rows: int, seed: int) -> dict[str, Any]:
    """Twenty columns, ``[rows]`` each: numbers and categories."""
    rng = np.random.default_rng(seed)
    numbers = {f"n{i}": rng.normal(size=rows) for i in range(NUMBERS)}
    return numbers | {f"c{i}": rng.choice(LEVELS, rows).astype(object) for i in range(CATEGORIES)}


def bare(model: rowcast.Model, columns: dict[str, Any], threads: int) -> Callable[[], Any]:
    """ONNX Runtime on arrays of some rows, in pieces as long as those of ``predict``."""
    session = Session.of(model.stored, threads=threads)._session
    outputs = list(model.signature.outputs)
    ready = {name: columns[name].reshape(-1, 1) for name in model.signature.names}
    rows = len(next(iter(ready.values())))
    pieces = [{name: ready[name][i : i + CHUNK_ROWS] for name in ready} for i in range(0, rows, CHUNK_ROWS)]
    return lambda: [session.run(outputs, piece) for piece in pieces]


def seconds(work: Callable[[], Any], times: int, rounds: int) -> float:
    """Processor time of some work: the least of a few rounds of so many."""
    if times > 1:
        work()
    found = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - started) / times)
    return min(found)


def main() -> None:
    columns = table(FIT_ROWS, 0)
    y = 2 * columns["n0"] + (columns["c0"] == "a")
    regression, classes = rowcast.fit(columns, y, **FIT), rowcast.fit(columns, (y > 0).astype(int), **FIT)
    x = np.random.default_rng(0).normal(size=(FIT_ROWS, 20))
    of_arrays = rowcast.fit(x, x[:, 0], **FIT)

    lines = []
    for rows, times, rounds, threads in ((1, 300, 7, 1), (MANY_ROWS, 1, 2, os.cpu_count() or 1)):
        some, array = table(rows, 1), np.random.default_rng(1).normal(size=(rows, 20))
        named = {f"x{i}": array[:, i] for i in range(20)}
        forms: dict[str, Any] = {"pandas": pd.DataFrame(some), "polars": pl.DataFrame(some)}
        if rows == 1:
            row = pl.DataFrame(some).to_dicts()
            forms |= {"a list of one dict": row, "a dict": row[0]}
        cases = [("regression", regression, some, forms), ("two classes", classes, some, forms)]
        cases += [("regression on arrays", of_arrays, named, {"an array": array})]
        for kind, model, ready, tables in cases:
            floor = seconds(bare(model, ready, threads), times, rounds)
            for form, given in tables.items():
                took = seconds(lambda model=model, given=given: model.predict(given), times, rounds)
                cells = (f"{rows:,}", kind, form, f"{took * 1e3:,.2f}", f"{floor * 1e3:,.2f}", f"{took / floor:.2f}")
                lines.append("| " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
    TABLE.write_text(
        "# `model.predict` beside bare ONNX Runtime\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; 20 columns, {NUMBERS} of numbers and {CATEGORIES} of categories, "
        "preset `quick`; milliseconds of processor time. `make bench-predict` writes this table.\n\n"
        "| rows | model | table | `predict` | bare | `predict` / bare |\n|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )


if __name__ == "__main__":
    main()
