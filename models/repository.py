"""Where models live: ``<root>/<name>/<version>/``, published whole or not at all, verified before use.

A version is a whole number. A publish writes every file into a hidden sibling folder, flushes it to the disk and
renames the folder into place: a reader sees the whole version or none of it. Opening a version compares the SHA-256 of
every file with ``model.json`` before anything reads the graph; the bytes that were hashed are the bytes that are used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import ModelError, ModelNotFound, ModelRefused
from models.signature import Signature, check_model_name

GRAPH_FILE = "model.onnx"
MANIFEST_FILE = "model.json"
_UNSEALED = "0" * 64
_SEAL = slice(-67, -3)
"""Where the seal stands in ``model.json``: it is the last field."""
_STAGING = ".publishing-"
_LOCK = ".lock"


class Manifest(BaseModel):
    """``model.json``: what the model is, how well it does, where it comes from, and the SHA-256 of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format: Literal[1] = 1
    name: str
    version: int
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
    files: dict[str, str]
    """SHA-256 of every other file of the folder."""
    seal: str = _UNSEALED
    """SHA-256 of ``model.json`` itself, with 64 zeros in the seal's place, so that a change there is noticed too."""


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

    def names(self) -> list[str]:
        """Names with at least one version, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and self.versions(entry.name))

    def versions(self, name: str) -> list[int]:
        """Versions of ``name``, oldest first; empty when there is no such model."""
        if "/" in name or name.startswith(".") or not (self.root / name).is_dir():
            return []
        return sorted(
            int(entry.name)
            for entry in (self.root / name).iterdir()
            if entry.name.isascii() and entry.name.isdigit() and entry.name[0] != "0" and entry.is_dir()
        )

    def resolve(self, name: str, version: int | None = None) -> Path:
        """Folder of a version, the latest unless one is given.

        Raises:
            ModelNotFound: no such name or version; says what there is.
        """
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "none"
            raise ModelNotFound(f"no model {name!r} in {self.root}; models there: {known}")
        if version is not None and version not in versions:
            known = ", ".join(str(v) for v in versions)
            raise ModelNotFound(f"model {name!r} has no version {version}; versions: {known}")
        return self.root / name / str(versions[-1] if version is None else version)

    def open(self, name: str, version: int | None = None) -> StoredModel:
        """Read and verify a version.

        Raises:
            ModelNotFound: no such name or version.
            ModelRefused: a file is missing, undeclared, linked, or not the one that was published.
        """
        return open_version(self.resolve(name, version))

    def check_writable(self) -> None:
        """Make sure a model can be published here, before a long fit and not after it.

        Raises:
            ModelError: a file stands in the way, or the folder may not be written.
        """
        nearest = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise ModelError(
                f"models are published in a folder one may write, however: {nearest} is "
                f"{'write-protected' if nearest.is_dir() else 'a file'}; choose another with --repository"
            )

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
        check_model_name(name)
        home = self.root / name
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / _LOCK):
            for left_over in home.glob(_STAGING + "*"):  # of a publish that was killed: the lock says nobody is in it
                shutil.rmtree(left_over, ignore_errors=True)
            version = max(self.versions(name), default=0) + 1
            record = Manifest(
                **manifest,
                name=name,
                version=version,
                created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                files={file: _sha256(content) for file, content in files.items()},
            )
            record = record.model_copy(update={"seal": _sha256(_text_of(record))})
            staging = home / f"{_STAGING}{version}"
            try:
                staging.mkdir()
                for file, content in files.items():
                    _write(staging / file, content)
                _write(staging / MANIFEST_FILE, _text_of(record))
                _flush_folder(staging)
                staging.rename(home / str(version))
                _flush_folder(home)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
        return StoredModel(record, files[GRAPH_FILE], (home / str(version)).absolute())

    def remove(self, name: str, version: int) -> None:
        """Delete one version for good.

        Raises:
            ModelNotFound: no such name or version.
        """
        path = self.resolve(name, version)
        with _locked(path.parent / _LOCK):
            doomed = path.parent / f"{_STAGING}removed-{version}"
            path.rename(doomed)  # gone for readers in one step
            shutil.rmtree(doomed)


def open_version(path: Path) -> StoredModel:
    """Read and verify the version in the folder ``path``.

    Raises:
        ModelRefused: a file is missing, undeclared, linked, or not the one that was published.
    """
    text = _read(path / MANIFEST_FILE)
    if text[_SEAL] != _sha256(text[: _SEAL.start] + _UNSEALED.encode() + text[_SEAL.stop :]).encode():
        raise ModelRefused(f"{path / MANIFEST_FILE} was changed after it was published: publish the model again")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelRefused(f"{path / MANIFEST_FILE} is not a valid manifest: {where}: {first['msg']}") from None
    if manifest.name != path.parent.name or str(manifest.version) != path.name:
        raise ModelRefused(f"{path} holds {manifest.name}:{manifest.version}, which belongs in another folder")
    if GRAPH_FILE not in manifest.files:
        raise ModelRefused(f"{path / MANIFEST_FILE} does not declare {GRAPH_FILE}")
    undeclared = {entry.name for entry in path.iterdir()} - set(manifest.files) - {MANIFEST_FILE}
    if undeclared:
        raise ModelRefused(f"{path} holds files that {MANIFEST_FILE} does not declare: {', '.join(sorted(undeclared))}")
    graph = b""
    for file, expected in manifest.files.items():
        if file != Path(file).name:
            raise ModelRefused(f"{path / MANIFEST_FILE} declares {file!r}, which is not a plain file name")
        content = _read(path / file)
        if _sha256(content) != expected:
            raise ModelRefused(f"{path / file} is not the file that was published: its SHA-256 differs")
        if file == GRAPH_FILE:
            graph = content
    return StoredModel(manifest, graph, path.absolute())


def _text_of(manifest: Manifest) -> bytes:
    return manifest.model_dump_json(indent=2).encode()


def _read(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would keep us waiting
    except OSError as error:
        raise ModelRefused(f"{file} cannot be read as a plain file: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelRefused(f"{file} is not a plain file")
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def _write(file: Path, content: bytes) -> None:
    with open(file, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with open(file, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
