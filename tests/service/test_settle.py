"""Settings are settled once: what the first process read is what every other one gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rowcast.service.process.settle import SETTLED_BY, settle
from rowcast.service.settings import Settings
from tests.service.servers import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(("ROWCAST", "OTEL_")):
            monkeypatch.delenv(name)


def doubts(**variables: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return settle(Path.cwd(), {})[1]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ROWCAST_APIKEYS", "did you mean ROWCAST_API_KEYS?"),
        ("ROWCAST_WORKER", "did you mean ROWCAST_WORKERS?"),
        ("ROWCAST_TLS_CERTIFICATE", "did you mean ROWCAST_TLS_CERT?"),
        ("ROWCASTAPI_KEYS", "did you mean ROWCAST_API_KEYS?"),
        ("rowcast_max_row", "did you mean ROWCAST_MAX_ROWS?"),
        ("ROWCAST_PORT", "the port is an option: --port"),
        ("ROWCAST_NONSENSE", "the README lists the settings"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_what_may_be_meant(name: str, meant: str) -> None:
    assert doubts(**{name: "1"}) == [f"{name.upper()} is not a setting, so it does nothing: {meant}"]
    Path(".env").write_text(f"{name}=1\n")
    told = f"{name.upper()} (in {Path('.env').absolute()}) is not a setting, so it does nothing: {meant}"
    assert doubts() == [told]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROWCAST_MAX_ROWS", "10"),
        ("ROWCAST_LAUNCHED_BY", "1"),
        ("ROWCAST_SERVICE_HOST", "10.0.0.1"),
        ("ROWCAST_PORT_3000_TCP_ADDR", "10.0.0.1"),
        ("ROWCAST_GRPC_PORT", "tcp://10.0.0.1:3001"),
        ("PATHS_OF_ROWCAST_", "1"),
    ],
)
def test_nothing_is_told_of_a_setting_nor_of_what_kubernetes_sets_for_a_service_of_that_name(
    name: str, value: str
) -> None:
    assert doubts(**{name: value}) == []


def test_the_key_of_a_client_is_told_from_the_keys_of_a_service(tmp_path: Path) -> None:
    (told,) = doubts(ROWCAST_API_KEY="rowcast_secret")
    assert told.startswith(
        "ROWCAST_API_KEY is the key that a client sends, so it protects nothing here: anyone may ask."
    )
    assert "rowcast_secret" not in told
    keys = tmp_path / "keys.txt"
    keys.touch(mode=0o600)
    assert doubts(ROWCAST_API_KEY="rowcast_secret", ROWCAST_API_KEYS=str(keys)) == []


@pytest.mark.parametrize("name", ["API_KEYS", "TLS_KEY", "GRPC_TLS_KEY"])
@pytest.mark.parametrize(
    ("mode", "told"), [(0o600, False), (0o400, False), (0o644, True), (0o640, True), (0o602, True)]
)
def test_a_secret_that_others_may_open_is_told(tmp_path: Path, name: str, mode: int, told: bool) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    secret.chmod(mode)
    sentence = f"{secret} (ROWCAST_{name}) is open to others than its owner (its mode is 0{mode:o}): chmod 600 it"
    assert doubts(**{f"ROWCAST_{name}": str(secret)}) == ([sentence] if told else [])


def test_what_was_settled_is_what_a_child_gets_whatever_lies_in_its_folder(tmp_path: Path) -> None:
    started, elsewhere = tmp_path / "started", tmp_path / "elsewhere"
    started.mkdir()
    elsewhere.mkdir()
    (started / ".env").write_text(
        "ROWCAST_API_KEYS=keys.txt\nROWCAST_FRONT=off\nROWCAST_MAX_BODY=2MiB\nROWCAST_GRACE=0.5\n"
        "OTEL_SERVICE_NAME=mine\n"
    )
    (elsewhere / ".env").write_text("ROWCAST_MAX_ROWS=3\nROWCAST_FRONT=on\n")
    environment = {**os.environ, "rowcast_max_body": "1MiB", "OTEL_SDK_DISABLED": "true"}
    settings, told = settle(started, environment, models="flights:3")
    assert told == []
    assert environment["OTEL_SERVICE_NAME"] == "mine"
    assert environment[SETTLED_BY] == str(os.getpid())
    say = (
        "from rowcast.service.process.settle import settings_of_service as s; "
        "print(s()[0].model_dump_json(exclude_unset=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", say],
        cwd=elsewhere,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Settings.model_validate_json(done.stdout) == settings
    assert settings.model_dump(exclude_unset=True) == {
        "api_keys": started / "keys.txt",
        "front": False,
        "max_body": 2 * 2**20,
        "grace": 0.5,
        "models": "flights:3",
        "repository": ROOT / "models/repository",
    }


def test_settings_of_some_other_service_are_not_taken_for_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    from rowcast.service.process.settle import are_handed_on

    monkeypatch.setenv(SETTLED_BY, "999999999")
    assert not are_handed_on()
    monkeypatch.setenv(SETTLED_BY, str(os.getppid()))
    assert are_handed_on()
