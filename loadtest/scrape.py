"""What a service counts of its own work: the sums of its ``/metrics`` for one model, read before and after a load."""

from __future__ import annotations

import asyncio
from dataclasses import astuple, dataclass, replace

from rowcast.loadtest.asking import TIMEOUT_S
from rowcast.loadtest.connection import Endpoint, fetch
from rowcast.loadtest.served import NotServed

WRITTEN_AFTER_S = 0.25
"""A worker writes ten times a second."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums since the service started, over all workers; or the difference between two."""

    requests: float
    request_s: float
    """Seconds of all requests, each from its headers to the end of its answer."""
    runs: float
    rows: float
    """In those runs."""
    compute_s: float
    """Seconds of all runs."""
    queue_s: float
    """Of each run, how long its longest-waiting request was queued."""
    queued_s: float
    """Of all requests, how long they were queued; and with the next, how long the runs took that they were in."""
    computed_s: float
    cpu_s: float
    """CPU time of the workers."""
    workers: float

    def since(self, before: Counts) -> Counts:
        """What was counted after ``before``; ``workers`` stays the number of them."""
        parts = [now - then for now, then in zip(astuple(self), astuple(before), strict=True)]
        return replace(Counts(*parts), workers=self.workers)


async def counts(endpoint: Endpoint, model: str) -> Counts:
    """Ask for the sums, once what was counted until now is written.

    Raises:
        NotServed: the service does not tell them.
    """
    await asyncio.sleep(WRITTEN_AFTER_S)
    try:
        status, body = await fetch(endpoint, endpoint.get("/metrics"), timeout_s=TIMEOUT_S)
    except OSError as error:
        raise NotServed(f"nobody answers GET /metrics at {endpoint.authority} ({error})") from None
    if status != 200:
        raise NotServed(f"GET /metrics was answered with status {status}")
    return read(body.decode("utf-8", "replace"), model)


def read(text: str, model: str) -> Counts:
    """The sums in the text of ``/metrics``; 0 for what is not there, as before the first request.

    Raises:
        NotServed: it is no text of this service.
    """
    own = f'model="{model}"'
    sums: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        name, _, labels = name.partition("{")
        if name.startswith("rowcast_") and (own in labels or not labels):
            try:
                sums[name] = sums.get(name, 0.0) + float(value)
            except ValueError:
                continue
    if "rowcast_workers" not in sums:
        raise NotServed("the service's /metrics does not tell rowcast_workers: is it of this version of Rowcast?")
    return Counts(
        sums.get("rowcast_request_seconds_count", 0.0),
        sums.get("rowcast_request_seconds_sum", 0.0),
        sums.get("rowcast_compute_seconds_count", 0.0),
        sums.get("rowcast_batch_rows_sum", 0.0),
        sums.get("rowcast_compute_seconds_sum", 0.0),
        sums.get("rowcast_queue_seconds_sum", 0.0),
        sums.get("rowcast_requests_queued_seconds_total", 0.0),
        sums.get("rowcast_requests_computed_seconds_total", 0.0),
        sums.get("rowcast_cpu_seconds_total", 0.0),
        sums["rowcast_workers"],
    )
