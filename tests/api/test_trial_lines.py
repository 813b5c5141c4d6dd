"""What is told of a trial that is over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rowcast.api.trial_lines import TrialLines
from rowcast.models.arguments import in_python
from rowcast.training.tune.study.record import Record
from rowcast.training.tune.telling import Standing

OVER = "its 1 s were over after 1 of 5 folds: raise --budget, or use fewer folds than --folds 5"
IN_PYTHON = "its 1 s were over after 1 of 5 folds: raise budget=, or use fewer folds than folds=5"


@pytest.mark.parametrize(
    ("why", "term", "told"),
    [
        ("after 12%", str, "3/10: trial 4, no value, pruned after 12%, 1.5 s"),
        (OVER, str, f"3/10: trial 4, no value, pruned: {OVER}, 1.5 s"),
        (OVER, lambda text: in_python(text, ("budget",)), f"3/10: trial 4, no value, pruned: {IN_PYTHON}, 1.5 s"),
    ],
)
def test_why_a_trial_was_pruned_is_told_in_the_callers_terms(why, term, told):
    said = []
    display = SimpleNamespace(say=said.append, doing=lambda *_: None)
    record = Record(number=4, value=None, pruned=True, values={}, seconds=1.5, origin="", why=why)
    TrialLines(display, term).report(Standing(record, 3, 10, None, "rmse", None))
    assert said == [told]
