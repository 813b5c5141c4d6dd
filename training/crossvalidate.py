"""Cross-validation: every row is a test row once, and how far the folds are apart says how much a metric wavers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from rowcast.models.errors import ConfigError
from rowcast.models.session import Session
from rowcast.training.config import Config
from rowcast.training.data.split import Split, k_folds, split_random
from rowcast.training.device import training_device
from rowcast.training.export.graph import export
from rowcast.training.predict import metrics_of, predict_columns
from rowcast.training.prepare import open_table, prepare_split
from rowcast.training.train import fit_network, signature_of

VALIDATION_SHARE = 0.2
"""Share of the rows outside a fold that choose when its training stops."""


def cross_validate(
    source: Any, config: Config, *, folds: int = 5, report: Callable[[int, dict[str, float]], None] = lambda *_: None
) -> dict[str, Any]:
    """Train once a fold and measure on the fold; publishes nothing.

    Args:
        source: a file or a data frame.
        config: as for a training run; it may not ask for a split by time or group, which folds are not.
        folds: how many, 2 at least.
        report: called with the number and the metrics of each fold when it is done.

    Returns:
        ``folds``: the metrics of each; ``mean`` and ``deviation``: over the folds, by metric.

    Raises:
        ConfigError: folds do not go together with the split that is asked for.
        TableError: the table cannot be used.
    """
    if config.data.split_by_time or config.data.group:
        raise ConfigError("cross-validation splits at random: leave out --split-by-time and --group")
    device = training_device(config.device, config.fit.precision)
    table, target = open_table(source, config)
    labels = target.values if target.classes else None
    measured = []
    for number, fold in enumerate(k_folds(len(table), k=folds, seed=config.seed, labels=labels), 1):
        rest = split_random(
            len(fold.train),
            seed=config.seed,
            labels=None if labels is None else labels[fold.train],
            test=0.0,
            validation=VALIDATION_SHARE,
        )
        split = Split(fold.train[rest.train], fold.train[rest.validation], fold.validation)
        prepared = prepare_split(table, target, split, config)
        core, _, _ = fit_network(prepared, config, device)
        session = Session(export(core, signature_of(prepared, core)), "cpu", threads=os.cpu_count() or 1)
        answers = predict_columns(session, prepared.test.columns)
        metrics = metrics_of(answers, prepared.test.target, prepared.target.classes, prepared.test.weight)
        measured.append(metrics)
        report(number, metrics)
    names = [name for name in measured[0] if all(name in metrics for metrics in measured)]
    return {
        "folds": measured,
        "mean": {name: float(np.mean([metrics[name] for metrics in measured])) for name in names},
        "deviation": {name: float(np.std([metrics[name] for metrics in measured], ddof=1)) for name in names},
    }
