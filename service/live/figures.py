"""What a service has measured of a version on trial, in a file beside the versions, for whoever asks on any machine.

Each service has one of its own. It says nothing that is acted upon: without it, nothing is missed but the figures.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

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
    made = file.with_name(f"{file.name}.new")
    told = {"since": trial.since, "version": trial.version, "tally": tally.as_numbers(), "waits": waits}
    with contextlib.suppress(OSError):
        made.write_bytes(orjson.dumps(told))
        os.replace(made, file)


def remove_figures(home: Path) -> None:
    """Remove what was written of a trial that is over, by services that have ended since, too.

    A service that still has a version on trial writes its own anew within seconds.
    """
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
    for file in sorted(home.glob(f"{_PREFIX}*.json"))[:_MOST_FILES]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # of a stranger
            if file.stat().st_size > _MOST_BYTES:
                continue
            content = orjson.loads(file.read_bytes())
            if content["since"] == since:
                yield content


def _own(home: Path) -> Path:
    return home / f"{_PREFIX}{socket.gethostname()}-{os.getpid()}.json"
