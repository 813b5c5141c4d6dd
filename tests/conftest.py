"""What holds for every test: the cases of properties, and which tests are fast.

Properties are tried on the same cases each time, unless FUZZ_CASES asks for new ones: a suite that passes today and
fails tomorrow on the same code says nothing about either; `make fuzz` and `make fuzz-gate` look for new cases, and what
they find is kept as an example.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The networks of tests are small: several threads wait for each other, and take five times the processor for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch is imported

from tests.support import reach, standing_out

# No case fails for the time that it takes: a busy machine would decide.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("new"), derandomize=True)
settings.load_profile("new" if "FUZZ_CASES" in os.environ else "same")


os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of some hundred processes would compile our modules anew


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast",
        action="store_true",
        help="only tests that start no process, fit no network and try no property on many cases",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--fast"):
        return
    left_out = [
        item for item in items if {"slow", "alone"} & {m.name for m in item.iter_markers()} or reach.marks(item)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(autouse=True, scope="session")
def _no_process(pytestconfig: pytest.Config) -> Iterator[None]:
    """A fast test that starts a process after all is told so."""
    on = pytestconfig.getoption("--fast")

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if on and event == "subprocess.Popen":
            raise RuntimeError(
                f"a fast test starts {arguments[0]}: mark it slow, or have tests/support/reach.py see it"
            )

    if on:
        sys.addaudithook(refuse)  # stays until the end
    yield
    on = False


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory):
    """A published model of :mod:`tests.support.standing_out`."""
    return standing_out.publish(tmp_path_factory.mktemp("told") / "repository")
