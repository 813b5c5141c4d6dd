"""What networks of several folds say of rows that they have not learned.

A row is held out by the fit of one fold, and is among the rows by which some others stop: these have not learned it
either. For metrics each row is answered by the fit that has never seen it. For calibration it is answered by all that
have not learned it, since what is served is the mean of all: the mean of several errs less than one of them, and
intervals by the errors of one alone would be too wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rowcast.training.bagging.core import FoldedCore
from rowcast.training.bagging.prepare import Bag
from rowcast.training.data.split import Split
from rowcast.training.fit.loop import EVALUATION_ROWS
from rowcast.training.network.head import ClassHead, OrdinalHead
from rowcast.training.network.link import MeanHead
from rowcast.training.prepare import Part


@torch.no_grad()
def outputs_of_fold(core: FoldedCore, fold: int, part: Part) -> Tensor:
    """What the members of a fold say of rows, in bounded memory; see :meth:`FoldedCore.outputs`."""
    front, found = core.fronts[fold], []
    for start in range(0, len(part), EVALUATION_ROWS):
        some = {name: values[start : start + EVALUATION_ROWS] for name, values in part.columns.items()}
        found.append(core.outputs(fold, *front.inputs(some)))
    return torch.cat(found, dim=1)


def by_its_fold(core: FoldedCore, bag: Bag) -> Tensor:
    """What each row is told by the fold that has never seen it, ``[members, rows, n_outputs]``, fold after fold."""
    return torch.cat([outputs_of_fold(core, fold, prepared.test) for fold, prepared in enumerate(bag.folds)], dim=1)


def to_all(plan: Sequence[Split]) -> float:
    """How far it is from the fits that have not learned a row to all of them, in steps from one fit to these.

    Both in 1 over the number of fits, the unit in which what several add to one goes on evenly. 0 where no row was
    left out by more than one.
    """
    rows = np.concatenate([split.test for split in plan])
    fits = np.sum([~np.isin(rows, split.train) for split in plan], axis=0)
    some = float(np.mean(1.0 / fits))
    return (some - 1.0 / len(plan)) / (1.0 - some) if some < 1.0 else 0.0


def by_all_that_have_not_learned(core: FoldedCore, bag: Bag) -> Tensor:
    """The mean of what the same rows are told by every fold that has not learned them, ``[1, rows, n_outputs]``."""
    head = core.head
    if isinstance(head, OrdinalHead):  # a mean of its probabilities is not what its outputs could say
        return by_its_fold(core, bag)
    in_logs = isinstance(head, ClassHead | MeanHead)
    rows: NDArray[np.int64] = np.concatenate([split.test for split in bag.plan])
    total, count = torch.empty(0), torch.zeros(len(rows), 1, dtype=torch.float64)
    for fold, split in enumerate(bag.plan):
        at = torch.from_numpy(np.flatnonzero(~np.isin(rows, split.train)))
        said = outputs_of_fold(core, fold, bag.rows(rows[at.numpy()]))
        said = head.log_probabilities(said) if isinstance(head, ClassHead) else said
        if len(total) == 0:
            total = torch.full((len(rows), said.shape[2]), -math.inf if in_logs else 0.0, dtype=torch.float64)
        total[at] = torch.logaddexp(total[at], torch.logsumexp(said, dim=0)) if in_logs else total[at] + said.sum(dim=0)
        count[at] += len(said)
    return (total - torch.log(count) if in_logs else total / count).unsqueeze(0)
