"""Whether what was seen of a version on trial is enough to promote it.

A guard that is not broken says little where little was seen. So a version whose guards have held for long enough waits
until each of them had enough to be judged by, and what was seen lies within the limit as it stands: here chance is no
excuse.
"""

from __future__ import annotations

import math

from rowcast.models.rollout.record import percent
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Trial

_LEAST, _ENOUGH = 20, 200
"""Requests, runs or rows that a share is judged by: as many as one would be expected among, within these bounds."""
_SLOW = 0.01
"""Share of requests that may take longer than the p99 that is allowed."""
_FEW_ERRORS = 0.001
"""Share of requests that may fail, beyond that of the live version, where no guard says how many."""


def waiting(trial: Trial, tally: Tally) -> str:
    """What a version that is promoted after some time has to wait for, however long its guards hold; an empty text for
    nothing.

    Args:
        trial: what the guards are.
        tally: what was counted since its trial began.
    """
    if trial.promote_after is None:
        return ""
    return _errors(trial, tally) or _slow(trial, tally) or _disagrees(trial, tally)


def _errors(trial: Trial, tally: Tally) -> str:
    given = trial.errors is not None
    share = _FEW_ERRORS if trial.errors is None else trial.errors
    limit = share + tally.old_failed / max(1, tally.old_failed + tally.old_answered)
    requests, runs = tally.new_failed + tally.new_answered, tally.run_failed + tally.runs
    for failed, n, what in ((tally.new_failed, requests, "requests"), (tally.run_failed, runs, "runs in the shadow")):
        if failed > limit * n:
            return f"{failed:,} of {n:,} {what} failed, and at most {percent(limit)} may"
    seen = [(requests, "requests")] if trial.canary else []
    seen += [(runs, "runs in the shadow")] if trial.shadow else []
    n, what = max(seen, key=lambda one: one[0], default=(0, "requests"))
    least = _least_for(share) if given else _LEAST
    if n < least:
        guard = f"errors={percent(share)}" if given else "whether it fails"
        return f"{guard} is judged by {least} {what} or more, and {n:,} were seen"
    return ""


def _slow(trial: Trial, tally: Tally) -> str:
    if trial.p99 is None:
        return ""
    least, most = _least_for(_SLOW), 0
    pairs = ((tally.old_times, tally.new_times, "requests"), (tally.old_runs, tally.new_runs, "runs"))
    for old, new, what in pairs:
        n = min(old.count, new.count)
        most = max(most, n)
        longer = new.beyond(trial.p99 * old.quantile(0.99))
        if n >= least and longer > _SLOW * new.count:
            return (
                f"{longer:,} of {new.count:,} {what} took longer than {trial.p99:g} times the p99 of the live version, "
                f"and at most {percent(_SLOW)} may"
            )
    if most < least:
        return f"p99={trial.p99:g}x is judged by {least} requests or timed runs of each version, and {most:,} were seen"
    return ""


def _disagrees(trial: Trial, tally: Tally) -> str:
    if trial.disagree is None:
        return ""
    least = _least_for(trial.disagree)
    if tally.rows < least:
        return f"disagree={percent(trial.disagree)} is judged by {least} rows or more, and {tally.rows:,} were compared"
    if tally.disagree > trial.disagree * tally.rows:
        return (
            f"it disagrees in {tally.disagree:,} of {tally.rows:,} rows, and may in at most {percent(trial.disagree)}"
        )
    return ""


def _least_for(share: float) -> int:
    """How many a share is judged by.

    >>> [_least_for(share) for share in (0.5, 0.01, 0.001, 0.0)]
    [20, 100, 200, 200]
    """
    return _ENOUGH if share * _ENOUGH <= 1 else max(_LEAST, math.ceil(1 / share - 1e-9))
