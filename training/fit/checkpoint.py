"""The folder of a checkpoint: what a fit needs to go on after it was killed, whatever the moment.

    checkpoint.json       what it is a checkpoint of: table, config, machine
    fit.safetensors       the fit that is under way, as it stood after its last look
    done-N.safetensors    a fit that is over: its weights and its history (several with ``fit.seeds``)

Each file is written whole or not at all, and checked by its SHA-256 when it is read. Only these files are ever removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TrainingError
from rowcast.models.plain_files import read_plain
from rowcast.models.printable import brief
from rowcast.training.fit.history import Look
from rowcast.training.fit.sealed import read_sealed, replace_file, write_sealed
from rowcast.training.fit.snapshot import Moving, Position, Snapshot, load_weights

ABOUT_FILE, FIT_FILE, LOCK_FILE = "checkpoint.json", "fit.safetensors", "checkpoint.lock"
_DONE = "done-{}.safetensors"
_OURS = re.compile(r"(done-[0-9]+\.safetensors|fit\.safetensors|checkpoint\.json)(\.new)?")
LEAST_SECONDS = 1.0
"""Between two writes at least: the epochs of a small table are shorter."""
SHARE = 0.05
"""Of the time that writing may take."""
_MAX_ABOUT_BYTES = 2**26
_DIFFERENCES = 5
"""Fields that a refusal names at most."""

Facts = Mapping[str, Any]


class Checkpoint:
    """A folder that one process at a time trains with; made by :func:`open_checkpoint`."""

    def __init__(self, folder: Path, *, resume: bool, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._resume = resume
        self._say = say
        self._next = 0.0

    def begin(self, about: Facts) -> list[str]:
        """Say what is trained: what lies in the folder must be of the same, and if nothing does, it is noted.

        Args:
            about: ``table``, ``config`` and ``machine``, each a mapping of names to what JSON can hold.

        Returns:
            what was decided.

        Raises:
            TrainingError: what lies there is of another table or config; says what differs.
        """
        about = json.loads(json.dumps(about))
        file = self.folder / ABOUT_FILE
        if not file.exists():
            self._remove_all()  # of one whose checkpoint.json somebody removed
            replace_file(file, json.dumps(about, indent=2).encode())
            return [f"there was no checkpoint in {self.folder}: the fit started anew"] if self._resume else []
        found = self._read_about(file)
        differing = [*differences(found["table"], about["table"]), *differences(found["config"], about["config"])]
        if differing:
            more = f" and {len(differing) - _DIFFERENCES} more" if len(differing) > _DIFFERENCES else ""
            raise TrainingError(
                f"a fit goes on with the table and the config it began with; {self.folder} is a checkpoint of others: "
                f"{', '.join(differing[:_DIFFERENCES])}{more}; go on with those, or choose another folder with "
                "--checkpoint"
            )
        other = differences(found["machine"], about["machine"])
        return (
            [f"the fit went on on another machine than it began on, so its bits may differ: {', '.join(other)}"]
            if (other)
            else []
        )

    @property
    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() >= self._next

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of a file; None if it is not there.

        Raises:
            TrainingError: it is damaged.
        """
        try:
            return read_sealed(self.folder / name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self.damaged(name, error) from None

    def write(self, name: str, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Write a file. A full disk does not end a fit: what was kept before is there still."""
        started = time.monotonic()
        try:
            write_sealed(self.folder / name, tensors, facts)
        except OSError as error:
            self._say(f"{self.folder / name} could not be written ({error.strerror}): the fit goes on without")
        ended = time.monotonic()
        self._next = ended + max(LEAST_SECONDS, (ended - started) / SHARE)

    def clear(self) -> None:
        """Remove the files of this checkpoint, and nothing else."""
        self._remove_all()
        self._say(f"the checkpoint in {self.folder} is removed, as its fit is published")

    def damaged(self, name: str, why: object) -> TrainingError:
        """The error of a file that cannot be gone on with."""
        return TrainingError(
            f"a checkpoint goes on if its files are what was written; {self.folder / name} is not: {why}; "
            f"to start anew, `rm {named(self.folder / ABOUT_FILE)}`"
        )

    def _remove_all(self) -> None:
        """What it is of goes last: until then the checkpoint can be gone on with."""
        for name in sorted(os.listdir(self.folder), key=lambda name: name == ABOUT_FILE):
            if _OURS.fullmatch(name):
                (self.folder / name).unlink(missing_ok=True)

    def _read_about(self, file: Path) -> dict[str, Any]:
        try:
            found = json.loads(read_plain(file, _MAX_ABOUT_BYTES))
            if all(isinstance(found[part], dict) for part in ("table", "config", "machine")):
                return dict(found)
            raise ValueError("a part of it is no object")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.damaged(ABOUT_FILE, error) from None


@dataclass(frozen=True)
class CheckpointOfFit:
    """What a checkpoint keeps of one fit."""

    checkpoint: Checkpoint
    number: int
    """Of the fit, from 0; there are several with ``fit.seeds``."""

    def finished(self, network: nn.Module) -> dict[str, Any] | None:
        """How the fit went, if it is over: ``network`` has its weights then.

        Raises:
            TrainingError: the file is damaged, or of another network.
        """
        name = _DONE.format(self.number)
        found = self.checkpoint.read(name)
        if found is None:
            return None
        weights, facts = found
        try:
            load_weights(network, weights)
        except ValueError as error:
            raise self.checkpoint.damaged(name, error) from None
        return {**facts, "history": tuple(Look(*look) for look in facts["history"])}

    def finish(self, network: nn.Module, facts: Facts) -> None:
        """Keep a fit that is over, and how it went."""
        self.checkpoint.write(_DONE.format(self.number), network.state_dict(), facts)

    def restore(self, moving: Moving, position: Position) -> bool:
        """Make the parts of a fit, and how far it has come, what they were when it was saved last; whether it ever was.

        Raises:
            TrainingError: the file is damaged, or of another network.
        """
        found = self.checkpoint.read(FIT_FILE)
        if found is None or found[1]["number"] != self.number:
            return False
        try:
            moving.restore(Snapshot(*found), position)
        except (ValueError, KeyError) as error:
            raise self.checkpoint.damaged(FIT_FILE, error) from None
        return True

    @property
    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return self.checkpoint.is_due

    def save(self, moving: Moving, position: Position) -> None:
        """Keep the fit as it is now."""
        snapshot = moving.snapshot(position)
        self.checkpoint.write(FIT_FILE, snapshot.tensors, {**snapshot.facts, "number": self.number})


@contextmanager
def open_checkpoint(
    folder: str | os.PathLike[str], *, resume: bool, say: Callable[[str], None] = lambda _: None
) -> Iterator[Checkpoint]:
    """A checkpoint's folder, made if it is not there, for this process alone.

    Args:
        folder: of the checkpoint.
        resume: whether to go on with what lies there.
        say: told what happens to it, in a sentence.

    Raises:
        ConfigError: a checkpoint lies there, and nobody asked to go on with it.
        TrainingError: the folder cannot be written, or another process trains with it.
    """
    path = Path(folder).absolute()
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise TrainingError(
            f"a checkpoint is kept in a folder that one may write, got {path}: {error.strerror}; "
            "choose another with --checkpoint"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"one process at a time trains with a checkpoint, and another does with {path}; "
                "wait for it, or choose another folder with --checkpoint"
            ) from None
        if not resume and (path / ABOUT_FILE).exists():
            raise ConfigError(
                f"a new fit needs a folder without a checkpoint, and {path} holds one: to go on with it, add --resume; "
                f"to start anew, `rm {named(path / ABOUT_FILE)}`"
            )
        yield Checkpoint(path, resume=resume, say=say)
    finally:
        os.close(descriptor)
        if not (path / ABOUT_FILE).exists():
            (path / LOCK_FILE).unlink(missing_ok=True)
            if is_new:
                with suppress(OSError):  # not empty: somebody put something there
                    path.rmdir()


def differences(there: Facts, here: Facts, where: str = "here", elsewhere: str = "there") -> list[str]:
    """Sentences on the fields of two nested mappings that are not the same.

    Args:
        there: what JSON can hold, by name.
        here: likewise.
        where: what ``here`` is called.
        elsewhere: what ``there`` is called.
    """
    one, other = dict(_flat(there)), dict(_flat(here))
    return [
        f"{brief(name)} is {_shown(other, name)} {where} and {_shown(one, name)} {elsewhere}"
        for name in one | other
        if one.get(name, ...) != other.get(name, ...)
    ]


def _shown(fields: Facts, name: str) -> str:
    text = json.dumps(fields[name]) if name in fields else "absent"
    return text if len(text) <= 40 else text[:37] + "..."


def _flat(fields: Facts, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
