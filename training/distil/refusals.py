"""What does not go together with a teacher."""

from __future__ import annotations

from typing import Any

from rowcast.models.errors import ConfigError
from rowcast.training.config import Config
from rowcast.training.distil.teacher import Teacher
from rowcast.training.own import Own
from rowcast.training.ranks.ranks import Ranks
from rowcast.training.stream.choose import refuse_streamed

NO_MEANS = ("mae", "huber", "pinball")
"""Losses whose answer is no mean: a mixture of a target and what a teacher says would be answered by neither."""


def check_teacher(
    teacher: Teacher | None, source: Any, config: Config, own: Own, *, checkpoint: bool, ranks: Ranks
) -> None:
    """Make sure that a fit can have this teacher; there need be none.

    Raises:
        ConfigError: it goes not together with what else is asked for; names both.
        TableError: the table is to be read in shards.
        RowcastError: the teacher itself cannot teach.
    """
    if teacher is None:
        config.distil.check_unused()
        return
    if ranks.size > 1:
        raise ConfigError("a teacher teaches a fit by one process: under torchrun leave out --teacher")
    if checkpoint:
        raise ConfigError(
            "a checkpoint is of one fit, and --teacher makes several: leave out --checkpoint, or --teacher"
        )
    if config.fit.folds != "none":
        raise ConfigError(
            f"'fit.folds' must be \"none\" for a fit with a teacher, got {config.fit.folds}: leave out --folds, or "
            "--teacher; a model of folds may be a teacher itself"
        )
    if config.fit.refit is True:
        raise ConfigError(
            "'fit.refit' must be false for a fit with a teacher, who says nothing of test rows: leave out --refit, or "
            "--teacher"
        )
    if own.loss is not None:
        raise ConfigError(
            "a loss of one's own takes targets, and a teacher says shares of them: leave out loss=, or --teacher"
        )
    if config.objective.loss in NO_MEANS:
        raise ConfigError(
            f"'objective.loss' must not be {', '.join(NO_MEANS[:-1])} or {NO_MEANS[-1]} for a fit with a teacher, who "
            f"says means, got {config.objective.loss!r}: leave it out, or leave out --teacher"
        )
    refuse_streamed(source, config.data, "--teacher")
    teacher.check()
