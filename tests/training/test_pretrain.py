"""Weights that were learned from rows without a target, what they are kept as, and fits that start from them."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import polars as pl
import pytest
import torch

import rowcast
from rowcast.api.pretraining import pretrain
from rowcast.api.starting import start_at
from rowcast.models import ConfigError, ModelNotFound, ModelRefused, Repository, TableError
from rowcast.models.pretrained import open_pretrained
from rowcast.service.engine.versions import choose
from rowcast.service.settings import Settings
from rowcast.training.columns.infer import infer_columns
from rowcast.training.data.table import read_table
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.features.encoder import fit_encoder
from rowcast.training.prepare import read_columns
from rowcast.training.pretrain.reconstruction import Reconstruction
from rowcast.training.start.start import start_of
from tests.support import tables
from tests.support.command import run

QUICK = {**tables.QUICK, "fit": {"epochs": 2}, "verbose": False}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Weights of the columns of a table, ``people:1``, whose class is no input."""
    root = tmp_path_factory.mktemp("repository")
    pretrain(tables.every_kind().drop("amount"), name="people", target="class", repository=root, **QUICK)
    return root


@pytest.fixture(scope="module")
def people(repository):
    return open_pretrained(repository / "people" / "1")


def test_the_loss_knows_nothing_at_one_and_everything_at_zero():
    columns = {"x": np.arange(300.0), "city": np.array(["a", "b", "c"] * 100, object), "on": np.array([0.0, 1.0] * 150)}
    table = read_table(pl.DataFrame(columns))
    rules, _ = infer_columns(table)
    columns = read_columns(table, rules)
    encoder = fit_encoder(columns, rules, FeaturesConfig(), None)
    goal = Reconstruction(encoder)
    numbers, timestamps, codes = encoder.raw(columns)
    target = goal.targets(encoder.derive(numbers, timestamps), codes)
    assert (goal.n_outputs, list(target.shape)) == (2 + 5, [300, 3])
    nothing = torch.zeros(2, 300, goal.n_outputs)
    assert float(goal.loss(nothing, target)) == pytest.approx(1.0, abs=1e-3)
    known = torch.cat([target[:, :2], torch.nn.functional.one_hot(codes[:, 0], 5) * 50.0], dim=1)
    assert float(goal.loss(known.expand(2, -1, -1), target)) == pytest.approx(0.0, abs=1e-6)
    target[0, 0] = math.nan  # a missing number is asked of nobody
    assert float(goal.loss(known.expand(2, -1, -1), target)) == pytest.approx(0.0, abs=1e-6)


def test_weights_are_published_without_a_target_and_without_the_last_layer(people):
    assert [column.name for column in people.manifest.columns] == ["size", "count", "member", "city", "when"]
    assert people.manifest.decisions[0] == "'class' is no input"
    assert set(people.manifest.files) == {"weights.safetensors", "config.toml", "history.csv", "start.json"}
    assert 0.0 < people.manifest.metrics["validation"]["reconstruction"] < 1.0
    start = start_at("people", people.path.parents[1])
    assert not any(name.startswith("heads") for name in start.networks[0])
    assert (start.called, start.target, start.config["augment"]["swap"]) == ("people:1", "", 0.3)


def test_a_fit_starts_from_them_with_fresh_outputs(repository):
    table = tables.every_kind(120, 5).drop("amount")
    model = rowcast.fit(table, target="class", start_from="people", repository=repository, freeze="all", **QUICK)
    carried = "'size', 'count', 'member', 'city', 'when' carry their embeddings and weights over"
    fresh = "people:1 was pre-trained without a target, so that the last layer starts fresh"
    assert model.decisions[:2] == (f"the fit starts from people:1: {carried}", fresh)
    before, after = start_at("people:1", repository), start_of(model.stored)
    name = "layers.0.linear.weight"
    assert torch.equal(before.networks[0][name], after.networks[0][name])


def test_no_service_serves_them_and_it_is_said(repository, caplog):
    found = choose(Settings(repository=repository))
    assert found == []
    assert caplog.messages == ["people:1 is pre-trained: it is not served, and a fit starts from it with --from people"]
    with pytest.raises(ModelNotFound, match=r"no model 'people' in .*; people:1 is pre-trained: it is not served"):
        choose(Settings(repository=repository, models="people"))


def test_they_are_no_model_to_load(repository):
    with pytest.raises(
        ModelRefused, match=r"holds pre-trained weights, which answer nothing: a fit starts .* start_from="
    ):
        rowcast.load(repository / "people" / "1")
    with pytest.raises(ModelNotFound, match=r'people:1 is pre-trained: .* starts from it with start_from="people"'):
        rowcast.load("people", repository=repository)


def test_commands_list_show_verify_and_remove_them(repository, tmp_path, capfd):
    root = tmp_path / "copy"
    shutil.copytree(repository, root)
    to = ["--repository", root]
    code, out, err = run(capfd, "models", "list", "--json", *to)
    listed = json.loads(out)
    assert (code, listed["models"], [one["name"] for one in listed["pretrained"]]) == (0, [], ["people"])
    _, out, err = run(capfd, "models", "list", *to)
    assert out.splitlines()[1].startswith("people  1        pre-trained  validation reconstruction 0.")
    assert err == "people:1 is pre-trained: it is not served, and a fit starts from it with --from people\n"
    code, shown, _ = run(capfd, "models", "show", "people", *to)
    assert shown.startswith("people:1  pre-trained on 400 rows, published ")
    _, out, err = run(capfd, "models", "show", "people", "--json", *to)
    assert (json.loads(out)["name"], err) == ("people", shown)
    assert run(capfd, "models", "verify", "people:1", *to)[1] == "people:1 is what was published (4 files)\n"
    (root / "people" / "1" / "history.csv").write_text("")
    code, _, err = run(capfd, "models", "verify", "people", *to)
    assert (code, "history.csv is not the file that was published" in err) == (1, True)
    assert run(capfd, "models", "remove", "people:1", *to)[0] == 0
    assert Repository(root).listing().pretrained == {}


def test_the_command_pre_trains_and_a_damaged_version_is_refused_in_a_line(tmp_path, capfd):
    table = tmp_path / "rows.csv"
    tables.every_kind(100).drop("class").write_csv(table)
    to = ["--repository", tmp_path / "r", "--epochs", 1, "--set", "network.layers=8", "--set", "network.members=1"]
    code, out, _ = run(capfd, "pretrain", table, "--drop", "amount", "--json", *to)
    said = json.loads(out.splitlines()[-1])
    assert (code, said["name"], said["version"], said["rows"]) == (0, "rows", 1, {"train": 84, "validation": 16})
    weights = tmp_path / "r" / "rows" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, _, err = run(capfd, "train", table, "--target", "amount", "--from", "rows", "--repository", tmp_path / "r")
    assert (code, err) == (1, f"rowcast: {weights} is not the file that was published: its SHA-256 differs\n")
    assert Repository(tmp_path / "r").names() == []


@pytest.mark.parametrize(
    ("rows", "fields", "error", "said"),
    [
        (9, {}, TableError, r"must hold at least 10 rows to pre-train on, got 9"),
        (50, {"augment": {"mixup": 0.2}}, ConfigError, r"'augment.mixup' must be 0 for a pre-training"),
        (50, {"fit": {"freeze": "all"}}, ConfigError, r"'fit.freeze', 'fit.refit' and 'fit.folds' are for a"),
    ],
)
def test_what_cannot_be_pre_trained_is_refused(tmp_path, rows, fields, error, said):
    with pytest.raises(error, match=said):
        pretrain(tables.every_kind(rows), name="x", repository=tmp_path, **{**QUICK, **fields})
    assert list(tmp_path.iterdir()) == []


def test_several_processes_do_not_each_publish_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(ConfigError, match=r"torchrun is for `rowcast train`, got rowcast.api.pretraining.pretrain"):
        pretrain(tables.every_kind(50), name="x", repository=tmp_path, **QUICK)


def test_other_columns_are_refused_and_versions_of_both_sorts_count_together(repository, tmp_path):
    with pytest.raises(TableError, match=r"people:1 takes 'city', 'count'"):
        rowcast.fit({"a": [1.0, 2.0] * 20, "y": [0, 1] * 20}, target="y", start_from=repository / "people" / "1")
    root = tmp_path / "copy"
    shutil.copytree(repository, root)
    model = rowcast.fit(tables.every_kind(100).drop("class"), target="amount", name="people", repository=root, **QUICK)
    assert (model.version, start_at("people", root).called, start_at("people:1", root).called) == (
        2,
        "people:2",
        "people:1",
    )
    (root / "people" / "1" / "pretrained.json").write_text("{}")
    with pytest.raises(ModelRefused, match=r"pretrained.json"):
        start_at(root / "people" / "1", None)
