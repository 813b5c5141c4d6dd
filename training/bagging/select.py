"""Which members answer, where serving may cost no more than so much: chosen greedily on rows that they have not seen.

A row of a fold is answered by the networks that left the fold out, and by no others: so the members of a fold are
chosen by the rows of that fold, from those of all its networks, and each fold keeps as many. One is added at a time,
each time the one that lowers the loss most (Caruana et al. 2004, "Ensemble selection from libraries of models",
section 2). No fold is left out: its rows would have no answer by which all is calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rowcast.models.errors import ConfigError
from rowcast.models.session import Session
from rowcast.models.summary import microseconds
from rowcast.training.bagging.core import FoldedCore, networks_of
from rowcast.training.bagging.prepare import Bag
from rowcast.training.bagging.unseen import outputs_of_fold
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.config import Config
from rowcast.training.export.graph import Core, export
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, signature_of
from rowcast.training.network.network import Embedded, Ensemble, Network
from rowcast.training.own import Own

CHOOSING_ROWS = 4096
"""Rows of a fold that its members are chosen by, at most."""


def most_members(bag: Bag, config: Config, own: Own) -> int:
    """How many members of each fold may answer, told before anything is fitted.

    What a row costs is measured on this machine, with networks of fresh weights: time does not hang on weights.

    Raises:
        ConfigError: not even one may.
    """
    fit, n_folds = config.fit, len(bag.folds)
    most = fit.seeds * config.network.members
    if fit.max_members != "none":
        if fit.max_members < n_folds:
            raise ConfigError(
                f"'fit.max_members' must be at least {n_folds}, a member for each of {n_folds} folds, got "
                f"{fit.max_members}: use fewer folds"
            )
        most = min(most, fit.max_members // n_folds)
    if fit.max_row_us != "none":
        takes, fits = _microseconds(bag, config, own, most), 0
        if takes <= fit.max_row_us:
            return most
        while fits + 1 < most:  # `fits` members take no longer, and `most` do
            middle = (fits + most) // 2
            takes = _microseconds(bag, config, own, middle)
            fits, most = (middle, most) if takes <= fit.max_row_us else (fits, middle)
        if fits == 0:
            raise ConfigError(
                f"'fit.max_row_us' must be what a row alone takes at least, {takes:.0f} us with one member for each of "
                f"{n_folds} folds on this machine, got {fit.max_row_us:g}: use fewer folds, or smaller networks with "
                "network.layers"
            )
        most = fits
    return most


def _microseconds(bag: Bag, config: Config, own: Own, members: int) -> float:
    """What a row alone takes with so many members for each fold, spread over the networks of its seeds."""
    n = min(config.fit.seeds, members)
    sizes = [members // n + (i < members % n) for i in range(n)]
    configs = [
        config.model_copy(update={"network": config.network.model_copy(update={"members": size})}) for size in sizes
    ]
    with torch.random.fork_rng(devices=[]):
        objective = Objective(bag.target, config.objective, own.loss)
        cores = []
        for fold in bag.folds:
            of_fold = Objective(fold.target, config.objective, own.loss)
            networks = [network_of(fold.encoder, of_fold, one, own) for one in configs]
            cores.append(Core(fold.encoder, Ensemble(networks), of_fold.head))
        core = FoldedCore(cores, objective.head)
        return microseconds(Session(export(core, signature_of(bag, core)), "cpu"))[1]


@torch.no_grad()
def chosen_members(
    cores: Sequence[Core], bag: Bag, objective: Objective, most: int, seed: int
) -> tuple[list[Core], list[str]]:
    """The folds with so many members at most, and the decision; empty where all of them stay.

    Args:
        cores: of each fold, each with as many networks.
        bag: of these folds.
        objective: of all; its head is not calibrated yet.
        most: members of each fold.
        seed: of the rows that are chosen by, where a fold has very many.
    """
    folded = FoldedCore(cores, objective.head).cpu().eval()
    n_members = sum(_members_of(network) for network in networks_of(cores[0]))
    if most >= n_members:
        return list(cores), []
    random = np.random.default_rng(seed)
    orders: list[list[int]] = []
    losses, every, rows = [], [], []
    for fold, split in enumerate(bag.plan):
        chosen = split.test
        if len(chosen) > CHOOSING_ROWS:
            chosen = np.sort(random.choice(chosen, CHOOSING_ROWS, replace=False))
        part = bag.rows(chosen)
        said, target = outputs_of_fold(folded, fold, part), objective.encode(part.target)
        weight = None if part.weight is None else torch.from_numpy(mean_of_one(part.weight)).to(torch.float32)
        order, found = _greedy(said, target, weight, objective, most)
        orders.append(order)
        losses.append(found)
        every.append(float(objective.score(said, target, weight)))
        rows.append(len(split.test))
    of_all = np.average(losses, axis=0, weights=rows)
    n = int(of_all.argmin()) + 1
    best, whole = of_all[n - 1], np.average(every, weights=rows)
    note = (
        f"of {n_members} members of each of {len(cores)} folds {n} answer, chosen by rows that they have not seen, "
        f"which they answer with a loss of {best:.4g}; all of them would with {whole:.4g}; metrics of validation rows, "
        "which chose, look a little better for it"
    )
    return [_with(core, order[:n]) for core, order in zip(cores, orders, strict=True)], [note]


def _greedy(
    said: Tensor, target: Tensor, weight: Tensor | None, objective: Objective, most: int
) -> tuple[list[int], list[float]]:
    """Members in the order in which they are added, and the loss with each."""
    order: list[int] = []
    losses: list[float] = []
    while len(order) < most:
        left = [i for i in range(len(said)) if i not in order]
        scores = {i: float(objective.score(said[[*order, i]], target, weight)) for i in left}
        best = min(scores, key=scores.__getitem__)
        order.append(best)
        losses.append(scores[best])
    return order, losses


def _members_of(network: Embedded) -> int:
    assert isinstance(network, Network)  # folds have no network of one's own
    return len(network.heads.weight)


def _with(core: Core, chosen: Sequence[int]) -> Core:
    """A fold with some of its members, numbered through its networks."""
    networks, first = [], 0
    for network in networks_of(core):
        assert isinstance(network, Network)
        n = _members_of(network)
        kept = sorted(i - first for i in chosen if first <= i < first + n)
        first += n
        if kept:
            network.keep_members(kept)
            networks.append(network)
    return Core(core.encoder, networks[0] if len(networks) == 1 else Ensemble(networks), core.head)
