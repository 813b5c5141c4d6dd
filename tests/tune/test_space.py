"""What is searched: the default space, spaces of one's own, and where a study begins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config
from rowcast.training.tune.space import with_values
from rowcast.training.tune.space_reading import DEFAULT_SPACE, space_of

LAYERS = {"depth": {"low": 2, "high": 3}, "width": {"low": 64, "high": 256, "step": 64}}


class Told:
    """Suggests what it has been told."""

    def __init__(self, params):
        self.params = params

    def suggest_float(self, name, low, high, **_):
        assert low <= self.params[name] <= high
        return self.params[name]

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        assert self.params[name] in choices
        return self.params[name]


def config_of(space=None, **overrides):
    return make_config(overrides={"tune": {"space": space or {}}, **overrides})


def said(space, **overrides):
    return space_of(config_of(space, **overrides)).said()


def test_the_default_space_is_the_documented_one():
    page = (Path(__file__).resolve().parents[2] / "docs" / "tuning.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert said({}) == DEFAULT_SPACE == tomllib.loads(block)["tune"]["space"]


def test_a_field_keeps_the_value_it_is_given_among_those_that_are_tried():
    assert said({"optimizer.lr": {"low": 1e-4, "high": 1e-3, "log": True}})["optimizer.lr"]["or"] == [2e-3]
    assert said({"network.activation": ["mish", "silu"]})["network.activation"] == ["mish", "silu", "relu"]
    assert said({"network.layers": LAYERS}, network={"layers": [64, 32]})["network.layers"]["or"] == [[64, 32]]
    assert "or" not in said({"network.layers": LAYERS})["network.layers"]


def test_tables_in_toml_say_the_same_as_names_with_a_dot(tmp_path):
    (tmp_path / "a.toml").write_text('[tune.space]\n"optimizer.lr" = {low = 1e-3, high = 4e-3}\n')
    (tmp_path / "b.toml").write_text("[tune.space.optimizer]\nlr = {low = 1e-3, high = 4e-3}\n")
    spaces = [space_of(make_config(file=tmp_path / name)).said() for name in ("a.toml", "b.toml")]
    assert spaces == [{"optimizer.lr": {"low": 0.001, "high": 0.004}}] * 2


def test_a_space_that_is_written_down_reads_as_the_same_space():
    space = {"network.layers": {**LAYERS, "or": [[32]]}, "features.bins": [8, 16], "network.dropout": [0.0, 0.2]}
    first = said(space)
    assert said(first) == first


def test_a_study_begins_with_the_config_as_given_and_then_the_presets():
    config = config_of({"network.members": [2, 4, 8], "network.layers": LAYERS}, network={"members": 2})
    assert space_of(config).starts(config) == [
        ("as given", {"network.members": 2, "network.layers": [256, 256]}),
        ("quick", {"network.members": 4, "network.layers": [256, 256]}),
        ("balanced", {"network.members": 8, "network.layers": [256, 256]}),
        ("textbook", {"network.members": 2, "network.layers": [64, 64]}),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network.layers", [64, 32]),
        ("network.layers", [128, 128, 128]),
        ("optimizer.weight_decay", 0.0),
        ("optimizer.weight_decay", 0.01),
        ("network.activation", "mish"),
        ("features.bins", 17),
    ],
)
def test_what_is_asked_of_a_trial_is_what_it_gets(field, value):
    config = config_of(network={"layers": [64, 32]})
    space = space_of(config)
    values = space.starts(config)[0][1] | {field: value}
    assert space.suggest(Told(space.asked(values))) == values
    assert with_values(config, values).model_dump(mode="json")[field.split(".")[0]][field.split(".")[1]] == value


def test_the_rate_of_sgd_is_searched_where_sgd_wants_it():
    assert said({}, optimizer={"name": "sgd", "lr": 0.1})["optimizer.lr"] == {"low": 0.005, "high": 0.15, "log": True}


def test_fields_that_may_be_auto_are_searched_as_numbers():
    space = {"fit.epochs": {"low": 5, "high": 40}, "fit.batch_size": ["auto", 128], "network.residual": [True, False]}
    assert said(space) == space | {"fit.epochs": {"low": 5, "high": 40, "or": ["auto"]}}


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"optimizer.lrr": [1]}, "got 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
        ({"network.lr": [1]}, "got 'network.lr' (did you mean 'optimizer.lr'?)"),
        ({"data.drop": [["x"]]}, "got 'data.drop', which says which rows and columns there are"),
        ({"objective.loss": ["mae"]}, "got 'objective.loss', which says what answers are measured by"),
        ({"objective.focal_gamma": [1.0, 3.0]}, "got 'objective.focal_gamma', which says what answers are measured by"),
        ({"fit.seeds": [1, 2]}, "got 'fit.seeds', which is for the last fit"),
        ({"fit.max_members": [4, 8]}, "got 'fit.max_members', which is for the last fit"),
        ({"fit.freeze": ["none", "all"]}, "got 'fit.freeze', which is for a fit that starts from a model"),
        ({"network.dropout": 0.1}, "'network.dropout' must be a list of values, or a table of low and high, got 0.1"),
        ({"network.dropout": []}, "'network.dropout' must be a list of one value at least, got []"),
        ({"network.dropout": [0.1, 1.5]}, "'network.dropout' must be at least 0 and less than 1, got 1.5"),
        ({"network.dropout": {"low": 0.1}}, "'network.dropout' must have two numbers, low and high"),
        ({"network.dropout": {"low": 0.1, "high": 10**400}}, "'network.dropout' must have two numbers, low and high"),
        ({"network.dropout": {"low": float("nan"), "high": 0.2}}, "must have two numbers, low and high"),
        ({"seed": [1, 2]}, "got 'seed', which is the same for all trials: give it once, with --seed"),
        ({"network.dropout": {"low": 0.1, "hihg": 1}}, "got 'hihg' (did you mean 'high'?)"),
        ({"network.dropout": {"low": 0.3, "high": 0.1}}, "low of 'network.dropout' must be at most its high"),
        ({"optimizer.lr": {"low": 0, "high": 0.1, "log": True}}, "must be more than 0 where log is true, got 0"),
        ({"optimizer.lr": {"low": 0.1, "high": 1, "log": True, "step": 0.1}}, "in steps or on a log scale, got both"),
        ({"network.dropout": {"low": 0.0, "high": 0.3, "step": float("nan")}}, "must be a number above 0, got nan"),
        ({"network.dropout": {"low": 0.0, "high": 0.3, "step": float("inf")}}, "must be a number above 0, got inf"),
        ({"network.layers": {"depth": [2, 2], "width": [8, 16]}}, "'network.layers.depth' must have two numbers"),
        ({"network.layers": {"depth": [2.5], "width": [8, 16]}}, "'network.layers.depth' must have two numbers"),
        ({"features.bins": {"low": 2.5, "high": 9}}, "'features.bins' takes whole numbers"),
        ({"network.members": [8]}, "a space needs a field with two values at least"),
    ],
)
def test_what_is_no_space_is_refused_in_a_sentence(space, sentence):
    with pytest.raises(ConfigError) as refused:
        space_of(config_of(space))
    assert sentence in str(refused.value)


def test_a_space_is_a_table():
    with pytest.raises(ConfigError, match=r"'tune.space' must be a table, got 3"):
        make_config(settings=["tune.space=3"])
