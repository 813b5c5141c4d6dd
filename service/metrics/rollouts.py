"""What versions on trial do, as Prometheus sees it on ``/metrics``; ``side`` is ``live`` or ``trial``."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts

from prometheus_client import Counter, Gauge, Histogram

from rowcast.service.metrics.counts import SECONDS
from rowcast.service.rollout.split import AnySplit
from rowcast.service.rollout.tally import Tally, Times, end_of

VERSION = Gauge(
    "rowcast_rollout_version",
    "The version on trial, as canary or in the shadow; 0 for none.",
    ["model", "kind"],
    multiprocess_mode="mostrecent",
)
SHARE = Gauge(
    "rowcast_rollout_share",
    "Of the requests: that the canary answers, or that the shadow is run on.",
    ["model", "kind"],
    multiprocess_mode="mostrecent",
)
REQUESTS = Counter(
    "rowcast_rollout_requests",
    "Requests that name no version while a canary is on, by the version they were for.",
    ["model", "side", "outcome"],
)
REQUEST_SECONDS = Histogram(
    "rowcast_rollout_request_seconds", "How long those took.", ["model", "side"], buckets=SECONDS
)
ROWS = Counter("rowcast_compared_rows", "Rows that both versions were run on.", ["model"])
DIFFER = Counter("rowcast_compared_labels_differ", "Rows among them whose labels differ.", ["model"])
DISAGREE = Counter(
    "rowcast_compared_disagree",
    "Rows with another label, or a prediction out of the live version's interval.",
    ["model"],
)
DIFFERENCE = Counter(
    "rowcast_compared_difference", "The differences of predictions or probabilities, added up over rows.", ["model"]
)
LARGEST = Gauge("rowcast_compared_largest_difference", "The largest of them.", ["model"], multiprocess_mode="livemax")
RUN_SECONDS = Histogram(
    "rowcast_compared_run_seconds", "How long runs on the same rows took.", ["model", "side"], buckets=SECONDS
)
FAILED = Counter("rowcast_compared_failed_runs", "Runs that were repeated and failed.", ["model"])
DROPPED = Counter("rowcast_compared_dropped_runs", "Runs that nobody had the time to repeat.", ["model"])


class RolloutMetrics:
    """Writes what one worker has counted."""

    def __init__(self) -> None:
        self._written: dict[int, Tally] = {}
        """By the number of the trial."""
        self._names: set[str] = set()

    def write(self, splits: dict[str, AnySplit]) -> None:
        """Write what is new.

        Args:
            splits: the versions on trial, by name.
        """
        for name in self._names | splits.keys():
            split = splits.get(name)
            shares = {"canary": split and split.trial.canary, "shadow": split and split.trial.shadow}
            for kind, share in shares.items():
                VERSION.labels(name, kind).set(0 if split is None or share is None else split.trial.version)
                SHARE.labels(name, kind).set(share or 0)
            LARGEST.labels(name).set(0 if split is None else split.tally.largest)
        self._names = set(splits)
        for name, split in splits.items():
            now = split.tally.copy()
            _count(name, now.minus(self._written.get(split.trial.number) or Tally()))
            self._written[split.trial.number] = now
        going_on = {split.trial.number for split in splits.values()}
        self._written = {number: tally for number, tally in self._written.items() if number in going_on}


def _count(name: str, new: Tally) -> None:
    for side, answered, failed in (
        ("live", new.old_answered, new.old_failed),
        ("trial", new.new_answered, new.new_failed),
    ):
        REQUESTS.labels(name, side, "answered").inc(answered)
        REQUESTS.labels(name, side, "failed").inc(failed)
    counted = ((ROWS, new.rows), (DIFFER, new.differ), (DISAGREE, new.disagree), (DIFFERENCE, new.difference))
    for counter, n in (*counted, (FAILED, new.run_failed), (DROPPED, new.dropped)):
        counter.labels(name).inc(n)
    _observe(REQUEST_SECONDS.labels(name, "live"), new.old_times)
    _observe(REQUEST_SECONDS.labels(name, "trial"), new.new_times)
    _observe(RUN_SECONDS.labels(name, "live"), new.old_runs)
    _observe(RUN_SECONDS.labels(name, "trial"), new.new_runs)


def _observe(histogram: Histogram, times: Times) -> None:
    """Take in times, each as long as its bucket's end."""
    if not any(times.buckets):
        return
    found: Counts[int] = Counts()
    total = 0.0
    for bucket, n in enumerate(times.buckets):
        if n:
            end = end_of(bucket)
            found[bisect_left(SECONDS, end)] += n
            total += n * end
    for at, n in found.items():  # each is written to a file
        histogram._buckets[at].inc(n)
    histogram._sum.inc(total)
