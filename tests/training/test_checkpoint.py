"""A fit that ended in the middle goes on as if it never had; and a checkpoint of something else is refused."""

from __future__ import annotations

import os
import signal

import pytest

from rowcast.models import Repository
from rowcast.models.errors import ConfigError, TrainingError
from rowcast.training.config import make_config
from rowcast.training.fit import checkpoint as checkpoints
from rowcast.training.train import train
from tests.support import tables

FIELDS = {
    **tables.QUICK,
    "fit": {"seeds": 2, "epochs": 2, "batch_size": 64},
    "augment": {"swap": 0.1},
    "data": {"target": "amount"},
}


@pytest.fixture(scope="module")
def table():
    return tables.every_kind(200).drop("class")


@pytest.fixture(autouse=True)
def every_look_is_kept(monkeypatch):
    """And an epoch has two."""
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    monkeypatch.setattr("rowcast.training.fit.loop.LOOK_ROWS", 64)


class Killed(Exception):
    """Stands for the end of the process."""


def fitted(table, folder, at=None, fields=FIELDS, **more):
    """Train; ``at``: be killed in that look, counted from 0."""
    looks = []

    def kill(progress):
        looks.append(progress)
        if at is not None and len(looks) > at:
            raise Killed

    return train(
        table, make_config(overrides=fields), name="m", repository=Repository(folder), callbacks=[kill], **more
    )


def hashes(trained):
    return {name: trained.model.manifest.files[name] for name in ("model.onnx", "weights.safetensors")}


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rowcast.training.fit.loop.LOOK_ROWS", 64)
        return fitted(table, tmp_path_factory.mktemp("whole"))


def test_a_fit_that_was_killed_in_any_look_goes_on_to_the_same_bits(table, whole, tmp_path):
    folder = tmp_path / "checkpoint"
    kept = {"checkpoint": folder, "resume": True}
    for at in (0, 1, 3, 1):  # of the looks that are left: before anything is kept, within an epoch, in the next fit
        with pytest.raises(Killed):
            fitted(table, tmp_path / "r", at=at, **kept)
    trained = fitted(table, tmp_path / "r", **kept)
    assert hashes(trained) == hashes(whole)
    losses = [(look.epoch, look.train_loss, look.validation_loss, look.best) for look in trained.fit.history]
    assert losses == [(look.epoch, look.train_loss, look.validation_loss, look.best) for look in whole.fit.history]
    assert trained.model.manifest.version == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("optimizer", ["muon", "nadam", "rmsprop"])
def test_whatever_the_optimizer_a_plateau_and_statistics_of_batches_go_on_to_the_same_bits(table, tmp_path, optimizer):
    plateau = {"name": optimizer, "lr": 0.5, "schedule": "plateau", "plateau_patience": 1}
    fields = FIELDS | {"optimizer": plateau, "fit": {"epochs": 3, "batch_size": 64}}
    fields["network"] = {**tables.QUICK["network"], "normalisation": "batch"}
    whole = fitted(table, tmp_path / "whole", fields=fields)
    assert len({look.learning_rate for look in whole.fit.history}) > 1
    kept = {"fields": fields, "checkpoint": tmp_path / "checkpoint", "resume": True}
    with pytest.raises(Killed):
        fitted(table, tmp_path / "r", at=3, **kept)
    assert hashes(fitted(table, tmp_path / "r", **kept)) == hashes(whole)


def test_a_fit_that_a_signal_ended_is_published_and_goes_on_to_the_same_bits(table, whole, tmp_path):
    said = []
    kept = {"checkpoint": tmp_path / "c", "resume": True, "say": said.append}
    config = make_config(overrides=FIELDS)
    looks = []

    def end(progress):
        looks.append(progress)
        if len(looks) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    repository = Repository(tmp_path / "r")
    ended = train(table, config, name="m", repository=repository, callbacks=[end], **kept)
    assert (ended.summary()["stopped"], ended.ended_by, ended.model.manifest.version) == ("interrupted", "SIGTERM", 1)
    assert said[-1] == f"the checkpoint in {tmp_path / 'c'} is kept: to go on with the fit, add --resume"
    assert hashes(ended) != hashes(whole)
    assert hashes(fitted(table, tmp_path / "r", **kept)) == hashes(whole)
    assert list((tmp_path / "c").iterdir()) == []


@pytest.fixture
def kept(table, tmp_path):
    """A checkpoint that a fit left which was killed in its second look."""
    with pytest.raises(Killed):
        fitted(table, tmp_path / "r", at=1, checkpoint=tmp_path / "c")
    return tmp_path / "c"


def test_a_checkpoint_of_another_config_or_table_is_refused_with_what_differs(table, kept, tmp_path):
    fields = {**FIELDS, "fit": {**FIELDS["fit"], "epochs": 3}, "seed": 1}
    with pytest.raises(TrainingError, match=r"seed is 1 here and 0 there, fit\.epochs is 3 here and 2 there; go on"):
        fitted(table, tmp_path / "r", fields=fields, checkpoint=kept, resume=True)
    with pytest.raises(TrainingError, match="the number of training rows is 122 here and 128 there, the number"):
        fitted(table.head(190), tmp_path / "r", checkpoint=kept, resume=True)
    assert Repository(tmp_path / "r").names() == []


def test_a_checkpoint_that_nobody_asked_to_resume_is_refused(table, kept, tmp_path):
    with pytest.raises(ConfigError, match=r"holds one: to go on with it, add --resume; to start anew, `rm .*json'`"):
        fitted(table, tmp_path / "r", checkpoint=kept)


def test_a_damaged_file_of_a_checkpoint_is_named_with_the_way_out(table, kept, tmp_path):
    file = kept / "fit.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:200], b"", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        file.write_bytes(damaged)
        with pytest.raises(
            TrainingError, match=r"fit\.safetensors is not: .*; to start anew, `rm .*checkpoint\.json'`"
        ):
            fitted(table, tmp_path / "r", checkpoint=kept, resume=True)
    file.write_bytes(whole)
    (kept / "checkpoint.json").write_text("{")
    with pytest.raises(TrainingError, match=r"checkpoint\.json is not: "):
        fitted(table, tmp_path / "r", checkpoint=kept, resume=True)


def test_resuming_where_there_is_no_checkpoint_starts_anew_and_says_so(table, whole, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    trained = fitted(table, tmp_path / "r", checkpoint=tmp_path, resume=True)
    assert f"there was no checkpoint in {tmp_path}: the fit started anew" in trained.model.manifest.decisions
    assert hashes(trained) == hashes(whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.txt", "r"]


def test_one_process_at_a_time_trains_with_a_checkpoint(table, tmp_path):
    with checkpoints.open_checkpoint(tmp_path, resume=True), pytest.raises(TrainingError, match="another does with"):
        fitted(table, tmp_path / "r", checkpoint=tmp_path, resume=True)


def test_a_checkpoint_that_cannot_be_kept_is_refused_before_the_table_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "c"):
        with pytest.raises(TrainingError, match=r"in a folder that one may write, got .*; choose another with --check"):
            fitted(tmp_path / "absent.csv", tmp_path / "r", checkpoint=folder)
    with pytest.raises(ConfigError, match="a fit is resumed from a folder: name it with --checkpoint"):
        fitted(tmp_path / "absent.csv", tmp_path / "r", resume=True)


def test_a_run_that_failed_before_its_fit_leaves_no_folder(tmp_path, table):
    with pytest.raises(Exception, match="absent"):
        fitted(tmp_path / "absent.csv", tmp_path / "r", checkpoint=tmp_path / "c", resume=True)
    assert not (tmp_path / "c").exists()
