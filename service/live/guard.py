"""The supervisor's watch over versions on trial: one that breaks a guard goes, and one that held is promoted.

It has a thread of its own, for the one that brings versions may be busy with another for minutes. So it also has a
version go that an operator has rolled back: that should not wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rowcast.service.engine.catalog import CatalogOwner
from rowcast.service.live.counted import tallies_of, total, write_tallies
from rowcast.service.live.figures import remove_figures, write_figures
from rowcast.service.live.judge import Judge
from rowcast.service.live.on_trial import Trials
from rowcast.service.live.rollouts import Rollouts
from rowcast.service.process.replacements import Replacements
from rowcast.service.process.slots import SUPERVISOR_SLOT
from rowcast.service.rollout.promotion import waiting
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Trial

logger = logging.getLogger("rowcast.service")

LOOK_SECONDS = 0.5
WHO = "guard"
_LOOKS_A_FILE = 4
_WRITE_SECONDS, _AGAIN_SECONDS = 0.1, 5.0
"""How soon an end is written down, and how soon again where that failed."""


class _Counted:
    """What all workers have counted of a trial, those that ended meanwhile too.

    Args:
        trial: the trial.
        ends: how many workers had ended by accident when it began.
    """

    def __init__(self, trial: Trial, ends: int) -> None:
        self._trial = trial
        self._since = time.monotonic()
        self._ends = ends
        self.accidents = 0
        """How many workers have ended by accident since."""
        self.judge = Judge(trial)
        self.gone = Tally()
        """What no worker counts any more."""
        self._gone = Tally()
        self._last: list[Tally] = []
        self.waits_told = False
        """Whether it was told that it has held for long enough, and waits to be judged."""

    @property
    def has_held_long_enough(self) -> bool:
        """Whether it is to be promoted, by how long it was watched here: a clock that is set decides nothing."""
        after = self._trial.promote_after
        return after is not None and time.monotonic() - self._since >= after

    def add_up(self, tallies: list[Tally], ends: int) -> Tally:
        """Everything, of what each slot says now.

        A worker that ends takes requests with it, and cannot count them. Each counts as one that failed: if the version
        on trial ends workers again and again, that is told by nothing else; and a worker that somebody kills among
        thousands of requests decides nothing.

        Args:
            tallies: of each slot.
            ends: how many workers have ended by accident.
        """
        for last, now in zip(self._last, tallies, strict=False):
            if now.has_less_than(last):
                self._gone = self._gone.plus(last)  # another worker has the slot
        self._last = tallies
        self.accidents = lost = ends - self._ends
        if self._trial.canary:
            self.gone = replace(self._gone, new_failed=self._gone.new_failed + lost)
        else:
            self.gone = replace(self._gone, run_failed=self._gone.run_failed + lost)
        return total([self.gone, *tallies])


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

    def begin(self, slots: Sequence[memoryview], replacements: Sequence[Replacements]) -> None:
        """Look from now on, in a thread that ends with the process.

        Args:
            slots: the memory that workers and supervisor share.
            replacements: what looks after them.
        """
        self._own = slots[SUPERVISOR_SLOT]
        self._workers = [slot for n, slot in enumerate(slots) if n != SUPERVISOR_SLOT]
        self._replacements = replacements
        threading.Thread(target=self._run, name="guard", daemon=True).start()
        threading.Thread(target=self._write, name="ends", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.step()
            except Exception:
                logger.exception("what is on trial is not watched: that failed")

    def _write(self) -> None:
        """Write down how trials ended, in a thread of its own: guards do not wait for a lock, nor for a disk."""
        while not self._stopping.wait(_WRITE_SECONDS):
            try:
                if not self._rollouts.write_ends():
                    self._stopping.wait(_AGAIN_SECONDS)
            except Exception:
                logger.exception("how a trial ended is not written down: that failed")
                self._stopping.wait(_AGAIN_SECONDS)

    def step(self) -> None:
        """Look once."""
        trials = self._owner.catalog.trials
        ends = sum(one.accidents for one in self._replacements)
        for name in {one.name for one in self._counted} - {one.name for one in trials}:
            remove_figures(self._root / name)
        self._counted = {trial: self._counted.get(trial) or _Counted(trial, ends) for trial in trials}
        self._looks += 1
        for trial, counted in self._counted.items():
            tally = counted.add_up(tallies_of(self._workers, trial.number), ends)
            waits = waiting(trial, tally)
            if self._looks % _LOOKS_A_FILE == 0:
                write_figures(self._root / trial.name, trial, tally, waits)
            why = counted.judge(tally, counted.accidents)
            last = self._rollouts.over(trial)
            if last is not None and last.after == trial.live:
                self._trials.end(trial, last.who, last.why)
            elif last is not None:  # promoted, and no more on trial
                continue
            elif why:
                self._roll_back(trial, why)
            elif counted.has_held_long_enough:
                if not waits:
                    self._promote(trial, tally)
                elif not counted.waits_told:
                    counted.waits_told = True
                    after = f"{trial.promote_after:g} s"
                    logger.info("%s:%d has held for %s, and waits: %s", trial.name, trial.version, after, waits)
        write_tallies(self._own, {trial.number: counted.gone for trial, counted in self._counted.items()})

    def _roll_back(self, trial: Trial, why: str) -> None:
        name = trial.name
        logger.warning("%s:%d is rolled back, and %s:%d answers: %s", name, trial.version, name, trial.live, why)
        self._rollouts.end_trial(trial, "rollback", f"rolled back: {why}", WHO)  # before others can find it gone
        self._trials.end(trial, WHO, f"rolled back: {why}")

    def _promote(self, trial: Trial, tally: Tally) -> None:
        """Have it written down that it is promoted; what is served follows what is written."""
        seen = f"{tally.new_answered:,} requests answered, {tally.rows:,} rows compared"
        why = f"promoted: its guards held for {trial.promote_after:g} s ({seen})"
        self._rollouts.end_trial(trial, "promoted", why, WHO)
