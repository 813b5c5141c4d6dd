"""What a student learns: the training rows with a teacher's answers mixed into their targets, and made-up rows.

The loss of a mixture is the mixture of the losses, as each loss that a teacher goes with is linear in its target, or
differs from that by what no prediction changes (Hinton, Vinyals and Dean 2015, section 2, at a temperature of 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rowcast.training.columns.target import Target
from rowcast.training.distil.answers import own_answers
from rowcast.training.distil.teacher import Answers, Asked
from rowcast.training.prepare import Part, Prepared
from rowcast.training.refit import joined_rows


@dataclass(frozen=True)
class Way:
    """How a student is taught."""

    weight: float
    """Share of the teacher's answer; 0 for a fit on the targets alone."""
    made_up: float = 0.0
    """Made-up rows for each training row."""

    def __str__(self) -> str:
        if self.weight == 0.0:
            return "on targets alone"
        made_up = f" and {self.made_up:g} made-up rows for each training row" if self.made_up else ""
        return f"weight {self.weight:g}{made_up}"


def student_rows(prepared: Prepared, way: Way, said: Answers, made: tuple[Asked, Answers] | None) -> Prepared:
    """The rows that a student learns.

    Args:
        prepared: the table.
        way: how it is taught.
        said: what the teacher says of the training rows.
        made: made-up rows and what it says of them, where there are to be some.
    """
    part, target = prepared.train, prepared.target
    own = own_answers(part.target, target)
    taught = replace(part, taught=(1.0 - way.weight) * own + way.weight * said)
    if made is None:
        return replace(prepared, train=taught)
    asked, answers = made
    assert asked.base is not None
    of_made = replace(asked.part, taught=answers, target=_targets(asked.part, answers, said[asked.base], target))
    rows = joined_rows([taught, of_made])
    return replace(prepared, train=replace(rows, taught=np.concatenate([taught.taught, answers])))


def _targets(made: Part, answers: Answers, said_of_base: Answers, target: Target) -> NDArray[np.generic]:
    """Targets of made-up rows, which the bounds of a regression learn: as far off what the teacher says as that of the
    row which each was made of."""
    if target.classes:
        return made.target
    off = made.target - said_of_base
    return np.clip(answers + off, target.values.min(), target.values.max())
