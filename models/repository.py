"""Where models live: ``<root>/<name>/<version>/``, published whole or not at all, verified before use.

A version is a whole number. A publish writes every file into a hidden sibling folder, flushes it to the disk and
renames the folder into place: a reader sees the whole version or none of it. Opening a version compares the SHA-256 of
every file with ``model.json`` before anything reads the graph; the bytes that were hashed are the bytes that are used.
What folders count as models and versions says :mod:`rowcast.models.listing`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rowcast.models.errors import ModelError, ModelNotFound, ModelRefused
from rowcast.models.faults import first_fault
from rowcast.models.listing import MANIFEST_FILE, Listing, list_models, list_versions
from rowcast.models.names import LOCK, MAX_VERSION, STAGING, check_model_name, is_version
from rowcast.models.plain_files import Folder, NoFolderError, check_lock, flush_change, flush_folder, locked, write_new
from rowcast.models.printable import printable
from rowcast.models.rollout.file import ROLLOUT_FILE, versions_named
from rowcast.models.signature import Signature

GRAPH_FILE = "model.onnx"
MAX_MANIFEST_BYTES = 64 * 2**20
"""A hundred thousand levels take some five of them."""
MAX_GRAPH_BYTES = 2**31
"""No ONNX file is longer."""
MAX_FILES = 100
_TRIES = 100
"""How often the latest version is looked for again when it goes away while it is read."""
UNSEALED = "0" * 64
_SEAL = slice(-67, -3)
"""Where the seal stands in ``model.json``: it is the last field."""
_SHOWN, _NAMED = 80, 10
"""Characters that are shown of a name somebody else chose, and names that are listed."""


class Manifest(BaseModel):
    """``model.json``: what the model is, how well it does, where it comes from, and the SHA-256 of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format: Literal[1] = 1
    name: str
    version: int = Field(ge=1, le=MAX_VERSION)
    created: str
    """UTC, ISO 8601."""
    signature: Signature
    metrics: dict[str, Any]
    parity: dict[str, Any]
    """What the export gate saw: the largest differences between PyTorch and ONNX Runtime."""
    decisions: list[str]
    """What was decided about the table without being asked."""
    config: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str] = Field(max_length=MAX_FILES)
    """SHA-256 of every other file of the folder."""
    threshold: dict[str, Any] | None = Field(None, exclude_if=lambda rule: rule is None)
    """What ``label`` follows, where it is not the most probable class. Written only where one was asked for, so that
    earlier versions of the service read the models that have none."""
    seal: str = UNSEALED
    """SHA-256 of ``model.json`` itself, with 64 zeros in the seal's place, so that a change there is noticed too."""


Record = TypeVar("Record", bound=BaseModel)
"""A manifest, of whatever: it has a name, a version, files, and a seal as its last field."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A verified version: its manifest, the bytes of its graph, and the folder they came from."""

    manifest: Manifest
    graph: bytes
    path: Path

    @property
    def sha256(self) -> str:
        """SHA-256 of the graph: the model's identity."""
        return self.manifest.files[GRAPH_FILE]


class Repository:
    """A folder of models.

    Args:
        root: made on the first publish; need not exist to be read as empty.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def listing(self) -> Listing:
        """Every model with its versions, and what else is there and was passed over."""
        return list_models(self.root)

    def names(self) -> list[str]:
        """Names with at least one version, sorted."""
        return [*self.listing().models]

    def versions(self, name: str) -> list[int]:
        """Versions of ``name``, oldest first; empty when there is no such model."""
        return list_versions(self.root, name).numbers

    def resolve(self, name: str, version: int | None = None) -> Path:
        """Folder of a version, the latest unless one is given.

        Raises:
            ModelNotFound: no such name or version; says what there is.
        """
        found = list_versions(self.root, name)
        why = "".join(f"; {line}" for line in found.ignored[:3])
        if not found.numbers:
            known = ", ".join(self.names()) or "none"
            raise ModelNotFound(f"no model {name!r} in {self.root}; models there: {known}{why}")
        if version is not None and version not in found.numbers:
            known = ", ".join(str(v) for v in found.numbers)
            raise ModelNotFound(f"model {name!r} has no version {version}; versions: {known}{why}")
        return self.root / name / str(found.numbers[-1] if version is None else version)

    def open(self, name: str, version: int | None = None) -> StoredModel:
        """Read and verify a version.

        Raises:
            ModelNotFound: no such name or version.
            ModelRefused: a file is missing, undeclared, linked, or not the one that was published.
        """
        for _ in range(_TRIES):
            path = self.resolve(name, version)
            try:
                return open_version(path)
            except _GoneError:  # removed while it was read: the latest is another one now
                continue
        raise ModelRefused(f"{path} was removed and published anew {_TRIES} times while it was read")

    def check_writable(self, name: str = "") -> None:
        """Make sure a model can be published here, before a long fit and not after it.

        Args:
            name: the model's, if it is known.

        Raises:
            ModelError: a file stands in the way, the folder may not be written, or no version of ``name`` can follow.
        """
        home = self.root / name
        nearest = next(path for path in (home, *home.absolute().parents) if path.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise ModelError(
                f"models are published in a folder one may write; {nearest} is "
                f"{'write-protected' if nearest.is_dir() else 'a file'}; choose another with --repository"
            )
        if name and os.path.lexists(home):
            self._next_version(home)
            if os.path.lexists(home / LOCK):
                check_lock(home / LOCK)

    def publish(self, name: str, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> StoredModel:
        """Publish ``files`` as the next version of ``name``, all of them or nothing.

        Args:
            name: a valid model name.
            manifest: fields of :class:`Manifest`, without ``name``, ``version``, ``created`` and ``files``.
            files: file name to content; ``model.onnx`` must be among them.

        Raises:
            ModelError: the name is not valid.
            OSError: the disk is full or not writable; nothing was published.
        """
        record, path = self.place(name, MANIFEST_FILE, Manifest, manifest, files)
        return StoredModel(record, files[GRAPH_FILE], path)

    def place(
        self, name: str, manifest_file: str, kind: type[Record], fields: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> tuple[Record, Path]:
        """Write a folder as the next version of ``name``, whole or not at all.

        Args:
            name: a valid model name.
            manifest_file: what its manifest is called.
            kind: of the manifest; its last field is the seal.
            fields: of the manifest, without ``name``, ``version``, ``created`` and ``files``.
            files: file name to content.

        Returns:
            the manifest, and the folder.

        Raises:
            ModelError: the name is not valid.
            OSError: the disk is full or not writable; nothing was published.
        """
        check_model_name(name)
        home = self.root / name
        if not home.is_symlink():
            home.mkdir(parents=True, exist_ok=True)
        self._next_version(home)
        with locked(home / LOCK):
            _clear_left_overs(home)
            version = self._next_version(home)
            made = {
                "name": name,
                "version": version,
                "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "files": {file: _sha256(content) for file, content in files.items()},
            }
            record = kind.model_validate({**fields, **made})
            record = record.model_copy(update={"seal": _sha256(_text_of(record))})
            staging = home / f"{STAGING}{version}"
            try:
                staging.mkdir()
                for file, content in files.items():
                    write_new(staging / file, content)
                write_new(staging / manifest_file, _text_of(record))
                flush_folder(staging)
                staging.rename(home / str(version))
                flush_change(home, f"{home / str(version)} is published")
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
        return record, (home / str(version)).absolute()

    def check_there(self, name: str, version: int) -> None:
        """Make sure that a version is there, whatever it holds.

        Raises:
            ModelNotFound: no such name or version; says what there is.
        """
        self._folder(name, version)

    def remove(self, name: str, version: int) -> None:
        """Delete one version for good.

        Raises:
            ModelNotFound: no such name or version.
        """
        path = self._folder(name, version)
        with locked(path.parent / LOCK):
            self._folder(name, version)  # somebody else may have removed it meanwhile
            _clear_left_overs(path.parent)
            doomed = path.parent / f"{STAGING}removed-{version}"
            path.rename(doomed)  # gone for readers in one step
            shutil.rmtree(doomed)

    def _folder(self, name: str, version: int) -> Path:
        """The folder of a version of a model, or of one that is pre-trained."""
        if version in list_versions(self.root, name).pretrained:
            return self.root / name / str(version)
        return self.resolve(name, version)

    @staticmethod
    def _next_version(home: Path) -> int:
        """The version after all others of a model; whatever bears a number takes it, a link as well.

        A number that ``rollout.json`` names does not come again, though its version was removed: an alias, a choice or
        a permission that was meant for that one would hold for another.

        Raises:
            ModelError: there is none, or the folder is a link.
        """
        if home.is_symlink():
            raise ModelError(f"a model's folder must be no link, got {home}, which is one; choose another --name")
        there = max((int(name) for name in os.listdir(home) if is_version(name)), default=0)
        named = max(versions_named(home), default=0)
        if max(there, named) < MAX_VERSION:
            return max(there, named) + 1
        holds, way = ("holds", "remove it") if there == MAX_VERSION else ("names", f"correct {ROLLOUT_FILE} there")
        raise ModelError(
            f"versions count up to {MAX_VERSION:,}, and {home} {holds} that one: {way}, or publish under another --name"
        )


class _GoneError(ModelRefused):
    """The folder is not where it was when reading began."""


def open_version(path: Path) -> StoredModel:
    """Read and verify the version in the folder ``path``.

    Raises:
        ModelRefused: a file is missing, undeclared, linked, or not the one that was published.
    """
    manifest, graph = open_files(path, MANIFEST_FILE, Manifest, needed=GRAPH_FILE)
    return StoredModel(manifest, graph, path.absolute())


def open_files(path: Path, manifest_file: str, kind: type[Record], needed: str = "") -> tuple[Record, bytes]:
    """Read the manifest of a version, and verify its files.

    Args:
        path: the folder of the version.
        manifest_file: what the manifest is called.
        kind: of the manifest.
        needed: the file that is wanted, if one is.

    Returns:
        the manifest, and the bytes of that file.

    Raises:
        ModelRefused: a file is missing, undeclared, linked, or not the one that was published.
    """
    gone = _GoneError(f"{path} was removed while it was read")
    try:
        opened = Folder(path)
    except NoFolderError:  # another may have taken its place since
        raise gone from None
    with opened as folder:
        try:
            return _verified(folder, manifest_file, kind, needed)
        except ModelRefused:
            if not folder.is_in_place:
                raise gone from None
            raise


def read_manifest(path: Path) -> Manifest:
    """What the version in the folder ``path`` says of itself; no other file is looked at.

    Raises:
        ModelRefused: it says nothing that holds.
    """
    return read_sealed(path, MANIFEST_FILE, Manifest)


def read_sealed(path: Path, manifest_file: str, kind: type[Record]) -> Record:
    """See :func:`read_manifest`; for a manifest of any kind."""
    try:
        opened = Folder(path)
    except NoFolderError:
        raise _GoneError(f"{path} was removed while it was read") from None
    with opened as folder:
        return _manifest_of(folder, manifest_file, kind)


def _manifest_of(folder: Folder, manifest_file: str, kind: type[Record]) -> Record:
    path = folder.path
    text = folder.read(manifest_file, MAX_MANIFEST_BYTES)
    if text[_SEAL] != _sha256(text[: _SEAL.start] + UNSEALED.encode() + text[_SEAL.stop :]).encode():
        raise ModelRefused(f"{path / manifest_file} was changed after it was published: publish the model again")
    try:
        manifest = kind.model_validate_json(text)
    except ValidationError as error:
        raise ModelRefused(f"{path / manifest_file} is not a valid manifest: {first_fault(error)}") from None
    said = vars(manifest)
    if said["name"] != path.parent.name or str(said["version"]) != path.name:
        belongs = f"{_brief(said['name'])}:{said['version']}"
        raise ModelRefused(f"{path} holds {belongs}, which belongs in another folder")
    return manifest


def _verified(folder: Folder, manifest_file: str, kind: type[Record], needed: str) -> tuple[Record, bytes]:
    path, manifest = folder.path, _manifest_of(folder, manifest_file, kind)
    files: dict[str, str] = vars(manifest)["files"]
    if needed and needed not in files:
        raise ModelRefused(f"{path / manifest_file} does not declare {needed}")
    undeclared = set(folder.names()) - set(files) - {manifest_file}
    if undeclared:
        named = ", ".join(map(_brief, sorted(undeclared)[:_NAMED])) + (", ..." if len(undeclared) > _NAMED else "")
        raise ModelRefused(f"{path} holds files that {manifest_file} does not declare: {named}")
    content = b""
    for file, expected in files.items():
        if file != Path(file).name or "\0" in file:
            raise ModelRefused(f"{path / manifest_file} declares {_brief(file)!r}, which is not a plain file name")
        if file == needed:
            content = folder.read(file, MAX_GRAPH_BYTES)
        if (_sha256(content) if file == needed else folder.sha256(file)) != expected:
            raise ModelRefused(f"{path / _brief(file)} is not the file that was published: its SHA-256 differs")
    return manifest, content


def _brief(text: str) -> str:
    """A name that somebody else chose."""
    shown = printable(text)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


def _clear_left_overs(home: Path) -> None:
    """Remove what a publish or a removal that was killed left; the lock says that nobody is in it."""
    for left_over in home.glob(STAGING + "*"):
        if left_over.is_dir() and not left_over.is_symlink():
            shutil.rmtree(left_over, ignore_errors=True)
        else:
            left_over.unlink(missing_ok=True)


def _text_of(manifest: BaseModel) -> bytes:
    return manifest.model_dump_json(indent=2).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
