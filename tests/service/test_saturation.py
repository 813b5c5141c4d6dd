"""What an autoscaler asks for: CPU time of the workers and how many there are, and how long requests are queued."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import REGISTRY

from rowcast.service.metrics.counts import Meter, RunReport, worker_started


def told(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(name, labels)
    assert value is not None
    return value


def test_cpu_time_is_counted_from_the_start_of_a_worker_as_requests_come():
    async def one_run_after(seconds: float) -> None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass
        meter = Meter("flights")
        meter.run(RunReport(1, 0.001, [0.0]))
        meter.flush()

    until = time.process_time() + 0.05
    while time.process_time() < until:  # what a start takes is no load
        pass
    worker_started(3)
    before = told("rowcast_cpu_seconds_total")
    asyncio.run(one_run_after(0.02))
    assert told("rowcast_workers") == 3
    assert 0.02 <= told("rowcast_cpu_seconds_total") - before < 0.05


def test_queueing_and_runs_are_summed_over_requests():
    async def two_runs() -> None:
        meter = Meter("summed")
        meter.run(RunReport(3, 0.25, [0.5, 0.0]))
        meter.flush()
        meter.run(RunReport(1, 0.5, [0.125]))
        meter.flush()

    asyncio.run(two_runs())
    assert told("rowcast_requests_queued_seconds_total", model="summed") == 0.625
    assert told("rowcast_requests_computed_seconds_total", model="summed") == 1.0
