"""Which tests are fast is found by itself: whatever leads to a process or a fit is followed."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rowcast
from rowcast.cli import main
from tests.service.servers import Server, serving
from tests.support.reach import reached


@contextmanager
def running(folder):
    with serving(folder, folder) as server:
        yield server


def local_import(frame):
    from rowcast.training.train import train

    return train(frame)


def in_a_nested_function():
    def inner():
        return subprocess.run(["true"], check=True)

    return inner


class Holder:
    def ask(self, folder):
        return running(folder)


def by_a_class(folder):
    return Holder().ask(folder)


def by_the_command_line(folder):
    main(["train", str(folder)])


def by_a_command_that_fits_nothing(folder):
    main(["models", "list", str(folder)])


TABLE = np.zeros((2, 2))
"""Something that is neither true nor false."""


def a_table_of_the_module():
    return TABLE.sum()


@given(st.integers())
def a_property(number):
    rowcast.fit(number)


def a_property_of_its_own(step):
    @given(st.integers())
    def check(number):
        assert number // step * step <= number

    check()


@pytest.mark.parametrize(
    ("function", "reaches"),
    [
        (running, {"process"}),
        (by_a_class, {"process"}),
        (in_a_nested_function, {"process"}),
        (local_import, {"fit"}),
        (a_property, {"fit"}),
        (a_property_of_its_own, {"property"}),
        (a_table_of_the_module, set()),
        (by_the_command_line, {"fit"}),
        (by_a_command_that_fits_nothing, set()),
        (reached, set()),
        (Server.run_rows, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_leads_to_a_process_or_a_fit_is_found(function, reaches):
    assert reached(function) == reaches
