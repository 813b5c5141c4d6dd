"""A fresh fit on all rows, for as many epochs as were best."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

import rowcast
from rowcast.models import Repository
from rowcast.training.config import make_config
from rowcast.training.data.table import read_table
from rowcast.training.fit.again import Length, fit_again, length_of
from rowcast.training.fit.history import Look
from rowcast.training.fit.loop import FitConfig, FitResult, take_step
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, to_batch
from rowcast.training.own import NOTHING_OWN
from rowcast.training.predict import if_learned, predict_table
from rowcast.training.prepare import prepare
from rowcast.training.refit import First, refit
from rowcast.training.report.page import facts_in
from rowcast.training.train import train
from tests.support import tables


def ended(*looks, epochs, best):
    history = tuple(Look(epoch, 1.0, score, 0.1, float(i), new) for i, (epoch, score, new) in enumerate(looks, 1))
    return FitResult(epochs, best, 0.5, float(len(looks)), "patience", history)


def test_it_is_as_long_as_the_fit_before_was_best():
    fit = ended((1, 0.9, True), (2, 0.8, True), (3, 0.85, False), epochs=3, best=2)
    found = length_of(fit, 1000, FitConfig(epochs=10))
    assert found == Length(2.0, 0.2, ((0.5, 0.9), (1.0, 0.8)))
    assert length_of(replace(fit, budget_s=4.0), 1000, FitConfig(epochs=10)).done == 0.5  # two of four seconds
    assert length_of(ended((1, 0.9, False), epochs=1, best=0), 1000, FitConfig()) is None


def test_of_a_large_table_it_may_end_within_an_epoch():
    looks = [(1, 0.9, True), (1, 0.8, True), (1, 0.85, False), (1, 0.86, False)]
    found = length_of(ended(*looks, epochs=1, best=1), 4 * 65_536, FitConfig(epochs=2))
    assert (found.epochs, found.done) == (0.5, 0.25)


def test_a_budget_ends_it_sooner_and_its_rate_falls_as_far(monkeypatch):
    config = make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, "optimizer": {"warmup": 0.0}})
    prepared = prepare(tables.every_kind(300), config)
    encoder, objective = prepared.encoder, Objective(prepared.target, config.objective)
    rows = to_batch(prepared.train, encoder, objective, torch.device("cpu"))
    rates = []

    def noted(*given):
        rates.append(given[5])
        return take_step(*given)

    monkeypatch.setattr("rowcast.training.fit.again.take_step", noted)

    def again(within):
        rates.clear()
        network = network_of(encoder, objective, config)
        kept = {"generator": torch.Generator(), "augment": lambda batch: batch}
        seconds = map(float, itertools.count()).__next__  # one a step
        given = (network, encoder, objective, rows, Length(10.0, 0.9, ()), config.fit, config.optimizer)
        return fit_again(*given, **kept, within=within, clock=seconds), list(rates)

    (whole, as_planned), (part, in_time) = again(math.inf), again(30.0)
    assert (whole, len(in_time)) == (10.0, 30)
    assert part == pytest.approx(10.0 * 30 / len(as_planned))
    assert in_time[0] == as_planned[0] > 5 * in_time[-1]
    assert in_time[-1] == pytest.approx(as_planned[-1], rel=0.5)


def test_where_a_budget_leaves_less_than_it_takes_there_is_none():
    config = make_config(overrides={**tables.QUICK, "data": {"target": "amount"}})
    prepared = prepare(tables.every_kind(300), config)
    first = First(config, 0, ended((1, 0.9, True), (2, 0.8, True), epochs=2, best=2))  # of two seconds
    again, why = refit(prepared, None, [first], torch.device("cpu"), with_test=True, own=NOTHING_OWN, within=1.0)
    assert again is None
    assert why == "there is no fit on all rows: the budget leaves 1 s of about 3.1 s that it takes"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A table, and a model of its class without and with a fit on all rows."""
    table = tables.every_kind(300)
    repository = Repository(tmp_path_factory.mktemp("repository"))
    config = {**tables.QUICK, "data": {"target": "class"}, "objective": {"threshold": "f1"}}
    fit = {"epochs": 3}
    return table, *(
        train(table, make_config(overrides=config | {"fit": fit | more}), name="m", repository=repository)
        for more in ({}, {"refit": True})
    )


def test_metrics_are_those_of_the_fit_before_and_a_decision_says_so(both):
    _, once, again = both
    assert again.summary()["metrics"] == once.summary()["metrics"]
    assert again.summary()["rows"] == once.summary()["rows"]
    decision = next(d for d in again.summary()["decisions"] if d.startswith("fitted again on all 300 rows for "))
    assert f"for {again.fit.best_epoch} epochs, as many as were best: metrics are those of the fit before" in decision
    assert again.model.manifest.data["refit"] == 300


def test_the_threshold_is_the_one_of_the_fit_before_and_the_report_says_whose_metrics_it_shows(both):
    table, once, again = both
    told = again.model.manifest.threshold
    assert told == once.model.manifest.threshold
    answers = predict_table(again.model, table)
    reached = answers[f"probability_{told['class']}"] >= np.float32(told["value"])
    assert (answers["label"] == told["class"]).to_list() == reached.to_list()
    facts = [facts_in((one.model.path / "report.html").read_bytes()) for one in (once, again)]
    assert [one["refit"] for one in facts] == [None, 300]
    assert facts[0]["answers"] == facts[1]["answers"]


def test_the_model_has_learned_rows_that_were_held_out(both):
    table, once, again = both
    answers = [predict_table(trained.model, table)["probability_large"].to_numpy() for trained in (once, again)]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
    oslo = table.filter(pl.col("city") == "Oslo").height
    shown = [str(trained.model.manifest.signature.model_dump()) for trained in (once, again)]
    assert [f"'Oslo': {oslo}" in text or f"'rows': {oslo}" in text for text in shown] == [False, True]


@pytest.mark.parametrize(("refit", "learned"), [(False, "its training rows"), (True, "all its rows")])
def test_who_measures_a_model_on_the_table_it_learned_is_told(tmp_path, refit, learned):
    table = tables.every_kind(200)
    for name, rows in (("same", table), ("other", table[:150])):
        rows.write_csv(tmp_path / f"{name}.csv")
    overrides = {**tables.QUICK, "data": {"target": "amount"}, "fit": {"epochs": 1, "refit": refit}}
    config = make_config(overrides=overrides)
    model = train(tmp_path / "same.csv", config, name="m", repository=Repository(tmp_path)).model
    os.mkfifo(tmp_path / "pipe.csv")

    def told(name: str) -> str | None:
        source = tmp_path / name
        return if_learned(model.manifest, source, read_table(tmp_path / "same.csv" if name == "pipe.csv" else source))

    assert told("same.csv") == (
        f"this is the table that m:1 was trained on, and it has learned {learned}: it answers new rows worse; rowcast "
        "models show m:1 has the metrics of rows that it had not learned"
    )
    assert told("other.csv") is None
    assert told("pipe.csv") is None, "it cannot be read again"


def test_rows_of_a_test_table_are_not_learned(tmp_path):
    table = tables.every_kind(200)
    config = make_config(
        overrides={
            **tables.QUICK,
            "optimizer": {"lr": 0.01},
            "fit": {"epochs": 6, "refit": True},
            "data": {"target": "amount", "weight": "count"},
        }
    )
    trained = train(table[:150], config, name="m", repository=Repository(tmp_path), test=table[150:])
    learned = 150 - (table[:150]["count"] == 0).sum()
    assert trained.model.manifest.data["refit"] == learned == trained.rows["train"] + trained.rows["validation"]
    assert set(trained.summary()["metrics"]["test"]) == {"rmse", "mae", "r2"}


def test_python_asks_for_it_by_an_argument():
    config = tables.QUICK | {"fit": {"epochs": 2}}
    model = rowcast.fit(tables.every_kind(150), target="amount", refit=True, **config)
    assert any(decision.startswith("fitted again on all 150 rows") for decision in model.decisions)


def test_several_seeds_and_a_budget_go_with_it(tmp_path):
    fit = {"epochs": 2, "seeds": 2, "budget_s": 60.0, "refit": True}
    config = make_config(overrides={**tables.QUICK, "fit": fit, "data": {"target": "amount"}})
    table = tables.every_kind(150)
    trained = train(table, config, name="m", repository=Repository(tmp_path))
    decision = next(d for d in trained.model.manifest.decisions if d.startswith("fitted again on all 150 rows"))
    assert "metrics are those of the fit before" in decision
    assert [look.epoch for look in trained.fit.history] == [1, 2, 1, 2]
    assert predict_table(trained.model, table)["prediction"].is_finite().all()


def test_best_does_it_by_itself_where_nothing_rules_it_out(tmp_path):
    table = tables.every_kind(150)

    def learned(**more):
        overrides = {**tables.QUICK, "data": {"target": "amount"}, "preset": "best", **more}
        overrides["fit"] = {"epochs": 1, "seeds": 1} | more.get("fit", {})
        trained = train(table, make_config(overrides=overrides), name="m", repository=Repository(tmp_path))
        return trained.model.manifest.data.get("refit")

    assert learned() == 150
    assert learned(fit={"refit": False}) is None
    assert learned(fit={"folds": 2}) is None
    assert learned(preset="balanced") is None
