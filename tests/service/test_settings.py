"""Settings come from the environment, and a wrong one is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rowcast.models.errors import ConfigError
from rowcast.models.machine.limits import usable_cores
from rowcast.service.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ROWCAST_{name.upper()}", raising=False)


def test_defaults() -> None:
    assert Settings.load().model_dump() == {
        "repository": Path("models/repository"),
        "models": "",
        "reload": "auto",
        "workers": usable_cores(),
        "device": "auto",
        "max_rows": 4096,
        "max_body": 16 * 2**20,
        "max_bytes": 0,
        "max_queue": 16_384,
        "grace": 5.0,
        "grpc_port": 3001,
        "grpc_host": "127.0.0.1",
        "grpc_tls_cert": None,
        "grpc_tls_key": None,
        "tls_cert": None,
        "tls_key": None,
        "api_keys": None,
        "cors_origins": "",
        "access_log": False,
        "root_path": "",
        "front": True,
    }


def test_the_environment_goes_before_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("ROWCAST_MAX_ROWS=10\nROWCAST_FRONT=off\nSOMETHING_ELSE=1\nROWCAST_OF_ANOTHER_PART=1\n")
    monkeypatch.setenv("ROWCAST_MAX_ROWS", "20")
    settings = Settings.load()
    assert (settings.max_rows, settings.front) == (20, False)


@pytest.mark.parametrize(("text", "port"), [("off", 0), ("0", 0), ("3005", 3005)])
def test_grpc_has_a_port_or_is_off(monkeypatch: pytest.MonkeyPatch, text: str, port: int) -> None:
    monkeypatch.setenv("ROWCAST_GRPC_PORT", text)
    assert Settings.load().grpc_port == port


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("", []),
        ("flights", [("flights", None)]),
        ("flights, other:3", [("flights", None), ("other", 3)]),
        ("a:1,a:2,", [("a", 1), ("a", 2)]),
    ],
)
def test_models_are_named_with_or_without_a_version(
    monkeypatch: pytest.MonkeyPatch, text: str, choices: list[tuple[str, int | None]]
) -> None:
    monkeypatch.setenv("ROWCAST_MODELS", text)
    assert Settings.load().choices == choices


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("ROWCAST_MAX_ROWS", "0", "a whole number from 1 to 1,000,000"),
        ("ROWCAST_MAX_ROWS", "many", "a whole number from 1 to 1,000,000"),
        ("ROWCAST_MAX_BODY", "10", "a size from 1 KiB to less than 2 GiB, such as 16MiB"),
        ("ROWCAST_WORKERS", "0", "a whole number from 1 to 256"),
        ("ROWCAST_DEVICE", "tpu", "auto, cpu, cuda or cuda:N"),
        ("ROWCAST_MAX_QUEUE", "0", "a whole number from 1 to 10,000,000"),
        ("ROWCAST_GRACE", "-1", "a number of seconds from 0 to 3,600"),
        ("ROWCAST_FRONT", "maybe", "on or off"),
        ("ROWCAST_RELOAD", "30s", "auto or manual"),
        ("ROWCAST_GRPC_PORT", "70000", "a port from 1 to 65,535, or off"),
        ("ROWCAST_GRPC_PORT", "on", "a port from 1 to 65,535, or off"),
        ("ROWCAST_GRPC_HOST", "", "an address or the name of a host"),
        (
            "ROWCAST_MODELS",
            "../x",
            "names of models, each with or without a version or an alias, such as flights,other:3,third@champion",
        ),
        (
            "ROWCAST_MODELS",
            ",",
            "names of models, each with or without a version or an alias, such as flights,other:3,third@champion",
        ),
        (
            "ROWCAST_MODELS",
            "x:0",
            "names of models, each with or without a version or an alias, such as flights,other:3,third@champion",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert str(caught.value) == f"{variable} is {rule}, got {value!r}"


@pytest.mark.parametrize("empty", ["", " ", "\t"])
@pytest.mark.parametrize("name", ["API_KEYS", "TLS_CERT", "TLS_KEY", "GRPC_TLS_CERT", "GRPC_TLS_KEY"])
def test_a_setting_that_protects_is_not_set_to_nothing(monkeypatch: pytest.MonkeyPatch, name: str, empty: str) -> None:
    monkeypatch.setenv(f"ROWCAST_{name}", empty)
    with pytest.raises(ConfigError, match=f"^ROWCAST_{name} must name a file, got nothing: .* remove ROWCAST_{name}$"):
        Settings.load()


@pytest.mark.parametrize(
    "line", ["ROWCAST_API_KEYS=", "ROWCAST_API_KEYS", "rowcast_api_keys=''", "export ROWCAST_API_KEYS="]
)
def test_nor_in_the_env_file_which_is_named(line: str) -> None:
    Path(".env").write_text(line + "\n")
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert str(caught.value) == (
        f"ROWCAST_API_KEYS (in {Path('.env').absolute()}) must name a file, got nothing: without it anyone may ask, "
        "with a key or without. To serve so on purpose, remove ROWCAST_API_KEYS"
    )


def test_paths_are_relative_to_where_the_service_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "there"
    started.mkdir()
    (started / ".env").write_text("ROWCAST_API_KEYS=keys.txt\nROWCAST_TLS_CERT=/etc/cert.pem\n")
    monkeypatch.setenv("ROWCAST_REPOSITORY", "../models")
    settings = Settings.load(started)
    assert (settings.api_keys, settings.tls_cert) == (started / "keys.txt", Path("/etc/cert.pem"))
    assert settings.repository.resolve() == tmp_path / "models"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('ROWCAST_API_KEYS="keys.txt\n', 1),
        ("ROWCAST_MAX_ROWS=7\nROWCAST_API_KEYS: keys.txt\n", 2),
        ("set ROWCAST_API_KEYS=keys.txt\n", 1),
        ("\u200bROWCAST_API_KEYS=keys.txt\n", 1),
        ('OTHER="a\nROWCAST_API_KEYS=keys.txt\nMORE="b"\n', 1),
    ],
)
def test_a_line_of_an_env_file_that_only_seems_to_set_something_stops_the_start(text: str, line: int) -> None:
    Path(".env").write_text(text)
    with pytest.raises(ConfigError, match=rf"got something else from line {line} on: the setting would do nothing"):
        Settings.load()


def test_lines_of_other_programs_may_be_as_they_like() -> None:
    Path(".env").write_text('ROWCAST_MAX_ROWS=7\nset OTHER=1\nA: b\nTEXT="two\nlines"\n')
    assert Settings.load().max_rows == 7


def _pipe() -> None:
    os.mkfifo(".env")


def _link_to_nothing() -> None:
    Path(".env").symlink_to("nowhere")


def _link_to_itself() -> None:
    Path(".env").symlink_to(".env")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_pipe, "it is not a plain file"),
        (_link_to_nothing, "it is a link to nothing"),
        (_link_to_itself, "Too many levels of symbolic links"),
    ],
)
def test_an_env_file_that_is_there_and_cannot_be_read_is_not_passed_over(make: Callable[[], None], why: str) -> None:
    make()
    with pytest.raises(ConfigError, match=rf"\.env must be a readable file of settings, got: {why}"):
        Settings.load()


def test_a_folder_of_that_name_is_no_file_of_settings() -> None:
    Path(".env").mkdir()
    assert Settings.load().max_rows == 4096


@pytest.mark.parametrize("path", ["~nobody_has_this_name/keys", "keys\0"])
def test_a_path_that_no_file_has_is_refused_in_one_line(path: str) -> None:
    Path(".env").write_text(f"ROWCAST_API_KEYS={path}\n")
    with pytest.raises(ConfigError, match="a path of a setting must be one of a file, got "):
        Settings.load()


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_REPOSITORY", "here")
    assert Settings.load(repository=Path("/there")).repository == Path("/there")


def test_an_env_file_of_a_windows_editor_is_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfROWCAST_MAX_ROWS=7\r\n")
    assert Settings.load().max_rows == 7


def test_an_env_file_that_cannot_be_read_stops_the_start() -> None:
    Path(".env").write_bytes(b"ROWCAST_API_KEYS=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"\.env must be a readable file of settings, got: it is not UTF-8"):
        Settings.load()


@pytest.mark.parametrize("path", ["/a", "/a/b", "/rowcast-1.2/~x", "/" + "a" * 199])
def test_a_root_path_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("ROWCAST_ROOT_PATH", path)
    assert Settings.load().root_path == path


NO_PATHS = "/ a a/b /a/ //a /a//b /a%20b /a?b /a#b /.. /a/../b /a/.b /é http://h/a /{a} /a;b /models /v2/x /predict"


@pytest.mark.parametrize("path", [*NO_PATHS.split(), "/a b", "/a\n", "/" + "a" * 200])
def test_what_is_no_root_path_stops_the_start(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("ROWCAST_ROOT_PATH", path)
    with pytest.raises(ConfigError, match="ROWCAST_ROOT_PATH is a path such as /rowcast"):
        Settings.load()
