"""A study is gone on with by whoever comes next, and loses nothing that is finished."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rowcast.models.errors import ConfigError, TrainingError
from rowcast.training.config import make_config
from rowcast.training.tune.space_reading import space_of
from rowcast.training.tune.study.opening import open_study
from rowcast.training.tune.study.owners import LAST_SILENT_S, born, is_alive
from rowcast.training.tune.study.storage import open_storage
from rowcast.training.tune.study.study import Room

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


@pytest.mark.parametrize(
    ("space", "configs"),
    [
        ({"network.members": [1, 2, 4, 8]}, 4),
        ({"network.dropout": {"low": 0.0, "high": 0.3, "step": 0.1}}, 4),  # one of these is what the config gives
        ({"network.layers": {"depth": [1, 2], "width": {"low": 8, "high": 16, "step": 8}, "or": [[512] * 3]}}, 6),
        ({"network.members": {"low": 2, "high": 4, "or": [8]}, "network.activation": ["relu", "mish"]}, 8),
    ],
)
def test_a_space_that_has_an_end_is_tried_once_and_then_there_is_no_room(journal, space, configs):
    study = opened(journal, space=space)
    assert len(study.configs) == configs
    tried = []
    while not isinstance(trial := study.ask(None), Room):
        tried.append(str(study.values(trial)))
        study.finish(trial, float(len(tried) % 3), 0.0)
    assert trial is Room.ALL
    assert len(set(tried)) == len(tried) == configs
    assert study.is_exhausted()
    assert max(record.number for record in study.finished()) < 5 * configs
    assert opened(journal, space=space).ask(None) is Room.ALL


def test_a_space_whose_last_config_another_process_is_at_is_waited_for(journal):
    space = {"network.members": [1, 8]}
    first, second = opened(journal, space=space), opened(journal, space=space)
    run(first)
    trial = first.ask(None)
    first.values(trial)
    assert second.ask(None) is Room.WAIT
    first.give_back(trial)
    run(second)
    assert second.ask(None) is Room.ALL


def test_a_space_of_ranges_has_no_end(journal):
    assert opened(journal).configs is None
    assert opened(journal.with_name("t"), space={"fit.row_visits": {"low": 1000, "high": 10**6}}).configs is None


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
    (told,) = study.waited_for()
    assert told.startswith(
        "trial 0 is under way in process 1 of 'another', last heard of 0 s ago, and is tried here once"
    )
    trial.set_user_attr("beat", time.time() - LAST_SILENT_S - 1)
    other = study.ask(3)  # while there is something else to try, it has more time
    assert study.values(other) != values
    study.finish(other, 1.0, 0.0)
    again = study.ask(3)
    assert study.values(again) == values


def test_the_trial_of_this_machine_before_it_was_started_anew_is_nobodys(journal):
    study = opened(journal)
    host, boot, space = study._owner["machine"].split(maxsplit=2)
    trial = study.ask(1)
    for machine, beat, lives in (
        (f"{host} {boot[::-1]} {space}", 1e9, False),
        (f"{host} {boot[::-1]} {space}", time.time(), True),  # another machine of this name
        (f"{host}x {boot[::-1]} {space}", 1e9, True),
        (f"{host} {boot} {space}x", 1e9, True),  # another container of this one
    ):
        trial.set_user_attr("owner", study._owner | {"machine": machine})
        trial.set_user_attr("beat", beat)
        assert is_alive(study._frozen(trial), study._owner, math.inf) is lives


def test_what_another_machine_says_of_a_trial_that_was_taken_from_it_counts_for_nothing(journal):
    import optuna

    other, study = opened(journal), opened(journal)
    other._owner = {"machine": "another", "process": 1, "born": "1"}
    trial = other.ask(1)
    other.values(trial)
    trial.set_user_attr("beat", time.time() - 3600)
    run(study, 1, value=2.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        other.finish(trial, 1.0, 0.0)
    assert [record.value for record in study.finished()] == [2.0]


def test_a_start_that_two_processes_ask_for_at_once_is_not_lost(journal):
    first, second = opened(journal), opened(journal)
    run(first)
    first._study.enqueue_trial(
        first.space.asked({"optimizer.lr": 0.05, "network.members": 2}), user_attrs={"start": "x"}
    )
    second._is_within = lambda *_: False  # the other one was faster
    assert second.ask(2) is Room.WAIT
    assert run(first, 2)[1] == {"optimizer.lr": 0.05, "network.members": 2}
    assert first.finished()[-1].origin == "x"


def test_starts_that_a_shorter_time_cut_short_are_tried_once_more_when_there_is_more(journal):
    study = opened(journal)
    starts = [("as given", {"optimizer.lr": 2e-3, "network.members": 8})]
    trial = study.ask(None, 4.0)
    study.values(trial)
    study.finish(trial, 3.0, 4.0, cut_short=True)
    run(study)
    assert [(r.limit_s, r.cut_short) for r in study.finished()] == [(4.0, True), (math.inf, False)]
    assert study.redo(starts, 5.0) == 0
    assert study.redo(starts, 60.0) == 1
    assert study.redo(starts, 60.0) == 0
    again = opened(journal).ask(None, 60.0)
    assert study.values(again) == starts[0][1]
    study.finish(again, 1.0, 30.0)
    assert [(r.value, r.limit_s) for r in study.finished() if r.origin] == [(3.0, 4.0), (1.0, 60.0)]
    assert study.redo(starts, 600.0) == 0


def test_a_trial_is_compared_at_a_rung_with_those_that_had_as_much_time(journal):
    study = opened(journal)
    for value in (1.0, 1.1, 1.2, 1.3):
        trial = study.ask(None, 60.0)
        assert at_rung(study, trial, 12, value)
        study.finish(trial, value, 0.0)
    short, alike = study.ask(None, 10.0), study.ask(None, 50.0)
    assert at_rung(study, short, 12, 5.0)
    assert not at_rung(study, alike, 12, 5.0)


@pytest.mark.parametrize("scheme", ["journal", "sqlite"])
def test_a_study_of_something_else_in_which_nothing_is_finished_begins_anew(tmp_path, scheme):
    where = tmp_path / "s.journal" if scheme == "journal" else f"sqlite:///{tmp_path}/s.db"
    opened(where)
    study = opened(where)
    study.values(lost := study.ask(None))
    with pytest.raises(TrainingError, match="is of others"):  # somebody is at it
        opened(where, about={"table": {"rows": 120}})
    study.give_back(lost)
    again = opened(where, about={"table": {"rows": 120}}, space={"network.members": [1, 2]})
    assert (again.is_new_again, study.is_new_again) == (True, False)
    assert run(again)[1] == {"network.members": 8}
    assert not opened(where, about={"table": {"rows": 120}}, space={"network.members": [1, 2]}).is_new_again
    with pytest.raises(TrainingError, match="is of others"):
        opened(where)


def test_a_study_that_another_process_has_just_opened_does_not_begin_anew_until_that_is_gone(journal):
    code = (
        "import sys, time; from pathlib import Path; from tests.tune.test_study import opened; "
        "opened(Path(sys.argv[1])); print('opened', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2]) as other:
        assert other.stdout.readline() == b"opened\n"
        with pytest.raises(TrainingError, match="is of others"):  # its first trial is about to begin
            opened(journal, about={"table": {"rows": 120}})
        other.kill()
    assert opened(journal, about={"table": {"rows": 120}}).is_new_again


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


def at_rung(study, trial, percent, value):
    """Whether a trial passes a rung."""
    import optuna

    study.values(trial)
    try:
        study.rung(trial, percent, value)
    except optuna.TrialPruned as pruned:
        study.prune(trial, str(pruned), 0.0)
        return False
    return True


def test_a_trial_that_was_killed_has_no_say_at_the_rung_where_it_is_tried_again(journal):
    study = opened(journal)
    for value in (1.0, 1.1, 1.2, 1.3):
        trial = study.ask(None)
        assert at_rung(study, trial, 12, value)
        study.finish(trial, value, 0.0)
    for _ in range(3):  # the best of all, whose process is gone each time
        dead = opened(journal)
        dead._owner = dead._owner | {"process": gone()}
        assert at_rung(dead, dead.ask(None), 12, 0.5)
    study = opened(journal)
    assert at_rung(study, study.ask(None), 12, 0.5)
    assert not at_rung(study, study.ask(None), 12, 1.25)


def test_a_trial_passes_the_rung_again_that_it_had_passed_before_its_process_was_gone(journal):
    dead, study = opened(journal), opened(journal)
    dead._owner = dead._owner | {"process": gone()}
    trial = dead.ask(None)
    assert at_rung(dead, trial, 12, 5.0)  # the first to come there
    for value in (1.0, 1.1, 1.2, 1.3):
        ahead = study.ask(None)
        if ahead.number == 1:  # the repetition: keep it for the end
            first = ahead
            ahead = study.ask(None)
        assert at_rung(study, ahead, 12, value)
        assert at_rung(study, ahead, 36, value)
        study.finish(ahead, value, 0.0)
    assert study.values(first) == dead.values(trial)
    assert at_rung(study, first, 12, 5.0)
    assert not at_rung(study, first, 36, 5.0)


def test_after_kills_the_same_is_tried_as_without_them(tmp_path):
    def all_of(where, *, killed):
        tried = []
        for number in range(14):
            study = opened(where)
            if number in killed:
                dead = opened(where)
                dead._owner = dead._owner | {"process": gone()}
                ghost = dead.ask(None)
                ghost.report(abs(dead.values(ghost)["optimizer.lr"] - 0.02), 12)
            trial = study.ask(None)
            values = study.values(trial)
            value = abs(values["optimizer.lr"] - 0.02)
            tried.append((values, at_rung(study, trial, 12, value)))
            if tried[-1][1]:
                study.finish(trial, value, 0.0)
        return tried

    undisturbed = all_of(tmp_path / "one", killed=())
    assert all_of(tmp_path / "two", killed=(0, 3, 4, 11, 12)) == undisturbed
    assert {passed for _, passed in undisturbed} == {True, False}


def test_a_study_of_something_else_is_refused_with_what_differs_and_stays_as_it_was(journal):
    run(opened(journal))
    before = journal.read_bytes()
    with pytest.raises(TrainingError, match=r"others: rows is 120 here and 100 there"):
        opened(journal, about={"table": {"rows": 120}})
    with pytest.raises(TrainingError, match=r"network\.members is searched in \[1, 8\] here and in \[1, 2, 8\] there"):
        opened(journal, space=SPACE | {"network.members": [1, 8]})
    with pytest.raises(TrainingError) as refused:
        opened(journal, space={"network.layers": {"depth": [1, 2], "width": [8, 16]}})
    told = (
        "optimizer.lr is searched there and not here, network.members is searched there and not here, network.layers "
        "is searched here and not there; go on"
    )
    assert told in str(refused.value)
    assert journal.read_bytes() == before
    assert len(opened(journal).finished()) == 1


def test_a_table_that_has_changed_is_told_with_its_rows_and_no_digest(journal):
    there = {"rows": 600, "the number of its test rows": 120, "SHA-256": "ab" * 32, "folds": None}
    run(opened(journal, about={"table": there, "config": {"fit": {"epochs": 3}}}))
    here = there | {"rows": 1601, "the number of its test rows": 320, "SHA-256": "cd" * 32}
    with pytest.raises(TrainingError) as refused:
        opened(journal, about={"table": here, "config": {"fit": {"patience": 4}}})
    told = (
        "is of others: the table's content has changed: it holds 1,601 rows here and 600 there, fit.epochs is the "
        "default here and 3 there, fit.patience is 4 here and the default there; go on"
    )
    assert told in str(refused.value)


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
        ("postgresql://me:secret@127.0.0.1:1/s", ConfigError, "needs the module psycopg, which is not installed: pip"),
        ("postgres://me:secret@127.0.0.1:1/s", ConfigError, "pip install 'psycopg[binary]'"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/s", ConfigError, "pip install 'psycopg[binary]'"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:1/s", ConfigError, "pip install 'psycopg2-binary'"),
        ("mysql://me:secret@127.0.0.1:1/s", ConfigError, "needs the module MySQLdb, which is not installed: pip"),
        ("mysql+pymysql://me:secret@127.0.0.1:1/s", ConfigError, "pip install 'pymysql'"),
        ("postgresql+asyncpg://me:secret@127.0.0.1:1/s", ConfigError, "got 'postgresql+asyncpg://...'"),
        ("postgresql://me:secret@host:port/s", ConfigError, "--storage takes the URL of a database"),
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
