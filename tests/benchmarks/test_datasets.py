"""Every contender reads the same rows: how tables are split, written and read."""

from __future__ import annotations

import importlib.util
import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from benchmarks.training.accuracy.contenders import PEERS
from benchmarks.training.accuracy.datasets import (
    DATASETS,
    PARTS,
    Dataset,
    NotThere,
    class_order,
    data_folder,
    write_parts,
)
from tests.support import tiny

ROWS = {
    "california": (13209, 3303, 4128),
    "diamonds": (34521, 8631, 10788),
    "adult": (26048, 6513, 16281),
    "lending_club": (6308, 1577, 1972),
    "covertype": (6400, 1600, 2000),
    "flights": (60000, 15000, 65454),
}


@pytest.fixture(scope="module")
def peer_parts():
    """The module that peers read by; it needs nothing of ours."""
    spec = importlib.util.spec_from_file_location("parts", PEERS / "parts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("data", DATASETS, ids=lambda data: data.name)
def test_a_data_set_has_the_rows_of_its_protocol(data, tmp_path):
    try:
        parts = write_parts(data, tmp_path)
    except NotThere as reason:
        pytest.skip(str(reason))
    assert tuple(parts.about["rows"][part] for part in PARTS) == ROWS[data.name]
    if data.name in ("california", "adult", "diamonds"):
        for part, file in zip(PARTS, data.files, strict=True):
            assert (parts.folder / f"{part}.csv").read_bytes() == (data_folder() / file).read_bytes()
    if data.timestamps:
        moments = [pl.read_csv(parts.folder / f"{part}.csv")[data.timestamps[0]] for part in PARTS]
        assert all(a.max() < b.min() for a, b in itertools.pairwise(moments))


def test_a_table_is_described_once_for_all(tmp_path):
    about = tiny.parts(tmp_path, "sold").about
    assert about["categories"] == ["city"]
    assert about["timestamps"] == ["day"]
    assert about["classes"] == ["no", "yes"]
    assert about["rows"] == {"train": 120, "validation": 40, "test": 50}
    assert class_order(["10", "9", "1"]) == ["1", "9", "10"]
    assert class_order(["10", "9", "b"]) == ["10", "9", "b"]


def test_a_stratified_split_is_that_of_the_protocol(tmp_path):
    labels = ["a"] * 60 + ["b"] * 40
    frame = pl.DataFrame({"row": [str(i) for i in range(100)], "y": labels})
    (tmp_path / "lending_club").mkdir()
    frame.rename({"y": "Class"}).write_csv(tmp_path / "lending_club" / "lending_club.csv")
    data = next(one for one in DATASETS if one.name == "lending_club")
    parts = write_parts(data, tmp_path, tmp_path)
    read = {part: pl.read_csv(parts.folder / f"{part}.csv") for part in PARTS}
    assert {part: one["Class"].value_counts(sort=True)["count"].to_list() for part, one in read.items()} == {
        "train": [38, 26],
        "validation": [10, 6],
        "test": [12, 8],
    }
    assert sorted(np.concatenate([one["row"].to_numpy() for one in read.values()])) == list(range(100))


def test_what_is_not_there_is_told_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(NotThere, match=r"^california/train\.csv is not in the folder of data: name .* BENCH_DATA$"):
        write_parts(DATASETS[0], tmp_path)


def test_parts_are_written_again_when_their_source_changes_and_only_then(tmp_path):
    source = tmp_path / "raw.csv"
    source.write_text("x,y\n1.0,2.5\n")
    reads = []

    def read(folder):
        reads.append(1)
        frame = pl.read_csv(folder / "raw.csv", infer_schema=False)
        return dict.fromkeys(PARTS, frame)

    data = Dataset("raw", "y", "regression", ("raw.csv",), read)
    first = write_parts(data, tmp_path, tmp_path)
    assert write_parts(data, tmp_path, tmp_path) == first
    assert len(reads) == 1
    source.write_text("x,y\n1.00,2.5\n")
    assert write_parts(data, tmp_path, tmp_path).about["content"] != first.about["content"]
    assert (first.folder / "train.csv").read_text() == "x,y\n1.00,2.5\n"


def test_half_written_parts_are_not_taken_for_whole_ones(tmp_path):
    def fail(_folder):
        raise OSError("the disk is full")

    whole = tiny.parts(tmp_path)
    about = json.loads((whole.folder / "about.json").read_text())
    (whole.folder / "about.json").write_text(json.dumps(about | {"stamp": "old"}))
    data = Dataset("tiny", "price", "regression", (), fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_parts(data, tmp_path)
    assert not (whole.folder / "about.json").exists()


def test_peers_read_what_was_written(peer_parts, tmp_path):
    whole = tiny.parts(tmp_path, "sold")
    read = peer_parts.Parts(whole.folder)
    frames = tiny.frames("sold")
    for part in PARTS:
        ours, theirs = frames[part], read.x[part]
        assert list(theirs) == ["x", "city", "day"]
        assert np.array_equal(theirs["x"], ours["x"].cast(pl.Float64).to_numpy(), equal_nan=True)
        assert [None if pd.isna(v) else v for v in theirs["city"]] == ours["city"].to_list()  # NA is a level
        assert theirs["day"].tolist() == ours["day"].str.to_datetime(time_zone="UTC").dt.epoch("s").to_list()
        assert [["no", "yes"][i] for i in read.y[part]] == ours["sold"].to_list()
        assert whole.actual(part).tolist() == ours["sold"].to_list()
    read.as_categories()
    assert read.x["test"]["city"].cat.categories.tolist() == ["NA", "Oslo", "Rome"]
    assert pd.isna(read.x["test"]["city"][1])  # Lima, which no training row holds


def test_a_regression_is_read_as_numbers(peer_parts, tmp_path):
    whole = tiny.parts(tmp_path, "price")
    read = peer_parts.Parts(whole.folder)
    assert read.regression
    assert np.array_equal(read.y["test"], whole.actual("test"))
    assert replace(whole, about={**whole.about, "task": "binary"}).actual("test").dtype == object
