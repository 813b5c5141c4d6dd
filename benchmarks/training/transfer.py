"""Where a start from trained weights helps, and where it does not: few rows, fresh weights beside those of a model.

- adult, covertype: weights that were pre-trained on other rows without their target, then a fit on few rows with it;
- flights: a model of the flights of one airport, then a fit on few flights of another; and that model as it is;
- california: a model of the price, then a fit on few rows of the same columns to another target.

Every number is of the same test rows of a table, a mean over three seeds, which also choose the few rows. Cells are
kept, so that the command goes on where it was.

    make bench-transfer
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import rowcast
from benchmarks.cells import RESULTS, ROOT, cell, hash_of, machine
from rowcast.api.pretraining import pretrain
from rowcast.training.data.flights import TARGET, flights_with_weather

STORE, TABLE = RESULTS / "transfer.json", RESULTS / "transfer.md"
DATA = Path(os.environ.get("ROWCAST_DATA", ROOT.parent / "shared" / "data"))
SEEDS = (1, 2, 3)
FIT: dict[str, Any] = {"preset": "quick", "verbose": False, "fit": {"epochs": 30}}
ROOMS = ("start", "pretrain", "features", "network", "fit")
"""Of ``training/``: what changes a number of the table when it changes."""
LOWER_RATE = {"optimizer": {"lr": 5e-4}}
"""A quarter of the usual one."""


@dataclass(frozen=True)
class Case:
    """A table in three parts, and what a fit on one of them starts from."""

    name: str
    says: str
    """In the table."""
    target: str
    metric: str
    sizes: tuple[int, ...]
    parts: Callable[[], tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]
    """The rows that the start is trained on, those that few are taken from, and test rows."""
    base: Callable[[pl.DataFrame, Path], Any]
    """Trains the start, under the name of the case."""
    as_it_is: bool = False
    """Whether the start answers for the target itself."""


def _read(name: str) -> pl.DataFrame:
    return pl.read_csv(DATA / name, infer_schema_length=None)


def _adult() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    train = _read("adult/train.csv")
    return train.head(20_000), train.tail(6_000), _read("adult/test.csv").sample(6_000, seed=0)


def _covertype() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    table = _read("covertype/covertype_10k.csv").filter(~pl.col("Cover_Type").is_in([4, 5]))  # 300 rows may hold none
    table = table.sample(fraction=1.0, shuffle=True, seed=0)
    return table.head(7_000), table.slice(7_000, 1_300), table.slice(8_300)


def _flights() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    table = flights_with_weather().sample(fraction=1.0, shuffle=True, seed=0)
    there, here = (table.filter(pl.col("origin") == airport).drop("origin") for airport in ("EWR", "LGA"))
    return there.head(15_000), here.head(6_000), here.tail(6_000)


def _california() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    train = _read("california/train.csv")
    return train.head(8_000), train.tail(5_000).drop("MedHouseVal"), _read("california/test.csv").drop("MedHouseVal")


def _pretrained(name: str, target: str, epochs: int) -> Callable[[pl.DataFrame, Path], Any]:
    how: dict[str, Any] = {"preset": "quick", "verbose": False, "fit": {"epochs": epochs}}
    return lambda rows, folder: pretrain(rows.drop(target), name=name, repository=folder, **how)


def _trained(name: str, target: str, epochs: int, drop: tuple[str, ...] = ()) -> Callable[[pl.DataFrame, Path], Any]:
    how: dict[str, Any] = {"preset": "quick", "verbose": False, "fit": {"epochs": epochs}}
    return lambda rows, folder: rowcast.fit(rows.drop(drop), target=target, name=name, repository=folder, **how)


CASES = (
    Case(
        "adult",
        "Adult, after pre-training on 20,000 other rows",
        "income",
        "log_loss",
        (300, 1_000, 4_000),
        _adult,
        _pretrained("adult", "income", 10),
    ),
    Case(
        "covertype",
        "covertype, five classes, after pre-training on 7,000 other rows",
        "Cover_Type",
        "log_loss",
        (300, 1_000),
        _covertype,
        _pretrained("covertype", "Cover_Type", 20),
    ),
    Case(
        "flights",
        "flights of LGA, after 15,000 of EWR",
        TARGET,
        "log_loss",
        (300, 1_000),
        _flights,
        _trained("flights", TARGET, 6),
        as_it_is=True,
    ),
    Case(
        "california",
        "California, the age of houses after their price",
        "HouseAge",
        "rmse",
        (1_000,),
        _california,
        _trained("california", "MedHouseVal", 12, drop=("HouseAge",)),
    ),
)


def measured(
    case: Case, rows: pl.DataFrame, test: pl.DataFrame, seed: int, folder: Path, how: dict[str, Any]
) -> dict[str, Any]:
    """Fit on few rows; the metric of the published graph on the test rows."""
    if "start_from" in how:
        how = {**how, "start_from": how["start_from"]()}
    model = rowcast.fit(rows, target=case.target, test=test, seed=seed, repository=folder, **{**FIT, **how})
    return {"value": model.metrics["test"][case.metric], "epochs": model.history["epoch"].to_list()[-1]}


def _start(case: Case, first: pl.DataFrame, folder: Path) -> str:
    """The name of what a case starts from, which is trained where it is not there yet."""
    if not (folder / case.name / "1").exists():
        case.base(first, folder)
    return f"{case.name}:1"


def main() -> None:
    warnings.simplefilter("ignore")
    measures = [file for room in ROOMS for file in (ROOT / "training" / room).rglob("*.py")]
    code = hash_of(measures, repr((FIT, LOWER_RATE)))
    folder = Path(tempfile.gettempdir()) / f"rowcast-transfer-{code[:12]}"
    lines = []
    for case in CASES:
        first, few, test = case.parts()
        start = functools.cache(functools.partial(_start, case, first, folder))
        for size in case.sizes:
            means = []
            for way in ("fresh", "start", "slow"):
                values = []
                for seed in SEEDS:
                    rows = few.sample(size, seed=seed)
                    how: dict[str, Any] = {} if way == "fresh" else {"start_from": start}
                    how |= LOWER_RATE if way == "slow" else {}
                    run = functools.partial(measured, case, rows, test, seed, folder, how)
                    values.append(cell(STORE, f"{case.name} {size} {way} {seed}", code, run)["value"])
                means.append((float(np.mean(values)), float(np.std(values))))
            cells = [case.says, f"{size:,}", *(f"{mean:.4f} ± {off:.4f}" for mean, off in means)]
            cells.append(_as_it_is(case, test, start, folder, code) if case.as_it_is else "")
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    date = max(found["date"] for found in _cells().values())
    TABLE.write_text(
        "# Starting from trained weights\n\n"
        f"{date}, {machine()}, one thread; preset `quick`, at most 30 epochs, means and deviations over seeds "
        f"{', '.join(map(str, SEEDS))}. Log-loss, and RMSE of the ages; lower is better. The lower rate is a quarter "
        "of the usual one. `make bench-transfer` writes this table.\n\n"
        "| table | rows of the fit | fresh weights | start | start, lower rate | the start as it is |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


def _as_it_is(case: Case, test: pl.DataFrame, start: Callable[[], str], folder: Path, code: str) -> str:
    def run() -> dict[str, Any]:
        return {"value": rowcast.load(start(), repository=folder).evaluate(test)[case.metric]}

    return f"{cell(STORE, f'{case.name} as it is', code, run)['value']:.4f}"


def _cells() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORE.read_text())
    return found


if __name__ == "__main__":
    main()
