"""Durations and shares as persons write them: each is a finite number within its range, or refused in a short line."""

from __future__ import annotations

import pytest

from rowcast.models.durations import budget_seconds, seconds
from rowcast.models.errors import ConfigError
from rowcast.models.shares import share


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + "h", "9" * 305 + "h", "0", "-1", "1d", "x" * 10_000])
def test_a_duration_is_finite_and_above_nothing(text: str) -> None:
    for read in (seconds, budget_seconds):
        with pytest.raises(ConfigError) as refused:
            read(text)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("budget", [10**400, -(10**400), float("inf"), float("nan"), True, 0])
def test_a_budget_of_any_number_is_refused_where_it_is_none(budget: float) -> None:
    with pytest.raises(ConfigError, match="--budget must be more than 0 seconds"):
        budget_seconds(budget)


@pytest.mark.parametrize(("given", "found"), [("100%", 1.0), ("1", 1.0), (1, 1.0), ("3%", 0.03), ("0", 0.0)])
def test_a_share_may_be_the_whole_where_that_is_said(given: object, found: float) -> None:
    assert share(given, whole=True) == found
    if found == 1:
        with pytest.raises(ConfigError, match="a share must be a share from 0 to less than 1, such as"):
            share(given)


@pytest.mark.parametrize("given", ["101%", "1.1", 10**400, -(10**400), "9" * 400, None, True])
def test_no_share_is_above_the_whole(given: object) -> None:
    with pytest.raises(ConfigError, match="--precision must be a share from 0 to 100%, such as"):
        share(given, "--precision", whole=True)
