"""A fit that starts from a trained model: what is carried over, what starts fresh, what stays as it is."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch

from rowcast.models import ConfigError, ModelRefused, Repository, TableError, TrainingError
from rowcast.models.repository import open_version
from rowcast.training.config import make_config
from rowcast.training.fit import checkpoint as checkpoints
from rowcast.training.fit.loop import outputs_of
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, to_batch
from rowcast.training.network.network import Network
from rowcast.training.prepare import prepare
from rowcast.training.start.keys import binned_keys
from rowcast.training.start.start import start_of
from rowcast.training.train import train
from tests.support import tables

CPU = torch.device("cpu")


def config_of(start=None, **overrides):
    given = {**tables.QUICK, **overrides} if start is None else {"fit": {"epochs": 1}, **overrides}
    return make_config(overrides=given, start=None if start is None else start.settings)


def fitted(table, repository, name, start=None, **overrides):
    return train(table, config_of(start, **overrides), name=name, repository=Repository(repository), start=start).model


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def amounts(repository):
    """Predicts the amount of a table that misses no value of ``count``, and knows no Lima."""
    return fitted(tables.every_kind().drop("class"), repository, "amounts", data={"target": "amount"})


@pytest.fixture(scope="module")
def classes(repository):
    """Predicts the class of such a table."""
    return fitted(tables.every_kind().drop("amount"), repository, "classes", data={"target": "class"})


@pytest.fixture(scope="module")
def one_hot(repository):
    """A textbook network of the same."""
    table = tables.every_kind().drop("amount")
    return fitted(table, repository, "plain", preset="textbook", network={"layers": [8]}, data={"target": "class"})


def begun(model, table, **overrides):
    """A network before its first step, and a batch of the training rows."""
    start = start_of(model)
    config = make_config(overrides=overrides, start=start.settings)
    start.check(config)
    prepared = prepare(table, config, start=start)
    objective = Objective(prepared.target, config.objective)
    network = network_of(prepared.encoder, objective, config)
    notes = prepared.begun.give(network, prepared.encoder, prepared.target, objective.n_outputs, config, 0)
    rows = to_batch(prepared.train, prepared.encoder, objective, CPU)
    return prepared, network, rows, notes


def first_answers(model, table, **overrides):
    """What a fit that starts from a model says before its first step, and what the model itself says of the same rows.

    Shape: both ``[members, rows, outputs]``.
    """
    prepared, network, rows, _ = begun(model, table, **overrides)
    start, config = prepared.begun.start, config_of(None, network=model.manifest.config["network"])
    old = start.encoder
    n_outputs = start.networks[0]["heads.weight"].shape[-1]
    before = Network(config.network, old.n_features, old.d_encoded, old.level_counts, n_outputs, n_binary=old.n_binary)
    before.load_state_dict(start.networks[0])
    columns = {rule.name: prepared.train.columns[rule.name] for rule in old.rules}
    numbers, timestamps, codes = old.raw(columns)
    there = type(rows)(old.derive(numbers, timestamps), codes, rows.target)
    return outputs_of(network, prepared.encoder, rows), outputs_of(before, old, there)


def more(rows=200, seed=7, **columns):
    """New rows of the table, in another order of columns, and with further columns."""
    table = tables.every_kind(rows, seed).drop("class")
    return table.select(*reversed(table.columns)).with_columns(**columns)


def test_it_begins_with_the_answers_of_the_model_whatever_columns_levels_and_missing_values_are_new(amounts):
    table = more(
        extra=pl.Series(np.random.default_rng(0).normal(size=200)),
        count=pl.when(pl.col("count") < 4).then(None).otherwise(pl.col("count")),
        city=pl.when(pl.col("size") > 110).then(pl.lit("Lima")).otherwise(pl.col("city")),
    )
    here, there = first_answers(amounts, table)
    assert list(here.shape) == [2, 128, 3]
    for output in range(3):  # bounds, which the model has none of, begin where the prediction is
        assert (here[..., output] - there[..., 0]).abs().max() < 1e-5


def test_bins_are_added_where_new_rows_lie_and_what_lies_within_is_read_as_before(amounts):
    table = more(size=pl.col("size") + pl.when(pl.int_range(pl.len()) % 2 == 0).then(500.0).otherwise(0.0))
    prepared, *_ = begun(amounts, table)
    old, new = prepared.begun.start.encoder, prepared.encoder
    i, j = (binned_keys(encoder).index(("number", "size")) for encoder in (old, new))
    assert new.bins.lowest[j] == old.bins.lowest[i]
    assert new.bins.highest[j] > 600 > old.bins.highest[i]
    counted = [int((bins.inverse_widths[at] > 0).sum()) for bins, at in ((old.bins, i), (new.bins, j))]
    assert counted[1] == counted[0] + 16
    here, there = first_answers(amounts, table)
    inside = torch.from_numpy(prepared.train.columns["size"] < old.bins.highest[i].item())
    assert (here[0, inside, 0] - there[0, inside, 0]).abs().max() < 1e-5
    assert (here[0, ~inside, 0] - there[0, ~inside, 0]).abs().max() > 1e-3


def test_one_hot_levels_and_standardised_numbers_begin_with_the_answers_of_the_model(one_hot):
    table = tables.every_kind(200, 7).drop("amount")
    table = table.with_columns(
        count=pl.when(pl.col("count") < 4).then(None).otherwise(pl.col("count")),
        size=pl.col("size") * pl.when(pl.int_range(pl.len()) % 9 == 0).then(3.0).otherwise(1.0),
        city=pl.when(pl.col("count") > 30).then(pl.lit("Lima")).otherwise(pl.col("city")),
    )
    here, there = first_answers(one_hot, table)
    old = start_of(one_hot).encoder
    low, high = (getattr(old.binary, end)[0].item() for end in ("lowest", "highest"))
    prepared, *_ = begun(one_hot, table)
    size = prepared.train.columns["size"]
    inside = torch.from_numpy(~((size < low) | (size > high)))
    assert (here[:, inside] - there[:, inside]).abs().max() < 1e-5
    assert not inside.all()


def test_the_decision_lists_what_is_carried_what_is_fresh_and_what_is_left(amounts, repository):
    model = fitted(
        more(extra=pl.col("size") * 2).drop("member"), repository, "more", start_of(amounts), data={"target": "amount"}
    )
    assert model.manifest.decisions[0] == (
        "the fit starts from amounts:1: 'when', 'city', 'count', 'size' carry their embeddings and weights over; "
        "'extra' starts fresh; 'member' of it is not used any more"
    )
    assert model.manifest.decisions[1] == "answers stay in the unit of amounts:1"
    assert model.manifest.data["start_from"] == {
        "model": "amounts:1",
        "weights": amounts.manifest.files["weights.safetensors"],
    }


def test_a_column_of_another_kind_starts_fresh_and_numbers_may_be_whole_here_and_not_there(amounts):
    table = more(city=pl.col("count").cast(pl.Float64) / 7, size=pl.col("size").fill_null(0).round().cast(pl.Int64))
    prepared, *_ = begun(amounts, table)
    assert prepared.begun.carried == {"size", "count", "member", "when"}
    assert "'city' is a number here and a category in amounts:1, so that it starts fresh" in prepared.decisions
    assert next(rule.kind for rule in prepared.rules if rule.name == "size") == "number"


def test_a_column_that_does_not_vary_here_stays_an_input(amounts):
    table = more(city=pl.lit("Rome"), count=pl.lit(3))
    prepared, *_ = begun(amounts, table)
    assert {rule.name for rule in prepared.rules} == {"size", "count", "member", "city", "when"}
    assert prepared.encoder.vocabularies["city"].keys() == amounts.manifest.signature.columns[3].levels.keys()


def test_a_category_of_few_rows_here_is_not_said_to_tell_nothing(amounts):
    prepared, *_ = begun(amounts, more(rows=60).with_columns(city=pl.Series([f"c{i}" for i in range(60)])))
    assert prepared.encoder.vocabularies["city"].keys() == amounts.manifest.signature.columns[3].levels.keys()
    assert not [text for text in prepared.decisions if "tells nothing" in text]


def test_another_target_begins_with_fresh_outputs_behind_the_same_layers(amounts):
    prepared, network, _, _ = begun(amounts, tables.every_kind(200, 7).drop("amount"), data={"target": "class"})
    weights = prepared.begun.start.networks[0]
    assert torch.equal(network.layers[0].linear.bias, weights["layers.0.linear.bias"])
    assert network.heads.weight.shape[-1] == 2
    assert prepared.decisions[1] == (
        "amounts:1 predicts 'amount' and this fit 'class', so that the last layer starts fresh, and so does what its "
        "answers stand for"
    )


def test_a_target_in_another_unit_begins_with_fresh_outputs(amounts):
    prepared, _, _, _ = begun(amounts, more(amount=pl.col("amount") * 1000))
    assert prepared.decisions[1].startswith("the target 'amount' lies ")
    assert prepared.target.unit is None


def test_classes_are_those_of_both_and_one_without_rows_keeps_its_output(classes):
    table = tables.every_kind(200, 7).drop("amount")
    table = table.with_columns(pl.col("class").replace("small", "tiny"))
    prepared, network, _, _ = begun(classes, table)
    assert prepared.target.classes == ("large", "small", "tiny")
    assert prepared.decisions[1] == (
        "classes are those of classes:1, and 'tiny', which it did not know; no training row here holds 'small', so "
        "that the model will unlearn to say it"
    )
    weights = prepared.begun.start.networks[0]
    assert torch.equal(network.heads.weight[..., :2], weights["heads.weight"])


def test_a_model_with_a_class_that_no_new_row_holds_is_published(classes, repository):
    table = tables.every_kind(300, 7).drop("amount").with_columns(pl.col("class").replace("small", "tiny"))
    model = fitted(table, repository, "tiny", start_of(classes), objective={"class_weights": "balanced"})
    assert model.manifest.signature.classes == ("large", "small", "tiny")
    assert model.manifest.metrics["test"]["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("layers", "said", "carried"),
    [
        ([16, 8], "layer 2 and the last one start fresh, as the layers of the model are not like them there", 1),
        ([8], "all layers start fresh, as the first is not like that of the model: columns carry embeddings alone", 0),
    ],
)
def test_other_layers_are_carried_up_to_the_first_that_differs(amounts, layers, said, carried):
    prepared, network, _, notes = begun(amounts, more(), network={"members": 2, "layers": layers})
    assert notes == [said]
    weights = prepared.begun.start.networks[0]
    same = torch.equal(network.layers[0].linear.bias, weights.get("layers.0.linear.bias", torch.zeros(0)))
    assert same == bool(carried)
    i = binned_keys(prepared.encoder).index(("number", "size"))
    j = binned_keys(prepared.begun.start.encoder).index(("number", "size"))
    assert torch.equal(network.numbers.bias[i], weights["numbers.bias"][j])


def weights_of(model):
    return start_of(model).networks[0]


@pytest.mark.parametrize("optimizer", [{"l1": 0.1}, {"name": "muon"}])
def test_what_is_frozen_is_the_same_to_the_last_bit_and_all_else_learns(amounts, repository, optimizer):
    start = start_of(amounts)
    model = fitted(
        tables.every_kind(200, 7).drop("class"),
        repository,
        "frozen",
        start,
        fit={"epochs": 1, "freeze": "all"},
        optimizer={"average": 0.0, **optimizer},
    )
    before, after = start.networks[0], weights_of(model)
    moved = {
        name for name in before if before[name].shape != after[name].shape or not torch.equal(before[name], after[name])
    }
    assert moved == {"heads.weight", "heads.bias"}
    assert (
        "the embeddings of 'city', 'count', 'member', 'size', 'when' and the first layer: as in the model that the fit "
        "starts from, and frozen, as fit.freeze says"
    ) in model.manifest.decisions


def test_columns_that_are_named_are_frozen_and_no_others(amounts, repository):
    start = start_of(amounts)
    table = tables.every_kind(200, 7).drop("class")
    model = fitted(table, repository, "size", start, fit={"epochs": 1, "freeze": "size"})
    i = binned_keys(start.encoder).index(("number", "size"))
    before, after = start.networks[0]["numbers.weight"], weights_of(model)["numbers.weight"]
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert [at for at, equal in enumerate(same) if equal] == [i]


def test_killed_it_goes_on_to_the_same_bits_and_from_another_model_it_does_not(
    amounts, repository, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    table = tables.every_kind(200).drop("class")
    start = start_of(amounts)
    config = config_of(start, fit={"epochs": 2, "freeze": ["size"]})
    to = {"name": "kept", "repository": Repository(repository)}
    whole = train(table, config, start=start, **to).model
    kept = {**to, "checkpoint": tmp_path / "ckpt", "resume": True}
    with pytest.raises(ZeroDivisionError):
        train(table, config, callbacks=[lambda progress: progress.epoch > 1 and 1 / 0], start=start, **kept)
    with pytest.raises(TrainingError, match=r'the model that it starts from is "kept:1" here and "amounts:1" there'):
        train(table, config_of(start, fit={"epochs": 2, "freeze": ["size"]}), start=start_of(whole), **kept)
    again = train(table, config, start=start, **kept).model
    assert again.manifest.files["weights.safetensors"] == whole.manifest.files["weights.safetensors"]


def test_nothing_in_common_is_refused_and_nothing_is_published(amounts, repository):
    table = tables.every_kind(200).select("amount", pl.col("size").alias("other"))
    with pytest.raises(
        TableError,
        match=r"a fit starts from a model that has columns in common with its table, of the same name and kind: "
        r"amounts:1 takes 'city', .* holds 'other'; train without --from, or map names with --rename old=new",
    ):
        fitted(table, repository, "nothing", start_of(amounts))
    assert "nothing" not in Repository(repository).names()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"network": {"members": 3}}, r"'network.members' must be 2 as in amounts:1, .* got 3: leave it out"),
        ({"fit": {"seeds": 2}}, r"'fit.seeds' must be 1 as in amounts:1, since each fit starts from a network of it"),
        ({"features": {"numbers": "standardise"}}, r"'features.numbers' must be 'bins' as in amounts:1"),
        ({"fit": {"freeze": ["nobody"]}}, r"'fit.freeze' names columns that are carried over, .* got 'nobody'"),
    ],
)
def test_an_ensemble_of_another_width_is_refused(amounts, repository, overrides, said):
    with pytest.raises(ConfigError, match=said):
        train(
            tables.every_kind(200).drop("class"),
            make_config(overrides=overrides, start=start_of(amounts).settings),
            name="x",
            repository=Repository(repository),
            start=start_of(amounts),
        )
    assert "x" not in Repository(repository).names()


def test_freezing_without_a_model_is_refused(tmp_path):
    config = config_of(data={"target": "amount"}, fit={"freeze": "layers"})
    with pytest.raises(ConfigError, match=r"'fit.freeze' is for a fit that starts from a model, got 'layers' without"):
        train(tables.every_kind(50), config, name="x", repository=Repository(tmp_path))


def test_several_networks_each_start_from_their_own(repository):
    table = tables.every_kind(200).drop("class")
    bag = fitted(table, repository, "bag", data={"target": "amount"}, fit={"epochs": 1, "seeds": 2})
    start = start_of(bag)
    again = fitted(table, repository, "bag", start, fit={"epochs": 1, "freeze": "layers"})
    assert (len(start.networks), again.manifest.config["fit"]["seeds"]) == (2, 2)
    for before, after in zip(start.networks, start_of(again).networks, strict=True):
        assert torch.equal(before["layers.0.linear.weight"], after["layers.0.linear.weight"])


def test_a_version_without_what_its_weights_mean_says_what_to_do(amounts, tmp_path):
    old = tmp_path / "amounts" / "1"
    shutil.copytree(amounts.path, old)
    manifest = json.loads((old / "model.json").read_text())
    from rowcast.models.repository import StoredModel

    files = {name: digest for name, digest in manifest["files"].items() if name != "start.json"}
    earlier = StoredModel(amounts.manifest.model_copy(update={"files": files}), amounts.graph, old)
    with pytest.raises(ModelRefused, match=r"amounts:1 was trained before there was one: train it once more"):
        start_of(earlier)


def test_damaged_weights_are_refused_in_a_line(amounts, tmp_path):
    damaged = tmp_path / "amounts" / "1"
    shutil.copytree(amounts.path, damaged)
    stored = open_version(damaged)
    content = (damaged / "weights.safetensors").read_bytes()
    (damaged / "weights.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelRefused, match=r"weights.safetensors is not the file that was published"):
        start_of(stored)


def test_what_is_kept_names_no_value_of_a_row(amounts):
    record = json.loads((amounts.path / "start.json").read_text())
    assert record["calendar"] == {"when": ["time_of_day", "weekday", "season", "trend"]}
    assert record["taught"]["city"][1] == 0  # every level is known
    amount = tables.every_kind()["amount"]
    told = {record["answers"]["unit"]["least"], record["answers"]["unit"]["most"]}
    assert not told & {amount.min(), amount.max()}


def test_a_table_in_shards_starts_from_a_model(amounts, repository, tmp_path):
    for part in (0, 1):
        tables.every_kind(600, part).drop("class").write_parquet(tmp_path / f"{part}.parquet")
    start = start_of(amounts)
    config = config_of(start, data={"in_memory": False, "sample_rows": 1000})
    model = train(tmp_path, config, name="shards", repository=Repository(repository), start=start).model
    assert any(text.startswith("the fit starts from amounts:1: 'size', 'count', ") for text in model.manifest.decisions)
    assert model.manifest.data["start_from"]["model"] == "amounts:1"
