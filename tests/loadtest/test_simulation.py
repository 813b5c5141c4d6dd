from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from rowcast.loadtest.openloop import schedule
from rowcast.loadtest.plan.capacity import PRECISION, capacity, highest_rate, p99_ms
from rowcast.loadtest.plan.service_times import calibrated
from rowcast.loadtest.plan.simulation import ServiceTimes, simulate

MS = 1e-3
PLAIN = ServiceTimes(
    batches=(1.0, 11.0),
    cycles=(1.0 * MS, 2.0 * MS),
    rates=(1.0,),
    client=(0.2 * MS,),
    wire=0.05 * MS,
    unloaded=1.3 * MS,
    jitter=(0.0,),
    pauses=(),
)
"""A run of one costs 1 ms and every further request 0.1 ms; the client has 0.1 ms to send and 0.1 to read."""


def milliseconds(due: list[float], times: ServiceTimes = PLAIN, **options) -> list[float]:
    options = {"workers": 1, "cores": math.inf, **options}
    return [round(float(s) * 1000, 6) for s in simulate(times, np.array(due), **options)]


def test_a_request_alone_takes_the_sum_of_its_parts():
    assert milliseconds([0.0, 0.5]) == [1.3, 1.3]  # 0.1 sent, 0.05 on its way, 1 run, 0.05 on its way, 0.1 read


def test_what_comes_during_a_cycle_is_the_next_batch():
    # Sent at 0.1, 0.2, 0.3 ms. The first is run from 0.15 to 1.15; the others together from 1.15 on, for 1.1 ms.
    assert milliseconds([0.0, 0.0, 0.0]) == [1.3, 2.4, 2.5]


def test_two_workers_run_at_the_same_time():
    assert milliseconds([0.0, 0.0], workers=2, worker_of=[0, 1]) == [1.3, 1.4]


def test_requests_on_connections_of_one_worker_wait_for_each_other():
    assert milliseconds([0.0, 0.0], workers=2, worker_of=[1, 1]) == [1.3, 2.3]


def test_a_request_waits_for_a_free_connection():
    assert milliseconds([0.0, 0.0], connections=1) == [1.3, 2.6]


def test_those_who_have_work_share_the_cores():
    # Both workers are busy from 0.25 ms on, on one core: each gets half of it. The second is sent while the first runs.
    alone, shared = (milliseconds([0.0, 0.0], workers=2, cores=cores, worker_of=[0, 1]) for cores in (math.inf, 1))
    assert alone == [1.3, 1.4]
    assert all(one > 1.5 * other for one, other in zip(shared, alone, strict=True))


def test_a_pause_holds_up_what_falls_into_it():
    paused = replace(PLAIN, pauses=((1.0, 0.1),))  # once a second, for 100 ms
    latencies = simulate(paused, schedule(100, 200, 0), workers=1, cores=math.inf, seed=1)
    assert (latencies > 0.01).mean() == pytest.approx(0.1, abs=0.03)
    assert latencies.max() < 0.4


def test_latencies_stay_short_below_the_capacity_and_grow_without_end_above_it():
    full = 11 / (2.0 * MS)  # of batches of eleven; larger ones are a little cheaper yet, up to 10,000 a second
    assert p99_ms(PLAIN, 0.5 * full, workers=1, cores=math.inf) < 5
    fixed = replace(PLAIN, batches=(1.0,), cycles=(1.0 * MS,), client=(0.001 * MS,))
    assert p99_ms(fixed, 400, workers=1, cores=math.inf) < 5
    one_by_one = replace(fixed, batches=(1.0, 2.0), cycles=(1.0 * MS, 2.0 * MS))  # nothing is saved by batches
    assert p99_ms(one_by_one, 1200, workers=1, cores=math.inf, connections=512) > 100


def test_the_capacity_of_a_worker_that_saves_nothing_by_batches_is_near_its_rate():
    one_by_one = replace(PLAIN, batches=(1.0, 2.0), cycles=(1.0 * MS, 2.0 * MS), client=(0.01 * MS,))
    assert 900 < capacity(one_by_one, 50.0, workers=1, cores=math.inf) < 1010


def test_a_run_that_breaks_its_limit_is_not_simulated_to_its_end():
    due = schedule(100, 10, 0)
    cut = simulate(PLAIN, due, workers=1, cores=math.inf, limit=0.5 * MS)
    assert np.isinf(cut).sum() == 1000 - 11, "ten of a thousand may be late"
    assert np.isfinite(simulate(PLAIN, due, workers=1, cores=math.inf)).all()


def test_where_a_request_alone_takes_longer_than_the_limit_no_rate_holds():
    assert capacity(PLAIN, 1.0, workers=1, cores=math.inf) == 0


@pytest.mark.parametrize("limit", [1.5, 77.0, 5000.0])
def test_the_highest_rate_is_found_to_its_precision(limit):
    assert limit / (1 + PRECISION) <= highest_rate(lambda rate: rate <= limit, 100.0) <= limit


def test_way_jitter_and_pauses_are_found_again_in_the_latencies_that_they_made():
    true = replace(PLAIN, wire=0.4 * MS, unloaded=2.0 * MS, pauses=((2.0, 0.05),))
    latencies = simulate(true, schedule(200, 20, 5), workers=1, cores=math.inf, seed=3)
    bare = replace(true, wire=0.0, jitter=(0.0,), pauses=())
    found = calibrated(bare, latencies, 200.0)
    assert found.wire == pytest.approx(0.4 * MS, rel=0.1)
    lost = sum(per_second * length for per_second, length in found.pauses)
    assert lost == pytest.approx(2.0 * 0.05, rel=0.35), "seconds paused in a second"
    assert abs(float(np.mean(found.jitter))) < 0.2 * MS
