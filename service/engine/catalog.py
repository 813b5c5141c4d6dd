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
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import orjson

from rowcast.models.errors import ModelRefused
from rowcast.models.repository import GRAPH_FILE, Manifest, StoredModel

CATALOG = "ROWCAST_CATALOG"
"""Variable that tells a worker the process that owns the catalog, and the file of its board; no setting."""
_BOARD_BYTES = 8
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


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is served, and the how-manieth list of it this is."""

    generation: int
    entries: tuple[Entry, ...]

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
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, sum(getattr(fcntl, seal) for seal in _SEALS))
        return descriptor

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

    def drop(self, number: int) -> None:
        os.unlink(f"{self.folder}/{number}")


def _store() -> _Store:
    try:
        return _Memory()
    except (AttributeError, OSError):  # not Linux, or a cage around it
        return _Folder()


class CatalogOwner:
    """The catalog of a service, in the process that settles it; its workers are children of that process.

    Raises:
        OSError: there is neither memory nor room on the disk to hold it.
    """

    def __init__(self) -> None:
        self.catalog = Catalog(0, ())
        self._store = _store()
        self._held: dict[Entry, int] = {}
        """The files of the versions in this catalog and in the one before, which a worker may be reading just now."""
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
        """Put up a new list of what is served; versions that are held already are not copied again."""
        before = set(self.catalog.entries)
        entries = tuple(self._entry(stored) for stored in models)
        self.catalog = Catalog(self.catalog.generation + 1, entries)
        self._lists.append(self._store.hold(orjson.dumps(asdict(self.catalog))))
        shown = self.catalog.generation << 32 | self._lists[-1]
        self._board[:] = shown.to_bytes(_BOARD_BYTES, "little")
        for entry in self._held.keys() - before - set(entries):
            self._store.drop(self._held.pop(entry))
        for number in self._lists[:-2]:
            self._store.drop(number)
        del self._lists[:-2]
        return self.catalog

    def _entry(self, stored: StoredModel) -> Entry:
        manifest, path = stored.manifest, str(stored.path)
        for entry in self._held:
            if (entry.name, entry.version, entry.path) == (manifest.name, manifest.version, path):
                held = entry.open()
                if held.manifest == manifest and held.graph == stored.graph:
                    return entry
        text = manifest.model_dump_json().encode()
        number = self._store.hold(len(text).to_bytes(8, "little"), text, stored.graph)
        entry = Entry(manifest.name, manifest.version, stored.sha256, path, f"{self._store.folder}/{number}")
        self._held[entry] = number
        return entry


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
        try:
            found = orjson.loads((self._folder / str(self._shown & 0xFFFFFFFF)).read_bytes())
        except (OSError, ValueError) as error:
            raise _gone(error) from None
        return Catalog(found["generation"], tuple(Entry(**entry) for entry in found["entries"]))

    @property
    def _shown(self) -> int:
        return int.from_bytes(self._board[:], "little")


def address_of_owner() -> str | None:
    """Where the process that started this one keeps its catalog; None where it keeps none."""
    address = os.environ.get(CATALOG, "")
    return address if address.partition(":")[0] == str(os.getppid()) else None


def _gone(error: Exception) -> ModelRefused:
    return ModelRefused(f"what is to be served cannot be read from the supervisor: {error}")
