"""A stored model published once more, under another name or in another repository: the same files, byte for byte."""

from __future__ import annotations

from rowcast.models.errors import ModelRefused
from rowcast.models.plain_files import Folder
from rowcast.models.repository import GRAPH_FILE, MAX_GRAPH_BYTES, Repository, StoredModel


def files_of(model: StoredModel) -> dict[str, bytes]:
    """Every file of a version but ``model.json``, as it was published.

    Raises:
        ModelRefused: one is absent, or not the one that was published.
    """
    files = {GRAPH_FILE: model.graph}
    with Folder(model.path) as folder:
        for name, sha256 in model.manifest.files.items():
            if name != GRAPH_FILE:
                files[name] = folder.read(name, MAX_GRAPH_BYTES)
                if folder.sha256(name) != sha256:
                    raise ModelRefused(f"{model.path / name} is not the file that was published: its SHA-256 differs")
    return {name: files[name] for name in model.manifest.files}


def publish_again(model: StoredModel, name: str, repository: Repository) -> StoredModel:
    """Publish a stored model as the next version of ``name``.

    Raises:
        ModelError: the name is not valid, or the repository cannot be written.
        ModelRefused: its files are not the published ones.
    """
    given = {"name", "version", "created", "files", "seal"}
    manifest = {field: value for field, value in model.manifest if field not in given}
    return repository.publish(name, manifest, files_of(model))
