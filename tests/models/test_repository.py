"""The store: whole or nothing, and not a byte that was not published."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import threading

import pytest

from rowcast.models import plain_files
from rowcast.models.errors import ModelError, ModelNotFound, ModelRefused
from rowcast.models.plain_files import Folder
from rowcast.models.repository import Manifest, Repository
from rowcast.models.session import Session
from rowcast.models.signature import check_model_name, model_name_from
from tests.support import handmade

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


def test_what_is_published_stays_though_the_folder_around_it_cannot_be_flushed(repository, monkeypatch, caplog):
    home = repository.root / "flights"
    fsync = os.fsync

    def fails(descriptor):
        if os.path.realpath(f"/proc/self/fd/{descriptor}") == str(home):  # services see the version by now
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails)  # as a disk does that ails
    assert publish(repository).manifest.version == 1
    assert repository.open("flights").graph == b"graph"
    assert caplog.messages == [f"{home / '1'} is published, and may not be after a power failure: Input/output error"]


def test_what_a_killed_publish_left_is_cleared_by_the_next(repository):
    publish(repository)
    left = repository.root / "flights" / ".publishing-2"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    assert publish(repository).manifest.version == 2
    assert repository.open("flights").graph == b"graph"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "broken link"])
def test_a_lock_that_is_no_plain_file_is_refused_and_what_it_leads_to_left_alone(repository, tmp_path, kind):
    path = publish(repository).path.parent / ".lock"
    path.unlink()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "broken link":
        path.symlink_to(tmp_path / "not there")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    check = lambda: repository.check_writable("flights")  # noqa: E731 - before a long fit
    for act in (check, lambda: publish(repository), lambda: repository.remove("flights", 1)):
        with pytest.raises(ModelError, match=r"\.lock must be a plain file"):
            act()
    assert victim.read_text() == "precious"
    assert not (tmp_path / "not there").exists()
    assert repository.versions("flights") == [1]


def test_a_lock_that_somebody_else_keeps_is_not_waited_for_without_end(repository, monkeypatch):
    monkeypatch.setattr(plain_files, "LOCK_SECONDS", 0.05)
    path = publish(repository).path.parent / ".lock"
    with path.open() as held:  # whoever may read it may lock it
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(
            ModelError, match=r"\.lock must be free, got: it has been locked by another process for 0.05"
        ):
            publish(repository)
    assert publish(repository).manifest.version == 2


def test_a_lock_is_held_and_not_written(repository):
    path = publish(repository).path.parent / ".lock"
    path.write_text("somebody else's words")
    assert publish(repository).manifest.version == 2
    assert path.read_text() == "somebody else's words"


def test_nothing_is_published_or_left_over_through_a_link(repository, tmp_path):
    home = publish(repository).path.parent
    (tmp_path / "elsewhere").mkdir()
    (repository.root / "linked").symlink_to(tmp_path / "elsewhere")
    for act in (repository.check_writable, lambda name: publish(repository, name)):
        with pytest.raises(ModelError, match="a model's folder must be no link"):
            act("linked")
    (home / ".publishing-2").symlink_to(tmp_path / "elsewhere")
    (home / ".publishing-3").write_text("a file")
    (home / "2").symlink_to(tmp_path / "elsewhere")  # the number is taken
    assert publish(repository).manifest.version == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.slow
def test_the_latest_is_opened_while_the_latest_is_published_and_removed(repository):
    publish(repository)
    stop = threading.Event()
    failures: list[Exception] = []
    opened = []

    def read():
        while not stop.is_set():
            try:
                opened.append(repository.open("flights").manifest.version)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(150):
        repository.remove("flights", publish(repository).manifest.version)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert set(opened) <= {1, 2}


def test_a_version_that_is_removed_and_published_anew_while_it_is_read_is_never_a_mixture(repository, monkeypatch):
    """Between the manifest and the graph another version takes the folder's place."""
    publish(repository)
    publish(repository)
    real, done = Folder.names, []

    def names(folder):
        if not done:
            done.append(True)
            repository.remove("flights", 2)
            publish(repository, files=FILES | {"model.onnx": b"another graph"})
        return real(folder)

    monkeypatch.setattr(Folder, "names", names)
    assert repository.open("flights").graph == b"another graph"


def test_a_version_that_was_removed_by_somebody_else_is_not_there(repository):
    publish(repository)
    repository.remove("flights", 1)
    with pytest.raises(ModelNotFound):
        repository.remove("flights", 1)


def test_a_manifest_or_graph_of_any_size_is_refused_before_it_is_read(repository):
    path = publish(repository).path
    os.truncate(path / "model.json", 2**40)  # a hole: it takes no room on the disk
    with pytest.raises(ModelRefused, match=r"model\.json must hold at most 67,108,864 bytes, got more"):
        repository.open("flights")
    path = publish(repository).path
    os.truncate(path / "model.onnx", 2**40)
    with pytest.raises(ModelRefused, match=r"model\.onnx must hold at most 2,147,483,648 bytes, got more"):
        repository.open("flights")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"version": 2**63}, "version"),
        ({"version": 0}, "version"),
        ({"files": {f"f{i}": "" for i in range(101)}}, "files"),
        ({"metrics": None}, "metrics"),
        ({"decisions": [1]}, "decisions.0"),
    ],
)
def test_a_manifest_out_of_bounds_is_one_clear_line(repository, change, where):
    path = publish(repository).path / "model.json"
    forge(path, change)
    with pytest.raises(ModelRefused) as caught:
        repository.open("flights")
    assert f"is not a valid manifest: {where}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_too_many_columns_is_refused(repository):
    column = handmade.COLUMNS[0].model_dump(mode="json")
    signature = handmade.BINARY.model_dump(mode="json")
    signature["columns"] = [column | {"name": f"c{i}"} for i in range(10_001)]
    forge(publish(repository).path / "model.json", {"signature": signature})
    with pytest.raises(ModelRefused, match=r"is not a valid manifest: signature\.columns: "):
        repository.open("flights")


def test_names_of_others_are_shown_as_escapes(repository):
    path = publish(repository).path
    (path / "a\x1b[2J\nb").write_text("")
    with pytest.raises(ModelRefused) as caught:
        repository.open("flights")
    assert str(caught.value).endswith(r"does not declare: a\x1b[2J\nb")


def forge(manifest, change):
    """Change a manifest and seal it anew."""
    held = json.loads(manifest.read_text()) | change | {"seal": "0" * 64}
    held["seal"] = held.pop("seal")  # the last field
    unsealed = json.dumps(held, indent=2).encode()
    manifest.write_bytes(unsealed[:-67] + hashlib.sha256(unsealed).hexdigest().encode() + unsealed[-3:])


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
        *("config", "data", "versions", "files", "threshold", "seal"),
    ]
