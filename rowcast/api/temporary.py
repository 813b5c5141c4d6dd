"""Where a model lives that nobody has published: a folder that goes away with the model, or with the process."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


class TemporaryFolder:
    """A folder that is removed when nothing holds this object any more, and when the process ends.

    A process that was forked from this one leaves it alone.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="rowcast-"))
        self._end = weakref.finalize(self, _remove, self.path, os.getpid())

    def remove(self) -> None:
        """Remove it now."""
        self._end()

    def keep(self) -> None:
        """Leave it where it is for good: somebody is told to look into it."""
        self._end.detach()


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
