"""A load client has real-time priority while it measures, where it may, and gives it back."""

import os
import subprocess
import sys

import pytest

from rowcast.loadtest import connection
from rowcast.loadtest.connection import run_precisely
from rowcast.loadtest.real_time import at_real_time_priority, has_real_time_priority


@pytest.fixture
def allowed():
    """Whoever may not have it is skipped."""
    with at_real_time_priority(cores=2):
        if not has_real_time_priority():
            pytest.skip("this user may not have real-time priority")


async def _has_it():
    return has_real_time_priority()


def test_a_load_has_it_and_gives_it_back(allowed, monkeypatch):
    monkeypatch.setattr(connection, "usable_cores", lambda: 2)
    assert run_precisely(_has_it())
    assert not has_real_time_priority()


def test_a_load_that_fails_gives_it_back(allowed, monkeypatch):
    async def fail():
        assert has_real_time_priority()
        raise OSError("nobody answers")

    monkeypatch.setattr(connection, "usable_cores", lambda: 2)
    with pytest.raises(OSError, match="nobody answers"):
        run_precisely(fail())
    assert not has_real_time_priority()


def test_on_one_core_the_service_is_not_starved(monkeypatch):
    monkeypatch.setattr(connection, "usable_cores", lambda: 1)
    assert not run_precisely(_has_it())


def test_what_is_started_meanwhile_does_not_inherit_it(allowed):
    with at_real_time_priority(cores=2):
        code = "import os; print(os.sched_getscheduler(0))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(found) == os.SCHED_OTHER


def test_a_load_within_another_leaves_it_to_that_one(allowed):
    with at_real_time_priority(cores=2):
        with at_real_time_priority(cores=2):
            pass
        assert has_real_time_priority()


def test_where_it_is_not_allowed_the_load_runs_without(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(connection, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    assert not run_precisely(_has_it())


def test_where_the_system_has_none_the_load_runs_without(monkeypatch):
    monkeypatch.setattr(connection, "usable_cores", lambda: 2)
    monkeypatch.delattr(os, "SCHED_RESET_ON_FORK", raising=False)
    assert not run_precisely(_has_it())


def test_another_priority_that_was_chosen_stays(allowed):
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with at_real_time_priority(cores=2):
            assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_a_load_that_was_started_with_nice_stays_so():
    code = (
        "import os; os.nice(5)\n"
        "from rowcast.loadtest.real_time import *\n"
        "with at_real_time_priority(cores=2): print(has_real_time_priority())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "False\n"


def test_who_may_not_take_the_flag_back_keeps_it_and_nothing_else(allowed, monkeypatch):
    real = os.sched_setscheduler

    def guarded(pid, policy, param):
        if policy == os.SCHED_OTHER and os.sched_getscheduler(0) & os.SCHED_RESET_ON_FORK:
            raise PermissionError
        real(pid, policy, param)

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setscheduler", guarded)
        with at_real_time_priority(cores=2):
            assert has_real_time_priority()
        assert os.sched_getscheduler(0) == os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
    real(0, os.SCHED_OTHER, os.sched_param(0))
