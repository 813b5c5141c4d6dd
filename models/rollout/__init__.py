"""What operators say of a model's versions: which is live, which is on trial beside it, and what each is called."""

from rowcast.models.rollout.absent import absent_versions, makes_no_sense_after
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
    "absent_versions",
    "begin_trial",
    "change_rollout",
    "choose_version",
    "end_trial",
    "keep_rollout",
    "kept_rollout",
    "live_version",
    "makes_no_sense_after",
    "name_version",
    "read_or_kept",
    "read_rollout",
    "roll_back",
    "version_called",
]
