"""What a service serves, told to its workers by one owner, the supervisor: one truth for all, and a cheap look at it.

The owner keeps the bytes of every served version in its memory, sealed (``memfd_create``), and a catalog that names
them. A worker reads both from the owner, never from the repository: so all workers serve the same, those that take the
place of others too, whatever is published, removed or damaged meanwhile, and a full disk is in nobody's way. Nothing
has to be tidied up: what the owner holds is gone with it.

The board is eight bytes: the generation of the catalog and the descriptor that holds it. The owner writes them in one
step; a worker that has them mapped sees a new generation without a system call.

Where the system has no ``memfd_create`` or no ``/proc``, a folder for temporary files takes the memory's place.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import orjson

from rowcast.models.errors import ModelRefused
from rowcast.models.repository import GRAPH_FILE, Manifest, StoredModel
from rowcast.service.rollout.trial import Trial

CATALOG = "ROWCAST_CATALOG"
"""Variable that tells a worker the process that owns the catalog, and the file of its board; no setting."""
_BOARD_BYTES = 8
_TRIES = 100
_SEALS = ("F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_WRITE")


@dataclass(frozen=True, slots=True)
class Entry:
    """A served version."""

    name: str
    version: int
    sha256: str
    """Of its graph."""
    path: str
    """Its folder in the repository, which may be gone."""
    held_at: str
    """The file in which the owner holds its bytes."""

    def open(self) -> StoredModel:
        """Read the version.

        Raises:
            ModelRefused: its bytes are gone, or are not those that were settled.
        """
        try:
            held = Path(self.held_at).read_bytes()
            length = int.from_bytes(held[:8], "little")
            manifest = Manifest.model_validate_json(held[8 : 8 + length])
        except (OSError, ValueError) as error:
            raise ModelRefused(f"{self} cannot be read from the supervisor: {error}") from None
        stored = StoredModel(manifest, held[8 + length :], Path(self.path))
        if (
            (stored.manifest.name, stored.manifest.version) != (self.name, self.version)
            or stored.manifest.files[GRAPH_FILE] != self.sha256
            or hashlib.sha256(stored.graph).hexdigest() != self.sha256
        ):
            raise ModelRefused(f"{self} is not the version that was settled when the service started: start it again")
        return stored

    def __str__(self) -> str:
        return f"{self.name}:{self.version} of {self.path}"


State: TypeAlias = Literal["LOADING", "UNAVAILABLE", "REMOVED"]
"""Of a version that is not simply served: it is tried; it is not served; it is served, though it is gone from the
disk."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be told of a version."""

    name: str
    version: int
    state: State
    reason: str
    kind: str = ""
    """Of the reason, in a word: for a metric."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A version that every worker is to open before any of them serves it."""

    number: int
    """Of this attempt; a worker answers with it."""
    entry: Entry


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is served, and the how-manieth list of it this is."""

    generation: int
    entries: tuple[Entry, ...]
    alone: str | None = None
    """The name behind the routes that are for one model."""
    stage: Stage | None = None
    notes: tuple[Note, ...] = ()
    outcomes: tuple[tuple[int, str], ...] = ()
    """The last orders that workers passed on, by their numbers: why nothing came of one, empty where it was done."""
    trials: tuple[Trial, ...] = ()
    """The versions of the list that are on trial: each beside the live one of its name."""
    aliases: tuple[tuple[str, str, int], ...] = ()
    """Name, alias and version of those that somebody called so."""
    live: tuple[tuple[str, int], ...] = ()
    """Of each name the version that answers requests which name none."""

    @property
    def held(self) -> set[Entry]:
        """The versions whose bytes the owner holds for it."""
        return {*self.entries} | ({self.stage.entry} if self.stage is not None else set())

    def open(self) -> list[StoredModel]:
        """Read every version.

        Raises:
            ModelRefused: one is gone, or is not the one that was settled.
        """
        return [entry.open() for entry in self.entries]


class _Store(Protocol):
    """Where an owner holds bytes: files with numbers for names."""

    folder: str

    def hold(self, *chunks: bytes, fixed: bool = True) -> int:
        """Make a file of these bytes; ``fixed`` ones are never changed. Returns its number."""

    def fix(self, number: int) -> None:
        """See that a file is never changed again, where the system can."""

    def drop(self, number: int) -> None:
        """Let go of a file."""


class _Memory:
    """Files in memory, which are found among the descriptors of this process."""

    def __init__(self) -> None:
        self.folder = f"/proc/{os.getpid()}/fd"
        probe = self.hold(b"")
        try:
            os.stat(f"{self.folder}/{probe}")
        finally:
            self.drop(probe)

    def hold(self, *chunks: bytes, fixed: bool = True) -> int:
        descriptor = os.memfd_create("rowcast", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(descriptor, "wb", closefd=False) as file:
            file.writelines(chunks)
        if fixed:
            self.fix(descriptor)
        return descriptor

    def fix(self, number: int) -> None:
        seal(number)

    def drop(self, number: int) -> None:
        os.close(number)


class _Folder:
    """Files in a folder that nobody else enters."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="rowcast-catalog-")
        self._last = 0
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def hold(self, *chunks: bytes, fixed: bool = True) -> int:
        self._last += 1
        with open(f"{self.folder}/{self._last}", "xb") as file:
            file.writelines(chunks)
        return self._last

    def fix(self, number: int) -> None:
        pass

    def drop(self, number: int) -> None:
        os.unlink(f"{self.folder}/{number}")


def seal(descriptor: int) -> None:
    """See that a file in memory is never changed again; more than once is as good as once.

    Raises:
        OSError: it is no file in memory.
    """
    seals = sum(getattr(fcntl, name) for name in _SEALS)
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) != seals:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)


def _store() -> _Store:
    try:
        return _Memory()
    except (AttributeError, OSError):  # not Linux, or a cage around it
        return _Folder()


class CatalogOwner:
    """The catalog of a service, in the process that settles it; its workers are children of that process.

    Each of its methods may be called by any thread.

    Raises:
        OSError: there is neither memory nor room on the disk to hold it.
    """

    def __init__(self) -> None:
        self.catalog = Catalog(0, ())
        self.lock = threading.RLock()
        """Held by whoever changes the catalog by what it says."""
        self._store = _store()
        self._held: dict[Entry, int] = {}
        """The files of the versions in this catalog and in the one before, which a worker may be reading just now."""
        self._before: set[Entry] = set()
        self._awaited: set[Entry] = set()
        """Versions that are held for a list which is not up yet."""
        self._lists: list[int] = []
        number = self._store.hold(b"\0" * _BOARD_BYTES, fixed=False)
        self._board_file = f"{self._store.folder}/{number}"
        with open(self._board_file, "r+b") as file:
            self._board = mmap.mmap(file.fileno(), _BOARD_BYTES)

    @property
    def address(self) -> str:
        """What a worker is told, in :data:`CATALOG`."""
        return f"{os.getpid()}:{self._board_file}"

    def publish(self, models: Iterable[StoredModel]) -> Catalog:
        """Put up a new list of what is served; versions that are held already are not copied again.

        The only name in it is behind the routes that are for one model.
        """
        with self.lock:
            entries = tuple(self._entry(stored) for stored in models)
            names = {entry.name for entry in entries}
            return self.show(entries, alone=names.pop() if len(names) == 1 else None)

    def show(
        self,
        entries: Sequence[Entry],
        *,
        alone: str | None,
        stage: Stage | None = None,
        notes: Sequence[Note] = (),
        outcomes: Sequence[tuple[int, str]] = (),
        trials: Sequence[Trial] | None = None,
        aliases: Sequence[tuple[str, str, int]] | None = None,
        live: Mapping[str, int] | None = None,
    ) -> Catalog:
        """Put up a new list of versions that are held.

        Trials go on, unless others are given, as long as the list has both of their versions; and so with aliases. What
        is live of a name stays so as long as it is listed, unless another is given; then it is the newest that is not
        on trial.
        """
        with self.lock:
            last = self.catalog
            listed = {(entry.name, entry.version) for entry in entries}
            kept = [
                one
                for one in (last.trials if trials is None else trials)
                if {(one.name, one.version), (one.name, one.live)} <= listed
            ]
            answering = dict(last.live) | dict(live or {})
            for name, version in sorted(listed - {(one.name, one.version) for one in kept}, reverse=True):
                if (name, answering.get(name)) not in listed:
                    answering[name] = version
            self.catalog = Catalog(
                last.generation + 1,
                tuple(entries),
                alone,
                stage,
                tuple(notes),
                tuple(outcomes),
                tuple(kept),
                last.aliases if aliases is None else tuple(aliases),
                tuple(sorted(one for one in answering.items() if one in listed)),
            )
            self._lists.append(self._store.hold(orjson.dumps(asdict(self.catalog))))
            shown = self.catalog.generation << 32 | self._lists[-1]
            self._board[:] = shown.to_bytes(_BOARD_BYTES, "little")
            if self.catalog.held != last.held:
                self._before = last.held
            for entry in self._held.keys() - self._before - self._awaited - self.catalog.held:
                self._store.drop(self._held.pop(entry))
            for number in self._lists[:-2]:
                self._store.drop(number)
            del self._lists[:-2]
            return self.catalog

    def change(self, **what: Any) -> Catalog:
        """Put up the last list with something changed, see :meth:`show`."""
        with self.lock:
            last = self.catalog
            given = {name: getattr(last, name) for name in ("entries", "alone", "stage", "notes", "outcomes")}
            return self.show(**(given | what))

    def new_file(self) -> tuple[int, str]:
        """An empty file to be filled with the bytes of a version by whoever reads it: its number, and where it is."""
        with self.lock:
            number = self._store.hold(fixed=False)
            return number, f"{self._store.folder}/{number}"

    def adopt(self, entry: Entry, number: int) -> None:
        """Hold a file from :meth:`new_file` as the bytes of a version, whatever is listed meanwhile: until
        :meth:`release`."""
        with self.lock:
            self._store.fix(number)
            self._held[entry] = number
            self._awaited.add(entry)

    def release(self, entries: Iterable[Entry]) -> None:
        """Hold adopted versions no longer than a list names them."""
        with self.lock:
            self._awaited.difference_update(entries)

    def discard(self, number: int) -> None:
        """Let go of a file from :meth:`new_file`."""
        with self.lock:
            self._store.drop(number)

    def _entry(self, stored: StoredModel) -> Entry:
        manifest, path = stored.manifest, str(stored.path)
        for entry in self._held:
            if (entry.name, entry.version, entry.path) == (manifest.name, manifest.version, path):
                held = entry.open()
                if held.manifest == manifest and held.graph == stored.graph:
                    return entry
        number = self._store.hold(*chunks_of(stored))
        entry = Entry(manifest.name, manifest.version, stored.sha256, path, f"{self._store.folder}/{number}")
        self._held[entry] = number
        return entry


def chunks_of(stored: StoredModel) -> tuple[bytes, ...]:
    """The bytes in which a version is held, see :meth:`Entry.open`."""
    text = stored.manifest.model_dump_json().encode()
    return len(text).to_bytes(8, "little"), text, stored.graph


class CatalogReader:
    """The catalog of a service, as a worker sees it.

    Args:
        address: the owner's.

    Raises:
        ModelRefused: nobody is there.
    """

    def __init__(self, address: str) -> None:
        board = Path(address.partition(":")[2])
        self._folder = board.parent
        try:
            with open(board, "rb") as file:
                self._board = mmap.mmap(file.fileno(), _BOARD_BYTES, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise _gone(error) from None

    @property
    def generation(self) -> int:
        """The generation of the newest catalog; costs a read of eight bytes."""
        return self._shown >> 32

    def read(self) -> Catalog:
        """The newest catalog.

        Raises:
            ModelRefused: nobody is there.
        """
        while True:
            shown = self._shown
            try:
                found = orjson.loads((self._folder / str(shown & 0xFFFFFFFF)).read_bytes())
                if found["generation"] == shown >> 32:
                    break
            except (OSError, ValueError, TypeError, KeyError) as error:
                if self._shown == shown:
                    raise _gone(error) from None
        stage = found["stage"]
        return Catalog(
            found["generation"],
            tuple(Entry(**entry) for entry in found["entries"]),
            found["alone"],
            None if stage is None else Stage(stage["number"], Entry(**stage["entry"])),
            tuple(Note(**note) for note in found["notes"]),
            tuple((number, why) for number, why in found["outcomes"]),
            tuple(Trial(**trial) for trial in found["trials"]),
            tuple((name, alias, version) for name, alias, version in found["aliases"]),
            tuple((name, version) for name, version in found["live"]),
        )

    def open(self) -> tuple[Catalog, list[StoredModel]]:
        """The newest catalog, and every version in it.

        Raises:
            ModelRefused: nobody is there, or a version is not the one that was settled.
        """
        for _ in range(_TRIES):
            catalog = self.read()
            try:
                return catalog, catalog.open()
            except ModelRefused:  # its bytes are let go of when two newer lists are up
                if self.generation == catalog.generation:
                    raise
        raise ModelRefused("what is to be served changes faster than it can be read from the supervisor")

    @property
    def _shown(self) -> int:
        return int.from_bytes(self._board[:], "little")


def address_of_owner() -> str | None:
    """Where the process that started this one keeps its catalog; None where it keeps none."""
    address = os.environ.get(CATALOG, "")
    return address if address.partition(":")[0] == str(os.getppid()) else None


def _gone(error: Exception) -> ModelRefused:
    return ModelRefused(f"what is to be served cannot be read from the supervisor: {error}")
