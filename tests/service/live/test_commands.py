"""``rowcast models promote`` and ``status``: what they write and say, and what they refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rowcast.models.rollout import Guards, begin_trial, choose_version, name_version, read_rollout
from tests.service.live.versions import nan_graph, publish, publish_graph
from tests.support import handmade
from tests.support.command import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for weight in (1.0, 2.0):
        publish(tmp_path, weight)
    publish(tmp_path, 1.0, handmade.REGRESSION)
    return tmp_path


def test_promote_writes_down_what_is_to_be_served_and_status_tells_it(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capfd, "models", "promote", "flights:2", "--repository", root, "--json")
    assert code == 1  # the newest is a regression
    code, out, _ = run(
        capfd, "models", "promote", "flights:2", "--repository", root, "--allow-signature-change", "--json"
    )
    told = json.loads(out.splitlines()[-1])
    assert (code, told["version"], told["before"], told["live"]) == (0, 2, 3, 2)
    assert run(capfd, "models", "promote", "flights:1", "--repository", root)[0] == 0  # whose signature is the same
    code, out, err = run(capfd, "models", "status", "flights", "--repository", root, "--json")
    (model,) = json.loads(out.splitlines()[-1])["models"]
    assert (model["live"], model["versions"]) == (1, [1, 2, 3])
    assert [(one["from"], one["to"], one["why"]) for one in model["history"]] == [
        (3, 2, "promoted"),
        (2, 1, "promoted"),
    ]
    assert err.splitlines()[1].split()[:3] == ["flights", "1", "1,2,3"]


def test_promote_refuses_another_signature_and_says_what_clients_would_notice(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(capfd, "models", "promote", "flights:2", "--repository", root, "--allow-signature-change")
    before = read_rollout(root / "flights")
    code, out, err = run(capfd, "models", "promote", "flights", "--repository", root)
    assert (code, out) == (1, "")
    assert err.startswith(
        "rowcast: the signature of flights:3 must be that of flights:2, got another: it is regression"
    )
    assert "add --allow-signature-change" in err
    assert read_rollout(root / "flights") == before
    code, _, err = run(capfd, "models", "promote", "flights", "--repository", root, "--allow-signature-change")
    assert (code, "clients of flights:2 have to follow: it is regression, no longer binary" in err) == (0, True)
    assert (read_rollout(root / "flights").live, read_rollout(root / "flights").allowed) == (3, (2, 3))


def test_a_version_that_is_not_there_or_a_file_that_is_nonsense_is_told(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capfd, "models", "promote", "flights:9", "--repository", root)
    assert (code, "model 'flights' has no version 9; versions: 1, 2, 3" in err) == (1, True)
    (root / "flights/rollout.json").write_text('{"format": 1, "live": "two"}')
    code, _, err = run(capfd, "models", "promote", "flights:1", "--repository", root)
    assert (code, "rollout.json is not as `rowcast rollout` writes it: live: " in err) == (1, True)


class _Stub(BaseHTTPRequestHandler):
    """Answers as a service would."""

    asked: ClassVar[list[tuple[str, Any]]] = []

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/models/flights":
            self._answer(200, {"name": "flights", "version": 3})
            return
        refused = {"version": 3, "state": "UNAVAILABLE", "kind": "slow", "reason": "it is slow"}
        model = {"name": "flights", "version": 2, "versions": [2], "warnings": ["gone"], "not_served": [refused]}
        none: dict[str, Any] = dict.fromkeys(("canary", "shadow", "promote_after", "since", "measured"))
        none |= {"guards": {}, "aliases": {}}
        new = {"name": "new", "version": None, "versions": [], "warnings": [], "not_served": [refused], "rollout": none}
        on = {"canary": {"version": 2, "share": 0.05}, "shadow": {"version": 2, "share": 1.0}}
        tried = {"name": "tried", "version": 1, "versions": [1], "warnings": [], "not_served": [], "rollout": none | on}
        models = [model | {"rollout": none}, new, tried]
        told = {"ready": True, "reload": "auto", "models": models, "warnings": ["a fault"]}
        self._answer(200, {} if self.path.startswith("/other") else told)

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((self.path, content))
        allowed = content["parameters"]["allow_signature_change"]
        self._answer(200, {}) if allowed else self._answer(400, {"error": "flights is not loaded: it is slow"})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Stub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_both_ask_a_running_service(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, "models", "status", "--url", url)
    assert code == 0
    assert [line.split(None, 2) for line in out.splitlines()[1:]] == [
        ["flights", "2", "served       gone"],
        ["flights", "3", "not served   it is slow"],
        ["new", "3", "not served   it is slow"],
        ["tried", "1", "served"],
        ["tried", "2", "canary 5%"],
        ["tried", "2", "shadow 100%"],
    ]
    _Stub.asked.clear()
    code, out, err = run(capfd, "models", "promote", "flights:3", "--url", url)
    assert (code, out) == (1, "")
    assert f"{url} refuses with 400: flights is not loaded: it is slow" in err
    code, out, _ = run(capfd, "models", "promote", "flights:3", "--url", url, "--allow-signature-change")
    assert (code, out) == (0, f"flights:3 is served by {url}\n")
    path = "/v2/repository/models/flights/load"
    assert _Stub.asked == [
        (path, {"parameters": {"allow_signature_change": allowed, "version": "3"}}) for allowed in (False, True)
    ]


def test_status_tells_what_is_on_trial_in_the_words_of_a_rollout(
    url: str, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shares: dict[str, Any] = {"canary": 0.05, "shadow": 1.0}
    begin_trial(root / "flights", 2, [1, 2, 3], "somebody", 1, **shares, guards=Guards(), promote_after=None)
    publish(root, 1.0, name="other")
    on = {"canary": {"version": 2, "share": 0.05}, "shadow": {"version": 2, "share": 1.0}}
    none = {"canary": None, "shadow": None}
    code, out, err = run(capfd, "models", "status", "--repository", root, "--json")
    flights, other = json.loads(out)["models"]
    assert (code, {what: flights[what] for what in on}, {what: other[what] for what in on}) == (0, on, none)
    assert "1,2,3     2 canary 5%, 2 shadow 100%  20" in err.splitlines()[1]
    _, out, _ = run(capfd, "rollout", "status", "flights", "--repository", root, "--json")
    assert {what: json.loads(out)[what] for what in on} == on
    _, out, _ = run(capfd, "models", "status", "--url", url, "--json")
    flights, _, tried = json.loads(out)["models"]
    assert ({what: flights[what] for what in on}, {what: tried[what] for what in on}) == (none, on)


def test_promote_says_which_version_the_newest_is(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, "models", "promote", "flights", "--url", url, "--allow-signature-change", "--json")
    assert (code, json.loads(out)) == (0, {"name": "flights", "version": 3, "url": url})


def test_an_alias_that_the_repository_does_not_tell_is_not_taken_for_the_newest(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _Stub.asked.clear()
    for alias in ("champion", "live"):
        code, out, err = run(capfd, "models", "promote", f"flights@{alias}", "--url", url, "--repository", tmp_path)
        line = (
            f"rowcast: with --url a model is NAME or NAME:VERSION, got 'flights@{alias}', and {tmp_path} has no flights"
        )
        assert (code, out, err.startswith(line)) == (2, "", True)
    assert _Stub.asked == []
    for asked in ("flights@latest", "flights"):
        arguments = ("models", "promote", asked, "--url", url, "--repository", tmp_path, "--allow-signature-change")
        assert run(capfd, *arguments)[0] == 0
    assert [content for _, content in _Stub.asked] == 2 * [{"parameters": {"allow_signature_change": True}}]


def test_the_rollout_of_a_model_that_is_not_served_yet_is_told_by_a_service(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capfd, "rollout", "status", "new", "--url", url, "--json")
    told = json.loads(out)
    assert (code, told["live"], told["canary"], told["history"]) == (0, None, None, [])
    assert err.splitlines() == ["a fault", "no version of new is live"]


@pytest.mark.parametrize("command", [("models", "status"), ("rollout", "status", "flights")])
def test_another_service_is_told_from_one_of_ours(
    url: str, capfd: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code, out, err = run(capfd, *command, "--url", f"{url}/other", "--json")
    line = f"rowcast: {url}/other must be a service of Rowcast, got an answer of another one\n"
    assert (code, out, err) == (1, "", line)


def test_a_file_that_is_nonsense_hides_no_other_model(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    publish(root, 1.0, name="other")
    (root / "flights/rollout.json").write_text("nonsense")
    code, out, err = run(capfd, "models", "status", "--repository", root, "--json")
    flights, other = json.loads(out)["models"]
    assert (code, flights["name"], flights["live"], other["name"], other["fault"]) == (
        0,
        "flights",
        None,
        "other",
        None,
    )
    assert flights["fault"].startswith(f"{root}/flights/rollout.json is not as `rowcast rollout` writes it")
    assert "correct or remove it" in err


def test_a_version_that_does_not_answer_is_not_promoted_and_one_that_was_served_goes_back_untried(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    version = publish_graph(root, nan_graph()).manifest.version
    home = root / "flights"
    choose_version(home, 2, [1, 2, 3, 4], "alice", None, allow_signature_change=True)
    said = read_rollout(home)
    for command in (("models", "promote", f"flights:{version}"), ("rollout", f"flights:{version}", "--canary", "5%")):
        code, out, err = run(capfd, *command, "--repository", root)
        line = f"rowcast: flights:{version} answers with a number that is not finite"
        assert (code, out, err.splitlines()[-1]) == (1, "", line)
    assert read_rollout(home) == said
    choose_version(home, version, [1, 2, 3, 4], "alice", 2, allow_signature_change=False)
    choose_version(home, 1, [1, 2, 3, 4], "bob", version, allow_signature_change=False)
    assert run(capfd, "models", "promote", f"flights:{version}", "--repository", root)[0] == 0


def test_who_was_there_just_now_is_told(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ("models", "promote", "flights:2", "--repository", root, "--allow-signature-change")
    choose_version(root / "flights", 1, [1, 2, 3], "alice", 3, allow_signature_change=True)
    code, _, err = run(capfd, *command)
    assert (code, err.startswith("note: alice had flights:1 served at 20")) == (0, True)
    code, _, err = run(capfd, *command)  # that was oneself
    assert (code, err) == (0, "")


def test_what_is_live_already_is_promoted_without_another_entry_and_goes_back_to_the_one_before(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    allow = ("--repository", root, "--allow-signature-change")
    for version in (1, 3):
        assert run(capfd, "models", "promote", f"flights:{version}", *allow)[0] == 0
    said = read_rollout(root / "flights")
    for command in (("models", "promote", "flights:3"), ("rollout", "flights:3", "--promote")):
        assert run(capfd, *command, "--repository", root)[0] == 0  # no client notices anything
    assert read_rollout(root / "flights") == said
    assert run(capfd, "rollout", "flights", "--rollback", "--repository", root)[0] == 0
    assert read_rollout(root / "flights").live == 1


def test_a_version_that_would_be_missed_is_removed_only_by_force(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def remove(model: str, *flags: str) -> tuple[int, str]:
        code, _, err = run(capfd, "models", "remove", model, "--repository", root, *flags)
        return code, err.removeprefix("rowcast: ").rstrip("\n")

    home = root / "flights"
    assert remove("flights:2")[0] == 0  # nobody has named it
    publish(root, 2.0)
    choose_version(home, 1, [1, 3, 4], "operator", None, allow_signature_change=False)
    name_version(home, "champion", 4, "operator")
    before = read_rollout(home)
    words = (
        "flights:1 would be missed: services serve it; it was chosen to be served. Have another take its place "
        "(rowcast rollout flights:VERSION --promote; rowcast models alias), or remove it all the same with --force"
    )
    assert remove("flights:1") == (1, words)
    code, told = remove("flights:4")
    assert (code, told.partition(". ")[0]) == (1, "flights:4 would be missed: it is called champion")
    assert (read_rollout(home), (home / "4").is_dir()) == (before, True)
    assert remove("flights:4", "--force") == (0, "flights:4 would be missed: it is called champion")
    assert (read_rollout(home).aliases, (home / "4").is_dir()) == ({}, False)
    assert publish(root, 2.0).manifest.version == 5
    assert remove("flights:9") == (1, "model 'flights' has no version 9; versions: 1, 3, 5")
