"""Keys are what their file says now, for every worker alike; whatever is wrong with it lets nobody in."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rowcast.models.errors import ConfigError
from rowcast.service.middleware.key_watch import KeyWatch
from rowcast.service.middleware.keys import Keys, new_key

HASH = "0" * 64


class Watched:
    """A file with two keys, and a watch over it."""

    def __init__(self, home: Path) -> None:
        self.file = home / "keys.txt"
        self.alice, self.bob = new_key("alice", self.file), new_key("bob", self.file)
        self.lines = self.file.read_text().splitlines(keepends=True)
        self.watch = KeyWatch.of(self.file)
        self.forgotten = 0
        self.watch.keys.when_replaced(self._forget)

    def _forget(self) -> None:
        self.forgotten += 1

    def let_in(self, looks: int = 1) -> list[str]:
        """Who of the two is let in after some looks."""
        for _ in range(looks):
            self.watch.look()
        found = (self.watch.keys.holder_of(key.encode()) for key in (self.alice, self.bob))
        return [holder for holder in found if holder]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_key_that_is_taken_out_is_dead_at_the_next_look(watched: Watched) -> None:
    assert watched.let_in() == ["alice", "bob"]
    watched.file.write_text(watched.lines[1])
    assert watched.let_in() == ["bob"]
    assert watched.forgotten == 1
    watched.file.write_text("".join(watched.lines))
    assert watched.let_in() == ["alice", "bob"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_lets_nobody_in_and_leaves_no_descriptor_open(
    watched: Watched, make: Callable[[Path], None]
) -> None:
    watched.file.unlink()
    make(watched.file)
    before = len(os.listdir("/proc/self/fd"))
    assert watched.let_in(looks=20) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_takes_its_place_is_read_whatever_its_times_say(watched: Watched) -> None:
    before = watched.file.stat()
    other = watched.file.with_name("other")
    other.write_text(watched.lines[0].replace("alice", "allie") + watched.lines[1].replace("bob", "bo_"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(watched.file)
    assert watched.let_in() == ["allie", "bo_"]
    watched.file.write_text("".join(watched.lines))  # of the same size, within the same tick of the clock
    os.utime(watched.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.let_in() == ["alice", "bob"]


def test_through_a_link_as_kubernetes_mounts_secrets(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    (tmp_path / "new").write_text(watched.lines[0])
    real = watched.file.rename(tmp_path / "old")
    watched.file.symlink_to(real)
    assert watched.let_in() == ["alice", "bob"]
    (tmp_path / "link").symlink_to(tmp_path / "new")
    (tmp_path / "link").replace(watched.file)
    assert watched.let_in() == ["alice"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text(""),
        lambda file: file.write_text("# nobody\n"),
        lambda file: file.unlink(),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.unlink(), os.mkfifo(file)),
        lambda file: (file.unlink(), file.symlink_to("nowhere")),
        lambda file: (file.unlink(), file.symlink_to("/dev/zero")),
        lambda file: file.write_bytes(b"\0" * 5_000_000),
        lambda file: file.write_text("nonsense\n"),
    ],
    ids=["empty", "comment", "gone", "folder", "pipe", "dead link", "device", "huge", "nonsense"],
)
def test_a_file_without_a_key_lets_nobody_in_once_it_is_seen_twice(
    watched: Watched, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    damage(watched.file)  # type: ignore[operator]
    assert watched.let_in(1) == ["alice", "bob"]  # it may be under an editor's hand
    assert watched.let_in(1) == []
    assert KeyWatch.of(watched.file).keys.holder_of(watched.alice.encode()) is None  # a worker that starts now agrees


def test_a_line_that_is_no_key_lets_nobody_in_and_the_others_hold(watched: Watched) -> None:
    for broken in (f"alice {HASH[1:]}\n", "alice\n", "\xff\n"):
        watched.file.write_bytes((broken + watched.lines[1]).encode("latin-1"))
        assert watched.let_in(2) == ["bob"]
        assert len(KeyWatch.of(watched.file).keys) == 1
        with pytest.raises(ConfigError):  # but no service starts with it
            Keys.read(watched.file)


def test_of_too_many_keys_the_first_hold(watched: Watched) -> None:
    watched.file.write_text("".join(watched.lines) + f"many {HASH}\n" * 10_000)
    assert watched.let_in(2) == ["alice", "bob"]
    assert len(watched.watch.keys) == 10_000


def test_a_fault_is_told_once_a_minute_and_never_what_a_line_holds(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.file.write_text("hunter2\n" + watched.lines[1])
    watched.let_in(2)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            watched.watch._log_fault()
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == (
        f"{watched.file}, the file of API keys, is not as it must be (line 1 is not a name and a SHA-256): "
        "its 1 other keys hold"
    )


def test_a_line_without_an_end_does_not_swallow_the_next_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    alice = new_key("alice", file)
    file.write_text(file.read_text().removesuffix("\n"))
    bob = new_key("bob", file)
    keys = Keys.read(file)
    assert [keys.holder_of(key.encode()) for key in (alice, bob)] == ["alice", "bob"]


def test_a_file_that_is_there_and_empty_takes_its_first_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("# keys\n")
    key = new_key("alice", file)
    assert Keys.read(file).holder_of(key.encode()) == "alice"


def test_keys_made_at_once_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(new_key("alice", file))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = Keys.read(file)
    assert len(keys) == 16
    assert {keys.holder_of(key.encode()) for key in made} == {"alice"}


def test_a_full_file_takes_no_more(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"many {HASH}\n" * 10_000)
    with pytest.raises(ConfigError, match="a file holds at most 10,000 keys"):
        new_key("bob", file)
    assert len(Keys.read(file)) == 10_000


def test_a_file_is_read_at_every_look_while_its_change_is_fresh_and_then_no_more(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.watch.look()
    assert watched.watch._seen is None
    monkeypatch.setattr("rowcast.service.middleware.key_watch._FRESH_NS", 0)
    watched.watch.look()
    assert watched.watch._seen is not None
    assert watched.watch._seen[2] == watched.file.stat().st_size
