from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from rowcast.loadtest.plan.local_service import shared_out
from rowcast.loadtest.plan.planning import Figures, Plan, _model_of, figures_of, plan
from rowcast.loadtest.plan.service_times import Measured, _ascending, client_costs, under_load
from rowcast.loadtest.plan.simulation import ServiceTimes
from rowcast.loadtest.plan.validation import Validation
from rowcast.loadtest.scrape import Counts, read
from rowcast.loadtest.served import NotServed
from rowcast.models.errors import ConfigError, ModelNotFound
from rowcast.models.repository import Repository
from rowcast.models.rollout import name_version
from tests.loadtest.test_verdict import GOOD
from tests.support import handmade

TIMES = ServiceTimes((1.0, 2.0), (0.001, 0.002), (0.001, 0.002), 0.0, 0.000005, 0.00005, 0.001, (0.0,), ())
"""A worker of a thousand requests a second, whatever their batches."""
CLOSE = Validation(1, 600, 5.0, 4.5, 950, 1000)
METRICS = """# HELP rowcast_cpu_seconds_total CPU time
rowcast_cpu_seconds_total 2.5
rowcast_workers 2.0
rowcast_request_seconds_count{model="flights"} 100.0
rowcast_request_seconds_sum{model="flights"} 0.25
rowcast_request_seconds_count{model="other"} 7.0
rowcast_request_seconds_bucket{le="0.1",model="flights"} 100.0
rowcast_compute_seconds_count{model="flights"} 40.0
rowcast_compute_seconds_sum{model="flights"} 0.04
rowcast_queue_seconds_sum{model="flights"} 0.01
rowcast_batch_rows_sum{model="flights"} 120.0
rowcast_requests_queued_seconds_total{model="flights"} 0.03
rowcast_requests_computed_seconds_total{model="flights"} 0.08
"""


def test_a_rate_takes_workers_that_are_used_to_four_fifths():
    found = figures_of(TIMES, 20_000, 50.0, cores=8, price=2.0)
    each = found.capacity_per_worker
    assert 900 < each < 1010
    assert found.workers == math.ceil(20_000 / (0.8 * each))
    assert (found.workers_per_machine, found.machines) == (8, math.ceil(found.workers / 8))
    assert found.headroom == found.workers * each / 20_000 - 1 >= 0.25
    assert 1 < found.p99_ms <= 50
    assert found.cost_per_hour == 2.0 * found.machines
    assert found.cost_per_million_rows == pytest.approx(2.0 * found.machines / (20_000 * 3600) * 1e6)


def test_a_small_rate_takes_one_worker_on_one_machine():
    found = figures_of(TIMES, 10, 50.0, cores=8)
    assert (found.workers, found.machines, found.workers_per_machine) == (1, 1, 1)
    assert found.cost_per_hour is found.cost_per_million_rows is None


def test_a_latency_that_no_rate_holds_is_refused():
    with pytest.raises(NotServed) as caught:
        figures_of(replace(TIMES, pauses=((0.1, 0.05),)), 10, 0.5, cores=8)
    assert str(caught.value) == (
        "no rate is simulated to hold p99 within 0.5 ms: a request of light load takes 1.00 ms, and this machine "
        "pauses for 0.5% of the time; raise --p99-ms, or leave the machine to this alone"
    )


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"simulated_p99_ms": 5.6}, True),
        ({"simulated_p99_ms": 5.7}, False),
        ({"simulated_p99_ms": 3.3}, False),
        ({"simulated_capacity": 1099}, True),
        ({"simulated_capacity": 899}, False),
        ({"measured_capacity": None}, False),
    ],
)
def test_a_simulation_holds_within_a_quarter_of_p99_and_a_tenth_of_capacity(change, holds):
    assert replace(CLOSE, **change).holds is holds


def made(*validation: Validation) -> Plan:
    figures = Figures(1000.0, 3, 2, 2, 0.5, 4.0, 2.0, 0.28)
    measured = Measured(TIMES, (900.0,))
    return Plan(2000, 50.0, 2, "flights", 3, "5e" * 32, {"cores": 2}, measured, validation, figures)


def test_a_plan_as_json_is_one_line_with_its_validation():
    answer = json.loads(made(CLOSE, replace(CLOSE, workers=2)).to_json())
    assert (answer["rate"], answer["p99_ms"], answer["cores"], answer["workers"]) == (2000, 50, 2, 3)
    assert (answer["machines"], answer["cost_per_hour"]) == (2, 2.0)
    assert [v["workers"] for v in answer["validation"]] == [1, 2]
    assert answer["validation"][0]["p99_off"] == pytest.approx(5.0 / 4.5 - 1)
    assert (answer["validated"], answer["exit_code"]) == (True, 0)


def test_a_plan_whose_simulation_is_off_says_so_and_fails():
    plan = made(CLOSE, replace(CLOSE, workers=2, measured_capacity=500))
    assert plan.exit_code == 1
    assert plan.lines()[-1].startswith("NOT VALIDATED: p99 has to be simulated within 25% of what is measured")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "--rate must be a number above 0, got 0"),
        ({"rate": float("inf")}, "--rate must be a number above 0, got inf"),
        ({"p99_ms": -1}, "--p99-ms must be a number above 0, got -1"),
        ({"cores": 0}, "--cores must be from 1 to 4,096, got 0"),
        ({"price": -1}, "--price must be a number from 0 on, got -1"),
        ({"step_s": 0}, "--duration must be a number above 0, got 0"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(tmp_path, options, message):
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, **{"rate": 100, "p99_ms": 5, **options})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("cores", "workers", "shared"),
    [
        ([0, 1], 1, ([0], [1])),
        ([0, 1], 2, ([0], [1])),
        ([0, 1, 4, 5], 2, ([0, 1], [4, 5])),
        ([3], 2, ([3], [3])),
    ],
)
def test_the_client_of_a_plan_has_a_core_that_no_worker_has(cores, workers, shared):
    assert shared_out(cores, workers) == shared


def test_an_empty_repository_has_nothing_to_plan_for(tmp_path):
    with pytest.raises(ModelNotFound) as caught:
        plan(tmp_path, rate=100, p99_ms=5)
    assert str(caught.value) == f"a plan is for one model, and {tmp_path} holds none: choose one with --model"


def test_a_plan_is_for_a_version_or_an_alias_of_a_repository(tmp_path):
    for _ in range(2):
        Repository(tmp_path).publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})
    name_version(tmp_path / "flights", "old", 1, "operator")
    wanted = {None: 2, "flights": 2, "flights:1": 1, "flights@old": 1, "flights@latest": 2}
    assert {model: _model_of(tmp_path, model) for model in wanted} == {m: f"flights:{v}" for m, v in wanted.items()}
    for model in ("flights:x", "flights:\N{ARABIC-INDIC DIGIT ONE}", "a b"):
        with pytest.raises(ConfigError, match="a model is NAME, NAME@ALIAS or NAME:VERSION"):
            _model_of(tmp_path, model)


def test_the_sums_of_one_model_are_read_from_metrics():
    assert read(METRICS, "flights") == Counts(100, 0.25, 40, 120, 0.04, 0.01, 0.03, 0.08, 2.5, 2)
    assert read(METRICS, "none").requests == 0


def test_a_difference_of_sums_keeps_the_number_of_workers():
    later = replace(read(METRICS, "flights"), runs=50, cpu_s=3.0)
    assert later.since(read(METRICS, "flights")) == Counts(0, 0, 10, 0, 0, 0, 0, 0, 0.5, 2)


def test_metrics_that_tell_no_workers_are_of_another_service():
    with pytest.raises(NotServed, match="does not tell rowcast_workers"):
        read("python_info 1.0\n", "flights")


def test_batches_of_about_one_size_are_averaged_and_larger_ones_never_cost_less():
    batches, cycles, compute = _ascending([(1.0, 4.0, 2.0), (1.1, 6.0, 2.0), (8.0, 3.0, 1.0), (30.0, 9.0, 4.0)])
    assert batches == (1.0, 8.0, 30.0)
    assert cycles == (5.0, 5.0, 9.0)
    assert compute == (2.0, 2.0, 4.0)


def test_what_a_turn_and_a_job_of_the_client_cost_is_found_again():
    turn, job = 40e-6, 5e-6
    found = client_costs([(turns, turns * turn + 2 * job) for turns in (0.1, 0.6, 1.2, 2.8)])
    assert found == pytest.approx((turn, job))


def test_no_part_of_the_client_costs_less_than_nothing():
    assert client_costs([(1.0, 40e-6), (2.0, 90e-6)]) == (pytest.approx(42.5e-6), 0.0)
    assert client_costs([(1.0, 40e-6), (2.0, 30e-6)]) == (0.0, pytest.approx(17.5e-6))


def test_a_load_under_which_all_costs_more_cpu_time_has_longer_cycles_and_turns():
    times = replace(TIMES, client_turn=40e-6)
    told = replace(read(METRICS, "flights"), rows=200, runs=100, cpu_s=1.2 * 100 * times.cycle(2))
    rate, turns = GOOD.achieved_rate, 2 * GOOD.ok
    result = replace(GOOD, client_turns=turns, client_cpu=1.5 * rate * (2 * 40e-6 + 2 * 5e-6))
    found = under_load(times, told, [result])
    assert found.cycles == pytest.approx([1.2 * seconds for seconds in times.cycles])
    assert found.compute == pytest.approx([1.2 * seconds for seconds in times.compute])
    assert (found.client_turn, found.client_job) == pytest.approx((60e-6, 7.5e-6))
    assert replace(found, cycles=times.cycles, compute=times.compute, client_turn=40e-6, client_job=5e-6) == times


@pytest.mark.parametrize(("runs", "results"), [(0.0, [GOOD]), (10.0, [])])
def test_a_load_of_which_nothing_was_answered_says_nothing_of_cpu_times(runs, results):
    with pytest.raises(NotServed, match="nothing was answered while the load was measured"):
        under_load(TIMES, replace(read(METRICS, "flights"), runs=runs), results)
