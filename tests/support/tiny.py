"""A table of a few rows for tests of the training benchmark, and a contender that answers at once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.cells import hash_of
from benchmarks.training.accuracy.datasets import PARTS, Dataset, Frames, Parts, write_parts

CONSTANT = """
import json, sys
import numpy as np
rows = json.loads(sys.argv[2])
with open(sys.argv[3], "a") as fits:
    fits.write("fit\\n")
np.savez(sys.argv[1], **{part: np.full(n, float(sys.argv[4])) for part, n in rows.items()})
print(json.dumps({"fit_s": 0.5, "all_s": 1.0}))
"""


def frames(target: str) -> Frames:
    """Numbers with nulls, a category with a level that only test rows hold, timestamps; deterministic."""
    rng = np.random.default_rng(0)
    made: Frames = {}
    for part, n in zip(PARTS, (120, 40, 50), strict=True):
        x = rng.normal(size=n).round(3)
        city = rng.choice(["Oslo", "Rome", "NA"], n)
        y = {
            "price": (10 + 3 * x + (city == "Rome")).round(3).astype(str),
            "sold": np.where(x + rng.normal(size=n) > 0, "yes", "no"),
        }
        made[part] = pl.DataFrame(
            {
                "x": [None if i % 7 == 0 else str(v) for i, v in enumerate(x)],
                "city": [
                    "Lima" if part == "test" and i == 1 else None if i % 11 == 0 else c for i, c in enumerate(city)
                ],
                "day": [f"2024-0{1 + i % 6}-1{i % 9}T00:00:00Z" for i in range(n)],
                target: y[target],
            },
            schema_overrides={"x": pl.String},
        )
    return made


def dataset(target: str = "price") -> Dataset:
    """A regression of ``price``, or two classes of ``sold``."""
    task = "regression" if target == "price" else "binary"
    return Dataset("tiny", target, task, (), lambda _: frames(target), timestamps=("day",))


def parts(scratch: Path, target: str = "price") -> Parts:
    """The table on disk."""
    return write_parts(dataset(target), scratch)


@dataclass(frozen=True)
class Constant:
    """Answers every row with one number, in a process of its own; ``fits`` gets a line a fit."""

    answer: float
    fits: Path
    name: str = "constant"
    title: str = "Constant"
    version: str = "1"
    tasks: tuple[str, ...] = ("regression",)
    program: str = CONSTANT

    def code(self, parts: Parts, seed: int) -> str:
        """Of its version and the rows."""
        return hash_of([], self.version, str(self.answer), str(seed), str(parts.about["content"]))

    def command(self, parts: Parts, out: Path, seed: int, scratch: Path) -> list[str]:
        """What answers."""
        rows = {part: parts.about["rows"][part] for part in ("validation", "test")}
        given = (str(out), str(rows).replace("'", '"'), str(self.fits), str(self.answer))
        return [sys.executable, "-c", self.program, *given]
