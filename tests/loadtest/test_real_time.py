"""A client that measures has real-time priority, where it may, and gives it back."""

import os
import subprocess
import sys

import pytest

from rowcast.loadtest.plan.planning import _measure
from rowcast.loadtest.real_time import at_real_time_priority, has_real_time_priority


@pytest.fixture
def allowed():
    """Whoever may not have it is skipped."""
    with at_real_time_priority():
        if not has_real_time_priority():
            pytest.skip("this user may not have real-time priority")


async def _has_it() -> bool:
    return has_real_time_priority()


def test_a_plan_measures_with_it_where_nobody_else_is_on_its_core(allowed):
    assert _measure(_has_it(), apart=True)
    assert not _measure(_has_it(), apart=False), "on a single core the service would get what the client leaves"


def test_it_is_given_back(allowed):
    assert not has_real_time_priority()


def test_it_is_given_back_after_an_error(allowed):
    with pytest.raises(ZeroDivisionError), at_real_time_priority():
        1 / (not has_real_time_priority())
    assert not has_real_time_priority()


def test_an_interrupt_as_it_is_taken_leaves_none_behind(allowed, monkeypatch):
    real = os.sched_setscheduler

    def interrupted(pid, policy, param):
        real(pid, policy, param)
        if policy != os.SCHED_OTHER:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setscheduler", interrupted)
        with pytest.raises(KeyboardInterrupt), at_real_time_priority():
            pass
    assert not has_real_time_priority()


def test_what_is_started_meanwhile_does_not_inherit_it(allowed):
    with at_real_time_priority():
        code = "import os; print(os.sched_getscheduler(0))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(found) == os.SCHED_OTHER


def test_one_within_another_leaves_it_to_that_one(allowed):
    with at_real_time_priority():
        with at_real_time_priority():
            pass
        assert has_real_time_priority()


def test_where_it_is_not_allowed_nothing_changes(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    with at_real_time_priority():
        assert not has_real_time_priority()


def test_where_the_system_has_none_nothing_changes(monkeypatch):
    monkeypatch.delattr(os, "SCHED_RESET_ON_FORK", raising=False)
    with at_real_time_priority():
        assert not has_real_time_priority()


@pytest.mark.parametrize("name", ["SCHED_BATCH", "SCHED_IDLE"])
def test_another_priority_that_was_chosen_stays(allowed, name):
    os.sched_setscheduler(0, getattr(os, name), os.sched_param(0))
    try:
        with at_real_time_priority():
            assert os.sched_getscheduler(0) == getattr(os, name)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_what_was_started_with_nice_stays_so():
    code = (
        "import os; os.nice(5)\n"
        "from rowcast.loadtest.real_time import *\n"
        "with at_real_time_priority(): print(has_real_time_priority())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "False\n"


def test_a_flag_that_was_set_comes_back(allowed):
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    try:
        with at_real_time_priority():
            assert has_real_time_priority()
        assert os.sched_getscheduler(0) == os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_who_may_not_take_the_flag_back_keeps_it_and_nothing_else(allowed, monkeypatch):
    real = os.sched_setscheduler

    def guarded(pid, policy, param):
        if policy == os.SCHED_OTHER and os.sched_getscheduler(0) & os.SCHED_RESET_ON_FORK:
            raise PermissionError
        real(pid, policy, param)

    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setscheduler", guarded)
        with at_real_time_priority():
            assert has_real_time_priority()
        assert os.sched_getscheduler(0) == os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
    real(0, os.SCHED_OTHER, os.sched_param(0))
