"""The supervisor's watch over versions on trial: one that breaks a guard goes, and one that held is promoted.

It has a thread of its own, for the one that brings versions may be busy with another for minutes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rowcast.service.engine.catalog import CatalogOwner
from rowcast.service.live.counted import tallies_of
from rowcast.service.live.figures import remove_figures, write_figures
from rowcast.service.live.judge import Judge
from rowcast.service.live.on_trial import Trials
from rowcast.service.live.rollouts import Rollouts
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Trial

logger = logging.getLogger("rowcast.service")

LOOK_SECONDS = 0.5
WHO = "guard"
_LOOKS_A_FILE = 4


class _Counted:
    """What all workers have counted of a trial, those that ended meanwhile too."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._since = time.monotonic()
        self.judge = Judge(trial)
        self._gone = Tally()
        self._last: list[Tally] = []

    @property
    def has_held_long_enough(self) -> bool:
        """Whether it is to be promoted, by how long it was watched here: a clock that is set decides nothing."""
        after = self._trial.promote_after
        return after is not None and time.monotonic() - self._since >= after

    def add_up(self, tallies: list[Tally]) -> Tally:
        """Everything, of what each slot says now."""
        for last, now in zip(self._last, tallies, strict=False):
            if now.new_answered + now.old_answered + now.rows < last.new_answered + last.old_answered + last.rows:
                self._gone = self._gone.plus(last)  # another worker has the slot
        self._last = tallies
        whole = self._gone
        for tally in tallies:
            whole = whole.plus(tally)
        return whole


class Guard:
    """Watches trials.

    Args:
        root: the repository.
        owner: of the catalog, which says what is on trial.
        trials: what ends them.
        rollouts: where it is written down.
    """

    def __init__(self, root: Path, owner: CatalogOwner, trials: Trials, rollouts: Rollouts) -> None:
        self._root = root
        self._owner = owner
        self._trials = trials
        self._rollouts = rollouts
        self._counted: dict[Trial, _Counted] = {}
        self._looks = 0
        self._stopping = threading.Event()

    def begin(self, slots: Sequence[memoryview]) -> None:
        """Look from now on, in a thread that ends with the process.

        Args:
            slots: of the workers.
        """
        self._slots = slots
        threading.Thread(target=self._run, name="guard", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.step()
            except Exception:
                logger.exception("what is on trial is not watched: that failed")

    def step(self) -> None:
        """Look once."""
        trials = self._owner.catalog.trials
        for name in {one.name for one in self._counted} - {one.name for one in trials}:
            remove_figures(self._root / name)
        self._counted = {trial: self._counted.get(trial) or _Counted(trial) for trial in trials}
        self._looks += 1
        for trial, counted in self._counted.items():
            tally = counted.add_up(tallies_of(self._slots, trial.number))
            if self._looks % _LOOKS_A_FILE == 0:
                write_figures(self._root / trial.name, trial, tally)
            why = counted.judge(tally)
            if why:
                self._roll_back(trial, why)
            elif counted.has_held_long_enough and tally.new_answered + tally.rows:
                self._promote(trial, tally)

    def _roll_back(self, trial: Trial, why: str) -> None:
        name = trial.name
        logger.warning("%s:%d is rolled back, and %s:%d answers: %s", name, trial.version, name, trial.live, why)
        self._trials.end(trial, WHO, f"rolled back: {why}")
        self._rollouts.end_trial(trial, "rollback", f"rolled back: {why}", WHO)

    def _promote(self, trial: Trial, tally: Tally) -> None:
        """Write down that it is promoted; what is served follows what is written."""
        seen = f"{tally.new_answered:,} requests answered, {tally.rows:,} rows compared"
        why = f"promoted: its guards held for {trial.promote_after:g} s ({seen})"
        if not self._rollouts.end_trial(trial, "promoted", why, WHO):
            self._stopping.wait(10 * LOOK_SECONDS)
