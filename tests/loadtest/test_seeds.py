"""A seed out of range is told before anything is asked or started."""

from __future__ import annotations

import pytest

from rowcast.loadtest import check, search
from rowcast.loadtest.plan.planning import plan
from rowcast.loadtest.report.write import report
from rowcast.models.errors import ConfigError
from rowcast.models.seeds import checked_seed
from tests.support.command import run

NOWHERE = "http://127.0.0.1:9"
CALLS = {
    "check": lambda _, seed: check(NOWHERE, rate=10, p99_ms=5, duration_s=1, seed=seed),
    "search": lambda _, seed: search(NOWHERE, p99_ms=5, seed=seed),
    "report": lambda folder, seed: report(NOWHERE, folder / "load.html", seed=seed),
    "plan": lambda folder, seed: plan(folder, rate=10, p99_ms=5, seed=seed),
}


@pytest.mark.parametrize("seed", [-1, 2**32, 99999999999999999999999, 1.5, True])
@pytest.mark.parametrize("verb", CALLS)
def test_a_seed_out_of_range_is_refused_by_name(tmp_path, verb, seed):
    with pytest.raises(ConfigError) as caught:
        CALLS[verb](tmp_path, seed)
    assert str(caught.value) == f"--seed must be a whole number from 0 to 4,294,967,295, got {seed!r}"


def test_the_highest_seed_is_one():
    assert checked_seed(2**32 - 1) == 2**32 - 1


def test_on_the_command_line_it_is_wrong_usage(capfd):
    code, out, err = run(capfd, "loadtest", "check", "--url", NOWHERE, "--seed", "99999999999999999999999", "--json")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "rowcast: --seed must be a whole number from 0 to 4,294,967,295, got 99999999999999999999999"
    ]
