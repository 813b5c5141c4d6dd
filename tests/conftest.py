"""What holds for every test: properties are tried on the same cases each time, unless FUZZ_CASES asks for new ones.

A suite that passes today and fails tomorrow on the same code says nothing about either; `make fuzz` and
`make fuzz-gate` look for new cases, and what they find is kept as an example.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests import standing_out

settings.register_profile("same", derandomize=True)
if "FUZZ_CASES" not in os.environ:
    settings.load_profile("same")


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory):
    """A published model of :mod:`tests.standing_out`."""
    return standing_out.publish(tmp_path_factory.mktemp("told") / "repository")
