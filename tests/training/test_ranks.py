"""Several processes that train one model together, as torchrun starts them."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest
import torch

from rowcast.models import Repository
from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.network.network import BatchNorm
from rowcast.training.ranks.environment import check_alone, place_of_environment
from rowcast.training.ranks.ranks import ALONE
from rowcast.training.ranks.together import Together
from rowcast.training.train import train
from tests.support import tables, together

SETTINGS = ["network.layers=[16]", "network.members=2", "network.dropout=0"]
SETTINGS += ["fit.epochs=2", "fit.seeds=2", "fit.refit=true", "data.weight=count"]
LONG = ["fit.epochs=100000", "fit.patience=100000", "network.layers=[16]", "network.members=2"]


def command(table, folder, *settings, target="amount"):
    chosen = [part for setting in settings for part in ("--set", setting)]
    return ["train", str(table), "--target", target, "--name", "m", "--repository", str(folder), *chosen]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What became of fits by two processes, and the folder of their files."""
    folder = tmp_path_factory.mktemp("ranks")
    frame = tables.every_kind(300).drop("class")
    frame.write_csv(folder / "table.csv")
    frame.head(299).write_csv(folder / "shorter.csv")
    table, shorter = folder / "table.csv", folder / "shorter.csv"

    def both(name, *settings):
        return {"commands": [command(table, folder / name, *settings)] * 2}

    scenarios = {
        "whole": both("whole", *SETTINGS),
        "killed": both("killed", *LONG) | {"signal": signal.SIGKILL, "to": 1},
        "ended": both("ended", *LONG) | {"signal": signal.SIGTERM, "to": 1},
        "version": both("version") | {"version": "0.0.0"},
        "table": {"commands": [command(one, folder / "table") for one in (table, shorter)]},
        "target": {"commands": [command(table, folder / "target", target="nothing")] * 2},
    }
    return folder, together.run(scenarios, tmp_path_factory.mktemp("printed"))


def test_two_processes_train_the_model_that_one_does(ran, tmp_path):
    folder, found = ran
    assert found["whole"]["codes"] == [0, 0], found["whole"]["err"]
    config = make_config(settings=[*SETTINGS, "data.target=amount"])
    alone = train(folder / "table.csv", config, name="m", repository=Repository(tmp_path)).model
    two = Repository(folder / "whole").open("m")
    for part in ("validation", "test"):
        assert two.manifest.metrics[part] == pytest.approx(alone.manifest.metrics[part], rel=1e-5)


def test_process_0_alone_publishes_and_tells_and_says_in_the_decisions_that_there_were_two(ran):
    folder, found = ran
    repository = Repository(folder / "whole")
    assert repository.versions("m") == [1]
    assert found["whole"]["err"][1] == found["whole"]["out"][1] == ""
    assert "epoch 2/2" in found["whole"]["err"][0]
    told = "2 processes trained together, each on its part of every batch: dropout and augmentation draw "
    assert f"{told}otherwise than in one, so its weights are not quite these" in repository.open("m").manifest.decisions


def test_a_process_that_dies_ends_the_other_with_one_line_and_nothing_published(ran):
    folder, found = ran
    assert found["killed"]["codes"] == [1, -signal.SIGKILL]
    lines = [line for line in found["killed"]["err"][0].splitlines() if not line.startswith("epoch ")]
    assert lines == ["rowcast: process 1 of 2 died; nothing was published"]
    assert Repository(folder / "killed").names() == []


def test_a_signal_to_one_process_ends_the_fit_of_all_and_the_best_is_published(ran):
    folder, found = ran
    assert found["ended"]["codes"] == [0, 0], found["ended"]["err"]
    decisions = Repository(folder / "ended").open("m").manifest.decisions
    assert any(decision.startswith("the fit was ended by SIGTERM in epoch ") for decision in decisions)


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("version", 'process 1 of 2 does not: Rowcast is "0.0.0" in process 1 and '),
        ("table", "process 1 of 2 does not: the number of training rows is 191 in process 1 and 192 in process 0, "),
        ("target", "has no column 'nothing'"),
    ],
)
def test_processes_that_cannot_train_the_same_all_end_with_one_line(ran, scenario, line):
    folder, found = ran
    lines = [text for err in found[scenario]["err"] for text in err.splitlines()]
    assert [line in one for one in lines] == [True], lines
    assert 0 not in found[scenario]["codes"]
    assert Repository(folder / scenario).names() == []


# ─── without processes ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, "WORLD_SIZE=2 tells of several processes, and RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT must tell"),
        (
            {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "a"},
            "WORLD_SIZE=2 tells of several processes, and MASTER_",
        ),
        ({"RANK": "two"}, "WORLD_SIZE=2 tells of several processes, and LOCAL_RANK, MASTER_ADDR and MASTER_PORT must "),
    ],
)
def test_a_world_of_several_processes_must_say_which_this_is(monkeypatch, variables, line):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        place_of_environment()
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("size", [None, "1", ""])
def test_one_process_is_alone(monkeypatch, size):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert place_of_environment() is None


def test_under_torchrun_python_and_other_commands_are_told_to_run_alone(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError) as caught:
        check_alone("rowcast.fit")
    assert str(caught.value) == ("torchrun is for `rowcast train`, got rowcast.fit: start it without, as one process")


def test_a_signal_that_another_process_told_of_is_followed_by_the_first_of_its_own():
    interrupt = Interrupt()
    interrupt.begun = True
    interrupt.tell(signal.SIGINT)
    interrupt._on_signal(signal.SIGINT, None)
    assert interrupt.name == "Ctrl-C"
    with pytest.raises(KeyboardInterrupt):
        interrupt._on_signal(signal.SIGINT, None)


def test_batches_in_parts_are_normalised_as_one():
    """Both parts see the sums of the whole, and so do their gradients."""
    torch.manual_seed(0)
    x = torch.randn(2, 12, 3)
    whole = BatchNorm(2, 3)
    parts = [x[:, :5].clone().requires_grad_(), x[:, 5:].clone().requires_grad_()]
    both = BatchNorm(2, 3)
    sums = iter([torch.tensor(12.0), x.sum(dim=1, keepdim=True), ((x - x.mean(1, True)) ** 2).sum(1, True)])
    both.total = lambda _: next(sums)
    torch.testing.assert_close(both(parts[0]), whole(x)[:, :5])
    torch.testing.assert_close(both.running_var, whole.running_var)


def test_alone_everything_is_ones_own():
    assert (ALONE.leads, ALONE.said(2.0), ALONE.part(7), ALONE.bounds(3, 5)) == (True, 2.0, slice(0, 7), (3, 5))


def test_every_row_is_in_the_part_of_one_process():
    group = [Together(SimpleNamespace(rank=rank, size=3), rank) for rank in range(3)]
    assert [one.bounds(200, 300) for one in group] == [(200, 233), (233, 266), (266, 300)]
    assert [one.part(2) for one in group] == [slice(0, 2)] * 3  # fewer rows than processes: each answers all
    with pytest.raises(ConfigError) as caught:
        group[0].check_batch(2)
    assert str(caught.value) == (
        "a batch must hold a row for each of 3 processes, got 2: start fewer, or add --set fit.batch_size=3"
    )
