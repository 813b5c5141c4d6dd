"""What is seen of a repository, and what workers and their supervisor tell each other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rowcast.service.live.look import Look, mark_of
from rowcast.service.live.slots import Order, order, say_order, say_verdict, verdict
from rowcast.service.process.slots import SLOT_BYTES, Slots, slot_of
from tests.service.servers import publish_delay, publish_flights


def test_a_look_finds_what_is_new_and_what_is_gone(tmp_path: Path) -> None:
    publish_flights(tmp_path, versions=2)
    (tmp_path / "stray").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "flights")
    (tmp_path / "Not a name").mkdir()
    look, one = Look(tmp_path, None), Look(tmp_path, ["delay"])
    assert (look(), one()) == ({"flights": [1, 2], "stray": []}, {})
    publish_delay(tmp_path)
    shutil.rmtree(tmp_path / "flights/1")
    assert (look(), one()) == ({"delay": [1], "flights": [2], "stray": []}, {"delay": [1]})


def test_a_folder_that_rests_is_not_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_flights(tmp_path)
    os.utime(tmp_path / "flights", (1, 1))
    look = Look(tmp_path, None)
    assert look() == {"flights": [1]}
    monkeypatch.setattr("rowcast.service.live.look.list_versions", None)
    assert look() == {"flights": [1]}


def test_what_looks_like_a_model_or_a_version_and_is_none_is_told_as_long_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_flights(tmp_path)
    look, one = Look(tmp_path, None), Look(tmp_path, ["flights"])
    assert (look(), look.ignored, one.ignored) == ({"flights": [1]}, [], [])
    (tmp_path / "flights/2").symlink_to(tmp_path / "flights/1")
    (tmp_path / "link").symlink_to(tmp_path / "flights")
    (tmp_path / "Not a name/1").mkdir(parents=True)
    (tmp_path / "README.md").touch()
    version = f"{tmp_path / 'flights/2'} is passed over: a version's folder must be no link"
    rule = "a model's folder bears 1 to 64 of a-z, 0-9, '_' and '-'"
    told = [
        version,
        f"{tmp_path / 'Not a name'} is passed over: {rule}",
        f"{tmp_path / 'link'} is passed over: a model's folder must be no link",
    ]
    assert (look(), look.ignored) == ({"flights": [1]}, told)
    assert (one(), one.ignored) == ({"flights": [1]}, [version])
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    look()
    monkeypatch.setattr("rowcast.service.live.look.list_versions", None)
    monkeypatch.setattr("rowcast.service.live.look.misnamed", None)
    assert (look(), look.ignored) == ({"flights": [1]}, told)  # what rests is not looked at again
    (tmp_path / "link").unlink()
    assert (look(), look.ignored) == ({"flights": [1]}, told[:2])


def test_a_repository_that_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Look(tmp_path / "gone", None)()


def test_a_mark_changes_with_any_file_of_a_version(tmp_path: Path) -> None:
    publish_flights(tmp_path)
    folder = tmp_path / "flights/1"
    marks = [mark_of(folder)]
    os.utime(folder / "model.onnx", (1, 1))
    marks.append(mark_of(folder))
    (folder / "more").touch()
    marks.append(mark_of(folder))
    assert len(set(marks)) == 3
    assert mark_of(tmp_path / "gone") is None


def test_a_worker_tells_its_verdict_and_its_order_in_its_own_slot() -> None:
    slots = Slots(3)
    mine = slot_of(slots.descriptor, 1)
    asked = Order(7, "flights", None, False, "alice")
    assert (verdict(slots[1], 5), order(slots[1])) == (None, None)
    say_order(mine, asked)
    say_verdict(mine, 5, "ä" * SLOT_BYTES)
    assert verdict(slots[1], 4) is None
    assert str(verdict(slots[1], 5)).rstrip("\N{REPLACEMENT CHARACTER}") == "ä" * 251
    say_verdict(mine, 6, "")
    assert (verdict(slots[1], 6), order(slots[1])) == ("", asked)
    assert (verdict(slots[0], 6), order(slots[2])) == (None, None)
    slots.clear(1)
    assert (verdict(slots[1], 6), order(slots[1])) == (None, None)


def test_a_name_whose_folder_cannot_be_read_holds_what_it_held_and_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_flights(tmp_path)
    publish_delay(tmp_path)
    look = Look(tmp_path, None)
    look()
    listdir = os.listdir

    def fails(folder: os.PathLike[str] | str) -> list[str]:
        if os.fspath(folder) == os.fspath(tmp_path / "flights"):
            raise OSError(5, "Input/output error")
        return listdir(folder)

    monkeypatch.setattr("os.listdir", fails)
    publish_delay(tmp_path)
    assert look() == {"delay": [1, 2], "flights": [1]}
    assert look.faults == {"flights": f"{tmp_path / 'flights'} cannot be read: Input/output error"}
    assert Look(tmp_path, None)() == {"delay": [1, 2], "flights": []}
    monkeypatch.undo()
    assert (look(), look.faults) == ({"delay": [1, 2], "flights": [1]}, {})
