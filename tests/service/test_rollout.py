"""Which requests a canary answers, what is counted of it, and when a guard is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rowcast.models.rollout import Guards, Rollout
from rowcast.models.rollout.record import OnTrial, percent
from rowcast.models.session import Predictions
from rowcast.service.live.counted import MOST_TRIALS, tallies_of, total, write_tallies
from rowcast.service.live.judge import broken, is_more
from rowcast.service.process.slots import SLOT_BYTES
from rowcast.service.rollout.compare import compared
from rowcast.service.rollout.promotion import waiting
from rowcast.service.rollout.tally import TALLY_BYTES, Tally, Times, bucket_of, end_of
from rowcast.service.rollout.trial import Sides, Trial, key_of


def trial(guard: str = "", canary: float | None = 0.05) -> Trial:
    said = Rollout(
        live=1,
        canary=None if canary is None else OnTrial(version=2, share=canary),
        shadow=OnTrial(version=2, share=1.0),
        guards=Guards.of(guard) if guard else Guards(),
        since="2026-01-02T03:04:05Z",
    )
    found = Trial.of("flights", said)
    assert found is not None
    return found


def counted(**what: float | list[float]) -> Tally:
    tally = Tally()
    for name, value in what.items():
        if isinstance(value, list):
            for seconds in value:
                getattr(tally, name).add(seconds)
        else:
            setattr(tally, name, value)
    return tally


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_a_share_of_keys_is_within_a_percent_and_grows_by_more_of_them(share: float) -> None:
    keys = [b"%d" % i for i in range(20_000)]
    sides, more = Sides("flights", 2, share), Sides("flights", 2, min(1.0, share + 0.2))
    assert sum(map(sides.takes, keys)) / len(keys) == pytest.approx(share, abs=0.01)
    assert all(more.takes(key) for key in keys if sides.takes(key))


def test_the_side_of_a_key_is_the_same_for_ever() -> None:
    sides = Sides("flights", 2, 0.5)
    assert [i for i in range(16) if sides.takes(b"customer-%d" % i)] == [1, 2, 7, 8, 12, 15]
    long = b"x" * 100_000
    assert sides.takes_body(long) == sides.takes_body(long)
    assert {sides.takes_body(b"%d" % i + long + b"%d" % i) for i in range(10)} == {False, True}


def test_a_key_is_found_among_headers() -> None:
    assert key_of([(b"accept", b"*/*"), (b"x-rowcast-key", b" a ")]) == b"a"
    assert key_of([(b"x-rowcast-key", b"")]) is None
    assert key_of([]) is None


def test_what_workers_count_adds_up_and_comes_out_as_it_went_in() -> None:
    one = counted(new_answered=3, difference=0.5, largest=0.25, rows=2, new_times=[0.001, 0.01])
    other = counted(new_answered=4, difference=1.0, largest=0.125, rows=6, new_times=[0.1])
    assert len(one.pack()) == TALLY_BYTES
    assert Tally.unpack(one.pack()) == Tally.of_numbers(one.as_numbers()) == one
    both = one.plus(other)
    assert (both.new_answered, both.difference, both.largest, both.new_times.count) == (7, 1.5, 0.25, 3)
    assert both.minus(other).new_times.buckets == one.new_times.buckets
    memory = memoryview(bytearray(2 * SLOT_BYTES))
    slots = [memory[:SLOT_BYTES], memory[SLOT_BYTES:]]
    write_tallies(slots[0], dict.fromkeys(range(1, MOST_TRIALS + 1), one))
    write_tallies(slots[1], {7: other})
    assert total(tallies_of(slots, 7)) == both
    write_tallies(slots[0], {})
    assert total(tallies_of(slots, 7)) == other


def test_times_are_told_apart_that_differ_by_a_fifth() -> None:
    for seconds in (0.0001, 0.0033, 0.07, 2.0):
        assert end_of(bucket_of(seconds)) == pytest.approx(seconds, rel=0.05)
        assert end_of(bucket_of(seconds)) >= seconds
        assert bucket_of(1.2 * seconds) > bucket_of(seconds)
    times = Times()
    for i in range(100):
        times.add(0.5 if i == 50 else 0.001)
    assert times.quantile(0.5) == pytest.approx(0.001, rel=0.1)
    assert times.quantile(1.0) == pytest.approx(0.5, rel=0.1)
    assert times.beyond(0.01) == 1


def test_chance_is_no_excuse_when_it_hardly_ever_happens() -> None:
    assert [is_more(2, 2, 0.001), is_more(1, 1, 0.001), is_more(2, 1000, 0.001), is_more(10, 1000, 0.001)] == [
        True,
        False,
        False,
        True,
    ]
    assert (is_more(60, 100, 0.5), is_more(80, 100, 0.5)) == (False, True)
    assert (is_more(0, 0, 0.1), is_more(1, 100_000, 0.0), is_more(100, 100, 1.0)) == (False, True, False)
    assert (is_more(1020, 100_000, 0.01), is_more(1200, 100_000, 0.01)) == (False, True)


BROKEN = {
    "errors=0.1%": (
        counted(new_answered=50, new_failed=5, old_answered=1000),
        "errors=0.1% is broken: 5 of 55 requests failed",
    ),
    "disagree=5%": (
        counted(rows=100, disagree=30),
        "disagree=5% is broken: it disagrees with the live version in 30 of 100 rows",
    ),
    "p99=1.2x": (
        counted(old_times=[0.001] * 300, new_times=[0.0013] * 50),
        "p99=1.2x is broken: the p99 of a request is 1.3",
    ),
    "p99=2x": (counted(old_runs=[0.001] * 300, new_runs=[0.1] * 50), "p99=2x is broken: the p99 of a run is "),
    "errors=1%": (counted(run_failed=5, runs=20), "errors=1% is broken: 5 of 25 runs in the shadow failed"),
}


@pytest.mark.parametrize("guard", BROKEN)
def test_a_guard_that_is_broken_says_how_and_no_other_does(guard: str) -> None:
    tally, why = BROKEN[guard]
    assert broken(trial(guard), tally).startswith(why)
    assert broken(trial(), tally) == ""
    easy = "errors=50%,disagree=50%,p99=1000x"
    assert broken(trial(easy), tally) == ""


ENOUGH = {"new_answered": 200, "old_answered": 200, "rows": 100, "runs": 100}
FAST, SLOW = [0.001] * 100, [0.001] * 98 + [0.01] * 2
WAITS = {
    "nothing was seen": ("errors=5%", counted(), "errors=5% is judged by 20 requests or more, and 0 were seen"),
    "few requests": (
        "errors=0.1%",
        counted(new_answered=199),
        "errors=0.1% is judged by 200 requests or more, and 199 were seen",
    ),
    "one that failed": (
        "errors=0.1%",
        counted(new_answered=900, new_failed=1),
        "1 of 901 requests failed, and at most 0.1% may",
    ),
    "more of which fail on the live version": ("errors=0%", counted(**ENOUGH, new_failed=1, old_failed=2), ""),
    "no errors guard and failures": (
        "disagree=5%",
        counted(**ENOUGH, new_failed=1),
        "1 of 201 requests failed, and at most 0.1% may",
    ),
    "few rows that all disagree": (
        "disagree=5%",
        counted(**ENOUGH | {"rows": 3}, disagree=3),
        "disagree=5% is judged by 20 rows or more, and 3 were compared",
    ),
    "a few too many that disagree": (
        "disagree=5%",
        counted(**ENOUGH, disagree=6),
        "it disagrees in 6 of 100 rows, and may in at most 5%",
    ),
    "as many as may": ("disagree=5%", counted(**ENOUGH, disagree=5), ""),
    "few timed runs": (
        "p99=2x",
        counted(**ENOUGH, old_runs=FAST, new_runs=FAST[:-1], old_times=FAST * 9, new_times=FAST[:50]),
        "p99=2x is judged by 100 requests or timed runs of each version, and 99 were seen",
    ),
    "a few too many slow ones": (
        "p99=2x",
        counted(**ENOUGH, old_times=FAST, new_times=SLOW, old_runs=FAST, new_runs=FAST),
        "2 of 100 requests took longer than 2 times the p99 of the live version, and at most 1% may",
    ),
    "as few as may": ("p99=2x", counted(**ENOUGH, old_runs=FAST, new_runs=[*FAST[:-1], 0.01]), ""),
    "all guards": (
        "errors=0.1%,p99=1.01x,disagree=5%",
        counted(new_answered=9, runs=200, rows=400, disagree=20, old_runs=FAST, new_runs=FAST),
        "",
    ),
}


@pytest.mark.parametrize("case", WAITS)
def test_a_version_is_promoted_when_each_guard_has_enough_and_what_was_seen_is_within_it(case: str) -> None:
    guard, tally, words = WAITS[case]
    promoted = replace(trial(guard), promote_after=60.0)
    assert broken(promoted, tally) == ""
    assert waiting(promoted, tally) == words
    assert waiting(trial(guard), tally) == ""


def test_without_guards_a_version_is_promoted_when_it_has_answered_some_and_failed_none() -> None:
    for canary, what, more in ((0.05, "requests", "new_answered"), (None, "runs in the shadow", "runs")):
        promoted = replace(trial(canary=canary), promote_after=60.0)
        words = f"whether it fails is judged by 20 {what} or more, and 19 were seen"
        assert waiting(promoted, counted(**{more: 19})) == words
        assert waiting(promoted, counted(**{more: 20})) == ""
    assert (
        waiting(promoted, counted(runs=99, run_failed=1)) == "1 of 100 runs in the shadow failed, and at most 0.1% may"
    )
    assert waiting(promoted, counted(new_answered=99)) != ""  # others, of which a shadow answers none


def test_what_fails_on_the_live_version_too_is_not_the_new_ones_fault() -> None:
    overloaded = counted(new_answered=50, new_failed=5, old_answered=1000, old_failed=100)
    assert broken(trial("errors=0.1%"), overloaded) == ""


def test_a_regression_disagrees_outside_of_the_interval_or_far_away() -> None:
    def said(value: list[float], width: float | None) -> Predictions:
        at = np.array(value)
        return Predictions(None, None, at, *((None, None) if width is None else (at - width, at + width)))

    difference, differ, disagree = compared(said([1.0, 2.0, 3.0], 0.5), said([1.4, 2.6, 3.0], 0.1))
    assert (difference.tolist(), differ, disagree) == (pytest.approx([0.4, 0.6, 0.0]), 0, 1)
    assert compared(said([1.0, 2.0, 3.0], None), said([1.05, 2.5, 3.0], None))[2] == 1


def test_a_share_is_written_as_a_person_would() -> None:
    assert [percent(share) for share in (0.05, 0.001, 1.0, 1 / 3)] == ["5%", "0.1%", "100%", "33.3333%"]
