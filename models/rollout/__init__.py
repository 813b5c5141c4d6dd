"""What operators say of a model's versions: which is live, which is on trial beside it, and what each is called."""

from rowcast.models.rollout.aliases import live_version, version_called
from rowcast.models.rollout.file import ROLLOUT_FILE, change_rollout, read_rollout
from rowcast.models.rollout.record import Change, Guards, OnTrial, Rollout
from rowcast.models.rollout.steps import begin_trial, choose_version, end_trial, name_version, roll_back

__all__ = [
    "ROLLOUT_FILE",
    "Change",
    "Guards",
    "OnTrial",
    "Rollout",
    "begin_trial",
    "change_rollout",
    "choose_version",
    "end_trial",
    "live_version",
    "name_version",
    "read_rollout",
    "roll_back",
    "version_called",
]
