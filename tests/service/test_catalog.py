"""The catalog: what the supervisor settled is what every worker reads, whatever becomes of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rowcast.models.errors import ModelRefused
from rowcast.service.engine import catalog
from rowcast.service.engine.catalog import CatalogOwner, CatalogReader, Entry, address_of_owner
from rowcast.service.engine.versions import choose
from rowcast.service.settings import Settings
from tests.service.servers import ROOT, publish_delay, publish_flights

READ = """
import sys
from rowcast.service.engine.catalog import CatalogReader
found = CatalogReader(sys.argv[1]).read()
models = found.open()
print(found.generation, *(f"{m.manifest.name}:{m.manifest.version}:{m.sha256[:8]}:{len(m.graph)}" for m in models))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish_flights(tmp_path / "repository", versions=2)
    publish_delay(tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture(params=["memory", "folder"])
def owner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CatalogOwner:
    """An owner, also as it is where the system has no files in memory."""
    if request.param == "folder":
        monkeypatch.delattr(os, "memfd_create")
    made = CatalogOwner()
    assert made.address.startswith(f"{os.getpid()}:/proc/") == (request.param == "memory")
    return made


def models(root: Path, names: str = "") -> list[Any]:
    return choose(Settings(repository=root, models=names, device="cpu"))


def test_another_process_reads_the_very_models_though_the_repository_is_gone(root: Path, owner: CatalogOwner) -> None:
    settled = models(root)
    owner.publish(settled)
    shutil.rmtree(root)
    say = [sys.executable, "-c", READ, owner.address]
    done = subprocess.run(say, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = [f"{m.manifest.name}:{m.manifest.version}:{m.sha256[:8]}:{len(m.graph)}" for m in settled]
    assert done.stdout.split() == ["1", *expected]
    assert CatalogReader(owner.address).read().open() == settled


def test_a_reader_sees_a_new_list_and_unchanged_models_are_held_once(root: Path, owner: CatalogOwner) -> None:
    owner.publish(models(root, "flights:1,delay"))
    reader = CatalogReader(owner.address)
    before = reader.read()
    assert (reader.generation, [entry.version for entry in before.entries]) == (1, [1, 1])
    owner.publish(models(root, "flights:2,delay"))
    assert reader.generation == 2
    after = reader.read()
    assert [(entry.name, entry.version) for entry in after.entries] == [("delay", 1), ("flights", 2)]
    assert before.entries[0] == after.entries[0]
    assert before.open()[1].manifest.version == 1  # of the list before: a worker may be at it just now


def test_what_nobody_can_be_reading_any_more_is_let_go(root: Path, owner: CatalogOwner) -> None:
    first = owner.publish(models(root, "flights:1"))
    held = len(owner._held)
    for version in ("flights:2", "delay", "flights:2", "delay"):
        owner.publish(models(root, version))
    assert (held, len(owner._held), len(owner._lists)) == (1, 2, 2)
    with pytest.raises(ModelRefused):
        first.entries[0].open()


def test_bytes_other_than_those_that_were_settled_are_refused(root: Path, owner: CatalogOwner) -> None:
    entry = owner.publish(models(root, "flights:1")).entries[0]
    other = Entry(entry.name, entry.version, "0" * 64, entry.path, entry.held_at)
    with pytest.raises(ModelRefused, match="is not the version that was settled when the service started"):
        other.open()


def test_what_is_held_in_memory_cannot_be_changed(root: Path) -> None:
    entry = CatalogOwner().publish(models(root, "flights:1")).entries[0]
    with pytest.raises(OSError, match="not permitted"), open(entry.held_at, "r+b") as file:
        file.write(b"x")


def test_an_owner_that_is_gone_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelRefused, match="what is to be served cannot be read from the supervisor"):
        CatalogReader("1:/proc/999999999/fd/3")
    monkeypatch.setenv(catalog.CATALOG, "999999999:/proc/999999999/fd/3")
    assert address_of_owner() is None  # of some other service
    monkeypatch.setenv(catalog.CATALOG, f"{os.getppid()}:/x")
    assert address_of_owner() == f"{os.getppid()}:/x"
