"""What is a model and a version, and what is passed over with a word: the same for every reader."""

from __future__ import annotations

import os
import shutil

import pytest

from rowcast.models.errors import ModelNotFound
from rowcast.models.listing import list_models, list_versions
from rowcast.models.names import CHOICE, is_model_name, is_version
from rowcast.models.printable import printable
from rowcast.models.repository import Repository
from rowcast.service.engine.versions import choose
from rowcast.service.settings import Settings
from tests.models.hostile_names import NAMES, VERSIONS
from tests.support import handmade

FILES = {"model.onnx": handmade.graph()}


@pytest.fixture
def repository(tmp_path):
    repository = Repository(tmp_path / "repository")
    repository.publish("flights", handmade.manifest(), FILES)
    return repository


def served(repository):
    """What a service would serve."""
    chosen = choose(Settings(repository=repository.root))
    return [(stored.manifest.name, stored.manifest.version) for stored in chosen]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_another_name_is_no_model_and_said_on_one_line(repository, name, caplog):
    shutil.copytree(repository.root / "flights", repository.root / name)
    listing = repository.listing()
    assert listing.models == {"flights": [1]}
    if name.startswith("."):  # hidden: what a tool keeps for itself
        assert listing.ignored == []
    else:
        (line,) = listing.ignored
        assert line.startswith(str(repository.root))
        assert line.isprintable()
        assert line.isascii() or printable(name) == name
        assert line.endswith(" is passed over: a model's folder bears 1 to 64 of a-z, 0-9, '_' and '-'")
    assert served(repository) == [("flights", 1)]
    assert [record.getMessage() for record in caplog.records] == listing.ignored, "the service says so as well"
    assert not CHOICE.fullmatch(name) or ":" in name
    with pytest.raises(ModelNotFound):
        repository.open(name)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_that_is_no_version_is_none_and_said_on_one_line(repository, version):
    shutil.copytree(repository.root / "flights" / "1", repository.root / "flights" / version)
    listing = repository.listing()
    assert listing.models == {"flights": [1]}
    (line,) = listing.ignored
    assert line.isprintable()
    assert "is passed over: a version is a whole number from 1 to 999,999,999 without zeros in front" in line
    assert served(repository) == [("flights", 1)]
    assert CHOICE.fullmatch(f"flights:{version}") is None
    assert repository.publish("flights", handmade.manifest(), FILES).manifest.version == 2


def test_the_largest_version_is_one_everywhere_and_none_comes_after_it(repository):
    from rowcast.models.errors import ModelError

    last = repository.root / "flights" / "999999999"
    (repository.root / "flights" / "1").rename(last)
    assert repository.versions("flights") == [999_999_999]
    assert CHOICE.fullmatch("flights:999999999")
    with pytest.raises(ModelError, match=r"versions count up to 999,999,999, and .* holds that one"):
        repository.publish("flights", handmade.manifest(), FILES)
    assert sorted(os.listdir(repository.root / "flights")) == [".lock", "999999999"]


def test_what_tools_leave_in_a_repository_is_passed_over_without_a_word(repository):
    for stray in ("lost+found", ".snapshot", "@eaDir", "__pycache__", "backup", "Backup", "flights/.tmp", "flights/x"):
        (repository.root / stray).mkdir()
    for stray in (".DS_Store", "README.md", "7", "flights/notes.txt"):
        (repository.root / stray).write_text("")
    assert list_models(repository.root).models == {"flights": [1]}
    assert list_models(repository.root).ignored == []


def test_a_model_or_a_version_that_is_a_link_is_passed_over_and_the_reason_told_to_who_asks(repository):
    flights = repository.root / "flights"
    (flights / "2").symlink_to(flights / "1")
    (repository.root / "linked").symlink_to(flights)
    (repository.root / "broken").symlink_to("nowhere")
    listing = repository.listing()
    assert listing.models == {"flights": [1]}
    assert [line.removeprefix(f"{repository.root}/") for line in listing.ignored] == [
        "flights/2 is passed over: a version's folder must be no link",
        "linked is passed over: a model's folder must be no link",
    ]
    assert served(repository) == [("flights", 1)]
    with pytest.raises(ModelNotFound, match=r"has no version 2; versions: 1; .*must be no link"):
        repository.open("flights", 2)
    with pytest.raises(ModelNotFound, match=r"no model 'linked' in .*must be no link"):
        repository.open("linked")


def test_a_thousand_strays_are_not_a_thousand_lines(repository):
    for i in range(1000):
        (repository.root / "flights" / f"0{i:04}").mkdir()
    listing = repository.listing()
    assert (len(listing.ignored), len(listing.warnings)) == (1000, 21)
    assert listing.warnings[-1] == "980 more are passed over"


def test_the_repository_itself_may_be_a_link(repository, tmp_path):
    (tmp_path / "current").symlink_to(repository.root)
    assert Repository(tmp_path / "current").open("flights").manifest.version == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_model_that_may_not_be_read_is_passed_over_with_the_reason(repository):
    (repository.root / "secret" / "1").mkdir(parents=True)
    (repository.root / "secret").chmod(0)
    try:
        assert list_versions(repository.root, "secret").ignored[0].endswith("is passed over: Permission denied")
    finally:
        (repository.root / "secret").chmod(0o700)


@pytest.mark.parametrize("name", NAMES)
def test_no_such_name_is_a_models(name):
    assert not is_model_name(name)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_such_text_is_a_version(version):
    assert not is_version(version)


def test_what_a_terminal_would_act_on_is_shown_as_an_escape():
    assert printable("plain – Ünï 🚀") == "plain – Ünï 🚀"
    assert printable("a\x1b[2Jb\x9bm\x07\n\t\x7f") == r"a\x1b[2Jb\x9bm\x07\n\t\x7f"
    assert printable("\u202eabc\u2066\u2028\u200d\ud800") == r"\u202eabc\u2066\u2028\u200d\ud800"
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"
