"""What a service has measured of a version on trial, in a file beside the versions, for whoever asks on any machine.

Each service has one of its own. It says nothing that is acted upon: without it, nothing is missed but the figures.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from rowcast.models.errors import ModelRefused
from rowcast.models.plain_files import Folder
from rowcast.models.printable import printable
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Trial

_PREFIX = ".rollout-measured-"
_MOST_BYTES = 2**16
_MOST_FILES = 1000


def write_figures(home: Path, trial: Trial, tally: Tally, waits: str = "") -> None:
    """Write down what was measured by now, if the folder can be written.

    Args:
        home: of the model.
        trial: that it was measured of.
        tally: what was.
        waits: what it has to wait for before it is promoted.
    """
    file = _own(home)
    made = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    told = {"since": trial.since, "version": trial.version, "tally": tally.as_numbers(), "waits": waits}
    with contextlib.suppress(OSError):
        try:
            with made.open("xb") as new:  # nothing that somebody else has put there is written to
                new.write(orjson.dumps(told))
            os.replace(made, file)
        finally:
            made.unlink(missing_ok=True)


def remove_figures(home: Path) -> None:
    """Remove what was written of a trial that is over, by services that have ended since, too.

    A service that still has a version on trial writes its own anew within seconds.
    """
    with contextlib.suppress(OSError):  # of a folder that cannot be read just now
        for file in home.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                file.unlink()


def read_figures(home: Path, since: str | None) -> dict[str, Any] | None:
    """What all services have measured of the trial that began at a moment; None where none has written any of it."""
    whole: Tally | None = None
    for content in _contents(home, since):
        with contextlib.suppress(ValueError, TypeError, KeyError):  # of a stranger
            tally = Tally.of_numbers(content["tally"])
            whole = tally if whole is None else whole.plus(tally)
    return None if whole is None else whole.told()


def read_waits(home: Path, since: str | None) -> str:
    """What a version on trial has to wait for before it is promoted, in the service that is nearest to it; each judges
    by what it has counted itself. An empty text for nothing."""
    told = [waits for content in _contents(home, since) if isinstance(waits := content.get("waits"), str)]
    return printable(min(told, key=bool, default=""))


def _contents(home: Path, since: str | None) -> Iterator[dict[str, Any]]:
    """What each service has written of a trial."""
    for text in _texts(home):
        with contextlib.suppress(ValueError, TypeError, KeyError):  # of a stranger
            content = orjson.loads(text)
            if content["since"] == since:
                yield content


def _texts(home: Path) -> Iterator[bytes]:
    """What stands in the files of all services, as far as each is a plain one of a file's size."""
    with contextlib.suppress(ModelRefused, OSError), Folder(home) as folder:
        names = [name for name in folder.names() if name.startswith(_PREFIX) and name.endswith(".json")]
        for name in sorted(names)[:_MOST_FILES]:
            with contextlib.suppress(ModelRefused):
                yield folder.read(name, _MOST_BYTES)


def _own(home: Path) -> Path:
    return home / f"{_PREFIX}{socket.gethostname()}-{os.getpid()}.json"
