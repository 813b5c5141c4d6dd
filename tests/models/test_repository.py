"""The store: whole or nothing, and not a byte that was not published."""

from __future__ import annotations

import errno
import json
import os
import threading

import pytest

from models.errors import ModelError, ModelNotFound, ModelRefused
from models.repository import Manifest, Repository
from models.session import Session
from models.signature import check_model_name, model_name_from
from tests import handmade

FILES = {"model.onnx": b"graph", "weights.safetensors": b"weights"}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def publish(repository, name="flights", files=FILES):
    return repository.publish(name, handmade.manifest(), files)


def test_versions_count_up_and_the_latest_is_opened(repository):
    assert [publish(repository).manifest.version for _ in range(11)] == list(range(1, 12))
    assert repository.open("flights").manifest.version == 11
    assert repository.open("flights", 3).manifest.version == 3
    assert repository.names() == ["flights"]


def test_an_absent_repository_is_empty_and_stays_absent(repository):
    assert repository.names() == []
    with pytest.raises(ModelNotFound, match="no model 'flights'"):
        repository.open("flights")
    assert not repository.root.exists()


def test_what_there_is_is_named_when_something_else_is_asked_for(repository):
    publish(repository)
    with pytest.raises(ModelNotFound, match="models there: flights"):
        repository.open("fligths")
    with pytest.raises(ModelNotFound, match="no version 2; versions: 1"):
        repository.open("flights", 2)


@pytest.mark.parametrize("name", ["../x", "..", "/etc", "a/b", ".hidden", ""])
def test_no_name_leads_out_of_the_repository(repository, name):
    publish(repository)
    assert repository.versions(name) == []
    with pytest.raises(ModelError):
        publish(repository, name)


def test_every_file_is_opened_as_it_was_published(repository):
    published = publish(repository)
    opened = repository.open("flights")
    assert opened == published
    assert opened.graph == b"graph"
    assert set(opened.manifest.files) == set(FILES)


@pytest.mark.parametrize("file", [*FILES, "model.json"])
def test_one_flipped_bit_anywhere_is_refused(repository, file):
    path = publish(repository).path / file
    content = path.read_bytes()
    for place in {0, len(content) // 3, len(content) // 2, len(content) - 1}:
        for bit in (1, 4):
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            with pytest.raises(ModelRefused):
                repository.open("flights")
    path.write_bytes(content)
    assert repository.open("flights").manifest.version == 1


def test_a_manifest_that_was_edited_is_refused(repository):
    path = publish(repository).path / "model.json"
    manifest = json.loads(path.read_text())
    manifest["metrics"]["test"]["roc_auc"] = 0.99
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelRefused, match="changed after it was published"):
        repository.open("flights")


def test_a_truncated_missing_or_undeclared_file_is_refused(repository):
    path = publish(repository).path
    (path / "notes.txt").write_text("hello")
    with pytest.raises(ModelRefused, match=r"does not declare: notes\.txt"):
        repository.open("flights")
    (path / "notes.txt").unlink()
    (path / "model.onnx").write_bytes(b"gra")
    with pytest.raises(ModelRefused, match="SHA-256 differs"):
        repository.open("flights")
    (path / "model.onnx").unlink()
    with pytest.raises(ModelRefused, match="cannot be read"):
        repository.open("flights")


def test_a_link_in_place_of_a_file_is_refused(repository, tmp_path):
    path = publish(repository).path
    (tmp_path / "elsewhere").write_bytes(b"graph")
    (path / "model.onnx").unlink()
    (path / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelRefused, match="plain file"):
        repository.open("flights")


def test_a_version_moved_to_another_folder_is_refused(repository):
    path = publish(repository).path
    path.rename(path.parent / "7")
    with pytest.raises(ModelRefused, match="belongs in another folder"):
        repository.open("flights")


def test_a_full_disk_publishes_nothing(repository, monkeypatch):
    publish(repository)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        publish(repository)
    monkeypatch.undo()
    assert repository.versions("flights") == [1]
    assert sorted(entry.name for entry in (repository.root / "flights").iterdir()) == [".lock", "1"]


def test_what_a_killed_publish_left_is_cleared_by_the_next(repository):
    publish(repository)
    left = repository.root / "flights" / ".publishing-2"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    assert publish(repository).manifest.version == 2
    assert repository.open("flights").graph == b"graph"


def test_publishers_at_the_same_time_get_versions_of_their_own(repository):
    threads = [threading.Thread(target=publish, args=(repository,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert repository.versions("flights") == list(range(1, 9))


def test_a_removed_version_is_gone_and_its_number_is_not_the_latest_again(repository):
    for _ in range(3):
        publish(repository)
    repository.remove("flights", 2)
    assert repository.versions("flights") == [1, 3]
    assert publish(repository).manifest.version == 4


@pytest.mark.parametrize("name", ["a", "flights_2-b", "0" * 64])
def test_valid_names(name):
    assert check_model_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a b", "ä", "a" * 65, "a.b", "a\n"])
def test_invalid_names_are_refused_with_the_rule(name):
    with pytest.raises(ModelError, match="1 to 64"):
        check_model_name(name)


@pytest.mark.parametrize(("text", "name"), [("My Table (v2)", "my-table-v2"), ("äöü", "model"), ("x" * 99, "x" * 64)])
def test_any_text_makes_a_valid_name(text, name):
    assert check_model_name(model_name_from(text)) == name


def test_the_signature_in_the_graph_must_be_the_one_in_the_manifest(repository):
    stored = repository.publish(
        "flights", handmade.manifest(handmade.REGRESSION), {"model.onnx": handmade.graph(handmade.BINARY)}
    )
    with pytest.raises(ModelRefused, match="signature in the graph differs"):
        Session.of(stored)


def test_a_manifest_keeps_the_published_shape():
    assert list(Manifest.model_fields) == [
        *("format", "name", "version", "created", "signature", "metrics", "parity", "decisions"),
        *("config", "data", "versions", "files", "seal"),
    ]
