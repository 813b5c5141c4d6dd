"""The benchmark of calibration: the same fit with and without it, compared on test rows."""

from __future__ import annotations

import json

from benchmarks.training.accuracy.datasets import Dataset, NotThere
from benchmarks.training.accuracy.measure import Bench
from benchmarks.training.calibration import CALIBRATED, LEFT, difference, line, page, pair
from tests.support import tiny

SMALL = ("fit.epochs=2", "network.members=1", "network.layers=[8]")


def test_a_line_compares_two_fits_that_differ_in_calibration_alone(tmp_path):
    bench = Bench(tmp_path / "calibration.json", tmp_path)
    both = pair("quick", SMALL)
    parts = tiny.parts(tmp_path, "sold")
    left, calibrated = (both[name].config(parts, 0) for name in (LEFT, CALIBRATED))
    assert left.objective.calibration == "none"
    assert calibrated.objective.calibration == "auto"
    assert left == calibrated.model_copy(update={"objective": left.objective})
    text = line(bench, tiny.dataset("sold"), 1, both)
    cells = json.loads(bench.store.read_text())
    found = cells[f"tiny/{CALIBRATED} - {LEFT}/test"]
    without, with_it = (cells[f"tiny/{name}/0"]["test"] for name in (LEFT, CALIBRATED))
    assert text == (
        f"| tiny | {without['log_loss']:.4f} | {with_it['log_loss']:.4f} | {difference(found)} "
        f"| {without['ece']:.4f} | {with_it['ece']:.4f} |"
    )
    assert text in page([text], 1)


def test_what_is_not_there_is_said(tmp_path):
    def absent(_folder):
        raise NotThere("absent.csv is not in the folder of data")

    bench = Bench(tmp_path / "calibration.json", tmp_path)
    data = Dataset("absent", "y", "binary", (), absent)
    assert line(bench, data, 1, pair("quick")).startswith("| absent | not measured: absent.csv is not in the folder")


def test_a_difference_is_marked_where_it_may_be_luck():
    assert difference({"difference": -0.01, "low": -0.02, "high": -0.005}) == "-0.0100 (-0.0200 to -0.0050)"
    assert difference({"difference": 0.01, "low": -0.02, "high": 0.03}) == "+0.0100 (-0.0200 to +0.0300) ≈"
