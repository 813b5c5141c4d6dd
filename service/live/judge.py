"""Whether a version on trial keeps to its guards.

A guard is broken when what was seen would hardly ever happen to a version that just keeps to it: then chance is no
excuse. So two failed requests in a row are enough, and one in a thousand is not.

Whatever its guards, a version goes whose trial has cost workers: one that ended may be anybody's fault, two are taken
for its own. It may have held them up until they were killed, and answers nothing that a guard could count.

Sources: the exact binomial test. The p99 of one version is at most k times that of the other when at most 1% of its
requests take longer than that; so that share is tested, of requests, and of runs on the same rows: a slow version makes
the other wait as well.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import NamedTuple

from rowcast.models.rollout.record import percent
from rowcast.service.rollout.tally import Tally, Times
from rowcast.service.rollout.trial import Trial

_CHANCE = 1e-4
"""How seldom a version that just keeps to a guard may be said to have broken it, each time that it is judged."""
WINDOWS = (5.0, 60.0)
"""Seconds over which a version is judged, beside all the time since its trial began: what breaks late is seen soon."""
MOST_ACCIDENTS = 2
"""After so many ends of workers by accident a trial is over."""
_LEAST, _ENOUGH, _DOUBT = 20, 200, 1.5
"""Requests of the live version, or runs, that say anything of its p99, and so many that they tell it; with fewer it is
taken to be so many times as long."""


class _Seen(NamedTuple):
    at: float
    tally: Tally


class Judge:
    """Judges one trial, again and again.

    Args:
        trial: what its version must keep to.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._seen: deque[_Seen] = deque([_Seen(time.monotonic(), Tally())])

    def __call__(self, tally: Tally, accidents: int = 0) -> str:
        """Why the version is to go, as far as was counted by now; an empty text where it keeps to its guards.

        Args:
            tally: what was counted since its trial began.
            accidents: how many workers have ended by accident since.
        """
        if accidents >= MOST_ACCIDENTS:
            return f"{accidents} workers ended by accident while it was on trial"
        now = time.monotonic()
        self._seen.append(_Seen(now, tally))
        while len(self._seen) > 2 and self._seen[1].at < now - max(WINDOWS):
            self._seen.popleft()
        for window in WINDOWS:
            before = next(seen for seen in reversed(self._seen) if seen.at <= now - window or seen is self._seen[0])
            if why := broken(self._trial, tally.minus(before.tally)):
                return why
        return broken(self._trial, tally)


def broken(trial: Trial, tally: Tally) -> str:
    """The guard that a version breaks, and how; an empty text for none.

    Args:
        trial: what the guards are.
        tally: what was counted, over any time.
    """
    return _errors(trial, tally) or _slow(trial, tally) or _disagrees(trial, tally)


def _errors(trial: Trial, tally: Tally) -> str:
    if trial.errors is None:
        return ""
    of_old = tally.old_failed / max(1, tally.old_failed + tally.old_answered)
    requests, runs = tally.new_failed + tally.new_answered, tally.run_failed + tally.runs
    for failed, n, what in ((tally.new_failed, requests, "requests"), (tally.run_failed, runs, "runs in the shadow")):
        if is_more(failed, n, min(1.0, trial.errors + of_old)):
            beside = f", beside {percent(of_old)} of the live version" if of_old and what == "requests" else ""
            return f"errors={percent(trial.errors)} is broken: {failed:,} of {n:,} {what} failed{beside}"
    return ""


def _slow(trial: Trial, tally: Tally) -> str:
    if trial.p99 is None:
        return ""
    pairs = ((tally.old_times, tally.new_times, "a request"), (tally.old_runs, tally.new_runs, "a run"))
    for old, new, what in pairs:
        limit = trial.p99 * old.quantile(0.99) * (1 if old.count >= _ENOUGH else _DOUBT)
        if old.count >= _LEAST and is_more(new.beyond(limit), new.count, 0.01):
            return (
                f"p99={trial.p99:g}x is broken: the p99 of {what} is {_ms(new)} ms, and must be at most {trial.p99:g} "
                f"times the {_ms(old)} ms of the live version; of {new.count:,}, {new.beyond(limit):,} took longer"
            )
    return ""


def _disagrees(trial: Trial, tally: Tally) -> str:
    if trial.disagree is None or not is_more(tally.disagree, tally.rows, trial.disagree):
        return ""
    return (
        f"disagree={percent(trial.disagree)} is broken: it disagrees with the live version in {tally.disagree:,} of "
        f"{tally.rows:,} rows"
    )


def _ms(times: Times) -> str:
    return f"{times.quantile(0.99) * 1000:.2f}"


def is_more(seen: int, n: int, share: float) -> bool:
    """Whether so many of ``n`` are more than a share of them could well be.

    >>> is_more(2, 2, 0.001), is_more(1, 100, 0.001), is_more(60, 100, 0.5), is_more(80, 100, 0.5)
    (True, False, False, True)
    """
    if not n or seen <= share * n:
        return False
    if share <= 0.0:
        return True
    odds = math.log(share) - math.log1p(-share)
    term = _log_choose(n, seen) + seen * math.log(share) + (n - seen) * math.log1p(-share)
    chance = 0.0
    for k in range(seen, n + 1):
        part = math.exp(term)
        chance += part
        if part < 1e-12 * chance:
            break
        if k < n:
            term += math.log((n - k) / (k + 1)) + odds
    return chance < _CHANCE


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
