"""When all workers have opened a version, and when one of them could not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rowcast.service.engine.catalog import Entry, Stage
from rowcast.service.live.checks import Refused
from rowcast.service.live.slots import say_verdict
from rowcast.service.live.staging import Workers
from rowcast.service.process.heartbeat import Heartbeats

STAGE = Stage(7, Entry("flights", 2, "", "/nowhere/flights/2", "/nowhere/held"))


class Changing:
    """Workers of which others serve at each look."""

    def __init__(self, *serving: dict[int, int]) -> None:
        self._serving: Iterator[dict[int, int]] = iter(serving)
        self._last: dict[int, int] = {}
        self.told_to_stop: set[int] = set()

    def serving(self) -> dict[int, int]:
        self._last = next(self._serving, self._last)
        return self._last


@pytest.mark.parametrize("is_told", [True, False])
def test_a_worker_that_was_told_to_stop_meanwhile_says_nothing_against_a_version(is_told: bool) -> None:
    """Its place is taken by another, as at SIGHUP, which has opened it as well."""
    beats, workers = Heartbeats(3), Changing({1: 101}, {2: 202})
    say_verdict(beats.slots[2], STAGE.number, "")
    looked_after: Any = workers
    staged = Workers(beats, [looked_after])
    if is_told:
        workers.told_to_stop.add(101)
        staged.wait_for(STAGE, lambda: True)
    else:
        with pytest.raises(Refused, match="worker 101 ended while it opened it"):
            staged.wait_for(STAGE, lambda: True)
