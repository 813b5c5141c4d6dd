"""The store of what was learned of earlier requests stays small, and forgets what it must."""

from __future__ import annotations

from rowcast.service.cache import BoundedCache, LearningCache


def test_when_one_more_comes_than_may_be_kept_all_are_forgotten() -> None:
    known: BoundedCache[int, str] = BoundedCache(3)
    for key in range(3):
        known[key] = "known"
    known[2] = "anew"
    assert known == {0: "known", 1: "known", 2: "anew"}
    known[3] = "known"
    assert known == {3: "known"}


def test_with_the_forms_what_was_counted_of_them_is_forgotten() -> None:
    known: LearningCache[str, str] = LearningCache(1)
    assert not known.is_worth_learning("a")
    known["b"] = "known"
    known["c"] = "known"
    assert known == {"c": "known"}
    assert not known.is_worth_learning("a")
    assert known.is_worth_learning("a")


def test_forms_that_are_never_learned_are_counted_in_a_bounded_store() -> None:
    known: LearningCache[int, str] = LearningCache(1)
    for form in range(5000):
        assert not known.is_worth_learning(form)
    assert len(known._seen) <= 1024
