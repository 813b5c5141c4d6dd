"""What came of a study before: the model of its best trial is published once, not by each run of the same command."""

from __future__ import annotations

import math
from typing import Any

from rowcast.models.errors import ModelError
from rowcast.models.repository import Repository
from rowcast.training.config import Config
from rowcast.training.data.table import sha256_of
from rowcast.training.fit.loop import FitResult
from rowcast.training.prepare import open_source
from rowcast.training.train import Trained
from rowcast.training.tune.study.limits import is_longer
from rowcast.training.tune.study.record import Record
from rowcast.training.tune.study.study import Study

_OF_THE_RUN = {"device", "track", "tune"}


def keep_published(study: Study, best: Record, chosen: Config, test: str, trained: Trained) -> None:
    """Keep which version came of which trial.

    Args:
        study: of the trial.
        best: the trial.
        chosen: the config of the last fit, without what the time of this run has changed of it.
        test: SHA-256 of a table of test rows; empty where they are a share of the table.
        trained: the model.
    """
    fit = trained.fit
    study.publish(
        {
            "of": _of(best, chosen, test),
            "version": trained.model.manifest.version,
            "graph": trained.model.sha256,
            "rows": trained.rows,
            "fit": {
                "epochs": fit.epochs,
                "best_epoch": fit.best_epoch,
                "validation_loss": fit.validation_loss,
                "seconds": fit.seconds,
                "stopped": fit.stopped,
            },
        }
    )


def published_before(
    study: Study, best: Record, chosen: Config, test: str, repository: Repository, left_s: float
) -> Trained | None:
    """The model that came of the best trial before; None where it is to be fitted: where another trial is the best by
    now, the last fit is another one or may take much longer than it could, or that version is gone.

    Args:
        study: of the trial.
        best: the trial.
        chosen: see :func:`keep_published`.
        test: likewise.
        repository: where the version is.
        left_s: seconds that the last fit may take now.
    """
    kept = study.published
    if not kept or kept["of"] != _of(best, chosen, test):
        return None
    fit = FitResult(**kept["fit"], history=())
    limit = math.inf if chosen.fit.budget_s == "none" else chosen.fit.budget_s
    if fit.stopped == "interrupted" or (fit.stopped == "budget" and is_longer(min(left_s, limit), fit.seconds)):
        return None
    try:
        model = repository.open(study.name, kept["version"])
    except ModelError:
        return None
    return Trained(model, fit, kept["rows"]) if model.sha256 == kept["graph"] else None


def sha256_of_test(test: Any, config: Config) -> str:
    """Of a table of test rows; empty where there is none."""
    return "" if test is None else sha256_of(test, open_source(test, config))


def _of(best: Record, chosen: Config, test: str) -> dict[str, Any]:
    return {"trial": best.number, "config": chosen.model_dump(mode="json", exclude=_OF_THE_RUN), "test": test}
