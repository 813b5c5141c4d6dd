"""What operators and accidents do while something else goes on: nothing is lost, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rowcast.models.errors import RequestError
from rowcast.models.rollout import Guards, Rollout, begin_trial, choose_version, name_version, read_rollout, roll_back
from rowcast.service.live import follow, verdicts
from rowcast.service.live.counted import tallies_of, total, write_tallies
from rowcast.service.live.figures import read_figures
from rowcast.service.live.guard import Guard, _Counted
from rowcast.service.live.judge import broken
from rowcast.service.live.rollouts import Rollouts
from rowcast.service.live.slots import Order, say_order
from rowcast.service.process.slots import Slots, slot_of, slots_beside
from rowcast.service.protocols.grpc.methods import Methods
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Trial
from tests.service.live.together import Live, live
from tests.service.live.versions import publish, publish_as, publish_graph, slow_graph


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for weight in (1.0, 2.0):
        publish(tmp_path / "repository", weight)
    return tmp_path / "repository"


def promote(root: Path, version: int, versions: list[int]) -> None:
    """Choose a version, as an operator does."""
    choose_version(root / "flights", version, versions, "operator", None, allow_signature_change=False)


def try_out(root: Path, version: int, share: float, live_version: int = 1, guard: str = "") -> None:
    """Have a version answer a share of the requests, as an operator does."""
    begin_trial(
        root / "flights",
        version,
        [1, 2, 3],
        "operator",
        live_version,
        canary=share,
        shadow=None,
        guards=Guards.of(guard) if guard else Guards(),
        promote_after=None,
    )


def is_tried(service: Live, version: int, name: str = "flights") -> bool:
    """Whether a version is being tried just now."""
    return any((note.name, note.version, note.state) == (name, version, "LOADING") for note in service.registry.notes)


def test_what_an_operator_chooses_while_another_version_is_tried_is_served(root: Path) -> None:
    async def scenario() -> None:
        async with live(root) as service:
            publish(root, 3.0)
            await service.until(lambda: is_tried(service, 3))
            promote(root, 1, [1, 2, 3])
            await service.until(lambda: service.version() == 1)
            await asyncio.sleep(1.0)
            assert service.version() == 1

    asyncio.run(scenario())
    said = read_rollout(root / "flights")
    assert (said.live, [(one.who.split(",")[0], one.after) for one in said.history]) == (
        1,
        [("start", 2), ("operator", 1)],
    )


def test_a_trial_that_begins_while_another_version_is_tried_is_on(root: Path) -> None:
    async def scenario() -> None:
        async with live(root) as service:
            publish(root, 3.0)
            await service.until(lambda: is_tried(service, 3))
            try_out(root, 2, 0.5)
            await service.until(lambda: service.registry.trials)
            assert (service.version(), service.reason(0)) == (1, "")

    asyncio.run(scenario())


def test_a_load_call_gives_way_to_an_operator_who_was_faster_and_is_told(root: Path) -> None:
    publish(root, 3.0)

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            promote(root, 1, [1, 2, 3])
            await service.until(lambda: service.version() == 1)
            loading = asyncio.create_task(service.load(version=3))
            await service.until(lambda: is_tried(service, 3))
            promote(root, 2, [1, 2, 3])
            status, why = await loading
            assert status == 400
            assert why.startswith("flights is not loaded: somebody else was first: operator had flights:2 served at 20")
            await service.until(lambda: service.version() == 2)

    asyncio.run(scenario())
    assert read_rollout(root / "flights").live == 2


def test_a_load_call_is_refused_as_soon_as_another_version_is_to_be_on_trial(root: Path) -> None:
    publish(root, 3.0)

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            promote(root, 1, [1, 2, 3])
            await service.until(lambda: service.version() == 1)
            try_out(root, 2, 0.5)
            status, why = await service.load(version=3)
            assert (status, why.partition(": ")[2]) == (
                400,
                "flights:2 is on trial: rowcast rollout flights --promote or --rollback ends that",
            )
            await service.until(lambda: service.registry.trials)
            assert service.version() == 1

    asyncio.run(scenario())


def test_a_load_call_loses_to_a_rollback_that_is_not_followed_yet_and_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say_late(slot: memoryview, order: Order) -> None:
        """Somebody rolls back between the look of whoever asks and the order."""
        if read_rollout(root / "flights").trial is not None:
            roll_back(root / "flights", None, [1, 2], "alice", read_rollout(root / "flights"))
        say_order(slot, order)

    monkeypatch.setattr(follow, "say_order", say_late)

    async def scenario() -> None:
        async with live(root) as service:
            try_out(root, 2, 0.5)
            await service.until(lambda: service.registry.trials)
            status, why = await service.load(version=2)
            assert status == 400
            assert why.startswith(
                "flights is not loaded: somebody else was first: alice had flights:1 answer again at 20"
            )
            assert why.endswith("Z: look, and ask again")
            await service.until(lambda: not service.registry.trials)
            assert service.version() == 1
            assert (await service.load(version=2), service.version()) == ((200, ""), 2)  # having looked

    asyncio.run(scenario())
    history = read_rollout(root / "flights").history
    assert [(one.what, one.after) for one in history] == [("canary", 2), ("rollback", 1), ("live", 2)]


def test_a_load_call_loses_to_a_guard_that_ends_the_trial_before_it_is_obeyed(root: Path) -> None:
    publish(root, 1.0, name="other")

    async def scenario() -> None:
        async with live(root) as service:
            try_out(root, 2, 0.5)
            await service.until(lambda: service.registry.trials)
            since = read_rollout(root / "flights").since or ""
            await service.until(lambda: read_figures(root / "flights", since))  # the guard counts ends from now on
            publish_graph(root, slow_graph(20_000_000), name="other")
            await service.until(lambda: is_tried(service, 2, "other"))  # so it waits
            loading = asyncio.create_task(service.load(version=2))
            await asyncio.sleep(0)
            service.watched.accidents += 2
            await service.until(lambda: not service.registry.trials)
            status, why = await loading
            assert status == 400
            assert why.startswith("flights is not loaded: somebody else was first: guard, on ")
            assert service.version() == 1

    asyncio.run(scenario())
    assert [one.what for one in read_rollout(root / "flights").history] == ["canary", "rollback"]


def test_a_choice_is_not_written_over_what_somebody_else_said_meanwhile(root: Path) -> None:
    home, rollouts = root / "flights", Rollouts(root)
    try_out(root, 2, 0.5)
    rollouts.read(["flights"])
    trial = Trial.of("flights", rollouts.said("flights"))
    name_version(home, "champion", 1, "carol")  # which is no matter
    assert rollouts.first_on_trial("flights", trial, 0) == ""
    roll_back(home, None, [1, 2], "alice", read_rollout(home))
    said = read_rollout(home)
    words = "somebody else was first: alice had flights:1 answer again at "
    assert rollouts.first_on_trial("flights", trial, 0).startswith(words)
    assert rollouts.write_choice("flights", 2, [1, 2], "bob", 1, allowed=False).startswith(words)
    assert read_rollout(home) == said
    rollouts.read(["flights"])
    name_version(home, "old", 1, "carol")
    assert rollouts.write_choice("flights", 2, [1, 2], "bob", 1, allowed=False) == ""
    now = read_rollout(home)
    assert (now.live, now.aliases) == (2, {"champion": 1, "old": 1})


def test_a_load_call_loses_to_an_end_that_is_about_to_be_written_down(root: Path) -> None:
    rollouts = Rollouts(root)
    try_out(root, 2, 0.5)
    rollouts.read(["flights"])
    trial = Trial.of("flights", rollouts.said("flights"))
    assert trial is not None
    rollouts.end_trial(trial, "rollback", "rolled back: it fails", "guard")
    words = "had flights:1 answer again (rolled back: it fails)"
    assert words in rollouts.first_on_trial("flights", None, 0)
    assert words in rollouts.first_on_trial("flights", trial, trial.number)
    (root / "flights/.publishing-rollout.json").mkdir()  # as good as a full disk
    assert not rollouts.write_ends()
    assert rollouts.first_on_trial("flights", None, 0) == ""  # the log has told of it


def test_what_was_chosen_while_a_service_started_is_not_taken_for_done(root: Path) -> None:
    rollouts = Rollouts(root)
    promote(root, 1, [1, 2])
    rollouts.read(["flights"])
    rollouts.done_if("flights", 2)  # which it serves by now
    assert rollouts.asked("flights") == 1
    rollouts.done_if("flights", 1)
    assert rollouts.asked("flights") is None
    promote(root, 2, [1, 2])
    rollouts.read(["flights"])
    rollouts.done_if("flights", 3)  # published since, and followed by itself
    assert rollouts.asked("flights") is None


def test_a_trial_is_rolled_back_at_once_though_another_model_is_being_tried(root: Path) -> None:
    publish(root, 1.0, name="other")

    async def scenario() -> None:
        async with live(root) as service:
            try_out(root, 2, 0.5)
            await service.until(lambda: service.registry.trials)
            publish_graph(root, slow_graph(20_000_000), name="other")
            await service.until(lambda: is_tried(service, 2, "other"))
            roll_back(root / "flights", None, [1, 2], "operator", read_rollout(root / "flights"))
            await service.until(lambda: not service.registry.trials)
            assert is_tried(service, 2, "other")
            assert service.version() == 1

    asyncio.run(scenario())


def test_an_end_that_cannot_be_written_down_is_written_down_later(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    rollouts = Rollouts(root)
    try_out(root, 2, 0.5)
    said = read_rollout(root / "flights")
    trial = Trial.of("flights", said)
    assert trial is not None
    in_the_way = root / "flights/.publishing-rollout.json"
    in_the_way.mkdir()  # as good as a full disk
    rollouts.end_trial(trial, "promoted", "promoted: it held", "guard")
    assert not rollouts.write_ends()
    rollouts.end_trial(trial, "rollback", "rolled back: it fails", "guard")  # before that could be written
    assert [rollouts.write_ends() for _ in range(3)] == [False] * 3
    assert read_rollout(root / "flights") == said
    in_the_way.rmdir()
    assert rollouts.write_ends()
    now = read_rollout(root / "flights")
    assert (now.trial, now.history[-1].what, now.history[-1].why) == (None, "rollback", "rolled back: it fails")
    assert [line.partition(",")[0].partition(": ")[0] for line in caplog.messages] == [
        "flights:2 has held its guards",
        "flights:2 is not on trial any more",
    ]


def trial_of(guard: str, **shares: float) -> Trial:
    limits = Guards.of(guard)
    return Trial("flights", 2, 1, shares.get("canary"), shares.get("shadow"), "2026-01-02T03:04:05Z", limits.errors)


def test_workers_that_end_again_and_again_count_as_failures_of_the_version_on_trial() -> None:
    """A graph that takes the process with it answers nothing, and nobody counts that."""
    told = {"canary": "3 of 53 requests failed", "shadow": "3 of 53 runs in the shadow failed"}
    for what, words in told.items():
        trial = trial_of("errors=0.1%", **{what: 0.5})
        counted = _Counted(trial, ends=4)
        tally = Tally(new_answered=50, runs=50)
        assert broken(trial, counted.add_up([tally], 5)) == ""  # one may be anybody's fault
        assert words in broken(trial, counted.add_up([tally], 7))


@pytest.mark.parametrize("shares", [{"canary": 0.5}, {"shadow": 1.0}])
def test_a_trial_without_guards_is_over_after_two_workers_that_ended(root: Path, shares: dict[str, float]) -> None:
    """They may have been held up until they were killed, and nothing of that was counted."""
    begin_trial(
        root / "flights",
        2,
        [1, 2],
        "operator",
        1,
        canary=shares.get("canary"),
        shadow=shares.get("shadow"),
        guards=Guards(),
        promote_after=None,
    )

    async def scenario() -> None:
        async with live(root) as service:
            service.watched.accidents = 5  # before it began
            await service.until(lambda: service.registry.trials)
            await service.until(lambda: list((root / "flights").glob(".rollout-measured-*")))
            service.watched.accidents = 6
            await asyncio.sleep(1.5)
            assert service.registry.trials
            service.watched.accidents = 7
            await service.until(lambda: read_rollout(root / "flights").trial is None)
            await service.until(lambda: not service.registry.trials)
            assert (await service.ask()).status == 200
            assert service.version() == 1

    asyncio.run(scenario())
    last = read_rollout(root / "flights").history[-1]
    words = "rolled back: 2 workers ended by accident while it was on trial"
    assert (last.what, last.who.partition(",")[0], last.why) == ("rollback", "guard", words)


def test_what_a_worker_counted_that_ended_is_not_lost_though_it_only_failed() -> None:
    counted = _Counted(trial_of("errors=0.1%", canary=0.5), ends=0)
    assert counted.add_up([Tally(new_failed=3), Tally(old_failed=1)], 0).new_failed == 3
    assert counted.add_up([Tally(), Tally(old_failed=1)], 0).new_failed == 3
    whole = counted.add_up([Tally(new_failed=1), Tally(old_failed=2)], 0)
    assert (whole.new_failed, whole.old_failed) == (4, 2)


@pytest.mark.parametrize("reload", ["auto", "manual"])
def test_a_file_that_is_damaged_while_its_version_is_served_is_told_and_the_version_is_served_on(
    root: Path, reload: str
) -> None:
    async def scenario() -> None:
        async with live(root, reload=reload) as service:
            file = root / "flights/2/model.onnx"
            whole = file.read_bytes()
            file.write_bytes(whole[:-1])
            await service.until(lambda: service.reason(2))
            assert service.reason(2).startswith("damaged: flights:2 is served on until it is replaced, though its")
            assert "model.onnx is not the file that was published: its SHA-256 differs" in service.reason(2)
            assert (await service.ask()).status == 200
            file.write_bytes(whole)
            await service.until(lambda: not service.reason(2))
            assert service.version() == 2

    asyncio.run(scenario())


def test_by_hand_a_version_that_was_published_anew_under_its_number_is_told(root: Path) -> None:
    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            (root / "flights/2").rename(root / "away")
            publish_as(root, 2, 5.0)
            await service.until(lambda: service.reason(2).startswith("another: "))
            assert service.version() == 2

    asyncio.run(scenario())


def test_a_version_that_is_chosen_and_not_there_is_told_as_long_as_it_is_so(root: Path) -> None:
    async def scenario() -> None:
        async with live(root) as service:
            promote(root, 9, [1, 2])
            await service.until(lambda: service.reason(0))
            assert service.reason(0) == "rollout: rollout.json of flights chooses version 9, which is not there"
            await asyncio.sleep(0.5)
            assert service.reason(0)
            assert service.version() == 2
            promote(root, 1, [1, 2])
            await service.until(lambda: service.version() == 1 and not service.reason(0))

    asyncio.run(scenario())


def test_aliases_and_trials_hold_on_while_the_repository_is_away(root: Path) -> None:
    async def scenario() -> None:
        async with live(root) as service:
            name_version(root / "flights", "champion", 1, "operator")
            try_out(root, 2, 0.5)
            await service.until(lambda: service.registry.trials and service.registry.aliases)
            for away in (root / "flights", root):
                away.rename(root.parent / "away")
                await asyncio.sleep(1.0)
                assert service.registry.aliases[("flights", "champion")].version == 1
                assert service.registry.trials
                (root.parent / "away").rename(away)
            await asyncio.sleep(0.5)
            assert list(service.registry.trials) == ["flights"]

    asyncio.run(scenario())


def test_nothing_is_said_of_a_name_that_is_gone_for_good(root: Path) -> None:
    rollouts = Rollouts(root)
    promote(root, 1, [1, 2])
    rollouts.read(["flights"])
    rollouts.read([], kept=["flights"])
    assert rollouts.said("flights").live == 1
    rollouts.read([])
    assert rollouts.said("flights") == Rollout()


def test_what_a_version_is_called_is_a_line_in_the_log_and_figures_go_with_their_trial(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rowcast.service")
    name_version(root / "flights", "old", 1, "operator")
    try_out(root, 2, 0.5)
    (root / "flights/.rollout-measured-other-7.json").write_text("{}")  # of a service that has ended

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.registry.trials)
            name_version(root / "flights", "champion", 1, "operator")
            await service.until(lambda: ("flights", "champion") in service.registry.aliases)
            name_version(root / "flights", "champion", None, "operator")
            await service.until(lambda: ("flights", "champion") not in service.registry.aliases)
            await service.until(lambda: len(list((root / "flights").glob(".rollout-measured-*"))) == 2)
            roll_back(root / "flights", None, [1, 2], "operator", read_rollout(root / "flights"))
            await service.until(lambda: not list((root / "flights").glob(".rollout-measured-*")))

    asyncio.run(scenario())
    lines = [line for line in caplog.messages if line.startswith("what is served has changed: ") and "alias" in line]
    assert [json.loads(line.partition(": ")[2]) for line in lines] == [
        {"model": "flights", "from": old, "to": new, "who": "operator", "why": "alias champion"}
        for old, new in ((None, 1), (1, None))
    ]


def test_what_a_worker_counted_that_ended_is_told_on(root: Path) -> None:
    trial = trial_of("errors=50%", canary=0.5)
    owner: Any = SimpleNamespace(catalog=SimpleNamespace(trials=(trial,)))
    watched: Any = SimpleNamespace(accidents=0)
    slots = Slots(3)
    guard = Guard(root, owner, None, Rollouts(root))  # type: ignore[arg-type]
    guard.begin([slots[slot] for slot in range(3)], [watched])
    guard.end()
    write_tallies(slots[1], {trial.number: Tally(new_answered=50, rows=7)})
    write_tallies(slots[2], {trial.number: Tally(new_answered=1)})
    guard.step()
    slots.clear(1)
    watched.accidents = 1
    guard.step()
    told = total(tallies_of(slots_beside(slot_of(slots.descriptor, 2)), trial.number))
    assert (told.new_answered, told.rows, told.new_failed) == (51, 7, 1)


def test_an_alias_of_a_version_that_is_not_served_is_refused_with_the_version_and_the_way_out(root: Path) -> None:
    words = "flights@champion is flights:1, which is not served: ROWCAST_MODELS=flights,flights:1 serves it as well"
    name_version(root / "flights", "champion", 1, "operator")

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.registry.unserved_in("flights@champion"))
            for path in (
                "/models/flights@champion/predict",
                "/models/flights@champion",
                "/v1/models/flights@champion:predict",
                "/v2/models/flights@champion/infer",
            ):
                answer = await service.ask(path)
                assert (answer.status, json.loads(answer.body)["error"].partition(";")[0]) == (404, words)
            with pytest.raises(RequestError, match="flights@champion is flights:1, which is not served"):
                service.registry.find("flights@champion")
            with pytest.raises(RequestError, match='no model "flights@best" is served'):
                service.registry.find("flights@best")
            table = Methods(service.registry)._table
            with pytest.raises(RequestError, match="flights@champion is flights:1, which is not served"):
                table.find("flights@champion")

    asyncio.run(scenario())


def test_a_version_that_is_chosen_is_served_as_soon_as_it_is_there_and_whole(root: Path) -> None:
    """A mount may show the choice before the version, and a copy takes its time."""

    async def scenario() -> None:
        async with live(root, reload="manual") as service:
            promote(root, 3, [1, 2, 3])
            await service.until(lambda: service.reason(0))
            publish_as(root, 3, 3.0)
            await service.until(lambda: service.version() == 3 and not service.reason(0))
            publish(root, 4.0)
            file = root / "flights/4/model.onnx"
            whole = file.read_bytes()
            file.write_bytes(whole[:-40])
            promote(root, 4, [1, 2, 3, 4])
            await service.until(lambda: service.reason(4).startswith("damaged: "))
            await asyncio.sleep(0.5)
            file.write_bytes(whole)
            await service.until(lambda: service.version() == 4)
            assert not service.reason(4)

    asyncio.run(scenario())


def test_an_alias_of_the_settings_that_stands_for_another_version_by_now_is_told(root: Path) -> None:
    name_version(root / "flights", "champion", 1, "operator")

    async def scenario() -> None:
        async with live(root, models="flights@champion") as service:
            assert service.version() == 1
            name_version(root / "flights", "champion", 2, "operator")
            words = "flights@champion is flights:2 now, which is served from the next start or SIGHUP on"
            await service.until(lambda: service.reason(0) == f"rollout: {words}")
            assert service.version() == 1
            name_version(root / "flights", "champion", 1, "operator")
            await service.until(lambda: not service.reason(0))

    asyncio.run(scenario())


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where :func:`crash` puts a module that ends every process that tries a version, as long as it is there."""
    file = tmp_path / "code/onnxruntime.py"
    file.parent.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(file.parent))
    return file


def crash(crashing: Path) -> None:
    crashing.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")


def test_an_accident_of_one_machine_does_not_end_a_trial_which_begins_when_it_is_over(
    root: Path, crashing: Path
) -> None:
    try_out(root, 2, 0.5)

    async def scenario() -> None:
        async with live(root) as service:
            crash(crashing)
            await service.until(lambda: service.reason(0))
            words = (
                "rollout: flights:2 is not on trial here yet, and is tried again: it ended the process that tried it"
            )
            assert service.reason(0).startswith(words)
            assert service.reason(2).startswith("crashed: it ended the process")
            assert read_rollout(root / "flights").trial == 2
            os.unlink(crashing)
            await service.until(lambda: service.registry.trials)
            await service.until(lambda: not service.reason(0) and not service.reason(2))

    asyncio.run(scenario())
    assert [one.what for one in read_rollout(root / "flights").history] == ["canary"]


def test_what_happens_again_and_again_is_no_accident_and_ends_the_trial(
    root: Path, crashing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "RETRY_SECONDS", 0.1)

    async def scenario() -> None:
        async with live(root) as service:
            crash(crashing)
            try_out(root, 1, 0.5, live_version=2)  # an older one, which nothing but its trial is about
            await service.until(lambda: read_rollout(root / "flights").trial is None)
            await service.until(lambda: not service.reason(0))

    asyncio.run(scenario())
    last = read_rollout(root / "flights").history[-1]
    assert (last.what, last.why[:60]) == ("rollback", "flights:1 cannot be served: it ended the process that tried ")
