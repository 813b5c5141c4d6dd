"""The config: one place of truth, read from TOML, flags and settings, and refused where it is impossible."""

from __future__ import annotations

import pytest

from rowcast.models.errors import ConfigError
from rowcast.training.config import PRESETS, Config, make_config, to_toml


def test_what_comes_later_wins(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('preset = "best"\n[network]\nmembers = 4\ndropout = 0.3\n[fit]\nepochs = 7\n')
    config = make_config(file=file, settings=["network.members=2"], overrides={"fit": {"epochs": 9}})
    assert (config.network.members, config.network.dropout, config.fit.epochs) == (2, 0.3, 9)
    assert config.fit.patience == PRESETS["best"]["fit"]["patience"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_the_way_through_toml(preset, tmp_path):
    config = make_config(overrides={"preset": preset, "data": {"target": "y", "rename": {"a b": 'c"d'}}})
    file = tmp_path / "c.toml"
    for explained in (False, True):
        file.write_text(to_toml(config, explained=explained), "utf-8")
        assert make_config(file=file) == config


def test_the_explained_toml_says_something_about_every_field():
    lines = to_toml(Config(), explained=True).splitlines()
    fields = [i for i, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(fields) > 25
    for i in fields:
        assert lines[i - 1].startswith("# "), lines[i]


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("network.members=0", ["'network.members' must be at least 1 and at most 64", "0"]),
        ("network.activation=rleu", ["'network.activation' must be", '"relu"', '"gelu"', "'rleu'"]),
        ("network.widht=3", ["no field 'network.widht'", "members, layers"]),
        ("network.layers=[]", ["'network.layers' must be a list of 1 to 16 whole numbers, each at least 1", "()"]),
        ("seed=-1", ["'seed' must be at least 0 and less than 4,294,967,296, got -1"]),
        ("device=gpu", ["'device' must be auto, cpu, cuda or cuda:N, got 'gpu'"]),
        ("optimizer.lr=-1", ["'optimizer.lr' must be more than 0", "-1"]),
        ("optimizer.lr=nan", ["optimizer.lr"]),
        ("fit.epochs=some", ["fit.epochs", "'some'"]),
        ("preset=huge", ["'preset' must be", '"quick"', '"best"']),
        ("device=tpu", ["device", "'tpu'"]),
        ("members", ["key=value", "'members'"]),
        ("objective.loss=hinge", ["objective.loss", '"huber"']),
    ],
)
def test_a_wrong_setting_names_the_field_and_what_is_valid(setting, fragments):
    with pytest.raises(ConfigError) as refused:
        make_config(settings=[setting])
    for fragment in fragments:
        assert fragment in str(refused.value)


def test_a_config_file_that_is_absent_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no config file .*absent\.toml"):
        make_config(file=tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[network\nmembers = 3")
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML"):
        make_config(file=broken)
