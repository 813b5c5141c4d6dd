"""``rowcast.fit(start_from=...)``: a model, its name, or its folder."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import rowcast
from rowcast.api.starting import start_at
from tests.support import tables
from tests.support.command import run


def test_a_fit_goes_on_from_a_model_that_is_not_published_with_its_target_and_its_network(frame, regression):
    model = rowcast.fit(frame.drop("large").head(100), start_from=regression, fit={"epochs": 1})
    assert model.signature.target == "amount"
    columns = ", ".join(map(repr, regression.signature.names))
    carried = f"the fit starts from the model that is not published: {columns} carry their embeddings and weights over"
    assert model.decisions[0] == carried
    kept = [one.stored.manifest.config["network"] for one in (regression, model)]
    assert kept[0] == kept[1]


def test_a_model_is_named_by_its_name_its_version_or_its_folder(regression, tmp_path):
    published = regression.publish("houses", repository=tmp_path)
    for named in ("houses", "houses:1", published.path, published):
        assert start_at(named, tmp_path).called == "houses:1"


def test_a_network_of_ones_own_that_is_given_again_goes_on_from_its_weights(frame):
    rows = frame.drop("large")
    own = {"network": lambda d_in, d_out: nn.Sequential(nn.Linear(d_in, 8), nn.Linear(8, d_out)), "target": "amount"}
    model = rowcast.fit(rows, **own, fit={"epochs": 1})
    again = rowcast.fit(rows, **own, start_from=model, fit={"epochs": 1}, optimizer={"lr": 1e-12, "weight_decay": 0.0})
    before, after = (start_at(one, None).networks[0] for one in (model, again))
    for name in ("module.0.weight", "module.1.weight", "module.1.bias"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-8)
    assert not any("starts fresh" in said for said in again.decisions)


def test_what_names_no_model_is_refused_in_python_terms(frame, tmp_path):
    with pytest.raises(rowcast.RowcastError, match=r"start_from= must be a model, its name .* got a builtins.int"):
        rowcast.fit(frame, target="amount", start_from=3)
    with pytest.raises(rowcast.RowcastError, match=r"start_from= must be the name of a model, .* got ''"):
        rowcast.fit(frame, target="amount", start_from="")
    with pytest.raises(rowcast.RowcastError, match=r"by its name or folder, got ''"):
        rowcast.load("")
    with pytest.raises(rowcast.RowcastError, match=r"no model 'nobody' in .*; models there: none"):
        rowcast.fit(frame, target="amount", start_from="nobody", repository=tmp_path)
    with pytest.raises(
        rowcast.RowcastError, match=r"got 'layers' without one: leave it out, or name the model with st"
    ):
        rowcast.fit(frame, target="amount", freeze="layers", **tables.QUICK)


def test_nothing_in_common_names_arguments(frame, regression):
    other = frame.select("large", frame["size"].alias("width"))
    with pytest.raises(rowcast.RowcastError, match=r'train without start_from=, or map names with data=\{"rename"'):
        rowcast.fit(other, target="large", start_from=regression)


def test_the_command_starts_from_a_model_by_its_name(frame, regression, tmp_path, capfd):
    regression.publish("houses", repository=tmp_path / "repository")
    table = tmp_path / "newer.csv"
    frame.drop("large", "took").head(100).write_csv(table)  # CSV has no durations
    where = ["--repository", tmp_path / "repository", "--epochs", 1]
    code, out, _ = run(capfd, "train", table, "--from", "houses:1", "--freeze", "city,size", "--json", *where)
    said = json.loads(out.splitlines()[-1])
    assert (code, said["task"], said["version"]) == (0, "regression", 1)
    assert said["decisions"][0].startswith(
        "the fit starts from houses:1: 'size', 'count', 'member', 'city', 'when' carry"
    )
    assert any(text.startswith("the embeddings of 'city', 'size': as in the model") for text in said["decisions"])
    code, _, err = run(capfd, "train", table, "--from", "houses:9", *where)
    assert (code, err.splitlines()) == (1, ["rowcast: model 'houses' has no version 9; versions: 1"])
