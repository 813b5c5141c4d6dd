"""The benchmark of two checkouts: what is told of them, and what is started."""

from __future__ import annotations

from pathlib import Path

from benchmarks.serving.harness.contenders import OURS
from benchmarks.serving.harness.duel import Plan
from benchmarks.serving.versions import Checkout, code_of, median_interval, quick, report


def test_the_table_tells_the_median_of_the_rounds_ratios_and_marks_a_noisy_cell():
    ours = [{"rate": rate, "server_cpu_us": 10.0, "others": 0.3} for rate in (90.0, 100.0, 130.0)]
    theirs = [{"rate": 100.0, "server_cpu_us": 11.0, "others": 0.0}] * 3
    cells = {"Rows JSON, 1-row requests, 1 connection": {"date": "2026-01-02", "ours": ours, "theirs": theirs}}
    text = report(cells, "version 1", Plan(2.0, 3, 3))
    assert "This checkout beside version 1." in text
    assert "| Rows JSON, 1-row requests, 1 connection* | 100 | 100 | 1.000 | 0.90 to 1.30 | 1.100 |" in text


def test_the_interval_of_a_median_is_taken_from_the_ranks_of_the_values():
    assert median_interval([float(value) for value in range(1, 41)]) == (14.0, 27.0)
    assert median_interval([1.0, 2.0]) == (1.0, 2.0)


def test_the_quick_moments_are_a_tenth_of_the_rounds():
    assert quick([float(value) for value in range(40, 0, -1)]) == 5.0


def test_the_other_checkout_is_started_from_its_own_environment(tmp_path):
    other = Checkout("other_version", "before", OURS.arguments, folder=tmp_path)
    python = str(tmp_path / ".venv" / "bin" / "python")
    assert other.command(4000, Path("unused")) == [python, "-m", "rowcast", "serve", "--port", "4000"]


def test_a_file_in_a_folder_below_changes_the_hash_of_a_checkout(tmp_path):
    (tmp_path / "service" / "inner").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    before = code_of(tmp_path)
    (tmp_path / "service" / "inner" / "new.py").write_text("x = 1\n")
    assert code_of(tmp_path) != before
