from __future__ import annotations

import math
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from rowcast.loadtest.openloop import schedule
from rowcast.loadtest.plan.calibration import Load, calibrated, pauses_of, usual_load
from rowcast.loadtest.plan.capacity import PRECISION, capacity, highest_rate, p99_ms
from rowcast.loadtest.plan.simulation import ServiceTimes, simulate
from rowcast.loadtest.plan.spread import connections_by_process, worker_of

MS = 1e-3
PLAIN = ServiceTimes(
    batches=(1.0, 11.0),
    cycles=(1.0 * MS, 2.0 * MS),
    compute=(1.0 * MS, 2.0 * MS),
    client_turn=0.0,
    client_job=0.1 * MS,
    wire=0.05 * MS,
    unloaded=1.3 * MS,
    jitter=(0.0,),
    pauses=(),
)
"""A run of one costs 1 ms and every further request 0.1 ms, to read and to write nothing; the client has 0.1 ms to send
and 0.1 to read."""


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


def test_on_one_core_processes_work_one_after_the_other():
    # The first worker, woken at 0.15 ms, takes the core from the client, which has used it more, and runs to 1.15. The
    # client sends the second request until 1.2, and reads the first answer until 1.25, when the other worker takes the
    # core from it, to 2.25; then it has that answer at 2.3, and the other at 2.4.
    assert milliseconds([0.0, 0.0], workers=2, cores=1, worker_of=[0, 1]) == [2.3, 2.4]


def test_what_comes_while_a_worker_reads_is_in_the_same_run():
    times = replace(PLAIN, compute=(0.6 * MS, 1.2 * MS), unloaded=1.0)
    # They are there at 0.15 and 0.25 ms. The first is read until 0.35; both cost 1.1 ms in all, until 1.25, and the
    # answers leave at 1.14 and then.
    assert milliseconds([0.0, 0.0], times) == [1.29, 1.4]


def test_answers_are_written_one_after_the_other():
    times = replace(PLAIN, compute=(0.0, 0.0), client_job=0.0, unloaded=1.0)
    # All three are there at 0.05 ms, read until 0.65 and answered, 0.2 ms apart, until 1.25.
    assert milliseconds([0.0, 0.0, 0.0], times) == [0.9, 1.1, 1.3]


def test_what_shares_a_turn_of_the_client_shares_its_cost():
    # A timer rings in a turn, 0.4 ms, and the next sends: half of its cost is before that, half of it after.
    times = replace(PLAIN, client_turn=0.4 * MS, unloaded=1.0)
    assert milliseconds([0.0], times) == [0.4 + 0.2 + 0.1 + 0.05 + 1.0 + 0.05 + 0.2 + 0.1]
    # Two that are due together are sent in one turn, 0.1 ms apart, and read in one.
    both = milliseconds([0.0, 0.0], replace(times, cycles=(1.0 * MS, 1.0 * MS)), workers=2, worker_of=[0, 1])
    assert both == [2.1, 2.6]


def test_a_pause_holds_up_what_falls_into_it():
    paused = replace(PLAIN, pauses=((1.0, 0.1),))  # once a second, for 100 ms
    latencies = simulate(paused, schedule(100, 200, 0), workers=1, cores=math.inf, seed=1)
    assert (latencies > 0.01).mean() == pytest.approx(0.1, abs=0.03)
    assert latencies.max() < 0.4


def test_latencies_stay_short_below_the_capacity_and_grow_without_end_above_it():
    full = 11 / (2.0 * MS)  # of batches of eleven; larger ones are a little cheaper yet, up to 10,000 a second
    assert p99_ms(PLAIN, 0.5 * full, workers=1, cores=math.inf) < 5
    fixed = replace(PLAIN, batches=(1.0,), cycles=(1.0 * MS,), compute=(1.0 * MS,), client_job=0.0005 * MS)
    assert p99_ms(fixed, 400, workers=1, cores=math.inf) < 5
    two = {"batches": (1.0, 2.0), "cycles": (1.0 * MS, 2.0 * MS), "compute": (1.0 * MS, 2.0 * MS)}
    one_by_one = replace(fixed, **two)  # nothing is saved by batches
    assert p99_ms(one_by_one, 1200, workers=1, cores=math.inf, connections=512) > 100


def test_the_capacity_of_a_worker_that_saves_nothing_by_batches_is_near_its_rate():
    one_by_one = replace(PLAIN, batches=(1.0, 2.0), client_job=0.005 * MS)
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
    found = calibrated(bare, [Load(200.0, latencies)])
    assert found.wire == pytest.approx(0.4 * MS, rel=0.15)
    lost = sum(per_second * length for per_second, length in found.pauses)
    assert lost == pytest.approx(2.0 * 0.05, rel=0.35), "seconds paused in a second"
    assert abs(float(np.mean(found.jitter))) < 0.2 * MS


def test_pauses_are_found_in_the_waits_of_those_whom_they_held_up():
    random = np.random.default_rng(0)
    waits = [random.uniform(0, length, n) for length, n in ((0.002, 4000), (0.010, 3000))]
    waits.append(random.exponential(0.0001, 50_000))  # jitter
    found = pauses_of(np.concatenate(waits), 0.001, 200_000)
    longer = sum(per_second for per_second, length in found if length > 0.006)
    assert sum(per_second for per_second, _ in found) == pytest.approx(4000 / 200_000 / 0.002 + longer, rel=0.15)
    assert longer == pytest.approx(3000 / 200_000 / 0.010, rel=0.1)
    assert max(length for _, length in found) == pytest.approx(0.010, rel=0.01)
    assert pauses_of(np.zeros(0), 0.001, 10) == ()


def test_how_often_there_are_pauses_is_what_all_loads_say_together():
    often, seldom = (replace(PLAIN, pauses=((per_second, 0.03),)) for per_second in (3.0, 1.0))
    loads = [
        Load(300.0, simulate(times, schedule(300, 40, seed), workers=1, cores=math.inf, seed=seed))
        for seed, times in ((5, often), (6, seldom))
    ]
    bare = replace(PLAIN, wire=0.0, jitter=(0.0,))
    assert calibrated(bare, loads[:1]).paused == pytest.approx(0.09, rel=0.25)
    assert calibrated(bare, loads).paused == pytest.approx(0.06, rel=0.25)
    orjson.dumps(calibrated(bare, loads).pauses)  # plain numbers, as a plan tells them


def test_a_run_that_was_disturbed_as_no_other_does_not_count():
    usual = [np.r_[np.full(980, 1.0), np.full(20 + i, 9.0)] for i in range(7)]
    disturbed = np.r_[np.full(700, 1.0), np.full(300, 9.0)]
    load = usual_load(100.0, [disturbed, *usual])
    assert (load.rate, len(load.latencies)) == (100.0, 4000 + 2 + 3 + 4 + 5)
    assert np.count_nonzero(load.latencies == 9.0) == 4 * 20 + 2 + 3 + 4 + 5


def test_of_a_few_runs_all_count():
    runs = [np.full(3, 1.0), np.full(3, 2.0), np.full(3, 30.0)]
    assert sorted(usual_load(100.0, runs).latencies) == sorted(np.concatenate(runs))


def test_connections_are_spread_as_they_were_seen_to_be():
    assert sorted(worker_of([48, 16], 2, 64, seed=0)) == [0] * 48 + [1] * 16
    assert sorted(worker_of([49, 16], 2, 64, seed=0)) == [0] * 48 + [1] * 16, "one of the 65 is of another client"
    assert worker_of([64], 2, 64, seed=0) == [0] * 64


def test_where_nobody_knows_how_connections_are_spread_chance_does_it():
    drawn = worker_of([], 2, 64, seed=0)
    assert 16 < sum(drawn) < 48
    assert drawn != worker_of([], 2, 64, seed=1)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux tells whose connections there are")
def test_connections_are_counted_at_the_process_that_accepted_them():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                stack.enter_context(listening.accept()[0])
            assert connections_by_process(port) == [5]
        assert connections_by_process(port) == []
