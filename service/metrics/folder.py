"""Where the workers of a service keep their counts: a folder of its own, whatever else uses the same ``BENTOML_HOME``.

BentoML has one folder for all services of a home, and each that starts empties it: the one before loses its counts, and
shows those of the other. What a service that was killed left behind is removed by the next one: nobody holds the lock
beside its folder any more.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from bentoml._internal.configuration.containers import BentoMLContainer

_PARENT = "rowcast-metrics"
_LOCK = ".lock"


def use_own_metrics_folder() -> None:
    """Have BentoML's supervisor, in this process, give its workers a new folder; before it asks for one."""
    try:
        parent = Path(BentoMLContainer.bentoml_home.get()) / _PARENT
        parent.mkdir(parents=True, exist_ok=True)
        for lock in parent.glob(f"*{_LOCK}"):
            _remove_if_abandoned(lock)
        held, name = tempfile.mkstemp(suffix=_LOCK, dir=parent)  # open, and so locked, as long as this process lives
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = Path(name.removesuffix(_LOCK))
        folder.mkdir(0o700)  # what is counted is told to holders of a key alone, where there are keys
    except OSError:  # it cannot be made: the one of BentoML is left
        return
    atexit.register(_remove, folder, os.getpid())
    BentoMLContainer.prometheus_multiproc_dir.set(str(folder))


def _remove_if_abandoned(lock: Path) -> None:
    try:
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(str(lock).removesuffix(_LOCK), ignore_errors=True)
            lock.unlink(missing_ok=True)
    except OSError:  # its service is alive
        pass


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(folder.name + _LOCK).unlink(missing_ok=True)
