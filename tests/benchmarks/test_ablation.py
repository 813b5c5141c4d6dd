"""The ablation: every ingredient of the default can be taken out, and what it buys is told from validation rows."""

from __future__ import annotations

import json

import pytest

from benchmarks.training.accuracy.ablation import DEFAULT, INGREDIENTS, ablate, change, without
from benchmarks.training.accuracy.datasets import Dataset, NotThere
from benchmarks.training.accuracy.measure import Bench
from rowcast.models.errors import ConfigError
from tests.support import tiny


def test_every_ingredient_can_be_taken_out_of_the_default(tmp_path):
    parts = tiny.parts(tmp_path)
    default = DEFAULT.config(parts, 0)
    for name, settings in INGREDIENTS:
        assert without(settings).config(parts, 0) != default, name
    assert len({name for name, _ in INGREDIENTS}) == len(INGREDIENTS)
    with pytest.raises(ConfigError, match="there is no field"):
        without(("network.no_such=1",)).config(parts, 0)


def test_what_an_ingredient_buys_is_a_share_of_the_defaults_figure():
    assert change({"difference": 0.02, "low": 0.01, "high": 0.03}, 0.4) == "+5.0%"
    assert change({"difference": -0.002, "low": -0.01, "high": 0.03}, 0.4) == "-0.5% ≈"


def test_the_table_has_a_line_for_each_ingredient_and_says_what_could_not_be_tried(tmp_path):
    def absent(_folder):
        raise NotThere("absent.csv is not in the folder of data")

    bench = Bench(tmp_path / "ablation.json", tmp_path)
    data = [tiny.dataset("sold"), Dataset("absent", "y", "regression", (), absent)]
    ingredients = [
        ("no layers to speak of", ("network.layers=[1]",)),
        ("as it is", ("seed=0",)),
        ("gone", ("network.no_such=1",)),
    ]
    small = without(("fit.epochs=2", "network.members=1", "network.layers=[8]"))
    text = ablate(bench, data, 1, ingredients, small)
    cells = json.loads(bench.store.read_text())
    assert sorted(cells) == [
        "tiny/no layers to speak of - the default/validation",
        "tiny/no layers to speak of/0",
        "tiny/the default/0",
    ]
    assert all("test" not in cell for cell in cells.values())
    default = cells["tiny/the default/0"]["validation"]["log_loss"]
    difference = cells["tiny/no layers to speak of - the default/validation"]
    assert f"| the default | {default:.4g} |" in text
    assert f"| no layers to speak of | {change(difference, default)} |" in text
    assert "| as it is | is the default |" in text
    assert "| gone | cannot be tried: there is no field 'network.no_such'" in text
    assert "absent: not measured: absent.csv is not in the folder of data." in text
