"""How long runs take, as far as the last ones tell; and from it who would wait for too long.

What is expected of a run is a moving average over those of about as many rows. One that took far longer counts as twice
the average: a stall of the machine is no news about the model, and what has really become slower shows in every run.
Only whether a run may stay on the event loop is not judged so kindly.
"""

from __future__ import annotations

MAX_WAIT_SECONDS = 0.25
"""How long a request may expect to be queued while nobody is refused. A caller who is told to come back loses a
second, the least that ``Retry-After`` can say, so a short wait is better waited for; a long one makes all late."""
MAX_WAIT_RUNS = 2
"""However slow a full run is, a request may wait for the rest of one and for the whole of another."""
MAX_WAIT_OWN_RUNS = 4
"""A large request may wait longer: this many times what its own run takes."""
PRESSED_WAIT_RUNS = 1.25
"""The same in full runs once somebody was refused. A queue that holds the next run is as fast as one that holds ten,
and as many are refused: the more of them wait, the later is everybody."""
PRESSED_LEAST_SECONDS = 0.005
"""A wait so short is worth no refusal."""
PRESSED_SECONDS = 1.0
"""How long the short queue is kept after the last refusal: as long as refused callers stay away."""
_NEWEST_WEIGHT = 0.1
_LONGEST = 2.0
"""A run counts as at most this many times what was expected of it."""
_UNDERSTATED = 0.8
"""Who is told that a deadline cannot be kept, on these grounds, could not have kept it."""
_TELLS_DRAIN = 4
"""A run of at least one in so many of the most rows tells how fast a queue drains."""


class LatencyEstimator:
    """Learns how long the runs of one model take.

    Args:
        max_rows: rows of a full run.
        seconds_per_row: a first guess for a run of few rows.
        drain_seconds_per_row: a first guess for a full run.
    """

    def __init__(self, max_rows: int, seconds_per_row: float, drain_seconds_per_row: float) -> None:
        self._max_rows = max_rows
        self.drain_seconds_per_row = drain_seconds_per_row
        """With what the event loop does between two runs."""
        # by the bits of the number of rows
        self._runs: list[float] = [
            max(seconds_per_row, (1 << max(0, bits - 1)) * drain_seconds_per_row)
            for bits in range(max_rows.bit_length() + 1)
        ]
        self._recent = self._runs.copy()
        """The same with every stall at its full length."""
        self._pressed_until = 0.0

    def run(self, rows: int) -> float:
        """Seconds that a run is expected to take."""
        return self._runs[rows.bit_length()]

    def longest_run(self, rows: int) -> float:
        """Seconds that a run may take, judging by the last ones whatever made them so long."""
        return self._recent[rows.bit_length()]

    def least(self, rows: int) -> float:
        """Seconds that so many rows take at least, in as many runs as they need."""
        full, rest = divmod(rows, self._max_rows)
        seconds = full * self.run(self._max_rows) + (self.run(rest) if rest else 0.0)
        return _UNDERSTATED * seconds

    def drain(self, rows: int) -> float:
        """Seconds until so many rows of a queue are done."""
        return rows * self.drain_seconds_per_row

    def learn(self, rows: int, seconds: float, cycle_seconds: float) -> None:
        """Take in a run.

        Args:
            rows: of the run.
            seconds: it took.
            cycle_seconds: since the end of the one before, if rows were waiting then.
        """
        bits = rows.bit_length()
        self._runs[bits] = _moved(self._runs[bits], seconds)
        recent = self._recent
        newest = recent[bits] = recent[bits] + _NEWEST_WEIGHT * (seconds - recent[bits])
        if (
            recent[bits - 1] > newest or newest > recent[min(bits + 1, len(recent) - 1)]
        ):  # fewer rows take no longer, more rows no less
            recent[:bits] = [min(seconds, newest) for seconds in recent[:bits]]
            recent[bits:] = [max(seconds, newest) for seconds in recent[bits:]]
        if rows * _TELLS_DRAIN >= self._max_rows:
            self.drain_seconds_per_row = _moved(self.drain_seconds_per_row, cycle_seconds / rows)

    def longest_wait(self, rows: int, now: float) -> float:
        """Seconds that a request of so many rows may expect to wait."""
        full = max(self.drain(self._max_rows), self.run(self._max_rows))
        own = self.drain(rows) if rows > self._max_rows else self.run(rows)
        if now < self._pressed_until:
            return max(PRESSED_LEAST_SECONDS, PRESSED_WAIT_RUNS * full, own)
        return max(MAX_WAIT_SECONDS, MAX_WAIT_RUNS * full, MAX_WAIT_OWN_RUNS * own)

    def press(self, now: float) -> None:
        """Somebody was refused: for a while the queue is kept short."""
        self._pressed_until = now + PRESSED_SECONDS


def _moved(average: float, newest: float) -> float:
    if average > 0.0:
        newest = min(newest, _LONGEST * average)
    return average + _NEWEST_WEIGHT * (newest - average)
