"""Which networks answer, where serving may cost no more than so much: of each fold the same seeds, chosen greedily.

A seed is fitted once in each fold, so that together its networks have a say on every row, by the fit that has never
seen it. Seeds are added one at a time, each time the one that lowers the loss of these answers most, until there are as
many as may be, or none lowers it (Caruana et al. 2004, "Ensemble selection from libraries of models", section 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rowcast.models.errors import ConfigError
from rowcast.models.session import Session
from rowcast.models.summary import microseconds
from rowcast.training.bagging.core import FoldedCore, networks_of
from rowcast.training.bagging.prepare import Bag
from rowcast.training.bagging.unseen import by_its_fold
from rowcast.training.config import Config
from rowcast.training.export.graph import Core, export
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, signature_of
from rowcast.training.network.network import Ensemble
from rowcast.training.own import Own


def most_seeds(bag: Bag, config: Config, own: Own) -> int:
    """How many seeds of each fold may answer, told before anything is fitted.

    What a row costs is measured on this machine, with networks of fresh weights: time does not hang on weights.

    Raises:
        ConfigError: not even one may.
    """
    fit, n_folds = config.fit, len(bag.folds)
    most = fit.seeds
    if fit.max_members != "none":
        least = n_folds * config.network.members
        most = min(most, fit.max_members // least)
        if most < 1:
            raise ConfigError(
                f"'fit.max_members' must be at least {least}, {n_folds} folds of {config.network.members} members, "
                f"got {fit.max_members}: use fewer folds, or lower network.members"
            )
    if fit.max_row_us != "none":
        while most > 0:
            micros = _microseconds(bag, config, own, most)
            if micros <= fit.max_row_us:
                break
            most -= 1
        if most < 1:
            raise ConfigError(
                f"'fit.max_row_us' must be what a row alone takes at least, {micros:.0f} us with one network for each "
                f"of {n_folds} folds on this machine, got {fit.max_row_us:g}: use fewer folds, or smaller networks "
                "with network.members and network.layers"
            )
    return most


def _microseconds(bag: Bag, config: Config, own: Own, seeds: int) -> float:
    """What a row alone takes with so many networks for each fold."""
    with torch.random.fork_rng(devices=[]):
        objective = Objective(bag.target, config.objective, own.loss)
        cores = []
        for fold in bag.folds:
            of_fold = Objective(fold.target, config.objective, own.loss)
            networks = [network_of(fold.encoder, of_fold, config, own) for _ in range(seeds)]
            cores.append(Core(fold.encoder, Ensemble(networks), of_fold.head))
        core = FoldedCore(cores, objective.head)
        return microseconds(Session(export(core, signature_of(bag, core)), "cpu"))[1]


@torch.no_grad()
def chosen_seeds(
    cores: Sequence[Core], bag: Bag, objective: Objective, most: int, weight: torch.Tensor | None
) -> tuple[list[Core], list[str]]:
    """The folds with the networks of so many seeds at most, and the decision; empty where all of them stay.

    Args:
        cores: of each fold, each with as many networks.
        bag: of these folds.
        objective: of all; its head is not calibrated yet.
        most: seeds.
        weight: of the rows of all folds, ``[rows]``, or None.
    """
    n_seeds = len(networks_of(cores[0]))
    if most >= n_seeds:
        return list(cores), []
    target = torch.cat([objective.encode(fold.test.target) for fold in bag.folds])
    said = [by_its_fold(FoldedCore([_with(core, [i]) for core in cores], objective.head), bag) for i in range(n_seeds)]
    chosen: list[int] = []
    best = float("inf")
    while len(chosen) < most:
        scores = {
            i: float(objective.score(torch.cat([said[k] for k in (*chosen, i)]), target, weight))
            for i in range(n_seeds)
            if i not in chosen
        }
        seed = min(scores, key=scores.__getitem__)
        if chosen and scores[seed] >= best:
            break
        chosen.append(seed)
        best = scores[seed]
    every = float(objective.score(torch.cat(said), target, weight))
    note = (
        f"of {n_seeds} networks of each fold {len(chosen)} answer, chosen by rows that they have not seen, which they "
        f"answer with a loss of {best:.4g}; all of them would with {every:.4g}"
    )
    return [_with(core, chosen) for core in cores], [note]


def _with(core: Core, chosen: Sequence[int]) -> Core:
    """A fold with some of its networks."""
    networks = [networks_of(core)[i] for i in chosen]
    return Core(core.encoder, networks[0] if len(networks) == 1 else Ensemble(networks), core.head)
