"""``fit.refit``: a fresh fit on all rows, for as many epochs as were best with some of them held back.

Kinds of columns, the unit of the target, calibration, threshold and intervals are those of the fit before, which had
validation rows to find them on. What is fitted on columns (bins, levels) and the network are fitted anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rowcast.training.config import Config
from rowcast.training.device import same_bits
from rowcast.training.export.graph import Core
from rowcast.training.features.encoder import fit_encoder
from rowcast.training.fit.again import Length, fit_again, length_of, told
from rowcast.training.fit.augment import Augment
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, seed_of, to_batch
from rowcast.training.network.head import RegressionHead
from rowcast.training.network.network import Embedded, Ensemble
from rowcast.training.own import Own
from rowcast.training.prepare import Part, Prepared
from rowcast.training.ranks.ranks import ALONE, Ranks
from rowcast.training.start.begin import rows_of_codes

LEAST_TIME = 0.6
"""Share of the time that it would take, below which a budget has none for it: a fit that is cut shorter is worse than
one of fewer rows."""
GRAPH_OF_METRICS = 0.5
"""What the graph of the fits before takes, which metrics are of, as a share of what follows a fit: it has no gate."""


@dataclass(frozen=True)
class First:
    """A fit whose network answers, with some rows held back."""

    config: Config
    number: int
    """Of its seed."""
    fit: FitResult

    @property
    def best_share(self) -> float:
        """Of its epochs, until it was best: of so many, a fit on all rows has as many."""
        return self.fit.best_epoch / self.fit.epochs


@dataclass(frozen=True)
class Refitted:
    """What is exported in place of the first fit, and the rows it learned."""

    core: Core
    prepared: Prepared
    decision: str


def refit(
    prepared: Prepared,
    core: Core,
    firsts: Sequence[First],
    device: torch.device,
    *,
    with_test: bool,
    own: Own,
    within: float = math.inf,
    interrupt: Interrupt | None = None,
    say: Callable[[str], None] = lambda _: None,
    ranks: Ranks = ALONE,
) -> tuple[Refitted | None, str]:
    """Fit again on all rows.

    Args:
        prepared: the rows of the first fit.
        core: of the first fits, calibrated.
        firsts: how they went.
        device: to train on.
        with_test: whether test rows are rows of the table, and not of one that is only evaluated.
        own: a network and a loss in place of those of the configs.
        within: seconds that all may take.
        interrupt: ends it at its next step, once it is true.
        say: told that it begins.
        ranks: the processes that train together.

    Returns:
        what it gave, None where the first fits stay; and a decision.
    """
    started, config = time.monotonic(), firsts[0].config
    if interrupt is not None and ranks.all_interrupted(interrupt):
        return None, f"there is no fit on all rows: {interrupt.name} ended the one before"
    lengths = [length_of(one.fit, len(prepared.train), one.config.fit) for one in firsts]
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        return None, "there is no fit on all rows: no epoch was better than none"
    parts = [prepared.train, prepared.validation, *([prepared.test] if with_test else [])]
    rows = joined_rows(parts)
    takes = [one.fit.seconds * one.best_share * len(rows) / len(prepared.train) for one in firsts]
    within = ranks.said(within)
    if not within >= LEAST_TIME * sum(takes):
        left = "no time" if within < 0.1 else f"{within:.2g} s"
        return None, f"there is no fit on all rows: the budget leaves {left} of about {sum(takes):.2g} s that it takes"
    say(f"fitting again, on all {len(rows):,} rows for {told([length.epochs for length in known])}")
    trend = not config.data.split_by_time
    begun = prepared.begun
    fit_columns = fit_encoder if begun is None else begun.encoder
    encoder = fit_columns(rows.columns, prepared.rules, config.features, rows.target, trend=trend).to(device)
    objective = Objective(prepared.target, config.objective, own.loss)
    objective.head.to(device)
    batch = to_batch(rows, encoder, objective, device)
    networks: list[Embedded] = []
    took: list[float] = []
    for i, (one, length) in enumerate(zip(firsts, known, strict=True)):
        config, seed = one.config, seed_of(one.config, one.number)
        with torch.random.fork_rng(devices=[]), same_bits(device, asked=config.fit.deterministic):
            torch.manual_seed(seed)
            network = network_of(encoder, objective, config, own).to(device)
            if begun is not None:
                begun.give(network, encoder, prepared.target, objective.n_outputs, config, one.number)
            ranks.begin(network, seed)
            epochs = fit_again(
                network,
                encoder,
                objective,
                batch,
                length,
                config.fit,
                config.optimizer,
                generator=torch.Generator().manual_seed(seed),
                augment=Augment(config.augment, batch, len(prepared.target.classes)),
                interrupt=interrupt,
                ranks=ranks,
                within=max(within - ranks.said(time.monotonic() - started), 1e-9) * takes[i] / sum(takes[i:]),
            )
        if epochs is None:
            name = "" if interrupt is None else interrupt.name
            return None, f"there is no fit on all rows: {name} ended it, and the one before is published"
        networks.append(network)
        took.append(epochs)
    combined = networks[0] if len(networks) == 1 else Ensemble(networks)
    combined.settle(rows_of_codes(batch, encoder, begun))
    if isinstance(core.head, RegressionHead) and core.head.intervals != "quantiles":
        combined.keep_first()
    again = Core(encoder, combined, core.head).cpu().eval()
    return Refitted(again, replace(prepared, train=rows, encoder=encoder), _decision(len(rows), known, took)), ""


def _decision(rows: int, lengths: list[Length], took: list[float]) -> str:
    best = [length.epochs for length in lengths]
    cut_short = f"of {told(best)} that were best, cut short by the budget"
    which = "as many as were best" if sum(took) > 0.98 * sum(best) else cut_short
    return (
        f"fitted again on all {rows:,} rows for {told(took)}, {which}: metrics are those of the fit before, which had "
        "not seen its validation and test rows, and so are calibration and intervals"
    )


def joined_rows(parts: list[Part]) -> Part:
    """The rows of several parts, one after the other. Rows without weights beside some with them weigh their mean."""
    parts = [part for part in parts if len(part)]
    weight = None
    weighed = [part.weight for part in parts if part.weight is not None]
    if weighed:
        usual = float(np.concatenate(weighed).mean())
        each = [np.full(len(part), usual) if part.weight is None else part.weight for part in parts]
        weight = np.concatenate(each)
    return Part(
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        np.concatenate([part.target for part in parts]),
        weight,
    )
