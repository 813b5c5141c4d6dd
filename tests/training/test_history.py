"""The history of a fit: told look by look, kept with the model, read back to the last bit."""

from __future__ import annotations

import hashlib
import json

import pytest

from rowcast.models import Repository
from rowcast.models.errors import ModelRefused
from rowcast.training.config import make_config
from rowcast.training.fit.history import COLUMNS, Look, history_of, to_csv
from rowcast.training.train import train
from tests.support import handmade, tables


def config_for(**sections):
    return make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, **sections})


@pytest.fixture(scope="module")
def table():
    return tables.every_kind().drop("class")


@pytest.fixture(scope="module")
def told_and_trained(table, tmp_path_factory):
    told = []
    repository = Repository(tmp_path_factory.mktemp("repository"))
    return told, train(table, config_for(), name="m", repository=repository, callbacks=[told.append])


def test_the_history_has_a_row_for_each_look_with_what_the_callback_was_told(told_and_trained):
    told, trained = told_and_trained
    history = history_of(trained.model)
    assert tuple(history.columns) == ("epoch", "train_loss", "validation_loss", "learning_rate", "seconds", "best")
    assert history.rows() == [tuple(progress.look) for progress in told] == list(trained.fit.history)
    assert history["epoch"].to_list() == [1, 2, 3]
    assert history["seconds"].is_sorted()


def test_the_last_best_row_is_the_one_whose_weights_are_kept(told_and_trained):
    history = history_of(told_and_trained[1].model)
    best = history.filter(history["best"])
    assert best["epoch"][-1] == told_and_trained[1].fit.best_epoch
    assert best["validation_loss"][-1] == history["validation_loss"].min() == told_and_trained[1].fit.validation_loss


def test_the_history_is_a_file_of_the_version_and_guarded_like_any_other(told_and_trained):
    model = told_and_trained[1].model
    content = (model.path / "history.csv").read_bytes()
    assert json.loads((model.path / "model.json").read_text())["files"]["history.csv"] == (
        hashlib.sha256(content).hexdigest()
    )
    (model.path / "history.csv").write_bytes(content + b"4,0,0,0,0,true\n")
    with pytest.raises(ModelRefused, match=r"history\.csv is not the file that was published"):
        history_of(model)
    (model.path / "history.csv").write_bytes(content)


def test_a_version_from_before_histories_has_an_empty_one(tmp_path):
    model = Repository(tmp_path).publish("old", handmade.manifest(), {"model.onnx": handmade.graph()})
    assert (history_of(model).height, tuple(history_of(model).columns)) == (0, COLUMNS)


def test_a_history_is_written_as_plain_text():
    looks = [Look(1, 0.5, 0.25, 2e-3, 1.5, best=True), Look(2, 1 / 3, 0.3, 1e-300, 2.0, best=False)]
    assert to_csv(looks).decode() == (
        "epoch,train_loss,validation_loss,learning_rate,seconds,best\n"
        "1,0.5,0.25,0.002,1.5,true\n"
        "2,0.3333333333333333,0.3,1e-300,2.0,false\n"
    )


def test_fits_of_several_seeds_follow_one_another_and_seconds_go_on(table, tmp_path):
    told = []
    config = config_for(fit={"seeds": 2, "epochs": 2})
    trained = train(table, config, name="m", repository=Repository(tmp_path), callbacks=[told.append])
    history = history_of(trained.model)
    assert history["epoch"].to_list() == [1, 2, 1, 2]
    assert history["seconds"].is_sorted()
    assert [progress.seconds for progress in told] == history["seconds"].to_list()


def test_a_callback_that_says_so_ends_the_fit_and_the_best_is_published(table, tmp_path):
    seen = []
    trained = train(
        table,
        config_for(fit={"epochs": 50, "seeds": 3}),
        name="m",
        repository=Repository(tmp_path),
        callbacks=[lambda progress: seen.append(progress) or len(seen) >= 3, lambda progress: None],
    )
    assert [progress.epoch for progress in seen] == [1, 2, 3]
    assert (trained.summary()["stopped"], trained.summary()["epochs"], trained.model.manifest.version) == (
        *("interrupted", 3, 1),
    )
    assert trained.fit.validation_loss == min(progress.validation_loss for progress in seen)


def test_what_a_callback_raises_ends_the_fit_and_nothing_is_published(table, tmp_path):
    def broken(progress):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match=r"^mine$"):
        train(table, config_for(), name="m", repository=Repository(tmp_path / "r"), callbacks=[broken])
    assert not (tmp_path / "r").exists()
