"""A study is gone on with by whoever comes next, and loses nothing that is finished."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from rowcast.models.errors import ConfigError, TrainingError
from rowcast.training.config import make_config
from rowcast.training.tune.space_reading import space_of
from rowcast.training.tune.study.owners import born
from rowcast.training.tune.study.storage import open_storage
from rowcast.training.tune.study.study import Room, open_study

SPACE = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "network.members": [1, 2, 8]}
ABOUT = {"table": {"rows": 100}}


def opened(where, *, name="s", about=ABOUT, space=SPACE):
    config = make_config(overrides={"tune": {"space": space}})
    found = space_of(config)
    return open_study(open_storage(where), name, about, found, found.starts(config)[:1], 0)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "s.journal"


def run(study, wanted=None, value=1.0):
    """Ask, try, tell; the number of the trial, and what it tried."""
    trial = study.ask(wanted)
    assert not isinstance(trial, Room)
    values = study.values(trial)
    study.finish(trial, value, 0.5)
    return trial.number, values


def gone():
    """The number of a process that is over."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_study_goes_on_with_what_it_holds(journal):
    study = opened(journal)
    told = [run(study, value=value) for value in (3.0, 1.0, 2.0)]
    again = opened(journal)
    assert [(record.number, record.values) for record in again.finished()] == told
    assert [record.value for record in again.finished()] == [3.0, 1.0, 2.0]
    assert [record.origin for record in again.finished()] == ["as given", "", ""]
    assert told[0][1] == {"optimizer.lr": 2e-3, "network.members": 8}


def test_neither_a_restart_nor_a_second_process_samples_what_was_sampled_before(journal):
    first, second = opened(journal), opened(journal)
    rates = [run(study)[1]["optimizer.lr"] for study in (first, second, first, opened(journal), second)]
    assert len(set(rates)) == 5


def test_nothing_is_tried_twice_while_there_is_something_else(journal):
    study = opened(journal, space={"network.members": [1, 2, 4, 8]})
    tried = [run(study)[1]["network.members"] for _ in range(6)]
    assert sorted(tried[:4]) == [1, 2, 4, 8]
    assert len(study.finished()) == 6


def test_the_trial_of_a_process_that_is_gone_is_tried_again_and_is_not_counted(journal):
    dead = opened(journal)
    run(dead)
    dead._owner = dead._owner | {"process": gone()}
    trial = dead.ask(3)
    values = dead.values(trial)
    study = opened(journal)
    again = study.ask(3)
    assert study.values(again) == values
    study.finish(again, 1.0, 0.0)
    assert [record.number for record in study.finished()] == [0, again.number]
    assert again.number > trial.number


def test_a_number_that_another_process_bears_by_now_does_not_keep_a_trial_alive(journal):
    dead = opened(journal)
    dead._owner = dead._owner | {"born": "0"}
    dead.values(dead.ask(1))
    assert run(opened(journal), 1)[1] == {"optimizer.lr": 2e-3, "network.members": 8}


def test_the_trial_of_another_machine_is_left_to_it_while_it_gives_signs_of_life(journal):
    other = opened(journal)
    other._owner = {"machine": "another", "process": 1, "born": "1"}
    trial = other.ask(2)
    values = other.values(trial)
    study = opened(journal)
    run(study, 2)
    assert study.ask(2) is Room.WAIT
    trial.set_user_attr("beat", time.time() - 3600)
    again = study.ask(2)
    assert (study.values(again), again.number) == (values, 2)


def test_trials_of_all_processes_are_counted_together(journal):
    first, second = opened(journal), opened(journal)
    one, two = first.ask(2), second.ask(2)
    assert (first.ask(2), second.ask(2)) == (Room.WAIT, Room.WAIT)
    first.values(one)
    second.values(two)
    first.finish(one, 1.0, 0.0)
    second.give_back(two)
    run(first, 2)
    assert (first.ask(2), second.ask(2)) == (Room.NONE, Room.NONE)
    assert len(second.finished()) == 2


def test_processes_that_are_at_work_on_a_machine_share_its_threads(journal):
    me, gone_by = opened(journal), opened(journal)
    assert me.crowd() == 1
    gone_by._owner = gone_by._owner | {"process": gone()}
    run(gone_by)
    assert me.crowd() == 1
    parent = opened(journal)
    parent._owner = parent._owner | {"process": os.getppid(), "born": born(os.getppid())}
    run(parent)
    assert (me.crowd(), parent.crowd()) == (2, 1)
    run(me)
    assert parent.crowd() == 2


def test_values_that_end_their_process_each_time_are_not_tried_for_ever(journal):
    tried = []
    for _ in range(6):
        study = opened(journal)
        study._owner = study._owner | {"process": gone()}
        tried.append(study.values(study.ask(9))["optimizer.lr"])
    assert tried[:4] == [2e-3] * 4
    assert 2e-3 not in tried[4:]


def test_a_trial_far_behind_the_others_is_ended_at_a_rung_once_there_are_some(journal):
    import optuna

    study = opened(journal)
    ended = []
    for value in (5.0, 4.0, 6.0, 7.0, 6.5, 3.0):
        trial = study.ask(None)
        study.values(trial)
        try:
            study.rung(trial, 12, value)
            study.finish(trial, value, 0.0)
        except optuna.TrialPruned as pruned:
            ended.append(value)
            study.prune(trial, str(pruned), 0.0)
    assert ended == [6.5]
    assert [(r.value, r.why) for r in study.finished() if r.pruned] == [(6.5, "after 12%")]


def test_a_study_of_something_else_is_refused_with_what_differs_and_stays_as_it_was(journal):
    run(opened(journal))
    before = journal.read_bytes()
    with pytest.raises(TrainingError, match=r"table\.rows is 120 here and 100 there"):
        opened(journal, about={"table": {"rows": 120}})
    with pytest.raises(TrainingError, match=r"space\.network\.members is \[1, 8\] here and \[1, 2, 8\] there"):
        opened(journal, space=SPACE | {"network.members": [1, 8]})
    assert journal.read_bytes() == before
    assert len(opened(journal).finished()) == 1


def test_a_line_that_a_kill_has_cut_off_is_taken_away(journal):
    run(opened(journal))
    whole = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(whole.splitlines()[-1][:20])
    study = opened(journal)
    assert len(study.finished()) == 1
    run(study)
    assert journal.read_bytes()[: len(whole)] == whole
    assert len(opened(journal).finished()) == 2


def test_a_lock_whose_holder_was_killed_stops_nobody(journal):
    code = (
        "import os, sys; from pathlib import Path; from rowcast.training.tune.study.storage import Journal; "
        "Journal(Path(sys.argv[1])).exclusive.acquire(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(journal)], check=False).returncode == -9
    run(opened(journal))
    assert len(opened(journal).finished()) == 1


def test_a_pipe_in_the_place_of_a_journal_is_not_waited_for(journal):
    os.mkfifo(journal)
    with pytest.raises(TrainingError, match=r"a study needs a file that it can write, but .*: it is not a plain file;"):
        opened(journal)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"a", b'{"rows": 1}'])
def test_a_file_that_is_no_journal_is_refused_and_stays_as_it_is(journal, content):
    journal.write_bytes(content)
    with pytest.raises(TrainingError, match=r"is kept in a journal of its own, but .* holds something else"):
        opened(journal)
    assert journal.read_bytes() == content


def test_a_damaged_journal_is_refused(journal):
    run(opened(journal))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"\x00" * 40 + b"\n" + b"".join(lines[2:]))
    with pytest.raises(TrainingError, match="is damaged"):
        opened(journal)


def test_a_database_keeps_a_study_as_a_journal_does(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    run(opened(url))
    study = opened(url)
    run(study, value=0.5)
    assert [record.value for record in opened(url).finished()] == [1.0, 0.5]
    with pytest.raises(TrainingError, match="120 here and 100 there"):
        opened(url, about={"table": {"rows": 120}})


@pytest.mark.parametrize(
    ("where", "error", "sentence"),
    [
        ("sqlite:////nowhere/at/all/s.db", TrainingError, "unable to open database file; nothing was tried"),
        ("postgresql://me:secret@127.0.0.1:1/s", ConfigError, "pip install 'psycopg2-binary'"),
        ("postgresql://host:port/s", ConfigError, "--storage takes the URL of a database"),
        ("sqlite://", ConfigError, "which is in memory: name its file, such as"),
        ("sqlite:///:memory:", ConfigError, "which is in memory: name its file"),
        ("redis://host", ConfigError, "--storage takes a file, or the URL of a database that begins with one of"),
        (os.devnull + "/s.journal", TrainingError, "a study needs a file that it can write"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_a_line_without_its_password(where, error, sentence):
    with pytest.raises(error) as refused:
        opened(where)
    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_storage_that_goes_away_is_told_and_what_it_holds_is_intact(tmp_path):
    journal = tmp_path / "sub" / "s.journal"
    study = opened(journal)
    run(study)
    journal.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(
        TrainingError, match="can no longer be used: No such file or directory; what it holds is intact"
    ):
        study.ask(None)
    (tmp_path / "elsewhere").rename(journal.parent)
    assert len(opened(journal).finished()) == 1


def test_the_tools_of_optuna_read_a_study(journal):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    run(opened(journal), value=0.25)
    backend = JournalFileBackend(str(journal))
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    assert (study.best_value, study.best_trial.params["network.members"]) == (0.25, "8")
    study.set_user_attr("note", "seen")  # its own lock is free
    assert opened(journal).finished()[0].value == 0.25
