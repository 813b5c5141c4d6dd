"""A result stands while its hash does; what is missing, stale or asked for again is measured, once."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.training.accuracy.measure import Bench, NotMeasured, interval, run
from tests.support import tiny


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "cells.json", tmp_path)


@pytest.fixture
def parts(tmp_path):
    return tiny.parts(tmp_path)


@pytest.fixture
def contender(tmp_path):
    return tiny.Constant(10.0, tmp_path / "fits")


def fits(contender):
    return len(contender.fits.read_text().splitlines()) if contender.fits.exists() else 0


def test_a_result_is_measured_once_with_metrics_of_both_parts(bench, parts, contender):
    found = bench.result(parts, contender, 0)
    assert found["rows"] == {"train": 120, "validation": 40, "test": 50}
    for part in ("validation", "test"):
        expected = np.sqrt(np.mean((parts.actual(part) - 10.0) ** 2))
        assert found[part]["rmse"] == pytest.approx(expected, rel=1e-12)
    assert (found["fit_s"], found["all_s"]) == (0.5, 1.0)
    assert bench.result(parts, contender, 0) == found
    assert fits(contender) == 1
    assert json.loads(bench.store.read_text()) == {"tiny/constant/0": found}


def test_a_changed_version_seed_or_table_makes_a_result_stale(bench, parts, contender, tmp_path):
    bench.result(parts, contender, 0)
    bench.result(parts, replace(contender, version="2"), 0)
    assert fits(contender) == 2
    bench.result(parts, replace(contender, version="2"), 1)
    assert fits(contender) == 3
    other = replace(parts, about={**parts.about, "content": "another"})
    bench.result(other, replace(contender, version="2"), 1)
    assert fits(contender) == 4
    assert sorted(json.loads(bench.store.read_text())) == ["tiny/constant/0", "tiny/constant/1"]
    assert len(list((tmp_path / "answers").iterdir())) == 2  # those of stale results are gone


def test_again_measures_what_stands(bench, parts, contender):
    bench.result(parts, contender, 0)
    replace(bench, again=True).result(parts, contender, 0)
    assert fits(contender) == 2


def test_what_was_not_asked_for_is_shown_while_it_stands(bench, parts, contender):
    unasked = replace(bench, wanted=lambda _parts, _contender: False)
    assert unasked.result(parts, contender, 0) == {"reason": "not asked for"}
    found = bench.result(parts, contender, 0)
    assert unasked.result(parts, contender, 0) == found
    assert unasked.result(parts, replace(contender, version="2"), 0) == {"reason": "not asked for"}
    assert fits(contender) == 1


def test_a_failure_is_told_with_its_last_words_and_tried_again(bench, parts, contender):
    broken = replace(contender, program="raise SystemExit('no such table')")
    assert bench.result(parts, broken, 0) == {"reason": "ended with exit code 1: no such table"}
    silent = replace(contender, program="pass")
    assert bench.result(parts, silent, 0) == {"reason": "ended with exit code 0: it said nothing"}
    assert not bench.store.exists()
    assert "reason" not in bench.result(parts, contender, 0)


def test_answers_that_did_not_come_with_the_results_are_made_again(bench, parts, contender, tmp_path):
    bench.result(parts, contender, 0)
    losses = bench.losses(parts, contender, 0, "test")
    assert losses == pytest.approx((parts.actual("test") - 10.0) ** 2, rel=1e-12)
    for file in (tmp_path / "answers").iterdir():
        file.unlink()
    standing = bench.store.read_text()
    with pytest.raises(NotMeasured, match="its answers are not on this machine"):
        replace(bench, wanted=lambda _parts, _contender: False).losses(parts, contender, 0, "test")
    assert bench.store.read_text() == standing
    assert bench.losses(parts, contender, 0, "test") == pytest.approx(losses)
    assert fits(contender) == 2


def test_a_difference_stands_while_both_sides_do(bench, parts, contender, tmp_path):
    other = replace(contender, answer=11.0, name="other")
    for one in (contender, other):
        bench.result(parts, one, 0)

    def measured():
        return interval(bench, parts, (contender, "constant"), (other, "other"), 1, "test")

    found = measured()
    actual = parts.actual("test")
    expected = np.sqrt(np.mean((actual - 10.0) ** 2)) - np.sqrt(np.mean((actual - 11.0) ** 2))
    assert found["difference"] == pytest.approx(expected, rel=1e-12)
    assert found["low"] < expected < found["high"]
    for file in (tmp_path / "answers").iterdir():
        file.unlink()
    assert measured() == found  # needs no answers
    other = replace(other, version="2")
    bench.result(parts, other, 0)
    assert measured()["code"] != found["code"]
    assert fits(contender) == 4  # two at first, the new version, and the answers of the other side


def test_a_fit_runs_on_two_threads(tmp_path):
    code = "import json, os; print('noise'); print(json.dumps({'threads': os.environ['OMP_NUM_THREADS']}))"
    found = run([sys.executable, "-c", code], tmp_path)
    assert found["threads"] == "2"
    assert found["others"] >= 0.0
