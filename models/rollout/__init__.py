"""What operators say of a model's versions: which is live, which is on trial beside it, and what each is called."""

from rowcast.models.rollout.aliases import live_version, version_called
from rowcast.models.rollout.file import (
    KEPT_FILE,
    ROLLOUT_FILE,
    change_rollout,
    keep_rollout,
    kept_rollout,
    read_or_kept,
    read_rollout,
)
from rowcast.models.rollout.record import Change, Guards, OnTrial, Rollout
from rowcast.models.rollout.steps import begin_trial, choose_version, end_trial, name_version, roll_back

__all__ = [
    "KEPT_FILE",
    "ROLLOUT_FILE",
    "Change",
    "Guards",
    "OnTrial",
    "Rollout",
    "begin_trial",
    "change_rollout",
    "choose_version",
    "end_trial",
    "keep_rollout",
    "kept_rollout",
    "live_version",
    "name_version",
    "read_or_kept",
    "read_rollout",
    "roll_back",
    "version_called",
]
