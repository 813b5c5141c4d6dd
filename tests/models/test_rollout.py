"""What ``rollout.json`` tells: what is served, what may take its place, and which numbers are taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rowcast.models.errors import ModelError
from rowcast.models.names import MAX_VERSION
from rowcast.models.repository import Repository
from rowcast.models.rollout import (
    KEPT_FILE,
    ROLLOUT_FILE,
    Guards,
    Rollout,
    begin_trial,
    change_rollout,
    choose_version,
    end_trial,
    keep_rollout,
    live_version,
    name_version,
    read_or_kept,
    read_rollout,
    roll_back,
    version_called,
)
from rowcast.models.rollout.steps import forget_version, served_beside, what_names
from tests.support import handmade


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "flights").mkdir()
    return tmp_path / "flights"


def publish(home: Path) -> int:
    """Publish the next version; its number."""
    files = {"model.onnx": b"graph"}
    return Repository(home.parent).publish("flights", handmade.manifest(), files).manifest.version


def promote(home: Path, version: int, before: int | None, versions: list[int]) -> None:
    choose_version(home, version, versions, "operator", before, allow_signature_change=False)


def try_out(home: Path, version: int, live: int) -> str:
    """Put a version on trial; when that began."""
    said = begin_trial(
        home,
        version,
        [1, 2, 3],
        "operator",
        live,
        canary=0.05,
        shadow=None,
        guards=Guards(),
        promote_after=None,
    )
    return said.since or ""


def test_the_history_tells_what_was_live_and_what_nobody_is_to_go_back_to(home: Path) -> None:
    assert (Rollout().served, Rollout().once_live, Rollout().held_back) == (None, [], set())
    promote(home, 1, None, [1, 2, 3])
    promote(home, 3, 1, [1, 2, 3])
    said = read_rollout(home)
    assert (said.served, said.once_live, said.held_back) == (3, [3, 1], set())
    said = roll_back(home, None, [1, 2, 3], "operator", said)
    assert (said.served, said.once_live, said.held_back) == (1, [1, 3], {3})
    since = try_out(home, 2, 1)
    said = read_rollout(home)
    assert (said.served, said.held_back) == (1, {2, 3})
    said = end_trial(home, since, "rollback", "guard", "rolled back")
    assert (said.served, said.held_back) == (1, {2, 3})
    said = end_trial(home, try_out(home, 2, 1), "promoted", "guard", "promoted")
    assert (said.served, said.once_live, said.held_back) == (2, [2, 1, 3], {3})


def test_a_version_whose_folder_was_away_for_a_while_is_none_that_somebody_went_back_from() -> None:
    gone = {"time": "2026-11-30T00:00:00Z", "who": "SIGHUP", "from": 2, "to": None, "why": "settled anew"}
    assert Rollout.model_validate({"history": [gone]}, strict=False).held_back == set()


def test_what_services_write_down_goes_before_what_was_chosen(home: Path) -> None:
    promote(home, 2, 1, [1, 2])
    said = change_rollout(home, lambda said: said.with_change("start, on host", 2, 1, "2 is damaged"))
    assert (said.live, said.served, live_version(said, [1, 2])) == (2, 1, 1)
    assert (served_beside(said, [1, 2, 3], 3), served_beside(said, [1, 2, 3], 1)) == (1, 2)
    assert live_version(said, [2, 3]) == 2
    assert live_version(Rollout(), [2, 3]) == 3


def test_a_number_that_is_named_does_not_come_again(home: Path) -> None:
    assert [publish(home), publish(home)] == [1, 2]
    repository = Repository(home.parent)
    repository.remove("flights", 2)
    assert publish(home) == 2  # nobody has named it
    name_version(home, "champion", 2, "operator")
    repository.remove("flights", 2)
    assert publish(home) == 3
    with pytest.raises(ModelError, match="flights@champion is flights:2, which is not in the repository any more"):
        version_called(home.parent, "flights", "champion")
    choose_version(home, 3, [1, 3], "operator", 1, allow_signature_change=True)
    repository.remove("flights", 3)
    assert publish(home) == 4
    (home / ROLLOUT_FILE).write_text("nonsense")
    repository.remove("flights", 4)
    assert publish(home) == 4
    change = json.loads((home / KEPT_FILE).read_text()) | {"newest": MAX_VERSION}
    (home / ROLLOUT_FILE).write_text(json.dumps(change))
    with pytest.raises(ModelError, match=r"versions count up to 999,999,999, and .* names that one: correct roll"):
        repository.check_writable("flights")


def test_the_last_that_made_sense_is_kept(home: Path) -> None:
    assert read_or_kept(home) == (Rollout(), "")
    promote(home, 1, 2, [1, 2])
    said = read_rollout(home)
    (home / ROLLOUT_FILE).write_text('{"format": 1, "live": "two"}')
    kept, fault = read_or_kept(home)
    assert kept == said
    assert fault.startswith(f"{home / ROLLOUT_FILE} is not as `rowcast rollout` writes it: live: ")
    assert fault.endswith("; until then what it said last holds, which .rollout-last.json keeps")
    (home / KEPT_FILE).write_text("nonsense, too")
    kept, fault = read_or_kept(home)
    assert (kept, fault.endswith("; nothing is kept that it said before")) == (Rollout(), True)


def test_what_names_a_version_that_is_not_there_does_not_take_the_place_of_what_made_sense(home: Path) -> None:
    assert [publish(home) for _ in range(3)] == [1, 2, 3]
    promote(home, 1, None, [1, 2, 3])
    try_out(home, 2, 1)
    said = read_rollout(home)
    edited = json.loads((home / ROLLOUT_FILE).read_text())
    for update, words in (
        ({"canary": {"version": 77, "share": 0.05}}, "puts version 77 on trial"),
        ({"live": 77}, "chooses version 77"),
    ):
        (home / ROLLOUT_FILE).write_text(json.dumps(edited | update))
        keep_rollout(home, read_rollout(home))  # as a service does with what it reads
        name_version(home, "champion", 3, "operator")  # and a command with what it writes
        kept, fault = read_or_kept(home)
        assert (kept, fault.partition(";")[0]) == (said, f"rollout.json of flights {words}, which is not there")
        assert publish(home) > 77  # that number is taken all the same
        Repository(home.parent).remove("flights", max(Repository(home.parent).versions("flights")))


def test_a_version_that_is_removed_though_it_is_named_makes_no_nonsense_of_what_is_said(home: Path) -> None:
    assert [publish(home) for _ in range(3)] == [1, 2, 3]
    promote(home, 1, None, [1, 2, 3])
    promote(home, 3, 1, [1, 2, 3])
    forget_version(home, 3, "operator")
    Repository(home.parent).remove("flights", 3)
    name_version(home, "champion", 2, "operator")
    said = read_rollout(home)
    assert (said.live, said.aliases) == (3, {"champion": 2})
    assert read_or_kept(home) == (said, "")
    (home / ROLLOUT_FILE).write_text("nonsense")
    assert read_or_kept(home)[0] == said


def test_an_end_is_not_written_down_of_another_version_than_was_on_trial(home: Path) -> None:
    promote(home, 1, None, [1, 2, 3])
    since = try_out(home, 2, 1)
    text = (home / ROLLOUT_FILE).read_text().replace('"version": 2', '"version": 77')
    (home / ROLLOUT_FILE).write_text(text)
    with pytest.raises(ModelError, match=r"rollout\.json has flights:77 on trial in the place of 2"):
        end_trial(home, since, "promoted", "guard", "promoted", 2)
    assert (home / ROLLOUT_FILE).read_text() == text


def test_a_version_that_is_to_be_removed_is_named_by_what_would_miss_it(home: Path) -> None:
    promote(home, 1, None, [1, 2, 3])
    name_version(home, "champion", 1, "operator")
    try_out(home, 2, 1)
    name_version(home, "next", 2, "operator")
    said = read_rollout(home)
    assert what_names(said, 1) == ["services serve it", "it was chosen to be served", "it is called champion"]
    assert what_names(said, 2) == ["it is on trial (canary 5%)", "it is called next"]
    assert what_names(said, 3) == []
    after = forget_version(home, 2, "operator")
    assert (after.live, after.trial, after.aliases) == (1, None, {"champion": 1})
    assert [(one.what, one.before, one.after) for one in after.history[-2:]] == [
        ("rollback", 2, 1),
        ("alias", 2, None),
    ]
