"""What several folds decided, each said once."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIGURES = re.compile(r"\d[\d,.]*")


def told_once(folds: Sequence[Sequence[str]]) -> list[str]:
    """The decisions of folds, in the order in which they were taken.

    What all of them say stands there once, figures apart those of the first; what some of them say names these.

    Args:
        folds: the decisions of each, in sentences.
    """
    first: dict[str, str] = {}
    said: dict[str, set[int]] = {}
    exact: dict[str, set[str]] = {}
    for number, decisions in enumerate(folds, 1):
        for decision in decisions:
            key = _FIGURES.sub("#", decision)
            first.setdefault(key, decision)
            said.setdefault(key, set()).add(number)
            exact.setdefault(key, set()).add(decision)
    told = []
    for key, decision in first.items():
        numbers = sorted(said[key])
        if len(numbers) < len(folds):
            some = ", ".join(map(str, numbers))
            told.append(f"in fold{'s' * (len(numbers) > 1)} {some}: {decision}")
        else:
            told.append(
                decision if len(exact[key]) == 1 else f"{decision} (so in fold 1, and much alike in the others)"
            )
    return told
