"""Rowcast beside CatBoost, LightGBM, XGBoost and RealMLP-TD, untuned: the same rows, two threads, one fit at a time.

Every contender reads the same three files of a data set and stops on the same validation rows; all answers are scored
by one arithmetic. Data is looked for in the folder that BENCH_DATA names.

A result stands until the code it measured changes: run it again, and only what is missing is measured.

    make bench-training
    make bench-training ARGS="--data adult,california --contenders rowcast,catboost --presets quick"
    make bench-training ARGS=--ablation
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.cells import RESULTS, ROOT
from benchmarks.training.accuracy.ablation import ablate
from benchmarks.training.accuracy.contenders import OURS, PEER_LIST, Contender, Rowcast
from benchmarks.training.accuracy.datasets import DATASETS, NotThere, Parts, write_parts
from benchmarks.training.accuracy.measure import Bench, interval
from benchmarks.training.accuracy.table import Table, report, validation

STORE = RESULTS / "training.json"
SCRATCH = ROOT / ".bench" / "training"


def names(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Names with commas between, all of them when there is none."""
    chosen = tuple(filter(None, text.split(","))) or known
    if unknown := [name for name in chosen if name not in known]:
        raise SystemExit(f"{what} are {', '.join(known)}, got {', '.join(unknown)}")
    return chosen


def measure(bench: Bench, parts: Parts, seeds: int) -> Table:
    """All results on one data set."""
    table = Table(parts.name, parts.task, parts.about["rows"])
    for contender in (*PEER_LIST, *OURS):
        if parts.task in contender.tasks:
            table.cells[contender.name] = [bench.result(parts, contender, seed) for seed in range(seeds)]
    for one in OURS:
        for peer in PEER_LIST:
            both = table.cells[one.name] + table.cells.get(peer.name, [{"reason": "not for this task"}])
            if not any("reason" in cell for cell in both):
                found = interval(bench, parts, (one, one.name), (peer, peer.name), seeds, "test")
                table.intervals[one.name, peer.name] = found
    return table


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ("rowcast", *(peer.name for peer in PEER_LIST))
    presets = tuple(one.short for one in OURS)
    every = tuple(data.name for data in DATASETS)
    parser.add_argument("--data", default="", help=f"data sets to measure, with commas between: {', '.join(every)}")
    parser.add_argument("--contenders", default="", help=f"who is measured: {', '.join(known)}")
    parser.add_argument("--presets", default="", help=f"of Rowcast: {', '.join(presets)}")
    parser.add_argument("--seeds", type=int, default=1, help="fits of each, with seeds from 0 up")
    parser.add_argument("--again", action="store_true", help="measure what was asked for even where a result stands")
    parser.add_argument("--validation", action="store_true", help="show validation rows alone, write no table")
    parser.add_argument("--ablation", action="store_true", help="take one ingredient of the default out at a time")
    parser.add_argument("--results", type=Path, help="where results stand")
    given = parser.parse_args()
    data = names(given.data, every, "data sets")
    contenders = names(given.contenders, known, "contenders")
    asked = names(given.presets, presets, "presets")
    SCRATCH.mkdir(parents=True, exist_ok=True)

    def wanted(parts: Parts, contender: Contender) -> bool:
        if parts.name not in data:
            return False
        if isinstance(contender, Rowcast):
            return "rowcast" in contenders and contender.short in asked
        return contender.name in contenders

    store = given.results or (RESULTS / "ablation.json" if given.ablation else STORE)
    bench = Bench(store, SCRATCH, wanted, given.again)
    if given.ablation:
        text = ablate(bench, [one for one in DATASETS if one.name in data], given.seeds)
    else:
        tables = []
        for one in DATASETS:
            try:
                tables.append(measure(bench, write_parts(one, SCRATCH), given.seeds))
            except NotThere as error:
                tables.append(Table(one.name, reason=str(error)))
        ours = [one for one in OURS if any("reason" not in cell for t in tables for cell in t.cells.get(one.name, []))]
        text = "\n".join(validation(tables, ours)) if given.validation else report(tables, ours, given.seeds)
    if not given.validation:
        store.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
