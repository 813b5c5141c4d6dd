"""Ctrl-C and SIGTERM during a fit: once, and the best is published; twice, and all ends."""

from __future__ import annotations

import math
import os
import signal
import threading

import numpy as np
import pytest

import rowcast
from rowcast.models import Repository
from rowcast.models.warnings import InterruptedWarning
from rowcast.training import haste
from rowcast.training.config import make_config
from rowcast.training.fit.interrupt import Interrupt, ended_by_signals
from rowcast.training.prepare import Part, Prepared
from rowcast.training.train import train
from tests.support import tables

LONG = {**tables.QUICK, "fit": {"epochs": 1000, "patience": 1000}, "data": {"target": "amount"}}


@pytest.fixture(scope="module")
def table():
    return tables.every_kind(200).drop("class")


@pytest.fixture(autouse=True)
def as_in_the_foreground():
    """Where tests run in the background, SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fitted(table, folder, at, *signals, say=lambda _: None):
    """Train, and get signals in a look, counted from 1."""
    looks = []

    def end(progress):
        looks.append(progress)
        if len(looks) == at:
            for number in signals:
                os.kill(os.getpid(), number)

    trained = train(
        table, make_config(overrides=LONG), name="m", repository=Repository(folder), callbacks=[end], say=say
    )
    return trained, looks


def test_the_first_ctrl_c_ends_the_fit_and_publishes_the_best_so_far(table, tmp_path):
    said, before = [], signal.getsignal(signal.SIGINT)
    trained, looks = fitted(table, tmp_path, 3, signal.SIGINT, say=said.append)
    assert (trained.summary()["stopped"], trained.ended_by, trained.model.manifest.version) == (
        *("interrupted", "Ctrl-C", 1),
    )
    assert [look.epoch for look in looks] == [1, 2, 3]
    assert trained.fit.validation_loss == min(look.validation_loss for look in looks)
    best = f"those of epoch {looks[-1].best_epoch}"
    decision = f"the fit was ended by Ctrl-C in epoch 3: the weights are the best so far, {best}"
    assert trained.model.manifest.decisions.count(decision) == 1
    assert [sentence.partition(",")[0] for sentence in said] == ["Ctrl-C: the fit ends"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["SIGINT", "SIGTERM"]
)
def test_the_second_signal_ends_all_and_nothing_is_published(table, tmp_path, number, raised):
    before = signal.getsignal(number)
    with pytest.raises(raised):
        fitted(table, tmp_path / "r", 2, signal.SIGINT, number)
    assert not (tmp_path / "r").exists()
    assert signal.getsignal(number) is before


def test_a_signal_between_two_looks_ends_the_fit_at_its_next_step(table, tmp_path, monkeypatch):
    from rowcast.training.fit.optimizer import WeightAverage

    steps, update = [], WeightAverage.update

    def counted(self):
        update(self)
        steps.append(1)
        if len(steps) == 9:  # of 4 an epoch
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(WeightAverage, "update", counted)
    monkeypatch.setattr("rowcast.training.fit.loop.QUICK_LOOK_S", math.inf)  # however busy the machine is
    trained, looks = fitted(table, tmp_path, 0)
    assert len(steps) == 9
    assert [(look.epoch, look.ends_epoch) for look in looks] == [(1, True), (2, True), (3, False)]
    assert trained.ended_by == "SIGTERM"


def test_a_further_fit_that_had_hardly_begun_is_left_out(table, tmp_path):
    looks = []

    def end_early(progress):
        looks.append(progress)
        return len(looks) == 7  # the first look of the second fit

    overrides = {**LONG, "fit": {"epochs": 6, "seeds": 2}, "optimizer": {"lr": 0.02}}
    repository = Repository(tmp_path)
    trained = train(table, make_config(overrides=overrides), name="m", repository=repository, callbacks=[end_early])
    assert len(trained.fit.fits or [trained.fit]) == 1
    assert trained.fit.stopped == "interrupted"
    assert trained.fit.validation_loss == min(look.validation_loss for look in looks[:6])
    said = [decision for decision in trained.model.manifest.decisions if "it is left out" in decision]
    assert [sentence.partition(" with")[0] for sentence in said] == ["fit 2 of 2 was ended"]


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_by_signals() as interrupt:
            interrupt.begun = True
            os.kill(os.getpid(), signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert not interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_no_signal_is_taken():
    found = []

    def enter():
        with ended_by_signals():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_a_signal_before_the_first_step_ends_all(table, tmp_path, monkeypatch):
    def early(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rowcast.training.fit_network.check_encoder", early)
    with pytest.raises(KeyboardInterrupt):
        fitted(table, tmp_path / "r", 0)
    assert not (tmp_path / "r").exists()


def test_python_gets_the_model_and_a_warning_that_points_at_the_call(table):
    def end(progress):
        if progress.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.warns(InterruptedWarning, match=r"^the fit was ended by Ctrl-C in epoch 2: ") as warned:
        model = rowcast.fit(
            table, target="amount", callbacks=[end], verbose=False, **tables.QUICK | {"fit": LONG["fit"]}
        )
    assert [warning.filename for warning in warned] == [__file__]
    assert len(model.history) == 2


def told_to_end():
    interrupt = Interrupt()
    interrupt.tell(signal.SIGINT)
    return interrupt


def part_of(rows, weight=None):
    return Part({"size": np.arange(rows, dtype=np.float64)}, np.arange(rows), weight)


def test_after_a_signal_calibration_and_metrics_look_at_as_many_rows_as_there_is_time_for(monkeypatch):
    monkeypatch.setattr(haste, "CALIBRATION_S", 0.0)
    monkeypatch.setattr(haste, "METRICS_S", 0.0)
    part = part_of(5001, np.full(5001, 2.0))
    some, note = haste.some_to_calibrate_on(part, told_to_end(), lambda _: None)
    assert note == "after Ctrl-C calibration looks at 1,000 of 5,001 validation rows"
    assert (len(some), some.columns["size"][0], some.columns["size"][-1], set(some.weight)) == (1000, 0, 5000, {2.0})
    of = dict.fromkeys(("target", "rules", "decisions", "encoder", "train", "data"))
    prepared, note = haste.some_to_measure(
        Prepared(**of, validation=part, test=part_of(700)), told_to_end(), lambda _: None
    )
    assert (len(prepared.validation), len(prepared.test)) == (1000, 700)
    assert note == (
        "after Ctrl-C metrics and report are those of 1,000 of 5,001 validation rows: `rowcast evaluate` takes all"
    )


def test_without_a_signal_and_where_there_is_time_all_rows_are_looked_at():
    part = part_of(5000)
    assert haste.some_to_calibrate_on(part, Interrupt(), lambda _: None) == (part, "")
    assert haste.some_to_calibrate_on(part, None, lambda _: None) == (part, "")
    assert haste.some_to_calibrate_on(part, told_to_end(), lambda _: None) == (part, "")
