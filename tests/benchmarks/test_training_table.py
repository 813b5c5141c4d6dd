"""The benchmark's table: what is shown, counted and marked, from cells alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.cells import ROOT
from benchmarks.training.accuracy.contenders import PEER_LIST, Rowcast
from benchmarks.training.accuracy.table import Table, duration, gap, number, report, validation
from benchmarks.training.compare import names

PRESETS = ("quick", "balanced")
OURS = [Rowcast(preset) for preset in PRESETS]


def cell(test, seconds=10.0, others=0.0, **more):
    return {
        "date": "2026-01-02",
        "machine": "a machine",
        "fit_s": seconds,
        "all_s": seconds + 1,
        "others": others,
        "row_ms": 0.35,
        "disk_mb": 4.0,
        "validation": {"rmse": test + 0.5, "r2": 0.5, **more},
        "test": {"rmse": test, "r2": 0.5, **more},
    }


@pytest.fixture
def tables():
    """Two tables with results, on one of which a peer failed, and one that is not there."""
    made = []
    for name, ours, low, high in (("first", 1.0, -0.5, -0.1), ("second", 1.2, -0.1, 0.3)):
        table = Table(name, "regression", {"train": 3000, "validation": 20, "test": 10})
        for preset in PRESETS:
            table.cells[f"rowcast-{preset}"] = [cell(ours, coverage=0.9), cell(ours + 0.2, 20.0, coverage=0.8)]
        for peer in (one for one in PEER_LIST if "regression" in one.tasks):
            table.cells[peer.name] = [cell(1.4 if name == "first" else 1.2, 15.0, others=0.5)] * 2
            for preset in PRESETS:
                difference = (low + high) / 2
                table.intervals[f"rowcast-{preset}", peer.name] = {"difference": difference, "low": low, "high": high}
        made.append(table)
    made[1].cells["xgboost"] = [{"reason": "ended with exit code 1: a|b"}]
    for preset in PRESETS:
        del made[1].intervals[f"rowcast-{preset}", "xgboost"]
    return [*made, Table("third", reason="third.csv is not in the folder of data")]


def test_means_over_seeds_differences_and_disturbed_seconds_are_shown(tables):
    text = report(tables, OURS, 2)
    assert "2026-01-02, a machine. Test rows, 2 seeds" in text
    assert "3,000 training, 20 validation, 10 test rows." in text
    assert "| **Rowcast, quick** | 1.1000 |  |  | 0.5000 | 0.8500 | 15 | 16 | 0.3500 | 4.0000 |" in text
    assert (
        "| CatBoost | 1.4000 | -0.3000 (-0.5000 to -0.1000) | -0.3000 (-0.5000 to -0.1000) | 0.5000 |  | 15* |" in text
    )
    assert "| CatBoost | 1.2000 | +0.1000 (-0.1000 to +0.3000) ≈ |" in text
    assert "| XGBoost | not measured: ended with exit code 1: a/b |" in text
    assert "Not measured: third.csv is not in the folder of data." in text


def test_what_is_counted_is_counted_from_the_intervals(tables):
    text = report(tables, OURS, 2)
    assert "| quick, CatBoost | 2 | 1 | 1 | 1 | 2 |" in text
    assert "| balanced, XGBoost | 1 | 1 | 1 | 0 | 1 |" in text
    assert "- quick, longest fit: first 15 s" in text
    assert "- balanced, held by 90% intervals: first 0.850, second 0.850" in text
    assert "ECE" not in text


def test_every_line_of_a_table_has_as_many_cells_as_its_head(tables):
    tables[0].task = "binary"
    tables[0].cells["realmlp-log-loss"] = tables[0].cells["realmlp"]
    for found in tables[0].cells.values():
        for one in found:
            for part in ("validation", "test"):
                one[part] |= {"log_loss": 0.3, "roc_auc": 0.9, "accuracy": 0.8, "ece": 0.01}
    width = 0
    for line in report(tables, OURS, 2).splitlines():
        if line.startswith("|"):
            width = width or line.count("|")
            assert line.count("|") == width, line
        else:
            width = 0


def test_validation_rows_stand_alone_and_show_no_figure_of_test_rows(tables):
    text = "\n".join(validation(tables, OURS))
    assert "| **Rowcast, quick** | 1.6000 | 1.8000 |" in text
    assert "| CatBoost | 1.9000 | 1.7000 |" in text
    assert "| XGBoost | 1.9000 |  |" in text
    assert "1.1000" not in text


def test_validation_rows_that_a_last_fit_learned_have_no_figure(tables):
    best = (Rowcast("best", label="quick"), Rowcast("quick", settings=("fit.refit=true",)))
    text = "\n".join(validation(tables, best))
    assert "| **Rowcast" not in text
    assert "None of **Rowcast, quick**, **Rowcast, quick**: a last fit learns them." in text
    assert "| CatBoost | 1.9000 | 1.7000 |" in text
    assert validation([], best) == ["", "## Validation rows", "", text.splitlines()[-1]]


def test_numbers_have_the_digits_their_size_needs():
    assert [number(v) for v in (None, 0.43551, 10.0, 5312.04)] == ["", "0.4355", "10.0", "5,312.0"]
    assert [duration(v) for v in (None, 0.26, 61.4)] == ["", "0.3", "61"]
    assert gap({"difference": -12.3, "low": -20.0, "high": -4.0}) == "-12.3 (-20.0 to -4.0)"
    assert gap({"reason": "its answers are not on this machine"}) == ""


def test_a_name_that_is_none_is_refused_with_those_that_are():
    assert names("b,a", ("a", "b"), "data sets") == ("b", "a")
    assert names("", ("a", "b"), "data sets") == ("a", "b")
    with pytest.raises(SystemExit, match=r"^data sets are a, b, got c$"):
        names("a,c", ("a", "b"), "data sets")


def test_help_says_how_to_run_it():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training.compare", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "make bench-training" in done.stdout
    assert all(peer.name in done.stdout for peer in PEER_LIST)
    assert Rowcast("quick").title == "**Rowcast, quick**"
