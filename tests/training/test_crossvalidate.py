"""Cross-validation: every row is tested once, by a model that has not seen it."""

from __future__ import annotations

import pytest

from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config
from rowcast.training.crossvalidate import cross_validate
from tests.support import tables


def config_for(target, **data):
    return make_config(overrides={**tables.QUICK, "data": {"target": target, **data}})


def test_a_copy_of_the_class_is_found_in_every_fold():
    table = tables.every_kind(150)
    told = table.with_columns(copy=table["class"])
    config = make_config(
        overrides={"network": {"members": 4, "layers": [32]}, "fit": {"epochs": 30}, "data": {"target": "class"}}
    )
    seen = []
    result = cross_validate(told, config, folds=3, report=lambda number, _: seen.append(number))
    assert seen == [1, 2, 3]
    assert all(fold["accuracy"] > 0.95 for fold in result["folds"])


def test_the_same_seed_gives_the_same_folds():
    runs = [cross_validate(tables.every_kind(60), config_for("amount"), folds=2) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("split", [{"split_by_time": "when"}, {"group": "city"}])
def test_a_split_by_time_or_group_is_refused(split):
    with pytest.raises(ConfigError, match="leave out --split-by-time and --group"):
        cross_validate(tables.every_kind(60), config_for("amount", **split))
