"""The config: one place of truth, read from TOML, flags and settings, and refused where it is impossible."""

from __future__ import annotations

import os
import threading

import numpy as np
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
        ("network.layers=[]", ["'network.layers' must be a list of 1 to 16 whole numbers, each at least 1", "got []"]),
        ("seed=-1", ["'seed' must be at least 0 and less than 4,294,967,296, got -1"]),
        ("device=gpu", ["'device' must be auto, cpu, cuda or cuda:N, got 'gpu'"]),
        ("netwrok.layers=[3]", ["no field 'netwrok' (did you mean 'network'?); fields there: preset"]),
        ("optimizer.nam=sgd", ["no field 'optimizer.nam' (did you mean 'name'?)"]),
        ("lr=0.1", ["no field 'lr' (did you mean 'optimizer.lr'?)"]),
        (
            "network.layers=64,x",
            ["'network.layers' must be a list of 1 to 16 whole numbers, each at least 1 and at most 8192", "'x'"],
        ),
        ("network.residual=maybe", ["'network.residual' must be true or false, got 'maybe'"]),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 3000 + "]" * 3000, "is not valid TOML: it is nested too deeply"),
        ("x = " + "1" * 5000, "is not valid TOML: Exceeds the limit"),
        ("[" + "x" * 100_000 + "]\n[" + "x" * 100_000 + "]", "is not valid TOML: "),
        ("[optimizer]\nlr = " + "1" * 400, "'optimizer.lr' must be "),
        ("[network]\nmembers = " + "1" * 400, "'network.members' must be "),
        ("x" * 100_000 + " = 1", "there is no field 'xxx"),
        ("\n".join(f"x{i} = 1" for i in range(1000)), "; and 980 more"),
    ],
)
def test_nonsense_of_any_size_is_refused_in_a_few_lines(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        make_config(file=tmp_path / "c.toml")
    assert words in str(refused.value)
    assert len(str(refused.value)) < 5000


@pytest.mark.parametrize("text", ["[" * 3000, "1" * 5000])
def test_a_setting_that_no_reader_takes_is_a_word(text):
    with pytest.raises(ConfigError, match=r"'fit\.epochs' must be "):
        make_config(settings=[f"fit.epochs={text}"])


def test_a_pipe_is_waited_for_with_a_word(tmp_path, caplog):
    pipe = tmp_path / "c.toml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("[fit]\nepochs = 7\n",))
    writer.start()
    assert make_config(file=pipe).fit.epochs == 7
    writer.join()
    assert caplog.messages == [f"{pipe} is a pipe: what is written into it is waited for"]


@pytest.mark.parametrize(
    ("setting", "layers"),
    [("64,32", (64, 32)), ("[64,32]", (64, 32)), ("[64, 32]", (64, 32)), ("64", (64,)), (" 64 , 32 ", (64, 32))],
)
def test_a_list_is_written_with_or_without_brackets(setting, layers):
    assert make_config(settings=[f"network.layers={setting}"]).network.layers == layers


def test_a_list_may_be_words_one_thing_or_what_python_has():
    config = make_config(settings=["data.drop=a,b c", "features.calendar=weekday", "optimizer.betas=0.8,0.9"])
    assert (config.data.drop, config.features.calendar) == (("a", "b c"), ("weekday",))
    assert config.optimizer.betas == (0.8, 0.9)
    python = {"network": {"layers": 64, "members": np.int64(2)}, "data": {"drop": "a,b"}}
    config = make_config(overrides=python | {"objective": {"class_weights": {1: 2.0}}})
    assert config.objective.class_weights == {"1": 2.0}
    assert (config.network.layers, config.network.members, config.data.drop) == ((64,), 2, ("a,b",))


def test_what_a_caller_takes_besides_fields_may_have_been_meant():
    with pytest.raises(ConfigError, match=r"no field 'valdation' \(did you mean 'validation'\?\)"):
        make_config(overrides={"valdation": 1}, arguments=["target", "validation"])


def test_a_loss_of_counts_makes_few_whole_numbers_a_quantity():
    assert make_config(settings=["objective.loss=poisson"]).data.task == "regression"
    assert make_config(settings=["objective.loss=mse"]).data.task == "auto"
