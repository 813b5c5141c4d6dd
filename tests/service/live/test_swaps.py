"""When a version goes live and when it does not, by hand and by itself; and who may say so."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rowcast.models.errors import ModelError
from rowcast.models.repository import Repository
from rowcast.models.rollout import ROLLOUT_FILE, Guards, Rollout, begin_trial, choose_version, read_rollout
from rowcast.service.engine.catalog import Note
from rowcast.service.engine.versions import choose
from rowcast.service.live import verdicts
from rowcast.service.live.checks import Refused
from rowcast.service.live.telling import _most
from rowcast.service.live.verdicts import Verdicts
from rowcast.service.metrics.counts import LIVE_VERSION
from rowcast.service.middleware.keys import Keys, new_key
from rowcast.service.settings import Settings
from tests.service.live.together import live
from tests.service.live.versions import late, nan_graph, publish, publish_as, publish_graph
from tests.support import handmade


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish(tmp_path / "repository", 1.0)
    return tmp_path / "repository"


def served(root: Path, **settings: str) -> list[tuple[str, int]]:
    """What a service that starts now serves."""
    chosen = choose(Settings(repository=root, device="cpu", **settings))  # type: ignore[arg-type]
    return [(stored.manifest.name, stored.manifest.version) for stored in chosen]


def test_by_hand_a_version_goes_live_when_an_admin_says_so_and_is_what_later_starts_serve(
    root: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    admin, caller = new_key("alice", keys, admin=True), new_key("bob", keys)

    async def scenario() -> None:
        async with live(root, reload="manual", api_keys=keys) as service:
            assert (await service.ask("/readyz", b"")).status == 200
            assert (await service.ask("/readyz?verbose", b"")).status == 401
            assert await service.load(key=caller) == (200, "")  # there is nothing to be done
            publish(root, 2.0)
            publish_graph(root, nan_graph())
            await service.until(lambda: service.reason(3))
            assert service.reason(3) == "waits: it waits for `rowcast models promote flights:3`"
            status, body = await service.load(key=caller)
            assert (status, "rowcast key NAME --admin" in body) == (403, True)
            status, body = await service.load(key=admin)
            assert (status, "it answers rows whose every value is missing with" in body) == (400, True)
            assert service.version() == 1
            assert await service.load(key=admin, version="2") == (200, "")
            content = json.loads((await service.ask(key=caller)).body)
            assert content["version"] == 2
            assert content["predictions"][0]["probabilities"]["late"] == pytest.approx(late(2.0), abs=1e-6)
            why = f"flights is not loaded: no version 7 of flights in {root}; versions: 1, 2, 3"
            assert await service.load(key=admin, version=7) == (400, why)

    asyncio.run(scenario())
    assert [(one.who, one.before, one.after) for one in read_rollout(root / "flights").history] == [
        ("start", None, 1),
        ("alice", 1, 2),
    ]
    publish(root, 4.0)
    assert served(root, reload="manual") == [("flights", 2)]
    assert served(root) == [("flights", 4)]


def test_what_somebody_chooses_in_the_repository_is_taken_and_only_later_versions_follow(root: Path) -> None:
    async def scenario() -> None:
        publish(root, 2.0)
        async with live(root) as service:
            assert service.version() == 2
            choose_version(root / "flights", 1, [1, 2], "somebody", 2, allow_signature_change=False)
            await service.until(lambda: service.version() == 1)
            await service.until(lambda: service.reason(2))  # it is newer, and does not come back by itself
            assert service.reason(2) == "waits: it waits for `rowcast models promote flights:2`"
            assert await service.load() == (200, "")
            assert service.version() == 2
            assert await service.load(version=1) == (200, "")
            (root / "flights" / ROLLOUT_FILE).write_text("nonsense")
            await service.until(lambda: service.reason(0))
            assert service.reason(0).startswith(f"rollout: {root / 'flights' / ROLLOUT_FILE} is not as")
            assert service.version() == 1
            (root / "flights" / ROLLOUT_FILE).unlink()
            publish(root, 3.0)
            await service.until(lambda: service.version() == 3)

    asyncio.run(scenario())


def test_a_version_that_was_chosen_in_vain_is_told_of_though_it_is_older(root: Path) -> None:
    publish_graph(root, nan_graph())
    publish(root, 3.0)

    async def scenario() -> None:
        async with live(root) as service:
            choose_version(root / "flights", 2, [1, 2, 3], "somebody", 3, allow_signature_change=False)
            await service.until(lambda: service.reason(2))
            await asyncio.sleep(0.5)
            assert service.reason(2).startswith("not_finite: ")
            assert service.version() == 3

    asyncio.run(scenario())


def test_of_two_who_choose_at_once_one_wins_and_the_other_is_told(root: Path) -> None:
    publish(root, 2.0)
    publish(root, 3.0)
    chosen = choose_version(root / "flights", 1, [1, 2, 3], "alice", 3, allow_signature_change=False, seen=Rollout())
    with pytest.raises(ModelError, match=r"somebody else was first: alice had flights:1 served at 20.+Z\. Look, and"):
        choose_version(root / "flights", 2, [1, 2, 3], "bob", 3, allow_signature_change=False, seen=Rollout())
    assert read_rollout(root / "flights") == chosen

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            told = await asyncio.gather(service.load(version=2), service.load(version=3))
            first = "somebody else was first, and flights:2 is served since"
            assert told == [
                (200, ""),
                (400, f"flights is not loaded: {first}: look, and ask again"),
            ]
            assert service.version() == 2

    asyncio.run(scenario())


def test_a_version_that_was_refused_is_refused_by_a_load_call_without_another_trial(root: Path) -> None:
    publish_graph(root, nan_graph())

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.reason(2))
            status, why = await service.load()
            assert (status, "is not loaded: it answers rows whose every value is missing" in why) == (400, True)
            assert await service.load(version=1) == (200, "")

    asyncio.run(scenario())


def test_by_hand_a_refused_version_does_not_hide_that_an_older_one_waits(root: Path) -> None:
    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            publish(root, 2.0)
            publish_graph(root, nan_graph())
            await service.until(lambda: service.reason(3).startswith("waits: "))
            status, why = await service.load()
            assert (status, "it answers rows whose every value is missing" in why) == (400, True)
            await service.until(lambda: service.reason(2))
            assert service.reason(2) == "waits: it waits for `rowcast models promote flights:2`"
            assert service.reason(3).startswith("not_finite: ")
            assert (await service.load())[0] == 400  # which means the newest all the same
            assert await service.load(version=2) == (200, "")
            await service.until(lambda: not service.reason(2))

    asyncio.run(scenario())


def test_a_name_that_was_removed_and_comes_again_is_a_new_one(root: Path) -> None:
    """Whatever was chosen of the one before."""
    publish(root, 2.0)
    publish(root, 1.5, name="other")

    async def scenario() -> None:
        async with live(root) as service:
            assert await service.load(version=1) == (200, "")
            await service.until(lambda: service.version() == 1)
            shutil.rmtree(root / "flights")
            await service.until(lambda: service.version() is None)
            assert publish(root, 5.0).manifest.version == 1
            await service.until(lambda: service.version() == 1)

    asyncio.run(scenario())


def test_a_link_that_appears_beside_a_running_service_is_told_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "before").symlink_to(root / "flights")

    async def scenario() -> None:
        async with live(root) as service:
            for name in ("flights/2", "other"):
                (root / name).symlink_to(root / "flights" / ("1" if "/" in name else ""))
                await service.until(lambda name=name: str(root / name) in caplog.text)
            await asyncio.sleep(0.5)

    asyncio.run(scenario())
    told = [line for line in caplog.messages if "is passed over: " in line]
    assert told == [
        f"{root / 'before'} is passed over: a model's folder must be no link",  # by the start
        f"{root / 'flights/2'} is passed over: a version's folder must be no link",
        f"{root / 'other'} is passed over: a model's folder must be no link",
    ]


def test_how_many_notes_are_left_out_is_told() -> None:
    notes = [Note(f"name{at:03}", 1, "UNAVAILABLE", "it is slow", "slow") for at in range(130)]
    assert _most(notes[:100]) == tuple(notes[:100])
    words = "31 more reasons why versions are not served are left out here"
    assert _most(notes) == (*notes[:99], Note("", 0, "UNAVAILABLE", words))


def test_what_is_the_machines_fault_is_tried_again_and_what_is_the_versions_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(verdicts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    known, key = Verdicts(), ("flights", 2)
    finals = []
    for kind in ("memory", "crashed", "crashed", "crashed", "damaged"):
        known.add(key, None, None, Refused(kind, "why"))
        assert known.hold(key, None, None)
        assert not known.hold(key, (("model.onnx", 1),), None)  # its files have changed
        now[0] += verdicts.RETRY_SECONDS
        finals.append((kind, known.hold(key, None, None)))
    expected = [("memory", False), ("crashed", False), ("crashed", False), ("crashed", True), ("damaged", True)]
    assert finals == expected
    assert not known.hold(("flights", 3), None, None)


def test_a_version_that_is_named_stays_and_other_names_follow(root: Path) -> None:
    publish(root, 1.5, name="other")

    async def scenario() -> None:
        async with live(root, models="flights:1,other") as service:
            publish(root, 2.0)
            publish(root, 2.5, name="other")
            await service.until(lambda: service.version("other") == 2)
            assert service.version() == 1
            assert await service.load(version=1) == (200, "")
            status, why = await service.load(version=2)
            assert (status, "ROWCAST_MODELS says what is served of flights" in why) == (400, True)

    asyncio.run(scenario())


def test_a_number_that_comes_again_is_another_version(root: Path) -> None:
    async def scenario() -> None:
        async with live(root) as service:
            before = service.registry.models["flights"].sha256
            shutil.rmtree(root / "flights/1")
            publish_as(root, 1, 2.0)
            await service.until(lambda: service.registry.models["flights"].sha256 != before)
            content = json.loads((await service.ask()).body)
            assert content["version"] == 1
            assert content["predictions"][0]["probabilities"]["late"] == pytest.approx(late(2.0), abs=1e-6)

    asyncio.run(scenario())


def test_a_start_serves_what_was_chosen_and_what_may_follow_it(root: Path) -> None:
    publish(root, 2.0)
    choose_version(root / "flights", 1, [1, 2], "somebody", 2, allow_signature_change=False)
    assert served(root) == [("flights", 1)]
    publish(root, 3.0, handmade.REGRESSION)
    assert served(root) == [("flights", 1)]  # nobody has allowed it
    choose_version(root / "flights", 3, [1, 2, 3], "somebody", 1, allow_signature_change=True)
    assert served(root) == [("flights", 3)]
    shutil.rmtree(root / "flights/3")
    publish_graph(root, nan_graph())
    assert served(root) == [("flights", 1)]  # somebody went back from 2


def test_the_key_of_an_admin_is_known_from_others(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    admin, other = new_key("alice", file, admin=True), new_key("bob", file)
    keys = Keys.read(file)
    headers = [[(b"x-api-key", key.encode())] for key in (admin, other)]
    told = [(keys.holder(one), keys.admin(one)) for one in headers]
    assert told == [("alice", "alice"), ("bob", None)]


def test_where_versions_are_named_beside_a_name_the_live_one_answers_for_it(root: Path) -> None:
    """``ROWCAST_MODELS=flights,flights:2``: 2 is newer than what is live, and answers where it is asked for."""
    publish(root, 2.0)
    choose_version(root / "flights", 1, [1, 2], "operator", 2, allow_signature_change=False)

    async def scenario() -> None:
        async with live(root, models="flights,flights:2") as service:

            async def answers(*versions: int) -> None:
                """The version of the name, and all that are served."""
                told = json.loads((await service.ask()).body)["version"]
                assert (told, *(number for _, number in service.registry.versions)) == versions

            await answers(1, 1, 2)
            assert LIVE_VERSION.labels("flights")._value.get() == 1
            publish(root, 3.0)
            await service.until(lambda: service.version() == 3)
            await answers(3, 2, 3)
            for version, beside in ((1, [1, 2]), (3, [2, 3]), (2, [2]), (1, [1, 2])):
                assert await service.load(version=version) == (200, "")
                await answers(version, *beside)
                assert LIVE_VERSION.labels("flights")._value.get() == version
            begin_trial(
                root / "flights",
                3,
                [1, 2, 3],
                "operator",
                1,
                canary=0.0,
                shadow=None,
                guards=Guards(),
                promote_after=None,
            )
            await service.until(lambda: service.registry.trials)
            await answers(1, 1, 2, 3)
            choose_version(root / "flights", 3, [1, 2, 3], "operator", 1, allow_signature_change=False)
            await service.until(lambda: not service.registry.trials)
            await answers(3, 2, 3)

    asyncio.run(scenario())


def test_a_number_that_was_allowed_another_signature_does_not_come_again(root: Path) -> None:
    other, third = (handmade.BINARY.model_copy(update={"target": target}) for target in ("other", "third"))

    async def scenario() -> None:
        async with live(root) as service:
            publish(root, 2.0, other)
            await service.until(lambda: service.reason(2).startswith("signature: "))
            assert await service.load(version=2, allow_signature_change=True) == (200, "")
            Repository(root).remove("flights", 2)
            assert publish(root, 3.0, third).manifest.version == 3
            await service.until(lambda: service.reason(3).startswith("signature: "))
            assert service.registry.models["flights"].signature.target == "other"

    asyncio.run(scenario())


def copy_slowly(file: Path, into: Path) -> None:
    """Copy a file in two seconds, so that no two looks find it the same."""
    content = file.read_bytes()
    for at in range(200):
        into.write_bytes(content[: at * len(content) // 200])
        time.sleep(0.01)


@pytest.mark.parametrize("trial", [False, True])
def test_a_version_that_is_still_being_copied_is_left_alone_though_somebody_chose_it(
    root: Path, trial: bool, caplog: pytest.LogCaptureFixture
) -> None:
    publish(root, 2.0)
    whole = root / "flights/2"
    aside = whole.rename(root.parent / "2")

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            await service.until(lambda: read_rollout(root / "flights").live == 1)
            whole.mkdir()
            if trial:
                begin_trial(
                    root / "flights",
                    2,
                    [1, 2],
                    "operator",
                    1,
                    canary=0.5,
                    shadow=None,
                    guards=Guards(),
                    promote_after=None,
                )
            else:
                choose_version(root / "flights", 2, [1, 2], "operator", 1, allow_signature_change=False)
            copying = asyncio.create_task(asyncio.to_thread(copy_slowly, aside / "model.onnx", whole / "model.onnx"))
            while not copying.done():
                assert not any(note.state == "LOADING" for note in service.registry.notes)
                await asyncio.sleep(0.01)
            for file in aside.iterdir():
                shutil.copyfile(file, whole / file.name)
            await service.until(lambda: service.registry.trials if trial else service.version() == 2)

    asyncio.run(scenario())
    assert "does not go live" not in caplog.text
    assert read_rollout(root / "flights").trial == (2 if trial else None)
