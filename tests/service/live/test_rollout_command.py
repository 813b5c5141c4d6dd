"""``rowcast rollout``, and aliases: what they write and say, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rowcast
from rowcast.cli.rollout import _measured
from rowcast.models.errors import ModelError
from rowcast.models.rollout import Guards, begin_trial, read_rollout, roll_back
from rowcast.service.rollout.tally import Tally
from rowcast.service.settings import Settings
from tests.service.live.versions import publish
from tests.support import handmade
from tests.support.command import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for weight in (1.0, 2.0, 3.0):
        publish(tmp_path, weight)
    publish(tmp_path, 1.0, handmade.REGRESSION)
    return tmp_path


class Command:
    """Runs ``rowcast`` on a repository."""

    def __init__(self, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._root = root
        self._capfd = capfd

    def told(self, *arguments: str) -> Any:
        """The JSON of a command that does what it should."""
        code, out, err = run(self._capfd, *arguments, "--repository", self._root, "--json")
        assert code == 0, err
        return json.loads(out.splitlines()[-1])

    def refusal(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the line of one that does not, and that it has changed nothing."""
        file = self._root / "flights/rollout.json"
        before = file.read_bytes() if file.exists() else b""
        code, out, err = run(self._capfd, *arguments, "--repository", self._root)
        assert (out, file.read_bytes() if file.exists() else b"") == ("", before)
        return code, err.removeprefix("rowcast: ").rstrip("\n")


@pytest.fixture
def rowcast_command(root: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(root, capfd)


def test_a_rollout_goes_from_shadow_to_canary_to_live_and_back(rowcast_command: Command) -> None:
    told = rowcast_command.told
    told("models", "promote", "flights:1", "--allow-signature-change")
    first = told("rollout", "flights:2", "--shadow", "100%")
    assert (first["live"], first["canary"], first["shadow"]) == (1, None, {"version": 2, "share": 1.0})
    guard = ("--guard", "errors=0.1%,p99=1.2x,disagree=5%", "--promote-after", "30m")
    second = told("rollout", "flights:2", "--canary", "5%", *guard)
    assert (second["canary"], second["shadow"]) == ({"version": 2, "share": 0.05}, None)
    assert second["guards"] == {"errors": 0.001, "p99": 1.2, "disagree": 0.05}
    assert second["promote_after"] == 1800
    status = told("rollout", "status", "flights")
    assert status == second
    assert [(one["what"], one["from"], one["to"], one["why"]) for one in status["history"][1:]] == [
        ("shadow", 1, 2, "shadow 100%"),
        ("canary", 1, 2, "canary 5%, guards errors=0.1%,disagree=5%,p99=1.2x, promoted after 1800 s"),
    ]
    third = told("rollout", "flights", "--promote")
    assert (third["live"], third["canary"], third["since"]) == (2, None, None)
    fourth = told("rollout", "flights", "--rollback")
    assert (fourth["live"], fourth["history"][-1]["why"]) == (1, "rolled back")
    told("rollout", "flights:3", "--canary", "50%")
    last = told("rollout", "flights:3", "--rollback")
    assert (last["live"], last["canary"], last["history"][-1]["what"]) == (1, None, "rollback")


def test_of_a_version_that_is_live_by_itself_the_one_before_takes_its_place(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ("rollout", "flights:3", "--canary", "5%", "--repository", root)
    publish(root, 1.0, name="other")
    publish(root, 2.0, name="other")
    code, _, err = run(capfd, "rollout", "other:2", "--canary", "5%", "--repository", root)
    assert (code, read_rollout(root / "other").live) == (0, 1)
    assert "other:1 is to be" not in err
    assert run(capfd, "models", "promote", "flights:3", "--allow-signature-change", "--repository", root)[0] == 0
    code, _, err = run(capfd, *command)
    assert (code, "the signature of flights:3 must be that of flights:4" in err) == (1, True)


REFUSED = {
    ("flights:9", "--canary", "5%"): (1, "model 'flights' has no version 9; versions: 1, 2, 3, 4"),
    ("flights:2", "--canary", "101%"): (2, "--canary must be a share from 0% to 100%, such as 5%, got '101%'"),
    ("flights:2", "--canary", "0.05"): (2, "--canary must be a share from 0% to 100%, such as 5%, got '0.05'"),
    ("flights:2", "--shadow", "-1%"): (2, "--shadow must be a share from 0% to 100%, such as 5%, got '-1%'"),
    ("flights:2", "--canary", "5%", "--promote"): (2, "a rollout goes one way at a time, got --canary and --promote"),
    ("flights:2",): (2, "say what to do: --canary P%, --shadow P%, --promote or --rollback; or rollout status NAME"),
    ("flights:2", "--promote", "--guard", "errors=1%"): (2, "--guard goes with --canary or --shadow, got --promote"),
    ("flights:2", "--canary", "5%", "--guard", "erors=1%"): (
        2,
        "a guard must be one of errors, p99, disagree, each once, such as errors=0.1%, got 'erors=1%'",
    ),
    ("flights:2", "--canary", "5%", "--guard", "p99=1.2"): (
        2,
        "the guard p99 must be a ratio above 0, such as p99=1.2x, got 'p99=1.2'",
    ),
    ("flights:2", "--canary", "5%", "--promote-after", "30m"): (
        2,
        "--promote-after promotes a version whose guards held: give it a --guard",
    ),
    ("flights:2", "--canary", "5%", "--guard", "errors=1%", "--promote-after", "soon"): (
        2,
        "--promote-after must be a positive number and s, m or h, such as 60s or 30m, got 'soon'",
    ),
    ("flights:2", "--canary", "5%", "--guard", "errors=1%", "--promote-after", "300000h"): (
        2,
        "--promote-after must be at most 1,000,000,000 s, got '300000h'",
    ),
    ("flights", "--promote"): (2, "say which version to promote: rowcast rollout flights:VERSION --promote"),
    ("flights:1", "--canary", "5%"): (1, "one version of flights is on trial at a time, and flights:2 is"),
    ("flights:1", "--promote"): (1, "one version of flights is on trial at a time, and flights:2 is"),
    ("flights:4", "--shadow", "5%"): (1, "the signature of flights:4 must be that of flights:3, got another"),
    ("flights:1", "--rollback"): (1, "what is rolled back must be on trial or live, got flights:1: version 2 is on"),
}


def test_what_makes_no_sense_is_refused_in_a_line_and_changes_nothing(rowcast_command: Command) -> None:
    rowcast_command.told("models", "promote", "flights:3", "--allow-signature-change")
    for arguments, (code, line) in REFUSED.items():
        if code == 1 and "flights:9" not in arguments:
            break
        got = rowcast_command.refusal("rollout", *arguments)
        assert (got[0], got[1][: len(line)]) == (code, line)
    rowcast_command.told("rollout", "flights:2", "--canary", "5%")
    for arguments, (code, line) in REFUSED.items():
        if arguments != ("flights", "--promote"):
            got = rowcast_command.refusal("rollout", *arguments)
            assert (got[0], got[1][: len(line)]) == (code, line)


def test_of_two_operators_at_once_one_wins_and_the_other_is_told(root: Path) -> None:
    home, versions = root / "flights", [1, 2, 3, 4]
    seen = read_rollout(home)

    def begin(who: str, share: float) -> None:
        begin_trial(
            home, 2, versions, who, 1, canary=share, shadow=None, guards=Guards(), promote_after=None, seen=seen
        )

    begin("alice", 0.05)
    with pytest.raises(ModelError, match=r"first: alice had flights:2 on trial \(canary 5%\) at 20.+Z\. Look") as told:
        begin("bob", 0.5)
    assert "\n" not in str(told.value)
    said = read_rollout(home)
    assert (said.canary and said.canary.share, len(said.history)) == (0.05, 1)
    with pytest.raises(ModelError, match="somebody else was first"):
        roll_back(home, None, versions, "bob", seen.model_copy(update={"since": said.since, "canary": said.canary}))
    (home / "rollout.json").write_text("nonsense")
    with pytest.raises(ModelError, match="correct or remove it"):
        begin("alice", 0.05)
    assert (home / "rollout.json").read_text() == "nonsense"


def test_an_alias_stands_for_its_version_wherever_a_model_is_named(
    rowcast_command: Command, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = rowcast_command.told("models", "alias", "flights:2", "champion")
    assert told == {"name": "flights", "aliases": {"champion": 2}}
    assert rowcast_command.told("models", "show", "flights@champion")["version"] == 2
    assert rowcast_command.told("models", "promote", "flights@champion", "--allow-signature-change")["version"] == 2
    assert rowcast_command.told("models", "show", "flights@live")["version"] == 2
    assert rowcast.load("flights@champion", repository=root).version == 2
    assert rowcast.load("flights@latest", repository=root).version == 4
    assert Settings(repository=root, models="flights@champion").choices == [("flights", 2)]
    line = "no version of flights is called 'best'; aliases: champion, live, latest"
    assert rowcast_command.refusal("models", "show", "flights@best") == (1, line)
    assert rowcast_command.refusal("models", "alias", "flights:1", "live")[1].startswith("an alias must be 1 to 64 of")
    rowcast_command.told("models", "alias", "flights", "champion", "--remove")
    assert read_rollout(root / "flights").aliases == {}


def test_every_command_says_what_a_file_names_that_is_not_there(
    rowcast_command: Command, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told, home = rowcast_command.told, root / "flights"
    told("models", "promote", "flights:1", "--allow-signature-change")
    told("models", "promote", "flights:3")
    told("rollout", "flights:2", "--canary", "20%")

    def edit(**update: Any) -> None:
        (home / "rollout.json").write_text(json.dumps(json.loads((home / "rollout.json").read_text()) | update))

    def run_beside(*arguments: str) -> tuple[int, str, list[str]]:
        code, out, err = run(capfd, *arguments, "--repository", root)
        return code, out, [line for line in err.splitlines() if not line.startswith("note: ")]

    edit(canary={"version": 77, "share": 0.2}, aliases={"champion": 88})
    lines = [
        "rollout.json of flights puts version 77 on trial, which is not there",
        "rollout.json of flights calls version 88 champion, which is not there",
    ]
    code, out, err = run_beside("rollout", "status", "flights")
    assert (code, err) == (0, lines)
    assert out.splitlines()[:2] == ["flights:3 is live", out.splitlines()[1]]
    assert out.splitlines()[1].startswith("flights:2 answers 20% of the requests")  # which services go by
    status = told("rollout", "status", "flights")
    assert (status["canary"], status["fault"]) == ({"version": 2, "share": 0.2}, "; ".join(lines))
    (model,) = told("models", "status")["models"]
    assert (model["canary"], model["fault"]) == ({"version": 2, "share": 0.2}, "; ".join(lines))
    assert run_beside("models", "status")[2] == lines
    code, _, err = run_beside("rollout", "flights", "--rollback")
    assert (code, err) == (0, lines)
    edit(live=77)
    assert told("models", "show", "flights@live")["version"] == 3
    lines[0] = "rollout.json of flights chooses version 77, which is not there"
    assert told("rollout", "status", "flights")["live"] == 3
    code, _, err = run_beside("models", "promote", "flights:1")
    assert (code, err) == (0, lines)
    code, _, err = run_beside("models", "alias", "flights:1", "old")
    assert (code, err) == (0, lines[1:])
    told("models", "alias", "flights", "champion", "--remove")
    assert told("rollout", "status", "flights")["fault"] is None


def test_figures_without_a_timed_run_are_told_all_the_same() -> None:
    lines = _measured(Tally(rows=3, new_failed=2, run_failed=40, runs=1).told())
    assert lines[0] == "trial: 2 requests, 100% failed, none answered"
    assert "p99 of a run not known yet, live not known yet" in lines[1]
    assert lines[2] == "40 of its runs in the shadow failed"
