"""The size of a run is the one in which a row takes least, as far as a few runs tell."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import pytest

from rowcast.service.engine.batch_size import SIZES, cheapest_size

MOST, LESS = SIZES


class Machine:
    """A model on a machine whose time is what its runs take, in microseconds a row; the first run is slow."""

    def __init__(self, costs: dict[int, float], disturbed: Callable[[], float] = lambda: 0.0) -> None:
        self.now = 0.0
        self.sizes: list[int] = []
        self._costs = costs
        self._disturbed = disturbed

    def run(self, rows: int) -> None:
        """Run so many rows."""
        first = rows not in self.sizes
        self.sizes.append(rows)
        self.now += rows * self._costs[rows] * 1e-6 + self._disturbed() + (1.0 if first else 0.0)


def chosen(machine: Machine) -> int:
    return cheapest_size(machine.run, lambda: machine.now)


@pytest.mark.parametrize(
    ("most", "less", "size"),
    [
        (30.0, 28.0, LESS),
        (30.0, 29.5, MOST),  # a gain that small is luck
        (30.0, 30.0, MOST),
        (28.0, 30.0, MOST),
    ],
)
def test_the_smaller_runs_are_taken_where_a_row_is_cheaper_in_them(most: float, less: float, size: int) -> None:
    assert chosen(Machine({MOST: most, LESS: less})) == size


def test_a_machine_that_is_busy_now_and_then_changes_nothing() -> None:
    stalls = cycle([0.0, 0.004, 0.0, 0.0, 0.02])
    assert chosen(Machine({MOST: 30.0, LESS: 28.0}, lambda: next(stalls))) == LESS
    stalls = cycle([0.004, 0.0, 0.0, 0.02, 0.0])
    assert chosen(Machine({MOST: 28.0, LESS: 30.0}, lambda: next(stalls))) == MOST


def test_a_slow_model_is_run_once_more_and_starts() -> None:
    machine = Machine({MOST: 10_000.0, LESS: 9_000.0})
    assert chosen(machine) == LESS
    assert machine.sizes == [*SIZES, *SIZES]
