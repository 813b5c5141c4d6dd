"""A budget goes for whole fits, one after the other: those that are asked for, and others where there is time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rowcast.models.repository import Repository
from rowcast.training.budget import spend
from rowcast.training.budget.choice import Panel
from rowcast.training.budget.spend import _next, _Tried, share
from rowcast.training.budget.ways import OTHERS, USUAL, ways_of
from rowcast.training.config import PRESETS, make_config
from rowcast.training.fit.again import fit_again
from rowcast.training.fit.loop import FitResult
from rowcast.training.own import Own
from rowcast.training.refit import First
from rowcast.training.start.start import start_of
from rowcast.training.train import train
from tests.support import tables

NETWORK = {"members": 2, "layers": [8]}
WARM = {"warmup": 0.0}  # else the first rate hangs on the clock
NOTHING_ELSE = {
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 3e-4, **WARM},
    "network": {**NETWORK, "dropout": 0.1},
}
"""Fields of all other ways, set by the caller to what they are anyway."""


def fitted(folder, *, preset="best", callbacks=(), checkpoint=None, resume=False, fit=None, **sections):
    table = tables.every_kind(160).drop("class")
    fields = {"data": {"target": "amount"}, "network": NETWORK, **sections}
    config = make_config(overrides={"preset": preset, **fields, "fit": {"epochs": 1, "seeds": 2, **(fit or {})}})
    kept = {"checkpoint": checkpoint, "resume": resume}
    return train(table, config, name="m", repository=Repository(folder), callbacks=callbacks, **kept)


def weights(trained):
    return (trained.model.path / "weights.safetensors").read_bytes()


def spent(trained):
    return [note for note in trained.model.manifest.decisions if note.startswith("the budget left")]


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """A fit of two seeds and no budget."""
    return fitted(tmp_path_factory.mktemp("without"), **NOTHING_ELSE)


@pytest.fixture
def usual_answer(monkeypatch):
    """Fits that are asked for answer, whatever validation rows say of them."""
    monkeypatch.setattr(Panel, "chosen", lambda panel, usual, most: list(usual))


def test_an_ample_budget_gives_the_fits_that_are_asked_for_bit_by_bit(tmp_path, without, usual_answer):
    within = fitted(tmp_path, fit={"budget_s": 900}, **NOTHING_ELSE)
    assert weights(within) == weights(without)
    assert [note.partition(", ")[2] for note in spent(within)] == ["enough for 2 of 2"]
    assert spent(without) == []


def test_what_is_left_goes_for_fits_in_other_ways(tmp_path):
    within = fitted(tmp_path, fit={"budget_s": 900})
    (note,) = spent(within)
    assert "which went for 16 (2 as configured, " in note
    assert all(f"{way.called}" in note for way in OTHERS)
    assert len(within.fit.fits) == 16
    times = within.model.manifest.config["fit"]
    assert (times["seeds"], times["until_spent"]) == (2, True)


@pytest.mark.parametrize(
    ("fields", "chosen", "told"),
    [
        (
            NOTHING_ELSE,
            [1],
            "enough for 2 of 2: 1 as configured answers, chosen on validation rows, where the loss is ",
        ),
        ({}, [0, 1], ": 2 as configured answer, as no other choice was found better on validation rows"),
        ({}, [2], ": 1 muon answers, chosen on validation rows, where the loss is "),
        ({}, [0, 2], ": 1 as configured, 1 muon answer, chosen on validation rows, where the loss is "),
    ],
)
def test_which_fits_answer_and_why_is_told(tmp_path, monkeypatch, fields, chosen, told):
    monkeypatch.setattr(Panel, "chosen", lambda panel, usual, most: chosen)
    within = fitted(tmp_path, fit={"budget_s": 900, "refit": False}, **fields)
    (note,) = spent(within)
    assert told in note
    assert note.endswith("; more networks did not take 0.2% off it") == (len(chosen) == 1)
    assert ("with 2 as configured" in note) == (chosen != [0, 1])


def test_a_fit_starts_from_the_networks_that_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(Panel, "chosen", lambda panel, usual, most: [1])
    one = fitted(tmp_path, fit={"budget_s": 900, "refit": False}, **NOTHING_ELSE)
    start = start_of(one.model)
    config = make_config(overrides={"preset": "best", "fit": {"epochs": 1}}, start=start.settings)
    begun = train(tables.every_kind(160).drop("class"), config, name="m", repository=Repository(tmp_path), start=start)
    assert (len(start.networks), begun.model.manifest.config["fit"]["seeds"]) == (1, 1)


def test_a_budget_that_is_too_small_for_two_fits_goes_for_one(tmp_path):
    within = fitted(tmp_path, fit={"budget_s": 1e-3}, **NOTHING_ELSE)
    assert [note.partition(", ")[2] for note in spent(within)] == ["enough for one of 2"]
    assert len(within.fit.fits) == 1


def test_a_fit_that_a_budget_ends_in_its_first_epoch_has_hardly_learned_and_says_so(tmp_path):
    fit = {"budget_s": 1e-3, "epochs": 50, "batch_size": 8}
    for preset in ("quick", "best"):
        within = fitted(tmp_path, preset=preset, fit=fit, **NOTHING_ELSE)
        assert any("within its first epoch" in note for note in within.model.manifest.decisions)


def test_those_that_answer_are_made_again_on_all_rows_in_the_ways_that_were_theirs(tmp_path, monkeypatch):
    made = []

    def noted(network, encoder, objective, rows, length, config, optimizer, **given):
        made.append((optimizer.name, len(rows)))
        return fit_again(network, encoder, objective, rows, length, config, optimizer, **given)

    monkeypatch.setattr("rowcast.training.refit.fit_again", noted)
    monkeypatch.setattr(Panel, "chosen", lambda panel, usual, most: [1, 2])
    within = fitted(tmp_path, fit={"budget_s": 900})
    assert within.model.manifest.data["refit"] == 160
    assert made == [("adamw", 160), ("muon", 160)]


def test_what_making_them_again_takes_is_kept_back(monkeypatch):
    """Of a budget of 40 s and fits of 4 s that take 5 s or 2.5 s again: so many more than those that answer."""

    def fits(prepared, config, *rest, **given):
        seconds = min(4.0, config.fit.budget_s)
        return SimpleNamespace(network=SimpleNamespace()), FitResult(10, best, 0.5, seconds, "patience", ()), []

    monkeypatch.setattr(spend, "fit_network", fits)
    monkeypatch.setattr(spend, "calibrated_core", lambda *given, **more: (None, []))
    monkeypatch.setattr(spend, "_answering", lambda tried, *given, **more: (tried, ""))
    config = make_config(overrides={"preset": "best", "data": {"target": "y"}, "fit": {"budget_s": 40.0}})
    how = {"own": Own(None, None), "interrupt": None, "checkpoint": None, "after": 0.0}

    best = 10

    def made(again):
        done = spend.fit_within(None, config, None, lambda progress: None, **how, again=again)
        return len(done.answering), sum(one.fit.seconds for one in done.answering)

    assert made(0.0)[0] == 10
    n, seconds = made(1.25)
    assert n == 5
    assert seconds + 4 * 5.0 == pytest.approx(40.0, abs=0.1)
    best = 5
    n, seconds = made(1.25)
    assert n == 8
    assert seconds + 4 * 2.5 == pytest.approx(40.0, abs=2.1)
    assert made(60.0)[0] == 10  # there is no time for it after the first


def test_fits_that_can_be_gone_on_with_are_those_that_are_asked_for(tmp_path, without, usual_answer):
    within = fitted(tmp_path / "models", checkpoint=tmp_path / "kept", fit={"budget_s": 900}, optimizer=WARM)
    assert weights(within) == weights(without)


def test_a_callback_ends_all_of_them(tmp_path):
    looks = []

    def third(progress):
        looks.append(progress)
        return len(looks) == 3

    within = fitted(tmp_path, fit={"budget_s": 900}, callbacks=[third])
    assert (len(looks), within.fit.stopped) == (3, "interrupted")
    assert looks[0].done < looks[1].done < looks[2].done < 1.0


def test_a_budget_that_was_not_spent_is_not_told_to_have_been_enough_for_no_more(tmp_path):
    within = fitted(tmp_path, fit={"budget_s": 900}, callbacks=[lambda progress: True])
    assert [note.partition(", ")[2] for note in spent(within)] == ["and they were ended with 1 of 2 made"]


def test_that_fits_were_ended_is_told_of_any_number_of_them(tmp_path):
    looks = []

    def fourth(progress):
        looks.append(progress)
        return len(looks) == 4  # each fit has one

    within = fitted(tmp_path, fit={"budget_s": 900}, callbacks=[fourth])
    made = len(within.fit.fits)
    assert made in (3, 4)  # the last only if it was as good as another
    (note,) = spent(within)
    assert note.partition(", ")[2].startswith(f"and they were ended with {made} made (2 as configured, ")


def test_what_was_killed_in_the_second_fit_goes_on_with_it(tmp_path, usual_answer):
    class Killed(Exception):
        pass

    looks = []

    def kill(progress):
        looks.append(progress)
        if len(looks) == 3:  # of two epochs each: in the second fit
            raise Killed

    kept = {"checkpoint": tmp_path / "kept", "fit": {"budget_s": 900, "epochs": 2}, "optimizer": WARM}
    with pytest.raises(Killed):
        fitted(tmp_path / "models", callbacks=[kill], **kept)
    again = fitted(tmp_path / "models", resume=True, **kept)
    whole = fitted(tmp_path / "whole", fit={"epochs": 2}, **NOTHING_ELSE)
    assert weights(again) == weights(whole)
    assert len(again.fit.fits) == 2


def test_a_preset_that_says_nothing_of_it_shares_its_budget(tmp_path):
    within = fitted(tmp_path, preset="balanced", fit={"budget_s": 900})
    assert (spent(within), len(within.fit.fits)) == ([], 2)
    assert {name for name, fields in PRESETS.items() if fields.get("fit", {}).get("until_spent")} == {"best"}


def test_a_way_sets_nothing_that_the_caller_has_set():
    assert ways_of(make_config()) == list(OTHERS)
    kept = ways_of(make_config(settings=["network.dropout=0.2", "optimizer.lr=0.01"]))
    assert [way.called for way in kept] == ["muon"]
    for way in OTHERS:
        changed = way.of(make_config())
        make_config(overrides=changed.model_dump())  # every field is in its range


def test_what_is_left_is_shared_by_as_many_fits_as_it_does_not_cut_too_short():
    ample = {"usual": 10.0, "most": 4, "after": 0.0}
    assert share(30.0, fits=1, **ample) == 10.0
    assert share(21.0, fits=1, **ample) == 7.0
    assert share(14.0, fits=1, **ample) == 7.0
    assert share(14.0, fits=3, **ample) == 14.0
    assert share(3.1, fits=1, **ample) == 3.1  # one alone may be shorter: it has to prove itself
    assert share(2.9, fits=1, **ample) == 0.0
    assert share(9.0, fits=9, **ample) == 9.0  # no more than four answer, whoever they are


def test_every_network_that_answers_has_its_time_for_export_and_gate():
    assert share(30.0, usual=10.0, fits=1, most=4, after=1.0) == (30.0 - 3.0) / 3
    assert share(20.0, usual=10.0, fits=1, most=4, after=1.0) == (20.0 - 2.0) / 2
    assert share(11.0, usual=10.0, fits=6, most=4, after=3.0) == 0.0


def fit_of(epochs):
    """A fit of a table whose epochs were 100 at first."""
    return FitResult(epochs, epochs, 0.5, 1.0, "epochs", (), added=epochs - 100)


def test_twice_as_long_is_twice_what_fits_took_with_the_epochs_that_were_added():
    usual = [_Tried(USUAL, First(make_config(), 0, fit_of(epochs)), SimpleNamespace()) for epochs in (280, 312)]
    config = make_config(overrides={"preset": "best", "data": {"target": "y"}})
    assert _next(usual, [], config).called == "of 624 epochs"
