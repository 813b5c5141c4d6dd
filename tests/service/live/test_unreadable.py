"""What cannot be read for a moment is not gone: what was served is served on, and that is told."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import pytest

from rowcast.models.plain_files import UnreadableError
from rowcast.models.rollout import (
    KEPT_FILE,
    ROLLOUT_FILE,
    Guards,
    Rollout,
    begin_trial,
    choose_version,
    name_version,
    read_rollout,
    roll_back,
)
from rowcast.service.engine.catalog import CatalogOwner
from rowcast.service.live.figures import read_figures, remove_figures
from rowcast.service.live.look import Look, is_gone
from rowcast.service.live.rollouts import Rollouts
from rowcast.service.live.settling import settle
from rowcast.service.settings import Settings
from tests.service.live.together import Live, live
from tests.service.live.versions import publish
from tests.support.powers import bound_by_modes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for weight in (1.0, 2.0):
        publish(tmp_path / "repository", weight)
    return tmp_path / "repository"


def begin(home: Path) -> Rollout:
    """Have the second version answer half of the requests, as an operator does."""
    return begin_trial(home, 2, [1, 2], "operator", 1, canary=0.5, shadow=None, guards=Guards(), promote_after=None)


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_model_that_cannot_be_read_for_a_moment_keeps_its_trial_and_its_aliases(
    root: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    home = root / "flights"
    name_version(home, "champion", 1, "operator")
    said = begin(home)

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.registry.trials)
            home.chmod(mode)
            try:
                await service.until(lambda: service.reason(0))
                assert service.reason(0).startswith(f"repository: {home}")
                assert service.reason(0).endswith(": Permission denied")
                await asyncio.sleep(1.0)
                assert service.registry.trials
                assert (await service.ask("/models/flights@champion/predict")).status == 200
                assert [note.state for note in service.registry.notes] == ["UNAVAILABLE"]
            finally:
                home.chmod(0o755)
            await service.until(lambda: not service.reason(0))
            await asyncio.sleep(0.5)
            assert service.registry.trials
            assert (await service.ask("/models/flights@champion/predict")).status == 200

    with bound_by_modes():
        asyncio.run(scenario())
    assert read_rollout(home) == said
    assert "is gone" not in caplog.text


@pytest.mark.parametrize("models", ["", "flights", "flights:1"])
def test_a_repository_that_holds_nothing_any_more_is_told_and_what_was_served_is_served_on(
    root: Path, models: str
) -> None:
    """As an empty mount point does."""

    def fault() -> str:
        return next(
            (note.reason for note in service.registry.notes if (note.name, note.kind) == ("", "repository")), ""
        )

    async def scenario() -> None:
        nonlocal service
        async with live(root, models=models) as service:
            (root / "flights").rename(root.parent / "aside")
            await service.until(lambda: any(note.state == "REMOVED" for note in service.registry.notes))
            await asyncio.sleep(1.0)
            which = " that ROWCAST_MODELS names without a version" if models else ""
            assert fault() == ("" if models == "flights:1" else f"{root} holds no model{which}")
            assert (await service.ask()).status == 200
            (root.parent / "aside").rename(root / "flights")
            await service.until(lambda: not service.registry.notes)

    service: Live
    asyncio.run(scenario())


def test_a_trial_that_the_file_still_has_and_the_service_has_ended_is_told_with_the_way_out(root: Path) -> None:
    home = root / "flights"
    begin(home)

    async def scenario() -> None:
        async with live(root) as service:
            await service.until(lambda: service.registry.trials)
            (home / ROLLOUT_FILE).rename(root / "aside")
            await service.until(lambda: not service.registry.trials)
            (root / "aside").rename(home / ROLLOUT_FILE)
            await service.until(lambda: service.reason(0))
            assert service.reason(0) == (
                "rollout: rollout.json of flights has flights:2 on trial (canary 50%), and this service has ended that "
                "trial and ignores it: `rowcast rollout flights --rollback` ends it there as well, and `rowcast "
                "rollout flights:2 --canary 50%` begins another"
            )
            assert not service.registry.trials
            roll_back(home, None, [1, 2], "operator", read_rollout(home))
            await service.until(lambda: not service.reason(0))

    asyncio.run(scenario())


def test_what_is_said_is_nothing_where_there_is_no_file_and_unknown_where_it_cannot_be_read(root: Path) -> None:
    home = root / "flights"
    assert read_rollout(home) == read_rollout(root / "absent") == Rollout()
    (root / "file").touch()
    assert read_rollout(root / "file") == Rollout()
    with pytest.raises(UnreadableError, match="cannot be read: File name too long"):
        read_rollout(root / ("a" * 300))
    begin(home)
    with bound_by_modes():
        for path in (home, home / ROLLOUT_FILE):
            mode = path.stat().st_mode
            path.chmod(0)
            with pytest.raises(UnreadableError, match="Permission denied"):
                read_rollout(home)
            path.chmod(mode)


def test_a_start_that_cannot_read_what_is_said_serves_nothing_and_sighup_what_is_served(root: Path) -> None:
    home = root / "flights"
    choose_version(home, 1, [1, 2], "operator", 2, allow_signature_change=False)
    (home / KEPT_FILE).unlink()
    settings, owner = Settings(repository=root, device="cpu", workers=1), CatalogOwner()
    with bound_by_modes():
        (home / ROLLOUT_FILE).chmod(0)
        with pytest.raises(UnreadableError, match=r"rollout\.json cannot be read"):
            settle(settings, owner, lambda: False)
        (home / ROLLOUT_FILE).chmod(0o644)
        assert [entry.version for entry in settle(settings, owner, lambda: False).entries] == [1]
        (home / ROLLOUT_FILE).chmod(0)
        assert [entry.version for entry in settle(settings, owner, lambda: False).entries] == [1]
        home.chmod(0)
        assert [entry.version for entry in settle(settings, owner, lambda: False).entries] == [1]
        home.chmod(0o755)


def test_of_a_name_that_the_service_does_not_follow_nothing_is_kept(root: Path) -> None:
    home = root / "flights"
    begin(home)
    (home / KEPT_FILE).unlink()
    rollouts = Rollouts(root, only_read={"flights"})
    rollouts.read(["flights"])
    assert rollouts.is_known("flights")
    assert not (home / KEPT_FILE).exists()


def test_a_file_that_could_not_be_opened_is_read_when_it_can_be_though_it_has_not_changed(root: Path) -> None:
    home, rollouts = root / "flights", Rollouts(root)
    said = begin(home)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))  # no file can be opened
    try:
        rollouts.read(["flights"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not rollouts.is_known("flights")
    assert rollouts.faults["flights"].endswith("Too many open files")
    rollouts.read(["flights"])
    assert (rollouts.said("flights"), rollouts.faults) == (said, {})


def test_a_look_keeps_what_a_name_held_while_its_versions_cannot_be_looked_at(root: Path) -> None:
    home, look = root / "flights", Look(root, None)
    assert look() == {"flights": [1, 2]}
    with bound_by_modes():
        home.chmod(0o400)
        assert look() == {"flights": [1, 2]}
        assert look.faults == {"flights": f"{home / '1'} cannot be read: Permission denied"}
        assert not is_gone(home / "1")
        home.chmod(0o755)
    assert (look(), look.faults) == ({"flights": [1, 2]}, {})
    assert (is_gone(home / "3"), is_gone(home / "1"), is_gone(home / "1" / "model.json")) == (True, False, True)


def test_figures_of_a_trial_are_of_plain_files_in_a_folder_that_can_be_read(root: Path) -> None:
    home = root / "flights"
    os.mkfifo(home / ".rollout-measured-host-1.json")
    assert read_figures(home, None) is None
    with bound_by_modes():
        home.chmod(0)
        assert read_figures(home, None) is None
        remove_figures(home)
        home.chmod(0o755)
    assert (home / ".rollout-measured-host-1.json").exists()
