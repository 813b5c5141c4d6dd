"""What a service begins with and what it goes on with after SIGHUP: nothing that a running one would refuse."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from rowcast.models.errors import DeviceError, ModelRefused
from rowcast.models.rollout import (
    KEPT_FILE,
    ROLLOUT_FILE,
    Guards,
    begin_trial,
    choose_version,
    name_version,
    read_rollout,
    roll_back,
    version_called,
)
from rowcast.service.engine.catalog import CatalogOwner
from rowcast.service.engine.versions import choose
from rowcast.service.live.settling import settle
from rowcast.service.rollout.trial import Trial
from rowcast.service.settings import Settings
from tests.service.live.together import live
from tests.service.live.versions import graph, nan_graph, publish, publish_as, publish_graph, slow_graph
from tests.support import handmade

OTHER = handmade.BINARY.model_copy(update={"target": "other"})
"""Another signature."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish(tmp_path / "repository", 1.0)
    return tmp_path / "repository"


class Started:
    """A service that has settled what it serves, and may be told to settle it anew."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.owner = CatalogOwner()
        self.settings = Settings(repository=root, **({"device": "cpu"} | settings))  # type: ignore[arg-type]
        self.settle()

    def settle(self) -> None:
        settle(self.settings, self.owner, lambda: False)

    @property
    def served(self) -> list[tuple[str, int]]:
        return [(entry.name, entry.version) for entry in self.owner.catalog.entries]


def served(root: Path, **settings: str) -> list[tuple[str, int]]:
    """What a service that starts now serves, whichever way its versions are tried."""
    tried = Started(root, **settings).served
    found = choose(Settings(repository=root, device="cpu", **settings))  # type: ignore[arg-type]
    assert tried == [(stored.manifest.name, stored.manifest.version) for stored in found]
    return tried


def promote(root: Path, version: int, before: int | None, versions: list[int], *, allowed: bool = False) -> None:
    choose_version(root / "flights", version, versions, "operator", before, allow_signature_change=allowed)


def cut(root: Path, version: int) -> None:
    file = root / "flights" / str(version) / "model.onnx"
    file.write_bytes(file.read_bytes()[:-9])


WORSE = {"slow": slow_graph(), "signature": graph(5.0, OTHER)}


@pytest.mark.parametrize("kind", WORSE)
def test_what_a_running_service_refuses_is_not_served_after_a_restart_or_a_reload(root: Path, kind: str) -> None:
    publish_as(root, 2, 0.0, OTHER if kind == "signature" else handmade.BINARY, WORSE[kind])
    aside = (root / "flights/2").rename(root.parent / "2")

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: read_rollout(root / "flights").served == 1)
            aside.rename(root / "flights/2")
            await service.until(lambda: service.reason(2))
            assert service.reason(2).startswith(f"{kind}: ")

    asyncio.run(scenario())
    service = Started(root)
    assert service.served == [("flights", 1)]
    service.settle()
    assert service.served == [("flights", 1)]
    promote(root, 2, 1, [1, 2], allowed=True)
    assert Started(root).served == [("flights", 2 if kind == "signature" else 1)]


def test_a_first_start_tries_what_it_serves_and_says_why_it_cannot(root: Path) -> None:
    assert Started(root).served == [("flights", 1)]
    publish_as(root.parent / "repository", 2, 0.0, content=slow_graph())
    shutil.rmtree(root / "flights/1")
    with pytest.raises(ModelRefused, match=r"flights:2 cannot be served: a row must take at most 0.25 s, got"):
        Started(root)
    with pytest.raises(DeviceError, match="flights:2 cannot be served: "):
        Started(root, device="cuda:99")


def test_what_is_served_is_served_on_at_a_reload_where_nothing_better_is_good(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(root, 2.0)
    publish(root, 1.5, name="other")
    service = Started(root)
    before = service.owner.catalog.entries
    cut(root, 2)
    publish_graph(root, nan_graph())
    shutil.rmtree(root / "other")
    service.settle()
    assert service.owner.catalog.entries == before[:1]
    assert [line.split(":")[0] for line in caplog.messages] == ["flights", "flights"]
    assert "flights:2 is served on until it is replaced: " in caplog.text
    assert "flights:3 is skipped, and flights:2 is served: flights:3 cannot be served: it answers rows" in caplog.text
    publish(root, 4.0)
    service.settle()
    assert service.served == [("flights", 4)]
    assert service.owner.catalog.live == (("flights", 4),)


def test_what_has_passed_and_what_is_listed_is_held_and_nothing_else(root: Path) -> None:
    service = Started(root)
    for version in (2, 3, 4):
        publish(root, float(version))
        service.settle()
    assert [entry.version for entry in sorted(service.owner._held, key=lambda one: one.version)] == [3, 4]
    before = service.owner.catalog
    service.settle()
    assert service.owner.catalog.entries == before.entries


@pytest.mark.parametrize("reload", ["auto", "manual"])
def test_where_the_chosen_version_is_damaged_none_is_served_that_somebody_went_back_from(
    root: Path, reload: str
) -> None:
    publish(root, 2.0)
    publish(root, 3.0)
    promote(root, 1, 3, [1, 2, 3])
    promote(root, 2, 1, [1, 2, 3])
    promote(root, 3, 2, [1, 2, 3])
    roll_back(root / "flights", None, [1, 2, 3], "operator", read_rollout(root / "flights"))
    assert served(root, reload=reload) == [("flights", 2)]
    cut(root, 2)
    assert served(root, reload=reload) == [("flights", 1)]
    (root / "flights" / ROLLOUT_FILE).write_text("nonsense")
    assert served(root, reload=reload) == [("flights", 1)]
    cut(root, 1)
    words = r"others \(3\) are on trial, were gone back from, or were never promoted: rowcast models promote flights:V"
    with pytest.raises(ModelRefused, match=words):
        Started(root, reload=reload)


def test_by_hand_a_version_that_nobody_promoted_takes_no_place_and_by_itself_one_on_trial_takes_none(
    root: Path,
) -> None:
    for weight in (2.0, 3.0):
        publish(root, weight)
    promote(root, 2, None, [1, 2, 3])
    cut(root, 2)
    assert served(root) == [("flights", 3)]
    with pytest.raises(ModelRefused, match=r"2/model\.onnx is not the file that was published.*others \(1, 3\) are"):
        Started(root, reload="manual")
    begin_trial(
        root / "flights",
        3,
        [1, 2, 3],
        "operator",
        2,
        canary=0.05,
        shadow=None,
        guards=Guards(),
        promote_after=None,
    )
    assert served(root) == [("flights", 1)]


def test_a_running_service_keeps_what_was_said_for_one_that_starts_by_nonsense(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(root, 2.0)
    promote(root, 2, None, [1, 2])
    file, kept = root / "flights" / ROLLOUT_FILE, root / "flights" / KEPT_FILE

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            said = json.loads(file.read_text())
            file.write_text(json.dumps(said | {"live": 1}))  # by hand
            await service.until(lambda: service.version() == 1)
            await service.until(lambda: read_rollout(root / "flights").served == 1)
            await service.until(lambda: json.loads(kept.read_text())["live"] == 1)
            file.write_text("nonsense")
            await service.until(lambda: service.reason(0))
        async with live(root, models="flights,flights@live", reload="manual") as service:
            assert service.version() == 1
            assert list(service.registry.versions) == [("flights", 1)]
            file.unlink()
            await service.until(lambda: not kept.exists())

    asyncio.run(scenario())
    assert "; until then what it said last holds, which .rollout-last.json keeps" in caplog.text


@pytest.mark.parametrize("reload", ["auto", "manual"])
def test_a_file_that_is_removed_while_its_version_is_served_is_written_anew(
    root: Path, reload: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(root, 2.0)
    if reload == "manual":
        publish(root, 3.0)
    promote(root, 2, 1, [1, 2, 3])
    file = root / "flights" / ROLLOUT_FILE

    async def scenario() -> None:
        async with live(root, reload=reload) as service:
            assert service.version() == 2
            await asyncio.sleep(0.5)
            file.unlink()
            await service.until(file.exists)
            await asyncio.sleep(0.5)
            assert service.version() == 2

    asyncio.run(scenario())
    said = read_rollout(root / "flights")
    assert (said.live, said.served) == (2 if reload == "manual" else None, 2)
    (change,) = said.history
    assert (change.who.partition(",")[0], change.after, change.why) == ("auto", 2, "rollout.json was removed")
    words = "rollout.json of flights was removed, and what is served is written down anew: flights:2"
    assert caplog.messages.count(words) == 1
    assert served(root, reload=reload) == [("flights", 2)]


def test_after_the_file_is_removed_the_newest_follows_though_a_load_call_chose_another(root: Path) -> None:
    publish(root, 2.0)
    publish(root, 3.0)
    file = root / "flights" / ROLLOUT_FILE

    async def scenario() -> None:
        async with live(root) as service:
            assert await service.load(version=2) == (200, "")
            await service.until(lambda: service.version() == 2 and file.exists())
            await asyncio.sleep(0.5)
            assert service.version() == 2
            file.unlink()
            await service.until(lambda: service.version() == 3)

    asyncio.run(scenario())


def test_a_file_that_was_removed_is_written_once_it_can_be(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, lock = root / "flights" / ROLLOUT_FILE, root / "flights" / ".lock"
    words = "rollout.json of flights was removed, and what is served is written down anew: flights:1"

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            await service.until(file.exists)
            await asyncio.sleep(0.5)
            lock.unlink()
            lock.mkdir()  # no lock can be had
            file.unlink()
            await service.until(lambda: "so this service alone serves flights:1" in caplog.text)
            assert words not in caplog.text
            lock.rmdir()
            await service.until(file.exists)
            await service.until(lambda: words in caplog.text)

    asyncio.run(scenario())
    assert read_rollout(root / "flights").live == 1


def test_what_is_served_since_a_start_is_written_down_so_that_commands_know_it(root: Path) -> None:
    publish_graph(root, nan_graph())

    async def scenario() -> None:
        async with live(root) as service:
            assert service.version() == 1
            await service.until((root / "flights" / ROLLOUT_FILE).exists)
        async with live(root):  # there is nothing new to be said
            await asyncio.sleep(0.3)

    asyncio.run(scenario())
    assert version_called(root, "flights", "live") == 1
    (change,) = read_rollout(root / "flights").history
    assert (change.before, change.after, change.why) == (None, 1, "served from a start on")
    assert change.who.startswith("start, on ")


def test_a_start_that_finds_the_repository_read_only_serves_and_says_so_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "flights/.lock").unlink()
    (root / "flights/.lock").mkdir()  # as good as a repository that may not be written

    async def scenario() -> None:
        caplog.set_level("INFO", "rowcast.service")
        async with live(root) as service:
            await service.until(lambda: "flights:1 is served, which this log alone says" in caplog.text)
            assert (await service.ask()).status == 200

    asyncio.run(scenario())
    assert not (root / "flights" / ROLLOUT_FILE).exists()


def test_an_alias_that_moves_is_followed_at_a_reload_unless_clients_would_notice(root: Path) -> None:
    publish(root, 2.0)
    publish_as(root, 3, 0.0, OTHER)
    name_version(root / "flights", "champion", 1, "operator")
    service = Started(root, models="flights@champion")
    assert service.served == [("flights", 1)]
    name_version(root / "flights", "champion", 2, "operator")
    service.settle()
    assert service.served == [("flights", 2)]
    name_version(root / "flights", "champion", 3, "operator")
    with pytest.raises(ModelRefused, match="flights:3 cannot be served: its signature is not that of flights:2"):
        service.settle()
    assert service.served == [("flights", 2)]


def test_a_trial_goes_on_at_a_reload(root: Path) -> None:
    publish(root, 2.0)
    said = begin_trial(
        root / "flights", 2, [1, 2], "operator", 1, canary=0.5, shadow=None, guards=Guards(), promote_after=None
    )
    trial = Trial.of("flights", said)
    service = Started(root, models="flights:1,flights:2")
    service.owner.change(trials=[trial])
    service.settings = Settings(repository=root, device="cpu")
    service.settle()
    assert (service.served, service.owner.catalog.trials) == ([("flights", 1), ("flights", 2)], (trial,))
    assert service.owner.catalog.live == (("flights", 1),)


def test_whoever_stops_a_service_waits_for_no_trial(root: Path) -> None:
    service = Started(root)
    publish_graph(root, slow_graph(60_000_000))
    settle(service.settings, service.owner, lambda: True)
    assert service.served == [("flights", 1)]


def test_a_version_that_takes_its_process_with_it_does_not_take_the_supervisor(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that tries it loads a module that ends it as a faulty graph would."""
    service = Started(root)
    publish(root, 2.0)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/onnxruntime.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    service.settle()
    assert service.served == [("flights", 1)]
    with pytest.raises(ModelRefused, match="cannot be served: it ended the process that tried it, by SIGSEGV"):
        Started(root)


def test_a_number_that_comes_again_with_another_signature_is_not_taken_at_a_reload(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Started(root, reload="manual")
    before = service.owner.catalog.entries
    (root / "flights/1").rename(root.parent / "1")
    publish_as(root, 1, 0.0, OTHER)
    service.settle()
    words = "flights:1 is served on until it is replaced, though its folder holds another: its signature is not that of"
    assert words in caplog.text
    assert service.owner.catalog.entries == before
    shutil.rmtree(root / "flights/1")
    publish_as(root, 1, 2.0)
    service.settle()
    assert service.served == [("flights", 1)]
    assert service.owner.catalog.entries != before
