"""No body takes more memory or time than docs/serving.md says; ``make fuzz`` tries a hundred times as many."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.abuse import body_bounds


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells nobody what a process had")
@pytest.mark.parametrize("decoder", ["v2_binary", "grpc"])
def test_no_body_takes_more_than_it_may(decoder: str) -> None:
    with get_context("spawn").Pool(1) as pool:
        pool.apply(body_bounds.check, (decoder, 200))
